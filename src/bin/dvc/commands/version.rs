//! `dvc version`: prints the version of the program.

use crate::failure::{CommandResult, Exit};
use crate::session::Session;
use clap::Args;
use serde::Serialize;
use std::io::Write;

/// Options of `version`.
#[derive(Args, Debug)]
pub(crate) struct VersionArgs {}

#[derive(Serialize)]
struct JsonProgram {
    name: &'static str,
    version: &'static str,
}

/// Runs `version`.
pub(crate) fn run(session: &Session, _args: &VersionArgs) -> CommandResult {
    let version = env!("CARGO_PKG_VERSION");
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&JsonProgram {
            name: "dvc",
            version,
        })?;
    } else {
        writeln!(out, "dvc (data-volume control) {version}")?;
    }
    out.finish()?;
    Ok(Exit::DONE)
}
