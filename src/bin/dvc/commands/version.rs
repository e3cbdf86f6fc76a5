//! `dvc version`: the version of the program and of the formats that it knows.

use crate::failure::{Exit, Outcome};
use crate::session::Session;
use clap::Args;
use std::io::Write;

/// Options of `version`.
#[derive(Args, Debug)]
pub(crate) struct VersionArgs {}

/// Runs `version`.
pub(crate) fn run(session: &Session, _args: &VersionArgs) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&serde_json::json!({ "name": "dvc", "version": version }))?;
    } else {
        writeln!(out, "dvc (data-volume control) {version}")?;
    }
    out.finish()?;
    Ok(Exit::DONE)
}
