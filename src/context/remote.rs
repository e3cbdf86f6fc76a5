//! Remotes and the cache, as the settings describe them.

use std::path::PathBuf;

use crate::cache::BlockCache;
use crate::store::access::Access;
use crate::store::location::Location;

/// A remote as the settings describe it.
#[derive(Clone)]
pub struct Remote {
    /// The name; the URL if the remote has no name.
    pub name: String,
    pub location: Location,
    /// Whether objects that are not local are fetched from the remote when they are read.
    pub lazy: bool,
    /// The options of access.
    pub access: Access,
}

/// The cache of blocks of remote objects.
#[derive(Clone, Debug, Default)]
pub struct CacheOptions {
    /// The directory.
    pub dir: PathBuf,
    /// The limit, in bytes.
    pub limit_bytes: u64,
}

impl CacheOptions {
    /// Returns the cache of blocks of remote objects.
    pub fn blocks(&self) -> BlockCache {
        BlockCache::new(self.dir.join("blocks"), self.limit_bytes)
    }
}
