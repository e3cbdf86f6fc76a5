//! What is kept of a volume on disk, a directory each: what it is (`volume.json`), who has it (`users.json`), its mount point.
//!
//! Whoever changes something of a volume holds its lock. Files are replaced in one step, so that a crash leaves the old
//! or the new one. Users are of one boot: after another nobody has anything.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::VolumeError;
use crate::error::Result;
use crate::sys::create;
use crate::sys::io_error::IoError;
use crate::sys::mountinfo;
use crate::sys::procfs::boot_id;

const RECORD: &str = "volume.json";
const USERS: &str = "users.json";
/// The mount point in a volume's directory.
const DATA: &str = "data";
/// What else lies among the volumes begins with a dot, which no name of a volume does.
const LOCKS: &str = ".locks";
/// Locks of users who are there begin with it, which no name of a volume does.
const PRESENT: &str = "@present-";
/// What was removed with changes that no version has.
const PARKED: &str = ".parked";
/// Names of overlays are made of it.
const NAME_MAX: usize = 90;

/// What a volume is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of this form, 1.
    pub schema: u32,
    /// Its name.
    pub name: String,
    /// The repository, a directory or a URL.
    pub repository: String,
    /// What was asked for; the overlay knows on which version it stands since.
    pub revision: String,
    /// The branch that commits go to, where it was said.
    pub branch: Option<String>,
    /// Nothing can be changed.
    pub read_only: bool,
    /// It is committed while databases run on it.
    pub live: bool,
    /// Bytes that the overlay may take.
    pub quota: Option<u64>,
    /// Bytes of the cache of far blocks.
    pub cache: Option<u64>,
    /// The overlay's name in the repository.
    pub overlay: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The repository on this machine, once it was mounted.
    pub local: Option<PathBuf>,
}

/// Who has a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// The boot that they are of.
    boot: String,
    /// Somebody asked for its path, so it stays until it is removed.
    #[serde(default)]
    pub held: bool,
    /// Who mounted it, and when, in seconds since 1970. Docker gives each container another name here.
    pub ids: Vec<(String, i64)>,
}

/// A user that counts as long as this lives: a lock of a file, which ends with its process at the latest.
pub struct Present {
    user: String,
    _file: tempfile::NamedTempFile,
}

impl Present {
    /// What it is called among the users.
    pub fn user(&self) -> &str {
        &self.user
    }
}

/// The directory of all volumes of a machine.
#[derive(Clone, Debug)]
pub(super) struct Shelf(PathBuf);

/// Checks that a name is one that Docker takes, and that it is no path.
pub fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    match first && name.len() <= NAME_MAX && name.chars().all(plain) {
        true => Ok(()),
        false => Err(VolumeError::BadName(name.to_owned()).into()),
    }
}

impl Shelf {
    pub(super) const fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// The directory of a volume.
    pub(super) fn dir(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Where a volume is mounted.
    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.dir(name).join(DATA)
    }

    /// Waits until nobody else changes something of a volume. The lock ends with the value.
    pub(super) fn lock(&self, name: &str) -> Result<File> {
        check_name(name)?;
        let dir = self.0.join(LOCKS);
        create::dir_all(&dir).map_err(IoError::at("create", &dir))?;
        let path = dir.join(name);
        loop {
            let open = create::open_private(&path, File::options().write(true));
            let lock = open.map_err(IoError::at("open", &path))?;
            lock.lock().map_err(IoError::at("lock", &path))?;
            // Whoever removed the volume meanwhile removed the file too, and the next one makes another.
            let held = lock.metadata().map_err(IoError::at("look at", &path))?;
            if fs::metadata(&path).is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino())) {
                return Ok(lock);
            }
        }
    }

    /// Waits until nobody else puts volumes aside or takes one back. Who has a volume's lock takes it after that.
    pub(super) fn lock_parked(&self) -> Result<File> {
        let dir = self.0.join(PARKED);
        create::dir_all(&dir).map_err(IoError::at("create", &dir))?;
        let lock = File::open(&dir).map_err(IoError::at("open", &dir))?;
        lock.lock().map_err(IoError::at("lock", &dir))?;
        Ok(lock)
    }

    /// A user who is there as long as this lives.
    pub(super) fn present(&self, who: &str) -> Result<Present> {
        let dir = self.0.join(LOCKS);
        create::dir_all(&dir).map_err(IoError::at("create", &dir))?;
        let file = tempfile::Builder::new().prefix(PRESENT).tempfile_in(&dir).map_err(IoError::at("create", &dir))?;
        file.as_file().lock().map_err(IoError::at("lock", file.path()))?;
        let called = file.path().file_name().unwrap_or_default().to_string_lossy();
        Ok(Present { user: format!("{who} {called}"), _file: file })
    }

    /// Whether such a user is still there; `None` for others, of whom nobody knows it.
    pub(super) fn is_present(&self, user: &str) -> Option<bool> {
        let called = user.rsplit_once(' ')?.1;
        let random = called.strip_prefix(PRESENT)?;
        if !random.chars().all(|c| c.is_ascii_alphanumeric()) {
            return None;
        }
        let path = self.0.join(LOCKS).join(called);
        let Ok(file) = File::options().write(true).open(&path) else { return Some(false) };
        if file.try_lock().is_err() {
            return Some(true);
        }
        drop(fs::remove_file(&path));
        Some(false)
    }

    /// A volume's record. Its name is that of the directory: a crash may have come before the record had a new one.
    pub(super) fn find(&self, name: &str) -> Result<Option<Record>> {
        check_name(name)?;
        let record: Option<Record> = read(&self.dir(name).join(RECORD))?;
        Ok(record.map(|record| Record { name: name.to_owned(), ..record }))
    }

    /// All names, sorted.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        names_in(&self.0)
    }

    pub(super) fn put(&self, record: &Record) -> Result<()> {
        let dir = self.dir(&record.name);
        create::dir_all(&dir).map_err(IoError::at("create", &dir))?;
        // Whoever may not read the repository must not see through here what Docker shows to containers only.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        fs::set_permissions(&dir, mode).map_err(IoError::at("protect", &dir))?;
        write(&dir, RECORD, record)
    }

    /// Who has it since the machine was started.
    pub(super) fn users(&self, name: &str) -> Result<Users> {
        let users: Option<Users> = read(&self.dir(name).join(USERS))?;
        let boot = boot_id();
        Ok(match users {
            Some(users) if users.boot == boot => users,
            Some(users) => Users { boot, ids: Vec::new(), ..users },
            None => Users { boot, ..Users::default() },
        })
    }

    pub(super) fn put_users(&self, name: &str, users: &Users) -> Result<()> {
        write(&self.dir(name), USERS, users)
    }

    /// Removes a volume's directory, which nothing may be mounted in.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        let dir = self.dir(name);
        // Never through a mount: a directory that is not empty is left.
        for path in [DATA, ""].map(|below| dir.join(below)) {
            if path == dir {
                for file in [RECORD, USERS] {
                    gone(fs::remove_file(dir.join(file))).map_err(IoError::at("remove", &dir))?;
                }
            }
            gone(fs::remove_dir(&path)).map_err(IoError::at("remove", &path))?;
        }
        drop(fs::remove_file(self.0.join(LOCKS).join(name)));
        Ok(())
    }

    pub(super) fn rename(&self, record: &Record, new: &str) -> Result<()> {
        let (from, to) = (self.dir(&record.name), self.dir(new));
        fs::rename(&from, &to).map_err(IoError::at("rename", &from))?;
        self.put(&Record { name: new.to_owned(), ..record.clone() })
    }

    /// Puts a volume that has changes aside, in one step: its overlay never belongs to two. Returns what it is called there.
    pub(super) fn park(&self, record: &Record, secs: i64) -> Result<String> {
        let (from, dir) = (self.dir(&record.name), self.0.join(PARKED));
        create::dir_all(&dir).map_err(IoError::at("create", &dir))?;
        gone(fs::remove_dir(from.join(DATA))).map_err(IoError::at("remove", &from))?;
        gone(fs::remove_file(from.join(USERS))).map_err(IoError::at("remove", &from))?;
        let mut secs = secs;
        loop {
            let parked = format!("{}@{secs}", record.name);
            let to = dir.join(&parked);
            if to.try_exists().map_err(IoError::at("look at", &to))? {
                secs += 1;
                continue;
            }
            fs::rename(&from, &to).map_err(IoError::at("rename", &from))?;
            drop(fs::remove_file(self.0.join(LOCKS).join(&record.name)));
            return Ok(parked);
        }
    }

    /// Makes what was put aside a volume again, in one step.
    pub(super) fn take_back(&self, parked: &str, record: &Record) -> Result<()> {
        let (from, to) = (self.0.join(PARKED).join(parked), self.dir(&record.name));
        fs::rename(&from, &to).map_err(IoError::at("rename", &from))?;
        self.put(record)
    }

    /// What was put aside, by what it is called there.
    pub(super) fn parked(&self) -> Result<Vec<(String, Record)>> {
        let dir = self.0.join(PARKED);
        let mut all = Vec::new();
        for name in names_in(&dir)? {
            all.extend(read(&dir.join(&name).join(RECORD))?.map(|record| (name, record)));
        }
        Ok(all)
    }

    /// Forgets what was put aside.
    pub(super) fn unpark(&self, parked: &str) -> Result<()> {
        let dir = self.0.join(PARKED).join(parked);
        fs::remove_dir_all(&dir).map_err(IoError::at("remove", &dir))?;
        Ok(())
    }

    /// Whether something is mounted on a volume's mount point.
    pub(super) fn mounted(&self, name: &str) -> bool {
        let data = self.data(name);
        mountinfo::ours().is_ok_and(|all| all.iter().any(|m| m.at == data))
    }
}

fn names_in(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(names),
        entries => entries.map_err(IoError::at("list", dir))?,
    };
    for entry in entries {
        let name = entry.map_err(IoError::at("list", dir))?.file_name();
        names.extend(name.into_string().ok().filter(|name| !name.starts_with('.')));
    }
    names.sort();
    Ok(names)
}

/// What is gone already need not be removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(IoError::at("read", path))?,
    };
    let damaged = |source| VolumeError::Damaged { path: path.to_owned(), source };
    Ok(Some(serde_json::from_slice(&bytes).map_err(damaged)?))
}

fn write<T: Serialize>(dir: &Path, name: &str, value: &T) -> Result<()> {
    let path = dir.join(name);
    let put = || -> io::Result<()> { create::replace(&path, &serde_json::to_vec_pretty(value)?) };
    Ok(put().map_err(IoError::at("write", &path))?)
}
