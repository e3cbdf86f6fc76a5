//! Maps members of an archive to paths of the version.
//!
//! Invariant: regardless of the archive, a returned path is a list of valid names below the root of
//! the version, and its first name is not reserved.

use crate::archive::ArchiveError;
use crate::error::Result;
use crate::model::path::{display, is_reserved, split};

/// Maximum depth of a path, which is limited because trees are walked recursively.
const DEPTH_MAX: usize = 1000;

/// A path that a layer of an image hides in lower layers.
pub(super) struct HiddenPath {
    pub(super) names: Vec<Vec<u8>>,
    /// Whether only the content of the directory is hidden, and not the directory itself.
    pub(super) inside: bool,
}

/// Selects members and maps their paths.
#[derive(Clone, Default)]
pub(super) struct MemberPlaces {
    strip: Option<Vec<Vec<u8>>>,
    only: Vec<Vec<u8>>,
}

impl MemberPlaces {
    /// Returns a selection that removes `strip` from paths and leaves out members outside of it. It
    /// also leaves out members that are not below `only`.
    pub(super) fn new(strip: Option<&[u8]>, only: Option<&[u8]>) -> Result<Self> {
        let strip = strip.map(names_of).transpose()?;
        Ok(Self {
            strip,
            only: only.map(names_of).transpose()?.unwrap_or_default(),
        })
    }

    /// Sets the path that is removed.
    pub(super) fn strip(&mut self, path: &[u8]) -> Result<()> {
        self.strip = Some(names_of(path)?);
        Ok(())
    }

    /// Returns the path below which the archive must have members, for messages; `None` without a
    /// restriction.
    pub(super) fn required(&self) -> Option<String> {
        let all: Vec<Vec<u8>> = self
            .strip
            .iter()
            .flatten()
            .chain(&self.only)
            .cloned()
            .collect();
        (!all.is_empty()).then(|| display(&all.join(&b'/')))
    }

    /// Returns whether absolute paths are allowed: in images, and if `strip` is set. They are then
    /// relative to the root of the archive.
    fn is_rooted(&self, image: bool) -> bool {
        image || self.strip.is_some()
    }

    /// Returns the path of a member in the version; `None` if the member is left out.
    pub(super) fn of(
        &self,
        path: &[u8],
        image: bool,
    ) -> Result<Option<Vec<Vec<u8>>>, ArchiveError> {
        if path.starts_with(b"/") && !self.is_rooted(image) {
            return Err(ArchiveError::Refused {
                entry: display(path),
                why: "the path is absolute".to_owned(),
                hint: Some("use `--strip /` to import absolute paths"),
            });
        }
        let Some(mut names) = split(path) else {
            return Err(ArchiveError::refused(
                display(path),
                "the path contains `..` or an invalid name",
            ));
        };
        if names.len() > DEPTH_MAX {
            return Err(ArchiveError::refused(
                shortened(path),
                format!("the path has more than {DEPTH_MAX} directories"),
            ));
        }
        if let Some(strip) = &self.strip {
            match names.strip_prefix(strip.as_slice()) {
                Some(rest) => names = rest.to_vec(),
                None => return Ok(None),
            }
        }
        if names.first().is_some_and(|name| is_reserved(name)) {
            return Err(ArchiveError::Refused {
                entry: display(path),
                why: "a version cannot contain a repository".to_owned(),
                hint: Some("exclude it with `tar --exclude=./.dvcs`"),
            });
        }
        // Directories above `only` are kept for their metadata.
        let wanted = names.starts_with(&self.only) || self.only.starts_with(&names);
        Ok(wanted.then_some(names))
    }

    /// Maps a path of the archive that a layer hides. Returns the root if the path is `strip` or
    /// above it, and `None` if no hidden member is imported.
    pub(super) fn hidden(&self, path: HiddenPath) -> Option<HiddenPath> {
        let HiddenPath { names, inside } = path;
        let strip = self.strip.as_deref().unwrap_or_default();
        if strip.starts_with(&names) {
            return Some(HiddenPath {
                names: Vec::new(),
                inside: inside && names.len() == strip.len(),
            });
        }
        let names = names.strip_prefix(strip)?;
        let is_imported = names.starts_with(&self.only) || self.only.starts_with(names);
        is_imported.then(|| HiddenPath {
            names: names.to_vec(),
            inside,
        })
    }

    /// Returns whether all imported members are below a path of the archive.
    pub(super) fn lie_below(&self, names: &[Vec<u8>]) -> bool {
        let taken = || self.strip.iter().flatten().chain(&self.only);
        names.len() < taken().count() && names.iter().eq(taken().take(names.len()))
    }

    /// Returns whether the path is above `only`, so that only the metadata of the directory is
    /// used.
    pub(super) fn is_above(&self, names: &[Vec<u8>]) -> bool {
        names.len() < self.only.len()
    }
}

/// Splits the path of an option.
fn names_of(raw: &[u8]) -> Result<Vec<Vec<u8>>> {
    let bad = || ArchiveError::refused(display(raw), "not a valid path for an archive member");
    Ok(split(raw).ok_or_else(bad)?)
}

fn shortened(path: &[u8]) -> String {
    let text = display(path);
    let end = text.char_indices().nth(60).map_or(text.len(), |(at, _)| at);
    format!("{}...", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_top() {
        let place = |strip: Option<&str>, only: Option<&str>, path: &str, image| {
            let places =
                MemberPlaces::new(strip.map(str::as_bytes), only.map(str::as_bytes)).unwrap();
            match places.of(path.as_bytes(), image) {
                Ok(Some(names)) => format!("[{}]", display(&names.join(&b'/'))),
                Ok(None) => "-".to_owned(),
                Err(e) => e.to_string(),
            }
        };
        for (strip, only, path, expected) in [
            (None, None, "./a//b/", "[a/b]"),
            (None, None, ".", "[]"),
            (
                None,
                None,
                "a/../b",
                "cannot import `a/../b`: the path contains `..` or an invalid name",
            ),
            (
                None,
                None,
                "/etc/passwd",
                "cannot import `/etc/passwd`: the path is absolute",
            ),
            (Some("/"), None, "/etc/passwd", "[etc/passwd]"),
            (Some("source"), None, "source/a", "[a]"),
            (Some("source"), None, "/source/a", "[a]"),
            (Some("source"), None, "source", "[]"),
            (Some("source"), None, "sources/a", "-"),
            (Some("source"), None, "etc/x", "-"),
            (
                Some("source"),
                None,
                "source/.dvcs/x",
                "cannot import `source/.dvcs/x`: a version cannot contain a repository",
            ),
            (
                None,
                None,
                ".dvcs",
                "cannot import `.dvcs`: a version cannot contain a repository",
            ),
            (None, None, "a/.dvcs", "[a/.dvcs]"),
            (None, Some("a/b"), "a", "[a]"),
            (None, Some("a/b"), "a/b/c", "[a/b/c]"),
            (None, Some("a/b"), "a/c", "-"),
        ] {
            assert_eq!(place(strip, only, path, false), expected, "{path}");
        }
        assert_eq!(place(None, None, "/etc/passwd", true), "[etc/passwd]");
        assert!(place(None, None, &"a/".repeat(2000), false).contains("has more than"));
    }
}
