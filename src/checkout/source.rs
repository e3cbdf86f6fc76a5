//! Where versions are read from: a repository, or what a test keeps in memory.

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
    /// All entries of a directory, sorted by name, names checked.
    fn entries(&self, tree: &Id) -> Result<Vec<Entry>>;
    /// The root of a version.
    fn root(&self, tree: &Id) -> Result<(RootInfo, Vec<Entry>)>;
    /// The extents of a file in order; inline content has none.
    fn extents<'a>(&'a self, content: &Content) -> Extents<'a>;
    /// The bytes of a chunk, which must be `len` long.
    fn chunk(&self, id: &Id, len: u64) -> Result<Plain>;
    /// The id that these bytes have as a chunk.
    fn chunk_id(&self, bytes: &[u8]) -> Id;
    /// All groups of hard links of a version.
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
