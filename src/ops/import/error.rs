//! Errors of `import`.

use crate::error::{Failure, Kind};
use crate::model::refname::RefName;

/// Errors of `import`.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the names of the fields explain them")]
pub enum ImportError {
    /// The archive has no member below the required path.
    #[error("cannot import: the archive contains nothing in `{path}`")]
    NotThere { path: String },
    /// The archive is empty.
    #[error("cannot import: the archive is empty, but the last version of `{branch}` is not")]
    Empty { branch: RefName },
    /// The image is not in the archive or registry.
    #[error("cannot import: {}", no_image(name, known))]
    NoImage {
        name: String,
        /// The names of the images in the archive.
        known: Vec<String>,
    },
    /// The archive has more than one image, and none was selected.
    #[error("cannot import: the archive contains several images: {}", .0.join(", "))]
    Several(Vec<String>),
    /// The names exceed the limit of memory, in bytes.
    #[error("cannot import: the list of paths in the archive needs more than {0} bytes of memory")]
    TooMany(u64),
}

fn no_image(name: &str, known: &[String]) -> String {
    match (name, known) {
        ("", _) => "the archive contains no image".to_owned(),
        (name, []) => format!("no image `{name}`"),
        (name, known) => format!("no image `{name}`, only {}", known.join(", ")),
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
