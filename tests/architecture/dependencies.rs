//! The rule that the code uses every dependency of a manifest.
//!
//! In: a manifest and sources. Out: the names of the dependencies that no path in the code begins
//! with.

use crate::rules;
use crate::scan::Source;
use toml_edit::{Item, Table, TableLike};

/// Dependencies that no path in the code begins with, each with the reason why the manifest needs
/// it.
const UNNAMED: &[(&str, &str)] = &[];

/// Returns the names of the dependencies of one kind, in the form that the code uses. Includes
/// dependencies of single targets.
pub fn declared(manifest: &Table, kind: &str) -> Vec<String> {
    let targets = manifest
        .get("target")
        .and_then(Item::as_table)
        .into_iter()
        .flat_map(Table::iter);
    let tables = targets
        .filter_map(|(_, target)| target.as_table())
        .chain([manifest]);
    let dependencies = tables
        .filter_map(|table| table.get(kind)?.as_table_like())
        .flat_map(TableLike::iter);
    dependencies
        .map(|(name, _)| name.replace('-', "_"))
        .collect()
}

/// Returns the dependencies that no source uses. If `tests` is true, the test regions of the
/// sources count too.
pub fn unused(names: &[String], sources: &[Source], tests: bool) -> Vec<String> {
    let is_used = |name: &String| sources.iter().any(|s| uses(s, name, tests));
    let is_unnamed = |name: &String| UNNAMED.iter().any(|(unnamed, _)| unnamed == name);
    names
        .iter()
        .filter(|name| !is_unnamed(name) && !is_used(name))
        .cloned()
        .collect()
}

fn uses(s: &Source, name: &str, tests: bool) -> bool {
    // Check for the name first, because the search for paths is slow and most files do not contain
    // it.
    let paths = if s.text.contains(name) {
        s.paths()
    } else {
        Vec::new()
    };
    paths.iter().any(|p| {
        p.parts[0] == name && (tests || !s.is_test(p.line)) && !rules::is_local(s, &paths, p)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_without_code() {
        let text = "[dependencies]\na-b = '1'\nc.version = '1'\n[target.'cfg(unix)'.dependencies]\nd = '1'\n";
        let manifest: toml_edit::DocumentMut = text.parse().unwrap();
        let names = declared(&manifest, "dependencies");
        assert_eq!(names, ["d", "a_b", "c"]);
        assert!(declared(&manifest, "dev-dependencies").is_empty());
        let found = |text: &str, tests: bool| {
            unused(&names, &[Source::new("src/x.rs", text)], tests).join(" ")
        };
        assert_eq!(
            found("use a_b::x;\nuse c;\n#[derive(d::E)]\nstruct S;", false),
            ""
        );
        assert_eq!(
            found(
                "// a_b::x\nmod c;\nuse c::X;\nfn f() { self::d::x(\"d::x\") }",
                false
            ),
            "d a_b c"
        );
        assert_eq!(found("use crate::d;\nfn f() { d::x() }", false), "d a_b c");
        let in_test = "#[cfg(test)]\nmod t {\n use a_b::x;\n}\nfn f() { c::x(); d::y() }";
        assert_eq!(
            (found(in_test, false), found(in_test, true)),
            ("a_b".to_owned(), String::new())
        );
    }
}
