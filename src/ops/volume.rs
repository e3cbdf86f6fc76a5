//! `volume`: named volumes with versions, for containers and other users of directories.
//!
//! A volume is a record on disk and an overlay in a repository. Each mount is served by its own
//! process, so that containers keep their volumes when the plugin or Docker exits. Users are
//! counted by the ids that they pass. A user that Docker forgot is detected because no process sees
//! the mount.

mod error;
mod local;
mod options;
mod process;
mod record;
mod trash;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::BlockCache;
use crate::context::Context;
use crate::error::Result;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::model::text::count;
use crate::mount::attach::is_dead;
use crate::mount::control::{ControlRequest, MountClient, MountFacts, MountNote, note};
use crate::mount::daemon;
use crate::mount::processes::namespaces;
use crate::observe::Silent;
use crate::ops::mount::{OVERLAYS, Unpushed, keep_unpushed};
use crate::ops::umount::{UmountOptions, umount};
use crate::store::location::Location;
use crate::sys::clock;
use crate::sys::create;
use crate::sys::io_error::IoError;
use crate::sys::mountinfo;
use crate::sys::mountinfo::Mounted;
use process::DvcProgram;
use record::{VolumeRegistry, VolumeUser};

pub use error::VolumeError;
pub use local::{
    LocalVolume, LocalVolumeError, LocalVolumeOptions, LocalVolumeReport, create_local_volume,
    find_local_volume, local_volume_names,
};
pub use options::{BadOption, VolumeOptions};
pub use record::{TrashedVolume, UserLock, VolumeRecord, VolumeUsers, check_name};

/// Seconds for which a new user counts even if no process sees the mount, because Docker mounts a
/// volume some time before the container sees it.
const FRESH_SECS: i64 = 60;
/// Like [`FRESH_SECS`], but for removals. Docker requests a removal only after its own containers
/// are gone, so the time is shorter.
const FRESH_TO_REMOVE_SECS: i64 = 10;
/// The timeout of a request to the process of a mount.
const PATIENCE: Duration = Duration::from_secs(5);

/// The volumes of this machine.
#[derive(Clone, Debug)]
pub struct Volumes {
    registry: VolumeRegistry,
    /// The directory of sockets and notes of mounts.
    run: PathBuf,
    /// This program, which serves the mounts.
    program: DvcProgram,
    /// The repository of volumes that name none.
    own: PathBuf,
    /// The cache of remote objects.
    cache: PathBuf,
}

/// A volume and its state.
#[derive(Clone, Debug)]
pub struct VolumeState {
    /// The record on disk.
    pub record: VolumeRecord,
    /// The mount point.
    pub at: PathBuf,
    /// The note of the mount, if the volume is mounted.
    pub note: Option<MountNote>,
    /// The statistics of the mount, if its process answers.
    pub facts: Option<MountFacts>,
    /// The version that the volume is based on, if known.
    pub version: Option<String>,
    /// Whether the volume has uncommitted changes.
    pub changed: bool,
    /// The users of the volume.
    pub users: VolumeUsers,
}

/// The result of a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedVolume {
    /// The id in the trash, if the volume had uncommitted changes.
    pub trash: Option<String>,
    /// Bytes that were freed in the cache.
    pub cache_bytes: u64,
    /// The versions of the volume that are not pushed.
    pub unpushed: Option<Unpushed>,
}

impl Volumes {
    /// Returns the volumes below the directory `state`. `program` is the path of this program, and
    /// `arguments` precede all other arguments of each call.
    pub fn new(
        state: &Path,
        run: PathBuf,
        cache: PathBuf,
        program: PathBuf,
        arguments: Vec<String>,
    ) -> Self {
        let registry = VolumeRegistry::new(state.join("volumes"));
        Self {
            registry,
            run,
            program: DvcProgram {
                path: program,
                arguments,
            },
            own: state.join("repository"),
            cache,
        }
    }

    /// Creates a volume and mounts it, so that errors are reported now. Returns false if the volume
    /// exists with the same options, and fails if it exists with different ones.
    pub fn create(
        &self,
        name: &str,
        options: &VolumeOptions,
        now: &jiff::Timestamp,
    ) -> Result<bool> {
        let _lock = self.registry.lock(name)?;
        let record = VolumeRecord {
            schema: 1,
            name: name.to_owned(),
            repository: options
                .repository
                .clone()
                .unwrap_or_else(|| self.own.display().to_string()),
            revision: match &options.revision {
                Some(revision) => revision.to_string(),
                // A volume that names no repository has a branch of its own name.
                None if options.repository.is_none() => name.to_owned(),
                None => "@".to_owned(),
            },
            branch: options.branch.as_ref().map(ToString::to_string),
            read_only: options.read_only,
            live: options.live,
            quota: options.quota,
            cache: options.cache,
            overlay: format!("volume-{name}-{:x}", now.as_millisecond()),
            created: now.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
            local: None,
        };
        if let Some(there) = self.registry.find(name)? {
            // The overlay, the creation time and the local repository are not options.
            let same = VolumeRecord {
                overlay: there.overlay.clone(),
                created: there.created.clone(),
                local: there.local.clone(),
                ..record
            };
            return if same == there {
                Ok(false)
            } else {
                Err(VolumeError::Differs(name.to_owned()).into())
            };
        }
        if options.repository.is_none() {
            self.program.begin_branch(&self.own, name)?;
        }
        // The record comes first, so that no mount exists without a record.
        self.registry.put(&record)?;
        if let Err(e) = self.ensure_mounted(&record) {
            // Undo the creation. No user has seen the volume yet.
            let _ = self.end_mount(name);
            let _ = self.registry.remove(name);
            return Err(e);
        }
        Ok(true)
    }

    /// Returns the machine's own repository for volumes that name none. It is created if it is
    /// missing.
    pub fn own_repository(&self) -> Result<PathBuf> {
        self.program.init(&self.own, "own")?;
        Ok(self.own.clone())
    }

    /// Returns the path of [`Self::own_repository`].
    pub fn own_path(&self) -> &Path {
        &self.own
    }

    /// Returns all volumes, sorted by name.
    pub fn list(&self) -> Result<Vec<VolumeRecord>> {
        let mut all = Vec::new();
        for name in self.registry.names()? {
            // A volume may be removed between the two reads.
            all.extend(self.registry.find(&name)?);
        }
        Ok(all)
    }

    /// Returns the volume of a name, if there is one.
    pub fn find(&self, name: &str) -> Result<Option<VolumeRecord>> {
        self.registry.find(name)
    }

    /// Returns the mount point of a volume, if it is mounted.
    pub fn mounted(&self, name: &str) -> Option<PathBuf> {
        self.registry
            .mounted(name)
            .then(|| self.registry.data(name))
    }

    /// Returns the name of the volume that is mounted at a path.
    pub fn name_of(&self, at: &Path) -> Result<Option<String>> {
        Ok(self
            .list()?
            .into_iter()
            .map(|record| record.name)
            .find(|name| self.registry.data(name) == at))
    }

    /// Returns a volume, with the state of its mount and its overlay.
    pub fn state(&self, name: &str) -> Result<VolumeState> {
        let record = self.found(name)?;
        let at = self.registry.data(name);
        let mounted = mounted_at(&at)?;
        let note = mounted
            .as_ref()
            .and_then(|mounted| note(&self.run, mounted));
        let facts = mounted.as_ref().and_then(|mounted| self.facts(mounted));
        let base = match &facts {
            Some(facts) => VolumeBase {
                version: facts.version.clone(),
                changed: facts.changed > 0,
            },
            None => VolumeBase::of_overlay(&record),
        };
        let users = self.registry.users(name)?;
        Ok(VolumeState {
            record,
            at,
            note,
            facts,
            version: base.version,
            changed: base.changed,
            users,
        })
    }

    /// Returns a lock with the id of a user. The user counts until the lock is dropped, even if no
    /// process sees the mount.
    pub fn lock_user(&self, who: &str) -> Result<UserLock> {
        self.registry.lock_user(who)
    }

    /// Mounts a volume for a user, if it is not mounted yet, and returns the mount point.
    pub fn mount(&self, name: &str, user: &str, now_secs: i64) -> Result<PathBuf> {
        let _lock = self.registry.lock(name)?;
        let record = self.found(name)?;
        let at = self.ensure_mounted(&record)?;
        // The user is recorded only if the mount succeeded, and a repeated request counts once.
        let mut users = self.registry.users(name)?;
        users.ids.retain(|known| known.id != user);
        users.ids.push(VolumeUser {
            id: user.to_owned(),
            since_secs: now_secs,
        });
        self.registry.put_users(name, &users)?;
        Ok(at)
    }

    /// Fails if the process `pid` does not see the mount of a volume, for example because the mount
    /// was made in a mount namespace that does not propagate mounts. A process that may not be
    /// inspected is assumed to see the mount.
    pub fn ensure_visible(&self, name: &str, pid: u32) -> Result<()> {
        let Some(mounted) = mounted_at(&self.registry.data(name))? else {
            return Ok(());
        };
        if namespaces::has_mount(pid, mounted.device).unwrap_or(true) {
            return Ok(());
        }
        Err(VolumeError::Unseen(name.to_owned()).into())
    }

    /// Returns the branch that a commit of a mounted volume goes to; `None` is the branch that the
    /// mount is based on. A volume that is based on an older version gets a branch of its own.
    pub fn branch(&self, name: &str, context: &Context) -> Result<Option<RefName>> {
        let state = self.state(name)?;
        if let Some(branch) = &state.record.branch {
            return Ok(Some(RefName::new(branch)?));
        }
        let facts = state.facts.unwrap_or_default();
        let Some(branch) = facts.branch.as_deref().map(RefName::new).transpose()? else {
            return Ok(Some(RefName::new(name)?));
        };
        let repo = context.repo()?;
        let tip = repo.refs().value(RefKind::Branch, &branch)?;
        let version = facts.version.as_deref().and_then(Id::parse);
        // If the last commit died before it reported to the mount, it has already moved the branch.
        // The next commit continues from that version.
        let is_own = |tip: &Id| -> Result<bool> {
            Ok(Some(repo.commit_cached(tip)?.tree.to_string()) == facts.snapshot)
        };
        let next = match &tip {
            Some(tip) => Some(*tip) == version || is_own(tip)?,
            None => false,
        };
        Ok(if next {
            None
        } else {
            Some(RefName::new(name)?)
        })
    }

    /// Removes a user. Returns whether the volume has no users left and is not pinned.
    pub fn unmount(&self, name: &str, user: &str) -> Result<bool> {
        let _lock = self.registry.lock(name)?;
        self.found(name)?;
        let mut users = self.registry.users(name)?;
        users.ids.retain(|known| known.id != user);
        self.registry.put_users(name, &users)?;
        Ok(users.ids.is_empty() && !users.pinned)
    }

    /// Unmounts a volume, unless it has users, its mount is pinned, or a process in another mount
    /// namespace sees the mount. Returns whether it is unmounted now.
    pub fn unmount_unused(&self, name: &str) -> Result<bool> {
        let _lock = self.registry.lock(name)?;
        let users = self.registry.users(name)?;
        if users.pinned || !users.ids.is_empty() || !self.seen_by(name).is_empty() {
            return Ok(false);
        }
        self.end_mount(name)?;
        Ok(true)
    }

    /// Removes users that can no longer send an unmount request, such as those from before a crash
    /// of Docker. Returns whether there are users left, or the mount is pinned.
    pub fn remove_lost_users(&self, name: &str, now_secs: i64) -> Result<bool> {
        let _lock = self.registry.lock(name)?;
        let mut users = self.registry.users(name)?;
        let before = users.clone();
        if !users.ids.is_empty() {
            let seen = !self.seen_by(name).is_empty();
            users.ids.retain(|user| {
                let alive = self.registry.is_user_alive(&user.id);
                alive.unwrap_or_else(|| {
                    seen || now_secs.saturating_sub(user.since_secs) < FRESH_SECS
                })
            });
        }
        if users != before {
            self.registry.put_users(name, &users)?;
        }
        Ok(users.pinned || !users.ids.is_empty())
    }

    /// Mounts a volume and pins the mount until the volume is removed. Returns the mount point.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let _lock = self.registry.lock(name)?;
        let record = self.found(name)?;
        let at = self.ensure_mounted(&record)?;
        let mut users = self.registry.users(name)?;
        users.pinned = true;
        self.registry.put_users(name, &users)?;
        Ok(at)
    }

    /// Mounts a volume again, if its mount is pinned.
    pub fn remount_pinned(&self, name: &str) -> Result<()> {
        let _lock = self.registry.lock(name)?;
        if self.registry.users(name)?.pinned {
            self.ensure_mounted(&self.found(name)?)?;
        }
        Ok(())
    }

    /// Removes a volume without users. Uncommitted changes are moved to the trash, unless `no_trash`
    /// is set.
    pub fn remove(&self, name: &str, no_trash: bool, now_secs: i64) -> Result<RemovedVolume> {
        let _lock = self.registry.lock(name)?;
        let record = self.found(name)?;
        self.ensure_unused(name)?;
        self.end_mount(name)?;
        ensure_unserved(&record)?;
        // The next steps read the overlay, so they precede its removal.
        let cache_bytes = self.free_cache(&record)?;
        let unpushed = self.keep_unpushed(&record, now_secs)?;
        let trash = if !no_trash && VolumeBase::of_overlay(&record).changed {
            Some(self.move_to_trash(&record, now_secs)?)
        } else {
            // The record names the overlay, so it goes last.
            remove_overlay(&record)?;
            self.registry.remove(name)?;
            None
        };
        Ok(RemovedVolume {
            trash,
            cache_bytes,
            unpushed,
        })
    }

    /// Renames a volume without users.
    pub fn rename(&self, name: &str, new: &str) -> Result<()> {
        // Two renames in opposite directions must take the locks in the same order.
        let (first, second) = if name < new { (name, new) } else { (new, name) };
        let _locks = (
            self.registry.lock(first)?,
            if first == second {
                None
            } else {
                Some(self.registry.lock(second)?)
            },
        );
        let record = self.found(name)?;
        if self.registry.find(new)?.is_some() {
            return Err(VolumeError::Exists(new.to_owned()).into());
        }
        self.ensure_unused(name)?;
        self.end_mount(name)?;
        ensure_unserved(&record)?;
        self.registry.rename(&record, new)
    }

    fn found(&self, name: &str) -> Result<VolumeRecord> {
        Ok(self
            .registry
            .find(name)?
            .ok_or_else(|| VolumeError::Missing(name.to_owned()))?)
    }

    /// Fails if the volume has users. A pinned mount does not count as a user.
    fn ensure_unused(&self, name: &str) -> Result<()> {
        let users = self.registry.users(name)?;
        let seen = self.seen_by(name);
        let lost =
            |since: i64| seen.is_empty() && clock::now().secs - since >= FRESH_TO_REMOVE_SECS;
        let uses = |user: &&VolumeUser| {
            self.registry
                .is_user_alive(&user.id)
                .unwrap_or_else(|| !lost(user.since_secs))
        };
        let ids = users.ids.iter().filter(uses).count();
        if ids == 0 && seen.is_empty() {
            return Ok(());
        }
        let seen: Vec<_> = seen.iter().map(|pid| format!("process {pid}")).collect();
        let users = if seen.is_empty() {
            count(ids as u64, "container")
        } else {
            seen.join(", ")
        };
        Err(VolumeError::InUse {
            name: name.to_owned(),
            users,
        }
        .into())
    }

    /// Returns processes in other mount namespaces that see the mount, one per namespace.
    fn seen_by(&self, name: &str) -> Vec<u32> {
        let Ok(Some(mounted)) = mounted_at(&self.registry.data(name)) else {
            return Vec::new();
        };
        namespaces::other_namespaces(mounted.device, Some(&mounted.at))
    }

    fn facts(&self, mounted: &Mounted) -> Option<MountFacts> {
        // A daemon that does not respond has no facts.
        let mut client = MountClient::connect(&self.run, mounted).ok()?;
        client.set_timeout(PATIENCE);
        client.request(&ControlRequest::Facts).ok()
    }

    /// Mounts a volume, if it is not mounted yet or its mount is dead. The caller must have its
    /// lock.
    fn ensure_mounted(&self, record: &VolumeRecord) -> Result<PathBuf> {
        let at = self.registry.data(&record.name);
        if self.registry.mounted(&record.name) && !is_dead(&at) {
            return Ok(at);
        }
        // A dead mount point exists, but cannot be inspected.
        if !self.registry.mounted(&record.name) {
            create::dir_all(&at).map_err(IoError::at("create", &at))?;
        }
        // The process of the previous mount may still be exiting.
        ensure_unserved(record)?;
        let repository = self.program.mount(record, &at)?;
        // The process chooses the local repository, for example the clone of a URL.
        if record.local.as_ref() != Some(&repository) {
            self.registry.put(&VolumeRecord {
                local: Some(repository),
                ..record.clone()
            })?;
        }
        Ok(at)
    }

    /// Unmounts a volume, if it is mounted. The caller must have its lock.
    fn end_mount(&self, name: &str) -> Result<()> {
        if !self.registry.mounted(name) {
            return Ok(());
        }
        umount(
            &self.run,
            &self.registry.data(name),
            UmountOptions::default(),
            &Silent,
        )
        .map(drop)
    }

    /// Moves the unpushed versions of a volume of a remote repository to a separate branch, before
    /// the volume is removed.
    fn keep_unpushed(&self, record: &VolumeRecord, now_secs: i64) -> Result<Option<Unpushed>> {
        let (Some(local), Some(overlay)) = (&record.local, overlay_of(record)) else {
            return Ok(None);
        };
        let is_local = Location::parse(&record.repository, Path::new("/"))?
            .location
            .as_directory()
            .is_some();
        if is_local || record.read_only {
            return Ok(None);
        }
        // Ignore an unreadable overlay here: it counts as changed, so it is moved to the trash.
        let Ok(Some(left)) = daemon::overlay_base(&overlay, &record.overlay) else {
            return Ok(None);
        };
        let Some(branch) = left.branch.as_deref().map(RefName::new).transpose()? else {
            return Ok(None);
        };
        // Other volumes of the same clone may be based on these versions.
        let shared = |unpushed: &[Id]| -> Result<bool> {
            for other in self.list()? {
                let same = other.name != record.name && other.local.as_ref() == Some(local);
                let version = if same {
                    self.state(&other.name)?.version
                } else {
                    None
                };
                if version
                    .as_deref()
                    .and_then(Id::parse)
                    .is_some_and(|id| unpushed.contains(&id))
                {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        keep_unpushed(
            local,
            &record.name,
            &left.version,
            &branch,
            now_secs,
            &shared,
        )
    }

    /// Removes from the cache the blocks that the mounts of a volume fetched, unless another volume
    /// has the same repository. Returns the freed bytes.
    fn free_cache(&self, record: &VolumeRecord) -> Result<u64> {
        let (Some(local), Some(overlay)) = (&record.local, overlay_of(record)) else {
            return Ok(0);
        };
        let fetched = daemon::fetched(&overlay);
        let shares =
            |other: &VolumeRecord| other.name != record.name && other.local.as_ref() == Some(local);
        if fetched.is_empty() || self.list()?.iter().any(shares) {
            return Ok(0);
        }
        let cache = BlockCache::new(self.cache.join("blocks"), u64::MAX);
        let before = cache.used_bytes().unwrap_or(0);
        fetched
            .iter()
            .for_each(|(object, len)| cache.forget(object, *len));
        Ok(before.saturating_sub(cache.used_bytes().unwrap_or(0)))
    }
}

/// Returns the dvc mount at a path, if any.
fn mounted_at(at: &Path) -> Result<Option<Mounted>> {
    let all = mountinfo::ours().map_err(IoError::at("read", Path::new(mountinfo::TABLE)))?;
    // Among several mounts at one path, the last one covers the others.
    Ok(all.into_iter().rev().find(|m| m.at == *at))
}

fn overlay_of(record: &VolumeRecord) -> Option<PathBuf> {
    Some(record.local.as_ref()?.join(OVERLAYS).join(&record.overlay))
}

/// The version that a volume is based on, and whether the volume has uncommitted changes.
struct VolumeBase {
    version: Option<String>,
    changed: bool,
}

impl VolumeBase {
    /// Reads the overlay of an unmounted volume. An unreadable overlay counts as changed.
    fn of_overlay(record: &VolumeRecord) -> Self {
        let none = Self {
            version: None,
            changed: false,
        };
        let Some(overlay) = overlay_of(record).filter(|_| !record.read_only) else {
            return none;
        };
        match daemon::overlay_base(&overlay, &record.overlay) {
            Ok(Some(left)) => Self {
                version: Some(left.version.to_string()),
                changed: left.changed,
            },
            Ok(None) => none,
            // An unreadable overlay may have changes, so it counts as changed.
            Err(_) => Self {
                version: None,
                changed: true,
            },
        }
    }
}

/// Fails if a process serves the overlay of a volume. The mount itself may be invisible here, for
/// example if a container made it that shares only the directory of the volumes.
fn ensure_unserved(record: &VolumeRecord) -> Result<()> {
    let Some(overlay) = overlay_of(record).filter(|_| !record.read_only) else {
        return Ok(());
    };
    if daemon::is_still_served(&overlay)? {
        let users = "a mount that is not visible here".to_owned();
        return Err(VolumeError::InUse {
            name: record.name.clone(),
            users,
        }
        .into());
    }
    Ok(())
}

fn remove_overlay(record: &VolumeRecord) -> Result<()> {
    match (&record.local, overlay_of(record)) {
        (Some(repository), Some(overlay)) if overlay.is_dir() => {
            daemon::delete_overlay(repository, &overlay, &record.overlay)
        }
        _ => Ok(()),
    }
}
