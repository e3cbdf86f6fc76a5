//! Reads a segment file: lookups that need one small read, iteration in order, and a full check.
//!
//! Opening a segment reads only its head, its footer and the small tables. Pages of the fan-out and
//! pieces of the filter are read and verified on first use and then kept; buckets are read and
//! verified on each use. All methods take `&self`, and several threads may call them at the same
//! time.

use super::error::IndexError;
use crate::codec::hash::NameHasher;
use crate::format::pack::PackKind;
use crate::format::segment::fanout::{self, FanoutPage};
use crate::format::segment::footer::{FOOTER_BYTES, SegmentFooter, SegmentLayout};
use crate::format::segment::tables::{self, PackEntry, PackTable};
use crate::format::segment::{self, HEAD_BYTES, IndexRow, PackName, SegmentName, bucket, filter};
use crate::model::id::Id;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

const BLOCK: usize = 64;
const STACK_BUCKET: usize = 4096;
const READ_AHEAD: u64 = 256 * 1024;

/// A source of the bytes of a segment: a local file, or a remote object.
pub trait SegmentBytes: std::fmt::Debug + Send + Sync {
    /// Returns the length in bytes.
    fn total(&self) -> std::io::Result<u64>;
    /// Fills the buffer from offset `at`. Fails with `UnexpectedEof` if the source is too short.
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> std::io::Result<()>;
    /// Drops cached copies of the bytes, because they are damaged.
    fn forget(&self) {}
}

impl SegmentBytes for File {
    fn total(&self) -> std::io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> std::io::Result<()> {
        FileExt::read_exact_at(self, buffer, at)
    }
}

/// An open index segment.
#[derive(Debug)]
pub struct SegmentReader {
    name: SegmentName,
    path: PathBuf,
    file: Box<dyn SegmentBytes>,
    footer: SegmentFooter,
    layout: SegmentLayout,
    packs: PackTable,
    replaces: Vec<SegmentName>,
    fanout: Vec<OnceLock<FanoutPage>>,
    filter: Vec<OnceLock<Box<[u8]>>>,
}

impl SegmentReader {
    /// Opens a segment file, and checks its head, footer and small tables.
    pub fn open(name: SegmentName, path: &Path) -> Result<Self, IndexError> {
        let file = File::open(path).map_err(|source| IndexError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::of_bytes(name, path, Box::new(file))
    }

    /// Opens a segment whose bytes come from `file`. `path` is used only in messages.
    pub fn of_bytes(
        name: SegmentName,
        path: &Path,
        file: Box<dyn SegmentBytes>,
    ) -> Result<Self, IndexError> {
        let io = |source| IndexError::Io {
            path: path.to_owned(),
            source,
        };
        let damaged = |why| IndexError::Segment {
            path: path.to_owned(),
            source: why,
        };
        let file_bytes = file.total().map_err(io)?;
        let at = file_bytes
            .checked_sub(FOOTER_BYTES)
            .ok_or(damaged(segment::SegmentError::Damaged("truncated")))?;
        // The footer comes first, because its layout bounds all lengths that are read after it.
        let mut tail = [0; 64];
        read_exact(&*file, path, &mut tail, at)?;
        let footer = SegmentFooter::decode(&tail).map_err(damaged)?;
        let layout = footer.layout_in(file_bytes).map_err(damaged)?;
        let mut head = [0; 16];
        read_exact(&*file, path, &mut head, 0)?;
        // The footer has a valid checksum and a known version, so a head that differs from it is
        // damaged.
        if segment::decode_head(&head) != Ok(footer.kind) {
            return Err(damaged(segment::SegmentError::Damaged(
                "head does not match the footer",
            )));
        }
        let tables = read_range(&*file, path, &(layout.packs.start..layout.replaces.end))?;
        let split = usize::try_from(layout.packs.end - layout.packs.start).unwrap_or(usize::MAX);
        let (packs, replaces) = tables
            .split_at_checked(split)
            .ok_or(damaged(segment::SegmentError::Damaged("truncated")))?;
        let packs = PackTable::decode(packs).map_err(damaged)?;
        let replaces = tables::decode_replaces(replaces).map_err(damaged)?;
        // The layout has shown that these numbers fit the length of the file, so a damaged footer
        // cannot allocate all memory.
        let cells = |n: u64| usize::try_from(n).unwrap_or(0);
        let fanout = std::iter::repeat_with(OnceLock::new)
            .take(cells(fanout::page_count(footer.bits)))
            .collect();
        let pieces = footer.filter_blocks.div_ceil(filter::PIECE_BLOCKS);
        let filter = std::iter::repeat_with(OnceLock::new)
            .take(cells(pieces))
            .collect();
        Ok(Self {
            name,
            path: path.to_owned(),
            file,
            footer,
            layout,
            packs,
            replaces,
            fanout,
            filter,
        })
    }

    pub const fn name(&self) -> &SegmentName {
        &self.name
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the kind of the objects in the rows.
    pub const fn kind(&self) -> PackKind {
        self.footer.kind
    }

    /// Returns the number of rows.
    pub const fn rows(&self) -> u64 {
        self.footer.rows
    }

    /// Returns the length of the file in bytes.
    pub const fn file_bytes(&self) -> u64 {
        self.layout.file_bytes
    }

    /// Returns the packs to which the rows refer, sorted by name.
    pub fn packs(&self) -> &[PackEntry] {
        self.packs.entries()
    }

    /// Returns the length of a pack in bytes, or `None` if the pack table does not contain the
    /// pack.
    pub fn pack_bytes(&self, name: &PackName) -> Option<u64> {
        Some(self.packs.get(self.packs.number(name)?)?.size_bytes)
    }

    /// Returns the byte ranges to fetch in advance, so that a lookup needs no separate read for the
    /// fan-out: the head, the fan-out, the small tables and the footer.
    pub fn fanout_ranges(&self) -> Vec<Range<u64>> {
        vec![
            0..HEAD_BYTES,
            self.layout.fanout.clone(),
            self.layout.packs.start..self.layout.file_bytes,
        ]
    }

    /// Returns the names of the segments that this segment replaces.
    pub fn replaces(&self) -> &[SegmentName] {
        &self.replaces
    }

    /// Returns whether the segment may contain an id. Always returns true for an id that the
    /// segment contains.
    pub fn may_contain(&self, id: &Id) -> Result<bool, IndexError> {
        let block = filter::block_of(id, self.footer.filter_blocks);
        let piece = self.filter_piece(block / filter::PIECE_BLOCKS)?;
        let at = usize::try_from(block % filter::PIECE_BLOCKS).unwrap_or(0) * BLOCK;
        let block = piece
            .get(at..at + BLOCK)
            .ok_or_else(|| self.damaged("filter piece has a wrong length"))?;
        Ok(filter::may_contain(block, id))
    }

    /// Returns the row of one copy of an object: a full copy if the segment has one, otherwise a
    /// delta. Returns `None` if the segment has neither.
    pub fn lookup(&self, id: &Id) -> Result<Option<IndexRow>, IndexError> {
        let mut found = None;
        self.visit(id, |row| {
            found = Some(row);
            false
        })?;
        Ok(found)
    }

    /// Appends all copies of an object to `out`, full copies first.
    pub fn lookup_all(&self, id: &Id, out: &mut Vec<IndexRow>) -> Result<(), IndexError> {
        self.visit(id, |row| {
            out.push(row);
            true
        })
    }

    /// Iterates over all rows in order.
    pub fn iter(self: &Arc<Self>) -> SegmentIter {
        SegmentIter {
            reader: Arc::clone(self),
            bucket: 0,
            ahead: Vec::new(),
            at: 0,
            rows: Vec::new().into_iter(),
        }
    }

    /// Iterates over the rows in order, starting with the bucket of `id`, which may begin with
    /// smaller ids.
    pub fn iter_from(self: &Arc<Self>, id: &Id) -> SegmentIter {
        SegmentIter {
            bucket: fanout::bucket_of(id, self.footer.bits),
            ..self.iter()
        }
    }

    /// Reads the whole file. Verifies its name, and checks that the fan-out, the filter, the order
    /// and the counts match the rows.
    pub fn verify(self: &Arc<Self>) -> Result<(), IndexError> {
        if self.hash_file()? != self.name {
            return Err(self.damaged("hash does not match the name"));
        }
        // The hash finds changed bytes. The checks below find a segment whose writer was wrong or
        // hostile.
        let mut next = self.layout.buckets.start;
        for page in 0..fanout::page_count(self.footer.bits) {
            let span = self.fanout_page(page)?.span();
            if span.start != next {
                return Err(self.damaged("fan-out has gaps"));
            }
            next = span.end;
        }
        let mut rows = 0u64;
        for row in self.iter() {
            if !self.may_contain(&row?.id)? {
                return Err(self.damaged("filter does not contain a row"));
            }
            rows += 1;
        }
        if next != self.layout.buckets.end || rows != self.footer.rows {
            return Err(self.damaged("counts do not match the rows"));
        }
        Ok(())
    }

    fn hash_file(&self) -> Result<SegmentName, IndexError> {
        let mut hasher = NameHasher::default();
        let mut at = 0;
        while at < self.layout.file_bytes {
            let end = (at + READ_AHEAD).min(self.layout.file_bytes);
            hasher.update(&read_range(&*self.file, &self.path, &(at..end))?);
            at = end;
        }
        Ok(hasher.finish())
    }

    fn visit(&self, id: &Id, found: impl FnMut(IndexRow) -> bool) -> Result<(), IndexError> {
        if !self.may_contain(id)? {
            return Ok(());
        }
        let bits = self.footer.bits;
        let range = self.bucket_range(fanout::bucket_of(id, bits))?;
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        // Most buckets fit into the stack buffer, which saves an allocation per lookup.
        let mut stack = [0; STACK_BUCKET];
        let heap;
        let bytes = if let Some(buffer) = stack.get_mut(..len) {
            read_exact(&*self.file, &self.path, buffer, range.start)?;
            &*buffer
        } else {
            heap = read_range(&*self.file, &self.path, &range)?;
            &heap
        };
        bucket::find(bits, id, bytes, &self.packs, found).map_err(|e| self.wrap(e))
    }

    fn bucket_range(&self, bucket: u64) -> Result<Range<u64>, IndexError> {
        let page = self.fanout_page(bucket / fanout::PAGE_BUCKETS)?;
        page.bucket(bucket % fanout::PAGE_BUCKETS)
            .ok_or_else(|| self.damaged("bucket is not in the fan-out"))
    }

    fn fanout_page(&self, page: u64) -> Result<&FanoutPage, IndexError> {
        self.load(&self.fanout, page, || {
            let (start, len) = fanout::page_range(self.footer.bits, page);
            let start = self.layout.fanout.start + start;
            let bytes = read_range(&*self.file, &self.path, &(start..start + len))?;
            FanoutPage::decode(self.footer.bits, page, self.layout.buckets.end, &bytes)
                .map_err(|e| self.wrap(e))
        })
    }

    fn filter_piece(&self, piece: u64) -> Result<&[u8], IndexError> {
        let loaded = self.load(&self.filter, piece, || {
            let (start, len) = filter::piece_range(self.footer.filter_blocks, piece)
                .ok_or_else(|| self.damaged("filter is too short"))?;
            let start = self.layout.filter.start + start;
            let mut bytes = read_range(&*self.file, &self.path, &(start..start + len))?;
            let len = filter::decode_piece(piece, &bytes)
                .map_err(|e| self.wrap(e))?
                .len();
            bytes.truncate(len);
            Ok(bytes.into_boxed_slice())
        })?;
        Ok(loaded)
    }

    fn load<'a, T>(
        &self,
        cells: &'a [OnceLock<T>],
        n: u64,
        read: impl FnOnce() -> Result<T, IndexError>,
    ) -> Result<&'a T, IndexError> {
        let cell = usize::try_from(n).ok().and_then(|n| cells.get(n));
        let cell = cell.ok_or_else(|| self.damaged("piece is outside its section"))?;
        if let Some(value) = cell.get() {
            return Ok(value);
        }
        // Two threads may read the same piece; that is cheaper than holding a lock during the read.
        let value = read()?;
        Ok(cell.get_or_init(|| value))
    }

    fn wrap(&self, source: segment::SegmentError) -> IndexError {
        self.file.forget();
        IndexError::Segment {
            path: self.path.clone(),
            source,
        }
    }

    fn damaged(&self, why: &'static str) -> IndexError {
        self.wrap(segment::SegmentError::Damaged(why))
    }
}

/// Iterates over all rows of a segment in order. Buffers about 256 KiB, and ends after the first
/// error.
#[derive(Debug)]
pub struct SegmentIter {
    reader: Arc<SegmentReader>,
    bucket: u64,
    ahead: Vec<u8>,
    at: u64,
    rows: std::vec::IntoIter<IndexRow>,
}

impl SegmentIter {
    fn fill(&mut self) -> Result<(), IndexError> {
        let reader = &self.reader;
        let range = reader.bucket_range(self.bucket)?;
        // Reads this bucket, and the following ones up to 256 KiB.
        if range.start < self.at || range.end > self.at + self.ahead.len() as u64 {
            let end = range.end.max(
                range
                    .start
                    .saturating_add(READ_AHEAD)
                    .min(reader.layout.buckets.end),
            );
            self.ahead = read_range(&*reader.file, &reader.path, &(range.start..end))?;
            self.at = range.start;
        }
        let inside = |n: u64| usize::try_from(n - self.at).unwrap_or(usize::MAX);
        let bytes = self
            .ahead
            .get(inside(range.start)..inside(range.end))
            .unwrap_or_default();
        let rows = bucket::decode(reader.footer.bits, self.bucket, bytes, &reader.packs);
        self.rows = rows.map_err(|e| reader.wrap(e))?.into_iter();
        self.bucket += 1;
        Ok(())
    }
}

impl Iterator for SegmentIter {
    type Item = Result<IndexRow, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(Ok(row));
            }
            let end = 1 << self.reader.footer.bits;
            if self.bucket >= end {
                return None;
            }
            if let Err(e) = self.fill() {
                self.bucket = end;
                return Some(Err(e));
            }
        }
    }
}

/// Reads a range, whose length the caller has checked against the length of the file.
fn read_range(
    file: &dyn SegmentBytes,
    path: &Path,
    range: &Range<u64>,
) -> Result<Vec<u8>, IndexError> {
    let len = usize::try_from(range.end - range.start).map_err(|_| IndexError::Segment {
        path: path.to_owned(),
        source: segment::SegmentError::Damaged("too long"),
    })?;
    let mut bytes = vec![0; len];
    read_exact(file, path, &mut bytes, range.start)?;
    Ok(bytes)
}

fn read_exact(
    file: &dyn SegmentBytes,
    path: &Path,
    buffer: &mut [u8],
    at: u64,
) -> Result<(), IndexError> {
    file.read_exact_at(buffer, at)
        .map_err(|source| match source.kind() {
            // All ranges fit the length at the time of opening, so the file was truncated since
            // then.
            std::io::ErrorKind::UnexpectedEof => IndexError::Segment {
                path: path.to_owned(),
                source: segment::SegmentError::Damaged("truncated"),
            },
            _ => IndexError::Io {
                path: path.to_owned(),
                source,
            },
        })
}
