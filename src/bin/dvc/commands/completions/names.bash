
# Names of remotes, branches and tags, where a word is none of the options and no value of an option.
_dvc_with_names() {
    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" word verb="" action=""
    _dvc "$@"
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ $word == -* ]] && continue
        if [[ -z $verb ]]; then verb=$word; else action=$word; break; fi
    done
    case "$prev" in
        --color|--progress|--repo|-C|-c|-j|--jobs|--memory|--limit-up|--limit-down) return ;;
    esac
    case "$verb:$action" in
        remote:set|remote:rm|remote:remove|remote:check)
            [[ $cur == -* ]] || COMPREPLY=( $(compgen -W "$(dvc remote 2>/dev/null | cut -f1)" -- "$cur") )
            ;;
        remote:*) ;;
        push:*|fetch:*|pull:*|checkout:*|branch:*|tag:*|log:*|show:*|ls:*|diff:*|undo:*)
            [[ $cur == -* ]] || COMPREPLY+=( $(compgen -W "$(dvc completions names 2>/dev/null)" -- "$cur") )
            ;;
    esac
}
complete -F _dvc_with_names -o bashdefault -o default dvc
