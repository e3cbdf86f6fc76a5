//! Checks for containers: the Docker engine, the socket of our plugin, and the propagation of
//! mounts.
//!
//! Users without containers need none of this, so no check reports more than a note.

use super::check::DoctorCheck;
use crate::dirs;
use crate::machine;
use dvc::docker::{EngineError, PLUGIN_SOCKET};
use dvc::error::Failure;
use dvc::model::path::display;
use dvc::sys::mountinfo;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The timeout for an engine or a plugin.
const PATIENCE: Duration = Duration::from_secs(5);
/// Limit for the length of a plugin's response, in bytes.
const ANSWER_MAX: u64 = 64 << 10;

/// Runs all checks.
pub(super) fn checks() -> Vec<DoctorCheck> {
    vec![engine(), plugin(Path::new(PLUGIN_SOCKET)), propagation()]
}

fn engine() -> DoctorCheck {
    let name = "docker";
    let asked = machine::engine().and_then(|engine| {
        let engine = engine.within(PATIENCE);
        let version = engine.version()?;
        Ok((engine.socket().to_owned(), version))
    });
    match asked {
        Ok((socket, version)) => {
            let at = display(socket.as_os_str().as_bytes());
            DoctorCheck::ok(
                name,
                format!(
                    "engine {} with API {} at `{at}`",
                    version.version, version.api_version
                ),
            )
        }
        Err(e @ EngineError::Missing { .. }) => DoctorCheck::note(
            name,
            format!("{e}; local-driver volumes and `--quiesce docker:` need an engine"),
            e.hint(),
        ),
        Err(e) => DoctorCheck::note(name, e.to_string(), e.hint()),
    }
}

/// Checks whether a plugin serves dvc volumes to engines.
fn plugin(socket: &Path) -> DoctorCheck {
    let (name, at) = ("volume plugin", display(socket.as_os_str().as_bytes()));
    match activated(socket) {
        Ok(answer) if answer.contains("\"VolumeDriver\"") => {
            DoctorCheck::ok(name, format!("a plugin is running at `{at}`"))
        }
        Ok(_) => DoctorCheck::note(
            name,
            format!("the server at `{at}` is not a volume driver"),
            None,
        ),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let hint = "run `dvc serve --plugin` to offer dvc volumes to Docker".to_owned();
            DoctorCheck::note(
                name,
                format!("no plugin is running: `{at}` does not exist"),
                hint,
            )
        }
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => {
            // An engine queries the plugin for each volume name that it does not know, and waits
            // for a response.
            let what = format!(
                "no process is listening on `{at}`, so Docker commands that name an unknown volume wait for the plugin"
            );
            DoctorCheck::note(
                name,
                what,
                "start `dvc serve --plugin`, or remove the socket".to_owned(),
            )
        }
        Err(e) => DoctorCheck::note(name, format!("cannot query `{at}`: {e}"), None),
    }
}

/// Returns a plugin's response to the query which protocols it supports.
fn activated(socket: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // With HTTP/1.0, the server closes the connection after the response, so the end needs no
    // parsing.
    stream.write_all(
        b"POST /Plugin.Activate HTTP/1.0\r\nHost: plugin\r\nContent-Length: 0\r\n\r\n",
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Checks whether mounts for volumes propagate to existing mount namespaces, such as that of an
/// engine.
fn propagation() -> DoctorCheck {
    let (name, volumes) = ("volumes", dirs::state().join("volumes"));
    let shown = display(volumes.as_os_str().as_bytes());
    match mountinfo::containing(&volumes) {
        Ok(Some(mounted)) if mounted.shared.is_some() => DoctorCheck::ok(
            name,
            format!("containers and engines see mounts below `{shown}`"),
        ),
        Ok(Some(mounted)) => {
            let at = display(mounted.at.as_os_str().as_bytes());
            let what = format!(
                "the mount `{at}`, which contains `{shown}`, is not shared: an engine in another mount namespace does not see volumes"
            );
            let hint = format!(
                "run `mount --make-rshared {at}`; for a container, use `bind-propagation=rshared`"
            );
            DoctorCheck::note(name, what, hint)
        }
        Ok(None) => DoctorCheck::note(
            name,
            format!("cannot find the mount that contains `{shown}`"),
            None,
        ),
        Err(e) => DoctorCheck::note(name, format!("cannot read the mount table: {e}"), None),
    }
}
