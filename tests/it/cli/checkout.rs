//! `dvc checkout`.

use super::{commit, fresh, three};
use crate::support::needs::{is_root, root_to, skip};
use crate::support::sandbox::{Run, Sandbox};
use std::fs;

#[test]
fn versions_and_branches() {
    let s = three();
    s.dvc(["checkout", "main@v1"]).ok();
    assert_eq!(s.read("a.txt"), b"one\n");
    assert!(!s.w("d/more").exists());
    s.dvc(["status"]).ok().says("HEAD is detached, v1");
    s.dvc(["commit", "-m", "x", "--allow-empty"])
        .code(4)
        .complains("dvc checkout -b NAME");
    s.dvc(["checkout", "main"]).ok();
    s.dvc(["status"]).ok().says("on branch main, v3");
    s.dvc(["checkout", "-b", "side", "main~1"]).ok();
    s.dvc(["status", "--porcelain"])
        .ok()
        .says("# branch.head side\n# branch.ordinal 2\n");
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
    s.dvc(["checkout", "main@v2", "--into", "../copy", "--verify"])
        .ok();
    assert_eq!(fs::read(s.at("copy/a.txt")).unwrap(), b"two\n");
    s.dvc(["checkout", "main@v2", "--into", "../copy"]).code(4);
    s.dvc(["checkout", "main", "--into", "../one", "--", "a.txt"])
        .ok()
        .says("\n 1 file, ");
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
    assert_eq!(
        (&json["schema"], &json["ordinal"], &json["branch"]),
        (&1.into(), &3.into(), &"main".into())
    );
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
    assert_eq!(
        (s.read("a"), s.read("b")),
        (b"one\n".into(), b"two\n".into())
    );
}

#[test]
fn checkouts_exclude_each_other() {
    let s = three();
    let mut states = fs::read_dir(s.w(".dvcs/worktrees")).unwrap();
    let state = fs::File::open(states.next().unwrap().unwrap().path()).unwrap();
    rustix::fs::flock(&state, rustix::fs::FlockOperation::LockExclusive).unwrap();
    // Take the lock even if nothing has to be written, because another checkout may have been
    // running while the files were compared.
    s.dvc(["checkout", "main", "--", "a.txt"])
        .code(11)
        .complains("another checkout is running");
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
    assert_eq!(
        (s.read("a"), s.read("b")),
        (b"two".to_vec(), b"new".to_vec())
    );
    assert_eq!(s.dvc(["branch", "--show-current"]).ok().out, "feature\n");
    s.dvc(["commit", "-m", "second"]).ok().says("feature v2");
}

/// If the worktree cannot be written, a checkout changes no state, so that commits still work.
#[test]
fn a_checkout_that_cannot_begin_leaves_nothing() {
    let s = Sandbox::new();
    s.write("data", "one");
    let repo = s.at("r").to_str().unwrap().to_owned();
    s.dvc(["init", "--repo", &repo]).ok();
    s.dvc(["--repo", &repo, "commit", "-m", "first"]).ok();
    s.write("data", "two");
    s.dvc(["--repo", &repo, "commit", "-m", "second"]).ok();
    // Root can write anywhere except to immutable files.
    let lock = |word: &str| {
        s.other("chattr")
            .arg(word)
            .arg(s.w(""))
            .status()
            .is_ok_and(|s| s.success())
    };
    let mode = |mode| {
        fs::set_permissions(s.w(""), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap()
    };
    mode(0o555);
    if is_root() && !lock("+i") {
        return skip("nothing can be made immutable on this file system");
    }
    let refused = s.dvc(["--repo", &repo, "checkout", "main@v1"]);
    let status = s.dvc(["--repo", &repo, "status"]);
    let commit = s.dvc(["--repo", &repo, "commit", "-m", "third", "--allow-empty"]);
    lock("-i");
    mode(0o755);
    refused.code(12);
    assert!(!status.ok().out.contains("was interrupted"));
    commit.ok();
}

/// Removed hard links are restored as links, and the other links of the file do not count as
/// changed.
#[test]
fn restored_hard_links_are_no_change() {
    use std::os::unix::fs::MetadataExt;
    let s = fresh();
    for (one, two) in [("b/one", "b/two"), ("c/a", "c/b")] {
        s.write(one, "data");
        fs::hard_link(s.w(one), s.w(two)).unwrap();
    }
    fs::hard_link(s.w("c/a"), s.w("c/c")).unwrap();
    commit(&s, "1", 1);
    let changes = || {
        s.dvc(["status", "--porcelain"])
            .ok()
            .out
            .lines()
            .filter(|l| !l.starts_with('#'))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for name in ["b/two", "c/a"] {
        fs::remove_file(s.w(name)).unwrap();
    }
    assert_eq!(changes(), ["m b", "D b/two", "m c", "D c/a"]);
    s.dvc(["checkout", "HEAD", "--", "b", "c"]).ok();
    assert_eq!(
        fs::metadata(s.w("b/one")).unwrap().ino(),
        fs::metadata(s.w("b/two")).unwrap().ino()
    );
    assert_eq!(fs::metadata(s.w("c/a")).unwrap().nlink(), 3);
    assert_eq!(changes(), Vec::<String>::new());
    // An additional link changes only its own name. A copy in the place of a link changes all names
    // of the file.
    fs::hard_link(s.w("b/one"), s.w("b/three")).unwrap();
    assert_eq!(changes(), ["m b", "A b/three"]);
    fs::remove_file(s.w("b/three")).unwrap();
    s.sh("cp -p b/two b/copy; mv b/copy b/two");
    assert_eq!(changes(), ["m b", "m b/one", "m b/two"]);
}

/// A worktree without recorded state may contain the files of any version, or files of none.
#[test]
fn checkout_replaces_known_content_in_a_worktree_without_state() {
    let s = three();
    s.dvc(["checkout", "main@v1", "--into", "../copy"]).ok();
    let repo = s.w(".dvcs");
    let copy = |args: &[&str]| {
        s.dvc([&["-C", "../copy", "--repo", repo.to_str().unwrap()], args].concat())
    };
    let read = |name: &str| fs::read_to_string(s.at("copy").join(name)).unwrap();
    copy(&["checkout", "main"]).ok();
    assert_eq!(
        (read("a.txt"), read("d/more")),
        ("two\n".into(), "more\n".into())
    );
    // The worktree is recorded as v3, but one of its files was restored from an older version.
    let old = fs::metadata(s.w("a.txt")).unwrap();
    s.dvc(["checkout", "main@v1", "--into", "../other"]).ok();
    s.sh("cp -p ../other/a.txt ../copy/a.txt").ok();
    copy(&["checkout", "main@v2"]).ok();
    fs::write(s.at("copy/a.txt"), "precious\n").unwrap();
    fs::File::options()
        .write(true)
        .open(s.at("copy/a.txt"))
        .unwrap()
        .set_modified(old.modified().unwrap())
        .unwrap();
    copy(&["checkout", "main@v1"])
        .code(4)
        .complains("the worktree has uncommitted changes: `a.txt`");
    assert_eq!(read("a.txt"), "precious\n");
}

/// A checkout into a new directory makes it a worktree of the version, if the repository is outside
/// of the worktree.
#[test]
fn a_checkout_into_a_directory_is_remembered() {
    let s = three();
    let bare = s.at("bare");
    s.sh("cp -r .dvcs ../bare").ok();
    let dvc = |args: &[&str]| s.dvc([&["--repo", bare.to_str().unwrap()], args].concat());
    dvc(&["checkout", "main", "--into", "../copy"]).ok();
    dvc(&["-C", "../copy", "status"])
        .ok()
        .says("on branch main, v3");
    dvc(&["checkout", "main@v2", "--into", "../old"]).ok();
    dvc(&["-C", "../old", "status"])
        .ok()
        .says("HEAD is detached, v2");
    // A checkout of single paths records no version.
    dvc(&["checkout", "main", "--into", "../part", "--", "a.txt"]).ok();
    dvc(&["-C", "../part", "status"]).ok().says("D d/more");
}

#[test]
fn an_interrupted_checkout_into_a_directory_is_named() {
    let s = three();
    fs::create_dir(s.at("copy")).unwrap();
    fs::write(s.at("copy/other"), "mine").unwrap();
    s.dvc(["checkout", "main", "--into", "../copy"])
        .code(4)
        .complains("is not empty");
    if !root_to("mount a small file system") {
        return;
    }
    // The disk is too small at first. The whole script runs in one mount namespace, so the tmpfs is
    // removed when the script ends.
    let script = "mkdir ../half; mount -t tmpfs -o size=100k none ../half; into() { dvc checkout $1 --into ../half; }; \
        into main@v3 || test $? = 8; \
        into main@v2 2> ../other || test $? = 4; \
        mount -o remount,size=9m ../half; echo precious > ../half/mine; \
        into main@v3 2> ../mine || test $? = 4; cat ../half/mine; rm ../half/mine; \
        into main@v3; cat ../half/a.txt; cmp d/big ../half/d/big; cmp d/more ../half/d/more; \
        into main@v3 2> ../done || test $? = 4";
    let run = Run::of(s.other("unshare").args(["--mount", "bash", "-euc", script])).ok();
    run.says("precious\n").says("two\n");
    let said = |name: &str| fs::read_to_string(s.at(name)).unwrap();
    let other = said("other");
    assert!(
        other.contains("`../half` has an interrupted checkout of `main@v3`"),
        "{other}"
    );
    assert!(
        other.contains("`dvc checkout main@v3 --into ../half`"),
        "{other}"
    );
    assert!(
        said("mine").contains("has uncommitted changes: `mine`")
            && said("done").contains("is not empty")
    );
    // The tmpfs is gone, and the interrupted checkout with it, so the directory is empty again.
    s.dvc(["checkout", "main@v1", "--into", "../half"]).ok();
    assert_eq!(fs::read(s.at("half/a.txt")).unwrap(), b"one\n");
}
