//! `dvc undo`.

use super::{masked, three};
use insta::assert_snapshot;

#[test]
fn a_commit() {
    let s = three();
    let run = s
        .dvc(["undo", "-n"])
        .ok()
        .says("would undo `commit: third` of ")
        .says(", by Ann <ann@example.org>");
    assert_snapshot!(masked(run.lines()[1]), @"branch `main` would be moved from <id> to <id>");
    s.dvc(["undo"]).ok();
    assert_eq!(s.dvc(["log", "--format=%s"]).ok().out, "second\nfirst\n");
    s.dvc(["status", "--porcelain"]).ok().says("A d/more");
    s.dvc(["commit", "-m", "again"]).ok().says("[main v3 ");
    s.dvc(["undo", "main"]).ok();
    s.dvc(["undo", "main"]).ok();
    assert_eq!(s.dvc(["log", "--format=%s"]).ok().out, "first\n");
}

#[test]
fn tags_and_branches() {
    let s = three();
    s.dvc(["tag", "golden"]).ok();
    s.dvc(["tag", "-d", "golden"]).ok();
    s.dvc(["undo", "golden"]).ok();
    assert!(s.dvc(["tag"]).ok().out.contains("golden"));
    s.dvc(["branch", "x"]).ok();
    s.dvc(["branch", "-d", "x"]).ok();
    let json = s.dvc(["undo", "x", "--json"]).ok().json();
    assert_eq!(
        (&json["moves"][0]["kind"], &json["moves"][0]["old"]),
        (&"branch".into(), &serde_json::Value::Null)
    );
    s.dvc(["undo", "never"]).code(13);
}

/// Without a name, `undo` moves only the current branch, even if other refs have changed since.
#[test]
fn other_refs_stay() {
    let s = three();
    s.dvc(["branch", "other", "main~1"]).ok();
    s.dvc(["branch", "-f", "other", "main"]).ok();
    s.dvc(["tag", "golden"]).ok();
    s.dvc(["undo"]).ok().says("undid `commit: third`");
    let at = |rev: &str| s.dvc(["log", "-1", "--format=%s", rev]).ok().out;
    assert_eq!(
        (at("main"), at("other"), at("golden")),
        ("second\n".into(), "third\n".into(), "third\n".into())
    );
    s.dvc(["checkout", "-f", "main@v1"]).ok();
    s.dvc(["undo"])
        .code(2)
        .complains("hint: name the branch or tag: `dvc undo NAME`");
}

#[test]
fn an_undone_version_still_exists() {
    let s = three();
    let id = s
        .dvc(["log", "-n1", "--format=%H"])
        .ok()
        .out
        .trim()
        .to_owned();
    s.dvc(["undo"]).ok();
    s.dvc(["show", &id[..10]]).ok().says("third");
    s.dvc(["branch", "-f", "main", &id]).ok();
    assert_eq!(s.dvc(["log", "-n1", "--format=%s"]).ok().out, "third\n");
}
