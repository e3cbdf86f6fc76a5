//! Overlays of mounts that `umount --discard` and `checkout -f` remove.

use std::fs;
use std::path::Path;

use dvc::error::Kind;
use dvc::mount::daemon::delete_overlay;
use dvc::repo::local_trash::{LocalTrash, OverlayOwner, TrashNote};

use super::{entries, only, text};
use crate::mount::harness::Volume;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::small::Small;

fn fill(w: &Path) {
    fs::write(w.join("a"), "one").unwrap();
    fs::create_dir(w.join("dir")).unwrap();
    fs::write(w.join("dir/b"), "one").unwrap();
}

fn trash(v: &Volume) -> Vec<serde_json::Value> {
    entries(&v.dvc(&["--json", "trash"]))
}

/// Runs a command that `dvc` has printed.
#[track_caller]
fn printed(v: &Volume, run: &Run) -> Run {
    let (_, rest) = run.out.split_once("run `").unwrap();
    let command = rest.split_once('`').unwrap().0;
    v.s.sh(command)
}

#[test]
fn a_discarded_overlay_is_mounted_again() {
    let Some(v) = Volume::of(fill) else { return };
    let mut m = v.mount(&[]);
    fs::write(m.at("a"), "mine").unwrap();
    fs::write(m.at("new"), "only here").unwrap();
    v.s.dvc(["umount", "-n", "--discard", m.root().to_str().unwrap()])
        .ok()
        .says("to the trash");
    let id = text(&m.down_with(&["--json", "--discard"]).ok().json(), "trash");
    let entry = only(&v.dvc(&["--json", "trash"]));
    assert_eq!(
        (text(&entry, "id"), text(&entry, "kind")),
        (id.clone(), "overlay".into())
    );
    assert!(
        entry["bytes"].as_u64().unwrap() > 0 && entry["version"].is_string(),
        "{entry}"
    );
    assert!(
        v.dvc(&["--json", "mount", "--overlays"])
            .ok()
            .out
            .is_empty()
    );
    assert!(
        v.s.at("r/trash-local")
            .join(&id)
            .join("overlay.db")
            .exists()
    );
    let listed = v.dvc(&["trash"]).ok().out;
    assert!(
        listed.contains(m.root().to_str().unwrap()) && listed.contains("until 2"),
        "{listed}"
    );
    // A new mount at the same place starts from the version.
    m.up();
    assert_eq!(fs::read(m.at("a")).unwrap(), b"one");
    fs::write(m.at("a"), "other").unwrap();
    // The new overlay has the same name, so the old one cannot be restored beside it.
    v.dvc(&["trash", "restore", &id])
        .code(4)
        .complains("already an overlay")
        .complains("umount --discard");
    assert_eq!(trash(&v).len(), 1);
    m.down_with(&["--discard"])
        .ok()
        .says("its changes are in the trash");
    assert_eq!(trash(&v).len(), 2);
    let done = v.dvc(&["trash", "restore", &id]).ok();
    printed(&v, &done).ok();
    assert_eq!(fs::read(m.at("a")).unwrap(), b"mine");
    assert_eq!(fs::read(m.at("new")).unwrap(), b"only here");
    assert_eq!(trash(&v).len(), 1);
    m.dvc(&["commit", "-m", "second"]).ok();
    assert_eq!(v.dvc(&["show", "main@v2:new"]).ok().out, "only here");
    v.s.dvc(["umount", m.root().to_str().unwrap()]).ok();
    v.dvc(&["fsck", "--data"]).ok().says("no damage");
}

#[test]
fn overlays_without_changes_and_ephemeral_ones_are_deleted() {
    let Some(v) = Volume::of(fill) else { return };
    let mut m = v.mount(&[]);
    assert!(m.down_with(&["--json", "--discard"]).ok().json()["trash"].is_null());
    m.set("main", &["--ephemeral"]);
    m.up();
    fs::write(m.at("a"), "mine").unwrap();
    m.down();
    m.up();
    fs::write(m.at("a"), "mine").unwrap();
    m.down_with(&["--discard"]).ok();
    m.set("main", &[]);
    m.up();
    fs::write(m.at("a"), "mine").unwrap();
    m.down_with(&["--discard", "--no-trash"]).ok();
    m.up();
    fs::write(m.at("a"), "mine").unwrap();
    m.commit("second");
    m.down_with(&["--discard"]).ok();
    assert!(trash(&v).is_empty(), "{:?}", trash(&v));
    assert_eq!(fs::read_dir(v.s.at("r/overlays")).unwrap().count(), 0);
}

#[test]
fn overlays_are_discarded_by_name_even_after_a_crash() {
    let Some(v) = Volume::of(fill) else { return };
    let mut m = v.mount(&["--name", "kept"]);
    fs::write(m.at("a"), "mine").unwrap();
    v.s.sh(&format!("sync -f {}", m.at("a").display())).ok();
    v.dvc(&["umount", "--discard", "kept"]).code(11);
    m.kill();
    v.dvc(&["umount", "-n", "--discard", "kept"])
        .ok()
        .says("to the trash");
    let id = text(
        &v.dvc(&["--json", "umount", "--discard", "kept"])
            .ok()
            .json(),
        "trash",
    );
    assert!(id.ends_with("Z-kept"), "{id}");
    // The description is not needed to restore it.
    fs::remove_file(v.s.at("r/trash-local").join(&id).join("trash.json")).unwrap();
    assert_eq!(text(&only(&v.dvc(&["--json", "trash"])), "name"), "kept");
    // A unique prefix is enough.
    v.dvc(&["trash", "restore", &id[..id.len() - 2]]).ok();
    m.up();
    assert_eq!(fs::read(m.at("a")).unwrap(), b"mine");
    m.down();
    v.dvc(&["umount", "--discard", "--no-trash", "kept"]).ok();
    assert!(trash(&v).is_empty() && !v.s.at("r/overlays/kept").exists());
}

#[test]
fn undo_restores_a_discarded_overlay() {
    let Some(v) = Volume::of(fill) else { return };
    let mut m = v.mount(&["--name", "kept"]);
    fs::write(m.at("a"), "mine").unwrap();
    m.down_with(&["--discard"]).ok();
    v.dvc(&["undo", "-n"])
        .ok()
        .says("would restore the overlay kept");
    let done = v.dvc(&["undo"]).ok().says("restored the overlay kept");
    printed(&v, &done).ok();
    assert_eq!(fs::read(m.at("a")).unwrap(), b"mine");
    v.s.dvc(["umount", m.root().to_str().unwrap()]).ok();
    v.dvc(&["undo"]).ok().says("undid `commit: first`");
}

#[test]
fn checkout_in_a_mount_keeps_the_changes() {
    let Some(v) = Volume::of(fill) else { return };
    fs::write(v.s.at("w/a"), "two").unwrap();
    v.commit("second");
    let m = v.mount(&[]);
    fs::write(m.at("dir/b"), "mine").unwrap();
    fs::write(m.at("new"), "mine too").unwrap();
    m.dvc(&["checkout", "main@v1"]).code(4);
    let done = m.dvc(&["--json", "checkout", "-f", "main@v1"]).ok().json();
    assert_eq!(fs::read(m.at("dir/b")).unwrap(), b"one");
    assert!(!m.at("new").exists());
    let id = text(&done, "trash");
    let entry = only(&v.dvc(&["--json", "trash"]));
    assert_eq!(
        (text(&entry, "name"), &entry["files"]),
        (m.root().display().to_string(), &2.into())
    );
    // The user chooses the directory, because a repository may name any path.
    v.dvc(&["trash", "restore", &id])
        .code(4)
        .complains("another worktree")
        .complains("-C");
    m.dvc(&["trash", "restore", &id])
        .ok()
        .says("restored 2 files");
    assert_eq!(fs::read(m.at("dir/b")).unwrap(), b"mine");
    assert_eq!(fs::read(m.at("a")).unwrap(), b"one");
    assert!(m.at("new").exists() && trash(&v).is_empty());
    let id = text(
        &m.dvc(&["--json", "checkout", "-f", "main@v1"]).ok().json(),
        "trash",
    );
    let mut m = m;
    m.down();
    v.dvc(&["trash", "restore", &id])
        .code(13)
        .complains("but no version is mounted there");
    assert_eq!(fs::read_dir(m.root()).unwrap().count(), 0);
    v.dvc(&["fsck", "--data"]).ok().says("no damage");
}

#[test]
fn two_unmounts_at_once_keep_both() {
    let Some(v) = Volume::of(fill) else { return };
    let mounts: Vec<_> = (0..4)
        .map(|n| {
            let m = v.mount_at(&format!("m{n}"), "main", &["--name", &format!("o{n}")]);
            fs::write(m.at("a"), format!("mine {n}")).unwrap();
            m
        })
        .collect();
    let children: Vec<_> = mounts
        .iter()
        .map(|m| {
            let mut umount = v.s.command(["umount", "--discard"]);
            umount.arg(m.root()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(trash(&v).len(), 4);
    for n in 0..4 {
        let all = trash(&v);
        let entry = all
            .iter()
            .find(|e| text(e, "name") == format!("o{n}"))
            .unwrap();
        v.dvc(&["trash", "restore", &text(entry, "id")]).ok();
    }
    for (n, mut m) in mounts.into_iter().enumerate() {
        m.up();
        assert_eq!(fs::read_to_string(m.at("a")).unwrap(), format!("mine {n}"));
    }
}

#[test]
fn a_full_disk_does_not_prevent_a_discard() {
    let Some(v) = Volume::of(fill) else { return };
    let place = v.s.at("disk");
    let Some(_disk) = Small::mount(&place, "8m") else {
        return;
    };
    v.s.dvc(["clone", "../r", "../disk/c"]).ok();
    let at = v.s.at("m");
    fs::create_dir(&at).unwrap();
    let mount = |args: &[&str]| {
        let mut all = vec!["--repo", "../disk/c"];
        all.extend(args);
        v.s.dvc(all)
    };
    mount(&["mount", "main", at.to_str().unwrap(), "--name", "kept"]).ok();
    fs::write(at.join("a"), "mine").unwrap();
    v.s.sh(&format!("sync -f {}", at.join("a").display())).ok();
    v.s.sh("head -c 20m /dev/zero > ../disk/filler || true")
        .ok();
    let run = v.s.dvc(["umount", "--discard", at.to_str().unwrap()]).ok();
    assert!(run.out.contains("in the trash"), "{} {}", run.out, run.err);
    fs::remove_file(place.join("filler")).unwrap();
    let id = text(&only(&mount(&["--json", "trash"])), "id");
    mount(&["trash", "restore", &id]).ok();
    mount(&["mount", "main", at.to_str().unwrap(), "--name", "kept"]).ok();
    assert_eq!(fs::read(at.join("a")).unwrap(), b"mine");
    v.s.dvc(["umount", at.to_str().unwrap()]).ok();
}

#[test]
fn checkout_in_a_mount_keeps_ignored_files() {
    let Some(v) = Volume::of(|w| {
        fill(w);
        fs::write(w.join(".dvcsignore"), "*.log\n").unwrap();
    }) else {
        return;
    };
    fs::write(v.s.at("w/a"), "two").unwrap();
    v.commit("second");
    let mut m = v.mount(&[]);
    fs::write(m.at("dir/audit.log"), "only here").unwrap();
    // A commit leaves the file out, so it stays a change of the mount.
    fs::write(m.at("dir/b"), "two").unwrap();
    m.commit("third");
    let id = text(
        &m.dvc(&["--json", "checkout", "-f", "main@v1"]).ok().json(),
        "trash",
    );
    assert!(!m.at("dir/audit.log").exists());
    assert_eq!(m.dvc(&["ls", "-r", &id]).ok().out, "dir/\ndir/audit.log\n");
    // A newer file is not overwritten, although it is ignored.
    fs::write(m.at("dir/audit.log"), "newer").unwrap();
    m.dvc(&["trash", "restore", &id])
        .code(3)
        .says("stays in the trash");
    assert_eq!(fs::read(m.at("dir/audit.log")).unwrap(), b"newer");
    fs::remove_file(m.at("dir/audit.log")).unwrap();
    m.dvc(&["trash", "restore", &id]).ok();
    assert_eq!(fs::read(m.at("dir/audit.log")).unwrap(), b"only here");
    let id = text(&m.down_with(&["--json", "--discard"]).ok().json(), "trash");
    v.dvc(&["trash", "restore", &id]).ok();
    m.set("main@v1", &[]);
    m.up();
    assert_eq!(fs::read(m.at("dir/audit.log")).unwrap(), b"only here");
}

#[test]
fn an_overlay_that_cannot_be_discarded_is_reported() {
    let Some(v) = Volume::of(fill) else { return };
    let mut m = v.mount(&["--name", "kept"]);
    fs::write(m.at("a"), "mine").unwrap();
    let trash_local = v.s.at("r/trash-local");
    // No rename moves the overlay to another file system.
    let Some(disk) = Small::mount(&trash_local, "1m") else {
        return;
    };
    let run = m.down_with(&["--discard"]).code(3);
    let log = v.s.at("r/overlays/kept/log");
    run.complains("not discarded")
        .complains("r/overlays/kept/log")
        .complains("dvc umount --discard kept");
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("cannot discard the overlay"), "{log}");
    m.up();
    assert_eq!(fs::read(m.at("a")).unwrap(), b"mine");
    // The overlay can still be deleted.
    m.down_with(&["--discard", "--no-trash"]).ok();
    assert!(!v.s.at("r/overlays/kept").exists());
    drop(disk);
    assert_eq!(fs::read_dir(trash_local).unwrap().count(), 0);
}

#[test]
fn an_overlay_that_a_process_has_locked_is_not_deleted() {
    let Some(v) = Volume::of(fill) else { return };
    let mut m = v.mount(&["--name", "kept"]);
    fs::write(m.at("a"), "mine").unwrap();
    m.down();
    // A mount starts after the command has found that no process serves the overlay.
    let (repository, dir) = (v.s.at("r"), v.s.at("r/overlays/kept"));
    let lock = fs::File::open(dir.join("lock")).unwrap();
    lock.lock().unwrap();
    let refused = delete_overlay(&repository, &dir, "kept").unwrap_err();
    assert_eq!(refused.kind(), Kind::Busy);
    assert!(dir.join("overlay.db").exists());
    drop(lock);
    v.dvc(&["umount", "--discard", "--no-trash", "kept"]).ok();
    assert!(!v.s.at("r/overlays/kept").exists() && trash(&v).is_empty());
}

#[test]
fn an_outdated_description_does_not_end_an_entry_early() {
    let s = Sandbox::new();
    let place = s.at("disk");
    let Some(_disk) = Small::mount(&place, "64k") else {
        return;
    };
    let trash = LocalTrash::of(&place);
    let overlay = place.join("overlays/kept");
    fs::create_dir_all(&overlay).unwrap();
    fs::create_dir(trash.dir()).unwrap();
    let note = |time| TrashNote {
        schema: 1,
        owner: OverlayOwner::Mount,
        overlay: "kept".to_owned(),
        time,
        nanos: 0,
        volume: None,
    };
    // A restoration was interrupted before it removed the description.
    fs::write(
        overlay.join("trash.json"),
        serde_json::to_vec(&note(5)).unwrap(),
    )
    .unwrap();
    fs::write(place.join("filler"), [1; 1 << 20]).unwrap_err();
    let id = trash.put(&overlay, &note(86_400), None).unwrap();
    assert_eq!(trash.find(&id).unwrap().unwrap().time, 86_400);
}
