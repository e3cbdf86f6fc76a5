//! Detects whether other processes use a directory: open and mapped files, locks of database
//! engines, a running PostgreSQL.
//!
//! Other processes are visible as far as `/proc` shows them. Locks are also visible if their owner
//! is not, for example in another container.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Flock, FlockType, Pid, fcntl_getlk, test_kill_process};

use crate::error::{Failure, Kind};
use crate::model::path::{display, has_reserved, is_reserved, is_within};
use crate::model::text::count;
use crate::sys::mountinfo::{FilePlace, MountTable};
use crate::sys::procfs::{ProcDir, mappings, processes};

/// Files whose lock covers the whole data directory of an engine.
const LOCK_FILES: [&str; 3] = ["ibdata1", "aria_log_control", "postmaster.pid"];
/// Names and suffixes of files that engines lock by byte ranges. Such locks are visible from other
/// containers.
const LOCKED: [&str; 7] = [
    ".ibd",
    ".db",
    ".db3",
    ".sqlite",
    ".sqlite3",
    "ibdata1",
    "aria_log_control",
];
/// Files that engines keep locked while they run: InnoDB, Aria, PostgreSQL, MongoDB, WiredTiger,
/// LevelDB and RocksDB, LMDB, Lucene.
const ENGINE_FILES: [&[u8]; 8] = [
    b"ibdata1",
    b"aria_log_control",
    b"postmaster.pid",
    b"mongod.lock",
    b"WiredTiger.lock",
    b"LOCK",
    b"lock.mdb",
    b"node.lock",
];
/// Suffixes of the files that SQLite keeps next to a database that is in use.
const BESIDE_SQLITE: [&[u8]; 2] = [b"-shm", b"-journal"];
/// Limit on the names that the search for lock files visits.
const NAMES_MAX: usize = 50_000;

/// The kind of use of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The file is open.
    Open,
    /// The file is mapped into memory.
    Mapped,
    /// The file is locked.
    Locked,
    /// The file contains the process id of a running server.
    Server,
}

/// A process that uses a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Process id, or `None` if the process is not visible.
    pub pid: Option<u32>,
    /// Name of the process; empty if it is not visible.
    pub command: String,
    /// Path of the file, relative to the directory.
    pub path: Vec<u8>,
    pub how: Use,
}

/// The error for a directory that is in use.
#[derive(Debug, thiserror::Error)]
#[error("cannot check out: `{}` is in use: {}", dir.display(), describe(users))]
pub struct InUse {
    pub dir: PathBuf,
    /// The users; not empty.
    pub users: Vec<User>,
}

impl User {
    /// Returns whether a change of `path` affects the user. A server, or a user of a file whose
    /// lock covers a whole data directory, is affected by every path in the directory of that file.
    pub fn is_affected_by(&self, path: &[u8]) -> bool {
        let slash = self.path.iter().rposition(|b| *b == b'/');
        let (above, name) = slash.map_or((&[][..], &self.path[..]), |at| {
            (&self.path[..at], &self.path[at + 1..])
        });
        let all = self.how == Use::Server || LOCK_FILES.iter().any(|l| l.as_bytes() == name);
        is_within(&self.path, path) || (all && is_within(path, above))
    }
}

impl Failure for InUse {
    fn kind(&self) -> Kind {
        Kind::Busy
    }

    fn hint(&self) -> Option<String> {
        Some("stop the processes that use the directory, or use `-f` to continue anyway".to_owned())
    }
}

/// Returns a phrase that names the processes and the files that they use.
pub fn describe(users: &[User]) -> String {
    let Some(first) = users.first() else {
        return "no process uses it".to_owned();
    };
    let who = match first.pid {
        Some(pid) if first.command.is_empty() => format!("process {pid}"),
        Some(pid) => format!("`{}` (process {pid})", first.command),
        None => "a process in another container".to_owned(),
    };
    let path = display(&first.path);
    let does = match first.how {
        Use::Open => format!("has `{path}` open"),
        Use::Mapped => format!("has `{path}` mapped"),
        Use::Locked => format!("has locked `{path}`"),
        Use::Server => format!("is running according to `{path}`"),
    };
    match users.len() - 1 {
        0 => format!("{who} {does}"),
        more => format!("{who} {does}; {}", count(more as u64, "more use")),
    }
}

/// Returns all users of files below `dir`, which must be canonical. `changed` are paths relative to
/// `dir` that the caller wants to change; locks are looked up for these paths and for the lock
/// files of engines.
pub fn users<'p>(dir: &Path, changed: impl IntoIterator<Item = &'p [u8]>) -> Vec<User> {
    let mut users = Vec::new();
    let lock_files = find_lock_files(dir);
    servers(dir, &lock_files, &mut users);
    let locks = Locks::read();
    users.extend(lock_files.iter().filter_map(|path| locks.user(dir, path)));
    for path in changed {
        if !is_ours(path) && !lock_files.iter().any(|l| l == path) {
            users.extend(locks.user(dir, path));
        }
    }
    open_files(dir, &mut users);
    users
}

/// Returns whether a file with this name can show [`engines`] that a database runs in its
/// directory.
pub fn is_engine_file(name: &[u8]) -> bool {
    ENGINE_FILES.contains(&name) || BESIDE_SQLITE.iter().any(|end| name.ends_with(end))
}

/// Returns the databases that run in `dir`, according to those files among `found` (paths relative
/// to `dir`) that [`is_engine_file`] accepts. Only these files are inspected, so the check is cheap
/// enough for every commit.
pub fn engines(dir: &Path, found: &[Vec<u8>]) -> Vec<User> {
    let mut users = Vec::new();
    if found.is_empty() {
        return users;
    }
    servers(dir, found, &mut users);
    // The process id of a server that died may belong to another process now.
    users.retain(|user| matches!(user.command.as_str(), "postgres" | "postmaster" | ""));
    let locks = Locks::read();
    for path in found {
        let database = BESIDE_SQLITE.iter().find_map(|end| path.strip_suffix(*end));
        // SQLite locks the database, not the file next to it.
        for path in database.into_iter().chain([path.as_slice()]) {
            let user = locks.user(dir, path).or_else(|| locks.unlisted(dir, path));
            users.extend(user.filter(|user| !users.contains(user)));
        }
    }
    users
}

/// Returns whether the path is in a repository inside the worktree, whose files may always be in
/// use.
fn is_ours(path: &[u8]) -> bool {
    has_reserved(path)
}

/// Searches for lock files of engines in the directory and up to two levels below. Stops after
/// [`NAMES_MAX`] names.
fn find_lock_files(dir: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut level = vec![PathBuf::new()];
    let mut left = NAMES_MAX;
    for _ in 0..3 {
        let mut next = Vec::new();
        for below in level {
            for entry in fs::read_dir(dir.join(&below))
                .into_iter()
                .flatten()
                .flatten()
            {
                left = left.saturating_sub(1);
                if left == 0 {
                    return found;
                }
                let name = entry.file_name();
                let Ok(kind) = entry.file_type() else {
                    continue;
                };
                if kind.is_dir() && !is_reserved(name.as_bytes()) {
                    next.push(below.join(&name));
                } else if kind.is_file() && LOCK_FILES.iter().any(|l| name == OsStr::new(l)) {
                    found.push(below.join(&name).as_os_str().as_bytes().to_vec());
                }
            }
        }
        level = next;
    }
    found
}

fn servers(dir: &Path, lock_files: &[Vec<u8>], users: &mut Vec<User>) {
    for path in lock_files.iter().filter(|p| p.ends_with(b"postmaster.pid")) {
        let text = fs::read_to_string(dir.join(OsStr::from_bytes(path))).unwrap_or_default();
        let pid = text
            .lines()
            .next()
            .and_then(|l| l.trim().parse::<i32>().ok())
            .filter(|p| *p > 0);
        let Some(pid) = pid.and_then(Pid::from_raw) else {
            continue;
        };
        // `EPERM` also means that the process exists (kill(2)).
        let alive = !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH));
        if alive && pid != rustix::process::getpid() {
            let pid = u32::try_from(pid.as_raw_nonzero().get()).ok();
            let command = pid.map(command_of).unwrap_or_default();
            if !may_be_server(pid, &command) {
                continue;
            }
            users.push(User {
                pid,
                command,
                path: path.clone(),
                how: Use::Server,
            });
        }
    }
}

/// Returns whether the process that a `postmaster.pid` names can be the server. In its own
/// container the server has process id 1, which is another process here.
fn may_be_server(pid: Option<u32>, command: &str) -> bool {
    pid != Some(1) || matches!(command, "postgres" | "postmaster")
}

fn command_of(pid: u32) -> String {
    ProcDir::of(pid).command()
}

/// All locks of the system by device and inode, with the process id of the owner.
struct Locks(HashMap<(u64, u64), Option<u32>>);

impl Locks {
    fn read() -> Self {
        // Without this file, only the files in `LOCKED` are checked, one by one.
        let text = fs::read_to_string("/proc/locks").unwrap_or_default();
        Self(text.lines().filter_map(parse_lock).collect())
    }

    fn user(&self, dir: &Path, path: &[u8]) -> Option<User> {
        let file = dir.join(OsStr::from_bytes(path));
        let locked = LOCKED.iter().any(|end| path.ends_with(end.as_bytes()));
        if self.0.is_empty() && !locked {
            return None;
        }
        let stat = fs::symlink_metadata(&file)
            .ok()
            .filter(fs::Metadata::is_file)?;
        let owner = match self.0.get(&(stat.dev(), stat.ino())) {
            Some(owner) => *owner,
            None if locked => lock_on(&file)?,
            None => return None,
        };
        if owner == Some(std::process::id()) {
            return None;
        }
        let command = owner.map(command_of).unwrap_or_default();
        Some(User {
            pid: owner,
            command,
            path: path.to_vec(),
            how: Use::Locked,
        })
    }
}

impl Locks {
    /// Returns a lock that `/proc/locks` does not list, because its owner is in another container.
    fn unlisted(&self, dir: &Path, path: &[u8]) -> Option<User> {
        let file = dir.join(OsStr::from_bytes(path));
        let owner = fs::symlink_metadata(&file)
            .ok()
            .filter(fs::Metadata::is_file)
            .and_then(|_| lock_on(&file))?;
        let command = owner.map(command_of).unwrap_or_default();
        (owner != Some(std::process::id())).then(|| User {
            pid: owner,
            command,
            path: path.to_vec(),
            how: Use::Locked,
        })
    }
}

/// Returns a lock on any bytes of a file. For a process in another container, the kernel reports
/// the lock but not the process id.
fn lock_on(file: &Path) -> Option<Option<u32>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(file, flags, Mode::empty()).ok()?;
    // A write lock conflicts with every other lock, so the kernel reports any lock.
    let found = fcntl_getlk(&fd, &Flock::from(FlockType::WriteLock)).ok()??;
    Some(
        found
            .pid
            .and_then(|p| u32::try_from(p.as_raw_nonzero().get()).ok()),
    )
}

/// Parses `1: POSIX  ADVISORY  WRITE 1234 08:01:5678 0 EOF`. A waiting lock has `->` after the
/// number.
fn parse_lock(line: &str) -> Option<((u64, u64), Option<u32>)> {
    let mut fields = line.split_whitespace().skip(1).filter(|f| *f != "->");
    let kind = fields.next()?;
    // Leases and delegations are not locks of a program.
    if !matches!(kind, "POSIX" | "OFDLCK" | "FLOCK") {
        return None;
    }
    // Skips `ADVISORY` and the kind of access. An OFD lock has -1 instead of a process id, because
    // it belongs to an open file (fcntl(2)).
    let pid = fields.nth(2)?.parse::<u32>().ok().filter(|p| *p > 0);
    let mut place = fields.next()?.split(':');
    let number = |hex: &str| u32::from_str_radix(hex, 16).ok();
    let (major, minor) = (number(place.next()?)?, number(place.next()?)?);
    let inode = place.next()?.parse().ok()?;
    Some(((rustix::fs::makedev(major, minor), inode), pid))
}

/// Adds the open and mapped files of all visible processes.
fn open_files(dir: &Path, users: &mut Vec<User>) {
    let Some(place) = MountTable::read().ok().and_then(|table| table.place(dir)) else {
        return;
    };
    // Paths in `/proc` are those of the mount namespace of their process, so each is resolved with
    // the mount table of that namespace.
    let mut tables: HashMap<String, MountTable> = HashMap::new();
    for pid in processes().filter(|pid| *pid != std::process::id()) {
        let process = ProcDir::of(pid);
        // The process has ended, or this user may not inspect it.
        let Some(space) = process.namespace("mnt") else {
            continue;
        };
        let mounts = tables
            .entry(space)
            .or_insert_with(|| process.mounts().unwrap_or_default());
        let found = files_of(&process, mounts, &place);
        if !found.is_empty() {
            let command = command_of(pid);
            users.extend(found.into_iter().map(|(path, how)| User {
                pid: Some(pid),
                command: command.clone(),
                path,
                how,
            }));
        }
    }
}

fn files_of(process: &ProcDir, mounts: &MountTable, dir: &FilePlace) -> Vec<(Vec<u8>, Use)> {
    let mut found: Vec<(Vec<u8>, Use)> = Vec::new();
    let mut add = |path: &[u8], how: Use, is_file: &dyn Fn() -> bool| {
        // Pipes and sockets have no path, and a removed file is not in the directory.
        if !path.starts_with(b"/") || path.ends_with(b" (deleted)") {
            return;
        }
        let Some(place) = mounts.place(Path::new(OsStr::from_bytes(path))) else {
            return;
        };
        if let Some(below) = dir.below(&place).map(|below| below.as_os_str().as_bytes())
            && !is_ours(below)
            && !found.iter().any(|f| f.0 == below)
            // Last, because it takes a system call.
            && is_file()
        {
            found.push((below.to_vec(), how));
        }
    };
    for fd in process.open_files() {
        if let Ok(target) = fs::read_link(&fd) {
            add(target.as_os_str().as_bytes(), Use::Open, &|| {
                fs::metadata(&fd).is_ok_and(|m| m.is_file())
            });
        }
    }
    let maps = process.maps();
    let mut last: &[u8] = b"";
    for mapping in mappings(&maps) {
        // A library is mapped in several adjacent parts.
        if mapping.path != last {
            add(mapping.path, Use::Mapped, &|| true);
            last = mapping.path;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn canonical() -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().canonicalize().unwrap();
        (temp, path)
    }

    #[test]
    fn an_open_file_is_found() {
        let (_temp, dir) = canonical();
        fs::create_dir(dir.join("sub")).unwrap();
        fs::write(dir.join("sub/log"), b"x").unwrap();
        assert_eq!(users(&dir, []), []);
        let held = fs::File::open(dir.join("sub/log")).unwrap();
        assert_eq!(users(&dir, []), [], "our own files do not count");
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::from(held))
            .spawn()
            .unwrap();
        let failed = InUse {
            users: users(&dir, []),
            dir,
        };
        child.kill().unwrap();
        child.wait().unwrap();
        let expected = User {
            pid: Some(child.id()),
            command: "sleep".into(),
            path: b"sub/log".to_vec(),
            how: Use::Open,
        };
        assert_eq!(failed.users, [expected]);
        assert_eq!(failed.kind(), Kind::Busy);
        assert!(
            failed.to_string().ends_with("has `sub/log` open"),
            "{failed}"
        );
    }

    #[test]
    fn a_lock_is_found() {
        let (_temp, dir) = canonical();
        fs::write(dir.join("a.db"), b"x").unwrap();
        fs::write(dir.join("ibdata1"), b"x").unwrap();
        // Byte 0x40000000 is SQLite's `PENDING_BYTE`, which may be beyond the end of the file.
        let script = "import fcntl,sys,time\nf=open(sys.argv[1],'r+')\nfcntl.lockf(f,fcntl.LOCK_EX,1,0x40000000)\n\
                      print(1,flush=True)\ntime.sleep(60)";
        let child = Command::new("python3")
            .args(["-c", script])
            .arg(dir.join("a.db"))
            .stdout(Stdio::piped())
            .spawn();
        // Skip the test if Python is not installed.
        let Ok(mut child) = child else { return };
        let mut one = [0u8; 2];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut one).unwrap();
        let found = users(&dir, [&b"a.db"[..], b"ibdata1", b"gone.db"]);
        let owner = lock_on(&dir.join("a.db"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(owner, Some(Some(child.id())));
        assert!(
            found
                .iter()
                .any(|u| u.how == Use::Locked && u.path == b"a.db" && u.pid == Some(child.id())),
            "{found:?}"
        );
        assert!(found.iter().all(|u| u.path == b"a.db"));
    }

    #[test]
    fn a_running_server_is_found_and_a_dead_one_is_not() {
        let (_temp, dir) = canonical();
        fs::create_dir(dir.join("data")).unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        fs::write(
            dir.join("data/postmaster.pid"),
            format!("{}\n/data\n", child.id()),
        )
        .unwrap();
        let found = users(&dir, []);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((found.len(), found[0].how), (1, Use::Server));
        assert!(
            found[0].is_affected_by(b"data/base/1")
                && found[0].is_affected_by(b"data")
                && !found[0].is_affected_by(b"other")
        );
        assert_eq!(users(&dir, []), []);
        fs::write(dir.join("data/postmaster.pid"), "nonsense").unwrap();
        assert_eq!(users(&dir, []), []);
    }

    #[test]
    fn a_lock_file_of_an_engine_concerns_its_whole_directory() {
        let user = |path: &str, how| User {
            pid: None,
            command: String::new(),
            path: path.into(),
            how,
        };
        for how in [Use::Open, Use::Mapped, Use::Locked] {
            let found = user("data/ibdata1", how);
            assert!(
                found.is_affected_by(b"data/shop/orders.ibd")
                    && found.is_affected_by(b"data")
                    && !found.is_affected_by(b"other")
            );
            assert!(user("aria_log_control", how).is_affected_by(b"anything"));
            assert!(!user("data/log", how).is_affected_by(b"data/shop/orders.ibd"));
        }
    }

    #[test]
    fn the_first_process_counts_only_if_it_is_the_server() {
        assert!(may_be_server(Some(1), "postgres") && may_be_server(Some(7), "anything"));
        assert!(!may_be_server(Some(1), "systemd") && !may_be_server(Some(1), ""));
    }

    #[test]
    fn lines_of_proc_locks() {
        let line = "1: POSIX  ADVISORY  WRITE 1234 fd:01:5678 0 EOF";
        assert_eq!(
            parse_lock(line),
            Some(((rustix::fs::makedev(0xfd, 1), 5678), Some(1234)))
        );
        assert_eq!(
            parse_lock("2: OFDLCK ADVISORY  READ -1 08:02:9 0 0")
                .unwrap()
                .1,
            None
        );
        assert_eq!(
            parse_lock("2: -> POSIX ADVISORY  READ 7 08:02:9 0 0")
                .unwrap()
                .1,
            Some(7)
        );
        assert_eq!(parse_lock("3: DELEG  ACTIVE    READ 7 08:02:9 0 EOF"), None);
        assert_eq!(parse_lock("nonsense"), None);
    }
}
