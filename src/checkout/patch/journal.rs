//! The journal of a checkout in place. It makes it possible to report and finish an interrupted
//! checkout.
//!
//! The journal is a file in the state directory of the worktree, to which lines are only appended.
//! A large file is recorded durably before its first byte changes, and marked as complete when all
//! of it is durable. Each directory is recorded before temporary files are created in it. The
//! journal is removed after the new state of the worktree is saved.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::checkout::error::ReadError;
use crate::error::Result;
use crate::model::id::{Id, parse_hex, to_hex};
use crate::model::path::is_within;
use crate::sys::create;
use crate::sys::io_error::IoError;
use crate::sys::random::random_hex;

const NAME: &str = "checkout";
const HEAD: &str = "dvc checkout 1";
/// Number of attempts to get a lock, 20 ms apart.
const PATIENCE: u32 = 25;

/// The goal of a checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// Version of the worktree before the checkout.
    pub base: Option<Id>,
    /// Version to check out.
    pub target: Id,
    /// The revision as the user wrote it; empty if it is unknown.
    pub revision: String,
    /// Branch to create at the version.
    pub new_branch: Option<String>,
    /// Paths to check out; empty means all.
    pub scope: Vec<Vec<u8>>,
    /// Whether files that the version does not contain are kept.
    pub keep_extra: bool,
    /// Whether the checkout goes to a new directory, where files are written under their final
    /// names.
    pub into: bool,
}

impl Goal {
    /// Returns the goal of checking out a whole version.
    pub fn whole(base: Option<Id>, target: Id) -> Self {
        let (revision, new_branch, scope) = (String::new(), None, Vec::new());
        Self {
            base,
            target,
            revision,
            new_branch,
            scope,
            keep_extra: false,
            into: false,
        }
    }

    /// Returns whether this checkout also changes all paths of `other`.
    fn covers(&self, other: &Self) -> bool {
        self.reaches(&other.scope)
    }

    /// Returns whether all of these paths are checked out; no paths means all.
    pub fn reaches(&self, paths: &[Vec<u8>]) -> bool {
        let within = |path: &Vec<u8>| self.scope.iter().any(|s| is_within(path, s));
        self.scope.is_empty() || (!paths.is_empty() && paths.iter().all(within))
    }

    fn header(&self, run: &str) -> String {
        let base = self
            .base
            .map_or_else(|| "-".to_owned(), |id| id.to_string());
        let mut text = format!("{HEAD}\nbase {base}\ntarget {}\nrun {run}\n", self.target);
        text.push_str(&line("revision", self.revision.as_bytes()));
        self.new_branch
            .iter()
            .for_each(|b| text.push_str(&line("branch", b.as_bytes())));
        self.scope
            .iter()
            .for_each(|s| text.push_str(&line("scope", s)));
        if self.keep_extra {
            text.push_str(&line("keep-extra", b""));
        }
        if self.into {
            text.push_str(&line("into", b""));
        }
        text
    }
}

/// The remains of an interrupted checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// The goal, which must be checked out to finish.
    pub goal: Goal,
    /// Other versions whose files may be in the worktree, because further checkouts were made or
    /// interrupted in between.
    pub others: Vec<Id>,
    /// Large files in which old and new ranges may be mixed, sorted.
    pub half_written: Vec<Vec<u8>>,
    /// Directories with temporary files, each with the id of the run that created them.
    temps: Vec<(String, Vec<u8>)>,
}

impl Interrupted {
    /// Returns whether a path is a temporary file of an interrupted run, which the next checkout
    /// removes.
    pub fn is_leftover(&self, path: &[u8]) -> bool {
        let slash = path.iter().rposition(|b| *b == b'/');
        let (dir, name) = slash.map_or((&path[..0], path), |at| (&path[..at], &path[at + 1..]));
        self.temps
            .iter()
            .any(|(run, temps)| temps == dir && name.starts_with(temp_name(run).as_bytes()))
    }
}

/// Returns the prefix of the names of a run's temporary files.
pub(in crate::checkout) fn temp_name(run: &str) -> String {
    format!(".dvc-tmp-{run}-")
}

/// The lock of a worktree against other checkouts.
pub struct Lock {
    state_dir: PathBuf,
    fd: OwnedFd,
}

/// The journal of a running checkout.
pub struct Journal {
    path: PathBuf,
    file: File,
    run: String,
    half_written: BTreeSet<Vec<u8>>,
    temps: BTreeSet<Vec<u8>>,
    left: Vec<(String, Vec<u8>)>,
    /// Whether this checkout continues an interrupted one.
    resumed: bool,
    /// Whether the interrupted checkout remains unfinished after this one.
    stays: bool,
    _lock: Lock,
}

impl Journal {
    /// Returns the remains of an interrupted checkout in a directory of worktree state, or `None`.
    pub fn read(state_dir: &Path) -> Result<Option<Interrupted>> {
        let path = state_dir.join(NAME);
        match std::fs::read(&path) {
            Ok(bytes) => match parse(&bytes) {
                Some(found) => Ok(Some(found)),
                None => Err(ReadError::Journal {
                    path: path.display().to_string(),
                }
                .into()),
            },
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(e) => Err(IoError::new("read", path, e).into()),
        }
    }

    /// Locks a worktree for a checkout. The caller locks it before comparing files, so that no
    /// other checkout changes them in between.
    pub fn lock(state_dir: &Path) -> Result<Lock> {
        create::dir_all(state_dir).map_err(IoError::at("create", state_dir))?;
        // Lock the directory, because the journal itself is replaced by each run.
        let fd = rustix::fs::open(
            state_dir,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(IoError::at("open", state_dir))?;
        let mut locked = rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive);
        // A child process inherits all open files until it executes its program, and with them a
        // lock that this process has released already. Such a lock disappears after a moment, so
        // retry.
        for _ in 0..PATIENCE {
            if locked != Err(Errno::WOULDBLOCK) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            locked = rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive);
        }
        match locked {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(ReadError::Locked.into()),
            // The file system does not support locks, so users must avoid concurrent checkouts
            // themselves.
            Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK) => {}
            Err(e) => return Err(IoError::new("lock", state_dir, e).into()),
        }
        Ok(Lock {
            state_dir: state_dir.to_owned(),
            fd,
        })
    }

    /// Begins a checkout into an empty directory. Discards the journal of an earlier one.
    pub fn begin_new(lock: Lock, goal: &Goal) -> Result<Self> {
        let path = lock.state_dir.join(NAME);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(IoError::new("remove", path, e).into());
            }
            _ => {}
        }
        Self::begin(lock, goal, false)
    }

    /// Begins a checkout, or continues an interrupted one. `force` discards a journal that cannot
    /// be parsed if the whole worktree is checked out.
    pub fn begin(lock: Lock, goal: &Goal, force: bool) -> Result<Self> {
        let state_dir = lock.state_dir.as_path();
        let path = state_dir.join(NAME);
        // Even an unreadable journal shows that an interrupted run may have changed files.
        let resumed = path.exists();
        let before = match Self::read(state_dir) {
            Err(_) if force && goal.scope.is_empty() => None,
            other => other?,
        };
        let run = random_hex()?;
        // A checkout of some paths does not finish an interrupted checkout of more paths.
        let kept = before.as_ref().map(|b| &b.goal).filter(|g| !goal.covers(g));
        let stays = kept.is_some();
        let header = kept.unwrap_or(goal);
        let mut text = header.header(&run);
        let versions = before.iter().flat_map(|b| {
            b.others
                .iter()
                .copied()
                .chain(b.goal.base)
                .chain([b.goal.target])
        });
        let others: BTreeSet<Id> = versions.chain([goal.target]).collect();
        for id in others
            .iter()
            .filter(|id| **id != header.target && Some(**id) != header.base)
        {
            text.push_str(&line("other", &id.0));
        }
        let (half_written, left) =
            before.map_or_else(Default::default, |b| (b.half_written, b.temps));
        for path in &half_written {
            text.push_str(&line("begin", path));
        }
        for (run, dir) in &left {
            text.push_str(&line(&format!("temps {run}"), dir));
        }
        // The journal must be durable before the first change of the worktree.
        let write = || -> std::io::Result<File> {
            // Replace the journal atomically, because only the old one lists the remains of the
            // interrupted run.
            let mut file = create::temp_file(state_dir, ".checkout")?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            let file = file.persist(&path).map_err(|e| e.error)?;
            rustix::fs::fsync(&lock.fd)?;
            Ok(file)
        };
        let file = write().map_err(IoError::at("write", &path))?;
        let half_written = half_written.into_iter().collect();
        Ok(Self {
            file,
            path,
            run,
            half_written,
            temps: BTreeSet::new(),
            left,
            resumed,
            stays,
            _lock: lock,
        })
    }

    /// Returns whether this checkout continues an interrupted one, which may have changed more
    /// files than the journal lists.
    pub(in crate::checkout) fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Returns the large files that are half-written, by this run or by an interrupted one.
    pub fn half_written(&self) -> &BTreeSet<Vec<u8>> {
        &self.half_written
    }

    /// Returns the id of this run, which is part of the names of its temporary files.
    pub(in crate::checkout) fn run(&self) -> &str {
        &self.run
    }

    /// Takes the list of directories in which interrupted runs have left temporary files, with the
    /// ids of these runs.
    pub(in crate::checkout) fn take_left(&mut self) -> Vec<(String, Vec<u8>)> {
        std::mem::take(&mut self.left)
    }

    /// Records that these large files are about to change.
    pub(in crate::checkout) fn begin_files(&mut self, paths: &[Vec<u8>]) -> Result<()> {
        let new: Vec<String> = paths
            .iter()
            .filter(|p| self.half_written.insert(p.to_vec()))
            .map(|p| line("begin", p))
            .collect();
        self.append(&new, true)
    }

    /// Records that these large files are complete and durable.
    pub(in crate::checkout) fn end_files(&mut self, paths: &[Vec<u8>]) -> Result<()> {
        let done: Vec<String> = paths
            .iter()
            .filter(|p| self.half_written.remove(*p))
            .map(|p| line("end", p))
            .collect();
        // If a crash loses the line, the next checkout only compares the file once more.
        self.append(&done, false)
    }

    /// Records that temporary files are about to be created in these directories.
    pub(in crate::checkout) fn temps_in(&mut self, dirs: &[Vec<u8>]) -> Result<()> {
        let kind = format!("temps {}", self.run);
        let new: Vec<String> = dirs
            .iter()
            .filter(|d| self.temps.insert(d.to_vec()))
            .map(|d| line(&kind, d))
            .collect();
        self.append(&new, true)
    }

    fn append(&mut self, lines: &[String], durable: bool) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(lines.concat().as_bytes());
        let written = written.and_then(|()| {
            if durable {
                self.file.sync_data()
            } else {
                Ok(())
            }
        });
        Ok(written.map_err(IoError::at("write", &self.path))?)
    }

    /// Ends the checkout after the new state of the worktree is saved. The journal is kept if files
    /// that this run did not change are half-written, or if an interrupted checkout covers more of
    /// the worktree than this checkout.
    pub fn finish(self) -> Result<()> {
        if self.stays || !self.half_written.is_empty() {
            return Ok(());
        }
        // The removal need not be durable: if the journal reappears after a power failure, the next
        // checkout finds nothing to do.
        Ok(std::fs::remove_file(&self.path).map_err(IoError::at("remove", &self.path))?)
    }
}

/// Returns one line. Paths are written in hex, so that they can contain any bytes.
fn line(kind: &str, path: &[u8]) -> String {
    format!("{kind} p{}\n", to_hex(path))
}

fn parse(bytes: &[u8]) -> Option<Interrupted> {
    // A power failure may have truncated the last line.
    let whole = bytes
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1);
    let mut lines = bytes
        .get(..whole)?
        .split(|b| *b == b'\n')
        // All lines are ASCII. Any other line counts as an unknown one.
        .map(|l| std::str::from_utf8(l).unwrap_or(""));
    if lines.next()? != HEAD {
        return None;
    }
    let base = match lines.next()?.strip_prefix("base ")? {
        "-" => None,
        hex => Some(Id::parse(hex)?),
    };
    let target = Id::parse(lines.next()?.strip_prefix("target ")?)?;
    // The id itself is not needed, because each `temps` line contains the id of its run.
    lines.next()?.strip_prefix("run ")?;
    let mut goal = Goal::whole(base, target);
    let mut others = Vec::new();
    let mut half_written = BTreeSet::new();
    let mut temps = BTreeSet::new();
    for line in lines {
        // The path is hex, so the last ` p` is the separator.
        let Some((kind, path)) = line.rsplit_once(" p") else {
            continue;
        };
        let mut bytes = vec![0u8; path.len() / 2];
        if parse_hex(path, &mut bytes).is_none() {
            continue;
        }
        match kind.split_once(' ') {
            None if kind == "begin" => _ = half_written.insert(bytes),
            None if kind == "end" => _ = half_written.remove(&bytes),
            None if kind == "revision" => goal.revision = String::from_utf8(bytes).ok()?,
            None if kind == "branch" => goal.new_branch = Some(String::from_utf8(bytes).ok()?),
            None if kind == "keep-extra" => goal.keep_extra = true,
            None if kind == "into" => goal.into = true,
            None if kind == "scope" => goal.scope.push(bytes),
            None if kind == "other" => others.push(Id(bytes.try_into().ok()?)),
            Some(("temps", run)) => _ = temps.insert((run.to_owned(), bytes)),
            _ => {}
        }
    }
    Some(Interrupted {
        goal,
        others,
        half_written: half_written.into_iter().collect(),
        temps: temps.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn begin(dir: &Path, goal: &Goal) -> Journal {
        Journal::begin(Journal::lock(dir).unwrap(), goal, false).unwrap()
    }

    #[test]
    fn what_was_begun_is_found_again() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("state");
        assert_eq!(Journal::read(&dir).unwrap(), None);
        let (base, target) = (Id([1; 32]), Id([2; 32]));
        let mut journal = begin(&dir, &Goal::whole(Some(base), target));
        assert!(!journal.is_resumed());
        assert_eq!(Journal::lock(&dir).err().unwrap().kind(), Kind::Busy);
        journal
            .begin_files(&[b"a\n/\xff".to_vec(), b"b".to_vec()])
            .unwrap();
        journal.end_files(&[b"b".to_vec()]).unwrap();
        journal.temps_in(&[b"".to_vec(), b"d".to_vec()]).unwrap();
        let run = journal.run().to_owned();
        drop(journal);
        std::fs::OpenOptions::new()
            .append(true)
            .open(dir.join(NAME))
            .unwrap()
            // A line that a power failure has truncated.
            .write_all(b"end p6")
            .unwrap();
        let found = Journal::read(&dir).unwrap().unwrap();
        assert_eq!(found.goal, Goal::whole(Some(base), target));
        assert_eq!(found.half_written, [b"a\n/\xff".to_vec()]);
        assert!(found.is_leftover(format!("d/.dvc-tmp-{run}-7").as_bytes()));
        assert!(found.is_leftover(format!(".dvc-tmp-{run}-8").as_bytes()));
        assert!(!found.is_leftover(format!("e/.dvc-tmp-{run}-7").as_bytes()));
        assert!(!found.is_leftover(b"d/.dvc-tmp-1-7"));

        let mut again = begin(&dir, &Goal::whole(None, base));
        assert!(again.is_resumed());
        assert_eq!(Journal::read(&dir).unwrap().unwrap().others, [target]);
        assert_eq!(
            again.take_left(),
            [(run.clone(), b"".to_vec()), (run, b"d".to_vec())]
        );
        assert_eq!(again.half_written().len(), 1);
        again.end_files(&[b"a\n/\xff".to_vec()]).unwrap();
        again.finish().unwrap();
        assert_eq!(Journal::read(&dir).unwrap(), None);
    }

    #[test]
    fn a_checkout_of_some_paths_does_not_end_one_of_more() {
        let temp = tempfile::tempdir().unwrap();
        let goal = |target: u8, scope: &[&str]| Goal {
            revision: format!("main@v{target}"),
            new_branch: Some("side".to_owned()),
            keep_extra: true,
            scope: scope.iter().map(|s| s.as_bytes().to_vec()).collect(),
            ..Goal::whole(Some(Id([1; 32])), Id([target; 32]))
        };
        let read = || Journal::read(temp.path()).unwrap();
        for (interrupted, then, ends) in [
            (goal(2, &[]), goal(3, &["a"]), false),
            (goal(2, &["a/b"]), goal(3, &["b", "a"]), true),
            (goal(2, &["a", "c"]), goal(3, &["a"]), false),
            (goal(2, &["a"]), goal(3, &[]), true),
        ] {
            drop(begin(temp.path(), &interrupted));
            assert_eq!(read().unwrap().goal, interrupted);
            let journal = begin(temp.path(), &then);
            let (now, other) = if ends { (&then, 2) } else { (&interrupted, 3) };
            assert_eq!(
                (&read().unwrap().goal, read().unwrap().others),
                (now, vec![Id([other; 32])])
            );
            journal.finish().unwrap();
            assert_eq!(read().is_none(), ends);
            begin(temp.path(), &goal(4, &[])).finish().unwrap();
            assert_eq!(read(), None);
        }
    }

    #[test]
    fn a_damaged_journal_is_said_and_can_be_given_up() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join(NAME), b"something else\n").unwrap();
        assert_eq!(
            Journal::read(temp.path()).unwrap_err().kind(),
            Kind::Integrity
        );
        let goal = Goal::whole(None, Id([0; 32]));
        assert!(Journal::begin(Journal::lock(temp.path()).unwrap(), &goal, false).is_err());
        let some = Goal {
            scope: vec![b"a".to_vec()],
            ..goal.clone()
        };
        assert!(Journal::begin(Journal::lock(temp.path()).unwrap(), &some, true).is_err());
        assert!(Journal::begin(Journal::lock(temp.path()).unwrap(), &goal, true).is_ok());
    }
}
