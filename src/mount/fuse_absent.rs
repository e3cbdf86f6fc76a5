//! Replaces the FUSE adapter in a build without the feature `mount`: nothing can be served.

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use crate::mount::view::View;

/// How the kernel treats file contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// The kernel collects writes in its page cache.
    Writeback,
    /// The kernel uses complete upper files directly.
    Passthrough,
}

/// A mount that is being served; it cannot exist in this build.
pub struct ServedMount(Infallible);

/// Invalidates entries of the kernel's cache; it cannot exist in this build.
pub struct KernelCache(Infallible);

/// Always fails, because this build has no FUSE adapter.
pub fn serve(
    _: Arc<View>,
    _: (OwnedFd, &Path),
    _: usize,
    _: CacheMode,
    _: bool,
) -> io::Result<ServedMount> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this build of dvc does not support mounts (feature `mount`)",
    ))
}

impl ServedMount {
    /// Never called.
    pub const fn kernel_cache(&self) -> KernelCache {
        match self.0 {}
    }

    /// Never called.
    pub const fn wait(self) -> io::Result<()> {
        match self.0 {}
    }
}

impl KernelCache {
    /// Never called.
    pub const fn invalidate_inode(&self, _: u64) {
        match self.0 {}
    }

    /// Never called.
    pub const fn invalidate_attributes(&self, _: u64) {
        match self.0 {}
    }

    /// Never called.
    pub const fn delete_name(&self, _: u64, _: u64, _: &[u8]) {
        match self.0 {}
    }

    /// Never called.
    pub const fn wait_for(&self, _: u64) {
        match self.0 {}
    }

    /// Never called.
    pub const fn invalidate_name(&self, _: u64, _: &[u8]) {
        match self.0 {}
    }
}
