//! Writes the directories and files of a version as members of an archive, in order. Worker threads
//! read the content ahead of the writer.

use std::collections::HashMap;
use std::io::Write;
use std::ops::ControlFlow;

use super::source::{ExportError, ExportSource};
use crate::archive::member::{ArchiveMember, MemberKind};
use crate::archive::sparse::{Run, few};
use crate::archive::writer::{END, head, padding};
use crate::checkout::error::ReadError;
use crate::error::{Error, Result};
use crate::model::entry::{Content, Entry, Extent, Meta, Node, Time};
use crate::model::id::Id;
use crate::model::path::{display, is_reserved, join};
use crate::query::entries::walk_entries;
use crate::repo::Repo;
use crate::repo::names::Names;
use crate::work::Cancelled;
use crate::work::ordered::{Give, Stages, in_order};

/// Number of bytes at which a batch is handed over.
const BATCH: u64 = 1 << 20;
/// Number of pieces at which a batch is handed over.
const PIECES_MAX: usize = 1000;

/// A piece of the archive.
enum ArchivePiece {
    Bytes(Vec<u8>),
    Chunk { id: Id, len: u64 },
    Zeros(u64),
}

/// The pieces of one batch, which one worker reads.
#[derive(Default)]
struct PieceBatch {
    pieces: Vec<ArchivePiece>,
    bytes: u64,
    files: u64,
}

/// The bytes of the archive for one batch.
struct BatchBytes {
    bytes: Vec<u8>,
    files: u64,
}

impl PieceBatch {
    fn read(self, repo: &Repo) -> Result<BatchBytes> {
        let mut out = Vec::with_capacity(usize::try_from(self.bytes).unwrap_or(0));
        for piece in self.pieces {
            match piece {
                ArchivePiece::Bytes(bytes) => out.extend_from_slice(&bytes),
                ArchivePiece::Chunk { id, len } => out.extend_from_slice(&repo.chunk_of(&id, len)?),
                ArchivePiece::Zeros(len) => {
                    out.resize(out.len() + usize::try_from(len).unwrap_or(0), 0)
                }
            }
        }
        Ok(BatchBytes {
            bytes: out,
            files: self.files,
        })
    }
}

/// Writes all members and the end of an archive. Returns the number of members.
pub(super) fn write_all(export: &ExportSource<'_>, out: &mut dyn Write) -> Result<u64> {
    let members = write(export, out)?;
    out.write_all(&END)
        .and_then(|()| out.flush())
        .map_err(ExportError::Output)?;
    Ok(members)
}

/// Writes all members. Returns their number.
fn write(export: &ExportSource<'_>, out: &mut dyn Write) -> Result<u64> {
    let mut members = 0;
    let threads = export.context.jobs;
    let stages = Stages {
        produce: |give: &Give<'_, PieceBatch>| {
            let mut walk = MemberWalk {
                export,
                give,
                batch: PieceBatch::default(),
                links: HashMap::new(),
                members: &mut members,
            };
            walk.all()?;
            walk.hand_over()
        },
        work: |batch: PieceBatch| batch.read(export.repo),
        leave: || Ok(()),
        consume: |BatchBytes { bytes, files }: BatchBytes| {
            if export.observer.cancelled() {
                return Err(Cancelled.into());
            }
            out.write_all(&bytes).map_err(ExportError::Output)?;
            export.observer.advance(files, bytes.len() as u64);
            Ok(())
        },
    };
    // The second number limits the batches in memory.
    in_order(threads, threads * 2, stages)?;
    Ok(members)
}

struct MemberWalk<'w, 'a> {
    export: &'w ExportSource<'a>,
    give: &'w Give<'w, PieceBatch>,
    batch: PieceBatch,
    /// The first path of each file with hard links.
    links: HashMap<[u8; 16], Vec<u8>>,
    members: &'w mut u64,
}

impl MemberWalk<'_, '_> {
    fn all(&mut self) -> Result<()> {
        let (repo, tree) = (self.export.repo, self.export.commit.tree);
        let (info, names) = repo.root_names(&tree)?;
        let mut top: Vec<u8> = Vec::new();
        let prefix = &self.export.prefix;
        for (n, name) in prefix.iter().enumerate() {
            top = join(&top, name);
            // The last directory of the prefix represents the root of the version and has its
            // metadata. The version does not contain the other directories.
            let whole = n + 1 == prefix.len() && self.export.paths.is_empty();
            let meta = if whole {
                info.meta.clone()
            } else {
                prefix_meta(self.export.commit.time.secs)
            };
            self.head(&top, meta, MemberKind::Dir, None)?;
        }
        if self.export.paths.is_empty() {
            if prefix.is_empty() {
                self.head(b".", info.meta, MemberKind::Dir, None)?;
            }
            return self.directories(top, names);
        }
        let mut paths = self.export.paths.clone();
        paths.sort();
        paths.dedup();
        let mut made: Vec<Vec<Vec<u8>>> = Vec::new();
        for names in &paths {
            // A path below another requested path is part of that one.
            if paths
                .iter()
                .any(|other| other.len() < names.len() && names.starts_with(other))
            {
                continue;
            }
            // The directories above are written once, for their metadata.
            for len in 1..names.len() {
                let above = &names[..len];
                if made.iter().any(|m| m == above) {
                    continue;
                }
                made.push(above.to_vec());
                if let Some(entry) = repo.find(&tree, above)? {
                    self.head(
                        &join(&top, &above.join(&b'/')),
                        entry.meta,
                        MemberKind::Dir,
                        None,
                    )?;
                }
            }
            if let Some(entry) = repo.find(&tree, names)? {
                let dir = &names[..names.len() - 1];
                let dir = if dir.is_empty() {
                    top.clone()
                } else {
                    join(&top, &dir.join(&b'/'))
                };
                self.entry(&dir, entry)?;
            }
        }
        Ok(())
    }

    /// Writes everything below a directory.
    fn directories(&mut self, path: Vec<u8>, names: Names<'_>) -> Result<()> {
        let repo = self.export.repo;
        let visit = &mut |path: &[u8], entry| Ok(ControlFlow::Continue(self.node(path, entry)?));
        walk_entries(repo, path, names, visit).map(|_| ())
    }

    /// Writes an entry and everything below it.
    fn entry(&mut self, dir: &[u8], entry: Entry) -> Result<()> {
        let path = join(dir, &entry.name);
        match self.node(&path, entry)? {
            Some(tree) => {
                let names = self.export.repo.names(&tree)?;
                self.directories(path, names)
            }
            None => Ok(()),
        }
    }

    /// Writes an entry. Returns the tree of a directory, whose content the caller writes.
    fn node(&mut self, path: &[u8], entry: Entry) -> Result<Option<Id>> {
        // A `.dvcs` entry in an archive could install hooks from an untrusted remote where the
        // archive is unpacked.
        if is_reserved(&entry.name) {
            return Err(ReadError::Reserved {
                path: display(path),
            }
            .into());
        }
        let Entry {
            meta, link, node, ..
        } = entry;
        // The first name of a file with hard links has the content; the further names refer to the
        // first one.
        if let Some(link) = link {
            if let Some(target) = self.links.get(&link.group).cloned() {
                return self
                    .head(path, meta, MemberKind::HardLink { target }, None)
                    .map(|()| None);
            }
            self.links.insert(link.group, path.to_vec());
        }
        match node {
            Node::Dir { tree, .. } => {
                self.head(path, meta, MemberKind::Dir, None)?;
                return Ok(Some(tree));
            }
            Node::File { size, content, .. } => self.file(path, meta, size, &content)?,
            Node::Symlink { target } => {
                self.head(path, meta, MemberKind::Symlink { target }, None)?
            }
            Node::Fifo => self.head(path, meta, MemberKind::Fifo, None)?,
            Node::CharDevice { major, minor } => {
                self.head(path, meta, MemberKind::CharDevice { major, minor }, None)?;
            }
            Node::BlockDevice { major, minor } => {
                self.head(path, meta, MemberKind::BlockDevice { major, minor }, None)?;
            }
        }
        Ok(None)
    }

    fn file(&mut self, path: &[u8], meta: Meta, size: u64, content: &Content) -> Result<()> {
        let kind = MemberKind::File { size };
        if let Content::Inline(bytes) = content {
            // The header states the size, so other content would shift all following members.
            if bytes.len() as u64 != size {
                return Err(broken(path));
            }
            self.head(path, meta, kind, None)?;
            self.push(ArchivePiece::Bytes(bytes.clone()), size)?;
            return self.pad(size);
        }
        let runs = self.runs(path, size, content)?;
        self.head(path, meta, kind, runs.as_deref())?;
        // With a sparse map, only the bytes inside its ranges are written.
        let mut runs = runs.map(Vec::into_iter);
        let mut run = runs.as_mut().and_then(Iterator::next);
        let (mut at, mut stored) = (0, 0);
        for extent in self.export.repo.extents(content) {
            let Extent { len, chunk } = extent?;
            let mut written = len;
            if runs.is_some() && chunk.is_none() {
                // The map merges small holes into the ranges with data. The zeros of these holes
                // are written.
                while run.is_some_and(|r| r.0 + r.1 <= at) {
                    run = runs.as_mut().and_then(Iterator::next);
                }
                let inside = run.is_some_and(|r| r.0 <= at && at + len <= r.0 + r.1);
                written = if inside { len } else { 0 };
            }
            match chunk {
                Some(id) => self.push(ArchivePiece::Chunk { id, len }, len)?,
                None => self.zeros(written)?,
            }
            at += len;
            stored += written;
        }
        self.pad(stored)
    }

    /// Returns the ranges with data of a sparse file. Returns `None` if the holes are too small to
    /// be worth a sparse map. Fails if the extents do not match the size.
    fn runs(&self, path: &[u8], size: u64, content: &Content) -> Result<Option<Vec<Run>>> {
        let mut runs: Vec<Run> = Vec::new();
        let (mut at, mut holes) = (0u64, 0);
        for extent in self.export.repo.extents(content) {
            let extent = extent?;
            match (extent.chunk, runs.last_mut()) {
                (None, _) => holes += extent.len,
                (Some(_), Some(last)) if last.0 + last.1 == at => last.1 += extent.len,
                (Some(_), _) => runs.push((at, extent.len)),
            }
            at = at
                .checked_add(extent.len)
                .filter(|at| *at <= size)
                .ok_or_else(|| broken(path))?;
        }
        if at != size {
            return Err(broken(path));
        }
        Ok((holes > self.export.holes_written).then(|| few(runs)))
    }

    fn head(
        &mut self,
        path: &[u8],
        meta: Meta,
        kind: MemberKind,
        runs: Option<&[Run]>,
    ) -> Result<()> {
        *self.members += 1;
        self.batch.files += u64::from(kind != MemberKind::Dir);
        let bytes = head(
            &ArchiveMember {
                path: path.to_vec(),
                meta,
                kind,
            },
            runs,
        );
        let len = bytes.len() as u64;
        self.push(ArchivePiece::Bytes(bytes), len)
    }

    fn pad(&mut self, len: u64) -> Result<()> {
        self.zeros(padding(len))
    }

    fn zeros(&mut self, mut len: u64) -> Result<()> {
        // A hole may be longer than the memory, so it is divided.
        while len > 0 {
            let now = len.min(BATCH);
            self.push(ArchivePiece::Zeros(now), now)?;
            len -= now;
        }
        Ok(())
    }

    fn push(&mut self, piece: ArchivePiece, len: u64) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        self.batch.pieces.push(piece);
        self.batch.bytes += len;
        if self.batch.bytes >= BATCH || self.batch.pieces.len() >= PIECES_MAX {
            self.hand_over()
        } else {
            Ok(())
        }
    }

    fn hand_over(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if batch.pieces.is_empty() {
            Ok(())
        } else {
            self.give.give(batch)
        }
    }
}

/// Returns the metadata of a prefix directory that the version does not contain.
fn prefix_meta(secs: i64) -> Meta {
    Meta {
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: Time { secs, nanos: 0 },
        xattrs: Vec::new(),
    }
}

fn broken(path: &[u8]) -> Error {
    ReadError::Extents {
        path: display(path),
    }
    .into()
}
