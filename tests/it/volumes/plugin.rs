//! The volume plugin, with requests like those of Docker.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;

use super::host::Host;
use crate::mount_live::until;
use crate::support::namespace::Namespace;
use crate::support::needs;
use crate::support::sandbox::Run;
use crate::support::spawned::Spawned;

#[test]
fn containers_share_one_mount_of_a_volume() {
    let Some(mut h) = Host::new() else { return };
    h.serve();
    let repo = h.repository();
    h.made("db", &[("repo", &repo), ("rev", "main@v1")]);
    h.made("db", &[("repo", &repo), ("rev", "main@v1")]);
    assert!(
        h.refused(
            "Create",
            &json!({ "Name": "db", "Opts": { "repo": repo, "rev": "main", "mode": "ro" } })
        )
        .contains("different options")
    );
    let at = h.mounted("db", "one");
    assert_eq!(h.mounted("db", "two"), at);
    assert_eq!(fs::read_to_string(at.join("a")).unwrap(), "one");
    fs::write(at.join("b"), "x").unwrap();
    assert!(
        h.refused("Remove", &json!({ "Name": "db" }))
            .contains("in use by 2 containers")
    );
    h.driver("Unmount", &json!({ "Name": "db", "ID": "one" }));
    assert!(
        h.refused("Remove", &json!({ "Name": "db" }))
            .contains("in use by 1")
    );
    let seen = h.driver("Get", &json!({ "Name": "db" }));
    let status = &seen["Volume"]["Status"];
    assert!(
        status["changed"] == true && status["users"] == 1 && status["dirty_bytes"] == 1,
        "{seen}"
    );
    assert_eq!(seen["Volume"]["Mountpoint"], at.to_str().unwrap());
    assert_eq!(
        h.driver("Path", &json!({ "Name": "db" }))["Mountpoint"],
        at.to_str().unwrap()
    );
    assert_eq!(h.driver("List", &json!({}))["Volumes"][0]["Name"], "db");
    assert_eq!(
        h.driver("Capabilities", &json!({}))["Capabilities"]["Scope"],
        "local"
    );
    // To start one container, Docker mounts, unmounts and mounts again, so the plugin unmounts only
    // after a delay.
    h.driver("Unmount", &json!({ "Name": "db", "ID": "two" }));
    assert!(h.is_mounted("db"));
    assert_eq!(h.mounted("db", "three"), at);
    h.driver("Unmount", &json!({ "Name": "db", "ID": "three" }));
    until("an unused mount ends", || !h.is_mounted("db"));
    // The changes are still there in the next mount. When the volume is removed, they are moved to
    // the trash.
    assert_eq!(
        fs::read_to_string(h.mounted("db", "four").join("b")).unwrap(),
        "x"
    );
    h.driver("Unmount", &json!({ "Name": "db", "ID": "four" }));
    h.driver("Remove", &json!({ "Name": "db" }));
    assert!(
        h.log().contains("its changes are in the trash"),
        "{}",
        h.log()
    );
    for verb in ["Get", "Path", "Mount", "Unmount", "Remove"] {
        assert!(
            h.refused(verb, &json!({ "Name": "db", "ID": "x" }))
                .contains("no such volume"),
            "{verb}"
        );
    }
}

#[test]
fn no_request_reaches_other_paths() {
    let Some(mut h) = Host::new() else { return };
    h.serve();
    for name in ["../x", "..", "/etc", "a/b", ".locks", "", "-x", "a\u{0}b"] {
        for verb in ["Create", "Mount", "Remove", "Path", "Get", "Unmount"] {
            assert!(
                h.refused(verb, &json!({ "Name": name, "ID": "1" }))
                    .contains("invalid volume name"),
                "{verb} {name:?}"
            );
        }
    }
    for (key, value) in [
        ("repo", "--help"),
        ("rev", "-h"),
        ("device", "/"),
        ("o", "x"),
        ("quota", "$(id)"),
        ("repo", "/proc"),
    ] {
        h.refused("Create", &json!({ "Name": "x", "Opts": { key: value } }));
    }
    assert!(
        h.ask("VolumeDriver.Create", &json!("nonsense"))["Err"]
            .as_str()
            .unwrap()
            .contains("cannot parse the request")
    );
    assert_eq!(h.driver("List", &json!({}))["Volumes"], json!([]));
    // A password in an option is removed and never stored or logged.
    let url = "scp://me:hunter2secret@127.0.0.1:9/x";
    h.refused(
        "Create",
        &json!({ "Name": "x", "Opts": { "--access": url, "--name": "A" } }),
    );
    h.v.s
        .sh("! grep -rsl hunter2secret ../home ../plugin.log")
        .ok();
}

#[test]
fn volumes_outlive_the_plugin() {
    let Some(mut h) = Host::new() else { return };
    h.serve();
    let repo = h.repository();
    for name in ["used", "idle"] {
        h.made(name, &[("repo", &repo), ("rev", "main")]);
    }
    let at = h.mounted("used", "1");
    h.mounted("idle", "1");
    fs::write(at.join("b"), "before").unwrap();
    let open = fs::File::create(at.join("c")).unwrap();
    h.driver("Unmount", &json!({ "Name": "idle", "ID": "1" }));
    h.stop(Signal::KILL);
    // Containers continue to use the volume while the plugin does not run.
    std::io::Write::write_all(&mut &open, b"meanwhile").unwrap();
    assert!(h.is_mounted("used") && h.is_mounted("idle"));
    h.serve();
    assert_eq!(fs::read_to_string(at.join("c")).unwrap(), "meanwhile");
    assert_eq!(h.mounted("used", "2"), at);
    until("the unused mount ends", || !h.is_mounted("idle"));
    assert!(
        h.refused("Remove", &json!({ "Name": "used" }))
            .contains("in use by 2")
    );
    let mut second = h.v.s.command([
        "serve".to_owned(),
        format!("--plugin={}", h.socket().display()),
    ]);
    Run::of(&mut second)
        .code(11)
        .complains("another plugin is listening");
    // A file that is not a socket does not come from an earlier plugin, so it is kept.
    let file = h.v.s.at("precious");
    fs::write(&file, "content").unwrap();
    h.dvc(&["serve", &format!("--plugin={}", file.display())])
        .code(2)
        .complains("is not a socket");
    assert_eq!(fs::read_to_string(&file).unwrap(), "content");
    h.stop(Signal::TERM);
    assert!(h.is_mounted("used") && !h.socket().exists());
    assert_eq!(fs::read_to_string(at.join("b")).unwrap(), "before");
    // The plugin mounts a volume again if the process of its mount has died.
    h.serve();
    drop(open);
    h.kill_mount("used");
    assert_eq!(
        fs::read_to_string(h.mounted("used", "3").join("c")).unwrap(),
        "meanwhile"
    );
}

#[test]
fn mounts_that_docker_never_released_are_found_by_their_users() {
    let Some(mut h) = Host::new() else { return };
    if !needs::root_to("create a mount namespace without a user namespace") {
        return;
    }
    h.serve();
    let repo = h.repository();
    for name in ["seen", "lost", "booted"] {
        h.made(name, &[("repo", &repo), ("rev", "main")]);
    }
    let at = h.mounted("seen", "1");
    h.mounted("lost", "1");
    h.mounted("booted", "1");
    let container = Namespace::showing(&at, &h.v.s.at("inside"));
    h.stop(Signal::KILL);
    // Backdate the users of all volumes, and let one of them originate before the last boot.
    for (name, from, to) in [
        ("seen", "\"1\",", "\"1\","),
        ("lost", "\"1\",", "\"1\","),
        ("booted", "\"boot\": \"", "\"boot\": \"0"),
    ] {
        let path = h.volumes_dir().join(name).join("users.json");
        let text = fs::read_to_string(&path).unwrap();
        let since = text
            .lines()
            .find_map(|line| {
                line.trim()
                    .strip_prefix("\"since_secs\": ")?
                    .parse::<i64>()
                    .ok()
            })
            .unwrap();
        assert!(text.contains(from));
        fs::write(
            &path,
            text.replacen(from, to, 1)
                .replace(&since.to_string(), &(since - 3600).to_string()),
        )
        .unwrap();
    }
    h.serve();
    until("the unseen volumes are unmounted", || {
        !h.is_mounted("lost") && !h.is_mounted("booted")
    });
    assert!(h.is_mounted("seen"));
    assert!(
        h.refused("Remove", &json!({ "Name": "seen" }))
            .contains("in use by process")
    );
    drop(container);
    h.driver("Remove", &json!({ "Name": "seen" }));
    h.driver("Remove", &json!({ "Name": "lost" }));
}

/// A running commit counts as a user of its volume, although it uses the volume at its own mount
/// and not in a container.
#[test]
fn a_commit_has_a_volume_as_long_as_it_lives() {
    let Some(mut h) = Host::new() else { return };
    h.serve();
    let repo = h.repository();
    // The plugin checks the volumes in this order, by name.
    for name in ["committed", "lost"] {
        h.made(name, &[("repo", &repo), ("rev", "main")]);
    }
    fs::write(h.mounted("committed", "1").join("b"), "x").unwrap();
    h.driver("Unmount", &json!({ "Name": "committed", "ID": "1" }));
    let (begun, go) = (h.v.s.at("begun"), h.v.s.at("go"));
    let hook = h.v.s.at("r/hooks/pre-commit");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    let script = format!(
        "#!/bin/sh\n: > {}\nuntil [ -e {} ]; do sleep 0.1; done\n",
        begun.display(),
        go.display()
    );
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    for killed in [false, true] {
        h.mounted("lost", "1");
        let _ = fs::remove_file(&begun);
        let mut c =
            h.v.s
                .command(["commit", "--volume", "committed", "-m", "x"]);
        let mut commit = Spawned::start(
            c.stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        until("the hook runs", || begun.exists());
        h.stop(Signal::KILL);
        // Backdate the users of both volumes.
        for name in ["committed", "lost"] {
            let path = h.volumes_dir().join(name).join("users.json");
            let text = fs::read_to_string(&path).unwrap();
            let since = text
                .lines()
                .find_map(|line| {
                    line.trim()
                        .strip_prefix("\"since_secs\": ")?
                        .parse::<i64>()
                        .ok()
                })
                .unwrap();
            fs::write(
                &path,
                text.replace(&since.to_string(), &(since - 3600).to_string()),
            )
            .unwrap();
        }
        if killed {
            rustix::process::kill_process_group(
                rustix::process::Pid::from_child(&commit),
                Signal::KILL,
            )
            .unwrap();
            commit.wait().unwrap();
        }
        h.serve();
        until("the unused volume is unmounted", || !h.is_mounted("lost"));
        if killed {
            until("the volume of the killed commit is unmounted", || {
                !h.is_mounted("committed")
            });
            continue;
        }
        assert!(h.is_mounted("committed"));
        assert!(
            h.refused("Remove", &json!({ "Name": "committed" }))
                .contains("in use by")
        );
        fs::write(&go, "").unwrap();
        commit.finish().ok().says("[main v");
        until("the volume is unmounted after the commit", || {
            !h.is_mounted("committed")
        });
        fs::write(h.mounted("committed", "1").join("b"), "y").unwrap();
        h.driver("Unmount", &json!({ "Name": "committed", "ID": "1" }));
        fs::remove_file(&go).unwrap();
    }
    let locks = fs::read_dir(h.volumes_dir().join(".locks")).unwrap();
    let left: Vec<_> = locks
        .map(|e| e.unwrap().file_name())
        .filter(|n| n.to_string_lossy().starts_with('@'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn volumes_are_isolated_from_each_other() {
    let Some(mut h) = Host::new() else { return };
    h.serve();
    let repo = h.repository();
    for name in ["a", "b"] {
        h.made(name, &[("repo", &repo), ("rev", "main")]);
    }
    let (a, b) = (h.mounted("a", "1"), h.mounted("b", "1"));
    fs::write(a.join("a"), "of a").unwrap();
    fs::write(a.join("secret"), "of a").unwrap();
    assert_eq!(fs::read_to_string(b.join("a")).unwrap(), "one");
    assert!(!b.join("secret").exists());
    assert_ne!(a.parent(), b.parent());
    // The parent directory of the mount that a container gets contains only files about that
    // volume.
    let names: Vec<_> = fs::read_dir(a.parent().unwrap())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        names
            .iter()
            .all(|n| ["data", "volume.json", "users.json"].contains(&n.to_str().unwrap())),
        "{names:?}"
    );
}
