//! `volume`: views of versions under names, for containers and whoever else wants a directory.
//!
//! A volume is a record on disk and an overlay in a repository. Each is mounted by a process of its own, this program
//! again, so that neither the end of a plugin nor of Docker ends what containers see. Users are counted by the names that
//! they give; what Docker does not take back is found by looking who sees the mount.

mod options;
mod plain;
mod process;
mod record;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::BlockCache;
use crate::context::Context;
use crate::error::{Failure, Kind, Result};
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::mount::attach::is_dead;
use crate::mount::control::{ControlRequest, MountClient, MountFacts, MountNote, note};
use crate::mount::daemon;
use crate::mount::processes::namespaces;
use crate::observe::Silent;
use crate::ops::mount::{OVERLAYS, UmountOptions, Unpushed, keep_unpushed, umount};
use crate::store::location::Location;
use crate::sys::clock;
use crate::sys::create;
use crate::sys::io_error::IoError;
use crate::sys::mountinfo;
use crate::sys::mountinfo::Mounted;
use record::Shelf;

pub use options::{BadOption, VolumeOptions};
pub use plain::{Plain, PlainError, PlainOptions, PlainReport, create_plain, plain, plain_names};
pub use record::{Present, Record, Users, check_name};

/// Docker mounts a volume some time before the container sees it: so long a user counts though nobody does, in seconds.
const FRESH: i64 = 60;
/// The same where somebody says that nobody uses it any more: Docker knows that of its own containers.
const FRESH_TO_REMOVE: i64 = 10;
/// So long an answer of a mount's process is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something about volumes that cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A name that is none.
    #[error("`{0}` is no name for a volume")]
    BadName(String),
    /// There is none of that name.
    #[error("no such volume: `{0}`")]
    Missing(String),
    /// There is one of that name, and it is another.
    #[error("there is a volume `{0}` already, with other options")]
    Exists(String),
    /// Somebody uses it.
    #[error("volume `{name}` is in use by {users}")]
    InUse {
        /// The volume.
        name: String,
        /// Who.
        users: String,
    },
    /// A file of ours cannot be read as what it should be.
    #[error("`{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The program that was started for it failed.
    #[error("volume `{name}`: {said}")]
    Process {
        /// The volume.
        name: String,
        /// What it said.
        said: String,
        /// What to do about it.
        hint: Option<String>,
        /// What kind of failure it was.
        kind: Kind,
    },
    /// It is mounted, and whoever wants it does not see that.
    #[error(
        "volume `{0}` is mounted, but the engine does not see it: the container would get an empty directory instead"
    )]
    Unseen(String),
    /// Nothing of that name was put aside.
    #[error("no volume was put aside as `{0}`")]
    NotParked(String),
}

impl Failure for VolumeError {
    fn kind(&self) -> Kind {
        match self {
            Self::BadName(_) | Self::Exists(_) => Kind::Usage,
            Self::Missing(_) | Self::NotParked(_) => Kind::NotFound,
            Self::InUse { .. } => Kind::Busy,
            Self::Unseen(_) => Kind::System,
            Self::Damaged { .. } => Kind::Integrity,
            Self::Process { kind, .. } => *kind,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::BadName(_) => {
                Some("up to 90 letters, digits, `.`, `_` and `-`, the first a letter or digit".to_owned())
            }
            Self::Missing(_) => Some("`dvc volume ls` lists them".to_owned()),
            Self::NotParked(_) => Some("`dvc volume ls --parked` lists what was".to_owned()),
            Self::InUse { .. } => Some("stop what uses it first".to_owned()),
            Self::Unseen(_) => Some(
                "a plugin that the engine runs: `docker plugin disable -f` and `enable`; in a container: bind the directory \
                 of the volumes with `rshared`"
                    .to_owned(),
            ),
            Self::Process { hint, .. } => hint.clone(),
            _ => None,
        }
    }
}

/// The volumes of this machine.
#[derive(Clone, Debug)]
pub struct Volumes {
    shelf: Shelf,
    /// Where sockets and notes of mounts are.
    run: PathBuf,
    /// This program, and what every call of it is told first.
    program: (PathBuf, Vec<String>),
    /// The repository of volumes that name none.
    own: PathBuf,
    /// Where blocks of far repositories are kept.
    cache: PathBuf,
}

/// How a volume stands.
#[derive(Clone, Debug)]
pub struct VolumeState {
    /// What it is.
    pub record: Record,
    /// Where it is mounted, or would be.
    pub at: PathBuf,
    /// What its process noted, if it is mounted.
    pub note: Option<MountNote>,
    /// How the mount stands, if somebody answers.
    pub facts: Option<MountFacts>,
    /// The version that it stands on, if known.
    pub version: Option<String>,
    /// Whether it has changes that no version has.
    pub changed: bool,
    /// Who has it.
    pub users: Users,
}

/// What became of a volume that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// What it is called where it was put aside, with changes that no version has.
    pub parked: Option<String>,
    /// Bytes of the cache that were given back.
    pub cache_bytes: u64,
    /// Versions that it has made and that are not pushed, and where they are.
    pub unpushed: Option<Unpushed>,
}

impl Volumes {
    /// The volumes below the directory `state`. `program` is this program, `arguments` what every call of it is told first.
    pub fn new(state: &Path, run: PathBuf, cache: PathBuf, program: PathBuf, arguments: Vec<String>) -> Self {
        let shelf = Shelf::new(state.join("volumes"));
        Self { shelf, run, program: (program, arguments), own: state.join("repository"), cache }
    }

    /// Makes a volume, and mounts it to see that it can be. The same again does nothing. Returns whether it is new.
    pub fn create(&self, name: &str, options: &VolumeOptions, now: &jiff::Timestamp) -> Result<bool> {
        let _lock = self.shelf.lock(name)?;
        let record = Record {
            schema: 1,
            name: name.to_owned(),
            repository: options.repository.clone().unwrap_or_else(|| self.own.display().to_string()),
            revision: match &options.revision {
                Some(revision) => revision.to_string(),
                None if options.repository.is_none() => name.to_owned(),
                None => "@".to_owned(),
            },
            branch: options.branch.as_ref().map(ToString::to_string),
            read_only: options.read_only,
            live: options.live,
            quota: options.quota,
            cache: options.cache,
            overlay: format!("volume-{name}-{:x}", now.as_millisecond()),
            created: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            local: None,
        };
        if let Some(there) = self.shelf.find(name)? {
            let same = Record {
                overlay: there.overlay.clone(),
                created: there.created.clone(),
                local: there.local.clone(),
                ..record
            };
            return if same == there { Ok(false) } else { Err(VolumeError::Exists(name.to_owned()).into()) };
        }
        if options.repository.is_none() {
            self.begin(name)?;
        }
        self.shelf.put(&record)?;
        if let Err(e) = self.stand(&record) {
            // Nothing of it was ever seen.
            let _ = self.end(name);
            let _ = self.shelf.remove(name);
            return Err(e);
        }
        Ok(true)
    }

    /// Makes a volume again that was put aside.
    pub fn restore(&self, name: &str, parked: &str) -> Result<()> {
        let _lock = self.shelf.lock(name)?;
        if self.shelf.find(name)?.is_some() {
            return Err(VolumeError::Exists(name.to_owned()).into());
        }
        let _parked = self.shelf.lock_parked()?;
        let record = self.put_aside(parked)?;
        self.shelf.take_back(parked, &Record { name: name.to_owned(), ..record })
    }

    fn put_aside(&self, parked: &str) -> Result<Record> {
        let found = self.shelf.parked()?.into_iter().find(|(called, _)| called == parked);
        Ok(found.ok_or_else(|| VolumeError::NotParked(parked.to_owned()))?.1)
    }

    /// What was put aside, by what it is called there.
    pub fn parked(&self) -> Result<Vec<(String, Record)>> {
        self.shelf.parked()
    }

    /// Removes what was put aside, with its changes.
    pub fn discard_parked(&self, parked: &str) -> Result<()> {
        let _parked = self.shelf.lock_parked()?;
        let record = self.put_aside(parked)?;
        is_unserved(&record)?;
        remove_overlay(&record)?;
        self.shelf.unpark(parked)
    }

    /// The machine's own repository, made if it is not there: of volumes that name none.
    pub fn own_repository(&self) -> Result<PathBuf> {
        self.begin_repository("own")?;
        Ok(self.own.clone())
    }

    /// Where that is.
    pub fn own_path(&self) -> &Path {
        &self.own
    }

    /// All volumes, by name.
    pub fn list(&self) -> Result<Vec<Record>> {
        let mut all = Vec::new();
        for name in self.shelf.names()? {
            all.extend(self.shelf.find(&name)?);
        }
        Ok(all)
    }

    /// A volume, if there is one of that name.
    pub fn find(&self, name: &str) -> Result<Option<Record>> {
        self.shelf.find(name)
    }

    /// Where a volume is mounted, if it is.
    pub fn mounted(&self, name: &str) -> Option<PathBuf> {
        self.shelf.mounted(name).then(|| self.shelf.data(name))
    }

    /// The name of the volume that is mounted at a path.
    pub fn name_of(&self, at: &Path) -> Result<Option<String>> {
        Ok(self.list()?.into_iter().map(|record| record.name).find(|name| self.shelf.data(name) == at))
    }

    /// How a volume stands.
    pub fn state(&self, name: &str) -> Result<VolumeState> {
        let record = self.found(name)?;
        let at = self.shelf.data(name);
        let mounted = mounted_at(&at)?;
        let note = mounted.as_ref().and_then(|mounted| note(&self.run, mounted));
        let facts = mounted.as_ref().and_then(|mounted| self.facts(mounted));
        let kept = match &facts {
            Some(facts) => (facts.version.clone(), facts.changed > 0),
            None => kept(&record),
        };
        let users = self.shelf.users(name)?;
        Ok(VolumeState { record, at, note, facts, version: kept.0, changed: kept.1, users })
    }

    /// A name for a user that counts as long as the value lives, whoever sees the mount.
    pub fn present(&self, who: &str) -> Result<Present> {
        self.shelf.present(who)
    }

    /// Mounts a volume for somebody, if it is not, and tells where it is.
    pub fn mount(&self, name: &str, user: &str, now_secs: i64) -> Result<PathBuf> {
        let _lock = self.shelf.lock(name)?;
        let record = self.found(name)?;
        let at = self.stand(&record)?;
        let mut users = self.shelf.users(name)?;
        users.ids.retain(|(id, _)| id != user);
        users.ids.push((user.to_owned(), now_secs));
        self.shelf.put_users(name, &users)?;
        Ok(at)
    }

    /// Fails if a process does not see the mount of a volume, as if it is made in a mount namespace that hands nothing on. One
    /// that may not be looked at is taken to see it.
    pub fn is_seen(&self, name: &str, pid: u32) -> Result<()> {
        let Some(mounted) = mounted_at(&self.shelf.data(name))? else { return Ok(()) };
        if namespaces::has_mount(pid, mounted.device).unwrap_or(true) {
            return Ok(());
        }
        Err(VolumeError::Unseen(name.to_owned()).into())
    }

    /// The branch that a commit of a mounted volume goes to; `None`: the one that it stands on. A volume of an older version has a
    /// branch of its own.
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
        // A commit that ended before it could tell the mount moved the branch, and the next one goes on from there.
        let own = |tip: &Id| -> Result<bool> { Ok(Some(repo.commit_cached(tip)?.tree.to_string()) == facts.snapshot) };
        let next = match &tip {
            Some(tip) => Some(*tip) == version || own(tip)?,
            None => false,
        };
        Ok(if next { None } else { Some(RefName::new(name)?) })
    }

    /// Takes a user off. Returns whether he was the last.
    pub fn unmount(&self, name: &str, user: &str) -> Result<bool> {
        let _lock = self.shelf.lock(name)?;
        self.found(name)?;
        let mut users = self.shelf.users(name)?;
        users.ids.retain(|(id, _)| id != user);
        self.shelf.put_users(name, &users)?;
        Ok(users.ids.is_empty() && !users.held)
    }

    /// Ends the mount of a volume that nobody uses. Returns whether it is not mounted now.
    pub fn rest(&self, name: &str) -> Result<bool> {
        let _lock = self.shelf.lock(name)?;
        let users = self.shelf.users(name)?;
        if users.held || !users.ids.is_empty() || !self.seen_by(name).is_empty() {
            return Ok(false);
        }
        self.end(name)?;
        Ok(true)
    }

    /// Takes users off that were never taken back, as when Docker crashed. Returns whether somebody is left.
    pub fn settle(&self, name: &str, now_secs: i64) -> Result<bool> {
        let _lock = self.shelf.lock(name)?;
        let mut users = self.shelf.users(name)?;
        let before = users.clone();
        if !users.ids.is_empty() {
            let seen = !self.seen_by(name).is_empty();
            users.ids.retain(|(id, since)| {
                let present = self.shelf.is_present(id);
                present.unwrap_or_else(|| seen || now_secs.saturating_sub(*since) < FRESH)
            });
        }
        if users != before {
            self.shelf.put_users(name, &users)?;
        }
        Ok(users.held || !users.ids.is_empty())
    }

    /// Where a volume is; it stays mounted until it is removed.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let _lock = self.shelf.lock(name)?;
        let record = self.found(name)?;
        let at = self.stand(&record)?;
        let mut users = self.shelf.users(name)?;
        users.held = true;
        self.shelf.put_users(name, &users)?;
        Ok(at)
    }

    /// Mounts again what stays mounted.
    pub fn stand_held(&self, name: &str) -> Result<()> {
        let _lock = self.shelf.lock(name)?;
        if self.shelf.users(name)?.held {
            self.stand(&self.found(name)?)?;
        }
        Ok(())
    }

    /// Removes a volume that nobody uses. Changes that no version has are put aside, unless they are to be given up.
    pub fn remove(&self, name: &str, discard: bool, now_secs: i64) -> Result<Removed> {
        let _lock = self.shelf.lock(name)?;
        let record = self.found(name)?;
        self.is_free(name)?;
        self.end(name)?;
        is_unserved(&record)?;
        let cache_bytes = self.give_back(&record)?;
        let unpushed = self.keep_unpushed(&record, now_secs)?;
        let parked = match !discard && kept(&record).1 {
            true => {
                let _parked = self.shelf.lock_parked()?;
                Some(self.shelf.park(&record, now_secs)?)
            }
            false => {
                remove_overlay(&record)?;
                self.shelf.remove(name)?;
                None
            }
        };
        Ok(Removed { parked, cache_bytes, unpushed })
    }

    /// Gives a volume that nobody uses another name.
    pub fn rename(&self, name: &str, new: &str) -> Result<()> {
        // Two who rename crosswise take the locks in one order.
        let (first, second) = if name < new { (name, new) } else { (new, name) };
        let _locks = (self.shelf.lock(first)?, if first == second { None } else { Some(self.shelf.lock(second)?) });
        let record = self.found(name)?;
        if self.shelf.find(new)?.is_some() {
            return Err(VolumeError::Exists(new.to_owned()).into());
        }
        self.is_free(name)?;
        self.end(name)?;
        is_unserved(&record)?;
        self.shelf.rename(&record, new)
    }

    fn found(&self, name: &str) -> Result<Record> {
        Ok(self.shelf.find(name)?.ok_or_else(|| VolumeError::Missing(name.to_owned()))?)
    }

    /// Fails if somebody uses it; that it is held is no use.
    fn is_free(&self, name: &str) -> Result<()> {
        let users = self.shelf.users(name)?;
        let seen = self.seen_by(name);
        let lost = |since: i64| seen.is_empty() && clock::now().secs - since >= FRESH_TO_REMOVE;
        let uses = |(id, since): &&(String, i64)| self.shelf.is_present(id).unwrap_or_else(|| !lost(*since));
        let ids = users.ids.iter().filter(uses).count();
        if ids == 0 && seen.is_empty() {
            return Ok(());
        }
        let seen: Vec<_> = seen.iter().map(|pid| format!("process {pid}")).collect();
        let users = if seen.is_empty() { format!("{ids} containers") } else { seen.join(", ") };
        Err(VolumeError::InUse { name: name.to_owned(), users }.into())
    }

    /// Processes that see the mount elsewhere, one of each container.
    fn seen_by(&self, name: &str) -> Vec<u32> {
        let Ok(Some(mounted)) = mounted_at(&self.shelf.data(name)) else { return Vec::new() };
        namespaces::other_namespaces(mounted.device, Some(&mounted.at))
    }

    fn facts(&self, mounted: &Mounted) -> Option<MountFacts> {
        let mut client = MountClient::connect(&self.run, mounted).ok()?;
        client.set_timeout(PATIENCE);
        client.request(&ControlRequest::Facts).ok()
    }

    /// Mounts a volume if it is not. The caller has its lock.
    fn stand(&self, record: &Record) -> Result<PathBuf> {
        let at = self.shelf.data(&record.name);
        if self.shelf.mounted(&record.name) && !is_dead(&at) {
            return Ok(at);
        }
        if !self.shelf.mounted(&record.name) {
            create::dir_all(&at).map_err(IoError::at("create", &at))?;
        }
        // The last mount's process may still be about to end.
        is_unserved(record)?;
        let note = self.start(record, &at)?;
        if record.local.as_ref() != Some(&note.repository) {
            self.shelf.put(&Record { local: Some(note.repository), ..record.clone() })?;
        }
        Ok(at)
    }

    /// Ends the mount of a volume, if there is one. The caller has its lock.
    fn end(&self, name: &str) -> Result<()> {
        match self.shelf.mounted(name) {
            true => umount(&self.run, &self.shelf.data(name), UmountOptions::default(), &Silent),
            false => Ok(()),
        }
    }

    /// Keeps the versions of a volume of a repository elsewhere that are not pushed under a name of their own.
    fn keep_unpushed(&self, record: &Record, now_secs: i64) -> Result<Option<Unpushed>> {
        let (Some(local), Some(overlay)) = (&record.local, overlay_of(record)) else { return Ok(None) };
        let is_here = Location::parse(&record.repository, Path::new("/"))?.location.as_directory().is_some();
        if is_here || record.read_only {
            return Ok(None);
        }
        // What cannot be read is put aside with the volume.
        let Ok(Some(left)) = daemon::overlay_base(&overlay, &record.overlay) else { return Ok(None) };
        let Some(branch) = left.branch.as_deref().map(RefName::new).transpose()? else { return Ok(None) };
        let shared = |unpushed: &[Id]| -> Result<bool> {
            for other in self.list()? {
                let same = other.name != record.name && other.local.as_ref() == Some(local);
                let version = if same { self.state(&other.name)?.version } else { None };
                if version.as_deref().and_then(Id::parse).is_some_and(|id| unpushed.contains(&id)) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        keep_unpushed(local, &record.name, (left.version, &branch), now_secs, &shared)
    }

    /// Drops what the mounts of a volume fetched into the cache, if no other volume is of its repository. Returns the bytes.
    fn give_back(&self, record: &Record) -> Result<u64> {
        let (Some(local), Some(overlay)) = (&record.local, overlay_of(record)) else { return Ok(0) };
        let fetched = daemon::fetched(&overlay);
        let of_it = |other: &Record| other.name != record.name && other.local.as_ref() == Some(local);
        if fetched.is_empty() || self.list()?.iter().any(of_it) {
            return Ok(0);
        }
        let cache = BlockCache::new(self.cache.join("blocks"), u64::MAX);
        let before = cache.used_bytes().unwrap_or(0);
        fetched.iter().for_each(|(object, len)| cache.forget(object, *len));
        Ok(before.saturating_sub(cache.used_bytes().unwrap_or(0)))
    }
}

/// The mount of ours at a path.
fn mounted_at(at: &Path) -> Result<Option<Mounted>> {
    let all = mountinfo::ours().map_err(IoError::at("read", Path::new(mountinfo::TABLE)))?;
    Ok(all.into_iter().rev().find(|m| m.at == *at))
}

fn overlay_of(record: &Record) -> Option<PathBuf> {
    Some(record.local.as_ref()?.join(OVERLAYS).join(&record.overlay))
}

/// The version that the overlay of a volume that is not mounted stands on, and whether something differs from it. One that
/// cannot be read may have changes.
fn kept(record: &Record) -> (Option<String>, bool) {
    let Some(overlay) = overlay_of(record).filter(|_| !record.read_only) else { return (None, false) };
    match daemon::overlay_base(&overlay, &record.overlay) {
        Ok(Some(left)) => (Some(left.version.to_string()), left.changed),
        Ok(None) => (None, false),
        Err(_) => (None, true),
    }
}

/// Fails if a process serves the overlay of a volume. Its mount may be one that is not seen from here, as from a container
/// that shares the directory of the volumes and nothing else.
fn is_unserved(record: &Record) -> Result<()> {
    let Some(overlay) = overlay_of(record).filter(|_| !record.read_only) else { return Ok(()) };
    if daemon::is_still_served(&overlay)? {
        let users = "a mount that is not seen from here".to_owned();
        return Err(VolumeError::InUse { name: record.name.clone(), users }.into());
    }
    Ok(())
}

fn remove_overlay(record: &Record) -> Result<()> {
    let Some(overlay) = overlay_of(record) else { return Ok(()) };
    match std::fs::remove_dir_all(&overlay) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(IoError::new("remove", overlay, e).into()),
        _ => Ok(()),
    }
}
