//! Finds the frames of a pack without a usable table of contents by their headers.
//!
//! The ids are computed from the content, so no object is found under a wrong id. After a damaged
//! frame, the search continues at the next magic number of compressed data.

use crate::codec::compress::Decompressor;
use crate::error::Result;
use crate::format::frame::{CODEC_DELTA, CODEC_RAW, FrameHead};
use crate::format::pack::{HEADER_LEN, TableFrame};
use crate::format::segment::PackName;
use crate::index::Index;
use crate::model::id::Id;
use crate::repo::{Repo, layout};
use crate::store::StoreError;

/// Limit on the length of a pack in bytes. A longer file is not a pack and must not use up the
/// memory.
pub(super) const LONGEST: u64 = 128 << 20;
/// The magic number of a zstd frame.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Returns the readable frames of a pack: without `bases`, all frames except deltas; with an index
/// of such frames, the deltas.
pub(super) fn frames(
    repo: &Repo,
    name: &PackName,
    bases: Option<&Index>,
) -> Result<Vec<TableFrame>> {
    let key = layout::pack(name);
    let bytes = match repo.store().len(&key)?.map(usize::try_from) {
        Some(Ok(len)) if len as u64 <= LONGEST => repo.store().read_at(&key, 0, len)?,
        _ => return Err(StoreError::Missing { key }.into()),
    };
    let mut search = Search {
        repo,
        bases,
        decompressor: Decompressor::default(),
        plain: Vec::new(),
    };
    let mut found = Vec::new();
    let mut at = HEADER_LEN;
    while at < bytes.len() {
        let Some((head, before)) = head_at(&bytes, at) else {
            at = resume(&bytes, at + 1);
            continue;
        };
        let stored = before + head.payload as usize;
        let payload = bytes.get(at + before..at + stored).unwrap_or_default();
        let usable = match head.codec {
            // This frame is decoded by the call for the other kind of frame, so only skip it.
            CODEC_DELTA if bases.is_none() => payload.starts_with(&MAGIC),
            CODEC_RAW | CODEC_DELTA => search.add(&head, payload, at, stored, &mut found),
            _ if bases.is_some() => payload.starts_with(&MAGIC),
            _ => search.add(&head, payload, at, stored, &mut found),
        };
        // The length in a damaged header may lead anywhere, so only a usable frame gives the next
        // position.
        at = if usable {
            at + stored
        } else {
            resume(&bytes, at + 1)
        };
    }
    found.retain(|f| (f.codec == CODEC_DELTA) == bases.is_some());
    Ok(found)
}

/// Returns the frame header at an offset and its length. `None` if there is no header, or the
/// payload is truncated.
fn head_at(bytes: &[u8], at: usize) -> Option<(FrameHead, usize)> {
    let mut rest = bytes.get(at..)?;
    let all = rest.len();
    let head = FrameHead::decode(&mut rest).ok()?;
    (rest.len() >= head.payload as usize).then_some((head, all - rest.len()))
}

/// Returns the offset of the next compressed frame, or the end of the pack.
fn resume(bytes: &[u8], from: usize) -> usize {
    let begins = |at: usize| {
        head_at(bytes, at).is_some_and(|(head, before)| {
            // A raw frame has no magic number, so a search cannot recognise one.
            head.codec != CODEC_RAW
                && bytes
                    .get(at + before..)
                    .is_some_and(|p| p.starts_with(&MAGIC))
        })
    };
    (from..bytes.len())
        .find(|at| begins(*at))
        .unwrap_or(bytes.len())
}

struct Search<'a> {
    repo: &'a Repo,
    bases: Option<&'a Index>,
    decompressor: Decompressor,
    plain: Vec<u8>,
}

impl Search<'_> {
    /// Decodes a frame, computes the ids of its objects, and adds it. Returns whether it could be
    /// decoded.
    fn add(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        at: usize,
        stored: usize,
        found: &mut Vec<TableFrame>,
    ) -> bool {
        let ids = self.repo.ids();
        let Some(plain) = self.plain(head, payload) else {
            return false;
        };
        let mut objects: Vec<(Id, u32)> = Vec::with_capacity(head.lens.len());
        let mut from = 0;
        for len in &head.lens {
            let end = from + *len as usize;
            let Some(bytes) = plain.get(from..end) else {
                return false;
            };
            objects.push((ids.id(head.kind, bytes), *len));
            from = end;
        }
        let Ok(stored) = u32::try_from(stored) else {
            return false;
        };
        let FrameHead {
            kind, codec, base, ..
        } = head;
        found.push(TableFrame {
            kind: *kind,
            codec: *codec,
            offset: at as u64,
            stored,
            objects,
            base: *base,
        });
        true
    }

    fn plain<'p>(&'p mut self, head: &FrameHead, payload: &'p [u8]) -> Option<&'p [u8]> {
        let len = head.plain_len();
        match (head.codec, &head.base) {
            (CODEC_RAW, _) => return Some(payload),
            (CODEC_DELTA, Some(base)) => {
                let base = self.repo.object_by(self.bases?, head.kind, base).ok()??;
                self.decompressor
                    .delta(&base, payload, len, &mut self.plain)
                    .ok()?;
            }
            (CODEC_DELTA, None) => return None,
            _ => self.decompressor.zstd(payload, len, &mut self.plain).ok()?,
        }
        Some(&self.plain)
    }
}
