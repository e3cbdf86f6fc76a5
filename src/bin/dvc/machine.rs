//! The Docker engine and the volumes of this machine, as the environment and the settings name
//! them.

use crate::dirs;
use crate::failure::{CliError, Failed};
use crate::session::Session;
use dvc::docker::{DockerEngine, EngineError};
use dvc::ops::volume::Volumes;
use std::path::PathBuf;

/// Returns the Docker engine that `DOCKER_HOST` names, or the default one. No request is sent yet.
pub(crate) fn engine() -> Result<DockerEngine, EngineError> {
    DockerEngine::new(std::env::var("DOCKER_HOST").ok().as_deref())
}

/// Returns whether the environment names an engine.
pub(crate) fn engine_is_named() -> bool {
    std::env::var_os("DOCKER_HOST").is_some_and(|host| !host.is_empty())
}

/// Returns the volumes of this machine.
pub(crate) fn volumes(session: &Session) -> Result<Volumes, Failed> {
    let failed = |source| CliError::File {
        doing: "find",
        path: PathBuf::from("dvc"),
        source,
    };
    let program = std::env::current_exe().map_err(failed)?;
    let cache = session
        .settings()?
        .text("cache.dir")
        .map(PathBuf::from)
        .unwrap_or_default();
    let settings = session
        .globals
        .set
        .iter()
        .flat_map(|set| ["-c".to_owned(), set.clone()])
        .collect();
    Ok(Volumes::new(
        &dirs::state(),
        dirs::usable_run()?,
        cache,
        program,
        settings,
    ))
}
