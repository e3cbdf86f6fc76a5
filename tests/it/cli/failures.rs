//! Exit codes, messages, closed pipes, signals, and the other names of the program.

use super::{fresh, three};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::spawned::Spawned;
use std::process::Stdio;

#[test]
fn versions_and_names() {
    let s = Sandbox::new();
    let version = format!("dvc (data-volume control) {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(s.dvc(["--version"]).ok().out, version);
    assert_eq!(s.dvc(["version"]).ok().out, version);
    assert_eq!(s.dvc(["version", "--json"]).ok().json()["schema"], 1);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dvc"), s.at("git-dvc")).unwrap();
    assert_eq!(
        Run::of(s.other(s.at("git-dvc")).arg("--version")).ok().out,
        version
    );
}

#[test]
fn usage_errors_are_2() {
    let s = fresh();
    for args in [
        &["nope"][..],
        &["commit", "--nope"],
        &["log", "-n", "x"],
        &["checkout"],
        &["config", "get"],
        &[],
    ] {
        s.dvc(args).code(2);
    }
    let run = s.dvc(["--json", "commit", "--jsno"]).code(2);
    let error: serde_json::Value = serde_json::from_str(&run.err).unwrap();
    assert_eq!(
        (&error["schema"], &error["code"], &error["kind"]),
        (&1.into(), &2.into(), &"usage".into())
    );
    assert!(error["hint"].as_str().unwrap().contains("--json"));
}

/// A parse error is formatted like every other error, with a suitable hint and the usage line.
#[test]
fn the_command_line_is_answered_in_plain_words() {
    let s = fresh();
    let said = |args: &[&str]| s.dvc(args).code(2).err;
    assert_eq!(
        said(&["clone"]),
        "error: `dvc clone` needs <URL>\nhint: run `dvc clone --help` to list the arguments\nusage: dvc clone <URL> [DIR]\n"
    );
    assert!(
        said(&["volume", "lst"])
            .starts_with("error: `dvc volume` has no command `lst`\nhint: did you mean `ls`?\n")
    );
    assert!(
        said(&["log", "--color", "purple"]).contains("hint: write one of auto, always, never\n")
    );
    assert!(
        said(&["checkout", "main", "a.txt"])
            .contains("hint: write paths after `--`: `dvc checkout .. -- a.txt`\n")
    );
    assert!(
        said(&["log", "--graph", "--reverse"])
            .contains("`--graph` and `--reverse` cannot be used together")
    );
    assert!(said(&["\x1b[31mx"]).contains("`\\x1b[31mx`"));
    let run = s.dvc(["--json", "snapshots"]).code(2);
    let error: serde_json::Value = serde_json::from_str(&run.err).unwrap();
    assert_eq!(
        (&error["kind"], &error["hint"]),
        (&"usage".into(), &"run `dvc log`".into())
    );
}

#[test]
fn no_repository_is_10() {
    let s = Sandbox::new();
    s.dvc(["log"]).code(10).complains("hint: run `dvc init`");
    s.dvc(["--repo", "none", "log"]).code(10);
    let run = s.dvc(["--json", "log"]).code(10);
    let error: serde_json::Value = serde_json::from_str(&run.err).unwrap();
    assert_eq!(error["kind"], "no-repository");
    assert!(run.out.is_empty());
}

#[test]
fn the_directory_of_another_program_is_explained() {
    let s = Sandbox::new();
    s.write(".dvc/config", "");
    s.dvc(["status"])
        .code(10)
        .complains("belongs to an unrelated program");
}

#[test]
fn global_options_on_both_sides() {
    let s = three();
    let root = s.root().to_owned();
    let run = |args: &[&str]| Run::of(s.command(args).current_dir(&root)).ok().out;
    let expected = run(&["-C", "w", "log", "--format=%s"]);
    assert_eq!(run(&["log", "--format=%s", "-C", "w"]), expected);
    assert_eq!(run(&["--repo", "w/.dvcs", "log", "--format=%s"]), expected);
    assert_eq!(run(&["log", "--repo", "w", "--format=%s"]), expected);
    let repo = Run::of(
        s.command(["log", "--format=%s"])
            .current_dir(&root)
            .env("DVC_REPO", "w/.dvcs"),
    )
    .ok();
    assert_eq!(repo.out, expected);
}

#[test]
fn colours() {
    let s = three();
    let coloured = |args: &[&str], env: &[(&str, &str)]| {
        Run::of(s.command(args).envs(env.iter().copied()))
            .ok()
            .out
            .contains('\x1b')
    };
    assert!(!coloured(&["log"], &[]));
    assert!(coloured(&["log", "--color", "always"], &[]));
    assert!(coloured(&["log"], &[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(
        &["log"],
        &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]
    ));
    assert!(coloured(&["log", "--color=always"], &[("NO_COLOR", "1")]));
    assert!(!coloured(
        &["log", "--color=never"],
        &[("CLICOLOR_FORCE", "1")]
    ));
    assert!(coloured(&["-c", "ui.color=always", "log"], &[]));
    s.dvc(["config", "set", "ui.color", "always"]).ok();
    assert!(coloured(&["log"], &[]));
    assert!(!coloured(&["log"], &[("NO_COLOR", "1")]));
    assert!(!coloured(&["log", "--color=auto"], &[]));
    s.dvc(["config", "set", "ui.color", "never"]).ok();
    assert!(!coloured(&["log"], &[]));
    assert!(coloured(&["log"], &[("CLICOLOR_FORCE", "1")]));
}

#[test]
fn a_closed_pipe_is_141() {
    let s = three();
    let mut child = s
        .command(["show", "@:d/big"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let run = Run::wait("show".to_owned(), child);
    assert_eq!((run.code, run.err.as_str()), (141, ""));
    s.sh("dvc completions bash > /dev/full")
        .code(8)
        .complains("cannot write to standard output");
}

#[test]
fn a_signal_ends_it_with_128_and_its_number() {
    let s = fresh();
    let input = std::fs::File::open("/dev/zero").unwrap();
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut command = s.command(["commit", "--stdin", "endless"]);
        command
            .stdin(input.try_clone().unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = Spawned::start(&mut command);
        let pid = child.id();
        std::thread::sleep(std::time::Duration::from_millis(700));
        let begun = std::time::Instant::now();
        s.sh(&format!("kill -{name} {pid}")).ok();
        child.finish().code(code);
        assert!(begun.elapsed().as_secs() < 2);
    }
    s.dvc(["log"]).code(13);
}

#[test]
fn sigusr1_says_how_far_it_is() {
    let s = fresh();
    let input = std::fs::File::open("/dev/zero").unwrap();
    let mut command = s.command(["commit", "--stdin", "endless"]);
    let child = Spawned::start(
        command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    let pid = child.id();
    std::thread::sleep(std::time::Duration::from_millis(700));
    s.sh(&format!("kill -USR1 {pid}; sleep 0.3; kill -INT {pid}"))
        .ok();
    child.finish().code(130).complains("commit: ");
}

/// A file in place of a directory, or the reverse, is a usage error and not reported as a bug.
#[test]
fn ordinary_mistakes_are_2() {
    let s = three();
    let (file, dir, long) = ("a.txt", "d", "n".repeat(300));
    for args in [
        &["-C", file, "status"][..],
        &["init", file],
        &["init", "--repo", file],
        &["commit", "-F", dir],
        &["commit", "-m", "x", "a.txt/x"],
        &["commit", "-m", "x", &long],
        &["checkout", "--into", file, "@"],
        &["checkout", "--into", &long, "@"],
        &["completions", "bash", "--dir", file],
        &["init", &long],
    ] {
        s.dvc(args).code(2);
    }
    s.dvc(["fsck"]).ok();
}

#[test]
fn the_last_of_a_repeated_option_counts() {
    let s = three();
    let root = s.root().to_owned();
    let run = |args: &[&str]| Run::of(s.command(args).current_dir(&root));
    let log = [
        "log",
        "--format=%s",
        "--format=%O",
        "-n",
        "2",
        "-n",
        "1",
        "--color",
        "always",
        "--color",
        "never",
    ];
    let repo = ["--repo", "none", "--repo", "w", "--no-pager", "--no-pager"];
    assert_eq!(run(&[&repo[..], &log].concat()).ok().out, "3\n");
    assert_eq!(
        run(&["-C", "w", "-C", "d", "ls", "-C", "..", "--", "a.txt"])
            .ok()
            .out,
        "a.txt\n"
    );
    run(&["--json", "-C", "w", "log", "--json", "--json"])
        .ok()
        .json_lines();
}

#[test]
fn failures_are_coloured_by_the_flag() {
    let s = Sandbox::new();
    assert!(!s.dvc(["log"]).code(10).err.contains('\x1b'));
    assert!(
        s.dvc(["log", "--color=always"])
            .code(10)
            .err
            .starts_with("\x1b[1;31merror:")
    );
    assert!(
        s.dvc(["--color", "always", "nope"])
            .code(2)
            .err
            .contains('\x1b')
    );
    let forced = |args: &[&str]| {
        Run::of(s.command(args).env("CLICOLOR_FORCE", "1"))
            .err
            .contains('\x1b')
    };
    assert!(
        forced(&["log"])
            && !forced(&["log", "--color", "never"])
            && !forced(&["nope", "--color", "never"])
    );
}

#[test]
fn the_help_has_examples() {
    let s = Sandbox::new();
    for verb in ["init", "commit", "checkout", "log", "diff"] {
        let help = s.dvc([verb, "--help"]).ok().out;
        let examples = help
            .split_once("\nExamples:\n")
            .unwrap_or_else(|| panic!("{help}"))
            .1;
        assert!(
            examples
                .lines()
                .all(|l| l.starts_with("  dvc ") && l.contains(verb)),
            "{examples}"
        );
    }
}

/// A repository that the user may not read is not reported as missing.
#[test]
fn a_repository_that_may_not_be_read_is_12() {
    use std::os::unix::fs::PermissionsExt;
    let s = three();
    let mode = |mode| {
        std::fs::set_permissions(s.w(".dvcs"), std::fs::Permissions::from_mode(mode)).unwrap()
    };
    mode(0o000);
    let runs = [s.kept_out(["log"]), s.kept_out(["--repo", ".", "log"])];
    mode(0o700);
    for run in runs {
        run.code(12)
            .complains("cannot read the repository")
            .complains(".dvcs");
    }
}

/// An unknown time zone is reported, because the user would not notice wrong times.
#[test]
fn an_unknown_time_zone_is_reported_once() {
    let mut s = three();
    s.set("TZ", "No/Where");
    let told = s.dvc(["log"]).ok().err;
    assert_eq!(
        told.matches("unknown time zone `No/Where` in TZ").count(),
        1,
        "{told}"
    );
    assert!(s.dvc(["-q", "log"]).ok().err.is_empty());
    for known in ["UTC", "EST5EDT,M3.2.0,M11.1.0", ""] {
        s.set("TZ", known);
        assert!(s.dvc(["log"]).ok().err.is_empty(), "{known}");
    }
}
