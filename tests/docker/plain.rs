//! Tests volumes of the engine's local driver: filling them from versions and committing them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::engine::Engine;
use crate::support::json_page::JsonPage;
use crate::support::needs;
use crate::support::sandbox::{Run, Sandbox};

/// Creates a sandbox that uses the engine, and a repository `r/` with two versions of the branch
/// `main`.
fn sandbox(engine: &Engine) -> Sandbox {
    let mut s = Sandbox::new();
    s.set("DOCKER_HOST", &engine.host());
    s.dvc(["init", "--repo", "../r", "-b", "main"]).ok();
    fs::set_permissions(s.at("w"), fs::Permissions::from_mode(0o750)).unwrap();
    std::os::unix::fs::chown(s.at("w"), Some(999), Some(998)).unwrap();
    s.write("a", "one");
    fs::create_dir(s.w("dir")).unwrap();
    s.write("dir/big", "x".repeat(3 << 20));
    std::os::unix::fs::chown(s.w("a"), Some(1000), Some(1001)).unwrap();
    s.dvc(["--repo", "../r", "commit", "-m", "first"]).ok();
    s.write("a", "two");
    s.dvc(["--repo", "../r", "commit", "-m", "second"]).ok();
    s
}

/// Runs a script in a new container with the volume at `/v`. Returns its output.
fn sh(engine: &Engine, volume: &str, script: &str) -> String {
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
}

fn has(engine: &Engine, volume: &str) -> bool {
    engine
        .docker(["volume", "ls", "-q", "--filter", "driver=local"])
        .lines()
        .any(|name| name == volume)
}

/// Returns the messages of the versions of a branch, newest first.
fn messages(s: &Sandbox, repo: &str, branch: &str) -> Vec<String> {
    s.dvc(["--repo", repo, "log", "--format", "%s", branch])
        .ok()
        .out
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_version_is_written_into_a_volume_and_its_changes_become_the_next() {
    let Some(engine) = Engine::shared() else {
        return;
    };
    let s = sandbox(engine);
    let create = |name: &str, more: &[&str]| {
        let mut args = vec![
            "--repo", "../r", "volume", "create", name, "--driver", "local",
        ];
        args.extend(more);
        s.dvc(args)
    };
    // A dry run and a failed creation do not create a volume.
    create("pl-a", &["--from", "main", "-n"])
        .ok()
        .says("would create volume pl-a, on branch main");
    create("pl-a", &["--from", "none"]).code(13);
    create("pl-a", &[]).code(2).complains("--from");
    create("pl-a", &["--from", "main", "--quota", "1g"])
        .code(2)
        .complains("--quota");
    create("../pl", &["--from", "main"]).code(2);
    let mut page = JsonPage::read();
    page.check(
        "local-volume",
        &create("pl-a", &["--from", "main", "-n", "--json"])
            .ok()
            .json(),
    );
    assert!(!has(engine, "pl-a"));

    create("pl-a", &["--from", "main"])
        .ok()
        .says("on branch main, 2 files");
    assert_eq!(
        sh(
            engine,
            "pl-a",
            "cat /v/a; stat -c '%u:%g %a' /v/a /v; wc -c < /v/dir/big"
        ),
        "two1000:1001 644\n999:998 750\n3145728"
    );
    // The repository and the branch are in the labels, so the commit does not depend on the working
    // directory.
    sh(engine, "pl-a", "echo -n three > /v/a; chown 5:6 /v/dir/big");
    s.dvc(["commit", "--volume", "pl-a", "-m", "third"])
        .ok()
        .says("[main v3");
    assert_eq!(messages(&s, "../r", "main"), ["third", "second", "first"]);
    s.dvc(["commit", "--volume", "pl-a", "-m", "fourth"])
        .ok()
        .says("nothing to commit");
    assert_eq!(
        s.dvc(["--repo", "../r", "show", "main:a"]).ok().out,
        "three"
    );
    // A volume with content is never overwritten, even if dvc has created it.
    create("pl-a", &["--from", "main"])
        .code(4)
        .complains("not empty");
    assert_eq!(sh(engine, "pl-a", "cat /v/a"), "three");

    // To commit on top of an older version, dvc uses a branch with the name of the volume.
    create("pl-b", &["--from", "main@v1", "--branch", "main"])
        .code(4)
        .complains("cannot fill the volume: branch `main` is at a different version");
    assert!(!has(engine, "pl-b"));
    page.check(
        "local-volume",
        &create("pl-b", &["--from", "main@v1", "--json"]).ok().json(),
    );
    assert!(
        !page
            .unused()
            .iter()
            .any(|field| field.starts_with("local-volume.")),
        "{:?}",
        page.unused()
    );
    sh(engine, "pl-b", "echo -n other > /v/a");
    s.dvc(["commit", "--volume", "pl-b", "-m", "aside"])
        .ok()
        .says("[pl-b v2");
    assert_eq!(messages(&s, "../r", "pl-b"), ["aside", "first"]);
    create("pl-c", &["--from", "main@v1", "--branch", "dev/me"])
        .ok()
        .says("on branch dev/me");
    assert_eq!(
        engine.docker([
            "volume",
            "inspect",
            "-f",
            "{{index .Labels \"dvc.branch\"}}",
            "pl-c"
        ]),
        "dev/me"
    );

    // A new volume does not inherit the state that was recorded for the path of a removed volume
    // with the same name.
    engine.docker(["volume", "rm", "pl-b"]);
    create("pl-b", &["--from", "main@v2", "--branch", "again"]).ok();
    assert_eq!(sh(engine, "pl-b", "cat /v/a; ls /v"), "twoa\ndir");
    // An existing empty volume is filled. Its branch has the name of the volume.
    engine.make_volume("pl-d", &[]);
    create("pl-d", &["--from", "main@v1", "--branch", "main"])
        .code(2)
        .complains("`pl-d`");
    create("pl-d", &["--from", "main@v1"]).ok();
    assert_eq!(sh(engine, "pl-d", "cat /v/a"), "one");
    engine.docker(["volume", "rm", "pl-a", "pl-b", "pl-c", "pl-d"]);

    // Fill a volume from a remote repository.
    s.dvc(["--repo", "../r", "remote", "add", "origin", "../far"])
        .ok();
    s.dvc(["--repo", "../r", "push", "--all"]).ok();
    let from = format!("file://{}#main@v2", s.at("far").display());
    s.dvc([
        "volume", "create", "pl-e", "--from", &from, "--driver", "local",
    ])
    .ok();
    assert_eq!(sh(engine, "pl-e", "cat /v/a"), "two");
    engine.docker(["volume", "rm", "pl-e"]);
}

#[test]
fn a_missing_engine_is_reported() {
    let mut s = Sandbox::with_repo();
    s.write("a", "a");
    s.dvc(["commit", "-m", "x"]).ok();
    let create = |s: &Sandbox| {
        s.dvc([
            "volume", "create", "x", "--from", "main", "--driver", "local",
        ])
    };
    create(&s).code(6).complains("no Docker engine at");
    s.dvc(["commit", "--volume", "x", "-m", "y"])
        .code(13)
        .complains("no such volume")
        .complains("no Docker engine at");
    // If an engine is reachable or configured, `--all-volumes` must include its volumes. Otherwise
    // there may be no volumes.
    s.dvc(["commit", "--all-volumes", "-m", "y"])
        .code(6)
        .complains("no Docker engine at");
    for host in ["tcp://127.0.0.1:1", "ssh://me@127.0.0.1"] {
        s.set("DOCKER_HOST", host);
        s.dvc(["commit", "--all-volumes", "-m", "y"])
            .code(2)
            .complains("not a Unix socket");
    }
    if !std::path::Path::new(dvc::docker::SOCKET).exists() {
        s.set("DOCKER_HOST", "");
        s.dvc(["commit", "--all-volumes", "-m", "y"])
            .ok()
            .complains("committing only dvc volumes");
    }
    let socket = s.at("deaf");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    s.set("DOCKER_HOST", &format!("unix://{}", socket.display()));
    create(&s)
        .code(6)
        .complains("no Docker engine is listening");
    s.dvc(["commit", "--volume", "x", "-m", "y"]).code(6);
    // An error is required: without it, no user would notice that the engine's volumes are not
    // committed.
    s.dvc(["commit", "--all-volumes", "-m", "y"]).code(6);
}

/// Creates the volume `pl-k` again and again and kills dvc after it has begun to write files, until
/// one creation is only half done. Such a volume cannot be committed, and the same command
/// completes the creation.
fn kill_creation_halfway(engine: &Engine, s: &Sandbox, words: &[&str]) {
    engine.make_volume("pl-place", &[]);
    let place = engine
        .docker(["volume", "inspect", "-f", "{{.Mountpoint}}", "pl-place"])
        .replace("pl-place", "pl-k");
    engine.docker(["volume", "rm", "pl-place"]);
    let at = |name: &str| std::path::Path::new(place.trim()).join(name);
    for _ in 0..200 {
        let mut child = s.command(words).spawn().unwrap();
        while !at("dir").exists() && child.try_wait().unwrap().is_none() {}
        let _ = child.kill();
        let is_killed = child.wait().unwrap().code().is_none();
        let written = fs::metadata(at("dir/big")).map_or(0, |big| big.len());
        if is_killed && at("dir").exists() && written < 3 << 20 {
            return;
        }
        if has(engine, "pl-k") {
            engine.docker(["volume", "rm", "pl-k"]);
        }
    }
    panic!("no creation was killed halfway");
}

#[test]
fn a_killed_creation_is_finished_by_the_next() {
    let Some(engine) = Engine::shared() else {
        return;
    };
    let s = sandbox(engine);
    let words = [
        "--repo", "../r", "volume", "create", "pl-k", "--from", "main", "--driver", "local",
    ];
    kill_creation_halfway(engine, &s, &words);
    assert!(has(engine, "pl-k"));
    s.dvc(["commit", "--volume", "pl-k", "-m", "half"])
        .code(4)
        .complains("interrupted");
    s.dvc(words).ok();
    assert_eq!(
        sh(engine, "pl-k", "cat /v/a; wc -c < /v/dir/big"),
        "two3145728"
    );
    s.dvc(["commit", "--volume", "pl-k", "-m", "whole"])
        .ok()
        .says("nothing to commit");
    s.dvc(words).code(4).complains("not empty");
    engine.docker(["volume", "rm", "pl-k"]);
    // A new volume does not inherit the interrupted creation of a removed volume with the same name
    // and path.
    kill_creation_halfway(engine, &s, &words);
    engine.docker(["volume", "rm", "pl-k"]);
    engine.make_volume("pl-k", &[]);
    sh(engine, "pl-k", "echo mine > /v/a");
    s.dvc(words).code(4).complains("not empty");
    assert_eq!(sh(engine, "pl-k", "cat /v/a"), "mine");
    engine.docker(["volume", "rm", "pl-k"]);
}

#[test]
fn a_volume_that_dvc_did_not_create_is_committed() {
    let Some(engine) = Engine::shared() else {
        return;
    };
    let s = sandbox(engine);
    ["pl-v", "pl-w"]
        .into_iter()
        .for_each(|name| engine.make_volume(name, &[]));
    for (container, mount) in [("w", "pl-v:/v"), ("r", "pl-v:/v:ro"), ("o", "pl-w:/v")] {
        let name = format!("pl-v-{container}");
        engine.docker([
            "run",
            "-d",
            "--name",
            &name,
            "-v",
            mount,
            engine.image(),
            "sleep",
            "1000",
        ]);
    }
    sh(engine, "pl-v", "echo one > /v/x");
    // If there is no repository for the volume, the version goes to the default repository of the
    // machine, on a branch with the name of the volume.
    let own = s.at("home/state/dvc/repository").display().to_string();
    s.dvc(["commit", "--volume", "pl-v", "-m", "a", "-n"])
        .code(10);
    s.dvc(["commit", "--volume", "pl-v", "-m", "a"])
        .ok()
        .says("[pl-v v1");
    sh(engine, "pl-v", "echo two > /v/x");
    let held = s
        .dvc([
            "commit",
            "--volume",
            "pl-v",
            "-m",
            "b",
            "--quiesce",
            "docker:pause",
        ])
        .ok()
        .says("[pl-v v2");
    let held = held.complains("paused container `pl-v-w`");
    assert!(
        !held.err.contains("pl-v-r") && !held.err.contains("pl-v-o"),
        "{}",
        held.err
    );
    assert_eq!(
        ["w", "r", "o"].map(|c| engine.state(&format!("pl-v-{c}"))),
        ["running"; 3]
    );
    assert_eq!(messages(&s, &own, "pl-v"), ["b", "a"]);
    // Commit to a given repository, and to a given branch.
    s.dvc(["--repo", "../r", "commit", "--volume", "pl-v", "-m", "c"])
        .ok()
        .says("[pl-v v1");
    s.dvc([
        "--repo", "../r", "commit", "--volume", "pl-v", "-b", "main", "-m", "d",
    ])
    .ok()
    .says("[main v3");
    // An empty volume is rejected if the version has content, because the content may be unmounted.
    sh(engine, "pl-v", "rm /v/x");
    s.dvc(["commit", "--volume", "pl-v", "-m", "e"])
        .code(4)
        .complains("is empty");
    s.dvc(["commit", "--volume", "pl-none", "-m", "e"])
        .code(13)
        .complains("no such volume");
    // Two volumes cannot use the same branch.
    let before = messages(&s, "../r", "main");
    s.dvc([
        "--repo", "../r", "commit", "--volume", "pl-v", "--volume", "pl-w", "-b", "main", "-m", "f",
    ])
    .code(2)
    .complains("several volumes");
    assert_eq!(messages(&s, "../r", "main"), before);
    engine.docker(["rm", "-f", "pl-v-w", "pl-v-r", "pl-v-o"]);
    engine.docker(["volume", "rm", "pl-v", "pl-w"]);
}

#[test]
fn a_volume_on_a_device_is_committed_only_while_it_is_mounted() {
    let Some(engine) = Engine::start() else {
        return;
    };
    let s = sandbox(&engine);
    let device = s.at("device");
    fs::create_dir(&device).unwrap();
    fs::write(device.join("y"), "content").unwrap();
    let option = format!("device={}", device.display());
    engine.make_volume("pl-dev", &["type=none", "o=bind", &option]);
    s.dvc(["commit", "--volume", "pl-dev", "-m", "f"])
        .code(4)
        .complains("mounted only while");
    engine.docker([
        "run",
        "-d",
        "--name",
        "pl-dev-c",
        "-v",
        "pl-dev:/v",
        engine.image(),
        "sleep",
        "1000",
    ]);
    s.dvc(["commit", "--volume", "pl-dev", "-m", "f"]).ok();
    let own = s.at("home/state/dvc/repository").display().to_string();
    assert_eq!(
        s.dvc(["--repo", &own, "show", "pl-dev:y"]).ok().out,
        "content"
    );
}

/// A mount of dvc. Drop detaches it, in case the test fails early.
struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn all_volumes_are_those_of_dvc_and_those_of_the_engine() {
    if !needs::fuse() {
        return;
    }
    let Some(engine) = Engine::start() else {
        return;
    };
    let s = sandbox(&engine);
    s.dvc([
        "--repo", "../r", "volume", "create", "ours", "--from", "main",
    ])
    .ok();
    let ours = s
        .dvc(["volume", "path", "ours"])
        .ok()
        .out
        .trim_end()
        .to_owned();
    let _mount = Mount(PathBuf::from(&ours));
    for name in ["one", "two"] {
        engine.make_volume(name, &[]);
        sh(&engine, name, &format!("echo {name} > /v/x"));
    }
    let anonymous = engine.docker(["volume", "create", "-d", "local"]);
    assert_eq!(anonymous.len(), 64);
    sh(&engine, &anonymous, "echo no > /v/x");
    let own = s.at("home/state/dvc/repository").display().to_string();
    let commit = |word: &str| {
        fs::write(PathBuf::from(&ours).join("o"), word).unwrap();
        for name in ["one", "two"] {
            sh(&engine, name, &format!("echo {word} > /v/x"));
        }
        s.dvc(["commit", "--all-volumes", "-m", word])
    };
    let run = commit("a")
        .ok()
        .says("[main v3")
        .says("[one v1")
        .says("[two v1");
    assert_eq!((run.out.matches("[").count(), run.err.as_str()), (3, ""));
    let branches = s.dvc(["--repo", &own, "branch", "--json"]).ok().out;
    assert!(!branches.contains(&anonymous[..12]), "{branches}");
    // An anonymous volume is committed only if it is given by name. The JSON output contains this
    // name.
    let run = s
        .dvc([
            "commit",
            "--volume",
            &anonymous,
            "-b",
            "of-nobody",
            "-m",
            "x",
            "--json",
        ])
        .ok();
    assert_eq!(
        (&run.json()["volume"], &run.json()["branch"]),
        (&anonymous.as_str().into(), &"of-nobody".into())
    );
    // A volume that contains the repository itself is skipped. This is necessary if dvc runs in a
    // container.
    let state = format!("device={}", s.at("home/state").display());
    engine.make_volume("state", &["type=none", "o=bind", &state]);
    engine.docker([
        "run",
        "-d",
        "--name",
        "holder",
        "-v",
        "state:/v",
        engine.image(),
        "sleep",
        "1000",
    ]);
    commit("b")
        .ok()
        .says("[two v2")
        .complains("not committed: cannot use volume `state`");
    s.dvc(["commit", "--volume", "state", "-m", "x"])
        .code(2)
        .complains("dvc itself writes to");
    engine.docker(["rm", "-f", "holder"]);
    engine.docker(["volume", "rm", "state"]);
    // dvc and the engine both have a volume with this name.
    s.dvc(["volume", "create", "one"]).ok();
    let run = commit("c")
        .code(2)
        .says("[main v5")
        .says("[two v3")
        .complains("`one` is ambiguous");
    assert!(
        run.out.contains("[one v3") && run.out.contains("nothing to commit"),
        "{}",
        run.out
    );
    s.dvc(["--repo", &own, "show", "one:x"]).code(13);
    s.dvc(["volume", "rm", "one"]).ok();
    // Without the engine, the volumes of dvc are committed, and the error lists the others.
    engine.kill();
    fs::write(PathBuf::from(&ours).join("o"), "d").unwrap();
    s.dvc(["commit", "--all-volumes", "-m", "d"])
        .code(6)
        .says("[main v6")
        .complains("Docker engine");
    engine.start_again();
    s.dvc(["volume", "rm", "ours"]).ok();
}

/// In a container, the path of a volume is the path at which the container has mounted it.
#[test]
fn a_sidecar_commits_what_it_has_mounted() {
    let Some(engine) = Engine::shared() else {
        return;
    };
    for name in ["pl-s", "pl-t"] {
        engine.make_volume(name, &[]);
        sh(engine, name, "echo content > /v/x");
    }
    let sidecar = |script: &str| {
        let bind = |from: &str, to: &str| format!("{from}:{to}");
        let mut c: Command = engine.command(["run", "--rm", "-v", "pl-s:/source/s:ro"]);
        for mount in [
            bind(engine.socket().to_str().unwrap(), "/engine.sock"),
            bind(env!("CARGO_BIN_EXE_dvc"), "/dvc:ro"),
            bind("/lib", "/lib:ro"),
            bind("/lib64", "/lib64:ro"),
        ] {
            c.args(["-v", &mount]);
        }
        Run::of(c.args([
            "-e",
            "DOCKER_HOST=unix:///engine.sock",
            engine.image(),
            "sh",
            "-c",
            script,
        ]))
    };
    sidecar("/dvc commit --volume pl-s -m x && /dvc --repo /var/lib/dvc/repository show pl-s:x")
        .ok()
        .says("content");
    sidecar("/dvc commit --volume pl-t -m x")
        .code(13)
        .complains("is not visible here")
        .complains("-v pl-t:");
    engine.docker(["volume", "rm", "pl-s", "pl-t"]);
}
