//! Reads the sources as text and checks the rules of `docs/architecture.md`.
//!
//! In: every `.rs` file of the package, `Cargo.toml` and the diagram in `src/lib.rs`. Out:
//! `file:line: rule` per breach. Invariant: each rule has a self-test that feeds it a breach, so
//! that a rule which never fails is noticed.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "architecture/cycles.rs"]
mod cycles;
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

/// Reads the files below `dir` with this extension, except build output and test data.
fn collect(dir: &Path, extension: &str, out: &mut Vec<(String, String)>) {
    let Ok(list) = std::fs::read_dir(dir) else { return };
    for entry in list {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|n| n == "target" || n == "data") {
                continue;
            }
            collect(&path, extension, out);
        } else if path.extension().is_some_and(|e| e == extension) {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            out.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    out.sort();
}

fn sources(dirs: &[&str]) -> Vec<Source> {
    let mut files = Vec::new();
    for dir in dirs {
        collect(&root().join(dir), "rs", &mut files);
    }
    assert!(!files.is_empty());
    files.iter().map(|(name, text)| Source::new(name, text)).collect()
}

fn documents() -> Vec<(String, String)> {
    let mut files = Vec::new();
    collect(&root().join("docs"), "md", &mut files);
    for name in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        files.push((name.to_owned(), std::fs::read_to_string(root().join(name)).unwrap()));
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
    assert!(found.is_empty(), "{} breach(es) of docs/architecture.md:\n{}\n", found.len(), found.join("\n"));
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
    assert!(differences.is_empty(), "imports between files:\n{}\n", differences.join("\n"));
}

#[test]
fn external_crates_stay_at_home() {
    check(&sources(&["src"]), rules::homes);
}

#[test]
fn every_dependency_has_a_home() {
    let manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let missing: Vec<&String> = manifest["dependencies"]
        .as_table()
        .unwrap()
        .keys()
        .filter(|k| !rules::has_home(&k.replace('-', "_")))
        .collect();
    assert!(missing.is_empty(), "add a row to HOMES in tests/architecture/rules.rs for {missing:?}");
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
        println!("{}: {} lines, more than {}: is there a reason?", s.name, s.text.lines().count(), rules::LONG);
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
    found.extend(documents().iter().flat_map(|(name, text)| words::in_document(name, text)));
    let differences = words::differences(&found, words::BUDGETS);
    assert!(differences.is_empty(), "words that CONTRIBUTING.md rules out:\n{}\n", differences.join("\n"));
}
