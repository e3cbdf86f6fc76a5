//! Damage is not the trace of an earlier collection: a collection that finds it deletes nothing, and
//! names what it could not copy.

use std::fs;
use std::path::{Path, PathBuf};

use super::damage::make_due;
use crate::mount::harness::Volume;
use crate::repair::{flip, packs};
use crate::support::sandbox::{Sandbox, all_below};
use crate::support::zoo::noise;

/// Collects everything that is not needed.
const GC: [&str; 6] = ["-c", "gc.keep-log=0", "-y", "gc", "--now", "--max-unused=0"];

/// A damaged pack, with its original bytes.
pub(super) struct Damage {
    path: PathBuf,
    original: Vec<u8>,
}

impl Damage {
    /// Changes one bit of the first frame of a pack, which must contain trees.
    pub(super) fn to_trees(pack: &Path) -> Self {
        let original = fs::read(pack).unwrap();
        assert_eq!(original[16] >> 4, 2, "the first frame contains no trees");
        let mut bytes = original.clone();
        bytes[40] ^= 1;
        fs::write(pack, bytes).unwrap();
        Self {
            path: pack.to_owned(),
            original,
        }
    }

    /// Writes the original bytes back.
    pub(super) fn undo(self) {
        fs::write(self.path, self.original).unwrap();
    }
}

/// The packs and overlays of a repository.
fn stored(s: &Sandbox) -> Vec<PathBuf> {
    let mut all = all_below(&s.w(".dvcs/packs"));
    if s.w(".dvcs/trash-local").exists() {
        all.extend(
            fs::read_dir(s.w(".dvcs/trash-local"))
                .unwrap()
                .map(|e| e.unwrap().path()),
        );
    }
    all.sort();
    all
}

#[test]
fn a_damaged_version_of_the_log_stays_after_an_earlier_collection() {
    for collected_before in [false, true] {
        let s = Sandbox::with_repo();
        s.write("a", noise(1, 90_000));
        s.dvc(["commit", "-m", "first"]).ok();
        if collected_before {
            s.write("a", noise(2, 90_000));
            s.dvc(["commit", "-m", "old", "-b", "old"]).ok();
            s.dvc(["branch", "-D", "old"]).ok();
            s.dvc(GC).ok();
        }
        let old = packs(&s.w(".dvcs"), 2);
        s.write("a", noise(3, 90_000));
        s.dvc(["commit", "-m", "gone", "-b", "gone"]).ok();
        let log = s
            .dvc(["--json", "log", "-n", "1", "gone"])
            .ok()
            .json_lines();
        let gone = log[0]["id"].as_str().unwrap().to_owned();
        s.dvc(["checkout", "main"]).ok();
        s.dvc(["branch", "-D", "gone"]).ok();
        let trees = packs(&s.w(".dvcs"), 2);
        let new = trees.iter().find(|pack| !old.contains(pack)).unwrap();
        let damage = Damage::to_trees(new);
        let before = stored(&s);
        // The log still keeps the version.
        s.dvc(["-y", "gc", "--now"]).code(5);
        assert_eq!(stored(&s), before, "{collected_before}");
        damage.undo();
        s.dvc(["-y", "gc", "--now"]).ok();
        s.dvc(["branch", "gone", &gone]).ok();
        s.dvc(["checkout", "gone"]).ok();
        assert!(s.read("a") == noise(3, 90_000));
        s.dvc(["fsck", "--data"]).ok();
    }
}

#[test]
fn the_trash_stays_if_a_collection_finds_damage() {
    let Some(v) = Volume::of(|w| fs::write(w.join("a"), noise(1, 90_000)).unwrap()) else {
        return;
    };
    let mount = v.mount_at("m", "main", &[]);
    fs::write(mount.at("own"), noise(2, 90_000)).unwrap();
    v.s.dvc(["umount", "--discard", "../m"]).ok();
    drop(mount);
    let trash = || fs::read_dir(v.s.at("r/trash-local")).unwrap().count();
    assert_eq!(trash(), 1);
    let data = packs(&v.s.at("r"), 0).pop().unwrap();
    let bytes = fs::read(&data).unwrap();
    fs::remove_file(&data).unwrap();
    let gc = [&["-c", "gc.keep-local-trash=0"][..], &GC].concat();
    v.dvc(&gc).code(5);
    assert_eq!(trash(), 1, "the entry may have the only copy");
    fs::write(&data, bytes).unwrap();
    v.dvc(&gc).ok();
    assert_eq!(trash(), 0);
    v.dvc(&["fsck", "--data"]).ok();
}

#[test]
fn a_damaged_pack_that_cannot_be_copied_is_named() {
    let s = Sandbox::with_repo();
    for n in 0..4u64 {
        s.write("kept", noise(n, 150_000));
        s.write("not", noise(100 + n, 150_000));
        s.dvc(["commit", "-m", "x", "-b", "gone"]).ok();
        s.write("not", "");
        s.dvc(["commit", "-m", "x", "-b", "main"]).ok();
    }
    s.dvc(["checkout", "main"]).ok();
    s.dvc(["branch", "-D", "gone"]).ok();
    let damaged = packs(&s.w(".dvcs"), 0).remove(0);
    let len = usize::try_from(fs::metadata(&damaged).unwrap().len()).unwrap();
    // One of these places is in the file that is kept.
    flip(&damaged, len / 4);
    flip(&damaged, len * 3 / 4);
    let run = s.dvc([&["--json"][..], &GC].concat()).code(3);
    assert!(
        run.err.contains("1 damaged pack cannot be copied"),
        "{}",
        run.err
    );
    assert!(damaged.exists());
    let kept = run.json()["kept_bytes"].as_u64().unwrap();
    let there: u64 = packs(&s.w(".dvcs"), 0)
        .iter()
        .chain(&packs(&s.w(".dvcs"), 2))
        .map(|pack| fs::metadata(pack).unwrap().len())
        .sum();
    assert_eq!(kept, there);
}

#[test]
fn the_limit_of_a_collection_does_not_count_dead_packs() {
    let s = Sandbox::with_repo();
    let commit = |n: u64, branch: &str| {
        s.write("a", noise(n, 300_000));
        s.dvc(["commit", "-m", "x", "-b", branch]).ok();
    };
    commit(1, "main");
    for n in 2..6 {
        commit(n, "old");
    }
    s.dvc(["checkout", "-f", "main"]).ok();
    s.dvc(["branch", "-D", "old"]).ok();
    // These packs become dead and stay for an hour.
    let keep = ["-c", "gc.keep-log=0", "-y", "gc", "--grace", "1h"];
    s.dvc(keep).ok();
    make_due(&s.w(".dvcs"));
    s.dvc(keep).ok();
    commit(6, "gone");
    commit(7, "gone");
    s.dvc(["checkout", "-f", "main"]).ok();
    s.dvc(["branch", "-D", "gone"]).ok();
    // Two of three packs of data are unneeded.
    s.dvc(["-c", "gc.keep-log=0", "gc", "--grace", "0"])
        .code(4)
        .complains("dvc gc -n");
}

#[test]
fn a_version_that_another_machine_has_collected_is_no_damage() {
    let s = Sandbox::with_repo();
    s.write("a", noise(1, 90_000));
    s.dvc(["commit", "-m", "first"]).ok();
    s.write("a", noise(2, 90_000));
    s.dvc(["commit", "-m", "gone", "-b", "gone"]).ok();
    s.dvc(["checkout", "main"]).ok();
    s.dvc(["branch", "-D", "gone"]).ok();
    s.dvc(GC).ok();
    // This machine keeps what the log names for longer.
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = fs::remove_file(s.w(".dvcs").join(name));
    }
    s.dvc(["gc", "--status"]).ok();
    let run = s.dvc(["du"]).ok();
    assert!(!run.err.contains("damaged"), "{}", run.err);
}
