//! The folder of upper files, and how much they may take.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::errno::{Answer, Errno};
use crate::sys::create;

/// The folder of an overlay.
pub const FOLDER: &str = "data";
/// The file that says to which tables the upper files belong.
const MARK: &str = "mark";

/// Where upper files lie, and how much they may take.
#[derive(Debug)]
pub struct Space {
    dir: PathBuf,
    /// Folders in which files were made that may not be on disk yet.
    made_in: Mutex<HashSet<PathBuf>>,
    used_bytes: AtomicU64,
    limit_bytes: Option<u64>,
}

impl Space {
    /// Upper files in `dir`.
    pub fn new(dir: PathBuf, limit_bytes: Option<u64>) -> Self {
        Self { dir, made_in: Mutex::default(), used_bytes: AtomicU64::new(0), limit_bytes }
    }

    /// Where the upper file of an inode is.
    pub fn path(&self, ino: u64) -> PathBuf {
        self.dir.join(format!("{:02x}", ino & 0xff)).join(format!("{ino:x}"))
    }

    /// The directory of all.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether `dir` holds an upper file.
    pub fn holds_files(dir: &Path) -> io::Result<bool> {
        let list = |dir: &Path| match fs::read_dir(dir) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            list => list.map(Some),
        };
        for fold in list(dir)?.into_iter().flatten() {
            if list(&fold?.path())?.into_iter().flatten().next().transpose()?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The upper files in `dir`, with the inodes that they are of.
    pub fn files(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
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
                let ino = file.file_name().to_str().and_then(|name| u64::from_str_radix(name, 16).ok());
                files.extend(ino.map(|ino| (ino, file.path())));
            }
        }
        Ok(files)
    }

    /// Whether the upper files may be those of tables with this mark: they say so, or they say nothing.
    pub fn is_marked(&self, mark: &str) -> io::Result<bool> {
        match fs::read(self.dir.join(MARK)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
            there => there.map(|there| there == mark.as_bytes()),
        }
    }

    /// Says that the upper files belong to tables with this mark.
    pub fn put_mark(&self, mark: &str) -> io::Result<()> {
        let path = self.dir.join(MARK);
        if fs::read(&path).is_ok_and(|there| there == mark.as_bytes()) {
            return Ok(());
        }
        create::private_dir(&self.dir)?;
        let fresh = path.with_extension("new");
        let file = self.make(&fresh)?;
        io::Write::write_all(&mut &file, mark.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        self.made_in().insert(self.dir.clone());
        self.sync_names()
    }

    /// Bytes that upper files take, as far as they were counted.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// The most that they may take.
    pub fn limit_bytes(&self) -> Option<u64> {
        self.limit_bytes
    }

    /// Counts what an upper file takes.
    pub fn count(&self, before: u64, now: u64) {
        if now >= before {
            self.used_bytes.fetch_add(now - before, Ordering::Relaxed);
        } else {
            let less = before - now;
            let _ =
                self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some(n.saturating_sub(less)));
        }
    }

    /// Whether one more byte fits.
    pub fn check(&self) -> Answer<()> {
        match self.limit_bytes {
            Some(limit) if self.used_bytes() >= limit => Err(Errno::NOSPC),
            _ => Ok(()),
        }
    }

    /// Whether so many more bytes fit.
    pub fn check_for(&self, bytes: u64) -> Answer<()> {
        match self.limit_bytes {
            Some(limit) if self.used_bytes().saturating_add(bytes) > limit => Err(Errno::NOSPC),
            _ => Ok(()),
        }
    }

    /// Opens the upper file of an inode.
    pub fn open(&self, ino: u64) -> io::Result<File> {
        File::options().read(true).write(true).open(self.path(ino))
    }

    /// Makes an empty upper file.
    pub fn create(&self, ino: u64) -> io::Result<File> {
        self.make(&self.path(ino))
    }

    /// Makes an empty upper file in place of the one that is there, which whoever has it open keeps.
    pub fn replace(&self, ino: u64) -> io::Result<File> {
        let path = self.path(ino);
        let fresh = path.with_extension("new");
        let file = self.make(&fresh)?;
        fs::rename(&fresh, &path)?;
        Ok(file)
    }

    fn make(&self, path: &Path) -> io::Result<File> {
        let mut options = File::options();
        options.read(true).write(true).truncate(true);
        let open = || create::open_private(path, &options);
        let fold = path.parent().unwrap_or(&self.dir);
        let file = match open() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                create::private_dir(fold)?;
                self.made_in().extend([self.dir.clone(), self.dir.parent().unwrap_or(&self.dir).to_path_buf()]);
                open()?
            }
            file => file?,
        };
        self.made_in().insert(fold.to_path_buf());
        Ok(file)
    }

    fn made_in(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.made_in.lock()
    }

    /// Makes the names of new upper files durable.
    pub fn sync_names(&self) -> io::Result<()> {
        let folds = std::mem::take(&mut *self.made_in());
        let synced = folds.iter().try_for_each(|fold| File::open(fold)?.sync_all());
        if synced.is_err() {
            self.made_in().extend(folds);
        }
        synced
    }
}
