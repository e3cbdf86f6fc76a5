//! Tests the test engine itself: two engines at the same time, restarts, and complete removal.

use std::fs;
use std::path::Path;

use crate::engine::Engine;

/// Returns the mounts, processes and control groups of an engine that exist.
fn traces(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(
        mounts
            .lines()
            .filter(|line| line.contains(name))
            .map(str::to_owned),
    );
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let is_engine = ["dockerd", "containerd"]
            .iter()
            .any(|program| line.contains(program));
        if line.contains(name) && is_engine {
            found.push(line);
        }
    }
    let groups = [Path::new("/sys/fs/cgroup").to_owned()].into_iter();
    let below = fs::read_dir("/sys/fs/cgroup")
        .unwrap()
        .flatten()
        .map(|e| e.path());
    found.extend(
        groups
            .chain(below)
            .map(|g| g.join(name))
            .filter(|g| g.exists())
            .map(|g| g.display().to_string()),
    );
    found
}

#[test]
fn two_engines_are_independent() {
    let (Some(one), Some(other)) = (Engine::shared(), Engine::start()) else {
        return;
    };
    let volume = format!("only-{}", other.name());
    other.docker(["volume", "create", &volume]);
    assert_eq!(
        other.docker([
            "run",
            "--rm",
            "-v",
            &format!("{volume}:/v"),
            other.image(),
            "ls",
            "-d",
            "/v"
        ]),
        "/v"
    );
    assert!(
        !one.docker(["volume", "ls", "-q", "--filter", "driver=local"])
            .contains(&volume)
    );
    let (name, dir) = (other.name(), other.dir().to_owned());
    assert!(!traces(&name).is_empty());
    drop(other);
    assert_eq!(traces(&name), Vec::<String>::new());
    assert!(!dir.exists());
}

#[test]
fn nothing_is_left_of_an_engine_that_died() {
    let Some(engine) = Engine::start() else {
        return;
    };
    let image = engine.image();
    for name in ["runs", "rests"] {
        engine.docker([
            "run",
            "-d",
            "--name",
            name,
            "-v",
            "data:/data",
            image,
            "sleep",
            "1000",
        ]);
    }
    engine.docker(["pause", "rests"]);
    assert_eq!(
        (engine.state("runs"), engine.state("rests")),
        ("running".to_owned(), "paused".to_owned())
    );
    // Register the driver last, because all engines of the machine query it and it does not
    // respond.
    let plugin = engine.plugin(
        &format!("{}-driver", engine.name()),
        &engine.dir().join("driver.sock"),
    );
    let spec = format!("/etc/docker/plugins/{}.spec", plugin.name());
    assert!(Path::new(&spec).exists());
    // Simulate a process that dies before it can drop the plugin.
    std::mem::forget(plugin);
    engine.kill();
    let (name, dir) = (engine.name(), engine.dir().to_owned());
    drop(engine);
    assert_eq!(traces(&name), Vec::<String>::new());
    assert!(!dir.exists() && !Path::new(&spec).exists());
}

#[test]
fn an_engine_is_restarted() {
    let Some(engine) = Engine::start() else {
        return;
    };
    engine.docker(["volume", "create", "kept"]);
    engine.stop();
    assert!(!engine.try_docker(["version"]).status.success());
    engine.start_again();
    assert_eq!(
        engine.docker(["volume", "ls", "-q", "--filter", "driver=local"]),
        "kept"
    );
    engine.kill();
    engine.start_again();
    assert_eq!(
        engine.docker(["volume", "ls", "-q", "--filter", "driver=local"]),
        "kept"
    );
}
