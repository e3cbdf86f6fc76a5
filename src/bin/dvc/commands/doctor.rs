//! `dvc doctor`: what works here, what does not and why, and how to mend it; a line per check.
//!
//! Nothing is changed and no network is used: a mount is tried in a temporary directory and taken away at once.

mod containers;
mod mounting;
mod surroundings;

use crate::failure::{Exit, Outcome};
use crate::print::{Out, Paint};
use crate::session::Session;
use clap::Args;
use serde::Serialize;
use std::io::Write;

/// Options of `doctor`.
#[derive(Args, Debug)]
#[command(
    after_help = "The exit code is 1 where a check says `no`: versions cannot be mounted here, or the settings cannot \
                        be used."
)]
pub(crate) struct DoctorArgs {}

/// What a check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// It works.
    Ok,
    /// It is needed, and does not work.
    No,
    /// It is worth knowing.
    Note,
}

/// The answer of a check.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    state: State,
    /// What was found, and why.
    what: String,
    /// How to mend it.
    mend: Option<String>,
}

impl Check {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, state: State::Ok, what: what.into(), mend: None }
    }

    fn note(check: &'static str, what: impl Into<String>, mend: impl Into<Option<String>>) -> Self {
        Self { check, state: State::Note, what: what.into(), mend: mend.into() }
    }

    fn no(check: &'static str, what: impl Into<String>, mend: impl Into<Option<String>>) -> Self {
        Self { check, state: State::No, what: what.into(), mend: mend.into() }
    }

    /// For people: `ok    device        /dev/fuse can be opened`.
    fn write(&self, out: &mut Out) -> std::io::Result<()> {
        let (word, paint) = match self.state {
            State::Ok => ("ok  ", Paint::Added),
            State::No => ("no  ", Paint::Removed),
            State::Note => ("note", Paint::Changed),
        };
        write!(out, "{}  {:<13}  {}", out.paint(paint, word), self.check, self.what)?;
        self.mend.iter().try_for_each(|mend| write!(out, "; {mend}"))?;
        writeln!(out)
    }
}

/// Runs `doctor`.
pub(crate) fn run(session: &Session, _args: &DoctorArgs) -> Outcome {
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
    Ok(if checks.iter().any(|check| check.state == State::No) { Exit::NO } else { Exit::DONE })
}
