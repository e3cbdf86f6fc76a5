//! The state of volumes on disk. Each volume has a directory with its record (`volume.json`), its
//! users (`users.json`) and its mount point.
//!
//! A process that changes a volume holds its lock. Files are replaced atomically, so that a crash
//! leaves the old or the new file. Users are recorded for one boot, because a reboot ends all of
//! them.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::VolumeError;
use crate::error::Result;
use crate::sys::create;
use crate::sys::io_error::IoError;
use crate::sys::mountinfo;
use crate::sys::procfs::boot_id;

const RECORD: &str = "volume.json";
const USERS: &str = "users.json";
/// The mount point in a volume's directory.
const DATA: &str = "data";
/// The directory of locks. No volume name starts with a dot.
const LOCKS: &str = ".locks";
/// The prefix of the locks of users. No volume name starts with it.
const USER_LOCK: &str = "@user-";
/// The directory of the records of removed volumes with uncommitted changes.
const TRASH: &str = ".trash";
/// Maximum length of a name, which is limited because names of overlays contain it.
const NAME_MAX: usize = 90;

/// The record of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// The version of this format, 1.
    pub schema: u32,
    pub name: String,
    /// The repository, a directory or a URL.
    pub repository: String,
    /// The revision as requested. The overlay knows the version that it is based on.
    pub revision: String,
    /// The branch that commits go to, if one was named.
    pub branch: Option<String>,
    /// Whether the volume is read-only.
    pub read_only: bool,
    /// Whether databases may run on the volume during commits.
    pub live: bool,
    /// The limit of the overlay, in bytes.
    pub quota: Option<u64>,
    /// The limit of the cache of remote objects, in bytes.
    pub cache: Option<u64>,
    /// The name of the overlay in the repository.
    pub overlay: String,
    /// The time of the creation, RFC 3339.
    pub created: String,
    /// The local repository; `None` until the volume is mounted.
    pub local: Option<PathBuf>,
}

/// The users of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeUsers {
    /// The boot in which these users started.
    boot: String,
    /// Whether the mount is pinned: a user asked for its path, so the volume stays mounted until it
    /// is removed.
    #[serde(default)]
    pub pinned: bool,
    /// The users that mounted the volume. Docker passes a different id for each container.
    pub ids: Vec<VolumeUser>,
}

/// A user of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeUser {
    /// The id that the user passed.
    pub id: String,
    /// The time of the mount, in seconds since 1970.
    pub since_secs: i64,
}

/// A removed volume in the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrashedVolume {
    /// The id of the entry. The overlay has the same id in the trash of its repository.
    pub id: String,
    /// The record of the volume; `None` if it is damaged.
    pub record: Option<VolumeRecord>,
}

/// A user that counts until this value is dropped. Its file lock is released at the latest when the
/// process exits.
pub struct UserLock {
    user: String,
    _file: tempfile::NamedTempFile,
}

impl UserLock {
    /// Returns the id of the user.
    pub fn user(&self) -> &str {
        &self.user
    }
}

/// The directory of all volumes of this machine.
#[derive(Clone, Debug)]
pub(super) struct VolumeRegistry(PathBuf);

/// Checks that Docker accepts a name, and that the name is not a path.
pub fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let first = name
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    let is_valid = first && name.len() <= NAME_MAX && name.chars().all(plain);
    if is_valid {
        Ok(())
    } else {
        Err(VolumeError::BadName(name.to_owned()).into())
    }
}

impl VolumeRegistry {
    pub(super) const fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// Returns the directory of a volume.
    pub(super) fn dir(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Returns the mount point of a volume.
    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.dir(name).join(DATA)
    }

    /// Locks a volume against other processes, until the returned file is dropped.
    pub(super) fn lock(&self, name: &str) -> Result<File> {
        check_name(name)?;
        let dir = self.0.join(LOCKS);
        create::dir_all(&dir).map_err(IoError::at("create", &dir))?;
        let path = dir.join(name);
        loop {
            let open = create::open_private(&path, File::options().write(true));
            let lock = open.map_err(IoError::at("open", &path))?;
            lock.lock().map_err(IoError::at("lock", &path))?;
            // Another process may have removed the volume and its lock file in the meantime. The
            // path then names no file or a new one, so lock again.
            let held = lock.metadata().map_err(IoError::at("inspect", &path))?;
            if fs::metadata(&path)
                .is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino()))
            {
                return Ok(lock);
            }
        }
    }

    /// Locks the trash. A process that also needs the lock of a volume takes that lock first.
    pub(super) fn lock_trash(&self) -> Result<File> {
        let dir = self.0.join(TRASH);
        create::dir_all(&dir).map_err(IoError::at("create", &dir))?;
        // The directory itself is the lock file, so no lock file can look like an entry.
        let lock = File::open(&dir).map_err(IoError::at("open", &dir))?;
        lock.lock().map_err(IoError::at("lock", &dir))?;
        Ok(lock)
    }

    /// Creates a user that counts until the returned lock is dropped.
    pub(super) fn lock_user(&self, who: &str) -> Result<UserLock> {
        let dir = self.0.join(LOCKS);
        create::dir_all(&dir).map_err(IoError::at("create", &dir))?;
        let file = tempfile::Builder::new()
            .prefix(USER_LOCK)
            .tempfile_in(&dir)
            .map_err(IoError::at("create", &dir))?;
        // The lock ends with the process, so other processes see whether the user lives.
        file.as_file()
            .lock()
            .map_err(IoError::at("lock", file.path()))?;
        let lock_name = file
            .path()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        Ok(UserLock {
            user: format!("{who} {lock_name}"),
            _file: file,
        })
    }

    /// Returns whether a user with a lock is alive; `None` for a user without a lock.
    pub(super) fn is_user_alive(&self, user: &str) -> Option<bool> {
        let lock_name = user.rsplit_once(' ')?.1;
        let random = lock_name.strip_prefix(USER_LOCK)?;
        // The id comes from a request, so it must not lead out of the directory of locks.
        if !random.chars().all(|c| c.is_ascii_alphanumeric()) {
            return None;
        }
        let path = self.0.join(LOCKS).join(lock_name);
        // The file is removed when its user ends.
        let Ok(file) = File::options().write(true).open(&path) else {
            return Some(false);
        };
        if file.try_lock().is_err() {
            return Some(true);
        }
        // The lock is free, so its user died without removing the file.
        drop(fs::remove_file(&path));
        Some(false)
    }

    /// Returns the record of a volume. The name of the directory overrides the recorded name,
    /// because a crash may have interrupted a rename.
    pub(super) fn find(&self, name: &str) -> Result<Option<VolumeRecord>> {
        check_name(name)?;
        let record: Option<VolumeRecord> = read(&self.dir(name).join(RECORD))?;
        Ok(record.map(|record| VolumeRecord {
            name: name.to_owned(),
            ..record
        }))
    }

    /// Returns the names of all volumes, sorted.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        names_in(&self.0)
    }

    pub(super) fn put(&self, record: &VolumeRecord) -> Result<()> {
        let dir = self.dir(&record.name);
        create::dir_all(&dir).map_err(IoError::at("create", &dir))?;
        // Users who may not read the repository must not see its files here. Docker shows them only
        // to containers.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        fs::set_permissions(&dir, mode).map_err(IoError::at("protect", &dir))?;
        write(&dir, RECORD, record)
    }

    /// Returns the users of the current boot. A pin stays in effect after a reboot.
    pub(super) fn users(&self, name: &str) -> Result<VolumeUsers> {
        let users: Option<VolumeUsers> = read(&self.dir(name).join(USERS))?;
        let boot = boot_id();
        Ok(match users {
            Some(users) if users.boot == boot => users,
            Some(users) => VolumeUsers {
                boot,
                ids: Vec::new(),
                ..users
            },
            None => VolumeUsers {
                boot,
                ..VolumeUsers::default()
            },
        })
    }

    pub(super) fn put_users(&self, name: &str, users: &VolumeUsers) -> Result<()> {
        write(&self.dir(name), USERS, users)
    }

    /// Removes the directory of a volume. Nothing may be mounted in it.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        let dir = self.dir(name);
        // A directory that is not empty is left alone, because something may be mounted there.
        for path in [DATA, ""].map(|below| dir.join(below)) {
            if path == dir {
                for file in [RECORD, USERS] {
                    if_exists(fs::remove_file(dir.join(file)))
                        .map_err(IoError::at("remove", &dir))?;
                }
            }
            if_exists(fs::remove_dir(&path)).map_err(IoError::at("remove", &path))?;
        }
        // The lock file goes last. A process that waits for the lock notices the removal in `lock`.
        drop(fs::remove_file(self.0.join(LOCKS).join(name)));
        Ok(())
    }

    pub(super) fn rename(&self, record: &VolumeRecord, new: &str) -> Result<()> {
        let (from, to) = (self.dir(&record.name), self.dir(new));
        fs::rename(&from, &to).map_err(IoError::at("rename", &from))?;
        // If the process dies before this, `find` corrects the recorded name.
        self.put(&VolumeRecord {
            name: new.to_owned(),
            ..record.clone()
        })
    }

    /// Moves the record of a volume to the trash. From then on, the volume is in the trash, even if
    /// its overlay is not moved yet.
    pub(super) fn move_to_trash(&self, record: &VolumeRecord, id: &str) -> Result<()> {
        let (from, dir) = (self.dir(&record.name), self.0.join(TRASH));
        create::dir_all(&dir).map_err(IoError::at("create", &dir))?;
        if_exists(fs::remove_dir(from.join(DATA))).map_err(IoError::at("remove", &from))?;
        if_exists(fs::remove_file(from.join(USERS))).map_err(IoError::at("remove", &from))?;
        fs::rename(&from, dir.join(id)).map_err(IoError::at("move to the trash", &from))?;
        // A lock file that stays only costs its space.
        drop(fs::remove_file(self.0.join(LOCKS).join(&record.name)));
        Ok(())
    }

    /// Returns whether the trash has an entry with this id.
    pub(super) fn is_in_trash(&self, id: &str) -> bool {
        self.0.join(TRASH).join(id).symlink_metadata().is_ok()
    }

    /// Writes the record of an entry of the trash again, from the copy in the trash of its
    /// repository.
    pub(super) fn put_in_trash(&self, id: &str, record: &VolumeRecord) -> Result<()> {
        let dir = self.0.join(TRASH).join(id);
        create::dir_all(&dir).map_err(IoError::at("create", &dir))?;
        write(&dir, RECORD, record)
    }

    /// Restores the record of a volume from the trash, atomically.
    pub(super) fn restore(&self, id: &str, record: &VolumeRecord) -> Result<()> {
        let (from, to) = (self.0.join(TRASH).join(id), self.dir(&record.name));
        fs::rename(&from, &to).map_err(IoError::at("restore", &from))?;
        // If the process dies before this, `find` corrects the recorded name.
        self.put(record)
    }

    /// Returns the entries of the trash.
    pub(super) fn trash(&self) -> Result<Vec<TrashedVolume>> {
        let dir = self.0.join(TRASH);
        let entry = |id: String| TrashedVolume {
            record: read(&dir.join(&id).join(RECORD)).ok().flatten(),
            id,
        };
        Ok(names_in(&dir)?.into_iter().map(entry).collect())
    }

    /// Deletes the record of an entry of the trash.
    pub(super) fn delete_from_trash(&self, id: &str) -> Result<()> {
        let dir = self.0.join(TRASH).join(id);
        if_exists(fs::remove_dir_all(&dir)).map_err(IoError::at("remove", &dir))?;
        Ok(())
    }

    /// Returns whether a volume is mounted.
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
        names.extend(
            name.into_string()
                .ok()
                .filter(|name| !name.starts_with('.')),
        );
    }
    names.sort();
    Ok(names)
}

/// Treats a missing file as removed.
fn if_exists(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|e| {
        if e.kind() == ErrorKind::NotFound {
            Ok(())
        } else {
            Err(e)
        }
    })
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(IoError::at("read", path))?,
    };
    let damaged = |source| VolumeError::Damaged {
        path: path.to_owned(),
        source,
    };
    Ok(Some(serde_json::from_slice(&bytes).map_err(damaged)?))
}

fn write<T: Serialize>(dir: &Path, name: &str, value: &T) -> Result<()> {
    let path = dir.join(name);
    let put = || -> io::Result<()> { create::replace(&path, &serde_json::to_vec_pretty(value)?) };
    Ok(put().map_err(IoError::at("write", &path))?)
}
