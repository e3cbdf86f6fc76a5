//! `show`: a version with what it changed, or the bytes of a file in it.

use crate::context::Context;
use crate::error::{Failure, Kind, Result};
use crate::model::entry::{Content, Entry, Node};
use crate::model::path::display;
use crate::model::revision::RevisionSpec;
use crate::observe::Observer;
use crate::query::describe::{Changes, Describe, Detail, Version};
use crate::query::lazy;
use crate::query::resolve::{ResolveError, Resolver};
use crate::repo::Repo;
use crate::repo::names::Names;
use std::ops::ControlFlow;

/// Holes are handed over in pieces of this size.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What to show.
#[derive(Clone, Debug)]
pub struct ShowOptions {
    /// The version, or a path in it.
    pub spec: RevisionSpec,
    /// What is told about the changes of a version.
    pub detail: Detail,
    /// Fill [`Version::address`].
    pub addresses: bool,
}

/// A piece of what was asked for.
pub enum Piece<'p> {
    /// A version, with what it changed.
    Version(&'p Version, &'p Changes<'p>),
    /// The next entry of a directory.
    Entry(&'p Entry),
    /// The next bytes of a file.
    Bytes(&'p [u8]),
}

/// What was asked for.
#[derive(Debug)]
pub enum Shown {
    /// A version, which was handed over.
    Version,
    /// A directory of a version, whose entries were handed over.
    Directory,
    /// Where a symbolic link points.
    Link(Vec<u8>),
    /// A file, whose bytes were handed over.
    File(Entry),
}

/// What is there has no bytes.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` is {what}, which has no content")]
pub struct NoContent {
    /// The path.
    pub path: String,
    /// What it is.
    pub what: &'static str,
}

impl Failure for NoContent {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

/// Receives pieces until it breaks.
pub type Each<'e> = dyn FnMut(Piece<'_>) -> ControlFlow<()> + 'e;

/// Shows a version or a path, piece by piece and in order.
pub fn show(context: &Context, options: &ShowOptions, observer: &dyn Observer, each: &mut Each<'_>) -> Result<Shown> {
    let repo = context.repo()?;
    let resolver = Resolver::new(&repo, context)?;
    let target = resolver.spec(&options.spec)?;
    let commit = repo.commit_cached(&target.version)?;
    if options.spec.path.is_none() {
        let describe = Describe::new(&repo, resolver.head(), options.detail, &[], options.addresses, observer)?;
        let changes = describe.changes(&commit)?;
        let _ended_early = each(Piece::Version(&describe.version(target.version, commit), &changes));
        return Ok(Shown::Version);
    }
    if target.path.is_empty() {
        return entries(repo.root_names(&commit.tree)?.1, each);
    }
    let path = display(&target.path.join(&b'/'));
    let missing = || ResolveError::NoPath { revision: options.spec.revision.to_string(), path: path.clone() };
    let entry = repo.find(&commit.tree, &target.path)?.ok_or_else(missing)?;
    let none = |what| Err(NoContent { path: path.clone(), what }.into());
    match &entry.node {
        Node::Dir { tree, .. } => entries(repo.names(tree)?, each),
        Node::Symlink { target } => Ok(Shown::Link(target.clone())),
        Node::File { content, .. } => {
            lazy::ahead(context, &repo, &entry, observer)?;
            bytes(&repo, content, observer, each)?;
            Ok(Shown::File(entry))
        }
        Node::Fifo => none("a named pipe"),
        Node::CharDevice { .. } | Node::BlockDevice { .. } => none("a device"),
    }
}

fn entries(names: Names<'_>, each: &mut Each<'_>) -> Result<Shown> {
    for entry in names {
        if each(Piece::Entry(&entry?)).is_break() {
            break;
        }
    }
    Ok(Shown::Directory)
}

fn bytes(repo: &Repo, content: &Content, observer: &dyn Observer, each: &mut Each<'_>) -> Result<()> {
    if let Content::Inline(bytes) = content {
        let _ended_early = each(Piece::Bytes(bytes));
        return Ok(());
    }
    for extent in repo.extents(content) {
        let extent = extent?;
        if observer.cancelled() {
            return Ok(());
        }
        let flow = match extent.chunk {
            Some(id) => each(Piece::Bytes(&repo.chunk_of(&id, extent.len)?)),
            None => zeros(extent.len, each),
        };
        if flow.is_break() {
            return Ok(());
        }
    }
    Ok(())
}

fn zeros(mut len: u64, each: &mut Each<'_>) -> ControlFlow<()> {
    while len > 0 {
        let piece = usize::try_from(len).unwrap_or(usize::MAX).min(ZEROS.len());
        each(Piece::Bytes(&ZEROS[..piece]))?;
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
        let extents = vec![made.chunk(b"head"), Extent { len: 100_000, chunk: None }, made.chunk(b"tail")];
        let link = entry("link", Node::Symlink { target: b"big".to_vec() });
        made.commit("main", "one", vec![large("big", extents), link, entry("pipe", Node::Fifo), file("tiny", "x")]);
        let run = |spec: &str| {
            let (mut out, mut count, mut address) = (Vec::new(), 0, None);
            let options = ShowOptions {
                spec: RevisionSpec::parse(spec.as_bytes()).unwrap(),
                detail: Detail::Names,
                addresses: true,
            };
            let shown = show(&made.context, &options, &Silent, &mut |piece| {
                match piece {
                    Piece::Bytes(bytes) => out.extend_from_slice(bytes),
                    Piece::Entry(_) => count += 1,
                    Piece::Version(version, changes) => {
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
        assert!(matches!(shown, Shown::File(e) if e.size() == 100_008));
        assert_eq!((out.len(), &out[..5], &out[100_003..]), (100_008, &b"head\0"[..], &b"\0tail"[..]));
        assert_eq!(run("main:tiny").unwrap().1, b"x");
        assert!(matches!(run("main:link").unwrap().0, Shown::Link(t) if t == b"big"));
        assert!(matches!(run("main:").unwrap(), (Shown::Directory, _, 4, None)));
        assert!(matches!(run("main").unwrap(), (Shown::Version, _, 4, Some(address)) if address == "main@v1"));
        assert_eq!(run("main:pipe").unwrap_err().to_string(), "`pipe` is a named pipe, which has no content");
        assert_eq!(run("main:big/x").unwrap_err().kind(), Kind::NotFound);
    }
}
