//! The leases of a mount: one in the local repository, and one on the remote from which missing
//! objects are fetched.
//!
//! The local lease ends with the process. The lease on the remote is replaced daily, and deleted at
//! the unmount; that of an overlay stays, because the overlay still needs its version.

use parking_lot::Mutex;

use crate::error::{Result, with_causes};
use crate::format::lease::LeaseUse;
use crate::model::id::Id;
use crate::mount::view::LogFn;
use crate::repo::Repo;
use crate::repo::leases::{LocalLease, TimedLease, create_timed};
use crate::repo::writer::{RootCheck, is_collected};
use crate::sys::clock;

/// Fact: the key of the lease on the remote.
pub(super) const LEASE: &str = "lease";

/// Opens the remote that has the missing objects.
pub type OpenSourceFn = dyn Fn() -> Result<Repo> + Send + Sync;

/// How a mount takes its leases.
pub struct LeaseSetup {
    /// Name of this machine.
    pub host: String,
    /// A check that began before the version of the mount was chosen.
    pub check: RootCheck,
    /// The remote of a lazy clone.
    pub source: Option<SourceSetup>,
}

/// How a mount takes a lease on the remote of its lazy clone.
pub struct SourceSetup {
    /// The name of the remote, for messages.
    pub name: String,
    pub open: Box<OpenSourceFn>,
    /// Returns a check that began before the last fetch read the refs of the remote.
    pub check: Box<dyn Fn() -> RootCheck + Send + Sync>,
}

/// The leases for one version.
#[derive(Default)]
pub(super) struct VersionLeases {
    version: Option<Id>,
    _local: Option<LocalLease>,
    remote: Option<TimedLease>,
}

/// The leases of a mount.
pub(super) struct MountLeases {
    setup: LeaseSetup,
    use_: LeaseUse,
    current: Mutex<VersionLeases>,
    /// Key of the lease that the last mount of the overlay left on the remote.
    left: Mutex<Option<String>>,
}

impl MountLeases {
    /// Takes the lease in the local repository. The caller then calls [`Self::ensure_whole`] unless
    /// an overlay already is a root for the version.
    pub(super) fn take(
        repo: &Repo,
        setup: LeaseSetup,
        version: &Id,
        has_overlay: bool,
        log: &LogFn,
    ) -> Self {
        let use_ = if has_overlay {
            LeaseUse::Overlay
        } else {
            LeaseUse::Mount
        };
        let leases = Self {
            setup,
            use_,
            current: Mutex::default(),
            left: Mutex::default(),
        };
        *leases.current.lock() = VersionLeases {
            version: Some(*version),
            _local: leases.local(repo, version, log),
            remote: None,
        };
        leases
    }

    fn local(&self, repo: &Repo, version: &Id, log: &LogFn) -> Option<LocalLease> {
        let local = repo.as_local()?;
        let now = clock::now().secs;
        local
            .lock_lease(&self.setup.host, LeaseUse::Mount, &[*version], now)
            .map_err(|e| {
                log(&format!(
                    "no lease, so a garbage collection may delete the version: {}",
                    with_causes(&e)
                ));
            })
            .ok()
    }

    /// Notes the lease that the last mount of the overlay left on the remote.
    pub(super) fn set_left(&self, key: Option<String>) {
        *self.left.lock() = key;
    }

    /// Fails if objects of the version were collected, or may be collected now.
    pub(super) fn ensure_whole(&self, repo: &Repo) -> Result<()> {
        let version = self.current.lock().version;
        let check = &self.setup.check;
        version.map_or(Ok(()), |version| check.ensure_whole(repo, &[version]))
    }

    /// Takes leases for the version that the mount will show next. `check` began before the version
    /// was chosen.
    pub(super) fn prepare(
        &self,
        repo: &Repo,
        version: &Id,
        check: &RootCheck,
        log: &LogFn,
    ) -> Result<VersionLeases> {
        let local = self.local(repo, version, log);
        check.ensure_whole(repo, &[*version])?;
        Ok(VersionLeases {
            version: Some(*version),
            _local: local,
            remote: self.remote(repo, version, log)?,
        })
    }

    /// Replaces the local lease by one for a version that the mount has committed. The lease at the
    /// remote stays, because the remote has the objects of its version only.
    pub(super) fn follow_commit(&self, repo: &Repo, version: &Id, log: &LogFn) {
        let local = self.local(repo, version, log);
        let mut current = self.current.lock();
        current.version = Some(*version);
        current._local = local;
    }

    /// Replaces the leases, after the mount shows the new version.
    pub(super) fn replace(&self, next: VersionLeases) -> Option<String> {
        let key = next.remote.as_ref().map(|lease| lease.key.clone());
        let old = std::mem::replace(&mut *self.current.lock(), next);
        self.release(old);
        key
    }

    /// Ends leases that the mount does not need any more.
    pub(super) fn release(&self, leases: VersionLeases) {
        self.delete_remote(leases.remote.iter().map(|lease| lease.key.as_str()));
    }

    /// Deletes leases on the remote. Failures are ignored, because a lease ends by itself.
    fn delete_remote<'k>(&self, keys: impl Iterator<Item = &'k str>) {
        let keys: Vec<&str> = keys.collect();
        if let Some(source) = self.setup.source.as_ref().filter(|_| !keys.is_empty())
            && let Ok(there) = (source.open)()
        {
            for key in keys {
                let _ = there.store().delete(key);
            }
        }
    }

    /// Takes the lease on the remote, and deletes an earlier one of the same overlay. Returns the
    /// key of the new lease.
    pub(super) fn take_remote(&self, repo: &Repo, log: &LogFn) -> Result<Option<String>> {
        let Some(version) = self.current.lock().version else {
            return Ok(None);
        };
        let Some(lease) = self.remote(repo, &version, log)? else {
            return Ok(None);
        };
        let key = lease.key.clone();
        let mut current = self.current.lock();
        if current.version != Some(version) {
            // The mount shows another version now, which has a lease of its own.
            drop(current);
            self.delete_remote([key.as_str()].into_iter());
            return Ok(None);
        }
        let old = current.remote.replace(lease).map(|lease| lease.key);
        drop(current);
        let left = self.left.lock().take();
        self.delete_remote(old.iter().chain(&left).map(String::as_str));
        Ok(Some(key))
    }

    /// Creates a lease on the remote. A remote that cannot be reached or written to is not an
    /// error.
    fn remote(&self, repo: &Repo, version: &Id, log: &LogFn) -> Result<Option<TimedLease>> {
        let Some(source) = &self.setup.source else {
            return Ok(None);
        };
        let versions = repo.versions_at_source(&[*version])?;
        if versions.is_empty() {
            return Ok(None);
        }
        let taken = (source.open)().and_then(|there| {
            let now = clock::now().secs;
            let host = &self.setup.host;
            let lease = create_timed(there.store(), host, self.use_, &versions, now)?;
            match (source.check)().ensure_whole(&there, &versions) {
                Err(e) if is_collected(&e) => {
                    lease.release(there.store());
                    Err(e)
                }
                // Keep the lease if the check failed for another reason.
                _ => Ok(lease),
            }
        });
        match taken {
            // If `versions` differs, the mount shows an unpushed version and only its base is lost,
            // so the mount continues with a message.
            Err(e) if is_collected(&e) && versions == [*version] => Err(e),
            Err(e) => {
                log(&format!(
                    "no lease on {}, so the version is kept only as long as the policy of that remote keeps it: {}",
                    source.name,
                    with_causes(&e)
                ));
                Ok(None)
            }
            Ok(lease) => Ok(Some(lease)),
        }
    }

    /// Returns whether the mount should have a lease on a remote.
    pub(super) const fn has_source(&self) -> bool {
        self.setup.source.is_some()
    }

    pub(super) fn is_remote_due(&self) -> bool {
        let current = self.current.lock();
        let now = clock::now().secs;
        current.version.is_some()
            && current
                .remote
                .as_ref()
                .is_none_or(|lease| lease.is_old(now))
    }

    /// Ends the leases of the mount. That of an overlay stays on the remote, unless the overlay is
    /// gone.
    pub(super) fn end(&self, is_gone: bool) {
        let mut leases = std::mem::take(&mut *self.current.lock());
        if self.use_ == LeaseUse::Overlay && !is_gone {
            leases.remote = None;
        }
        self.release(leases);
    }
}
