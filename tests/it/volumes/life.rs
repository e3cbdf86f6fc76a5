//! Volumes on the command line, from creation to removal.

use std::fs;
use std::path::PathBuf;

use super::host::Host;
use crate::mount::harness::Volume;
use crate::support::namespace::{ALONE, Namespace};
use crate::support::needs;

#[test]
fn a_volume_is_made_changed_committed_and_removed() {
    let Some(h) = Host::new() else { return };
    h.create("db", "main@v1", &[]);
    h.dvc(&["volume", "has", "db"]).ok();
    assert!(h.dvc(&["volume", "has", "other"]).code(1).out.is_empty());
    // Creating an existing volume with the same options changes nothing; with different options, it
    // is refused.
    h.create("db", "main@v1", &[]);
    h.v.dvc(&["volume", "create", "db", "--from", "main@v1", "--ro"])
        .code(2)
        .complains("already exists with different options");
    let at = h.path("db");
    assert_eq!(fs::read_to_string(at.join("a")).unwrap(), "one");
    fs::write(at.join("b"), "two").unwrap();
    let seen = h.inspect("db");
    assert!(
        seen["changed"] == true && seen["mounted"] == true && seen["revision"] == "main@v1",
        "{seen}"
    );
    assert_eq!(h.dvc(&["volume", "ls", "-q"]).ok().out, "db\n");
    h.dvc(&["commit", "--volume", "db", "-m", "second"])
        .ok()
        .says("[main v2");
    assert_eq!(h.inspect("db")["changed"], false);
    assert_eq!(h.v.dvc(&["show", "main@v2:b"]).ok().out, "two");
    // A version contains all changes, so nothing is moved to the trash.
    let gone = h.dvc(&["--json", "volume", "rm", "db"]).ok().json();
    assert!(gone["trash"].is_null(), "{gone}");
    h.dvc(&["volume", "has", "db"]).code(1);
    assert!(!h.is_mounted("db") && !h.volumes_dir().join("db").exists());
    assert_eq!(fs::read_dir(h.v.s.at("r/overlays")).unwrap().count(), 0);
    h.dvc(&["volume", "rm", "db"])
        .code(13)
        .complains("no such volume");
    // An unknown name does not prevent the removal of the other volumes.
    h.create("other", "main", &[]);
    h.dvc(&["volume", "rm", "db", "other"])
        .code(13)
        .complains("`db`")
        .says("other");
    h.dvc(&["volume", "has", "other"]).code(1);
}

#[test]
fn changes_that_no_version_has_outlive_their_volume() {
    let Some(h) = Host::new() else { return };
    h.create("db", "main", &[]);
    fs::write(h.path("db").join("b"), "only here").unwrap();
    assert!(
        h.dvc(&["volume", "rm", "-n", "db"])
            .ok()
            .out
            .contains("move its changes to the trash")
    );
    h.dvc(&["volume", "has", "db"]).ok();
    let entry = h.dvc(&["--json", "volume", "rm", "db"]).ok().json()["trash"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(h.dvc(&["volume", "ls"]).ok().out.is_empty());
    assert_eq!(h.dvc(&["trash", "-q"]).ok().out.trim_end(), entry);
    // A new volume with the same name does not show the old changes.
    h.create("db", "main", &[]);
    assert!(!h.path("db").join("b").exists());
    h.dvc(&["trash", "restore", &entry, "--name", "back"]).ok();
    assert_eq!(
        fs::read_to_string(h.path("back").join("b")).unwrap(),
        "only here"
    );
    h.dvc(&["trash", "restore", &entry, "--name", "more"])
        .code(13)
        .complains("in the trash");
    // Changes are deleted on request: from the trash, or during the removal.
    let entry = h.dvc(&["--json", "volume", "rm", "back"]).ok().json()["trash"]
        .as_str()
        .unwrap()
        .to_owned();
    h.dvc(&["trash", "empty", "-y", &entry]).ok();
    assert!(h.dvc(&["trash", "-q"]).ok().out.is_empty());
    fs::write(h.path("db").join("c"), "x").unwrap();
    assert!(
        h.dvc(&["--json", "volume", "rm", "--no-trash", "db"])
            .ok()
            .json()["trash"]
            .is_null()
    );
    assert_eq!(fs::read_dir(h.v.s.at("r/overlays")).unwrap().count(), 0);
}

/// The mount process has not recorded the last writes before the kill, so only the length of the
/// upper file shows them.
#[test]
fn changes_outlive_a_mount_that_was_killed() {
    let Some(h) = Host::new() else { return };
    let append = |name: &str| {
        let mut file = fs::File::options()
            .append(true)
            .open(h.path(name).join("a"))
            .unwrap();
        std::io::Write::write_all(&mut file, b" and more").unwrap();
    };
    for (name, again) in [("once", false), ("twice", true)] {
        h.create(name, "main", &["--branch", name]);
        append(name);
        h.dvc(&["commit", "--volume", name, "-m", "x"]).ok();
        append(name);
        h.kill_mount(name);
        if again {
            // Mount and unmount cleanly in between.
            assert_eq!(
                fs::read_to_string(h.path(name).join("a")).unwrap(),
                "one and more and more"
            );
        }
        let entry = h.dvc(&["--json", "volume", "rm", name]).ok().json()["trash"].clone();
        h.dvc(&["trash", "restore", entry.as_str().unwrap()]).ok();
        assert_eq!(
            fs::read_to_string(h.path(name).join("a")).unwrap(),
            "one and more and more"
        );
        h.dvc(&["commit", "--volume", name, "-m", "y"]).ok();
        // A version contains all changes, so nothing is moved to the trash, not even after a kill.
        h.kill_mount(name);
        assert!(h.dvc(&["--json", "volume", "rm", name]).ok().json()["trash"].is_null());
    }
}

#[test]
fn changes_in_the_trash_belong_to_one_volume_at_a_time() {
    let Some(h) = Host::new() else { return };
    let entry = |name: &str| {
        h.create(name, "main", &[]);
        fs::write(h.path(name).join("b"), name).unwrap();
        h.dvc(&["--json", "volume", "rm", name]).ok().json()["trash"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    // Remove volumes with the same name several times within a second; the trash entries must
    // differ.
    let all: std::collections::BTreeSet<String> = (0..3).map(|_| entry("db")).collect();
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(h.dvc(&["trash", "-q"]).ok().out.lines().count(), 3);
    let one = all.iter().next().unwrap();
    let mut makers: Vec<_> = (0..4)
        .map(|n| {
            h.v.s
                .command(["trash", "restore", one, "--name", &format!("r{n}")])
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let done = makers
        .iter_mut()
        .filter_map(|m| m.wait().unwrap().success().then_some(()))
        .count();
    assert_eq!(done, 1);
    let names = h.dvc(&["volume", "ls", "-q"]).ok().out;
    assert_eq!(
        fs::read_to_string(h.path(names.trim_end()).join("b")).unwrap(),
        "db"
    );
    assert_eq!(names.lines().count(), 1);
    // Simulate a crash between the two steps of renaming a volume.
    h.dvc(&["umount", h.path(names.trim_end()).to_str().unwrap()])
        .ok();
    fs::rename(
        h.volumes_dir().join(names.trim_end()),
        h.volumes_dir().join("other"),
    )
    .unwrap();
    assert_eq!(h.dvc(&["volume", "ls", "-q"]).ok().out, "other\n");
    assert_eq!(fs::read_to_string(h.path("other").join("b")).unwrap(), "db");
}

/// Creates a machine with a changed, mounted volume. Returns `None` and skips the test if no mount
/// namespace can be created.
fn changed_before_a_namespace() -> Option<(Host, PathBuf)> {
    let h = Host::new()?;
    if !needs::root_to("create a mount namespace without a user namespace") {
        return None;
    }
    h.create("db", "main", &[]);
    let at = h.path("db");
    fs::write(at.join("b"), "only here").unwrap();
    Some((h, at))
}

/// A container may share the directory of the volumes without seeing their mounts or processes.
#[test]
fn a_volume_whose_mount_is_not_seen_is_in_use() {
    let Some((h, at)) = changed_before_a_namespace() else {
        return;
    };
    for words in [
        "volume rm db",
        "volume rm --no-trash db",
        "volume mv db other",
    ] {
        let script = format!("{ALONE} && exec {} {words}", env!("CARGO_BIN_EXE_dvc"));
        let mut c = h.v.s.other("unshare");
        c.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        crate::support::sandbox::Run::of(&mut c)
            .code(11)
            .complains("in use");
    }
    assert_eq!(fs::read_to_string(at.join("b")).unwrap(), "only here");
}

/// Docker may request a volume while the process of its previous mount is still exiting.
#[test]
fn a_mount_that_is_about_to_end_is_waited_for() {
    let Some((h, at)) = changed_before_a_namespace() else {
        return;
    };
    // Another namespace keeps the mount, so its process continues after the unmount in this
    // namespace.
    let holder = Namespace::showing(&at, &h.v.s.at("inside"));
    h.dvc(&["umount", at.to_str().unwrap()]).code(11);
    assert!(!h.is_mounted("db"));
    let again = std::thread::scope(|scope| {
        let again = scope.spawn(|| h.path("db"));
        std::thread::sleep(std::time::Duration::from_millis(300));
        drop(holder);
        again.join().unwrap()
    });
    assert_eq!(fs::read_to_string(again.join("b")).unwrap(), "only here");
}

#[test]
fn commits_on_an_older_version_go_to_their_own_branch() {
    let Some(h) = Host::new() else { return };
    fs::write(h.v.s.at("w/a"), "two").unwrap();
    h.v.commit("second");
    h.create("old", "main@v1", &[]);
    h.create("dev", "main@v1", &["--branch", "dev/me"]);
    for (volume, branch) in [("old", "old"), ("dev", "dev/me")] {
        let at = h.path(volume);
        for n in 1..=2 {
            fs::write(at.join("n"), format!("{volume} {n}")).unwrap();
            h.dvc(&["commit", "--volume", volume, "-m", "x"])
                .ok()
                .says(&format!("[{branch} v{}", n + 1));
        }
        assert_eq!(
            h.v.dvc(&["show", &format!("{branch}:n")]).ok().out,
            format!("{volume} 2")
        );
        assert_eq!(h.v.dvc(&["show", &format!("{branch}:a")]).ok().out, "one");
    }
    assert_eq!(h.v.dvc(&["show", "main:a"]).ok().out, "two");
    assert!(
        h.v.dvc(&["ls", "main"])
            .ok()
            .out
            .lines()
            .all(|line| !line.ends_with('n'))
    );
}

#[test]
fn unused_volumes_are_committed_and_unmounted_again() {
    let Some(mut h) = Host::new() else { return };
    h.serve();
    h.made("a", &[("repo", &h.repository()), ("rev", "main")]);
    h.made(
        "b",
        &[
            ("repo", &h.repository()),
            ("rev", "main@v1"),
            ("branch", "b"),
        ],
    );
    h.made(
        "r",
        &[("repo", &h.repository()), ("rev", "main"), ("mode", "ro")],
    );
    for name in ["a", "b"] {
        let at = h.mounted(name, "1");
        fs::write(at.join("new"), name).unwrap();
        h.driver("Unmount", &serde_json::json!({ "Name": name, "ID": "1" }));
    }
    h.stop(rustix::process::Signal::TERM);
    assert!(!h.is_mounted("a") && !h.is_mounted("b"));
    // A read-only volume is not committed.
    let made = h.dvc(&["--json", "commit", "--all-volumes", "-m", "nightly"]);
    // `DOCKER_HOST` names an engine that does not exist. The volumes are still committed, and
    // the error is reported.
    let made = made.code(6).complains("no Docker engine at");
    let branches: Vec<_> = made
        .out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["branch"].clone())
        .collect();
    assert_eq!(branches, ["main", "b"]);
    assert!(!h.is_mounted("a") && !h.is_mounted("b"));
    assert_eq!(h.v.dvc(&["show", "main@v2:new"]).ok().out, "a");
    assert_eq!(h.v.dvc(&["show", "b:new"]).ok().out, "b");
    // An unknown volume does not prevent the commit of the other volumes.
    fs::write(h.path("b").join("new"), "again").unwrap();
    h.dvc(&["commit", "--volume", "none", "--volume", "b", "-m", "x"])
        .code(13)
        .says("[b v3")
        .complains("no such volume");
}

#[test]
fn a_volume_without_a_repository_begins_with_nothing() {
    let Some(h) = Host::new() else { return };
    h.dvc(&["volume", "create", "scratch"]).ok();
    let at = h.path("scratch");
    assert_eq!(fs::read_dir(&at).unwrap().count(), 0);
    fs::write(at.join("x"), "1").unwrap();
    h.dvc(&["commit", "--volume", "scratch", "-m", "x"])
        .ok()
        .says("[scratch v2");
    h.dvc(&["volume", "rm", "scratch"]).ok();
    // A new volume with the same name is empty. The version of the old volume still exists.
    h.dvc(&["volume", "create", "scratch"]).ok();
    assert_eq!(fs::read_dir(h.path("scratch")).unwrap().count(), 0);
    let own = h.v.s.at("home/state/dvc/repository").display().to_string();
    assert_eq!(
        h.dvc(&["--repo", &own, "show", "scratch@v2:x"]).ok().out,
        "1"
    );
}

#[test]
fn invalid_names_and_options_have_no_effect() {
    let Some(h) = Host::new() else { return };
    let before =
        h.v.s
            .sh("find .. -path ../home/cache -prune -o -print | sort")
            .ok()
            .out;
    let long = "x".repeat(91);
    for name in [
        "", ".", "..", "../x", "a/b", "/etc", ".hidden", "-n1", "a b", "a\nb", "ä", "$(id)", &long,
    ] {
        let run =
            h.v.s
                .dvc(["volume", "create", "--from", "main", "--", name]);
        assert_eq!(run.code, 2, "{name:?}: {}", run.err);
        assert_eq!(h.v.s.dvc(["volume", "has", "--", name]).code, 1, "{name:?}");
    }
    for option in [
        "device=/dev/sda",
        "repo=x",
        "rev=--help",
        "quota=much",
        "mode=rx",
        "branch=../x",
        "live",
    ] {
        h.v.dvc(&["volume", "create", "db", "-o", option]).code(2);
    }
    for rev in ["main@v9", "a;id", "$(id)"] {
        h.v.dvc(&["volume", "create", "db", "--from", rev]).code(13);
    }
    h.dvc(&["volume", "create", "db", "-o", "repo=/etc"])
        .code(10)
        .complains("no repository");
    let after = h
        .v
        .s
        .sh("find .. -path ../home/cache -prune -o -print | grep -v /volumes | grep -v ' ' | sort")
        .ok()
        .out;
    assert_eq!(
        before,
        after.replace("../home/state\n../home/state/dvc\n", "")
    );
    assert!(h.dvc(&["volume", "ls"]).ok().out.is_empty());
}

#[test]
fn a_quota_and_a_volume_that_is_only_read() {
    let Some(h) = Host::new() else { return };
    h.create("small", "main", &["--quota", "4M"]);
    let at = h.path("small");
    let space = rustix::fs::statvfs(&at).unwrap();
    assert_eq!((space.f_blocks, space.f_bavail), (1024, 1024));
    let full = fs::write(at.join("much"), vec![1; 16 << 20]).or_else(|e| {
        if e.raw_os_error() == Some(28) {
            Err(e)
        } else {
            Ok(())
        }
    });
    let file = fs::File::open(at.join("much")).map(|f| f.sync_all());
    assert!(
        full.is_err() || file.is_ok_and(|synced| synced.is_err()),
        "16 MiB went into 4"
    );
    fs::write(at.join("big"), "less").unwrap();
    h.create("ro", "main", &["--ro"]);
    assert_eq!(
        fs::write(h.path("ro").join("x"), "")
            .unwrap_err()
            .raw_os_error(),
        Some(30)
    );
    h.dvc(&["commit", "--volume", "ro", "-m", "x"])
        .ok()
        .says("nothing to commit");
}

#[test]
fn a_volume_gets_another_name() {
    let Some(h) = Host::new() else { return };
    h.create("old", "main", &[]);
    h.create("there", "main", &[]);
    fs::write(h.path("old").join("b"), "kept").unwrap();
    h.dvc(&["volume", "mv", "old", "there"])
        .code(2)
        .complains("the volume `there` already exists");
    h.dvc(&["volume", "mv", "old", "../new"]).code(2);
    h.dvc(&["volume", "mv", "old", "new"]).ok();
    h.dvc(&["volume", "has", "old"]).code(1);
    assert_eq!(fs::read_to_string(h.path("new").join("b")).unwrap(), "kept");
    let mut told = h.v.s.command(["volume", "path", "new"]);
    told.env("DVC_DATA_DIR", h.v.s.at("home/state/dvc"))
        .env("DVC_HOST_DATA_DIR", "/srv/dvc");
    let run = crate::support::sandbox::Run::of(&mut told).ok();
    assert_eq!(run.out, "/srv/dvc/volumes/new/data\n");
}

/// A URL refers to the content of the remote, not to that of the local clone, which all mounts of
/// the URL share.
#[test]
fn unpushed_versions_are_kept_apart_after_their_volume_is_removed() {
    let Some((s3, v)) = Volume::lazy(super::host::fill) else {
        return;
    };
    let from = format!("{}#main", s3.url("p"));
    let h = Host::of(v);
    let create = |name: &str| drop(h.dvc(&["volume", "create", name, "--from", &from]).ok());
    create("tv");
    fs::write(h.path("tv").join("b"), "not pushed").unwrap();
    h.dvc(&["commit", "--volume", "tv", "-m", "x"])
        .ok()
        .says("[main v2");
    // A new volume must not contain the unpushed version, neither while the old volume exists nor
    // after its removal.
    create("early");
    assert!(!h.path("early").join("b").exists() && h.path("tv").join("b").exists());
    let local = h.inspect("tv")["local_repository"]
        .as_str()
        .unwrap()
        .to_owned();
    let clone = |args: &[&str]| h.dvc(&[&["--repo", &local], args].concat());
    let gone = h.dvc(&["--json", "volume", "rm", "tv"]).ok().json();
    assert!(
        gone["unpushed_branch"] == "unpushed/tv" && gone["unpushed_versions"] == 1,
        "{gone}"
    );
    clone(&["branch"]).ok().says("unpushed/tv");
    assert_eq!(clone(&["show", "unpushed/tv:b"]).ok().out, "not pushed");
    create("fresh");
    let at = h.path("fresh");
    assert!(!at.join("b").exists());
    fs::write(at.join("c"), "pushed").unwrap();
    h.dvc(&["commit", "--volume", "fresh", "-m", "y", "--push"])
        .ok()
        .says("[main v2");
    assert_eq!(
        h.dvc(&["--repo", &s3.url("p"), "show", "main:c"]).ok().out,
        "pushed"
    );
    h.dvc(&["--repo", &s3.url("p"), "show", "main:b"]).code(13);
    h.dvc(&["--repo", &s3.url("p"), "show", "unpushed/tv:b"])
        .code(13);
    // Mounts of the URL behave in the same way, except that a mount continues with the versions
    // that it has committed itself.
    let (one, two) = (h.v.s.at("one"), h.v.s.at("two"));
    fs::create_dir(&one).unwrap();
    fs::create_dir(&two).unwrap();
    let mount = |at: &std::path::Path| drop(h.dvc(&["mount", &from, at.to_str().unwrap()]).ok());
    let umount = |at: &std::path::Path, more: &[&str]| {
        drop(
            h.dvc(&[&["umount", at.to_str().unwrap()], more].concat())
                .ok(),
        )
    };
    mount(&one);
    fs::write(one.join("d"), "own").unwrap();
    h.dvc(&["-C", one.to_str().unwrap(), "commit", "-m", "z"])
        .ok();
    umount(&one, &[]);
    mount(&two);
    assert!(two.join("c").exists() && !two.join("d").exists());
    umount(&two, &["--discard"]);
    mount(&one);
    assert_eq!(fs::read_to_string(one.join("d")).unwrap(), "own");
    umount(&one, &["--discard"]);
    mount(&one);
    assert!(!one.join("d").exists());
    umount(&one, &["--discard"]);
    clone(&["branch", "only-here", "main"]).ok();
    h.dvc(&[
        "mount",
        &from.replace("#main", "#only-here"),
        two.to_str().unwrap(),
    ])
    .code(13)
    .complains("only the local clone");
}

#[test]
fn a_volume_of_a_remote_works_offline_and_frees_its_cache() {
    let Some((s3, v)) = Volume::lazy(super::host::fill) else {
        return;
    };
    let url = s3.url("p");
    let h = Host::of(v);
    let blocks = || {
        h.dvc(&["--json", "du", "--cache", "--repo", "../r"])
            .ok()
            .json()["block_bytes"]
            .as_u64()
            .unwrap()
    };
    h.dvc(&[
        "volume",
        "create",
        "db",
        "--from",
        &format!("{url}#main@v1"),
    ])
    .ok();
    let at = h.path("db");
    assert_eq!(fs::metadata(at.join("big")).unwrap().len(), 1 << 20);
    fs::write(at.join("b"), "here").unwrap();
    fs::read(at.join("big")).unwrap();
    assert!(blocks() > 1 << 20);
    h.dvc(&["umount", at.to_str().unwrap()]).ok();
    drop(s3);
    // Local data is available. For missing data, the error comes without a long wait and names the
    // server.
    let at = h.path("db");
    assert_eq!(fs::read_to_string(at.join("b")).unwrap(), "here");
    let no = h
        .dvc(&[
            "volume",
            "create",
            "other",
            "--from",
            "s3://bucket/none?endpoint=http://127.0.0.1:9#main",
        ])
        .code(6);
    assert!(no.err.contains("127.0.0.1:9"), "{}", no.err);
    let gone = h
        .dvc(&["--json", "volume", "rm", "--no-trash", "db"])
        .ok()
        .json();
    assert!(gone["cache_bytes"].as_u64().unwrap() > 1 << 20, "{gone}");
    assert!(blocks() < 1 << 20);
}
