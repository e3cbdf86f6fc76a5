//! Stores the content of a file again from stored copies. A commit of a stream needs this if a gc
//! collects its chunks before the version is visible, because the bytes of the stream are gone.
//!
//! A gc deletes a pack some time after it has marked the pack as dead, so the copies on which the
//! stream relied can usually still be read. Each copy is verified by its id.

use super::store::{flush_small, store_claimed};
use crate::error::Result;
use crate::format::object::{ListNode, decode_list};
use crate::format::pack::PackKind;
use crate::model::entry::{Chunker, Content};
use crate::model::id::{Id, ObjectKind};
use crate::repo::Repo;
use crate::snapshot::output::Output;

/// Stores each object of a content again that has no copy in a pack that stays. Returns false if
/// the bytes of one cannot be read any more. The caller has released all claims of the output.
pub fn store_content_again(out: &Output<'_>, content: &Content, chunker: Chunker) -> Result<bool> {
    let repo = out.repo();
    let mut chunks: Vec<Id> = Vec::new();
    let mut lists: Vec<Id> = Vec::new();
    match content {
        Content::Inline(_) => {}
        Content::Direct(extents) => chunks.extend(extents.iter().filter_map(|x| x.chunk)),
        Content::List(root) => lists.push(*root),
    }
    while let Some(id) = lists.pop() {
        let Some(bytes) = any_copy(repo, ObjectKind::List, &id)? else {
            return Ok(false);
        };
        match decode_list(&bytes)? {
            ListNode::Leaf(extents) => chunks.extend(extents.iter().filter_map(|x| x.chunk)),
            ListNode::Inner(children) => lists.extend(children.iter().map(|child| child.1)),
        }
        out.store_object(ObjectKind::List, bytes)?;
    }
    for id in chunks {
        if repo.rely(ObjectKind::Chunk, &id)? {
            continue;
        }
        let Some(bytes) = any_copy(repo, ObjectKind::Chunk, &id)? else {
            // A lazy clone has the chunk at its source.
            if repo.knows(ObjectKind::Chunk, &id)? && repo.is_lazy() {
                continue;
            }
            return Ok(false);
        };
        if out.claim_chunk(&id, bytes.len())? {
            store_claimed(out, id, &bytes, chunker, None)?;
        }
    }
    flush_small(out)?;
    Ok(true)
}

/// Returns the bytes of a copy of an object that can be read, even if its pack is dead.
fn any_copy(repo: &Repo, kind: ObjectKind, id: &Id) -> Result<Option<Vec<u8>>> {
    for row in repo.index()?.lookup_all(PackKind::of(kind), id)? {
        if let Ok(bytes) = repo.object_at(kind, &row) {
            return Ok(Some(bytes.to_vec()));
        }
    }
    Ok(None)
}
