//! Rules 1 to 3 of plain language. Counts violations in comments, messages, help texts and
//! documents, per folder.
//!
//! In: Rust sources and Markdown files. Out: `Finding`s. [`BUDGETS`] limits the number of findings
//! per folder. A limit may only decrease: a commit that corrects text must lower it.

use std::collections::BTreeMap;

use crate::scan::{self, Piece, PieceKind, Source};

/// Allowed number of findings per folder. For a folder without a row it is 0.
pub const BUDGETS: &[(&str, usize)] = &[];

/// Words that must not begin a sentence, because the reader needs the subject first.
const OPENERS: &[&str] = &[
    "What", "Who", "Whoever", "Whatever", "Which", "Where", "So long", "So often",
];

/// Words that must not begin a comment, because their noun is not in the comment.
const PRONOUNS: &[&str] = &["It", "Its", "They", "Their", "Them", "Theirs"];

/// Words that must not begin a comment if a verb follows. Before a noun they are allowed.
const DEMONSTRATIVES: &[&str] = &["This", "These", "That", "Those"];

/// Verbs after [`DEMONSTRATIVES`].
const VERBS: &[&str] = &[
    "are", "can", "cannot", "comes", "did", "do", "does", "gives", "goes", "had", "happens", "has",
    "have", "holds", "is", "keeps", "lets", "makes", "may", "means", "must", "needs", "says",
    "should", "takes", "was", "were", "will", "would",
];

/// Words that the glossary forbids, with their replacements.
const GLOSSARY: &[(&str, &str)] = &[
    ("whoever", "the caller, another process"),
    ("whatever", "any"),
    ("somebody", "a user, another process"),
    ("anybody", "any user, any process"),
    ("nobody", "no user, no process"),
    ("put aside", "moved to the trash"),
    ("puts aside", "moves to the trash"),
    ("parked", "dead, moved to the trash"),
    ("stands", "is, is based on"),
    ("shot", "snapshot"),
    ("shots", "snapshots"),
    ("gate", "write barrier"),
    ("desk", "control socket"),
    ("shelf", "registry, set"),
    ("trouble", "error"),
    ("said", "reported"),
    ("cutting", "chunking"),
    ("cut anew", "re-chunked"),
    ("elsewhere", "on the remote, in another repository"),
    ("wish", "request, command"),
    ("wishes", "requests"),
    ("the dog", "the watchdog"),
    ("lets go", "releases"),
    ("let go", "release, released"),
    ("access list", "ACL"),
    ("access lists", "ACLs"),
    ("names of one file", "hard links"),
    ("hold still", "not change"),
    ("holds still", "does not change"),
    ("held still", "frozen, unchanged"),
    ("decides races", "supports conditional writes"),
    ("was faster", "won the race"),
    ("tell", "report"),
    ("tells", "reports"),
    ("told", "reported, notified"),
    ("mend", "fix, repair"),
    ("mends", "fixes, repairs"),
    ("mended", "fixed, repaired"),
    ("room", "space"),
    ("anew", "again; rebuilt, recreated"),
    ("bring", "fetch"),
    ("brings", "fetches"),
    ("brought", "fetched"),
];

/// A passage that violates a rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub folder: String,
    pub file: String,
    pub line: usize,
    pub rule: String,
}

/// The purpose of a text, on which the rules depend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Comment,
    Message,
    Document,
}

/// A text that is read as a unit, and the number of its first line (from 1).
#[derive(Debug, PartialEq, Eq)]
struct Passage {
    line: usize,
    purpose: Purpose,
    text: String,
}

/// Returns the findings in a Rust file. Literals are checked only in the program, because tests
/// contain text that violates the rules on purpose.
pub fn in_source(s: &Source) -> Vec<Finding> {
    let program = s.name.starts_with("src/");
    let mut passages = passages_of_rust(&s.text);
    passages.retain(|p| p.purpose == Purpose::Comment || (program && !s.is_test(p.line)));
    findings(&s.name, &passages)
}

/// Returns the findings in a Markdown file.
pub fn in_document(name: &str, text: &str) -> Vec<Finding> {
    findings(name, &passages_of_markdown(text))
}

/// Compares the findings with a table of budgets. Returns one line for each difference. If a folder
/// exceeds its budget, the lines of its findings come first.
pub fn differences(findings: &[Finding], budgets: &[(&str, usize)]) -> Vec<String> {
    let mut folders: BTreeMap<&str, Vec<&Finding>> = budgets
        .iter()
        .map(|(name, _)| (*name, Vec::new()))
        .collect();
    for finding in findings {
        folders.entry(&finding.folder).or_default().push(finding);
    }
    let mut out = Vec::new();
    for (folder, found) in folders {
        let budget = budgets
            .iter()
            .find(|(name, _)| *name == folder)
            .map_or(0, |(_, count)| *count);
        if found.len() > budget {
            out.extend(
                found
                    .iter()
                    .map(|f| format!("{}:{}: {}", f.file, f.line, f.rule)),
            );
            out.push(format!(
                "{folder}: {} findings, at most {budget} are allowed: correct the new text",
                found.len()
            ));
        } else if found.len() < budget {
            out.push(format!(
                "{folder}: {} findings, not {budget}: lower the number in BUDGETS",
                found.len()
            ));
        }
    }
    out
}

/// Returns the folder of a file. Examples: `src/store` for `src/store/oci/auth.rs`, `src/error.rs`
/// for `src/error.rs`, `docs` for `docs/decisions/x.md`.
fn folder_of(name: &str) -> &str {
    let depth = if name.starts_with("src/") { 2 } else { 1 };
    name.match_indices('/')
        .nth(depth - 1)
        .map_or(name, |(end, _)| &name[..end])
}

fn findings(name: &str, passages: &[Passage]) -> Vec<Finding> {
    let mut out = Vec::new();
    for passage in passages {
        for rule in broken_rules(passage) {
            out.push(Finding {
                folder: folder_of(name).to_owned(),
                file: name.to_owned(),
                line: passage.line,
                rule,
            });
        }
    }
    out
}

fn broken_rules(passage: &Passage) -> Vec<String> {
    let mut out = Vec::new();
    let text = without_code(&passage.text);
    for sentence in sentences(&text) {
        let message = passage.purpose == Purpose::Message;
        let opens = |opener: &&&str| starts_with_words(sentence, opener, message);
        if let Some(opener) = OPENERS
            .iter()
            .find(opens)
            .filter(|_| !sentence.trim_end().ends_with('?'))
        {
            out.push(format!(
                "a sentence begins with `{opener}`: begin with the subject"
            ));
        }
    }
    if passage.purpose == Purpose::Comment
        && let Some(pronoun) = leading_pronoun(&text)
    {
        out.push(format!("a comment begins with `{pronoun}`: name the noun"));
    }
    let words = words(&text);
    for (phrase, instead) in GLOSSARY {
        let parts: Vec<&str> = phrase.split(' ').collect();
        let hits = words
            .windows(parts.len())
            .filter(|w| w.iter().zip(&parts).all(|(a, b)| a == b))
            .count();
        out.extend((0..hits).map(|_| format!("`{phrase}`: write {instead}")));
    }
    out
}

fn leading_pronoun(text: &str) -> Option<&str> {
    let mut words = text
        .split_whitespace()
        .map(|w| w.trim_matches(|c: char| !c.is_alphanumeric()));
    let first = words.next()?;
    let nounless = PRONOUNS.contains(&first)
        || (DEMONSTRATIVES.contains(&first)
            && words.next().is_some_and(|second| VERBS.contains(&second)));
    nounless.then_some(first)
}

/// Returns whether the sentence starts with `words`. If `any_case` is true, the first letter may be
/// lower case, as it is in messages.
fn starts_with_words(sentence: &str, words: &str, any_case: bool) -> bool {
    let Some(head) = sentence.get(..words.len()) else {
        return false;
    };
    let same = if any_case {
        head.eq_ignore_ascii_case(words)
    } else {
        head == words
    };
    same && !sentence[words.len()..]
        .starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '\'')
}

/// Splits text at full stops, question marks and exclamation marks that a space follows.
fn sentences(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices() {
        if matches!(c, '.' | '?' | '!') && text[at + 1..].starts_with([' ', '\n']) {
            out.push(text[start..=at].trim());
            start = at + 1;
        }
    }
    out.push(text[start..].trim());
    out.retain(|s| !s.is_empty());
    out
}

/// Splits text into words in lower case. A punctuation mark counts as a word, so that a phrase
/// cannot extend across it.
fn words(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for piece in text.split_whitespace() {
        let mut rest = piece.to_lowercase();
        while !rest.is_empty() {
            let word = |c: char| c.is_alphanumeric() || c == '_' || c == '\'' || c == '-';
            let len = rest.find(|c| !word(c)).unwrap_or(rest.len());
            let len = if len == 0 {
                rest.chars().next().map_or(1, char::len_utf8)
            } else {
                len
            };
            let tail = rest.split_off(len);
            out.push(std::mem::replace(&mut rest, tail));
        }
    }
    out
}

/// Replaces code spans, link targets and fields of format strings by a placeholder, because the
/// rules do not apply to names.
fn without_code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let end = match c {
            '`' => rest[1..].find('`').map(|i| i + 2),
            '{' => rest.find('}').map(|i| i + 1),
            '(' if out.ends_with(']') => rest.find(')').map(|i| i + 1),
            _ => None,
        };
        match end {
            Some(end) => {
                out.push('\u{b7}');
                rest = &rest[end..];
            }
            None => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

/// Returns comments and literals. Adjacent comment lines form one passage.
fn passages_of_rust(text: &str) -> Vec<Passage> {
    let mut comments = Vec::new();
    let mut out = Vec::new();
    for piece in scan::pieces(text) {
        match piece.kind {
            PieceKind::Comment => comments.push(piece),
            PieceKind::Literal => out.extend(message(piece.line, unescaped(&piece.text))),
            PieceKind::RawLiteral => out.extend(message(piece.line, piece.text)),
            PieceKind::Code | PieceKind::Character => {}
        }
    }
    out.extend(join_comments(&comments));
    out.sort_by_key(|p| p.line);
    out
}

/// Returns a literal if it is a message. A literal without a space is a name, and a literal that
/// begins with an SQL keyword is a statement.
fn message(line: usize, text: String) -> Option<Passage> {
    let sql = [
        "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "PRAGMA", "WITH", "DROP", "ALTER",
    ];
    let prose =
        text.trim().contains(' ') && !sql.iter().any(|word| text.trim_start().starts_with(word));
    prose.then_some(Passage {
        line,
        purpose: Purpose::Message,
        text,
    })
}

/// Returns a literal in its printed form: lines that end with a backslash are joined.
fn unescaped(literal: &str) -> String {
    let mut out = String::new();
    let mut chars = literal.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('\n') => while chars.next_if(|c| c.is_whitespace()).is_some() {},
            Some('n' | 't') => out.push('\n'),
            Some(c) => out.push(c),
            None => {}
        }
    }
    out
}

fn join_comments(pieces: &[Piece]) -> Vec<Passage> {
    let mut out: Vec<Passage> = Vec::new();
    let mut open: Option<(usize, &str)> = None;
    let mut fenced = false;
    for piece in pieces {
        let marker = ["///", "//!", "//"]
            .into_iter()
            .find(|m| piece.text.starts_with(m))
            .unwrap_or("");
        let text = piece.text[marker.len()..].trim();
        if text.starts_with("```") {
            fenced = !fenced;
            open = None;
        } else if fenced || text.is_empty() || text.starts_with('|') || text.starts_with('#') {
            open = None;
        } else {
            let follows = open == Some((piece.line - 1, marker)) && list_item(text).is_none();
            match out.last_mut().filter(|_| follows) {
                Some(passage) => passage.text.extend([" ", text]),
                None => out.push(Passage {
                    line: piece.line,
                    purpose: Purpose::Comment,
                    text: list_item(text).unwrap_or(text).to_owned(),
                }),
            }
            open = Some((piece.line, marker));
        }
    }
    out
}

/// Returns paragraphs, list items and table cells. Skips headings, which may be phrases that begin
/// with `What`, and code.
fn passages_of_markdown(text: &str) -> Vec<Passage> {
    let mut out: Vec<Passage> = Vec::new();
    let (mut fenced, mut open) = (false, false);
    for (n, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        let passage = |text: &str| Passage {
            line: n + 1,
            purpose: Purpose::Document,
            text: text.to_owned(),
        };
        if trimmed.starts_with("```") {
            fenced = !fenced;
            open = false;
        } else if fenced
            || trimmed.is_empty()
            || trimmed.starts_with('#')
            || (!open && line.starts_with("    "))
        {
            open = false;
        } else if trimmed.starts_with('|') {
            out.extend(
                trimmed
                    .split('|')
                    .map(str::trim)
                    .filter(|cell| cell.contains(' '))
                    .map(passage),
            );
            open = false;
        } else {
            match (list_item(trimmed), out.last_mut().filter(|_| open)) {
                (None, Some(passage)) => passage.text.extend([" ", trimmed]),
                (item, _) => out.push(passage(item.unwrap_or(trimmed))),
            }
            open = true;
        }
    }
    out
}

/// Returns the text of a list item or of a quotation.
fn list_item(line: &str) -> Option<&str> {
    let numbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let marks = ["- ", "* ", "> "]
        .into_iter()
        .find_map(|mark| line.strip_prefix(mark));
    marks.or_else(|| {
        numbered
            .strip_prefix(". ")
            .filter(|_| numbered.len() < line.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<String> {
        in_source(&Source::new("src/a/b.rs", text))
            .into_iter()
            .map(|f| f.rule)
            .collect()
    }

    fn document(text: &str) -> Vec<usize> {
        in_document("docs/a.md", text)
            .into_iter()
            .map(|f| f.line)
            .collect()
    }

    #[test]
    fn sentences_begin_with_the_subject() {
        assert_eq!(rules("// A pack. What it holds is sorted.\n").len(), 1);
        assert_eq!(
            rules("/// Whoever reads\n/// it. So long as it lives.\n").len(),
            3
        );
        assert_eq!(
            rules("const A: &str = \"what is here cannot be read\";").len(),
            1
        );
        assert_eq!(
            rules("/// What is this?\n///\n/// Whatsoever, the caller knows what a pack is.\n"),
            [""; 0]
        );
        assert_eq!(rules("/// ```\n/// What\n/// ```\nfn what() {}\n"), [""; 0]);
    }

    #[test]
    fn comments_name_their_noun() {
        assert_eq!(rules("/// Its size.\n").len(), 1);
        assert_eq!(
            rules("// It is closed, so that\n// the next one can open.\n").len(),
            1
        );
        assert_eq!(rules("// This is slow.\n").len(), 1);
        assert_eq!(
            rules("// This request is slow.\n// It is sent again.\n"),
            [""; 0]
        );
        assert_eq!(
            rules("/// The pack. Its size is known.\nconst A: &str = \"it is damaged\";\n"),
            [""; 0]
        );
    }

    #[test]
    fn the_glossary_names_the_word_to_write() {
        assert_eq!(
            rules("// A pack put aside, parked.\n"),
            [
                "`put aside`: write moved to the trash",
                "`parked`: write dead, moved to the trash"
            ]
        );
        assert_eq!(
            rules("const A: &str = \"there is no \\\n    room\";"),
            ["`room`: write space"]
        );
        assert_eq!(
            rules(
                "// `room` and mushroom, put, aside\nconst A: &str = \"of {room} bytes\";\nlet room = \"room\";"
            ),
            [""; 0]
        );
    }

    #[test]
    fn tests_may_have_such_literals_but_no_such_comments() {
        assert_eq!(
            rules("#[cfg(test)]\nmod t {\n // The room.\n const A: &str = \"the room\";\n}\n")
                .len(),
            1
        );
        let outside = Source::new(
            "tests/it/a.rs",
            "//! The room.\nconst A: &str = \"the room\";\n",
        );
        assert_eq!(in_source(&outside).len(), 1);
    }

    #[test]
    fn documents_are_read_by_paragraph_item_and_cell() {
        assert_eq!(
            document("# What it is\n\nA pack. What it\nholds.\n- Where it is\n1. Which one\n"),
            [3, 5, 6]
        );
        assert_eq!(
            document("| what | where |\n|---|---|\n| Who reads | the room |\n"),
            [3, 3]
        );
        assert_eq!(
            document("```\nWhat is here\n```\n\n    What is here\n\n[a](room) `the room`\n"),
            [0; 0]
        );
    }

    #[test]
    fn a_budget_may_neither_be_exceeded_nor_stay_too_high() {
        let found = in_source(&Source::new(
            "src/a/b.rs",
            "// The room.\n// Its size.\n\n// Its end.\n",
        ));
        assert_eq!(found.len(), 2);
        assert_eq!(differences(&found, &[("src/a", 2)]), [""; 0]);
        assert_eq!(differences(&found, &[("src/a", 1), ("src/b", 0)]).len(), 3);
        assert_eq!(
            differences(&found, &[("src/a", 3)]),
            ["src/a: 2 findings, not 3: lower the number in BUDGETS"]
        );
        assert_eq!(
            differences(&found, &[]).last().unwrap(),
            "src/a: 2 findings, at most 0 are allowed: correct the new text"
        );
        assert_eq!(folder_of("src/error.rs"), "src/error.rs");
        assert_eq!(folder_of("src/a/b/c.rs"), "src/a");
        assert_eq!(folder_of("docs/decisions/a.md"), "docs");
        assert_eq!(folder_of("README.md"), "README.md");
    }
}
