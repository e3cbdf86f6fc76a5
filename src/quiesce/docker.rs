//! Finds the containers that write to a committed directory, and pauses or stops them. Other
//! containers and the container of this process are never touched.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use super::protocol::{POLL_INTERVAL, QuiescePlan, UndoStep};
use crate::docker::{Container, ContainerMount, DockerEngine, EngineError, own};
use crate::sys::mountinfo;

/// Maximum number of rounds of looking for writers, because containers may start in the meantime.
const ATTEMPTS: usize = 5;

/// The committed directory and volumes, as the engine sees them.
struct CommittedPaths {
    paths: Vec<PathBuf>,
    volumes: Vec<String>,
}

/// Returns the containers that may write to the committed directory.
pub(super) fn writers(
    engine: &DockerEngine,
    plan: &QuiescePlan,
) -> Result<Vec<Container>, EngineError> {
    let mut all = engine.containers()?;
    for container in all
        .iter_mut()
        .filter(|c| runs(&c.state) || c.state == "paused")
    {
        // For some drivers, the list does not report the paths of volumes, so inspect the
        // container.
        if container
            .mounts
            .iter()
            .any(|m| !m.name.is_empty() && !m.source.is_absolute())
        {
            match engine.container(&container.id) {
                Ok(known) => container.mounts = known.mounts,
                Err(EngineError::NotFound { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        // Inspect only the volumes of the plan, because the engine queries the driver of an
        // inspected volume, which may hang.
        for mount in container
            .mounts
            .iter_mut()
            .filter(|m| plan.volumes.contains(&m.name) && !m.source.is_absolute())
        {
            match engine.volume(&mount.name) {
                Ok(known) => mount.source = known.mountpoint,
                Err(EngineError::NotFound { .. }) => {}
                Err(e) => return Err(e),
            }
        }
    }
    let own = own(&all);
    let source = CommittedPaths::of(plan, own);
    let own = own.map(|own| own.id.clone());
    let concerned = |c: &Container| {
        Some(&c.id) != own.as_ref() && c.mounts.iter().any(|m| source.is_written_by(m))
    };
    Ok(all.iter().filter(|c| concerned(c)).cloned().collect())
}

impl CommittedPaths {
    fn of(plan: &QuiescePlan, own: Option<&Container>) -> Self {
        let mut source = Self {
            paths: Vec::new(),
            volumes: plan.volumes.clone(),
        };
        match own {
            None => source.paths.push(plan.source.clone()),
            // The engine sees our directory at a different path.
            Some(own) => {
                let (path, volume) = own.outside(&plan.source);
                source.paths.extend(path);
                source.volumes.extend(volume);
            }
        }
        source
    }

    fn is_written_by(&self, mount: &ContainerMount) -> bool {
        // The name of a volume counts only if its path is unknown.
        let named = !mount.name.is_empty()
            && !mount.source.is_absolute()
            && self.volumes.contains(&mount.name);
        let there = || {
            // Use `located`, because a path that leads into a dead mount cannot be resolved
            // otherwise.
            let at = mountinfo::located(&mount.source).unwrap_or_else(|_| mount.source.clone());
            self.paths
                .iter()
                .any(|path| path.starts_with(&at) || at.starts_with(path))
        };
        mount.writable && (named || (mount.source.is_absolute() && there()))
    }
}

/// Pauses or stops all running writers. `noted` receives the events of each step, see
/// [`ContainerEvent`].
pub(super) fn hold(
    engine: &DockerEngine,
    plan: &QuiescePlan,
    stop: bool,
    until: Instant,
    noted: &mut dyn FnMut(ContainerEvent),
) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    // A container may start while others are paused, so the list is read until it has no new one.
    for _ in 0..ATTEMPTS {
        let found = writers(engine, plan).map_err(|e| explained(&e))?;
        let fresh: Vec<Container> = found
            .into_iter()
            .filter(|c| runs(&c.state) && !seen.contains(&c.id))
            .collect();
        if fresh.is_empty() {
            return Ok(());
        }
        for container in fresh {
            let name = container.name().to_owned();
            let (id, left) = (
                container.id.clone(),
                until.saturating_duration_since(Instant::now()),
            );
            seen.insert(id.clone());
            let undo = if stop {
                let known = engine.container(&id).map_err(|e| explained(&e))?;
                if known.host_config.auto_remove {
                    return Err(format!(
                        "cannot stop container `{name}`, because the engine removes it when it stops (`--rm`)"
                    ));
                }
                let secs = known.time_to_stop().as_secs();
                // The time of the start shows later whether another process has started the
                // container again.
                UndoStep::Start {
                    id: id.clone(),
                    name: name.clone(),
                    started: known.state.started_at,
                    secs,
                }
            } else {
                UndoStep::Unpause {
                    id: id.clone(),
                    name: name.clone(),
                }
            };
            // The undo step is reported first, because this process may die during the step.
            noted(ContainerEvent::Undo(undo));
            let held = if stop {
                engine.stop(&id, left)
            } else {
                engine.pause(&id)
            };
            if let Err(e) = held {
                match engine.container(&id).map(|c| c.state) {
                    // The container has exited, or another process has paused it.
                    Ok(state)
                        if !runs(&state.status) && !matches!(e, EngineError::TimedOut { .. }) =>
                    {
                        noted(ContainerEvent::NotNeeded);
                    }
                    Err(EngineError::NotFound { .. }) => noted(ContainerEvent::NotNeeded),
                    // The engine may still pause or stop the container, so the step must be undone.
                    _ => return Err(explained(&e)),
                }
            } else {
                noted(ContainerEvent::Did(format!(
                    "{} container `{name}`",
                    if stop { "stopped" } else { "paused" }
                )));
            }
        }
    }
    Err("cannot quiesce the volume: new containers that write to it keep starting".to_owned())
}

/// An event of a step of [`hold`].
pub(super) enum ContainerEvent {
    /// The step comes next, and must be undone.
    Undo(UndoStep),
    /// The step was done.
    Did(String),
    /// The step was not needed, and must not be undone.
    NotNeeded,
}

/// Returns a message for each writer that runs although all writers should be paused or stopped.
pub(super) fn running_writers(engine: &DockerEngine, plan: &QuiescePlan) -> Vec<String> {
    match writers(engine, plan) {
        Ok(found) => {
            let runs = found.iter().filter(|c| runs(&c.state));
            runs.map(|c| format!("container `{}` ran while the volume was read", c.name()))
                .collect()
        }
        Err(e) => vec![explained(&e)],
    }
}

fn runs(state: &str) -> bool {
    matches!(state, "running" | "restarting")
}

/// Unpauses a container.
pub(super) fn unpause(engine: &DockerEngine, id: &str) -> Result<(), EngineError> {
    // Another process may have unpaused or removed the container.
    match engine.container(id) {
        Ok(container) if container.state.paused => engine.unpause(id),
        Ok(_) | Err(EngineError::NotFound { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Starts a container that was asked to stop; `started` is its last start. The engine may still be
/// stopping the container, so it is watched until `until`. Returns false if it still runs then.
pub(super) fn start(
    engine: &DockerEngine,
    id: &str,
    started: &str,
    until: Instant,
) -> Result<bool, EngineError> {
    loop {
        match engine.container(id) {
            Ok(container) if !container.state.running => return engine.start(id).map(|()| true),
            // Another process has started the container.
            Ok(container) if container.state.started_at != started => return Ok(true),
            Ok(_) if Instant::now() >= until => return Ok(false),
            // The engine may still be stopping the container.
            Ok(_) => std::thread::sleep(POLL_INTERVAL),
            Err(EngineError::NotFound { .. }) => return Ok(true),
            Err(e) => return Err(e),
        }
    }
}

/// Returns an error with its causes.
pub(super) fn explained(e: &EngineError) -> String {
    crate::error::with_causes(e)
}

#[cfg(test)]
mod tests {
    use super::super::profile::QuiesceProfile;
    use super::*;

    fn mount(name: &str, source: &str, destination: &str, writable: bool) -> ContainerMount {
        ContainerMount {
            name: name.to_owned(),
            source: source.into(),
            destination: destination.into(),
            writable,
        }
    }

    fn plan(source: &str, volumes: &[&str]) -> QuiescePlan {
        QuiescePlan {
            profiles: vec![QuiesceProfile::Pause],
            source: source.into(),
            volumes: volumes.iter().map(|v| (*v).to_owned()).collect(),
            engine: None,
            password: None,
            limit_ms: 1,
        }
    }

    #[test]
    fn only_writers_are_found() {
        let source = CommittedPaths::of(&plan("/no/v/a/_data", &["named"]), None);
        for (name, path, writable, meant) in [
            ("a", "/no/v/a/_data", true, true),
            ("a", "/no/v/a/_data", false, false),
            ("a", "/no/v/a/_data/deeper", true, true),
            ("", "/no/v", true, true),
            ("", "/", true, true),
            ("b", "/no/v/a/_data2", true, false),
            ("b", "/no/v/b/_data", true, false),
            ("named", "", true, true),
            ("named", "", false, false),
            ("named", "/no/v/named/_data", true, false),
            ("", "", true, false),
        ] {
            assert_eq!(
                source.is_written_by(&mount(name, path, "/x", writable)),
                meant,
                "{name} {path} {writable}"
            );
        }
    }

    #[test]
    fn in_a_container_the_paths_of_the_engine_count() {
        let own = Container {
            id: "1".to_owned(),
            names: vec!["/side".to_owned()],
            state: "running".to_owned(),
            labels: std::collections::BTreeMap::default(),
            mounts: vec![
                mount("v", "/no/v", "/source/db", false),
                mount("", "/no/w", "/source", false),
            ],
        };
        let source = CommittedPaths::of(&plan("/source/db/deep", &[]), Some(&own));
        assert_eq!(
            (source.paths, source.volumes),
            (vec![PathBuf::from("/no/v/deep")], vec!["v".to_owned()])
        );
        let source = CommittedPaths::of(&plan("/source/x", &[]), Some(&own));
        assert_eq!(
            (source.paths, source.volumes.len()),
            (vec![PathBuf::from("/no/w/x")], 0)
        );
        let source = CommittedPaths::of(&plan("/etc", &[]), Some(&own));
        assert_eq!((source.paths.len(), source.volumes.len()), (0, 0));
    }
}
