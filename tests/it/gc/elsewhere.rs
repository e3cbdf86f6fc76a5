//! A collection of a remote that processes of its own machine use: what worktrees, mounts and
//! overlays of that repository need stays.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::keeps::Damage;
use crate::mount::harness::Volume;
use crate::repair::packs;
use crate::support::sandbox::{Sandbox, all_below};
use crate::support::zoo::noise;

/// Collects everything that is not needed at `origin`.
const GC: [&str; 7] = [
    "-c",
    "gc.keep-log=0",
    "-y",
    "gc",
    "--now",
    "--max-unused=0",
    "origin",
];

/// The id of a version.
fn id(s: &Sandbox, repository: &str, name: &str) -> String {
    let log = s
        .dvc(["--repo", repository, "--json", "log", "-n", "1", name])
        .ok()
        .json_lines();
    log[0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_worktree_of_a_remote_directory_keeps_its_version() {
    for scheme in ["", "file://"] {
        let s = Sandbox::with_repo();
        s.write("a", noise(1, 90_000));
        s.dvc(["commit", "-m", "first"]).ok();
        s.write("a", noise(2, 90_000));
        s.dvc(["commit", "-m", "gone", "-b", "gone"]).ok();
        let gone = id(&s, ".dvcs", "gone");
        s.dvc(["commit", "-m", "tip", "-b", "gone", "--allow-empty"])
            .ok();
        s.dvc(["checkout", &gone]).ok();
        let url = format!("{scheme}{}", s.w(".dvcs").display());
        s.dvc(["clone", &url, "../clone", "--branch", "main"]).ok();
        s.dvc([
            "-C", "../clone", "-y", "forget", "--remote", "origin", &gone,
        ])
        .code(11)
        .complains("worktree");
        s.dvc(["branch", "-D", "gone"]).ok();
        s.dvc([&["-C", "../clone"][..], &GC].concat()).ok();
        s.dvc(["fsck", "--data"]).ok().says("no damage");
        s.dvc(["status"]).ok();
        fs::remove_file(s.w("a")).unwrap();
        s.dvc(["checkout", "-f", &gone]).ok();
        assert!(s.read("a") == noise(2, 90_000));
        // Without the worktree, nothing keeps the version.
        s.dvc(["checkout", "main"]).ok();
        s.dvc([&["-C", "../clone"][..], &GC].concat()).ok();
        s.dvc(["checkout", &gone]).code(13);
    }
}

#[test]
fn a_mount_of_a_remote_directory_keeps_its_version_and_its_lease() {
    let Some(v) = Volume::of(|w| fs::write(w.join("a"), noise(1, 90_000)).unwrap()) else {
        return;
    };
    fs::write(v.s.at("w/a"), noise(2, 90_000)).unwrap();
    v.commit_dir("w", "gone", "second");
    let far = v.s.at("r");
    let far = far.to_str().unwrap();
    v.s.dvc(["clone", far, "../clone", "--branch", "main"]).ok();
    let mount = v.mount_at("m", "gone", &["--ro"]);
    let written = v.mount_at("written", "gone", &[]);
    fs::write(written.at("b"), noise(3, 90_000)).unwrap();
    let lease_count = || {
        let names = fs::read_dir(v.s.at("r/sessions")).unwrap();
        let is_lease = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("lease-");
        names
            .filter(|n| is_lease(&n.as_ref().unwrap().file_name()))
            .count()
    };
    let before = lease_count();
    v.dvc(&["branch", "-D", "gone"]).ok();
    v.s.dvc([&["-C", "../clone"][..], &GC].concat()).ok();
    assert_eq!(lease_count(), before);
    assert!(fs::read(mount.at("a")).unwrap() == noise(2, 90_000));
    assert!(fs::read(written.at("a")).unwrap() == noise(2, 90_000));
    v.dvc(&["-C", "../written", "commit", "-m", "own", "-b", "own"])
        .ok();
    drop((mount, written));
    v.dvc(&["fsck", "--data"]).ok();
}

/// Two holders of one version, one of them an overlay that has a copy of its data.
#[test]
fn an_overlay_keeps_its_copy_of_data_that_another_version_lacks() {
    let Some(v) = Volume::of(|w| fs::write(w.join("a"), noise(1, 90_000)).unwrap()) else {
        return;
    };
    let old = packs(&v.s.at("r"), 2);
    let mount = v.mount_at("m", "main", &[]);
    fs::create_dir(mount.at("d")).unwrap();
    fs::write(mount.at("d/large"), noise(2, 1_900_000)).unwrap();
    v.dvc(&["-C", "../m", "commit", "-m", "own", "-b", "own"])
        .ok();
    drop(mount);
    let own = id(&v.s, "../r", "own");
    v.dvc(&["checkout", &own, "--into", "../held"]).ok();
    v.dvc(&["branch", "-D", "own"]).ok();
    let used = || {
        let blocks = |path: &PathBuf| path.symlink_metadata().unwrap().blocks() * 512;
        all_below(&v.s.at("r/overlays"))
            .iter()
            .map(blocks)
            .sum::<u64>()
    };
    let before = used();
    assert!(before > 1_500_000, "{before}");
    let all_packs = all_below(&v.s.at("r/packs"));
    let damaged: Vec<Damage> = packs(&v.s.at("r"), 2)
        .iter()
        .filter(|pack| !old.contains(pack))
        .map(|pack| Damage::to_trees(pack))
        .collect();
    assert!(!damaged.is_empty());
    let gc = ["-c", "gc.keep-log=0", "-y", "gc", "--now"];
    v.dvc(&gc).code(5);
    assert_eq!(all_below(&v.s.at("r/packs")), all_packs);
    assert!(used() >= before, "the copies in the overlay stay");
    damaged.into_iter().for_each(Damage::undo);
    v.dvc(&["fsck", "--data"]).ok();
    v.dvc(&gc).ok();
    v.dvc(&["checkout", &own, "--into", "../again"]).ok();
    assert!(fs::read(v.s.at("again/d/large")).unwrap() == noise(2, 1_900_000));
}
