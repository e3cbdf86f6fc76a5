//! A directory behind ssh: what each operation of a store is in requests of sftp.
//!
//! A new object is written below `tmp/` and synced, then it gets its name: by a rename, or by a hard link where the
//! name must be free. A connection that dies at any point leaves a key with all its bytes or without any. sftp cannot
//! sync a directory; a second sync of the open file makes journalling file systems write its new name as well.

use std::collections::HashSet;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use openssh_sftp_client::file::File;
use openssh_sftp_client::metadata::Permissions;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::Wrong;
use super::connection::{Answer, PIECE};
use super::listing::list;
use super::pool::{Lease, Pool, Weight};
use super::transfer::{Ahead, Source, read_once, send};
use crate::store::local::STAGING;
use crate::store::meter::Meter;
use crate::store::{ENTRIES_MAX, Listed, SMALL_MAX, Trouble};

/// Reads of this many bytes get a connection of their own.
const BIG: usize = 1 << 20;
/// Folders that are listed at the same time.
const FOLDERS: usize = 64;
/// Folders that are made on the way to a key at most.
const DEPTH: usize = 64;

/// A directory of a server.
pub(super) struct Directory {
    pool: Arc<Pool>,
    /// Its path without a slash at the end, from the home directory where it begins with none.
    root: String,
    meter: Arc<Meter>,
    /// Folders that are known to be there.
    made: Mutex<HashSet<String>>,
}

impl Directory {
    pub(super) fn new(pool: Pool, root: String, meter: Arc<Meter>) -> Self {
        Self { pool: Arc::new(pool), root, meter, made: Mutex::default() }
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

    fn made(&self) -> MutexGuard<'_, HashSet<String>> {
        self.made.lock()
    }

    async fn open(&self, lease: &Lease, key: &str) -> Result<File, Wrong> {
        lease.answer(lease.sftp.options().read(true).open(self.path(key))).await
    }

    /// The beginning of a file, and its length.
    async fn begin(&self, lease: &Lease, file: &File, offset: u64) -> Result<(Vec<u8>, u64), Wrong> {
        let (mut first, mut asked) = (file.clone(), file.clone());
        let look = async { lease.answer(asked.metadata()).await };
        let (bytes, metadata) = tokio::try_join!(read_once(lease, &mut first, offset, PIECE), look)?;
        self.passed(bytes.len()).await;
        Ok((bytes.to_vec(), metadata.len().unwrap_or(0)))
    }

    async fn passed(&self, len: usize) {
        let wait = self.meter.down.pass(len as u64);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// A whole small object.
    pub(super) async fn get(&self, key: &str) -> Result<Vec<u8>, Wrong> {
        let lease = self.pool.lease(Weight::Small).await?;
        let file = self.open(&lease, key).await?;
        let (mut bytes, len) = self.begin(&lease, &file, 0).await?;
        if len > SMALL_MAX {
            return Err(Wrong::Trouble(Trouble::Nonsense, format!("{len} bytes are too many for this object")));
        }
        let mut rest = Ahead::new(Arc::clone(&lease.connection), file, bytes.len() as u64, len);
        while let Some(piece) = rest.next(&self.meter).await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Exactly a range of an object.
    pub(super) async fn range(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, Wrong> {
        let end = offset.checked_add(len as u64).ok_or(Wrong::Short)?;
        let lease = self.pool.lease(if len < BIG { Weight::Small } else { Weight::Big }).await?;
        let file = self.open(&lease, key).await?;
        let mut bytes = Vec::with_capacity(len.min(PIECE));
        let mut ahead = Ahead::new(Arc::clone(&lease.connection), file, offset, end);
        while let Some(piece) = ahead.next(&self.meter).await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// All bytes from `offset` on, for whoever listens at the other end of `to`.
    pub(super) async fn stream(&self, key: &str, offset: u64, to: mpsc::Sender<Result<Vec<u8>, Wrong>>) {
        if let Err(wrong) = self.stream_pieces(key, offset, &to).await {
            // Nobody listens any more.
            let _ = to.send(Err(wrong)).await;
        }
    }

    async fn stream_pieces(
        &self,
        key: &str,
        offset: u64,
        to: &mpsc::Sender<Result<Vec<u8>, Wrong>>,
    ) -> Result<(), Wrong> {
        let lease = self.pool.lease(Weight::Big).await?;
        let file = self.open(&lease, key).await?;
        let (bytes, end) = self.begin(&lease, &file, offset).await?;
        let at = offset.saturating_add(bytes.len() as u64);
        if !bytes.is_empty() && to.send(Ok(bytes)).await.is_err() {
            return Ok(());
        }
        let mut ahead = Ahead::new(Arc::clone(&lease.connection), file, at, end);
        while let Some(piece) = ahead.next(&self.meter).await? {
            if to.send(Ok(piece.to_vec())).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Length of an object.
    pub(super) async fn len(&self, key: &str) -> Result<u64, Wrong> {
        let lease = self.pool.lease(Weight::Small).await?;
        let metadata = lease.answer(lease.fs().metadata(self.path(key))).await?;
        Ok(metadata.len().unwrap_or(0))
    }

    /// Stores an object under its name, taken or not.
    pub(super) async fn put(&self, source: Source, key: &str) -> Result<(), Wrong> {
        let lease = self.pool.lease(Weight::Big).await?;
        let name = self.path(key);
        let mut staged = self.stage(&lease, &source).await?;
        let rename = || async { lease.answer(lease.fs().rename(&staged.path, &name)).await };
        match self.with_folder(&lease, &name, rename).await {
            Ok(()) => sync(&lease, &mut staged.file).await,
            // A rename that does not replace. The name stands for the content, so what is there is as good.
            Err(wrong @ Wrong::Answer(Answer::Failure, _)) => {
                let there = lease.answer(lease.fs().metadata(&name)).await;
                remove(&lease, &staged.path).await;
                match there.is_ok_and(|m| m.len() == Some(source.len())) {
                    true => Ok(()),
                    false => Err(lease.reason(wrong, &self.path("")).await),
                }
            }
            Err(wrong) => {
                remove(&lease, &staged.path).await;
                Err(wrong)
            }
        }
    }

    /// Stores a small object unless its name is taken.
    pub(super) async fn create(&self, source: Source, key: &str) -> Result<bool, Wrong> {
        let lease = self.pool.lease(Weight::Small).await?;
        let name = self.path(key);
        if !lease.sftp.support_hardlink() {
            return self.create_in_place(&lease, &source, &name).await;
        }
        let staged = self.stage(&lease, &source).await?;
        let link = || async { lease.answer(lease.fs().hard_link(&staged.path, &name)).await };
        match self.with_folder(&lease, &name, link).await {
            Ok(()) => {
                let Staged { path, mut file } = staged;
                let (synced, ()) = tokio::join!(sync(&lease, &mut file), remove(&lease, &path));
                match synced {
                    // Others may have seen it already, so it is not known to have failed.
                    Err(Wrong::Answer(_, said)) => Err(Wrong::Trouble(Trouble::Nonsense, said)),
                    synced => synced.map(|()| true),
                }
            }
            // No reason is given; a taken name is the usual one.
            Err(wrong @ Wrong::Answer(Answer::Failure, _)) => {
                let (taken, ()) = tokio::join!(self.taken(&lease, &name, wrong), remove(&lease, &staged.path));
                taken.map(|()| false)
            }
            Err(wrong) => {
                remove(&lease, &staged.path).await;
                Err(wrong)
            }
        }
    }

    /// For servers without hard links. It is as exclusive, but a connection that dies within it leaves a part of the
    /// object under its name, and a reader may see one: whatever is created must say itself whether it is whole.
    async fn create_in_place(&self, lease: &Lease, source: &Source, name: &str) -> Result<bool, Wrong> {
        let open = || async { lease.answer(lease.sftp.options().write(true).create_new(true).open(name)).await };
        let file = match self.with_folder(lease, name, open).await {
            Ok(file) => file,
            Err(wrong @ Wrong::Answer(Answer::Failure, _)) => {
                return self.taken(lease, name, wrong).await.map(|()| false);
            }
            Err(wrong) => return Err(wrong),
        };
        let mut made = Staged { path: name.to_owned(), file };
        match made.fill(lease, source, &self.meter).await {
            Ok(()) => Ok(true),
            Err(wrong) => {
                let wrong = lease.reason(wrong, &self.path("")).await;
                remove(lease, &made.path).await;
                Err(wrong)
            }
        }
    }

    /// Fine if there is something under the name; else `wrong` had another reason.
    async fn taken(&self, lease: &Lease, name: &str, wrong: Wrong) -> Result<(), Wrong> {
        match lease.answer(lease.fs().symlink_metadata(name)).await {
            Ok(_) => Ok(()),
            Err(Wrong::Answer(..)) => Err(lease.reason(wrong, &self.path("")).await),
            Err(wrong) => Err(wrong),
        }
    }

    /// Writes a file below `tmp/`, synced.
    async fn stage(&self, lease: &Lease, source: &Source) -> Result<Staged, Wrong> {
        let path = self.path(&format!("{STAGING}/w{:016x}", RandomState::new().hash_one(std::process::id())));
        let open = || async { lease.answer(lease.sftp.options().write(true).create_new(true).open(&path)).await };
        let file = match self.with_folder(lease, &path, open).await {
            Ok(file) => file,
            Err(wrong) => return Err(lease.reason(wrong, &self.path("")).await),
        };
        let mut staged = Staged { path, file };
        match staged.fill(lease, source, &self.meter).await {
            Ok(()) => Ok(staged),
            Err(wrong) => {
                let wrong = lease.reason(wrong, &self.path("")).await;
                remove(lease, &staged.path).await;
                Err(wrong)
            }
        }
    }

    /// Uses a name, once more if its folder had to be made first. Mostly it is there, and asking would take longer.
    async fn with_folder<T, F>(&self, lease: &Lease, name: &str, attempt: impl Fn() -> F) -> Result<T, Wrong>
    where
        F: Future<Output = Result<T, Wrong>>,
    {
        let folder = parent(name);
        match attempt().await {
            // Some servers have only one word for all that fails.
            Err(Wrong::Answer(Answer::Failure, _)) if !self.made().contains(folder) => {}
            Err(Wrong::Answer(Answer::NoSuchFile, _)) => self.made().clear(),
            attempted => return attempted,
        }
        self.make(lease, folder).await?;
        attempt().await
    }

    /// Makes a folder and those above it, unless they are known to be there.
    async fn make(&self, lease: &Lease, folder: &str) -> Result<(), Wrong> {
        let mut to_make = vec![folder];
        for _ in 0..DEPTH {
            let Some(&next) = to_make.last() else { return Ok(()) };
            if next.is_empty() || self.made().contains(next) {
                to_make.pop();
                continue;
            }
            let mut fs = lease.fs();
            let mut builder = fs.dir_builder();
            // A new repository is its owner's alone; an existing directory keeps the access that it was given.
            if next == self.path("") {
                builder.permissions(Permissions::from(0o700));
            }
            match lease.answer(builder.create(next)).await {
                Ok(()) => {}
                Err(Wrong::Answer(Answer::NoSuchFile, _)) if !parent(next).is_empty() => {
                    self.made().remove(parent(next));
                    to_make.push(parent(next));
                    continue;
                }
                // It is there, or must not be made; servers differ in what they say.
                Err(wrong @ Wrong::Answer(..)) => match lease.answer(lease.fs().metadata(next)).await {
                    Ok(m) if m.file_type().is_none_or(|t| t.is_dir()) => {}
                    Ok(_) | Err(Wrong::Answer(..)) => return Err(lease.reason(wrong, &self.path("")).await),
                    Err(broken) => return Err(broken),
                },
                Err(wrong) => return Err(wrong),
            }
            self.made().insert(next.to_owned());
            to_make.pop();
        }
        Err(Wrong::Answer(Answer::NoSuchFile, "the folder cannot be made".to_owned()))
    }

    /// What lies directly below a folder, in no order.
    pub(super) async fn list(&self, dir: &str) -> Result<Vec<Listed>, Wrong> {
        let lease = self.pool.lease(Weight::Small).await?;
        list(Arc::clone(&lease.connection), self.path(dir)).await
    }

    /// The keys of all objects below a folder, in no order.
    pub(super) async fn list_all(&self, dir: &str) -> Result<Vec<String>, Wrong> {
        let lease = self.pool.lease(Weight::Small).await?;
        let slots = Arc::new(Semaphore::new(FOLDERS));
        let mut listings = JoinSet::new();
        let mut keys = Vec::new();
        let mut folders = vec![dir.to_owned()];
        loop {
            for folder in folders.drain(..) {
                let (connection, path, slots) = (Arc::clone(&lease.connection), self.path(&folder), Arc::clone(&slots));
                listings.spawn(async move {
                    // It is never closed.
                    let _slot = slots.acquire().await;
                    list(connection, path).await.map(|listed| (folder, listed))
                });
            }
            let Some(listing) = listings.join_next().await else { return Ok(keys) };
            let (folder, listed) = listing.map_err(Wrong::panicked)??;
            for listed in listed {
                let key = if folder.is_empty() { listed.name } else { format!("{folder}/{}", listed.name) };
                if listed.is_dir { folders.push(key) } else { keys.push(key) }
            }
            if keys.len() > ENTRIES_MAX {
                return Err(Wrong::Trouble(Trouble::Nonsense, "its listing does not end".to_owned()));
            }
        }
    }

    /// Removes an object.
    pub(super) async fn delete(&self, key: &str) -> Result<(), Wrong> {
        let lease = self.pool.lease(Weight::Small).await?;
        match lease.answer(lease.fs().remove_file(self.path(key))).await {
            Err(Wrong::Answer(Answer::NoSuchFile, _)) => Ok(()),
            removed => removed,
        }
    }
}

/// A file that is being written.
struct Staged {
    path: String,
    file: File,
}

impl Staged {
    async fn fill(&mut self, lease: &Lease, source: &Source, meter: &Meter) -> Result<(), Wrong> {
        send(&lease.connection, &self.file, source, meter).await?;
        sync(lease, &mut self.file).await
    }
}

/// A server without the request decides itself when it writes.
async fn sync(lease: &Lease, file: &mut File) -> Result<(), Wrong> {
    if !lease.sftp.support_fsync() {
        return Ok(());
    }
    lease.answer(file.sync_all()).await
}

/// What stays behind is found and removed later.
async fn remove(lease: &Lease, path: &str) {
    if lease.is_alive() {
        let _ = lease.answer(lease.fs().remove_file(path)).await;
    }
}

/// The folder of a path; nothing above the first piece of a relative one.
fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", name)) if !name.is_empty() => "/",
        Some((folder, _)) => folder,
        None => "",
    }
}
