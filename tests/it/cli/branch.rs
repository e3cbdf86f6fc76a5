//! `dvc branch`.

use super::{fresh, masked, three};
use insta::assert_snapshot;

#[test]
fn create_list_rename_delete() {
    let s = three();
    assert_snapshot!(masked(&s.dvc(["branch", "cust/acme", "main~1"]).ok().out), @"branch `cust/acme` created at <id>");
    assert_snapshot!(masked(&s.dvc(["branch"]).ok().out), @"
      cust/acme <id> v2 second
    * main      <id> v3 third
    ");
    s.dvc(["tag", "cust/acme@release", "cust/acme"]).ok();
    assert_snapshot!(masked(&s.dvc(["branch", "-m", "cust/acme", "ACME"]).ok().out), @"
    branch `ACME` created at <id>
    tag `ACME@release` created at <id>
    tag `cust/acme@release` deleted, was <id>
    branch `cust/acme` deleted, was <id>
    ");
    assert_eq!(s.dvc(["branch", "--show-current"]).ok().out, "main\n");
    s.dvc(["branch", "-m", "trunk"]).ok();
    assert_eq!(s.dvc(["branch", "--show-current"]).ok().out, "trunk\n");
    s.dvc(["status"]).ok().says("nothing to commit");
    assert_snapshot!(masked(&s.dvc(["branch", "-d", "ACME"]).ok().out), @"branch `ACME` deleted, was <id>");
    s.dvc(["branch", "-d", "trunk"])
        .code(4)
        .complains("is the current branch of");
}

#[test]
fn what_is_refused() {
    let s = three();
    s.dvc(["branch", "x"]).ok();
    s.dvc(["branch", "x", "main~1"])
        .code(4)
        .complains("the branch `x` already exists");
    s.dvc(["branch", "-f", "x", "main~1"])
        .ok()
        .says("moved from");
    s.dvc(["branch", "bad name"])
        .code(2)
        .complains("invalid name `bad name`");
    s.dvc(["branch", "-d", "none"]).code(13);
    s.dvc(["branch", "y", "none"])
        .code(13)
        .complains("no branch, tag or version named `none`");
    s.dvc(["branch", "a", "b", "c"]).code(2);
}

#[test]
fn a_dry_run_changes_nothing() {
    let s = three();
    s.dvc(["branch", "-n", "x"])
        .ok()
        .says("branch `x` would be created at");
    s.dvc(["-n", "branch", "-m", "main", "y"]).ok();
    assert_eq!(s.dvc(["branch", "--json"]).ok().json()["name"], "main");
}

#[test]
fn an_unborn_branch() {
    let s = fresh();
    assert_eq!(s.dvc(["branch"]).ok().out, "");
    assert_eq!(s.dvc(["branch", "--show-current"]).ok().out, "main\n");
    s.dvc(["branch", "x"])
        .code(13)
        .complains("branch `main` has no versions yet");
}

#[test]
fn all_are_deleted_or_none() {
    let s = three();
    s.dvc(["branch", "a"]).ok();
    s.dvc(["branch", "b"]).ok();
    s.dvc(["branch", "-d", "a", "none", "b"])
        .code(13)
        .complains("no branch `none`");
    s.dvc(["branch", "-d", "a", "main"]).code(4);
    assert_eq!(s.dvc(["branch"]).ok().lines().len(), 3);
    s.dvc(["branch", "-d", "b", "a", "b"]).ok();
    assert_eq!(s.dvc(["branch"]).ok().lines().len(), 1);
}

#[test]
fn a_name_that_is_taken() {
    let s = three();
    s.dvc(["branch", "x"]).ok();
    for args in [
        &["branch", "-f", "-m", "main", "x"][..],
        &["checkout", "-b", "x", "-f"],
    ] {
        s.dvc(args)
            .code(4)
            .complains("hint: run `dvc branch -f x REV` to move the branch");
    }
}

/// A tag of a branch can exist before the branch does, for example after a fetch.
#[test]
fn a_rename_overwrites_no_tag() {
    let s = fresh();
    for n in ["1", "2"] {
        s.write("n", n);
        s.dvc(["commit", "-m", n]).ok();
    }
    s.dvc(["tag", "main@gold", "main@v1"]).ok();
    s.dvc(["branch", "new"]).ok();
    s.dvc(["tag", "new@gold", "main@v2"]).ok();
    std::fs::remove_dir_all(s.w(".dvcs/refs/heads/new")).unwrap();
    s.dvc(["branch", "-m", "main", "new"])
        .code(4)
        .complains("the tag `new@gold` already exists");
    s.dvc(["log", "-1", "--format", "%O", "main"])
        .ok()
        .says("2");
    s.dvc(["log", "-1", "--format", "%O", "new@gold"])
        .ok()
        .says("2");
}
