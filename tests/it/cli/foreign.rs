//! Commands of git, restic, borg and kopia that users type by habit: dvc either executes them or
//! names its own command for the task.

use super::{commit, fresh, three};
use crate::support::sandbox::Sandbox;

/// Returns the rows of `docs/coming-from.md` as pairs: the arguments of `dvc`, and the answer.
fn rows() -> Vec<(&'static str, &'static str)> {
    let page = include_str!("../../../docs/coming-from.md");
    let (_, tables) = page.split_once("\n## git\n").unwrap();
    let row = |line: &'static str| {
        line.strip_prefix("| `dvc ")?
            .strip_suffix(" |")?
            .split_once("` | ")
    };
    tables.lines().filter_map(row).collect()
}

#[test]
fn every_row_of_the_page_is_answered() {
    let s = three();
    let before = s.dvc(["log", "--format=%H"]).ok().out;
    let rows = rows();
    assert!(rows.len() > 150, "{}", rows.len());
    for (typed, answer) in rows {
        for more in ["", " x"] {
            let line = format!("{typed}{more}");
            let run = s.dvc(line.split(' ')).code(2);
            run.complains(&format!("hint: {answer}\n"));
        }
    }
    assert_eq!(s.dvc(["log", "--format=%H"]).ok().out, before);
    s.dvc(["status", "--exit-code"]).ok();
}

/// The commands and options in the answers exist.
#[test]
fn the_answers_can_be_typed() {
    let s = Sandbox::new();
    for (typed, answer) in rows() {
        for quoted in answer.split('`').skip(1).step_by(2) {
            let Some(command) = quoted.strip_prefix("dvc ") else {
                continue;
            };
            let command = command.split(" -- ").next().unwrap();
            let run = s.sh(&format!("dvc {command} --help"));
            assert_eq!(
                run.code, 0,
                "`dvc {typed}` is answered by `{quoted}`:\n{}",
                run.err
            );
        }
    }
}

#[test]
fn a_commit_needs_no_flag_for_all_changes() {
    let s = three();
    s.write("a.txt", "more\n");
    // Without quotes, the second word of a message is parsed as a path. It must not become the only
    // path of the commit.
    s.dvc(["commit", "-am", "all", "a.txt"])
        .code(2)
        .complains("`--all` and `[PATH]...` cannot be used together");
    s.dvc(["commit", "-am", "all of it"]).ok().says("[main v4 ");
    s.dvc(["status", "-s", "--exit-code"]).ok();
    assert_eq!(s.dvc(["ls"]).ok().out, "a.txt\nd/\n");
}

#[test]
fn log_counts_as_git_does() {
    let s = three();
    let subjects = |args: &[&str]| s.dvc([&["log", "--format=%s"], args].concat()).ok().out;
    for args in [
        &["-1"][..],
        &["-n", "1"],
        &["-n1"],
        &["main", "-1"],
        &["-1", "--", "d"],
    ] {
        assert_eq!(subjects(args), "third\n", "{args:?}");
    }
    assert_eq!(subjects(&["-2"]), "third\nsecond\n");
    assert_eq!(subjects(&["-n", "-1"]), "third\nsecond\nfirst\n");
    assert_eq!(subjects(&["-n", "0"]), "");
    assert_eq!(s.dvc(["log", "--oneline", "-2"]).ok().lines().len(), 2);
    s.dvc(["log", "--oneline", "-n"])
        .code(2)
        .complains("`--max-count <N>` needs a value");
    s.dvc(["log", "-1", "--abbrev-commit", "--decorate"])
        .ok()
        .says("(HEAD, main) v3");
}

#[test]
fn ids_are_short_unless_asked() {
    let s = three();
    let id = s
        .dvc(["log", "-1", "--format=%H"])
        .ok()
        .out
        .trim()
        .to_owned();
    for verb in ["log", "show"] {
        assert!(
            s.dvc([verb])
                .ok()
                .out
                .starts_with(&format!("commit {} (HEAD", &id[..8]))
        );
        assert!(
            s.dvc([verb, "--no-abbrev"])
                .ok()
                .out
                .starts_with(&format!("commit {id} (HEAD"))
        );
    }
    assert!(
        s.dvc(["log", "--oneline", "--no-abbrev"])
            .ok()
            .out
            .starts_with(&id)
    );
    assert_eq!(s.dvc(["log", "-1", "--json"]).ok().json()["id"], id);
}

#[test]
fn log_shows_changed_lines() {
    let s = three();
    let run = s.dvc(["log", "-p", "--format=%s"]).ok();
    run.says("third\n\ndiff --git a/d/more b/d/more")
        .says("+more\n")
        .says("-one\n+two\n")
        .says("first\n\nA\ta.txt\n");
    let of_path = s.dvc(["log", "-p", "--format=%s", "--", "a.txt"]).ok();
    assert!(!of_path.out.contains("more"), "{}", of_path.out);
}

#[test]
fn checkout_returns_to_the_previous_branch() {
    let s = three();
    s.dvc(["checkout", "-"])
        .code(13)
        .complains("no previous branch: this worktree was never on another branch");
    s.dvc(["checkout", "-b", "side"]).ok();
    let current = || s.dvc(["branch", "--show-current"]).ok().out;
    for expected in ["main\n", "side\n", "main\n"] {
        s.dvc(["checkout", "-"]).ok();
        assert_eq!(current(), expected);
    }
    let id = s
        .dvc(["log", "-1", "--format=%H"])
        .ok()
        .out
        .trim()
        .to_owned();
    s.dvc(["checkout", &id]).ok();
    s.dvc(["checkout", "side"]).ok();
    s.dvc(["checkout", "-"]).ok();
    s.dvc(["status", "--porcelain"])
        .ok()
        .says("# branch.head (detached)");
}

#[test]
fn status_in_letters() {
    let s = three();
    s.write("a.txt", "more\n");
    s.write("new", "");
    assert_eq!(
        s.dvc(["status", "-s", "--", "a.txt", "new"]).ok().out,
        "M a.txt\nA new\n"
    );
    assert!(
        s.dvc(["status", "-sb"])
            .ok()
            .out
            .starts_with("## main v3\n")
    );
}

#[test]
fn branches_and_tags() {
    let s = three();
    s.dvc(["push", "-u", s.at("far").to_str().unwrap(), "main"])
        .ok();
    s.dvc(["remote", "add", "origin", s.at("far").to_str().unwrap()])
        .ok();
    s.dvc(["fetch"]).ok();
    s.dvc(["branch", "side"]).ok();
    s.dvc(["tag", "golden"]).ok();
    let names = |args: &[&str]| -> Vec<String> {
        s.dvc(args)
            .ok()
            .json_lines()
            .iter()
            .map(|line| line["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&["branch", "--json"]), ["main", "side"]);
    assert_eq!(names(&["branch", "-l", "--json"]), ["main", "side"]);
    assert_eq!(
        names(&["branch", "-a", "--json"]),
        ["main", "side", "origin/main"]
    );
    assert_eq!(names(&["branch", "-r", "--json"]), ["origin/main"]);
    assert_eq!(names(&["tag", "-l", "--json"]), ["golden"]);
    s.dvc(["checkout", "side"]).ok();
    s.dvc(["branch", "-d", "side"]).code(4);
    s.dvc(["branch", "-D", "side"]).ok();
    assert_eq!(names(&["branch", "--json"]), ["main"]);
}

#[test]
fn one_way_to_list_and_to_remove() {
    let s = fresh();
    let url = format!("{}/../far", s.at("w").display());
    s.dvc(["remote", "add", "origin", &url]).ok().says(&format!(
        "added remote origin, file://{}/far\n",
        s.root().display()
    ));
    let far = format!("origin\tfile://{}/far\n", s.root().display());
    for args in [
        &["remote"][..],
        &["remote", "list"],
        &["remote", "ls"],
        &["remote", "-v"],
    ] {
        assert_eq!(s.dvc(args).ok().out, far, "{args:?}");
    }
    s.dvc(["remote", "set-url", "origin", "../other"])
        .ok()
        .says("changed remote origin, now file://");
    s.dvc(["remote", "set", "origin", "../other", "-n"])
        .ok()
        .says("would change remote origin to file://");
    s.dvc(["remote", "remove", "origin"])
        .ok()
        .says("removed remote origin\n");
    s.dvc(["remote", "check"])
        .code(13)
        .complains("hint: run `dvc remote add NAME URL` to add one");
    for args in [["volume", "ls"], ["volume", "list"]] {
        assert_eq!(s.dvc(args).ok().out, "");
    }
    let all = s.dvc(["config", "list"]).ok().out;
    for args in [["config", "--list"], ["config", "-l"], ["config", "ls"]] {
        assert_eq!(s.dvc(args).ok().out, all, "{args:?}");
    }
}

#[test]
fn ls_takes_the_letters_of_ls() {
    let s = three();
    assert_eq!(s.dvc(["ls", "-R"]).ok().out, s.dvc(["ls", "-r"]).ok().out);
    assert_eq!(s.dvc(["ls", "-la"]).ok().out, s.dvc(["ls", "-l"]).ok().out);
}

#[test]
fn the_latest_version_of_a_branch() {
    let s = three();
    let id = |rev: &str| s.dvc(["log", "-1", "--format=%H", rev]).ok().out;
    assert_eq!(id("main@latest"), id("main"));
    assert_eq!(id("main@latest~1"), id("main@v2"));
    s.dvc(["tag", "main@latest", "main@v1"]).ok();
    assert_eq!(id("main@latest"), id("main@v1"));
    s.dvc(["log", "none@latest"]).code(13);
}

/// As in the kernel, a symlink is resolved before a following `..`.
#[test]
fn the_url_of_a_remote_has_no_parent_steps() {
    let s = fresh();
    std::fs::create_dir_all(s.at("real/deep")).unwrap();
    std::os::unix::fs::symlink(s.at("real/deep"), s.w("link")).unwrap();
    s.dvc(["remote", "add", "origin", "link/../far"]).ok();
    let real = s.root().canonicalize().unwrap().join("real/far");
    assert_eq!(
        s.dvc(["remote"]).ok().out,
        format!("origin\tfile://{}\n", real.display())
    );
    commit(&s, "first", 1);
}
