//! `import`: a version of a tar archive or of an image of a container engine, without unpacking it anywhere.
//!
//! Invariants: an archive that cannot be read to its end makes no version, nothing is written outside of the repository
//! and a private file, and the same members make the same tree, however they were packed.

mod image;
mod place;
mod stream;
mod tree;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use super::commit::{CommitOptions, CommitReport, Target, checked_path, output, seal};
use crate::archive::{ArchiveError, image as json};
use crate::codec::stream as packed;
use crate::context::Context;
use crate::context::Remote;
use crate::error::{Failure, Kind, Result};
use crate::model::commit::Commit;
use crate::model::entry::Meta;
use crate::model::path::{display, split};
use crate::model::refname::RefName;
use crate::observe::Observer;
use crate::repo::Repo;
use crate::snapshot::graft::graft;
use crate::snapshot::output::Output;
use crate::sys::create;
use crate::sys::io_error::IoError;
use place::Places;
use stream::{Bytes, Intake};
use tree::Tree;

/// What names take in memory at most, in bytes, unless more is allowed for everything.
const TREE_BYTES: u64 = 1 << 30;

/// What kind of archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Whatever it turns out to be.
    #[default]
    Auto,
    /// A tar archive, plain or compressed.
    Tar,
    /// An image: an OCI image layout, or what `docker save` writes.
    Oci,
}

/// What to import.
#[derive(Clone, Default)]
pub struct ImportOptions {
    /// The archive's kind.
    pub format: Format,
    /// Only what lies below this, without it, raw bytes; of an image that `dvc` made its own prefix if `None`.
    pub strip: Option<Vec<u8>>,
    /// Only this path, which takes the place of what is there in the version before.
    pub path: Option<Vec<u8>>,
    /// Which one of several images in an archive.
    pub image: Option<String>,
    /// What is said about the version.
    pub commit: CommitOptions,
}

/// Where the archive comes from.
pub enum From<'f> {
    /// A file.
    File(&'f Path),
    /// A stream.
    Stream(Box<dyn Read + Send + 'f>),
    /// A repository of a registry, and the tag or digest there.
    Registry(&'f Remote, &'f str),
}

/// What was imported.
#[derive(Clone, Debug)]
pub struct ImportReport {
    /// The version.
    pub commit: CommitReport,
    /// Members that it was made of.
    pub members: u64,
    /// Members that were left out.
    pub left_out: u64,
    /// The path that they are not below.
    pub below: Option<String>,
    /// The digest of the image.
    pub digest: Option<String>,
}

/// An import is refused.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Nothing lies where it was to lie.
    #[error("the archive holds nothing below `{path}`")]
    NotThere {
        /// The path.
        path: String,
    },
    /// Nothing at all.
    #[error("the archive holds nothing, but the last version of `{branch}` does")]
    Empty {
        /// The branch.
        branch: RefName,
    },
    /// An image that is not there.
    #[error("there is no image `{name}`{}", but_only(known))]
    NoImage {
        /// Its name.
        name: String,
        /// Those that are.
        known: Vec<String>,
    },
    /// More than one image.
    #[error("the archive holds several images: {}", .0.join(", "))]
    Several(Vec<String>),
    /// More names than memory is allowed for.
    #[error("the names of the archive take more than {0} bytes of memory")]
    TooMany(u64),
}

fn but_only(all: &[String]) -> String {
    if all.is_empty() { String::new() } else { format!(", only {}", all.join(", ")) }
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
            Self::Several(_) => Some("name one with `--image`".to_owned()),
            Self::Empty { .. } => Some("`--allow-empty` imports it".to_owned()),
            Self::TooMany(_) => Some("`--memory` allows more".to_owned()),
            _ => None,
        }
    }
}

/// Makes the next version of a branch of an archive.
pub fn import(
    context: &Context,
    options: &ImportOptions,
    from: From<'_>,
    observer: &dyn Observer,
) -> Result<ImportReport> {
    let repo = context.repo()?;
    let target = Target::find(context, &repo, &options.commit)?;
    let out = output(&repo, observer, options.commit.dry_run)?;
    let mut places = Places::new(options.strip.as_deref(), options.path.as_deref())?;
    observer.phase("import", None, None);
    let limit = context.memory_bytes.max(TREE_BYTES);
    let mut intake = Intake { out: &out, observer, threads: context.jobs, tree: Tree::new(limit), left_out: 0 };
    let digest = match open(context, options.format, from)? {
        Opened::Stream(bytes) => {
            intake.archive(bytes, &places, false)?;
            None
        }
        Opened::Image(source) => {
            let found = source.find(options.image.as_deref())?;
            if options.strip.is_none()
                && let Some(prefix) = found.config.label(json::PREFIX_LABEL)
            {
                places.strip(prefix.as_bytes())?;
            }
            source.take(&found, &mut intake, &places)?;
            found.digest
        }
    };
    let Intake { tree, left_out, .. } = intake;
    finish(context, &repo, &out, options, observer, target, (tree, left_out, digest), &places)
}

#[expect(clippy::too_many_arguments, reason = "the last step of both kinds of archives")]
fn finish(
    context: &Context,
    repo: &Repo,
    out: &Output<'_>,
    options: &ImportOptions,
    observer: &dyn Observer,
    target: Target,
    (tree, left_out, digest): (Tree, u64, Option<String>),
    places: &Places,
) -> Result<ImportReport> {
    let members = tree.members();
    if tree.is_nothing()
        && let Some(path) = places.asked()
    {
        return Err(ImportError::NotThere { path }.into());
    }
    if tree.is_empty() && target.holds_files() && !options.commit.allow_empty {
        return Err(ImportError::Empty { branch: target.branch }.into());
    }
    let commit = match &options.path {
        None => {
            let (id, totals) = tree.store(out)?;
            out.flush()?;
            let made = |_: Option<&Commit>| Ok((id, totals));
            seal(context, repo, out, observer, &options.commit, target, &made, Vec::new())?
        }
        Some(path) => {
            let names = checked_path(path)?;
            let not_there = || ImportError::NotThere { path: display(path) };
            let (entry, links, above) = tree.store_at(&names, out)?.ok_or_else(not_there)?;
            let meta =
                |names: &[Vec<u8>]| -> Result<Meta> { Ok(above.get(names).cloned().unwrap_or_else(tree::made_up)) };
            let made = |parent: Option<&Commit>| {
                let edits = vec![(names.clone(), Some(entry.clone()))];
                graft(out, parent.map(|p| &p.tree), edits, links.clone(), &meta)
            };
            seal(context, repo, out, observer, &options.commit, target, &made, Vec::new())?
        }
    };
    Ok(ImportReport { commit, members, left_out, below: places.asked(), digest })
}

/// An archive that is open.
enum Opened<'f> {
    Stream(Bytes<'f>),
    Image(image::Source),
}

fn open<'f>(context: &Context, format: Format, from: From<'f>) -> Result<Opened<'f>> {
    let (bytes, file): (Bytes<'f>, Option<(File, PathBuf)>) = match from {
        From::Registry(remote, reference) => {
            return Ok(Opened::Image(image::Source::registry(remote, reference)?));
        }
        From::Stream(stream) => (stream, None),
        From::File(path) => {
            let failed = |source: io::Error| IoError::new("open", path, source);
            let file = File::open(path).map_err(failed)?;
            let meta = file.metadata().map_err(failed)?;
            if meta.is_dir() {
                return Err(failed(io::ErrorKind::IsADirectory.into()).into());
            }
            let again = file.try_clone().map_err(failed)?;
            (Box::new(file), meta.is_file().then(|| (again, path.to_owned())))
        }
    };
    let (head, bytes) = stream::peeked(bytes)?;
    let is_plain = !packed::is_compressed(&head);
    let plain = packed::plain(bytes).map_err(|e| ArchiveError::reading("", e))?;
    let (head, plain) = stream::peeked(plain)?;
    let is_image = match format {
        Format::Tar => false,
        Format::Oci => true,
        Format::Auto => image::looks_like_one(&head),
    };
    if !is_image {
        return Ok(Opened::Stream(plain));
    }
    // Its parts stand in any order, so it must be a file.
    let file = match file {
        Some((mut file, path)) if is_plain => {
            let failed = IoError::at("open", &path);
            file.rewind().map_err(failed)?;
            file
        }
        _ => spooled(context, plain)?,
    };
    Ok(Opened::Image(image::Source::archive(file)?))
}

/// All of a stream in a private file, which is gone when it is closed.
fn spooled(context: &Context, mut plain: Bytes<'_>) -> Result<File> {
    let dir = &context.cache.dir;
    let failed = |source| IoError::new("open", dir, source);
    create::new_private_dir(dir).map_err(failed)?;
    let mut file = tempfile::tempfile_in(dir).map_err(failed)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match plain.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => io::Write::write_all(&mut file, &buffer[..n]).map_err(failed)?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(ArchiveError::reading("", e).into()),
        }
    }
    file.rewind().map_err(failed)?;
    Ok(file)
}

/// The names of a path that an option gives.
fn names_of(raw: &[u8]) -> Result<Vec<Vec<u8>>> {
    let bad = || ArchiveError::refused(display(raw), "it is no path in an archive");
    Ok(split(raw).ok_or_else(bad)?)
}
