//! `dvc watchdog`: the process behind `commit --quiesce`, which takes hold and lets go. Nobody calls it by hand.

use crate::failure::BUG;
use crate::signals::Signals;
use dvc::quiesce::watchdog;
use std::fs::File;
use std::process::ExitCode;

/// The one argument by which this program is that.
pub(crate) const NAME: &str = "watchdog";

/// Takes hold and lets go, as it is told on standard input.
pub(crate) fn run(signals: &Signals) -> ExitCode {
    // What ends the commit from the keyboard does not end this.
    let _ = rustix::process::setsid();
    let done = rustix::stdio::stdin().try_clone_to_owned();
    let done = done.and_then(|input| {
        let signals = signals.clone();
        watchdog::run(File::from(input), &mut std::io::stdout(), &|| signals.cancelled())
    });
    // Whoever asked has been told what there is to tell.
    done.map_or(ExitCode::from(BUG), |()| ExitCode::SUCCESS)
}
