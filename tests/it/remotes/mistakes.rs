//! Remotes that users specify by mistake: a host that looks like a directory, a directory inside of
//! its own worktree, and a branch with a very long name.

use super::journey::noise;
use crate::support::sandbox::Sandbox;

#[test]
fn a_host_with_a_path_is_no_directory_here() {
    let s = Sandbox::with_repo();
    s.write("a", "a");
    s.dvc(["commit", "-m", "one"]).ok();
    for args in [
        &["remote", "add", "origin", "nas:/srv/backup"][..],
        &["push", "nas:/srv/backup"],
        &["clone", "nas:/srv/backup", "copy"],
        &["fetch", "nas:/srv/backup"],
    ] {
        s.dvc(args)
            .code(2)
            .complains("`sftp://nas/srv/backup`")
            .complains("`./nas:/srv/backup`");
    }
    s.dvc(["remote", "add", "origin", "nas:backup"])
        .code(2)
        .complains("`sftp://nas/~/backup`");
    assert!(!s.w("nas:").exists() && !s.w("copy").exists());
    assert_eq!(s.dvc(["remote"]).ok().out, "");
    // If the directory exists, the argument is its path.
    std::fs::create_dir(s.at("nas:backup")).unwrap();
    s.dvc(["remote", "add", "odd", "../nas:backup"]).ok();
    s.dvc(["push", "odd"]).ok();
}

#[test]
fn a_remote_inside_the_worktree_is_no_part_of_it() {
    let s = Sandbox::with_repo();
    s.write("data", noise(1, 300_000));
    s.dvc(["commit", "-m", "one"]).ok();
    for inside in ["./bk", "sub/bk", "."] {
        s.dvc(["remote", "add", "bk", inside])
            .code(2)
            .complains("is inside the worktree")
            .complains("outside of the worktree");
    }
    assert_eq!(s.dvc(["remote"]).ok().out, "");
    // The directory can be pushed to by its path, and no version includes it.
    s.dvc(["push", "./bk"]).ok();
    s.write("more", "more");
    s.dvc(["commit", "-m", "two"])
        .ok()
        .complains("skipped: `bk`: the directory is a repository");
    let names = s.dvc(["ls", "-r"]).ok().out;
    assert!(
        names.contains("more") && !names.contains("bk/packs"),
        "{names}"
    );
    // A directory that only resembles a repository is committed.
    s.write("other/format", "not a marker");
    s.write("other/packs/x", "x");
    s.write("other/index/y", "y");
    s.dvc(["commit", "-m", "three"]).ok();
    assert!(s.dvc(["ls", "-r"]).ok().out.contains("other/packs/x"));
}

#[test]
fn a_branch_with_the_longest_name_is_cloned() {
    let s = Sandbox::with_repo();
    s.write("a", "a");
    s.dvc(["commit", "-m", "one"]).ok();
    let long = "b".repeat(240);
    s.dvc(["branch", &long]).ok();
    s.dvc(["branch", &format!("{long}b")])
        .code(2)
        .complains("longer than 240 bytes");
    let there = s.at("there").display().to_string();
    s.dvc(["push", &there, "--all"]).ok();
    s.dvc(["clone", &there, "copy"]).ok();
    let tracked = format!("origin/{long}");
    assert_eq!(
        s.dvc(["-C", "copy", "log", "--format=%s", &tracked])
            .ok()
            .out,
        "one\n"
    );
    s.dvc(["-C", "copy", "checkout", "-b", &long, &tracked])
        .ok();
    s.dvc(["-C", "copy", "fetch", "--prune"]).ok();
    assert_eq!(
        s.dvc(["-C", "copy", "log", "--format=%s", &tracked])
            .ok()
            .out,
        "one\n"
    );
    s.dvc(["-C", "copy", "remote", "rm", "origin"]).ok();
}
