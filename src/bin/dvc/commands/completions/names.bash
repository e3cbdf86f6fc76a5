
# Names of remotes, branches and tags, where a word is none of the options.
_dvc_with_names() {
    local cur="${COMP_WORDS[COMP_CWORD]}" word verb=""
    _dvc "$@"
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ $word == -* ]] || { verb=$word; break; }
    done
    case "$verb" in
        push|fetch|pull|remote|checkout|branch|tag|log|show|ls|diff|undo)
            [[ $cur == -* ]] || COMPREPLY+=( $(compgen -W "$(dvc completions names 2>/dev/null)" -- "$cur") )
            ;;
    esac
}
complete -F _dvc_with_names -o bashdefault -o default dvc
