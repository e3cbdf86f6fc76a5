//! `show`: shows a version with its changes, or the bytes of a file.

use crate::context::Context;
use crate::error::{Failure, Kind, Result};
use crate::model::entry::{Content, Entry, Node};
use crate::model::path::display;
use crate::model::revision::RevisionSpec;
use crate::observe::Observer;
use crate::query::describe::{ChangeDetail, DescribedVersion, VersionChanges, VersionDescriber};
use crate::query::forgotten::ensure_readable;
use crate::query::lazy;
use crate::query::resolve::{ResolveError, Resolver};
use crate::repo::Repo;
use crate::repo::names::Names;
use std::ops::ControlFlow;

/// Zeros that stand in for a hole; a longer hole is sent in several pieces.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The options of `show`.
#[derive(Clone, Debug)]
pub struct ShowOptions {
    /// The version, or a path in it.
    pub spec: RevisionSpec,
    /// The changes of the version to compute.
    pub detail: ChangeDetail,
    /// Fill in [`DescribedVersion::address`].
    pub addresses: bool,
}

/// A piece of the output.
pub enum ShowPiece<'p> {
    /// A version with its changes.
    Version(&'p DescribedVersion, &'p VersionChanges<'p>),
    /// The next entry of a directory.
    Entry(&'p Entry),
    /// The next bytes of a file.
    Bytes(&'p [u8]),
}

/// The kind of object that was shown.
#[derive(Debug)]
pub enum ShownObject {
    Version,
    /// A directory, whose entries were passed to the callback.
    Directory,
    /// A symbolic link, with its target.
    Link(Vec<u8>),
    /// A file, whose bytes were passed to the callback.
    File(Entry),
}

/// The error for an entry that is neither a file, a directory nor a symbolic link.
#[derive(Debug, thiserror::Error)]
#[error("cannot print `{path}`: {what} has no content")]
pub struct NoContent {
    pub path: String,
    /// The kind of entry.
    pub what: &'static str,
}

impl Failure for NoContent {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

/// Called with each piece of the output; breaks to stop.
pub type PieceCallback<'e> = dyn FnMut(ShowPiece<'_>) -> ControlFlow<()> + 'e;

/// Shows a version or a path, piece by piece and in order.
pub fn show(
    context: &Context,
    options: &ShowOptions,
    observer: &dyn Observer,
    each: &mut PieceCallback<'_>,
) -> Result<ShownObject> {
    let repo = context.repo()?;
    let resolver = Resolver::new(&repo, context)?;
    let target = resolver.spec(&options.spec)?;
    ensure_readable(context, &repo, &target.version)?;
    let commit = repo.commit_cached(&target.version)?;
    if options.spec.path.is_none() {
        let describe = VersionDescriber::new(
            &repo,
            resolver.head(),
            options.detail,
            &[],
            options.addresses,
            observer,
        )?;
        let changes = describe.changes(&target.version, &commit)?;
        let _ended_early = each(ShowPiece::Version(
            &describe.version(target.version, commit)?,
            &changes,
        ));
        return Ok(ShownObject::Version);
    }
    if target.path.is_empty() {
        return entries(repo.root_names(&commit.tree)?.1, each);
    }
    let path = display(&target.path.join(&b'/'));
    let missing = || ResolveError::NoPath {
        revision: options.spec.revision.to_string(),
        path: path.clone(),
    };
    let entry = repo.find(&commit.tree, &target.path)?.ok_or_else(missing)?;
    let none = |what| {
        Err(NoContent {
            path: path.clone(),
            what,
        }
        .into())
    };
    match &entry.node {
        Node::Dir { tree, .. } => entries(repo.names(tree)?, each),
        Node::Symlink { target } => Ok(ShownObject::Link(target.clone())),
        Node::File { content, .. } => {
            lazy::fetch_file(context, &repo, &entry, observer)?;
            bytes(&repo, content, observer, each)?;
            Ok(ShownObject::File(entry))
        }
        Node::Fifo => none("a named pipe"),
        Node::CharDevice { .. } | Node::BlockDevice { .. } => none("a device"),
    }
}

fn entries(names: Names<'_>, each: &mut PieceCallback<'_>) -> Result<ShownObject> {
    for entry in names {
        if each(ShowPiece::Entry(&entry?)).is_break() {
            break;
        }
    }
    Ok(ShownObject::Directory)
}

fn bytes(
    repo: &Repo,
    content: &Content,
    observer: &dyn Observer,
    each: &mut PieceCallback<'_>,
) -> Result<()> {
    if let Content::Inline(bytes) = content {
        let _ended_early = each(ShowPiece::Bytes(bytes));
        return Ok(());
    }
    for extent in repo.extents(content) {
        let extent = extent?;
        // The command line reports the signal.
        if observer.cancelled() {
            return Ok(());
        }
        let flow = match extent.chunk {
            Some(id) => each(ShowPiece::Bytes(&repo.chunk_of(&id, extent.len)?)),
            None => zeros(extent.len, each),
        };
        if flow.is_break() {
            return Ok(());
        }
    }
    Ok(())
}

fn zeros(mut len: u64, each: &mut PieceCallback<'_>) -> ControlFlow<()> {
    while len > 0 {
        let piece = usize::try_from(len).unwrap_or(usize::MAX).min(ZEROS.len());
        each(ShowPiece::Bytes(&ZEROS[..piece]))?;
        len -= piece as u64;
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::Extent;
    use crate::observe::Silent;
    use crate::query::made::{Made, entry, file, large};

    #[test]
    fn versions_directories_links_and_bytes() {
        let made = Made::new();
        let extents = vec![
            made.chunk(b"head"),
            Extent {
                len: 100_000,
                chunk: None,
            },
            made.chunk(b"tail"),
        ];
        let link = entry(
            "link",
            Node::Symlink {
                target: b"big".to_vec(),
            },
        );
        made.commit(
            "main",
            "one",
            vec![
                large("big", extents),
                link,
                entry("pipe", Node::Fifo),
                file("tiny", "x"),
            ],
        );
        let run = |spec: &str| {
            let (mut out, mut count, mut address) = (Vec::new(), 0, None);
            let options = ShowOptions {
                spec: RevisionSpec::parse(spec.as_bytes()).unwrap(),
                detail: ChangeDetail::Names,
                addresses: true,
            };
            let shown = show(&made.context, &options, &Silent, &mut |piece| {
                match piece {
                    ShowPiece::Bytes(bytes) => out.extend_from_slice(bytes),
                    ShowPiece::Entry(_) => count += 1,
                    ShowPiece::Version(version, changes) => {
                        address.clone_from(&version.address);
                        let told = changes.each(&mut |_| {
                            count += 1;
                            ControlFlow::Continue(())
                        });
                        told.unwrap();
                    }
                }
                ControlFlow::Continue(())
            });
            shown.map(|s| (s, out, count, address))
        };
        let (shown, out, ..) = run("main:big").unwrap();
        assert!(matches!(shown, ShownObject::File(e) if e.size() == 100_008));
        assert_eq!(
            (out.len(), &out[..5], &out[100_003..]),
            (100_008, &b"head\0"[..], &b"\0tail"[..])
        );
        assert_eq!(run("main:tiny").unwrap().1, b"x");
        assert!(matches!(run("main:link").unwrap().0, ShownObject::Link(t) if t == b"big"));
        assert!(matches!(
            run("main:").unwrap(),
            (ShownObject::Directory, _, 4, None)
        ));
        assert!(
            matches!(run("main").unwrap(), (ShownObject::Version, _, 4, Some(address)) if address == "main@v1")
        );
        assert_eq!(
            run("main:pipe").unwrap_err().to_string(),
            "cannot print `pipe`: a named pipe has no content"
        );
        assert_eq!(run("main:big/x").unwrap_err().kind(), Kind::NotFound);
    }
}
