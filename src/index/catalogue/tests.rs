//! Tests of the catalogue: round trips, damage, and recreation of the file.

use super::commits::CommitRow;
use super::segments::{LoosePack, PackCheck, SegmentRow};
use super::{Catalogue, schema};
use crate::format::pack::PackKind;
use crate::model::id::Id;
use std::path::Path;

fn fresh() -> (tempfile::TempDir, Catalogue) {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::open(&dir.path().join("catalog.db")).unwrap();
    (dir, catalogue)
}

fn commit(n: u64) -> CommitRow {
    let id = |n: u64| Id(*blake3::hash(&n.to_le_bytes()).as_bytes());
    CommitRow {
        id: id(n),
        ordinal: n,
        first_parent: (n > 1).then(|| id(n - 1)),
        time: -5,
        bytes: vec![u8::try_from(n % 251).unwrap(); 300],
    }
}

fn log_is_gone(path: &Path) -> bool {
    std::fs::metadata(path.with_file_name("catalog.db-wal")).map_or(true, |m| m.len() == 0)
}

#[test]
fn segments_and_packs() {
    let (_dir, c) = fresh();
    let segment = |n: u8| SegmentRow {
        name: [n; 32],
        kind: PackKind::List,
        file_bytes: 7,
        rows: 3,
        replaced_by: None,
    };
    c.add_loose_pack(LoosePack {
        name: [1; 32],
        kind: PackKind::Data,
    })
    .unwrap();
    c.add_loose_pack(LoosePack {
        name: [2; 32],
        kind: PackKind::Tree,
    })
    .unwrap();
    c.add_segment(&segment(9), &[], &[[1; 32]]).unwrap();
    assert_eq!(
        c.loose_packs().unwrap(),
        [LoosePack {
            name: [2; 32],
            kind: PackKind::Tree
        }]
    );
    c.add_segment(&segment(4), &[[9; 32]], &[]).unwrap();
    // Adding a segment a second time changes nothing.
    c.add_segment(&segment(4), &[[9; 32]], &[]).unwrap();
    let replaced = SegmentRow {
        replaced_by: Some([4; 32]),
        ..segment(9)
    };
    assert_eq!(c.segments().unwrap(), [replaced, segment(4)]);
    c.remove_segments(&[[9; 32]]).unwrap();
    assert_eq!(c.segments().unwrap(), [segment(4)]);
    c.remove_loose_packs(&[[2; 32]]).unwrap();
    assert_eq!(c.loose_packs().unwrap(), []);

    let check = |n: u8, at, ok| PackCheck {
        pack: [n; 32],
        checked_at: at,
        ok,
    };
    c.put_pack_checks(&[check(1, 50, true), check(2, 10, false)])
        .unwrap();
    c.put_pack_checks(&[check(2, 60, true)]).unwrap();
    assert_eq!(
        c.pack_checks().unwrap(),
        [check(1, 50, true), check(2, 60, true)]
    );
    c.remove_pack_checks(&[[1; 32]]).unwrap();
    assert_eq!(c.pack_checks().unwrap().len(), 1);
}

#[test]
fn commits_along_first_parents() {
    let (_dir, c) = fresh();
    let all: Vec<CommitRow> = (1..=100).map(commit).collect();
    c.put_commits(&all).unwrap();
    // Commits that the catalogue contains already are ignored.
    c.put_commits(&all[..3]).unwrap();
    assert_eq!(c.commit(&commit(7).id).unwrap(), Some(commit(7)));
    assert_eq!(c.commit(&commit(101).id).unwrap(), None);
    let chain = c.first_parents(&commit(100).id, 1000).unwrap();
    assert!(chain.iter().eq(all.iter().rev()));
    assert_eq!(c.first_parents(&commit(100).id, 3).unwrap().len(), 3);
    c.remove_commits(&[commit(40).id]).unwrap();
    assert_eq!(c.first_parents(&commit(100).id, 1000).unwrap().len(), 60);
    // A walk along a cycle of parents terminates.
    c.put_commits(&[CommitRow {
        first_parent: Some(commit(100).id),
        ..commit(40)
    }])
    .unwrap();
    assert_eq!(c.first_parents(&commit(100).id, 1000).unwrap().len(), 61);

    let mut ids: Vec<Id> = c
        .commit_ids_between(&Id([0; 32]), &Id([255; 32]), 1000)
        .unwrap();
    assert_eq!(ids.len(), 100);
    let first = ids.remove(0);
    assert_eq!(c.commit_ids_between(&first, &first, 2).unwrap(), [first]);
}

#[test]
fn refs_are_seen_to_grow() {
    let (_dir, c) = fresh();
    // As text, 300 would be smaller than 7.
    for seq in [3, 300, 7] {
        c.see_ref("refs/heads/main", seq).unwrap();
    }
    c.see_ref("refs/tags/a%40b", 1).unwrap();
    let seen = [
        ("refs/heads/main".to_owned(), 300),
        ("refs/tags/a%40b".to_owned(), 1),
    ];
    assert_eq!(c.seen_refs().unwrap(), seen);
}

#[test]
fn damage_inside_is_found_and_made_good() {
    use std::os::unix::fs::FileExt;
    let (dir, c) = fresh();
    let path = c.path().to_owned();
    let worktree = c.worktree(b"/w").unwrap();
    let dirs: Vec<_> = (0..2000)
        .map(|n| (format!("dir {n}").into_bytes(), Some(vec![7u8; 200])))
        .collect();
    c.put_stat_dirs(worktree, &dirs).unwrap();
    c.put_commits(&(1..=100).map(commit).collect::<Vec<_>>())
        .unwrap();
    assert_eq!(c.check().unwrap(), Vec::<String>::new());
    c.close().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();

    // After a bit flip in a value, SQLite accepts the page, but the value is rejected.
    for at in (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"dir 1000\x07\x07")) {
        file.write_all_at(&[6], at as u64 + 50).unwrap();
    }
    let c = Catalogue::open(&path).unwrap();
    assert_eq!(
        c.check().unwrap(),
        ["checksum mismatch in 1 value of the stat cache"]
    );
    let paths: Vec<_> = dirs.iter().map(|d| d.0.clone()).collect();
    assert_eq!(
        c.stat_dirs(worktree, &paths)
            .unwrap()
            .iter()
            .filter(|v| v.is_none())
            .count(),
        1
    );
    c.close().unwrap();

    // Overwritten pages are damage that SQLite finds.
    for page in 4..20 {
        file.write_all_at(&[0xa5; 4096], page * 4096).unwrap();
    }
    let c = Catalogue::open(&path).unwrap();
    assert!(!c.was_damaged() && !c.check().unwrap().is_empty());
    // `other` plays another process that has the file open during the reset.
    let other = Catalogue::open(&path).unwrap();
    c.reset().unwrap();
    assert_eq!(c.check().unwrap(), Vec::<String>::new());
    c.put_commits(&[commit(1)]).unwrap();
    assert_eq!(other.commit(&commit(1).id).unwrap(), Some(commit(1)));
    other.put_commits(&[commit(2)]).unwrap();
    assert_eq!(
        (
            c.commit(&commit(2).id).unwrap(),
            c.commit(&commit(3).id).unwrap()
        ),
        (Some(commit(2)), None)
    );
    drop((c, other));
    assert!(log_is_gone(&path));

    // A file that is not a database is recreated when it is opened.
    std::fs::write(&path, [0x5a; 9000]).unwrap();
    let c = Catalogue::open(&path).unwrap();
    assert!(c.was_damaged() && c.check().unwrap().is_empty());
    drop(dir);
}

#[test]
fn stat_cache_per_worktree() {
    let (_dir, c) = fresh();
    let (a, b) = (c.worktree(b"/a").unwrap(), c.worktree(b"/b\xff").unwrap());
    assert_ne!(a, b);
    assert_eq!(c.worktree(b"/a").unwrap(), a);
    c.put_stat_dirs(
        a,
        &[
            (b"".as_slice(), Some(b"root".as_slice())),
            (b"x", Some(b"1")),
            (b"\xff", Some(b"2")),
        ],
    )
    .unwrap();
    c.put_stat_dirs(b, &[(b"x", Some(b"other"))]).unwrap();
    c.put_stat_dirs::<_, &[u8]>(a, &[(b"x".as_slice(), None)])
        .unwrap();
    c.put_stat_dirs(a, &[(b"\xff", Some(b"3"))]).unwrap();
    let found = c.stat_dirs(a, &[b"x".as_slice(), b"", b"\xff"]).unwrap();
    assert_eq!(found, [None, Some(b"root".to_vec()), Some(b"3".to_vec())]);
    let mut seen = Vec::new();
    c.each_stat_dir(a, |path, value| {
        seen.push((path.to_vec(), value.to_vec()));
        true
    })
    .unwrap();
    assert_eq!(
        seen,
        [(vec![], b"root".to_vec()), (vec![255], b"3".to_vec())]
    );
    c.clear_stat(a).unwrap();
    assert_eq!(c.stat_dirs(a, &[b""]).unwrap(), [None]);
    assert_eq!(c.stat_dirs(b, &[b"x"]).unwrap(), [Some(b"other".to_vec())]);
}

#[test]
fn meta_and_clear() {
    let (_dir, c) = fresh();
    c.set_meta("k", Some(b"v")).unwrap();
    c.set_meta("l", Some(b"w")).unwrap();
    c.set_meta("l", None).unwrap();
    assert_eq!(
        (c.meta("k").unwrap(), c.meta("l").unwrap()),
        (Some(b"v".to_vec()), None)
    );
    c.put_commits(&[commit(1)]).unwrap();
    c.clear().unwrap();
    assert_eq!(
        (c.meta("k").unwrap(), c.commit(&commit(1).id).unwrap()),
        (None, None)
    );
}

#[test]
fn survives_reopening_and_leaves_no_log() {
    let (_dir, c) = fresh();
    let path = c.path().to_owned();
    c.put_commits(&[commit(1)]).unwrap();
    let other = Catalogue::open(&path).unwrap();
    assert_eq!(other.commit(&commit(1).id).unwrap(), Some(commit(1)));
    c.close().unwrap();
    assert!(log_is_gone(&path));
    drop(other);
    let again = Catalogue::open(&path).unwrap();
    assert_eq!(again.commit(&commit(1).id).unwrap(), Some(commit(1)));
}

#[test]
fn another_schema_starts_empty() {
    let (_dir, c) = fresh();
    c.put_commits(&[commit(1)]).unwrap();
    let path = c.path().to_owned();
    c.close().unwrap();
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch("PRAGMA user_version = 99; CREATE TABLE \"from \"\"later\" (x)")
        .unwrap();
    drop(raw);
    let c = Catalogue::open(&path).unwrap();
    assert_eq!(c.commit(&commit(1).id).unwrap(), None);
    c.put_commits(&[commit(1)]).unwrap();
}

#[test]
fn no_database_or_a_damaged_one_starts_empty() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    for bytes in [
        b"not a database at all, but long enough to be looked at".repeat(40),
        // A valid magic, followed by damage.
        b"SQLite format 3\0".repeat(300),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let c = Catalogue::open(&path).unwrap();
        c.set_meta("k", Some(b"v")).unwrap();
        c.close().unwrap();
        let c = Catalogue::open(&path).unwrap();
        assert_eq!(c.meta("k").unwrap(), Some(b"v".to_vec()));
    }
    // A crash right after creation leaves an empty file.
    std::fs::write(&path, b"").unwrap();
    Catalogue::open(&path).unwrap();
    drop(schema::replace(&path).unwrap());
}

#[test]
fn many_open_a_new_one_at_once() {
    for start in [None, Some(b"garbage ".repeat(500))] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        if let Some(bytes) = start {
            std::fs::write(&path, bytes).unwrap();
        }
        std::thread::scope(|scope| {
            for n in 1..=16u64 {
                let path = &path;
                scope.spawn(move || {
                    Catalogue::open(path)
                        .unwrap()
                        .put_commits(&[commit(n)])
                        .unwrap()
                });
            }
        });
        let c = Catalogue::open(&path).unwrap();
        assert_eq!(c.first_parents(&commit(16).id, 100).unwrap().len(), 16);
    }
}

/// `cargo test --release --lib catalogue -- --ignored --nocapture` prints the measurements.
#[test]
#[ignore = "a measurement"]
fn numbers() {
    let (_dir, c) = fresh();
    let path = c.path().to_owned();
    let say = |what: &str, from: std::time::Instant| {
        let line = format!("{what}: {:?}\n", from.elapsed());
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
    };
    let all: Vec<CommitRow> = (1..=10_000).map(commit).collect();
    let dirs: Vec<(Vec<u8>, Option<Vec<u8>>)> = (0..20_000)
        .map(|n| {
            (
                format!("some/directory/{n:06}").into_bytes(),
                Some(vec![7; 350]),
            )
        })
        .collect();
    let t = std::time::Instant::now();
    c.put_commits(&all).unwrap();
    say("put 10,000 commits", t);
    let w = c.worktree(b"/w").unwrap();
    let t = std::time::Instant::now();
    c.put_stat_dirs(w, &dirs).unwrap();
    say("put 20,000 directories of 350 bytes", t);
    let t = std::time::Instant::now();
    c.close().unwrap();
    say("close", t);
    say(
        &format!("{} bytes, nothing", std::fs::metadata(&path).unwrap().len()),
        std::time::Instant::now(),
    );
    let t = std::time::Instant::now();
    let c = Catalogue::open(&path).unwrap();
    say("open", t);
    let t = std::time::Instant::now();
    assert_eq!(
        c.first_parents(&commit(10_000).id, usize::MAX)
            .unwrap()
            .len(),
        10_000
    );
    say("10,000 first parents", t);
    let t = std::time::Instant::now();
    let mut n = 0;
    c.each_stat_dir(w, |_, _| {
        n += 1;
        true
    })
    .unwrap();
    say("visit all directories", t);
    let paths: Vec<&[u8]> = dirs.iter().map(|d| d.0.as_slice()).collect();
    let t = std::time::Instant::now();
    c.stat_dirs(w, &paths).unwrap();
    say("get all directories", t);
    let t = std::time::Instant::now();
    drop(c);
    say("close unchanged", t);
}

#[test]
fn a_file_with_many_free_pages_becomes_small() {
    let (dir, c) = fresh();
    let path = dir.path().join("catalog.db");
    let worktree = c.worktree(b"/w").unwrap();
    let dirs: Vec<_> = (0..3000u32)
        .map(|n| (format!("d{n:05}").into_bytes(), Some(vec![7; 500])))
        .collect();
    c.put_stat_dirs(worktree, &dirs).unwrap();
    let kept = dirs[0].0.clone();
    c.retain_stat_dirs(worktree, &[kept.as_slice()].into_iter().collect())
        .unwrap();
    // The last process that closes the file moves the log into it.
    drop(c);
    let bytes = || std::fs::metadata(&path).unwrap().len();
    let full = bytes();
    let c = Catalogue::open(&path).unwrap();
    // Another process uses the file, too.
    let other = Catalogue::open(&path).unwrap();
    c.shrink().unwrap();
    assert!(bytes() * 4 < full, "{} of {full} bytes", bytes());
    assert!(other.stat_dirs(worktree, &[&kept]).unwrap()[0].is_some());
}
