//! Leases: versions that a process or another repository uses although no ref may keep them.
//!
//! A process that uses versions of a repository on the same machine holds a lock (`flock`) on its
//! lease, so the lease ends with the process. All other leases count until the time that they name,
//! but for at most [`LONGEST_SECS`] after a collector first saw them, because a clock may be wrong
//! and an owner may never come back.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use super::handle::{LocalRepo, Repo};
use super::layout;
use crate::error::{Failure, Kind, Result};
use crate::format::lease::{LEASE_KIND, Lease, LeaseUse, is_lease_key, lease_key};
use crate::model::id::Id;
use crate::model::refname::RefKind;
use crate::store::{ListedKey, Store};
use crate::sys::create;
use crate::sys::io_error::IoError;
use crate::sys::random::random_hex;
use crate::work::fan_out;

/// How long a lease without a lock counts at most after a collector first saw it, in seconds.
pub const LONGEST_SECS: i64 = 30 * 86_400;
/// Age at which the owner of a lease without a lock replaces it.
pub const RENEWED_AFTER: Duration = Duration::from_secs(86_400);
/// How long the lease of a mount counts if the mount cannot renew it, in seconds.
const MOUNT_SECS: i64 = 7 * 86_400;
/// Limit on the number of leases that are read.
const LEASES_MAX: usize = 10_000;
/// Limit on the number of different versions in all leases together.
const VERSIONS_MAX: usize = 1_000_000;
/// Limit on the length of a lease in bytes; a lease of 10,000 versions is shorter.
const BYTES_MAX: u64 = 1 << 20;

/// A lease that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveLease {
    /// Key in the store.
    pub key: String,
    pub lease: Lease,
    /// When the lease ends, in seconds since 1970; `None` while its process has it locked.
    pub until: Option<i64>,
}

/// The leases of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseState {
    pub live: Vec<LiveLease>,
    /// Keys of leases that have ended.
    pub ended: Vec<String>,
}

/// The error for leases whose versions are unknown, so that a collector must not go on.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("cannot read lease `{key}`: {why}")]
    Damaged {
        key: String,
        why: String,
        /// When the lease stops counting, in seconds since 1970; `None` if a process uses it.
        until: Option<i64>,
    },
    #[error("`{place}` has more than {LEASES_MAX} leases")]
    Flood { place: String },
    #[error("the leases of `{place}` name more than {VERSIONS_MAX} versions")]
    Large { place: String },
}

impl Failure for LeaseError {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Damaged { until: None, .. } => {
                "end the process that uses it; `dvc mount` lists mounts".to_owned()
            }
            Self::Damaged { key, .. } => {
                format!("if no mount and no lazy clone needs it, delete `{key}`")
            }
            Self::Flood { .. } | Self::Large { .. } => format!(
                "delete the leases in `{}` that no mount and no lazy clone needs",
                layout::SESSIONS
            ),
        })
    }
}

/// A lease that counts as long as this value exists.
#[derive(Debug)]
pub struct LocalLease {
    path: PathBuf,
    _locked: File,
}

impl Drop for LocalLease {
    fn drop(&mut self) {
        // If this fails, the file is garbage, because its lock has ended.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A lease in a store, which counts until its time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedLease {
    pub key: String,
    pub lease: Lease,
}

impl TimedLease {
    /// Returns whether the owner must replace the lease.
    pub fn is_old(&self, now: i64) -> bool {
        let age = now.saturating_sub(self.lease.made);
        age < 0 || age.unsigned_abs() >= RENEWED_AFTER.as_secs()
    }

    /// Deletes the lease. Failures are ignored, because the lease ends by itself.
    pub fn release(&self, store: &dyn Store) {
        let _ = store.delete(&self.key);
    }
}

/// Creates a lease in a store. It counts from the moment at which this function returns.
pub fn create_timed(
    store: &dyn Store,
    host: &str,
    what: LeaseUse,
    versions: &[Id],
    now: i64,
) -> Result<TimedLease> {
    let lasts = match what {
        LeaseUse::Mount => MOUNT_SECS,
        LeaseUse::Overlay | LeaseUse::Lazy => LONGEST_SECS,
    };
    let lease = new_lease(host, what, versions, now, now.saturating_add(lasts));
    loop {
        let key = format!("{}/{}", layout::SESSIONS, lease_key(&random_hex()?));
        if store.create(&key, &lease.encode())? {
            return Ok(TimedLease { key, lease });
        }
    }
}

fn new_lease(host: &str, what: LeaseUse, versions: &[Id], made: i64, until: i64) -> Lease {
    let mut versions = versions.to_vec();
    versions.sort_unstable();
    versions.dedup();
    versions.truncate(crate::format::lease::VERSIONS_MAX);
    Lease {
        kind: LEASE_KIND.to_owned(),
        host: host.to_owned(),
        what,
        versions,
        made,
        until,
    }
}

impl LocalRepo<'_> {
    /// Creates a lease that counts as long as this process keeps the result.
    pub fn lock_lease(
        self,
        host: &str,
        what: LeaseUse,
        versions: &[Id],
        now: i64,
    ) -> Result<LocalLease> {
        let dir = self.files().path(layout::SESSIONS);
        let io = |source| IoError::new("create a lease in", &dir, source);
        create::dir(&dir).map_err(io)?;
        let mut file = self.files().stage()?;
        // A file system without locks: the lease counts for some time, as on a remote.
        let until = match flock(file.as_file(), FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK) => now.saturating_add(MOUNT_SECS),
            locked => {
                locked.map_err(|e| io(e.into()))?;
                now
            }
        };
        let lease = new_lease(host, what, versions, now, until);
        let write = file.write_all(&lease.encode());
        // An incomplete lease after a power failure would look like a damaged one.
        write.and_then(|()| file.as_file().sync_all()).map_err(io)?;
        let path = dir.join(lease_key(&random_hex()?));
        let locked = file.persist_noclobber(&path).map_err(|e| io(e.error))?;
        Ok(LocalLease {
            path,
            _locked: locked,
        })
    }
}

/// A lease as a collector found it.
enum Found {
    /// The object is not a lease, or its owner has removed it.
    Nothing,
    /// The process of the lease holds its lock.
    Locked(Vec<u8>),
    /// No process of this machine holds the lock of the lease.
    Stored(Vec<u8>),
    /// The object is longer than any lease; whether a process holds its lock.
    TooLong { is_locked: bool },
}

impl Repo {
    /// Returns the leases of the repository. With `is_recorded`, records when each was first seen,
    /// as a collector does.
    pub fn leases(&self, now: i64, is_recorded: bool) -> Result<LeaseState> {
        let is_lease = |listed: &ListedKey| !listed.is_dir && is_lease_key(&listed.name);
        let mut listed = self.store().list(layout::SESSIONS)?;
        listed.retain(is_lease);
        if listed.is_empty() {
            return Ok(LeaseState::default());
        }
        if listed.len() > LEASES_MAX {
            return Err(LeaseError::Flood {
                place: self.store().place(),
            }
            .into());
        }
        let names: Vec<String> = listed.iter().map(|listed| listed.name.clone()).collect();
        let seen = match self.catalogue() {
            Ok(catalogue) if is_recorded => catalogue.see_leases(&names, now)?,
            Ok(catalogue) => catalogue.seen_leases(&names, now)?,
            // Without a catalogue, every lease is seen for the first time.
            Err(_) => HashMap::new(),
        };
        let state = Mutex::new((LeaseState::default(), HashSet::new()));
        let threads = self.store().abilities().in_flight.min(listed.len());
        fan_out::for_each(threads, listed.into_iter(), |listed| {
            let key = format!("{}/{}", layout::SESSIONS, listed.name);
            let first_seen = seen.get(&listed.name).copied().unwrap_or(now);
            let live = self.live_lease(&key, listed.len, first_seen, now)?;
            let mut state = state.lock();
            let (leases, versions) = &mut *state;
            match live {
                Some(Some(live)) => {
                    versions.extend(live.lease.versions.iter().copied());
                    if versions.len() > VERSIONS_MAX {
                        let place = self.store().place();
                        return Err(LeaseError::Large { place }.into());
                    }
                    leases.live.push(live);
                }
                Some(None) => leases.ended.push(key),
                None => {}
            }
            Ok::<_, crate::error::Error>(())
        })?;
        let mut leases = state.into_inner().0;
        leases.live.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(leases)
    }

    /// Returns a lease that counts, `Some(None)` for one that has ended, or `None` if the lease
    /// does not exist any more.
    fn live_lease(
        &self,
        key: &str,
        len: u64,
        first_seen: i64,
        now: i64,
    ) -> Result<Option<Option<LiveLease>>> {
        let longest = first_seen.saturating_add(LONGEST_SECS);
        let found = match self.as_local() {
            Some(local) => local_lease(&local.files().path(key))?,
            None if len > BYTES_MAX => Found::TooLong { is_locked: false },
            None => match self.store().get(key)? {
                Some(bytes) if bytes.len() as u64 > BYTES_MAX => {
                    Found::TooLong { is_locked: false }
                }
                Some(bytes) => Found::Stored(bytes),
                None => Found::Nothing,
            },
        };
        let (bytes, is_locked) = match found {
            Found::Nothing => return Ok(None),
            Found::TooLong { is_locked } => (Err("it is longer than any lease".into()), is_locked),
            // The owner is still writing, or has died before the lease counted.
            Found::Stored(bytes) if bytes.is_empty() => {
                let is_abandoned = first_seen.saturating_add(86_400) <= now;
                return Ok(is_abandoned.then_some(None));
            }
            Found::Locked(bytes) => (Ok(bytes), true),
            Found::Stored(bytes) => (Ok(bytes), false),
        };
        let lease = bytes.and_then(|bytes| Lease::decode(&bytes).map_err(|e| e.why));
        match lease {
            Ok(lease) if is_locked => Ok(Some(Some(LiveLease {
                key: key.to_owned(),
                lease,
                until: None,
            }))),
            Ok(lease) => {
                // On a remote, the lock of a process cannot be tested. Such a lease may be in use, so
                // it counts for some time and is not deleted.
                let is_lock = self.as_local().is_none() && lease.made == lease.until;
                let until = if is_lock {
                    longest
                } else {
                    lease.until.min(longest)
                };
                if is_lock && until <= now {
                    return Ok(None);
                }
                Ok(Some((until > now).then(|| LiveLease {
                    key: key.to_owned(),
                    lease,
                    until: Some(until),
                })))
            }
            Err(_) if !is_locked && longest <= now => Ok(Some(None)),
            Err(why) => Err(LeaseError::Damaged {
                key: key.to_owned(),
                why,
                until: (!is_locked).then_some(longest),
            }
            .into()),
        }
    }

    /// Returns the bytes of a lease for a check; `None` if there is no lease. Never waits, and reads
    /// at most a little more than a lease can have.
    pub fn lease_bytes(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let found = match self.as_local() {
            Some(local) => local_lease(&local.files().path(key))?,
            None => self.store().get(key)?.map_or(Found::Nothing, Found::Stored),
        };
        Ok(match found {
            Found::Nothing => None,
            Found::Locked(bytes) | Found::Stored(bytes) => Some(bytes),
            // A zero byte is not a valid lease either, so the check reports damage.
            Found::TooLong { .. } => Some(vec![0]),
        })
    }

    /// Deletes leases that have ended; failures are ignored, because the next run tries again.
    pub fn delete_ended_leases(&self, state: &LeaseState) {
        let _ = self.store().delete_many(&state.ended);
    }
}

/// Reads a lease in a directory of this machine, without following links or waiting for a pipe.
fn local_lease(path: &Path) -> Result<Found> {
    let io = |source: std::io::Error| IoError::new("read", path, source);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(Found::Nothing),
        opened => File::from(opened.map_err(|e| io(e.into()))?),
    };
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Ok(Found::Nothing);
    }
    let is_locked = match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => true,
        Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK) | Ok(()) => false,
        Err(e) => return Err(io(e.into()).into()),
    };
    let mut bytes = Vec::new();
    match Read::by_ref(&mut file)
        .take(BYTES_MAX + 1)
        .read_to_end(&mut bytes)
    {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        read => read.map_err(io)?,
    };
    Ok(match bytes.len() as u64 {
        len if len > BYTES_MAX => Found::TooLong { is_locked },
        _ if is_locked => Found::Locked(bytes),
        _ => Found::Stored(bytes),
    })
}

impl Repo {
    /// Returns versions whose objects the lazy source has: each given version that is on a remote
    /// branch, and the nearest such ancestors of each other version.
    pub fn versions_at_source(&self, versions: &[Id]) -> Result<Vec<Id>> {
        self.nearest_pushed(versions, &self.pushed_versions()?)
    }

    /// Returns the versions at the lazy source on which unpushed commits of local branches are
    /// based; empty if all objects are local.
    pub fn bases_at_source(&self) -> Result<Vec<Id>> {
        if Self::partial(self.path()).is_none() {
            return Ok(Vec::new());
        }
        let pushed = self.pushed_versions()?;
        let tips = self.refs().readable(RefKind::Branch)?.tips;
        let own: Vec<Id> = tips
            .into_iter()
            .map(|tip| tip.id)
            .filter(|id| !pushed.contains(id))
            .collect();
        self.nearest_pushed(&own, &pushed)
    }

    /// Returns the versions of remote branches and all their ancestors.
    fn pushed_versions(&self) -> Result<HashSet<Id>> {
        let mut pushed: HashSet<Id> = HashSet::new();
        let tips = self.refs().readable(RefKind::Remote)?.tips;
        let mut todo: Vec<Id> = tips.into_iter().map(|tip| tip.id).collect();
        while let Some(id) = todo.pop() {
            if pushed.insert(id) {
                todo.extend(self.known_parents(&id)?);
            }
        }
        Ok(pushed)
    }

    fn nearest_pushed(&self, versions: &[Id], pushed: &HashSet<Id>) -> Result<Vec<Id>> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        let mut todo = versions.to_vec();
        while let Some(id) = todo.pop() {
            if !seen.insert(id) {
                continue;
            }
            if pushed.contains(&id) {
                found.push(id);
            } else {
                todo.extend(self.known_parents(&id)?);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Returns the parents of a version; none if the repository lacks the commit.
    fn known_parents(&self, id: &Id) -> Result<Vec<Id>> {
        match self.commit_cached(id) {
            Err(e) if e.kind() == Kind::Integrity => Ok(Vec::new()),
            commit => Ok(commit?.parents),
        }
    }
}
