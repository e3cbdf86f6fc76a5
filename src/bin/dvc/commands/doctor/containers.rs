//! Checks of what containers need: the Docker engine, the socket of our plugin, and that what is mounted for volumes is seen elsewhere.
//!
//! None of it is needed by who has no containers, so it is worth knowing, no more.

use super::Check;
use crate::commands::volume;
use crate::dirs;
use dvc::docker::{EngineError, PLUGIN_SOCKET};
use dvc::error::Failure;
use dvc::model::path::display;
use dvc::sys::mountinfo;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Nobody waits longer for an engine or a plugin.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer of a plugin that is longer is none.
const ANSWER_MAX: u64 = 64 << 10;

/// All of them.
pub(super) fn checks() -> Vec<Check> {
    vec![engine(), plugin(Path::new(PLUGIN_SOCKET)), propagation()]
}

fn engine() -> Check {
    let name = "docker";
    let asked = volume::engine().and_then(|engine| {
        let engine = engine.within(PATIENCE);
        let version = engine.version()?;
        Ok((engine.socket().to_owned(), version))
    });
    match asked {
        Ok((socket, version)) => {
            let at = display(socket.as_os_str().as_bytes());
            Check::ok(name, format!("engine {} with API {} at `{at}`", version.version, version.api_version))
        }
        Err(e @ EngineError::Missing { .. }) => {
            Check::note(name, format!("{e}; plain volumes and `--quiesce docker:` need one"), e.hint())
        }
        Err(e) => Check::note(name, e.to_string(), e.hint()),
    }
}

/// Whether somebody serves the volumes of dvc to engines.
fn plugin(socket: &Path) -> Check {
    let (name, at) = ("volume plugin", display(socket.as_os_str().as_bytes()));
    match activated(socket) {
        Ok(answer) if answer.contains("\"VolumeDriver\"") => Check::ok(name, format!("it answers at `{at}`")),
        Ok(_) => Check::note(name, format!("what listens at `{at}` is no volume driver"), None),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let mend = "`dvc serve --plugin` lets Docker have volumes of dvc".to_owned();
            Check::note(name, format!("none runs: there is no `{at}`"), mend)
        }
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => {
            // An engine waits for it whenever it does not know a name of a volume.
            let what = format!("nobody listens at `{at}`, for which every engine here waits");
            Check::note(name, what, "start `dvc serve --plugin`, or remove the socket".to_owned())
        }
        Err(e) => Check::note(name, format!("`{at}` cannot be asked: {e}"), None),
    }
}

/// What a plugin says it is, in its own protocol.
fn activated(socket: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"POST /Plugin.Activate HTTP/1.0\r\nHost: plugin\r\nContent-Length: 0\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Whether what is mounted for volumes reaches other mount namespaces that are there already, such as that of an engine.
fn propagation() -> Check {
    let (name, volumes) = ("volumes", dirs::state().join("volumes"));
    let shown = display(volumes.as_os_str().as_bytes());
    match mountinfo::containing(&volumes) {
        Ok(Some(mounted)) if mounted.shared.is_some() => {
            Check::ok(name, format!("what is mounted below `{shown}` is seen by containers and engines"))
        }
        Ok(Some(mounted)) => {
            let at = display(mounted.at.as_os_str().as_bytes());
            let what =
                format!("`{at}`, on which `{shown}` lies, shares no mounts: an engine elsewhere does not see volumes");
            let mend = format!("`mount --make-rshared {at}`; of a container, `bind-propagation=rshared`");
            Check::note(name, what, mend)
        }
        Ok(None) => Check::note(name, format!("`{shown}` lies on no mount that is known"), None),
        Err(e) => Check::note(name, format!("the mounts cannot be read: {e}"), None),
    }
}
