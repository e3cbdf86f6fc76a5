//! `dvc serve`: runs for a long time and is asked by others.

use crate::commands::volume::volumes;
use crate::failure::{Exit, Outcome};
use crate::session::Session;
use clap::Args;
use dvc::docker::PLUGIN_SOCKET;
use dvc::model::text::harmless;
use dvc::serve::plugin::Plugin;
use std::io::Write;
use std::path::PathBuf;

/// Options of `serve`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dvc serve --plugin\n  docker volume create -d dvc -o repo=s3://backups/amcc -o rev=AMCC@v3 db"
)]
pub(crate) struct ServeArgs {
    /// Be Docker's volume driver; the name of the socket is the driver's
    #[arg(
        long, value_name = "SOCK", num_args = 0..=1, require_equals = true, required = true,
        default_missing_value = PLUGIN_SOCKET, value_hint = clap::ValueHint::FilePath
    )]
    pub(crate) plugin: Option<PathBuf>,
}

/// Runs `serve`.
pub(crate) fn run(session: &Session, args: &ServeArgs) -> Outcome {
    let Some(socket) = &args.plugin else { return Ok(Exit::DONE) };
    let socket = session.current.join(socket);
    let tell = |line: &str| {
        // Nobody to read it is no reason to end.
        let _ = writeln!(std::io::stderr(), "{} {}", jiff::Timestamp::now(), harmless(line));
    };
    let plugin = Plugin::bind(&socket, volumes(session)?, Box::new(tell))?;
    tell(&format!("serving {}", socket.display()));
    let signals = session.signals.clone();
    plugin.run(&|| signals.cancelled())?;
    tell("stopped; what is mounted for containers stays");
    Ok(Exit::DONE)
}
