//! A mount whose index is open while packs are copied and deleted.

use std::fs;

use crate::mount::harness::Volume;
use crate::support::zoo::noise;

#[test]
fn a_mount_survives_the_copy_of_its_packs() {
    let Some(v) = Volume::of(|w| {
        for n in 0..20u64 {
            fs::write(w.join(format!("file-{n}")), noise(n, 60_000)).unwrap();
        }
    }) else {
        return;
    };
    // The packs of the first version are needed in part afterwards.
    for n in 0..12u64 {
        fs::remove_file(v.s.at(format!("w/file-{n}"))).unwrap();
    }
    v.commit("second");
    let old = v.mount_at("old", "main@v1", &["--ro"]);
    let new = v.mount_at("new", "main", &["--ephemeral"]);
    // Both mounts have read the index.
    assert_eq!(fs::read(old.at("file-0")).unwrap(), noise(0, 60_000));
    assert_eq!(fs::read(new.at("file-12")).unwrap(), noise(12, 60_000));
    fs::write(new.at("own"), noise(70, 60_000)).unwrap();
    v.dvc(&[
        "-y",
        "-c",
        "gc.keep-log=0",
        "gc",
        "--now",
        "--max-unused",
        "0",
    ])
    .ok();
    for n in 0..20u64 {
        assert_eq!(
            fs::read(old.at(format!("file-{n}"))).unwrap(),
            noise(n, 60_000),
            "{n}"
        );
    }
    for n in 12..20u64 {
        assert_eq!(
            fs::read(new.at(format!("file-{n}"))).unwrap(),
            noise(n, 60_000),
            "{n}"
        );
    }
    v.dvc(&["-C", "../new", "commit", "-m", "in the mount"])
        .ok();
    v.dvc(&["fsck", "--data"]).ok();
}

/// Collects everything that no ref needs.
fn gc(v: &Volume, repository: &str) {
    let args = [
        "--repo",
        repository,
        "-y",
        "-c",
        "gc.keep-log=0",
        "gc",
        "--now",
        "--max-unused",
        "0",
    ];
    v.s.dvc(args).ok();
}

/// A remote directory whose packs are needed in part after the next push, and a lazy clone of it.
fn with_lazy_clone() -> Option<Volume> {
    let v = Volume::of(|w| {
        for n in 0..20u64 {
            fs::write(w.join(format!("file-{n}")), noise(n, 60_000)).unwrap();
        }
    })?;
    v.dvc(&["remote", "add", "origin", v.s.at("there").to_str().unwrap()])
        .ok();
    v.dvc(&["commit", "-m", "gone", "-b", "gone", "--allow-empty"])
        .ok();
    v.dvc(&["push", "origin", "main", "gone"]).ok();
    v.s.dvc([
        "clone",
        "--lazy",
        v.s.at("there").to_str().unwrap(),
        "../lazy",
    ])
    .ok();
    Some(v)
}

#[test]
fn a_lazy_reader_survives_a_collection_at_its_source() {
    let Some(v) = with_lazy_clone() else { return };
    let lazy = v.s.at("lazy/.dvcs");
    let lazy = lazy.to_str().unwrap();
    let at = v.s.at("m");
    fs::create_dir(&at).unwrap();
    let dir = at.to_str().unwrap();
    v.s.dvc(["--repo", lazy, "mount", "--ro", "main", dir]).ok();
    assert!(fs::read(at.join("file-0")).unwrap() == noise(0, 60_000));
    // The collection deletes the half of the remote's data that a new version does not need, and
    // copies the rest.
    for n in 0..8u64 {
        fs::write(v.s.w(format!("file-{n}")), noise(100 + n, 60_000)).unwrap();
    }
    v.commit("second");
    v.dvc(&["push", "origin", "main"]).ok();
    gc(&v, "../there");
    for n in 0..20u64 {
        let read = fs::read(at.join(format!("file-{n}"))).unwrap();
        assert!(read == noise(n, 60_000), "{n}");
    }
    v.s.dvc(["umount", dir]).ok();
    v.s.dvc(["--repo", lazy, "fsck"]).ok();
}

#[test]
fn a_mount_of_a_remote_directory_survives_a_collection() {
    let Some(v) = with_lazy_clone() else { return };
    let at = v.s.at("m");
    fs::create_dir(&at).unwrap();
    let dir = at.to_str().unwrap();
    let there = v.s.at("there");
    v.s.dvc(["--repo", there.to_str().unwrap(), "branch", "-D", "gone"])
        .ok();
    v.s.dvc(["mount", "--ro", &format!("{}#main", there.display()), dir])
        .ok();
    assert!(fs::read(at.join("file-0")).unwrap() == noise(0, 60_000));
    for n in 0..8u64 {
        fs::write(v.s.w(format!("file-{n}")), noise(100 + n, 60_000)).unwrap();
    }
    v.commit("second");
    v.dvc(&["push", "origin", "main"]).ok();
    gc(&v, "../there");
    for n in 0..20u64 {
        let read = fs::read(at.join(format!("file-{n}"))).unwrap();
        assert!(read == noise(n, 60_000), "{n}");
    }
    v.s.dvc(["umount", dir]).ok();
}
