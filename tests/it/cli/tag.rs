//! `dvc tag`.

use super::{masked, three};
use insta::assert_snapshot;

#[test]
fn global_and_of_a_branch() {
    let s = three();
    assert_snapshot!(masked(&s.dvc(["tag", "golden", "main~2"]).ok().out), @"tag `golden` created at <id>");
    s.dvc(["tag", "@release"]).ok();
    s.dvc(["tag", "main@old", "main@v2"]).ok();
    assert_snapshot!(masked(&s.dvc(["tag"]).ok().out), @"
    golden       <id> v1 first
    main@old     <id> v2 second
    main@release <id> v3 third
    ");
    assert_eq!(
        s.dvc(["log", "--format=%s", "-n1", "main@old"]).ok().out,
        "second\n"
    );
    s.dvc(["tag", "golden"])
        .code(4)
        .complains("the tag `golden` already exists");
    s.dvc(["tag", "-f", "golden"]).ok();
    s.dvc(["tag", "-d", "golden", "@release"]).ok();
    assert_eq!(s.dvc(["tag", "--json"]).ok().json_lines().len(), 1);
    s.dvc(["tag", "-d", "golden"]).code(13);
    s.dvc(["tag", "a@b@c"]).code(2);
    s.dvc(["tag", "none@x"])
        .code(13)
        .complains("no branch `none`");
    s.write("a.txt", "more\n");
    s.dvc(["commit", "-m", "x", "--tag", "none@x"])
        .code(13)
        .complains("no branch `none`");
    s.dvc(["commit", "-m", "x", "-b", "fresh", "--tag", "fresh@x"])
        .ok();
}

#[test]
fn a_tag_named_like_an_ordinal_wins_over_it() {
    let s = three();
    s.dvc(["tag", "main@v1", "main@#3"]).ok();
    assert_eq!(
        s.dvc(["log", "--format=%O", "-n1", "main@v1"]).ok().out,
        "3\n"
    );
    assert_eq!(
        s.dvc(["log", "--format=%O", "-n1", "main@#1"]).ok().out,
        "1\n"
    );
    assert!(
        s.dvc(["log", "--format=%U"])
            .ok()
            .out
            .lines()
            .last()
            .unwrap()
            .ends_with("#main@#1")
    );
}

#[test]
fn all_are_deleted_or_none() {
    let s = three();
    s.dvc(["tag", "a"]).ok();
    s.dvc(["tag", "@b"]).ok();
    s.dvc(["tag", "-d", "a", "none"])
        .code(13)
        .complains("no tag `none`");
    assert_eq!(s.dvc(["tag"]).ok().lines().len(), 2);
    s.dvc(["tag", "-d", "@b", "a", "main@b"]).ok();
    assert_eq!(s.dvc(["tag"]).ok().out, "");
}

#[test]
fn a_branch_and_a_tag_of_one_name() {
    let s = three();
    s.dvc(["tag", "main", "main~2"]).ok();
    let run = s
        .dvc(["log", "main"])
        .code(13)
        .complains("hint: use more digits of the id, or the full name");
    assert!(
        run.err.contains("refs/heads/main (") && run.err.contains("refs/tags/main ("),
        "{}",
        run.err
    );
    assert_eq!(
        s.dvc(["log", "-n1", "--format=%s", "refs/heads/main"])
            .ok()
            .out,
        "third\n"
    );
    assert_eq!(
        s.dvc(["log", "-n1", "--format=%s", "refs/tags/main"])
            .ok()
            .out,
        "first\n"
    );
    s.dvc(["log", "-g", "refs/tags/main"]).ok().says("main@{0}");
    s.dvc(["checkout", "refs/heads/main"]).ok();
    assert_eq!(s.dvc(["branch", "--show-current"]).ok().out, "main\n");
}
