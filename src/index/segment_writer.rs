//! Writes a segment file from sorted rows, and merges several segments into one. Both work as
//! streams.
//!
//! The result is a temporary file and its SHA-256; the caller makes the file durable and renames
//! it. A writer keeps the filter (10 bits per row), the fan-out (4 bytes per 16 to 32 rows) and the
//! pack table in memory; a merge needs 256 KiB more per input.

use super::error::IndexError;
use super::segment_reader::{SegmentIter, SegmentReader};
use crate::codec::hash::NameHasher;
use crate::format::pack::PackKind;
use crate::format::segment::bucket::BucketEncoder;
use crate::format::segment::filter::FilterBuilder;
use crate::format::segment::footer::SegmentFooter;
use crate::format::segment::tables::{self, PackEntry, PackTable};
use crate::format::segment::{self, HEAD_BYTES, IndexRow, PackName, SegmentName, fanout};
use crate::sys::create;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tempfile::NamedTempFile;

const BUFFER: usize = 256 * 1024;

/// A segment that is completely written but not yet durable.
#[derive(Debug)]
pub struct WrittenSegment {
    /// SHA-256 of the file.
    pub name: SegmentName,
    /// Kind of the objects in the rows.
    pub kind: PackKind,
    /// Length of the file in bytes.
    pub file_bytes: u64,
    /// Number of rows.
    pub rows: u64,
    /// The file; dropping the value removes it.
    pub file: NamedTempFile,
}

/// Writes one segment from rows in sorted order.
#[derive(Debug)]
pub struct SegmentWriter {
    out: HashingFile,
    kind: PackKind,
    bits: u8,
    packs: PackTable,
    filter: FilterBuilder,
    bucket: BucketEncoder,
    lengths: Vec<u32>,
    last: Option<IndexRow>,
    rows: u64,
}

impl SegmentWriter {
    /// Starts a segment in a temporary file in `dir`. The caller adds at most `rows_at_most` rows,
    /// which may refer only to `packs`.
    pub fn create(
        dir: &Path,
        kind: PackKind,
        packs: PackTable,
        rows_at_most: u64,
    ) -> Result<Self, IndexError> {
        let mut out = HashingFile::create(dir)?;
        out.write(&segment::encode_head(kind))?;
        Ok(Self {
            bits: fanout::bits_for(rows_at_most),
            filter: FilterBuilder::new(rows_at_most).map_err(|source| out.wrap(source))?,
            out,
            kind,
            packs,
            bucket: BucketEncoder::default(),
            lengths: Vec::new(),
            last: None,
            rows: 0,
        })
    }

    /// Appends a row. Fails if the row is smaller than the previous one; omits a row that equals
    /// the previous one.
    pub fn push(&mut self, row: &IndexRow) -> Result<(), IndexError> {
        if let Some(last) = &self.last {
            match last.cmp(row) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(()),
                std::cmp::Ordering::Greater => {
                    return Err(self.out.wrap(segment::SegmentError::Rows("not sorted")));
                }
            }
        }
        let bucket = fanout::bucket_of(&row.id, self.bits);
        // Rows come in order, so every bucket before that of this row is complete.
        self.finish_buckets(bucket)?;
        self.bucket
            .push(self.bits, row, &self.packs)
            .map_err(|source| self.out.wrap(source))?;
        self.filter.insert(&row.id);
        self.last = Some(*row);
        self.rows += 1;
        Ok(())
    }

    /// Finishes the segment, which declares that it replaces the segments `replaces`.
    pub fn finish(mut self, replaces: &[SegmentName]) -> Result<WrittenSegment, IndexError> {
        // Finishes the last bucket with rows and all empty ones after it, because the fan-out
        // describes every bucket.
        self.finish_buckets(1 << self.bits)?;
        let bucket_bytes = self.out.written - HEAD_BYTES;
        self.out.write(&fanout::encode(&self.lengths))?;
        for (piece, sum) in self.filter.pieces() {
            self.out.write(piece)?;
            self.out.write(&sum)?;
        }
        self.out.write(&self.packs.encode())?;
        self.out.write(&tables::encode_replaces(replaces))?;
        let footer = SegmentFooter {
            kind: self.kind,
            bits: self.bits,
            rows: self.rows,
            bucket_bytes,
            filter_blocks: self.filter.blocks(),
            packs: self.packs.entries().len() as u64,
            replaces: replaces.len() as u64,
        };
        self.out.write(&footer.encode())?;
        self.out.finish(self.kind, self.rows)
    }

    /// Finishes every bucket before `next`.
    fn finish_buckets(&mut self, next: u64) -> Result<(), IndexError> {
        while (self.lengths.len() as u64) < next {
            let number = self.lengths.len() as u64;
            let mut len = 0;
            if let Some(bytes) = self
                .bucket
                .finish(number)
                .map_err(|source| self.out.wrap(source))?
            {
                self.out.write(bytes)?;
                len = u32::try_from(bytes.len()).unwrap_or(0);
            }
            self.bucket.clear();
            self.lengths.push(len);
        }
        Ok(())
    }
}

/// Writes sorted rows as a segment. `packs` must contain all packs to which the rows refer, and may
/// contain more.
pub fn write_segment(
    dir: &Path,
    kind: PackKind,
    rows: &[IndexRow],
    packs: &[PackEntry],
    replaces: &[SegmentName],
) -> Result<WrittenSegment, IndexError> {
    // List only packs that a row refers to, because readers take the table as the list of packs of
    // the segment.
    let mut named: Vec<PackName> = rows
        .iter()
        .flat_map(|r| [Some(r.place.pack), r.base.map(|b| b.pack)])
        .flatten()
        .collect();
    named.sort_unstable();
    named.dedup();
    let used = packs
        .iter()
        .filter(|p| named.binary_search(&p.name).is_ok())
        .copied()
        .collect();
    let packs = PackTable::new(used).map_err(|source| IndexError::Segment {
        path: dir.to_owned(),
        source,
    })?;
    let mut writer = SegmentWriter::create(dir, kind, packs, rows.len() as u64)?;
    for row in rows {
        writer.push(row)?;
    }
    writer.finish(replaces)
}

/// Merges segments of one kind into a segment that replaces them. Omits rows that depend on a pack
/// for which `keep` returns false.
pub fn merge(
    dir: &Path,
    kind: PackKind,
    inputs: &[Arc<SegmentReader>],
    keep: impl Fn(&PackName) -> bool,
) -> Result<WrittenSegment, IndexError> {
    let names: Vec<SegmentName> = inputs.iter().map(|r| *r.name()).collect();
    merge_as(dir, kind, inputs, keep, &names)
}

/// Like [`merge`], but the resulting segment replaces `replaces` instead of the inputs.
pub fn merge_as(
    dir: &Path,
    kind: PackKind,
    inputs: &[Arc<SegmentReader>],
    keep: impl Fn(&PackName) -> bool,
    replaces: &[SegmentName],
) -> Result<WrittenSegment, IndexError> {
    let packs = inputs
        .iter()
        .flat_map(|r| r.packs())
        .filter(|p| keep(&p.name))
        .copied()
        .collect();
    let packs = PackTable::new(packs).map_err(|source| IndexError::Segment {
        path: dir.to_owned(),
        source,
    })?;
    // If all packs are kept, no row has to be checked.
    let everything = inputs
        .iter()
        .all(|r| r.packs().iter().all(|p| packs.number(&p.name).is_some()));
    let mut writer =
        // A row in several inputs counts several times, so the filter may be larger than necessary.
        SegmentWriter::create(dir, kind, packs, inputs.iter().map(|r| r.rows()).sum())?;
    let mut iters: Vec<SegmentIter> = inputs.iter().map(SegmentReader::iter).collect();
    let mut heap = BinaryHeap::with_capacity(iters.len());
    for (n, iter) in iters.iter_mut().enumerate() {
        heap.extend(iter.next().transpose()?.map(|row| Reverse((row, n))));
    }
    // The heap has the next row of each input, so its top is the next row of the result. Replacing
    // the top in place sorts it once; a pop and a push would sort it twice.
    while let Some(mut top) = heap.peek_mut() {
        let Reverse((row, n)) = *top;
        let kept = |pack: &PackName| everything || writer.packs.number(pack).is_some();
        if kept(&row.place.pack) && row.base.is_none_or(|b| kept(&b.pack)) {
            writer.push(&row)?;
        }
        match iters.get_mut(n).and_then(Iterator::next).transpose()? {
            Some(next) => top.0.0 = next,
            None => {
                std::collections::binary_heap::PeekMut::pop(top);
            }
        }
    }
    writer.finish(replaces)
}

/// A temporary file that is hashed while it is written.
#[derive(Debug)]
struct HashingFile {
    file: NamedTempFile,
    buffer: Vec<u8>,
    hasher: NameHasher,
    written: u64,
}

impl HashingFile {
    fn create(dir: &Path) -> Result<Self, IndexError> {
        let file = create::temp_file(dir, "segment-").map_err(|source| IndexError::Io {
            path: dir.to_owned(),
            source,
        })?;
        Ok(Self {
            file,
            buffer: Vec::with_capacity(BUFFER),
            hasher: NameHasher::default(),
            written: 0,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        self.buffer.extend_from_slice(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), IndexError> {
        self.hasher.update(&self.buffer);
        let written = self.file.as_file_mut().write_all(&self.buffer);
        written.map_err(|source| IndexError::Io {
            path: self.file.path().to_owned(),
            source,
        })?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self, kind: PackKind, rows: u64) -> Result<WrittenSegment, IndexError> {
        self.flush()?;
        let name = self.hasher.finish();
        Ok(WrittenSegment {
            name,
            kind,
            file_bytes: self.written,
            rows,
            file: self.file,
        })
    }

    fn wrap(&self, source: segment::SegmentError) -> IndexError {
        IndexError::Segment {
            path: self.file.path().to_owned(),
            source,
        }
    }
}
