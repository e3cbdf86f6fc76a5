//! Reads the sources as text and checks the rules of `docs/architecture.md`.
//!
//! In: every `.rs` file of the package, `Cargo.toml` and the diagram in `src/lib.rs`. Out:
//! `file:line: rule` per breach. Invariant: each rule has a self-test that feeds it a breach, so
//! that a rule which never fails is noticed.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "architecture/cycles.rs"]
mod cycles;
#[path = "architecture/dependencies.rs"]
mod dependencies;
#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/scan.rs"]
mod scan;
#[path = "architecture/tiers.rs"]
mod tiers;
#[path = "architecture/words.rs"]
mod words;

use std::path::{Path, PathBuf};

use scan::Source;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Reads a file, or the files below a directory, with this extension, except build output and test
/// data.
fn collect(path: &Path, extension: &str, out: &mut Vec<(String, String)>) {
    if path.is_file() && path.extension().is_some_and(|e| e == extension) {
        let name = path
            .strip_prefix(root())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        out.push((name, std::fs::read_to_string(path).unwrap()));
    }
    let skipped = path
        .file_name()
        .is_some_and(|n| n == "target" || n == "data");
    for entry in std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .filter(|_| !skipped)
    {
        collect(&entry.unwrap().path(), extension, out);
    }
    out.sort();
}

fn sources(paths: &[&str]) -> Vec<Source> {
    let mut files = Vec::new();
    for path in paths {
        collect(&root().join(path), "rs", &mut files);
    }
    assert!(!files.is_empty());
    files
        .iter()
        .map(|(name, text)| Source::new(name, text))
        .collect()
}

fn manifest(name: &str) -> toml_edit::DocumentMut {
    std::fs::read_to_string(root().join(name))
        .unwrap()
        .parse()
        .unwrap()
}

fn documents() -> Vec<(String, String)> {
    let mut files = Vec::new();
    collect(&root().join("docs"), "md", &mut files);
    for name in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        files.push((
            name.to_owned(),
            std::fs::read_to_string(root().join(name)).unwrap(),
        ));
    }
    files
}

fn library() -> Vec<Source> {
    let mut all = sources(&["src"]);
    all.retain(|s| !s.name.starts_with("src/bin/"));
    all
}

fn everything() -> Vec<Source> {
    sources(&["src", "tests", "benches", "fuzz/src", "fuzz/fuzz_targets"])
}

fn check(sources: &[Source], rule: impl Fn(&Source) -> Vec<String>) {
    let found: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(
        found.is_empty(),
        "{} breach(es) of docs/architecture.md:\n{}\n",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn a_module_imports_only_lower_tiers() {
    let lib = library();
    let map = lib.iter().find(|s| s.name == "src/lib.rs").unwrap();
    let tiers = tiers::Tiers::parse(&map.text).unwrap();
    let declared = tiers.undeclared(map);
    assert!(declared.is_empty(), "{}", declared.join("\n"));
    check(&lib, |s| tiers.breaches(s));
}

#[test]
fn files_import_one_way() {
    let differences = cycles::differences(&sources(&["src"]), cycles::ALLOWED);
    assert!(
        differences.is_empty(),
        "imports between files:\n{}\n",
        differences.join("\n")
    );
}

#[test]
fn external_crates_stay_at_home() {
    check(&sources(&["src"]), rules::homes);
}

#[test]
fn every_dependency_has_a_home() {
    let names = dependencies::declared(&manifest("Cargo.toml"), "dependencies");
    let missing: Vec<&String> = names.iter().filter(|name| !rules::has_home(name)).collect();
    assert!(
        missing.is_empty(),
        "add a row to HOMES in tests/architecture/rules.rs for {missing:?}"
    );
}

#[test]
fn code_uses_every_dependency() {
    let all = ["src", "tests", "benches"];
    let fuzz = ["fuzz/src", "fuzz/fuzz_targets"];
    for (name, kind, paths, in_tests) in [
        ("Cargo.toml", "dependencies", &all[..1], false),
        ("Cargo.toml", "dev-dependencies", &all[..], true),
        ("Cargo.toml", "build-dependencies", &["build.rs"][..], false),
        ("fuzz/Cargo.toml", "dependencies", &fuzz[..], true),
    ] {
        let names = dependencies::declared(&manifest(name), kind);
        if names.is_empty() {
            continue;
        }
        let unused = dependencies::unused(&names, &sources(paths), in_tests);
        assert!(
            unused.is_empty(),
            "{name}: no code uses these {kind}, remove them: {}",
            unused.join(", ")
        );
    }
}

#[test]
fn no_globs_and_no_re_exports() {
    check(&sources(&["src"]), rules::imports);
}

#[test]
fn the_library_is_silent_and_knows_no_environment() {
    check(&library(), rules::silence);
}

#[test]
fn refs_are_moved_by_write_sessions() {
    check(&sources(&["src"]), rules::ref_moves);
}

#[test]
fn own_files_are_created_in_one_place() {
    check(&sources(&["src"]), rules::creations);
}

#[test]
fn nothing_is_left_undone() {
    check(&everything(), rules::undone);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let all = everything();
    for s in all.iter().filter(|s| s.text.lines().count() > rules::LONG) {
        println!(
            "{}: {} lines, more than {}: is there a reason?",
            s.name,
            s.text.lines().count(),
            rules::LONG
        );
    }
    check(&all, rules::length);
    check(&all, rules::header);
}

#[test]
fn names_say_something() {
    check(&everything(), rules::names);
}

#[test]
fn public_items_are_documented() {
    check(&library(), rules::documentation);
}

#[test]
fn words_are_plain() {
    let mut found: Vec<words::Finding> = everything().iter().flat_map(words::in_source).collect();
    found.extend(
        documents()
            .iter()
            .flat_map(|(name, text)| words::in_document(name, text)),
    );
    let differences = words::differences(&found, words::BUDGETS);
    assert!(
        differences.is_empty(),
        "words that CONTRIBUTING.md rules out:\n{}\n",
        differences.join("\n")
    );
}
