//! Converts the documents' Markdown to roff: paragraphs, lists, tables, code, links.
//!
//! Supports only the Markdown that the documents use. A link to a document becomes a reference to the manual page with its content.

use super::roff::{Roff, bold, escape, italic};

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
    ("errors.md", "dvc-errors(7)"),
    ("json.md", "dvc-json(7)"),
    ("mount.md", "dvc-mount(1)"),
    ("docker.md", "dvc-volume(1)"),
    ("export.md", "dvc-export(1)"),
    ("sidecar.md", "dvc-pack(1)"),
];

/// Returns the part of a document below a heading, up to the next heading of the same level. An empty heading selects everything
/// but the title.
pub(super) fn section<'d>(document: &'d str, heading: &str) -> Option<&'d str> {
    if heading.is_empty() {
        return document.split_once('\n').map(|(_, rest)| rest);
    }
    let mut start = None;
    let mut is_code = false;
    let mut at = 0;
    for line in document.split_inclusive('\n') {
        let next = at + line.len();
        is_code ^= line.starts_with("```");
        let level = line.bytes().take_while(|b| *b == b'#').count();
        if level > 0 && !is_code {
            match start {
                None if line[level..].trim() == heading => start = Some((level, next)),
                Some((of, begun)) if level <= of => return Some(&document[begun..at]),
                _ => {}
            }
        }
        at = next;
    }
    start.map(|(_, begun)| &document[begun..])
}

/// Writes Markdown. With `nested`, all headings become subheadings.
pub(super) fn write(page: &mut Roff, text: &str, nested: bool) {
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim().is_empty() {
            continue;
        }
        if line.starts_with("```") {
            let code: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            page.example(code);
        } else if let Some(heading) = line.strip_prefix('#') {
            let (level, heading) =
                (1 + heading.len() - heading.trim_start_matches('#').len(), heading.trim_matches(['#', ' ']));
            match level > 2 || nested {
                true => page.subheading(heading),
                false => page.heading(heading),
            }
        } else if line.starts_with('|') {
            let mut rows = vec![line];
            while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                rows.push(row);
            }
            table(page, &rows);
        } else {
            let mut whole = line.trim().to_owned();
            // Lines that start no other block continue the paragraph or the list item.
            while let Some(more) = lines.next_if(|line| continues(line)) {
                whole.push(' ');
                whole.push_str(more.trim());
            }
            match point(&whole) {
                Some((mark, text)) => page.point(mark, text),
                None => page.paragraph(&whole),
            }
        }
    }
}

fn continues(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with(['|', '#', '`']) && point(line.trim_start()).is_none()
        || is_code_span(line)
}

/// Returns whether a line starts with inline code, not with a fence.
fn is_code_span(line: &str) -> bool {
    line.starts_with('`') && !line.starts_with("```")
}

/// Splits `- text` or `1. text` into the mark and the text.
fn point(line: &str) -> Option<(&str, &str)> {
    if let Some(text) = line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")) {
        return Some(("\\(bu", text));
    }
    let (number, text) = line.split_once(". ")?;
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| (&line[..=number.len()], text))
}

/// Writes a table as a list of its first column. If there are more than two columns, their headings label the cells.
fn table(page: &mut Roff, rows: &[&str]) {
    let mut rows = rows.iter().map(|row| cells(row));
    let head = rows.next().unwrap_or_default();
    for row in rows.filter(|row| !row.iter().all(|cell| !cell.is_empty() && cell.chars().all(|c| "-: ".contains(c)))) {
        let Some((term, rest)) = row.split_first() else { continue };
        let named = |at: usize, cell: &str| match head.get(at + 1).filter(|head| rest.len() > 1 && !head.is_empty()) {
            Some(head) => format!("{head}: {cell}"),
            None => cell.to_owned(),
        };
        let mut filled = rest.iter().enumerate().filter(|(_, cell)| !cell.is_empty()).map(|(at, cell)| named(at, cell));
        page.item(&inline(term), &filled.next().unwrap_or_default());
        filled.for_each(|line| page.item_line(&line));
    }
}

/// Splits a row into cells; `\|` is a literal bar.
fn cells(row: &str) -> Vec<String> {
    let row = row.trim().replace("\\|", "\u{0}");
    let row = row.strip_prefix('|').unwrap_or(&row);
    let row = row.strip_suffix('|').unwrap_or(row);
    row.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

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

/// Escapes text without its code marks, for text in another font.
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
    let page = PAGES.iter().find(|(document, _)| target.trim_start_matches("../").starts_with(document));
    let shown = match page {
        Some((_, page)) if label.ends_with(".md") => bold_page(page),
        Some((_, page)) => format!("{label_shown} ({})", bold_page(page)),
        // Decisions are not installed.
        None if label.ends_with(".md") || target.contains("decisions/") => label_shown,
        None => format!("{label_shown} ({})", escape(target.split('#').next().unwrap_or(target))),
    };
    Some((shown, rest))
}

/// Formats a reference such as `name(7)` with the name in bold.
pub(super) fn bold_page(page: &str) -> String {
    let (name, section) = page.split_once('(').unwrap_or((page, ""));
    if section.is_empty() { bold(name) } else { format!("{}({section}", bold(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_a_line() {
        for (text, expected) in [
            ("run `dvc log -g`, then **stop**", "run \\fBdvc log \\-g\\fR, then \\fBstop\\fR"),
            ("*one* and 2 * 3 * 4", "\\fIone\\fR and 2 * 3 * 4"),
            ("see [remotes.md](remotes.md#x)", "see \\fBdvc\\-remotes\\fR(7)"),
            ("its [credentials](remotes.md#credentials).", "its credentials (\\fBdvc\\-remotes\\fR(7))."),
            ("[below](#below) and [a](https://x.org)", "below and a <https://x.org>"),
            ("[security.md](security.md)", "security.md"),
            ("C:\\x 'y'", "C:\\ex \\(aqy\\(aq"),
        ] {
            assert_eq!(inline(text), expected, "{text}");
        }
    }

    #[test]
    fn sections_end_where_the_next_one_begins() {
        let document = "# Title\nintro\n## One\na\n```\n# code\n```\n### Sub\nb\n## Two\nc\n";
        assert_eq!(section(document, "One"), Some("a\n```\n# code\n```\n### Sub\nb\n"));
        assert_eq!(section(document, "Two"), Some("c\n"));
        assert_eq!(section(document, ""), document.split_once('\n').map(|(_, rest)| rest));
        assert_eq!(section(document, "Three"), None);
    }

    #[test]
    fn blocks() {
        let mut page = Roff::page("x", 1, "about");
        let text = "One\nline.\n\n- a\n  b\n- c\n\n1. d\n\n| k | v | w |\n|---|---|---|\n| `a` | b\\|c | d |\n\n```\n.x -y\n```\n`e` f\n";
        write(&mut page, text, false);
        let source = String::from_utf8(page.finish()).unwrap();
        let body = source.split_once("about\n").unwrap().1;
        let expected = ".PP\nOne line.\n.IP \"\\(bu\" 4\na b\n.IP \"\\(bu\" 4\nc\n.IP \"1.\" 4\nd\n.TP\n\\fBa\\fR\nv: b|c\n\
                        .br\nw: d\n.PP\n.in +4n\n.EX\n\\&.x \\-y\n.EE\n.in\n.PP\n\\fBe\\fR f\n";
        assert_eq!(body, expected);
    }
}
