//! Errors of `import`.

use crate::error::{Failure, Kind};
use crate::model::refname::RefName;

/// Errors of `import`.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the names of the fields explain them")]
pub enum ImportError {
    /// The archive has no member below the required path.
    #[error("the archive contains nothing in `{path}`")]
    NotThere { path: String },
    /// The archive is empty.
    #[error("cannot import: the archive is empty, but the last version of `{branch}` is not")]
    Empty { branch: RefName },
    /// The image is not in the archive or registry.
    #[error("no image `{name}`{}", but_only(known))]
    NoImage {
        name: String,
        /// The names of the images in the archive.
        known: Vec<String>,
    },
    /// The archive has more than one image, and none was selected.
    #[error("the archive contains several images: {}", .0.join(", "))]
    Several(Vec<String>),
    /// The names exceed the limit of memory, in bytes.
    #[error("cannot import: the list of paths in the archive needs more than {0} bytes of memory")]
    TooMany(u64),
}

fn but_only(all: &[String]) -> String {
    if all.is_empty() {
        String::new()
    } else {
        format!(", only {}", all.join(", "))
    }
}

impl Failure for ImportError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotThere { .. } | Self::NoImage { .. } => Kind::NotFound,
            Self::Empty { .. } => Kind::Rejected,
            Self::Several(_) | Self::TooMany(_) => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Several(_) => Some("select one with `--image`".to_owned()),
            Self::Empty { .. } => Some("import the empty archive with `--allow-empty`".to_owned()),
            Self::TooMany(_) => Some("allow more memory with `--memory`".to_owned()),
            _ => None,
        }
    }
}
