//! Reads objects: finds the location of an id, reads and decompresses the frame, and verifies the
//! bytes against the id.
//!
//! Only verified bytes are returned. Decompressed frames are kept in a bounded cache, because the
//! objects of a frame are usually needed together. If a copy is damaged, the other copies are
//! tried.

use std::cell::RefCell;
use std::ops::{Deref, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;

use super::layout;
use super::read_ahead::{FrameKey, ReadAhead};
use crate::cache::weighted::WeightedLru;
use crate::codec::compress::Decompressor;
use crate::codec::hash::IdHasher;
use crate::error::{Error, Failure, Kind, Result};
use crate::format::frame::{CODEC_DELTA, CODEC_RAW, FRAME_PLAIN_MAX, FrameHead};
use crate::format::pack::PackKind;
use crate::format::segment::{IndexRow, ObjectLocation, PackName};
use crate::index::Index;
use crate::model::id::{Id, ObjectKind, to_hex};
use crate::store::Store;

/// The error for an object that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// Neither an index segment nor the remote of a lazy clone has the object.
    #[error("{} {id} is not in the repository", kind.name())]
    Missing { kind: ObjectKind, id: Id },
    /// The stored bytes of the object are damaged.
    #[error("{} {} in pack {} is damaged: {why}", kind.name(), id.short(), &to_hex(pack)[..12])]
    Damaged {
        kind: ObjectKind,
        id: Id,
        /// The pack of the damaged copy.
        pack: PackName,
        why: String,
    },
    /// The bytes match the id, but violate the format.
    #[error("{} {} is malformed: {why}", kind.name(), id.short())]
    Malformed {
        kind: ObjectKind,
        id: Id,
        why: String,
    },
}

impl Failure for ObjectError {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }

    fn hint(&self) -> Option<String> {
        Some("run `dvc fsck --data` to list the damage and the affected versions".to_owned())
    }
}

impl ObjectError {
    /// Returns the error for an object that violates the format.
    pub(super) fn malformed(kind: ObjectKind, id: &Id, why: &str) -> Error {
        Self::Malformed {
            kind,
            id: *id,
            why: why.to_owned(),
        }
        .into()
    }
}

/// The verified, uncompressed bytes of an object.
#[derive(Clone)]
pub struct Plain {
    frame: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Deref for Plain {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.frame[self.range.clone()]
    }
}

impl Plain {
    /// Returns an object that is not part of a larger frame.
    pub fn alone(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self {
            frame: Arc::new(bytes),
            range,
        }
    }
}

/// Number of bytes of a frame that are read to decode its header in advance; longer headers are not
/// supported.
const HEAD_MAX: usize = 4096;

thread_local! {
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::default());
}

/// Reads the objects in the frames of packs.
pub struct Frames {
    store: Arc<dyn Store>,
    ids: IdHasher,
    /// Decompressed frames.
    cache: Mutex<WeightedLru<FrameKey, Arc<Vec<u8>>>>,
    /// Whether the packs are local, so that many small reads are cheap.
    is_local: bool,
    read_ahead: ReadAhead,
}

impl Frames {
    /// Returns a reader that keeps at most `budget` bytes of decompressed frames in memory.
    pub(super) fn new(store: Arc<dyn Store>, ids: IdHasher, budget: usize) -> Self {
        let cache = Mutex::new(WeightedLru::new(budget));
        Self {
            store,
            ids,
            cache,
            is_local: false,
            read_ahead: ReadAhead::default(),
        }
    }

    /// Marks the packs as local, so that additional reads are cheap.
    pub(super) fn local(self) -> Self {
        Self {
            is_local: true,
            ..self
        }
    }

    /// Returns the verified bytes of an object, or `None` if the index does not contain it.
    pub fn object(&self, index: &Index, kind: ObjectKind, id: &Id) -> Result<Option<Plain>> {
        let table = PackKind::of(kind);
        let Some(row) = index.lookup(table, id)? else {
            return Ok(None);
        };
        let first = match self.at(index, kind, &row) {
            Ok(plain) => return Ok(Some(plain)),
            Err(e) => e,
        };
        for other in index.lookup_all(table, id)? {
            // Two rows of one delta may name different copies of its base.
            if other != row
                && let Ok(plain) = self.at(index, kind, &other)
            {
                return Ok(Some(plain));
            }
        }
        Err(first)
    }

    /// Returns the verified bytes of the copy of an object at one location.
    pub fn at(&self, index: &Index, kind: ObjectKind, row: &IndexRow) -> Result<Plain> {
        if let Some(plain) = self.alone(kind, row)? {
            return Ok(plain);
        }
        let frame = self.frame(index, kind, &row.id, &row.place, row.base.as_ref())?;
        let (from, len) = (row.place.within as usize, row.place.len as usize);
        let range = from..from.saturating_add(len);
        let Some(bytes) = frame.get(range.clone()) else {
            return Err(damaged(
                kind,
                &row.id,
                &row.place,
                "the object is outside of its frame",
            ));
        };
        if self.ids.id(kind, bytes) != row.id {
            // Remove the frame from the cache, because reading it again may succeed.
            self.cache
                .lock()
                .remove(&(row.place.pack, row.place.offset));
            return Err(damaged(kind, &row.id, &row.place, "checksum mismatch"));
        }
        Ok(Plain { frame, range })
    }

    /// Reads a single object from a frame that is stored uncompressed, if reading the whole frame
    /// would be slower. Returns `None` if the whole frame must be read.
    fn alone(&self, kind: ObjectKind, row: &IndexRow) -> Result<Option<Plain>> {
        const HEAD: usize = 1024;
        let ObjectLocation {
            pack,
            offset,
            stored,
            codec,
            within,
            len,
        } = row.place;
        // Two small reads are cheaper than a large one only if the packs are local and the object
        // is much smaller than the frame.
        if !self.is_local || codec != CODEC_RAW || len as usize + 2 * HEAD > stored as usize {
            return Ok(None);
        }
        // The frame is in memory, so no read is needed.
        if self.cached(&(pack, offset)).is_some() {
            return Ok(None);
        }
        let key = layout::pack(&pack);
        let head = self
            .store
            .read_at(&key, u64::from(offset), HEAD.min(stored as usize))?;
        let mut rest = head.as_slice();
        // A longer or damaged header is handled by reading the whole frame.
        let Ok(decoded) = FrameHead::decode(&mut rest) else {
            return Ok(None);
        };
        let begin = u64::from(offset) + (head.len() - rest.len()) as u64 + u64::from(within);
        let fits = u64::from(decoded.payload) >= u64::from(within) + u64::from(len);
        if decoded.kind != kind || decoded.codec != CODEC_RAW || !fits {
            return Ok(None);
        }
        let bytes = self.store.read_at(&key, begin, len as usize)?;
        // Wrong bytes are reported by reading the whole frame.
        Ok((self.ids.id(kind, &bytes) == row.id).then(|| Plain::alone(bytes)))
    }

    fn frame(
        &self,
        index: &Index,
        kind: ObjectKind,
        id: &Id,
        place: &ObjectLocation,
        base: Option<&ObjectLocation>,
    ) -> Result<Arc<Vec<u8>>> {
        let key = (place.pack, place.offset);
        if self.is_local && kind == ObjectKind::Chunk {
            // Only local chunks are read ahead, because a remote fetches in advance with fewer and
            // larger requests.
            self.read_ahead.follow(place);
        }
        if let Some(hit) = self.cached(&key) {
            return Ok(hit);
        }
        let stored = self.store.read_at(
            &layout::pack(&place.pack),
            u64::from(place.offset),
            place.stored as usize,
        )?;
        let mut rest = stored.as_slice();
        let head =
            FrameHead::decode(&mut rest).map_err(|e| damaged(kind, id, place, &e.to_string()))?;
        // The index may be damaged, so a location that does not fit exactly is refused.
        if rest.len() != head.payload as usize || head.kind != kind {
            return Err(damaged(
                kind,
                id,
                place,
                "the frame does not match its location",
            ));
        }
        let base = match &head.base {
            None => None,
            Some(base_id) => Some(self.base(index, kind, base_id, base)?),
        };
        let plain = Arc::new(
            decode_payload(&head, rest, base.as_deref())
                .map_err(|e| damaged(kind, id, place, &e))?,
        );
        // The frame is kept before its objects are verified, so `at` removes a damaged frame again.
        self.keep(key, &plain);
        Ok(plain)
    }

    fn cached(&self, key: &FrameKey) -> Option<Arc<Vec<u8>>> {
        self.cache.lock().get(key).cloned()
    }

    fn keep(&self, key: FrameKey, plain: &Arc<Vec<u8>>) {
        self.cache
            .lock()
            .put(key, Arc::clone(plain), plain.len(), |_| false);
    }

    /// Returns whether [`Self::read_ahead`] would decompress a frame now.
    pub(super) fn has_read_ahead(&self) -> bool {
        self.read_ahead.has_next()
    }

    /// Decompresses the frames that will probably be read next.
    pub(super) fn read_ahead(&self) {
        while let Some((pack, offset)) = self.read_ahead.claim() {
            // Ignore errors, because the reader that needs the frame reports them. Catch panics,
            // because that reader waits until the claim is completed.
            let end =
                catch_unwind(AssertUnwindSafe(|| self.load_chunks(pack, offset))).unwrap_or(None);
            self.read_ahead.complete(pack, end);
        }
    }

    /// Decompresses a frame of chunks into the cache. Returns the offset of its end, or `None` if
    /// there is no such frame or the frame cannot be read.
    fn load_chunks(&self, pack: PackName, offset: u32) -> Option<u32> {
        let key = layout::pack(&pack);
        let len = self.store.len(&key).ok()??.checked_sub(u64::from(offset))?;
        let first = self
            .store
            .read_at(
                &key,
                u64::from(offset),
                HEAD_MAX.min(usize::try_from(len).ok()?),
            )
            .ok()?;
        let mut rest = first.as_slice();
        // The table of contents follows the last frame, and its bytes may look like a frame.
        let fits = |head: &FrameHead| {
            head.kind == ObjectKind::Chunk
                // A delta needs its base, whose read would start further reads.
                && head.codec != CODEC_DELTA
                && head.payload as usize <= FRAME_PLAIN_MAX
        };
        let head = FrameHead::decode(&mut rest).ok().filter(fits)?;
        let begin = first.len() - rest.len();
        let end = offset
            .checked_add(u32::try_from(begin).ok()?)?
            .checked_add(head.payload)?;
        if self.cached(&(pack, offset)).is_none() {
            let payload = self
                .store
                .read_at(
                    &key,
                    u64::from(offset) + begin as u64,
                    head.payload as usize,
                )
                .ok()?;
            self.keep(
                (pack, offset),
                &Arc::new(decode_payload(&head, &payload, None).ok()?),
            );
        }
        Some(end)
    }

    /// Returns the id of the base of a delta frame.
    pub(super) fn base_id(&self, row: &IndexRow) -> Result<Option<Id>> {
        // The header of a delta frame consists of the tag, the count, one length, and the id of the
        // base.
        let head = self.store.read_at(
            &layout::pack(&row.place.pack),
            u64::from(row.place.offset),
            (row.place.stored as usize).min(64),
        )?;
        let decoded = FrameHead::decode(&mut head.as_slice());
        Ok(decoded
            .map_err(|e| damaged(ObjectKind::Chunk, &row.id, &row.place, &e.to_string()))?
            .base)
    }

    /// Returns the base of a delta. Uses only copies that are not deltas themselves, so that deltas
    /// never form chains.
    fn base(
        &self,
        index: &Index,
        kind: ObjectKind,
        id: &Id,
        hint: Option<&ObjectLocation>,
    ) -> Result<Plain> {
        if let Some(place) = hint.filter(|p| p.codec != CODEC_DELTA) {
            let row = IndexRow {
                id: *id,
                place: *place,
                base: None,
            };
            // The location in the row may be outdated, so an error is not final.
            if let Ok(plain) = self.at(index, kind, &row) {
                return Ok(plain);
            }
        }
        let mut last = ObjectError::Missing { kind, id: *id }.into();
        for row in index.lookup_all(PackKind::of(kind), id)? {
            if row.place.codec != CODEC_DELTA {
                match self.at(index, kind, &row) {
                    Ok(plain) => return Ok(plain),
                    Err(e) => last = e,
                }
            }
        }
        Err(last)
    }
}

/// Decompresses the payload of a frame. `base` is the base object of a delta.
pub fn decode_payload(
    head: &FrameHead,
    payload: &[u8],
    base: Option<&[u8]>,
) -> Result<Vec<u8>, String> {
    let len = head.plain_len();
    if head.codec == CODEC_RAW {
        return Ok(payload.to_vec());
    }
    let mut out = Vec::new();
    DECOMPRESSOR
        .with_borrow_mut(|d| match base {
            Some(base) => d.delta(base, payload, len, &mut out),
            None => d.zstd(payload, len, &mut out),
        })
        .map_err(|e| e.to_string())?;
    Ok(out)
}

fn damaged(kind: ObjectKind, id: &Id, place: &ObjectLocation, why: &str) -> Error {
    ObjectError::Damaged {
        kind,
        id: *id,
        pack: place.pack,
        why: why.to_owned(),
    }
    .into()
}
