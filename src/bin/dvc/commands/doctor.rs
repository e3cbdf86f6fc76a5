//! `dvc doctor`: checks what works on this machine, why the rest does not, and how to fix it; one
//! line per check.
//!
//! Nothing is changed and no network is used. A trial mount in a temporary directory is removed
//! immediately.

mod check;
mod containers;
mod mounting;
mod surroundings;

use crate::failure::{CommandResult, Exit};
use crate::session::Session;
use check::CheckState;
use clap::Args;

/// Options of `doctor`.
#[derive(Args, Debug)]
#[command(
    after_help = "The exit code is 1 if a check reports `no`: versions cannot be mounted here, or the settings cannot be \
                        used."
)]
pub(crate) struct DoctorArgs {}

/// Runs `doctor`.
pub(crate) fn run(session: &Session, _args: &DoctorArgs) -> CommandResult {
    let mut checks = mounting::checks(session);
    checks.extend(containers::checks());
    checks.extend(surroundings::checks(session));
    let mut out = session.plain_out();
    for check in &checks {
        if session.globals.json {
            out.json(check)?;
        } else {
            check.write(&mut out)?;
        }
    }
    out.finish()?;
    Ok(
        if checks.iter().any(|check| check.state == CheckState::No) {
            Exit::NO
        } else {
            Exit::DONE
        },
    )
}
