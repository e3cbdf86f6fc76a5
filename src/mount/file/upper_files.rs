//! The directory of upper files, and its quota.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io};

use parking_lot::{Mutex, MutexGuard};

use crate::mount::errno::{Errno, FsResult};
use crate::sys::allocated::allocated_bytes_at;
use crate::sys::create;

/// Name of the directory of upper files in an overlay.
pub const UPPER_DIR: &str = "data";
/// Name of the file that ties the upper files to one overlay database.
const MARK: &str = "mark";

/// The directory of upper files, and its quota.
#[derive(Debug)]
pub struct UpperFiles {
    dir: PathBuf,
    /// Directories with new files whose names may not be on disk yet.
    unsynced_dirs: Mutex<HashSet<PathBuf>>,
    used_bytes: AtomicU64,
    limit_bytes: Option<u64>,
}

/// An upper file.
pub struct UpperFile {
    /// The inode that the upper file belongs to.
    pub ino: u64,
    /// Path of the upper file.
    pub path: PathBuf,
}

impl UpperFiles {
    /// Uses `dir` for upper files. The directory is created by the first write.
    pub fn new(dir: PathBuf, limit_bytes: Option<u64>) -> Self {
        Self {
            dir,
            unsynced_dirs: Mutex::default(),
            used_bytes: AtomicU64::new(0),
            limit_bytes,
        }
    }

    /// Returns the path of the upper file of an inode.
    pub fn path(&self, ino: u64) -> PathBuf {
        self.dir
            // Numbers of new nodes are consecutive and those of the version are hashes, so the low
            // byte distributes both evenly over the directories.
            .join(format!("{:02x}", ino & 0xff))
            .join(format!("{ino:x}"))
    }

    /// Returns the directory of the upper files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns whether `dir` contains upper files.
    pub fn has_files(dir: &Path) -> io::Result<bool> {
        let list = |dir: &Path| match fs::read_dir(dir) {
            Err(e)
                if matches!(
                    e.kind(),
                    // `mark` is a file among the directories.
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            list => list.map(Some),
        };
        for fold in list(dir)?.into_iter().flatten() {
            if list(&fold?.path())?
                .into_iter()
                .flatten()
                .next()
                .transpose()?
                .is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lists the upper files in `dir`.
    pub fn files(dir: &Path) -> io::Result<Vec<UpperFile>> {
        let mut files = Vec::new();
        let folds = match fs::read_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(files),
            folds => folds?,
        };
        for fold in folds {
            let fold = fold?;
            if !fold.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(fold.path())? {
                let file = file?;
                let ino = file
                    .file_name()
                    .to_str()
                    .and_then(|name| u64::from_str_radix(name, 16).ok());
                files.extend(ino.map(|ino| UpperFile {
                    ino,
                    path: file.path(),
                }));
            }
        }
        Ok(files)
    }

    /// Returns whether the upper files belong to the overlay database with this mark. Files without
    /// a mark belong to any database.
    pub fn is_marked(&self, mark: &str) -> io::Result<bool> {
        match fs::read(self.dir.join(MARK)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
            there => there.map(|there| there == mark.as_bytes()),
        }
    }

    /// Ties the upper files to the overlay database with this mark.
    pub fn put_mark(&self, mark: &str) -> io::Result<()> {
        let path = self.dir.join(MARK);
        if fs::read(&path).is_ok_and(|there| there == mark.as_bytes()) {
            return Ok(());
        }
        create::private_dir(&self.dir)?;
        // A partly written mark would make the next mount refuse the overlay.
        let fresh = path.with_extension("new");
        let file = self.create_at(&fresh)?;
        io::Write::write_all(&mut &file, mark.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        self.unsynced_dirs().insert(self.dir.clone());
        self.sync_names()
    }

    /// Returns the number of bytes that all upper files take on disk. Looks at each file if there
    /// is no quota, because writes are then not counted.
    pub fn disk_bytes(&self) -> u64 {
        if self.limit_bytes.is_some() {
            return self.used_bytes();
        }
        let files = Self::files(&self.dir).unwrap_or_default();
        files
            .iter()
            .filter_map(|file| allocated_bytes_at(&file.path).ok())
            .sum()
    }

    /// Returns the number of bytes of the upper files as counted for the quota.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Returns the quota in bytes, or `None` if there is none.
    pub fn limit_bytes(&self) -> Option<u64> {
        self.limit_bytes
    }

    /// Replaces the counted bytes of one upper file.
    pub fn recount(&self, before: u64, now: u64) {
        if now >= before {
            self.used_bytes.fetch_add(now - before, Ordering::Relaxed);
        } else {
            let less = before - now;
            // The update cannot fail, because the closure always returns a value.
            let _ = self
                .used_bytes
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                    Some(n.saturating_sub(less))
                });
        }
    }

    /// Fails with `ENOSPC` if the quota is reached.
    pub fn ensure_space(&self) -> FsResult<()> {
        match self.limit_bytes {
            Some(limit) if self.used_bytes() >= limit => Err(Errno::NOSPC),
            _ => Ok(()),
        }
    }

    /// Fails with `ENOSPC` if another `bytes` bytes would exceed the quota.
    pub fn ensure_space_for(&self, bytes: u64) -> FsResult<()> {
        match self.limit_bytes {
            Some(limit) if self.used_bytes().saturating_add(bytes) > limit => Err(Errno::NOSPC),
            _ => Ok(()),
        }
    }

    /// Opens the upper file of an inode.
    pub fn open(&self, ino: u64) -> io::Result<File> {
        File::options().read(true).write(true).open(self.path(ino))
    }

    /// Creates an empty upper file.
    pub fn create(&self, ino: u64) -> io::Result<File> {
        self.create_at(&self.path(ino))
    }

    /// Replaces an upper file by an empty one. Open handles keep the old file.
    pub fn replace(&self, ino: u64) -> io::Result<File> {
        let path = self.path(ino);
        let fresh = path.with_extension("new");
        let file = self.create_at(&fresh)?;
        fs::rename(&fresh, &path)?;
        Ok(file)
    }

    fn create_at(&self, path: &Path) -> io::Result<File> {
        let mut options = File::options();
        options.read(true).write(true).truncate(true);
        let open = || create::open_private(path, &options);
        let fold = path.parent().unwrap_or(&self.dir);
        let file = match open() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                create::private_dir(fold)?;
                // The name of the new directory must become durable too, and so must that of its
                // parent, which may be new as well.
                self.unsynced_dirs().extend([
                    self.dir.clone(),
                    self.dir.parent().unwrap_or(&self.dir).to_path_buf(),
                ]);
                open()?
            }
            file => file?,
        };
        self.unsynced_dirs().insert(fold.to_path_buf());
        Ok(file)
    }

    fn unsynced_dirs(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.unsynced_dirs.lock()
    }

    /// Makes the names of new upper files durable.
    pub fn sync_names(&self) -> io::Result<()> {
        let folds = std::mem::take(&mut *self.unsynced_dirs());
        let synced = folds
            .iter()
            .try_for_each(|fold| File::open(fold)?.sync_all());
        // The names are not durable, so the next sync must include them.
        if synced.is_err() {
            self.unsynced_dirs().extend(folds);
        }
        synced
    }
}
