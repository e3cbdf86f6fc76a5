//! Undoes the steps of quiescing.

use std::time::{Duration, Instant};

use super::docker::{self, explained};
use super::freeze;
use super::protocol::{POLL_INTERVAL, UndoStep};
use crate::docker::{DockerEngine, ExecCommand};

/// Time limit for a step that may still be in progress, such as a container that was asked to stop.
pub(super) const PENDING_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_MAX: Duration = Duration::from_secs(86_400);

impl UndoStep {
    /// Undoes the step. This is harmless if the step had no effect. If a container may still be
    /// stopping, waits for it until `until`.
    pub(super) fn run(&self, engine: Option<&DockerEngine>, until: Instant) -> Result<(), String> {
        let engine = || engine.ok_or_else(|| "no Docker engine".to_owned());
        match self {
            Self::Unpause { id, name } => docker::unpause(engine()?, id)
                .map_err(|e| format!("container `{name}` is still paused: {}", explained(&e))),
            Self::Start {
                id, name, started, ..
            } => match docker::start(engine()?, id, started, until) {
                Ok(true) => Ok(()),
                Ok(false) => Err(format!(
                    "container `{name}` has not stopped yet after a stop request; start it again when it has stopped"
                )),
                Err(e) => Err(format!(
                    "container `{name}` is still stopped: {}",
                    explained(&e)
                )),
            },
            Self::Exec {
                container,
                command,
                limit_ms,
            } => run_in(
                engine()?,
                container,
                command,
                Duration::from_millis(*limit_ms),
                &mut || false,
            ),
            Self::Thaw { path } => freeze::open(path)
                .and_then(|frozen| frozen.thaw())
                .map_err(|e| format!("`{}` is still frozen: {e}", path.display())),
        }
    }

    /// Returns whether the step may be undone more than once.
    pub(super) const fn is_repeatable(&self) -> bool {
        !matches!(self, Self::Exec { .. })
    }

    /// Returns how long the step may still be in progress.
    fn pending_time(&self) -> Duration {
        match self {
            // A container may have an unlimited stop timeout, so limit the wait.
            Self::Start { secs, .. } => PENDING_TIMEOUT + Duration::from_secs(*secs).min(STOP_MAX),
            _ => PENDING_TIMEOUT,
        }
    }
}

/// Undoes all steps. Retries a failed one for `at_least`, or longer if the step may still be in
/// progress. Returns the problems of the steps that could not be undone.
pub(super) fn undo_all(
    mut left: Vec<UndoStep>,
    engine: Option<&DockerEngine>,
    at_least: Duration,
) -> Vec<String> {
    let (begun, mut failed) = (Instant::now(), Vec::new());
    loop {
        // The deadline is in the past, so that no step waits and every step gets a turn.
        left.retain(|undo| match undo.run(engine, begun) {
            Ok(()) => false,
            Err(_)
                if undo.is_repeatable() && begun.elapsed() < undo.pending_time().max(at_least) =>
            {
                true
            }
            Err(problem) => {
                failed.push(problem);
                false
            }
        });
        if left.is_empty() {
            return failed;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Runs a shell command in a container. Fails if its exit code is not 0.
pub(super) fn run_in(
    engine: &DockerEngine,
    container: &str,
    command: &str,
    limit: Duration,
    gone: &mut dyn FnMut() -> bool,
) -> Result<(), String> {
    let command = ["sh", "-c", command].map(str::to_owned).to_vec();
    let exec = ExecCommand {
        command,
        ..ExecCommand::default()
    };
    let ran = engine
        .exec(container, &exec, limit, gone)
        .map_err(|e| explained(&e))?;
    if ran.code == 0 {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.complaints);
    // The last line of the error output usually contains the reason.
    let last = said
        .trim()
        .lines()
        .last()
        .map(|line| format!(": {line}"))
        .unwrap_or_default();
    Err(format!(
        "a command in container `{container}` failed with exit code {}{last}",
        ran.code
    ))
}
