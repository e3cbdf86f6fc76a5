//! Plain volumes of a Docker engine: directories that its own driver keeps, without a record of ours.
//!
//! In: an engine, and where versions come from. Out: where a volume lies for this process, and a volume that holds a version.
//! Labels of the volume say where its versions go. A volume that holds something is never written to.

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
use crate::ops::mount::branch_of;
use crate::query::resolve::Resolver;
use crate::query::worktree::WalkOptions;
use crate::refs::head::Head;
use crate::sys::io_error::IoError;
use crate::sys::mountinfo;

/// The label that names the branch of a volume's versions, and the one that names their repository.
const BRANCH: &str = "dvc.branch";
const REPOSITORY: &str = "dvc.repository";
/// Docker gives a volume without a name so many hexadecimal digits.
const ANONYMOUS: usize = 64;

/// The file of a worktree's state that says which directory was begun to be filled.
const NOTE: &str = "plain-volume";
/// So long other drivers have to say that a volume is theirs.
const OTHERS: Duration = Duration::from_secs(3);

/// A plain volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Its name.
    pub name: String,
    /// Where this process finds its content.
    pub at: PathBuf,
    /// The branch that its versions go to, where its label says so; else one of its name.
    pub branch: Option<String>,
    /// The repository that its version came from, by its label.
    pub repository: Option<PathBuf>,
}

/// What cannot be done with a plain volume.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    /// Another driver keeps it.
    #[error("volume `{name}` is no plain one: the driver `{driver}` keeps it")]
    Driver {
        /// The volume.
        name: String,
        /// Who keeps it.
        driver: String,
    },
    /// Its directory is not here.
    #[error("volume `{name}` cannot be seen here: there is no `{}`", at.display())]
    Away {
        /// The volume.
        name: String,
        /// Where the engine has it.
        at: PathBuf,
    },
    /// Its device is not mounted.
    #[error("volume `{name}` is on a device that is mounted only while a container uses the volume")]
    Unmounted {
        /// The volume.
        name: String,
    },
    /// It holds something.
    #[error("volume `{name}` is not empty")]
    Filled {
        /// The volume.
        name: String,
    },
    /// Its label says something else.
    #[error("versions of volume `{name}` go to branch `{branch}`, which an existing volume keeps")]
    Labelled {
        /// The volume.
        name: String,
        /// Where they go.
        branch: String,
    },
    /// The branch goes on from another version.
    #[error("the last version of branch `{branch}` is another one")]
    NotTip {
        /// The branch.
        branch: RefName,
    },
    /// There are two of the name.
    #[error("there is a volume `{name}` of dvc and a plain one: which is meant?")]
    Twice {
        /// The name.
        name: String,
    },
    /// Dvc itself works in it.
    #[error("volume `{name}` holds `{}`, which dvc itself writes to", ours.display())]
    Ours {
        /// The volume.
        name: String,
        /// What is ours.
        ours: PathBuf,
    },
}

impl Failure for PlainError {
    fn kind(&self) -> Kind {
        match self {
            Self::Driver { .. } | Self::Twice { .. } | Self::Ours { .. } | Self::Labelled { .. } => Kind::Usage,
            Self::Away { .. } => Kind::NotFound,
            Self::Unmounted { .. } | Self::Filled { .. } | Self::NotTip { .. } => Kind::Rejected,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Away { name, .. } => Some(format!("in a container mount it too, `-v {name}:/volumes/{name}`")),
            Self::Unmounted { .. } => Some("start a container that uses it".to_owned()),
            Self::Filled { .. } => Some("give a new name; `docker volume rm` removes a volume".to_owned()),
            Self::Twice { .. } => Some("`dvc volume mv` gives the one of dvc another name".to_owned()),
            Self::NotTip { .. } => Some("`--branch NAME` makes another one for its versions".to_owned()),
            _ => None,
        }
    }
}

/// What a plain volume is made of.
#[derive(Clone, Debug)]
pub struct PlainOptions {
    /// Its name.
    pub name: String,
    /// The version.
    pub revision: Revision,
    /// Where its versions go. Else to the branch of the revision, if that is its last version, or to one of the volume's name.
    pub branch: Option<RefName>,
    /// What the walk leaves out.
    pub walk: WalkOptions,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What was made.
#[derive(Debug)]
pub struct PlainReport {
    /// Where it is; in a dry run of a new one nowhere.
    pub at: Option<PathBuf>,
    /// The engine had no such volume.
    pub new: bool,
    /// Where its versions go.
    pub branch: RefName,
    /// What was written; nothing in a dry run.
    pub checkout: Option<CheckoutReport>,
}

/// A plain volume by its name, if there is one. That another driver has one of the name is an error, where it answers.
pub fn plain(engine: &DockerEngine, name: &str) -> Result<Option<Plain>> {
    if let Some(there) = known(engine, name)? {
        return Ok(Some(there));
    }
    match engine.volume_within(name, OTHERS) {
        Ok(Volume { name, driver, .. }) if driver != LOCAL => Err(PlainError::Driver { name, driver }.into()),
        _ => Ok(None),
    }
}

fn known(engine: &DockerEngine, name: &str) -> Result<Option<Plain>> {
    let found = engine.local_volumes()?.into_iter().find(|volume| volume.name == name);
    found.map(|volume| located(engine, volume)).transpose()
}

/// The names of all plain volumes that somebody gave a name, sorted.
pub fn plain_names(engine: &DockerEngine) -> Result<Vec<String>, EngineError> {
    let mut names: Vec<String> = engine.local_volumes()?.into_iter().map(|volume| volume.name).collect();
    names.retain(|name| !is_anonymous(name));
    names.sort_unstable();
    Ok(names)
}

/// Whether a volume was made by a container that named none.
fn is_anonymous(name: &str) -> bool {
    name.len() == ANONYMOUS && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl Plain {
    /// Fails if one of these places lies in the volume, or the volume in one of them: a version would hold itself.
    pub fn holds_none_of<'p>(&self, ours: impl IntoIterator<Item = &'p Path>) -> Result<(), PlainError> {
        // One directory can have several paths: a volume may be one that is bound from elsewhere.
        let same = |path: &Path| path.metadata().ok().map(|m| (m.dev(), m.ino()));
        let is_around = |outer: &Path, inner: &Path| {
            let inner = inner.canonicalize().unwrap_or_else(|_| inner.to_owned());
            let known = same(outer);
            inner.ancestors().any(|dir| dir == outer || (known.is_some() && same(dir) == known))
        };
        let concerned = |ours: &&Path| is_around(&self.at, ours) || is_around(ours, &self.at);
        match ours.into_iter().find(concerned) {
            Some(ours) => Err(PlainError::Ours { name: self.name.clone(), ours: ours.to_owned() }),
            None => Ok(()),
        }
    }
}

/// Where a volume's content is for this process.
fn located(engine: &DockerEngine, volume: Volume) -> Result<Plain> {
    let Volume { name, mountpoint, labels, options, .. } = volume;
    let containers = engine.containers()?;
    let at = match own(&containers) {
        // The same path is another place here.
        Some(own) => own.inside(&mountpoint),
        None => Some(mountpoint.clone()),
    };
    let Some(at) = at.filter(|at| at.is_dir()) else {
        return Err(PlainError::Away { name, at: mountpoint }.into());
    };
    let on_device = ["device", "type"].iter().any(|option| options.contains_key(*option));
    let is_mounted = || -> std::io::Result<bool> {
        Ok(mountinfo::containing(&at)?.is_some_and(|mounted| at.canonicalize().is_ok_and(|at| at == mounted.at)))
    };
    if on_device && !is_mounted().map_err(IoError::at("look at", &at))? {
        return Err(PlainError::Unmounted { name }.into());
    }
    let label = |label: &str| labels.get(label).filter(|value| !value.is_empty()).cloned();
    Ok(Plain { at, branch: label(BRANCH), repository: label(REPOSITORY).map(PathBuf::from), name })
}

/// Makes a plain volume of a version, or puts the version into an empty one. One that was interrupted is finished by the same
/// again; until then it is not committed.
pub fn create_plain(
    engine: &DockerEngine,
    context: &Context,
    options: &PlainOptions,
    observer: &dyn Observer,
) -> Result<PlainReport> {
    let name = &options.name;
    let repo = context.repo()?;
    let resolver = Resolver::new(&repo, context)?;
    let version = resolver.revision(&options.revision)?;
    let there = known(engine, name)?;
    let branch = match (&options.branch, &there) {
        (Some(branch), _) => branch.clone(),
        // Labels are given to a volume when it is made.
        (None, Some(there)) => RefName::new(there.branch.as_ref().unwrap_or(name))?,
        (None, None) => match branch_of(&repo, &resolver, &options.revision)? {
            Some(branch) if repo.refs().value(RefKind::Branch, &branch)? == Some(version) => branch,
            _ => RefName::new(name)?,
        },
    };
    if let Some(there) = &there {
        let goes = there.branch.as_ref().unwrap_or(name);
        if *goes != branch.to_string() {
            return Err(PlainError::Labelled { name: name.clone(), branch: goes.clone() }.into());
        }
        there.holds_none_of([context.repository.as_path()])?;
    }
    let tip = repo.refs().value(RefKind::Branch, &branch)?;
    if tip.is_some_and(|tip| tip != version) {
        return Err(PlainError::NotTip { branch }.into());
    }
    let inner = |at: &Path| -> Result<Context> {
        let worktree = at.canonicalize().map_err(IoError::at("find", at))?;
        Ok(Context { worktree, mount: None, ..context.clone() })
    };
    let begun = |context: &Context| Journal::read(repo.worktree(&context.worktree)?.state_dir()).map(|j| j.is_some());
    let goes_on = match &there {
        Some(there) if !is_empty(&there.at)? => {
            let inner = inner(&there.at)?;
            let noted = std::fs::read_to_string(repo.worktree(&inner.worktree)?.state_dir().join(NOTE)).ok();
            if !begun(&inner)? || noted.is_none() || noted != identity(&there.at)? {
                return Err(PlainError::Filled { name: name.clone() }.into());
            }
            true
        }
        _ => false,
    };
    let new = there.is_none();
    if options.dry_run {
        return Ok(PlainReport { at: there.map(|there| there.at), new, branch, checkout: None });
    }
    let fill = |at: &Path| -> Result<CheckoutReport> {
        let context = inner(at)?;
        // Only that very directory is gone on with, not another one that has its place.
        let identity = identity(at)?.unwrap_or_default();
        repo.worktree(&context.worktree)?.write_file(NOTE, identity.as_bytes())?;
        let how = CheckoutOptions {
            revision: Some(Revision::parse(&tip.map_or_else(|| version.to_string(), |_| branch.to_string()))?),
            new_branch: tip.is_none().then(|| branch.clone()),
            into: None,
            paths: Vec::new(),
            prefix: Vec::new(),
            keep_extra: false,
            delete: false,
            verify: false,
            force: false,
            // What is remembered of the path is of a volume that is gone.
            overwrite: !goes_on && (Head::read(&context, &repo)?.known || begun(&context)?),
            dry_run: false,
            walk: options.walk.clone(),
        };
        checkout(&context, &how, observer)
    };
    if let Some(there) = there {
        let done = fill(&there.at)?;
        return Ok(PlainReport { at: Some(there.at), new, branch, checkout: Some(done) });
    }
    let repository = context.repository.canonicalize().map_err(IoError::at("find", &context.repository))?;
    let mut labels = BTreeMap::from([(BRANCH.to_owned(), branch.to_string())]);
    labels.extend(repository.to_str().map(|path| (REPOSITORY.to_owned(), path.to_owned())));
    let made = engine.create_volume(name, &labels)?;
    // The engine gives back what somebody else made meanwhile.
    let is_ours = made.labels == labels;
    let made = located(engine, made)?;
    if !is_ours || !is_empty(&made.at)? {
        return Err(PlainError::Filled { name: name.clone() }.into());
    }
    let filled = fill(&made.at).map(|done| (done, made.at));
    if filled.is_err() {
        // Nothing of it was ever seen.
        let _ = engine.remove_volume(name);
    }
    let (done, at) = filled?;
    Ok(PlainReport { at: Some(at), new, branch, checkout: Some(done) })
}

/// What tells a directory from another one that has its path later; `None` where the file system keeps no time of birth.
fn identity(at: &Path) -> Result<Option<String>> {
    let flags = StatxFlags::INO | StatxFlags::BTIME;
    let seen = rustix::fs::statx(rustix::fs::CWD, at, AtFlags::empty(), flags);
    let seen = seen.map_err(IoError::at("look at", at))?;
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
    fn who_gave_no_name() {
        assert!(is_anonymous(&"0a".repeat(32)));
        for named in ["db".to_owned(), "0a".repeat(31), "0A".repeat(32), "0g".repeat(32)] {
            assert!(!is_anonymous(&named), "{named}");
        }
    }

    #[test]
    fn a_volume_with_something_of_ours_is_known() {
        let plain = |at: &str| Plain { name: "v".to_owned(), at: at.into(), branch: None, repository: None };
        let ours = [Path::new("/no/lib/dvc/repository"), Path::new("/no/cache")];
        for (at, good) in [("/no/lib/dvc", false), ("/no/cache/x", false), ("/no/cache2", true), ("/no/db", true)] {
            assert_eq!(plain(at).holds_none_of(ours).is_ok(), good, "{at}");
        }
    }
}
