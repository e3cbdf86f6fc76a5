//! `commit --volume` and `--all-volumes`: a version of each, whoever uses it meanwhile.

use super::{CommitArgs, make};
use crate::commands::volume::volumes;
use crate::failure::{Exit, Failed, Outcome, Voice, report};
use crate::place;
use crate::session::Session;
use dvc::ops::volume::Volumes;

/// Commits volumes. One that fails does not keep the others from it; the first failure decides how this ends.
pub(super) fn run(session: &Session, args: &CommitArgs) -> Outcome {
    let volumes = volumes(session)?;
    let names = match args.all_volumes {
        true => volumes.list()?.into_iter().filter(|record| !record.read_only).map(|record| record.name).collect(),
        false => args.volume.clone(),
    };
    let (mut worst, mut failed) = (Exit::DONE, None);
    for name in &names {
        let done = one(session, args, &volumes, name);
        match done {
            Ok(exit) if worst == Exit::DONE => worst = exit,
            Ok(_) => {}
            Err(e) if failed.is_none() && names.len() == 1 => return Err(e),
            Err(e) => {
                let voice = Voice { json: session.globals.json, colour: session.globals.color.clone() };
                report(&e, &voice, &session.signals);
                failed.get_or_insert(Exit::of(&e));
            }
        }
        if session.signals.cancelled() {
            break;
        }
    }
    Ok(failed.unwrap_or(worst).unless_cancelled(&session.signals))
}

fn one(session: &Session, args: &CommitArgs, volumes: &Volumes, name: &str) -> Outcome {
    let used = Used::new(volumes, name)?;
    let place = place::of_mount(&used.at)?;
    // The remotes are those of its repository.
    let own = session.in_repository(&place.repository);
    let branch = volumes.branch(name, &own.context(&place)?)?;
    make(&own, &place, args, branch, Some(name))
}

/// A volume that is mounted as long as this lives.
struct Used<'v> {
    volumes: &'v Volumes,
    name: &'v str,
    user: String,
    at: std::path::PathBuf,
}

impl<'v> Used<'v> {
    fn new(volumes: &'v Volumes, name: &'v str) -> Result<Self, Failed> {
        let user = format!("dvc commit, process {}", std::process::id());
        let at = volumes.mount(name, &user, jiff::Timestamp::now().as_second())?;
        Ok(Self { volumes, name, user, at })
    }
}

impl Drop for Used<'_> {
    fn drop(&mut self) {
        // A mount that stays is ended when it is asked for the next time, or by the plugin.
        if self.volumes.unmount(self.name, &self.user).unwrap_or(false) {
            let _ = self.volumes.rest(self.name);
        }
    }
}
