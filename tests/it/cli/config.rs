//! `dvc config`.

use super::fresh;
use crate::support::sandbox::Sandbox;

#[test]
fn layers_and_their_origins() {
    let mut s = fresh();
    let origin = |s: &Sandbox, args: &[&str]| {
        let run = s.dvc([args, &["config", "list", "--show-origin"]].concat()).ok();
        let line = run.out.lines().find(|l| l.contains("core.jobs=")).unwrap().to_owned();
        line.split(['\t', ':']).next().unwrap().to_owned() + " " + line.split('=').nth(1).unwrap()
    };
    assert!(origin(&s, &[]).starts_with("built-in "));
    s.dvc(["config", "set", "--global", "core.jobs", "3"]).ok();
    assert_eq!(origin(&s, &[]), "file 3");
    assert!(std::fs::read_to_string(s.at("home/config/dvc/config.toml")).unwrap().contains("jobs = 3"));
    s.dvc(["config", "core.jobs", "4"]).ok();
    assert_eq!(s.dvc(["config", "core.jobs"]).ok().out, "4\n");
    assert_eq!(std::fs::read_to_string(s.w(".dvcs/config.toml")).unwrap(), "[core]\njobs = 4\n");
    s.set("DVC_JOBS", "5");
    assert_eq!(origin(&s, &[]), "env 5");
    assert_eq!(origin(&s, &["-c", "core.jobs=6"]), "command line 6");
    assert_eq!(origin(&s, &["-c", "core.jobs=6", "-j", "7"]), "command line 7");
    s.dvc(["config", "unset", "core.jobs"]).ok();
    assert_eq!(std::fs::read_to_string(s.w(".dvcs/config.toml")).unwrap(), "[core]\n");
}

#[test]
fn all_problems_at_once() {
    let s = fresh();
    std::fs::write(s.w(".dvcs/config.toml"), "[core]\njob = 1\n[ui]\npager = 'rm'\n").unwrap();
    let run = s.dvc(["status", "--memory", "tiny"]).code(2);
    for part in ["3 problems", "did you mean `core.jobs`?", "cannot be set by a repository", "--memory: `tiny`"] {
        assert!(run.err.contains(part), "{}", run.err);
    }
    // A broken file can be mended with the same program.
    s.dvc(["config", "set", "ui.color", "never"]).ok();
    s.dvc(["version"]).ok();
}

#[test]
fn what_is_refused() {
    let s = fresh();
    s.dvc(["config", "get", "core.job"]).code(2).complains("did you mean `core.jobs`?");
    s.dvc(["config", "set", "core.jobs", "many"]).code(2);
    s.dvc(["config", "set", "ui.pager", "less"]).code(2).complains("use --global");
    s.dvc(["config", "get", "user.email"]).code(13).complains("`user.email` is not set");
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
    assert_eq!(s.dvc(["log", "--format=%an %ae"]).ok().out, "Bob bob@example.org\n");
}
