//! A client of the Docker Engine API over its Unix socket: volumes, containers, and commands in
//! containers.
//!
//! The client decodes only the fields that dvc uses. Every request has a time limit, every error
//! has a kind, and all calls are synchronous.

#[cfg(not(feature = "docker"))]
mod absent;
#[cfg(feature = "docker")]
mod client;
mod error;
#[cfg(feature = "docker")]
mod exec;
mod own;
mod types;

#[cfg(not(feature = "docker"))]
pub use absent::{DockerEngine, ExecSession};
#[cfg(feature = "docker")]
pub use client::DockerEngine;
pub use error::EngineError;
#[cfg(feature = "docker")]
pub use exec::ExecSession;
pub use own::own;
pub use types::{
    Container, ContainerConfig, ContainerDetails, ContainerMount, ContainerState, EngineVersion,
    ExecCommand, ExecResult, HostConfig, LOCAL, PLUGIN_SOCKET, SOCKET, Volume,
};
