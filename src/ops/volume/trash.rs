//! Volumes in the trash. The record of such a volume is in the trash of the volumes, its overlay in
//! the trash of its repository, both under one id.
//!
//! The rename of the record decides: a crash before it leaves the volume as it was, and a crash after
//! it leaves the volume in the trash. [`Volumes::settle_trash`] then moves the overlay.

use std::path::{Path, PathBuf};

use super::error::VolumeError;
use super::record::{TrashedVolume, VolumeRecord};
use super::{Volumes, ensure_unserved, overlay_of, remove_overlay};
use crate::error::{Error, Result};
use crate::mount::overlay::OverlayDb;
use crate::repo::Repo;
use crate::repo::local_trash::{
    LocalTrash, LocalTrashError, OverlayOwner, TrashNote, entry_id, time_of,
};
use crate::sys::clock;

/// The last nanosecond of a second. An entry whose overlay was moved later than its id says counts as
/// made at the end of that second.
const NANOS_MAX: u32 = 999_999_999;

/// The overlay of a volume in the trash.
struct OverlayPlaces {
    trash: LocalTrash,
    /// The directory that the overlay has outside of the trash.
    home: PathBuf,
}

impl OverlayPlaces {
    fn of(record: &VolumeRecord) -> Option<Self> {
        Some(Self {
            trash: LocalTrash::of(record.local.as_ref()?),
            home: overlay_of(record)?,
        })
    }
}

impl Volumes {
    /// Moves a volume with uncommitted changes to the trash. Returns its id there.
    pub(super) fn move_to_trash(&self, record: &VolumeRecord, now_secs: i64) -> Result<String> {
        let _trash = self.registry.lock_trash()?;
        let places = OverlayPlaces::of(record);
        let is_used = |id: &str| {
            let has_overlay = |places: &OverlayPlaces| places.trash.path(id).exists();
            self.registry.is_in_trash(id) || places.as_ref().is_some_and(has_overlay)
        };
        let id = (now_secs..)
            .map(|secs| entry_id(secs, &record.name))
            .find(|id| !is_used(id))
            .unwrap_or_else(|| entry_id(now_secs, &record.name));
        self.registry.move_to_trash(record, &id)?;
        // The volume is in the trash now. If its overlay cannot be moved, it stays where it is, and
        // later commands try again.
        drop(move_overlay(record, &id));
        Ok(id)
    }

    /// Completes what an interrupted command has left: moves overlays of volumes that are in the
    /// trash, and removes the records of those whose overlay a garbage collection has deleted.
    /// An error leaves an entry as it is.
    fn settle_trash(&self) -> Result<()> {
        for TrashedVolume { id, record } in self.registry.trash()? {
            let Some((record, places)) = record.and_then(|r| OverlayPlaces::of(&r).map(|p| (r, p)))
            else {
                continue;
            };
            let is_there = |dir: &Path| dir.symlink_metadata().is_ok();
            if is_there(&places.home) {
                drop(move_overlay(&record, &id));
            } else if !is_there(&places.trash.path(&id))
                && record.local.as_deref().is_some_and(Repo::is_at)
            {
                drop(self.registry.delete_from_trash(&id));
            }
        }
        Ok(())
    }

    /// Returns the volumes in the trash.
    pub fn trash(&self) -> Result<Vec<TrashedVolume>> {
        let all = self.registry.trash()?;
        if all.is_empty() {
            return Ok(all);
        }
        // Another user may be allowed to list the trash, but not to change it.
        match self.registry.lock_trash() {
            Ok(_trash) => self.settle_trash()?,
            Err(_) => return Ok(all),
        }
        self.registry.trash()
    }

    /// Returns why the overlay of a volume whose record is in the trash cannot be moved there.
    pub fn unmoved(&self, volume: &TrashedVolume) -> Option<Error> {
        let record = volume.record.as_ref()?;
        let _trash = self.registry.lock_trash().ok()?;
        // Another process may have restored the volume in the meantime.
        let is_there = self.registry.is_in_trash(&volume.id);
        is_there.then(|| move_overlay(record, &volume.id).err())?
    }

    /// Returns the directory of the overlay of a volume in the trash.
    pub fn trashed_overlay(&self, id: &str, record: &VolumeRecord) -> Option<PathBuf> {
        let places = OverlayPlaces::of(record)?;
        let in_trash = places.trash.path(id);
        Some(if in_trash.exists() {
            in_trash
        } else {
            places.home
        })
    }

    /// Restores a volume from the trash, under its own or another name. `copy` is the record in the
    /// trash of the repository, which counts if the record of the volumes is missing or damaged.
    /// Returns the record.
    pub fn restore(
        &self,
        id: &str,
        name: Option<&str>,
        copy: Option<&VolumeRecord>,
    ) -> Result<VolumeRecord> {
        let record = self.trashed(id, copy)?;
        let name = name.unwrap_or(&record.name).to_owned();
        let _lock = self.registry.lock(&name)?;
        let _trash = self.registry.lock_trash()?;
        // Another process may have restored or deleted it in the meantime.
        let record = VolumeRecord {
            name: name.clone(),
            ..self.trashed(id, copy)?
        };
        if self.registry.find(&name)?.is_some() {
            let id = id.to_owned();
            return Err(VolumeError::InTheWay { name, id }.into());
        }
        if let Some(places) = OverlayPlaces::of(&record) {
            if places.trash.path(id).exists() {
                self.registry.put_in_trash(id, &record)?;
                places.trash.take_out(id, &places.home)?;
            } else if !places.home.exists() {
                let repository = record.local.unwrap_or_default();
                return Err(VolumeError::Gone { name, repository }.into());
            }
        }
        self.registry.restore(id, &record)?;
        Ok(record)
    }

    fn trashed(&self, id: &str, copy: Option<&VolumeRecord>) -> Result<VolumeRecord> {
        let found = self
            .registry
            .trash()?
            .into_iter()
            .find(|found| found.id == id);
        match (found.map(|found| found.record), copy) {
            (Some(Some(record)), _) => Ok(record),
            // Another user of the repository may have written the copy.
            (_, Some(copy)) if is_overlay_name(&copy.overlay) => Ok(copy.clone()),
            (_, Some(_)) => Err(VolumeError::DamagedInTrash(id.to_owned()).into()),
            (Some(None), None) => Err(VolumeError::DamagedInTrash(id.to_owned()).into()),
            (None, None) => Err(LocalTrashError::Missing(id.to_owned()).into()),
        }
    }

    /// Deletes a volume in the trash, with its changes.
    pub fn delete_from_trash(&self, id: &str) -> Result<()> {
        let _trash = self.registry.lock_trash()?;
        let found = self
            .registry
            .trash()?
            .into_iter()
            .find(|found| found.id == id);
        let found = found.ok_or_else(|| LocalTrashError::Missing(id.to_owned()))?;
        if let Some(record) = &found.record
            && let Some(places) = OverlayPlaces::of(record)
        {
            if places.home.exists() {
                ensure_unserved(record)?;
                remove_overlay(record)?;
            }
            places.trash.delete(id)?;
        }
        self.registry.delete_from_trash(id)
    }
}

/// Returns whether a name stays in the directory of overlays.
fn is_overlay_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains('/')
}

/// Moves the overlay of a volume whose record is in the trash.
fn move_overlay(record: &VolumeRecord, id: &str) -> Result<()> {
    let Some(places) = OverlayPlaces::of(record).filter(|places| places.home.exists()) else {
        return Ok(());
    };
    let _lock = OverlayDb::lock(&places.home, &record.overlay)?;
    let (now, time) = (clock::now(), time_of(id).unwrap_or(0));
    let note = TrashNote {
        schema: 1,
        owner: OverlayOwner::Volume,
        overlay: record.overlay.clone(),
        time,
        nanos: if now.secs == time {
            now.nanos
        } else {
            NANOS_MAX
        },
        volume: serde_json::to_value(record).ok(),
    };
    places.trash.put(&places.home, &note, Some(id)).map(drop)
}
