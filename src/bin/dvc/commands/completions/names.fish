
# Names of remotes, branches and tags.
complete -c dvc -n "__fish_seen_subcommand_from push fetch pull remote checkout branch tag log show ls diff undo" -f -a "(dvc completions names 2>/dev/null)"
