//! A store in a directory of this machine.
//!
//! A write creates a temporary file, syncs it, renames it (without replacing an existing file in
//! `create`), and syncs the directory. After a crash at any point, a key is complete or absent, and
//! at most files below `tmp/` are left over.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fs::{CWD, RenameFlags};

use super::trace::{DiskEvent, Tracer, trace};
use super::{Abilities, ListedKey, Removal, SMALL_MAX, Store, StoreError};
use crate::sys::create;
use crate::sys::io_error::IoError;

/// The directory of files that are being written.
pub const STAGING: &str = "tmp";
/// Limit on the number of files that stay open for reading.
const OPEN_FILES: usize = 64;

/// A directory of this machine.
pub struct LocalStore {
    root: PathBuf,
    open: Mutex<Vec<(String, Arc<File>)>>,
    /// Directories whose names are known to be synced.
    durable: Mutex<HashSet<PathBuf>>,
    tracer: Option<Arc<dyn Tracer>>,
}

impl LocalStore {
    /// Returns the store in `root`, which may not exist yet.
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            open: Mutex::default(),
            durable: Mutex::default(),
            tracer: None,
        }
    }

    /// Reports each durable step to `tracer`.
    pub fn traced(mut self, tracer: Arc<dyn Tracer>) -> Self {
        self.tracer = Some(tracer);
        self
    }

    /// Returns the directory of the store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path of a key.
    pub fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Returns the directory for unpublished files, and creates the directory if needed.
    pub fn staging(&self) -> Result<PathBuf, StoreError> {
        let dir = self.root.join(STAGING);
        let made = match create::dir(&dir) {
            // The root of a new remote does not exist before the first push.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                make_root(&self.root).and_then(|()| create::dir(&dir))
            }
            made => made,
        };
        made.map_err(self.io("create", STAGING))?;
        Ok(dir)
    }

    /// Creates a file that is invisible until it is published. Dropping the file removes it.
    pub fn stage(&self) -> Result<tempfile::NamedTempFile, StoreError> {
        let dir = self.staging()?;
        create::temp_file(&dir, "w").map_err(self.io("create a file in", STAGING))
    }

    /// Renames a file of [`Self::stage`] to a key, durably. A key identifies its content, so
    /// replacing an existing file is harmless.
    pub fn publish(&self, file: tempfile::NamedTempFile, key: &str) -> Result<(), StoreError> {
        let publish = || -> io::Result<()> {
            // Sync through the descriptor that wrote the file, because only this descriptor reports
            // all earlier write errors.
            file.as_file().sync_all()?;
            let from = file.path().to_path_buf();
            trace(
                self.tracer.as_deref(),
                |p| DiskEvent::FileSynced(p.to_owned()),
                &from,
            );
            let to = self.path(key);
            let dir = self.make_parent(&to)?;
            file.persist(&to)?;
            // A descriptor that is still open would read the replaced file, which may be a damaged
            // one under repair.
            self.reopen(key);
            self.renamed(&from, &to);
            // Without this sync, a crash may lose the name although the content is durable.
            self.sync_dir(&dir)
        };
        publish().map_err(self.io("write", key))
    }

    /// Opens the file of a key again at the next read.
    pub fn reopen(&self, key: &str) {
        self.open.lock().retain(|(open, _)| open != key);
    }

    fn io<'a>(
        &self,
        what: &'static str,
        key: &'a str,
    ) -> impl FnOnce(io::Error) -> StoreError + use<'a> {
        move |source| IoError::new(what, key, source).into()
    }

    /// Creates the directory of a key and syncs each new name on the path.
    fn make_parent(&self, path: &Path) -> io::Result<PathBuf> {
        let parent = path.parent().unwrap_or(&self.root).to_path_buf();
        let durable = || self.durable.lock();
        if parent == self.root || durable().contains(&parent) {
            return Ok(parent);
        }
        let above = self.make_parent(&parent)?;
        if create::dir(&parent)? {
            trace(
                self.tracer.as_deref(),
                |p| DiskEvent::DirMade(p.to_owned()),
                &parent,
            );
        }
        // Sync even if another process created the directory, because that process may not have
        // synced its name.
        self.sync_dir(&above)?;
        // Record the directory only after the sync: if the sync fails, the next write must repeat
        // it.
        durable().insert(parent.clone());
        Ok(parent)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        create::sync_dir(dir)?;
        trace(
            self.tracer.as_deref(),
            |p| DiskEvent::DirSynced(p.to_owned()),
            dir,
        );
        Ok(())
    }

    fn renamed(&self, from: &Path, to: &Path) {
        trace(
            self.tracer.as_deref(),
            |p| DiskEvent::Renamed(from.to_owned(), p.to_owned()),
            to,
        );
    }

    fn handle(&self, key: &str) -> io::Result<Arc<File>> {
        let mut open = self.open.lock();
        if let Some(at) = open.iter().position(|(k, _)| k == key) {
            // The least recently used file is first in the list and is closed first.
            let hit = open.remove(at);
            let file = Arc::clone(&hit.1);
            open.push(hit);
            return Ok(file);
        }
        let file = Arc::new(File::open(self.path(key))?);
        if open.len() >= OPEN_FILES {
            open.remove(0);
        }
        open.push((key.to_owned(), Arc::clone(&file)));
        Ok(file)
    }
}

/// Creates a directory and syncs each new name on the path.
pub fn make_durable(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let Some(above) = dir.parent() else {
        return Ok(());
    };
    let above = if above.as_os_str().is_empty() {
        Path::new(".")
    } else {
        above
    };
    make_durable(above)?;
    create::dir(dir)?;
    create::sync_dir(above)
}

/// Creates the directory of a new repository, accessible only to its owner, and syncs each new name
/// on the path.
pub fn make_root(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = dir
        .parent()
        .filter(|above| !above.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    make_durable(above)?;
    create::private_dir(dir)?;
    create::sync_dir(above)
}

impl Store for LocalStore {
    fn abilities(&self) -> Abilities {
        Abilities::LOCAL
    }

    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            // The rest of a longer file is left out, so that it does not match its checksum: no
            // command writes such a file.
            File::open(self.path(key))?
                .take(SMALL_MAX)
                .read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        match read() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.io("read", key)(e)),
        }
    }

    fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let missing = || StoreError::Missing {
            key: key.to_owned(),
        };
        let file = self.handle(key).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => missing(),
            _ => self.io("read", key)(e),
        })?;
        let mut buf = vec![0; len];
        file.read_exact_at(&mut buf, offset)
            .map_err(|e| match e.kind() {
                // A short file is damage, like a missing one.
                io::ErrorKind::UnexpectedEof => missing(),
                _ => self.io("read", key)(e),
            })?;
        Ok(buf)
    }

    fn len(&self, key: &str) -> Result<Option<u64>, StoreError> {
        match fs::metadata(self.path(key)) {
            Ok(m) => Ok(Some(m.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.io("inspect", key)(e)),
        }
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let staged = self.stage()?;
        let write = || -> io::Result<bool> {
            let mut file = staged.as_file();
            file.write_all(bytes)?;
            // The content must be durable before the name. After a crash, an empty ref entry under
            // its final name would be damage.
            file.sync_all()?;
            trace(
                self.tracer.as_deref(),
                |p| DiskEvent::FileSynced(p.to_owned()),
                staged.path(),
            );
            let to = self.path(key);
            let dir = self.make_parent(&to)?;
            // One atomic step determines the winner of a race for a ref entry.
            let free = match rustix::fs::renameat_with(
                CWD,
                staged.path(),
                CWD,
                &to,
                RenameFlags::NOREPLACE,
            ) {
                Ok(()) => true,
                Err(rustix::io::Errno::EXIST) => false,
                // File systems without the flag (NFS): a hard link fails if the name exists, too.
                Err(_) => match fs::hard_link(staged.path(), &to) {
                    Ok(()) => true,
                    // NFS repeats a request whose reply was lost. The existing name may then be the
                    // link that the first request created.
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                        is_same(staged.path(), &to)
                    }
                    Err(e) => return Err(e),
                },
            };
            // When `staged` is dropped, it removes the second link that `hard_link` left. After a
            // rename, there is no file to remove.
            if free {
                self.renamed(staged.path(), &to);
                self.sync_dir(&dir)?;
            }
            Ok(free)
        };
        write().map_err(self.io("write", key))
    }

    fn put(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        let mut from = File::open(file).map_err(self.io("read", key))?;
        let staged = self.stage()?;
        io::copy(&mut from, &mut staged.as_file()).map_err(self.io("write", key))?;
        self.publish(staged, key)
    }

    fn list(&self, dir: &str) -> Result<Vec<ListedKey>, StoreError> {
        let read = || -> io::Result<Vec<ListedKey>> {
            let mut out = Vec::new();
            for entry in fs::read_dir(self.path(dir))? {
                let entry = entry?;
                // All keys are ASCII, so another program created this name.
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                let is_dir = entry.file_type()?.is_dir();
                let len = match entry.metadata() {
                    _ if is_dir => 0,
                    Ok(metadata) => metadata.len(),
                    // The file was removed after it was listed.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    Err(e) => return Err(e),
                };
                out.push(ListedKey { name, is_dir, len });
            }
            out.sort();
            Ok(out)
        };
        match read() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            r => r.map_err(self.io("list", dir)),
        }
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = self.path(key);
        let remove = || -> io::Result<()> {
            match fs::remove_file(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                r => r?,
            }
            trace(
                self.tracer.as_deref(),
                |p| DiskEvent::Removed(p.to_owned()),
                &path,
            );
            // The removal of a segment must be durable before its packs are removed. Otherwise a
            // crash could leave a segment without its packs.
            self.sync_dir(path.parent().unwrap_or(&self.root))
        };
        remove().map_err(self.io("remove", key))
    }

    /// Removes all files of a directory before the directory is synced once.
    fn delete_many(&self, keys: &[String]) -> Result<Removal, StoreError> {
        let mut removal = Removal::default();
        let mut dirs = BTreeSet::new();
        for key in keys {
            let path = self.path(key);
            match fs::remove_file(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => removal.note(Err(self.io("remove", key)(e)))?,
                Ok(()) => {
                    trace(
                        self.tracer.as_deref(),
                        |p| DiskEvent::Removed(p.to_owned()),
                        &path,
                    );
                    dirs.insert(path.parent().unwrap_or(&self.root).to_path_buf());
                }
            }
        }
        for dir in dirs {
            self.sync_dir(&dir)
                .map_err(|e| IoError::new("sync", dir, e))?;
        }
        Ok(removal)
    }

    fn age(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        let modified = match fs::metadata(self.path(key)).and_then(|m| m.modified()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            modified => modified.map_err(self.io("inspect", key))?,
        };
        // A new file has the time of the file system, which may be another machine's.
        let now = self
            .stage()?
            .as_file()
            .metadata()
            .and_then(|m| m.modified());
        let now = now.map_err(self.io("inspect", STAGING))?;
        Ok(Some(now.duration_since(modified).unwrap_or_default()))
    }
}

/// Returns whether two names are hard links of the same file.
fn is_same(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let inode = |path: &Path| fs::symlink_metadata(path).map(|m| (m.dev(), m.ino())).ok();
    inode(a).is_some() && inode(a) == inode(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn create_is_exclusive() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::new(dir.path().to_path_buf());
        assert!(store.create("refs/a/1", b"x").unwrap());
        assert!(!store.create("refs/a/1", b"y").unwrap());
        assert_eq!(store.get("refs/a/1").unwrap().as_deref(), Some(&b"x"[..]));
        let winners: usize = std::thread::scope(|s| {
            let threads: Vec<_> = (0..8)
                .map(|i| (i, &store))
                .map(|(i, st)| s.spawn(move || st.create("k", &[i]).unwrap()))
                .collect();
            threads
                .into_iter()
                .filter(|_| true)
                .map(|t| usize::from(t.join().unwrap()))
                .sum()
        });
        assert_eq!(winners, 1);
        assert!(store.list("tmp").unwrap().is_empty());
    }

    #[test]
    fn many_threads_may_begin_a_new_place() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..50 {
            let store = LocalStore::new(dir.path().join(format!("{round}/repo")));
            let start = std::sync::Barrier::new(8);
            std::thread::scope(|s| {
                let begin = || {
                    start.wait();
                    store.stage().map(drop)
                };
                let threads: Vec<_> = (0..8).map(|_| s.spawn(begin)).collect();
                threads.into_iter().for_each(|t| t.join().unwrap().unwrap());
            });
        }
    }

    #[test]
    fn ranges_and_listing() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::new(dir.path().to_path_buf());
        store.create("packs/ab/1", b"hello").unwrap();
        assert_eq!(store.read_at("packs/ab/1", 1, 3).unwrap(), b"ell");
        assert!(matches!(
            store.read_at("packs/ab/1", 3, 3),
            Err(StoreError::Missing { .. })
        ));
        assert!(matches!(
            store.read_at("packs/ab/2", 0, 1),
            Err(StoreError::Missing { .. })
        ));
        assert_eq!(
            store.list("packs").unwrap(),
            [ListedKey {
                name: "ab".into(),
                is_dir: true,
                len: 0
            }]
        );
        assert_eq!(store.list("nothing").unwrap(), []);
        store.delete("packs/ab/1").unwrap();
        store.delete("packs/ab/1").unwrap();
        assert_eq!(store.len("packs/ab/1").unwrap(), None);
    }
}
