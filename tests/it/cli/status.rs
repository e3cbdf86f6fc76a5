//! `dvc status`.

use super::{fresh, masked, three};
use crate::support::sandbox::Run;
use insta::assert_snapshot;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn every_letter() {
    let s = three();
    s.dvc(["status"]).ok().says("nothing to commit");
    s.write("a.txt", "changed\n");
    fs::set_permissions(s.w("d/big"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(s.w("d/more"), s.w("moved")).unwrap();
    s.write("new/file", "x");
    assert_snapshot!(masked(&s.dvc(["status"]).ok().out), @"
    on branch main, v3 <id>
      m .
      M a.txt
      m d
      m d/big
      R d/more -> moved
      A new
      A new/file
    7 paths differ
    ");
    assert_snapshot!(masked(&s.dvc(["status", "--porcelain"]).ok().out), @"
    # branch.head main
    # branch.ordinal 3
    m .
    M a.txt
    m d
    m d/big
    R d/more	moved
    A new
    A new/file
    ");
    assert!(
        s.dvc(["status", "-z"])
            .ok()
            .out
            .contains("R d/more\0moved\0")
    );
    assert_eq!(
        s.dvc(["status", "--porcelain", "a.txt"])
            .ok()
            .lines()
            .last(),
        Some(&"M a.txt")
    );
    s.dvc(["status", "--exit-code"]).code(1);
    let json = s.dvc(["status", "--json"]).ok().json();
    assert_eq!(
        (&json["branch"], &json["clean"], &json["base"]["ordinal"]),
        (&"main".into(), &false.into(), &3.into())
    );
}

#[test]
fn from_below_the_top() {
    let s = three();
    s.write("d/big", "small");
    let run = s
        .sh("cd d && dvc status --porcelain big && dvc diff --name-only -- big")
        .ok();
    assert_eq!(run.lines().last(), Some(&"d/big"));
}

#[test]
fn an_unborn_branch() {
    let s = fresh();
    s.write("a", "");
    assert_snapshot!(s.dvc(["status"]).ok().out, @"
    on branch main, no versions yet
      A a
    1 path differs
    ");
}

/// `--repo` may name the repository of a worktree by any path to the worktree or to `.dvcs`.
#[test]
fn the_worktree_of_a_named_repository() {
    let s = three();
    std::os::unix::fs::symlink(s.w(""), s.at("link")).unwrap();
    for repo in [
        s.w(""),
        s.w(".dvcs"),
        s.at("link"),
        "..".into(),
        "../.dvcs".into(),
    ] {
        let run = Run::of(
            s.command(["status", "--repo"])
                .arg(&repo)
                .current_dir(s.w("d")),
        )
        .ok();
        assert!(
            run.out.ends_with("nothing to commit\n"),
            "{}: {}",
            repo.display(),
            run.out
        );
    }
    s.write("a.txt", "changed");
    let path = s.at("link/a.txt");
    let run = Run::of(
        s.command(["status", "--porcelain"])
            .arg(path)
            .current_dir(s.at("link")),
    )
    .ok();
    assert_eq!(run.lines().last(), Some(&"M a.txt"));
    s.dvc(["status", "/elsewhere"])
        .code(2)
        .complains("is outside the worktree");
}
