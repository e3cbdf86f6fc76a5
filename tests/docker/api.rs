//! Tests the client of the Engine API with a real engine, and with sockets behind which there is no
//! engine.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use dvc::docker::{DockerEngine as Api, EngineError, ExecCommand};
use dvc::error::{Failure, Kind};

use crate::engine::Engine;
use crate::support::sandbox::Sandbox;

fn exec(script: &str) -> ExecCommand {
    ExecCommand {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..ExecCommand::default()
    }
}

#[test]
fn volumes_and_containers() {
    let Some(engine) = Engine::shared() else {
        return;
    };
    let api = Api::new(Some(&engine.host())).unwrap();
    api.ping().unwrap();
    let version = api.version().unwrap();
    assert!(
        version.version.starts_with(|c: char| c.is_ascii_digit())
            && version.api_version.contains('.'),
        "{version:?}"
    );
    engine.docker([
        "volume", "create", "-d", "local", "--label", "who=api", "api-v",
    ]);
    let volume = api.volume("api-v").unwrap();
    assert_eq!(
        (volume.driver.as_str(), volume.labels["who"].as_str()),
        ("local", "api")
    );
    assert!(volume.mountpoint.is_dir());
    assert!(
        api.local_volumes()
            .unwrap()
            .iter()
            .any(|v| v.name == "api-v" && v.mountpoint == volume.mountpoint)
    );
    engine.docker([
        "run",
        "-d",
        "--name",
        "api-c",
        "--label",
        "a=b",
        "-v",
        "api-v:/x:ro",
        engine.image(),
        "sleep",
        "1000",
    ]);
    let state = || api.container("api-c").unwrap().state.status;
    let listed = api
        .containers()
        .unwrap()
        .into_iter()
        .find(|c| c.name() == "api-c")
        .unwrap();
    assert_eq!(
        (listed.state.as_str(), listed.labels["a"].as_str()),
        ("running", "b")
    );
    let mount = &listed.mounts[0];
    assert_eq!((mount.name.as_str(), mount.writable), ("api-v", false));
    assert_eq!(
        (&mount.source, mount.destination.to_str()),
        (&volume.mountpoint, Some("/x"))
    );
    api.pause("api-c").unwrap();
    assert_eq!(state(), "paused");
    assert_eq!(api.pause("api-c").unwrap_err().kind(), Kind::Busy);
    api.unpause("api-c").unwrap();
    assert_eq!(state(), "running");
    for _ in 0..2 {
        api.stop("api-c", Duration::from_secs(60)).unwrap();
        assert_eq!(state(), "exited");
    }
    for _ in 0..2 {
        api.start("api-c").unwrap();
        assert_eq!(state(), "running");
    }
    for name in ["api-none", "..", "a/b", "a?b#c"] {
        let gone = api.container(name).unwrap_err();
        assert!(
            matches!(gone, EngineError::NotFound { .. }) && gone.kind() == Kind::NotFound,
            "{name}: {gone}"
        );
        assert!(
            matches!(
                api.volume(name).unwrap_err().kind(),
                Kind::NotFound | Kind::Usage
            ),
            "{name}"
        );
    }
    engine.docker(["rm", "-f", "api-c"]);
    engine.docker(["volume", "rm", "api-v"]);
}

#[test]
fn the_doctor_knows_an_engine() {
    let Some(engine) = Engine::shared() else {
        return;
    };
    let mut s = Sandbox::new();
    s.set("DOCKER_HOST", &engine.host());
    let version = engine.docker(["version", "-f", "{{.Server.Version}}"]);
    let checks = s.dvc(["doctor", "--json"]).json_lines();
    let check = checks
        .iter()
        .find(|check| check["check"] == "docker")
        .unwrap();
    assert_eq!(check["state"], "ok");
    assert!(
        check["message"]
            .as_str()
            .unwrap()
            .starts_with(&format!("engine {version} with API 1.")),
        "{check}"
    );
}

#[test]
fn commands_in_containers() {
    let Some(engine) = Engine::shared() else {
        return;
    };
    let api = Api::new(Some(&engine.host())).unwrap();
    engine.docker([
        "run",
        "-d",
        "--name",
        "api-exec",
        engine.image(),
        "sleep",
        "1000",
    ]);
    let long = Duration::from_secs(60);
    let mut wanted = || false;
    let ran = api
        .exec(
            "api-exec",
            &exec("echo out; echo err >&2; exit 3"),
            long,
            &mut wanted,
        )
        .unwrap();
    assert_eq!(
        (ran.code, ran.output.as_slice(), ran.complaints.as_slice()),
        (3, &b"out\n"[..], &b"err\n"[..])
    );
    let with_env = ExecCommand {
        env: vec!["SECRET=a b".to_owned()],
        ..exec("echo $SECRET")
    };
    assert_eq!(
        api.exec("api-exec", &with_env, long, &mut wanted)
            .unwrap()
            .output,
        b"a b\n"
    );
    // The output exceeds the limit of the client and the capacity of a pipe.
    let much = api
        .exec(
            "api-exec",
            &exec("yes | head -c 3000000"),
            long,
            &mut wanted,
        )
        .unwrap();
    assert_eq!((much.code, much.output.len()), (0, 1 << 20));
    let late = api
        .exec(
            "api-exec",
            &exec("sleep 1000"),
            Duration::from_secs(1),
            &mut wanted,
        )
        .unwrap_err();
    assert!(
        matches!(late, EngineError::TimedOut { .. }) && late.kind() == Kind::Unreachable,
        "{late}"
    );
    let cancelled = api
        .exec("api-exec", &exec("sleep 1000"), long, &mut || true)
        .unwrap_err();
    assert!(
        matches!(cancelled, EngineError::Cancelled { .. }),
        "{cancelled}"
    );
    let missing = ExecCommand {
        command: vec!["/no/such".to_owned()],
        ..ExecCommand::default()
    };
    assert!(
        api.exec("api-exec", &missing, long, &mut wanted)
            .map_or(true, |ran| ran.code != 0)
    );

    let script = "while read line; do echo \"<$line>\"; done; echo bye >&2; touch /tmp/ended";
    let mut session = api.session("api-exec", &exec(script)).unwrap();
    for text in ["one", "two"] {
        session.send(format!("{text}\n").as_bytes(), long).unwrap();
        assert_eq!(session.line(long).unwrap(), Some(format!("<{text}>")));
    }
    assert!(matches!(
        session.line(Duration::from_millis(10)),
        Err(EngineError::TimedOut { .. })
    ));
    // Dropping the session closes the standard input of its command.
    drop(session);
    let waits = exec("until [ -e /tmp/ended ]; do sleep 0.1; done");
    assert_eq!(
        api.exec("api-exec", &waits, long, &mut wanted)
            .unwrap()
            .code,
        0
    );
    engine.docker(["rm", "-f", "api-exec"]);
}

#[test]
fn sockets_that_are_no_engine_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let kind = |host: &str| {
        let e = Api::new(Some(host))
            .unwrap()
            .within(Duration::from_millis(300))
            .version()
            .unwrap_err();
        (
            format!("{e:?}")
                .split([' ', '{'])
                .next()
                .unwrap()
                .to_owned(),
            e.kind(),
        )
    };
    let host = |name: &str| format!("unix://{}", dir.path().join(name).display());
    assert_eq!(
        kind(&host("none")),
        ("Missing".to_owned(), Kind::Unreachable)
    );
    drop(UnixListener::bind(dir.path().join("deaf")).unwrap());
    assert_eq!(
        kind(&host("deaf")),
        ("NotListening".to_owned(), Kind::Unreachable)
    );
    let _silent = UnixListener::bind(dir.path().join("silent")).unwrap();
    assert_eq!(
        kind(&host("silent")),
        ("TimedOut".to_owned(), Kind::Unreachable)
    );
    for wrong in ["tcp://127.0.0.1:2375", "ssh://host", "docker.sock"] {
        assert_eq!(
            Api::new(Some(wrong)).err().unwrap().kind(),
            Kind::Usage,
            "{wrong}"
        );
    }
}
