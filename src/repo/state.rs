//! Who may use a repository, and where its local state is kept: in the repository, else below the cache directory, else nowhere.
//!
//! Everything that must be kept fails where it cannot be written. The catalogue can be rebuilt, so one that cannot be used is
//! replaced by a temporary one; the caller is told.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::{OpenOptions, Repo, RepoError, layout};
use crate::error::{Failure, Kind, Result};
use crate::index::catalogue::{self, Catalogue};
use crate::sys::create;

/// Receives a sentence for the user.
pub type Complaint = dyn Fn(&str) + Send + Sync;

/// Who may use a new repository. The access of its directory states it from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// The owner.
    #[default]
    Owner,
    /// The members of the directory's group.
    Group,
    /// The members of the group; all others may read.
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

/// Gives the directory of a new repository its access.
pub(super) fn protect(root: &Path, options: &OpenOptions) -> io::Result<()> {
    match create::set_dir_mode(root, options.sharing.mode()) {
        Err(e) if options.sharing == Sharing::Owner => {
            // An empty directory of another user, or a file system without modes.
            let mode = fs::metadata(root)?.mode();
            if let (Some(complain), true) = (&options.complain, mode & 0o077 != 0) {
                complain(&format!("other users can read the new repository `{}`: {e}", root.display()));
            }
            Ok(())
        }
        set => set,
    }
}

impl Repo {
    /// Whether nothing can be written into the repository.
    pub fn is_read_only(&self) -> bool {
        self.as_local().is_none() || access(self.path(), Access::WRITE_OK).is_err()
    }

    /// Where local state is kept: the repository, or below the cache directory if the repository cannot be written.
    pub fn state_dir(&self) -> Result<PathBuf> {
        self.state().map(Path::to_path_buf).ok_or_else(|| RepoError::NoState { path: self.root.clone() }.into())
    }

    /// Where the state of worktrees is looked for: in a directory that does not exist if none is kept.
    pub(super) fn worktree_dir(&self) -> PathBuf {
        self.state().map_or_else(|| self.root.join("no-state"), Path::to_path_buf)
    }

    fn state(&self) -> Option<&Path> {
        self.state.get_or_init(|| self.find_state()).as_deref()
    }

    fn find_state(&self) -> Option<PathBuf> {
        if self.as_local().is_some() && !self.is_read_only() {
            return Some(self.root.clone());
        }
        let dir = if self.as_local().is_some() { self.cache_place()? } else { self.root.clone() };
        let usable = create::private_dir(&dir).and_then(|()| Ok(access(&dir, Access::WRITE_OK)?));
        usable.map_err(|e| self.complain(&format!("no cache: cannot use `{}`: {e}", dir.display()))).ok()?;
        Some(dir)
    }

    /// Where state of this repository lies below the cache directory.
    fn cache_place(&self) -> Option<PathBuf> {
        Some(self.options.cache_dir.as_ref()?.join("repositories").join(&self.marker.id))
    }

    fn complain(&self, text: &str) {
        if let Some(complain) = &self.options.complain {
            complain(text);
        }
    }

    /// The catalogue in the first place where one can be used.
    pub(super) fn some_catalogue(&self) -> catalogue::CatalogueResult<Catalogue> {
        let Some(state) = self.state() else { return Catalogue::temporary() };
        let path = state.join(layout::CATALOGUE);
        let is_own = state == self.root && self.as_local().is_some();
        let why = match is_own.then(|| locked_out(&path)).flatten() {
            Some(why) => why,
            None => match Catalogue::open(&path) {
                Err(e) if e.kind() == Kind::Denied => crate::error::with_causes(&e),
                opened => return opened,
            },
        };
        let other = self.cache_place().filter(|other| is_own && create::private_dir(other).is_ok());
        if let Some(opened) =
            other.map(|other| Catalogue::open(&other.join(layout::CATALOGUE))).and_then(std::result::Result::ok)
        {
            return Ok(opened);
        }
        self.complain(&format!("no cache: {why}"));
        Catalogue::temporary()
    }
}

/// Why the caller must not open the catalogue of a repository, where the directory can be written. SQLite would put files
/// of the caller beside it, and these would lock the owner out if the owner may not write them.
fn locked_out(path: &Path) -> Option<String> {
    let beside = ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    });
    let refused = |file: &&PathBuf| matches!(access(file.as_path(), Access::READ_OK | Access::WRITE_OK), Err(e) if e != rustix::io::Errno::NOENT);
    if let Some(file) = beside.iter().find(refused) {
        return Some(format!("`{}` belongs to another user and cannot be written", file.display()));
    }
    let dir = fs::metadata(path.parent()?).ok()?;
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let shares =
        user.is_root() || dir.uid() == user.as_raw() || dir.gid() == group.as_raw() || dir.mode() & 0o2000 != 0;
    (!shares).then(|| "the directory of the repository has no set-group-ID bit".to_owned())
}
