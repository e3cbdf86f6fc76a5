# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_dvc_global_optspecs
    string join \n C= repo= c= v/verbose q/quiet json color= progress= no-pager j/jobs= memory= limit-up= limit-down= offline y/yes n/dry-run h/help V/version
end

function __fish_dvc_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_dvc_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_dvc_using_subcommand
    set -l cmd (__fish_dvc_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c dvc -n "__fish_dvc_needs_command" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_needs_command" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_needs_command" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_needs_command" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_needs_command" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_needs_command" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_needs_command" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_needs_command" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_needs_command" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_needs_command" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_needs_command" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_needs_command" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_needs_command" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_needs_command" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_needs_command" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_needs_command" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dvc -n "__fish_dvc_needs_command" -s V -l version -d 'Print version'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "init" -d 'Create a repository'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "clone" -d 'Copy a repository, and check a version out'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "commit" -d 'Make a version of the worktree'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "status" -d 'Show what differs between the worktree and its version'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "log" -d 'List versions'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "show" -d 'Show a version, or write a file of it to standard output'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "ls" -d 'List what a version holds'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "diff" -d 'Show what differs between two versions, or a version and the worktree'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "checkout" -d 'Bring a version, or paths of it, into the worktree'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "mount" -d 'Show a version as a directory that can be written, or list what is mounted'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "umount" -d 'End a mount'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "export" -d 'Write a version as a tar archive or as an image for container engines'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "import" -d 'Make a version of a tar archive or of an image of a container engine'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "branch" -d 'List, create, rename or delete branches'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "tag" -d 'List, create or delete tags'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "remote" -d 'List, add, change, remove and check remotes'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "push" -d 'Bring branches and tags to a remote'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "fetch" -d 'Bring what a remote has'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "pull" -d 'Fetch, and move the current branch forward'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "volume" -d 'Make, list and remove volumes for containers'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "serve" -d 'Be Docker\'s volume driver'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "fsck" -d 'Check the repository'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "gc" -d 'Give back what can be made again'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "du" -d 'Show what versions and branches take'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "doctor" -d 'Show what works here, what does not, and how to mend it'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "undo" -d 'Take back the last change of a branch or tag'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "pack" -d 'Make a version of the volumes below /source, and push it; the word of a container'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "unpack" -d 'Bring the newest version onto the volumes below /source; the word of a container'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "config" -d 'Show and change settings'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "completions" -d 'Print completions for a shell, or write the manual pages'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "version" -d 'Print the version'
complete -c dvc -n "__fish_dvc_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c dvc -n "__fish_dvc_using_subcommand init" -s b -l branch -d 'The first branch' -r
complete -c dvc -n "__fish_dvc_using_subcommand init" -l chunker -d 'How files are cut: auto, cdc:SIZE (average) or fixed:SIZE' -r
complete -c dvc -n "__fish_dvc_using_subcommand init" -l shared -d 'Let the members of the directory\'s group use the repository; with `all`, let all other users read it' -r -f -a "group\t'The members of the directory\'s group'
all\t'The members of the group; all other users may read'"
complete -c dvc -n "__fish_dvc_using_subcommand init" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand init" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand init" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand init" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand init" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand init" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand init" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand init" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand init" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand init" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand init" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand init" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand init" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand init" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand init" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand init" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dvc -n "__fish_dvc_using_subcommand clone" -l depth -d 'Data of so many versions of each branch now; older data comes when it is read' -r
complete -c dvc -n "__fish_dvc_using_subcommand clone" -s b -l branch -d 'The branch to begin with' -r
complete -c dvc -n "__fish_dvc_using_subcommand clone" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand clone" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand clone" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand clone" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand clone" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand clone" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand clone" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand clone" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand clone" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand clone" -l lazy -d 'Only refs and trees now; data comes when it is read'
complete -c dvc -n "__fish_dvc_using_subcommand clone" -l no-checkout -d 'Leave the worktree empty'
complete -c dvc -n "__fish_dvc_using_subcommand clone" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand clone" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand clone" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand clone" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand clone" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand clone" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand clone" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand commit" -s m -l message -d 'The message; a second one begins a paragraph' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -s F -l file -d 'Read the message from FILE, `-` is standard input' -r -F
complete -c dvc -n "__fish_dvc_using_subcommand commit" -s b -l branch -d 'Commit to that branch, which is created where it is missing; not with several volumes' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l tag -d 'Tag the version; `@NAME` is a tag of its branch' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l author -d 'Who made it, `Name <mail>`' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l time -d 'When it was made' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l trailer -d 'Add a `Key: value` line about the version' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l exclude -d 'Leave out what matches, as in `.dvcsignore`' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l exclude-larger-than -d 'Leave out files with more bytes than SIZE, such as 4G' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l stdin -d 'Commit standard input as a file of that name' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l exec -d 'Commit the output of a command, given after `--`, as a file of that name' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l volume -d 'Commit a volume of dvc or a plain one of Docker, in use or not; may be repeated' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l quiesce -d 'Hold writers still while the source is read; in a mount, for a moment. In the given order, undone in reverse: docker:pause, docker:stop, exec:CONTAINER:CMD[ / CMD], mariadb:[AT], postgres:[AT], fsfreeze:PATH, none' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l quiesce-timeout -d 'Let go after this time and give the commit up, such as 90s' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l push -d 'Push the branch afterwards, to `origin` or the named remote' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l files-from -d 'Only the paths that FILE lists, one a line, with any that are arguments; `-` is standard input' -r -F
complete -c dvc -n "__fish_dvc_using_subcommand commit" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand commit" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand commit" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l exclude-caches -d 'Leave out directories marked by a CACHEDIR.TAG'
complete -c dvc -n "__fish_dvc_using_subcommand commit" -s x -l one-file-system -d 'Do not descend into other file systems'
complete -c dvc -n "__fish_dvc_using_subcommand commit" -s a -l all -d 'Accepted for git\'s `commit -a`: all changes are always committed'
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l allow-empty -d 'Commit even where nothing changed or the source is empty'
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l add -d 'With --stdin and --exec: keep the other files of the version before'
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l all-volumes -d 'Commit every volume of dvc, and every plain one of Docker that has a name: a version of each'
complete -c dvc -n "__fish_dvc_using_subcommand commit" -s z -d 'With --files-from: a zero byte ends each path'
complete -c dvc -n "__fish_dvc_using_subcommand commit" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand commit" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand commit" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand commit" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand commit" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand commit" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand status" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand status" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand status" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand status" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand status" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand status" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand status" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand status" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand status" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand status" -s s -l short -d 'Only the letters and paths'
complete -c dvc -n "__fish_dvc_using_subcommand status" -s b -l branch -d 'Accepted for git\'s `status -sb`: with --short, the branch as well'
complete -c dvc -n "__fish_dvc_using_subcommand status" -l porcelain -d 'Lines for scripts, which never change'
complete -c dvc -n "__fish_dvc_using_subcommand status" -s z -d 'End lines with NUL and write names raw; implies --porcelain'
complete -c dvc -n "__fish_dvc_using_subcommand status" -l exit-code -d 'End with 1 where something differs'
complete -c dvc -n "__fish_dvc_using_subcommand status" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand status" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand status" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand status" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand status" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand status" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand status" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand log" -s n -l max-count -d 'At most that many versions; a negative number is no limit' -r
complete -c dvc -n "__fish_dvc_using_subcommand log" -l since -l after -d 'Not older than TIME' -r
complete -c dvc -n "__fish_dvc_using_subcommand log" -l until -l before -d 'Not younger than TIME' -r
complete -c dvc -n "__fish_dvc_using_subcommand log" -l author -d 'By an author that matches the pattern' -r
complete -c dvc -n "__fish_dvc_using_subcommand log" -l grep -d 'With a message that matches the pattern' -r
complete -c dvc -n "__fish_dvc_using_subcommand log" -l format -l pretty -d 'How to print a version: oneline, or text with %H %h %T %P %O %an %ae %aI %ar %d %s %b %U ...' -r
complete -c dvc -n "__fish_dvc_using_subcommand log" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand log" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand log" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand log" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand log" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand log" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand log" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand log" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand log" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand log" -l oneline -d 'One line for each version'
complete -c dvc -n "__fish_dvc_using_subcommand log" -l no-abbrev -d 'Ids in full'
complete -c dvc -n "__fish_dvc_using_subcommand log" -l abbrev-commit -d 'Accepted for git\'s option of this name: ids are short unless --no-abbrev is given'
complete -c dvc -n "__fish_dvc_using_subcommand log" -l decorate -d 'Accepted for git\'s option of this name: names of versions are always shown'
complete -c dvc -n "__fish_dvc_using_subcommand log" -l graph -d 'Draw the lines of descent'
complete -c dvc -n "__fish_dvc_using_subcommand log" -l all -d 'Versions of all branches and tags'
complete -c dvc -n "__fish_dvc_using_subcommand log" -l reverse -d 'Oldest first'
complete -c dvc -n "__fish_dvc_using_subcommand log" -l stat -d 'With the files that changed and by how much'
complete -c dvc -n "__fish_dvc_using_subcommand log" -l name-status -d 'With the names and letters of what changed'
complete -c dvc -n "__fish_dvc_using_subcommand log" -s p -l patch -d 'With the changed lines of text files'
complete -c dvc -n "__fish_dvc_using_subcommand log" -s i -l regexp-ignore-case -d 'Patterns match without regard to case'
complete -c dvc -n "__fish_dvc_using_subcommand log" -s g -l walk-reflogs -d 'What a branch was before, from its ref log'
complete -c dvc -n "__fish_dvc_using_subcommand log" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand log" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand log" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand log" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand log" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand log" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand log" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand show" -l format -l pretty -d 'How to print a version, as in `log`' -r
complete -c dvc -n "__fish_dvc_using_subcommand show" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand show" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand show" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand show" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand show" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand show" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand show" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand show" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand show" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand show" -l stat -d 'With the files that changed and by how much'
complete -c dvc -n "__fish_dvc_using_subcommand show" -l name-status -d 'With the names and letters of what changed'
complete -c dvc -n "__fish_dvc_using_subcommand show" -l no-abbrev -d 'Ids in full'
complete -c dvc -n "__fish_dvc_using_subcommand show" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand show" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand show" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand show" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand show" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand show" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand show" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand ls" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand ls" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand ls" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand ls" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand ls" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand ls" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand ls" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand ls" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand ls" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand ls" -s l -l long -d 'With mode, owner, size and time'
complete -c dvc -n "__fish_dvc_using_subcommand ls" -s r -l recursive -d 'With everything below'
complete -c dvc -n "__fish_dvc_using_subcommand ls" -s a -l all -d 'Accepted for `ls -a`: hidden names are always listed'
complete -c dvc -n "__fish_dvc_using_subcommand ls" -s d -l directory -d 'Directories themselves, not what they hold'
complete -c dvc -n "__fish_dvc_using_subcommand ls" -s z -d 'End lines with NUL and write names raw'
complete -c dvc -n "__fish_dvc_using_subcommand ls" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand ls" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand ls" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand ls" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand ls" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand ls" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand ls" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand diff" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand diff" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand diff" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand diff" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand diff" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand diff" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand diff" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand diff" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand diff" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand diff" -l stat -d 'Each file with its size and what changed of it'
complete -c dvc -n "__fish_dvc_using_subcommand diff" -l name-status -d 'Names and letters, the default'
complete -c dvc -n "__fish_dvc_using_subcommand diff" -l name-only -d 'Names only'
complete -c dvc -n "__fish_dvc_using_subcommand diff" -l chunks -d 'Changed byte ranges, from the chunk lists alone'
complete -c dvc -n "__fish_dvc_using_subcommand diff" -s p -l patch -d 'Changed lines of text files'
complete -c dvc -n "__fish_dvc_using_subcommand diff" -l exit-code -d 'End with 1 where something differs'
complete -c dvc -n "__fish_dvc_using_subcommand diff" -s z -d 'End lines with NUL and write names raw'
complete -c dvc -n "__fish_dvc_using_subcommand diff" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand diff" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand diff" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand diff" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand diff" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand diff" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand diff" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -l into -d 'Write to DIR, which is created, and leave the worktree alone' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -s b -l branch -d 'Create that branch at the version and move the worktree to it' -r
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -l delete -d 'Remove files that the version does not have, the default for a whole checkout'
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -l keep-extra -d 'Keep files that the version does not have'
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -l verify -d 'Read back and compare everything that was written'
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -s f -l force -d 'Even where changes would be lost or the target is in use'
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand checkout" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l name -d 'The overlay that keeps changes; one for each mount point if left out' -r
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l map-owner -d 'Show the version\'s files as of this user and group' -r
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l quota -d 'What the overlay may take on disk, such as 40G' -r
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l hydrate -d 'Bring whole files into the overlay: `open` (for writing), `all`, or a pattern as in `.dvcsignore`' -r
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l record -d 'Note in FILE what is read of the version' -r -F
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l prefetch -d 'Bring at once what was read according to FILE, which `--record` made' -r -F
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l stats -d 'Show what was counted of a mount' -r -F
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l salvage -d 'Copy the files of an overlay that cannot be mounted into DIR' -r
complete -c dvc -n "__fish_dvc_using_subcommand mount" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand mount" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand mount" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l ro -d 'Nothing can be changed'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l all -d 'Show every branch and version as directories, `AMCC/v3`; read-only'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l follow -d 'Show what the branch is at, whenever it moves; read-only'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l rw -d 'Changes go to a private overlay, the default'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l ephemeral -d 'Forget changes at the end'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l live -d 'For databases that run while they are committed'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l allow-other -d 'Let other users in; each is asked for the permissions that the files say'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l suid -d 'Honour set-user-id bits and file capabilities; for root only'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l dev -d 'Let device nodes be opened; for root only'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l noexec -d 'Do not let files be executed'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l wait-hydrated -d 'Wait until they are there'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l foreground -d 'Serve the mount in this process'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l overlays -d 'List overlays: what is kept of mounts, also of those that have ended'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l volume -d 'The mount of a volume: it goes on with what its overlay stands on, and with what is here of a repository that cannot be reached'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l serving -d 'Told to the process that serves the mount: somebody waits for a word that it stands'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand mount" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand umount" -s m -l message -d 'The message of that commit' -r
complete -c dvc -n "__fish_dvc_using_subcommand umount" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand umount" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand umount" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand umount" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand umount" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand umount" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand umount" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand umount" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand umount" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand umount" -l discard -d 'Remove the overlay and all that was changed'
complete -c dvc -n "__fish_dvc_using_subcommand umount" -l commit -d 'Commit first'
complete -c dvc -n "__fish_dvc_using_subcommand umount" -s f -l force -d 'Detach it at once, also one that is in use or whose process does not answer'
complete -c dvc -n "__fish_dvc_using_subcommand umount" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand umount" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand umount" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand umount" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand umount" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand umount" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand umount" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand umount" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand export" -l format -d 'The kind of archive' -r -f -a "tar\t'A PAX archive'
oci\t'An image: what `docker load`, `docker pull` and other engines take'"
complete -c dvc -n "__fish_dvc_using_subcommand export" -s o -l output -d 'Write to FILE, which appears when it is complete; `-` is standard output, `oci://HOST/REPOSITORY:TAG` a registry' -r -F
complete -c dvc -n "__fish_dvc_using_subcommand export" -l path -d 'Only this path of the version; may be repeated' -r
complete -c dvc -n "__fish_dvc_using_subcommand export" -l prefix -d 'The directory in the archive that all of it lies in; for images `/source`' -r
complete -c dvc -n "__fish_dvc_using_subcommand export" -l name -d 'The name of an image that is written to a file' -r
complete -c dvc -n "__fish_dvc_using_subcommand export" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand export" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand export" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand export" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand export" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand export" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand export" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand export" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand export" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand export" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand export" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand export" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand export" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand export" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand export" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dvc -n "__fish_dvc_using_subcommand import" -l format -d 'The kind of archive' -r -f -a "auto\t'Whatever it turns out to be'
tar\t'A tar archive, plain or compressed by gzip or zstd'
oci\t'An image: OCI image layout, or what `docker save` writes'"
complete -c dvc -n "__fish_dvc_using_subcommand import" -s b -l branch -d 'Commit to that branch, which is created where it is missing' -r
complete -c dvc -n "__fish_dvc_using_subcommand import" -s m -l message -d 'The message; a second one begins a paragraph' -r
complete -c dvc -n "__fish_dvc_using_subcommand import" -l strip -d 'Take only what lies below DIR in the archive, without DIR itself' -r
complete -c dvc -n "__fish_dvc_using_subcommand import" -l path -d 'Take only this path, in place of what the last version has there, and keep the rest of that' -r
complete -c dvc -n "__fish_dvc_using_subcommand import" -l image -d 'Which image, where an archive holds several' -r
complete -c dvc -n "__fish_dvc_using_subcommand import" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand import" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand import" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand import" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand import" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand import" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand import" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand import" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand import" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand import" -l allow-empty -d 'Make a version even where nothing changed or the archive is empty'
complete -c dvc -n "__fish_dvc_using_subcommand import" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand import" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand import" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand import" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand import" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand import" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand import" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dvc -n "__fish_dvc_using_subcommand branch" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand branch" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand branch" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand branch" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand branch" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand branch" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand branch" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand branch" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand branch" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand branch" -s d -l delete -d 'Delete the named branches'
complete -c dvc -n "__fish_dvc_using_subcommand branch" -s D -d 'Accepted for git\'s `branch -D`: as -d -f'
complete -c dvc -n "__fish_dvc_using_subcommand branch" -s l -l list -d 'List the branches, the default'
complete -c dvc -n "__fish_dvc_using_subcommand branch" -s a -l all -d 'List the branches of remotes as well'
complete -c dvc -n "__fish_dvc_using_subcommand branch" -s r -l remotes -d 'List only the branches of remotes'
complete -c dvc -n "__fish_dvc_using_subcommand branch" -s m -l move -d 'Rename: the old name (else the current branch) and the new one'
complete -c dvc -n "__fish_dvc_using_subcommand branch" -s f -l force -d 'Move a branch that exists'
complete -c dvc -n "__fish_dvc_using_subcommand branch" -l show-current -d 'Print the name of the current branch'
complete -c dvc -n "__fish_dvc_using_subcommand branch" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand branch" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand branch" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand branch" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand branch" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand branch" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand branch" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand branch" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand tag" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand tag" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand tag" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand tag" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand tag" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand tag" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand tag" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand tag" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand tag" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand tag" -s l -l list -d 'List the tags, the default'
complete -c dvc -n "__fish_dvc_using_subcommand tag" -s d -l delete -d 'Delete the named tags'
complete -c dvc -n "__fish_dvc_using_subcommand tag" -s f -l force -d 'Move a tag that exists'
complete -c dvc -n "__fish_dvc_using_subcommand tag" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand tag" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand tag" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand tag" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand tag" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand tag" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand tag" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand tag" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -f -a "list" -d 'List remotes with their URLs'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -f -a "ls" -d 'List remotes with their URLs'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -f -a "add" -d 'Add a remote; the first push makes the repository there'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -f -a "set" -d 'Give a remote another URL'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -f -a "rm" -d 'Forget a remote'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -f -a "remove" -d 'Forget a remote'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -f -a "check" -d 'Reach a remote, write to it, and find out whether it decides races'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and not __fish_seen_subcommand_from list ls add set rm remove check help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from list" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from list" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from list" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from list" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from list" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from list" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from list" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from list" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from list" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from list" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from list" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from list" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from list" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from ls" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from ls" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from ls" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from ls" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from ls" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from ls" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from ls" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from ls" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from ls" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from ls" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from ls" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from ls" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from ls" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -l lazy -d 'Take what is missing here from it when it is read, and fetch only refs and trees'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -l lazy -d 'Take what is missing here from it when it is read, and fetch only refs and trees'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from rm" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from rm" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from rm" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from rm" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from rm" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from rm" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from rm" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from rm" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from rm" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from rm" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from rm" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from rm" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from rm" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from rm" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from rm" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from rm" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from remove" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from remove" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from remove" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from remove" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from remove" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from remove" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from remove" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from remove" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from remove" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from remove" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from remove" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from remove" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from remove" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from remove" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from remove" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from remove" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from check" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from check" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from check" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from check" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from check" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from check" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from check" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from check" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from check" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from check" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from check" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from check" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from check" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from help" -f -a "list" -d 'List remotes with their URLs'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from help" -f -a "add" -d 'Add a remote; the first push makes the repository there'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from help" -f -a "set" -d 'Give a remote another URL'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from help" -f -a "rm" -d 'Forget a remote'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from help" -f -a "check" -d 'Reach a remote, write to it, and find out whether it decides races'
complete -c dvc -n "__fish_dvc_using_subcommand remote; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c dvc -n "__fish_dvc_using_subcommand push" -l verify -d 'Read so many percent of what was sent back, and compare' -r
complete -c dvc -n "__fish_dvc_using_subcommand push" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand push" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand push" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand push" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand push" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand push" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand push" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand push" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand push" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand push" -l all -d 'All branches'
complete -c dvc -n "__fish_dvc_using_subcommand push" -s u -l set-upstream -d 'Accepted for git\'s `push -u`: the remote\'s branch of the same name is always followed'
complete -c dvc -n "__fish_dvc_using_subcommand push" -l tags -d 'All tags'
complete -c dvc -n "__fish_dvc_using_subcommand push" -l all-remotes -d 'To every remote'
complete -c dvc -n "__fish_dvc_using_subcommand push" -l force-with-lease -d 'Move a branch back too, if it is there as it was when last seen'
complete -c dvc -n "__fish_dvc_using_subcommand push" -l force -d 'Go on where the repository there is no copy of this one'
complete -c dvc -n "__fish_dvc_using_subcommand push" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand push" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand push" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand push" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand push" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand push" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand push" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand push" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -l all -d 'From every remote'
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -l prune -d 'Forget branches that the remote no longer has'
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -l data -d 'The data of all versions too, into a lazy clone'
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -l force -d 'Go on where the repository there is no copy of this one'
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand fetch" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand pull" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand pull" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand pull" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand pull" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand pull" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand pull" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand pull" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand pull" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand pull" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand pull" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand pull" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand pull" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand pull" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand pull" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand pull" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand pull" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand pull" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -f -a "create" -d 'Make a volume; the same again does nothing'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -f -a "ls" -d 'List volumes'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -f -a "list" -d 'List volumes'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -f -a "inspect" -d 'Show all of a volume'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -f -a "path" -d 'Print where a volume is, and mount it'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -f -a "has" -d 'Whether there is such a volume: exit code 0 or 1, no word'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -f -a "rm" -d 'Remove volumes; changes that no version has are put aside'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -f -a "remove" -d 'Remove volumes; changes that no version has are put aside'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -f -a "mv" -d 'Give a volume another name'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and not __fish_seen_subcommand_from create ls list inspect path has rm remove mv help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -l from -d 'The version, or URL#REV; without one an empty volume is made' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -s b -l branch -d 'The branch that commits go to' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -l quota -d 'What its changes may take on disk, such as 40G' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -s o -d 'An option as `docker volume create` takes it: repo, rev, mode, branch, cache, quota, live' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -l driver -d 'Who keeps it: `local` writes the version into a plain volume of the Docker engine' -r -f -a "dvc\t'A view, of which nothing is copied before it is read'
local\t'The Docker engine, as a directory'"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -l parked -d 'Make it of a removed one that was put aside' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -l ro -d 'Nothing can be changed'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from ls" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from ls" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from ls" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from ls" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from ls" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from ls" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from ls" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from ls" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from ls" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from ls" -l parked -d 'List what was removed with changes that no version has'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from ls" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from ls" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from ls" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from ls" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from list" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from list" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from list" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from list" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from list" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from list" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from list" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from list" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from list" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from list" -l parked -d 'List what was removed with changes that no version has'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from list" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from list" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from list" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from list" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from inspect" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from inspect" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from inspect" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from inspect" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from inspect" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from inspect" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from inspect" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from inspect" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from inspect" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from inspect" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from inspect" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from inspect" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from inspect" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from inspect" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from inspect" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from inspect" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from path" -l scope -d 'Whose path' -r -f -a "host\t'Outside of the container that this runs in'
container\t'Where this runs'"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from path" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from path" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from path" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from path" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from path" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from path" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from path" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from path" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from path" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from path" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from path" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from path" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from path" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from path" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from path" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from path" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from has" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from has" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from has" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from has" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from has" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from has" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from has" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from has" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from has" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from has" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from has" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from has" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from has" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from has" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from has" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from has" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -l discard -d 'Give up changes that no version has'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -l parked -d 'Remove what was put aside, by what `ls --parked` calls it'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -l discard -d 'Give up changes that no version has'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -l parked -d 'Remove what was put aside, by what `ls --parked` calls it'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from mv" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from mv" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from mv" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from mv" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from mv" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from mv" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from mv" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from mv" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from mv" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from mv" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from mv" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from mv" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from mv" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from mv" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from mv" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from mv" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from mv" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from help" -f -a "create" -d 'Make a volume; the same again does nothing'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from help" -f -a "ls" -d 'List volumes'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from help" -f -a "inspect" -d 'Show all of a volume'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from help" -f -a "path" -d 'Print where a volume is, and mount it'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from help" -f -a "has" -d 'Whether there is such a volume: exit code 0 or 1, no word'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from help" -f -a "rm" -d 'Remove volumes; changes that no version has are put aside'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from help" -f -a "mv" -d 'Give a volume another name'
complete -c dvc -n "__fish_dvc_using_subcommand volume; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c dvc -n "__fish_dvc_using_subcommand serve" -l plugin -d 'Be Docker\'s volume driver; the name of the socket is the driver\'s' -r -F
complete -c dvc -n "__fish_dvc_using_subcommand serve" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand serve" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand serve" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand serve" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand serve" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand serve" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand serve" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand serve" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand serve" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand serve" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand serve" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand serve" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand serve" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand serve" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand serve" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand serve" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -l data -d 'Read and verify the data as well, or that part of it' -r
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -l max-time -d 'Stop after that time, such as 2h; the next run goes on there' -r
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -l rebuild -d 'Make the catalogue and the index again, from packs and refs alone'
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand fsck" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand gc" -l max -d 'Keep so much' -r
complete -c dvc -n "__fish_dvc_using_subcommand gc" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand gc" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand gc" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand gc" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand gc" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand gc" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand gc" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand gc" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand gc" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand gc" -l cache -d 'Remove blocks of far repositories, what was not used for longest first'
complete -c dvc -n "__fish_dvc_using_subcommand gc" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand gc" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand gc" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand gc" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand gc" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand gc" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand gc" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand gc" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand du" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand du" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand du" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand du" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand du" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand du" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand du" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand du" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand du" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand du" -l cache -d 'What the cache of far repositories and the overlays of mounts take'
complete -c dvc -n "__fish_dvc_using_subcommand du" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand du" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand du" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand du" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand du" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand du" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand du" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand doctor" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand doctor" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand doctor" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand doctor" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand doctor" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand doctor" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand doctor" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand doctor" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand doctor" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand doctor" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand doctor" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand doctor" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand doctor" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand doctor" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand doctor" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand undo" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand undo" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand undo" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand undo" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand undo" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand undo" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand undo" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand undo" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand undo" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand undo" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand undo" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand undo" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand undo" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand undo" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand undo" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand undo" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand undo" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand pack" -s b -l branch -d 'Commit to that branch; else the tag of DATA_TAG, else the repository\'s default branch' -r
complete -c dvc -n "__fish_dvc_using_subcommand pack" -s m -l message -d 'The message' -r
complete -c dvc -n "__fish_dvc_using_subcommand pack" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand pack" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand pack" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand pack" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand pack" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand pack" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand pack" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand pack" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand pack" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand pack" -l no-push -d 'Push nothing, as with NO_PUSH=1'
complete -c dvc -n "__fish_dvc_using_subcommand pack" -l allow-empty -d 'Even where a volume is empty or missing'
complete -c dvc -n "__fish_dvc_using_subcommand pack" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand pack" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand pack" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand pack" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand pack" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand pack" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand pack" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand pack" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -s b -l branch -d 'That branch; else the tag of DATA_TAG, else the repository\'s default branch' -r
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -l no-pull -d 'Fetch nothing, as with NO_PULL=1'
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -s f -l force -d 'Even where what is in no version would be lost'
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand unpack" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -s l -l list -d 'Accepted for git\'s `config --list`'
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -l global -d 'Change the user\'s file, not the repository\'s'
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -l system -d 'Change the machine\'s file, not the repository\'s'
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -a "list" -d 'List every setting in force'
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -a "ls" -d 'List every setting in force'
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -a "get" -d 'Print one setting'
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -a "set" -d 'Write a setting to a file'
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -a "unset" -d 'Remove a setting from a file'
complete -c dvc -n "__fish_dvc_using_subcommand config; and not __fish_seen_subcommand_from list ls get set unset help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from list" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from list" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from list" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from list" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from list" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from list" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from list" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from list" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from list" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from list" -l show-origin -d 'With where each value comes from'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from list" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from list" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from list" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from list" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from ls" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from ls" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from ls" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from ls" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from ls" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from ls" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from ls" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from ls" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from ls" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from ls" -l show-origin -d 'With where each value comes from'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from ls" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from ls" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from ls" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from ls" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from get" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from get" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from get" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from get" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from get" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from get" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from get" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from get" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from get" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from get" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from get" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from get" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from get" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from get" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from get" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -l global -d 'Change the user\'s file, not the repository\'s'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -l system -d 'Change the machine\'s file, not the repository\'s'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -l global -d 'Change the user\'s file, not the repository\'s'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -l system -d 'Change the machine\'s file, not the repository\'s'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from unset" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "list" -d 'List every setting in force'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "get" -d 'Print one setting'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "set" -d 'Write a setting to a file'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "unset" -d 'Remove a setting from a file'
complete -c dvc -n "__fish_dvc_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c dvc -n "__fish_dvc_using_subcommand completions" -l dir -d 'Write files to DIR instead of standard output' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand completions" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand completions" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand completions" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand completions" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand completions" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand completions" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand completions" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand completions" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand completions" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand completions" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand completions" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand completions" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand completions" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand completions" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand completions" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dvc -n "__fish_dvc_using_subcommand version" -s C -d 'Run as if started in DIR: the worktree, and the base of relative paths' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand version" -l repo -d 'The repository, where it does not lie in the worktree; one that is elsewhere is only read' -r -f -a "(__fish_complete_directories)"
complete -c dvc -n "__fish_dvc_using_subcommand version" -s c -d 'Set a configuration value for this run' -r
complete -c dvc -n "__fish_dvc_using_subcommand version" -l color -d 'Colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand version" -l progress -d 'Progress bars: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c dvc -n "__fish_dvc_using_subcommand version" -s j -l jobs -d 'Threads that work at the same time' -r
complete -c dvc -n "__fish_dvc_using_subcommand version" -l memory -d 'Memory for buffers and tables, such as 256M' -r
complete -c dvc -n "__fish_dvc_using_subcommand version" -l limit-up -d 'Send at most so many bytes a second, such as 4M' -r
complete -c dvc -n "__fish_dvc_using_subcommand version" -l limit-down -d 'Receive at most so many bytes a second' -r
complete -c dvc -n "__fish_dvc_using_subcommand version" -s v -l verbose -d 'Say more; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand version" -s q -l quiet -d 'Say less; may be repeated'
complete -c dvc -n "__fish_dvc_using_subcommand version" -l json -d 'Write JSON: one object, or one per line'
complete -c dvc -n "__fish_dvc_using_subcommand version" -l no-pager -d 'Never show output through a pager'
complete -c dvc -n "__fish_dvc_using_subcommand version" -l offline -d 'Use no network'
complete -c dvc -n "__fish_dvc_using_subcommand version" -s y -l yes -d 'Answer every question with yes'
complete -c dvc -n "__fish_dvc_using_subcommand version" -s h -l help -d 'Print help'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "init" -d 'Create a repository'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "clone" -d 'Copy a repository, and check a version out'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "commit" -d 'Make a version of the worktree'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "status" -d 'Show what differs between the worktree and its version'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "log" -d 'List versions'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "show" -d 'Show a version, or write a file of it to standard output'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "ls" -d 'List what a version holds'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "diff" -d 'Show what differs between two versions, or a version and the worktree'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "checkout" -d 'Bring a version, or paths of it, into the worktree'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "mount" -d 'Show a version as a directory that can be written, or list what is mounted'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "umount" -d 'End a mount'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "export" -d 'Write a version as a tar archive or as an image for container engines'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "import" -d 'Make a version of a tar archive or of an image of a container engine'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "branch" -d 'List, create, rename or delete branches'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "tag" -d 'List, create or delete tags'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "remote" -d 'List, add, change, remove and check remotes'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "push" -d 'Bring branches and tags to a remote'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "fetch" -d 'Bring what a remote has'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "pull" -d 'Fetch, and move the current branch forward'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "volume" -d 'Make, list and remove volumes for containers'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "serve" -d 'Be Docker\'s volume driver'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "fsck" -d 'Check the repository'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "gc" -d 'Give back what can be made again'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "du" -d 'Show what versions and branches take'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "doctor" -d 'Show what works here, what does not, and how to mend it'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "undo" -d 'Take back the last change of a branch or tag'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "pack" -d 'Make a version of the volumes below /source, and push it; the word of a container'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "unpack" -d 'Bring the newest version onto the volumes below /source; the word of a container'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "config" -d 'Show and change settings'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "completions" -d 'Print completions for a shell, or write the manual pages'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "version" -d 'Print the version'
complete -c dvc -n "__fish_dvc_using_subcommand help; and not __fish_seen_subcommand_from init clone commit status log show ls diff checkout mount umount export import branch tag remote push fetch pull volume serve fsck gc du doctor undo pack unpack config completions version help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c dvc -n "__fish_dvc_using_subcommand help; and __fish_seen_subcommand_from remote" -f -a "list" -d 'List remotes with their URLs'
complete -c dvc -n "__fish_dvc_using_subcommand help; and __fish_seen_subcommand_from remote" -f -a "add" -d 'Add a remote; the first push makes the repository there'
complete -c dvc -n "__fish_dvc_using_subcommand help; and __fish_seen_subcommand_from remote" -f -a "set" -d 'Give a remote another URL'
complete -c dvc -n "__fish_dvc_using_subcommand help; and __fish_seen_subcommand_from remote" -f -a "rm" -d 'Forget a remote'
complete -c dvc -n "__fish_dvc_using_subcommand help; and __fish_seen_subcommand_from remote" -f -a "check" -d 'Reach a remote, write to it, and find out whether it decides races'
complete -c dvc -n "__fish_dvc_using_subcommand help; and __fish_seen_subcommand_from volume" -f -a "create" -d 'Make a volume; the same again does nothing'
complete -c dvc -n "__fish_dvc_using_subcommand help; and __fish_seen_subcommand_from volume" -f -a "ls" -d 'List volumes'
complete -c dvc -n "__fish_dvc_using_subcommand help; and __fish_seen_subcommand_from volume" -f -a "inspect" -d 'Show all of a volume'
complete -c dvc -n "__fish_dvc_using_subcommand help; and __fish_seen_subcommand_from volume" -f -a "path" -d 'Print where a volume is, and mount it'
complete -c dvc -n "__fish_dvc_using_subcommand help; and __fish_seen_subcommand_from volume" -f -a "has" -d 'Whether there is such a volume: exit code 0 or 1, no word'
complete -c dvc -n "__fish_dvc_using_subcommand help; and __fish_seen_subcommand_from volume" -f -a "rm" -d 'Remove volumes; changes that no version has are put aside'
complete -c dvc -n "__fish_dvc_using_subcommand help; and __fish_seen_subcommand_from volume" -f -a "mv" -d 'Give a volume another name'
complete -c dvc -n "__fish_dvc_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "list" -d 'List every setting in force'
complete -c dvc -n "__fish_dvc_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "get" -d 'Print one setting'
complete -c dvc -n "__fish_dvc_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "set" -d 'Write a setting to a file'
complete -c dvc -n "__fish_dvc_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "unset" -d 'Remove a setting from a file'

# Names of remotes, branches and tags.
complete -c dvc -n "__fish_seen_subcommand_from push fetch pull checkout branch tag log show ls diff undo" -f -a "(dvc completions names 2>/dev/null)"
complete -c dvc -n "__fish_seen_subcommand_from remote; and __fish_seen_subcommand_from set rm remove check" -f -a "(dvc remote 2>/dev/null | cut -f1)"
