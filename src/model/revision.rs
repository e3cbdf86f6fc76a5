//! Revisions as users write them: `main~2`, `AMCC@v3`, `@{yesterday}`, `A..B`,
//! `1c0ffee0:acme/orders.ibd`.
//!
//! This module only parses the syntax; `query/resolve.rs` resolves the names in a repository.
//! Invariant: parsing the output of `Display` (or of `to_bytes`, if a path is not UTF-8) returns
//! the same value.

mod parse;
#[cfg(test)]
mod tests;

use super::refname::RefName;
use super::when::When;
use std::fmt;

/// The start of a revision, before its suffixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevisionBase {
    /// `@` or `HEAD`.
    Head,
    /// A branch, a tag, a remote-tracking branch, or the prefix of an id if the name consists of
    /// hex digits.
    Name(RefName),
    /// `branch@selector`; without a branch, the current branch is meant.
    Scoped(Option<RefName>, Selector),
}

/// Selects a version of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// `#N`: the version with this ordinal.
    Ordinal(u64),
    /// In this order: a tag of the branch, `vN`, the prefix of an id, or a date.
    Name(RefName),
}

/// A step from one version to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suffix {
    /// `~N`: the N-th ancestor along first parents.
    Ancestor(u32),
    /// `^N`: the N-th parent, or the version itself if N is 0.
    Parent(u32),
    /// `@{N}`: the version of the branch N updates ago.
    Update(u64),
    /// `@{time}`: the newest version of the branch that is not newer than the time.
    At(When),
}

/// A revision: an expression that names one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    pub base: RevisionBase,
    /// Steps from the base, in order.
    pub suffixes: Vec<Suffix>,
}

/// A revision with an optional repository and an optional path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionSpec {
    /// URL of the repository, which precedes `#`.
    pub url: Option<String>,
    pub revision: Revision,
    /// Path after `:`, as raw bytes; an empty path is the root.
    pub path: Option<Vec<u8>>,
}

/// A range of versions: `A..B` or `A...B`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionRange {
    /// Left side; the current version if the left side is empty.
    pub from: Revision,
    /// Right side; the current version if the right side is empty.
    pub to: Revision,
    /// Whether the range has three dots. `diff` then starts at the common ancestor, and `log` lists
    /// the versions that only one side has.
    pub symmetric: bool,
}

/// A revision argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevisionQuery {
    /// One version, optionally with a path.
    One(RevisionSpec),
    Range(RevisionRange),
}

/// The error for text that is not a revision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid revision `{text}`: {reason}")]
pub struct BadRevision {
    /// The text in printable form.
    pub text: String,
    /// The rule that the text breaks.
    pub reason: String,
}

impl crate::error::Failure for BadRevision {
    fn kind(&self) -> crate::error::Kind {
        crate::error::Kind::Usage
    }
    fn hint(&self) -> Option<String> {
        Some(
            "write `main`, `main~2`, `AMCC@v3`, `AMCC@release`, `main@{yesterday}` or an id"
                .to_owned(),
        )
    }
}

impl Revision {
    /// The current version.
    pub const HEAD: Self = Self {
        base: RevisionBase::Head,
        suffixes: Vec::new(),
    };
}

impl RevisionSpec {
    /// Formats the revision; the path keeps its raw bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(url) = &self.url {
            out.extend_from_slice(url.as_bytes());
            out.push(b'#');
        }
        out.extend_from_slice(self.revision.to_string().as_bytes());
        if let Some(path) = &self.path {
            out.push(b':');
            out.extend_from_slice(path);
        }
        out
    }
}

/// Returns the name as the prefix of an id, if the name has 4 to 64 characters and all are hex
/// digits.
pub fn hex_prefix(name: &RefName) -> Option<&str> {
    let text = name.as_str();
    let hex = text.bytes().all(|b| b.is_ascii_hexdigit());
    (hex && (4..=64).contains(&text.len())).then_some(text)
}

impl fmt::Display for RevisionBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("@"),
            Self::Name(name) => write!(f, "{name}"),
            Self::Scoped(None, sel) => write!(f, "@{sel}"),
            Self::Scoped(Some(name), sel) => write!(f, "{name}@{sel}"),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ordinal(n) => write!(f, "#{n}"),
            Self::Name(name) => write!(f, "{name}"),
        }
    }
}

impl fmt::Display for Suffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ancestor(1) => f.write_str("~"),
            Self::Ancestor(n) => write!(f, "~{n}"),
            Self::Parent(1) => f.write_str("^"),
            Self::Parent(n) => write!(f, "^{n}"),
            Self::Update(n) => write!(f, "@{{{n}}}"),
            Self::At(when) => write!(f, "@{{{when}}}"),
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.base)?;
        self.suffixes.iter().try_for_each(|s| write!(f, "{s}"))
    }
}

impl fmt::Display for RevisionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

impl fmt::Display for RevisionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}{}",
            self.from,
            if self.symmetric { "..." } else { ".." },
            self.to
        )
    }
}

impl fmt::Display for RevisionQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(spec) => write!(f, "{spec}"),
            Self::Range(range) => write!(f, "{range}"),
        }
    }
}
