//! A source file in the form that the rules need: code without comments and literals, its paths,
//! and its test regions.
//!
//! In: Rust text. Out: a `Source`. The scanner is sufficient to find imports; it is not a parser.

/// A source file.
pub struct Source {
    /// Path from the package root.
    pub name: String,
    /// The unchanged text.
    pub text: String,
    /// The tokens of the code, without comments and the content of literals.
    pub tokens: Vec<Token>,
    /// Whether each line is inside a `#[cfg(test)]` item. The index is the line number, so index 0
    /// is unused.
    test_lines: Vec<bool>,
}

/// A name or a punctuation mark, and its line number (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// A path in the code. A `use` group becomes one path per member. A glob ends with `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodePath {
    pub line: usize,
    pub parts: Vec<String>,
    /// Whether the path belongs to a `use` item.
    pub import: bool,
    /// Whether the item is a `pub use`, including restricted forms such as `pub(crate) use`.
    pub public: bool,
}

impl Source {
    pub fn new(name: &str, text: &str) -> Self {
        let tokens = tokenize(&strip(text));
        let test_lines = test_lines(&tokens, text.lines().count());
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            tokens,
            test_lines,
        }
    }

    /// Returns whether a line belongs to a `#[cfg(test)]` item or to a file of tests.
    pub fn is_test(&self, line: usize) -> bool {
        self.test_lines.get(line).copied().unwrap_or(false)
            || self.name.ends_with("/tests.rs")
            || self.name.contains("/tests/")
    }

    /// Returns the module path below the crate root: `src/a/b.rs` is `[a, b]`, `src/a/mod.rs` is
    /// `[a]`.
    pub fn module(&self) -> Vec<String> {
        let path = self.name.strip_prefix("src/").unwrap_or(&self.name);
        let path = path.strip_suffix(".rs").unwrap_or(path);
        let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
        if parts
            .last()
            .is_some_and(|p| p == "mod" || p == "lib" || p == "main")
        {
            parts.pop();
        }
        parts
    }

    /// Returns all paths of the code with at least two parts, and all imports.
    pub fn paths(&self) -> Vec<CodePath> {
        let mut out = Vec::new();
        let mut i = 0;
        while i < self.tokens.len() {
            if self.text_at(i) == "use"
                && self.text_at(i.wrapping_sub(1)) != "::"
                && self.text_at(i + 1) != "<"
            {
                let end = self.use_tree(i + 1, &[], self.is_public(i), &mut out);
                i = end.max(i + 1);
            } else if is_name(self.text_at(i)) && self.text_at(i.wrapping_sub(1)) != "." {
                let line = self.tokens[i].line;
                // The path in `pub(in crate::a)` is a visibility and not an import.
                let visibility = self.text_at(i.wrapping_sub(1)) == "in"
                    && self.text_at(i.wrapping_sub(2)) == "(";
                let mut parts = vec![self.text_at(i).to_owned()];
                i += 1;
                while self.text_at(i) == "::" && is_name(self.text_at(i + 1)) {
                    parts.push(self.text_at(i + 1).to_owned());
                    i += 2;
                }
                if parts.len() > 1 && !visibility {
                    out.push(CodePath {
                        line,
                        parts,
                        import: false,
                        public: false,
                    });
                }
            } else {
                i += 1;
            }
        }
        out
    }

    /// Returns whether the item whose keyword is token `i` is `pub` or has a restricted form such
    /// as `pub(crate)`.
    pub fn is_public(&self, i: usize) -> bool {
        matches!(self.text_at(i.wrapping_sub(1)), "pub" | ")")
    }

    /// Returns the text of token `i`, or an empty string if there is no such token.
    pub fn text_at(&self, i: usize) -> &str {
        self.tokens.get(i).map_or("", |t| &t.text)
    }

    fn use_tree(
        &self,
        mut i: usize,
        prefix: &[String],
        public: bool,
        out: &mut Vec<CodePath>,
    ) -> usize {
        let mut parts = prefix.to_vec();
        let line = self.tokens.get(i).map_or(0, |t| t.line);
        loop {
            match self.text_at(i) {
                "{" => {
                    i += 1;
                    while !matches!(self.text_at(i), "}" | "") {
                        i = self.use_tree(i, &parts, public, out);
                        if self.text_at(i) == "," {
                            i += 1;
                        }
                    }
                    return i + 1;
                }
                "::" => i += 1,
                "as" => i += 2,
                "*" => {
                    parts.push("*".to_owned());
                    i += 1;
                }
                t if is_name(t) => {
                    parts.push(t.to_owned());
                    i += 1;
                }
                _ => break,
            }
        }
        out.push(CodePath {
            line,
            parts,
            import: true,
            public,
        });
        i
    }
}

fn is_name(t: &str) -> bool {
    t.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The kind of a piece of Rust text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    Code,
    Comment,
    /// A string without its quotes.
    Literal,
    /// A raw string without its quotes. A backslash in it has no special meaning.
    RawLiteral,
    Character,
}

/// A piece of Rust text, and the number of its first line (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub line: usize,
    pub kind: PieceKind,
    pub text: String,
}

/// Divides Rust text into code, comments and literals.
pub fn pieces(text: &str) -> Vec<Piece> {
    let c: Vec<char> = text.chars().collect();
    let mut out: Vec<Piece> = Vec::new();
    let (mut i, mut line) = (0, 1);
    while i < c.len() {
        let wordy = i > 0 && (c[i - 1].is_alphanumeric() || c[i - 1] == '_');
        let (kind, end, margins) = piece_at(&c, i, wordy);
        let text: String = c[i + margins.0..end - margins.1].iter().collect();
        match out.last_mut() {
            Some(last) if kind == PieceKind::Code && last.kind == PieceKind::Code => {
                last.text.push_str(&text)
            }
            _ => out.push(Piece { line, kind, text }),
        }
        line += c[i..end].iter().filter(|c| **c == '\n').count();
        i = end;
    }
    out
}

/// Returns the kind of the piece at `i`, its end, and the number of quote characters at its start
/// and end. A piece of code is a single character.
fn piece_at(c: &[char], i: usize, wordy: bool) -> (PieceKind, usize, (usize, usize)) {
    let at = |i: usize| c.get(i).copied().unwrap_or('\0');
    let find = |from: usize, closes: &dyn Fn(usize) -> bool| (from..c.len()).find(|k| closes(*k));
    if at(i) == '/' && at(i + 1) == '/' {
        (
            PieceKind::Comment,
            find(i, &|k| c[k] == '\n').unwrap_or(c.len()),
            (0, 0),
        )
    } else if at(i) == '/' && at(i + 1) == '*' {
        (PieceKind::Comment, block_comment_end(c, i), (0, 0))
    } else if let Some((hashes, open)) = raw_start(c, i).filter(|_| !wordy) {
        let close = find(open + 1, &|k| {
            c[k] == '"' && (1..=hashes).all(|h| at(k + h) == '#')
        });
        match close {
            Some(close) => (
                PieceKind::RawLiteral,
                close + 1 + hashes,
                (open + 1 - i, 1 + hashes),
            ),
            None => (PieceKind::RawLiteral, c.len(), (open + 1 - i, 0)),
        }
    } else if at(i) == '"' {
        match escaped_end(c, i + 1, '"') {
            Some(close) => (PieceKind::Literal, close + 1, (1, 1)),
            None => (PieceKind::Literal, c.len(), (1, 0)),
        }
    } else if at(i) == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
        // A quote begins a character literal if a backslash follows, or if one character and a
        // quote follow. Otherwise it begins a lifetime.
        (
            PieceKind::Character,
            escaped_end(c, i + 1, '\'').map_or(c.len(), |close| close + 1),
            (0, 0),
        )
    } else {
        (PieceKind::Code, i + 1, (0, 0))
    }
}

fn block_comment_end(c: &[char], start: usize) -> usize {
    let (mut depth, mut i) = (0_usize, start);
    while i + 1 < c.len() {
        match (c[i], c[i + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                i += 1;
                continue;
            }
        }
        i += 2;
        if depth == 0 {
            return i;
        }
    }
    c.len()
}

/// Returns the position of the first `quote` that is not escaped with a backslash.
fn escaped_end(c: &[char], mut i: usize, quote: char) -> Option<usize> {
    while i < c.len() {
        match c[i] {
            '\\' => i += 2,
            c if c == quote => return Some(i),
            _ => i += 1,
        }
    }
    None
}

/// Removes comments and blanks the content of string and character literals. Keeps all line breaks.
pub fn strip(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        let breaks = "\n".repeat(piece.text.matches('\n').count());
        match piece.kind {
            PieceKind::Code => out.push_str(&piece.text),
            PieceKind::Comment => out.push_str(&breaks),
            PieceKind::Literal | PieceKind::RawLiteral => out.extend(["\"", &breaks, "\""]),
            PieceKind::Character => out.push_str("' '"),
        }
    }
    out
}

/// Returns the number of `#` and the position of the quote if a raw string begins at `i`.
fn raw_start(c: &[char], i: usize) -> Option<(usize, usize)> {
    let mut j = i;
    if matches!(c.get(j), Some('b' | 'c')) {
        j += 1;
    }
    if c.get(j) != Some(&'r') {
        return None;
    }
    j += 1;
    let hashes = c[j..].iter().take_while(|x| **x == '#').count();
    (c.get(j + hashes) == Some(&'"')).then_some((hashes, j + hashes))
}

fn tokenize(code: &str) -> Vec<Token> {
    let mut out = Vec::new();
    for (n, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let len = if first.is_alphanumeric() || first == '_' {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            out.push(Token {
                text: rest[..len].to_owned(),
                line: n + 1,
            });
            rest = rest[len..].trim_start();
        }
    }
    out
}

fn test_lines(tokens: &[Token], lines: usize) -> Vec<bool> {
    let mut marks = vec![false; lines + 2];
    let is = |i: usize, t: &str| tokens.get(i).is_some_and(|x| x.text == t);
    for i in 0..tokens.len() {
        let marker = ["#", "[", "cfg", "(", "test", ")", "]"];
        if !marker.iter().enumerate().all(|(k, t)| is(i + k, t)) {
            continue;
        }
        let mut depth = 0_usize;
        let mut end = i + marker.len();
        while let Some(t) = tokens.get(end) {
            match t.text.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            if (depth == 0 && matches!(t.text.as_str(), "}" | ";")) || end + 1 == tokens.len() {
                break;
            }
            end += 1;
        }
        let last = tokens.get(end).map_or(lines, |t| t.line);
        marks[tokens[i].line..=last].fill(true);
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        Source::new("src/a/b.rs", text)
            .paths()
            .iter()
            .map(|p| p.parts.join("::"))
            .collect()
    }

    #[test]
    fn comments_and_literals_are_blank() {
        let s = strip(
            "a // x::y\n/* p::q /* */ r */ b \"c::d\\\" e\" '\\'' 'x' r#\"f\"::g\"# &'a h\n'\"' i",
        );
        assert_eq!(s.lines().count(), 3);
        for gone in ["x::y", "p::q", "c::d", "f\"", "::g"] {
            assert!(!s.contains(gone), "{gone} in {s}");
        }
        for kept in ["a", "b", "'a h", " i"] {
            assert!(s.contains(kept), "{kept} in {s}");
        }
    }

    #[test]
    fn groups_are_expanded() {
        assert_eq!(
            paths(
                "use crate::{a::{b, c as d}, e::*};\nuse std::thread;\nfn f() { crate::x::y::<T>(); z.w::<u8>() }"
            ),
            [
                "crate::a::b",
                "crate::a::c",
                "crate::e::*",
                "std::thread",
                "crate::x::y"
            ]
        );
        assert_eq!(paths("pub use a::b;"), ["a::b"]);
    }

    #[test]
    fn lines_and_visibility() {
        let s = Source::new(
            "src/a/b.rs",
            "\n\npub(crate) use a::b;\nfn f() -> impl Sized + use<> {}\n",
        );
        let p = &s.paths()[0];
        assert_eq!((p.line, p.public, p.import), (3, true, true));
        assert_eq!(s.paths().len(), 1);
    }

    #[test]
    fn test_regions() {
        let s = Source::new(
            "src/a.rs",
            "fn a() {}\n#[cfg(test)]\nmod t {\n fn b() {}\n}\nfn c() {}\n",
        );
        let marks: Vec<bool> = (1..=6).map(|n| s.is_test(n)).collect();
        assert_eq!(marks, [false, true, true, true, true, false]);
        assert!(Source::new("src/a/tests.rs", "x").is_test(1));
    }

    #[test]
    fn module_paths() {
        assert_eq!(Source::new("src/a/mod.rs", "").module(), ["a"]);
        assert_eq!(Source::new("src/a/b.rs", "").module(), ["a", "b"]);
        assert!(Source::new("src/lib.rs", "").module().is_empty());
    }
}
