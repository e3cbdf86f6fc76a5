//! Replaces the client in a build without the feature `docker`: no engine can be reached.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use super::error::EngineError;
use super::types::{Container, ContainerDetails, EngineVersion, ExecCommand, ExecResult, Volume};

/// A connection to an engine; it cannot exist in this build.
pub struct DockerEngine(Infallible);

/// A running command in a container; it cannot exist in this build.
pub struct ExecSession<'e>(Infallible, std::marker::PhantomData<&'e DockerEngine>);

impl DockerEngine {
    /// Always fails, because this build has no client.
    pub const fn new(_: Option<&str>) -> Result<Self, EngineError> {
        Err(EngineError::NotBuilt)
    }

    /// Never called.
    pub const fn within(self, _: Duration) -> Self {
        self
    }

    /// Never called.
    pub const fn socket(&self) -> &Path {
        match self.0 {}
    }

    /// Never called.
    pub const fn ping(&self) -> Result<(), EngineError> {
        match self.0 {}
    }

    /// Never called.
    pub const fn version(&self) -> Result<EngineVersion, EngineError> {
        match self.0 {}
    }

    /// Never called.
    pub const fn local_volumes(&self) -> Result<Vec<Volume>, EngineError> {
        match self.0 {}
    }

    /// Never called.
    pub const fn volume(&self, _: &str) -> Result<Volume, EngineError> {
        match self.0 {}
    }

    /// Never called.
    pub const fn volume_within(&self, _: &str, _: Duration) -> Result<Volume, EngineError> {
        match self.0 {}
    }

    /// Never called.
    pub const fn remove_volume(&self, _: &str) -> Result<(), EngineError> {
        match self.0 {}
    }

    /// Never called.
    pub const fn containers(&self) -> Result<Vec<Container>, EngineError> {
        match self.0 {}
    }

    /// Never called.
    pub const fn container(&self, _: &str) -> Result<ContainerDetails, EngineError> {
        match self.0 {}
    }

    /// Never called.
    pub const fn pause(&self, _: &str) -> Result<(), EngineError> {
        match self.0 {}
    }

    /// Never called.
    pub const fn unpause(&self, _: &str) -> Result<(), EngineError> {
        match self.0 {}
    }

    /// Never called.
    pub const fn stop(&self, _: &str, _: Duration) -> Result<(), EngineError> {
        match self.0 {}
    }

    /// Never called.
    pub const fn start(&self, _: &str) -> Result<(), EngineError> {
        match self.0 {}
    }

    /// Never called.
    pub const fn session(&self, _: &str, _: &ExecCommand) -> Result<ExecSession<'_>, EngineError> {
        match self.0 {}
    }

    /// Never called.
    pub fn create_volume(
        &self,
        _: &str,
        _: &BTreeMap<String, String>,
    ) -> Result<Volume, EngineError> {
        match self.0 {}
    }

    /// Never called.
    pub fn exec(
        &self,
        _: &str,
        _: &ExecCommand,
        _: Duration,
        _: &mut dyn FnMut() -> bool,
    ) -> Result<ExecResult, EngineError> {
        match self.0 {}
    }
}

impl ExecSession<'_> {
    /// Never called.
    pub const fn send(&mut self, _: &[u8], _: Duration) -> Result<(), EngineError> {
        match self.0 {}
    }

    /// Never called.
    pub const fn line(&mut self, _: Duration) -> Result<Option<String>, EngineError> {
        match self.0 {}
    }

    /// Never called.
    pub const fn complaints(&self) -> String {
        match self.0 {}
    }
}
