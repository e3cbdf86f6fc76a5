//! Every verb that changes state has `-n`, which leaves the repository and the worktree byte-identical.

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
        let differ: Vec<_> = before.keys().chain(after.keys()).filter(|k| before.get(*k) != after.get(*k)).collect();
        assert!(differ.is_empty(), "{args:?} touched {differ:?}");
    }
}
