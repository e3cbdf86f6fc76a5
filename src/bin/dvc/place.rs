//! Finds the repository and the worktree: `--repo`, `DVC_REPO`, the mount that contains the current
//! directory, or `.dvcs` in the current directory or a parent.

use crate::dirs;
use crate::failure::CliError;
use dvc::context::InMount;
use dvc::mount::{control, health};
use dvc::repo::{Repo, layout};
use dvc::store::location::{Location, without_password};
use dvc::sys::mountinfo;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The name of a repository directory inside its worktree.
pub(crate) const INSIDE: &str = ".dvcs";

/// A repository, and the worktree to use with it.
#[derive(Clone, Debug)]
pub(crate) struct RepoPlace {
    /// The root of the repository, which holds the file `format`; a path that does not exist if the
    /// repository is on another machine.
    pub(crate) repository: PathBuf,
    /// The top directory of the worktree.
    pub(crate) worktree: PathBuf,
    /// The current directory, relative to the worktree.
    pub(crate) prefix: PathBuf,
    /// The URL of the repository, if it is on another machine.
    pub(crate) remote_url: Option<String>,
    /// The mount, if the worktree is one.
    pub(crate) mount: Option<InMount>,
}

impl RepoPlace {
    /// Converts a path that is relative to the current directory to raw bytes relative to the top
    /// of the worktree.
    pub(crate) fn path(&self, given: &OsStr) -> Result<Vec<u8>, CliError> {
        let given = Path::new(given);
        let outside = || {
            CliError::option(
                "PATH",
                format!("`{}` is outside the worktree", given.display()),
            )
        };
        let relative = if given.is_absolute() {
            self.below(given).ok_or_else(outside)?
        } else {
            self.prefix.join(given)
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

    /// Returns an absolute path relative to the top of the worktree, even if it leads there through
    /// symbolic links.
    fn below(&self, given: &Path) -> Option<PathBuf> {
        let (top, real) = (self.worktree.canonicalize().ok()?, without_links(given));
        match given
            .strip_prefix(&self.worktree)
            .or_else(|_| real.strip_prefix(&top))
        {
            Ok(below) => Some(below.to_owned()),
            // A link inside the worktree names itself. A link outside of it names its target, here
            // the top of the worktree.
            Err(_) => given
                .canonicalize()
                .is_ok_and(|real| real == top)
                .then(PathBuf::new),
        }
    }

    /// Returns the URL of the repository.
    pub(crate) fn url(&self) -> String {
        if let Some(url) = &self.remote_url {
            return Location::parse(url, &self.worktree)
                .map_or_else(|_| without_password(url), |p| p.location.to_string());
        }
        let path = self
            .repository
            .canonicalize()
            .unwrap_or_else(|_| self.repository.clone());
        format!("file://{}", path.display())
    }

    /// Returns several paths as [`Self::path`] does.
    pub(crate) fn paths(&self, given: &[OsString]) -> Result<Vec<Vec<u8>>, CliError> {
        given.iter().map(|path| self.path(path)).collect()
    }
}

/// Finds the repository for the directory `current`; `named` comes from `--repo` or `DVC_REPO`.
pub(crate) fn find(current: &Path, named: Option<&Path>) -> Result<RepoPlace, CliError> {
    if let Some(named) = named {
        // A `file://` URL names a directory. A text that looks like a URL but exists as a path
        // names a directory too.
        let is_remote = |text: &str| {
            Location::is_url(text) && local(named).map_or(true, |dir| dir == named && !dir.exists())
        };
        if let Some(url) = named.to_str().filter(|text| is_remote(text)) {
            // A remote repository has no directory on this machine.
            let (repository, remote_url) = (PathBuf::from("/nonexistent"), Some(url.to_owned()));
            return Ok(RepoPlace {
                repository,
                worktree: current.to_owned(),
                prefix: PathBuf::new(),
                remote_url,
                mount: None,
            });
        }
        let root = current.join(local(named)?);
        // Without this check, an unreadable repository would look like a missing one.
        for dir in [&root, &root.join(INSIDE)] {
            ensure_readable(dir)?;
        }
        let repository = [root.clone(), root.join(INSIDE)]
            .into_iter()
            .find(|r| is_repository(r));
        let repository = repository.ok_or(CliError::NotARepository(root))?;
        // A repository inside a worktree is used with that worktree, even if the path to it
        // contains symbolic links.
        let same =
            |dir: &&Path| dir.join(INSIDE).canonicalize().ok() == repository.canonicalize().ok();
        if let Some(top) = current
            .ancestors()
            .filter(|dir| dir.join(INSIDE).exists())
            .find(same)
        {
            return Ok(inside(top, current));
        }
        return Ok(RepoPlace {
            repository,
            worktree: current.to_owned(),
            prefix: PathBuf::new(),
            remote_url: None,
            mount: None,
        });
    }
    // A mount belongs to its own repository, even if a directory above has another one.
    if let Some(mount) = mounted(current)? {
        return Ok(in_mount(mount, current));
    }
    for top in current.ancestors() {
        let dir = top.join(INSIDE);
        if is_repository(&dir) {
            return Ok(inside(top, current));
        }
        // Without this check, an unreadable repository would look like a missing one.
        if dir.symlink_metadata().is_ok() {
            ensure_readable(&dir)?;
        }
    }
    // The directory is in a mount, but no usable record of the mount was found.
    if lies_in_mount(current)
        && let Some(e) = health::why_not(&dirs::usable_run()?, current)
    {
        return Err(CliError::UnusableMount(e));
    }
    match current
        .ancestors()
        .find(|dir| dir.join(".dvc/config").is_file())
    {
        Some(dir) => Err(CliError::Foreign(dir.to_owned())),
        None => Err(CliError::NoRepository(current.to_owned())),
    }
}

/// Fails if a directory is in a mount whose process does not answer, because entering it would
/// block forever.
pub(crate) fn ensure_can_be_entered(dir: &Path) -> Result<(), CliError> {
    if !lies_in_mount(dir) {
        return Ok(());
    }
    health::ensure_answers(&dirs::usable_run()?, dir).map_err(CliError::UnusableMount)
}

fn lies_in_mount(dir: &Path) -> bool {
    mountinfo::containing(dir)
        .ok()
        .flatten()
        .is_some_and(|mounted| mounted.is_ours())
}

/// Fails if a new repository would be inside a mount, because commands there use the repository
/// that the mount belongs to.
pub(crate) fn ensure_outside_mounts(dir: &Path) -> Result<(), CliError> {
    match mountinfo::containing(dir) {
        Ok(Some(mounted)) if mounted.is_ours() => Err(CliError::InsideMount {
            dir: dir.to_owned(),
            at: mounted.at,
        }),
        _ => Ok(()),
    }
}

/// Returns the place of the mount at `at`.
pub(crate) fn of_mount(at: &Path) -> Result<RepoPlace, CliError> {
    let mount = mounted(at)?.ok_or_else(|| CliError::NoRepository(at.to_owned()))?;
    Ok(in_mount(mount, at))
}

fn in_mount(mount: InMount, current: &Path) -> RepoPlace {
    let top = mount.mounted.at.clone();
    let prefix = current
        .strip_prefix(&top)
        .unwrap_or(Path::new(""))
        .to_owned();
    let repository = mount.note.repository.clone();
    RepoPlace {
        repository,
        worktree: top,
        prefix,
        remote_url: None,
        mount: Some(mount),
    }
}

/// Returns our mount that contains a directory. For a directory outside of our mounts, the run
/// directory is not read.
fn mounted(current: &Path) -> Result<Option<InMount>, CliError> {
    if !lies_in_mount(current) {
        return Ok(None);
    }
    let run = dirs::usable_run()?;
    Ok(control::around(&run, current).map(|(mounted, note)| InMount { run, mounted, note }))
}

fn inside(top: &Path, current: &Path) -> RepoPlace {
    let prefix = current
        .strip_prefix(top)
        .unwrap_or(Path::new(""))
        .to_owned();
    RepoPlace {
        repository: top.join(INSIDE),
        worktree: top.to_owned(),
        prefix,
        remote_url: None,
        mount: None,
    }
}

/// Returns the path with symbolic links resolved in all but its last name, as far as the path
/// exists.
pub(crate) fn without_links(path: &Path) -> PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) => dir
            .canonicalize()
            // The directory may not exist yet, so its existing part is resolved.
            .unwrap_or_else(|_| without_links(dir))
            .join(name),
        _ => path.canonicalize().unwrap_or_else(|_| path.to_owned()),
    }
}

/// Returns the directory that a path or a `file://` URL names.
pub(crate) fn local(named: &Path) -> Result<PathBuf, CliError> {
    let Some(text) = named.to_str() else {
        return Ok(named.to_owned());
    };
    match text.split_once("://") {
        Some(("file", path)) if path.starts_with('/') => Ok(PathBuf::from(path)),
        Some(_) => Err(CliError::Remote(text.to_owned())),
        None => Ok(named.to_owned()),
    }
}

/// Fails if permissions hide whether a directory is a repository, because such a directory must not
/// be reported as missing.
fn ensure_readable(dir: &Path) -> Result<(), CliError> {
    match dir.join(layout::MARKER).metadata() {
        Err(source) if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(CliError::File {
                doing: "read the repository",
                path: dir.to_owned(),
                source,
            })
        }
        _ => Ok(()),
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
        assert_eq!(
            (&place.worktree, place.prefix.as_path()),
            (&top, Path::new("a/b"))
        );
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("link");
        std::os::unix::fs::symlink(&top, &link).unwrap();
        for named in [
            top.as_path(),
            &top.join(".dvcs"),
            &link,
            Path::new("../.."),
            Path::new("../../.dvcs"),
        ] {
            let found = find(&deep, Some(named)).unwrap();
            assert_eq!(
                (&found.repository, &found.worktree),
                (&place.repository, &place.worktree),
                "{}",
                named.display()
            );
            assert_eq!(&found.prefix, &place.prefix, "{}", named.display());
        }
        let other = find(&dir.path().join("a"), Some(&deep));
        assert!(matches!(other, Err(CliError::NotARepository(_))));
        for (path, expected) in [
            ("", ""),
            ("new", "new"),
            ("a/b/none/x", "a/b/none/x"),
            ("a/../y", "y"),
        ] {
            assert_eq!(
                place.path(link.join(path).as_os_str()).unwrap(),
                expected.as_bytes(),
                "{path}"
            );
        }
        assert!(place.path(OsStr::new("/elsewhere")).is_err());
        std::os::unix::fs::symlink(".", top.join("self")).unwrap();
        assert_eq!(place.path(link.join("self").as_os_str()).unwrap(), b"self");
        assert_eq!(place.path(top.join("self").as_os_str()).unwrap(), b"self");
        assert_eq!(place.path(OsStr::new("../x/./y")).unwrap(), b"a/x/y");
        assert_eq!(place.path(top.join("z").as_os_str()).unwrap(), b"z");
        assert_eq!(place.path(OsStr::new("../..")).unwrap(), b"");
        assert!(place.path(OsStr::new("../../..")).is_err());
        let url = PathBuf::from(format!("file://{}", top.display()));
        assert!(find(&deep, Some(&url)).is_ok());
        assert_eq!(
            find(&deep, Some(Path::new("s3://b")))
                .unwrap()
                .remote_url
                .as_deref(),
            Some("s3://b")
        );
        assert!(matches!(
            find(&deep, Some(Path::new("none"))),
            Err(CliError::NotARepository(_))
        ));
    }
}
