//! The source from which versions are read: a repository, or memory in tests.

use crate::error::Result;
use crate::model::entry::{Content, Entry, Extent};
use crate::model::id::{Id, ObjectKind};
use crate::model::tree::{LinkTable, RootInfo};
use crate::repo::Repo;
use crate::repo::frames::Plain;

/// The extents of a file in order.
pub type Extents<'a> = Box<dyn Iterator<Item = Result<Extent>> + Send + 'a>;

/// Objects of versions, verified against their ids.
pub trait Source: Sync {
    /// Returns all entries of a directory, sorted by name, with valid names.
    fn entries(&self, tree: &Id) -> Result<Vec<Entry>>;
    /// Returns the root of a version.
    fn root(&self, tree: &Id) -> Result<(RootInfo, Vec<Entry>)>;
    /// Returns the extents of a file in order; inline content has none.
    fn extents<'a>(&'a self, content: &Content) -> Extents<'a>;
    /// Returns the bytes of a chunk, which must be `len` long.
    fn chunk(&self, id: &Id, len: u64) -> Result<Plain>;
    /// Returns the id of these bytes as a chunk.
    fn chunk_id(&self, bytes: &[u8]) -> Id;
    /// Returns all groups of hard links of a version.
    fn links(&self, root: &RootInfo) -> Result<LinkTable>;
}

impl Source for Repo {
    fn entries(&self, tree: &Id) -> Result<Vec<Entry>> {
        self.entries(tree)
    }

    fn root(&self, tree: &Id) -> Result<(RootInfo, Vec<Entry>)> {
        self.root(tree)
    }

    fn extents<'a>(&'a self, content: &Content) -> Extents<'a> {
        Box::new(self.extents(content))
    }

    fn chunk(&self, id: &Id, len: u64) -> Result<Plain> {
        self.chunk_of(id, len)
    }

    fn chunk_id(&self, bytes: &[u8]) -> Id {
        self.ids().id(ObjectKind::Chunk, bytes)
    }

    fn links(&self, root: &RootInfo) -> Result<LinkTable> {
        self.links(root)
    }
}
