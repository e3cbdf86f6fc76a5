//! Paths inside a tree: names joined by `/`, raw bytes, never absolute, never upwards.

use super::text::{is_unsafe, push_escaped};

/// Why a name cannot stand in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// No bytes at all.
    Empty,
    /// `.` or `..`.
    Dots,
    /// Holds `/` or NUL.
    Separator,
    /// Longer than 255 bytes.
    TooLong,
}

/// Checks one name as it must be in a tree.
pub fn check_name(name: &[u8]) -> Result<(), BadName> {
    match name {
        b"" => Err(BadName::Empty),
        b"." | b".." => Err(BadName::Dots),
        n if n.iter().any(|b| *b == b'/' || *b == 0) => Err(BadName::Separator),
        n if n.len() > 255 => Err(BadName::TooLong),
        _ => Ok(()),
    }
}

/// `dir` and `name` joined; `dir` may be empty (the root).
pub fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut p = Vec::with_capacity(dir.len() + name.len() + 1);
    p.extend_from_slice(dir);
    if !dir.is_empty() {
        p.push(b'/');
    }
    p.extend_from_slice(name);
    p
}

/// The names of a path; empty pieces and `.` are dropped, `..` and NUL are refused.
pub fn split(path: &[u8]) -> Option<Vec<Vec<u8>>> {
    path.split(|b| *b == b'/')
        .filter(|n| !n.is_empty() && *n != b".")
        .map(|n| check_name(n).is_ok().then(|| n.to_vec()))
        .collect()
}

/// Whether `path` is `dir` or lies below it.
pub fn is_within(path: &[u8], dir: &[u8]) -> bool {
    dir.is_empty() || path == dir || (path.starts_with(dir) && path.get(dir.len()) == Some(&b'/'))
}

/// The path as text for people: bytes that are not printable UTF-8 are escaped as `\xNN`, characters that change the direction of
/// text as `\u{NNNN}`, a backslash as `\\`.
pub fn display(path: &[u8]) -> String {
    let mut s = String::with_capacity(path.len());
    for piece in path.utf8_chunks() {
        for c in piece.valid().chars() {
            match c {
                '\\' => s.push_str("\\\\"),
                '\t' => s.push_str("\\t"),
                '\n' => s.push_str("\\n"),
                c if is_unsafe(c) => push_escaped(&mut s, c),
                c => s.push(c),
            }
        }
        for b in piece.invalid() {
            s.push_str(&format!("\\x{b:02x}"));
        }
    }
    s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(check_name(b"a"), Ok(()));
        assert_eq!(check_name(b".."), Err(BadName::Dots));
        assert_eq!(check_name(b"a/b"), Err(BadName::Separator));
        assert_eq!(check_name(b""), Err(BadName::Empty));
    }

    #[test]
    fn paths() {
        assert_eq!(split(b"./a//b/"), Some(vec![b"a".to_vec(), b"b".to_vec()]));
        assert_eq!(split(b"a/../b"), None);
        assert!(is_within(b"a/b", b"a"));
        assert!(!is_within(b"ab", b"a"));
        assert_eq!(display(b"a\xffb\n"), "a\\xffb\\n");
        assert_eq!(display(b"a\\n"), "a\\\\n");
        assert_eq!(display("a\u{202e}b\u{85}".as_bytes()), "a\\u{202e}b\\x85");
    }
}
