//! Completions and manual pages are checked in and current.

use crate::support::sandbox::Sandbox;
use std::collections::BTreeMap;
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
                all.insert(path.strip_prefix(dir).unwrap().to_owned(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    all
}

#[test]
fn what_is_checked_in_is_current() {
    let s = Sandbox::new();
    s.dvc(["completions", "all", "--dir", "out"]).ok();
    let (made, kept) = (files(&s.w("out")), files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("completions")));
    let differ: Vec<_> = made.keys().chain(kept.keys()).filter(|k| made.get(*k) != kept.get(*k)).collect();
    assert!(differ.is_empty(), "run `dvc completions all --dir completions`: {differ:?}");
}

#[test]
fn each_shell_and_the_manual() {
    let s = Sandbox::new();
    s.dvc(["completions", "bash"]).ok().says("complete -F _dvc");
    s.dvc(["completions", "zsh"]).ok().says("#compdef dvc");
    s.dvc(["completions", "fish"]).ok().says("complete -c dvc");
    s.dvc(["completions", "man", "--dir", "man"]).ok();
    assert!(fs::read_to_string(s.w("man/dvc-commit.1")).unwrap().contains("\\-\\-trailer"));
    s.dvc(["completions", "tcsh"]).code(2);
}

/// What bash offers after a line.
fn offered(s: &Sandbox, words: &str) -> String {
    let script = format!(
        "source <(dvc completions bash); COMP_WORDS=(dvc {words} ''); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
         _dvc_with_names dvc '' \"${{COMP_WORDS[COMP_CWORD-1]}}\" || true; printf '%s\\n' \"${{COMPREPLY[@]}}\" | sort"
    );
    s.sh(&script).ok().out
}

#[test]
fn bash_offers_what_fits() {
    let s = Sandbox::with_repo();
    s.dvc(["remote", "add", "nas", "../far"]).ok();
    s.write("file", "x");
    s.dvc(["commit", "-m", "first"]).ok();
    assert_eq!(offered(&s, "log --color"), "always\nauto\nnever\n");
    assert_eq!(offered(&s, "remote rm"), "nas\n");
    let actions = offered(&s, "remote");
    assert!(actions.contains("set\n") && !actions.contains("main") && !actions.contains("nas"), "{actions}");
    let branches = offered(&s, "checkout");
    assert!(branches.contains("main\n"), "{branches}");
}

#[test]
fn bash_accepts_the_completions() {
    let s = Sandbox::new();
    s.sh("source <(dvc completions bash); complete -p dvc").ok();
}
