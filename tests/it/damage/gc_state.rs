//! The garbage collection state in a repository: `fsck` checks it, and it does not affect other
//! commands.

use std::fs;
use std::path::Path;

use dvc::model::id::Id;

use crate::support::collected::{GcState, salt_packs, write_state};
use crate::support::known::{files_of, noise};
use crate::support::needs;
use crate::support::sandbox::Sandbox;

/// Creates a repository with two versions and the state of two collections.
fn collected() -> (Sandbox, GcState) {
    let s = Sandbox::with_repo();
    for n in 1..=2 {
        s.write("data", noise(n, 300_000));
        s.dvc(["commit", "-m", &format!("version {n}")]).ok();
    }
    let state = state_of(&s, &s.w(".dvcs"));
    (s, state)
}

fn state_of(s: &Sandbox, root: &Path) -> GcState {
    let out = s.dvc(["log", "--format=%H"]).ok().out;
    let ids: Vec<Id> = out.lines().map(|line| Id::parse(line).unwrap()).collect();
    write_state(root, &ids[1], &ids[0])
}

#[test]
fn the_state_is_known() {
    let (s, state) = collected();
    let run = s.dvc(["fsck", "--data"]).ok().says("no damage");
    assert!(
        !run.err.contains("unknown") && !run.err.contains(" is not "),
        "{}",
        run.err
    );
    // The second plan replaces the first one, so the list of the first one is not needed.
    fs::remove_file(&state.old_list).unwrap();
    s.dvc(["fsck"]).ok().says("no damage");
}

#[test]
fn damage_is_named() {
    let (s, state) = collected();
    let root = s.w(".dvcs");
    let [folding, newest_trash] = &state.trash;
    let cases = [
        ("gc log", &state.plan),
        ("gc log", &state.dead),
        ("pack list", &state.list),
        ("trash log", folding),
        ("trash log", newest_trash),
        ("lease", &state.lease),
        ("ref", &state.overwritten),
    ];
    for (what, path) in cases {
        let key = path.strip_prefix(&root).unwrap().to_str().unwrap();
        let good = fs::read(path).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        let mut all = vec![flipped, good[..good.len() - 1].to_vec()];
        // A lease without content is one that its process has not written yet.
        if what != "lease" {
            all.push(Vec::new());
        }
        for bad in all {
            fs::write(path, bad).unwrap();
            s.dvc(["fsck"])
                .code(5)
                .complains(&format!("{what} `{key}`"));
        }
        fs::write(path, good).unwrap();
    }
    s.dvc(["fsck"]).ok();
}

#[test]
fn missing_and_misplaced_objects_are_named() {
    let (s, state) = collected();
    let root = s.w(".dvcs");
    let list = fs::read(&state.list).unwrap();
    fs::remove_file(&state.list).unwrap();
    s.dvc(["fsck"]).code(5).complains("the list is missing");
    fs::write(&state.list, list).unwrap();

    // Copy an entry to the key of a later number, which also leaves a gap below it.
    let later = root
        .join("quarantine/log")
        .join(dvc::format::logkey::seq_key(5));
    fs::copy(&state.plan, &later).unwrap();
    s.dvc(["fsck"])
        .code(5)
        .complains("the key says entry 5")
        .complains("entry 4 is missing");
    fs::remove_file(later).unwrap();

    let newest = fs::read(&state.trash[1]).unwrap();
    fs::remove_file(&state.trash[0]).unwrap();
    s.dvc(["fsck"])
        .code(5)
        .complains("trash log `trash`: entries 1 to 3 are missing");
    fs::remove_file(&state.trash[1]).unwrap();
    s.dvc(["fsck"]).ok();
    fs::write(root.join("trash/notes"), newest).unwrap();
    fs::write(root.join("quarantine/more"), "").unwrap();
    fs::write(root.join("sessions/lease-x"), "").unwrap();
    let run = s.dvc(["fsck"]).ok();
    for key in ["trash/notes", "quarantine/more", "sessions/lease-x"] {
        assert!(run.err.contains(key), "{key}: {}", run.err);
    }
}

#[test]
fn salted_packs_are_packs() {
    let s = Sandbox::with_repo();
    s.write("data", noise(1, 300_000));
    s.dvc(["commit", "-m", "one"]).ok();
    salt_packs(&s.w(".dvcs"), [7, 0, 0, 1]);
    s.dvc(["fsck"]).code(5);
    s.dvc(["fsck", "--rebuild", "--data"]).ok();
    s.dvc(["fsck", "--data"]).ok().says("no damage");
    s.dvc(["checkout", "HEAD", "--into", "../copy"]).ok();
    assert_eq!(fs::read(s.at("copy/data")).unwrap(), noise(1, 300_000));
    s.write("data", noise(1, 310_000));
    s.dvc(["commit", "-m", "two"]).ok();
    s.dvc(["fsck", "--data"]).ok().says("no damage");
    s.dvc(["clone", "../w/.dvcs", "../clone"]).ok();
    s.dvc(["-C", "../clone", "fsck", "--data"])
        .ok()
        .says("no damage");
}

#[test]
fn copies_are_not_disturbed() {
    let (s, _) = collected();
    let remote = s.at("remote");
    s.dvc(["remote", "add", "origin", remote.to_str().unwrap()])
        .ok();
    s.dvc(["push"]).ok();
    // Garbage collection state is local: a push sends no gc log, no lease and no deleted refs.
    let sent = files_of(&remote);
    let is_state = |key: &[u8]| {
        ["quarantine/", "trash/", "sessions/", "refs/trash/"]
            .iter()
            .any(|dir| key.starts_with(dir.as_bytes()))
            // Processes that write lock this file; it is empty.
            && key != b"sessions/writers"
    };
    assert!(sent.keys().all(|key| !is_state(key)));

    // The remote gets the state of its own collections. Clones and pushes must not copy it.
    state_of(&s, &remote);
    let url = remote.to_str().unwrap();
    s.dvc(["--repo", url, "fsck", "--data"])
        .ok()
        .says("no damage");
    s.dvc(["--repo", url, "log"]).ok();
    s.dvc(["--repo", url, "du"]).ok();
    s.dvc(["clone", url, "../clone"]).ok();
    let cloned = files_of(&s.at("clone/.dvcs"));
    assert!(cloned.keys().all(|key| !is_state(key)));
    s.write("data", noise(3, 300_000));
    s.dvc(["commit", "-m", "version 3"]).ok();
    s.dvc(["push"]).ok();
    s.dvc(["-C", "../clone", "pull"]).ok();
    assert_eq!(fs::read(s.at("clone/data")).unwrap(), noise(3, 300_000));
    s.dvc(["clone", "--lazy", url, "../lazy"]).ok();
    s.dvc(["-C", "../lazy", "fsck"]).ok();
    for args in [
        &["du"][..],
        &["gc", "--cache"],
        &["undo"],
        &["status"],
        &["fsck", "--rebuild"],
        &["fsck", "--data"],
    ] {
        s.dvc(args).ok();
    }

    // A copy of the directory by another program includes the state.
    needs::run("cp", &["-r", url, s.at("mirror").to_str().unwrap()]);
    let mirror = s.at("mirror");
    s.dvc(["--repo", mirror.to_str().unwrap(), "fsck", "--data"])
        .ok()
        .says("no damage");
    assert!(mirror.join("quarantine/log").is_dir());
}
