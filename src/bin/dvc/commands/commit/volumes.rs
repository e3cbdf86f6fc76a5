//! `commit --volume` and `--all-volumes`: a version of each, whoever uses it meanwhile.
//!
//! First those of dvc, then the plain ones of the Docker engine: directories, whose versions go to a branch of their name.

use super::{CommitArgs, make};
use crate::commands::volume::{engine, engine_is_named, volumes};
use crate::dirs;
use crate::failure::{CliError, Exit, Failed, Outcome};
use crate::place::{self, Place};
use crate::session::Session;
use dvc::docker::EngineError;
use dvc::error::Error;
use dvc::model::refname::RefName;
use dvc::observe::{Notice, NoticeLevel, Observer};
use dvc::ops::volume::{Plain, PlainError, Present, VolumeError, Volumes, plain, plain_names};
use std::path::PathBuf;

/// What is committed.
enum Which {
    /// By its name, of dvc if it has one of that name.
    Named(String),
    /// A volume of dvc.
    Ours(String),
    /// One of the engine.
    Plain(String),
}

/// Commits volumes. One that fails does not keep the others from it; the first failure decides how this ends.
pub(super) fn run(session: &Session, args: &CommitArgs) -> Outcome {
    if args.branch.is_some() && args.volume.len() > 1 {
        // What has nothing to do with each other would be versions of one thing.
        return Err(CliError::option("--branch", "several volumes do not go to one branch").into());
    }
    let volumes = volumes(session)?;
    let mut run = Run { session, worst: Exit::DONE, failed: None };
    let which = match args.all_volumes {
        true => run.all(&volumes)?,
        false => args.volume.iter().cloned().map(Which::Named).collect(),
    };
    let only = which.len() == 1 && run.failed.is_none() && !args.all_volumes;
    for one in &which {
        let done = match one {
            Which::Named(name) => match volumes.find(name) {
                Ok(Some(_)) => ours(session, args, &volumes, name),
                Ok(None) => of_engine(session, args, &volumes, name),
                Err(e) => Err(e.into()),
            },
            Which::Ours(name) => ours(session, args, &volumes, name),
            Which::Plain(name) => of_engine(session, args, &volumes, name),
        };
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
    Ok(run.failed.unwrap_or(run.worst).unless_cancelled(&session.signals))
}

/// How far it has come.
struct Run<'s> {
    session: &'s Session,
    worst: Exit,
    failed: Option<Exit>,
}

impl Run<'_> {
    fn fail(&mut self, e: &Failed) {
        let exit = self.session.tell_failure(e);
        self.failed.get_or_insert(exit);
    }

    /// All that can be changed and have a name. That an engine is there, or was named, and cannot be asked is a failure: nobody
    /// else would notice that its volumes have no versions.
    fn all(&mut self, volumes: &Volumes) -> Result<Vec<Which>, Failed> {
        let records = volumes.list()?;
        let writable = records.iter().filter(|record| !record.read_only);
        let mut which: Vec<Which> = writable.map(|record| Which::Ours(record.name.clone())).collect();
        match engine().and_then(|engine| plain_names(&engine)) {
            Ok(names) => {
                for name in names {
                    match records.iter().find(|record| record.name == name) {
                        Some(_) => self.fail(&Error::from(PlainError::Twice { name }).into()),
                        None => which.push(Which::Plain(name)),
                    }
                }
            }
            Err(e @ EngineError::Missing { .. }) if !engine_is_named() => {
                note(self.session, format!("only volumes of dvc are committed: {e}"))?;
            }
            Err(e) => self.fail(&Error::from(e).into()),
        }
        Ok(which)
    }
}

fn note(session: &Session, message: String) -> Result<(), Failed> {
    session.told()?.notice(Notice { level: NoticeLevel::Info, path: Vec::new(), message });
    Ok(())
}

fn ours(session: &Session, args: &CommitArgs, volumes: &Volumes, name: &str) -> Outcome {
    let used = Used::new(volumes, name)?;
    let place = place::of_mount(&used.at)?;
    // The remotes are those of its repository.
    let own = session.in_repository(&place.repository);
    let branch = volumes.branch(name, &own.context(&place)?)?;
    make(&own, &place, args, branch, Some(name))
}

/// Commits a plain volume of the engine.
fn of_engine(session: &Session, args: &CommitArgs, volumes: &Volumes, name: &str) -> Outcome {
    let missing = || Error::from(VolumeError::Missing(name.to_owned()));
    let engine = match engine().and_then(|engine| engine.ping().map(|()| engine)) {
        Ok(engine) => engine,
        Err(e @ (EngineError::Missing { .. } | EngineError::Host { .. })) => {
            note(session, format!("plain volumes are not looked for: {e}"))?;
            return Err(missing().into());
        }
        Err(e) => return Err(Error::from(e).into()),
    };
    let found = plain(&engine, name)?.ok_or_else(missing)?;
    let repository = repository_of(session, args, volumes, &found)?;
    let (state, cache) = (dirs::state(), session.settings()?.text("cache.dir").map(PathBuf::from));
    let ours = [Some(&repository), Some(&state), cache.as_ref()];
    match found.holds_none_of(ours.into_iter().flatten().map(PathBuf::as_path)) {
        Ok(()) => {}
        // Where dvc runs in a container, a volume is where it keeps everything.
        Err(e) if args.all_volumes => {
            note(session, format!("left out: {e}"))?;
            return Ok(Exit::DONE);
        }
        Err(e) => return Err(Error::from(e).into()),
    }
    let own = session.in_repository(&repository);
    let branch = RefName::new(found.branch.as_deref().unwrap_or(name)).map_err(Error::from)?;
    let place = Place { repository, worktree: found.at, prefix: PathBuf::new(), far: None, mount: None };
    make(&own, &place, args, Some(branch), Some(name))
}

/// Where versions of a plain volume go: to the repository that is named, else to the one that it was made from, else to the one
/// here, else to the machine's own.
fn repository_of(session: &Session, args: &CommitArgs, volumes: &Volumes, plain: &Plain) -> Result<PathBuf, Failed> {
    if session.named_repository().is_some() {
        return Ok(session.place()?.repository);
    }
    if let Some(repository) = &plain.repository {
        return match dvc::repo::Repo::is_at(repository) {
            true => Ok(repository.clone()),
            // Another one would begin anew.
            false => Err(CliError::NotARepository(repository.clone()).into()),
        };
    }
    match session.place() {
        Ok(place) => Ok(place.repository),
        Err(CliError::NoRepository(_) | CliError::Foreign(_)) if session.dry_run(args.dry) => {
            let own = volumes.own_path();
            if own.exists() { Ok(own.to_owned()) } else { Err(CliError::NotARepository(own.to_owned()).into()) }
        }
        Err(CliError::NoRepository(_) | CliError::Foreign(_)) => Ok(volumes.own_repository()?),
        Err(e) => Err(e.into()),
    }
}

/// A volume that is mounted as long as this lives.
struct Used<'v> {
    volumes: &'v Volumes,
    name: &'v str,
    user: Present,
    at: PathBuf,
}

impl<'v> Used<'v> {
    fn new(volumes: &'v Volumes, name: &'v str) -> Result<Self, Failed> {
        let user = volumes.present(&format!("dvc commit, process {}", std::process::id()))?;
        let at = volumes.mount(name, user.user(), jiff::Timestamp::now().as_second())?;
        Ok(Self { volumes, name, user, at })
    }
}

impl Drop for Used<'_> {
    fn drop(&mut self) {
        // A mount that stays is ended when it is asked for the next time, or by the plugin.
        if self.volumes.unmount(self.name, self.user.user()).unwrap_or(false) {
            let _ = self.volumes.rest(self.name);
        }
    }
}
