//! Repairs that are killed, that run out of space, and that run beside other commands.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use super::{assert_whole, flip_middle, packs, pushed};
use crate::support::collected::salt_packs;
use crate::support::known::{files_of, noise};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::small::Small;
use crate::support::spawned::Spawned;

/// Creates a repository with a remote. If `salted`, the remote has the same objects in other packs.
fn pushed_as(salted: bool) -> Sandbox {
    let s = pushed();
    if salted {
        salt_packs(&s.w(".dvcs"), [7, 0, 0, 1]);
        s.dvc(["fsck", "--rebuild"]).ok();
    }
    s
}

#[test]
fn a_repair_that_is_killed_is_finished_by_the_next_one() {
    for salted in [false, true] {
        let s = pushed_as(salted);
        let root = s.w(".dvcs");
        (0..3)
            .flat_map(|kind| packs(&root, kind))
            .for_each(|pack| flip_middle(&pack));
        s.dvc(["fsck", "--data"]).code(5);
        for step in 0..12u64 {
            let mut child = s
                .command(["fsck", "--repair"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(20 + step * 25));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        s.dvc(["fsck", "--repair"]).ok();
        assert_whole(&s);
    }
}

#[test]
fn two_repairs_and_a_commit_at_once() {
    for salted in [false, true] {
        let s = pushed_as(salted);
        let root = s.w(".dvcs");
        packs(&root, 0).iter().for_each(|pack| flip_middle(pack));
        s.dvc(["fsck", "--data"]).code(5);
        s.write("more", noise(9, 2_000_000));
        let start = |args: &[&str]| {
            Spawned::start(
                s.command(args)
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped()),
            )
        };
        let repairs: Vec<_> = (0..2).map(|_| start(&["fsck", "--repair"])).collect();
        let commit = start(&["commit", "-m", "third"]);
        commit.finish().ok();
        for repair in repairs {
            repair.finish().ok();
        }
        s.dvc(["fsck", "--data"]).ok();
        assert!(
            s.dvc(["-c", "core.heal=false", "show", "main:more"])
                .ok()
                .bytes
                == noise(9, 2_000_000)
        );
        assert!(
            s.dvc(["-c", "core.heal=false", "show", "main:d/large"])
                .ok()
                .bytes
                == noise(2, 4_000_000)
        );
    }
}

#[test]
fn a_full_disk() {
    let s = pushed();
    let place = s.at("small");
    let Some(_small) = Small::mount(&place, "12m") else {
        return;
    };
    let root = place.join("r");
    crate::support::known::copy_dir(&s.w(".dvcs"), &root);
    let dvc = |args: &[&str]| Run::of(s.command(["--repo", root.to_str().unwrap()]).args(args));
    dvc(&["remote", "set", "origin", s.at("far").to_str().unwrap()]).ok();
    fs::remove_dir_all(s.w("d")).unwrap();
    let pack = packs(&root, 0).remove(0);
    flip_middle(&pack);
    dvc(&["fsck", "--data"]).code(5);
    // Fill it up.
    let mut filler = fs::File::create(place.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[1; 4096]).is_ok() {}
    let before = files_of(&root.join("packs"));
    // The records of damage cannot be read on a full disk.
    dvc(&["fsck", "--repair", "--data"]).code(8);
    assert!(files_of(&root.join("packs")) == before);
    drop(filler);
    fs::remove_file(place.join("filler")).unwrap();
    dvc(&["fsck", "--repair"]).ok();
    dvc(&["fsck", "--data"]).ok();
    assert!(files_of(&root.join("tmp")).is_empty());
}
