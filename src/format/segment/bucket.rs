//! A bucket: all rows whose ids begin with the same bits, followed by a checksum. A bucket without
//! rows has length 0.
//!
//! A row consists of the id without the whole bytes that the bucket implies; the codec, with bit 7
//! set for a delta; and five LEB128 numbers: pack number, offset, stored length, offset in the
//! decompressed frame, and uncompressed length. In a delta, the codec of the base and the same five
//! numbers of the base follow.

use super::{
    IndexRow, ObjectLocation, PackName, SUM_BYTES, SegmentError, SegmentSection, checked, checksum,
    fanout, tables::PackTable,
};
use crate::format::varint;
use crate::model::id::Id;

const DELTA: u8 = 0x80;

/// Encodes the rows of one bucket.
#[derive(Debug, Default)]
pub struct BucketEncoder {
    bytes: Vec<u8>,
}

impl BucketEncoder {
    /// Appends a row. The caller passes the rows in sorted order.
    pub fn push(
        &mut self,
        bits: u8,
        row: &IndexRow,
        packs: &PackTable,
    ) -> Result<(), SegmentError> {
        if row.place.codec & DELTA != 0 {
            return Err(SegmentError::Rows("codec above 127"));
        }
        self.bytes.extend_from_slice(&row.id.0[implied(bits)..]);
        self.bytes
            .push(row.place.codec | if row.base.is_some() { DELTA } else { 0 });
        self.push_place(&row.place, packs)?;
        if let Some(base) = &row.base {
            self.bytes.push(base.codec);
            self.push_place(base, packs)?;
        }
        Ok(())
    }

    fn push_place(
        &mut self,
        place: &ObjectLocation,
        packs: &PackTable,
    ) -> Result<(), SegmentError> {
        let pack = packs
            .number(&place.pack)
            .ok_or(SegmentError::Rows("pack is not in the table"))?;
        for number in [pack, place.offset, place.stored, place.within, place.len] {
            varint::put(&mut self.bytes, u64::from(number));
        }
        Ok(())
    }

    /// Adds the checksum of bucket `bucket` and returns its bytes, or `None` if the bucket has no
    /// rows.
    pub fn finish(&mut self, bucket: u64) -> Result<Option<&[u8]>, SegmentError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let sum = checksum(SegmentSection::Bucket, bucket, &self.bytes);
        self.bytes.extend_from_slice(&sum);
        // A row has at most 84 bytes, so the limit allows about 50,000 rows where 32 are expected.
        // Only crafted ids, or very many copies of one object, can exceed it.
        if self.bytes.len() as u64 > u64::from(fanout::MAX_BUCKET_BYTES) {
            return Err(SegmentError::Rows(
                "bucket too long: ids are not uniformly distributed",
            ));
        }
        Ok(Some(&self.bytes))
    }

    /// Removes all rows, so that the next bucket can be encoded.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// Decodes all rows of bucket `bucket`. Checks that they belong to this bucket and are sorted.
pub fn decode(
    bits: u8,
    bucket: u64,
    bytes: &[u8],
    packs: &PackTable,
) -> Result<Vec<IndexRow>, SegmentError> {
    let mut rows: Vec<IndexRow> = Vec::new();
    let mut cursor = Cursor::new(bits, bucket, bytes)?;
    let mut id = Id([0; 32]);
    let skip = implied(bits);
    // With 0 bits, the shift by 64 overflows, and the result must be 0.
    let top = bucket
        .checked_shl(64 - u32::from(bits))
        .unwrap_or(0)
        .to_be_bytes();
    id.0[..skip].copy_from_slice(&top[..skip]);
    while let Some(raw) = cursor.next()? {
        id.0[skip..].copy_from_slice(raw.id_rest);
        let row = raw.row(id, packs)?;
        if fanout::bucket_of(&id, bits) != bucket {
            return Err(SegmentError::Damaged("row in the wrong bucket"));
        }
        if rows.last().is_some_and(|last| *last >= row) {
            return Err(SegmentError::Damaged("rows are not sorted"));
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Calls `found` for every row of `id` in its bucket, full copies first, until `found` returns
/// false.
pub fn find(
    bits: u8,
    id: &Id,
    bytes: &[u8],
    packs: &PackTable,
    mut found: impl FnMut(IndexRow) -> bool,
) -> Result<(), SegmentError> {
    let rest = &id.0[implied(bits)..];
    let mut cursor = Cursor::new(bits, fanout::bucket_of(id, bits), bytes)?;
    // Use a linear scan, because rows have no fixed length and a bucket has about 32 of them.
    while let Some(raw) = cursor.next()? {
        match raw.id_rest.cmp(rest) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => {
                if !found(raw.row(*id, packs)?) {
                    break;
                }
            }
            std::cmp::Ordering::Greater => break,
        }
    }
    Ok(())
}

/// Returns the number of whole id bytes that the bucket implies.
const fn implied(bits: u8) -> usize {
    (bits / 8) as usize
}

struct RawPlace {
    codec: u8,
    numbers: [u32; 5],
}

impl RawPlace {
    fn place(&self, packs: &PackTable) -> Result<ObjectLocation, SegmentError> {
        let [pack, offset, stored, within, len] = self.numbers;
        let pack: PackName = packs
            .get(pack)
            .ok_or(SegmentError::Damaged(
                "row refers to a pack that is not in the table",
            ))?
            .name;
        Ok(ObjectLocation {
            pack,
            offset,
            stored,
            within,
            len,
            codec: self.codec,
        })
    }
}

struct RawRow<'a> {
    id_rest: &'a [u8],
    place: RawPlace,
    base: Option<RawPlace>,
}

impl RawRow<'_> {
    fn row(&self, id: Id, packs: &PackTable) -> Result<IndexRow, SegmentError> {
        let base = self.base.as_ref().map(|b| b.place(packs)).transpose()?;
        Ok(IndexRow {
            id,
            place: self.place.place(packs)?,
            base,
        })
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
    id_len: usize,
}

impl<'a> Cursor<'a> {
    fn new(bits: u8, bucket: u64, bytes: &'a [u8]) -> Result<Self, SegmentError> {
        let rest = if bytes.is_empty() {
            bytes
        } else {
            checked(SegmentSection::Bucket, bucket, bytes)?
        };
        // A bucket without rows has no bytes, so a lone checksum is not the output of any encoder.
        if !bytes.is_empty() && bytes.len() == SUM_BYTES {
            return Err(SegmentError::Damaged("bucket without rows"));
        }
        Ok(Self {
            rest,
            id_len: 32 - implied(bits),
        })
    }

    fn next(&mut self) -> Result<Option<RawRow<'a>>, SegmentError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (id_rest, rest) = self.rest.split_at_checked(self.id_len).ok_or(CUT)?;
        self.rest = rest;
        let codec = self.byte()?;
        let place = RawPlace {
            codec: codec & !DELTA,
            numbers: self.numbers()?,
        };
        let base = if codec & DELTA == 0 {
            None
        } else {
            Some(RawPlace {
                codec: self.byte()?,
                numbers: self.numbers()?,
            })
        };
        Ok(Some(RawRow {
            id_rest,
            place,
            base,
        }))
    }

    fn byte(&mut self) -> Result<u8, SegmentError> {
        let (byte, rest) = self.rest.split_first().ok_or(CUT)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn numbers(&mut self) -> Result<[u32; 5], SegmentError> {
        let mut out = [0; 5];
        for n in &mut out {
            *n = varint::take(&mut self.rest)
                .and_then(|n| u32::try_from(n).ok())
                .ok_or(CUT)?;
        }
        Ok(out)
    }
}

const CUT: SegmentError = SegmentError::Damaged("row is truncated or contains an invalid number");
