//! Every kind of content is committed and restored identically: into another directory, in place,
//! and from a remote repository.

use std::fs;

use crate::support::facts::{Compare, assert_rsync_agrees, assert_same, assert_same_by};
use crate::support::needs::{is_root, run};
use crate::support::sandbox::Sandbox;
use crate::support::zoo;

/// Creates a sandbox with a zoo in `w/` and a repository next to it.
fn zoo_and_repository() -> Sandbox {
    let s = Sandbox::new();
    let missing = zoo::build(&s.at("w"));
    assert!(!is_root() || missing.is_empty(), "{missing:?}");
    s.dvc(["init", "--repo", "../r", "-b", "all"]).ok();
    s
}

#[test]
fn a_checkout_into_another_directory_is_equal() {
    let s = zoo_and_repository();
    s.dvc(["--repo", "../r", "commit", "-b", "all", "-m", "everything"])
        .ok()
        .complains("socket");
    s.dvc(["--repo", "../r", "checkout", "all", "--into", "../copy"])
        .ok();
    assert_same(&s.at("w"), &s.at("copy"));
    fs::remove_file(s.w("special/socket")).unwrap();
    zoo::set_mtime(&s.w("special"), 1_234_567_890, 987_654_321);
    assert_rsync_agrees(&s.at("w"), &s.at("copy"));
}

#[test]
fn a_commit_leaves_the_source_as_it_is() {
    let s = zoo_and_repository();
    run(
        "cp",
        &[
            "-a",
            s.at("w").to_str().unwrap(),
            s.at("before").to_str().unwrap(),
        ],
    );
    s.dvc(["--repo", "../r", "commit", "-b", "all", "-m", "everything"])
        .ok();
    assert_same_by(
        &s.at("before"),
        &s.at("w"),
        &Compare {
            sockets: true,
            ..Compare::default()
        },
    );
}

#[test]
fn nothing_changed_is_nothing_to_commit_and_a_copy_has_the_same_tree() {
    let s = zoo_and_repository();
    let tree = |dir: &str, branch: &str| {
        let run = s
            .dvc([
                "--repo", "../r", "-C", dir, "--json", "commit", "-b", branch, "-m", "x",
            ])
            .ok();
        run.json()["tree"].as_str().unwrap().to_owned()
    };
    let first = tree(".", "all");
    assert_eq!(tree(".", "all"), first);
    assert_eq!(
        s.dvc(["--repo", "../r", "--json", "log", "all"])
            .ok()
            .json_lines()
            .len(),
        1
    );
    s.dvc(["--repo", "../r", "checkout", "all", "--into", "../copy"])
        .ok();
    assert_eq!(tree("../copy", "other"), first);
}

#[test]
fn a_checkout_in_place_restores_everything() {
    let s = zoo_and_repository();
    s.dvc(["--repo", "../r", "commit", "-b", "all", "-m", "everything"])
        .ok();
    s.dvc(["--repo", "../r", "checkout", "all", "--into", "../copy"])
        .ok();
    let script = "cd ../copy
        rm -r plain names/* links/hard1; mkdir plain; echo x > plain/text; echo x > links/sym2
        chmod 000 modes/0777; touch times/epoch; ln -sfn nowhere links/sym; rm -rf empty; echo file > empty
        setfacl -b attributes/acl; rm attributes/link; mkdir attributes/link attributes/link/deep
        truncate -s 100 sparse/middle; printf x | dd of=sparse/huge bs=1 seek=5 conv=notrunc status=none; mkfifo extra";
    s.sh(script).ok();
    s.dvc(["--repo", "../r", "-C", "../copy", "checkout", "-f", "all"])
        .ok();
    assert_same(&s.at("w"), &s.at("copy"));
}
