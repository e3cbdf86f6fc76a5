//! Revisions as people write them: `main~2`, `AMCC@v3`, `@{yesterday}`, `A..B`, `1c0ffee0:acme/orders.ibd`.
//!
//! Text in, syntax out; what a name stands for is decided where a repository is at hand (`ops/resolve.rs`).
//! Invariant: parsing what `Display` (or `to_bytes`, where a path is not UTF-8) prints gives the same value.

mod parse;
#[cfg(test)]
mod tests;

use super::refname::RefName;
use super::when::When;
use std::fmt;

/// Where the ancestry walk starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// `@` or `HEAD`.
    Head,
    /// A branch, a tag, a remote's branch or, if it reads as hex, the beginning of an id.
    Name(RefName),
    /// `branch@sel`; without a branch the current one is meant.
    Scoped(Option<RefName>, Selector),
}

/// Which version of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// `#N`: always the ordinal.
    Ordinal(u64),
    /// A tag of the branch, or `vN`, the beginning of an id, a date; tried in this order.
    Name(RefName),
}

/// One step from a version to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suffix {
    /// `~N`: N first parents back.
    Ancestor(u32),
    /// `^N`: the N-th parent; 0 is the version itself.
    Parent(u32),
    /// `@{N}`: what the branch was N updates ago.
    Update(u64),
    /// `@{time}`: the newest version of the branch that is not younger.
    At(When),
}

/// A version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The start.
    pub base: Base,
    /// The steps from there, in order.
    pub suffixes: Vec<Suffix>,
}

/// A version, perhaps of a named repository, and perhaps a path in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The repository before `#`.
    pub url: Option<String>,
    /// The version.
    pub revision: Revision,
    /// The path after `:`, raw bytes; empty is the root.
    pub path: Option<Vec<u8>>,
}

/// `A..B` or `A...B`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The left side; the current version where nothing was written.
    pub from: Revision,
    /// The right side; the current version where nothing was written.
    pub to: Revision,
    /// Three dots: since the common ancestor (`diff`), or on one side only (`log`).
    pub symmetric: bool,
}

/// One version or a range of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// One version, perhaps with a path.
    One(Spec),
    /// A range.
    Range(Range),
}

/// The text is not a revision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a revision: {reason}")]
pub struct BadRevision {
    /// What was given, printable.
    pub text: String,
    /// The rule that it breaks.
    pub reason: String,
}

impl crate::error::Failure for BadRevision {
    fn kind(&self) -> crate::error::Kind {
        crate::error::Kind::Usage
    }
    fn hint(&self) -> Option<String> {
        Some("write `main`, `main~2`, `AMCC@v3`, `AMCC@release`, `main@{yesterday}` or an id".to_owned())
    }
}

impl Revision {
    /// The current version.
    pub const HEAD: Self = Self { base: Base::Head, suffixes: Vec::new() };

    /// Parses a version alone, without a path.
    pub fn parse(text: &str) -> Result<Self, BadRevision> {
        parse::revision(text)
    }
}

impl Spec {
    /// Parses `rev[:path]`.
    pub fn parse(text: &[u8]) -> Result<Self, BadRevision> {
        parse::spec(text)
    }

    /// Parses `[url#]rev[:path]`, where a repository is accepted.
    pub fn parse_located(text: &[u8]) -> Result<Self, BadRevision> {
        parse::located(text)
    }

    /// The text form, with the path as it is.
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

impl Query {
    /// Parses a version or a range.
    pub fn parse(text: &[u8]) -> Result<Self, BadRevision> {
        parse::query(text)
    }
}

impl Selector {
    /// N of `vN` and `#N`.
    pub fn ordinal(&self) -> Option<u64> {
        match self {
            Self::Ordinal(n) => Some(*n),
            Self::Name(name) => parse::number(name.as_str().strip_prefix('v')?),
        }
    }
}

/// The text as the beginning of an id, if it is 4 to 64 hex digits.
pub fn hex_prefix(name: &RefName) -> Option<&str> {
    let text = name.as_str();
    let hex = text.bytes().all(|b| b.is_ascii_hexdigit());
    (hex && (4..=64).contains(&text.len())).then_some(text)
}

impl fmt::Display for Base {
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

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.from, if self.symmetric { "..." } else { ".." }, self.to)
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(spec) => write!(f, "{spec}"),
            Self::Range(range) => write!(f, "{range}"),
        }
    }
}
