//! The words of `dvc fsck --repair`, its exit codes, `-n`, and repairs from files.

use std::fs;

use super::{assert_whole, flip, flip_middle, packs, pushed, two};
use crate::mount::harness::Volume;
use crate::support::known::{files_of, noise};

#[test]
fn a_damaged_pack_from_a_remote() {
    let s = pushed();
    let pack = packs(&s.w(".dvcs"), 0).remove(0);
    let good = fs::read(&pack).unwrap();
    flip_middle(&pack);
    s.dvc(["fsck", "--data"])
        .code(5)
        .says("hint: run `dvc fsck --repair` to repair the damage");
    let before = files_of(&s.w(".dvcs/packs"));
    let dry = s
        .dvc(["fsck", "--repair", "-n"])
        .code(5)
        .says("would repair ")
        .says(" in 1 pack\n")
        .says("from `origin`");
    assert!(files_of(&s.w(".dvcs/packs")) == before);
    let run = s
        .dvc(["fsck", "--repair"])
        .ok()
        .says(" in 1 pack\n")
        .says("from `origin`")
        .says("no damage");
    assert_eq!(
        dry.out.lines().next().unwrap().strip_prefix("would repair"),
        run.out.lines().next().unwrap().strip_prefix("repaired")
    );
    assert!(fs::read(&pack).unwrap() == good);
    assert_whole(&s);
    s.dvc(["fsck", "--repair"]).ok().says("no damage");
}

#[test]
fn a_lost_pack_from_the_worktree() {
    let s = two();
    // Only the newest version is in the worktree.
    for pack in packs(&s.w(".dvcs"), 0) {
        fs::remove_file(pack).unwrap();
    }
    let run = s
        .dvc(["fsck", "--repair"])
        .code(5)
        .says("lost: 1 path in 1 version")
        .says("  noise  main@v1\n");
    assert!(run.out.starts_with("repaired "), "{}", run.out);
    assert!(s.dvc(["show", "main:noise"]).ok().bytes == noise(3, 300_000));
    assert!(s.dvc(["show", "main~1:d/large"]).ok().bytes == noise(2, 4_000_000));
    s.dvc(["show", "main~1:noise"]).code(5);
    // The rest is in a directory under another name.
    fs::create_dir_all(s.at("backup/deep")).unwrap();
    fs::write(s.at("backup/deep/old"), noise(1, 300_000)).unwrap();
    s.dvc(["fsck", "--repair", "--from", "../backup"])
        .ok()
        .says("/backup`");
    assert_whole(&s);
}

#[test]
fn trees_and_lists_from_the_worktree() {
    let s = two();
    let root = s.w(".dvcs");
    let all = packs(&root, 1);
    assert!(!all.is_empty(), "a large file has a list");
    all.iter().for_each(|pack| fs::remove_file(pack).unwrap());
    s.dvc(["fsck"]).code(5);
    s.dvc(["fsck", "--repair"]).ok().says("repaired ");
    assert_whole(&s);
}

#[test]
fn a_tree_from_the_worktree() {
    let s = two();
    // The frame of the trees is damaged, and that of the commit is not.
    let pack = packs(&s.w(".dvcs"), 2).into_iter().next_back().unwrap();
    let good = fs::read(&pack).unwrap();
    let mut repaired = 0;
    for at in [30, 60, 90, 120] {
        fs::write(&pack, &good).unwrap();
        flip(&pack, at);
        s.dvc(["fsck", "--data", "--repair"]);
        repaired += usize::from(s.dvc(["fsck", "--data"]).code == 0);
    }
    assert!(repaired > 0);
}

#[test]
fn a_repository_as_source() {
    let s = two();
    s.dvc(["clone", "../w/.dvcs", "../other"]).ok();
    packs(&s.w(".dvcs"), 0)
        .iter()
        .for_each(|pack| flip_middle(pack));
    fs::remove_dir_all(s.w("d")).unwrap();
    s.dvc(["fsck", "--data", "--repair", "--from", "../other"])
        .ok()
        .says("no damage");
    assert_whole(&s);
    s.dvc(["fsck", "--from", "../other"]).code(2);
    s.dvc(["fsck", "--repair", "--from", "../nothing"])
        .code(2)
        .complains("neither a remote nor a directory");
}

#[test]
fn what_stays_lost_is_named() {
    let s = two();
    s.write("noise", "changed");
    packs(&s.w(".dvcs"), 0)
        .iter()
        .for_each(|pack| flip(pack, 60_000));
    let run = s.dvc(["fsck", "--repair", "--data"]).code(5);
    run.says("lost: ").says("main@v");
}

#[test]
fn another_copy_in_the_repository() {
    let s = two();
    let root = s.w(".dvcs");
    let pack = packs(&root, 0).remove(0);
    let good = fs::read(&pack).unwrap();
    // While its pack is away, a commit stores the content again.
    fs::remove_file(&pack).unwrap();
    s.write("new", "new");
    s.dvc(["commit", "-m", "third"]).ok();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    fs::write(&pack, &bad).unwrap();
    s.dvc(["fsck", "--data"]).code(5);
    let run = s.dvc(["fsck", "--repair"]);
    if run.code == 0 {
        run.says("the index no longer refers to it");
        s.dvc(["fsck", "--data"]).ok();
    }
    assert!(fs::read(&pack).unwrap() == bad, "the damaged pack stays");
}

#[test]
fn from_a_mount_that_has_the_bytes() {
    let Some(v) = Volume::of(|dir| fs::write(dir.join("data"), noise(5, 500_000)).unwrap()) else {
        return;
    };
    let mut mount = v.mount(&[]);
    // The mount has its own copy of a file that was written again.
    fs::write(mount.at("data"), noise(5, 500_000)).unwrap();
    let root = v.s.at("r");
    packs(&root, 0).iter().for_each(|pack| flip_middle(pack));
    fs::remove_file(v.s.w("data")).unwrap();
    v.dvc(&["fsck", "--data", "--repair"])
        .ok()
        .says("repaired ");
    v.dvc(&["fsck", "--data"]).ok();
    mount.down_with(&["--discard"]).ok();
}
