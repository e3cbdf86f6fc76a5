
# Names of remotes, branches and tags.
complete -c dvc -n "__fish_seen_subcommand_from push fetch pull checkout branch tag log show ls diff undo" -f -a "(dvc completions names 2>/dev/null)"
complete -c dvc -n "__fish_seen_subcommand_from remote; and __fish_seen_subcommand_from set rm remove check" -f -a "(dvc remote 2>/dev/null | cut -f1)"
