//! The destination of new objects: packs, or nothing in a dry run, in which trees and lists stay in
//! memory.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::error::Result;
use crate::format::pack::PackKind;
use crate::model::id::{Id, ObjectKind};
use crate::observe::Observer;
use crate::repo::Repo;
use crate::repo::sink::Sink;
use crate::snapshot::content::frame::{Gather, Packer};

/// Receives new objects from any number of threads.
pub struct Output<'a> {
    repo: &'a Repo,
    sink: Option<Sink<'a>>,
    dry: Mutex<HashSet<Id>>,
    metadata: [Mutex<Gather>; 2],
    new_bytes: AtomicU64,
    /// Bytes in packs that another process has stored for the same commit.
    other_bytes: AtomicU64,
}

impl<'a> Output<'a> {
    /// Creates an output that stores objects in `repo`.
    pub fn storing(repo: &'a Repo, observer: &'a dyn Observer) -> Result<Self> {
        Ok(Self { sink: Some(Sink::open(repo.ensure_local()?, observer)?), ..Self::dry(repo) })
    }

    /// Creates an output that stores nothing. Trees and lists stay in the memory of `repo`, which
    /// returns them like stored ones.
    pub fn dry(repo: &'a Repo) -> Self {
        let metadata = [ObjectKind::List, ObjectKind::Tree].map(|k| Mutex::new(Gather::new(k)));
        Self {
            repo,
            sink: None,
            dry: Mutex::default(),
            metadata,
            new_bytes: AtomicU64::new(0),
            other_bytes: AtomicU64::new(0),
        }
    }

    /// Returns the repository.
    pub fn repo(&self) -> &'a Repo {
        self.repo
    }

    /// Returns the sink, or `None` in a dry run.
    pub fn sink(&self) -> Option<&Sink<'a>> {
        self.sink.as_ref()
    }

    /// Returns the uncompressed bytes of new chunks so far.
    pub fn new_bytes(&self) -> u64 {
        self.new_bytes.load(Ordering::Relaxed)
    }

    /// Returns the bytes that were written to packs so far.
    pub fn stored_bytes(&self) -> u64 {
        self.sink.as_ref().map_or(0, Sink::stored_bytes) + self.other_bytes.load(Ordering::Relaxed)
    }

    /// Adds the bytes that another process has stored for the same commit: uncompressed bytes of
    /// new chunks, and bytes in packs.
    pub fn count_other_process(&self, new_bytes: u64, stored_bytes: u64) {
        self.new_bytes.fetch_add(new_bytes, Ordering::Relaxed);
        self.other_bytes.fetch_add(stored_bytes, Ordering::Relaxed);
    }

    /// Claims a chunk. Returns true if the chunk is new and the caller must store it.
    pub fn claim_chunk(&self, id: &Id, len: usize) -> Result<bool> {
        let new = match &self.sink {
            Some(sink) => sink.claim(ObjectKind::Chunk, id)?,
            None => {
                let first = self.dry.lock().insert(*id);
                if first && self.repo.index()?.lookup(PackKind::Data, id)?.is_none() {
                    self.new_bytes.fetch_add(len as u64, Ordering::Relaxed);
                }
                return Ok(false);
            }
        };
        if new {
            self.new_bytes.fetch_add(len as u64, Ordering::Relaxed);
        }
        Ok(new)
    }

    /// Releases all claims after an error, so that the objects can be stored again.
    pub fn forget_claims(&self) {
        if let Some(sink) = &self.sink {
            sink.forget_claims();
        }
    }

    /// Stores a tree, list or commit. Returns its id.
    pub fn store_object(&self, kind: ObjectKind, bytes: Vec<u8>) -> Result<Id> {
        let id = self.repo.ids().id(kind, &bytes);
        let Some(sink) = &self.sink else {
            self.repo.volatile().put(id, bytes);
            return Ok(id);
        };
        if sink.claim(kind, &id)? {
            // A commit is always the last object before its pack is closed, so it never shares a
            // frame.
            if kind == ObjectKind::Commit {
                let mut alone = Gather::new(kind);
                alone.add(id, &bytes);
                Packer::with(|p| p.metadata(sink, &alone))?;
                return Ok(id);
            }
            let slot = &self.metadata[usize::from(kind == ObjectKind::Tree)];
            let full = slot.lock().add(id, &bytes);
            if let Some(full) = full {
                Packer::with(|p| p.metadata(sink, &full))?;
            }
        }
        Ok(id)
    }

    /// Writes the lists and trees that wait for a full frame.
    pub fn flush(&self) -> Result<()> {
        let Some(sink) = &self.sink else { return Ok(()) };
        for slot in &self.metadata {
            let rest = slot.lock().take();
            Packer::with(|p| p.metadata(sink, &rest))?;
        }
        Ok(())
    }
}
