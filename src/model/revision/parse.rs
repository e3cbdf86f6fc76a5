//! Hand-written parser of revisions. Returns the syntax or the first broken rule, and never panics.

use super::{
    BadRevision, Revision, RevisionBase, RevisionQuery, RevisionRange, RevisionSpec, Selector,
    Suffix,
};
use crate::model::path::display;
use crate::model::refname::RefName;

type Parsed<T> = Result<T, BadRevision>;

impl Revision {
    /// Parses a revision without a path.
    pub fn parse(text: &str) -> Result<Self, BadRevision> {
        revision(text)
    }
}

impl RevisionSpec {
    /// Parses `rev[:path]`.
    pub fn parse(text: &[u8]) -> Result<Self, BadRevision> {
        spec(text)
    }

    /// Parses `[url#]rev[:path]`, for arguments that may name a repository.
    pub fn parse_located(text: &[u8]) -> Result<Self, BadRevision> {
        located(text)
    }
}

impl RevisionQuery {
    /// Parses a revision or a range.
    pub fn parse(text: &[u8]) -> Result<Self, BadRevision> {
        query(text)
    }
}

impl Selector {
    /// Returns N of `vN` and `#N`.
    pub fn ordinal(&self) -> Option<u64> {
        match self {
            Self::Ordinal(n) => Some(*n),
            Self::Name(name) => number(name.as_str().strip_prefix('v')?),
        }
    }
}

fn bad<T>(text: &[u8], reason: impl Into<String>) -> Parsed<T> {
    Err(BadRevision {
        text: display(text),
        reason: reason.into(),
    })
}

/// Parses decimal digits. Returns `None` for other characters and for a number that is too large.
fn number<N: std::str::FromStr>(digits: &str) -> Option<N> {
    // `parse` alone would accept a sign.
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// Returns the first position outside `@{...}` at which `wanted` accepts the rest of the text.
fn find_outside_braces(text: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        // Times in `@{...}` contain colons, and relative times may contain dots.
        if rest.starts_with(b"@{") {
            at += rest.iter().position(|b| *b == b'}')?;
        } else if wanted(rest) {
            return Some(at);
        }
        at += 1;
    }
    None
}

fn query(text: &[u8]) -> Parsed<RevisionQuery> {
    // A path may contain dots, so only the text before the colon can be a range.
    let head = find_outside_braces(text, |rest| rest.first() == Some(&b':'))
        .map_or(text, |colon| &text[..colon]);
    let Some(dots) = find_outside_braces(head, |rest| rest.starts_with(b"..")) else {
        return Ok(RevisionQuery::One(spec(text)?));
    };
    if head.len() < text.len() {
        return bad(
            text,
            "a range cannot contain a path; write the path after `--`",
        );
    }
    let symmetric = text[dots..].starts_with(b"...");
    let (left, right) = (&text[..dots], &text[dots + if symmetric { 3 } else { 2 }..]);
    if left.is_empty() && right.is_empty() {
        return bad(text, "a range needs a revision on at least one side");
    }
    let side = |part: &[u8]| {
        if part.is_empty() {
            Ok(Revision::HEAD)
        } else {
            revision_bytes(part, text)
        }
    };
    Ok(RevisionQuery::Range(RevisionRange {
        from: side(left)?,
        to: side(right)?,
        symmetric,
    }))
}

fn spec(text: &[u8]) -> Parsed<RevisionSpec> {
    let (rev, path) = match find_outside_braces(text, |rest| rest.first() == Some(&b':')) {
        Some(colon) => (&text[..colon], Some(text[colon + 1..].to_vec())),
        None => (text, None),
    };
    Ok(RevisionSpec {
        url: None,
        revision: revision_bytes(rev, text)?,
        path,
    })
}

/// Parses `[url#]rev[:path]`. The first `#` that does not follow `@` ends the URL, so a path with
/// `#` needs a URL before it.
fn located(text: &[u8]) -> Parsed<RevisionSpec> {
    let hash = (0..text.len()).find(|i| text[*i] == b'#' && (*i == 0 || text[*i - 1] != b'@'));
    let Some(hash) = hash else { return spec(text) };
    let url = match std::str::from_utf8(&text[..hash]) {
        Ok("") => return bad(text, "missing repository before `#`"),
        Ok(url) => url.to_owned(),
        Err(_) => return bad(text, "URL is not UTF-8"),
    };
    Ok(RevisionSpec {
        url: Some(url),
        ..spec(&text[hash + 1..])?
    })
}

fn revision_bytes(part: &[u8], whole: &[u8]) -> Parsed<Revision> {
    match std::str::from_utf8(part) {
        Ok(text) => revision(text),
        Err(_) => bad(whole, "not UTF-8"),
    }
}

fn revision(text: &str) -> Parsed<Revision> {
    let starts_suffix = |rest: &str| rest.starts_with(['~', '^']) || rest.starts_with("@{");
    // Names do not contain these characters, so the first one ends the name.
    let end = text
        .char_indices()
        .map(|(i, _)| i)
        .find(|i| starts_suffix(&text[*i..]))
        .unwrap_or(text.len());
    let (head, mut rest) = text.split_at(end);
    let base = match head {
        "" if rest.starts_with("@{") => RevisionBase::Head,
        "" => return bad(text.as_bytes(), "missing name before `~`, `^` or `@`"),
        head => base(head, text)?,
    };
    let mut suffixes = Vec::new();
    while !rest.is_empty() {
        let (suffix, after) = suffix(rest, text)?;
        suffixes.push(suffix);
        rest = after;
    }
    Ok(Revision { base, suffixes })
}

fn base(head: &str, whole: &str) -> Parsed<RevisionBase> {
    // The name may be a remote-tracking branch, which may be longer than other names.
    let name = |name: &str| match RefName::tracked(name) {
        Ok(name) => Ok(name),
        Err(e) => bad(whole.as_bytes(), e.rule),
    };
    if head == "@" || head == "HEAD" {
        return Ok(RevisionBase::Head);
    }
    let Some((branch, sel)) = head.split_once('@') else {
        return Ok(RevisionBase::Name(name(head)?));
    };
    let branch = if branch.is_empty() || branch == "HEAD" {
        None
    } else {
        Some(name(branch)?)
    };
    let sel = match sel.strip_prefix('#') {
        Some(digits) => match number(digits) {
            Some(n) => Selector::Ordinal(n),
            None => return bad(whole.as_bytes(), "expected a number after `@#`"),
        },
        None => Selector::Name(name(sel)?),
    };
    Ok(RevisionBase::Scoped(branch, sel))
}

fn suffix<'a>(rest: &'a str, whole: &str) -> Parsed<(Suffix, &'a str)> {
    if let Some(inner) = rest.strip_prefix("@{") {
        let Some((inner, after)) = inner.split_once('}') else {
            return bad(whole.as_bytes(), "missing `}` after `@{`");
        };
        // A bare number counts updates, so `@{2026}` is not a year.
        if inner.bytes().all(|b| b.is_ascii_digit()) {
            return match number(inner) {
                Some(n) => Ok((Suffix::Update(n), after)),
                None => bad(whole.as_bytes(), "expected a number or a time in `@{}`"),
            };
        }
        return match inner.parse() {
            Ok(when) => Ok((Suffix::At(when), after)),
            Err(e) => bad(whole.as_bytes(), e.to_string()),
        };
    }
    let (ancestor, tail) = match (rest.strip_prefix('~'), rest.strip_prefix('^')) {
        (Some(tail), _) => (true, tail),
        (_, Some(tail)) => (false, tail),
        _ => {
            return bad(
                whole.as_bytes(),
                format!(
                    "unexpected `{}` after a suffix",
                    rest.chars().next().unwrap_or(' ')
                ),
            );
        }
    };
    let digits = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let count = if digits == 0 {
        Some(1)
    } else {
        number(&tail[..digits])
    };
    let Some(count) = count else {
        return bad(whole.as_bytes(), "the number is too large");
    };
    let suffix = if ancestor {
        Suffix::Ancestor(count)
    } else {
        Suffix::Parent(count)
    };
    Ok((suffix, &tail[digits..]))
}
