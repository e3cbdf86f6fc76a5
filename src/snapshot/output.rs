//! The destination of new objects: packs, or nothing in a dry run, in which trees and lists stay in
//! memory.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::error::Result;
use crate::format::pack::PackKind;
use crate::model::id::{Id, ObjectKind};
use crate::observe::Observer;
use crate::repo::Repo;
use crate::repo::refs::Move;
use crate::repo::sink::Sink;
use crate::repo::writer::WriteSession;
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
    session: Option<WriteSession<'a>>,
    /// Whether subtrees were taken over from records that an earlier gc may have outdated.
    is_doubtful: AtomicBool,
    /// Whether every record of an earlier walk must be checked before it is used.
    checks_records: AtomicBool,
}

impl<'a> Output<'a> {
    /// Creates an output that stores objects in `repo`.
    pub fn storing(repo: &'a Repo, observer: &'a dyn Observer) -> Result<Self> {
        // The gc log comes first: what is looked up afterwards is checked again if the log moves.
        Self::of_session(repo, WriteSession::begin(repo)?, observer)
    }

    /// Creates an output that stores objects in `repo`, for a session that began before.
    pub fn of_session(
        repo: &'a Repo,
        session: WriteSession<'a>,
        observer: &'a dyn Observer,
    ) -> Result<Self> {
        let sink = Some(Sink::open(repo.ensure_local()?, observer)?);
        Ok(Self {
            sink,
            session: Some(session),
            ..Self::dry(repo)
        })
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
            session: None,
            is_doubtful: AtomicBool::new(false),
            checks_records: AtomicBool::new(false),
        }
    }

    /// Checks that everything that a version needs stays, directly before a ref is moved to it;
    /// `tip` is the value of the ref. Fails with an error of
    /// [`is_collected`](crate::repo::writer::is_collected) if the caller must store objects again.
    pub fn ensure_whole(&self, version: &Id, tip: Option<&Id>, how: &Move<'_>) -> Result<()> {
        let is_doubtful = self.is_doubtful.load(Ordering::Relaxed);
        self.session.as_ref().map_or(Ok(()), |session| {
            session.ensure_whole(&[*version], tip, is_doubtful, how)
        })
    }

    /// Returns the session of the writer, or `None` in a dry run.
    pub fn session(&self) -> Option<&WriteSession<'a>> {
        self.session.as_ref()
    }

    /// Requires a check of every record of an earlier walk before it is used, because a gc has
    /// collected objects on which the walk relied. Objects that were stored for the earlier walk
    /// are stored again if they were collected too.
    pub fn check_records(&self) {
        self.checks_records.store(true, Ordering::Relaxed);
        self.forget_claims();
    }

    /// Returns whether every record must be checked.
    pub fn checks_records(&self) -> bool {
        self.checks_records.load(Ordering::Relaxed)
    }

    /// Returns the number of the newest dead entry of the gc log when the output was created.
    pub fn dead_number(&self) -> u64 {
        self.session.as_ref().map_or(0, WriteSession::dead_number)
    }

    /// Notes that subtrees were taken over from records that an earlier gc may have outdated.
    pub fn set_doubtful(&self) {
        self.is_doubtful.store(true, Ordering::Relaxed);
    }

    /// Returns the repository that receives the objects.
    pub fn repo(&self) -> &'a Repo {
        self.repo
    }

    /// Returns the sink, or `None` in a dry run.
    pub fn sink(&self) -> Option<&Sink<'a>> {
        self.sink.as_ref()
    }

    /// Returns the total length of the new chunks so far, uncompressed.
    pub fn new_bytes(&self) -> u64 {
        self.new_bytes.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes that were written to packs so far.
    pub fn stored_bytes(&self) -> u64 {
        self.sink.as_ref().map_or(0, Sink::stored_bytes) + self.other_bytes.load(Ordering::Relaxed)
    }

    /// Adds what another process has stored for the same commit: the uncompressed length of new
    /// chunks, and the number of bytes in packs.
    pub fn count_other_process(&self, new_bytes: u64, stored_bytes: u64) {
        self.new_bytes.fetch_add(new_bytes, Ordering::Relaxed);
        self.other_bytes.fetch_add(stored_bytes, Ordering::Relaxed);
    }

    /// Claims a chunk. Returns true if the chunk is new and the caller must store it. A dry run
    /// only counts the chunk.
    pub fn claim_chunk(&self, id: &Id, len: usize) -> Result<bool> {
        let new = match &self.sink {
            Some(sink) => sink.claim(ObjectKind::Chunk, id)?,
            None => {
                // Count a chunk once, as a real run would store it once.
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
            // Lists and trees are in different packs, so they cannot share a frame.
            let slot = &self.metadata[usize::from(kind == ObjectKind::Tree)];
            let full = slot.lock().add(id, &bytes);
            // Compress after the lock is released, so that other threads can add objects at the
            // same time.
            if let Some(full) = full {
                Packer::with(|p| p.metadata(sink, &full))?;
            }
        }
        Ok(id)
    }

    /// Writes the lists and trees that wait for a full frame.
    pub fn flush(&self) -> Result<()> {
        let Some(sink) = &self.sink else {
            return Ok(());
        };
        for slot in &self.metadata {
            let rest = slot.lock().take();
            Packer::with(|p| p.metadata(sink, &rest))?;
        }
        Ok(())
    }
}
