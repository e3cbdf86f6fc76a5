//! The documents agree with the code: exit codes in `docs/errors.md`, and links between documents.

mod json;

use std::path::{Path, PathBuf};

use dvc::error::Kind;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

#[test]
fn errors_md_lists_every_kind_with_its_exit_code() {
    let page = read("docs/errors.md");
    // Read only the first table, because the rows of later tables have a different meaning.
    let text = page.split("\n## ").next().unwrap();
    for kind in Kind::ALL {
        let row = format!("| `{}` | {} |", kind.name(), kind.exit_code());
        assert!(
            text.lines().any(|l| l.starts_with(&row)),
            "docs/errors.md has no row that begins with: {row}"
        );
    }
    let rows = text.lines().filter(|l| l.starts_with("| `")).count();
    assert_eq!(
        rows,
        Kind::ALL.len(),
        "docs/errors.md has rows for kinds that do not exist"
    );
}

#[test]
fn links_lead_somewhere() {
    let mut files = vec![
        "README.md".to_owned(),
        "CONTRIBUTING.md".to_owned(),
        "CHANGELOG.md".to_owned(),
    ];
    for dir in ["docs", "docs/decisions"] {
        for e in std::fs::read_dir(root().join(dir)).into_iter().flatten() {
            let name = e.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                files.push(format!("{dir}/{name}"));
            }
        }
    }
    let mut dead = Vec::new();
    for file in &files {
        for (n, line) in read(file).lines().enumerate() {
            for target in targets(line) {
                let path = target.split('#').next().unwrap();
                let from = root().join(file);
                if !path.is_empty() && !from.parent().unwrap_or(Path::new("")).join(path).exists() {
                    dead.push(format!("{file}:{}: {target}", n + 1));
                }
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

/// Returns the targets of all `[text](target)` links in a line, except URLs.
fn targets(line: &str) -> Vec<&str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|t| !t.contains("://") && !t.starts_with("mailto:"))
        .collect()
}

#[test]
fn targets_are_found() {
    assert_eq!(
        targets("see [a](docs/a.md#b) and [c](https://x.org) or [d](e.md)"),
        ["docs/a.md#b", "e.md"]
    );
}
