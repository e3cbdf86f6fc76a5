//! `dvc serve`: runs as a server for other programs.

use crate::failure::{CommandResult, Exit};
use crate::machine::volumes;
use crate::session::Session;
use clap::Args;
use dvc::docker::PLUGIN_SOCKET;
use dvc::model::text::harmless;
use dvc::serve::plugin::VolumePlugin;
use std::io::Write;
use std::path::PathBuf;

/// Options of `serve`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dvc serve --plugin\n  docker volume create -d dvc -o repo=s3://backups/amcc -o rev=AMCC@v3 db"
)]
pub(crate) struct ServeArgs {
    /// Run the Docker volume plugin on the socket SOCK, whose file name is the name of the driver
    #[arg(
        long, value_name = "SOCK", num_args = 0..=1, require_equals = true, required = true,
        default_missing_value = PLUGIN_SOCKET, value_hint = clap::ValueHint::FilePath
    )]
    pub(crate) plugin: Option<PathBuf>,
}

/// Runs `serve`.
pub(crate) fn run(session: &Session, args: &ServeArgs) -> CommandResult {
    let Some(socket) = &args.plugin else {
        return Ok(Exit::DONE);
    };
    let socket = session.current.join(socket);
    let log = |line: &str| {
        // A closed standard error must not stop the server.
        let _ = writeln!(
            std::io::stderr(),
            "{} {}",
            jiff::Timestamp::now(),
            harmless(line)
        );
    };
    let plugin = VolumePlugin::bind(&socket, volumes(session)?, Box::new(log))?;
    log(&format!("serving {}", socket.display()));
    let signals = session.signals.clone();
    plugin.run(&|| signals.cancelled())?;
    log("stopped; volumes in use stay mounted");
    Ok(Exit::DONE)
}
