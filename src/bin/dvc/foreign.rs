//! Hints for commands and options that users know from other tools.
//!
//! Commands and options that dvc accepts as aliases are not in these tables, because the parser
//! does not reject them. `docs/coming-from.md` shows the same rows; a test compares them.

/// The typed words, and the hint for them.
pub(crate) type HintRow = (&'static str, &'static str);

/// Commands and options of git.
pub(crate) const GIT: &[HintRow] = &[
    (
        "add",
        "there is no staging area: run `dvc commit` for the whole worktree, or `dvc commit PATH` for some paths",
    ),
    (
        "am",
        "dvc has no patches: transfer versions with `dvc push`, `dvc fetch`, or `dvc export` and `dvc import`",
    ),
    (
        "annotate",
        "run `dvc log -- PATH` to list the versions that changed a file",
    ),
    (
        "apply",
        "dvc has no patches: transfer versions with `dvc push`, `dvc fetch`, or `dvc export` and `dvc import`",
    ),
    ("archive", "run `dvc export REV -o FILE.tar`"),
    (
        "bisect",
        "run `dvc mount --all DIR` and test the versions below DIR",
    ),
    (
        "blame",
        "run `dvc log -- PATH` to list the versions that changed a file",
    ),
    (
        "bundle",
        "run `dvc push /PATH`: any directory can be a remote, even one on a USB stick",
    ),
    ("cat-file", "run `dvc show REV:PATH`"),
    (
        "cherry-pick",
        "run `dvc checkout REV -- PATH` to take paths of a version, then `dvc commit`",
    ),
    ("ci", "run `dvc commit`"),
    (
        "clean",
        "run `dvc checkout -f` to make the worktree equal to its version",
    ),
    ("co", "run `dvc checkout`"),
    (
        "describe",
        "run `dvc log -1 --format %U` to print a version's address",
    ),
    ("difftool", "run `dvc diff -p`"),
    ("filter-branch", "versions cannot be rewritten"),
    (
        "format-patch",
        "run `dvc diff -p A B` to show the changes, or `dvc export` to share a version",
    ),
    (
        "grep",
        "run `dvc log --grep PATTERN` to search messages; mount a version to search its files",
    ),
    ("ls-files", "run `dvc ls -r`"),
    ("ls-remote", "run `dvc --repo URL log --all --oneline`"),
    ("ls-tree", "run `dvc ls -r REV`"),
    (
        "merge",
        "run `dvc pull` to move the branch forward, or `dvc checkout REV -- PATH` and `dvc commit` to take paths of \
         another version; dvc does not merge",
    ),
    (
        "mv",
        "move the file with `mv`; `dvc commit` detects renames",
    ),
    ("notes", "run `dvc commit --trailer KEY=VALUE`"),
    (
        "rebase",
        "versions are never rewritten: run `dvc pull` to move the branch forward, or `dvc commit -b NAME` to continue \
         on another branch",
    ),
    ("reflog", "run `dvc log -g`"),
    (
        "repack",
        "run `dvc gc`, which also copies what is needed out of packs that are partly unused",
    ),
    (
        "reset",
        "run `dvc undo` to undo the last commit, `dvc branch -f NAME REV` to move a branch, `dvc checkout -f` to \
         discard changes",
    ),
    (
        "restore",
        "run `dvc checkout REV -- PATH` for some paths, `dvc checkout REV` for all, `dvc checkout REV --into DIR` for \
         another directory",
    ),
    (
        "revert",
        "run `dvc undo` to undo the last commit, or `dvc checkout REV -- PATH` and `dvc commit` to go back to an \
         older one",
    ),
    ("rev-list", "run `dvc log --format %H`"),
    ("rev-parse", "run `dvc log -1 --format %H REV`"),
    ("rm", "remove the file with `rm`; `dvc commit` records it"),
    ("shortlog", "run `dvc log --format '%an %s'`"),
    ("show-ref", "run `dvc branch -a` and `dvc tag`"),
    ("st", "run `dvc status`"),
    (
        "stage",
        "there is no staging area: run `dvc commit` for the whole worktree, or `dvc commit PATH` for some paths",
    ),
    (
        "stash",
        "run `dvc commit -b NAME` to keep the changes on a branch of their own, then `dvc checkout -f`",
    ),
    (
        "submodule",
        "give each volume a branch of its own: run `dvc -C DIR commit -b NAME`",
    ),
    (
        "switch",
        "run `dvc checkout BRANCH`, or `dvc checkout -b NAME` for a new branch",
    ),
    ("whatchanged", "run `dvc log --name-status`"),
    (
        "worktree",
        "run `dvc checkout REV --into DIR`, or `dvc mount REV DIR`",
    ),
    (
        "branch --contains",
        "run `dvc log --all --graph` to see which branches hold a version",
    ),
    (
        "branch --merged",
        "run `dvc log --all --graph` to see which branches hold a version",
    ),
    (
        "branch --set-upstream-to",
        "run `dvc push REMOTE BRANCH`: dvc always tracks the branch with the same name on each remote",
    ),
    (
        "branch -u",
        "run `dvc push REMOTE BRANCH`: dvc always tracks the branch with the same name on each remote",
    ),
    (
        "checkout --detach",
        "run `dvc checkout ID`: an id is checked out without a branch",
    ),
    (
        "checkout --orphan",
        "run `dvc commit -b NAME`: a new branch begins with that commit",
    ),
    (
        "checkout --ours",
        "dvc does not merge, so there are no conflicts",
    ),
    (
        "checkout --theirs",
        "dvc does not merge, so there are no conflicts",
    ),
    ("checkout --track", "run `dvc checkout -b NAME REMOTE/NAME`"),
    (
        "checkout -B",
        "run `dvc branch -f NAME REV`, then `dvc checkout NAME`",
    ),
    (
        "checkout -p",
        "name paths after `--`: `dvc checkout REV -- PATH`",
    ),
    ("checkout -t", "run `dvc checkout -b NAME REMOTE/NAME`"),
    (
        "clone --bare",
        "run `dvc --repo DIR clone --no-checkout URL`",
    ),
    (
        "clone --mirror",
        "run `dvc --repo DIR clone --no-checkout URL`",
    ),
    (
        "clone --recurse-submodules",
        "omit it: a clone has all branches",
    ),
    ("clone --recursive", "omit it: a clone has all branches"),
    (
        "clone --single-branch",
        "add `--lazy`: data of other branches is fetched only when it is read",
    ),
    ("commit --amend", "run `dvc undo`, then `dvc commit` again"),
    ("commit --fixup", "run `dvc undo`, then `dvc commit` again"),
    ("commit --no-edit", "omit it: no editor is opened"),
    ("commit --no-verify", "omit it: hooks are not skipped"),
    ("commit --patch", "name the paths: `dvc commit PATH`"),
    (
        "commit --signoff",
        "add `--trailer 'Signed-off-by=NAME <EMAIL>'`",
    ),
    ("commit -p", "name the paths: `dvc commit PATH`"),
    ("commit -s", "add `--trailer 'Signed-off-by=NAME <EMAIL>'`"),
    (
        "config --add",
        "run `dvc config set KEY VALUE`; a list is separated by commas",
    ),
    ("config --edit", "run `dvc config set KEY VALUE`"),
    ("config --get", "run `dvc config get KEY`"),
    (
        "config --local",
        "omit it: the repository's file is the default",
    ),
    (
        "config --show-origin",
        "run `dvc config list --show-origin`",
    ),
    ("config --unset", "run `dvc config unset KEY`"),
    ("config -e", "run `dvc config set KEY VALUE`"),
    ("diff --cached", "there is no staging area: run `dvc diff`"),
    ("diff --staged", "there is no staging area: run `dvc diff`"),
    (
        "fetch --tags",
        "omit it: tags are fetched with the branches",
    ),
    ("gc --aggressive", "run `dvc gc --max-unused 0`"),
    (
        "gc --prune",
        "run `dvc gc`, or `dvc gc --now` to delete unneeded data without waiting",
    ),
    ("init --bare", "run `dvc init --repo DIR`"),
    (
        "log --follow",
        "run `dvc log --name-status`, in which renames have the letter R",
    ),
    (
        "log -S",
        "run `dvc log -- PATH`, or mount versions and search their files",
    ),
    ("log -L", "run `dvc log -- PATH`"),
    (
        "pull --no-rebase",
        "omit it: `dvc pull` only moves the branch forward",
    ),
    (
        "pull --ff-only",
        "omit it: `dvc pull` only moves the branch forward",
    ),
    (
        "pull --rebase",
        "omit it: `dvc pull` only moves the branch forward, and versions are never rewritten",
    ),
    (
        "push --delete",
        "run `dvc branch -d NAME` here; a branch on a remote cannot be deleted yet",
    ),
    ("push --mirror", "run `dvc push --all --tags`"),
    (
        "push -d",
        "run `dvc branch -d NAME` here; a branch on a remote cannot be deleted yet",
    ),
    (
        "push -f",
        "use `--force-with-lease`, which overwrites only what you have fetched",
    ),
    ("remote get-url", "run `dvc remote list`"),
    ("remote prune", "run `dvc fetch --prune NAME`"),
    (
        "remote rename",
        "run `dvc remote add NEW URL`, then `dvc remote rm OLD`",
    ),
    ("remote show", "run `dvc remote check NAME`"),
    ("remote update", "run `dvc fetch --all`"),
    ("tag -a", "omit it: a tag is a name without a message"),
    (
        "tag -m",
        "omit it: a tag is a name without a message; add `--trailer` to a commit instead",
    ),
    ("tag -s", "omit it: tags are not signed"),
];

/// Commands and options of restic, borg and kopia.
pub(crate) const BACKUP: &[HintRow] = &[
    (
        "backup",
        "run `dvc -C DIR commit -m MESSAGE`, with `--repo REPOSITORY` if it is not in DIR",
    ),
    (
        "break-lock",
        "run `dvc remote check`: locks expire by themselves",
    ),
    ("cat", "run `dvc show REV:PATH`"),
    (
        "check",
        "run `dvc fsck`, or `dvc fsck --data` to read all data",
    ),
    ("compact", "run `dvc gc`"),
    (
        "connect",
        "run `dvc clone URL`, or use `--repo URL` for one command",
    ),
    ("copy", "run `dvc push REMOTE`"),
    (
        "create",
        "run `dvc -C DIR commit -m MESSAGE`; `dvc init` creates a repository",
    ),
    (
        "delete",
        "run `dvc forget REV` for versions, `dvc branch -d NAME` or `dvc tag -d NAME` for names",
    ),
    (
        "dump",
        "run `dvc show REV:PATH`, or `dvc export REV` for a tar archive",
    ),
    ("export-tar", "run `dvc export REV -o FILE.tar`"),
    ("extract", "run `dvc checkout REV --into DIR`"),
    ("find", "run `dvc log -- PATH`, or `dvc ls -r REV`"),
    (
        "forget --group-by",
        "omit it: rules apply to each branch; `--branch GLOB` selects branches",
    ),
    (
        "forget --host",
        "omit it: use one branch for each host; `--branch GLOB` selects branches",
    ),
    (
        "forget --keep-tag",
        "omit it: a version with a tag is always kept",
    ),
    (
        "forget --path",
        "omit it: use one branch for each directory; `--branch GLOB` selects branches",
    ),
    ("forget --prune", "write `--gc`"),
    (
        "forget --tag",
        "omit it: a version with a tag is always kept",
    ),
    ("import-tar", "run `dvc import FILE.tar`"),
    ("info", "run `dvc show REV`, or `dvc du` for the sizes"),
    (
        "key",
        "repositories are not encrypted; use a store that encrypts",
    ),
    ("list", "run `dvc log` for versions, `dvc ls REV` for files"),
    ("maintenance", "run `dvc fsck` and `dvc gc`"),
    (
        "migrate",
        "omit it: dvc reads all repositories of older versions",
    ),
    (
        "passwd",
        "repositories are not encrypted; use a store that encrypts",
    ),
    (
        "policy",
        "run `dvc config set retention.NAME.daily 7`, then `dvc forget --policy NAME`; cron runs `dvc commit`",
    ),
    (
        "prune",
        "run `dvc forget --keep-daily 7 --gc`, or `dvc gc` to delete the data of forgotten versions",
    ),
    ("rebuild-index", "run `dvc fsck --rebuild`"),
    ("recover", "run `dvc fsck --rebuild`"),
    ("repair", "run `dvc fsck --repair`"),
    ("repo-create", "run `dvc init --repo DIR`"),
    (
        "repo-info",
        "run `dvc remote check`, or `dvc du` for the sizes",
    ),
    ("repo-list", "run `dvc log`"),
    (
        "repository",
        "run `dvc init`, `dvc clone URL`, or use `--repo URL` for one command",
    ),
    (
        "repository connect",
        "run `dvc clone URL`, or use `--repo URL` for one command",
    ),
    (
        "repository create",
        "run `dvc init --repo DIR`; the first `dvc push URL` creates one on a remote",
    ),
    (
        "repository status",
        "run `dvc remote check`, or `dvc doctor`",
    ),
    ("repository sync-to", "run `dvc push URL`"),
    (
        "rollback",
        "run `dvc checkout REV`, or `dvc undo` to undo the last commit",
    ),
    ("self-update", "install a newer binary"),
    (
        "server",
        "run `dvc serve --plugin` for Docker volumes; a remote needs no server",
    ),
    (
        "snapshot",
        "run `dvc commit` to make a version, `dvc log` to list versions",
    ),
    ("snapshot create", "run `dvc -C DIR commit -m MESSAGE`"),
    ("snapshot delete", "run `dvc forget REV`"),
    ("snapshot expire", "run `dvc forget --policy all`"),
    ("snapshot list", "run `dvc log`"),
    ("snapshot restore", "run `dvc checkout REV --into DIR`"),
    ("snapshot verify", "run `dvc fsck --data`"),
    ("snapshots", "run `dvc log`"),
    ("stats", "run `dvc du`"),
    ("sync", "run `dvc push` and `dvc pull`"),
    (
        "unlock",
        "run `dvc remote check`: locks expire by themselves",
    ),
    ("verify", "run `dvc fsck --data`"),
    (
        "-r",
        "write `--repo DIR` for the repository, or run `dvc clone URL`",
    ),
    (
        "--encryption",
        "omit it: repositories are not encrypted; use a store that encrypts",
    ),
    ("--exclude-file", "write the patterns into `.dvcsignore`"),
    (
        "--password-file",
        "omit it: repositories are not encrypted; use a store that encrypts",
    ),
    (
        "init -e",
        "omit it: repositories are not encrypted; use a store that encrypts",
    ),
];

/// Commands of tools for machines, containers and pipelines.
pub(crate) const OTHERS: &[HintRow] = &[
    ("history", "run `dvc log`"),
    (
        "inspect",
        "run `dvc volume inspect NAME`, or `dvc show REV`",
    ),
    (
        "ps",
        "run `dvc mount` to list mounts, `dvc volume ls` to list volumes",
    ),
    ("quickstart", "run `dvc init`, then `dvc commit -m MESSAGE`"),
    (
        "run",
        "run `docker run -v \"$(dvc volume path NAME)\":DIR IMAGE`",
    ),
    (
        "save",
        "run `dvc commit -m MESSAGE`, or `dvc export REV -o FILE.tar`",
    ),
    ("update", "run `dvc pull`, or install a newer binary"),
    ("upgrade", "install a newer binary"),
    (
        "exp",
        "that command belongs to the pipeline tool that is also called dvc",
    ),
    (
        "metrics",
        "that command belongs to the pipeline tool that is also called dvc",
    ),
    (
        "repro",
        "that command belongs to the pipeline tool that is also called dvc",
    ),
];

/// Returns the hint for a command or option, given the commands before it and the words after it.
pub(crate) fn hint(before: &[String], word: &str, after: &[String]) -> Option<&'static str> {
    let mut line = before.join(" ");
    if !line.is_empty() {
        line.push(' ');
    }
    line.push_str(word);
    let longer = after.first().map(|next| format!("{line} {next}"));
    let known = |typed: &str| {
        [GIT, BACKUP, OTHERS]
            .iter()
            .copied()
            .flatten()
            .find(|row| row.0 == typed)
    };
    let row = longer.as_deref().and_then(known).or_else(|| known(&line));
    // An option without a command in the table may follow any command.
    row.or_else(|| known(word).filter(|_| word.starts_with('-')))
        .map(|row| row.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_longest_row_wins() {
        let none: &[String] = &[];
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(
            hint(none, "snapshot", &words("create /data"))
                .unwrap()
                .contains("commit")
        );
        assert!(hint(none, "snapshot", none).unwrap().contains("dvc log"));
        assert!(
            hint(&words("commit"), "--amend", none)
                .unwrap()
                .contains("dvc undo")
        );
        assert!(
            hint(&words("commit"), "-r", none)
                .unwrap()
                .contains("--repo")
        );
        assert_eq!(hint(&words("remote"), "stash", none), None);
    }

    #[test]
    fn each_word_has_one_hint() {
        let all: Vec<&str> = [GIT, BACKUP, OTHERS]
            .iter()
            .copied()
            .flatten()
            .map(|row| row.0)
            .collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    /// Compares the tables with the documentation page.
    #[test]
    fn the_page_shows_the_tables() {
        let page = include_str!("../../../docs/coming-from.md");
        let (_, tables) = page.split_once("\n## git\n").unwrap();
        let shown: Vec<&str> = tables
            .lines()
            .filter(|line| line.starts_with("| `dvc "))
            .collect();
        let rows = [GIT, BACKUP, OTHERS].iter().copied().flatten();
        let expected: Vec<String> = rows
            .map(|(typed, hint)| format!("| `dvc {typed}` | {hint} |"))
            .collect();
        let missing: Vec<_> = expected
            .iter()
            .filter(|row| !shown.contains(&row.as_str()))
            .collect();
        assert!(
            missing.is_empty(),
            "docs/coming-from.md lacks\n{missing:#?}"
        );
        assert_eq!(
            shown.len(),
            expected.len(),
            "docs/coming-from.md has rows that the tables do not have"
        );
    }
}
