//! `gc`: deletes data that can be rebuilt.

use crate::context::Context;
use crate::error::Result;
use crate::sys::io_error::IoError;

/// The size of the cache before and after a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheShrink {
    /// Bytes before the deletion.
    pub before_bytes: u64,
    /// Bytes that are left.
    pub after_bytes: u64,
}

/// Deletes cached blocks of remote objects, the least recently used first, until at most
/// `limit_bytes` are left.
pub fn shrink_cache(context: &Context, limit_bytes: u64, dry_run: bool) -> Result<CacheShrink> {
    let dir = &context.cache.dir;
    let cache = context.cache.blocks();
    let before_bytes = cache.used_bytes().map_err(IoError::at("measure", dir))?;
    if dry_run {
        return Ok(CacheShrink { before_bytes, after_bytes: before_bytes.min(limit_bytes) });
    }
    let after_bytes = cache.shrink_to(limit_bytes).map_err(IoError::at("shrink", dir))?;
    Ok(CacheShrink { before_bytes, after_bytes })
}
