//! Makes a version from a tar archive or from a container image, without unpacking it to a
//! directory.
//!
//! Invariants: an archive that cannot be read to its end creates no version; nothing is written
//! outside of the repository and a private temporary file; archives with the same members yield the
//! same tree, regardless of how they were packed.

mod error;
mod image;
mod places;
mod stream;
mod tree;

pub use error::ImportError;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use super::commit::{CommitOptions, CommitReport, CommitTarget, checked_path, output, seal};
use crate::archive::ArchiveError;
use crate::archive::image::PREFIX_LABEL;
use crate::codec::stream as compression;
use crate::context::Context;
use crate::context::Remote;
use crate::error::Result;
use crate::model::commit::Commit;
use crate::model::entry::Meta;
use crate::model::path::display;
use crate::observe::Observer;
use crate::repo::Repo;
use crate::snapshot::graft::graft;
use crate::snapshot::output::Output;
use crate::sys::create;
use crate::sys::io_error::IoError;
use image::ImageSource;
use places::MemberPlaces;
use stream::{ArchiveBytes, ArchiveIntake, PeekedStream};
use tree::{ArchiveTree, StoredPath};

/// Memory limit for the names of an archive, in bytes, unless the memory limit of the command is
/// larger.
const TREE_BYTES: u64 = 1 << 30;

/// The format of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImportFormat {
    /// Detects the format.
    #[default]
    Auto,
    /// A tar archive, uncompressed or compressed.
    Tar,
    /// A container image: an OCI image layout, or the output of `docker save`.
    Oci,
}

/// Options of an import.
#[derive(Clone, Default)]
pub struct ImportOptions {
    /// The format of the archive.
    pub format: ImportFormat,
    /// Imports only members below this path, relative to it (raw bytes). For an image that dvc
    /// exported, the default is the prefix of the export.
    pub strip: Option<Vec<u8>>,
    /// Imports only this path, which replaces the path in the parent version.
    pub path: Option<Vec<u8>>,
    /// Selects one of several images in an archive.
    pub image: Option<String>,
    /// Options of the new version.
    pub commit: CommitOptions,
}

/// The source of an archive.
pub enum ImportFrom<'f> {
    File(&'f Path),
    Stream(Box<dyn Read + Send + 'f>),
    /// A repository of a registry, and a tag or digest.
    Registry(&'f Remote, &'f str),
}

/// The result of an import.
#[derive(Clone, Debug)]
pub struct ImportReport {
    /// The result of the commit.
    pub commit: CommitReport,
    /// The number of imported members.
    pub members: u64,
    /// The number of members that were left out.
    pub left_out: u64,
    /// The path below which members were imported, if the import was restricted to one.
    pub below: Option<String>,
    /// The digest of the image's manifest; `None` if the source has none.
    pub digest: Option<String>,
}

/// Makes a version of a branch from an archive.
pub fn import(
    context: &Context,
    options: &ImportOptions,
    from: ImportFrom<'_>,
    observer: &dyn Observer,
) -> Result<ImportReport> {
    let repo = context.repo()?;
    let target = CommitTarget::find(context, &repo, &options.commit)?;
    let out = output(&repo, observer, options.commit.dry_run)?;
    let mut places = MemberPlaces::new(options.strip.as_deref(), options.path.as_deref())?;
    observer.phase("import", None, None);
    let limit = context.memory_bytes.max(TREE_BYTES);
    let mut intake = ArchiveIntake {
        out: &out,
        observer,
        threads: context.jobs,
        tree: ArchiveTree::new(limit),
        left_out: 0,
    };
    let digest = match open(context, options.format, from)? {
        OpenArchive::Stream(bytes) => {
            intake.archive(bytes, &places, false)?;
            None
        }
        OpenArchive::Image(source) => {
            let found = source.find(options.image.as_deref())?;
            if options.strip.is_none()
                && let Some(prefix) = found.config.label(PREFIX_LABEL)
            {
                places.strip(prefix.as_bytes())?;
            }
            source.read_into(&found, &mut intake, &places)?;
            found.digest
        }
    };
    let ArchiveIntake { tree, left_out, .. } = intake;
    let import = FinishedIntake {
        context,
        repo: &repo,
        out: &out,
        options,
        observer,
        places: &places,
    };
    let (members, below) = (tree.members(), places.required());
    Ok(ImportReport {
        commit: import.commit(tree, target)?,
        members,
        left_out,
        below,
        digest,
    })
}

/// The last step of an import: the commit of the tree.
struct FinishedIntake<'i> {
    context: &'i Context,
    repo: &'i Repo,
    out: &'i Output<'i>,
    options: &'i ImportOptions,
    observer: &'i dyn Observer,
    places: &'i MemberPlaces,
}

impl FinishedIntake<'_> {
    fn commit(&self, tree: ArchiveTree, target: CommitTarget) -> Result<CommitReport> {
        let Self {
            context,
            repo,
            out,
            observer,
            ..
        } = *self;
        let options = &self.options.commit;
        // These errors are reported before the tree is stored.
        if tree.is_untouched()
            && let Some(path) = self.places.required()
        {
            return Err(ImportError::NotThere { path }.into());
        }
        if tree.is_empty() && target.holds_files() && !options.allow_empty {
            return Err(ImportError::Empty {
                branch: target.branch,
            }
            .into());
        }
        let Some(path) = &self.options.path else {
            let (id, totals) = tree.store(out)?;
            out.flush()?;
            // The archive replaces the whole tree, so the parent does not matter.
            let made = |_: Option<&Commit>| Ok((id, totals));
            return seal(
                context,
                repo,
                out,
                observer,
                options,
                &target,
                &made,
                Vec::new(),
            );
        };
        let names = checked_path(path)?;
        let not_there = || ImportError::NotThere {
            path: display(path),
        };
        let StoredPath {
            entry,
            links,
            above,
        } = tree.store_at(&names, out)?.ok_or_else(not_there)?;
        let meta = |names: &[Vec<u8>]| -> Result<Meta> {
            Ok(above.get(names).cloned().unwrap_or_else(tree::default_meta))
        };
        // `seal` calls this again if another process has moved the branch, so the entry is cloned.
        let made = |parent: Option<&Commit>| {
            let edits = vec![(names.clone(), Some(entry.clone()))];
            graft(out, parent.map(|p| &p.tree), edits, links.clone(), &meta)
        };
        seal(
            context,
            repo,
            out,
            observer,
            options,
            &target,
            &made,
            Vec::new(),
        )
    }
}

/// An opened archive of a known format.
enum OpenArchive<'f> {
    Stream(ArchiveBytes<'f>),
    Image(ImageSource),
}

fn open<'f>(
    context: &Context,
    format: ImportFormat,
    from: ImportFrom<'f>,
) -> Result<OpenArchive<'f>> {
    let (bytes, file): (ArchiveBytes<'f>, Option<(File, PathBuf)>) = match from {
        ImportFrom::Registry(remote, reference) => {
            return Ok(OpenArchive::Image(ImageSource::registry(
                remote, reference,
            )?));
        }
        ImportFrom::Stream(stream) => (stream, None),
        ImportFrom::File(path) => {
            let failed = |source: io::Error| IoError::new("open", path, source);
            let file = File::open(path).map_err(failed)?;
            let meta = file.metadata().map_err(failed)?;
            // Linux opens a directory without an error, and only the first read would fail.
            if meta.is_dir() {
                return Err(failed(io::ErrorKind::IsADirectory.into()).into());
            }
            // Both handles share one offset, which `peek` moves. The file is therefore rewound
            // below.
            let again = file.try_clone().map_err(failed)?;
            (
                Box::new(file),
                meta.is_file().then(|| (again, path.to_owned())),
            )
        }
    };
    // The first block of the file shows its compression, and the first block of the uncompressed
    // stream its format.
    let PeekedStream { head, bytes } = stream::peek(bytes)?;
    let is_compressed = compression::is_compressed(&head);
    let bytes = compression::plain(bytes).map_err(|e| ArchiveError::reading("", e))?;
    let PeekedStream { head, bytes } = stream::peek(bytes)?;
    let is_image = match format {
        ImportFormat::Tar => false,
        ImportFormat::Oci => true,
        ImportFormat::Auto => image::is_image(&head),
    };
    if !is_image {
        return Ok(OpenArchive::Stream(bytes));
    }
    // The members of an image archive can have any order, so the archive must be a file.
    let file = match file {
        Some((mut file, path)) if !is_compressed => {
            let failed = IoError::at("open", &path);
            file.rewind().map_err(failed)?;
            file
        }
        _ => spool(context, bytes)?,
    };
    Ok(OpenArchive::Image(ImageSource::archive(file)?))
}

/// Copies a stream to a private file, which is deleted when it is closed.
fn spool(context: &Context, mut bytes: ArchiveBytes<'_>) -> Result<File> {
    let dir = &context.cache.dir;
    let failed = |source| IoError::new("open", dir, source);
    create::new_private_dir(dir).map_err(failed)?;
    let mut file = tempfile::tempfile_in(dir).map_err(failed)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match bytes.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => io::Write::write_all(&mut file, &buffer[..n]).map_err(failed)?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(ArchiveError::reading("", e).into()),
        }
    }
    file.rewind().map_err(failed)?;
    Ok(file)
}
