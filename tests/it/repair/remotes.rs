//! Repairs of a remote from the local repository, and repairs from remotes on other machines.

use std::fs;

use super::{assert_whole, flip_middle, packs, pushed, two};
use crate::remotes::place::{self, Place};
use crate::support::known::files_of;
use crate::support::sandbox::Sandbox;
use crate::support::servers::s3::{S3, Switches};

#[test]
fn a_directory() {
    let s = pushed();
    let far = s.at("far");
    let good = files_of(&far);
    for kind in [0, 1, 2] {
        let pack = packs(&far, kind).remove(0);
        flip_middle(&pack);
        s.dvc(["fsck", "origin", "--data"]).code(5);
        s.dvc(["fsck", "origin", "--data", "--repair", "-n"])
            .code(5)
            .says("would repair ");
        s.dvc(["fsck", "origin", "--data", "--repair"])
            .ok()
            .says("repaired ")
            .says(".dvcs`");
        assert!(files_of(&far) == good);
        fs::remove_file(&pack).unwrap();
        s.dvc(["fsck", "--repair", "origin"]).ok().says("repaired ");
        assert!(files_of(&far) == good);
    }
}

#[test]
fn objects_that_the_local_repository_has_in_other_packs() {
    let s = pushed();
    let far = s.at("far");
    crate::support::collected::salt_packs(&s.w(".dvcs"), [7, 0, 0, 1]);
    s.dvc(["fsck", "--rebuild"]).ok();
    for kind in [0, 1, 2] {
        packs(&far, kind)
            .iter()
            .for_each(|pack| fs::remove_file(pack).unwrap());
    }
    s.dvc(["fsck", "--repair", "origin"]).ok().says("repaired ");
    s.dvc(["clone", "../far", "../clone"]).ok();
    s.dvc(["-C", "../clone", "fsck", "--data"]).ok();
}

#[test]
fn segments_and_tips_of_a_directory() {
    let s = pushed();
    let far = s.at("far");
    for (name, _) in files_of(&far.join("index")) {
        let path = far.join("index").join(String::from_utf8(name).unwrap());
        flip_middle(&path);
        s.dvc(["fsck", "origin"]).code(5);
        s.dvc(["fsck", "origin", "--repair"])
            .ok()
            .says("1 index segment");
    }
    // A segment that the local repository does not have.
    s.dvc(["fsck", "--rebuild"]).ok();
    let name = files_of(&far.join("index")).into_keys().next().unwrap();
    flip_middle(&far.join("index").join(String::from_utf8(name).unwrap()));
    s.dvc(["fsck", "origin", "--repair"])
        .ok()
        .says("1 index segment");
    s.dvc(["fsck", "origin", "--data"]).ok();

    let log = far.join("refs/heads/main");
    let mut entries: Vec<_> = fs::read_dir(&log)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    entries.sort();
    fs::write(&entries[0], "damaged").unwrap();
    s.dvc(["fsck", "origin", "--repair"])
        .ok()
        .says("repaired branch `main`");
    s.write("more", "more");
    s.dvc(["commit", "-m", "third"]).ok();
    s.dvc(["push"]).ok();
}

/// Pushes to a place, damages the local repository, and repairs it from there.
fn repaired_from(place: &Place) -> Sandbox {
    let mut s = two();
    for (name, value) in &place.env {
        s.set(name, value);
    }
    s.dvc(["remote", "add", "origin", &place.url]).ok();
    s.dvc(["push"]).ok();
    packs(&s.w(".dvcs"), 0)
        .iter()
        .for_each(|pack| flip_middle(pack));
    packs(&s.w(".dvcs"), 2)
        .iter()
        .for_each(|pack| fs::remove_file(pack).unwrap());
    s.dvc(["--offline", "fsck", "--repair", "--data"]).code(5);
    s.dvc(["fsck", "--repair", "--data"])
        .ok()
        .says("from `origin`");
    assert_whole(&s);
    s
}

#[test]
fn sftp() {
    let Some(place) = place::sftp() else { return };
    let s = repaired_from(&place);
    let files = place.files.clone().unwrap();
    let good = files_of(&files);
    packs(&files, 0).iter().for_each(|pack| flip_middle(pack));
    s.dvc(["fsck", "origin", "--repair", "--data"])
        .ok()
        .says("repaired ");
    assert!(files_of(&files) == good);
}

#[test]
fn s3() {
    let s3 = S3::start(Switches::default());
    let mut s = two();
    for (name, value) in s3.env() {
        s.set(name, &value);
    }
    s.dvc(["remote", "add", "origin", &s3.url("p")]).ok();
    s.dvc(["push"]).ok();
    packs(&s.w(".dvcs"), 0)
        .iter()
        .for_each(|pack| flip_middle(pack));
    s.dvc(["fsck", "--repair", "--data"])
        .ok()
        .says("from `origin`");
    assert_whole(&s);
    for key in s3.keys().iter().filter(|key| key.starts_with("p/packs/")) {
        s3.damage(key, |bytes| {
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
        });
        s.dvc(["fsck", "origin", "--repair", "--data"])
            .ok()
            .says("repaired ");
        s3.lose(key);
        s.dvc(["fsck", "origin", "--repair", "--data"])
            .ok()
            .says("repaired ");
    }
    s.dvc(["clone", &s3.url("p"), "../clone"]).ok();
}

#[test]
fn a_registry() {
    let Some(place) = place::oci() else { return };
    let s = repaired_from(&place);
    s.dvc(["fsck", "origin", "--data"]).ok();
}
