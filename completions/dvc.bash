# Completions of dvc for bash. The program itself says what fits at the end of the line.

_dvc() {
    local kind word line text skip quote= current=${COMP_WORDS[COMP_CWORD]}
    local -a lines
    COMPREPLY=()
    mapfile -t lines < <(dvc completions candidates --line "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    [[ ${#lines[@]} -gt 0 ]] || return 0
    kind=${lines[0]%%$'\t'*} word=${lines[0]#*$'\t'}
    # bash replaces only the part after the last `:`, `=` or `@` of the word, and all of a word in quotes.
    [[ $current == [:=@] ]] && current=
    [[ $current == [\"\']* ]] && quote=1 current=$word
    skip=${word%"$current"}
    for line in "${lines[@]:1}"; do
        text=${line%%$'\t'*}
        text=${text:1}
        text=${text#"$skip"}
        if [[ -z $quote ]]; then
            printf -v text %q "$text"
            [[ $line == +* ]] || text+=' '
        fi
        COMPREPLY+=("$text")
    done
    compopt -o nospace -o nosort 2>/dev/null
    [[ ${#COMPREPLY[@]} -gt 0 ]] && return 0
    case $kind in
        files) compopt +o nospace -o bashdefault -o default ;;
        dirs) compopt +o nospace -o dirnames -o plusdirs ;;
    esac 2>/dev/null
    return 0
}
complete -F _dvc dvc git-dvc

# For `git dvc`, by the completions of git.
_git_dvc() { _dvc; }
