//! Writes packs: each frame is appended to the open pack of its kind, and a full pack is finished
//! and published.
//!
//! A pack is durable before the index contains its rows, and a segment refers only to durable
//! packs.

use std::io::IoSlice;
use std::os::unix::fs::FileExt;

use tempfile::NamedTempFile;

use super::layout;
use crate::codec::compress::{CompressionProfile, Compressor};
use crate::codec::hash::{NameHasher, checksum};
use crate::error::Result;
use crate::format::frame::FrameHead;
use crate::format::pack::{PackFooter, PackHeader, PackKind, TableFrame, put_table_frame};
use crate::format::segment::{IndexRow, ObjectLocation, PackName};
use crate::model::id::{Id, ObjectKind};
use crate::store::{Store, StoreError, local::LocalStore};
use crate::sys::io_error::IoError;
use crate::sys::uncached::IoMode;

/// Number of bytes per system call; all writes but the last one of a pack are multiples of this
/// length.
const WRITE: usize = 1 << 20;

/// A compressed frame that is to be appended to a pack.
pub struct NewFrame<'a> {
    /// Kind of all objects in the frame.
    pub kind: ObjectKind,
    /// Encoding of the payload: one of the `CODEC_` constants.
    pub codec: u8,
    /// Ids and uncompressed lengths of the objects, in order.
    pub objects: &'a [(Id, u32)],
    /// Id of the base and its location, if the frame is a delta.
    pub base: Option<(Id, ObjectLocation)>,
    /// The stored bytes after the header.
    pub payload: &'a [u8],
}

/// A pack that is being written to the staging directory.
pub struct PackWriter {
    kind: PackKind,
    file: NamedTempFile,
    hasher: NameHasher,
    once: IoMode,
    buffer: Vec<u8>,
    len: u64,
    table: Vec<u8>,
    frames: u32,
    rows: Vec<IndexRow>,
}

/// A pack that is completely written.
pub struct FinishedPack {
    /// SHA-256 of the pack.
    pub name: PackName,
    pub kind: PackKind,
    /// Length of the pack in bytes.
    pub bytes: u64,
    /// Index rows of all objects in the pack.
    pub rows: Vec<IndexRow>,
}

impl PackWriter {
    /// Creates a pack in the staging directory of the store.
    pub fn create(store: &LocalStore, kind: PackKind) -> Result<Self> {
        let mut pack = Self {
            kind,
            file: store.stage()?,
            hasher: NameHasher::default(),
            once: IoMode::whole(),
            buffer: Vec::with_capacity(2 * WRITE),
            len: 0,
            table: Vec::new(),
            frames: 0,
            rows: Vec::new(),
        };
        pack.write(&PackHeader::unsalted(kind).encode())?;
        Ok(pack)
    }

    /// Returns the number of bytes that were added so far.
    pub fn bytes(&self) -> u64 {
        self.len
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.buffer.extend_from_slice(bytes);
        self.len += bytes.len() as u64;
        if self.buffer.len() >= WRITE {
            self.flush(self.buffer.len() / WRITE * WRITE)
        } else {
            Ok(())
        }
    }

    /// Writes the first `len` bytes of the buffer to the file.
    fn flush(&mut self, len: usize) -> Result<()> {
        let offset = self.len - self.buffer.len() as u64;
        let written = self.once.write_at(
            self.file.as_file(),
            &mut [IoSlice::new(&self.buffer[..len])],
            offset,
        );
        written.map_err(|e| IoError::new("write", layout::PACKS, e))?;
        self.buffer.drain(..len);
        Ok(())
    }

    /// Appends a frame. Returns the stored length of the frame in bytes.
    pub fn append(&mut self, frame: &NewFrame<'_>) -> Result<u32> {
        let overflow = || crate::format::Malformed::new("frame", "too long");
        let payload = u32::try_from(frame.payload.len()).map_err(|_| overflow())?;
        let head = FrameHead {
            kind: frame.kind,
            codec: frame.codec,
            lens: frame.objects.iter().map(|o| o.1).collect(),
            base: frame.base.as_ref().map(|b| b.0),
            payload,
        };
        let mut bytes = Vec::with_capacity(64);
        head.encode(&mut bytes);
        let offset = self.len;
        self.write(&bytes)?;
        self.write(frame.payload)?;
        let stored = u32::try_from(self.len - offset).map_err(|_| overflow())?;
        let table = TableFrame {
            kind: frame.kind,
            codec: frame.codec,
            offset,
            stored,
            objects: frame.objects.to_vec(),
            base: head.base,
        };
        put_table_frame(&mut self.table, &table);
        self.frames += 1;
        rows_of(
            &table,
            // The name is known only when the pack is complete; `close` fills it in.
            &[0; 32],
            frame.base.as_ref().map(|b| b.1),
            &mut self.rows,
        )?;
        Ok(stored)
    }

    /// Finishes the pack and publishes it durably under its name.
    pub fn finish(
        self,
        store: &LocalStore,
        is_used_up: &dyn Fn(&PackName) -> bool,
    ) -> Result<FinishedPack> {
        let (file, pack) = self.close(is_used_up)?;
        store.publish(file, &layout::pack(&pack.name))?;
        Ok(pack)
    }

    /// Finishes the pack without publishing it. Returns its temporary file. `is_used_up` returns
    /// whether a pack with that name is dead or planned. A pack with such a name gets a salt, and
    /// with it a new name, because a gc may delete a pack with the old name at any time.
    pub fn close(
        mut self,
        is_used_up: &dyn Fn(&PackName) -> bool,
    ) -> Result<(NamedTempFile, FinishedPack)> {
        let mut packed = Vec::new();
        // A table that does not become smaller is stored as it is. Equal lengths in the footer show
        // this.
        if !Compressor::default().compress(CompressionProfile::Normal, &self.table, &mut packed) {
            packed.clone_from(&self.table);
        }
        let too_long = |_| crate::format::Malformed::new("pack table", "too long");
        let mut footer = PackFooter {
            table_offset: self.len,
            table_stored: u32::try_from(packed.len()).map_err(too_long)?,
            table_plain: u32::try_from(self.table.len()).map_err(too_long)?,
            frames: self.frames,
            checksum: [0; 16],
        };
        let header = PackHeader::unsalted(self.kind).encode();
        footer.checksum = checksum(&[&header, &packed, &footer.fields()]);
        self.write(&packed)?;
        self.write(&footer.encode())?;
        self.flush(self.buffer.len())?;
        let Self {
            kind,
            file,
            hasher,
            len,
            mut rows,
            ..
        } = self;
        // A used-up name belongs to a pack that a gc may delete at any time. Another salt changes
        // the name.
        let mut name = hasher.finish();
        let mut salt = 0u32;
        while is_used_up(&name) {
            salt = salt.wrapping_add(1);
            let header = PackHeader {
                kind,
                salt: salt.to_le_bytes(),
            }
            .encode();
            footer.checksum = checksum(&[&header, &packed, &footer.fields()]);
            name = renamed(&file, &header, &footer.encode(), len)?;
        }
        for row in &mut rows {
            row.place.pack = name;
        }
        Ok((
            file,
            FinishedPack {
                name,
                kind,
                bytes: len,
                rows,
            },
        ))
    }
}

/// Replaces the header and the footer of a closed pack. Returns the name of the pack.
fn renamed(file: &NamedTempFile, header: &[u8], footer: &[u8], len: u64) -> Result<PackName> {
    let io = |e| IoError::new("write", layout::PACKS, e);
    let file = file.as_file();
    file.write_all_at(header, 0).map_err(io)?;
    file.write_all_at(footer, len.saturating_sub(footer.len() as u64))
        .map_err(io)?;
    let mut hasher = NameHasher::default();
    let (mut at, mut piece) = (0, vec![0; WRITE]);
    while at < len {
        let read = file.read_at(&mut piece, at).map_err(io)?;
        if read == 0 {
            return Err(io(std::io::ErrorKind::UnexpectedEof.into()).into());
        }
        hasher.update(&piece[..read]);
        at += read as u64;
    }
    Ok(hasher.finish())
}

/// Appends the index rows of a frame in the table of contents to `out`. `base` is the location of
/// the base of a delta.
pub fn rows_of(
    frame: &TableFrame,
    pack: &PackName,
    base: Option<ObjectLocation>,
    out: &mut Vec<IndexRow>,
) -> Result<()> {
    let offset = u32::try_from(frame.offset)
        .map_err(|_| crate::format::Malformed::new("pack", "longer than 4 GiB"))?;
    let mut within = 0u32;
    for (id, len) in &frame.objects {
        let place = ObjectLocation {
            pack: *pack,
            offset,
            stored: frame.stored,
            within,
            len: *len,
            codec: frame.codec,
        };
        out.push(IndexRow {
            id: *id,
            place,
            base,
        });
        // The lengths in a forged table may exceed 32 bits.
        within = within.saturating_add(*len);
    }
    Ok(())
}

/// The table of contents of a pack.
pub struct PackTable {
    pub kind: PackKind,
    /// Frames in the order in which they are stored.
    pub frames: Vec<TableFrame>,
    /// Length of the pack in bytes.
    pub bytes: u64,
}

/// Reads and verifies the table of contents of a stored pack.
pub fn read_table(store: &dyn Store, name: &PackName) -> Result<PackTable> {
    let key = layout::pack(name);
    let bytes = store.len(&key)?;
    let bytes = bytes.ok_or(StoreError::Missing { key })?;
    read_table_of(store, name, bytes)
}

/// Like [`read_table`], for a pack whose length the caller knows.
pub fn read_table_of(store: &dyn Store, name: &PackName, bytes: u64) -> Result<PackTable> {
    use crate::format::pack::{FOOTER_LEN, HEADER_LEN, decode_table};
    let key = layout::pack(name);
    let missing = || StoreError::Missing { key: key.clone() };
    let footer_at = bytes.checked_sub(FOOTER_LEN as u64).ok_or_else(missing)?;
    let mut raw = [0u8; FOOTER_LEN];
    raw.copy_from_slice(&store.read_at(&key, footer_at, FOOTER_LEN)?);
    let footer = PackFooter::decode(&raw, bytes)?;
    let header = store.read_at(&key, 0, HEADER_LEN)?;
    let PackHeader { kind, .. } = PackHeader::decode(&header)?;
    let packed = store.read_at(&key, footer.table_offset, footer.table_stored as usize)?;
    if checksum(&[&header, &packed, &footer.fields()]) != footer.checksum {
        return Err(crate::format::Malformed::new("pack table", "checksum mismatch").into());
    }
    let mut plain = Vec::new();
    // Equal lengths mean that the table is not compressed.
    if footer.table_stored == footer.table_plain {
        plain = packed;
    } else {
        crate::codec::compress::Decompressor::default()
            .zstd(&packed, footer.table_plain as usize, &mut plain)
            .map_err(|e| crate::format::Malformed::new("pack table", e.to_string()))?;
    }
    let frames = decode_table(&plain, PackHeader::FIRST_FRAME)?;
    let end = frames
        .last()
        .map_or(PackHeader::FIRST_FRAME, |f| f.offset + u64::from(f.stored));
    // Bytes that no frame covers would never be checked.
    if end != footer.table_offset || frames.len() != footer.frames as usize {
        return Err(crate::format::Malformed::new("pack table", "does not cover the pack").into());
    }
    Ok(PackTable {
        kind,
        frames,
        bytes,
    })
}
