//! A copy of a pushed repository, made file by file by another program, is a valid repository.

use std::path::Path;

use super::journey::noise;
use super::place::{self, Place};
use crate::support::facts::{Compare, assert_same_by};
use crate::support::needs;
use crate::support::sandbox::{Run, Sandbox};

/// Creates a remote to which Ann has pushed three versions and a tag.
fn pushed(place: &Place) -> Sandbox {
    let s = place.person("Ann");
    s.dvc(["init", "--branch", "AMCC"]).ok();
    s.dvc(["remote", "add", "origin", &place.url]).ok();
    for n in 1..=3 {
        s.write("data/table", noise(n, 300_000));
        s.write("n", n.to_string());
        s.dvc(["commit", "-m", &format!("version {n}")]).ok();
        s.dvc(["push"]).ok();
    }
    s.dvc(["tag", "v1.0", "AMCC~1"]).ok();
    s.dvc(["push", "--tags"]).ok();
    s
}

/// Asserts that a mirror is undamaged and can be read, cloned, and pushed to.
fn is_a_repository(s: &Sandbox, mirror: &Path) {
    let url = mirror.to_str().unwrap();
    let bob = Sandbox::new();
    bob.dvc(["--repo", url, "fsck", "--data"])
        .ok()
        .says("no damage");
    bob.dvc(["--repo", url, "log", "--format=%s"])
        .ok()
        .says("version 3\nversion 2\nversion 1\n");
    bob.dvc(["clone", url, "copy"]).ok();
    let how = Compare {
        root_time: false,
        ..Compare::default()
    };
    assert_same_by(&s.w(""), &bob.w("copy"), &how);
    assert_eq!(bob.dvc(["-C", "copy", "show", "v1.0:n"]).ok().out, "2");

    bob.write("copy/n", "4");
    bob.dvc(["-C", "copy", "commit", "-m", "version 4"]).ok();
    bob.dvc(["-C", "copy", "push"]).ok();
    bob.dvc(["--repo", url, "fsck", "--data"])
        .ok()
        .says("no damage");
    bob.dvc(["clone", &format!("file://{url}"), "again"]).ok();
    assert_eq!(bob.read("again/n"), b"4");
}

#[test]
fn by_cp() {
    let place = place::directory();
    let s = pushed(&place);
    let mirror = s.at("mirror");
    needs::run("cp", &["-r", &place.url, mirror.to_str().unwrap()]);
    is_a_repository(&s, &mirror);
}

#[test]
fn by_rclone() {
    let Some(rclone) = needs::server("rclone") else {
        return;
    };
    let place = place::directory();
    let s = pushed(&place);
    let mirror = s.at("mirror");
    Run::of(s.other(&rclone).args(["sync", &place.url]).arg(&mirror)).ok();
    is_a_repository(&s, &mirror);
}

#[test]
fn of_a_directory_behind_ssh() {
    let Some(place) = place::sftp() else { return };
    let s = pushed(&place);
    let mirror = s.at("mirror");
    needs::run(
        "cp",
        &[
            "-r",
            place.files.as_ref().unwrap().to_str().unwrap(),
            mirror.to_str().unwrap(),
        ],
    );
    is_a_repository(&s, &mirror);
}

/// Ref entries have different keys in stores without conditional writes. All clients read both
/// forms.
#[test]
fn of_webdav_by_rclone() {
    let Some(place) = place::webdav() else { return };
    let s = pushed(&place);
    let mirror = s.at("mirror");
    let rclone = needs::need("rclone");
    let server = place.url.replace("webdav://", "http://");
    let from = format!(":webdav,url='{}':", server);
    Run::of(s.other(&rclone).args(["sync", &from]).arg(&mirror)).ok();
    let entries = place::below(&mirror.join("refs/heads"));
    // The log of a new ref begins with an entry without a value.
    assert_eq!(entries.len(), 4, "{entries:?}");
    let unique =
        |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().contains('.');
    assert!(entries.iter().all(unique), "{entries:?}");
    is_a_repository(&s, &mirror);
    // A directory supports conditional writes, so the push to the mirror has added one entry with
    // the other form of key.
    let entries = place::below(&mirror.join("refs/heads"));
    assert_eq!(
        entries.iter().filter(|path| !unique(path)).count(),
        1,
        "{entries:?}"
    );
}
