//! Names of branches and tags: the rules of git's check-ref-format, and no `@`.

use std::fmt;

/// The kind of a ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefKind {
    /// A branch of this repository.
    Branch,
    /// A tag, either global (`release`) or of one branch (`AMCC@release`).
    Tag,
    /// A remote-tracking branch, `origin/AMCC`.
    Remote,
    /// Files of a worktree before a command overwrote them. Local, and not named by users.
    Trash,
}

impl RefKind {
    /// All kinds that users name.
    pub const ALL: [Self; 3] = [Self::Branch, Self::Tag, Self::Remote];
    /// All kinds that a repository stores.
    pub const STORED: [Self; 4] = [Self::Branch, Self::Tag, Self::Remote, Self::Trash];

    /// Returns the directory below `refs/`.
    pub const fn dir(self) -> &'static str {
        match self {
            Self::Branch => "heads",
            Self::Tag => "tags",
            Self::Remote => "remotes",
            Self::Trash => "trash",
        }
    }

    /// Returns the name that messages use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
            Self::Remote => "remote branch",
            Self::Trash => "trash",
        }
    }
}

/// Limit in bytes on the name of a branch or tag.
const LONGEST: usize = 240;

/// A valid ref name. The name of a branch's tag is `branch@tag`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefName(String);

/// The error for a name that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid name `{name}`: {rule}")]
pub struct BadRefName {
    pub name: String,
    /// The rule that the name breaks.
    pub rule: &'static str,
}

impl crate::error::Failure for BadRefName {
    fn kind(&self) -> crate::error::Kind {
        crate::error::Kind::Usage
    }
    fn hint(&self) -> Option<String> {
        Some("use letters, digits, `-`, `_`, `.`, and `/` between parts".to_owned())
    }
}

impl RefName {
    /// Checks the name of a branch or of a global tag.
    pub fn new(name: &str) -> Result<Self, BadRefName> {
        match name.len() > LONGEST {
            true => Err(BadRefName {
                name: name.to_owned(),
                rule: "longer than 240 bytes",
            }),
            false => Self::tracked(name),
        }
    }

    /// Checks `remote/branch`, the name of a remote-tracking branch, which may be as long as two
    /// names.
    pub fn tracked(name: &str) -> Result<Self, BadRefName> {
        match broken_rule(name) {
            None => Ok(Self(name.to_owned())),
            Some(rule) => Err(BadRefName {
                name: name.to_owned(),
                rule,
            }),
        }
    }

    /// Returns the name of the tag `tag` of branch `branch`.
    pub fn scoped(branch: &Self, tag: &str) -> Result<Self, BadRefName> {
        let tag = Self::new(tag)?;
        Ok(Self(format!("{}@{}", branch.0, tag.0)))
    }

    /// Parses the name of a stored ref: `name` or `branch@tag`.
    pub fn parse_stored(name: &str) -> Result<Self, BadRefName> {
        match name.split_once('@') {
            Some((branch, tag)) => Self::scoped(&Self::new(branch)?, tag),
            None => Self::tracked(name),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the branch and the tag, if the name is that of a branch's tag.
    pub fn scope(&self) -> Option<(&str, &str)> {
        self.0.split_once('@')
    }
}

fn broken_rule(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("the name is empty");
    }
    // A remote-tracking name consists of two names and a slash.
    if name.len() > 2 * LONGEST + 1 {
        return Some("longer than 481 bytes");
    }
    // Revisions use `HEAD` for the current version.
    if name == "HEAD" {
        return Some("`HEAD` is reserved");
    }
    // Revisions use `@` between a branch and a tag.
    if name.contains('@') {
        return Some("`@` is not allowed");
    }
    // A name that begins with `-` would look like an option.
    if name.starts_with('-') {
        return Some("begins with `-`");
    }
    // Revisions use `..` for ranges.
    if name.contains("..") {
        return Some("`..` is not allowed");
    }
    // Revisions and wildcards use these characters, and control characters could change the display
    // of a terminal.
    if name
        .chars()
        .any(|c| c.is_control() || " ~^:?*[\\#\u{7f}".contains(c))
    {
        return Some("blanks, control characters and any of ~^:?*[\\# are not allowed");
    }
    if name.ends_with('.') || name.ends_with('/') || name.starts_with('/') || name.contains("//") {
        return Some("begins or ends with `/`, ends with `.`, or contains `//`");
    }
    if name
        .split('/')
        .any(|p| p.starts_with('.') || p.ends_with(".lock"))
    {
        return Some("a path component begins with `.` or ends with `.lock`");
    }
    None
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        for good in ["main", "AMCC", "cust/acme", "v1.2", "ünïcode"] {
            assert!(RefName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "", "HEAD", "a@b", "-x", "a..b", "a b", "a~1", "/a", "a/", "a//b", ".a", "a/.b",
            "x.lock", "a.", "a#b",
        ] {
            assert!(RefName::new(bad).is_err(), "{bad}");
        }
        let long = "b".repeat(LONGEST);
        assert!(RefName::new(&long).is_ok() && RefName::new(&format!("{long}b")).is_err());
        // A tracked name is the name of the remote followed by the name of the branch.
        let tracked = format!("origin/{long}");
        assert!(RefName::tracked(&tracked).is_ok() && RefName::parse_stored(&tracked).is_ok());
        assert!(RefName::tracked(&format!("{long}/{long}b")).is_err());
    }

    #[test]
    fn scoped_tags() {
        let tag = RefName::scoped(&RefName::new("AMCC").unwrap(), "release").unwrap();
        assert_eq!(tag.scope(), Some(("AMCC", "release")));
        assert_eq!(RefName::parse_stored("AMCC@release"), Ok(tag));
    }
}
