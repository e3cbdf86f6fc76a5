//! Fetches chunks and packs of a remote repository.

use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::handle::{LocalRepo, Repo};
use super::layout;
use crate::codec::hash::NameHasher;
use crate::error::{Kind, Result};
use crate::format::pack::PackKind;
use crate::format::segment::PackName;
use crate::model::id::{Id, ObjectKind};
use crate::store::StoreError;
use crate::store::local::LocalStore;
use crate::sys::io_error::IoError;
use crate::work::Cancelled;

/// A whole pack as a local file.
pub enum PackFile {
    /// A file in the repository.
    Stored(PathBuf),
    /// A temporary copy; deleted when dropped.
    Fetched(NamedTempFile),
}

impl PackFile {
    pub fn path(&self) -> &Path {
        match self {
            Self::Stored(path) => path,
            Self::Fetched(file) => file.path(),
        }
    }
}

/// The result of fetching an object whose name is the hash of its bytes.
pub enum FetchedFile {
    /// The repository does not have the object.
    Missing,
    /// The bytes in the repository do not match the name, or exceed the limit.
    Wrong,
    /// The bytes match the name.
    Verified(NamedTempFile),
}

impl Repo {
    /// Fetches the pack or segment `key` with the SHA-256 `name` into an unpublished file of
    /// `staging`. Rejects more than `limit` bytes, because a store must not fill the disk.
    pub fn fetch_named(
        &self,
        key: &str,
        name: &[u8; 32],
        limit: u64,
        staging: &LocalStore,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<FetchedFile> {
        // A call of `read_from` has no result for too many bytes, so a flag separates this case
        // from a missing object.
        let (mut left, mut too_long) = (limit, false);
        let staged = staging.stage()?;
        let mut hasher = NameHasher::default();
        let received = self.store().read_from(key, 0, &mut |bytes| {
            if cancelled() {
                return Err(Cancelled.into());
            }
            left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
                too_long = true;
                StoreError::Missing {
                    key: key.to_owned(),
                }
            })?;
            hasher.update(bytes);
            (&mut staged.as_file())
                .write_all(bytes)
                .map_err(|e| IoError::new("write", key, e).into())
        });
        match received {
            Err(StoreError::Missing { .. }) if too_long => return Ok(FetchedFile::Wrong),
            Err(StoreError::Missing { .. }) => return Ok(FetchedFile::Missing),
            received => received?,
        }
        Ok(if hasher.finish() == *name {
            FetchedFile::Verified(staged)
        } else {
            FetchedFile::Wrong
        })
    }

    /// Fetches chunks that are not local into the cache; chunks that are close together share a
    /// request. Returns the number of requested bytes.
    pub fn fetch_ahead(&self, chunks: &[Id]) -> Result<u64> {
        match self.fetch_ahead_by_index(chunks) {
            // A gc may have moved chunks since the index was opened. The read of a chunk that is
            // still missing reports it.
            Err(e) if e.kind() == Kind::Integrity => {
                self.locator.refresh_after_damage()?;
                match self.fetch_ahead_by_index(chunks) {
                    Err(e) if e.kind() == Kind::Integrity => Ok(0),
                    fetched => fetched,
                }
            }
            fetched => fetched,
        }
    }

    fn fetch_ahead_by_index(&self, chunks: &[Id]) -> Result<u64> {
        let (Some(remote), index) = (self.remote_store(), self.index()?) else {
            let mut missing = Vec::new();
            for id in chunks {
                // In a lazy clone, only chunks that are not local are requested from the remote.
                if !self.has(ObjectKind::Chunk, id)? {
                    missing.push(*id);
                }
            }
            return match self.lazy_source()? {
                Some(source) if !missing.is_empty() => source.fetch_ahead(&missing),
                _ => Ok(0),
            };
        };
        let mut packs: HashMap<PackName, Vec<Range<u64>>> = HashMap::new();
        for id in chunks {
            // Skip a chunk that the index does not list. The read that needs the chunk reports the
            // error.
            let Some(row) = index.lookup(PackKind::Data, id)? else {
                continue;
            };
            // A delta is useless without its base.
            for place in row.base.iter().chain([&row.place]) {
                let from = u64::from(place.offset);
                packs
                    .entry(place.pack)
                    .or_default()
                    .push(from..from + u64::from(place.stored));
            }
        }
        let wanted: Vec<_> = packs
            .into_iter()
            .map(|(pack, ranges)| (layout::pack(&pack), ranges))
            .collect();
        Ok(remote.fetch_ahead(&wanted)?)
    }

    /// Returns a pack as a local file; fetches a remote pack as a whole. In a local repository, the
    /// pack may be missing, in which case reading the file fails.
    pub fn pack_file(&self, name: &PackName) -> Result<PackFile> {
        let key = layout::pack(name);
        if let Some(local) = self.as_local().map(LocalRepo::files) {
            return Ok(PackFile::Stored(local.path(&key)));
        }
        let io = |source| IoError::new("keep a copy of", &key, source);
        let file = self
            .state_dir()
            .map_or_else(|_| NamedTempFile::new(), NamedTempFile::new_in)
            .map_err(io)?;
        // Limit the copy to the length in the index, so that a hostile store cannot fill the disk.
        let index = self.index()?;
        let known = PackKind::ALL
            .into_iter()
            .find_map(|kind| index.pack_bytes(kind, name))
            .filter(|bytes| *bytes > 0);
        let mut left = known.unwrap_or(u64::MAX);
        self.store().read_from(&key, 0, &mut |bytes| {
            left = left
                .checked_sub(bytes.len() as u64)
                .ok_or_else(|| StoreError::Missing { key: key.clone() })?;
            (&mut file.as_file())
                .write_all(bytes)
                .map_err(|e| io(e).into())
        })?;
        Ok(PackFile::Fetched(file))
    }

    /// Returns the objects that this process has partly fetched into the cache for this repository
    /// or its lazy source, with their lengths.
    pub fn fetched(&self) -> Vec<(String, u64)> {
        let source = self.opened_lazy_source().and_then(Self::remote_store);
        self.remote_store()
            .or(source)
            .map_or_else(Vec::new, |remote| remote.fetched())
    }
}
