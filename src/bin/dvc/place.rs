//! Where the repository and the worktree are: `--repo`, `DVC_REPO`, or a `.dvcs` here or above.

use crate::failure::CliError;
use dvc::repo::Repo;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The directory of a repository inside its worktree.
pub(crate) const INSIDE: &str = ".dvcs";

/// A repository and the worktree to use with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The repository's root, where `format` lies.
    pub(crate) repository: PathBuf,
    /// The top of the worktree.
    pub(crate) worktree: PathBuf,
    /// The current directory below the worktree.
    pub(crate) prefix: PathBuf,
    /// Whether the repository lies inside the worktree.
    pub(crate) inside: bool,
}

impl Place {
    /// A path that was given in the current directory, from the top of the worktree, raw bytes.
    pub(crate) fn path(&self, given: &OsStr) -> Result<Vec<u8>, CliError> {
        let given = Path::new(given);
        let outside = || CliError::option("PATH", format!("`{}` is not below the worktree", given.display()));
        let relative = match given.is_absolute() {
            true => given.strip_prefix(&self.worktree).map_err(|_| outside())?.to_owned(),
            false => self.prefix.join(given),
        };
        let mut names: Vec<&[u8]> = Vec::new();
        for part in relative.components() {
            match part {
                Component::Normal(name) => names.push(name.as_bytes()),
                Component::CurDir => {}
                Component::ParentDir if names.pop().is_some() => {}
                _ => return Err(outside()),
            }
        }
        Ok(names.join(&b'/'))
    }

    /// The repository as a URL.
    pub(crate) fn url(&self) -> String {
        let path = self.repository.canonicalize().unwrap_or_else(|_| self.repository.clone());
        format!("file://{}", path.display())
    }

    /// All of them.
    pub(crate) fn paths(&self, given: &[OsString]) -> Result<Vec<Vec<u8>>, CliError> {
        given.iter().map(|path| self.path(path)).collect()
    }
}

/// Finds the repository for the current directory; `named` comes from `--repo` or `DVC_REPO`.
pub(crate) fn find(current: &Path, named: Option<&Path>) -> Result<Place, CliError> {
    if let Some(named) = named {
        let root = current.join(local(named)?);
        let repository = [root.clone(), root.join(INSIDE)].into_iter().find(|r| is_repository(r));
        let repository = repository.ok_or(CliError::NotARepository(root))?;
        let above = current.ancestors().find(|dir| dir.join(INSIDE) == repository);
        let worktree = above.unwrap_or(current).to_owned();
        let prefix = current.strip_prefix(&worktree).unwrap_or(Path::new("")).to_owned();
        return Ok(Place { repository, worktree, prefix, inside: above.is_some() });
    }
    for dir in current.ancestors() {
        let repository = dir.join(INSIDE);
        if is_repository(&repository) {
            let prefix = current.strip_prefix(dir).unwrap_or(Path::new("")).to_owned();
            return Ok(Place { repository, worktree: dir.to_owned(), prefix, inside: true });
        }
    }
    match current.ancestors().find(|dir| dir.join(".dvc/config").is_file()) {
        Some(dir) => Err(CliError::Foreign(dir.to_owned())),
        None => Err(CliError::NoRepository(current.to_owned())),
    }
}

/// The directory of a repository that is named by a path or a `file://` URL.
pub(crate) fn local(named: &Path) -> Result<PathBuf, CliError> {
    let Some(text) = named.to_str() else { return Ok(named.to_owned()) };
    match text.split_once("://") {
        Some(("file", path)) if path.starts_with('/') => Ok(PathBuf::from(path)),
        Some(_) => Err(CliError::Remote(text.to_owned())),
        None => Ok(named.to_owned()),
    }
}

fn is_repository(dir: &Path) -> bool {
    Repo::is_at(dir) || Repo::is_unmarked(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_nearest_repository_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let deep = top.join("a/b");
        fs::create_dir_all(&deep).unwrap();
        assert!(matches!(find(&deep, None), Err(CliError::NoRepository(_))));
        fs::create_dir_all(top.join(".dvc")).unwrap();
        fs::write(top.join(".dvc/config"), "").unwrap();
        assert!(matches!(find(&deep, None), Err(CliError::Foreign(d)) if d == top));
        fs::create_dir_all(top.join(".dvcs")).unwrap();
        fs::write(top.join(".dvcs/format"), "").unwrap();
        let place = find(&deep, None).unwrap();
        assert_eq!((&place.worktree, place.prefix.as_path()), (&top, Path::new("a/b")));
        assert_eq!(find(&deep, Some(&top)).unwrap(), place);
        assert_eq!(find(&deep, Some(Path::new("../../.dvcs"))).unwrap().worktree, deep);
        assert_eq!(place.path(OsStr::new("../x/./y")).unwrap(), b"a/x/y");
        assert_eq!(place.path(top.join("z").as_os_str()).unwrap(), b"z");
        assert_eq!(place.path(OsStr::new("../..")).unwrap(), b"");
        assert!(place.path(OsStr::new("../../..")).is_err());
        let url = PathBuf::from(format!("file://{}", top.display()));
        assert!(find(&deep, Some(&url)).is_ok());
        assert!(matches!(find(&deep, Some(Path::new("s3://b"))), Err(CliError::Remote(_))));
        assert!(matches!(find(&deep, Some(Path::new("none"))), Err(CliError::NotARepository(_))));
    }
}
