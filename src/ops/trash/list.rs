//! Lists what is in the trash.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::TrashError;
use crate::context::Context;
use crate::error::{Error, Result, with_causes};
use crate::model::commit::Commit;
use crate::model::id::Id;
use crate::model::refname::RefName;
use crate::mount::daemon::{OverlayBase, overlay_base};
use crate::ops::checkout::{BASE, OVERLAY, WORKTREE, WORKTREE_HEX};
use crate::ops::forget::{TrashedVersion, trash as trashed_versions};
use crate::ops::mount::bytes_below;
use crate::ops::volume::{TrashedVolume, VolumeRecord, Volumes};
use crate::repo::local_trash::{LocalTrash, LocalTrashError, OverlayOwner, TrashedOverlay};
use crate::snapshot::overwritten::{OverwrittenFiles, overwritten_files};

/// The places to look in.
pub struct TrashScope<'a> {
    /// The repository of forgotten versions and files of worktrees.
    pub context: Option<&'a Context>,
    /// The repositories whose overlays and volumes are listed.
    pub repositories: Vec<PathBuf>,
    /// The volumes of this machine.
    pub volumes: Option<&'a Volumes>,
    /// How long a garbage collection keeps forgotten versions; `None` leaves them out.
    pub keep_versions: Option<Duration>,
    /// How long a garbage collection keeps everything else.
    pub keep_local: Duration,
}

/// Something in the trash.
#[derive(Clone, Debug)]
pub struct TrashEntry {
    pub id: String,
    /// When the entry was removed, in seconds since 1970, and nanoseconds.
    pub time: i64,
    pub nanos: u32,
    /// When a garbage collection may delete the entry, in seconds since 1970.
    pub until: i64,
    /// The bytes of the entry on disk, without what it shares with others.
    pub bytes: u64,
    pub item: TrashItem,
}

/// The content of an entry of the trash.
#[derive(Clone, Debug)]
pub enum TrashItem {
    /// A forgotten version.
    Version(TrashedVersion),
    /// Files of a worktree that a checkout has overwritten or removed.
    Files {
        /// The ref of the worktree's trash.
        worktree_ref: RefName,
        commit_id: Id,
        /// The path of the worktree; `None` if the commit does not name it.
        worktree: Option<PathBuf>,
        /// The version that the worktree was based on.
        base: Option<Id>,
        /// The overlay, if the worktree was a mount.
        overlay: Option<String>,
        /// The commit; `None` if it is damaged.
        commit: Option<Commit>,
    },
    /// The overlay of a mount.
    Overlay {
        repository: PathBuf,
        name: String,
        /// The base; `None` if the overlay was never mounted, or cannot be read.
        base: Option<OverlayBase>,
        /// Why the overlay cannot be read.
        damage: Option<String>,
    },
    /// A volume.
    Volume {
        /// The repository with its overlay, if known.
        repository: Option<PathBuf>,
        /// The name; part of the id if the record is damaged.
        name: String,
        /// The record; `None` if it is damaged.
        record: Option<VolumeRecord>,
        base: Option<OverlayBase>,
    },
}

impl TrashItem {
    /// Returns the kind as messages and JSON name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Version(_) => "version",
            Self::Files { .. } => "files",
            Self::Overlay { .. } => "overlay",
            Self::Volume { .. } => "volume",
        }
    }
}

/// The content of the trash.
#[derive(Debug, Default)]
pub struct TrashList {
    /// The entries, the last removed first.
    pub entries: Vec<TrashEntry>,
    /// Why some entries may be missing.
    pub problems: Vec<Error>,
}

/// The size of the trash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrashUse {
    pub entries: u64,
    pub bytes: u64,
    /// When the first entry may be deleted, in seconds since 1970.
    pub until: Option<i64>,
}

impl TrashList {
    /// Returns the size of all entries.
    pub fn size(&self) -> TrashUse {
        TrashUse {
            entries: self.entries.len() as u64,
            bytes: self.entries.iter().map(|entry| entry.bytes).sum(),
            until: self.entries.iter().map(|entry| entry.until).min(),
        }
    }

    fn add<T>(&mut self, part: Result<T>) -> Option<T> {
        part.map_err(|e| self.problems.push(e)).ok()
    }
}

fn until(time: i64, keep: Duration) -> i64 {
    time.saturating_add_unsigned(keep.as_secs())
}

/// Lists the trash.
pub fn list(scope: &TrashScope<'_>) -> TrashList {
    let mut all = TrashList::default();
    if let Some(context) = scope.context {
        if let Some(keep) = scope.keep_versions {
            let versions = all.add(trashed_versions(context)).unwrap_or_default();
            all.entries
                .extend(versions.into_iter().map(|version| TrashEntry {
                    id: version.name.clone(),
                    time: version.time,
                    nanos: 0,
                    until: until(version.time, keep),
                    bytes: version.stored_bytes,
                    item: TrashItem::Version(version),
                }));
        }
        if context.remote_repository.is_none() {
            let files = context.repo().and_then(|repo| overwritten_files(&repo));
            for files in all.add(files).unwrap_or_default() {
                all.entries.push(files_entry(files, scope));
            }
        }
    }
    let volumes = match scope.volumes {
        Some(volumes) => all.add(volumes.trash()).unwrap_or_default(),
        None => Vec::new(),
    };
    let mut volumes: BTreeMap<String, TrashedVolume> = volumes
        .into_iter()
        .map(|volume| (volume.id.clone(), volume))
        .collect();
    let records = volumes.values().filter_map(|volume| volume.record.as_ref());
    let repositories: BTreeSet<PathBuf> = scope
        .repositories
        .iter()
        .cloned()
        .chain(records.filter_map(|record| record.local.clone()))
        .map(|path| path.canonicalize().unwrap_or(path))
        .collect();
    for repository in repositories {
        let overlays = LocalTrash::of(&repository).list();
        for overlay in all.add(overlays).unwrap_or_default() {
            let volume = volumes.remove(&overlay.id);
            all.entries
                .push(overlay_entry(&repository, overlay, volume, scope));
        }
    }
    // Volumes whose repository cannot be read now, or whose overlay was not moved yet.
    for volume in volumes.into_values() {
        let unmoved = scope.volumes.and_then(|volumes| volumes.unmoved(&volume));
        all.problems.extend(unmoved);
        all.entries.push(volume_entry(volume, scope));
    }
    all.entries
        .sort_by(|a, b| (b.time, b.nanos, &a.id).cmp(&(a.time, a.nanos, &b.id)));
    all
}

fn files_entry(files: OverwrittenFiles, scope: &TrashScope<'_>) -> TrashEntry {
    let commit = files.commit.ok();
    let trailer = |key: &str| {
        let trailers = &commit.as_ref()?.trailers;
        let found = trailers.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    };
    let exact = trailer(WORKTREE_HEX).and_then(bytes_of_hex);
    let worktree = match exact {
        Some(bytes) => Some(PathBuf::from(std::ffi::OsString::from_vec(bytes))),
        None => trailer(WORKTREE).map(PathBuf::from),
    };
    let base = trailer(BASE).and_then(Id::parse);
    let overlay = trailer(OVERLAY).map(str::to_owned);
    let time = commit.as_ref().map_or(0, |commit| commit.time.secs);
    TrashEntry {
        id: files.id.short(),
        time,
        nanos: commit.as_ref().map_or(0, |commit| commit.time.nanos),
        until: until(time, scope.keep_local),
        bytes: commit.as_ref().map_or(0, |c| c.counts.stored_bytes),
        item: TrashItem::Files {
            worktree_ref: files.worktree,
            commit_id: files.id,
            worktree,
            base,
            overlay,
            commit,
        },
    }
}

fn bytes_of_hex(hex: &str) -> Option<Vec<u8>> {
    let digit = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn overlay_entry(
    repository: &Path,
    overlay: TrashedOverlay,
    volume: Option<TrashedVolume>,
    scope: &TrashScope<'_>,
) -> TrashEntry {
    let name = overlay.name().to_owned();
    let (base, damage) = match overlay_base(&overlay.dir, &name) {
        Ok(base) => (base, None),
        Err(e) => (None, Some(with_causes(&e))),
    };
    let note = overlay.note.as_ref();
    let is_volume = volume.is_some() || note.is_some_and(|n| n.owner == OverlayOwner::Volume);
    let item = if is_volume {
        let copy = || {
            let record = serde_json::from_value(note?.volume.clone()?).ok();
            record.filter(|record: &VolumeRecord| record.overlay == name)
        };
        let record = volume.and_then(|volume| volume.record).or_else(copy);
        TrashItem::Volume {
            repository: Some(repository.to_owned()),
            name: record.as_ref().map_or(name, |record| record.name.clone()),
            record,
            base,
        }
    } else {
        TrashItem::Overlay {
            repository: repository.to_owned(),
            name,
            base,
            damage,
        }
    };
    TrashEntry {
        time: overlay.time,
        nanos: note.map_or(0, |note| note.nanos),
        until: until(overlay.time, scope.keep_local),
        bytes: bytes_below(&overlay.dir),
        id: overlay.id,
        item,
    }
}

fn volume_entry(volume: TrashedVolume, scope: &TrashScope<'_>) -> TrashEntry {
    let TrashedVolume { id, record } = volume;
    let time = crate::repo::local_trash::time_of(&id).unwrap_or(0);
    let dir = record
        .as_ref()
        .and_then(|record| scope.volumes?.trashed_overlay(&id, record));
    let base = match (&dir, &record) {
        (Some(dir), Some(record)) => overlay_base(dir, &record.overlay).ok().flatten(),
        _ => None,
    };
    let by_id = || id.split_once('-').map_or(&*id, |(_, name)| name).to_owned();
    TrashEntry {
        time,
        nanos: 0,
        until: until(time, scope.keep_local),
        bytes: dir.as_deref().map_or(0, bytes_below),
        item: TrashItem::Volume {
            repository: record.as_ref().and_then(|record| record.local.clone()),
            name: record.as_ref().map_or_else(by_id, |r| r.name.clone()),
            base,
            record,
        },
        id,
    }
}

/// Minimum length of an abbreviated id.
const PREFIX_MIN: usize = 4;

/// Returns the entry that a user names: by its id, by the id of its commit, or by the start of
/// either.
pub fn find<'l>(list: &'l TrashList, id: &str) -> Result<&'l TrashEntry> {
    let starts = |entry: &&TrashEntry| {
        let hex = match &entry.item {
            TrashItem::Version(version) => Some(version.id),
            TrashItem::Files { commit_id, .. } => Some(*commit_id),
            _ => None,
        };
        let is_hex = |hex: Id| hex.to_string().starts_with(&id.to_ascii_lowercase());
        match hex {
            Some(hex) => id.len() >= PREFIX_MIN && is_hex(hex),
            None => id.len() >= PREFIX_MIN && entry.id.starts_with(id),
        }
    };
    let exact: Vec<&TrashEntry> = list.entries.iter().filter(|e| e.id == id).collect();
    let found = if exact.is_empty() {
        list.entries.iter().filter(starts).collect()
    } else {
        exact
    };
    let shown = |entry: &&TrashEntry| match &entry.item {
        TrashItem::Overlay { repository, .. } => {
            format!("{} in `{}`", entry.id, repository.display())
        }
        _ => entry.id.clone(),
    };
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(LocalTrashError::Missing(id.to_owned()).into()),
        many => Err(TrashError::Ambiguous {
            id: id.to_owned(),
            entries: many.iter().map(shown).collect(),
        }
        .into()),
    }
}
