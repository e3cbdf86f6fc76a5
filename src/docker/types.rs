//! Request and response types of the Docker Engine API, with only the fields that dvc uses.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// The default socket of an engine.
pub const SOCKET: &str = "/var/run/docker.sock";

/// The socket at which an engine looks for the volume plugin `dvc`.
pub const PLUGIN_SOCKET: &str = "/run/docker/plugins/dvc.sock";

/// The engine's built-in driver, whose volumes are directories on the engine's machine.
pub const LOCAL: &str = "local";

/// The default time between the stop signal and the kill of a container.
const STOP_TIME: Duration = Duration::from_secs(10);

/// A command to run in a container.
#[derive(Clone, Debug, Default)]
pub struct ExecCommand {
    pub command: Vec<String>,
    /// `NAME=value` pairs. Secrets belong here, because process lists show arguments but not the
    /// environment.
    pub env: Vec<String>,
}

/// The result of a command.
#[derive(Clone, Debug, Default)]
pub struct ExecResult {
    pub code: i64,
    /// Standard output, at most 1 MiB.
    pub output: Vec<u8>,
    /// Standard error, at most 1 MiB.
    pub complaints: Vec<u8>,
}

/// The versions of an engine.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EngineVersion {
    /// Version of the engine, such as `20.10.24`.
    pub version: String,
    /// The newest API version that the engine supports.
    pub api_version: String,
}

/// A volume of an engine.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    pub name: String,
    pub driver: String,
    /// Directory of the content on the engine's machine; empty if the driver does not report it.
    #[serde(default)]
    pub mountpoint: PathBuf,
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// Driver options with which the volume was created.
    #[serde(default, deserialize_with = "or_default")]
    pub options: BTreeMap<String, String>,
}

/// A mount of a container.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerMount {
    /// Name of the volume; empty if the mount is not a volume.
    #[serde(default)]
    pub name: String,
    /// Path on the engine's machine.
    #[serde(default)]
    pub source: PathBuf,
    /// Path in the container.
    #[serde(default)]
    pub destination: PathBuf,
    #[serde(rename = "RW", default)]
    pub writable: bool,
}

/// A container in the list of containers.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    pub id: String,
    /// Names, each with a leading `/`.
    #[serde(default)]
    pub names: Vec<String>,
    /// One of `created`, `restarting`, `running`, `removing`, `paused`, `exited`, `dead`.
    pub state: String,
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub mounts: Vec<ContainerMount>,
}

impl Container {
    /// Returns the first name without the `/`, or the id if the container has no name.
    pub fn name(&self) -> &str {
        self.names
            .first()
            .map_or(&self.id, |name| name.trim_start_matches('/'))
    }
}

/// The details of one container.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerDetails {
    pub id: String,
    /// Name with a leading `/`.
    pub name: String,
    pub state: ContainerState,
    /// The part of the configuration that does not depend on the host.
    #[serde(default)]
    pub config: ContainerConfig,
    /// The part of the configuration that depends on the host.
    #[serde(default)]
    pub host_config: HostConfig,
    #[serde(default)]
    pub mounts: Vec<ContainerMount>,
}

/// The state of a container.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerState {
    /// One of the values of [`Container::state`].
    pub status: String,
    /// Also true for a paused container.
    pub running: bool,
    pub paused: bool,
    /// Time of the last start. A changed time means that the container was restarted.
    #[serde(default)]
    pub started_at: String,
}

/// The configuration of a container that does not depend on the host.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// Stop timeout in seconds; negative means no timeout.
    #[serde(default)]
    pub stop_timeout: Option<i64>,
}

impl ContainerDetails {
    /// Returns the time between the stop signal and the kill of the container.
    pub fn time_to_stop(&self) -> Duration {
        match self.config.stop_timeout.map(u64::try_from) {
            None => STOP_TIME,
            Some(Ok(secs)) => Duration::from_secs(secs),
            // The engine waits without a limit if the time is negative.
            Some(Err(_)) => Duration::MAX,
        }
    }
}

/// The configuration of a container that depends on the host.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    /// Whether the engine removes the container when it exits.
    #[serde(default)]
    pub auto_remove: bool,
}

fn or_default<'d, D: serde::Deserializer<'d>, T: Default + Deserialize<'d>>(
    from: D,
) -> Result<T, D::Error> {
    // The engine returns null instead of an empty object.
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
