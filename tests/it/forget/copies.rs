//! Push, fetch and clone of a repository with forgotten versions.

use super::History;
use crate::support::sandbox::Run;

fn collected() -> History {
    let h = History::days(6);
    h.forget(&["main@v2", "main@v4"]).ok();
    h.gc();
    h
}

fn at(h: &History, repo: &str, args: &[&str]) -> Run {
    h.s.dvc([&["--repo", repo], args].concat())
}

#[track_caller]
fn check_copy(h: &History, repo: &str) {
    at(h, repo, &["fsck", "--data"]).ok().says("no damage");
    assert_eq!(at(h, repo, &["show", "main@v3:n"]).ok().out, "3\n");
    at(h, repo, &["show", "main@v2:n"])
        .code(13)
        .complains("main@v2 was forgotten on");
    let log = at(h, repo, &["log", "--oneline"]).ok().out;
    assert_eq!(log.lines().count(), 6, "{log}");
    assert_eq!(
        log.lines()
            .filter(|line| line.contains("(forgotten)"))
            .count(),
        2,
        "{log}"
    );
}

#[test]
fn a_push_leaves_them_out() {
    let h = collected();
    h.s.dvc(["push", "../remote"]).ok();
    check_copy(&h, "../remote");
    at(&h, "../remote", &["-y", "gc", "--now"]).ok();
    check_copy(&h, "../remote");
    h.commit(7, "2024-01-07T03:00:00Z");
    h.s.dvc(["push", "../remote"]).ok();
    at(&h, "../remote", &["fsck", "--data"])
        .ok()
        .says("no damage");
    assert_eq!(at(&h, "../remote", &["show", "main@v7:n"]).ok().out, "7\n");
}

#[test]
fn a_clone_leaves_them_out() {
    let h = collected();
    h.s.dvc(["clone", "../w", "../clone"]).ok();
    check_copy(&h, "../clone/.dvcs");
    let mention = std::fs::read_dir(h.s.at("clone/.dvcs/trash"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert!(
        std::fs::read_to_string(mention.path())
            .unwrap()
            .contains("\"why\":\"fetched without\"")
    );
    at(
        &h,
        "../clone/.dvcs",
        &[
            "-y",
            "-c",
            "gc.keep-log=0",
            "gc",
            "--now",
            "--max-unused",
            "0",
        ],
    )
    .ok();
    check_copy(&h, "../clone/.dvcs");
    h.commit(7, "2024-01-07T03:00:00Z");
    h.s.dvc(["-C", "../clone", "pull"]).ok();
    at(&h, "../clone/.dvcs", &["fsck", "--data"])
        .ok()
        .says("no damage");
    assert_eq!(
        at(&h, "../clone/.dvcs", &["show", "main@v7:n"]).ok().out,
        "7\n"
    );
}

#[test]
fn a_remote_that_forgets_does_not_harm_its_clones() {
    let h = History::days(6);
    h.s.dvc(["clone", "../w", "../clone"]).ok();
    h.forget(&["main@v2", "main@v6~1"]).ok();
    h.gc();
    h.s.dvc(["-C", "../clone", "fetch"]).ok();
    // The clone has its own copy.
    assert_eq!(
        at(&h, "../clone/.dvcs", &["show", "main@v2:n"]).ok().out,
        "2\n"
    );
    h.commit(7, "2024-01-07T03:00:00Z");
    h.s.dvc(["-C", "../clone", "pull"]).ok();
    std::fs::write(h.s.at("clone/n"), "8\n").unwrap();
    h.s.dvc(["-C", "../clone", "commit", "-m", "c8"]).ok();
    h.s.dvc(["checkout", "main@v7"]).ok();
    h.s.dvc(["-C", "../clone", "push"]).ok();
    h.s.dvc(["fsck", "--data"]).ok().says("no damage");
    at(&h, "../clone/.dvcs", &["fsck", "--data"])
        .ok()
        .says("no damage");
    assert_eq!(h.s.dvc(["show", "main@v8:n"]).ok().out, "8\n");
    h.s.dvc(["show", "main@v2:n"]).code(13);
}

#[test]
fn a_restored_version_is_fetched_again() {
    let h = History::days(5);
    h.forget(&["main@v2"]).ok();
    h.s.dvc(["clone", "../w", "../clone"]).ok();
    at(&h, "../clone/.dvcs", &["show", "main@v2:n"]).code(13);
    h.forget(&["--undo"]).ok();
    h.s.dvc(["-C", "../clone", "fetch"]).ok();
    assert_eq!(
        at(&h, "../clone/.dvcs", &["show", "main@v2:n"]).ok().out,
        "2\n"
    );
    assert_eq!(
        at(&h, "../clone/.dvcs", &["log", "--oneline"])
            .ok()
            .lines()
            .len(),
        5
    );
    at(&h, "../clone/.dvcs", &["fsck", "--data"])
        .ok()
        .says("no damage");
}

#[test]
fn versions_of_a_remote_are_forgotten_there() {
    let h = History::days(6);
    h.s.dvc(["remote", "add", "origin", "../remote"]).ok();
    h.s.dvc(["push"]).ok();
    h.forget(&["--remote", "origin", "main@v6"]).code(4);
    h.forget(&["--remote", "origin", "main@v2", "-n"]).ok();
    h.forget(&["--remote", "origin", "main@v2"]).ok();
    h.forget(&["--remote", "origin", "--keep-last", "4", "-y"])
        .ok();
    assert_eq!(h.log(&[]).len(), 6);
    assert_eq!(
        at(&h, "../remote", &["log", "--oneline"])
            .ok()
            .lines()
            .len(),
        4
    );
    assert_eq!(
        h.forget(&["--remote", "origin", "--list"])
            .ok()
            .lines()
            .len(),
        2
    );
    h.forget(&["--remote", "origin", "--undo", "main@v2"]).ok();
    assert_eq!(
        at(&h, "../remote", &["log", "--oneline"])
            .ok()
            .lines()
            .len(),
        5
    );
    assert_eq!(h.forget(&["--list"]).ok().out, "the trash is empty\n");
}

#[test]
fn a_lazy_clone_knows_what_is_gone() {
    let h = collected();
    h.s.dvc(["clone", "--lazy", "../w", "../lazy"]).ok();
    assert_eq!(
        at(&h, "../lazy/.dvcs", &["show", "main@v3:n"]).ok().out,
        "3\n"
    );
    at(&h, "../lazy/.dvcs", &["show", "main@v2:n"])
        .code(13)
        .complains("main@v2 was forgotten on");
    at(&h, "../lazy/.dvcs", &["log", "--oneline"]).ok();
}

#[test]
fn a_push_restores_a_version_that_the_remote_has_collected() {
    let h = History::days(6);
    h.s.dvc(["push", "../remote"]).ok();
    at(
        &h,
        "../remote",
        &["-y", "forget", "--now", "main@v2", "main@v4"],
    )
    .ok();
    at(&h, "../remote", &["-y", "gc", "--now", "--max-unused=0"]).ok();
    at(&h, "../remote", &["show", "main@v2:n"]).code(13);
    let push = |more: &[&str]| {
        h.s.dvc([&["push", "../remote", "--restore", "main@v2"], more].concat())
    };
    push(&["-n"]).ok().says("would restore 1 version");
    at(&h, "../remote", &["show", "main@v2:n"]).code(13);
    push(&[]).ok().says("restored 1 version");
    assert_eq!(at(&h, "../remote", &["show", "main@v2:n"]).ok().out, "2\n");
    at(&h, "../remote", &["show", "main@v4:n"]).code(13);
    at(&h, "../remote", &["fsck", "--data"])
        .ok()
        .says("no damage");
    push(&[]).code(13).complains("it is not in the trash");
    // A version that has no data here cannot be restored.
    h.forget(&["main@v4"]).ok();
    h.gc();
    h.s.dvc(["push", "../remote", "--restore", "main@v4"])
        .code(13);
    at(&h, "../remote", &["fsck", "--data"])
        .ok()
        .says("no damage");
}
