//! Repairs: every kind of damage, from every kind of source.

mod commands;
mod heal;
mod interrupted;
mod refs;
mod remotes;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::known::{files_of, noise};
use crate::support::sandbox::Sandbox;

/// Returns the packs of a repository of one kind (0: data, 1: lists, 2: trees), the largest first.
pub fn packs(root: &Path, kind: u8) -> Vec<PathBuf> {
    let files = files_of(&root.join("packs"));
    let mut packs: Vec<_> = files
        .into_iter()
        .filter(|(_, bytes)| bytes.get(8) == Some(&kind))
        .collect();
    packs.sort_by_key(|(_, bytes)| std::cmp::Reverse(bytes.len()));
    packs
        .into_iter()
        .map(|(name, _)| root.join("packs").join(String::from_utf8(name).unwrap()))
        .collect()
}

/// Changes one bit of a file.
pub fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Changes one bit in the middle of a file.
pub fn flip_middle(path: &Path) {
    flip(path, fs::read(path).unwrap().len() / 2);
}

/// A repository with two versions of some files, without a remote.
pub fn two() -> Sandbox {
    let mut s = Sandbox::new();
    s.set("DVC_AUTHOR", "Ann <ann@example.org>");
    s.dvc(["init", "-b", "main"]).ok();
    s.write("noise", noise(1, 300_000));
    s.write("d/text", "a line of text\n".repeat(9_000));
    s.write("d/large", noise(2, 4_000_000));
    s.dvc(["commit", "-m", "first"]).ok();
    s.write("noise", noise(3, 300_000));
    s.dvc(["commit", "-m", "second"]).ok();
    s
}

/// The same with a remote in the directory `far`, to which everything is pushed.
pub fn pushed() -> Sandbox {
    let s = two();
    s.dvc(["remote", "add", "origin", "../far"]).ok();
    s.dvc(["push"]).ok();
    s
}

/// Asserts that both versions can be read, without help of a remote.
pub fn assert_whole(s: &Sandbox) {
    s.dvc(["-c", "core.heal=false", "fsck", "--data"])
        .ok()
        .says("no damage");
    for (revision, seed) in [("main~1", 1), ("main", 3)] {
        let show = |path: &str| {
            s.dvc([
                "-c",
                "core.heal=false",
                "show",
                &format!("{revision}:{path}"),
            ])
            .ok()
            .bytes
        };
        assert!(show("noise") == noise(seed, 300_000));
        assert!(show("d/large") == noise(2, 4_000_000));
    }
}
