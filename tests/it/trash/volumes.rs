//! Volumes in the trash.

use std::fs;

use super::{entries, only, text};
use crate::support::sandbox::Run;
use crate::support::small::Small;
use crate::volumes::host::Host;

/// Creates a volume with one change and removes it. Returns the id in the trash.
#[track_caller]
fn removed(h: &Host, name: &str, content: &str) -> String {
    h.create(name, "main", &[]);
    fs::write(h.path(name).join("b"), content).unwrap();
    text(
        &h.dvc(&["--json", "volume", "rm", name]).ok().json(),
        "trash",
    )
}

fn trash(h: &Host) -> Vec<serde_json::Value> {
    entries(&h.dvc(&["--json", "trash"]))
}

#[test]
fn a_removed_volume_exists_again_after_its_restoration() {
    let Some(h) = Host::new() else { return };
    let id = removed(&h, "db", "only here");
    assert!(id.ends_with("Z-db"), "{id}");
    let entry = only(&h.dvc(&["--json", "trash"]));
    assert_eq!(
        (
            text(&entry, "id"),
            text(&entry, "kind"),
            text(&entry, "name")
        ),
        (id.clone(), "volume".into(), "db".into())
    );
    assert!(
        entry["version"].is_string() && entry["repository"].is_string(),
        "{entry}"
    );
    assert!(h.dvc(&["volume", "ls"]).ok().out.is_empty());
    assert_eq!(fs::read_dir(h.v.s.at("r/overlays")).unwrap().count(), 0);
    // Another volume with this name may exist while the entry is in the trash.
    h.create("db", "main", &[]);
    assert!(!h.path("db").join("b").exists());
    h.dvc(&["trash", "restore", &id])
        .code(4)
        .complains("a volume with this name already exists")
        .complains("--name NAME");
    h.dvc(&["trash", "restore", &id, "--name", "../up"]).code(2);
    h.dvc(&["trash", "restore", &id, "--to", "x"]).code(2);
    assert_eq!(trash(&h).len(), 1);
    h.dvc(&["trash", "restore", &id, "--name", "back"])
        .ok()
        .says("restored the volume back");
    assert_eq!(
        fs::read_to_string(h.path("back").join("b")).unwrap(),
        "only here"
    );
    assert!(!h.path("db").join("b").exists() && trash(&h).is_empty());
    h.dvc(&["trash", "restore", &id]).code(13);
    // Changes in the trash are deleted only on request.
    let id = text(
        &h.dvc(&["--json", "volume", "rm", "back"]).ok().json(),
        "trash",
    );
    h.dvc(&["trash", "empty", &id]).code(4).complains("-y");
    h.dvc(&["trash", "empty", "-n", &id])
        .ok()
        .says("would delete");
    h.dvc(&["trash", "empty", "-y", &id])
        .ok()
        .says("deleted 1 entry");
    assert!(trash(&h).is_empty());
    assert_eq!(fs::read_dir(h.v.s.at("r/trash-local")).unwrap().count(), 0);
    assert!(
        h.dvc(&["--json", "volume", "rm", "--no-trash", "db"])
            .ok()
            .json()["trash"]
            .is_null()
    );
}

#[test]
fn a_volume_is_in_one_place_after_a_crash_at_any_step() {
    let Some(h) = Host::new() else { return };
    let id = removed(&h, "db", "mine");
    let (records, trash_local) = (h.volumes_dir().join(".trash"), h.v.s.at("r/trash-local"));
    let overlay = {
        let record = fs::read(records.join(&id).join("volume.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        h.v.s
            .at("r/overlays")
            .join(record["overlay"].as_str().unwrap())
    };
    let restores = |id: &str| {
        assert_eq!(text(&only(&h.dvc(&["--json", "trash"])), "id"), id);
        h.dvc(&["trash", "restore", id]).ok();
        assert_eq!(fs::read(h.path("db").join("b")).unwrap(), b"mine");
        assert!(trash(&h).is_empty());
        text(
            &h.dvc(&["--json", "volume", "rm", "db"]).ok().json(),
            "trash",
        )
    };
    // The record is in the trash, the overlay is not moved yet.
    fs::rename(trash_local.join(&id), &overlay).unwrap();
    h.v.dvc(&[
        "umount",
        "--discard",
        overlay.file_name().unwrap().to_str().unwrap(),
    ])
    .code(13);
    assert!(trash_local.join(&id).exists());
    fs::rename(trash_local.join(&id), &overlay).unwrap();
    let id = restores(&id);
    // A restoration has moved the overlay, but not the record.
    fs::rename(trash_local.join(&id), &overlay).unwrap();
    let id = restores(&id);
    // The description of the overlay was not written.
    fs::remove_file(trash_local.join(&id).join("trash.json")).unwrap();
    let mut id = restores(&id);
    // The record of the volume is damaged, or lost: the repository has a copy.
    for is_lost in [false, true] {
        if is_lost {
            fs::remove_dir_all(records.join(&id)).unwrap();
        } else {
            fs::write(records.join(&id).join("volume.json"), "damage").unwrap();
            assert_eq!(text(&only(&h.dvc(&["--json", "trash"])), "id"), id);
            h.dvc(&["trash", "restore", &id])
                .code(5)
                .complains("damaged");
        }
        assert_eq!(text(&only(&h.v.dvc(&["--json", "trash"])), "id"), id);
        h.v.dvc(&["trash", "restore", &id])
            .ok()
            .says("restored the volume db");
        assert_eq!(fs::read(h.path("db").join("b")).unwrap(), b"mine");
        id = text(
            &h.dvc(&["--json", "volume", "rm", "db"]).ok().json(),
            "trash",
        );
    }
    // If a gc has deleted the overlay, the record is deleted too.
    fs::remove_dir_all(trash_local.join(&id)).unwrap();
    assert!(trash(&h).is_empty() && !records.join(&id).exists());
}

#[test]
fn an_unreachable_repository_hides_nothing() {
    let Some(h) = Host::new() else { return };
    let id = removed(&h, "db", "mine");
    fs::rename(h.v.s.at("r"), h.v.s.at("unmounted")).unwrap();
    assert_eq!(text(&only(&h.dvc(&["--json", "trash"])), "id"), id);
    h.dvc(&["trash", "restore", &id])
        .code(13)
        .complains("not in");
    fs::rename(h.v.s.at("unmounted"), h.v.s.at("r")).unwrap();
    h.dvc(&["trash", "restore", &id]).ok();
    assert_eq!(fs::read(h.path("db").join("b")).unwrap(), b"mine");
}

#[test]
fn changes_in_the_trash_belong_to_one_volume_at_a_time() {
    let Some(h) = Host::new() else { return };
    // Several volumes of one name within a second are several entries.
    let ids: Vec<String> = (0..3).map(|n| removed(&h, "db", &n.to_string())).collect();
    assert_eq!(trash(&h).len(), 3, "{ids:?}");
    for id in &ids {
        let children: Vec<_> = (0..4)
            .map(|n| {
                let name = format!("r{n}");
                let args = ["trash", "restore", id, "--name", &name];
                let mut command = h.v.s.command(args);
                command
                    .stdout(std::process::Stdio::piped())
                    .stderr(std::process::Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let done: Vec<i32> = children
            .into_iter()
            .map(|child| Run::wait("restore".to_owned(), child).code)
            .collect();
        assert_eq!(
            done.iter().filter(|code| **code == 0).count(),
            1,
            "{done:?}"
        );
        let names = h.dvc(&["volume", "ls", "-q"]).ok().out;
        h.dvc(&["volume", "rm", "--no-trash", names.trim()]).ok();
    }
    assert!(trash(&h).is_empty());
}

#[test]
fn undo_restores_the_last_volume() {
    let Some(h) = Host::new() else { return };
    removed(&h, "db", "mine");
    h.dvc(&["undo", "-n"])
        .ok()
        .says("would restore the volume db");
    h.v.dvc(&["undo"]).ok().says("restored the volume db");
    assert_eq!(fs::read(h.path("db").join("b")).unwrap(), b"mine");
    // Outside of a repository, there is nothing else to undo.
    h.dvc(&["undo"]).code(10);
}

#[test]
fn an_overlay_that_cannot_be_moved_is_reported_and_deleted() {
    let Some(h) = Host::new() else { return };
    let trash_local = h.v.s.at("r/trash-local");
    // No rename moves the overlay to another file system.
    let Some(_disk) = Small::mount(&trash_local, "1m") else {
        return;
    };
    let id = removed(&h, "db", "mine");
    let listed = h.dvc(&["trash"]).code(3).says(&id);
    listed.complains("cannot list a part of the trash: ");
    h.dvc(&["trash", "restore", &id]).ok();
    assert_eq!(fs::read(h.path("db").join("b")).unwrap(), b"mine");
    h.dvc(&["volume", "rm", "db"]).ok();
    h.dvc(&["trash", "empty", "-y"]).code(3).says("deleted 1");
    assert_eq!(fs::read_dir(h.v.s.at("r/overlays")).unwrap().count(), 0);
    h.dvc(&["trash"]).ok().says("the trash is empty");
}
