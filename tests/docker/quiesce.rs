//! Tests `dvc commit --quiesce` with real containers: which containers are paused or stopped, for
//! how long, and that all of them continue after every kind of failure.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::engine::Engine;
use crate::support::held::Held;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::program::{is_alive, with_descendants};
use crate::support::spawned::Spawned;

/// Time limit for an expected event.
const PATIENCE: Duration = Duration::from_secs(60);

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A volume `NAME` with content, and a repository. Container `NAME-w` can write to the volume,
/// `NAME-r` mounts it read-only, and `NAME-o` has a different volume.
struct Scene {
    engine: &'static Engine,
    s: Sandbox,
    name: &'static str,
    volume: PathBuf,
}

impl Scene {
    fn new(name: &'static str) -> Option<Self> {
        let engine = Engine::shared()?;
        let mut s = Sandbox::new();
        s.set("DOCKER_HOST", &engine.host());
        s.dvc(["init", "--repo", s.at("r").to_str().unwrap()]).ok();
        engine.make_volume(name, &[]);
        engine.make_volume(&format!("{name}-2"), &[]);
        for (container, mount) in [
            ("w", format!("{name}:/v")),
            ("r", format!("{name}:/v:ro")),
            ("o", format!("{name}-2:/v")),
        ] {
            let container = format!("{name}-{container}");
            engine.docker([
                "run",
                "-d",
                "--name",
                &container,
                "-v",
                &mount,
                engine.image(),
                "sleep",
                "10000",
            ]);
        }
        let volume =
            PathBuf::from(engine.docker(["volume", "inspect", "-f", "{{.Mountpoint}}", name]));
        fs::write(volume.join("file"), "content").unwrap();
        Some(Self {
            engine,
            s,
            name,
            volume,
        })
    }

    /// Returns the name of a container of this scene.
    fn c(&self, which: &str) -> String {
        format!("{}-{which}", self.name)
    }

    fn command(&self, quiesce: &[&str], more: &[&str]) -> std::process::Command {
        let mut c = self.s.command(["--repo"]);
        c.arg(self.s.at("r"))
            .arg("-C")
            .arg(&self.volume)
            .args(["commit", "-m", "x"])
            .args(more);
        for profile in quiesce {
            c.args(["--quiesce", profile]);
        }
        c
    }

    fn commit(&self, quiesce: &[&str]) -> Run {
        Run::of(&mut self.command(quiesce, &[]))
    }

    fn states(&self) -> [String; 3] {
        ["w", "r", "o"].map(|which| self.engine.state(&self.c(which)))
    }

    /// Returns the events of this scene's containers in order, such as `pause w`.
    fn events(&self, since: &str) -> Vec<String> {
        let format = "{{.Action}} {{.Actor.Attributes.name}}";
        let all = self.engine.docker([
            "events",
            "--since",
            since,
            "--until",
            &self.now(),
            "--filter",
            "type=container",
            "--format",
            format,
        ]);
        let prefix = format!(" {}-", self.name);
        let wanted = |line: &&str| {
            ["pause ", "unpause ", "stop ", "start ", "kill "]
                .iter()
                .any(|action| line.starts_with(action))
        };
        all.lines()
            .filter(wanted)
            .filter(|l| l.contains(&prefix))
            .map(|l| l.replace(&prefix, " "))
            .collect()
    }

    /// Returns the current time as a start for [`Self::events`].
    fn now(&self) -> String {
        // The time has nanoseconds, so that it excludes earlier events of the same second.
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
    }

    fn versions(&self) -> usize {
        let log = Run::of(
            self.s
                .command(["--repo"])
                .arg(self.s.at("r"))
                .args(["log", "--json"]),
        );
        if log.code == 0 {
            log.json_lines().len()
        } else {
            0
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let all = ["w", "r", "o"].map(|which| self.c(which));
        let _ = self.engine.try_docker(
            ["rm", "-f"]
                .into_iter()
                .chain(all.iter().map(String::as_str)),
        );
        let _ = self
            .engine
            .try_docker(["volume", "rm", "-f", self.name, &self.c("2")]);
    }
}

#[test]
fn only_writers_of_the_volume_are_paused() {
    let Some(scene) = Scene::new("q-pause") else {
        return;
    };
    let since = scene.now();
    scene
        .commit(&["docker:pause"])
        .ok()
        .complains("paused container `q-pause-w`");
    assert_eq!(scene.events(&since), ["pause w", "unpause w"]);
    assert_eq!(scene.states(), ["running"; 3]);
    assert_eq!(scene.versions(), 1);
    // A dry run does not pause or stop any container.
    let since = scene.now();
    Run::of(&mut scene.command(&["docker:pause"], &["-n"])).ok();
    assert_eq!(scene.events(&since), Vec::<String>::new());
}

#[test]
fn only_writers_of_the_volume_are_stopped() {
    let Some(scene) = Scene::new("q-stop") else {
        return;
    };
    let since = scene.now();
    scene.engine.docker(["pause", "q-stop-o"]);
    scene
        .commit(&["docker:stop"])
        .ok()
        .complains("stopped container `q-stop-w`");
    let events = scene.events(&since);
    assert!(
        events.contains(&"stop w".to_owned()) && events.last().unwrap() == "start w",
        "{events:?}"
    );
    assert!(
        events.iter().all(|e| e.ends_with(" w") || *e == "pause o"),
        "{events:?}"
    );
    assert_eq!(scene.states(), ["running", "running", "paused"]);
}

#[test]
fn paused_and_stopped_containers_stay_so() {
    let Some(scene) = Scene::new("q-was") else {
        return;
    };
    for (prepare, profile, state) in [
        (&["pause", "q-was-w"][..], "docker:pause", "paused"),
        (&["pause", "q-was-w"], "docker:stop", "paused"),
        (&["kill", "q-was-w"], "docker:pause", "exited"),
        (&["kill", "q-was-w"], "docker:stop", "exited"),
    ] {
        scene.engine.docker(prepare);
        fs::write(scene.volume.join("file"), format!("{prepare:?} {profile}")).unwrap();
        scene.commit(&[profile]).ok();
        assert_eq!(scene.engine.state("q-was-w"), state, "{profile}");
        if state == "paused" {
            scene.engine.docker(["unpause", "q-was-w"]);
        } else {
            scene.engine.docker(["start", "q-was-w"]);
        }
    }
}

/// If `dvc` is killed with SIGKILL while containers are quiesced, the watchdog resumes them.
#[test]
fn a_killed_commit_continues_all_containers() {
    for (name, profile, state) in [
        ("q-kill-p", "docker:pause", "paused"),
        ("q-kill-s", "docker:stop", "exited"),
    ] {
        let Some(scene) = Scene::new(name) else {
            return;
        };
        let after = format!("exec:{}:touch /before / touch /after", scene.c("o"));
        let held =
            Held::start(&mut scene.command(&[&after, profile], &["--quiesce-timeout", "1h"]));
        until("the container is paused or stopped", || {
            scene.engine.state(&scene.c("w")) == state
        });
        held.kill();
        until("the container runs", || scene.states() == ["running"; 3]);
        until("the other command runs", || {
            scene
                .engine
                .try_docker(["exec", &scene.c("o"), "ls", "/before", "/after"])
                .status
                .success()
        });
        assert_eq!(scene.versions(), 0);
    }
}

/// If the watchdog is killed, dvc resumes the containers and creates no version.
#[test]
fn a_killed_watchdog_continues_all_containers() {
    for (name, signal, said) in [
        ("q-dog-k", Signal::KILL, "terminated unexpectedly"),
        ("q-dog-t", Signal::TERM, "received a request to terminate"),
    ] {
        let Some(scene) = Scene::new(name) else {
            return;
        };
        let held = Held::start(&mut scene.command(&["docker:pause"], &["--quiesce-timeout", "1h"]));
        until("the container is paused or stopped", || {
            scene.engine.state(&scene.c("w")) == "paused"
        });
        let watchdog = with_descendants(held.pid())
            .into_iter()
            .find(|pid| *pid != held.pid())
            .unwrap();
        kill_process(watchdog, signal).unwrap();
        until("the watchdog ends", || !is_alive(watchdog));
        held.go_on().code(7).complains(said);
        assert_eq!(
            (scene.states(), scene.versions()),
            (["running"; 3].map(str::to_owned), 0)
        );
    }
}

/// A container that stops slowly. It creates the file `asked` when it gets the signal, and ends
/// when the file `end` exists.
struct Slow<'s>(&'s Scene);

impl<'s> Slow<'s> {
    fn new(scene: &'s Scene) -> Self {
        let script = "rm -f /v/asked /v/end; trap 'touch /v/asked' TERM; until [ -e /v/end ]; do sleep 0.1; done";
        let (engine, mount) = (scene.engine, format!("{}:/v", scene.name));
        engine.docker(["rm", "-f", &scene.c("w")]);
        let (name, image) = (scene.c("w"), engine.image());
        engine.docker([
            "run",
            "-d",
            "--name",
            &name,
            "--stop-timeout",
            "600",
            "-v",
            &mount,
            image,
            "sh",
            "-c",
            script,
        ]);
        Self(scene)
    }

    fn started(&self) -> String {
        self.0
            .engine
            .docker(["inspect", "-f", "{{.State.StartedAt}}", &self.0.c("w")])
    }

    fn is_asked(&self) -> bool {
        self.0.volume.join("asked").exists()
    }

    fn end(&self) {
        fs::write(self.0.volume.join("end"), "").unwrap();
    }
}

/// The engine stops a container even after its client has timed out. The watchdog must then start
/// the container again.
#[test]
fn a_container_that_stops_too_late_is_started_again() {
    let Some(scene) = Scene::new("q-slow") else {
        return;
    };
    let slow = Slow::new(&scene);
    let before = slow.started();
    let said = Run::of(&mut scene.command(&["docker:stop"], &["--quiesce-timeout", "1s"])).code(7);
    said.complains("`q-slow-w` has not stopped yet")
        .complains("keeps trying for another");
    assert!(slow.is_asked() && slow.started() == before);
    slow.end();
    until("the container runs again", || {
        slow.started() != before && scene.states() == ["running"; 3]
    });
    assert_eq!(scene.versions(), 0);
}

#[test]
fn a_container_that_stops_after_the_watchdog_is_started_again() {
    let Some(scene) = Scene::new("q-late") else {
        return;
    };
    let slow = Slow::new(&scene);
    let before = slow.started();
    let mut c = scene.command(&["docker:stop"], &["--quiesce-timeout", "1h"]);
    let child = Spawned::start(
        c.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    until("the container is asked to stop", || slow.is_asked());
    let own = Pid::from_child(&child);
    let watchdog = with_descendants(own)
        .into_iter()
        .find(|pid| *pid != own)
        .unwrap();
    kill_process(watchdog, Signal::KILL).unwrap();
    until("the watchdog ends", || !is_alive(watchdog));
    // The container still runs, but will stop later.
    assert_eq!(scene.engine.state("q-late-w"), "running");
    slow.end();
    child.finish().code(7).complains("terminated unexpectedly");
    assert!(slow.started() != before);
    assert_eq!(
        (scene.states(), scene.versions()),
        (["running"; 3].map(str::to_owned), 0)
    );
}

/// If neither the engine nor the watchdog runs, dvc reports the containers that are still paused.
#[test]
fn containers_that_stay_paused_are_reported() {
    let Some(engine) = Engine::start() else {
        return;
    };
    let mut s = Sandbox::with_repo();
    s.set("DOCKER_HOST", &engine.host());
    let mount = format!("{}:/v", s.at("w").display());
    engine.docker([
        "run",
        "-d",
        "--name",
        "q-told",
        "-v",
        &mount,
        engine.image(),
        "sleep",
        "1000",
    ]);
    s.write("a", "a");
    let held = Held::start(&mut s.command(["commit", "-m", "x", "--quiesce", "docker:pause"]));
    until("the container is paused or stopped", || {
        engine.state("q-told") == "paused"
    });
    engine.kill();
    let watchdog = with_descendants(held.pid())
        .into_iter()
        .find(|pid| *pid != held.pid())
        .unwrap();
    kill_process(watchdog, Signal::KILL).unwrap();
    until("the watchdog ends", || !is_alive(watchdog));
    held.go_on()
        .code(7)
        .complains("terminated unexpectedly")
        .complains("container `q-told` is still paused");
    engine.start_again();
    engine.docker(["rm", "-f", "q-told"]);
}

#[test]
fn the_timeout_ends_a_pause() {
    let Some(scene) = Scene::new("q-time") else {
        return;
    };
    let held = Held::start(&mut scene.command(&["docker:pause"], &["--quiesce-timeout", "3s"]));
    until("the container is paused or stopped", || {
        scene.engine.state("q-time-w") == "paused"
    });
    // The commit is blocked, so the watchdog ends the pause.
    until("the container runs", || scene.states() == ["running"; 3]);
    held.go_on()
        .code(7)
        .complains("longer than 3 s")
        .complains("--quiesce-timeout");
    assert_eq!(scene.versions(), 0);
    // A step that exceeds the timeout.
    let slow = format!("exec:{}:sleep 1000 / touch /undone", scene.c("o"));
    Run::of(&mut scene.command(&["docker:pause", &slow], &["--quiesce-timeout", "2s"])).code(7);
    assert_eq!(scene.states(), ["running"; 3]);
    scene.engine.docker(["exec", "q-time-o", "ls", "/undone"]);
    assert_eq!(scene.versions(), 0);
}

#[test]
fn steps_go_in_order_and_back() {
    let Some(scene) = Scene::new("q-order") else {
        return;
    };
    let o = scene.c("o");
    let step = |n: u32| format!("exec:{o}:echo {n} >> /log / echo -{n} >> /log");
    scene
        .commit(&[&step(1), "none", &step(2), "docker:pause"])
        .ok();
    assert_eq!(
        scene.engine.docker(["exec", &o, "cat", "/log"]),
        "1\n2\n-2\n-1"
    );
    // If a step fails, its own undo command runs, and then those of the earlier steps.
    scene.engine.docker(["exec", &o, "rm", "/log"]);
    fs::write(scene.volume.join("file"), "other").unwrap();
    let fails = format!("exec:{o}:echo oops >&2; exit 4 / echo -3 >> /log");
    scene
        .commit(&[&step(1), "docker:pause", &fails, &step(2)])
        .code(7)
        .complains("exit code 4: oops");
    assert_eq!(
        scene.engine.docker(["exec", &o, "cat", "/log"]),
        "1\n-3\n-1"
    );
    assert_eq!(
        (scene.states(), scene.versions()),
        (["running"; 3].map(str::to_owned), 1)
    );
    // If the commit fails, the undo commands run too. Here the path does not exist.
    scene.engine.docker(["exec", &o, "rm", "/log"]);
    Run::of(&mut scene.command(&[&step(1)], &["none"])).code(13);
    assert_eq!(scene.engine.docker(["exec", &o, "cat", "/log"]), "1\n-1");
}

#[test]
fn an_interrupted_pause_makes_no_version() {
    let Some(scene) = Scene::new("q-broken") else {
        return;
    };
    let held = Held::start(&mut scene.command(&["docker:pause"], &[]));
    until("the container is paused or stopped", || {
        scene.engine.state("q-broken-w") == "paused"
    });
    scene.engine.docker(["unpause", "q-broken-w"]);
    held.go_on()
        .code(7)
        .complains("`q-broken-w` ran while the volume was read");
    assert_eq!(
        (scene.states(), scene.versions()),
        (["running"; 3].map(str::to_owned), 0)
    );
    // If the undo command fails, all containers continue and the failure is reported.
    scene
        .commit(&[
            "docker:pause",
            &format!("exec:{}:true / false", scene.c("o")),
        ])
        .code(7)
        .complains("exit code 1");
    assert_eq!(
        (scene.states(), scene.versions()),
        (["running"; 3].map(str::to_owned), 0)
    );
}

#[test]
fn a_container_with_auto_removal_is_not_stopped() {
    let Some(scene) = Scene::new("q-rm") else {
        return;
    };
    scene.engine.docker([
        "run",
        "-d",
        "--rm",
        "--name",
        "q-rm-x",
        "-v",
        "q-rm:/v",
        scene.engine.image(),
        "sleep",
        "1000",
    ]);
    scene
        .commit(&["docker:stop"])
        .code(7)
        .complains("cannot stop container `q-rm-x`");
    assert_eq!(
        (scene.engine.state("q-rm-x").as_str(), scene.versions()),
        ("running", 0)
    );
    until("the other one runs", || scene.states() == ["running"; 3]);
    scene.commit(&["docker:pause"]).ok();
    scene.engine.docker(["rm", "-f", "q-rm-x"]);
}

/// A commit inside a container, which has the volume at a different path. It pauses the writer but
/// not its own container.
#[test]
fn a_sidecar_does_not_pause_itself() {
    let Some(scene) = Scene::new("q-side") else {
        return;
    };
    let bind = |from: &str, to: &str| format!("{from}:{to}");
    let mut c = scene.engine.command([
        "run",
        "--rm",
        "--name",
        "q-side-s",
        "-v",
        "q-side:/source/deep",
    ]);
    for mount in [
        bind(scene.engine.socket().to_str().unwrap(), "/engine.sock"),
        bind(env!("CARGO_BIN_EXE_dvc"), "/dvc:ro"),
        bind("/lib", "/lib:ro"),
        bind("/lib64", "/lib64:ro"),
    ] {
        c.args(["-v", &mount]);
    }
    let script = "/dvc init --repo /tmp/r && /dvc --repo /tmp/r -C /source/deep commit -m x --quiesce docker:pause";
    c.args([
        "-e",
        "DOCKER_HOST=unix:///engine.sock",
        scene.engine.image(),
        "sh",
        "-c",
        script,
    ]);
    let since = scene.now();
    Run::of(&mut c)
        .ok()
        .complains("paused container `q-side-w`");
    let events = scene.events(&since);
    let pauses: Vec<&String> = events.iter().filter(|e| e.contains("pause")).collect();
    assert_eq!(pauses, ["pause w", "unpause w"]);
}

/// Only profiles that use Docker require an engine.
#[test]
fn only_docker_profiles_need_an_engine() {
    let mut s = Sandbox::with_repo();
    s.set("DOCKER_HOST", &format!("unix://{}", s.at("none").display()));
    s.write("a", "a");
    for profile in ["docker:pause", "exec:c:true", "mariadb:c"] {
        s.dvc(["commit", "-m", "x", "--quiesce", profile])
            .code(7)
            .complains("no Docker engine at");
    }
    s.dvc(["log"]).code(13);
    s.dvc(["commit", "-m", "x", "--quiesce", "none"]).ok();
    s.set("DOCKER_HOST", "tcp://127.0.0.1:1");
    s.write("a", "b");
    s.dvc(["commit", "-m", "x", "--quiesce", "docker:pause"])
        .code(7)
        .complains("not a Unix socket");
    s.dvc(["commit", "-m", "x"]).ok();
}
