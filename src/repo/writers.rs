//! The processes that write to a local repository now. They share a lock on `sessions/writers`, so
//! that `gc --now` can ask the user before it makes them store objects again.
//!
//! The lock protects no data: a writer never waits for it, and writes without it if the file cannot
//! be locked.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::handle::Repo;
use super::layout;
use crate::sys::create;
use crate::sys::procfs::{self, ProcDir};

/// Name of the file below the directory of leases.
const FILE: &str = "writers";

/// Shows other processes that this one writes, as long as this value exists.
#[derive(Debug)]
pub struct WriterMark {
    _locked: Option<File>,
}

/// Other processes that write to a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunningWriters {
    /// `dvc commit (process 123)`; empty if the processes are not visible to this one.
    pub processes: Vec<String>,
}

impl Repo {
    /// Shows other processes that this one writes. Does nothing in a remote repository.
    pub fn mark_writer(&self) -> WriterMark {
        let lock = || -> Option<File> {
            let dir = self.as_local()?.files().path(layout::SESSIONS);
            create::dir(&dir).ok()?;
            let file = create::open(&dir.join(FILE), File::options().read(true).append(true));
            // A user who cannot write to the file can still lock it.
            let file = file.or_else(|_| File::open(dir.join(FILE))).ok()?;
            flock(&file, FlockOperation::NonBlockingLockShared).ok()?;
            Some(file)
        };
        WriterMark { _locked: lock() }
    }

    /// Returns the processes that write to the repository; `None` if no process does. This process
    /// must not be one of them.
    pub fn running_writers(&self) -> Option<RunningWriters> {
        let path = self.as_local()?.files().path(layout::SESSIONS).join(FILE);
        let file = File::open(path).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Some(RunningWriters {
                processes: holders(&file),
            }),
            // The lock ends with `file`. A file system without locks has no marks.
            _ => None,
        }
    }
}

/// The processes that have locked a file, as far as `/proc` shows them.
fn holders(file: &File) -> Vec<String> {
    let Ok(meta) = file.metadata() else {
        return Vec::new();
    };
    let mut pids = procfs::lock_holders(meta.dev(), meta.ino());
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter()
        .filter_map(|pid| {
            let arguments = ProcDir::of(pid).arguments();
            let program = arguments.first()?.rsplit('/').next()?.to_owned();
            let verb = arguments
                .iter()
                .skip(1)
                .find(|argument| !argument.starts_with('-'));
            let command = verb.map_or_else(|| program.clone(), |verb| format!("{program} {verb}"));
            Some(format!("{command} (process {pid})"))
        })
        .collect()
}
