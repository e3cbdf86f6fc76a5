//! The content of an export: a version, its paths, and their place in the archive.

use std::io::{self, Write};

use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::model::commit::Commit;
use crate::model::id::Id;
use crate::observe::Observer;
use crate::repo::Repo;

/// The result of an export.
#[derive(Clone, Debug)]
pub struct ExportReport {
    pub version: Id,
    pub commit: Commit,
    /// `branch@vN`, if the version is on a branch.
    pub address: Option<String>,
    /// The number of members of the archive or layer.
    pub members: u64,
    /// Bytes that were written or pushed.
    pub written_bytes: u64,
    /// The image, if the format is an image.
    pub image: Option<ExportedImage>,
}

/// An exported image.
#[derive(Clone, Debug)]
pub struct ExportedImage {
    /// The name and tag.
    pub name: String,
    /// The digest of the manifest.
    pub digest: String,
}

/// Errors of an export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The archive cannot be written.
    #[error("cannot write the archive")]
    Output(#[source] io::Error),
    /// The prefix is not a relative path.
    #[error("invalid prefix `{0}`: not a valid path for an archive member")]
    BadPrefix(String),
    /// The name of the image is invalid.
    #[error("invalid image name `{0}`")]
    BadName(String),
    /// A tar archive cannot be pushed to a registry.
    #[error("cannot push a tar archive: registries store only images")]
    NotAnImage,
}

impl Failure for ExportError {
    fn kind(&self) -> Kind {
        match self {
            Self::Output(e) => Kind::of_io(e),
            Self::BadPrefix(_) | Self::BadName(_) | Self::NotAnImage => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotAnImage => Some("add `--format oci`".to_owned()),
            Self::BadName(_) => Some(
                "use lower-case letters, digits, `.`, `_`, `-` and `/`, and put a tag after `:`"
                    .to_owned(),
            ),
            Self::Output(_) | Self::BadPrefix(_) => None,
        }
    }
}

/// The repository, version and paths that an export reads.
pub(super) struct ExportSource<'a> {
    pub(super) context: &'a Context,
    pub(super) repo: &'a Repo,
    pub(super) observer: &'a dyn Observer,
    pub(super) version: Id,
    pub(super) commit: Commit,
    pub(super) address: Option<String>,
    pub(super) paths: Vec<Vec<Vec<u8>>>,
    pub(super) prefix: Vec<Vec<u8>>,
    /// If the holes of a file have at most this many bytes in total, they are written as zeros
    /// instead of a sparse map.
    pub(super) holes_written: u64,
}

impl ExportSource<'_> {
    pub(super) fn report(
        &self,
        members: u64,
        written_bytes: u64,
        image: Option<ExportedImage>,
    ) -> ExportReport {
        let (commit, address) = (self.commit.clone(), self.address.clone());
        ExportReport {
            version: self.version,
            commit,
            address,
            members,
            written_bytes,
            image,
        }
    }

    /// Returns the default name of an image, `branch:vN`. Characters that are not allowed in image
    /// names are replaced. The name of a version on no branch contains its id.
    pub(super) fn name(&self) -> String {
        let Some(branch) = self.branch() else {
            return format!("dvc:{}", self.version.short());
        };
        let mut name = String::new();
        for c in branch.chars().map(|c| c.to_ascii_lowercase()) {
            // The grammar of image names (OCI distribution specification) requires a letter or
            // digit before and after each separator.
            let plain = c.is_ascii_lowercase() || c.is_ascii_digit();
            let joins = matches!(c, '/' | '.' | '_' | '-')
                && name.ends_with(|c: char| c.is_ascii_alphanumeric());
            match (plain || joins, name.ends_with(['-', '/', '.', '_'])) {
                (true, _) => name.push(c),
                (false, false) if !name.is_empty() => name.push('-'),
                (false, _) => {}
            }
        }
        let name = name.trim_end_matches(['-', '/', '.', '_']);
        let name = if name.is_empty() { "dvc" } else { name };
        format!("{name}:v{}", self.commit.ordinal)
    }

    pub(super) fn branch(&self) -> Option<&str> {
        self.address.as_deref()?.split('@').next()
    }
}

/// A writer that counts bytes.
pub(super) struct CountingWriter<'w> {
    pub(super) out: &'w mut dyn Write,
    pub(super) bytes: u64,
}

impl Write for CountingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
