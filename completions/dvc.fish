# Completions of dvc for fish. The program itself says what fits at the end of the line.

function __dvc_candidates
    set -l current (commandline -ct)
    set -l lines (dvc completions candidates -- (commandline -opc) "$current" 2>/dev/null)
    test (count $lines) -gt 0; or return
    for line in $lines[2..]
        string sub -s 2 -- $line
    end
    switch $lines[1]
        case 'files*'
            __fish_complete_path "$current"
        case 'dirs*'
            __fish_complete_directories "$current" ''
    end
end

complete -c dvc -f -k -a '(__dvc_candidates)'
complete -c git-dvc -f -k -a '(__dvc_candidates)'
