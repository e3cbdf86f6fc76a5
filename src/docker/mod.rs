//! A client of the Docker Engine API over its Unix socket: volumes, containers, commands inside of them.
//!
//! In: where the engine listens. Out: what it says, as far as anybody here asks for it. Every request has a time limit, and
//! what went wrong is told by its kind. The calls are synchronous.

mod client;
mod error;
mod exec;
mod own;

pub use client::Engine;
pub use error::EngineError;
pub use exec::{Exec, Ran, Session};
pub use own::own;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// Where an engine listens if nothing else is said.
pub const SOCKET: &str = "/var/run/docker.sock";

/// The driver of the volumes that an engine keeps itself, as directories on its machine.
pub const LOCAL: &str = "local";

/// So long a container may take to end where nothing else was said.
const STOP_TIME: Duration = Duration::from_secs(10);

/// What an engine is.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Version {
    /// Its version, such as `20.10.24`.
    pub version: String,
    /// The newest version of the API that it speaks.
    pub api_version: String,
}

/// A volume.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// The driver that keeps it.
    pub driver: String,
    /// Where its content lies on the engine's machine; empty where the driver does not say.
    #[serde(default)]
    pub mountpoint: PathBuf,
    /// Labels.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// What it was created with.
    #[serde(default, deserialize_with = "or_default")]
    pub options: BTreeMap<String, String>,
}

/// Something that a container has mounted.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mount {
    /// The volume; empty if it is none.
    #[serde(default)]
    pub name: String,
    /// Where it is on the engine's machine.
    #[serde(default)]
    pub source: PathBuf,
    /// Where it is in the container.
    #[serde(default)]
    pub destination: PathBuf,
    /// Whether the container may write to it.
    #[serde(rename = "RW", default)]
    pub writable: bool,
}

/// A container in the list of all.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its names, each behind a `/`.
    #[serde(default)]
    pub names: Vec<String>,
    /// `created`, `restarting`, `running`, `removing`, `paused`, `exited`, `dead`.
    pub state: String,
    /// Labels.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// What it has mounted.
    #[serde(default)]
    pub mounts: Vec<Mount>,
}

impl Container {
    /// Its name, or where it has none its id.
    pub fn name(&self) -> &str {
        self.names.first().map_or(&self.id, |name| name.trim_start_matches('/'))
    }
}

/// What is known of one container.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspected {
    /// Its id.
    pub id: String,
    /// Its name, behind a `/`.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// What it was created with.
    #[serde(default)]
    pub config: Config,
    /// What it was created with for this machine.
    #[serde(default)]
    pub host_config: HostConfig,
    /// What it has mounted.
    #[serde(default)]
    pub mounts: Vec<Mount>,
}

/// How a container stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// As in [`Container::state`].
    pub status: String,
    /// It runs; one that is paused does too.
    pub running: bool,
    /// It is paused.
    pub paused: bool,
    /// When it was started the last time: another time means that it was started again.
    #[serde(default)]
    pub started_at: String,
}

/// What a container was created with, wherever it runs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// Seconds that it has to end before it is killed, none for ever.
    #[serde(default)]
    pub stop_timeout: Option<i64>,
}

impl Inspected {
    /// So long it may take to end once it is asked to.
    pub fn time_to_stop(&self) -> Duration {
        match self.config.stop_timeout.map(u64::try_from) {
            None => STOP_TIME,
            Some(Ok(secs)) => Duration::from_secs(secs),
            Some(Err(_)) => Duration::MAX,
        }
    }
}

/// What a container was created with for this machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    /// It is removed when it ends.
    #[serde(default)]
    pub auto_remove: bool,
}

fn or_default<'d, D: serde::Deserializer<'d>, T: Default + Deserialize<'d>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
