//! `dvc commit --quiesce` with local file systems and databases. `tests/docker` has the tests with
//! containers.

mod databases;
mod freeze;

use std::time::{Duration, Instant};

use crate::support::sandbox::Sandbox;

/// Time limit for an expected event.
const PATIENCE: Duration = Duration::from_secs(60);

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn profiles_are_checked_before_anything_is_done() {
    let s = Sandbox::with_repo();
    s.write("a", "a");
    for (profile, said) in [
        ("docker", "docker:pause"),
        ("postgres://u:secret@h/db", "visible to all users"),
        ("fsfreeze:relative", "path"),
        ("pause", "docker:pause"),
    ] {
        let run = s
            .dvc(["commit", "-m", "x", "--quiesce", profile])
            .code(2)
            .complains(said);
        assert!(!run.err.contains("secret"), "{}", run.err);
    }
    s.dvc([
        "commit",
        "-m",
        "x",
        "--quiesce",
        "none",
        "--quiesce-timeout",
        "soon",
    ])
    .ok();
    s.write("a", "b");
    for limit in ["soon", "0"] {
        let args = [
            "commit",
            "-m",
            "x",
            "--quiesce",
            "mariadb:",
            "--quiesce-timeout",
            limit,
        ];
        s.dvc(args).code(2).complains("--quiesce-timeout");
    }
    s.dvc([
        "commit",
        "-m",
        "x",
        "--quiesce",
        "docker:pause",
        "--stdin",
        "f",
    ])
    .code(2);
}
