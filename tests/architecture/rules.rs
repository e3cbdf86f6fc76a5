//! The rules about single files: homes of crates, imports, output, length, header, names.
//!
//! In: a `Source`. Out: one line `file:line: violation` for each violation.

use crate::scan::{CodePath, Source};

/// Files with more lines than this are listed; each should have a reason.
pub const LONG: usize = 600;
/// Files with more lines than this are violations.
const TOO_LONG: usize = 1000;
/// Headers with more lines than this are violations. The recommended length is 1 to 6 lines.
const LONG_HEADER: usize = 12;

/// Homes of crates and of parts of `std`: the path prefixes below `src/` where each may be used.
/// `""` means everywhere.
const HOMES: &[(&str, &[&str])] = &[
    ("axum", &["serve/"]),
    ("base64", &["store/"]),
    ("blake3", &["codec/", "format/", "store/"]),
    ("bytes", &["store/"]),
    ("clap", &["bin/"]),
    ("docker_credential", &["store/"]),
    ("fastcdc", &["codec/"]),
    ("flate2", &["codec/"]),
    ("fuser", &["mount/fuse"]),
    ("futures_util", &["store/"]),
    ("getrandom", &["sys/random"]),
    ("hashlink", &["cache/"]),
    ("http", &["store/"]),
    ("http_body", &["store/"]),
    ("ignore", &["snapshot/walk"]),
    ("indicatif", &["bin/"]),
    (
        "jiff",
        &[
            "model/",
            "context/",
            "mount/daemon/launch",
            "query/",
            "ops/",
            "serve/",
            "bin/",
        ],
    ),
    ("minicbor", &["format/"]),
    ("opendal", &["store/"]),
    ("opendal_http_transport_reqwest", &["store/"]),
    ("openssh_sftp_client", &["store/"]),
    ("parking_lot", &[""]),
    ("percent_encoding", &["store/", "ops/pack"]),
    (
        "rayon",
        &["snapshot/pipeline", "checkout/restore", "check/", "care/"],
    ),
    ("regex", &["ops/"]),
    ("reqwest", &["store/", "docker/"]),
    ("rusqlite", &["index/", "mount/"]),
    ("rustix", &[""]),
    ("serde", &[""]),
    ("serde_json", &[""]),
    ("sha2", &["codec/", "store/"]),
    ("signal_hook", &["bin/"]),
    ("similar", &["query/"]),
    (
        "std::thread",
        &[
            "work/",
            "store/",
            "index/catalogue",
            "care/",
            "checkout/patch/journal",
            "mount/",
            "quiesce",
            "hooks",
            "bin/",
        ],
    ),
    ("strsim", &["model/"]),
    ("tar", &["archive/"]),
    ("tempfile", &[""]),
    ("thiserror", &[""]),
    ("tokio", &["store/", "serve/", "docker/"]),
    ("toml_edit", &["bin/dvc/settings"]),
    ("url", &["store/", "quiesce"]),
    ("zstd", &["codec/"]),
];

/// Parts of `std` that print, read the terminal or read the environment.
const NOT_IN_LIBRARY: &[&str] = &[
    "std::env",
    "std::io::stdout",
    "std::io::stderr",
    "std::io::stdin",
];

/// Files that may create files and directories without `sys::create`. Their files do not belong to
/// dvc (output that the user named, worktrees, files on other machines), or other users cannot
/// reach them (temporary files without a name).
const CREATORS: &[&str] = &[
    "sys/create",
    "bin/dvc/commands/clone",
    "bin/dvc/commands/completions",
    "bin/dvc/commands/export",
    "mount/attach",
    "mount/profile",
    "ops/export/image",
    "ops/import",
    "ops/mount/overlays",
    "ops/volume/record",
    "repo/fetch",
    "store/oci",
];

fn at(s: &Source, line: usize, what: &str) -> String {
    format!("{}:{line}: {what}", s.name)
}

fn names_prefix(parts: &[String], prefix: &str) -> bool {
    let mut rest = parts.iter();
    prefix
        .split("::")
        .all(|p| rest.next().is_some_and(|x| x == p))
}

/// Returns whether the crate `name` has a row in [`HOMES`].
pub fn has_home(name: &str) -> bool {
    HOMES.iter().any(|(c, _)| *c == name)
}

/// Returns whether the file declares the first name of a path, or imports that name from this
/// crate. `paths` must contain all paths of the file.
pub fn is_local(s: &Source, paths: &[CodePath], path: &CodePath) -> bool {
    let first = &path.parts[0];
    s.tokens
        .windows(2)
        .any(|w| w[0].text == "mod" && w[1].text == *first)
        || paths.iter().any(|i| {
            i.import
                && ["crate", "super", "self", "dvc"].contains(&i.parts[0].as_str())
                && i.parts.last() == Some(first)
        })
}

/// Reports crates that are used outside their homes. Names that the file itself declares or imports
/// from this crate are exempt.
pub fn homes(s: &Source) -> Vec<String> {
    let file = s.name.strip_prefix("src/").unwrap_or(&s.name);
    let paths = s.paths();
    let mut out = Vec::new();
    for path in &paths {
        for (name, homes) in HOMES {
            let homeless = !homes.iter().any(|h| file.starts_with(h));
            if homeless
                && names_prefix(&path.parts, name)
                && !s.is_test(path.line)
                && !is_local(s, &paths, path)
            {
                out.push(at(
                    s,
                    path.line,
                    &format!(
                        "`{name}` is used outside of its home ({})",
                        homes.join(", ")
                    ),
                ));
            }
        }
    }
    out
}

/// Reports glob imports (except `super::*`, and preludes in tests), and re-exports of items that
/// already have a path. Only items of a private submodule may be re-exported.
pub fn imports(s: &Source) -> Vec<String> {
    let mut out = Vec::new();
    for p in s.paths().iter().filter(|p| p.import) {
        let outer = p.parts.len().checked_sub(2).map(|i| p.parts[i].as_str());
        let in_test = s.is_test(p.line) && matches!(outer, Some("super" | "prelude"));
        if p.parts.last().is_some_and(|l| l == "*") && !in_test {
            out.push(at(
                s,
                p.line,
                &format!("glob import `{}`", p.parts.join("::")),
            ));
        }
        let facade = s.tokens.windows(3).enumerate().any(|(i, w)| {
            w[0].text == "mod" && w[1].text == p.parts[0] && w[2].text == ";" && !s.is_public(i)
        });
        if p.public && !facade {
            out.push(at(
                s,
                p.line,
                &format!("re-export `{}`: a thing has one path", p.parts.join("::")),
            ));
        }
    }
    out
}

/// Reports library code that prints, reads the terminal or reads the environment.
pub fn silence(s: &Source) -> Vec<String> {
    let mut out = macros(
        s,
        &["println", "eprintln", "print", "eprint", "dbg"],
        "the library does not print",
    );
    for p in s.paths() {
        let full = if p.parts[0] == "io" {
            with_std(&p.parts)
        } else {
            p.parts.clone()
        };
        let banned = NOT_IN_LIBRARY.iter().any(|b| names_prefix(&full, b));
        if banned && !s.is_test(p.line) {
            out.push(at(
                s,
                p.line,
                &format!("`{}`: settings come in as arguments", p.parts.join("::")),
            ));
        }
    }
    out
}

fn with_std(parts: &[String]) -> Vec<String> {
    std::iter::once("std".to_owned())
        .chain(parts.iter().cloned())
        .collect()
}

fn macros(s: &Source, names: &[&str], why: &str) -> Vec<String> {
    (0..s.tokens.len())
        .filter(|i| {
            names.contains(&s.text_at(*i)) && s.text_at(i + 1) == "!" && s.text_at(i + 2) != "="
        })
        .filter(|i| !s.is_test(s.tokens[*i].line))
        .map(|i| at(s, s.tokens[i].line, &format!("`{}!`: {why}", s.text_at(i))))
        .collect()
}

/// Reports code that creates files or directories without `sys::create`, which sets the owner and
/// the mode.
pub fn creations(s: &Source) -> Vec<String> {
    let file = s.name.strip_prefix("src/").unwrap_or(&s.name);
    if file.contains("tests") || CREATORS.iter().any(|home| file.starts_with(home)) {
        return Vec::new();
    }
    const METHODS: [&str; 3] = ["create_dir", "create_dir_all", "tempfile_in"];
    const PATHS: [[&str; 2]; 3] = [
        ["File", "create"],
        ["fs", "write"],
        ["NamedTempFile", "new_in"],
    ];
    let methods = s
        .tokens
        .iter()
        .filter(|t| METHODS.contains(&t.text.as_str()))
        .map(|t| t.line);
    let is_creation = |p: &&CodePath| {
        PATHS
            .iter()
            .any(|end| p.parts.ends_with(&end.map(str::to_owned)))
    };
    let paths = s.paths();
    let mut lines: Vec<usize> = methods
        .chain(paths.iter().filter(is_creation).map(|p| p.line))
        .collect();
    lines.sort_unstable();
    lines.dedup();
    lines.retain(|line| !s.is_test(*line));
    lines
        .into_iter()
        .map(|line| {
            at(
                s,
                line,
                "dvc's own files and directories are created by `sys::create`",
            )
        })
        .collect()
}

/// Reports moves of refs outside of `repo`. A move needs a write session, or a garbage collection
/// may delete objects that the new value needs.
pub fn ref_moves(s: &Source) -> Vec<String> {
    let file = s.name.strip_prefix("src/").unwrap_or(&s.name);
    // Repositories for tests of other modules are made without data.
    if file.starts_with("repo/") || file.contains("tests") || file == "query/made.rs" {
        return Vec::new();
    }
    let is_move = |i: &usize| {
        let after_refs = s.text_at(*i) == "refs"
            || s.text_at(*i) == ")" && i.checked_sub(2).is_some_and(|r| s.text_at(r) == "refs");
        after_refs && s.text_at(i + 1) == "." && s.text_at(i + 2) == "update"
    };
    let moves = (0..s.tokens.len())
        .filter(is_move)
        .map(|i| s.tokens[i].line)
        .filter(|line| !s.is_test(*line));
    moves
        .map(|line| at(s, line, "refs are moved by `repo::writer`"))
        .collect()
}

/// Reports `todo!` and `unimplemented!`.
pub fn undone(s: &Source) -> Vec<String> {
    macros(
        s,
        &["todo", "unimplemented"],
        "finish it, or return an error",
    )
}

/// Reports files that are too long.
pub fn length(s: &Source) -> Vec<String> {
    let lines = s.text.lines().count();
    if lines > TOO_LONG {
        vec![at(
            s,
            TOO_LONG + 1,
            &format!("{lines} lines, at most {TOO_LONG} are allowed"),
        )]
    } else {
        Vec::new()
    }
}

/// Reports files without a header, and headers that are too long. The header of the crate root
/// contains the tier diagram and may be longer.
pub fn header(s: &Source) -> Vec<String> {
    let lines = s.text.lines().take_while(|l| l.starts_with("//!")).count();
    match lines {
        0 => vec![at(
            s,
            1,
            "the file does not open with `//!`: what it is, what comes in and goes out",
        )],
        n if n > LONG_HEADER && s.name != "src/lib.rs" => {
            vec![at(
                s,
                LONG_HEADER + 1,
                &format!("{n} header lines; 1 to 6 are wanted"),
            )]
        }
        _ => Vec::new(),
    }
}

/// Function names that are a convention of Rust, so that a doc comment could only repeat them.
const CONVENTIONAL: &[&str] = &[
    "as_bytes",
    "as_path",
    "as_str",
    "clear",
    "decode",
    "encode",
    "error",
    "get",
    "hint",
    "id",
    "insert",
    "into_inner",
    "is_empty",
    "iter",
    "kind",
    "len",
    "name",
    "new",
    "path",
    "push",
    "to_bytes",
    "update",
];

/// Reports public types, traits, functions and constants without a doc comment. Fields and variants
/// need one only if their names are not clear, so the compiler's lint `missing_docs` is off.
pub fn documentation(s: &Source) -> Vec<String> {
    let lines: Vec<&str> = s.text.lines().map(str::trim).collect();
    let mut out = Vec::new();
    for (keyword, name) in public_items(s) {
        let line = s.tokens[keyword].line;
        let above = lines[..line - 1]
            .iter()
            .rev()
            .take_while(|l| l.starts_with('#') || l.starts_with("//"));
        let documented = above
            .into_iter()
            .any(|l| l.starts_with("///") || l.starts_with("#[doc"));
        if !documented && !s.is_test(line) && !CONVENTIONAL.contains(&name.as_str()) {
            out.push(at(s, line, &format!("`{name}` has no doc comment")));
        }
    }
    out
}

/// Returns each public item and each method of a public trait: the position of its keyword, and its
/// name.
fn public_items(s: &Source) -> Vec<(usize, String)> {
    const ITEMS: [&str; 7] = ["struct", "enum", "union", "trait", "type", "static", "fn"];
    const QUALIFIERS: [&str; 4] = ["const", "async", "unsafe", "extern"];
    let mut out = Vec::new();
    for i in (0..s.tokens.len()).filter(|i| s.text_at(*i) == "pub") {
        let mut k = i + 1;
        while QUALIFIERS.contains(&s.text_at(k))
            && QUALIFIERS
                .iter()
                .chain(&ITEMS)
                .any(|w| *w == s.text_at(k + 1))
        {
            k += 1;
        }
        if ITEMS.contains(&s.text_at(k)) || s.text_at(k) == "const" {
            out.push((k, s.text_at(k + 1).to_owned()));
        }
        if s.text_at(k) == "trait" {
            out.extend(methods(s, k));
        }
    }
    out
}

/// Returns the methods of the trait whose keyword is token `start`.
fn methods(s: &Source, start: usize) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let mut depth = 0_usize;
    for i in start..s.tokens.len() {
        match s.text_at(i) {
            "{" => depth += 1,
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "fn" if depth == 1 => out.push((i, s.text_at(i + 1).to_owned())),
            _ => {}
        }
    }
    out
}

/// Reports names of files, modules and types that are too general to be useful.
pub fn names(s: &Source) -> Vec<String> {
    let mut out = Vec::new();
    for piece in s.name.trim_end_matches(".rs").split('/') {
        if says_nothing(piece) {
            out.push(at(
                s,
                1,
                &format!("`{piece}` says nothing; name it after what it does"),
            ));
        }
    }
    for i in 0..s.tokens.len() {
        let name = s.text_at(i + 1);
        if ["mod", "struct", "enum", "trait", "type"].contains(&s.text_at(i)) && says_nothing(name)
        {
            out.push(at(
                s,
                s.tokens[i].line,
                &format!("`{name}` says nothing; name it after what it does"),
            ));
        }
    }
    out
}

fn says_nothing(name: &str) -> bool {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c == '-' || c.is_uppercase() {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(w) = words.last_mut()
        {
            w.extend(c.to_lowercase());
        }
    }
    let banned = [
        "util", "utils", "helper", "helpers", "manager", "managers", "handler", "handlers",
    ];
    words.iter().any(|w| banned.contains(&w.as_str())) || name.eq_ignore_ascii_case("common")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rule: fn(&Source) -> Vec<String>, name: &str, text: &str) -> Vec<String> {
        rule(&Source::new(name, text))
    }

    #[test]
    fn crates_away_from_home() {
        let found = run(homes, "src/repo/a.rs", "use a::b;\nuse rusqlite::Row;\n");
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("src/repo/a.rs:2: `rusqlite`"),
            "{found:?}"
        );
        assert_eq!(
            run(homes, "src/repo/a.rs", "use std::{fs, thread};").len(),
            1
        );
        assert_eq!(
            run(
                homes,
                "src/repo/a.rs",
                "fn f() { zstd::bulk::compress(b, 1); }"
            )
            .len(),
            1
        );
        assert_eq!(run(homes, "src/ops/a.rs", "use rusqlite;").len(), 1);
        assert_eq!(
            run(homes, "src/ops/a.rs", "#[derive(clap::Parser)]\nstruct A;").len(),
            1
        );
        assert!(run(homes, "src/index/a.rs", "use rusqlite::Row;").is_empty());
        assert!(
            run(
                homes,
                "src/repo/a.rs",
                "use crate::codec::zstd;\nfn f() { zstd::pack() }"
            )
            .is_empty()
        );
        assert!(
            run(
                homes,
                "src/repo/a.rs",
                "#[cfg(test)]\nmod t { use std::thread; }"
            )
            .is_empty()
        );
        assert!(has_home("zstd") && !has_home("left_pad"));
    }

    #[test]
    fn files_without_an_owner() {
        assert_eq!(
            run(
                creations,
                "src/repo/a.rs",
                "fn f() { std::fs::create_dir_all(p); }"
            )
            .len(),
            1
        );
        assert_eq!(
            run(
                creations,
                "src/repo/a.rs",
                "fn f() { fs::write(p, b); File::create(p); }"
            )
            .len(),
            1
        );
        assert_eq!(
            run(
                creations,
                "src/repo/a.rs",
                "fn f() { tempfile::NamedTempFile::new_in(p) }"
            )
            .len(),
            1
        );
        assert!(
            run(
                creations,
                "src/repo/a.rs",
                "fn f() { create::dir_all(p); store.create(k, b) }"
            )
            .is_empty()
        );
        assert!(run(creations, "src/sys/create.rs", "fn f() { fs::write(p, b) }").is_empty());
    }

    #[test]
    fn globs_and_re_exports() {
        assert_eq!(run(imports, "src/a/b.rs", "use super::*;").len(), 1);
        assert_eq!(run(imports, "src/a/b.rs", "use x::{y, z::*};").len(), 1);
        assert_eq!(run(imports, "src/a/b.rs", "pub use x::y;").len(), 1);
        assert_eq!(run(imports, "src/a/b.rs", "pub(crate) use x::y;").len(), 1);
        assert_eq!(
            run(imports, "src/a/b.rs", "pub mod x;\npub use x::y;").len(),
            1
        );
        assert!(run(imports, "src/a/b.rs", "mod x;\npub use x::y;").is_empty());
        assert!(
            run(
                imports,
                "src/a/b.rs",
                "use x::y;\n#[cfg(test)]\nmod t { use super::*; }"
            )
            .is_empty()
        );
    }

    #[test]
    fn talk_and_surroundings() {
        assert_eq!(
            run(silence, "src/a.rs", "fn f() { println!(\"x\") }").len(),
            1
        );
        assert_eq!(run(silence, "src/a.rs", "use std::env;").len(), 1);
        assert_eq!(
            run(silence, "src/a.rs", "fn f() { std::env::var(\"HOME\"); }").len(),
            1
        );
        assert_eq!(
            run(
                silence,
                "src/a.rs",
                "use std::io;\nfn f() { io::stdout(); }"
            )
            .len(),
            1
        );
        assert!(
            run(
                silence,
                "src/a.rs",
                "const V: &str = env!(\"X\");\nfn f(print: bool) { if print != true {} }"
            )
            .is_empty()
        );
    }

    #[test]
    fn undone_work() {
        assert_eq!(
            run(undone, "src/a.rs", "fn f() {\n todo!()\n}"),
            ["src/a.rs:2: `todo!`: finish it, or return an error"]
        );
        assert_eq!(
            run(undone, "src/a.rs", "fn f() { unimplemented!(\"later\") }").len(),
            1
        );
        assert!(
            run(
                undone,
                "src/a.rs",
                "// todo!()\nconst A: &str = \"todo!()\";"
            )
            .is_empty()
        );
    }

    #[test]
    fn items_without_documentation() {
        let found = |text| run(documentation, "src/a.rs", text);
        assert_eq!(
            found("pub struct A;\npub(crate) struct B;\nstruct C;"),
            ["src/a.rs:1: `A` has no doc comment"]
        );
        assert_eq!(
            found("/// A.\npub enum A { B { c: u8 } }\n\npub const fn d() {}").len(),
            1
        );
        assert_eq!(
            found("/// A.\npub trait A {\n fn b();\n /// C.\n fn c() { fn d() {} }\n}\nfn e() {}")
                .len(),
            1
        );
        assert_eq!(
            found(
                "/// A.\n#[derive(Debug)]\npub struct A {\n pub b: u8,\n}\npub mod c;\npub use c::D;"
            ),
            [""; 0]
        );
        assert_eq!(
            found("impl A {\n pub fn new() {}\n pub const B: u8 = 1;\n}").len(),
            1
        );
    }

    #[test]
    fn long_files_and_missing_headers() {
        assert_eq!(run(length, "src/a.rs", &"x\n".repeat(1001)).len(), 1);
        assert!(run(length, "src/a.rs", &"x\n".repeat(1000)).is_empty());
        assert_eq!(run(header, "src/a.rs", "fn f() {}").len(), 1);
        assert_eq!(run(header, "src/a.rs", &"//! x\n".repeat(13)).len(), 1);
        assert!(run(header, "src/a.rs", "//! What it is.\nfn f() {}").is_empty());
    }

    #[test]
    fn empty_names() {
        assert_eq!(run(names, "src/repo/util.rs", "").len(), 1);
        assert_eq!(run(names, "src/common/mod.rs", "").len(), 1);
        assert_eq!(
            run(
                names,
                "src/a.rs",
                "struct PackManager;\nmod helpers {}\nenum EventHandler {}"
            )
            .len(),
            3
        );
        assert!(
            run(
                names,
                "src/a.rs",
                "struct Utility;\nfn common_prefix() {}\nfn handle() {}"
            )
            .is_empty()
        );
    }
}
