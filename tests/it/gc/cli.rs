//! `dvc gc` with the real binary.

use std::fs;

use crate::support::facts::assert_same;
use crate::support::sandbox::Sandbox;
use crate::support::zoo::noise;

/// A repository in which only a deleted branch needs half of the data.
struct Half {
    s: Sandbox,
    /// Directories of the sandbox with the content of `main@v1`, `main@v2`, ...
    copies: Vec<String>,
}

impl Half {
    fn new() -> Self {
        let s = Sandbox::with_repo();
        let mut copies = Vec::new();
        for n in 1..=12u64 {
            s.write("large", noise(n / 4, 300_000));
            s.write(&format!("d{}/file", n % 5), noise(100 + n, 20_000));
            s.write("text", format!("version {n}\n"));
            s.dvc(["commit", "-m", "kept"]).ok();
            let copy = format!("kept-{n}");
            s.dvc(["checkout", "main", "--into", &format!("../{copy}")])
                .ok();
            copies.push(copy);
        }
        s.dvc(["checkout", "-b", "gone"]).ok();
        for n in 1..=6u64 {
            s.write("large", noise(1000 + n, 300_000));
            s.write("only-here", noise(2000 + n, 50_000));
            s.dvc(["commit", "-m", "gone"]).ok();
        }
        s.dvc(["checkout", "main"]).ok();
        s.dvc(["branch", "-d", "gone"]).ok();
        Self { s, copies }
    }

    fn gc(&self, args: &[&str]) -> serde_json::Value {
        let run = self
            .s
            .dvc([&["-c", "gc.keep-log=0", "-y", "--json", "gc"], args].concat())
            .ok();
        serde_json::from_str(&run.out).unwrap()
    }

    fn pack_bytes(&self) -> u64 {
        let packs = crate::support::sandbox::all_below(&self.s.w(".dvcs/packs"));
        packs
            .iter()
            .filter(|p| p.is_file())
            .map(|p| fs::metadata(p).unwrap().len())
            .sum()
    }

    fn assert_kept(&self) {
        self.s.dvc(["fsck", "--data"]).ok();
        for (n, copy) in self.copies.iter().enumerate() {
            let again = format!("again-{n}");
            self.s
                .dvc([
                    "checkout",
                    &format!("main@v{}", n + 1),
                    "--into",
                    &format!("../{again}"),
                ])
                .ok();
            assert_same(&self.s.at(copy), &self.s.at(&again));
            fs::remove_dir_all(self.s.at(&again)).unwrap();
        }
    }
}

#[test]
fn data_of_a_deleted_branch_is_deleted_at_once() {
    let half = Half::new();
    let before = half.pack_bytes();
    let done = half.gc(&["--now"]);
    assert!(done["deleted_packs"].as_u64() > Some(0), "{done}");
    assert_eq!(done["dead_packs"], 0, "{done}");
    assert!(
        half.pack_bytes() + 1_500_000 < before,
        "{} of {before} bytes are left",
        half.pack_bytes()
    );
    half.assert_kept();
    // The next run finds nothing to do, and commits still work.
    let again = half.gc(&["--now", "--max-unused", "0"]);
    assert_eq!(again["deleted_packs"].as_u64(), Some(0), "{again}");
    half.s.write("text", "later\n");
    half.s.dvc(["commit", "-m", "later"]).ok();
    half.assert_kept();
}

#[test]
fn unneeded_data_stays_for_the_grace() {
    let half = Half::new();
    let before = half.pack_bytes();
    let done = half.gc(&["--grace", "1h", "--max-unused", "100"]);
    assert_eq!(done["deleted_packs"], 0, "{done}");
    assert!(
        done["waiting_packs"]
            .as_u64()
            .or(done["dead_packs"].as_u64())
            > Some(0),
        "{done}"
    );
    assert!(half.pack_bytes() >= before);
    half.assert_kept();
    half.gc(&["--now"]);
    assert!(half.pack_bytes() < before);
    half.assert_kept();
}

#[test]
fn a_dry_run_changes_nothing() {
    let half = Half::new();
    let files = || crate::support::known::files_of(&half.s.w(".dvcs/packs"));
    let before = files();
    let would = half.gc(&["--now", "-n"]);
    assert!(
        would["dropped_bytes"].as_u64() > Some(0) || would["copied_packs"].as_u64() > Some(0),
        "{would}"
    );
    assert_eq!(files(), before);
    assert!(!half.s.w(".dvcs/quarantine/log").exists());
    half.assert_kept();
}

#[test]
fn the_versions_that_refs_named_before_stay() {
    let half = Half::new();
    let done = half.s.dvc(["-y", "--json", "gc", "--now"]).ok();
    let done: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(done["dropped_packs"], 0, "{done}");
    half.s.dvc(["undo", "gone"]).ok();
    half.s.dvc(["checkout", "gone", "--into", "../gone"]).ok();
    half.s.dvc(["fsck", "--data"]).ok();
}

#[test]
fn a_commit_of_an_unchanged_worktree_stores_collected_objects_again() {
    let s = Sandbox::with_repo();
    for n in 0..4u64 {
        s.write(&format!("d{n}/file"), noise(n, 100_000));
    }
    s.dvc(["commit", "-m", "first"]).ok();
    s.write("d1/file", noise(60, 100_000));
    // The records of the worktree now refer to objects that only this branch needs.
    s.dvc(["commit", "-m", "gone", "-b", "gone"]).ok();
    s.dvc(["branch", "-d", "gone"]).ok();
    let done = s
        .dvc([
            "-c",
            "gc.keep-log=0",
            "-y",
            "--json",
            "gc",
            "--now",
            "--max-unused",
            "0",
        ])
        .ok();
    let done: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert!(done["deleted_packs"].as_u64() > Some(0), "{done}");
    s.write("d0/file", noise(50, 100_000));
    s.dvc(["commit", "-m", "again"]).ok();
    s.dvc(["fsck", "--data"]).ok();
    s.dvc(["checkout", "main", "--into", "../copy"]).ok();
    for n in 0..4 {
        assert_same(&s.w(format!("d{n}")), &s.at(format!("copy/d{n}")));
    }
}

#[test]
fn a_longer_time_for_old_values_after_a_shorter_one() {
    let half = Half::new();
    half.gc(&["--now"]);
    half.s.write("text", "undone\n");
    half.s.dvc(["commit", "-m", "undone"]).ok();
    half.s.dvc(["undo"]).ok();
    // The logs still name the deleted branch, whose data is gone.
    let gc = ["-y", "--json", "gc", "--now", "--max-unused", "0"];
    for _ in 0..2 {
        half.s.dvc(gc).ok();
        half.assert_kept();
    }
    // The value that these runs have kept can be restored.
    half.s.dvc(["undo", "main"]).ok();
    half.s.dvc(["show", "main:text"]).ok();
    half.s.dvc(["fsck", "--data"]).ok();
}
