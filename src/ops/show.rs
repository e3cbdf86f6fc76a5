//! `show`: a version with what it changed, or the bytes of a file in it.

use super::Context;
use super::describe::{Describe, Detail, Version};
use super::lazy;
use super::resolve::{ResolveError, Resolver};
use crate::error::{Failure, Kind, Result};
use crate::model::entry::{Content, Entry, Node};
use crate::model::path::display;
use crate::model::revision::Spec;
use crate::observe::Observer;
use crate::repo::Repo;
use std::ops::ControlFlow;

/// Holes are handed over in pieces of this size.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What to show.
#[derive(Clone, Debug)]
pub struct ShowOptions {
    /// The version, or a path in it.
    pub spec: Spec,
    /// What is told about the changes of a version.
    pub detail: Detail,
    /// Fill [`Version::address`].
    pub addresses: bool,
}

/// What was asked for.
#[derive(Debug)]
pub enum Shown {
    /// A version.
    Version(Box<Version>),
    /// A directory of a version: its entries.
    Directory(Vec<Entry>),
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

/// Shows a version or a path. The bytes of a file go to `each` in order; it ends the reading by breaking.
pub fn show(
    context: &Context,
    options: &ShowOptions,
    observer: &dyn Observer,
    each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<Shown> {
    let repo = context.repo()?;
    let resolver = Resolver::new(&repo, context)?;
    let target = resolver.spec(&options.spec)?;
    let commit = repo.commit_cached(&target.version)?;
    if options.spec.path.is_none() {
        let describe = Describe::new(&repo, resolver.head(), options.detail, &[], options.addresses)?;
        let version = describe.version(target.version, commit)?;
        return Ok(Shown::Version(Box::new(version)));
    }
    if target.path.is_empty() {
        return Ok(Shown::Directory(repo.root(&commit.tree)?.1));
    }
    let path = display(&target.path.join(&b'/'));
    let missing = || ResolveError::NoPath { revision: options.spec.revision.to_string(), path: path.clone() };
    let entry = repo.find(&commit.tree, &target.path)?.ok_or_else(missing)?;
    let none = |what| Err(NoContent { path: path.clone(), what }.into());
    match &entry.node {
        Node::Dir { tree, .. } => Ok(Shown::Directory(repo.entries(tree)?)),
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

fn bytes(
    repo: &Repo,
    content: &Content,
    observer: &dyn Observer,
    each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<()> {
    if let Content::Inline(bytes) = content {
        let _ended_early = each(bytes);
        return Ok(());
    }
    for extent in repo.extents(content) {
        let extent = extent?;
        if observer.cancelled() {
            return Ok(());
        }
        let flow = match extent.chunk {
            Some(id) => each(&repo.chunk_of(&id, extent.len)?),
            None => zeros(extent.len, each),
        };
        if flow.is_break() {
            return Ok(());
        }
    }
    Ok(())
}

fn zeros(mut len: u64, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
    while len > 0 {
        let piece = usize::try_from(len).unwrap_or(usize::MAX).min(ZEROS.len());
        each(&ZEROS[..piece])?;
        len -= piece as u64;
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::Extent;
    use crate::observe::Silent;
    use crate::ops::made::{Made, entry, file, large};

    #[test]
    fn versions_directories_links_and_bytes() {
        let made = Made::new();
        let extents = vec![made.chunk(b"head"), Extent { len: 100_000, chunk: None }, made.chunk(b"tail")];
        let link = entry("link", Node::Symlink { target: b"big".to_vec() });
        made.commit("main", "one", vec![large("big", extents), link, entry("pipe", Node::Fifo), file("tiny", "x")]);
        let run = |spec: &str| {
            let mut out = Vec::new();
            let options =
                ShowOptions { spec: Spec::parse(spec.as_bytes()).unwrap(), detail: Detail::Names, addresses: true };
            let shown = show(&made.context, &options, &Silent, &mut |bytes| {
                out.extend_from_slice(bytes);
                ControlFlow::Continue(())
            });
            shown.map(|s| (s, out))
        };
        let (shown, out) = run("main:big").unwrap();
        assert!(matches!(shown, Shown::File(e) if e.size() == 100_008));
        assert_eq!((out.len(), &out[..5], &out[100_003..]), (100_008, &b"head\0"[..], &b"\0tail"[..]));
        assert_eq!(run("main:tiny").unwrap().1, b"x");
        assert!(matches!(run("main:link").unwrap().0, Shown::Link(t) if t == b"big"));
        assert!(matches!(run("main:").unwrap().0, Shown::Directory(d) if d.len() == 4));
        assert!(
            matches!(run("main").unwrap().0, Shown::Version(v) if v.changes.len() == 4 && v.address.as_deref() == Some("main@v1"))
        );
        assert_eq!(run("main:pipe").unwrap_err().to_string(), "`pipe` is a named pipe, which has no content");
        assert_eq!(run("main:big/x").unwrap_err().kind(), Kind::NotFound);
    }
}
