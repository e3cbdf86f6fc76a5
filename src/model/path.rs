//! Paths within a tree: raw names joined by `/`, never absolute and never with `..`.

use super::text::{is_unsafe, push_escaped};

/// The reason why a name is not allowed in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    Empty,
    /// `.` or `..`.
    Dots,
    /// Contains `/` or NUL.
    Separator,
    /// Longer than 255 bytes.
    TooLong,
}

/// Checks whether a name is allowed in a tree.
pub fn check_name(name: &[u8]) -> Result<(), BadName> {
    match name {
        b"" => Err(BadName::Empty),
        b"." | b".." => Err(BadName::Dots),
        n if n.iter().any(|b| *b == b'/' || *b == 0) => Err(BadName::Separator),
        // Linux limits a name to 255 bytes (NAME_MAX).
        n if n.len() > 255 => Err(BadName::TooLong),
        _ => Ok(()),
    }
}

/// Joins a directory and a name. An empty `dir` is the root.
pub fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut p = Vec::with_capacity(dir.len() + name.len() + 1);
    p.extend_from_slice(dir);
    if !dir.is_empty() {
        p.push(b'/');
    }
    p.extend_from_slice(name);
    p
}

/// Splits a path into its names. Drops empty components and `.`; returns `None` if the path
/// contains `..`, NUL or a name that is too long.
pub fn split(path: &[u8]) -> Option<Vec<Vec<u8>>> {
    path.split(|b| *b == b'/')
        .filter(|n| !n.is_empty() && *n != b".")
        .map(|n| check_name(n).is_ok().then(|| n.to_vec()))
        .collect()
}

/// Returns whether `path` is `dir` or is below `dir`.
pub fn is_within(path: &[u8], dir: &[u8]) -> bool {
    // The slash excludes a name that only begins like the directory.
    dir.is_empty() || path == dir || (path.starts_with(dir) && path.get(dir.len()) == Some(&b'/'))
}

/// Limit in bytes on the path of a directory that is committed or restored: twice the path length
/// that a Linux system call accepts. Without a limit, a chain of nested directories would need
/// memory that grows with the square of its depth.
pub const DIR_PATH_MAX: usize = 8 << 10;

/// Returns whether some file system treats a name as `.dvcs`, the name of a repository: some file
/// systems ignore case, trailing dots and spaces, or invisible characters, and FAT has short names.
///
/// No commit contains such a name and no checkout creates one, because a remote could then supply
/// the hooks and settings of a repository.
pub fn is_reserved(name: &[u8]) -> bool {
    const RESERVED: &str = ".dvcs";
    // FAT also finds `.dvcs` under its short name, `DVCS~1`.
    let is_short = |rest: &[u8]| matches!(rest, [b'~', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit));
    if name
        .get(..4)
        .is_some_and(|first| first.eq_ignore_ascii_case(b"dvcs"))
        && is_short(&name[4..])
    {
        return true;
    }
    let Ok(text) = std::str::from_utf8(name) else {
        return false;
    };
    // An alternate stream of NTFS can name the directory itself: `.dvcs::$INDEX_ALLOCATION`.
    let text = text
        .split(':')
        .next()
        .unwrap_or_default()
        .trim_end_matches(['.', ' ']);
    let folded = text.chars().filter(|c| !is_ignorable(*c)).map(|c| {
        // Unicode case folding maps U+017F to `s`, and case-insensitive file systems apply it.
        if c == 'ſ' {
            's'
        } else {
            c.to_ascii_lowercase()
        }
    });
    folded.eq(RESERVED.chars())
}

/// Returns whether any component of a path is reserved for repositories.
pub fn has_reserved(path: &[u8]) -> bool {
    path.split(|b| *b == b'/').any(is_reserved)
}

/// Returns whether case-insensitive file systems ignore the character in comparisons: Unicode's
/// `Default_Ignorable_Code_Point`.
fn is_ignorable(c: char) -> bool {
    matches!(
        u32::from(c),
        0xad | 0x34f | 0x61c | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f | 0x202a..=0x202e
            | 0x2060..=0x206f | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfff8 | 0x1bca0..=0x1bca3
            | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff
    )
}

/// Returns a path as printable text: escapes bytes that are not printable UTF-8 as `\xNN`,
/// characters that change the direction of text as `\u{NNNN}`, and a backslash as `\\`.
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
    fn names_of_repositories_on_any_file_system() {
        for name in [
            ".dvcs",
            ".DVCS",
            ".dVcs",
            ".dvcs.",
            ".dvcs . ",
            ".dvcs::$INDEX_ALLOCATION",
            ".dvcſ",
            ".d\u{200c}vcs",
        ] {
            assert!(is_reserved(name.as_bytes()), "{name}");
        }
        for name in ["dvcs~1", "DVCS~12"] {
            assert!(is_reserved(name.as_bytes()), "{name}");
        }
        for name in [
            "dvcs",
            ".dvc",
            ".dvcsignore",
            "x.dvcs",
            ".dvcs2",
            "dvcs~",
            "dvcs~x",
            "..dvcs",
            ".git",
            "",
        ] {
            assert!(!is_reserved(name.as_bytes()), "{name}");
        }
        assert!(!is_reserved(b".dvcs\xff"));
        assert!(
            has_reserved(b"a/.dvcs/hooks") && has_reserved(b".dvcs") && !has_reserved(b"a/b.dvcs")
        );
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
