//! Overlays of ended mounts: they are listed, can be removed by name, and take no space for data
//! that a version contains.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::harness::Volume;
use crate::support::zoo::noise;

const PAGE: u64 = 4096;

fn fill(w: &Path) {
    fs::write(w.join("a"), "one").unwrap();
    fs::write(w.join("pages"), noise(1, 1 << 20)).unwrap();
}

#[test]
fn overlays_are_listed_and_removed_by_name() {
    let Some(v) = Volume::of(fill) else { return };
    fs::write(v.s.at("w/a"), "two").unwrap();
    v.commit("second");
    let list = || v.dvc(&["--json", "mount", "--overlays"]).ok().json_lines();
    assert!(list().is_empty());
    let mut m = v.mount_at("m", "main@v1", &["--name", "kept"]);
    fs::write(m.at("big"), noise(2, 3 << 20)).unwrap();
    let told = list();
    assert!(
        told.len() == 1 && told[0]["overlay"] == "kept" && told[0]["state"] == "mounted",
        "{told:?}"
    );
    v.dvc(&["umount", "--discard", "kept"])
        .code(11)
        .complains("is mounted");
    m.down();
    let told = list();
    let (line, at) = (&told[0], m.root().to_str().unwrap());
    assert!(
        line["state"] == "left" && line["changed"] == true && line["mount_point"] == at,
        "{line}"
    );
    assert!(
        line["bytes"].as_u64().unwrap() > 3 << 20 && line["branch"] == "main",
        "{line}"
    );
    let told = v
        .dvc(&["mount", "--overlays"])
        .ok()
        .says("kept")
        .says("changed")
        .out;
    assert!(told.contains(at), "{told}");
    // Mounting the overlay with a different version is refused, and the hint lists commands that
    // work.
    m.set("main", &["--name", "kept"]);
    let refused = m.try_up().code(4);
    let hint = refused.err.lines().last().unwrap().to_owned();
    let dvc = format!("dvc --repo {}", v.s.at("w/../r").display());
    for command in ["mount ", "umount --discard kept"] {
        assert!(hint.contains(&format!("`{dvc} {command}")), "{hint}");
    }
    v.s.dvc([
        "--repo",
        v.s.at("r").to_str().unwrap(),
        "umount",
        "-n",
        "--discard",
        "kept",
    ])
    .ok()
    .says("would move overlay kept");
    assert_eq!(list().len(), 1);
    v.s.dvc([
        "--repo",
        v.s.at("r").to_str().unwrap(),
        "umount",
        "--discard",
        "kept",
    ])
    .ok();
    assert!(list().is_empty());
    m.up();
    assert!(!m.at("big").exists() && fs::read(m.at("a")).unwrap() == b"two");
    v.dvc(&["umount", "--discard", "none"]).code(13);
}

/// Committed data is read from the version after the next mount, and takes no space in the overlay.
#[test]
fn committed_bytes_free_their_space() {
    let Some(v) = Volume::of(fill) else { return };
    let mut m = v.mount(&["--name", "kept"]);
    fs::write(m.at("new"), noise(2, 5 << 20)).unwrap();
    let pages = File::options().write(true).open(m.at("pages")).unwrap();
    pages
        .write_all_at(&noise(3, 300_000), 100 * PAGE + 17)
        .unwrap();
    drop(pages);
    m.commit("second");
    let state = |m: &super::harness::Mount<'_>| m.stats()["stats"].clone();
    for bytes in ["spare_bytes", "overlay_bytes"] {
        assert!(
            state(&m)[bytes].as_u64().unwrap() > 5 << 20,
            "{bytes}: {}",
            state(&m)
        );
    }
    let expected = crate::support::known::files_of(m.root());
    m.again();
    assert!(
        state(&m)["overlay_bytes"].as_u64().unwrap() < 1 << 20,
        "{}",
        state(&m)
    );
    assert_eq!(state(&m)["spare_bytes"], 0);
    assert!(crate::support::known::files_of(m.root()) == expected);
    assert_eq!(m.status(), "");
    // Rewrite a part of a file. Only this part takes space in the overlay.
    let new = File::options().write(true).open(m.at("new")).unwrap();
    new.write_all_at(b"again", 700 * PAGE + 5).unwrap();
    drop(new);
    m.commit("third");
    let new = File::options().write(true).open(m.at("new")).unwrap();
    new.write_all_at(b"and again", 900 * PAGE + 5).unwrap();
    drop(new);
    m.again();
    m.kill();
    m.up();
    let mut bytes = expected[&b"new"[..]].clone();
    for (at, what) in [
        (700 * 4096 + 5, &b"again"[..]),
        (900 * 4096 + 5, b"and again"),
    ] {
        bytes[at..at + what.len()].copy_from_slice(what);
    }
    assert!(fs::read(m.at("new")).unwrap() == bytes);
    assert_eq!(m.status(), "M new\n");
    m.commit("fourth");
    m.down();
    assert!(fs::read(v.checkout("main", "out").join("new")).unwrap() == bytes);
    v.dvc(&["fsck", "--data"]).ok();
}

/// While a mount has the index open, another process moves objects to other packs. The mount must
/// find them there.
#[test]
fn objects_that_moved_into_another_pack_are_found() {
    let Some(v) = Volume::of(fill) else { return };
    let m = v.mount(&["--ro"]);
    assert_eq!(fs::read(m.at("a")).unwrap(), b"one");
    let below = |dir: &str, at: usize| {
        let all = crate::support::known::files_of(&v.s.at(dir));
        let data = all.into_iter().filter(|(_, bytes)| bytes[at] == 0);
        data.map(|(name, _)| v.s.at(dir).join(std::str::from_utf8(&name).unwrap()))
            .collect::<Vec<_>>()
    };
    for file in below("r/packs", 8).into_iter().chain(below("r/index", 10)) {
        fs::remove_file(file).unwrap();
    }
    // Additional content gives the new pack a different name.
    fs::write(v.s.at("w/more"), noise(4, 100_000)).unwrap();
    v.commit_dir("w", "other", "again");
    assert_eq!(below("r/packs", 8).len(), 1);
    assert!(fs::read(m.at("pages")).unwrap() == noise(1, 1 << 20));
}
