//! Damaged, lost, replayed and foreign state of garbage collections: the logs, the lists and the
//! catalogue. A command may refuse, but no needed object may be deleted.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::facts::assert_same;
use crate::support::known::{copy_dir, files_of};
use crate::support::sandbox::Sandbox;
use crate::support::zoo::noise;

/// Options of a gc that keeps only what refs need now.
const GC: [&str; 8] = [
    "-c",
    "gc.keep-log=0",
    "-y",
    "gc",
    "--now",
    "--keep-trash",
    "0",
    "--max-unused=0",
];

/// A repository in use: dead packs that are not deleted yet, a version in the trash, and unneeded
/// packs that wait for the grace period.
struct Aged {
    s: Sandbox,
}

impl Aged {
    fn new() -> Self {
        let s = Sandbox::with_repo();
        let version = |n: u64, branch: &str| {
            s.write("large", noise(n, 200_000));
            s.write(&format!("d/{n}"), noise(100 + n, 20_000));
            s.dvc(["commit", "-m", "x", "-b", branch]).ok();
        };
        version(1, "main");
        s.dvc(["remote", "add", "origin", s.at("there").to_str().unwrap()])
            .ok();
        version(2, "gone");
        s.dvc(["branch", "-D", "gone"]).ok();
        version(3, "main");
        // Marks the packs of the branch as dead, and keeps them for an hour.
        let keep = ["-c", "gc.keep-log=0", "-y", "gc"];
        s.dvc([&keep[..], &["--grace", "1h", "--max-unused", "100"]].concat())
            .ok();
        make_due(&s.w(".dvcs"));
        s.dvc([&keep[..], &["--grace", "1h", "--max-unused", "100"]].concat())
            .ok();
        version(4, "main");
        s.dvc(["forget", "-y", "main@v2"]).ok();
        version(5, "gone");
        s.dvc(["branch", "-D", "gone"]).ok();
        s.dvc([&keep[..], &["--grace", "1h", "--max-unused", "100"]].concat())
            .ok();
        for n in [1, 3, 4] {
            let (version, into) = (n.min(3), format!("../kept-{n}"));
            let revision = format!("main@v{}", if n == 1 { 1 } else { n - 1 });
            let _ = version;
            s.dvc(["checkout", &revision, "--into", &into]).ok();
        }
        let log = fs::read_dir(s.w(".dvcs/quarantine/log")).unwrap().count();
        assert!(log > 0, "no pack is dead");
        Self { s }
    }

    /// A copy of the repository.
    fn copy(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir_in(self.s.root()).unwrap();
        copy_dir(&self.s.w(".dvcs"), &dir.path().join("r"));
        dir
    }

    fn code(&self, root: &Path, args: &[&str]) -> (i32, String) {
        let root = root.to_str().unwrap();
        let run = self.s.dvc([&["--repo", root], args].concat());
        (run.code, run.err)
    }

    /// Asserts that no needed object is lost: without the state of the collections, everything can
    /// be read.
    fn assert_kept(&self, root: &Path, case: &str) {
        let _ = fs::remove_dir_all(root.join("quarantine"));
        let _ = fs::remove_dir_all(root.join("trash"));
        for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
            let _ = fs::remove_file(root.join(name));
        }
        let (code, err) = self.code(root, &["fsck", "--rebuild"]);
        assert!([0, 5].contains(&code), "{case}: {code} {err}");
        for (version, kept) in [("main", "kept-4"), ("main@v1", "kept-1")] {
            let again = tempfile::tempdir_in(self.s.root()).unwrap();
            let into = again.path().join("w");
            let (code, err) = self.code(
                root,
                &["checkout", version, "--into", into.to_str().unwrap()],
            );
            assert_eq!(code, 0, "{case}: {version}: {err}");
            assert_same(&self.s.at(kept), &into);
        }
    }
}

/// Moves the times at which packs were first seen as unneeded and marked as dead into the past.
pub(super) fn make_due(root: &Path) {
    let catalogue = rusqlite::Connection::open(root.join("catalog.db")).unwrap();
    catalogue
        .execute("UPDATE unused_packs SET first_seen = first_seen - 7200", [])
        .unwrap();
}

/// The files of gc state, by their paths below the repository.
fn state_files(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for dir in ["quarantine", "trash"] {
        for path in files_of(&root.join(dir)).into_keys() {
            all.push(Path::new(dir).join(String::from_utf8(path).unwrap()));
        }
    }
    all.push("catalog.db".into());
    all
}

#[test]
fn damaged_state_never_deletes_needed_data() {
    let aged = Aged::new();
    let names = state_files(&aged.s.w(".dvcs"));
    assert!(names.len() >= 4, "{names:?}");
    for name in &names {
        let original = fs::read(aged.s.w(".dvcs").join(name)).unwrap();
        let flipped = |at: usize| {
            let mut bytes = original.clone();
            let at = at.min(bytes.len() - 1);
            bytes[at] ^= 0x10;
            Some(bytes)
        };
        let cases: Vec<(String, Option<Vec<u8>>)> = vec![
            ("removed".to_owned(), None),
            ("empty".to_owned(), Some(Vec::new())),
            (
                "half".to_owned(),
                Some(original[..original.len() / 2].to_vec()),
            ),
            (
                "longer".to_owned(),
                Some([&original[..], &[0; 48]].concat()),
            ),
            ("flipped at its start".to_owned(), flipped(3)),
            (
                "flipped in its middle".to_owned(),
                flipped(original.len() / 2),
            ),
            ("flipped at its end".to_owned(), flipped(usize::MAX)),
        ];
        for (what, bytes) in cases {
            let dir = aged.copy();
            let root = dir.path().join("r");
            let case = format!("{}: {what}", name.display());
            match bytes {
                None => fs::remove_file(root.join(name)).unwrap(),
                Some(bytes) => fs::write(root.join(name), bytes).unwrap(),
            }
            let w = tempfile::tempdir_in(aged.s.root()).unwrap();
            fs::write(w.path().join("new"), noise(500, 10_000)).unwrap();
            let at = w.path().to_str().unwrap();
            for args in [
                &["-C", at, "commit", "-m", "x", "-b", "new"][..],
                &GC,
                &["forget", "-y", "new~1"],
                &["fsck"],
                &GC,
            ] {
                let (code, err) = aged.code(&root, args);
                assert!((0..=13).contains(&code), "{case}: {args:?}: {code} {err}");
            }
            aged.assert_kept(&root, &case);
        }
    }
}

#[test]
fn hostile_sizes_of_lists_are_refused() {
    let aged = Aged::new();
    for name in state_files(&aged.s.w(".dvcs")) {
        let dir = aged.copy();
        let root = dir.path().join("r");
        let file = fs::OpenOptions::new()
            .write(true)
            .open(root.join(&name))
            .unwrap();
        // A sparse file, which must not be read into memory.
        file.set_len(1 << 40).unwrap();
        let (code, err) = aged.code(&root, &GC);
        assert!((0..=13).contains(&code), "{}: {code} {err}", name.display());
        aged.assert_kept(&root, &name.display().to_string());
    }
}

#[test]
fn older_state_that_is_put_back_never_deletes_needed_data() {
    let aged = Aged::new();
    for part in [
        "quarantine",
        "trash",
        "catalog.db",
        "quarantine/log",
        "quarantine/lists",
    ] {
        let dir = aged.copy();
        let root = dir.path().join("r");
        let older = aged.copy();
        aged.code(&root, &GC);
        let work = tempfile::tempdir_in(aged.s.root()).unwrap();
        let at = work.path().to_str().unwrap();
        // Store data again whose pack is dead in the older state.
        fs::write(work.path().join("large"), noise(2, 200_000)).unwrap();
        assert_eq!(
            aged.code(&root, &["-C", at, "commit", "-m", "x", "-b", "again"])
                .0,
            0
        );
        let (old, new) = (older.path().join("r").join(part), root.join(part));
        if old.is_dir() {
            fs::remove_dir_all(&new).unwrap();
            copy_dir(&old, &new);
        } else {
            fs::copy(&old, &new).unwrap();
        }
        for args in [&GC[..], &["fsck"], &GC] {
            let (code, err) = aged.code(&root, args);
            assert!((0..=13).contains(&code), "{part}: {args:?}: {code} {err}");
        }
        aged.assert_kept(&root, part);
        let into = work.path().join("again");
        let (code, err) = aged.code(
            &root,
            &["checkout", "again", "--into", into.to_str().unwrap()],
        );
        assert_eq!(code, 0, "{part}: {err}");
        assert!(
            fs::read(into.join("large")).unwrap() == noise(2, 200_000),
            "{part}"
        );
    }
}

#[test]
fn the_log_of_another_repository_never_deletes_needed_data() {
    // The copy still needs packs that are dead in the repository.
    let aged = Aged::new();
    let s = Sandbox::with_repo();
    s.write("large", noise(1, 200_000));
    s.dvc(["commit", "-m", "1"]).ok();
    s.write("large", noise(2, 200_000));
    s.dvc(["commit", "-m", "2", "-b", "other"]).ok();
    let mine = s.at("mine");
    copy_dir(&s.w(".dvcs"), &mine);
    s.dvc(["branch", "-D", "other"]).ok();
    let first = [
        "-c",
        "gc.keep-log=0",
        "-y",
        "gc",
        "--grace",
        "1h",
        "--max-unused",
        "100",
    ];
    s.dvc(first).ok();
    make_due(&s.w(".dvcs"));
    s.dvc(first).ok();
    copy_dir(&s.w(".dvcs/quarantine"), &mine.join("quarantine"));
    let dvc = |args: &[&str]| s.dvc([&["--repo", mine.to_str().unwrap()], args].concat());
    let run = dvc(&GC);
    assert_eq!(run.code, 5, "{}", run.err);
    fs::remove_dir_all(mine.join("quarantine")).unwrap();
    dvc(&["fsck", "--data"]).ok();
    dvc(&["checkout", "other", "--into", "../other"]).ok();
    assert!(fs::read(s.at("other/large")).unwrap() == noise(2, 200_000));
    // The log of a repository without common packs changes nothing.
    let dir = aged.copy();
    copy_dir(&dir.path().join("r/quarantine"), &mine.join("quarantine"));
    dvc(&GC);
    fs::remove_dir_all(mine.join("quarantine")).unwrap();
    dvc(&["fsck", "--data"]).ok();
}

#[test]
fn a_lost_catalogue_only_delays_a_collection() {
    let aged = Aged::new();
    let root = aged.s.w(".dvcs");
    let gc = [
        "-c",
        "gc.keep-log=0",
        "-y",
        "--json",
        "gc",
        "--grace",
        "1h",
        "--max-unused",
        "100",
    ];
    let first = aged.s.dvc(gc).ok().json();
    assert!(first["waiting_packs"].as_u64() > Some(0), "{first}");
    fs::remove_file(root.join("catalog.db")).unwrap();
    let second = aged.s.dvc(gc).ok().json();
    assert_eq!(second["waiting_packs"], first["waiting_packs"], "{second}");
    assert_eq!(second["dropped_packs"], 0, "{second}");
    aged.s.dvc(["fsck", "--data"]).ok();
    aged.s.dvc(GC).ok();
    aged.s.dvc(["fsck", "--data"]).ok();
}
