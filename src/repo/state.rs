//! Access to a repository, and the directory of its local state: the repository itself, otherwise a
//! directory below the cache directory, otherwise none.
//!
//! Operations that must keep state fail if there is no writable directory. The catalogue can be
//! rebuilt, so in this case a temporary catalogue is used and the user is notified.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{Access, access};

use super::layout;
use crate::error::{Failure, Kind, with_causes};
use crate::index::catalogue::{Catalogue, CatalogueResult};
use crate::sys::create;

/// Receives a message for the user.
pub type Complaint = dyn Fn(&str) + Send + Sync;

/// The users who can access a new repository. After the creation, the mode of its directory
/// determines them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Only the owner.
    #[default]
    Owner,
    /// The owner and the members of the directory's group.
    Group,
    /// The owner and the members of the directory's group; all other users can read.
    Everyone,
}

impl Sharing {
    const fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o700,
            Self::Group => 0o2770,
            Self::Everyone => 0o2775,
        }
    }
}

/// Sets the mode of the directory of a new repository. If that fails for a repository of one user,
/// only complains if other users have access.
pub(super) fn protect(
    root: &Path,
    sharing: Sharing,
    complain: Option<&Complaint>,
) -> io::Result<()> {
    match create::set_dir_mode(root, sharing.mode()) {
        Err(e) if sharing == Sharing::Owner => {
            // The directory belongs to another user, or its file system does not support modes.
            let mode = fs::metadata(root)?.mode();
            if let (Some(complain), true) = (complain, mode & 0o077 != 0) {
                complain(&format!(
                    "other users can read the new repository `{}`: {e}",
                    root.display()
                ));
            }
            Ok(())
        }
        set => set,
    }
}

/// The directory for the local state of a repository.
pub(super) struct LocalState {
    /// Directory of the repository; for a remote one, the directory of its local state.
    root: PathBuf,
    is_local: bool,
    /// Directory below the cache directory, for a repository that is read-only.
    fallback: Option<PathBuf>,
    complain: Option<Arc<Complaint>>,
    /// The directory that [`Self::choose`] has chosen.
    chosen: OnceLock<Option<PathBuf>>,
}

impl LocalState {
    /// Returns the state of the repository with this `id`.
    pub(super) fn new(
        root: PathBuf,
        is_local: bool,
        id: &str,
        cache_dir: Option<&Path>,
        complain: Option<Arc<Complaint>>,
    ) -> Self {
        let fallback = cache_dir.map(|dir| dir.join("repositories").join(id));
        Self {
            root,
            is_local,
            fallback,
            complain,
            chosen: OnceLock::new(),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns whether this process cannot write to the repository.
    pub(super) fn is_read_only(&self) -> bool {
        !self.is_local || access(&self.root, Access::WRITE_OK).is_err()
    }

    /// Returns the directory for local state, or `None` if no directory is usable.
    pub(super) fn dir(&self) -> Option<&Path> {
        self.chosen.get_or_init(|| self.choose()).as_deref()
    }

    fn choose(&self) -> Option<PathBuf> {
        if !self.is_read_only() {
            return Some(self.root.clone());
        }
        let dir = if self.is_local {
            self.fallback.clone()?
        } else {
            self.root.clone()
        };
        let usable = create::private_dir(&dir).and_then(|()| Ok(access(&dir, Access::WRITE_OK)?));
        usable
            .map_err(|e| {
                self.complain(&format!(
                    "no cache is used: cannot create or write `{}`: {e}",
                    dir.display()
                ))
            })
            .ok()?;
        Some(dir)
    }

    fn complain(&self, text: &str) {
        if let Some(complain) = &self.complain {
            complain(text);
        }
    }

    /// Opens the catalogue in the first usable directory, or a temporary catalogue if there is
    /// none.
    pub(super) fn open_catalogue(&self) -> CatalogueResult<Catalogue> {
        let Some(dir) = self.dir() else {
            return Catalogue::temporary();
        };
        let path = dir.join(layout::CATALOGUE);
        let is_in_repository = self.is_local && dir == self.root;
        let why = match is_in_repository.then(|| reason_against(&path)).flatten() {
            Some(why) => why,
            None => match Catalogue::open(&path) {
                // Another user has created the files of the catalogue, so the fallback is tried.
                // Other errors are returned.
                Err(e) if e.kind() == Kind::Denied => with_causes(&e),
                opened => return opened,
            },
        };
        let fallback = self
            .fallback
            .as_ref()
            .filter(|other| is_in_repository && create::private_dir(other).is_ok());
        if let Some(Ok(opened)) =
            fallback.map(|other| Catalogue::open(&other.join(layout::CATALOGUE)))
        {
            return Ok(opened);
        }
        self.complain(&format!("no cache is used: {why}"));
        Catalogue::temporary()
    }
}

/// Returns the reason why this process must not open the catalogue of a writable repository, if
/// there is one: SQLite would create files next to the catalogue that belong to this user, and
/// without write permission for them, the owner of the repository could no longer open the
/// catalogue.
fn reason_against(path: &Path) -> Option<String> {
    // SQLite needs all three files in WAL mode.
    let files = ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    });
    let refused = |file: &&PathBuf| matches!(access(file.as_path(), Access::READ_OK | Access::WRITE_OK), Err(e) if e != rustix::io::Errno::NOENT);
    if let Some(file) = files.iter().find(refused) {
        return Some(format!(
            "no read and write permission for `{}`",
            file.display()
        ));
    }
    let dir = fs::metadata(path.parent()?).ok()?;
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let shares = user.is_root()
        || dir.uid() == user.as_raw()
        || dir.gid() == group.as_raw()
        || dir.mode() & 0o2000 != 0;
    (!shares).then(|| "the repository directory does not have the set-group-ID bit".to_owned())
}
