//! Eight processes push to one remote at the same time. If all push to one branch, exactly one push
//! wins and the others are rejected; if each pushes to its own branch, all win. This also holds for
//! stores without conditional writes.

use std::process::Stdio;

use super::journey::noise;
use super::place::{self, Place};
use crate::support::sandbox::{Run, Sandbox};

/// Number of concurrent pushes.
const WRITERS: usize = 8;

/// Creates the clones `w0` to `w7` of a repository with one version, and commits one more version
/// in each. `known` states whether the remote already has the first version.
fn writers(place: &Place, known: bool) -> Sandbox {
    let s = place.person("Ann");
    s.dvc(["init", "start", "--branch", "AMCC"]).ok();
    s.write("start/shared", noise(1, 200_000));
    s.dvc(["-C", "start", "commit", "-m", "start"]).ok();
    s.dvc([
        "-C",
        "start",
        "remote",
        "add",
        "origin",
        &place.url,
        "--offline",
    ])
    .ok();
    if known {
        s.dvc(["-C", "start", "push"]).ok();
    }
    for n in 0..WRITERS {
        let name = format!("w{n}");
        s.dvc(["clone", "start", &name]).ok();
        s.dvc([
            "-C",
            &name,
            "remote",
            "set",
            "origin",
            &place.url,
            "--offline",
        ])
        .ok();
        s.write(&format!("{name}/own"), noise(n as u64 + 10, 50_000));
        s.dvc(["-C", &name, "commit", "-m", &name]).ok();
    }
    s
}

/// Runs `dvc` in all clones at the same time.
fn all_at_once(s: &Sandbox, args: impl Fn(usize) -> Vec<String>) -> Vec<Run> {
    let started: Vec<_> = (0..WRITERS)
        .map(|n| {
            let mut c = s.command([vec!["-C".to_owned(), format!("w{n}")], args(n)].concat());
            let child = c
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            (format!("{:?}", c.get_args()), child)
        })
        .collect();
    started
        .into_iter()
        .map(|(line, child)| Run::wait(line, child))
        .collect()
}

/// Asserts that exactly one push to a branch wins, its version is on the remote, and nothing is
/// damaged.
fn one_branch(place: &Place, known: bool) {
    let s = writers(place, known);
    let runs = all_at_once(&s, |_| {
        vec!["push".to_owned(), "origin".to_owned(), "AMCC".to_owned()]
    });
    let winners: Vec<usize> = (0..WRITERS).filter(|n| runs[*n].code == 0).collect();
    let shown = || {
        runs.iter()
            .map(|r| format!("[{}] {}{}\n", r.code, r.out, r.err))
            .collect::<String>()
    };
    assert_eq!(winners.len(), 1, "{}", shown());
    assert!(
        runs.iter().filter(|r| r.code == 4).count() == WRITERS - 1,
        "{}",
        shown()
    );
    for refused in runs.iter().filter(|r| r.code == 4) {
        assert!(
            refused.err.contains("rejected `AMCC`")
                && refused.err.contains("hint: run `dvc fetch origin`")
        );
    }
    let subjects = s
        .dvc(["--repo", &place.url, "log", "--format=%s", "AMCC"])
        .ok()
        .out;
    assert_eq!(subjects, format!("w{}\nstart\n", winners[0]));
    let own = s.dvc(["--repo", &place.url, "show", "AMCC:own"]).ok().bytes;
    assert!(
        own == noise(winners[0] as u64 + 10, 50_000),
        "the winner's content is not there"
    );
    s.dvc(["--repo", &place.url, "fsck", "--data"])
        .ok()
        .says("no damage");
    nothing_is_locked(place);
}

/// Asserts that pushes to different branches all win, and each branch has its version.
fn eight_branches(place: &Place) {
    let s = writers(place, true);
    let name = |n: usize| format!("line/{n}");
    for n in 0..WRITERS {
        s.dvc(["-C", &format!("w{n}"), "branch", &name(n)]).ok();
    }
    let runs = all_at_once(&s, |n| {
        vec!["push".to_owned(), "origin".to_owned(), name(n)]
    });
    for (n, run) in runs.into_iter().enumerate() {
        run.ok();
        let own = s
            .dvc(["--repo", &place.url, "show", &format!("{}:own", name(n))])
            .ok()
            .bytes;
        assert!(
            own == noise(n as u64 + 10, 50_000),
            "{} does not have what was pushed to it",
            name(n)
        );
    }
    s.dvc(["--repo", &place.url, "fsck", "--data"])
        .ok()
        .says("no damage");
    nothing_is_locked(place);
}

/// Asserts that no lock and no probe is left. Checks nothing if the server cannot list its keys.
fn nothing_is_locked(place: &Place) {
    let left: Vec<String> = place
        .keys()
        .into_iter()
        .flatten()
        .filter(|key| key.contains("/sessions/"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

fn both(place: &Place) {
    place.assert_reported(
        &place
            .person("Ann")
            .dvc(["remote", "check", &place.url, "--json"])
            .ok()
            .json(),
    );
    one_branch(place, true);
}

#[test]
fn to_one_branch_of_a_directory() {
    both(&place::file_url());
}

#[test]
fn to_one_branch_of_an_empty_directory() {
    one_branch(&place::directory(), false);
}

#[test]
fn to_branches_of_a_directory() {
    eight_branches(&place::directory());
}

#[test]
fn to_one_branch_of_moto() {
    place::moto().iter().for_each(both);
}

#[test]
fn to_branches_of_moto() {
    place::moto().iter().for_each(eight_branches);
}

#[test]
fn to_one_branch_of_s3() {
    both(&place::s3());
}

#[test]
fn to_one_branch_of_an_empty_s3() {
    one_branch(&place::s3(), false);
}

#[test]
fn to_branches_of_s3() {
    eight_branches(&place::s3());
}

#[test]
fn to_one_branch_of_s3_that_ignores_conditions() {
    both(&place::s3_that_ignores_conditions());
}

#[test]
fn to_one_branch_of_an_empty_s3_that_ignores_conditions() {
    one_branch(&place::s3_that_ignores_conditions(), false);
}

#[test]
fn to_branches_of_s3_that_ignores_conditions() {
    eight_branches(&place::s3_that_ignores_conditions());
}

#[test]
fn to_one_branch_of_s3_that_checks_then_writes() {
    both(&place::s3_that_checks_then_writes());
}

#[test]
fn to_branches_of_s3_that_checks_then_writes() {
    eight_branches(&place::s3_that_checks_then_writes());
}

#[test]
fn a_store_without_conditional_writes_is_reported() {
    for place in [
        place::s3_that_ignores_conditions(),
        place::s3_that_checks_then_writes(),
    ] {
        let text = place
            .person("Ann")
            .dvc(["remote", "check", &place.url])
            .ok();
        assert!(
            text.out
                .contains("not conditional: refs are protected by an intent lock"),
            "{}",
            text.out
        );
    }
}

#[test]
fn to_one_branch_of_azblob() {
    place::azblob().iter().for_each(both);
}

#[test]
fn to_branches_of_azblob() {
    place::azblob().iter().for_each(eight_branches);
}

#[test]
fn to_one_branch_of_gcs() {
    both(&place::gcs());
}

#[test]
fn to_branches_of_gcs() {
    eight_branches(&place::gcs());
}

#[test]
fn to_one_branch_of_sftp() {
    place::sftp().iter().for_each(both);
}

#[test]
fn to_branches_of_sftp() {
    place::sftp().iter().for_each(eight_branches);
}

#[test]
fn to_one_branch_of_webdav() {
    place::webdav().iter().for_each(both);
}

#[test]
fn to_branches_of_webdav() {
    place::webdav().iter().for_each(eight_branches);
}

#[test]
fn to_one_branch_of_a_registry() {
    place::oci().iter().for_each(both);
}

#[test]
fn to_branches_of_a_registry() {
    place::oci().iter().for_each(eight_branches);
}
