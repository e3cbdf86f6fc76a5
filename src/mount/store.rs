//! What a mount keeps on disk of names, inodes and written blocks: one SQLite file, one transaction per flush.
//!
//! A flush brings it from one state of the mount to a later one. The bytes of files lie beside it; blocks are noted here
//! only after they are durable there.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use super::bits::{joined, of_part, to_parts};
use super::data::{Data, Seal};
use super::inode::{Inode, ROOT, What};
use super::names::{Overrides, Upper};
use super::ranges::Ranges;
use super::space::{FOLDER, Space};
use super::state::{BLOCK, Base, State};
use super::sums::Sums;
use crate::error::{self, Failure, Result};
use crate::format::object::{decode_tree, encode_tree};
use crate::index::sqlite;
use crate::model::entry::{Chunker, Content, Entry, Meta, Node, Time, Totals};
use crate::model::id::{Id, parse_hex};
use crate::model::tree::{TreeBody, TreeNode};
use crate::sys::create;
use crate::sys::io_error::IoError;

mod digest;
mod look;
mod reserve;
mod salvage;
mod sealed;

pub use salvage::Found;

use reserve::Reserve;
use sealed::Seals;

/// The file.
const FILE: &str = "overlay.db";
/// The fact that the last mount ended with everything noted.
pub const CLEAN: &str = "clean";
/// That a fact is so.
pub const YES: &[u8] = b"yes";
/// Numbers that no node gets; see `names::Upper`.
pub const RETIRED: &str = "retired";
/// Pairs of numbers: those that directories would have, and have; see `names::Upper`.
pub const GIVEN: &str = "given";
/// The version of its tables.
const VERSION: i64 = 1;

/// The overlay's tables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// SQLite refused.
    #[error("cannot use `{}`", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// What it holds makes no sense.
    #[error("`{}` is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The tables are gone, and what they were of is there.
    #[error("the overlay `{name}` has lost its `{FILE}`: nothing tells what its files are")]
    Lost {
        /// The overlay's name.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// Another process uses the overlay.
    #[error("the overlay `{name}` is mounted already")]
    InUse {
        /// Its name.
        name: String,
    },
}

impl Failure for StateError {
    fn kind(&self) -> error::Kind {
        match self {
            Self::Sqlite { path, source } => sqlite::kind(path, source),
            Self::Damaged { .. } | Self::Lost { .. } => error::Kind::Integrity,
            Self::InUse { .. } => error::Kind::Busy,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::InUse { .. } => Some("`dvc mount` lists what is mounted; `--name` takes another overlay".to_owned()),
            Self::Sqlite { path, .. } | Self::Damaged { path, .. } | Self::Lost { path, .. }
                if self.kind() == error::Kind::Integrity =>
            {
                rescue(path)
            }
            Self::Sqlite { path, source } => sqlite::hint(path, source),
            Self::Damaged { .. } | Self::Lost { .. } => None,
        }
    }
}

/// What can be done about tables that cannot be used.
fn rescue(path: &Path) -> Option<String> {
    let overlay = path.parent()?;
    let (name, repository) = (overlay.file_name()?.to_string_lossy(), overlay.parent()?.parent()?.display());
    Some(format!(
        "nothing was removed: `dvc --repo {repository} mount --salvage {name} DIR` copies its files out, \
         `dvc --repo {repository} umount --discard {name}` removes it"
    ))
}

/// What is written in one flush.
#[derive(Default)]
pub struct Flush {
    /// Inodes as they are now; `None` is gone.
    pub inodes: Vec<(u64, Option<Arc<Inode>>, bool)>,
    /// Names as they are now: nothing, gone, or an inode.
    pub names: Vec<(u64, Vec<u8>, Option<Option<u64>>)>,
    /// Written blocks that are durable.
    pub blocks: Vec<(u64, Vec<Range<u64>>)>,
    /// Files of which all blocks are told anew.
    pub anew: Vec<u64>,
    /// Files of which there is no seal any more.
    pub unsealed: Vec<u64>,
    /// Files as they lie on disk.
    pub seals: Vec<(u64, Seal)>,
    /// Facts about the overlay.
    pub meta: Vec<(&'static str, Vec<u8>)>,
}

impl Flush {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        let rows = self.inodes.is_empty() && self.names.is_empty() && self.blocks.is_empty();
        rows && self.meta.is_empty() && self.unsealed.is_empty() && self.seals.is_empty()
    }
}

/// An overlay's tables, and the lock that keeps others away.
pub struct Store {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// Whether the last mount ended with everything noted.
    clean: bool,
    /// Whether something other than the end was written since.
    wrote: AtomicBool,
    /// Space for a flush on a full disk.
    reserve: Option<Reserve>,
    _lock: File,
}

/// What was put down.
pub struct Loaded {
    /// Inodes and names.
    pub upper: Upper,
    /// Inodes that differ from the last commit.
    pub changed: HashSet<u64>,
    /// Files that differ although the store does not say so: they were written just before a crash.
    pub news: Vec<u64>,
    /// What could not be read, for the log.
    pub lost: Vec<String>,
    /// Files whose seal is of something else.
    pub unsealed: Vec<u64>,
}

impl Store {
    /// Opens or makes the tables of the overlay in `dir`, which nobody else may have open. `at`: where it is mounted.
    pub fn open(dir: &Path, name: &str, at: &Path) -> Result<Self> {
        let io = |source| IoError::new("open", dir, source);
        // The folder of all overlays is as open as the repository, because each of its users may have overlays.
        create::dir_all(dir.parent().unwrap_or(dir)).and_then(|()| create::private_dir(dir)).map_err(io)?;
        let lock = create::open_private(&dir.join("lock"), File::options().write(true)).map_err(io)?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StateError::InUse { name: name.to_owned() }.into()),
            Err(e) => return Err(io(e.into()).into()),
            Ok(()) => {}
        }
        let path = dir.join(FILE);
        ensure_not_lost(dir, name)?;
        let is_new = !path.exists();
        create::empty(&path).map_err(io)?;
        let reserve = Reserve::new(dir);
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(&path)?;
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
        let connection = opened.map_err(|source| StateError::Sqlite { path: path.clone(), source })?;
        let (connection, wrote) = (Mutex::new(connection), AtomicBool::new(false));
        let mut store = Self { path, connection, clean: false, wrote, reserve: Some(reserve), _lock: lock };
        let (mut facts, text) = (Vec::new(), |text: &str| text.as_bytes().to_vec());
        match store.meta("format")? {
            None if Space::holds_files(&dir.join(FOLDER)).map_err(io)? => {
                return Err(StateError::Lost { name: name.to_owned(), path: store.path }.into());
            }
            None => facts.push(("format", VERSION.to_string().into_bytes())),
            Some(v) if v == VERSION.to_string().as_bytes() => {}
            Some(v) => return Err(store.damaged(format!("it is of version {}", String::from_utf8_lossy(&v)))),
        }
        store.clean = store.meta(CLEAN)?.is_some_and(|value| value == YES);
        store.ensure_whole()?;
        match store.meta("name")? {
            Some(was) if was != name.as_bytes() => {
                return Err(store.damaged(format!("it is that of the overlay `{}`", String::from_utf8_lossy(&was))));
            }
            Some(_) => {}
            None => facts.push(("name", text(name))),
        }
        facts.push(("at", at.as_os_str().as_bytes().to_vec()));
        facts.push((CLEAN, Vec::new()));
        store.flush(&Flush { meta: facts, ..Flush::default() })?;
        // That there are tables is as durable as what is written beside them.
        for made in [dir, dir.parent().unwrap_or(dir)].iter().filter(|_| is_new) {
            File::open(made).and_then(|made| made.sync_all()).map_err(io)?;
        }
        store.wrote.store(!store.clean, Ordering::Release);
        Ok(store)
    }

    /// The error of tables that make no sense.
    pub fn damaged(&self, why: impl Into<String>) -> error::Error {
        StateError::Damaged { path: self.path.clone(), why: why.into() }.into()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
        let mut connection = self.connection.lock();
        work(&mut connection).map_err(|source| StateError::Sqlite { path: self.path.clone(), source }.into())
    }

    /// A fact about the overlay.
    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.with(|c| c.query_row("SELECT value FROM meta WHERE key = ?1", [key], |r| r.get(0)).optional())
    }

    /// The key that inode numbers are made with; `None` in an overlay that was not used yet.
    pub fn key(&self) -> Result<Option<[u8; 16]>> {
        let Some(hex) = self.meta("key")? else { return Ok(None) };
        let mut key = [0; 16];
        let parsed = std::str::from_utf8(&hex).ok().and_then(|hex| parse_hex(hex, &mut key));
        parsed.map(|()| Some(key)).ok_or_else(|| self.damaged("key"))
    }

    /// Numbers that are a fact.
    fn numbers(&self, key: &str) -> Result<Vec<u64>> {
        let bytes = self.meta(key)?.unwrap_or_default();
        Ok(bytes.chunks_exact(8).filter_map(|n| Some(u64::from_be_bytes(n.try_into().ok()?))).collect())
    }

    /// Whether anything differs from the last commit.
    pub fn is_changed(&self) -> Result<bool> {
        const NOTED: &str = "SELECT EXISTS (SELECT 1 FROM inode WHERE changed OR written)";
        if self.with(|c| c.query_row(NOTED, [], |r| r.get(0)))? {
            return Ok(true);
        }
        if self.clean {
            return Ok(false);
        }
        // After a crash a file may be longer or shorter than was noted.
        let space = Space::new(self.path.with_file_name(FOLDER), None);
        self.with(|c| {
            let mut kept = c.prepare("SELECT ino, size FROM inode WHERE upper")?;
            let mut rows = kept.query([])?;
            while let Some(row) = rows.next()? {
                let size = nat(row, 1)?;
                if std::fs::metadata(space.path(nat(row, 0)?)).is_ok_and(|upper| upper.len() != size) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Forgets all inodes and names, and writes a flush in their place.
    pub fn replace(&self, flush: &Flush) -> Result<()> {
        self.write(flush, true)
    }

    /// Writes a flush; it is durable then.
    pub fn flush(&self, flush: &Flush) -> Result<()> {
        self.write(flush, false)
    }

    /// Writes with the help of the reserve, should the disk be full: what frees space has to be noted first.
    fn write(&self, flush: &Flush, clear: bool) -> Result<()> {
        if flush.is_empty() && !clear {
            return Ok(());
        }
        self.wrote.store(true, Ordering::Release);
        let Some(reserve) = &self.reserve else { return self.write_once(flush, clear) };
        match self.write_once(flush, clear) {
            Err(e) if e.kind() == error::Kind::NoSpace && reserve.release() => self.write_once(flush, clear),
            done => done.inspect(|()| reserve.fill()),
        }
    }

    fn write_once(&self, flush: &Flush, clear: bool) -> Result<()> {
        let rows: Vec<_> = flush
            .inodes
            .iter()
            .map(|(ino, inode, changed)| (*ino, inode.as_ref().map(|i| row_of(i, *changed))))
            .collect();
        self.with(|c| {
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
                                r.foreign,
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
                            sealed::remove(&t, *ino)?;
                        }
                    }
                }
                for ino in &flush.unsealed {
                    sealed::remove(&t, *ino)?;
                }
                for (ino, seal) in &flush.seals {
                    sealed::put(&t, *ino, seal)?;
                }
                let mut put_name = t.prepare_cached("INSERT OR REPLACE INTO name VALUES (?1, ?2, ?3)")?;
                let mut no_name = t.prepare_cached("DELETE FROM name WHERE parent = ?1 AND name = ?2")?;
                for (parent, name, what) in &flush.names {
                    match what {
                        Some(ino) => put_name.execute(params![num(*parent), name, ino.map(num)])?,
                        None => no_name.execute(params![num(*parent), name])?,
                    };
                }
                for ino in &flush.anew {
                    no_blocks.execute([num(*ino)])?;
                }
                let mut bits = t.prepare_cached("SELECT bits FROM block WHERE ino = ?1 AND part = ?2")?;
                let mut put_bits = t.prepare_cached("INSERT OR REPLACE INTO block VALUES (?1, ?2, ?3)")?;
                for (ino, ranges) in &flush.blocks {
                    for (part, new) in to_parts(ranges) {
                        let known = bits.query_row([num(*ino), num(part)], |row| row.get::<_, Vec<u8>>(0)).optional()?;
                        put_bits.execute(params![num(*ino), num(part), joined(new, known.unwrap_or_default())])?;
                    }
                }
                let mut meta = t.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?;
                for (key, value) in &flush.meta {
                    meta.execute(params![key, value])?;
                }
            }
            t.commit()
        })
    }

    /// All that was put down. A file's length is that of its upper file.
    pub fn load(&self, space: &Arc<Space>) -> Result<Loaded> {
        let mut blocks: HashMap<u64, Ranges> = HashMap::new();
        self.with(|c| {
            let mut all = c.prepare("SELECT ino, part, bits FROM block")?;
            let mut rows = all.query([])?;
            while let Some(row) = rows.next()? {
                let known = blocks.entry(nat(row, 0)?).or_default();
                of_part(nat(row, 1)?, row.get_ref(2)?.as_blob()?, known);
            }
            Ok(())
        })?;
        let (mut upper, mut changed) = (Upper::default(), HashSet::new());
        let (mut news, mut lost, mut unsealed) = (Vec::new(), Vec::new(), Vec::new());
        let mut seals = self.with(|c| Seals::read(c))?;
        let rows = self.with(|c| {
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
                        foreign: row.get(6)?,
                        atime: Time { secs: row.get(7)?, nanos: row.get(8)? },
                        ctime: Time { secs: row.get(9)?, nanos: row.get(10)? },
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
                .ok_or_else(|| self.damaged(format!("inode {ino:x}")))?;
            if let What::File(data) = &inode.what {
                let (has_upper, why) = data.found();
                if let Some(why) = why {
                    lost.push(format!("the upper file {} is damaged: {why}", space.path(ino).display()));
                }
                if had_upper && !has_upper {
                    lost.push(format!(
                        "the upper file {} is gone: the version has all of it",
                        space.path(ino).display()
                    ));
                }
                if data.is_changed() != was_written || has_upper != had_upper {
                    news.push(ino);
                }
                if was_sealed && !data.is_sealed() {
                    unsealed.push(ino);
                }
            }
            upper.inodes.insert(ino, Arc::new(inode));
        }
        let names = self.with(|c| {
            let mut all = c.prepare("SELECT parent, name, ino FROM name")?;
            let rows = all.query_map([], |row| {
                let ino: Option<i64> = row.get(2)?;
                Ok((nat(row, 0)?, row.get::<_, Vec<u8>>(1)?, ino.map(i64::cast_unsigned)))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        for (parent, name, ino) in names {
            let known = |n: u64| upper.inodes.contains_key(&n);
            if !known(parent) {
                // Of a directory that is gone.
                continue;
            }
            if ino.is_some_and(|n| !known(n)) {
                lost.push(format!("`{}` in {parent:x}", crate::model::path::display(&name)));
                continue;
            }
            let names: &mut Arc<Overrides> = upper.names.entry(parent).or_default();
            Arc::make_mut(names).insert(name, ino);
        }
        // What was only open when the mount ended is gone.
        upper.inodes.retain(|_, inode| inode.nlink > 0);
        // With another one nothing that is kept would be found.
        if !upper.inodes.contains_key(&ROOT) {
            return Err(self.damaged("it has no root"));
        }
        upper.key = self.key()?.ok_or_else(|| self.damaged("it has no key"))?;
        upper.retired = Arc::new(self.numbers(RETIRED)?.into_iter().collect());
        upper.given = Arc::new(self.numbers(GIVEN)?.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect());
        Ok(Loaded { upper, changed, news, lost, unsealed })
    }
}

struct InodeRow {
    node: Vec<u8>,
    kind: u8,
    nlink: u32,
    parent: u64,
    name: Vec<u8>,
    foreign: bool,
    atime: Time,
    ctime: Time,
    size: u64,
    kept: u64,
    /// Whether there is an upper file.
    upper: bool,
    /// Whether its bytes differ from the last commit.
    written: bool,
    /// Whether all of it is in the upper file.
    complete: bool,
    changed: bool,
    stored: Option<Vec<u8>>,
}

/// Fails if the tables are gone, or were never made, and upper files are there.
fn ensure_not_lost(dir: &Path, name: &str) -> Result<()> {
    let io = |source| IoError::new("read", dir, source);
    let holds = std::fs::metadata(dir.join(FILE)).is_ok_and(|file| file.len() > 0);
    if !holds && Space::holds_files(&dir.join(FOLDER)).map_err(io)? {
        return Err(StateError::Lost { name: name.to_owned(), path: dir.join(FILE) }.into());
    }
    Ok(())
}

/// Whether there is no space left.
fn is_full(e: &rusqlite::Error) -> bool {
    /// A file that readers share could not be made longer.
    const SHM_SIZE: i32 = 4874;
    let shm = matches!(e, rusqlite::Error::SqliteFailure(e, _) if e.extended_code == SHM_SIZE);
    shm || e.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

fn num(n: u64) -> i64 {
    n.cast_signed()
}

fn nat(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(i64::cast_unsigned)
}

const SOCKET: u8 = 1;
/// A regular file or directory that has nothing of a version.
const ALONE: u8 = 2;

fn row_of(inode: &Inode, changed: bool) -> InodeRow {
    let (mut kind, mut facts, mut stored) = (0, None, None);
    let nothing = Id([0; 32]);
    let node = match &inode.what {
        What::File(data) => {
            let known = facts.insert(data.facts());
            match &known.base {
                Some(base) => Node::File { size: base.size, chunker: base.chunker, content: base.content.clone() },
                None => {
                    kind = ALONE;
                    Node::File { size: 0, chunker: Chunker::Cdc, content: Content::Inline(Vec::new()) }
                }
            }
        }
        What::Dir { tree, stored: last } => {
            kind = if tree.is_none() { ALONE } else { 0 };
            stored = last.as_ref().map(|l| l.0.0.to_vec());
            Node::Dir { tree: tree.unwrap_or(nothing), totals: last.map_or(Totals::default(), |l| l.1) }
        }
        What::Symlink(target) => Node::Symlink { target: target.clone() },
        What::Fifo => Node::Fifo,
        What::Socket => {
            kind = SOCKET;
            Node::Fifo
        }
        What::CharDevice(major, minor) => Node::CharDevice { major: *major, minor: *minor },
        What::BlockDevice(major, minor) => Node::BlockDevice { major: *major, minor: *minor },
    };
    let entry = Entry { name: b"-".to_vec(), meta: inode.meta.clone(), link: None, node };
    InodeRow {
        node: encode_tree(&TreeNode { root: None, body: TreeBody::Leaf(vec![entry]) }),
        kind,
        nlink: inode.nlink,
        parent: inode.parent,
        name: inode.name.clone(),
        foreign: inode.foreign,
        atime: inode.atime,
        ctime: inode.ctime,
        size: facts.as_ref().map_or(0, |f| f.size),
        kept: facts.as_ref().map_or(0, |f| f.kept),
        upper: facts.as_ref().is_some_and(|f| f.has_upper),
        written: facts.as_ref().is_some_and(|f| f.changed),
        complete: facts.as_ref().is_some_and(|f| f.complete),
        changed,
        stored,
    }
}

impl InodeRow {
    fn inode(
        self,
        ino: u64,
        space: &Arc<Space>,
        dirty: Ranges,
        clean: bool,
        seal: Option<(Seal, Sums)>,
    ) -> Option<Inode> {
        let TreeBody::Leaf(mut entries) = decode_tree(&self.node).ok()?.body else { return None };
        let entry = entries.pop()?;
        let what = match entry.node {
            Node::File { size, chunker, content } => {
                let base = (self.kind != ALONE).then(|| Arc::new(Base { content, size, chunker }));
                let untouched = |base: Option<Arc<Base>>| base.map_or_else(State::empty, State::of);
                // An upper file is durable before the store knows of it, and goes after the store has forgotten it.
                let found = match self.upper.then(|| std::fs::metadata(space.path(ino))) {
                    None => None,
                    Some(Err(e)) if e.kind() == std::io::ErrorKind::NotFound => Some(Err("it is gone".to_owned())),
                    Some(Err(e)) => Some(Err(e.to_string())),
                    Some(Ok(meta)) => match seal.as_ref().and_then(|(seal, _)| seal.contradicts(&meta)) {
                        Some(why) => Some(Err(why)),
                        None => Some(Ok(meta)),
                    },
                };
                let copies =
                    |base: &Base| dirty.is_empty() && !self.written && self.size == base.size && self.kept == base.size;
                let is_sealed = seal.is_some() && self.upper;
                let state = match found {
                    None => untouched(base),
                    Some(Err(_)) if base.as_deref().is_some_and(copies) => {
                        let data = Data::new(ino, Arc::clone(space), untouched(base));
                        return Some(self.with(entry.meta, What::File(Arc::new(data))));
                    }
                    Some(Err(why)) => {
                        let size = seal.as_ref().map_or(self.size, |(seal, _)| seal.size);
                        let mut state = State::with_upper(base, self.kept.min(size), size, dirty, true);
                        state.lost = Some(why.into());
                        state
                    }
                    Some(Ok(meta)) => {
                        let now = meta.len();
                        let kept = self.kept.min(now);
                        let mut dirty = dirty;
                        dirty.remove(kept.div_ceil(BLOCK)..u64::MAX);
                        let written = self.written || now != self.size || !dirty.is_empty();
                        let mut state = State::with_upper(base, kept, now, dirty, written);
                        state.counted = std::os::unix::fs::MetadataExt::blocks(&meta) * 512;
                        let known = seal.and_then(|(seal, sums)| seal.sums.is_some().then_some(sums));
                        state.sums = Arc::new(known.unwrap_or_else(Sums::unknown));
                        // After a crash it may hold more than was noted of it.
                        if self.complete && clean { state.with_all() } else { state }
                    }
                };
                let data = Data::new(ino, Arc::clone(space), state);
                data.set_sealed(is_sealed);
                What::File(Arc::new(data))
            }
            Node::Dir { tree, totals } => {
                let id = self.stored.as_deref().and_then(|s| <[u8; 32]>::try_from(s).ok()).map(Id);
                What::Dir { tree: (self.kind != ALONE).then_some(tree), stored: id.map(|id| (id, totals)) }
            }
            Node::Symlink { target } => What::Symlink(target),
            Node::Fifo if self.kind == SOCKET => What::Socket,
            Node::Fifo => What::Fifo,
            Node::CharDevice { major, minor } => What::CharDevice(major, minor),
            Node::BlockDevice { major, minor } => What::BlockDevice(major, minor),
        };
        Some(self.with(entry.meta, what))
    }

    fn with(self, meta: Meta, what: What) -> Inode {
        Inode {
            meta,
            atime: self.atime,
            ctime: self.ctime,
            nlink: self.nlink,
            parent: self.parent,
            name: self.name,
            foreign: self.foreign,
            what,
        }
    }
}
