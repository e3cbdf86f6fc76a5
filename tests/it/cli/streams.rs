//! `dvc commit --stdin` and `--exec`: empty streams, and files outside of the stream.

use super::{fresh, three};
use crate::support::sandbox::Run;

#[test]
fn an_empty_stream_is_refused() {
    let s = fresh();
    s.dvc_with(
        [
            "commit",
            "-b",
            "dump",
            "--stdin",
            "db/all.sql",
            "-m",
            "good",
        ],
        b"INSERT",
    )
    .ok();
    let empty: &[&[&str]] = &[
        &["--stdin", "db/all.sql"],
        &["--stdin", "db/all.sql", "--add"],
        &["--exec", "db/all.sql", "--", "true"],
        // The branch is new, so there is no version to compare with.
        &["-b", "other", "--exec", "all.sql", "--", "true"],
    ];
    for args in empty {
        let branch = if args[0] == "-b" {
            &[][..]
        } else {
            &["-b", "dump"]
        };
        let run = s
            .dvc([&["commit", "-m", "nightly"], branch, args].concat())
            .code(4);
        run.complains("the stream is empty")
            .complains("`--allow-empty`");
    }
    assert_eq!(s.dvc(["log", "dump", "--format=%s"]).ok().out, "good\n");
    s.dvc(["log", "other"]).code(13);
    s.dvc([
        "commit",
        "-b",
        "dump",
        "-m",
        "x",
        "--allow-empty",
        "--stdin",
        "db/all.sql",
    ])
    .ok();
    assert_eq!(s.dvc(["show", "dump:db/all.sql"]).ok().out, "");
    // If the command fails, that is the reported error, not the empty stream.
    s.dvc([
        "commit", "-b", "dump", "-m", "x", "--exec", "f", "--", "false",
    ])
    .code(7);
}

#[test]
fn an_archive_without_bytes_is_refused() {
    let s = fresh();
    s.write("f", "");
    s.dvc(["commit", "-m", "one"]).ok();
    s.dvc_with(["import", "-m", "x", "-"], b"").code(5);
    s.dvc_with(["import", "-b", "new", "-m", "x", "-"], b"")
        .code(5)
        .complains("damaged");
    s.dvc(["log", "new"]).code(13);
}

/// Committing a stream does not change the version that the worktree is based on.
#[test]
fn a_stream_does_not_affect_the_worktree() {
    let s = fresh();
    s.dvc_with(
        ["commit", "-b", "dump", "--stdin", "all.sql", "-m", "x"],
        b"1",
    )
    .ok();
    assert_eq!(s.dvc(["branch", "--show-current"]).ok().out, "main\n");
    s.write("a", "1");
    s.dvc(["commit", "-m", "the worktree's"])
        .ok()
        .says("[main v1 ");
    s.dvc_with(["commit", "--stdin", "all.sql", "-m", "x", "--add"], b"2")
        .ok()
        .says("[main v2 ");
    // The worktree is still based on the first version, so the checkout adds `all.sql`.
    s.dvc(["checkout", "main"]).ok();
    assert_eq!(s.read("all.sql"), b"2");
}

#[test]
fn a_push_without_names_reports_what_it_leaves_out() {
    let s = three();
    s.dvc(["remote", "add", "origin", "../there"]).ok();
    s.dvc_with(
        ["commit", "-b", "dump", "--stdin", "all.sql", "-m", "x"],
        b"1",
    )
    .ok();
    let run = s.dvc(["push"]).ok();
    assert!(!run.out.contains("dump"), "{}", run.out);
    run.complains("note: not pushed: `dump`; specify the branches to push, or use `--all`");
    assert_eq!(
        s.dvc(["push", "--json"]).ok().json()["not_pushed"],
        serde_json::json!(["dump"])
    );
    assert_eq!(s.dvc(["push", "origin", "main"]).ok().err, "");
    assert_eq!(s.dvc(["push", "--all"]).ok().err, "");
    // The remote has every version now.
    assert_eq!(s.dvc(["push"]).ok().err, "");
}

/// A push of a repository without its own worktree includes every branch, even after a stream was
/// committed from another directory.
#[test]
fn a_bare_push_after_a_stream_pushes_every_branch() {
    let s = three();
    let bare = s.at("bare");
    Run::of(s.command(["init", "--repo"]).arg(&bare)).ok();
    let run = |args: &[&str]| {
        Run::of(
            s.command(["--repo"])
                .arg(&bare)
                .args(args)
                .current_dir(s.at("home")),
        )
        .ok()
    };
    run(&[
        "commit", "-b", "one", "-m", "x", "--exec", "f", "--", "echo", "1",
    ]);
    run(&[
        "commit", "-b", "two", "-m", "x", "--exec", "f", "--", "echo", "2",
    ]);
    let there = s.at("there");
    run(&["remote", "add", "origin", there.to_str().unwrap()]);
    run(&["push"]).says("one").says("two");
}
