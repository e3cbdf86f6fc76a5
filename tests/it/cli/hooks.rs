//! Hooks: which hook runs when, its input, and the effect of a failure.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::process::Pid;

use super::fresh;
use crate::support::needs::is_root;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::program::is_alive;

/// Writes an executable shell script.
fn program(path: &PathBuf, script: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Creates all hooks of the repository. Each appends its input to the file `told`; the hooks in
/// `fails` then fail.
fn with_hooks(s: &Sandbox, fails: &[&str]) {
    for event in [
        "pre-commit",
        "post-commit",
        "failed-commit",
        "pre-push",
        "post-push",
        "failed-push",
    ] {
        let end = if fails.contains(&event) { "exit 3" } else { "" };
        let told = s.at("told");
        program(
            &s.w(".dvcs/hooks").join(event),
            &format!("cat >> {}; echo says-{event}\n{end}", told.display()),
        );
    }
}

/// Returns the inputs of all hooks since the last call.
fn told(s: &Sandbox) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(s.at("told")).unwrap_or_default();
    let _ = fs::remove_file(s.at("told"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn events(told: &[serde_json::Value]) -> Vec<&str> {
    told.iter().map(|t| t["event"].as_str().unwrap()).collect()
}

#[test]
fn hooks_run_in_order_with_their_input() {
    let s = fresh();
    with_hooks(&s, &[]);
    s.write("a", "one");
    let run = s
        .dvc(["commit", "-m", "x", "--json"])
        .ok()
        .complains("says-pre-commit")
        .complains("says-post-commit");
    let id = run.json()["id"].clone();
    let said = told(&s);
    assert_eq!(events(&said), ["pre-commit", "post-commit"]);
    for one in &said {
        assert_eq!(
            (&one["schema"], &one["branch"]),
            (&1.into(), &"main".into())
        );
        assert_eq!(
            one["repository"].as_str().unwrap(),
            s.w(".dvcs").to_str().unwrap()
        );
        assert_eq!(
            one["worktree"].as_str().unwrap(),
            s.w("").to_str().unwrap().trim_end_matches('/')
        );
        assert!(one.get("error").is_none());
    }
    assert!(said[0].get("version").is_none());
    assert_eq!(said[1]["version"], id);
    // A commit without changes creates no version, so only `pre-commit` runs. A dry run calls no
    // hook.
    s.dvc(["commit", "-m", "x"]).ok();
    assert_eq!(events(&told(&s)), ["pre-commit"]);
    s.write("a", "two");
    s.dvc(["commit", "-n", "-m", "x"]).ok();
    assert_eq!(told(&s).len(), 0);
    // A commit that fails runs `failed-commit` with the error.
    s.dvc(["commit", "-m", "x", "none"]).code(13);
    let said = told(&s);
    assert_eq!(events(&said), ["pre-commit", "failed-commit"]);
    assert_eq!(
        (&said[1]["error"]["code"], &said[1]["error"]["kind"]),
        (&13.into(), &"not-found".into())
    );
    assert!(
        said[1]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("`none`")
    );
    // A push runs its hooks once per remote.
    s.dvc(["remote", "add", "origin", s.at("there").to_str().unwrap()])
        .ok();
    s.dvc(["commit", "-m", "y", "--push"]).ok();
    let said = told(&s);
    assert_eq!(
        events(&said),
        ["pre-commit", "post-commit", "pre-push", "post-push"]
    );
    assert_eq!(
        (&said[3]["remote"], &said[3]["refs"][0]),
        (&"origin".into(), &"main".into())
    );
    assert!(said[3]["url"].as_str().unwrap().ends_with("/there"));
    s.dvc(["push", "-n"]).ok();
    assert_eq!(told(&s).len(), 0);
    // Another clone has pushed in the meantime, so the push is rejected.
    s.dvc([
        "clone",
        s.at("there").to_str().unwrap(),
        s.at("other").to_str().unwrap(),
    ])
    .ok();
    fs::write(s.at("other/b"), "b").unwrap();
    Run::of(
        s.command(["-C"])
            .arg(s.at("other"))
            .args(["commit", "-m", "z", "--push"]),
    )
    .ok();
    assert_eq!(told(&s).len(), 0, "hooks do not come with a clone");
    s.write("a", "three");
    s.dvc(["commit", "-m", "w"]).ok();
    told(&s);
    s.dvc(["push"]).code(4).says("rejected");
    let said = told(&s);
    assert_eq!(events(&said), ["pre-push", "failed-push"]);
    assert_eq!(said[1]["error"]["kind"], "rejected");
}

/// Every command that creates a version runs the commit hooks.
#[test]
fn import_and_pack_run_hooks() {
    let s = fresh();
    with_hooks(&s, &[]);
    s.write("a", "one");
    s.dvc(["commit", "-m", "x"]).ok();
    s.dvc(["export", "main", "-o", s.at("a.tar").to_str().unwrap()])
        .ok();
    told(&s);
    s.dvc(["import", s.at("a.tar").to_str().unwrap(), "-b", "other"])
        .ok();
    let said = told(&s);
    assert_eq!(events(&said), ["pre-commit", "post-commit"]);
    assert_eq!(said[1]["branch"], "other");
    s.dvc([
        "import",
        "-n",
        s.at("a.tar").to_str().unwrap(),
        "-b",
        "none",
    ])
    .ok();
    assert_eq!(told(&s).len(), 0);
    s.dvc(["import", s.at("none.tar").to_str().unwrap()])
        .code(13);
    assert_eq!(events(&told(&s)), ["pre-commit", "failed-commit"]);
    s.write("a", "two");
    let repo = s.w(".dvcs").display().to_string();
    let pack = || {
        Run::of(
            s.command(["--repo", &repo, "-C"])
                .arg(s.w(""))
                .args(["pack", "--no-push"]),
        )
    };
    pack().ok();
    assert_eq!(events(&told(&s)), ["pre-commit", "post-commit"]);
    with_hooks(&s, &["pre-commit"]);
    s.write("a", "three");
    pack().code(7).complains("nothing was committed");
}

#[test]
fn failed_hooks_determine_the_exit_code() {
    let versions = |s: &Sandbox| {
        let log = s.dvc(["log", "--json"]);
        if log.code == 0 {
            log.json_lines().len()
        } else {
            0
        }
    };
    for (fails, code, made, ran) in [
        (
            &["pre-commit"][..],
            7,
            0,
            &["pre-commit", "failed-commit"][..],
        ),
        (&["post-commit"], 7, 1, &["pre-commit", "post-commit"]),
        (
            &["pre-commit", "failed-commit"],
            7,
            0,
            &["pre-commit", "failed-commit"],
        ),
    ] {
        let s = fresh();
        with_hooks(&s, fails);
        s.write("a", "a");
        let run = s.dvc(["commit", "-m", "x"]).code(code);
        let told = told(&s);
        assert_eq!(
            (events(&told).as_slice(), versions(&s)),
            (ran, made),
            "{fails:?}: {}",
            run.err
        );
        let run = run
            .complains(&format!("the {} hook", fails[0]))
            .complains("exit status: 3");
        let ends = if made == 0 {
            run.complains("nothing was committed")
        } else {
            run.complains("the version exists")
        };
        if fails.contains(&"failed-commit") {
            // The exit code and the error come from the first failure; that of `failed-commit` is
            // only a note.
            ends.complains("note: the failed-commit hook");
        }
    }
    for (fails, pushed) in [("pre-push", false), ("post-push", true)] {
        let s = fresh();
        s.dvc(["remote", "add", "origin", s.at("there").to_str().unwrap()])
            .ok();
        s.write("a", "a");
        s.dvc(["commit", "-m", "x"]).ok();
        with_hooks(&s, &[fails]);
        s.dvc(["push"])
            .code(7)
            .complains(&format!("the {fails} hook"));
        assert_eq!(s.at("there/format").exists(), pushed, "{fails}");
        let told = told(&s);
        let expected = if pushed {
            ["pre-push", "post-push"]
        } else {
            ["pre-push", "failed-push"]
        };
        assert_eq!(events(&told), expected);
    }
}

#[test]
fn configured_hooks_and_their_timeout() {
    let s = fresh();
    let args = s.at("args");
    program(
        &s.at("p"),
        &format!("printf '<%s>' \"$@\" >> {}", args.display()),
    );
    let p = s.at("p").display().to_string();
    let config = |text: String| {
        fs::create_dir_all(s.at("home/config/dvc")).unwrap();
        fs::write(s.at("home/config/dvc/config.toml"), text).unwrap();
    };
    // Commands as a string and as a list, each together with a hook of the repository.
    config(format!(
        "[hook]\npre-commit = '{p} a  b'\npost-commit = ['{p}', 'c d', '']\n"
    ));
    with_hooks(&s, &[]);
    s.write("a", "a");
    s.dvc(["commit", "-m", "x"]).ok();
    assert_eq!(fs::read_to_string(&args).unwrap(), "<a><b><c d><>");
    assert_eq!(events(&told(&s)), ["pre-commit", "post-commit"]);
    let shown = s.dvc(["config", "list", "--json"]).ok();
    assert!(shown.out.contains("hook.pre-commit"), "{}", shown.out);
    // A repository cannot configure commands, because it may come from anywhere.
    fs::write(s.w(".dvcs/config.toml"), "[hook]\npre-commit = 'rm'\n").unwrap();
    s.dvc(["commit", "-m", "x"])
        .code(2)
        .complains("cannot be set by a repository");
    fs::remove_file(s.w(".dvcs/config.toml")).unwrap();
    // The timeout also ends processes that a hook has started.
    fs::remove_dir_all(s.w(".dvcs/hooks")).unwrap();
    let pids = s.at("pids");
    program(
        &s.at("slow"),
        &format!("sleep 1000 & echo $! > {}; wait", pids.display()),
    );
    config(format!(
        "[hook]\npre-commit = '{}'\ntimeout = '1s'\n",
        s.at("slow").display()
    ));
    s.write("a", "b");
    s.dvc(["commit", "-m", "x"])
        .code(7)
        .complains("longer than 1 s")
        .complains("hook.timeout");
    let pid = fs::read_to_string(&pids).unwrap().trim().parse().unwrap();
    assert!(!is_alive(Pid::from_raw(pid).unwrap()));
    config("[hook]\npre-commit = '/no/such'\n".to_owned());
    s.dvc(["commit", "-m", "x"])
        .code(7)
        .complains("cannot run the");
    // A file that is not executable is not a hook.
    config(String::new());
    program(&s.w(".dvcs/hooks/pre-commit"), "exit 1");
    fs::set_permissions(
        s.w(".dvcs/hooks/pre-commit"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    s.dvc(["commit", "-m", "x"]).ok();
}

/// A user with write access to another user's repository cannot make the owner run commands.
#[test]
fn hooks_of_other_users_are_not_run() {
    let s = fresh();
    with_hooks(&s, &[]);
    s.write("a", "a");
    let hook = s.w(".dvcs/hooks/pre-commit");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o777)).unwrap();
    s.dvc(["commit", "-m", "x"])
        .code(7)
        .complains("belongs to another user");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    if is_root() {
        std::os::unix::fs::chown(&hook, Some(65534), None).unwrap();
        s.dvc(["commit", "-m", "x"])
            .code(7)
            .complains("belongs to another user");
        std::os::unix::fs::chown(&hook, Some(0), None).unwrap();
    }
    told(&s);
    s.dvc(["commit", "-m", "x"]).ok();
    assert_eq!(events(&told(&s)), ["pre-commit", "post-commit"]);
}
