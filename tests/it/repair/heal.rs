//! Reads that meet damage ask the remotes, and the next commit stores damaged objects again.

use std::fs;

use super::{flip_middle, packs, pushed};
use crate::mount::harness::Volume;
use crate::support::known::{files_of, noise};

#[test]
fn a_checkout_and_a_diff() {
    let s = pushed();
    packs(&s.w(".dvcs"), 0)
        .iter()
        .for_each(|pack| flip_middle(pack));
    s.dvc(["--offline", "checkout", "main", "--into", "../offline"])
        .code(5);
    s.dvc([
        "-c",
        "core.heal=false",
        "checkout",
        "main",
        "--into",
        "../unhealed",
    ])
    .code(5);
    let before = files_of(&s.w(".dvcs/packs"));
    s.dvc(["checkout", "main", "--into", "../copy"])
        .ok()
        .complains("run `dvc fsck --repair` to repair them");
    assert!(fs::read(s.at("copy/noise")).unwrap() == noise(3, 300_000));
    assert!(fs::read(s.at("copy/d/large")).unwrap() == noise(2, 4_000_000));
    assert!(
        files_of(&s.w(".dvcs/packs")) == before,
        "a read changes no pack"
    );
    // The damage is noted, so a repair needs no `--data`.
    s.dvc(["fsck", "--repair"]).ok().says("repaired ");
    s.dvc(["--offline", "checkout", "main", "--into", "../offline2"])
        .ok();
}

#[test]
fn lost_packs_and_lost_trees() {
    let s = pushed();
    fs::remove_dir_all(s.w(".dvcs/packs")).unwrap();
    s.dvc(["checkout", "main", "--into", "../copy"]).ok();
    assert!(fs::read(s.at("copy/d/large")).unwrap() == noise(2, 4_000_000));
    s.dvc(["fsck", "--repair"]).ok();
    super::assert_whole(&s);
}

#[test]
fn a_remote_with_wrong_bytes_heals_nothing() {
    let s = pushed();
    for root in [s.w(".dvcs"), s.at("far")] {
        packs(&root, 0).iter().for_each(|pack| flip_middle(pack));
    }
    s.dvc(["checkout", "main", "--into", "../copy"]).code(5);
    // A remote that is another repository, and one that is gone.
    fs::remove_dir_all(s.at("far")).unwrap();
    s.dvc(["checkout", "main", "--into", "../copy2"]).code(5);
    s.dvc(["init", "--repo", "../far"]).ok();
    s.dvc(["checkout", "main", "--into", "../copy3"]).code(5);
}

#[test]
fn a_mount() {
    let Some(v) = Volume::of(|dir| fs::write(dir.join("data"), noise(5, 500_000)).unwrap()) else {
        return;
    };
    let far = v.s.at("far");
    v.dvc(&["remote", "add", "origin", far.to_str().unwrap()])
        .ok();
    v.dvc(&["push"]).ok();
    let mut mount = v.mount(&["--ro"]);
    packs(&v.s.at("r"), 0)
        .iter()
        .for_each(|pack| flip_middle(pack));
    assert!(fs::read(mount.at("data")).unwrap() == noise(5, 500_000));
    // A repair is seen by the mount that runs.
    v.dvc(&["fsck", "--repair", "--data"]).ok();
    fs::remove_dir_all(&far).unwrap();
    mount.down();
    v.dvc(&["checkout", "main", "--into", "../copy"]).ok();
}

#[test]
fn a_push_to_another_remote() {
    let s = pushed();
    packs(&s.w(".dvcs"), 0)
        .iter()
        .for_each(|pack| flip_middle(pack));
    s.dvc(["remote", "add", "second", "../second"]).ok();
    s.dvc(["push", "second"]).ok();
    s.dvc(["--repo", "../second", "fsck", "--data"]).ok();
    s.dvc(["--repo", "../second", "show", "main~1:noise"]).ok();
}

#[test]
fn the_next_commit_stores_damaged_chunks_again() {
    let s = super::two();
    let root = s.w(".dvcs");
    // Wait until the stat records vouch for the files.
    s.dvc(["commit", "-m", "third", "--allow-empty"]).ok();
    packs(&root, 0).iter().for_each(|pack| flip_middle(pack));
    s.dvc(["fsck", "--data"]).code(5);
    let before = packs(&root, 0).len();
    s.dvc(["commit", "-m", "fourth", "--allow-empty"]).ok();
    assert!(
        packs(&root, 0).len() > before,
        "the damaged chunks are stored again"
    );
    assert!(s.dvc(["show", "main:noise"]).ok().bytes == noise(3, 300_000));
    assert!(s.dvc(["show", "main:d/large"]).ok().bytes == noise(2, 4_000_000));
    // The damage is forgotten with it, so another commit stores nothing.
    let after = packs(&root, 0).len();
    s.write("new", "new");
    s.dvc(["commit", "-m", "fifth"]).ok();
    assert_eq!(packs(&root, 0).len(), after);
}
