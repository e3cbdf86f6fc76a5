//! Converts the documents' Markdown to roff: paragraphs, lists, tables, code.
//!
//! Supports only the Markdown that the documents use.

use super::inline::inline;
use super::roff::Roff;

/// Returns the part of a document below a heading, up to the next heading of the same or a higher
/// level. An empty heading selects everything but the title.
pub(super) fn section<'d>(document: &'d str, heading: &str) -> Option<&'d str> {
    if heading.is_empty() {
        return document.split_once('\n').map(|(_, rest)| rest);
    }
    let mut start = None;
    let mut is_code = false;
    let mut at = 0;
    for line in document.split_inclusive('\n') {
        let next = at + line.len();
        // A fence begins or ends code, in which `#` is not a heading.
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
            let code: Vec<&str> = lines
                .by_ref()
                .take_while(|line| !line.starts_with("```"))
                .collect();
            page.example(code);
        } else if let Some(heading) = line.strip_prefix('#') {
            let (level, heading) = (
                1 + heading.len() - heading.trim_start_matches('#').len(),
                heading.trim_matches(['#', ' ']),
            );
            if level > 2 || nested {
                page.subheading(heading);
            } else {
                page.heading(heading);
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
    !line.trim().is_empty()
        && !line.starts_with(['|', '#', '`'])
        && point(line.trim_start()).is_none()
        || is_code_span(line)
}

/// Returns whether a line starts with inline code, not with a fence.
fn is_code_span(line: &str) -> bool {
    line.starts_with('`') && !line.starts_with("```")
}

/// Splits `- text`, `* text` or `1. text` into the mark and the text.
fn point(line: &str) -> Option<(&str, &str)> {
    if let Some(text) = line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")) {
        return Some(("\\(bu", text));
    }
    let (number, text) = line.split_once(". ")?;
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| (&line[..=number.len()], text))
}

/// Writes a table as a list of its first column. If there are more than two columns, their headings
/// label the cells.
fn table(page: &mut Roff, rows: &[&str]) {
    let mut rows = rows.iter().map(|row| cells(row));
    let head = rows.next().unwrap_or_default();
    // The row of dashes below the head has no content.
    for row in rows.filter(|row| {
        !row.iter()
            .all(|cell| !cell.is_empty() && cell.chars().all(|c| "-: ".contains(c)))
    }) {
        let Some((term, rest)) = row.split_first() else {
            continue;
        };
        let named = |at: usize, cell: &str| match head
            .get(at + 1)
            .filter(|head| rest.len() > 1 && !head.is_empty())
        {
            Some(head) => format!("{head}: {cell}"),
            None => cell.to_owned(),
        };
        let mut filled = rest
            .iter()
            .enumerate()
            .filter(|(_, cell)| !cell.is_empty())
            .map(|(at, cell)| named(at, cell));
        page.item(&inline(term), &filled.next().unwrap_or_default());
        filled.for_each(|line| page.item_line(&line));
    }
}

/// Splits a row into cells; `\|` is a literal bar.
fn cells(row: &str) -> Vec<String> {
    // No document contains a zero byte.
    let row = row.trim().replace("\\|", "\u{0}");
    let row = row.strip_prefix('|').unwrap_or(&row);
    let row = row.strip_suffix('|').unwrap_or(row);
    row.split('|')
        .map(|cell| cell.trim().replace('\u{0}', "|"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_end_where_the_next_one_begins() {
        let document = "# Title\nintro\n## One\na\n```\n# code\n```\n### Sub\nb\n## Two\nc\n";
        assert_eq!(
            section(document, "One"),
            Some("a\n```\n# code\n```\n### Sub\nb\n")
        );
        assert_eq!(section(document, "Two"), Some("c\n"));
        assert_eq!(
            section(document, ""),
            document.split_once('\n').map(|(_, rest)| rest)
        );
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
