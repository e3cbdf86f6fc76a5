//! `commit --volume` and `--all-volumes`: commits volumes, even while containers use them.
//!
//! With `--all-volumes`, the dvc volumes come first, then the local-driver volumes of the Docker
//! engine. A local-driver volume is a directory. Without `--branch`, its versions go to the branch
//! that a label of the volume names, or else to a branch of the volume's name.

use super::args::CommitArgs;
use super::make::{CommitTarget, make};
use crate::dirs;
use crate::failure::{CliError, CommandResult, Exit, Failed};
use crate::machine::{engine, engine_is_named, volumes};
use crate::place::{self, RepoPlace};
use crate::session::Session;
use dvc::docker::EngineError;
use dvc::error::Error;
use dvc::model::refname::RefName;
use dvc::observe::{Notice, NoticeLevel, Observer};
use dvc::ops::volume::{
    LocalVolume, LocalVolumeError, UserLock, VolumeError, Volumes, find_local_volume,
    local_volume_names,
};
use std::path::PathBuf;

/// A volume to commit.
enum VolumeChoice {
    /// Named on the command line: the dvc volume, or the local-driver volume if dvc has none of
    /// this name.
    Named(String),
    Dvc(String),
    LocalDriver(String),
}

/// Commits volumes. If one commit fails, the other volumes are still committed; the first failure
/// decides the exit code.
pub(super) fn run(session: &Session, args: &CommitArgs) -> CommandResult {
    if args.branch.is_some() && args.volume.len() > 1 {
        // Versions of unrelated volumes on one branch would look like one history.
        return Err(CliError::option(
            "--branch",
            "several volumes cannot be committed to one branch",
        )
        .into());
    }
    let volumes = volumes(session)?;
    let mut run = VolumeCommits {
        session,
        worst: Exit::DONE,
        failed: None,
    };
    let which = if args.all_volumes {
        run.all(&volumes)?
    } else {
        args.volume
            .iter()
            .cloned()
            .map(VolumeChoice::Named)
            .collect()
    };
    // If there is only one volume, its failure is that of the command.
    let only = which.len() == 1 && run.failed.is_none() && !args.all_volumes;
    for one in &which {
        let done = match one {
            VolumeChoice::Named(name) => match volumes.find(name) {
                Ok(Some(_)) => commit_dvc_volume(session, args, &volumes, name),
                Ok(None) => commit_local_volume(session, args, &volumes, name),
                Err(e) => Err(e.into()),
            },
            VolumeChoice::Dvc(name) => commit_dvc_volume(session, args, &volumes, name),
            VolumeChoice::LocalDriver(name) => commit_local_volume(session, args, &volumes, name),
        };
        // The first failure decides the exit code, and the other volumes are still committed.
        match done {
            Ok(exit) if run.worst == Exit::DONE => run.worst = exit,
            Ok(_) => {}
            Err(e) if only => return Err(e),
            Err(e) => run.fail(&e),
        }
        if session.signals.cancelled() {
            break;
        }
    }
    Ok(run
        .failed
        .unwrap_or(run.worst)
        .unless_cancelled(&session.signals))
}

/// The commits of several volumes.
struct VolumeCommits<'s> {
    session: &'s Session,
    worst: Exit,
    failed: Option<Exit>,
}

impl VolumeCommits<'_> {
    fn fail(&mut self, e: &Failed) {
        let exit = self.session.report_failure(e);
        self.failed.get_or_insert(exit);
    }

    /// Returns all writable dvc volumes, and all named local-driver volumes. Records a failure for
    /// a local-driver volume with the name of a dvc volume, and for an engine that does not answer
    /// although it runs or the environment names it, because the missing versions would go
    /// unnoticed.
    fn all(&mut self, volumes: &Volumes) -> Result<Vec<VolumeChoice>, Failed> {
        let records = volumes.list()?;
        let writable = records.iter().filter(|record| !record.read_only);
        let mut which: Vec<VolumeChoice> = writable
            .map(|record| VolumeChoice::Dvc(record.name.clone()))
            .collect();
        match engine().and_then(|engine| local_volume_names(&engine)) {
            Ok(names) => {
                for name in names {
                    match records.iter().find(|record| record.name == name) {
                        Some(_) => {
                            self.fail(&Error::from(LocalVolumeError::Ambiguous { name }).into())
                        }
                        None => which.push(VolumeChoice::LocalDriver(name)),
                    }
                }
            }
            // Without an engine there are no local-driver volumes, unless the user has named an
            // engine.
            Err(e @ EngineError::Missing { .. }) if !engine_is_named() => {
                note(self.session, format!("committing only dvc volumes: {e}"))?;
            }
            Err(e) => self.fail(&Error::from(e).into()),
        }
        Ok(which)
    }
}

fn note(session: &Session, message: String) -> Result<(), Failed> {
    session.store_notices()?.notice(Notice {
        level: NoticeLevel::Info,
        path: Vec::new(),
        message,
    });
    Ok(())
}

fn commit_dvc_volume(
    session: &Session,
    args: &CommitArgs,
    volumes: &Volumes,
    name: &str,
) -> CommandResult {
    let used = MountedVolume::new(volumes, name)?;
    let place = place::of_mount(&used.at)?;
    // Use the settings of the volume's own repository, because they name its remotes.
    let own = session.in_repository(&place.repository);
    let branch = volumes.branch(name, &own.context(&place)?)?;
    make(
        &own,
        args,
        CommitTarget {
            place: &place,
            branch,
            volume: Some(name),
        },
    )
}

/// Commits a local-driver volume of the engine.
fn commit_local_volume(
    session: &Session,
    args: &CommitArgs,
    volumes: &Volumes,
    name: &str,
) -> CommandResult {
    let missing = || Error::from(VolumeError::Missing(name.to_owned()));
    let engine = match engine().and_then(|engine| engine.ping().map(|()| engine)) {
        Ok(engine) => engine,
        Err(e @ (EngineError::Missing { .. } | EngineError::Host { .. })) => {
            note(
                session,
                format!("not searching for local-driver volumes: {e}"),
            )?;
            return Err(missing().into());
        }
        Err(e) => return Err(Error::from(e).into()),
    };
    let found = find_local_volume(&engine, name)?.ok_or_else(missing)?;
    let repository = repository_of(session, args, volumes, &found)?;
    let (state, cache) = (
        dirs::state(),
        session.settings()?.text("cache.dir").map(PathBuf::from),
    );
    let ours = [Some(&repository), Some(&state), cache.as_ref()];
    match found.ensure_holds_none_of(ours.into_iter().flatten().map(PathBuf::as_path)) {
        Ok(()) => {}
        // Skip a volume in which dvc keeps its own state, as it may do in a container.
        Err(e) if args.all_volumes => {
            note(session, format!("not committed: {e}"))?;
            return Ok(Exit::DONE);
        }
        Err(e) => return Err(Error::from(e).into()),
    }
    let own = session.in_repository(&repository);
    let branch = RefName::new(found.branch.as_deref().unwrap_or(name)).map_err(Error::from)?;
    let place = RepoPlace {
        repository,
        worktree: found.at,
        prefix: PathBuf::new(),
        remote_url: None,
        mount: None,
    };
    make(
        &own,
        args,
        CommitTarget {
            place: &place,
            branch: Some(branch),
            volume: Some(name),
        },
    )
}

/// Returns the repository for versions of a local-driver volume: the named one, else the one that
/// the volume was made from, else that of the current directory, else the machine's own repository.
fn repository_of(
    session: &Session,
    args: &CommitArgs,
    volumes: &Volumes,
    volume: &LocalVolume,
) -> Result<PathBuf, Failed> {
    // A repository that the user names takes precedence over that of the volume.
    if session.named_repository().is_some() {
        return Ok(session.place()?.repository);
    }
    if let Some(repository) = &volume.repository {
        // Another repository would start a new history, so this one must exist.
        if !dvc::repo::Repo::is_at(repository) {
            return Err(CliError::NotARepository(repository.clone()).into());
        }
        return Ok(repository.clone());
    }
    match session.place() {
        Ok(place) => Ok(place.repository),
        // A dry run must not create the machine's own repository.
        Err(CliError::NoRepository(_) | CliError::Foreign(_)) if session.dry_run(args.dry) => {
            let own = volumes.own_path();
            if own.exists() {
                Ok(own.to_owned())
            } else {
                Err(CliError::NotARepository(own.to_owned()).into())
            }
        }
        Err(CliError::NoRepository(_) | CliError::Foreign(_)) => Ok(volumes.own_repository()?),
        Err(e) => Err(e.into()),
    }
}

/// A volume that stays mounted until this value is dropped.
struct MountedVolume<'v> {
    volumes: &'v Volumes,
    name: &'v str,
    user: UserLock,
    at: PathBuf,
}

impl<'v> MountedVolume<'v> {
    fn new(volumes: &'v Volumes, name: &'v str) -> Result<Self, Failed> {
        let user = volumes.lock_user(&format!("dvc commit, process {}", std::process::id()))?;
        let at = volumes.mount(name, user.user(), jiff::Timestamp::now().as_second())?;
        Ok(Self {
            volumes,
            name,
            user,
            at,
        })
    }
}

impl Drop for MountedVolume<'_> {
    fn drop(&mut self) {
        // If the unmount fails, the plugin or the next request for the volume unmounts it.
        if self
            .volumes
            .unmount(self.name, self.user.user())
            .unwrap_or(false)
        {
            let _ = self.volumes.unmount_unused(self.name);
        }
    }
}
