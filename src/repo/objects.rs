//! Reads single objects by id: chunks, and decoded trees, lists and commits.

use super::frames::{ObjectError, Plain};
use super::handle::Repo;
use super::layout;
use crate::error::{Kind, Result};
use crate::format::object::{ListNode, decode_commit, decode_list, decode_tree};
use crate::format::pack::PackKind;
use crate::format::segment::IndexRow;
use crate::index::Index;
use crate::index::catalogue::commits::CommitRow;
use crate::model::commit::Commit;
use crate::model::id::{Id, ObjectKind};
use crate::model::tree::TreeNode;

impl Repo {
    /// Returns the verified bytes of an object: from memory, from this repository, or from the remote
    /// of a lazy clone.
    pub fn object(&self, kind: ObjectKind, id: &Id) -> Result<Plain> {
        if kind != ObjectKind::Chunk
            && let Some(plain) = self.volatile.get(id)
        {
            return Ok(plain);
        }
        let index = self.index()?;
        let failed = match self.stored(index, kind, id) {
            Ok(Some(plain)) => return Ok(plain),
            Ok(None) => None,
            // Another process may have moved the object to another pack since the index was opened.
            Err(e) => match self.stored_after_refresh(index, kind, id)? {
                Some(plain) => return Ok(plain),
                None => Some(e),
            },
        };
        let from_source = match self.lazy_source() {
            Ok(Some(source)) => source.index().and_then(|index| source.stored(index, kind, id)),
            other => other.map(|_| None),
        };
        if let Ok(Some(plain)) = from_source {
            return Ok(plain);
        }
        if let Some(e) = failed {
            return Err(e);
        }
        // Another process may have stored the object since the index was opened.
        if self.locator.refresh()?
            && let Some(plain) = self.frames.object(index, kind, id)?
        {
            return Ok(plain);
        }
        Err(from_source.err().unwrap_or_else(|| ObjectError::Missing { kind, id: *id }.into()))
    }

    /// Returns an object whose known copies are unreadable from a new copy, if the index has one now.
    fn stored_after_refresh(&self, index: &Index, kind: ObjectKind, id: &Id) -> Result<Option<Plain>> {
        self.locator.refresh_after_damage()?;
        // The caller already has the error of a copy that is still damaged.
        Ok(self.frames.object(index, kind, id).unwrap_or_default())
    }

    /// Returns the verified bytes of an object that the index contains. If the cached bytes are
    /// damaged, fetches them once more.
    fn stored(&self, index: &Index, kind: ObjectKind, id: &Id) -> Result<Option<Plain>> {
        match (self.frames.object(index, kind, id), self.remote_store()) {
            (Err(e), Some(remote)) if e.kind() == Kind::Integrity => {
                for row in index.lookup_all(PackKind::of(kind), id)? {
                    remote.forget(&layout::pack(&row.place.pack));
                    row.base.iter().for_each(|base| remote.forget(&layout::pack(&base.pack)));
                }
                self.frames.object(index, kind, id)
            }
            (found, _) => found,
        }
    }

    /// Returns the verified bytes of one copy of an object.
    pub fn object_at(&self, kind: ObjectKind, row: &IndexRow) -> Result<Plain> {
        self.frames.at(self.index()?, kind, row)
    }

    /// Returns the verified bytes of an object that is found through `index` instead of the
    /// repository's index.
    pub fn object_by(&self, index: &Index, kind: ObjectKind, id: &Id) -> Result<Option<Plain>> {
        self.frames.object(index, kind, id)
    }

    /// Returns the verified bytes of a chunk.
    pub fn chunk(&self, id: &Id) -> Result<Plain> {
        self.object(ObjectKind::Chunk, id)
    }

    /// Returns a chunk whose length must be `len` bytes, according to its extent.
    pub fn chunk_of(&self, id: &Id, len: u64) -> Result<Plain> {
        let plain = self.chunk(id)?;
        if plain.len() as u64 == len {
            Ok(plain)
        } else {
            Err(ObjectError::malformed(ObjectKind::Chunk, id, "its length differs"))
        }
    }

    /// Returns whether chunks were read in the order in which they were stored, so that
    /// [`Self::read_ahead`] has something to do.
    pub fn has_read_ahead(&self) -> bool {
        self.frames.has_read_ahead()
    }

    /// Decompresses the frames after the chunks that were read last.
    pub fn read_ahead(&self) {
        self.frames.read_ahead();
    }

    /// Returns a stored node of a directory.
    pub fn tree_node(&self, id: &Id) -> Result<TreeNode> {
        Ok(decode_tree(&self.object(ObjectKind::Tree, id)?)?)
    }

    /// Returns a node of a chunk list.
    pub fn list_node(&self, id: &Id) -> Result<ListNode> {
        Ok(decode_list(&self.object(ObjectKind::List, id)?)?)
    }

    /// Returns a commit.
    pub fn commit(&self, id: &Id) -> Result<Commit> {
        Ok(decode_commit(&self.object(ObjectKind::Commit, id)?)?)
    }

    /// Returns a commit, from the catalogue if possible.
    pub fn commit_cached(&self, id: &Id) -> Result<Commit> {
        if let Ok(catalogue) = self.catalogue()
            && let Ok(Some(row)) = catalogue.commit(id)
            && self.ids().id(ObjectKind::Commit, &row.bytes) == *id
        {
            return Ok(decode_commit(&row.bytes)?);
        }
        let plain = self.object(ObjectKind::Commit, id)?;
        let commit = decode_commit(&plain)?;
        if let Ok(catalogue) = self.catalogue() {
            // The row only makes the next read faster.
            let _ = catalogue.put_commits(&[CommitRow::new(id, &commit, &plain)]);
        }
        Ok(commit)
    }
}
