//! What is kept on this machine besides versions: the cache of far blocks, and the overlays of mounts.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cache::BlockCache;
use crate::context::Context;
use crate::error::Result;
use crate::ops::mount::OVERLAYS;
use crate::sys::io_error::IoError;

/// What it takes.
#[derive(Clone, Debug, Default)]
pub struct CacheUse {
    /// Blocks of far repositories, in bytes.
    pub block_bytes: u64,
    /// The most that they may take.
    pub limit_bytes: u64,
    /// Overlays of the repository here: name and bytes on disk.
    pub overlays: Vec<(String, u64)>,
}

fn blocks(context: &Context) -> BlockCache {
    BlockCache::new(context.cache.dir.join("blocks"), context.cache.limit_bytes)
}

/// What the cache and the overlays take.
pub fn cache_use(context: &Context) -> Result<CacheUse> {
    let block_bytes = blocks(context).used_bytes().map_err(IoError::at("measure", &context.cache.dir))?;
    let mut overlays = Vec::new();
    for overlay in std::fs::read_dir(context.repository.join(OVERLAYS)).into_iter().flatten().flatten() {
        overlays.push((overlay.file_name().to_string_lossy().into_owned(), on_disk(&overlay.path())));
    }
    overlays.sort();
    Ok(CacheUse { block_bytes, limit_bytes: context.cache.limit_bytes, overlays })
}

/// Bytes that a directory takes on disk.
pub(super) fn on_disk(dir: &Path) -> u64 {
    let each = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => on_disk(&entry.path()),
        meta => meta.map_or(0, |m| m.blocks() * 512),
    };
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(each).sum()
}

/// Brings the cache down to `limit_bytes`, what was not used for longest first. Returns the bytes that it took and takes.
pub fn shrink(context: &Context, limit_bytes: u64, dry_run: bool) -> Result<(u64, u64)> {
    let cache = blocks(context);
    let before = cache.used_bytes().map_err(IoError::at("measure", &context.cache.dir))?;
    if dry_run {
        return Ok((before, before.min(limit_bytes)));
    }
    let after = cache.shrink_to(limit_bytes).map_err(IoError::at("shrink", &context.cache.dir))?;
    Ok((before, after))
}
