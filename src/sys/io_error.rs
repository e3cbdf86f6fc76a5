//! The error of a file operation: which operation, on which file, and why.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Failure, Kind, hint_of_io};

/// The error of an operation on a file or directory.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{}`", path.display())]
pub struct IoError {
    /// The operation as a verb.
    pub doing: &'static str,
    /// The file or directory, or the key of an object.
    pub path: PathBuf,
    /// The error that the operating system reported.
    pub source: io::Error,
}

impl IoError {
    /// Returns the error of an operation on a path.
    pub fn new(
        doing: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self {
            doing,
            path: path.into(),
            source: source.into(),
        }
    }

    /// Returns a function for `map_err` that adds the operation and the path to a system error.
    pub fn at<'p, E: Into<io::Error>>(
        doing: &'static str,
        path: &'p Path,
    ) -> impl FnOnce(E) -> Self + use<'p, E> {
        move |source| Self::new(doing, path, source)
    }
}

impl Failure for IoError {
    fn kind(&self) -> Kind {
        Kind::of_io(&self.source)
    }

    fn hint(&self) -> Option<String> {
        let hint = match self.kind() {
            Kind::NoSpace if self.source.kind() == io::ErrorKind::FileTooLarge => {
                "raise the limit on file sizes (`ulimit -f`); earlier commits are safe"
            }
            Kind::NoSpace => "free some space and run the command again; earlier commits are safe",
            _ => hint_of_io(&self.source)?,
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn the_kind_and_the_hint_follow_from_the_reason() {
        let of = |errno: Errno| IoError::at("write", Path::new("/a"))(errno);
        assert_eq!(of(Errno::NOSPC).to_string(), "cannot write `/a`");
        assert_eq!(
            (of(Errno::NOSPC).kind(), of(Errno::ACCESS).kind()),
            (Kind::NoSpace, Kind::Denied)
        );
        for (errno, part) in [
            (Errno::NOSPC, "free some space"),
            (Errno::FBIG, "ulimit -f"),
            (Errno::MFILE, "ulimit -n"),
        ] {
            assert!(
                of(errno).hint().is_some_and(|hint| hint.contains(part)),
                "{errno}"
            );
        }
        assert_eq!(of(Errno::ACCESS).hint(), None);
    }
}
