//! The rule that imports between files form no cycle.
//!
//! In: the sources of the library and the program. Out: each group of files that import each other
//! in a cycle and is missing from [`ALLOWED`], and each row of that table that is no longer a
//! cycle.

use std::collections::{BTreeMap, BTreeSet};

use crate::scan::{CodePath, Source};

/// Groups of files that may import each other, with the reason. Remove a row when its cycle is
/// gone.
pub const ALLOWED: &[(&[&str], &str)] = &[];

/// Files by module path, and the files that each of them imports.
struct Imports<'s> {
    files: BTreeMap<Vec<String>, &'s str>,
    edges: BTreeMap<&'s str, BTreeSet<&'s str>>,
}

/// Compares the cycles between files with a table of allowed cycles. Returns one line for each
/// difference.
pub fn differences(sources: &[Source], allowed: &[(&[&str], &str)]) -> Vec<String> {
    let found = Imports::of(sources).cycles();
    let known: BTreeSet<BTreeSet<&str>> = allowed
        .iter()
        .map(|(files, _)| files.iter().copied().collect())
        .collect();
    let list = |files: &BTreeSet<&str>| files.iter().copied().collect::<Vec<_>>().join(", ");
    let new = found.difference(&known).map(|files| {
        format!(
            "import cycle: {}; move the shared types to a file that imports none of these",
            list(files)
        )
    });
    let stale = known
        .difference(&found)
        .map(|files| format!("no cycle any more, remove the row: {}", list(files)));
    new.chain(stale).collect()
}

/// Returns the name of a file without `src/`, `.rs` and `/mod`.
fn name(s: &Source) -> &str {
    let name = s.name.strip_prefix("src/").unwrap_or(&s.name);
    let name = name.strip_suffix(".rs").unwrap_or(name);
    name.strip_suffix("/mod").unwrap_or(name)
}

impl<'s> Imports<'s> {
    fn of(sources: &'s [Source]) -> Self {
        let in_program =
            |s: &&Source| !s.name.ends_with("/tests.rs") && !s.name.contains("/tests/");
        let sources: Vec<&Source> = sources.iter().filter(in_program).collect();
        let files = sources.iter().map(|s| (s.module(), name(s))).collect();
        let mut imports = Self {
            files,
            edges: BTreeMap::new(),
        };
        for s in sources {
            let targets = s
                .paths()
                .iter()
                .filter(|p| !s.is_test(p.line))
                .filter_map(|p| imports.target(s, p))
                .collect();
            imports.edges.insert(name(s), targets);
        }
        imports
    }

    /// Returns the file that a path of `s` refers to, if it is a different file of the package.
    fn target(&self, s: &Source, path: &CodePath) -> Option<&'s str> {
        let module = s.module();
        let program = if module.starts_with(&["bin".to_owned()]) {
            module[..2].to_vec()
        } else {
            Vec::new()
        };
        let (first, rest) = path.parts.split_first()?;
        let mut whole = match first.as_str() {
            "crate" => [program.as_slice(), rest].concat(),
            "dvc" if !program.is_empty() => rest.to_vec(),
            "self" => [module.as_slice(), rest].concat(),
            "super" => {
                let ups = path.parts.iter().take_while(|p| *p == "super").count();
                [
                    module.get(..module.len().checked_sub(ups)?)?,
                    &path.parts[ups..],
                ]
                .concat()
            }
            child => {
                let below = [module.as_slice(), &[child.to_owned()]].concat();
                self.files
                    .contains_key(&below)
                    .then(|| [module.as_slice(), &path.parts].concat())?
            }
        };
        while !whole.is_empty() && !self.files.contains_key(&whole) {
            whole.pop();
        }
        self.files
            .get(&whole)
            .copied()
            .filter(|file| *file != name(s))
    }

    /// Returns the groups of two or more files in which each file reaches all others by imports.
    fn cycles(&self) -> BTreeSet<BTreeSet<&'s str>> {
        let reached: BTreeMap<&str, BTreeSet<&'s str>> = self
            .edges
            .keys()
            .map(|file| (*file, self.reachable(file)))
            .collect();
        let group = |file: &'s str| -> BTreeSet<&'s str> {
            reached[file]
                .iter()
                .copied()
                .filter(|other| reached[other].contains(file))
                .collect()
        };
        self.edges
            .keys()
            .map(|file| group(file))
            .filter(|group| group.len() > 1)
            .collect()
    }

    fn reachable(&self, from: &str) -> BTreeSet<&'s str> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&'s str> = self
            .edges
            .get(from)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        while let Some(file) = next.pop() {
            if reached.insert(file) {
                next.extend(self.edges.get(file).into_iter().flatten());
            }
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)], allowed: &[(&[&str], &str)]) -> Vec<String> {
        let sources: Vec<Source> = files
            .iter()
            .map(|(name, text)| Source::new(name, text))
            .collect();
        differences(&sources, allowed)
    }

    #[test]
    fn a_cycle_is_named_with_all_its_files() {
        let files = [
            ("src/lib.rs", "pub mod a;\npub mod b;"),
            ("src/a/mod.rs", "mod x;\npub use x::X;"),
            ("src/a/x.rs", "use crate::b::B;"),
            ("src/b.rs", "fn f() { crate::a::g() }"),
            ("src/c.rs", "use crate::a::X;"),
        ];
        let all = found(&files, &[]);
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].starts_with("import cycle: a, a/x, b;"), "{all:?}");
        assert_eq!(found(&files, &[(&["b", "a", "a/x"], "why")]), [""; 0]);
        assert_eq!(
            found(&files[..3], &[(&["a", "b"], "why")]),
            ["no cycle any more, remove the row: a, b"]
        );
    }

    #[test]
    fn every_form_of_a_path_counts() {
        let pair = |parent: &str, child: &str| {
            found(
                &[
                    ("src/bin/dvc/main.rs", "mod a;"),
                    ("src/bin/dvc/a.rs", parent),
                    ("src/bin/dvc/a/b.rs", child),
                ],
                &[],
            )
        };
        for parent in [
            "use b::B;",
            "use self::b::{B, C};",
            "fn f() { b::g() }",
            "use crate::a::b;",
        ] {
            assert_eq!(pair(parent, "use super::A;").len(), 1, "{parent}");
        }
        assert_eq!(pair("mod b;", "use super::A;"), [""; 0]);
        assert_eq!(pair("use b::B;", "pub(in crate::a) fn f() {}"), [""; 0]);
        assert_eq!(
            pair("use b::B;", "#[cfg(test)]\nmod t { use super::super::A; }"),
            [""; 0]
        );
        assert_eq!(pair("use b::B;", "use dvc::a::A;"), [""; 0]);
    }
}
