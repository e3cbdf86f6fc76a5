//! The operations of a store as SFTP requests in a directory of a server.
//!
//! A new object is written below `tmp/`, synced, and then moved to its name: by a rename, or by a
//! hard link if the name must not exist. If the connection is lost at any point, a key is complete
//! or absent. SFTP cannot sync a directory; a second sync of the open file makes journalling file
//! systems write the new name, too.

use std::collections::HashSet;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use openssh_sftp_client::file::File;
use openssh_sftp_client::metadata::Permissions;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::connection::PIECE;
use super::error::{SftpError, SftpStatus};
use super::listing::list;
use super::pool::{ConnectionPool, Lease, Weight};
use super::transfer::{ReadAhead, UploadSource, read_once, send};
use crate::store::local::STAGING;
use crate::store::meter::Meter;
use crate::store::{ENTRIES_MAX, ListedKey, ListedObject, SMALL_MAX, StoreErrorKind};

/// Reads of at least this many bytes count as [`Weight::Large`].
const LARGE_READ: usize = 1 << 20;
/// Limit on the directories that are listed at the same time.
const LISTINGS_MAX: usize = 64;
/// Limit on the objects that are removed at the same time.
const REMOVALS_MAX: usize = 64;
/// Limit on the steps to create the directories of a key.
const DEPTH_MAX: usize = 64;

/// A directory on a server.
pub(super) struct SftpDirectory {
    pool: Arc<ConnectionPool>,
    /// Path without a trailing slash. A relative path starts at the home directory.
    root: String,
    meter: Arc<Meter>,
    /// Directories that are known to exist.
    existing: Mutex<HashSet<String>>,
}

impl SftpDirectory {
    pub(super) fn new(pool: ConnectionPool, root: String, meter: Arc<Meter>) -> Self {
        Self {
            pool: Arc::new(pool),
            root,
            meter,
            existing: Mutex::default(),
        }
    }

    fn path(&self, key: &str) -> String {
        match (self.root.as_str(), key) {
            ("" | ".", "") => ".".to_owned(),
            ("" | ".", key) => key.to_owned(),
            ("/", "") => "/".to_owned(),
            ("/", key) => format!("/{key}"),
            (root, "") => root.to_owned(),
            (root, key) => format!("{root}/{key}"),
        }
    }

    fn existing(&self) -> MutexGuard<'_, HashSet<String>> {
        self.existing.lock()
    }

    async fn open(&self, lease: &Lease, key: &str) -> Result<File, SftpError> {
        lease
            .response(lease.sftp.options().read(true).open(self.path(key)))
            .await
    }

    /// Reads the first bytes of a file from `offset` on, and the length of the file.
    async fn read_start(
        &self,
        lease: &Lease,
        file: &File,
        offset: u64,
    ) -> Result<(Vec<u8>, u64), SftpError> {
        let (mut first, mut asked) = (file.clone(), file.clone());
        let metadata = async { lease.response(asked.metadata()).await };
        // Both requests are in flight at the same time, so they cost one round trip.
        let (bytes, metadata) =
            tokio::try_join!(read_once(lease, &mut first, offset, PIECE), metadata)?;
        self.limit_rate(bytes.len()).await;
        Ok((bytes.to_vec(), metadata.len().unwrap_or(0)))
    }

    async fn limit_rate(&self, len: usize) {
        let wait = self.meter.down.pass(len as u64);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Reads a small object.
    pub(super) async fn get(&self, key: &str) -> Result<Vec<u8>, SftpError> {
        let lease = self.pool.lease(Weight::Small).await?;
        let file = self.open(&lease, key).await?;
        let (mut bytes, len) = self.read_start(&lease, &file, 0).await?;
        if len > SMALL_MAX {
            return Err(SftpError::Store(
                StoreErrorKind::InvalidResponse,
                format!("{len} bytes, but the limit for this object is {SMALL_MAX}"),
            ));
        }
        let mut rest = ReadAhead::new(Arc::clone(&lease.connection), file, bytes.len() as u64, len);
        while let Some(piece) = rest.next(&self.meter).await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Reads a range of an object. Fails with [`SftpError::Truncated`] if the object is shorter.
    pub(super) async fn range(
        &self,
        key: &str,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, SftpError> {
        let end = offset.checked_add(len as u64).ok_or(SftpError::Truncated)?;
        let lease = self
            .pool
            .lease(if len < LARGE_READ {
                Weight::Small
            } else {
                Weight::Large
            })
            .await?;
        let file = self.open(&lease, key).await?;
        // `len` may come from a damaged index, so memory is allocated only as bytes arrive.
        let mut bytes = Vec::with_capacity(len.min(PIECE));
        let mut ahead = ReadAhead::new(Arc::clone(&lease.connection), file, offset, end);
        while let Some(piece) = ahead.next(&self.meter).await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Sends all bytes from `offset` on to the channel `to`.
    pub(super) async fn stream(
        &self,
        key: &str,
        offset: u64,
        to: mpsc::Sender<Result<Vec<u8>, SftpError>>,
    ) {
        if let Err(error) = self.stream_pieces(key, offset, &to).await {
            // The receiver may already be gone.
            let _ = to.send(Err(error)).await;
        }
    }

    async fn stream_pieces(
        &self,
        key: &str,
        offset: u64,
        to: &mpsc::Sender<Result<Vec<u8>, SftpError>>,
    ) -> Result<(), SftpError> {
        let lease = self.pool.lease(Weight::Large).await?;
        let file = self.open(&lease, key).await?;
        let (bytes, end) = self.read_start(&lease, &file, offset).await?;
        let at = offset.saturating_add(bytes.len() as u64);
        if !bytes.is_empty() && to.send(Ok(bytes)).await.is_err() {
            return Ok(());
        }
        let mut ahead = ReadAhead::new(Arc::clone(&lease.connection), file, at, end);
        while let Some(piece) = ahead.next(&self.meter).await? {
            if to.send(Ok(piece.to_vec())).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns the length of an object.
    pub(super) async fn len(&self, key: &str) -> Result<u64, SftpError> {
        let lease = self.pool.lease(Weight::Small).await?;
        let metadata = lease.response(lease.fs().metadata(self.path(key))).await?;
        Ok(metadata.len().unwrap_or(0))
    }

    /// Stores an object under its name. An existing object is replaced, or kept if the server's
    /// rename cannot replace files.
    pub(super) async fn put(&self, source: UploadSource, key: &str) -> Result<(), SftpError> {
        let lease = self.pool.lease(Weight::Large).await?;
        let name = self.path(key);
        let mut staged = self.stage(&lease, &source).await?;
        let rename = || async { lease.response(lease.fs().rename(&staged.path, &name)).await };
        match self.with_directory(&lease, &name, rename).await {
            Ok(()) => sync(&lease, &mut staged.file).await,
            // The server's rename does not replace files. The name identifies the content, so the
            // existing file is equivalent.
            Err(error @ SftpError::Status(SftpStatus::Failure, _)) => {
                let there = lease.response(lease.fs().metadata(&name)).await;
                remove(&lease, &staged.path).await;
                match there.is_ok_and(|m| m.len() == Some(source.len())) {
                    true => Ok(()),
                    false => Err(lease.find_cause(error, &self.path("")).await),
                }
            }
            Err(error) => {
                remove(&lease, &staged.path).await;
                Err(error)
            }
        }
    }

    /// Stores a small object unless its name exists.
    pub(super) async fn create(&self, source: UploadSource, key: &str) -> Result<bool, SftpError> {
        let lease = self.pool.lease(Weight::Small).await?;
        let name = self.path(key);
        if !lease.sftp.support_hardlink() {
            return self.create_in_place(&lease, &source, &name).await;
        }
        let staged = self.stage(&lease, &source).await?;
        let link = || async {
            lease
                .response(lease.fs().hard_link(&staged.path, &name))
                .await
        };
        match self.with_directory(&lease, &name, link).await {
            Ok(()) => {
                let Staged { path, mut file } = staged;
                let (synced, ()) = tokio::join!(sync(&lease, &mut file), remove(&lease, &path));
                match synced {
                    // Other clients may already have seen the object, so the outcome counts as
                    // unknown.
                    Err(SftpError::Status(_, detail)) => {
                        Err(SftpError::Store(StoreErrorKind::InvalidResponse, detail))
                    }
                    synced => synced.map(|()| true),
                }
            }
            // The status names no cause; an existing name is the usual one.
            Err(error @ SftpError::Status(SftpStatus::Failure, _)) => {
                let (taken, ()) = tokio::join!(
                    self.ensure_exists(&lease, &name, error),
                    remove(&lease, &staged.path)
                );
                taken.map(|()| false)
            }
            Err(error) => {
                remove(&lease, &staged.path).await;
                Err(error)
            }
        }
    }

    /// Creates an object on a server without hard links. The creation is exclusive, but after a
    /// lost connection a partial object remains under the name, and a reader may see a partial
    /// object. Objects must therefore contain a checksum.
    async fn create_in_place(
        &self,
        lease: &Lease,
        source: &UploadSource,
        name: &str,
    ) -> Result<bool, SftpError> {
        let open = || async {
            lease
                .response(lease.sftp.options().write(true).create_new(true).open(name))
                .await
        };
        let file = match self.with_directory(lease, name, open).await {
            Ok(file) => file,
            Err(error @ SftpError::Status(SftpStatus::Failure, _)) => {
                return self.ensure_exists(lease, name, error).await.map(|()| false);
            }
            Err(error) => return Err(error),
        };
        let mut staged = Staged {
            path: name.to_owned(),
            file,
        };
        match staged.fill(lease, source, &self.meter).await {
            Ok(()) => Ok(true),
            Err(error) => {
                let error = lease.find_cause(error, &self.path("")).await;
                // The creation was exclusive, so no other writer uses the partial object that is
                // removed here.
                remove(lease, &staged.path).await;
                Err(error)
            }
        }
    }

    /// Returns `Ok` if the name exists; otherwise returns the cause of `error`.
    async fn ensure_exists(
        &self,
        lease: &Lease,
        name: &str,
        error: SftpError,
    ) -> Result<(), SftpError> {
        match lease.response(lease.fs().symlink_metadata(name)).await {
            Ok(_) => Ok(()),
            Err(SftpError::Status(..)) => Err(lease.find_cause(error, &self.path("")).await),
            Err(error) => Err(error),
        }
    }

    /// Writes and syncs a file below `tmp/`.
    async fn stage(&self, lease: &Lease, source: &UploadSource) -> Result<Staged, SftpError> {
        // Each `RandomState` has new random keys, so the name is unique.
        let path = self.path(&format!(
            "{STAGING}/w{:016x}",
            RandomState::new().hash_one(std::process::id())
        ));
        let open = || async {
            lease
                .response(
                    lease
                        .sftp
                        .options()
                        .write(true)
                        .create_new(true)
                        .open(&path),
                )
                .await
        };
        let file = match self.with_directory(lease, &path, open).await {
            Ok(file) => file,
            Err(error) => return Err(lease.find_cause(error, &self.path("")).await),
        };
        let mut staged = Staged { path, file };
        match staged.fill(lease, source, &self.meter).await {
            Ok(()) => Ok(staged),
            Err(error) => {
                let error = lease.find_cause(error, &self.path("")).await;
                remove(lease, &staged.path).await;
                Err(error)
            }
        }
    }

    /// Runs `attempt`, and repeats it after creating the directory if that is missing. The
    /// directory usually exists, so checking first would cost a round trip.
    async fn with_directory<T, F>(
        &self,
        lease: &Lease,
        name: &str,
        attempt: impl Fn() -> F,
    ) -> Result<T, SftpError>
    where
        F: Future<Output = Result<T, SftpError>>,
    {
        let folder = parent(name);
        match attempt().await {
            // Some servers have only one status for all failures.
            Err(SftpError::Status(SftpStatus::Failure, _)) if !self.existing().contains(folder) => {
            }
            // Another client has removed a directory, so all other known directories may be gone,
            // too.
            Err(SftpError::Status(SftpStatus::NoSuchFile, _)) => self.existing().clear(),
            attempted => return attempted,
        }
        self.create_directory(lease, folder).await?;
        attempt().await
    }

    /// Creates a directory and its parents, unless they are known to exist.
    async fn create_directory(&self, lease: &Lease, folder: &str) -> Result<(), SftpError> {
        let mut to_make = vec![folder];
        for _ in 0..DEPTH_MAX {
            let Some(&next) = to_make.last() else {
                return Ok(());
            };
            if next.is_empty() || self.existing().contains(next) {
                to_make.pop();
                continue;
            }
            let mut fs = lease.fs();
            let mut builder = fs.dir_builder();
            // A new repository is accessible only to its owner; an existing directory keeps its
            // permissions.
            if next == self.path("") {
                builder.permissions(Permissions::from(0o700));
            }
            match lease.response(builder.create(next)).await {
                Ok(()) => {}
                Err(SftpError::Status(SftpStatus::NoSuchFile, _)) if !parent(next).is_empty() => {
                    // Another client may have removed a directory that was known to exist.
                    self.existing().remove(parent(next));
                    to_make.push(parent(next));
                    continue;
                }
                // The directory exists or cannot be created; servers return different statuses for
                // both cases.
                Err(error @ SftpError::Status(..)) => {
                    match lease.response(lease.fs().metadata(next)).await {
                        // A server may omit the type of a file.
                        Ok(m) if m.file_type().is_none_or(|t| t.is_dir()) => {}
                        Ok(_) | Err(SftpError::Status(..)) => {
                            return Err(lease.find_cause(error, &self.path("")).await);
                        }
                        Err(broken) => return Err(broken),
                    }
                }
                Err(error) => return Err(error),
            }
            self.existing().insert(next.to_owned());
            to_make.pop();
        }
        Err(SftpError::Status(
            SftpStatus::NoSuchFile,
            "cannot create the directory".to_owned(),
        ))
    }

    /// Returns the names directly below a directory in arbitrary order.
    pub(super) async fn list(&self, dir: &str) -> Result<Vec<ListedKey>, SftpError> {
        let lease = self.pool.lease(Weight::Small).await?;
        list(Arc::clone(&lease.connection), self.path(dir)).await
    }

    /// Returns all objects below a directory in arbitrary order.
    pub(super) async fn list_all(&self, dir: &str) -> Result<Vec<ListedObject>, SftpError> {
        let lease = self.pool.lease(Weight::Small).await?;
        let slots = Arc::new(Semaphore::new(LISTINGS_MAX));
        let mut listings = JoinSet::new();
        let mut keys = Vec::new();
        let mut folders = vec![dir.to_owned()];
        loop {
            for folder in folders.drain(..) {
                let (connection, path, slots) = (
                    Arc::clone(&lease.connection),
                    self.path(&folder),
                    Arc::clone(&slots),
                );
                listings.spawn(async move {
                    // The semaphore is never closed, so the result needs no check.
                    let _slot = slots.acquire().await;
                    list(connection, path).await.map(|listed| (folder, listed))
                });
            }
            let Some(listing) = listings.join_next().await else {
                return Ok(keys);
            };
            let (folder, listed) = listing.map_err(SftpError::panicked)??;
            for listed in listed {
                let key = if folder.is_empty() {
                    listed.name
                } else {
                    format!("{folder}/{}", listed.name)
                };
                if listed.is_dir {
                    folders.push(key)
                } else {
                    let len = listed.len;
                    keys.push(ListedObject { key, len })
                }
            }
            if keys.len() > ENTRIES_MAX {
                return Err(SftpError::Store(
                    StoreErrorKind::InvalidResponse,
                    "listing too long".to_owned(),
                ));
            }
        }
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), SftpError> {
        let lease = self.pool.lease(Weight::Small).await?;
        match lease.response(lease.fs().remove_file(self.path(key))).await {
            Err(SftpError::Status(SftpStatus::NoSuchFile, _)) => Ok(()),
            removed => removed,
        }
    }

    /// Removes objects. Returns the result for each of them until one fails with another error than
    /// a status of the server.
    pub(super) async fn delete_many(
        self: Arc<Self>,
        keys: Vec<String>,
    ) -> Result<Vec<RemovedKey>, SftpError> {
        let lease = self.pool.lease(Weight::Small).await?;
        let (mut running, mut results) = (JoinSet::new(), Vec::with_capacity(keys.len()));
        let mut keys = keys.into_iter();
        loop {
            while running.len() < REMOVALS_MAX
                && let Some(key) = keys.next()
            {
                let (connection, path) = (Arc::clone(&lease.connection), self.path(&key));
                running.spawn(async move {
                    let removed = connection.response(connection.fs().remove_file(path)).await;
                    RemovedKey { key, removed }
                });
            }
            let Some(done) = running.join_next().await else {
                return Ok(results);
            };
            let done = done.map_err(SftpError::panicked)?;
            match done.removed {
                Err(SftpError::Status(SftpStatus::NoSuchFile, _)) => {}
                Ok(()) | Err(SftpError::Status(..)) => results.push(done),
                Err(broken) => return Err(broken),
            }
        }
    }

    /// Returns how long ago an object was written, by the clock of the server.
    pub(super) async fn age(&self, key: &str) -> Result<Option<Duration>, SftpError> {
        let lease = self.pool.lease(Weight::Small).await?;
        let metadata = lease.response(lease.fs().metadata(self.path(key))).await?;
        let mut staged = self
            .stage(
                &lease,
                &UploadSource::Bytes(bytes::Bytes::from_static(b"?")),
            )
            .await?;
        let now = lease.response(staged.file.metadata()).await;
        remove(&lease, &staged.path).await;
        let times = metadata.modified().zip(now?.modified());
        Ok(times.map(|(stored, now)| {
            let age = now.as_system_time().duration_since(stored.as_system_time());
            age.unwrap_or_default()
        }))
    }
}

/// The result of the removal of one object.
pub(super) struct RemovedKey {
    pub(super) key: String,
    pub(super) removed: Result<(), SftpError>,
}

/// A file that is being written.
struct Staged {
    path: String,
    file: File,
}

impl Staged {
    async fn fill(
        &mut self,
        lease: &Lease,
        source: &UploadSource,
        meter: &Meter,
    ) -> Result<(), SftpError> {
        send(&lease.connection, &self.file, source, meter).await?;
        sync(lease, &mut self.file).await
    }
}

/// Syncs a file. A server without support for fsync decides itself when it writes the file to disk.
async fn sync(lease: &Lease, file: &mut File) -> Result<(), SftpError> {
    if !lease.sftp.support_fsync() {
        return Ok(());
    }
    lease.response(file.sync_all()).await
}

/// Removes a temporary file. Errors are ignored, because leftover files are removed later.
async fn remove(lease: &Lease, path: &str) {
    if lease.is_alive() {
        let _ = lease.response(lease.fs().remove_file(path)).await;
    }
}

/// Returns the parent directory of a path; empty for the first component of a relative path.
fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", name)) if !name.is_empty() => "/",
        Some((folder, _)) => folder,
        None => "",
    }
}
