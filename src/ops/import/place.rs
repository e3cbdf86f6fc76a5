//! Where in the version a member belongs, if it belongs there at all.
//!
//! Invariant: whatever an archive says, a place is a list of plain names below the top, and none is in a repository.

use super::names_of;
use crate::archive::ArchiveError;
use crate::error::Result;
use crate::model::path::{display, is_reserved, split};

/// No path has more names: trees are walked name by name.
const DEPTH_MAX: usize = 1000;

/// Which members are taken, and where to.
#[derive(Clone, Default)]
pub(super) struct Places {
    strip: Option<Vec<Vec<u8>>>,
    only: Vec<Vec<u8>>,
}

impl Places {
    /// `strip` is taken away, what lies outside of it is left out; `only` is all that is taken.
    pub(super) fn new(strip: Option<&[u8]>, only: Option<&[u8]>) -> Result<Self> {
        let strip = strip.map(names_of).transpose()?;
        Ok(Self { strip, only: only.map(names_of).transpose()?.unwrap_or_default() })
    }

    /// Sets what is taken away.
    pub(super) fn strip(&mut self, path: &[u8]) -> Result<()> {
        self.strip = Some(names_of(path)?);
        Ok(())
    }

    /// What must be there, for people.
    pub(super) fn asked(&self) -> Option<String> {
        let all: Vec<Vec<u8>> = self.strip.iter().flatten().chain(&self.only).cloned().collect();
        (!all.is_empty()).then(|| display(&all.join(&b'/')))
    }

    /// Whether a name that begins with a slash is one below the top: in images, and where that was asked for.
    fn is_rooted(&self, image: bool) -> bool {
        image || self.strip.is_some()
    }

    /// The place of a member's name; `None` if it is left out.
    pub(super) fn of(&self, path: &[u8], image: bool) -> Result<Option<Vec<Vec<u8>>>, ArchiveError> {
        if path.starts_with(b"/") && !self.is_rooted(image) {
            return Err(ArchiveError::Refused {
                entry: display(path),
                why: "its name is absolute".to_owned(),
                hint: Some("`--strip /` takes such names as below the top"),
            });
        }
        let Some(mut names) = split(path) else {
            return Err(ArchiveError::refused(display(path), "its name leads upwards or cannot be a name"));
        };
        if names.len() > DEPTH_MAX {
            return Err(ArchiveError::refused(shortened(path), format!("it lies deeper than {DEPTH_MAX} directories")));
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
                why: "no version may hold a repository".to_owned(),
                hint: Some("leave it out: `tar --exclude=./.dvcs`"),
            });
        }
        // Directories above what is taken lend it their metadata.
        let wanted = names.starts_with(&self.only) || self.only.starts_with(&names);
        Ok(wanted.then_some(names))
    }

    /// The place of what a layer hides, or, with `inside`, of that in which it does; the top itself if it lies above
    /// that, and `None` if nothing is taken of it.
    pub(super) fn hidden(&self, names: Vec<Vec<u8>>, inside: bool) -> Option<(Vec<Vec<u8>>, bool)> {
        let strip = self.strip.as_deref().unwrap_or_default();
        if strip.starts_with(&names) {
            return Some((Vec::new(), inside && names.len() == strip.len()));
        }
        let names = names.strip_prefix(strip)?;
        (names.starts_with(&self.only) || self.only.starts_with(names)).then(|| (names.to_vec(), inside))
    }

    /// Whether all that is taken lies below a path of the archive.
    pub(super) fn lie_below(&self, names: &[Vec<u8>]) -> bool {
        let taken = || self.strip.iter().flatten().chain(&self.only);
        names.len() < taken().count() && names.iter().eq(taken().take(names.len()))
    }

    /// Whether it lies above the only path that is taken: only a directory's metadata is of use then.
    pub(super) fn is_above(&self, names: &[Vec<u8>]) -> bool {
        names.len() < self.only.len()
    }
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
            let places = Places::new(strip.map(str::as_bytes), only.map(str::as_bytes)).unwrap();
            match places.of(path.as_bytes(), image) {
                Ok(Some(names)) => format!("[{}]", display(&names.join(&b'/'))),
                Ok(None) => "-".to_owned(),
                Err(e) => e.to_string(),
            }
        };
        for (strip, only, path, expected) in [
            (None, None, "./a//b/", "[a/b]"),
            (None, None, ".", "[]"),
            (None, None, "a/../b", "cannot import `a/../b`: its name leads upwards or cannot be a name"),
            (None, None, "/etc/passwd", "cannot import `/etc/passwd`: its name is absolute"),
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
                "cannot import `source/.dvcs/x`: no version may hold a repository",
            ),
            (None, None, ".dvcs", "cannot import `.dvcs`: no version may hold a repository"),
            (None, None, "a/.dvcs", "[a/.dvcs]"),
            (None, Some("a/b"), "a", "[a]"),
            (None, Some("a/b"), "a/b/c", "[a/b/c]"),
            (None, Some("a/b"), "a/c", "-"),
        ] {
            assert_eq!(place(strip, only, path, false), expected, "{path}");
        }
        assert_eq!(place(None, None, "/etc/passwd", true), "[etc/passwd]");
        assert!(place(None, None, &"a/".repeat(2000), false).contains("deeper"));
    }
}
