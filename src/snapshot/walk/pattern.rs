//! Detects gitignore patterns that cannot match any path, and suggests what the user probably
//! meant.

use std::path::Path;

/// Returns the reason why a line of an ignore file cannot match any path; `None` if it can, or if
/// the line is a comment or empty.
pub(super) fn why_line_never_matches(line: &str, worktree: Option<&Path>) -> Option<String> {
    // Trailing spaces do not count, unless a backslash precedes them (gitignore(5)).
    let pattern = if line.ends_with("\\ ") {
        line
    } else {
        line.trim_end()
    };
    if pattern.is_empty() || pattern.starts_with('#') {
        return None;
    }
    why_never(pattern, worktree)
}

/// Returns the reason why a pattern of the caller cannot match any path; `None` if it can.
pub(super) fn why_pattern_never_matches(pattern: &str, worktree: Option<&Path>) -> Option<String> {
    if pattern.trim_end().is_empty() {
        return Some("the pattern is empty".to_owned());
    }
    if pattern.starts_with('#') {
        return Some(format!("`#` begins a comment; write `\\{pattern}`"));
    }
    why_line_never_matches(pattern, worktree)
}

fn why_never(pattern: &str, worktree: Option<&Path>) -> Option<String> {
    let (not, body) = pattern
        .strip_prefix('!')
        .map_or(("", pattern), |body| ("!", body));
    let below = body.strip_prefix('/').unwrap_or(body);
    let names = below.strip_suffix('/').unwrap_or(below);
    if names.is_empty() {
        return Some("the pattern contains no name".to_owned());
    }
    if names.contains('\0') {
        return Some("no name contains a zero byte; save the file as UTF-8".to_owned());
    }
    // In a worktree at `/`, an absolute path is relative to the worktree.
    if let Some(worktree) = worktree.filter(|dir| body.starts_with('/') && dir.parent().is_some())
        && let Ok(inside) = Path::new(body).strip_prefix(worktree)
        // A worktree may contain a directory tree with the same names as the path to it.
        && !worktree.join(below).exists()
    {
        let inside = inside.display();
        return Some(format!(
            "patterns are relative to the worktree; write `{not}/{inside}`"
        ));
    }
    if names.split('/').any(|name| matches!(name, "" | "." | "..")) {
        let kept: Vec<&str> = names
            .split('/')
            .filter(|name| !matches!(*name, "" | "."))
            .collect();
        let end = if below.ends_with('/') { "/" } else { "" };
        return Some(match kept.contains(&"..") || kept.is_empty() {
            true => "no path in the worktree contains `.` or `..`".to_owned(),
            false => format!(
                "no path contains `.` or an empty name; write `{not}/{}{end}`",
                kept.join("/")
            ),
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_never_match_are_recognised() {
        let dir = tempfile::tempdir().unwrap();
        let absolute = dir.path().join("video").display().to_string();
        let why = |pattern: &str| why_pattern_never_matches(pattern, Some(dir.path()));
        for (pattern, part) in [
            ("", "is empty"),
            ("  ", "is empty"),
            ("#recycle", "write `\\#recycle`"),
            ("./video", "write `/video`"),
            ("!./video/", "write `!/video/`"),
            ("a//b", "write `/a/b`"),
            ("../video", "`..`"),
            (".", "`.`"),
            ("/", "contains no name"),
            ("a\0b", "zero byte"),
            (absolute.as_str(), "write `/video`"),
        ] {
            let found = why(pattern).unwrap_or_else(|| panic!("no reason for `{pattern}`"));
            assert!(found.contains(part), "{pattern}: {found}");
        }
        for pattern in [
            "*.log", "/video", "video/", "**/a", "a/**", "\\#x", "...", "a.b", "!keep", "/proc",
        ] {
            assert_eq!(why(pattern), None, "{pattern}");
        }
        assert_eq!(why_line_never_matches("# a comment", None), None);
        assert_eq!(why_line_never_matches("", None), None);
        assert!(why_line_never_matches("./video\r", None).is_some());
        let same_names = dir.path().join(absolute.trim_start_matches('/'));
        std::fs::create_dir_all(&same_names).unwrap();
        assert_eq!(
            why(&absolute),
            None,
            "the worktree has such a path below itself"
        );
    }
}
