//! The local trash of a repository: overlays that a command has removed, below `trash-local/`.
//!
//! One rename moves an overlay to the trash or out of it, so after a crash the overlay is in
//! exactly one of the two places. All renames, and the listing of a garbage collection, hold the
//! lock of the directory. A deletion also begins with a rename, so that no partly deleted overlay
//! is ever listed.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layout;
use crate::error::{Failure, Kind, Result};
use crate::model::when::{compact_utc, parse_compact_utc};
use crate::sys::clock;
use crate::sys::create;
use crate::sys::io_error::IoError;

/// The file that describes an overlay in the trash, in the directory of the overlay.
const NOTE: &str = "trash.json";
/// The prefix of directories that are being deleted.
const DELETING: &str = ".deleting-";
/// Limit on the bytes of a description.
const NOTE_MAX: u64 = 1 << 20;
/// Limit on the part of an id that comes from a name.
const NAME_MAX: usize = 100;

/// The former use of an overlay in the trash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverlayOwner {
    /// A mount.
    Mount,
    /// A volume.
    Volume,
}

/// The description of an overlay in the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashNote {
    /// The version of this format, 1.
    pub schema: u32,
    pub owner: OverlayOwner,
    /// The name of the overlay.
    pub overlay: String,
    /// When the overlay was removed, in seconds since 1970.
    pub time: i64,
    #[serde(default)]
    pub nanos: u32,
    /// The record of the volume.
    #[serde(default)]
    pub volume: Option<serde_json::Value>,
}

/// An overlay in the trash.
#[derive(Clone, Debug)]
pub struct TrashedOverlay {
    pub id: String,
    /// The directory of the overlay.
    pub dir: PathBuf,
    /// When the overlay was removed, in seconds since 1970.
    pub time: i64,
    /// The description; `None` if it was not written, or cannot be read.
    pub note: Option<TrashNote>,
}

impl TrashedOverlay {
    /// Returns the name of the overlay. Without a description, it is part of the id.
    pub fn name(&self) -> &str {
        match &self.note {
            Some(note) => &note.overlay,
            None => self.id.split_once('-').map_or(&self.id, |(_, name)| name),
        }
    }
}

/// Errors of the local trash.
#[derive(Debug, thiserror::Error)]
pub enum LocalTrashError {
    #[error("no entry `{0}` in the trash")]
    Missing(String),
    #[error("there is already an overlay `{name}` in `{}`", repository.display())]
    Exists { name: String, repository: PathBuf },
}

impl Failure for LocalTrashError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing(_) => Kind::NotFound,
            Self::Exists { .. } => Kind::Rejected,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing(_) => "run `dvc trash` to list the trash".to_owned(),
            Self::Exists { name, .. } => format!(
                "mount it with `--name {name}` and commit it, or run `dvc umount --discard {name}`; then try again"
            ),
        })
    }
}

/// The local trash of a repository.
#[derive(Clone, Debug)]
pub struct LocalTrash {
    dir: PathBuf,
}

/// The lock of a local trash. It is released when the value is dropped.
pub struct TrashLock(#[expect(dead_code, reason = "the file holds the lock")] File);

impl LocalTrash {
    /// Returns the trash of the repository in a directory.
    pub fn of(repository: &Path) -> Self {
        Self {
            dir: repository.join(layout::TRASH_LOCAL),
        }
    }

    /// Returns the directory of all overlays in the trash.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the directory of an overlay in the trash.
    pub fn path(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }

    /// Locks the trash; `None` if the directory does not exist, because nothing was ever in it.
    pub fn lock(&self) -> Result<Option<TrashLock>> {
        let dir = match File::open(&self.dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            dir => dir.map_err(IoError::at("open", &self.dir))?,
        };
        dir.lock().map_err(IoError::at("lock", &self.dir))?;
        Ok(Some(TrashLock(dir)))
    }

    fn lock_to_add(&self) -> Result<TrashLock> {
        loop {
            create::dir_all(&self.dir).map_err(IoError::at("create", &self.dir))?;
            if let Some(lock) = self.lock()? {
                return Ok(lock);
            }
        }
    }

    /// Moves the directory of an overlay, which no process uses, to the trash. `id` is chosen from
    /// the time and the name if it is not given. Returns the id.
    pub fn put(&self, overlay: &Path, note: &TrashNote, id: Option<&str>) -> Result<String> {
        let _lock = self.lock_to_add()?;
        // The description is only a help: without it, the id and the overlay itself have what is
        // needed. A full disk must not keep a user from discarding changes.
        if write_note(overlay, note).is_err() {
            // An older description has the time of an earlier removal.
            drop(fs::remove_file(overlay.join(NOTE)));
        }
        let (stamp, mut time) = (id.map(str::to_owned), note.time);
        loop {
            let id = stamp
                .clone()
                .unwrap_or_else(|| entry_id(time, &note.overlay));
            match fs::rename(overlay, self.path(&id)) {
                // An overlay is never empty, so a rename never replaces one.
                Err(e)
                    if stamp.is_none()
                        && matches!(
                            e.kind(),
                            ErrorKind::DirectoryNotEmpty
                                | ErrorKind::AlreadyExists
                                | ErrorKind::NotADirectory
                        ) =>
                {
                    time += 1;
                }
                moved => {
                    moved.map_err(IoError::at("move to the trash", overlay))?;
                    sync_dir(&self.dir)?;
                    sync_dir(overlay.parent().unwrap_or(overlay))?;
                    return Ok(id);
                }
            }
        }
    }

    /// Returns the overlays in the trash, sorted by id. Entries without a readable description are
    /// included.
    pub fn list(&self) -> Result<Vec<TrashedOverlay>> {
        let entries = match fs::read_dir(&self.dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(IoError::at("list", &self.dir))?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.map_err(IoError::at("list", &self.dir))?;
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let name = entry.file_name().into_string().ok();
            if let Some(id) = name.filter(|id| is_dir && !id.starts_with('.')) {
                all.push(self.entry(id));
            }
        }
        all.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(all)
    }

    fn entry(&self, id: String) -> TrashedOverlay {
        let dir = self.path(&id);
        let note = read_note(&dir);
        let by_id = || time_of(&id);
        let by_file = || fs::metadata(&dir).map_or(0, |meta| meta.ctime());
        let time = note.as_ref().map(|note| note.time);
        TrashedOverlay {
            time: time.or_else(by_id).unwrap_or_else(by_file),
            id,
            dir,
            note,
        }
    }

    /// Returns an entry.
    pub fn find(&self, id: &str) -> Result<Option<TrashedOverlay>> {
        Ok(self.list()?.into_iter().find(|entry| entry.id == id))
    }

    /// Moves an overlay out of the trash to the directory `to`, which must not exist.
    pub fn take_out(&self, id: &str, to: &Path) -> Result<()> {
        let _lock = self.lock()?;
        let entry = self
            .find(id)?
            .ok_or_else(|| LocalTrashError::Missing(id.to_owned()))?;
        let above = to.parent().unwrap_or(to);
        create::dir_all(above).map_err(IoError::at("create", above))?;
        if to.symlink_metadata().is_ok() {
            return Err(LocalTrashError::Exists {
                name: to
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                repository: self.dir.parent().unwrap_or(&self.dir).to_owned(),
            }
            .into());
        }
        fs::rename(&entry.dir, to).map_err(IoError::at("restore", &entry.dir))?;
        sync_dir(above)?;
        sync_dir(&self.dir)?;
        // The description has no meaning outside of the trash.
        drop(fs::remove_file(to.join(NOTE)));
        Ok(())
    }

    /// Deletes an overlay in the trash. Returns false if there is none of this id.
    pub fn delete(&self, id: &str) -> Result<bool> {
        let gone = self.dir.join(format!("{DELETING}{id}"));
        {
            let _lock = self.lock()?;
            self.ensure_deletable(id)?;
            match fs::rename(self.path(id), &gone) {
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists
                    ) =>
                {
                    remove_all(&gone)?;
                    fs::rename(self.path(id), &gone).map_err(IoError::at("remove", &gone))?;
                }
                moved => moved.map_err(IoError::at("remove", &self.path(id)))?,
            }
        }
        remove_all(&gone)?;
        Ok(true)
    }

    /// Deletes the directory of an overlay, which no process uses, without an entry in the trash. It
    /// loses its name first, so that no mount finds a partly deleted overlay.
    pub fn delete_overlay(&self, overlay: &Path, name: &str) -> Result<()> {
        let id = entry_id(clock::now().secs, name);
        let gone = self.dir.join(format!("{DELETING}{id}"));
        let moved = self.lock_to_add().and_then(|_lock| {
            Ok(fs::rename(overlay, &gone).map_err(IoError::at("remove", overlay))?)
        });
        // A full disk, or a trash on another file system, must not keep a user from discarding changes.
        remove_all(if moved.is_ok() { &gone } else { overlay })
    }

    /// Fails if the overlay belongs to another user. The rename would succeed in a shared repository,
    /// but not the deletion, and the owner could not restore the overlay any more.
    fn ensure_deletable(&self, id: &str) -> Result<()> {
        let path = self.path(id);
        let me = rustix::process::geteuid();
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.uid() != me.as_raw() && !me.is_root() => {
                let e = io::Error::from(ErrorKind::PermissionDenied);
                Err(IoError::new("remove", path, e).into())
            }
            _ => Ok(()),
        }
    }

    /// Deletes what an interrupted deletion has left. Errors are ignored, because the next call
    /// tries again.
    pub fn sweep(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(DELETING) {
                drop(fs::remove_dir_all(entry.path()));
            }
        }
    }
}

/// Returns the id of an entry: the time in UTC and the name, with other characters than letters,
/// digits, `.`, `_` and `-` replaced, so that an id can be typed.
pub fn entry_id(secs: i64, name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = name
        .chars()
        .take(NAME_MAX)
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    format!("{}-{name}", compact_utc(secs))
}

/// Returns the time in an id, in seconds since 1970.
pub fn time_of(id: &str) -> Option<i64> {
    parse_compact_utc(id.split_once('-')?.0)
}

/// Reads the description of an entry. A file that is too long is ignored, because another user of
/// the repository may have written it.
fn read_note(overlay: &Path) -> Option<TrashNote> {
    let mut bytes = Vec::new();
    let file = File::open(overlay.join(NOTE)).ok()?;
    file.take(NOTE_MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn write_note(overlay: &Path, note: &TrashNote) -> io::Result<()> {
    create::replace(&overlay.join(NOTE), &serde_json::to_vec_pretty(note)?)
}

fn sync_dir(dir: &Path) -> Result<()> {
    Ok(create::sync_dir(dir).map_err(IoError::at("sync", dir))?)
}

fn remove_all(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        removed => Ok(removed.map_err(IoError::at("remove", dir))?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(overlay: &str, time: i64) -> TrashNote {
        TrashNote {
            schema: 1,
            owner: OverlayOwner::Mount,
            overlay: overlay.to_owned(),
            time,
            nanos: 0,
            volume: None,
        }
    }

    fn overlay(repository: &Path, name: &str) -> PathBuf {
        let dir = repository.join("overlays").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("overlay.db"), name).unwrap();
        dir
    }

    #[test]
    fn ids_have_the_time_and_the_name() {
        for (secs, stamp) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_796_036_885, "20261130T110805Z"),
            (-5, "19700101T000000Z"),
            (i64::MAX, "99991230T220000Z"),
        ] {
            let id = entry_id(secs, "a b/\u{202e}ü-.x");
            assert_eq!(id, format!("{stamp}-a_b___-.x"));
            assert_eq!(time_of(&id), Some(secs.clamp(0, 253_402_207_200)));
        }
        assert_eq!(entry_id(0, &"x".repeat(300)).len(), 117);
        for other in ["", "x", "db@17", "2026-x", "20261130T11080xZ-x", "ü-x"] {
            assert_eq!(time_of(other), None, "{other}");
        }
    }

    #[test]
    fn overlays_go_in_and_come_out_whole() {
        let dir = tempfile::tempdir().unwrap();
        let trash = LocalTrash::of(dir.path());
        assert!(trash.list().unwrap().is_empty() && trash.lock().unwrap().is_none());
        // Overlays of one name within one second are separate entries.
        let ids: Vec<String> = (0..3)
            .map(|_| {
                trash
                    .put(&overlay(dir.path(), "db"), &note("db", 86_400), None)
                    .unwrap()
            })
            .collect();
        let listed = trash.list().unwrap();
        assert_eq!(listed.iter().map(|e| e.id.clone()).collect::<Vec<_>>(), ids);
        assert!(listed.iter().all(|e| e.name() == "db" && e.time == 86_400));
        // Without its description, an entry keeps its name and its time.
        fs::remove_file(listed[1].dir.join(NOTE)).unwrap();
        let bare = trash.find(&ids[1]).unwrap().unwrap();
        assert_eq!((bare.name(), bare.time), ("db", 86_401));
        let home = dir.path().join("overlays/db");
        trash.take_out(&ids[0], &home).unwrap();
        assert!(home.join("overlay.db").exists() && !home.join(NOTE).exists());
        let taken = trash.take_out(&ids[1], &home).unwrap_err();
        assert_eq!(taken.kind(), Kind::Rejected);
        assert_eq!(
            trash.take_out("none", &home).unwrap_err().kind(),
            Kind::NotFound
        );
        assert!(trash.delete(&ids[1]).unwrap() && !trash.delete(&ids[1]).unwrap());
        // A deletion that was interrupted is not listed, and the next one finishes it.
        fs::rename(
            trash.path(&ids[2]),
            trash.dir().join(format!("{DELETING}x")),
        )
        .unwrap();
        assert!(trash.list().unwrap().is_empty());
        trash.sweep();
        assert_eq!(fs::read_dir(trash.dir()).unwrap().count(), 0);
    }
}
