//! Reads one pack sequentially, and verifies its bytes against its name and every object against
//! its id.
//!
//! Frames are decoded from the same buffer that is hashed, without copying. Only the bases of
//! deltas are looked up.

use std::fs::File;
use std::path::Path;

use crate::codec::compress::Decompressor;
use crate::codec::hash::NameHasher;
use crate::error::Result;
use crate::format::frame::{CODEC_DELTA, CODEC_RAW, FrameHead, OBJECT_MAX};
use crate::format::pack::TableFrame;
use crate::format::segment::PackName;
use crate::model::id::{Id, ObjectKind};
use crate::repo::Repo;
use crate::repo::packs::PackTable;
use crate::sys::uncached::IoMode;

/// Number of bytes per system call.
const READ: usize = 512 * 1024;
/// Initial length of the buffer, which grows for larger frames.
const BUFFER: usize = 4 << 20;

/// Limit on the length of a frame: the largest object, with a margin for incompressible data.
const FRAME_MAX: usize = OBJECT_MAX + (1 << 20);

/// A frame whose objects are unreadable, or differ from those in the table of contents.
#[derive(Debug)]
pub(super) struct BadFrame {
    pub(super) offset: u64,
    pub(super) kind: ObjectKind,
    pub(super) ids: Vec<Id>,
    pub(super) why: BadWhy,
}

/// The reason why the objects of a frame are unreadable.
#[derive(Debug)]
pub(super) enum BadWhy {
    /// The frame is damaged.
    Frame(String),
    /// The base of a delta is unreadable, so this pack is not at fault.
    Base,
}

/// The result of reading a pack.
#[derive(Debug, Default)]
pub(super) struct PackOutcome {
    pub(super) name_matches: bool,
    pub(super) bytes: u64,
    pub(super) plain_bytes: u64,
    pub(super) frames: u64,
    pub(super) bad: Vec<BadFrame>,
    /// The error that ended the read too early.
    pub(super) failed: Option<std::io::Error>,
}

/// Reads packs, reusing its buffers for each.
pub(super) struct PackReader<'a> {
    repo: &'a Repo,
    decompressor: Decompressor,
    buffer: Vec<u8>,
    plain: Vec<u8>,
}

impl<'a> PackReader<'a> {
    pub(super) fn new(repo: &'a Repo) -> Self {
        Self {
            repo,
            decompressor: Decompressor::default(),
            buffer: vec![0; BUFFER],
            plain: Vec::new(),
        }
    }

    /// Reads a pack. Returns `None` if `stop` has returned true before the end. Without a table of
    /// contents, verifies only the name.
    pub(super) fn read(
        &mut self,
        path: &Path,
        name: &PackName,
        table: Option<&PackTable>,
        stop: &dyn Fn(u64) -> bool,
    ) -> Option<PackOutcome> {
        let mut outcome = PackOutcome::default();
        let mut buffer = std::mem::take(&mut self.buffer);
        // An error of the disk is a result like any other, because the other packs can still be
        // checked.
        let done = match File::open(path) {
            Ok(file) => {
                let mut stream = Stream::new(file, &mut buffer, stop);
                let read = self
                    .frames(&mut stream, table, &mut outcome)
                    // The name covers the whole file, including the table of contents at the end.
                    .and_then(|()| stream.rest());
                outcome.bytes = stream.read;
                match read {
                    Ok(()) => outcome.name_matches = stream.hasher.finish() == *name,
                    Err(e) => outcome.failed = Some(e),
                }
                !stream.stopped
            }
            Err(e) => {
                outcome.failed = Some(e);
                true
            }
        };
        self.buffer = buffer;
        done.then_some(outcome)
    }

    fn frames(
        &mut self,
        stream: &mut Stream<'_>,
        table: Option<&PackTable>,
        outcome: &mut PackOutcome,
    ) -> std::io::Result<()> {
        let Some(table) = table else { return Ok(()) };
        if let Some(first) = table.frames.first() {
            let header = usize::try_from(first.offset).unwrap_or(0);
            stream.take(header)?;
        }
        for frame in &table.frames {
            outcome.frames += 1;
            // A forged length must not make the check allocate gigabytes.
            let checked = if frame.stored as usize > FRAME_MAX {
                stream.skip(u64::from(frame.stored))?;
                Err(BadWhy::Frame(
                    "longer than the maximum frame length".to_owned(),
                ))
            } else {
                self.frame(frame, stream.take(frame.stored as usize)?)
            };
            // A bad frame does not end the loop, because the table gives the position of the next
            // frame.
            if let Err(why) = checked {
                let ids = frame.objects.iter().map(|o| o.0).collect();
                outcome.bad.push(BadFrame {
                    offset: frame.offset,
                    kind: frame.kind,
                    ids,
                    why,
                });
            }
            outcome.plain_bytes += frame.objects.iter().map(|o| u64::from(o.1)).sum::<u64>();
            if stream.stopped {
                break;
            }
        }
        Ok(())
    }

    /// Decodes a frame and verifies its objects.
    fn frame(&mut self, frame: &TableFrame, mut stored: &[u8]) -> Result<(), BadWhy> {
        let bad = |why: String| BadWhy::Frame(why);
        let head = FrameHead::decode(&mut stored).map_err(|e| bad(e.to_string()))?;
        // The index is built from the table, but a restore relies on the header, so both must
        // agree.
        let lens = head
            .lens
            .iter()
            .copied()
            .eq(frame.objects.iter().map(|o| o.1));
        if !lens || head.kind != frame.kind || head.codec != frame.codec || head.base != frame.base
        {
            return Err(bad(
                "the frame header differs from the table of contents".to_owned()
            ));
        }
        if stored.len() != head.payload as usize {
            return Err(bad("truncated".to_owned()));
        }
        let len = head.plain_len();
        let plain: &[u8] = match (head.codec, &head.base) {
            (CODEC_RAW, _) => stored,
            (CODEC_DELTA, Some(id)) => {
                // Bases may be in other packs, so they are read through the index.
                let base = self.repo.object(head.kind, id).map_err(|_| BadWhy::Base)?;
                let done = self.decompressor.delta(&base, stored, len, &mut self.plain);
                done.map_err(|e| bad(e.to_string()))?;
                &self.plain
            }
            _ => {
                self.decompressor
                    .zstd(stored, len, &mut self.plain)
                    .map_err(|e| bad(e.to_string()))?;
                &self.plain
            }
        };
        let mut at = 0;
        for (id, len) in &frame.objects {
            let end = at + *len as usize;
            // `get` fails if the lengths in the table exceed the frame.
            if plain
                .get(at..end)
                .is_none_or(|bytes| self.repo.ids().id(frame.kind, bytes) != *id)
            {
                return Err(bad(format!(
                    "checksum mismatch in {} {}",
                    frame.kind.name(),
                    id.short()
                )));
            }
            at = end;
        }
        Ok(())
    }
}

/// A file that is read sequentially and hashed at the same time.
struct Stream<'s> {
    file: File,
    buffer: &'s mut Vec<u8>,
    start: usize,
    end: usize,
    hasher: NameHasher,
    read: u64,
    once: IoMode,
    stop: &'s dyn Fn(u64) -> bool,
    stopped: bool,
}

impl<'s> Stream<'s> {
    fn new(file: File, buffer: &'s mut Vec<u8>, stop: &'s dyn Fn(u64) -> bool) -> Self {
        let (hasher, once) = (NameHasher::default(), IoMode::in_pieces(&file));
        Self {
            file,
            buffer,
            start: 0,
            end: 0,
            hasher,
            read: 0,
            once,
            stop,
            stopped: false,
        }
    }

    /// Returns the next `len` bytes; fewer at the end of the file or after a stop.
    fn take(&mut self, len: usize) -> std::io::Result<&[u8]> {
        while self.end - self.start < len && self.fill()? {}
        let from = self.start;
        self.start = self.end.min(from + len);
        Ok(&self.buffer[from..self.start])
    }

    /// Reads and hashes bytes without returning them.
    fn skip(&mut self, mut len: u64) -> std::io::Result<()> {
        while len > 0 && !self.stopped {
            let piece = usize::try_from(len).unwrap_or(READ).min(READ);
            if self.take(piece)?.is_empty() {
                break;
            }
            len -= piece as u64;
        }
        Ok(())
    }

    /// Reads and hashes the rest of the file.
    fn rest(&mut self) -> std::io::Result<()> {
        loop {
            self.start = self.end;
            if !self.fill()? {
                return Ok(());
            }
        }
    }

    fn fill(&mut self) -> std::io::Result<bool> {
        if self.stopped {
            return Ok(false);
        }
        if self.buffer.len() - self.end < READ {
            // Move the bytes that were not taken yet to the front.
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            let len = (self.end + READ).max(BUFFER);
            self.buffer.resize(len, 0);
        }
        let got = self.once.read_at(
            &self.file,
            &mut self.buffer[self.end..self.end + READ],
            self.read,
        )?;
        self.hasher.update(&self.buffer[self.end..self.end + got]);
        self.end += got;
        self.read += got as u64;
        self.stopped = (self.stop)(got as u64);
        Ok(got > 0)
    }
}
