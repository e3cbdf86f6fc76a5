//! Local-driver volumes of a Docker engine: directories that the engine manages. dvc keeps no
//! record of them.
//!
//! Labels of a volume name the branch and the repository of its versions. A volume that has files
//! is never overwritten.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, StatxFlags};

use crate::checkout::patch::journal::Journal;
use crate::context::Context;
use crate::docker::{DockerEngine, EngineError, LOCAL, Volume, own};
use crate::error::{Failure, Kind, Result};
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::Revision;
use crate::observe::Observer;
use crate::ops::checkout::{CheckoutOptions, CheckoutReport, checkout};
use crate::query::forgotten::ensure_readable;
use crate::query::resolve::Resolver;
use crate::query::worktree::WalkOptions;
use crate::refs::head::Head;
use crate::sys::io_error::IoError;
use crate::sys::mountinfo;

/// The labels with the branch of a volume's versions, and with their repository.
const BRANCH: &str = "dvc.branch";
const REPOSITORY: &str = "dvc.repository";
/// The number of hexadecimal digits in the name of an anonymous volume.
const ANONYMOUS: usize = 64;

/// The file that identifies the directory of an unfinished volume, in the state directory of its
/// worktree.
const NOTE: &str = "local-volume";
/// The timeout of a lookup that may have to ask other drivers.
const DRIVER_TIMEOUT: Duration = Duration::from_secs(3);

/// A local-driver volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalVolume {
    pub name: String,
    /// The directory of its content, as this process sees it.
    pub at: PathBuf,
    /// The branch from the volume's label. `None` means the branch with the volume's name.
    pub branch: Option<String>,
    /// The repository of its versions, if a label names one.
    pub repository: Option<PathBuf>,
}

/// Failures of operations on local-driver volumes.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the names of the fields explain them")]
pub enum LocalVolumeError {
    /// Another driver manages the volume.
    #[error("cannot use volume `{name}` as a local-driver volume: its driver is `{driver}`")]
    Driver { name: String, driver: String },
    /// The directory of the volume is not visible to this process.
    #[error("cannot access volume `{name}`: its directory `{}` is not visible here", at.display())]
    Invisible {
        name: String,
        /// The directory of the volume, as the engine reports it.
        at: PathBuf,
    },
    /// The device of the volume is not mounted.
    #[error(
        "cannot access volume `{name}`: its device is mounted only while a container uses the volume"
    )]
    Unmounted { name: String },
    /// The volume has files.
    #[error("cannot fill volume `{name}`: not empty")]
    Filled { name: String },
    /// A label names another branch.
    #[error("cannot change the branch of volume `{name}`: its label names branch `{branch}`")]
    Labelled { name: String, branch: String },
    /// The requested version is not the tip of the branch.
    #[error("cannot fill the volume: branch `{branch}` is at a different version")]
    NotTip { branch: RefName },
    /// dvc and the engine both have a volume with this name.
    #[error("`{name}` is ambiguous: a dvc volume and a local-driver volume have this name")]
    Ambiguous { name: String },
    /// The volume contains a directory that dvc itself writes to, or is inside of one.
    #[error("cannot use volume `{name}`: it overlaps with `{}`, a directory that dvc itself writes to", ours.display())]
    Ours {
        name: String,
        /// The directory that dvc writes to.
        ours: PathBuf,
    },
}

impl Failure for LocalVolumeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Driver { .. }
            | Self::Ambiguous { .. }
            | Self::Ours { .. }
            | Self::Labelled { .. } => Kind::Usage,
            Self::Invisible { .. } => Kind::NotFound,
            Self::Unmounted { .. } | Self::Filled { .. } | Self::NotTip { .. } => Kind::Rejected,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Invisible { name, .. } => Some(format!(
                "in a container, mount the volume with `-v {name}:/volumes/{name}`"
            )),
            Self::Unmounted { .. } => Some("start a container that uses the volume".to_owned()),
            Self::Filled { .. } => {
                Some("use a new name, or remove the volume with `docker volume rm`".to_owned())
            }
            Self::Ambiguous { .. } => Some("rename the dvc volume with `dvc volume mv`".to_owned()),
            Self::NotTip { .. } => Some("use another branch with `--branch NAME`".to_owned()),
            _ => None,
        }
    }
}

/// The options of a new local-driver volume.
#[derive(Clone, Debug)]
pub struct LocalVolumeOptions {
    pub name: String,
    /// The version to check out.
    pub revision: Revision,
    /// The branch of its versions. `None` is the branch of an existing volume. For a new volume, it
    /// is the branch of the revision if the version is its tip, or else a branch with the volume's
    /// name.
    pub branch: Option<RefName>,
    /// The files that the walk of the worktree leaves out.
    pub walk: WalkOptions,
    /// Only report what would be done.
    pub dry_run: bool,
}

/// The result of [`create_local_volume`].
#[derive(Debug)]
pub struct LocalVolumeReport {
    /// The directory of its content; `None` in a dry run for a new volume.
    pub at: Option<PathBuf>,
    /// Whether the volume is new.
    pub new: bool,
    /// The branch of its versions.
    pub branch: RefName,
    /// The checkout; `None` in a dry run.
    pub checkout: Option<CheckoutReport>,
}

/// Returns the local-driver volume with a name, if there is one. Fails if another driver has a
/// volume with this name and answers in time.
pub fn find_local_volume(engine: &DockerEngine, name: &str) -> Result<Option<LocalVolume>> {
    if let Some(there) = known(engine, name)? {
        return Ok(Some(there));
    }
    // Only an answer shows a conflict; errors and timeouts count as no volume.
    match engine.volume_within(name, DRIVER_TIMEOUT) {
        Ok(Volume { name, driver, .. }) if driver != LOCAL => {
            Err(LocalVolumeError::Driver { name, driver }.into())
        }
        _ => Ok(None),
    }
}

fn known(engine: &DockerEngine, name: &str) -> Result<Option<LocalVolume>> {
    let found = engine
        .local_volumes()?
        .into_iter()
        .find(|volume| volume.name == name);
    found.map(|volume| located(engine, volume)).transpose()
}

/// Returns the names of all local-driver volumes, sorted. Anonymous volumes are left out.
pub fn local_volume_names(engine: &DockerEngine) -> Result<Vec<String>, EngineError> {
    let mut names: Vec<String> = engine
        .local_volumes()?
        .into_iter()
        .map(|volume| volume.name)
        .collect();
    names.retain(|name| !is_anonymous(name));
    names.sort_unstable();
    Ok(names)
}

/// Returns whether a volume is anonymous, which means that Docker generated its name.
fn is_anonymous(name: &str) -> bool {
    name.len() == ANONYMOUS
        && name
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl LocalVolume {
    /// Fails if one of these directories is in the volume, or the volume in one of them, because a
    /// version would contain itself.
    pub fn ensure_holds_none_of<'p>(
        &self,
        ours: impl IntoIterator<Item = &'p Path>,
    ) -> Result<(), LocalVolumeError> {
        // A directory can have several paths, because a volume may be a bind mount.
        let same = |path: &Path| path.metadata().ok().map(|m| (m.dev(), m.ino()));
        let is_around = |outer: &Path, inner: &Path| {
            let inner = inner.canonicalize().unwrap_or_else(|_| inner.to_owned());
            let known = same(outer);
            inner
                .ancestors()
                .any(|dir| dir == outer || (known.is_some() && same(dir) == known))
        };
        let concerned = |ours: &&Path| is_around(&self.at, ours) || is_around(ours, &self.at);
        match ours.into_iter().find(concerned) {
            Some(ours) => Err(LocalVolumeError::Ours {
                name: self.name.clone(),
                ours: ours.to_owned(),
            }),
            None => Ok(()),
        }
    }
}

/// Returns a volume with the directory of its content, as this process sees it.
fn located(engine: &DockerEngine, volume: Volume) -> Result<LocalVolume> {
    let Volume {
        name,
        mountpoint,
        labels,
        options,
        ..
    } = volume;
    let containers = engine.containers()?;
    let at = match own(&containers) {
        // In a container, the path that the engine reports may be a different directory.
        Some(own) => own.inside(&mountpoint),
        None => Some(mountpoint.clone()),
    };
    let Some(at) = at.filter(|at| at.is_dir()) else {
        return Err(LocalVolumeError::Invisible {
            name,
            at: mountpoint,
        }
        .into());
    };
    // Docker mounts the device of a volume only while a container uses the volume. Until then, the
    // directory is empty.
    let on_device = ["device", "type"]
        .iter()
        .any(|option| options.contains_key(*option));
    let is_mounted = || -> std::io::Result<bool> {
        Ok(mountinfo::containing(&at)?
            .is_some_and(|mounted| at.canonicalize().is_ok_and(|at| at == mounted.at)))
    };
    if on_device && !is_mounted().map_err(IoError::at("inspect", &at))? {
        return Err(LocalVolumeError::Unmounted { name }.into());
    }
    let label = |label: &str| labels.get(label).filter(|value| !value.is_empty()).cloned();
    Ok(LocalVolume {
        at,
        branch: label(BRANCH),
        repository: label(REPOSITORY).map(PathBuf::from),
        name,
    })
}

/// Creates a local-driver volume with a version, or checks the version out into an empty one. The
/// same call finishes an interrupted checkout; until then the volume cannot be committed.
pub fn create_local_volume(
    engine: &DockerEngine,
    context: &Context,
    options: &LocalVolumeOptions,
    observer: &dyn Observer,
) -> Result<LocalVolumeReport> {
    let name = &options.name;
    let repo = context.repo()?;
    let resolver = Resolver::new(&repo, context)?;
    let version = resolver.revision(&options.revision)?;
    ensure_readable(context, &repo, &version)?;
    let there = known(engine, name)?;
    let branch = match (&options.branch, &there) {
        (Some(branch), _) => branch.clone(),
        // Labels cannot be added to an existing volume.
        (None, Some(there)) => RefName::new(there.branch.as_ref().unwrap_or(name))?,
        (None, None) => match resolver.commit_branch(&options.revision)? {
            Some(branch) if repo.refs().value(RefKind::Branch, &branch)? == Some(version) => branch,
            _ => RefName::new(name)?,
        },
    };
    if let Some(there) = &there {
        let goes = there.branch.as_ref().unwrap_or(name);
        if *goes != branch.to_string() {
            return Err(LocalVolumeError::Labelled {
                name: name.clone(),
                branch: goes.clone(),
            }
            .into());
        }
        there.ensure_holds_none_of([context.repository.as_path()])?;
    }
    let tip = repo.refs().value(RefKind::Branch, &branch)?;
    if tip.is_some_and(|tip| tip != version) {
        return Err(LocalVolumeError::NotTip { branch }.into());
    }
    let inner = |at: &Path| -> Result<Context> {
        let worktree = at.canonicalize().map_err(IoError::at("find", at))?;
        Ok(Context {
            worktree,
            mount: None,
            ..context.clone()
        })
    };
    let begun = |context: &Context| {
        Journal::read(repo.worktree(&context.worktree)?.state_dir()).map(|j| j.is_some())
    };
    // Files are accepted only from an interrupted checkout into the same directory.
    let goes_on = match &there {
        Some(there) if !is_empty(&there.at)? => {
            let inner = inner(&there.at)?;
            let noted =
                std::fs::read_to_string(repo.worktree(&inner.worktree)?.state_dir().join(NOTE))
                    .ok();
            if !begun(&inner)? || noted.is_none() || noted != identity(&there.at)? {
                return Err(LocalVolumeError::Filled { name: name.clone() }.into());
            }
            true
        }
        _ => false,
    };
    let new = there.is_none();
    if options.dry_run {
        return Ok(LocalVolumeReport {
            at: there.map(|there| there.at),
            new,
            branch,
            checkout: None,
        });
    }
    let fill = |at: &Path| -> Result<CheckoutReport> {
        let context = inner(at)?;
        // Record the identity, so that an interrupted checkout is not continued in a later
        // directory at the same path.
        let identity = identity(at)?.unwrap_or_default();
        repo.worktree(&context.worktree)?
            .write_file(NOTE, identity.as_bytes())?;
        let how = CheckoutOptions {
            revision: Some(Revision::parse(
                &tip.map_or_else(|| version.to_string(), |_| branch.to_string()),
            )?),
            new_branch: tip.is_none().then(|| branch.clone()),
            into: None,
            paths: Vec::new(),
            prefix: Vec::new(),
            keep_extra: false,
            delete: false,
            verify: false,
            force: false,
            no_trash: false,
            // The volume is empty, so state that is stored for its path belongs to a volume that no
            // longer exists.
            overwrite: !goes_on && (Head::read(&context, &repo)?.known || begun(&context)?),
            dry_run: false,
            walk: options.walk.clone(),
        };
        checkout(&context, &how, observer)
    };
    if let Some(there) = there {
        let done = fill(&there.at)?;
        return Ok(LocalVolumeReport {
            at: Some(there.at),
            new,
            branch,
            checkout: Some(done),
        });
    }
    let repository = context
        .repository
        .canonicalize()
        .map_err(IoError::at("find", &context.repository))?;
    let mut labels = BTreeMap::from([(BRANCH.to_owned(), branch.to_string())]);
    // A label is text, so a path that is not UTF-8 gets none.
    labels.extend(
        repository
            .to_str()
            .map(|path| (REPOSITORY.to_owned(), path.to_owned())),
    );
    let made = engine.create_volume(name, &labels)?;
    // The engine returns the existing volume if another process has created it in the meantime.
    let is_ours = made.labels == labels;
    let made = located(engine, made)?;
    if !is_ours || !is_empty(&made.at)? {
        return Err(LocalVolumeError::Filled { name: name.clone() }.into());
    }
    let filled = fill(&made.at).map(|done| (done, made.at));
    if filled.is_err() {
        // Undo the creation. No user has seen the volume yet.
        let _ = engine.remove_volume(name);
    }
    let (done, at) = filled?;
    Ok(LocalVolumeReport {
        at: Some(at),
        new,
        branch,
        checkout: Some(done),
    })
}

/// Returns the inode number and the birth time of a directory, which distinguish it from a later
/// one at the same path; `None` if the file system has no birth times.
fn identity(at: &Path) -> Result<Option<String>> {
    let flags = StatxFlags::INO | StatxFlags::BTIME;
    let seen = rustix::fs::statx(rustix::fs::CWD, at, AtFlags::empty(), flags);
    let seen = seen.map_err(IoError::at("inspect", at))?;
    let has_birth = StatxFlags::from_bits_retain(seen.stx_mask).contains(StatxFlags::BTIME);
    let born = seen.stx_btime;
    Ok(has_birth.then(|| format!("{} {}.{:09}", seen.stx_ino, born.tv_sec, born.tv_nsec)))
}

fn is_empty(at: &Path) -> Result<bool> {
    let mut entries = std::fs::read_dir(at).map_err(IoError::at("read", at))?;
    Ok(entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_volumes_are_known_by_their_names() {
        assert!(is_anonymous(&"0a".repeat(32)));
        for named in [
            "db".to_owned(),
            "0a".repeat(31),
            "0A".repeat(32),
            "0g".repeat(32),
        ] {
            assert!(!is_anonymous(&named), "{named}");
        }
    }

    #[test]
    fn a_volume_must_not_contain_our_state() {
        let plain = |at: &str| LocalVolume {
            name: "v".to_owned(),
            at: at.into(),
            branch: None,
            repository: None,
        };
        let ours = [Path::new("/no/lib/dvc/repository"), Path::new("/no/cache")];
        for (at, good) in [
            ("/no/lib/dvc", false),
            ("/no/cache/x", false),
            ("/no/cache2", true),
            ("/no/db", true),
        ] {
            assert_eq!(plain(at).ensure_holds_none_of(ours).is_ok(), good, "{at}");
        }
    }
}
