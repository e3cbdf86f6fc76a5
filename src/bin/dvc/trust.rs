//! Decides whether the hooks and remotes of a repository may be used. The decision depends on the
//! owner and the permissions of the repository and its `config.toml`, on `safe.directory`, and on
//! whether the repository is part of a mounted version.
//!
//! The data of a distrusted repository is still read and written, but no command that it names is
//! run and no remote that it names is contacted.

use dvc::sys::mountinfo;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A repository whose hooks and remotes are not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DistrustedRepo {
    repository: PathBuf,
    why: DistrustReason,
}

/// The reason for the distrust.
#[derive(Clone, Debug, PartialEq, Eq)]
enum DistrustReason {
    /// A file or directory of the repository belongs to another user, who is not root.
    Owner(PathBuf, u32),
    /// Every user can write to this file or directory.
    Writable(PathBuf),
    /// The repository is part of a mounted version, so a remote may have written it.
    Mounted,
}

/// Returns why a repository is not trusted; `safe` holds the directories of `safe.directory`.
pub(crate) fn distrusted(repository: &Path, safe: &[String]) -> Option<DistrustedRepo> {
    if is_safe(repository, safe) {
        return None;
    }
    let why = doubt(repository)
        // The file may belong to another user although the directory does not.
        .or_else(|| doubt(&repository.join("config.toml")))
        .or_else(|| in_mount(repository))?;
    Some(DistrustedRepo {
        repository: repository.to_owned(),
        why,
    })
}

/// Returns why a file or directory is not trusted. For a symbolic link, the owners of link and
/// target both count, because the owner of the link chooses its target.
fn doubt(path: &Path) -> Option<DistrustReason> {
    // A missing file names no hook and no remote.
    let link = path.symlink_metadata().ok()?;
    let target = path.metadata().ok()?;
    let own = rustix::process::geteuid().as_raw();
    // Root can change everything anyway.
    let is_foreign = |owner: &u32| *owner != own && *owner != 0;
    // The owner of a link decides where the link leads.
    if let Some(owner) = [link.uid(), target.uid()].into_iter().find(is_foreign) {
        return Some(DistrustReason::Owner(path.to_owned(), owner));
    }
    (target.mode() & 0o002 != 0).then(|| DistrustReason::Writable(path.to_owned()))
}

fn in_mount(repository: &Path) -> Option<DistrustReason> {
    match mountinfo::containing(repository) {
        Ok(mounted) => mounted?.is_ours().then_some(DistrustReason::Mounted),
        // Without the mount table, the repository may be part of a version, which others wrote.
        // Without `/proc`, nothing can be mounted by dvc either.
        Err(e) => (e.kind() != io::ErrorKind::NotFound).then_some(DistrustReason::Mounted),
    }
}

/// Returns whether `safe.directory` names the repository, its worktree, or (with `/*`) a parent
/// directory; `*` names every repository.
fn is_safe(repository: &Path, safe: &[String]) -> bool {
    // Links in both paths are resolved, because one directory may have several paths.
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let repository = || real(repository);
    safe.iter().any(|entry| match entry.strip_suffix("/*") {
        _ if entry == "*" => true,
        Some(above) => {
            Path::new(above).is_absolute() && repository().starts_with(real(Path::new(above)))
        }
        None => {
            let (named, repository) = (real(Path::new(entry)), repository());
            named.is_absolute()
                && (repository == named || repository == named.join(crate::place::INSIDE))
        }
    })
}

impl DistrustedRepo {
    /// Returns the command that would trust the repository.
    pub(crate) fn hint(&self) -> String {
        let file = if rustix::process::geteuid().is_root() {
            "--system"
        } else {
            "--global"
        };
        format!(
            "if you trust the repository, run `dvc config set {file} safe.directory {}`",
            self.repository.display()
        )
    }
}

impl fmt::Display for DistrustedRepo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            DistrustReason::Owner(path, owner) => {
                write!(f, "`{}` belongs to another user ({owner})", path.display())
            }
            DistrustReason::Writable(path) => {
                write!(f, "every user can write to `{}`", path.display())
            }
            DistrustReason::Mounted => write!(
                f,
                "`{}` is part of a mounted version",
                self.repository.display()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn owners_and_modes_decide_unless_settings_name_the_repository() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let repository = top.join("w/.dvcs");
        std::fs::create_dir_all(&repository).unwrap();
        assert_eq!(distrusted(&repository, &[]), None);
        let config = repository.join("config.toml");
        std::fs::write(&config, "").unwrap();
        assert_eq!(distrusted(&repository, &[]), None);
        for path in [&config, &repository] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
            let why = distrusted(&repository, &[]).unwrap();
            assert_eq!(why.why, DistrustReason::Writable(path.clone()));
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        std::fs::set_permissions(&repository, std::fs::Permissions::from_mode(0o777)).unwrap();
        let safe = |entry: String| distrusted(&repository, &[entry]).is_none();
        assert!(safe("*".to_owned()));
        for trusted in ["", "/w", "/w/.dvcs"] {
            let entry = format!("{}{trusted}", top.display());
            assert_eq!(safe(entry.clone()), !trusted.is_empty(), "{entry}");
            assert!(safe(format!("{entry}/*")), "{entry}/*");
        }
        for other in ["", ".", "w", "/", "/elsewhere", "/elsewhere/*", "*/w"] {
            assert!(!safe(other.to_owned()), "{other}");
        }
        if !rustix::process::geteuid().is_root() {
            return;
        }
        std::fs::set_permissions(&repository, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(&repository, Some(65533), None).unwrap();
        let why = distrusted(&repository, &[]).unwrap();
        assert_eq!(why.why, DistrustReason::Owner(repository.clone(), 65533));
        assert!(why.hint().contains("--system"));
        std::os::unix::fs::chown(&repository, Some(0), None).unwrap();
        let link = top.join("link");
        std::os::unix::fs::symlink(&repository, &link).unwrap();
        assert_eq!(distrusted(&link, &[]), None);
        std::os::unix::fs::lchown(&link, Some(65533), None).unwrap();
        assert!(distrusted(&link, &[]).is_some());
    }
}
