//! The error of the index.

use std::path::PathBuf;

use crate::error::{Failure, Kind};
use crate::format::segment;

/// The error for an index segment that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("cannot access index segment `{}`", path.display())]
    Io {
        /// The file, or the directory of a file that is being created.
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot use index segment `{}`", path.display())]
    Segment { path: PathBuf, source: segment::SegmentError },
}

impl Failure for IndexError {
    fn kind(&self) -> Kind {
        match self {
            // The catalogue listed the segment, so a missing file is damage and not a wrong name
            // from the user.
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Kind::Integrity,
            Self::Io { source, .. } => Kind::of_io(source),
            Self::Segment { source, .. } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } => None,
            Self::Segment { source, .. } => source.hint(),
        }
    }
}
