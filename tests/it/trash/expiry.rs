//! The trash and `gc`, which keeps the data of entries and deletes expired entries.

use std::fs;
use std::path::Path;

use super::{entries, only, text};
use crate::mount::harness::Volume;
use crate::security::people::{MEMBER, OWNER, People, ROOT, TEAM};
use crate::support::sandbox::Sandbox;
use crate::support::zoo::noise;

/// Collects everything that is not needed.
#[track_caller]
fn gc(s: &Sandbox, more: &[&str]) -> serde_json::Value {
    let mut args = vec!["-c", "gc.keep-log=0", "-y", "--json"];
    args.extend(more);
    args.extend(["gc", "--now", "--max-unused", "0"]);
    s.dvc(args).ok().json()
}

#[test]
fn a_gc_keeps_files_in_the_trash_until_their_time_is_over() {
    let s = Sandbox::with_repo();
    s.write("a", "one");
    s.dvc(["commit", "-m", "first"]).ok();
    let mine = noise(5, 300_000);
    s.write("a", &mine);
    let id = text(
        &s.dvc(["--json", "checkout", "-f", "main"]).ok().json(),
        "trash",
    );
    let kept = gc(&s, &[]);
    assert_eq!(
        (&kept["trash_entries"], &kept["purged_entries"]),
        (&1.into(), &0.into())
    );
    s.dvc(["-y", "gc", "--now"])
        .ok()
        .says("the trash has 1 entry with");
    s.dvc(["fsck", "--data"]).ok().says("no damage");
    // A dry run reports the same as the run that follows, and changes nothing.
    let planned = gc(&s, &["-c", "gc.keep-local-trash=0", "-n"]);
    assert_eq!(
        (&planned["purged_entries"], &planned["trash_entries"]),
        (&1.into(), &1.into())
    );
    assert!(
        planned["dropped_bytes"].as_u64().unwrap() > 250_000,
        "{planned}"
    );
    assert_eq!(text(&only(&s.dvc(["--json", "trash"])), "id"), id);
    s.dvc(["trash", "restore", &id, "--to", "../copy"]).ok();
    assert_eq!(fs::read(s.at("copy/a")).unwrap(), mine);
    let done = gc(&s, &["-c", "gc.keep-local-trash=0"]);
    assert_eq!(
        (&done["purged_entries"], &done["trash_entries"]),
        (&1.into(), &0.into())
    );
    assert_eq!(done["dropped_bytes"], planned["dropped_bytes"]);
    s.dvc(["trash"]).ok().says("the trash is empty");
    s.dvc(["show", &format!("{id}:a")]).code(13);
    s.dvc(["fsck", "--data"]).ok().says("no damage");
    // The trash works as before afterwards.
    s.write("a", "again");
    s.dvc(["checkout", "-f", "main"]).ok();
    s.dvc(["undo"]).ok();
    assert_eq!(s.read("a"), b"again");
}

#[test]
fn only_entries_that_are_old_enough_are_deleted() {
    let s = Sandbox::with_repo();
    s.write("a", "one");
    s.dvc(["commit", "-m", "first"]).ok();
    let mut ids = Vec::new();
    for n in 0..3 {
        s.write("a", noise(n, 100_000));
        ids.push(text(
            &s.dvc(["--json", "checkout", "-f", "main"]).ok().json(),
            "trash",
        ));
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    let listed = || -> Vec<String> {
        let all = entries(&s.dvc(["--json", "trash"]));
        all.iter().rev().map(|entry| text(entry, "id")).collect()
    };
    assert_eq!(listed(), ids);
    // Delete the middle entry by id, then the oldest entry by age.
    s.dvc(["trash", "empty", "-y", &ids[1]]).ok();
    assert_eq!(listed(), [ids[0].clone(), ids[2].clone()]);
    s.dvc(["fsck", "--data"]).ok().says("no damage");
    let age = {
        let time = text(&entries(&s.dvc(["--json", "trash"]))[0], "time");
        let time: jiff::Timestamp = time.parse().unwrap();
        jiff::Timestamp::now().as_second() - time.as_second()
    };
    gc(&s, &["-c", &format!("gc.keep-local-trash={}s", age + 2)]);
    assert_eq!(listed(), [ids[2].clone()]);
    s.dvc(["trash", "restore", &ids[2]]).ok();
    assert_eq!(s.read("a"), noise(2, 100_000));
    s.dvc(["fsck", "--data"]).ok().says("no damage");
}

fn fill(w: &Path) {
    fs::write(w.join("a"), noise(1, 200_000)).unwrap();
}

#[test]
fn a_gc_keeps_the_version_of_an_overlay_in_the_trash() {
    let Some(v) = Volume::of(fill) else { return };
    let gc = |more: &[&str]| {
        let mut args = vec!["-c", "gc.keep-log=0", "-y", "--json"];
        args.extend(more);
        args.extend(["gc", "--now", "--keep-trash", "0", "--max-unused", "0"]);
        v.dvc(&args).ok().json()
    };
    let mut m = v.mount(&["--name", "kept"]);
    fs::write(m.at("new"), "mine").unwrap();
    m.down_with(&["--discard"]).ok();
    // No other version has the data of the first one.
    fs::write(v.s.at("w/a"), noise(2, 200_000)).unwrap();
    v.commit("second");
    v.dvc(&["forget", "main@v1"])
        .code(11)
        .complains("in the trash needs it");
    let id = text(&only(&v.dvc(&["--json", "trash"])), "id");
    gc(&[]);
    v.dvc(&["trash", "restore", &id]).ok();
    m.set("main@v1", &["--name", "kept"]);
    m.up();
    assert_eq!(fs::read(m.at("a")).unwrap(), noise(1, 200_000));
    assert_eq!(fs::read(m.at("new")).unwrap(), b"mine");
    m.down_with(&["--discard"]).ok();
    let planned = gc(&["-c", "gc.keep-local-trash=0", "-n"]);
    assert_eq!(planned["purged_entries"], 1);
    assert!(planned["purged_bytes"].as_u64().unwrap() > 0);
    assert_eq!(entries(&v.dvc(&["--json", "trash"])).len(), 1);
    assert_eq!(gc(&["-c", "gc.keep-local-trash=0"])["purged_entries"], 1);
    assert!(entries(&v.dvc(&["--json", "trash"])).is_empty());
    v.dvc(&["forget", "main@v1"]).ok();
    v.dvc(&["fsck", "--data"]).ok().says("no damage");
    // An unreadable overlay stops a gc. The hint of the error names the command that helps.
    let dir = v.s.at("r/trash-local/20990101T000000Z-x");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("overlay.db"), noise(9, 20_000)).unwrap();
    let run = v.dvc(&["gc"]);
    assert!(
        run.code != 0 && run.err.contains("dvc trash empty 20990101T000000Z-x"),
        "{}",
        run.err
    );
    v.dvc(&["trash", "empty", "-y", "20990101T000000Z-x"]).ok();
    v.dvc(&["gc"]).ok();
}

#[test]
fn the_disk_usage_has_the_trash() {
    let Some(v) = Volume::of(fill) else { return };
    let mut m = v.mount(&[]);
    fs::write(m.at("new"), noise(3, 3 << 20)).unwrap();
    m.down_with(&["--discard"]).ok();
    let du = v.dvc(&["--json", "du"]).ok().json();
    assert!(
        du["repository"]["trash_bytes"].as_u64().unwrap() > 3 << 20,
        "{du}"
    );
    v.dvc(&["du"]).ok().says("trash");
}

#[test]
fn an_overlay_of_another_user_stays_in_the_trash() {
    let Some(people) = People::new() else { return };
    let repo = people.s.at("r");
    let r = repo.to_str().unwrap();
    // The members of a team share the repository, but each overlay is private to its user.
    people
        .dvc(ROOT, &["--repo", r, "init", "--shared=all", "-b", "main"])
        .ok();
    fs::write(people.dir(ROOT, "w").join("a"), "one").unwrap();
    people
        .dvc(ROOT, &["--repo", r, "commit", "-m", "first"])
        .ok();
    let team = format!(
        "chgrp -R {TEAM} '{r}'; find '{r}' -type d -exec chmod 2775 {{}} +; chmod -R g+w '{r}'"
    );
    people.sh(ROOT, &team).ok();
    let dir = repo.join("trash-local/20200101T000000Z-db");
    let own = repo.join("trash-local/20200101T000000Z-own");
    for (dir, owner) in [(&dir, OWNER), (&own, MEMBER)] {
        let make = format!(
            "umask 007; mkdir -p '{0}'; echo x > '{0}/log'; chmod 700 '{0}'",
            dir.display()
        );
        people.sh(owner, &make).ok();
    }
    let dvc = |args: &[&str]| {
        let all = [&["-c", "safe.directory=*", "--repo", r][..], args].concat();
        people.dvc(MEMBER, &all)
    };
    let run = dvc(&["trash", "empty", "-y", "20200101T000000Z-db"]);
    assert!(run.code == 12 && dir.join("log").exists(), "{}", run.err);
    // A gc deletes what it may delete.
    dvc(&["-y", "gc", "--now"])
        .ok()
        .complains("`20200101T000000Z-db` stays in the trash");
    assert!(dir.join("log").exists() && !own.exists());
    assert_eq!(fs::read_dir(repo.join("trash-local")).unwrap().count(), 1);
}
