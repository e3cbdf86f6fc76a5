//! `groff` and `man` show the manual pages without a warning.

use super::project;
use crate::support::needs::need;
use crate::support::sandbox::{Run, Sandbox, all_below};
use std::fs;

#[test]
fn groff_has_no_warning() {
    let s = Sandbox::new();
    let pages: Vec<_> = all_below(&project().join("completions/man"))
        .into_iter()
        .filter(|p| p.is_file())
        .collect();
    assert!(pages.len() > 50);
    for page in pages.iter().filter(|page| !page.ends_with("git-dvc.1")) {
        let run = Run::of(
            s.other(need("groff"))
                .args(["-man", "-ww", "-z", "-Tutf8", "-k"])
                .arg(page),
        )
        .ok();
        assert!(run.err.is_empty(), "{}: {}", page.display(), run.err);
    }
}

#[test]
fn man_finds_them() {
    let s = Sandbox::new();
    let manual = project().join("completions/man");
    for (name, text) in [
        ("dvc", "EXIT STATUS"),
        ("dvc-remotes", "AWS_ACCESS_KEY_ID"),
        ("git-dvc", "git for data volumes"),
    ] {
        let mut c = s.other(need("man"));
        c.env("MANPATH", &manual)
            .env("MANPAGER", "cat")
            .env("MANWIDTH", "80")
            .env("MAN_KEEP_FORMATTING", "");
        let shown = Run::of(c.arg("-P").arg("cat").arg(name)).ok().out;
        // man overstrikes the letters of bold text.
        let plain: String = shown.replace('\u{8}', "");
        assert!(
            plain.contains(text) || shown.contains(text),
            "{name}: {shown}"
        );
    }
}

/// Messages and hints name manual pages and no files in `docs/`, because an installed program does
/// not have these.
#[test]
fn messages_name_pages_that_exist() {
    let mut wrong = Vec::new();
    let mut named = 0;
    for file in all_below(&project().join("src"))
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
    {
        let text = fs::read_to_string(file).unwrap();
        // Unit tests and comments may name files in `docs/`.
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (n, line) in code
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            let at = format!("{}:{}", file.display(), n + 1);
            if line.contains("docs/") && !line.contains("include_str!") {
                wrong.push(format!("{at}: names a document"));
            }
            for (start, _) in line.match_indices("dvc-") {
                let rest = &line[start..];
                let end = rest
                    .find(|c: char| !c.is_ascii_lowercase() && c != '-')
                    .unwrap_or(rest.len());
                let Some(section) = rest[end..]
                    .strip_prefix('(')
                    .and_then(|rest| rest.chars().next())
                else {
                    continue;
                };
                let page = format!("completions/man/man{section}/{}.{section}", &rest[..end]);
                named += 1;
                if section.is_ascii_digit() && !project().join(&page).exists() {
                    wrong.push(format!("{at}: there is no {page}"));
                }
            }
        }
    }
    assert!(named > 5 && wrong.is_empty(), "{}", wrong.join("\n"));
}
