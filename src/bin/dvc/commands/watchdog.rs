//! `dvc watchdog`: the helper process of `commit --quiesce`, which quiesces and releases the
//! writers. Users do not call it.

use crate::failure::BUG;
use crate::signals::Signals;
use dvc::quiesce::watchdog;
use std::fs::File;
use std::process::ExitCode;

/// The only argument of this process.
pub(crate) const NAME: &str = "watchdog";

/// Quiesces and releases writers on request. The requests arrive on standard input.
pub(crate) fn run(signals: &Signals) -> ExitCode {
    // Keyboard signals for the commit must not reach this process.
    let _ = rustix::process::setsid();
    let done = rustix::stdio::stdin().try_clone_to_owned();
    let done = done.and_then(|input| {
        let signals = signals.clone();
        watchdog::run(File::from(input), &mut std::io::stdout(), &|| {
            signals.cancelled()
        })
    });
    // Errors have already been reported to the commit.
    done.map_or(ExitCode::from(BUG), |()| ExitCode::SUCCESS)
}
