//! Converts text within a line to roff: escapes, fonts, and the inline markup of Markdown.
//!
//! A link to a document becomes a reference to the manual page with its content.

/// Link targets and the manual pages that replace them. The first matching prefix counts.
const PAGES: &[(&str, &str)] = &[
    ("cli.md#revisions", "dvc-revisions(7)"),
    ("cli.md#settings", "dvc-config(5)"),
    ("cli.md#undoing", "dvc-undo(1)"),
    ("cli.md#content-of", "dvc-commit(1)"),
    ("cli.md#access-to", "dvc-init(1)"),
    ("cli.md#diagnosis", "dvc-doctor(1)"),
    ("cli.md", "dvc(1)"),
    ("remotes.md", "dvc-remotes(7)"),
    ("quiesce.md", "dvc-quiesce(7)"),
    ("hooks.md", "dvc-hooks(7)"),
    ("care.md", "dvc-fsck(1)"),
    ("errors.md", "dvc-errors(7)"),
    ("json.md", "dvc-json(7)"),
    ("mount.md", "dvc-mount(1)"),
    ("docker.md", "dvc-volume(1)"),
    ("export.md", "dvc-export(1)"),
    ("sidecar.md", "dvc-pack(1)"),
];

/// Converts inline markup: `code`, **strong**, *emphasis*, [links](...).
pub(super) fn inline(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let mut plain = String::new();
    while let Some(first) = rest.chars().next() {
        let found = match first {
            '`' => delimited(rest, "`").map(|(code, rest)| (bold(code), rest)),
            '*' => delimited(rest, "**")
                .map(|(strong, rest)| (format!("\\fB{}\\fR", plain_text(strong)), rest))
                .or_else(|| delimited(rest, "*").map(|(word, rest)| (italic(word), rest))),
            '[' => link(rest),
            _ => None,
        };
        match found {
            Some((shown, after)) => {
                out.push_str(&escape(&std::mem::take(&mut plain)));
                out.push_str(&shown);
                rest = after;
            }
            None => {
                plain.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out.push_str(&escape(&plain));
    out
}

/// Escapes text and drops its code marks, because the text is in another font already.
fn plain_text(text: &str) -> String {
    escape(&text.replace('`', ""))
}

/// Returns the text between two marks, and the rest.
fn delimited<'t>(text: &'t str, mark: &str) -> Option<(&'t str, &'t str)> {
    let inner = text.strip_prefix(mark)?;
    let end = inner.find(mark).filter(|end| *end > 0)?;
    let (word, rest) = (&inner[..end], &inner[end + mark.len()..]);
    // `2 * 3 * 4` is not emphasis.
    let is_tight = mark == "`" || !word.starts_with(' ') && !word.ends_with(' ');
    is_tight.then_some((word, rest))
}

/// Converts `[text](target)`; returns the rest too.
fn link(text: &str) -> Option<(String, &str)> {
    let (label, rest) = text.strip_prefix('[')?.split_once("](")?;
    if label.contains(']') && !label.contains('`') {
        return None;
    }
    let (target, rest) = rest.split_once(')')?;
    let label_shown = inline(label);
    if target.starts_with('#') {
        return Some((label_shown, rest));
    }
    if target.contains("://") {
        return Some((format!("{label_shown} <{}>", escape(target)), rest));
    }
    let page = PAGES
        .iter()
        .find(|(document, _)| target.trim_start_matches("../").starts_with(document));
    let shown = match page {
        Some((_, page)) if label.ends_with(".md") => bold_page(page),
        Some((_, page)) => format!("{label_shown} ({})", bold_page(page)),
        // Show only the label: the document has no manual page, or is a decision record, which is
        // not installed.
        None if label.ends_with(".md") || target.contains("decisions/") => label_shown,
        None => format!(
            "{label_shown} ({})",
            escape(target.split('#').next().unwrap_or(target))
        ),
    };
    Some((shown, rest))
}

/// Formats a reference such as `name(7)` with the name in bold.
pub(super) fn bold_page(page: &str) -> String {
    let (name, section) = page.split_once('(').unwrap_or((page, ""));
    if section.is_empty() {
        bold(name)
    } else {
        format!("{}({section}", bold(name))
    }
}

/// Escapes text for roff. Hyphens become minus signs, so that users can copy options from a page.
pub(super) fn escape(text: &str) -> String {
    // groff shows other characters for these (groff_char(7)). The backslash comes first, because
    // the other replacements add backslashes.
    text.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
        .replace('`', "\\(ga")
        .replace('^', "\\(ha")
        .replace('~', "\\(ti")
}

pub(super) fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escape(text))
}

pub(super) fn italic(text: &str) -> String {
    format!("\\fI{}\\fR", escape(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_a_line() {
        for (text, expected) in [
            (
                "run `dvc log -g`, then **stop**",
                "run \\fBdvc log \\-g\\fR, then \\fBstop\\fR",
            ),
            ("*one* and 2 * 3 * 4", "\\fIone\\fR and 2 * 3 * 4"),
            (
                "see [remotes.md](remotes.md#x)",
                "see \\fBdvc\\-remotes\\fR(7)",
            ),
            (
                "its [credentials](remotes.md#credentials).",
                "its credentials (\\fBdvc\\-remotes\\fR(7)).",
            ),
            (
                "[below](#below) and [a](https://x.org)",
                "below and a <https://x.org>",
            ),
            ("[security.md](security.md)", "security.md"),
            ("C:\\x 'y'", "C:\\ex \\(aqy\\(aq"),
        ] {
            assert_eq!(inline(text), expected, "{text}");
        }
    }
}
