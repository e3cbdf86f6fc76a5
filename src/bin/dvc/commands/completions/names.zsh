# Names of remotes, branches and tags.
(( $+functions[_dvc_names] )) ||
_dvc_names() {
    local -a names
    names=(${(f)"$(dvc completions names 2>/dev/null)"})
    compadd -a names
    _default
}

