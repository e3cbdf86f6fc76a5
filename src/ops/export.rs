//! `export`: a version as a tar archive or as an image for container engines, as a stream or straight to a registry.
//!
//! Invariant: the same version gives the same bytes.

mod image;
mod members;

use std::io::{self, Write};

use crate::archive::image::{is_tag, split_reference};
use crate::archive::writer::END;
use crate::context::Context;
use crate::context::Remote;
use crate::error::{Failure, Kind, Result};
use crate::model::commit::Commit;
use crate::model::id::Id;
use crate::model::path::{display, split};
use crate::model::revision::RevisionSpec;
use crate::observe::Observer;
use crate::query::describe::{Describe, Detail};
use crate::query::lazy;
use crate::query::resolve::{ResolveError, Resolver};
use crate::repo::Repo;

/// Where the data lies in an image unless something else is asked for: where data images have always had it.
pub const IMAGE_PREFIX: &[u8] = b"source";
/// Files with no more bytes in holes are written out in images: engines read sparse files in layers, but many of them
/// cannot save or push such a layer again.
const IMAGE_HOLES_WRITTEN: u64 = 256 << 20;

/// What kind of archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A PAX archive.
    #[default]
    Tar,
    /// An image: OCI image layout and `docker load` in one.
    Oci,
}

/// What to export.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// The version; a path in it is the same as a path below.
    pub spec: RevisionSpec,
    /// The archive's kind.
    pub format: Format,
    /// Only these paths of the version, raw bytes; all if empty.
    pub paths: Vec<Vec<u8>>,
    /// The directory in the archive that all of it lies in; `None` is the top of a tar, [`IMAGE_PREFIX`] of an image.
    pub prefix: Option<Vec<u8>>,
    /// The name with a tag of an image; `branch:vN` if `None`.
    pub name: Option<String>,
}

/// Where the archive goes.
pub enum Target<'t> {
    /// A stream.
    Stream(&'t mut dyn Write),
    /// A repository of a registry, and the tag there.
    Registry(&'t Remote, &'t str),
}

/// What was exported.
#[derive(Clone, Debug)]
pub struct ExportReport {
    /// The version.
    pub version: Id,
    /// What it says.
    pub commit: Commit,
    /// `branch@vN`, where it is on a branch.
    pub address: Option<String>,
    /// Members of the archive or layer.
    pub members: u64,
    /// Bytes that were written or sent.
    pub written_bytes: u64,
    /// Of an image: its name, and the digest of its manifest.
    pub image: Option<(String, String)>,
}

/// An export is refused.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// What takes the archive has gone, or cannot take more.
    #[error("cannot write the archive")]
    Output(#[source] io::Error),
    /// The directory for the archive is none.
    #[error("`{0}` is no directory in an archive")]
    BadPrefix(String),
    /// The name of an image.
    #[error("`{0}` is no name for an image: lower-case letters, digits, `.`, `_`, `-`, `/`, and a tag after `:`")]
    BadName(String),
    /// A tar has nowhere to go to.
    #[error("a registry takes images only")]
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
        matches!(self, Self::NotAnImage).then(|| "add `--format oci`".to_owned())
    }
}

/// Everything that an archive is made of.
struct Export<'a> {
    context: &'a Context,
    repo: &'a Repo,
    observer: &'a dyn Observer,
    version: Id,
    commit: Commit,
    address: Option<String>,
    paths: Vec<Vec<Vec<u8>>>,
    prefix: Vec<Vec<u8>>,
    /// Holes of a file are written out up to so many bytes of them.
    holes_written: u64,
}

/// Writes a version as an archive.
pub fn export(
    context: &Context,
    options: &ExportOptions,
    target: Target<'_>,
    observer: &dyn Observer,
) -> Result<ExportReport> {
    let repo = context.repo()?;
    let resolver = Resolver::new(&repo, context)?;
    let found = resolver.spec(&options.spec)?;
    let commit = repo.commit_cached(&found.version)?;
    let mut paths: Vec<Vec<Vec<u8>>> = Vec::new();
    let whole = if options.spec.path.is_some() { vec![found.path.clone()] } else { Vec::new() };
    let below = options.paths.iter().map(|path| split(path).ok_or_else(|| no_path(options, path)));
    for names in whole.into_iter().map(Ok).chain(below) {
        let names = names?;
        if !names.is_empty() && repo.find(&commit.tree, &names)?.is_none() {
            return Err(no_path(options, &names.join(&b'/')).into());
        }
        paths.push(names);
    }
    if paths.iter().any(Vec::is_empty) {
        paths.clear();
    }
    let prefix = match (&options.prefix, options.format) {
        (Some(prefix), _) => prefix.as_slice(),
        (None, Format::Tar) => b"",
        (None, Format::Oci) => IMAGE_PREFIX,
    };
    let prefix = split(prefix).ok_or_else(|| ExportError::BadPrefix(display(prefix)))?;
    let describe = Describe::new(&repo, resolver.head(), Detail::None, &[], true, observer)?;
    let address = describe.version(found.version, commit.clone()).address;
    if paths.is_empty() {
        lazy::bring_tree(context, &repo, &commit.tree, observer)?;
    }
    let holes_written = if options.format == Format::Oci { IMAGE_HOLES_WRITTEN } else { 0 };
    let version = found.version;
    let export = Export { context, repo: &repo, observer, version, commit, address, paths, prefix, holes_written };
    match (options.format, target) {
        (Format::Tar, Target::Stream(out)) => export.tar(out),
        (Format::Tar, Target::Registry(..)) => Err(ExportError::NotAnImage.into()),
        (Format::Oci, Target::Stream(out)) => {
            let name = match &options.name {
                Some(name) => name.clone(),
                None => export.name(),
            };
            let Some((name, tag)) = split_reference(&name) else { return Err(ExportError::BadName(name).into()) };
            image::archive(&export, (name, tag), out)
        }
        (Format::Oci, Target::Registry(remote, tag)) => {
            if !is_tag(tag) {
                return Err(ExportError::BadName(tag.to_owned()).into());
            }
            image::push(&export, remote, tag)
        }
    }
}

fn no_path(options: &ExportOptions, path: &[u8]) -> ResolveError {
    ResolveError::NoPath { revision: options.spec.revision.to_string(), path: display(path) }
}

impl Export<'_> {
    fn tar(&self, out: &mut dyn Write) -> Result<ExportReport> {
        self.observer.phase("export", Some(self.commit.counts.files), Some(self.commit.counts.bytes));
        let mut out = Counted { out, bytes: 0 };
        let members = self.layer(&mut out)?;
        Ok(self.report(members, out.bytes, None))
    }

    /// Writes all members and the end of an archive; returns how many there were.
    fn layer(&self, out: &mut dyn Write) -> Result<u64> {
        let members = members::write(self, out)?;
        out.write_all(&END).and_then(|()| out.flush()).map_err(ExportError::Output)?;
        Ok(members)
    }

    fn report(&self, members: u64, written_bytes: u64, image: Option<(String, String)>) -> ExportReport {
        let (commit, address) = (self.commit.clone(), self.address.clone());
        ExportReport { version: self.version, commit, address, members, written_bytes, image }
    }

    /// What an image is called: after the branch.
    fn name(&self) -> String {
        let Some(branch) = self.branch() else { return format!("dvc:{}", self.version.short()) };
        let mut name = String::new();
        for c in branch.chars().map(|c| c.to_ascii_lowercase()) {
            let plain = c.is_ascii_lowercase() || c.is_ascii_digit();
            let joins = matches!(c, '/' | '.' | '_' | '-') && name.ends_with(|c: char| c.is_ascii_alphanumeric());
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

    fn branch(&self) -> Option<&str> {
        self.address.as_deref()?.split('@').next()
    }
}

/// An output that counts.
struct Counted<'w> {
    out: &'w mut dyn Write,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
