//! Reading objects: id -> place -> frame -> plain bytes, checked against the id.
//!
//! Nothing leaves here that was not verified. Plain frames are kept in a bounded cache, since a frame holds
//! neighbours. A damaged copy falls back to another one, where the index knows any.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::ops::{Deref, Range};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::layout;
use crate::codec::compress::Decompressor;
use crate::codec::hash::IdHasher;
use crate::error::{Error, Failure, Kind, Result};
use crate::format::frame::{CODEC_DELTA, CODEC_RAW, FrameHead};
use crate::format::pack::PackKind;
use crate::format::segment::{IndexRow, ObjectLocation, PackName};
use crate::index::Index;
use crate::model::id::{Id, ObjectKind, to_hex};
use crate::store::Store;

mod ahead;

/// An object cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// No index segment knows it.
    #[error("{} {id} is not in the repository", kind.name())]
    Missing {
        /// What it is.
        kind: ObjectKind,
        /// Its id.
        id: Id,
    },
    /// Its stored bytes are wrong.
    #[error("{} {} in pack {} is damaged: {why}", kind.name(), id.short(), &to_hex(pack)[..12])]
    Damaged {
        /// What it is.
        kind: ObjectKind,
        /// Its id.
        id: Id,
        /// The pack that should hold it.
        pack: PackName,
        /// What is wrong.
        why: String,
    },
    /// Its bytes match its id but break a rule of the format.
    #[error("{} {} is malformed: {why}", kind.name(), id.short())]
    Malformed {
        /// What it is.
        kind: ObjectKind,
        /// Its id.
        id: Id,
        /// The rule.
        why: String,
    },
}

impl Failure for ObjectError {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }

    fn hint(&self) -> Option<String> {
        Some("`dvc fsck --data` names what is damaged and which versions it reaches".to_owned())
    }
}

/// The verified plain bytes of an object.
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
    /// Bytes that stand alone.
    pub fn alone(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { frame: Arc::new(bytes), range }
    }
}

type FrameKey = (PackName, u32);

/// Frames in memory, the least recently used dropped first.
struct Cache {
    frames: HashMap<FrameKey, Arc<Vec<u8>>>,
    order: VecDeque<FrameKey>,
    bytes: usize,
    budget: usize,
}

impl Cache {
    fn get(&self, key: &FrameKey) -> Option<Arc<Vec<u8>>> {
        self.frames.get(key).cloned()
    }

    fn put(&mut self, key: FrameKey, frame: Arc<Vec<u8>>) {
        self.remove(&key);
        self.bytes += frame.len();
        self.frames.insert(key, frame);
        self.order.push_back(key);
        while self.bytes > self.budget {
            let Some(oldest) = self.order.pop_front() else { break };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &FrameKey) {
        if let Some(gone) = self.frames.remove(key) {
            self.bytes = self.bytes.saturating_sub(gone.len());
        }
    }
}

thread_local! {
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::default());
}

/// Reads frames of packs.
pub struct Frames {
    store: Arc<dyn Store>,
    ids: IdHasher,
    cache: Mutex<Cache>,
    /// Reads are many and small rather than few and large.
    near: bool,
    trail: (Mutex<ahead::Trail>, Condvar),
}

impl Frames {
    /// Keeps at most `budget` bytes of plain frames.
    pub(super) fn new(store: Arc<dyn Store>, ids: IdHasher, budget: usize) -> Self {
        let cache = Cache { frames: HashMap::new(), order: VecDeque::new(), bytes: 0, budget };
        Self { store, ids, cache: Mutex::new(cache), near: false, trail: <_>::default() }
    }

    /// For packs on this machine, where a second read costs little.
    pub(super) fn near(self) -> Self {
        Self { near: true, ..self }
    }

    /// The plain bytes of an object, verified; `None` if the index does not know it.
    pub fn object(&self, index: &Index, kind: ObjectKind, id: &Id) -> Result<Option<Plain>> {
        let table = PackKind::of(kind);
        let Some(row) = index.lookup(table, id)? else { return Ok(None) };
        let first = match self.at(index, kind, &row) {
            Ok(plain) => return Ok(Some(plain)),
            Err(e) => e,
        };
        for other in index.lookup_all(table, id)? {
            if other.place != row.place
                && let Ok(plain) = self.at(index, kind, &other)
            {
                return Ok(Some(plain));
            }
        }
        Err(first)
    }

    /// The object at one place, verified.
    pub fn at(&self, index: &Index, kind: ObjectKind, row: &IndexRow) -> Result<Plain> {
        if let Some(plain) = self.alone(kind, row)? {
            return Ok(plain);
        }
        let frame = self.frame(index, kind, &row.id, &row.place, row.base.as_ref())?;
        let (from, len) = (row.place.within as usize, row.place.len as usize);
        let range = from..from.saturating_add(len);
        let Some(bytes) = frame.get(range.clone()) else {
            return Err(damaged(kind, &row.id, &row.place, "it lies outside its frame"));
        };
        if self.ids.id(kind, bytes) != row.id {
            // Read again, it may be another copy.
            self.cache.lock().remove(&(row.place.pack, row.place.offset));
            return Err(damaged(kind, &row.id, &row.place, "its bytes do not match its id"));
        }
        Ok(Plain { frame, range })
    }

    /// An object that is stored as it is, without its neighbours, where reading these would cost more; `None` where it
    /// is to be read with them.
    fn alone(&self, kind: ObjectKind, row: &IndexRow) -> Result<Option<Plain>> {
        const HEAD: usize = 1024;
        let ObjectLocation { pack, offset, stored, codec, within, len } = row.place;
        if !self.near || codec != CODEC_RAW || len as usize + 2 * HEAD > stored as usize {
            return Ok(None);
        }
        if self.cached(&(pack, offset)).is_some() {
            return Ok(None);
        }
        let key = layout::pack(&pack);
        let head = self.store.read_at(&key, u64::from(offset), HEAD.min(stored as usize))?;
        let mut rest = head.as_slice();
        // A longer head, or one that is damaged, is looked at with the whole frame.
        let Ok(decoded) = FrameHead::decode(&mut rest) else { return Ok(None) };
        let begin = u64::from(offset) + (head.len() - rest.len()) as u64 + u64::from(within);
        let fits = u64::from(decoded.payload) >= u64::from(within) + u64::from(len);
        if decoded.kind != kind || decoded.codec != CODEC_RAW || !fits {
            return Ok(None);
        }
        let bytes = self.store.read_at(&key, begin, len as usize)?;
        // Other bytes than the id's are told by the way that looks at everything.
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
        if self.near && kind == ObjectKind::Chunk {
            self.follow(place);
        }
        if let Some(hit) = self.cached(&key) {
            return Ok(hit);
        }
        let stored = self.store.read_at(&layout::pack(&place.pack), u64::from(place.offset), place.stored as usize)?;
        let mut rest = stored.as_slice();
        let head = FrameHead::decode(&mut rest).map_err(|e| damaged(kind, id, place, &e.to_string()))?;
        if rest.len() != head.payload as usize || head.kind != kind {
            return Err(damaged(kind, id, place, "the frame does not fit its place"));
        }
        let base = match &head.base {
            None => None,
            Some(base_id) => Some(self.base(index, kind, base_id, base)?),
        };
        let plain = Arc::new(decode_payload(&head, rest, base.as_deref()).map_err(|e| damaged(kind, id, place, &e))?);
        self.keep(key, &plain);
        Ok(plain)
    }

    fn cached(&self, key: &FrameKey) -> Option<Arc<Vec<u8>>> {
        self.cache.lock().get(key)
    }

    fn keep(&self, key: FrameKey, plain: &Arc<Vec<u8>>) {
        self.cache.lock().put(key, Arc::clone(plain));
    }

    /// The base that a delta frame names.
    pub(super) fn base_id(&self, row: &IndexRow) -> Result<Option<Id>> {
        // Tag, count, one length, base id.
        let head = self.store.read_at(
            &layout::pack(&row.place.pack),
            u64::from(row.place.offset),
            (row.place.stored as usize).min(64),
        )?;
        let decoded = FrameHead::decode(&mut head.as_slice());
        Ok(decoded.map_err(|e| damaged(ObjectKind::Chunk, &row.id, &row.place, &e.to_string()))?.base)
    }

    /// The base of a delta: always a copy that is stored whole, so that the chain ends here.
    fn base(&self, index: &Index, kind: ObjectKind, id: &Id, hint: Option<&ObjectLocation>) -> Result<Plain> {
        if let Some(place) = hint.filter(|p| p.codec != CODEC_DELTA) {
            let row = IndexRow { id: *id, place: *place, base: None };
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

/// Decompresses a frame's payload.
pub fn decode_payload(head: &FrameHead, payload: &[u8], base: Option<&[u8]>) -> Result<Vec<u8>, String> {
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
    ObjectError::Damaged { kind, id: *id, pack: place.pack, why: why.to_owned() }.into()
}
