//! `dvc checkout`.

use super::{commit, fresh, three};
use crate::support::sandbox::Sandbox;
use std::fs;

#[test]
fn versions_and_branches() {
    let s = three();
    s.dvc(["checkout", "main@v1"]).ok();
    assert_eq!(s.read("a.txt"), b"one\n");
    assert!(!s.w("d/more").exists());
    s.dvc(["status"]).ok().says("on no branch, v1");
    s.dvc(["commit", "-m", "x", "--allow-empty"]).code(4).complains("dvc checkout -b NAME");
    s.dvc(["checkout", "main"]).ok();
    s.dvc(["status"]).ok().says("on branch main, v3");
    s.dvc(["checkout", "-b", "side", "main~1"]).ok();
    s.dvc(["status", "--porcelain"]).ok().says("# branch.head side\n# branch.ordinal 2\n");
    s.dvc(["checkout", "none"]).code(13);
    s.dvc(["checkout"]).code(2);
}

#[test]
fn changes_are_not_lost() {
    let s = three();
    s.write("a.txt", "precious\n");
    s.dvc(["checkout", "main~1"]).code(4);
    assert_eq!(s.read("a.txt"), b"precious\n");
    s.dvc(["checkout", "-n", "-f", "main~1"]).ok().says("a.txt");
    assert_eq!(s.read("a.txt"), b"precious\n");
    s.dvc(["checkout", "-f", "main~2"]).ok();
    assert_eq!(s.read("a.txt"), b"one\n");
}

#[test]
fn paths_and_another_directory() {
    let s = three();
    s.write("extra", "stays");
    s.dvc(["checkout", "main~2", "--", "a.txt"]).ok();
    assert_eq!(
        (s.read("a.txt"), s.read("d/more"), s.read("extra")),
        (b"one\n".into(), b"more\n".into(), b"stays".into())
    );
    s.dvc(["checkout", "main@v2", "--into", "../copy", "--verify"]).ok();
    assert_eq!(fs::read(s.at("copy/a.txt")).unwrap(), b"two\n");
    s.dvc(["checkout", "main@v2", "--into", "../copy"]).code(4);
    s.dvc(["checkout", "main", "--into", "../one", "--", "a.txt"]).ok().says("\n 1 file, ");
    s.dvc(["status"]).ok().says("on branch main, v3");
    s.dvc(["checkout", "main", "--", "none"]).code(13);
}

#[test]
fn extra_files() {
    let s = three();
    s.dvc(["checkout", "--keep-extra", "main~1"]).ok();
    assert!(s.w("d/more").exists());
    s.dvc(["checkout", "-f", "main~1"]).ok();
    assert!(!s.w("d/more").exists());
    let json = s.dvc(["checkout", "main", "--json"]).ok().json();
    assert_eq!((&json["schema"], &json["ordinal"], &json["branch"]), (&1.into(), &3.into(), &"main".into()));
}

#[test]
fn a_path_is_not_linked_to_a_file_that_changed() {
    let s = fresh();
    s.write("a", "one\n");
    fs::hard_link(s.w("a"), s.w("b")).unwrap();
    commit(&s, "links", 1);
    fs::remove_file(s.w("a")).unwrap();
    s.write("b", "two\n");
    s.dvc(["checkout", "main@v1", "--", "a"]).ok();
    assert_eq!((s.read("a"), s.read("b")), (b"one\n".into(), b"two\n".into()));
}

#[test]
fn one_at_a_time() {
    let s = three();
    let mut states = fs::read_dir(s.w(".dvcs/worktrees")).unwrap();
    let state = fs::File::open(states.next().unwrap().unwrap().path()).unwrap();
    rustix::fs::flock(&state, rustix::fs::FlockOperation::LockExclusive).unwrap();
    // Also where nothing is to be done, since that was looked at while another was at work.
    s.dvc(["checkout", "main", "--", "a.txt"]).code(11).complains("another checkout is at work");
    s.dvc(["checkout", "-n", "main~1"]).ok();
    drop(state);
    s.dvc(["checkout", "main", "--", "a.txt"]).ok();
}

#[test]
fn a_new_branch_keeps_what_is_being_worked_on() {
    let s = fresh();
    s.write("a", "one");
    s.dvc(["commit", "-m", "first"]).ok();
    s.write("a", "two");
    s.write("b", "new");
    s.dvc(["checkout", "-b", "feature", "-n"]).ok();
    s.dvc(["checkout", "-b", "feature"]).ok();
    assert_eq!((s.read("a"), s.read("b")), (b"two".to_vec(), b"new".to_vec()));
    assert_eq!(s.dvc(["branch", "--show-current"]).ok().out, "feature\n");
    s.dvc(["commit", "-m", "second"]).ok().says("feature v2");
}

/// A worktree that cannot be written is as it was: commits go on.
#[test]
fn a_checkout_that_cannot_begin_leaves_nothing() {
    let s = Sandbox::new();
    s.write("data", "one");
    let repo = s.at("r").to_str().unwrap().to_owned();
    s.dvc(["init", "--repo", &repo]).ok();
    s.dvc(["--repo", &repo, "commit", "-m", "first"]).ok();
    s.write("data", "two");
    s.dvc(["--repo", &repo, "commit", "-m", "second"]).ok();
    // Root may write everywhere but into what is immutable.
    let lock = |word: &str| s.other("chattr").arg(word).arg(s.w("")).status().is_ok_and(|s| s.success());
    let mode = |mode| fs::set_permissions(s.w(""), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(0o555);
    if crate::support::needs::is_root() && !lock("+i") {
        println!("skipped: nothing can be made immutable on this file system");
        return;
    }
    let refused = s.dvc(["--repo", &repo, "checkout", "main@v1"]);
    let status = s.dvc(["--repo", &repo, "status"]);
    let commit = s.dvc(["--repo", &repo, "commit", "-m", "third", "--allow-empty"]);
    lock("-i");
    mode(0o755);
    refused.code(12);
    assert!(!status.ok().out.contains("did not end"));
    commit.ok();
}
