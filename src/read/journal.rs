//! The journal of a checkout in place: what an interrupted one has left, so that it can be named and finished.
//!
//! In: the folder of the worktree's state. Out: lines that are only appended. A large file stands here, durably,
//! before its first byte is changed, and leaves only when all of it is durable; so does each directory that gets
//! temporary files. The journal is removed when the worktree's new state is saved.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::error::ReadError;
use crate::error::Result;
use crate::model::id::{Id, parse_hex, to_hex};

const NAME: &str = "checkout";
const HEAD: &str = "dvc checkout 1";

/// What an interrupted checkout was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// The version that the worktree had.
    pub base: Option<Id>,
    /// The version that it was to get.
    pub target: Id,
    /// Large files of which some ranges are of the one and some of the other, sorted.
    pub half_written: Vec<Vec<u8>>,
    /// Directories with temporary files, and the runs that made them.
    temps: Vec<(String, Vec<u8>)>,
}

impl Interrupted {
    /// Whether a path is a temporary file of an interrupted run, which the next checkout removes.
    pub fn is_leftover(&self, path: &[u8]) -> bool {
        let slash = path.iter().rposition(|b| *b == b'/');
        let (dir, name) = slash.map_or((&path[..0], path), |at| (&path[..at], &path[at + 1..]));
        self.temps.iter().any(|(run, temps)| temps == dir && name.starts_with(temp_name(run).as_bytes()))
    }
}

/// How the names of a run's temporary files begin.
pub(super) fn temp_name(run: &str) -> String {
    format!(".dvc-tmp-{run}-")
}

/// The journal of a checkout that is at work.
pub struct Journal {
    path: PathBuf,
    file: File,
    run: String,
    half_written: BTreeSet<Vec<u8>>,
    temps: BTreeSet<Vec<u8>>,
    left: Vec<(String, Vec<u8>)>,
    _lock: OwnedFd,
}

fn io_error<'a>(action: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> ReadError + use<'a> {
    move |source| ReadError::Io { action, path: path.display().to_string(), source }
}

impl Journal {
    /// What an interrupted checkout has left in a worktree's state folder; `None` if there was none.
    pub fn read(state_dir: &Path) -> Result<Option<Interrupted>> {
        let path = state_dir.join(NAME);
        match std::fs::read(&path) {
            Ok(bytes) => match parse(&bytes) {
                Some(found) => Ok(Some(found)),
                None => Err(ReadError::Journal { path: path.display().to_string() }.into()),
            },
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(io_error("read", &path)(e).into()),
        }
    }

    /// Begins a checkout from `base` to `target`, or takes an interrupted one up. `force` gives up a journal that
    /// cannot be understood. Holds the worktree against other checkouts.
    pub fn begin(state_dir: &Path, base: Option<&Id>, target: &Id, force: bool) -> Result<Self> {
        std::fs::create_dir_all(state_dir).map_err(io_error("make", state_dir))?;
        let lock = rustix::fs::open(state_dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| io_error("open", state_dir)(e.into()))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(ReadError::Locked.into()),
            // A file system without locks: two checkouts at once are then the user's to avoid.
            Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK) => {}
            Err(e) => return Err(io_error("lock", state_dir)(e.into()).into()),
        }
        let before = match Self::read(state_dir) {
            Err(_) if force => None,
            other => other?,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let run = format!("{now:x}-{:x}", std::process::id());
        let hex = |id: Option<&Id>| id.map_or_else(|| "-".to_owned(), Id::to_string);
        let mut text = format!("{HEAD}\nbase {}\ntarget {}\nrun {run}\n", hex(base), hex(Some(target)));
        let (half_written, left) = before.map_or_else(Default::default, |b| (b.half_written, b.temps));
        for path in &half_written {
            text.push_str(&line("begin", path));
        }
        for (run, dir) in &left {
            text.push_str(&line(&format!("temps {run}"), dir));
        }
        let path = state_dir.join(NAME);
        let write = || -> std::io::Result<File> {
            let mut file = tempfile::NamedTempFile::new_in(state_dir)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            let file = file.persist(&path).map_err(|e| e.error)?;
            rustix::fs::fsync(&lock)?;
            Ok(file)
        };
        let file = write().map_err(io_error("write", &path))?;
        let half_written = half_written.into_iter().collect();
        Ok(Self { file, path, run, half_written, temps: BTreeSet::new(), left, _lock: lock })
    }

    /// The large files that are half-written now, by this run or by an interrupted one.
    pub fn half_written(&self) -> &BTreeSet<Vec<u8>> {
        &self.half_written
    }

    /// Names temporary files of this run, so that they are told from anybody else's.
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// Directories in which interrupted runs have left temporary files, with the names of these runs.
    pub(super) fn take_left(&mut self) -> Vec<(String, Vec<u8>)> {
        std::mem::take(&mut self.left)
    }

    /// These large files are about to be changed.
    pub(super) fn begin_files(&mut self, paths: &[Vec<u8>]) -> Result<()> {
        let new: Vec<String> =
            paths.iter().filter(|p| self.half_written.insert(p.to_vec())).map(|p| line("begin", p)).collect();
        self.append(&new, true)
    }

    /// These large files are complete and durable.
    pub(super) fn end_files(&mut self, paths: &[Vec<u8>]) -> Result<()> {
        let done: Vec<String> = paths.iter().filter(|p| self.half_written.remove(*p)).map(|p| line("end", p)).collect();
        self.append(&done, false)
    }

    /// Temporary files are about to be made in these directories.
    pub(super) fn temps_in(&mut self, dirs: &[Vec<u8>]) -> Result<()> {
        let kind = format!("temps {}", self.run);
        let new: Vec<String> = dirs.iter().filter(|d| self.temps.insert(d.to_vec())).map(|d| line(&kind, d)).collect();
        self.append(&new, true)
    }

    fn append(&mut self, lines: &[String], durable: bool) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(lines.concat().as_bytes());
        let written = written.and_then(|()| if durable { self.file.sync_data() } else { Ok(()) });
        Ok(written.map_err(io_error("write", &self.path))?)
    }

    /// Ends the checkout, after the worktree's new state is saved. Stays if files are half-written that this run did
    /// not touch.
    pub fn finish(self) -> Result<()> {
        if !self.half_written.is_empty() {
            return Ok(());
        }
        Ok(std::fs::remove_file(&self.path).map_err(io_error("remove", &self.path))?)
    }
}

/// Paths are hex, so that any bytes stand on one line.
fn line(kind: &str, path: &[u8]) -> String {
    format!("{kind} p{}\n", to_hex(path))
}

fn parse(bytes: &[u8]) -> Option<Interrupted> {
    // A line that was being written when the power went is no line.
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let mut lines = bytes.get(..whole)?.split(|b| *b == b'\n').map(|l| std::str::from_utf8(l).unwrap_or(""));
    if lines.next()? != HEAD {
        return None;
    }
    let base = match lines.next()?.strip_prefix("base ")? {
        "-" => None,
        hex => Some(Id::parse(hex)?),
    };
    let target = Id::parse(lines.next()?.strip_prefix("target ")?)?;
    lines.next()?.strip_prefix("run ")?;
    let mut half_written = BTreeSet::new();
    let mut temps = BTreeSet::new();
    for line in lines {
        let Some((kind, path)) = line.rsplit_once(" p") else { continue };
        let mut bytes = vec![0u8; path.len() / 2];
        if parse_hex(path, &mut bytes).is_none() {
            continue;
        }
        match kind.split_once(' ') {
            None if kind == "begin" => _ = half_written.insert(bytes),
            None if kind == "end" => _ = half_written.remove(&bytes),
            Some(("temps", run)) => _ = temps.insert((run.to_owned(), bytes)),
            _ => {}
        }
    }
    Some(Interrupted {
        base,
        target,
        half_written: half_written.into_iter().collect(),
        temps: temps.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn what_was_begun_is_found_again() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("state");
        assert_eq!(Journal::read(&dir).unwrap(), None);
        let (base, target) = (Id([1; 32]), Id([2; 32]));
        let mut journal = Journal::begin(&dir, Some(&base), &target, false).unwrap();
        assert_eq!(Journal::begin(&dir, None, &target, false).err().unwrap().kind(), Kind::Busy);
        journal.begin_files(&[b"a\n/\xff".to_vec(), b"b".to_vec()]).unwrap();
        journal.end_files(&[b"b".to_vec()]).unwrap();
        journal.temps_in(&[b"".to_vec(), b"d".to_vec()]).unwrap();
        let run = journal.run().to_owned();
        drop(journal);
        std::fs::OpenOptions::new().append(true).open(dir.join(NAME)).unwrap().write_all(b"end p6").unwrap();
        let found = Journal::read(&dir).unwrap().unwrap();
        assert_eq!((found.base, found.target), (Some(base), target));
        assert_eq!(found.half_written, [b"a\n/\xff".to_vec()]);
        assert!(found.is_leftover(format!("d/.dvc-tmp-{run}-7").as_bytes()));
        assert!(found.is_leftover(format!(".dvc-tmp-{run}-8").as_bytes()));
        assert!(!found.is_leftover(format!("e/.dvc-tmp-{run}-7").as_bytes()));
        assert!(!found.is_leftover(b"d/.dvc-tmp-1-7"));

        let mut again = Journal::begin(&dir, None, &base, false).unwrap();
        assert_eq!(again.take_left(), [(run.clone(), b"".to_vec()), (run, b"d".to_vec())]);
        assert_eq!(again.half_written().len(), 1);
        again.end_files(&[b"a\n/\xff".to_vec()]).unwrap();
        again.finish().unwrap();
        assert_eq!(Journal::read(&dir).unwrap(), None);
    }

    #[test]
    fn a_damaged_journal_is_said_and_can_be_given_up() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join(NAME), b"something else\n").unwrap();
        assert_eq!(Journal::read(temp.path()).unwrap_err().kind(), Kind::Integrity);
        assert!(Journal::begin(temp.path(), None, &Id([0; 32]), false).is_err());
        assert!(Journal::begin(temp.path(), None, &Id([0; 32]), true).is_ok());
    }
}
