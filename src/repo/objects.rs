//! Reads single objects by id: chunks, and decoded trees, chunk lists and commits.

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
    /// Returns the verified bytes of an object, which may be in memory, in this repository, or on
    /// the remote of a lazy clone. If these copies are damaged or missing, asks the other remotes.
    pub fn object(&self, kind: ObjectKind, id: &Id) -> Result<Plain> {
        // A dry run never keeps chunks in memory, so chunks need no lookup.
        if kind != ObjectKind::Chunk
            && let Some(plain) = self.volatile.get(id)
        {
            return Ok(plain);
        }
        let index = self.index()?;
        let failed = match self.stored(index, kind, id) {
            Ok(Some(plain)) => return Ok(plain),
            Ok(None) => None,
            // Another process may have moved the object to a different pack since the index was
            // opened.
            Err(e) => match self.stored_after_refresh(index, kind, id)? {
                Some(plain) => return Ok(plain),
                None => Some(e),
            },
        };
        let from_source = match self.lazy_source() {
            Ok(Some(source)) => source.stored_object(kind, id),
            other => other.map(|_| None),
        };
        // An error of the source is returned only if no other place has the object.
        if let Ok(Some(plain)) = from_source {
            return Ok(plain);
        }
        if let Some(e) = failed {
            return self.read_from_remotes(kind, id, &e).ok_or(e);
        }
        // Another process may have stored the object since the index was opened.
        if self.locator.refresh()?
            && let Some(plain) = self.frames.object(index, kind, id)?
        {
            return Ok(plain);
        }
        let missing = from_source
            .err()
            .unwrap_or_else(|| ObjectError::Missing { kind, id: *id }.into());
        // A revision may name a commit that exists nowhere.
        let healed = (kind != ObjectKind::Commit)
            .then(|| self.read_from_remotes(kind, id, &missing))
            .flatten();
        healed.ok_or(missing)
    }

    /// Returns the verified bytes of an object from this repository, without asking the remote of a
    /// lazy clone. `None` if the index does not contain the object.
    pub(super) fn stored_object(&self, kind: ObjectKind, id: &Id) -> Result<Option<Plain>> {
        self.stored(self.index()?, kind, id)
    }

    /// Refreshes the index and returns an object from a copy that is readable now. `None` if there
    /// is no such copy.
    fn stored_after_refresh(
        &self,
        index: &Index,
        kind: ObjectKind,
        id: &Id,
    ) -> Result<Option<Plain>> {
        if let Some(local) = self.as_local() {
            // A repair may have replaced the pack since this process opened its file.
            for row in index.lookup_all(PackKind::of(kind), id)? {
                local.files().reopen(&layout::pack(&row.place.pack));
                row.base
                    .iter()
                    .for_each(|base| local.files().reopen(&layout::pack(&base.pack)));
            }
        }
        self.locator.refresh_after_damage()?;
        // Ignore the error, because the caller already has one for the damaged copy.
        Ok(self.frames.object(index, kind, id).unwrap_or_default())
    }

    /// Returns the verified bytes of an object from this repository. If cached bytes of a remote
    /// repository are damaged, drops them and fetches them again. `None` if the index does not
    /// contain the object.
    fn stored(&self, index: &Index, kind: ObjectKind, id: &Id) -> Result<Option<Plain>> {
        match (self.frames.object(index, kind, id), self.remote_store()) {
            (Err(e), Some(remote)) if e.kind() == Kind::Integrity => {
                // The damage may be in the cache, so the second attempt must fetch the blocks
                // again.
                for row in index.lookup_all(PackKind::of(kind), id)? {
                    remote.forget(&layout::pack(&row.place.pack));
                    row.base
                        .iter()
                        .for_each(|base| remote.forget(&layout::pack(&base.pack)));
                }
                self.frames.object(index, kind, id)
            }
            (found, _) => found,
        }
    }

    /// Returns the verified bytes of the copy of an object at one location.
    pub fn object_at(&self, kind: ObjectKind, row: &IndexRow) -> Result<Plain> {
        self.frames.at(self.index()?, kind, row)
    }

    /// Like [`Self::object_at`], with the index of another handle of the same repository.
    pub fn object_at_by(&self, index: &Index, kind: ObjectKind, row: &IndexRow) -> Result<Plain> {
        self.frames.at(index, kind, row)
    }

    /// Returns the verified bytes of an object whose location is looked up in `index` instead of
    /// the repository's own index.
    pub fn object_by(&self, index: &Index, kind: ObjectKind, id: &Id) -> Result<Option<Plain>> {
        self.frames.object(index, kind, id)
    }

    /// Returns the verified bytes of a chunk.
    pub fn chunk(&self, id: &Id) -> Result<Plain> {
        self.object(ObjectKind::Chunk, id)
    }

    /// Returns the verified bytes of a chunk. Fails if its length is not `len` bytes, as its extent
    /// claims.
    pub fn chunk_of(&self, id: &Id, len: u64) -> Result<Plain> {
        let plain = self.chunk(id)?;
        if plain.len() as u64 == len {
            Ok(plain)
        } else {
            Err(ObjectError::malformed(
                ObjectKind::Chunk,
                id,
                "wrong length",
            ))
        }
    }

    /// Returns whether chunks are being read in the order in which they are stored, so that
    /// [`Self::read_ahead`] can decompress the next frame.
    pub fn has_read_ahead(&self) -> bool {
        self.frames.has_read_ahead()
    }

    /// Decompresses the frames that follow the chunks which were read last.
    pub fn read_ahead(&self) {
        self.frames.read_ahead();
    }

    /// Returns a node of a directory's search tree.
    pub fn tree_node(&self, id: &Id) -> Result<TreeNode> {
        Ok(decode_tree(&self.object(ObjectKind::Tree, id)?)?)
    }

    /// Returns a node of a chunk list.
    pub fn list_node(&self, id: &Id) -> Result<ListNode> {
        Ok(decode_list(&self.object(ObjectKind::List, id)?)?)
    }

    /// Reads and parses a commit object.
    pub fn commit(&self, id: &Id) -> Result<Commit> {
        Ok(decode_commit(&self.object(ObjectKind::Commit, id)?)?)
    }

    /// Returns a commit, from the catalogue if it has the commit. Otherwise adds the commit to the
    /// catalogue.
    pub fn commit_cached(&self, id: &Id) -> Result<Commit> {
        if let Ok(catalogue) = self.catalogue()
            && let Ok(Some(row)) = catalogue.commit(id)
            // The catalogue is derived data, so its bytes are checked like those of a pack.
            && self.ids().id(ObjectKind::Commit, &row.bytes) == *id
        {
            return Ok(decode_commit(&row.bytes)?);
        }
        let plain = self.object(ObjectKind::Commit, id)?;
        let commit = decode_commit(&plain)?;
        if let Ok(catalogue) = self.catalogue() {
            // Ignore the error, because the row only makes the next read faster.
            let _ = catalogue.put_commits(&[CommitRow::new(id, &commit, &plain)]);
        }
        Ok(commit)
    }
}
