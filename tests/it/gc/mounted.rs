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
