//! Stores recovered objects in new packs, and index segments for them.
//!
//! Order: packs of chunks and lists, packs of trees and commits, index segments. A repair that is
//! killed leaves at most complete packs without index segments, and the next one stores the same
//! objects again.

use super::Target;
use crate::codec::compress::{CompressionProfile, Compressor};
use crate::codec::hash::IdHasher;
use crate::error::Result;
use crate::format::frame::{CODEC_RAW, CODEC_ZSTD, FRAME_PLAIN_MAX};
use crate::format::pack::PackKind;
use crate::format::segment::IndexRow;
use crate::format::segment::tables::PackEntry;
use crate::index::segment_writer::write_segment;
use crate::model::id::{Id, ObjectKind};
use crate::repo::layout;
use crate::repo::packs::{FinishedPack, NewFrame, PackWriter};
use crate::repo::sink::Sink;

/// Objects of one kind that will share a frame.
#[derive(Default)]
struct Frame {
    plain: Vec<u8>,
    objects: Vec<(Id, u32)>,
}

/// The packs of a remote repository that are being written.
#[derive(Default)]
struct RemotePacks {
    open: [Option<PackWriter>; 3],
    finished: Vec<FinishedPack>,
}

enum Packs<'a> {
    /// A local repository; opened with the first object.
    Local(Option<Sink<'a>>),
    Remote(RemotePacks),
}

/// Stores recovered objects.
pub(super) struct ObjectWriter<'a> {
    target: &'a Target<'a>,
    ids: IdHasher,
    compressor: Compressor,
    packed: Vec<u8>,
    frames: [Frame; 4],
    packs: Packs<'a>,
}

impl<'a> ObjectWriter<'a> {
    pub(super) fn new(target: &'a Target<'a>) -> Self {
        Self {
            target,
            ids: target.repo.ids().clone(),
            compressor: Compressor::default(),
            packed: Vec::new(),
            frames: Default::default(),
            packs: match target.repo.as_local() {
                Some(_) => Packs::Local(None),
                None => Packs::Remote(RemotePacks::default()),
            },
        }
    }

    /// Adds an object. Returns false if the bytes do not match the id.
    pub(super) fn add(&mut self, kind: ObjectKind, id: &Id, bytes: &[u8]) -> Result<bool> {
        // A source may deliver wrong bytes, so nothing is stored under an unverified id.
        if self.ids.id(kind, bytes) != *id {
            return Ok(false);
        }
        if self.target.dry_run {
            // The check of the versions below continues with this object.
            if kind != ObjectKind::Chunk {
                self.target.repo.volatile().put(*id, bytes.to_vec());
            }
            return Ok(true);
        }
        let at = ObjectKind::ALL.iter().position(|k| *k == kind).unwrap_or(0);
        if self.frames[at].plain.len() + bytes.len() > FRAME_PLAIN_MAX {
            self.write(kind, at)?;
        }
        let frame = &mut self.frames[at];
        frame.plain.extend_from_slice(bytes);
        frame
            .objects
            .push((*id, u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
        Ok(true)
    }

    /// Stores everything durably, and then makes it findable.
    pub(super) fn finish(mut self) -> Result<()> {
        for (at, kind) in ObjectKind::ALL.into_iter().enumerate() {
            self.write(kind, at)?;
        }
        match self.packs {
            Packs::Local(None) => Ok(()),
            Packs::Local(Some(sink)) => sink.finish(),
            Packs::Remote(mut packs) => {
                for kind in [PackKind::Data, PackKind::List, PackKind::Tree] {
                    packs.close(self.target, kind)?;
                }
                packs.index(self.target)
            }
        }
    }

    fn write(&mut self, kind: ObjectKind, at: usize) -> Result<()> {
        let Frame { plain, objects } = std::mem::take(&mut self.frames[at]);
        if objects.is_empty() {
            return Ok(());
        }
        let profile = if kind == ObjectKind::Chunk {
            CompressionProfile::Normal
        } else {
            CompressionProfile::High
        };
        let smaller = self.compressor.compress(profile, &plain, &mut self.packed);
        let (codec, payload) = if smaller {
            (CODEC_ZSTD, &self.packed)
        } else {
            (CODEC_RAW, &plain)
        };
        let frame = NewFrame {
            kind,
            codec,
            objects: &objects,
            base: None,
            payload,
        };
        match &mut self.packs {
            Packs::Local(sink) => {
                let sink = match sink {
                    Some(sink) => sink,
                    None => sink.insert(Sink::open(
                        self.target.repo.ensure_local()?,
                        self.target.observer,
                    )?),
                };
                sink.put(&frame)
            }
            Packs::Remote(packs) => packs.put(self.target, &frame),
        }
    }
}

impl RemotePacks {
    fn put(&mut self, target: &Target<'_>, frame: &NewFrame<'_>) -> Result<()> {
        let kind = PackKind::of(frame.kind);
        let slot = &mut self.open[usize::from(kind.number())];
        let pack = match slot {
            Some(pack) => pack,
            None => slot.insert(PackWriter::create(target.staging, kind)?),
        };
        pack.append(frame)?;
        // The rest of the size is left for the last frame and the table of contents.
        let most = target.repo.store().abilities().object_max / 4 * 3;
        if pack.bytes() >= layout::PACK_TARGET.min(most) {
            self.close(target, kind)
        } else {
            Ok(())
        }
    }

    fn close(&mut self, target: &Target<'_>, kind: PackKind) -> Result<()> {
        let Some(pack) = self.open[usize::from(kind.number())].take() else {
            return Ok(());
        };
        // A gc may delete packs with excluded names at any time.
        let gc = target.repo.gc_state();
        let (file, pack) = pack.close(&|name| gc.is_excluded(name))?;
        target.observer.step("pack");
        target
            .repo
            .store()
            .put(file.path(), &layout::pack(&pack.name))?;
        target.observer.step("pack published");
        self.finished.push(pack);
        Ok(())
    }

    /// Writes a segment per kind, with those of trees last.
    fn index(&self, target: &Target<'_>) -> Result<()> {
        for kind in [PackKind::Data, PackKind::List, PackKind::Tree] {
            let packs: Vec<&FinishedPack> = self
                .finished
                .iter()
                .filter(|pack| pack.kind == kind)
                .collect();
            let mut rows: Vec<IndexRow> = packs
                .iter()
                .flat_map(|pack| pack.rows.iter().copied())
                .collect();
            if rows.is_empty() {
                continue;
            }
            rows.sort_unstable();
            rows.dedup();
            let entry = |pack: &&FinishedPack| PackEntry {
                name: pack.name,
                size_bytes: pack.bytes,
            };
            let entries: Vec<PackEntry> = packs.iter().map(entry).collect();
            target.put_segment(kind, &rows, &entries)?;
        }
        Ok(())
    }
}

impl Target<'_> {
    /// Stores an index segment in a remote repository.
    pub(super) fn put_segment(
        &self,
        kind: PackKind,
        rows: &[IndexRow],
        packs: &[PackEntry],
    ) -> Result<()> {
        let written = write_segment(&self.staging.staging()?, kind, rows, packs, &[])?;
        self.observer.step("segment");
        self.repo
            .store()
            .put(written.file.path(), &layout::segment(&written.name))?;
        self.observer.step("segment published");
        Ok(())
    }
}
