//! `dvc doctor`.

use super::fresh;
use crate::support::namespace::ALONE;
use crate::support::needs::{is_root, need, skip};
use crate::support::sandbox::{Run, Sandbox};
use dvc::mount::attach::{self, AttachOptions, MountTrust};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

/// Returns the results of the checks with this name.
fn of(run: &Run, name: &str) -> Vec<Value> {
    run.json_lines()
        .into_iter()
        .filter(|check| check["check"] == name)
        .collect()
}

/// Returns the state and the message of the only check with this name.
fn one(run: &Run, name: &str) -> (String, String) {
    let checks = of(run, name);
    let [check] = checks.as_slice() else {
        panic!("`{name}` in {}", run.out)
    };
    assert_eq!(check["schema"], 1);
    (
        check["state"].as_str().unwrap().to_owned(),
        check["message"].as_str().unwrap().to_owned(),
    )
}

fn says(run: &Run, name: &str, state: &str, part: &str) {
    let (found, what) = one(run, name);
    assert!(
        found == state && what.contains(part),
        "{name}: {found}: {what}"
    );
}

#[test]
fn a_line_per_check() {
    let s = fresh();
    let run = s.dvc(["doctor"]);
    let states: Vec<&str> = run
        .lines()
        .iter()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert!(
        states.len() >= 7
            && states
                .iter()
                .all(|state| ["ok", "no", "note"].contains(state)),
        "{}",
        run.out
    );
    assert_eq!(run.code, i32::from(states.contains(&"no")), "{}", run.out);
    assert!(run.err.is_empty(), "{}", run.err);
    let run = s.dvc(["doctor", "--json"]);
    says(&run, "repository", "ok", "/w/.dvcs");
    says(&run, "remotes", "ok", "none");
    says(&run, "credentials", "ok", "none");
    says(
        &run,
        "other dvc",
        if one(&run, "other dvc").0 == "ok" {
            "ok"
        } else {
            "note"
        },
        "`",
    );
    // The trial mount of the doctor leaves no directory behind.
    assert!(
        fs::read_dir(s.root()).unwrap().all(|e| !e
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("doctor"))
    );
}

/// Returns whether mount(2) works here. Skips the test otherwise.
fn can_mount() -> bool {
    let is_real_root = is_root() && attach::is_admin() && !dvc::sys::procfs::is_in_user_namespace();
    let is = is_real_root && fs::exists("/dev/fuse").unwrap();
    if !is {
        skip("mounting needs root outside of a user namespace, and /dev/fuse");
    }
    is
}

#[test]
fn mounting_as_root_and_without_its_rights() {
    if !can_mount() {
        return;
    }
    let s = Sandbox::new();
    let run = s.dvc(["doctor", "--json"]).ok();
    says(&run, "fuse device", "ok", "can be opened");
    says(&run, "mounting", "ok", "`mount(2)`");
    says(
        &run,
        "allow_other",
        "ok",
        "mounts can be made accessible to other users",
    );
    let mut without = s.other(need("setpriv"));
    let run = Run::of(without.args([
        "--bounding-set=-sys_admin",
        env!("CARGO_BIN_EXE_dvc"),
        "doctor",
        "--json",
    ]));
    let run = run.code(1);
    says(&run, "mounting", "no", "mount(2) failed");
    assert!(
        of(&run, "mounting")[0]["hint"]
            .as_str()
            .unwrap()
            .contains("--cap-add SYS_ADMIN")
    );
    // A container without the device.
    let script = format!(
        "{ALONE}; mount -t tmpfs none /dev; exec {} doctor --json",
        env!("CARGO_BIN_EXE_dvc")
    );
    let run = Run::of(s.other("unshare").args(["-m", "sh", "-c", &script])).code(1);
    says(&run, "fuse device", "no", "No such file");
    says(
        &run,
        "mounting",
        "no",
        "FUSE is not available (`/dev/fuse`)",
    );
    assert!(of(&run, "passthrough").is_empty());
}

#[test]
fn a_mount_that_was_left_behind() {
    if !can_mount() {
        return;
    }
    let s = Sandbox::new();
    let at = s.at("mnt \u{e4}");
    fs::create_dir(&at).unwrap();
    let source = "dvc:AMCC@v3".to_owned();
    let options = AttachOptions {
        at: at.clone(),
        source,
        read_only: false,
        allow_other: false,
        trust: MountTrust::default(),
    };
    drop(attach::attach(&options).unwrap());
    let run = s.dvc(["doctor", "--json"]);
    attach::detach(&at, true).unwrap();
    let left = of(&run.ok(), "mounts")
        .into_iter()
        .find(|c| c["message"].as_str().unwrap().contains("mnt \u{e4}"))
        .unwrap();
    assert!(
        left["message"].as_str().unwrap().contains("`dvc:AMCC@v3`"),
        "{left}"
    );
    assert_eq!(
        (
            &left["state"],
            left["hint"]
                .as_str()
                .unwrap()
                .starts_with("run `umount -l ")
        ),
        (&"note".into(), true)
    );
}

/// The doctor queries an engine and a plugin at their sockets. The test creates these in a mount
/// namespace of its own.
#[test]
fn requirements_of_containers() {
    let mut s = Sandbox::new();
    says(
        &s.dvc(["doctor", "--json"]),
        "docker",
        "note",
        "no Docker engine at",
    );
    s.set("DOCKER_HOST", "tcp://127.0.0.1:1");
    says(
        &s.dvc(["doctor", "--json"]),
        "docker",
        "note",
        "not a Unix socket",
    );
    drop(UnixListener::bind(s.at("deaf")).unwrap());
    s.set("DOCKER_HOST", &format!("unix://{}", s.at("deaf").display()));
    says(
        &s.dvc(["doctor", "--json"]),
        "docker",
        "note",
        "no Docker engine is listening",
    );
    if !can_mount() {
        return;
    }
    // Mounts in the namespace do not propagate to the host.
    let inside = |prepare: &str, share: &str| {
        let dvc = env!("CARGO_BIN_EXE_dvc");
        let script = format!(
            "{ALONE}; mount --make-r{share} /; mount -t tmpfs none /run; mkdir -p /run/docker/plugins; {prepare}\n{dvc} doctor --json"
        );
        let mut c = s.other("unshare");
        Run::of(c.args([
            "-m",
            "--propagation",
            "slave",
            "sh",
            "-c",
            &script.replace("DVC", dvc),
        ]))
    };
    let run = inside("", "private");
    says(&run, "volume plugin", "note", "no plugin is running");
    says(&run, "volumes", "note", "is not shared");
    assert!(
        of(&run, "volumes")[0]["hint"]
            .as_str()
            .unwrap()
            .contains("--make-rshared")
    );
    says(
        &inside("", "shared"),
        "volumes",
        "ok",
        "containers and engines see mounts",
    );
    let serve = "DVC serve --plugin 2>/dev/null & plugin=$!; until [ -S /run/docker/plugins/dvc.sock ]; do sleep 0.05; done";
    let run = inside(
        &format!("{serve}; trap 'kill $plugin; wait' EXIT"),
        "private",
    );
    says(&run, "volume plugin", "ok", "a plugin is running");
    // A killed plugin leaves its socket behind; engines time out on such a socket.
    let run = inside(&format!("{serve}; kill -9 $plugin; wait"), "private");
    says(&run, "volume plugin", "note", "no process is listening");
}

#[test]
fn another_program_of_this_name() {
    let s = Sandbox::new();
    fs::create_dir(s.at("bin")).unwrap();
    let (bin, own) = (
        s.at("bin"),
        std::path::Path::new(env!("CARGO_BIN_EXE_dvc"))
            .parent()
            .unwrap(),
    );
    let doctor = |path: &[&std::path::Path]| {
        let path = std::env::join_paths(path).unwrap();
        let mut command = s.command(["doctor", "--json"]);
        Run::of(command.env("PATH", path))
    };
    symlink(env!("CARGO_BIN_EXE_dvc"), bin.join("dvc")).unwrap();
    says(&doctor(&[&bin, own]), "other dvc", "ok", "no other program");
    fs::remove_file(bin.join("dvc")).unwrap();
    fs::write(bin.join("dvc"), "#!/bin/sh\ntouch ran\n").unwrap();
    says(&doctor(&[&bin, own]), "other dvc", "ok", "no other program");
    fs::set_permissions(bin.join("dvc"), fs::Permissions::from_mode(0o755)).unwrap();
    says(
        &doctor(&[own, &bin]),
        "other dvc",
        "note",
        "bin/dvc` comes later",
    );
    says(
        &doctor(&[&bin, own]),
        "other dvc",
        "note",
        "the command `dvc` runs",
    );
    assert!(!s.w("ran").exists(), "it is not run");
}

#[test]
fn names_and_never_values() {
    let mut s = fresh();
    s.dvc(["remote", "add", "nas", "/srv/nas"]).ok();
    s.write("key", "hunter2\n");
    s.set("AWS_SECRET_ACCESS_KEY", "hunter2")
        .set("DVC_REMOTE_NAS_WEBDAV_PASSWORD_FILE", "key");
    let run = s.dvc(["doctor", "--json"]);
    says(&run, "remotes", "ok", "nas");
    says(
        &run,
        "credentials",
        "ok",
        "AWS_SECRET_ACCESS_KEY, DVC_REMOTE_NAS_WEBDAV_PASSWORD_FILE",
    );
    assert!(
        !run.out.contains("hunter2") && !run.out.contains("/srv"),
        "{}",
        run.out
    );
    s.set("REGISTRY_PASSWORD_FILE", "none");
    says(
        &s.dvc(["doctor", "--json"]),
        "credentials",
        "note",
        "none: cannot read the file",
    );
}

#[test]
fn no_repository_and_bad_settings() {
    let s = Sandbox::new();
    let run = s.dvc(["doctor", "--json"]);
    says(&run, "repository", "note", "no repository in");
    let run = s.dvc(["--repo", "s3://ann:hunter2@b/p", "doctor", "--json"]);
    says(&run, "repository", "ok", "remote, `s3://");
    assert!(!run.out.contains("hunter2"), "{}", run.out);
    let run = s.dvc(["-c", "core.jobs=many", "doctor", "--json"]).code(1);
    says(&run, "settings", "no", "core.jobs");
}
