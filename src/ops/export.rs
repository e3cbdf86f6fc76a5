//! Exports a version as a tar archive or as a container image, to a stream or a registry.
//!
//! Invariant: two exports of one version with the same options have the same bytes.

mod image;
mod members;
mod source;

pub use source::{ExportError, ExportReport, ExportedImage};

use std::io::Write;

use crate::archive::image::{is_tag, split_reference};
use crate::context::Context;
use crate::context::Remote;
use crate::error::Result;
use crate::model::path::{display, split};
use crate::model::revision::RevisionSpec;
use crate::observe::Observer;
use crate::query::describe::{ChangeDetail, VersionDescriber};
use crate::query::forgotten::ensure_readable;
use crate::query::lazy;
use crate::query::resolve::{ResolveError, Resolver};
use source::{CountingWriter, ExportSource};

/// The default directory of the data in an image; existing data images use it.
pub const IMAGE_PREFIX: &[u8] = b"source";

/// The format of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportFormat {
    /// A tar archive in PAX format.
    #[default]
    Tar,
    /// A container image, readable both as an OCI image layout and by `docker load`.
    Oci,
}

/// Options of an export.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// The version. A path in it has the same effect as `paths`.
    pub spec: RevisionSpec,
    /// The format of the archive.
    pub format: ExportFormat,
    /// Exports only these paths of the version (raw bytes), or all if empty.
    pub paths: Vec<Vec<u8>>,
    /// The directory in the archive that contains all members. The default is the top of a tar
    /// archive and [`IMAGE_PREFIX`] of an image.
    pub prefix: Option<Vec<u8>>,
    /// The name and tag of an image; the default is `branch:vN`.
    pub name: Option<String>,
}

/// The destination of an archive.
pub enum ExportTarget<'t> {
    /// Writes the archive to a stream.
    Stream(&'t mut dyn Write),
    /// Pushes the image to a repository of a registry, with this tag.
    Registry(&'t Remote, &'t str),
}

/// The holes of a file in an image are written as zeros if they have at most this many bytes.
/// Engines can load layers with sparse files, but many engines cannot save or push such a layer
/// again.
const IMAGE_HOLES_WRITTEN: u64 = 256 << 20;

/// Writes a version as an archive.
pub fn export(
    context: &Context,
    options: &ExportOptions,
    target: ExportTarget<'_>,
    observer: &dyn Observer,
) -> Result<ExportReport> {
    let repo = context.repo()?;
    let resolver = Resolver::new(&repo, context)?;
    let found = resolver.spec(&options.spec)?;
    ensure_readable(context, &repo, &found.version)?;
    let commit = repo.commit_cached(&found.version)?;
    let mut paths: Vec<Vec<Vec<u8>>> = Vec::new();
    let whole = if options.spec.path.is_some() {
        vec![found.path.clone()]
    } else {
        Vec::new()
    };
    let below = options
        .paths
        .iter()
        .map(|path| split(path).ok_or_else(|| no_path(options, path)));
    // All paths are checked before the first byte is written to the stream.
    for names in whole.into_iter().map(Ok).chain(below) {
        let names = names?;
        if !names.is_empty() && repo.find(&commit.tree, &names)?.is_none() {
            return Err(no_path(options, &names.join(&b'/')).into());
        }
        paths.push(names);
    }
    // An empty path is the root, so the whole version is exported.
    if paths.iter().any(Vec::is_empty) {
        paths.clear();
    }
    let prefix = match (&options.prefix, options.format) {
        (Some(prefix), _) => prefix.as_slice(),
        (None, ExportFormat::Tar) => b"",
        (None, ExportFormat::Oci) => IMAGE_PREFIX,
    };
    let prefix = split(prefix).ok_or_else(|| ExportError::BadPrefix(display(prefix)))?;
    let describe = VersionDescriber::new(
        &repo,
        resolver.head(),
        ChangeDetail::None,
        &[],
        true,
        observer,
    )?;
    let address = describe.version(found.version, commit.clone())?.address;
    if paths.is_empty() {
        lazy::fetch_tree(context, &repo, &commit.tree, observer)?;
    }
    let holes_written = if options.format == ExportFormat::Oci {
        IMAGE_HOLES_WRITTEN
    } else {
        0
    };
    let version = found.version;
    let export = ExportSource {
        context,
        repo: &repo,
        observer,
        version,
        commit,
        address,
        paths,
        prefix,
        holes_written,
    };
    match (options.format, target) {
        (ExportFormat::Tar, ExportTarget::Stream(out)) => tar(&export, out),
        (ExportFormat::Tar, ExportTarget::Registry(..)) => Err(ExportError::NotAnImage.into()),
        (ExportFormat::Oci, ExportTarget::Stream(out)) => {
            let name = match &options.name {
                Some(name) => name.clone(),
                None => export.name(),
            };
            let Some((name, tag)) = split_reference(&name) else {
                return Err(ExportError::BadName(name).into());
            };
            image::archive(&export, name, tag, out)
        }
        (ExportFormat::Oci, ExportTarget::Registry(remote, tag)) => {
            // The tag becomes a part of the URL of the manifest.
            if !is_tag(tag) {
                return Err(ExportError::BadName(tag.to_owned()).into());
            }
            image::push(&export, remote, tag)
        }
    }
}

fn no_path(options: &ExportOptions, path: &[u8]) -> ResolveError {
    ResolveError::NoPath {
        revision: options.spec.revision.to_string(),
        path: display(path),
    }
}

fn tar(export: &ExportSource<'_>, out: &mut dyn Write) -> Result<ExportReport> {
    export.observer.phase(
        "export",
        Some(export.commit.counts.files),
        Some(export.commit.counts.bytes),
    );
    let mut out = CountingWriter { out, bytes: 0 };
    let members = members::write_all(export, &mut out)?;
    Ok(export.report(members, out.bytes, None))
}
