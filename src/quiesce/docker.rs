//! Which containers write to what is committed, and holding those: never others, and never ourselves.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use crate::docker::{Container, ContainerMount, DockerEngine, EngineError, own};
use crate::quiesce::TICK;
use crate::quiesce::watchdog::{Plan, Undo};
use crate::sys::mountinfo;

/// A container that was started meanwhile is found by looking again, so often.
const LOOKS: usize = 5;

/// What is committed, as the engine sees it.
struct Source {
    paths: Vec<PathBuf>,
    volumes: Vec<String>,
}

/// The containers that may write to what is committed.
pub(super) fn writers(engine: &DockerEngine, plan: &Plan) -> Result<Vec<Container>, EngineError> {
    let mut all = engine.containers()?;
    for container in all.iter_mut().filter(|c| runs(&c.state) || c.state == "paused") {
        // Of volumes of some drivers the list does not say where they are.
        if container.mounts.iter().any(|m| !m.name.is_empty() && !m.source.is_absolute()) {
            match engine.container(&container.id) {
                Ok(known) => container.mounts = known.mounts,
                Err(EngineError::NotFound { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        // Nor does the container, but the volume: of the names that are meant, so that no other driver is asked.
        for mount in container.mounts.iter_mut().filter(|m| plan.volumes.contains(&m.name) && !m.source.is_absolute()) {
            match engine.volume(&mount.name) {
                Ok(known) => mount.source = known.mountpoint,
                Err(EngineError::NotFound { .. }) => {}
                Err(e) => return Err(e),
            }
        }
    }
    let own = own(&all);
    let source = Source::of(plan, own);
    let own = own.map(|own| own.id.clone());
    let concerned = |c: &Container| Some(&c.id) != own.as_ref() && c.mounts.iter().any(|m| source.is_written_by(m));
    Ok(all.iter().filter(|c| concerned(c)).cloned().collect())
}

impl Source {
    fn of(plan: &Plan, own: Option<&Container>) -> Self {
        let mut source = Self { paths: Vec::new(), volumes: plan.volumes.clone() };
        match own {
            None => source.paths.push(plan.source.clone()),
            // To us it is at another path than to the engine.
            Some(own) => {
                let (path, volume) = own.outside(&plan.source);
                source.paths.extend(path);
                source.volumes.extend(volume);
            }
        }
        source
    }

    fn is_written_by(&self, mount: &ContainerMount) -> bool {
        // Its name says what it is only where nobody says where it is.
        let named = !mount.name.is_empty() && !mount.source.is_absolute() && self.volumes.contains(&mount.name);
        let there = || {
            // Where nobody serves it any more it is not asked.
            let at = mountinfo::located(&mount.source).unwrap_or_else(|_| mount.source.clone());
            self.paths.iter().any(|path| path.starts_with(&at) || at.starts_with(path))
        };
        mount.writable && (named || (mount.source.is_absolute() && there()))
    }
}

/// Pauses or stops all that run. `noted` is told of each before it is touched, and whether it was left alone after all.
pub(super) fn hold(
    engine: &DockerEngine,
    plan: &Plan,
    stop: bool,
    until: Instant,
    noted: &mut dyn FnMut(Noted),
) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for _ in 0..LOOKS {
        let found = writers(engine, plan).map_err(|e| explained(&e))?;
        let fresh: Vec<Container> = found.into_iter().filter(|c| runs(&c.state) && !seen.contains(&c.id)).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        for container in fresh {
            let name = container.name().to_owned();
            let (id, left) = (container.id.clone(), until.saturating_duration_since(Instant::now()));
            seen.insert(id.clone());
            let undo = if stop {
                let known = engine.container(&id).map_err(|e| explained(&e))?;
                if known.host_config.auto_remove {
                    return Err(format!(
                        "container `{name}` cannot be stopped for a while: it was made to be removed then"
                    ));
                }
                let secs = known.time_to_stop().as_secs();
                Undo::Start { id: id.clone(), name: name.clone(), started: known.state.started_at, secs }
            } else {
                Undo::Unpause { id: id.clone(), name: name.clone() }
            };
            noted(Noted::Undo(undo));
            let held = if stop { engine.stop(&id, left) } else { engine.pause(&id) };
            if let Err(e) = held {
                match engine.container(&id).map(|c| c.state) {
                    // It ended meanwhile, or somebody else has paused it.
                    Ok(state) if !runs(&state.status) && !matches!(e, EngineError::TimedOut { .. }) => {
                        noted(Noted::Left);
                    }
                    Err(EngineError::NotFound { .. }) => noted(Noted::Left),
                    // It may have been done nevertheless, or be done later.
                    _ => return Err(explained(&e)),
                }
            } else {
                noted(Noted::Did(format!("{} container `{name}`", if stop { "stopped" } else { "paused" })));
            }
        }
    }
    Err("containers that write to the volume are started again and again".to_owned())
}

/// What [`hold`] tells.
pub(super) enum Noted {
    /// This is about to be done; so it is undone.
    Undo(Undo),
    /// It was done.
    Did(String),
    /// It was not done after all, and is not to be undone.
    Left,
}

/// Who writes although he should not.
pub(super) fn broken(engine: &DockerEngine, plan: &Plan) -> Vec<String> {
    match writers(engine, plan) {
        Ok(found) => {
            let runs = found.iter().filter(|c| runs(&c.state));
            runs.map(|c| format!("container `{}` ran while the volume was read", c.name())).collect()
        }
        Err(e) => vec![explained(&e)],
    }
}

fn runs(state: &str) -> bool {
    matches!(state, "running" | "restarting")
}

/// Lets a paused container go on.
pub(super) fn unpause(engine: &DockerEngine, id: &str) -> Result<(), EngineError> {
    match engine.container(id) {
        Ok(container) if container.state.paused => engine.unpause(id),
        Ok(_) | Err(EngineError::NotFound { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Starts a container that was asked to stop; `started` is when it had been started before. Whether the engine heard that,
/// and how far it has come, nobody knows: as long as it runs on it may still stop. Returns whether it does not, by `until`.
pub(super) fn start(engine: &DockerEngine, id: &str, started: &str, until: Instant) -> Result<bool, EngineError> {
    loop {
        match engine.container(id) {
            Ok(container) if !container.state.running => return engine.start(id).map(|()| true),
            // Somebody else has started it.
            Ok(container) if container.state.started_at != started => return Ok(true),
            Ok(_) if Instant::now() >= until => return Ok(false),
            Ok(_) => std::thread::sleep(TICK),
            Err(EngineError::NotFound { .. }) => return Ok(true),
            Err(e) => return Err(e),
        }
    }
}

/// An error with its causes and what can be done.
pub(super) fn explained(e: &EngineError) -> String {
    crate::error::with_causes(e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quiesce::Profile;

    fn mount(name: &str, source: &str, destination: &str, writable: bool) -> ContainerMount {
        ContainerMount { name: name.to_owned(), source: source.into(), destination: destination.into(), writable }
    }

    fn plan(source: &str, volumes: &[&str]) -> Plan {
        Plan {
            profiles: vec![Profile::Pause],
            source: source.into(),
            volumes: volumes.iter().map(|v| (*v).to_owned()).collect(),
            engine: None,
            password: None,
            limit_ms: 1,
        }
    }

    #[test]
    fn only_who_can_write_to_it_is_meant() {
        let source = Source::of(&plan("/no/v/a/_data", &["named"]), None);
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
            assert_eq!(source.is_written_by(&mount(name, path, "/x", writable)), meant, "{name} {path} {writable}");
        }
    }

    #[test]
    fn inside_of_a_container_paths_are_the_engines() {
        let own = Container {
            id: "1".to_owned(),
            names: vec!["/side".to_owned()],
            state: "running".to_owned(),
            labels: std::collections::BTreeMap::default(),
            mounts: vec![mount("v", "/no/v", "/source/db", false), mount("", "/no/w", "/source", false)],
        };
        let source = Source::of(&plan("/source/db/deep", &[]), Some(&own));
        assert_eq!((source.paths, source.volumes), (vec![PathBuf::from("/no/v/deep")], vec!["v".to_owned()]));
        let source = Source::of(&plan("/source/x", &[]), Some(&own));
        assert_eq!((source.paths, source.volumes.len()), (vec![PathBuf::from("/no/w/x")], 0));
        let source = Source::of(&plan("/etc", &[]), Some(&own));
        assert_eq!((source.paths.len(), source.volumes.len()), (0, 0));
    }
}
