//! One list for everything that can be restored, and forgotten versions in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use dvc::observe::Silent;
use dvc::snapshot::output::Output;

use super::{entries, text};
use crate::mount::harness::as_user;
use crate::support::known::context;
use crate::support::needs;
use crate::support::sandbox::Sandbox;

fn three_versions() -> Sandbox {
    let mut s = Sandbox::with_repo();
    s.set("DVC_AUTHOR", "Ann <ann@example.org>");
    for n in 1..=3 {
        s.write("a", format!("{n}"));
        s.dvc(["commit", "-m", &format!("c{n}")]).ok();
    }
    s
}

#[test]
fn versions_and_files_are_in_one_list() {
    let s = three_versions();
    s.dvc(["trash"]).ok().says("the trash is empty");
    s.dvc(["-y", "forget", "main@v1", "main@v2"]).ok();
    s.write("a", "mine");
    s.dvc(["checkout", "-f", "main"]).ok();
    let all = entries(&s.dvc(["--json", "trash", "ls"]));
    let kinds: Vec<String> = all.iter().map(|entry| text(entry, "kind")).collect();
    assert_eq!(kinds, ["files", "version", "version"]);
    let version = all
        .iter()
        .find(|entry| text(entry, "id") == "main@v1")
        .unwrap();
    assert_eq!(text(version, "reason"), "forget: main@v1 main@v2");
    s.dvc(["trash"]).ok().says("main@v1").says("c1; by Ann");
    assert_eq!(s.dvc(["trash", "-q"]).ok().lines().len(), 3);
    // `forget --list` has versions only.
    assert_eq!(s.dvc(["forget", "--list"]).ok().lines().len(), 2);
    s.dvc(["trash", "restore", "main@v1", "--to", "x"]).code(2);
    s.dvc(["trash", "restore", "-n", "main@v1"])
        .ok()
        .says("would restore main@v1");
    s.dvc(["trash", "restore", "main@v1"])
        .ok()
        .says("restored main@v1");
    assert_eq!(s.dvc(["log", "--oneline"]).ok().lines().len(), 2);
    // A unique prefix of an id is enough.
    let id = text(&entries(&s.dvc(["--json", "trash"]))[1], "version");
    s.dvc(["trash", "restore", &id[..10]])
        .ok()
        .says("restored main@v2");
    s.dvc(["trash", "restore", "main@v2"])
        .code(13)
        .complains("no entry");
    s.dvc(["trash", "restore", ""]).code(13);
    assert_eq!(entries(&s.dvc(["--json", "trash"])).len(), 1);
}

#[test]
fn emptying_deletes_at_once_and_only_what_is_named() {
    let s = three_versions();
    s.dvc(["-y", "forget", "main@v1", "main@v2"]).ok();
    s.write("a", "mine");
    s.dvc(["checkout", "-f", "main"]).ok();
    s.dvc(["trash", "empty"]).code(4).complains("with `-n`");
    s.dvc(["trash", "empty", "-y", "none"]).code(13);
    s.dvc(["trash", "empty", "-n"])
        .ok()
        .says("would delete main@v1");
    s.dvc(["trash", "empty", "-y", "main@v1"])
        .ok()
        .says("deleted 1 entry");
    s.dvc(["show", "main@v1:a"]).code(13);
    assert_eq!(s.dvc(["show", "main@v2:a"]).ok().out, "2");
    assert_eq!(entries(&s.dvc(["--json", "trash"])).len(), 2);
    let gone = s.dvc(["--json", "trash", "empty", "-y"]).ok().json();
    assert_eq!(gone["deleted"].as_array().unwrap().len(), 2);
    s.dvc(["show", "main@v2:a"]).code(13);
    s.dvc(["trash"]).ok().says("the trash is empty");
    s.dvc(["trash", "empty", "-y"])
        .ok()
        .says("the trash is empty");
    assert_eq!(s.dvc(["show", "main:a"]).ok().out, "3");
    s.dvc(["fsck", "--data"]).ok().says("no damage");
}

#[test]
fn a_remote_repository_lists_its_versions() {
    let s = three_versions();
    let remote = s.at("remote");
    s.dvc(["remote", "add", "origin", remote.to_str().unwrap()])
        .ok();
    s.write("a", "mine");
    s.dvc(["checkout", "-f", "main"]).ok();
    s.dvc(["push"]).ok();
    // The trash of a worktree is local.
    assert!(!remote.join("refs/trash").exists());
    s.dvc(["clone", remote.to_str().unwrap(), "../clone"]).ok();
    assert!(!s.at("clone/.dvcs/refs/trash").exists());
    s.dvc(["-C", "../clone", "trash"])
        .ok()
        .says("the trash is empty");
    s.dvc(["fetch"]).ok();
    assert_eq!(entries(&s.dvc(["--json", "trash"])).len(), 1);
}

#[test]
fn one_unreadable_place_does_not_hide_the_others() {
    let s = three_versions();
    s.write("a", "mine");
    let id = text(
        &s.dvc(["--json", "checkout", "-f", "main"]).ok().json(),
        "trash",
    );
    // An entry that is not an overlay directory, one with a hostile name, and one of another user.
    let dir = s.w(".dvcs/trash-local");
    fs::create_dir_all(dir.join("20260101T000000Z-x\u{202e}\n\x1b[31m")).unwrap();
    fs::create_dir(dir.join("odd")).unwrap();
    fs::write(
        dir.join("odd/trash.json"),
        r#"{"schema":1,"owner":"mount","overlay":"../../a","time":5}"#,
    )
    .unwrap();
    fs::write(dir.join("file"), "").unwrap();
    let listed = s.dvc(["trash"]).ok().out;
    assert!(
        listed.contains(&id) && listed.lines().count() == 3,
        "{listed}"
    );
    assert!(
        !listed.contains('\x1b') && !listed.contains('\u{202e}'),
        "{listed:?}"
    );
    s.dvc(["trash", "restore", "odd"])
        .code(5)
        .complains("not valid");
    assert!(dir.join("odd").exists() && s.read("a") == b"3");
    s.dvc(["trash", "empty", "-y", "odd"]).ok();
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o000)).unwrap();
    let run = s.kept_out(["trash"]).code(3);
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
    assert!(
        run.out.contains(&id) && run.err.contains("cannot list a part of the trash"),
        "{}",
        run.err
    );
}

#[test]
fn another_user_lists_but_does_not_take() {
    if !needs::root_to("become another user") {
        return;
    }
    let s = three_versions();
    s.write("a", "mine");
    let id = text(
        &s.dvc(["--json", "checkout", "-f", "main"]).ok().json(),
        "trash",
    );
    fs::set_permissions(s.root(), PermissionsExt::from_mode(0o755)).unwrap();
    s.sh("chmod -R go+rX . ../home").ok();
    let dvc = env!("CARGO_BIN_EXE_dvc");
    let as_other = |args: &str| {
        let script = format!(
            "export HOME=/nonexistent XDG_RUNTIME_DIR=$DIR/none; cd $DIR/w && {dvc} {args}; echo code $?"
        );
        as_user(12_345, s.root(), &script).1
    };
    assert!(as_other("trash").contains(&id), "{}", as_other("trash"));
    for refused in ["restore", "empty -y"] {
        let out = as_other(&format!("trash {refused} {id}"));
        assert!(!out.contains("code 0"), "{out}");
    }
    assert_eq!(entries(&s.dvc(["--json", "trash"])).len(), 1);
    assert_eq!(s.read("a"), b"3");
}

#[test]
fn emptying_reports_what_it_could_not_read_or_collect() {
    let s = three_versions();
    s.write("a", "mine");
    let id = text(
        &s.dvc(["--json", "checkout", "-f", "main"]).ok().json(),
        "trash",
    );
    let dir = s.w(".dvcs/trash-local");
    fs::create_dir_all(&dir).unwrap();
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o000)).unwrap();
    let planned = s.kept_out(["--json", "trash", "empty", "-n"]).code(3);
    assert_eq!(planned.json()["deleted"][0], *id);
    // An undo cannot know whether the last removal is among the entries that it cannot read.
    s.kept_out(["-y", "undo"]).code(12).complains("trash-local");
    assert_eq!(s.dvc(["show", "main:a"]).ok().out, "3");
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
    // The collection stops, because it cannot read this overlay. The entry was deleted before.
    fs::create_dir(dir.join("20990101T000000Z-x")).unwrap();
    fs::write(dir.join("20990101T000000Z-x/overlay.db"), [7; 9000]).unwrap();
    let run = s.dvc(["--json", "trash", "empty", "-y", &id]).code(5);
    assert_eq!(run.json()["deleted"], serde_json::json!([id]));
    assert_eq!(entries(&s.dvc(["--json", "trash"])).len(), 1);
}

#[test]
fn emptying_asks_again_if_a_process_writes() {
    let s = three_versions();
    s.write("a", "mine");
    let id = text(
        &s.dvc(["--json", "checkout", "-f", "main"]).ok().json(),
        "trash",
    );
    let context = context(s.w(".dvcs"), s.at("w"));
    let repo = context.repo().unwrap();
    let writer = Output::storing(&repo, &Silent).unwrap();
    // The question is asked only in a terminal.
    let ask = || {
        s.sh(&format!(
            "echo y | script -qec 'dvc trash empty {id}' /dev/null"
        ))
    };
    let run = ask();
    assert!(run.code == 11 && run.out.contains("Delete"), "{}", run.out);
    assert_eq!(entries(&s.dvc(["--json", "trash"])).len(), 1);
    drop(writer);
    ask().ok().says("deleted 1 entry");
    assert!(entries(&s.dvc(["--json", "trash"])).is_empty());
}
