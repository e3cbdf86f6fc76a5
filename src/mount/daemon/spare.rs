//! Frees the space that committed data takes in an overlay that is not mounted, as the next mount
//! would.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::resume::{ensure_marked, free_committed};
use crate::error::{Kind, Result};
use crate::mount::file::{SpareCopies, UPPER_DIR, UpperFiles};
use crate::mount::overlay::{OverlayDb, SealChange};

/// Bytes that may be read to compute checksums of the files that stay.
const SEAL_BUDGET: u64 = 256 << 20;

/// Frees the space of data that the version of an overlay has too. Returns the number of freed
/// bytes.
///
/// An overlay that is mounted, was not unmounted cleanly, or is damaged stays as it is. `dry_run`
/// only counts.
pub fn free_overlay(overlay: &Path, name: &str, dry_run: bool) -> Result<u64> {
    let Some(spare_bytes) = spare_bytes(overlay, name)? else {
        return Ok(0);
    };
    if dry_run || spare_bytes == 0 {
        return Ok(spare_bytes);
    }
    let at = match OverlayDb::read_facts(overlay, &["at"])? {
        Some(facts) => facts.into_iter().flatten().next(),
        None => None,
    };
    let at = PathBuf::from(String::from_utf8_lossy(&at.unwrap_or_default()).into_owned());
    let store = match OverlayDb::open(overlay, name, &at) {
        // A mount of the overlay has begun in the meantime.
        Err(e) if e.kind() == Kind::Busy => return Ok(0),
        store => store?,
    };
    let space = Arc::new(UpperFiles::new(overlay.join(UPPER_DIR), None));
    if let Some(key) = store.key()? {
        ensure_marked(&space, &store, &key)?;
    }
    let mut loaded = store.load(&space)?;
    let before = bytes_below(&overlay.join(UPPER_DIR));
    if store.was_clean() && loaded.lost.is_empty() {
        free_committed(&store, &space, &mut loaded.upper, &loaded.changed, &|_| ())?;
    }
    let (mut seals, mut budget) = (Vec::new(), SEAL_BUDGET);
    for data in loaded
        .upper
        .inodes
        .values()
        .filter_map(|inode| inode.data())
    {
        // Without a seal, the next mount does not verify the file.
        if let Ok(Some(seal)) = data.seal(&mut budget) {
            let ino = data.ino();
            seals.push(SealChange { ino, seal });
        }
    }
    store.finish(seals)?;
    Ok(before.saturating_sub(bytes_below(&overlay.join(UPPER_DIR))))
}

/// Returns an estimate of the bytes that can be freed; `None` if the overlay must stay as it is.
fn spare_bytes(overlay: &Path, name: &str) -> Result<Option<u64>> {
    let store = match OverlayDb::open_read_only(overlay, name) {
        // A damaged overlay is reported by the next mount.
        Err(e) if matches!(e.kind(), Kind::Busy | Kind::Integrity) => return Ok(None),
        store => store?,
    };
    let Some(store) = store.filter(OverlayDb::was_clean) else {
        return Ok(None);
    };
    if store.key()?.is_none() {
        return Ok(None);
    }
    let space = Arc::new(UpperFiles::new(overlay.join(UPPER_DIR), None));
    let loaded = match store.load(&space) {
        Err(e) if e.kind() == Kind::Integrity => return Ok(None),
        loaded => loaded?,
    };
    if !loaded.lost.is_empty() {
        return Ok(None);
    }
    let files = loaded
        .upper
        .inodes
        .values()
        .filter_map(|inode| inode.data());
    let spare = files.map(|data| match data.copies() {
        SpareCopies::Nothing => 0,
        SpareCopies::Blocks => data.spare_bytes(),
        SpareCopies::All(_) => {
            std::fs::metadata(space.path(data.ino())).map_or(0, |file| file.blocks() * 512)
        }
    });
    Ok(Some(spare.sum()))
}

fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
            Ok(meta) => meta.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}
