//! Lists, removes and salvages the overlays of a repository.
//!
//! The list includes overlays that are mounted, and overlays that cannot be read. Only [`discard`]
//! removes data, and moves changes to the trash.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::options::OVERLAYS;
use crate::error::{Failure, Kind, Result, with_causes};
use crate::mount::daemon;
use crate::mount::file::{UPPER_DIR, UpperFile, UpperFiles};
use crate::mount::overlay::{OverlayDb, salvaged_files};
use crate::sys::io_error::IoError;

/// An overlay of a repository.
#[derive(Clone, Debug)]
pub struct Overlay {
    pub name: String,
    /// The directory of the overlay.
    pub dir: PathBuf,
    /// The bytes that the overlay uses on disk.
    pub bytes: u64,
    /// The time of the last use, in seconds since 1970.
    pub used_secs: i64,
    pub state: OverlayState,
}

/// The state of an overlay.
#[derive(Clone, Debug)]
pub enum OverlayState {
    /// A process serves the overlay.
    Mounted,
    /// The overlay was never mounted.
    Empty,
    /// The overlay is based on a version.
    Left(daemon::OverlayBase),
    /// The overlay cannot be read, for this reason.
    Damaged(String),
}

/// Errors of operations on overlays.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// The repository has no overlay of the name.
    #[error("no overlay `{name}` in `{}`", repository.display())]
    Missing { name: String, repository: PathBuf },
    /// A process serves the overlay.
    #[error("cannot access the files of the overlay `{0}`: it is mounted")]
    Mounted(String),
    /// The overlay belongs to a volume.
    #[error("cannot remove the overlay `{name}`: it belongs to the volume `{volume}`")]
    OfVolume { name: String, volume: String },
    /// Several repositories have an overlay of the name.
    #[error("the overlay name `{name}` is ambiguous: several repositories have one: {}", repositories.join(", "))]
    Several {
        name: String,
        repositories: Vec<String>,
    },
    /// The target directory of the copies is not empty.
    #[error("cannot copy the overlay's files to `{}`: the directory is not empty", .0.display())]
    Filled(PathBuf),
}

impl Failure for OverlayError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing { .. } => Kind::NotFound,
            Self::Mounted(_) => Kind::Busy,
            Self::Filled(_) | Self::OfVolume { .. } | Self::Several { .. } => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => {
                Some("run `dvc mount --overlays` to list the overlays".to_owned())
            }
            Self::Mounted(_) => Some(
                "run `dvc umount DIR` first, or `dvc umount --discard DIR` to remove the overlay too".to_owned(),
            ),
            Self::OfVolume { volume, .. } => {
                Some(format!("run `dvc volume rm {volume}` to remove both"))
            }
            Self::Several { .. } => Some("select a repository with `--repo`".to_owned()),
            Self::Filled(_) => Some("specify a new or empty directory".to_owned()),
        }
    }
}

/// Returns all overlays of a repository, sorted by name.
pub fn overlays(repository: &Path) -> Result<Vec<Overlay>> {
    let dir = repository.join(OVERLAYS);
    let entries = match fs::read_dir(&dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(IoError::at("list", &dir))?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let dir = entry.map_err(IoError::at("list", &dir))?.path();
        if let Some(name) = dir
            .file_name()
            .and_then(|name| name.to_str())
            .filter(|_| dir.is_dir())
        {
            all.push(overlay_at(name.to_owned(), dir.clone()));
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn overlay_at(name: String, dir: PathBuf) -> Overlay {
    let state = match OverlayDb::is_locked(&dir) {
        Ok(true) => OverlayState::Mounted,
        _ => match daemon::overlay_base(&dir, &name) {
            Ok(Some(left)) => OverlayState::Left(left),
            Ok(None) => OverlayState::Empty,
            Err(e) => OverlayState::Damaged(with_causes(&e)),
        },
    };
    // The first file that exists shows the time of the last use.
    let used_secs = ["overlay.db", "log", ""]
        .iter()
        .find_map(|file| fs::metadata(dir.join(file)).ok());
    let (bytes, used_secs) = (bytes_below(&dir), used_secs.map_or(0, |file| file.mtime()));
    Overlay {
        name,
        dir,
        bytes,
        used_secs,
        state,
    }
}

pub(in crate::ops) fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.fold(0, |sum, entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => sum + bytes_below(&entry.path()),
        // The files of overlays are sparse, so count their blocks of 512 bytes.
        Ok(meta) => sum + meta.blocks() * 512,
        Err(_) => sum,
    })
}

/// Returns the directory of an overlay that no process serves.
fn unmounted(repository: &Path, name: &str) -> Result<PathBuf> {
    let dir = repository.join(OVERLAYS).join(name);
    // The name becomes part of a path, so it must be a single component.
    let is_name = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    if !is_name || !dir.is_dir() {
        return Err(OverlayError::Missing {
            name: name.to_owned(),
            repository: repository.to_path_buf(),
        }
        .into());
    }
    if daemon::is_still_served(&dir)? {
        return Err(OverlayError::Mounted(name.to_owned()).into());
    }
    Ok(dir)
}

/// Returns whether a repository has an overlay of the name.
pub fn has_overlay(repository: &Path, name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && repository.join(OVERLAYS).join(name).is_dir()
}

/// The effect of a discard on the changes of an overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    /// The changes are moved to the trash.
    ToTrash,
    /// The changes are deleted.
    Delete,
}

/// Removes an overlay that is not mounted. Returns its id in the trash; `None` if it has no changes,
/// or they are deleted.
pub fn discard(repository: &Path, name: &str, how: Discard) -> Result<Option<String>> {
    let dir = unmounted(repository, name)?;
    match how {
        Discard::ToTrash => daemon::discard_overlay(repository, &dir, name),
        Discard::Delete => daemon::delete_overlay(repository, &dir, name).map(|()| None),
    }
}

/// Checks that [`discard`] would remove an overlay.
pub fn ensure_discardable(repository: &Path, name: &str) -> Result<()> {
    unmounted(repository, name).map(drop)
}

/// A file that was copied out of an overlay.
#[derive(Clone, Debug)]
pub struct Salvaged {
    /// The path of the copy.
    pub at: PathBuf,
    /// The length in bytes.
    pub bytes: u64,
    /// Whether the copy is complete. Otherwise, blocks that only the version has are zeros. `None`
    /// if this is unknown.
    pub whole: Option<bool>,
}

/// Copies the files of an overlay that is not mounted into a new or empty directory. A file whose
/// name cannot be read is copied to `unnamed`, with its number as its name.
pub fn salvage(repository: &Path, name: &str, into: &Path) -> Result<Vec<Salvaged>> {
    let dir = unmounted(repository, name)?;
    fs::create_dir_all(into).map_err(IoError::at("create", into))?;
    if fs::read_dir(into)
        .map_err(IoError::at("read", into))?
        .next()
        .is_some()
    {
        return Err(OverlayError::Filled(into.to_path_buf()).into());
    }
    let known = salvaged_files(&dir);
    let mut copied = Vec::new();
    for UpperFile { ino, path: file } in
        UpperFiles::files(&dir.join(UPPER_DIR)).map_err(IoError::at("list", &dir))?
    {
        let (at, whole) = match known.get(&ino) {
            Some(found) => (into.join(&found.path), Some(found.whole)),
            None => (into.join("unnamed").join(format!("{ino:x}")), None),
        };
        let bytes = copy(&file, &at).map_err(IoError::at("copy", &file))?;
        copied.push(Salvaged { at, bytes, whole });
    }
    copied.sort_by(|a, b| a.at.cmp(&b.at));
    Ok(copied)
}

/// Copies a file with its holes. Fails if the target exists.
fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    const PIECE: usize = 1 << 20;
    if let Some(above) = to.parent() {
        fs::create_dir_all(above)?;
    }
    let (from, to) = (
        File::open(from)?,
        File::options().write(true).create_new(true).open(to)?,
    );
    let (len, mut at, mut bytes) = (from.metadata()?.len(), 0, vec![0; PIECE]);
    // Set the length first, because the loop below writes no hole at the end.
    to.set_len(len)?;
    while at < len {
        at = match rustix::fs::seek(&from, rustix::fs::SeekFrom::Data(at)) {
            // lseek(2) fails in this way if there is no data after the offset.
            Err(rustix::io::Errno::NXIO) => break,
            data => data?,
        };
        let read = from.read_at(&mut bytes, at)?;
        if read == 0 {
            break;
        }
        to.write_all_at(&bytes[..read], at)?;
        at += read as u64;
    }
    // The copy must be durable before the user removes the overlay.
    to.sync_all()?;
    Ok(len)
}
