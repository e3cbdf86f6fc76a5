//! `dvc config`.

use super::fresh;
use crate::support::needs;
use crate::support::sandbox::{Run, Sandbox};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn layers_and_their_origins() {
    let mut s = fresh();
    let origin = |s: &Sandbox, args: &[&str]| {
        let run = s
            .dvc([args, &["config", "list", "--show-origin"]].concat())
            .ok();
        let line = run
            .out
            .lines()
            .find(|l| l.contains("core.jobs="))
            .unwrap()
            .to_owned();
        line.split(['\t', ':']).next().unwrap().to_owned() + " " + line.split('=').nth(1).unwrap()
    };
    assert!(origin(&s, &[]).starts_with("built-in "));
    s.dvc(["config", "set", "--global", "core.jobs", "3"]).ok();
    assert_eq!(origin(&s, &[]), "file 3");
    assert!(
        fs::read_to_string(s.at("home/config/dvc/config.toml"))
            .unwrap()
            .contains("jobs = 3")
    );
    s.dvc(["config", "core.jobs", "4"]).ok();
    assert_eq!(s.dvc(["config", "core.jobs"]).ok().out, "4\n");
    assert_eq!(
        fs::read_to_string(s.w(".dvcs/config.toml")).unwrap(),
        "[core]\njobs = 4\n"
    );
    s.set("DVC_JOBS", "5");
    assert_eq!(origin(&s, &[]), "env 5");
    assert_eq!(origin(&s, &["-c", "core.jobs=6"]), "command line 6");
    assert_eq!(
        origin(&s, &["-c", "core.jobs=6", "-j", "7"]),
        "command line 7"
    );
    s.dvc(["config", "unset", "core.jobs"]).ok();
    assert_eq!(
        fs::read_to_string(s.w(".dvcs/config.toml")).unwrap(),
        "[core]\n"
    );
}

#[test]
fn all_problems_at_once() {
    let s = fresh();
    fs::write(
        s.w(".dvcs/config.toml"),
        "[core]\njob = 1\n[ui]\npager = 'rm'\n",
    )
    .unwrap();
    let run = s.dvc(["status", "--memory", "tiny"]).code(2);
    for part in [
        "3 problems",
        "did you mean `core.jobs`?",
        "cannot be set by a repository",
        "--memory: invalid size `tiny`",
    ] {
        assert!(run.err.contains(part), "{}", run.err);
    }
    // `dvc config set` still works, so the user can repair the file with it.
    s.dvc(["config", "set", "ui.color", "never"]).ok();
    s.dvc(["version"]).ok();
}

#[test]
fn what_is_refused() {
    let s = fresh();
    s.dvc(["config", "get", "core.job"])
        .code(2)
        .complains("did you mean `core.jobs`?");
    s.dvc(["config", "set", "core.jobs", "many"]).code(2);
    s.dvc(["config", "set", "ui.pager", "less"])
        .code(2)
        .complains("use --global");
    s.dvc(["config", "get", "user.email"])
        .code(13)
        .complains("`user.email` is not set");
    s.dvc(["config", "set", "-n", "core.jobs", "2"]).ok();
    assert!(!s.w(".dvcs/config.toml").exists());
    let outside = Sandbox::new();
    outside.dvc(["config", "set", "core.jobs", "2"]).code(10);
}

#[test]
fn the_author() {
    let s = Sandbox::new();
    s.dvc(["init"]).ok();
    s.write("a", "");
    s.dvc(["config", "user.name", "Bob"]).ok();
    s.dvc(["config", "user.email", "bob@example.org"]).ok();
    s.dvc(["commit", "-m", "x"]).ok();
    assert_eq!(
        s.dvc(["log", "--format=%an %ae"]).ok().out,
        "Bob bob@example.org\n"
    );
}

#[test]
fn a_file_has_the_access_of_its_directory() {
    let s = fresh();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    s.sh("umask 077; dvc config set --global core.jobs 3; dvc config set core.jobs 3")
        .ok();
    let (global, local) = (
        s.at("home/config/dvc/config.toml"),
        s.w(".dvcs/config.toml"),
    );
    assert_eq!(mode(&s.at("home")), 0o755);
    assert_eq!((mode(&global), mode(&local)), (0o644, 0o600));
    fs::set_permissions(&local, fs::Permissions::from_mode(0o640)).unwrap();
    s.dvc(["config", "set", "core.jobs", "4"]).ok();
    assert_eq!(mode(&local), 0o640);
}

/// Settings are often links into a directory under version control.
#[test]
fn a_link_stays_a_link() {
    let s = fresh();
    let file = s.at("home/config/dvc/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::create_dir(s.at("dotfiles")).unwrap();
    let target = s.at("dotfiles/dvc.toml");
    fs::write(&target, "[core]\njobs = 3\n").unwrap();
    std::os::unix::fs::symlink(&target, &file).unwrap();
    s.dvc(["config", "set", "--global", "core.jobs", "4"]).ok();
    assert!(fs::symlink_metadata(&file).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&target).unwrap(), "[core]\njobs = 4\n");
}

/// The owner of a repository must not lead root to another file.
#[test]
fn a_link_of_another_user_is_replaced() {
    if !needs::root_to("give a link to another user") {
        return;
    }
    let s = fresh();
    let (target, file) = (s.at("home/other.toml"), s.w(".dvcs/config.toml"));
    fs::write(&target, "[core]\njobs = 3\n").unwrap();
    let _ = fs::remove_file(&file);
    std::os::unix::fs::symlink(&target, &file).unwrap();
    std::os::unix::fs::lchown(&file, Some(12_345), Some(12_345)).unwrap();
    s.dvc(["config", "set", "core.jobs", "4"]).ok();
    assert!(fs::symlink_metadata(&file).unwrap().is_file());
    assert_eq!(fs::read_to_string(&target).unwrap(), "[core]\njobs = 3\n");
    assert_eq!(s.dvc(["config", "core.jobs"]).ok().out, "4\n");
}

#[test]
fn a_file_that_may_not_be_read_is_12() {
    let s = fresh();
    s.dvc(["config", "set", "core.jobs", "3"]).ok();
    fs::set_permissions(s.w(".dvcs/config.toml"), fs::Permissions::from_mode(0o000)).unwrap();
    s.kept_out(["status"])
        .code(12)
        .complains("config.toml: cannot read the file: ");
    s.kept_out(["status", "-c", "none=1"])
        .code(2)
        .complains("2 problems");
    s.kept_out(["config", "set", "core.jobs", "4"]).code(12);
}

#[test]
fn a_repository_below_a_name_that_is_not_utf8() {
    let s = Sandbox::new();
    let dir = s.w(OsStr::from_bytes(b"n\xff"));
    fs::create_dir(&dir).unwrap();
    let dvc = |args: &[&str]| Run::of(s.command(args).current_dir(&dir)).ok();
    dvc(&["init"]);
    let json = dvc(&["--json", "config", "set", "core.jobs", "1"]).json();
    assert!(
        json["file"]
            .as_str()
            .unwrap()
            .ends_with("/n\\xff/.dvcs/config.toml"),
        "{json}"
    );
    assert!(
        json["file_hex"].as_str().unwrap().contains("6eff2f"),
        "{json}"
    );
    assert_eq!(
        (&json["schema"], &json["changed"], &json["value"]),
        (&1.into(), &true.into(), &1.into())
    );
}

#[test]
fn a_dry_run_reports_the_change() {
    let s = fresh();
    s.dvc(["config", "set", "-n", "core.jobs", "2"])
        .ok()
        .says("would set core.jobs=2 in `");
    assert_eq!(s.dvc(["config", "set", "core.jobs", "2"]).ok().out, "");
    s.dvc(["config", "set", "-n", "core.jobs", "2"])
        .ok()
        .says("nothing would change in `");
    s.dvc(["config", "unset", "-n", "core.jobs"])
        .ok()
        .says("would remove core.jobs from `");
}
