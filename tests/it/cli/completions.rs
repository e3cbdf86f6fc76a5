//! The checked-in completions and manual pages are up to date, and the completions offer the right
//! words.

use crate::support::sandbox::{Run, Sandbox};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn files(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(at) = todo.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                all.insert(
                    path.strip_prefix(dir).unwrap().to_owned(),
                    fs::read_to_string(&path).unwrap(),
                );
            }
        }
    }
    all
}

#[test]
fn checked_in_files_are_current() {
    let s = Sandbox::new();
    s.dvc(["completions", "all", "--dir", "out"]).ok();
    let (made, kept) = (
        files(&s.w("out")),
        files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("completions")),
    );
    let differ: BTreeSet<_> = made
        .keys()
        .chain(kept.keys())
        .filter(|k| made.get(*k) != kept.get(*k))
        .collect();
    assert!(
        differ.is_empty(),
        "a help text or a document has changed; run `make pages`: {differ:?}"
    );
}

#[test]
fn each_shell_and_the_manual() {
    let s = Sandbox::new();
    s.dvc(["completions", "bash"]).ok().says("complete -F _dvc");
    s.dvc(["completions", "zsh"]).ok().says("#compdef dvc");
    s.dvc(["completions", "fish"]).ok().says("complete -c dvc");
    s.dvc(["completions", "man", "--dir", "man"]).ok();
    assert!(
        fs::read_to_string(s.w("man/man1/dvc-commit.1"))
            .unwrap()
            .contains("\\-\\-trailer")
    );
    s.dvc(["completions", "man"]).code(2);
    s.dvc(["completions", "tcsh"]).code(2);
}

/// Returns the words that bash offers at the end of a line. Splits the line at spaces and at `:`,
/// `=` and `@` as readline does.
fn offered(s: &Sandbox, line: &str) -> Vec<String> {
    let word = line.rsplit(' ').next().unwrap();
    let is_quoted = word.starts_with(['\'', '"']);
    let mut words: Vec<&str> = line[..line.len() - word.len()].split_whitespace().collect();
    let mut rest = word;
    while let Some(at) = rest.find([':', '=', '@']).filter(|_| !is_quoted) {
        words.extend(
            [&rest[..at], &rest[at..=at]]
                .into_iter()
                .filter(|part| !part.is_empty()),
        );
        rest = &rest[at + 1..];
    }
    if !rest.is_empty() || line.ends_with(' ') {
        words.push(rest);
    }
    let script = r#"
        source <(dvc completions bash)
        compopt() { :; }
        COMP_LINE=$1 COMP_POINT=${#1}; shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _dvc dvc "" ""
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut c = s.other("bash");
    let run = Run::of(
        c.args(["-euo", "pipefail", "-c", script, "bash", line])
            .args(&words),
    )
    .ok();
    run.out
        .lines()
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn with_versions() -> Sandbox {
    let s = Sandbox::with_repo();
    s.dvc(["remote", "add", "nas", "../far"]).ok();
    s.write("orders.ibd", "x");
    s.write("acme/a file", "y");
    s.dvc(["commit", "-m", "first"]).ok();
    s.dvc(["tag", "golden"]).ok();
    s.dvc(["tag", "@checked"]).ok();
    s.dvc(["branch", "cust/acme"]).ok();
    s
}

#[test]
fn values_are_offered() {
    let s = with_versions();
    assert_eq!(
        offered(&s, "dvc log --color "),
        ["auto ", "always ", "never "]
    );
    assert_eq!(offered(&s, "dvc log --color=a"), ["auto ", "always "]);
    assert_eq!(
        offered(&s, "dvc commit --quiesce docker:"),
        ["pause ", "stop "]
    );
    assert_eq!(offered(&s, "dvc config set ui.col"), ["ui.color "]);
    assert_eq!(offered(&s, "dvc config set ui.color al"), ["always "]);
    assert_eq!(
        offered(&s, "dvc -c ui.color="),
        ["auto ", "always ", "never "]
    );
    assert_eq!(offered(&s, "dvc remote rm "), ["nas "]);
    assert_eq!(
        offered(&s, "dvc push "),
        ["nas ", "cust/acme ", "main ", "golden ", "main@checked "]
    );
}

#[test]
fn versions_and_their_paths_are_offered() {
    let s = with_versions();
    assert_eq!(offered(&s, "dvc checkout ma"), ["main ", "main@checked "]);
    assert_eq!(
        offered(&s, "dvc show main@"),
        ["checked ", "latest ", "v1 "]
    );
    assert_eq!(offered(&s, "dvc log main..gol"), ["main..golden "]);
    assert_eq!(offered(&s, "dvc show main:"), ["acme/", "orders.ibd "]);
    assert_eq!(offered(&s, "dvc ls golden:acme/"), ["acme/a\\ file "]);
    assert_eq!(offered(&s, "dvc diff main@v1:o"), ["orders.ibd "]);
    assert_eq!(offered(&s, "dvc show 'main:acme/a"), ["main:acme/a file"]);
}

#[test]
fn the_directory_of_the_line_counts() {
    let s = with_versions();
    let from = |line: &str| {
        let mut all = offered(&s, &line.replace("W", s.w("").to_str().unwrap()));
        all.retain(|word| word.starts_with("main") || word.starts_with("acme"));
        all
    };
    let elsewhere = Sandbox::new();
    let there = offered(
        &elsewhere,
        &format!("dvc -C {} checkout ma", s.w("").display()),
    );
    assert_eq!(there, ["main ", "main@checked "]);
    assert_eq!(
        offered(
            &elsewhere,
            &format!("dvc --repo {} checkout gol", s.w(".dvcs").display())
        ),
        ["golden "]
    );
    assert_eq!(offered(&elsewhere, "dvc checkout ma"), Vec::<String>::new());
    assert_eq!(from("dvc -C W commit a"), ["acme/"]);
    assert_eq!(from("dvc -C W -C ac"), ["acme/"]);
}

#[test]
fn commands_come_without_global_options_and_own_options_first() {
    let s = with_versions();
    let all = offered(&s, "dvc ");
    assert!(
        all.contains(&"commit ".to_owned()) && all.iter().all(|word| !word.starts_with('-')),
        "{all:?}"
    );
    let actions = offered(&s, "dvc remote ");
    assert!(
        actions.contains(&"set ".to_owned()) && !actions.contains(&"nas ".to_owned()),
        "{actions:?}"
    );
    let options = offered(&s, "dvc tag -");
    let at = |name: &str| options.iter().position(|word| word == name).unwrap();
    assert!(
        at("--delete ") < at("--json ") && at("--force ") < at("-C "),
        "{options:?}"
    );
    assert_eq!(offered(&s, "git dvc ta"), ["tag "]);
}

/// The completion scripts discard error messages, so `dvc` must not fail on any line.
#[test]
fn a_broken_line_offers_nothing_and_never_fails() {
    let s = Sandbox::new();
    for line in [
        "",
        "dvc",
        "dvc -C /none log ",
        "dvc nothing ",
        "dvc --none=",
        "dvc log '",
        "dvc --repo s3://bucket log ",
        "dvc -c x=y log ",
    ] {
        let run = s.dvc(["completions", "candidates", "--line", line]).ok();
        assert!(run.err.is_empty(), "{line}: {}", run.err);
    }
}

#[test]
fn bash_accepts_the_completions() {
    let s = Sandbox::new();
    s.sh("source <(dvc completions bash); complete -p dvc git-dvc")
        .ok();
}
