//! Tests the managed plugin, which the engine runs from the root of the image.

use std::process::{Command, Stdio};

use crate::engine::Engine;
use crate::sidecar::{load, project};
use crate::support::needs;
use crate::support::sandbox::Run;

/// The directory of the plugin's socket. The engine may leave it behind, so drop removes it.
struct SocketDir(String);

impl Drop for SocketDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Tests the whole life of a managed plugin: creation, use of volumes, a commit from a container, a
/// killed engine, mounts that the engine cannot see, and removal.
#[test]
fn the_engine_runs_the_plugin() {
    if !needs::fuse() {
        return;
    }
    let Some(engine) = Engine::start() else {
        return;
    };
    load(&engine);
    let out = engine.dir().join("managed");
    let mut build = Command::new(project().join("image/build.sh"));
    build
        .args(["--plugin", "--binary", env!("CARGO_BIN_EXE_dvc"), "--out"])
        .arg(&out);
    Run::of(build.stdin(Stdio::null())).ok();
    let (plugin, volume) = ("managed", format!("{}-db", engine.name()));
    engine.docker([
        "plugin",
        "create",
        plugin,
        out.join("plugin").to_str().unwrap(),
    ]);
    engine.docker(["plugin", "enable", plugin]);
    engine.docker(["volume", "create", "-d", plugin, &volume]);
    let sh = |script: &str| {
        engine.docker([
            "run",
            "--rm",
            "-v",
            &format!("{volume}:/v"),
            engine.image(),
            "sh",
            "-c",
            script,
        ])
    };
    sh("echo one > /v/table");
    assert_eq!(sh("cat /v/table"), "one");

    // The documents describe this kind of commit: from a container that sees the volumes.
    let id = engine.docker(["plugin", "inspect", "-f", "{{.Id}}", plugin]);
    let _socket_dir = SocketDir(format!("/run/docker/plugins/{id}"));
    let bind = format!(
        "{}/data/plugins/{id}/propagated-mount:/var/lib/dvc:rslave",
        engine.dir().display()
    );
    let dvc = |words: &[&str]| {
        let options = [
            "run",
            "--rm",
            "--pid",
            "host",
            "--network",
            "none",
            "-e",
            "DVC_RUN_DIR=/var/lib/dvc/run",
            "-v",
        ];
        engine.docker([&options[..], &[&bind, "dvc"], words].concat())
    };
    engine.docker([
        "run",
        "-d",
        "--name",
        "db",
        "-v",
        &format!("{volume}:/v"),
        engine.image(),
        "sleep",
        "1000",
    ]);
    let listed = dvc(&["volume", "ls"]);
    assert!(
        listed.contains("4 B changed") && listed.contains("in use by 1"),
        "{listed}"
    );
    let said = dvc(&["commit", "--volume", &volume, "-m", "while it runs"]);
    assert!(
        said.contains(" v2 ") && said.contains("while it runs"),
        "{said}"
    );
    engine.docker(["exec", "db", "sh", "-c", "echo two >> /v/table"]);

    // The plugin and its mounts end with the engine. After a restart, new ones continue with the
    // same data.
    engine.kill();
    engine.start_again();
    engine.docker(["rm", "-f", "db"]);
    // While an engine starts, it sometimes detaches the mounts of the old plugin and starts the new
    // one at the same time. It then cannot see the mounts of the new plugin. A container must not
    // start on the empty directory, and the message must describe the cause.
    let data = engine.dir().join("data");
    rustix::mount::mount_change(&data, rustix::mount::MountPropagationFlags::PRIVATE).unwrap();
    let handed_on = data.join(format!("plugins/{id}/propagated-mount"));
    let _ = rustix::mount::unmount(&handed_on, rustix::mount::UnmountFlags::DETACH);
    let refused = engine.try_docker([
        "run",
        "--rm",
        "-v",
        &format!("{volume}:/v"),
        engine.image(),
        "cat",
        "/v/table",
    ]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("does not see the mount"),
        "{said}"
    );
    assert!(said.contains("docker plugin disable -f"), "{said}");
    engine.docker(["plugin", "disable", "-f", plugin]);
    engine.docker(["plugin", "enable", plugin]);
    assert_eq!(sh("cat /v/table"), "one\ntwo");
    let inspected = engine.docker(["volume", "inspect", &volume]);
    assert!(inspected.contains(r#""changed": true"#), "{inspected}");

    let removal = engine.try_docker(["plugin", "rm", plugin]);
    assert!(
        !removal.status.success(),
        "a plugin with a volume was removed"
    );
    engine.docker(["volume", "rm", &volume]);
    let trash = dvc(&["trash"]);
    assert!(trash.contains(&volume), "{trash}\n{}", engine.log());
    engine.docker(["plugin", "disable", plugin]);
    engine.docker(["plugin", "rm", plugin]);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(
        !mounts.lines().any(|line| line.contains(&volume)),
        "{mounts}"
    );
}
