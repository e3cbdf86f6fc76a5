//! Every command that changes state accepts `-n`; with `-n`, repository and worktree stay
//! byte-identical.

use super::three;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn bytes(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(at) = todo.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                all.insert(path.clone(), std::fs::read(path).unwrap());
            }
        }
    }
    all
}

#[test]
fn nothing_changes() {
    let s = three();
    s.dvc(["tag", "golden"]).ok();
    s.write("a.txt", "changed\n");
    let before = bytes(&s.w(""));
    for args in [
        &["commit", "-n", "-m", "x", "--tag", "t"][..],
        &["commit", "-n", "-b", "new", "a.txt"],
        &["-n", "checkout", "-f", "main~1"],
        &["checkout", "-n", "main~1", "--into", "elsewhere"],
        &["checkout", "-n", "-f", "main~1", "--", "a.txt"],
        &["branch", "-n", "x"],
        &["branch", "-n", "-m", "y"],
        &["branch", "-n", "-d", "-f", "main"],
        &["tag", "-n", "x"],
        &["tag", "-n", "-d", "golden"],
        &["undo", "-n"],
        &["config", "-n", "core.jobs", "2"],
        &["init", "-n", "sub"],
    ] {
        s.dvc(args).ok();
        let after = bytes(&s.w(""));
        let differ: Vec<_> = before
            .keys()
            .chain(after.keys())
            .filter(|k| before.get(*k) != after.get(*k))
            .collect();
        assert!(differ.is_empty(), "{args:?} touched {differ:?}");
    }
}

/// One line per command, run with `-n` before the command. A command without dry runs must refuse
/// the option.
const LINES: &[&str] = &[
    "init sub",
    "clone ../far copy",
    "commit -m x",
    "status",
    "log -p",
    "show",
    "ls",
    "diff --stat",
    "checkout -f main~1",
    "mount main m",
    "umount m",
    "export -o out.tar",
    "import ../in.tar -b imported",
    "branch x",
    "tag x",
    "remote add other ../other",
    "remote set origin ../other",
    "remote rm origin",
    "remote list",
    "remote check",
    "push",
    "fetch",
    "pull",
    "volume create v --from main",
    "volume ls",
    "volume inspect none",
    "volume path none",
    "volume has none",
    "volume rm none",
    "volume mv none other",
    "serve --plugin=plugin.sock",
    "fsck --rebuild",
    "fsck --repair --data",
    "forget main~1",
    "trash ls",
    "trash restore main~1",
    "trash empty",
    "gc --cache",
    "du",
    "doctor",
    "undo",
    "pack --no-push",
    "unpack --no-pull",
    "config core.jobs 2",
    "config set core.jobs 2",
    "config unset core.jobs",
    "config list",
    "completions all --dir out",
    "completions bash",
    "version",
];

/// Commands that refuse `-n`, because they cannot predict their effect.
const REFUSED: &[&str] = &[
    "clone",
    "export",
    "remote check",
    "serve",
    "volume path",
    "completions all --dir",
];

#[test]
fn every_verb_honours_a_dry_run_or_refuses_it() {
    let s = three();
    let far = s.at("far");
    s.dvc(["push", far.to_str().unwrap(), "main"]).ok();
    s.dvc(["clone", far.to_str().unwrap(), "../other-host"])
        .ok();
    std::fs::write(s.at("other-host/new"), "of another host").unwrap();
    s.dvc(["-C", "../other-host", "commit", "-m", "fourth"])
        .ok();
    s.dvc(["-C", "../other-host", "push"]).ok();
    s.dvc(["remote", "add", "origin", far.to_str().unwrap()])
        .ok();
    s.dvc(["export", "-o", "../in.tar"]).ok();
    s.write("a.txt", "in the trash\n");
    s.dvc(["checkout", "-f", "main"]).ok();
    s.write("a.txt", "changed\n");
    std::fs::create_dir(s.w("m")).unwrap();
    let help = s.dvc(["--help"]).ok().out;
    let (_, listed) = help.split_once("Commands:\n").unwrap();
    let listed = listed.lines().take_while(|line| !line.is_empty());
    let verbs = listed
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap());
    for verb in verbs.filter(|verb| *verb != "help") {
        assert!(
            LINES
                .iter()
                .any(|line| line.split(' ').next() == Some(verb)),
            "no line for `{verb}`"
        );
    }
    // A dry run may write to caches and to the runtime directory.
    let all = || {
        let mut all = bytes(s.root());
        all.retain(|path, _| {
            !path.starts_with(s.at("home/cache")) && !path.starts_with(s.at("home/run"))
        });
        all
    };
    // Both commands enter what they have read in the catalogue.
    s.dvc(["status"]).ok();
    s.dvc(["du"]).ok();
    let before = all();
    for line in LINES {
        let run = s.dvc(["-n"].into_iter().chain(line.split(' ')));
        let after = all();
        let differ: Vec<_> = before
            .keys()
            .chain(after.keys())
            .filter(|k| before.get(*k) != after.get(*k))
            .collect();
        assert!(
            differ.is_empty(),
            "{line}: {differ:?}\n{}{}",
            run.out,
            run.err
        );
        let refused = run.err.contains("does not support a dry run");
        assert_eq!(
            refused,
            REFUSED.iter().any(|verb| line.starts_with(verb)),
            "{line}:\n{}{}",
            run.out,
            run.err
        );
        assert!(!refused || run.code == 2);
    }
}
