//! The error type of the index.

use std::path::PathBuf;

use crate::error::{Failure, Kind};
use crate::format::segment;

/// The error for an index segment that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("cannot access index segment `{}`", path.display())]
    Io {
        /// The file, or the directory in which the file is being created.
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("invalid index segment `{}`", path.display())]
    Segment {
        path: PathBuf,
        source: segment::SegmentError,
    },
}

impl Failure for IndexError {
    fn kind(&self) -> Kind {
        match self {
            // The segment was listed, so a missing file is damage and not a mistake of the user.
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Kind::Integrity
            }
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
