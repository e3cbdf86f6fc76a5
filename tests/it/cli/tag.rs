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
    assert_eq!(s.dvc(["log", "--format=%s", "-n1", "main@old"]).ok().out, "second\n");
    s.dvc(["tag", "golden"]).code(4).complains("there is a tag `golden` already");
    s.dvc(["tag", "-f", "golden"]).ok();
    s.dvc(["tag", "-d", "golden", "@release"]).ok();
    assert_eq!(s.dvc(["tag", "--json"]).ok().json_lines().len(), 1);
    s.dvc(["tag", "-d", "golden"]).code(13);
    s.dvc(["tag", "a@b@c"]).code(2);
}

#[test]
fn a_tag_named_like_an_ordinal_wins_over_it() {
    let s = three();
    s.dvc(["tag", "main@v1", "main@#3"]).ok();
    assert_eq!(s.dvc(["log", "--format=%O", "-n1", "main@v1"]).ok().out, "3\n");
    assert_eq!(s.dvc(["log", "--format=%O", "-n1", "main@#1"]).ok().out, "1\n");
    assert!(s.dvc(["log", "--format=%U"]).ok().out.lines().last().unwrap().ends_with("#main@#1"));
}
