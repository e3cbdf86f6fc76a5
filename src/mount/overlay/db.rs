//! The overlay database: names, inodes and written blocks of a mount in one SQLite file.
//!
//! A flush is one transaction that replaces one consistent state of the mount by a later one. The
//! bytes of files are in upper files next to the database. Their blocks are recorded only after the
//! bytes are durable.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, params};

use super::connection::{is_full, read_only};
use super::digest::digest;
use super::error::{FILE, OverlayDbError};
use super::inode_row::{InodeRow, nat, num, row_of};
use super::reserve::SpaceReserve;
use super::rows::{
    BlockChange, CLEAN, Fact, FlushRows, GIVEN, InodeChange, LoadedOverlay, NameChange, NameTarget,
    RETIRED, SealChange, YES,
};
use super::seals;
use super::seals::StoredSeals;
use crate::error;
use crate::error::Result;
use crate::model::entry::Time;
use crate::model::id::parse_hex;
use crate::mount::file::{
    RangeSet, UPPER_DIR, UpperFiles, UpperStatus, add_bitmap, bitmaps_of, union,
};
use crate::mount::names::{EntryName, InodeBody, NameOverrides, ROOT_INO, UpperTree};
use crate::sys::create;
use crate::sys::io_error::IoError;

/// Version of the schema.
const VERSION: i64 = 1;
/// How long a reader of facts waits for a mount that writes.
const FACTS_TIMEOUT: Duration = Duration::from_secs(10);
/// Fact: the checksum of all tables.
const DIGEST: &str = "digest";

/// An open overlay database, and the lock that keeps other processes away.
pub struct OverlayDb {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// Whether the last mount ended cleanly.
    clean: bool,
    /// Set when this mount has written anything but the mark of a clean end.
    wrote: AtomicBool,
    /// Space for a flush on a full disk.
    reserve: Option<SpaceReserve>,
    _lock: File,
}

impl OverlayDb {
    /// Opens or creates the database of the overlay in `dir` for the mount point `at`. Fails if
    /// another process has it open.
    pub fn open(dir: &Path, name: &str, at: &Path) -> Result<Self> {
        let io = |source| IoError::new("open", dir, source);
        // The directory of all overlays has the permissions of the repository, because each user of
        // the repository may have overlays.
        create::dir_all(dir.parent().unwrap_or(dir))
            .and_then(|()| create::private_dir(dir))
            .map_err(io)?;
        let lock = Self::lock(dir, name)?;
        let path = dir.join(FILE);
        ensure_not_lost(dir, name)?;
        let is_new = !path.exists();
        // Create the file here, because SQLite would apply the umask. SQLite gives its WAL file the
        // mode of the database.
        create::empty(&path).map_err(io)?;
        let reserve = SpaceReserve::new(dir);
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(&path)?;
            // In WAL mode, SQLite syncs each transaction only with `synchronous = FULL`, and the
            // fsync of a program in the mount relies on that.
            connection.execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;
                 CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
                 CREATE TABLE IF NOT EXISTS inode (
                    ino INTEGER PRIMARY KEY, node BLOB NOT NULL, kind INTEGER NOT NULL, nlink INTEGER NOT NULL,
                    parent INTEGER NOT NULL, own_name BLOB NOT NULL, foreigner INTEGER NOT NULL, atime INTEGER NOT NULL, atime_nanos INTEGER NOT NULL,
                    ctime INTEGER NOT NULL, ctime_nanos INTEGER NOT NULL, size INTEGER NOT NULL, kept INTEGER NOT NULL,
                    upper INTEGER NOT NULL, written INTEGER NOT NULL, complete INTEGER NOT NULL,
                    changed INTEGER NOT NULL, stored BLOB);
                 CREATE TABLE IF NOT EXISTS name (
                    parent INTEGER NOT NULL, name BLOB NOT NULL, ino INTEGER, PRIMARY KEY (parent, name)) WITHOUT ROWID;
                 CREATE TABLE IF NOT EXISTS block (
                    ino INTEGER NOT NULL, part INTEGER NOT NULL, bits BLOB NOT NULL, PRIMARY KEY (ino, part)) WITHOUT ROWID;
                 CREATE TABLE IF NOT EXISTS seal (
                    ino INTEGER PRIMARY KEY, size INTEGER NOT NULL, mtime INTEGER NOT NULL, mtime_nanos INTEGER NOT NULL,
                    whole INTEGER NOT NULL);
                 CREATE TABLE IF NOT EXISTS sum (
                    ino INTEGER NOT NULL, part INTEGER NOT NULL, sums BLOB NOT NULL, PRIMARY KEY (ino, part)) WITHOUT ROWID;",
            )?;
            Ok(connection)
        };
        let opened = match open() {
            Err(e) if is_full(&e) && reserve.release() => open(),
            opened => opened,
        };
        let connection = opened.map_err(|source| OverlayDbError::Sqlite {
            path: path.clone(),
            source,
        })?;
        let (connection, wrote) = (Mutex::new(connection), AtomicBool::new(false));
        let mut store = Self {
            path,
            connection,
            clean: false,
            wrote,
            reserve: Some(reserve),
            _lock: lock,
        };
        let mut facts = Vec::new();
        match store.fact("format")? {
            None if UpperFiles::has_files(&dir.join(UPPER_DIR)).map_err(io)? => {
                return Err(OverlayDbError::Lost {
                    name: name.to_owned(),
                    path: store.path,
                }
                .into());
            }
            None => facts.push(Fact::new("format", VERSION.to_string())),
            Some(v) if v == VERSION.to_string().as_bytes() => {}
            Some(v) => {
                return Err(store.damaged(format!(
                    "unknown schema version {}",
                    String::from_utf8_lossy(&v)
                )));
            }
        }
        store.clean = store.fact(CLEAN)?.is_some_and(|value| value == YES);
        store.ensure_undamaged()?;
        match store.fact("name")? {
            Some(was) if was != name.as_bytes() => {
                return Err(store.damaged(format!(
                    "belongs to another overlay, `{}`",
                    String::from_utf8_lossy(&was)
                )));
            }
            Some(_) => {}
            None => facts.push(Fact::new("name", name)),
        }
        facts.push(Fact::new("at", at.as_os_str().as_bytes()));
        // Remove the mark of a clean end before the mount starts: if this process is killed, upper
        // files may be newer than the rows.
        facts.push(Fact::new(CLEAN, Vec::new()));
        store.flush(&FlushRows {
            facts,
            ..FlushRows::default()
        })?;
        // Make the name of a new database durable, because upper files are useless without the
        // database.
        for made in [dir, dir.parent().unwrap_or(dir)].iter().filter(|_| is_new) {
            File::open(made)
                .and_then(|made| made.sync_all())
                .map_err(io)?;
        }
        // The flush above has set the flag. After a clean end, the stored digest stays valid until
        // this mount writes anything else.
        store.wrote.store(!store.clean, Ordering::Release);
        Ok(store)
    }

    /// Returns whether the last mount ended cleanly.
    pub const fn was_clean(&self) -> bool {
        self.clean
    }

    /// Locks the overlay in `dir` against other processes until the returned file is dropped. Fails
    /// if another process uses it.
    pub fn lock(dir: &Path, name: &str) -> Result<File> {
        let io = |source| IoError::new("open", dir, source);
        let lock =
            create::open_private(&dir.join("lock"), File::options().write(true)).map_err(io)?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OverlayDbError::InUse {
                name: name.to_owned(),
            }
            .into()),
            Err(e) => Err(io(e.into()).into()),
            Ok(()) => Ok(lock),
        }
    }

    /// Returns whether a process has the database in `dir` open for writing.
    pub fn is_locked(dir: &Path) -> Result<bool> {
        let io = |source| IoError::new("open", dir, source);
        let lock = match File::open(dir.join("lock")) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            lock => lock.map_err(io)?,
        };
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(e) => Err(io(e.into()).into()),
            Ok(()) => Ok(false),
        }
    }

    /// Returns facts about an overlay, also while a mount writes them; `None` if the overlay was
    /// never used.
    pub fn read_facts(dir: &Path, keys: &[&str]) -> Result<Option<Vec<Option<Vec<u8>>>>> {
        let path = dir.join(FILE);
        if !path
            .try_exists()
            .map_err(|source| IoError::new("open", dir, source))?
        {
            return Ok(None);
        }
        let read = || -> rusqlite::Result<Option<Vec<Option<Vec<u8>>>>> {
            let connection = read_only(&path)?;
            connection.busy_timeout(FACTS_TIMEOUT)?;
            let tables = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'meta')";
            if !connection.query_row(tables, [], |row| row.get(0))? {
                return Ok(None);
            }
            let mut fact = connection.prepare("SELECT value FROM meta WHERE key = ?1")?;
            keys.iter()
                .map(|key| fact.query_row([key], |r| r.get(0)).optional())
                .collect::<Result<_, _>>()
                .map(Some)
        };
        read().map_err(|source| {
            OverlayDbError::Sqlite {
                path: path.clone(),
                source,
            }
            .into()
        })
    }

    /// Opens the database in `dir` for reading, or returns `None` if there is none. Fails if a
    /// mount uses the overlay. The overlay cannot be mounted while the result exists.
    pub fn open_read_only(dir: &Path, name: &str) -> Result<Option<Self>> {
        let io = |source| IoError::new("open", dir, source);
        let lock = match File::open(dir.join("lock")) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            lock => lock.map_err(io)?,
        };
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(OverlayDbError::InUse {
                    name: name.to_owned(),
                }
                .into());
            }
            Err(e) => return Err(io(e.into()).into()),
            Ok(()) => {}
        }
        let path = dir.join(FILE);
        ensure_not_lost(dir, name)?;
        if !path.try_exists().map_err(io)? {
            return Ok(None);
        }
        let connection = read_only(&path).map_err(|source| OverlayDbError::Sqlite {
            path: path.clone(),
            source,
        })?;
        let (connection, wrote) = (Mutex::new(connection), AtomicBool::new(false));
        let mut store = Self {
            path,
            connection,
            clean: false,
            wrote,
            reserve: None,
            _lock: lock,
        };
        let tables = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'meta')";
        if !store.with_connection(|c| c.query_row(tables, [], |row| row.get(0)))? {
            return Ok(None);
        }
        match store.fact("format")? {
            None => Ok(None),
            Some(v) if v == VERSION.to_string().as_bytes() => {
                store.clean = store.fact(CLEAN)?.is_some_and(|value| value == YES);
                store.ensure_undamaged()?;
                Ok(Some(store))
            }
            Some(v) => Err(store.damaged(format!(
                "unknown schema version {}",
                String::from_utf8_lossy(&v)
            ))),
        }
    }

    /// Fails if the tables differ from those that the last mount left. After a crash there is no
    /// digest to compare with.
    fn ensure_undamaged(&self) -> Result<()> {
        let Some(expected) = self.fact(DIGEST)?.filter(|_| self.clean) else {
            return Ok(());
        };
        if self.with_connection(|c| digest(c))? == expected {
            return Ok(());
        }
        Err(self.damaged("changed by another program since the last mount"))
    }

    /// Returns the error for an unusable database; `why` is the first violation.
    pub fn damaged(&self, why: impl Into<String>) -> error::Error {
        OverlayDbError::Damaged {
            path: self.path.clone(),
            why: why.into(),
        }
        .into()
    }

    fn with_connection<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let mut connection = self.connection.lock();
        work(&mut connection).map_err(|source| {
            OverlayDbError::Sqlite {
                path: self.path.clone(),
                source,
            }
            .into()
        })
    }

    /// Returns a fact about the overlay, or `None` if it was never recorded.
    pub fn fact(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.with_connection(|c| {
            c.query_row("SELECT value FROM meta WHERE key = ?1", [key], |r| r.get(0))
                .optional()
        })
    }

    /// Returns the secret key from which inode numbers are computed, or `None` if the overlay was
    /// never used.
    pub fn key(&self) -> Result<Option<[u8; 16]>> {
        let Some(hex) = self.fact("key")? else {
            return Ok(None);
        };
        let mut key = [0; 16];
        let parsed = std::str::from_utf8(&hex)
            .ok()
            .and_then(|hex| parse_hex(hex, &mut key));
        parsed
            .map(|()| Some(key))
            .ok_or_else(|| self.damaged("invalid key"))
    }

    /// Returns a fact that is a list of numbers.
    fn fact_numbers(&self, key: &str) -> Result<Vec<u64>> {
        let bytes = self.fact(key)?.unwrap_or_default();
        Ok(bytes
            .chunks_exact(8)
            .filter_map(|n| Some(u64::from_be_bytes(n.try_into().ok()?)))
            .collect())
    }

    /// Returns whether any inode differs from the last commit.
    pub fn is_changed(&self) -> Result<bool> {
        const NOTED: &str = "SELECT EXISTS (SELECT 1 FROM inode WHERE changed OR written)";
        if self.with_connection(|c| c.query_row(NOTED, [], |r| r.get(0)))? {
            return Ok(true);
        }
        if self.clean {
            return Ok(false);
        }
        // After a crash, a file whose length differs from the recorded length counts as changed.
        let space = UpperFiles::new(self.path.with_file_name(UPPER_DIR), None);
        self.with_connection(|c| {
            let mut kept = c.prepare("SELECT ino, size FROM inode WHERE upper")?;
            let mut rows = kept.query([])?;
            while let Some(row) = rows.next()? {
                let size = nat(row, 1)?;
                if std::fs::metadata(space.path(nat(row, 0)?))
                    .is_ok_and(|upper| upper.len() != size)
                {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Replaces all inodes, names, blocks and seals by those of a flush.
    pub fn replace(&self, flush: &FlushRows) -> Result<()> {
        self.write(flush, true)
    }

    /// Writes a flush durably.
    pub fn flush(&self, flush: &FlushRows) -> Result<()> {
        self.write(flush, false)
    }

    /// Writes a flush. On a full disk, the reserve is used, because some space can be freed only
    /// after a flush.
    fn write(&self, flush: &FlushRows, clear: bool) -> Result<()> {
        if flush.is_empty() && !clear {
            return Ok(());
        }
        self.wrote.store(true, Ordering::Release);
        let Some(reserve) = &self.reserve else {
            return self.write_once(flush, clear);
        };
        match self.write_once(flush, clear) {
            Err(e) if e.kind() == error::Kind::NoSpace && reserve.release() => {
                self.write_once(flush, clear)
            }
            done => done.inspect(|()| reserve.fill()),
        }
    }

    fn write_once(&self, flush: &FlushRows, clear: bool) -> Result<()> {
        let row = |change: &InodeChange| {
            (
                change.ino,
                change.inode.as_ref().map(|i| row_of(i, change.changed)),
            )
        };
        // Encode the rows before the connection is locked.
        let rows: Vec<_> = flush.inodes.iter().map(row).collect();
        self.with_connection(|c| {
            let t = c.transaction()?;
            if clear {
                t.execute_batch(
                    "DELETE FROM inode; DELETE FROM name; DELETE FROM block; DELETE FROM seal; DELETE FROM sum;",
                )?;
            }
            {
                let mut put = t.prepare_cached(
                    "INSERT OR REPLACE INTO inode VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18)",
                )?;
                let mut gone = t.prepare_cached("DELETE FROM inode WHERE ino = ?1")?;
                let mut no_blocks = t.prepare_cached("DELETE FROM block WHERE ino = ?1")?;
                let mut no_names = t.prepare_cached("DELETE FROM name WHERE parent = ?1")?;
                for (ino, row) in &rows {
                    match row {
                        Some(r) => {
                            put.execute(params![
                                num(*ino),
                                r.node,
                                r.kind,
                                r.nlink,
                                num(r.parent),
                                r.name,
                                r.has_version_owner,
                                r.atime.secs,
                                r.atime.nanos,
                                r.ctime.secs,
                                r.ctime.nanos,
                                num(r.size),
                                num(r.kept),
                                r.upper,
                                r.written,
                                r.complete,
                                r.changed,
                                r.stored
                            ])?;
                        }
                        None => {
                            gone.execute([num(*ino)])?;
                            no_blocks.execute([num(*ino)])?;
                            no_names.execute([num(*ino)])?;
                            seals::remove(&t, *ino)?;
                        }
                    }
                }
                for ino in &flush.unsealed {
                    seals::remove(&t, *ino)?;
                }
                for SealChange { ino, seal } in &flush.seals {
                    seals::put(&t, *ino, seal)?;
                }
                let mut put_name = t.prepare_cached("INSERT OR REPLACE INTO name VALUES (?1, ?2, ?3)")?;
                let mut no_name = t.prepare_cached("DELETE FROM name WHERE parent = ?1 AND name = ?2")?;
                for NameChange { name: EntryName { parent, name }, target } in &flush.names {
                    match target {
                        NameTarget::Inode(ino) => put_name.execute(params![num(*parent), name, num(*ino)])?,
                        NameTarget::Removed => put_name.execute(params![num(*parent), name, None::<i64>])?,
                        NameTarget::Version => no_name.execute(params![num(*parent), name])?,
                    };
                }
                for ino in &flush.replaced_blocks {
                    no_blocks.execute([num(*ino)])?;
                }
                let mut bits = t.prepare_cached("SELECT bits FROM block WHERE ino = ?1 AND part = ?2")?;
                let mut put_bits = t.prepare_cached("INSERT OR REPLACE INTO block VALUES (?1, ?2, ?3)")?;
                for BlockChange { ino, ranges } in &flush.blocks {
                    for (part, new) in bitmaps_of(ranges) {
                        let known = bits.query_row([num(*ino), num(part)], |row| row.get::<_, Vec<u8>>(0)).optional()?;
                        put_bits.execute(params![num(*ino), num(part), union(new, known.unwrap_or_default())])?;
                    }
                }
                let mut meta = t.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?;
                for Fact { key, value } in &flush.facts {
                    meta.execute(params![key, value])?;
                }
            }
            t.commit()
        })
    }

    /// Loads all rows. The length of a file is taken from its upper file, not from its row.
    pub fn load(&self, space: &Arc<UpperFiles>) -> Result<LoadedOverlay> {
        let mut blocks: HashMap<u64, RangeSet> = HashMap::new();
        self.with_connection(|c| {
            let mut all = c.prepare("SELECT ino, part, bits FROM block")?;
            let mut rows = all.query([])?;
            while let Some(row) = rows.next()? {
                let known = blocks.entry(nat(row, 0)?).or_default();
                add_bitmap(nat(row, 1)?, row.get_ref(2)?.as_blob()?, known);
            }
            Ok(())
        })?;
        let (mut upper, mut changed) = (UpperTree::default(), HashSet::new());
        let (mut outdated, mut lost, mut unsealed) = (Vec::new(), Vec::new(), Vec::new());
        let mut seals = self.with_connection(|c| StoredSeals::read(c))?;
        let rows = self.with_connection(|c| {
            let mut all = c.prepare("SELECT * FROM inode")?;
            let rows = all.query_map([], |row| {
                Ok((
                    nat(row, 0)?,
                    InodeRow {
                        node: row.get(1)?,
                        kind: row.get(2)?,
                        nlink: row.get(3)?,
                        parent: nat(row, 4)?,
                        name: row.get(5)?,
                        has_version_owner: row.get(6)?,
                        atime: Time {
                            secs: row.get(7)?,
                            nanos: row.get(8)?,
                        },
                        ctime: Time {
                            secs: row.get(9)?,
                            nanos: row.get(10)?,
                        },
                        size: nat(row, 11)?,
                        kept: nat(row, 12)?,
                        upper: row.get(13)?,
                        written: row.get(14)?,
                        complete: row.get(15)?,
                        changed: row.get(16)?,
                        stored: row.get(17)?,
                    },
                ))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        for (ino, row) in rows {
            if row.changed {
                changed.insert(ino);
            }
            let dirty = blocks.remove(&ino).unwrap_or_default();
            let (was_written, had_upper) = (row.written, row.upper);
            let found = seals.take(ino);
            let was_sealed = found.is_some();
            let inode = row
                .inode(ino, space, dirty, self.clean, found)
                .ok_or_else(|| self.damaged(format!("invalid row for inode {ino:x}")))?;
            if let InodeBody::File(data) = &inode.what {
                let UpperStatus {
                    exists: has_upper,
                    damage: why,
                } = data.upper_status();
                if let Some(why) = why {
                    lost.push(format!(
                        "the upper file {} is damaged: {why}",
                        space.path(ino).display()
                    ));
                }
                if had_upper && !has_upper {
                    lost.push(format!(
                        "the upper file {} is missing; its content is read from the version",
                        space.path(ino).display()
                    ));
                }
                if data.is_changed() != was_written || has_upper != had_upper {
                    outdated.push(ino);
                }
                if was_sealed && !data.is_sealed() {
                    unsealed.push(ino);
                }
            }
            upper.inodes.insert(ino, Arc::new(inode));
        }
        let names = self.with_connection(|c| {
            let mut all = c.prepare("SELECT parent, name, ino FROM name")?;
            let rows = all.query_map([], |row| {
                let ino: Option<i64> = row.get(2)?;
                Ok((
                    nat(row, 0)?,
                    row.get::<_, Vec<u8>>(1)?,
                    ino.map(i64::cast_unsigned),
                ))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        for (parent, name, ino) in names {
            let known = |n: u64| upper.inodes.contains_key(&n);
            if !known(parent) {
                // The row belongs to a directory that was removed.
                continue;
            }
            if ino.is_some_and(|n| !known(n)) {
                lost.push(format!(
                    "`{}` in the directory with inode {parent:x}",
                    crate::model::path::display(&name)
                ));
                continue;
            }
            let names: &mut Arc<NameOverrides> = upper.names.entry(parent).or_default();
            Arc::make_mut(names).insert(name, ino);
        }
        // Drop inodes without a name, because the last mount kept them only for open handles.
        upper.inodes.retain(|_, inode| inode.nlink > 0);
        // Every name is found from the root, so a new root would hide all changes.
        if !upper.inodes.contains_key(&ROOT_INO) {
            return Err(self.damaged("the root directory is missing"));
        }
        upper.key = self
            .key()?
            .ok_or_else(|| self.damaged("the key is missing"))?;
        upper.retired = Arc::new(self.fact_numbers(RETIRED)?.into_iter().collect());
        upper.assigned = Arc::new(
            self.fact_numbers(GIVEN)?
                .chunks_exact(2)
                .map(|pair| (pair[0], pair[1]))
                .collect(),
        );
        Ok(LoadedOverlay {
            upper,
            changed,
            outdated,
            lost,
            unsealed,
        })
    }

    /// Records that the mount has ended cleanly, and the seals of upper files.
    pub fn finish(&self, seals: Vec<SealChange>) -> Result<()> {
        let mut facts = Vec::new();
        if !seals.is_empty() || self.wrote.load(Ordering::Acquire) {
            self.flush(&FlushRows {
                seals,
                ..FlushRows::default()
            })?;
            // The digest covers the seals, so it is computed after they are stored.
            facts.push(Fact::new(DIGEST, self.with_connection(|c| digest(c))?));
        }
        // The mark comes last, in one transaction with the digest: a crash before it leaves an
        // overlay that counts as not cleanly ended.
        facts.push(Fact::new(CLEAN, YES));
        self.flush(&FlushRows {
            facts,
            ..FlushRows::default()
        })
    }

    /// Durably removes the seal of a file that is about to change, or all seals if `None`.
    pub fn unseal(&self, ino: Option<u64>) -> Result<()> {
        match ino {
            Some(ino) => self.flush(&FlushRows {
                unsealed: vec![ino],
                ..FlushRows::default()
            }),
            None => self.with_connection(|c| {
                let t = c.transaction()?;
                t.execute_batch("DELETE FROM seal; DELETE FROM sum;")?;
                t.commit()
            }),
        }
    }
}

/// Fails if there are upper files but no tables.
fn ensure_not_lost(dir: &Path, name: &str) -> Result<()> {
    let io = |source| IoError::new("read", dir, source);
    let holds = std::fs::metadata(dir.join(FILE)).is_ok_and(|file| file.len() > 0);
    if !holds && UpperFiles::has_files(&dir.join(UPPER_DIR)).map_err(io)? {
        return Err(OverlayDbError::Lost {
            name: name.to_owned(),
            path: dir.join(FILE),
        }
        .into());
    }
    Ok(())
}
