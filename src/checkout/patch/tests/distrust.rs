//! A patch trusts neither results of an earlier scan nor claims of the version.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use parking_lot::Mutex;

use crate::checkout::lookup::Lookup;
use crate::checkout::memory::{BLOCK, Memory, Notes, as_nobody, linked, meta, noise};
use crate::checkout::patch::apply::{PatchOptions, patch};
use crate::checkout::patch::change::Change;
use crate::checkout::patch::journal::{Goal, Journal};
use crate::checkout::patch::tests::{Bench, differences, dir, file, model, store};
use crate::checkout::placed::{PlacedName, Placements};
use crate::checkout::restore::report::RestoreReport;
use crate::checkout::restore::whole::{RestoreOptions, restore};
use crate::model::entry::{Entry, Totals, Xattr};
use crate::model::id::Id;
use crate::model::path::join;

/// Two versions of entries in the root; the test patches from `first` to `second`.
struct Two {
    memory: Memory,
    first: Id,
    second: Id,
    tree: tempfile::TempDir,
    state: tempfile::TempDir,
}

impl Two {
    fn new(make: impl Fn(&mut Memory) -> (Vec<Entry>, Vec<Entry>)) -> Self {
        let mut memory = Memory {
            root_meta: meta(0o755),
            ..Memory::default()
        };
        let (old, new) = make(&mut memory);
        let (first, second) = (memory.tree(old), memory.tree(new));
        let two = Self {
            memory,
            first,
            second,
            tree: tempfile::tempdir().unwrap(),
            state: tempfile::tempdir().unwrap(),
        };
        let options = RestoreOptions {
            jobs: 2,
            placements: None,
        };
        restore(
            &two.memory,
            &first,
            two.tree.path(),
            &options,
            &Notes::default(),
        )
        .unwrap();
        two
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.tree.path().join(name)
    }

    /// Patches by the differences between the versions, without looking at the worktree.
    fn go(&self, placements: Option<&dyn Placements>) -> (RestoreReport, Vec<Vec<u8>>) {
        let mut changes = Vec::new();
        differences(&self.memory, &self.first, &self.second, b"", &mut changes);
        let goal = Goal::whole(Some(self.first), self.second);
        let mut journal =
            Journal::begin(Journal::lock(self.state.path()).unwrap(), &goal, false).unwrap();
        let options = PatchOptions {
            jobs: 2,
            scope: &[],
            placements,
        };
        let at = self.tree.path();
        let report = patch(
            &self.memory,
            &self.second,
            changes,
            at,
            &mut journal,
            &options,
            &Notes::default(),
        )
        .unwrap();
        let half_written = journal.half_written().iter().cloned().collect();
        journal.finish().unwrap();
        (report, half_written)
    }
}

/// Collects the directories and names whose stat may be cached.
#[derive(Default)]
struct Heard(Mutex<Vec<(Vec<u8>, Vec<PlacedName>)>>);

impl Placements for Heard {
    fn dir_placed(&self, path: &[u8], _: &Id, _: &Totals, names: Vec<PlacedName>) {
        self.0.lock().push((path.to_vec(), names));
    }
}

impl Heard {
    fn remembered(self) -> Vec<String> {
        let dirs = self.0.into_inner();
        let names = dirs.into_iter().flat_map(|(dir, names)| {
            names
                .into_iter()
                .filter(|n| n.stat.is_some())
                .map(move |n| join(&dir, &n.name))
        });
        names.map(|n| String::from_utf8(n).unwrap()).collect()
    }
}

fn touched(mut entry: Entry, secs: i64) -> Entry {
    entry.meta.mtime.secs = secs;
    entry
}

/// Returns the entry with an xattr that no file system accepts.
fn impossible(mut entry: Entry) -> Entry {
    entry.meta.xattrs = vec![Xattr {
        name: b"nowhere.x".to_vec(),
        value: b"1".to_vec(),
    }];
    entry
}

#[test]
fn a_name_outside_of_the_scope_is_not_linked_to() {
    let two = model(&[
        ("a", file(b"one", 1)),
        ("b", file(b"one", 1)),
        ("c", file(b"one", 1)),
    ]);
    let (bench, first) = Bench::new(&two);
    let at = bench.tree.path();
    // `b` and `c` are still one file, which gets other content. Both are outside of the scope, so
    // `a` must not become a link to them.
    fs::remove_file(at.join("a")).unwrap();
    fs::write(at.join("b"), b"two").unwrap();
    let entry = Lookup::new(&bench.memory, &first)
        .unwrap()
        .entry(b"a")
        .unwrap();
    let change = Change {
        path: b"a".to_vec(),
        old: None,
        new: entry,
        sure: true,
    };
    bench.apply(
        &first,
        &first,
        vec![change],
        &[b"a".to_vec()],
        &Notes::default(),
    );
    assert_eq!(
        (
            fs::read(at.join("a")).unwrap(),
            fs::read(at.join("b")).unwrap()
        ),
        (b"one".into(), b"two".into())
    );
}

#[test]
fn a_large_file_that_was_edited_in_the_meantime_is_read_again() {
    let big = noise(20 * BLOCK, 3);
    let mut next = big.clone();
    next[7 * BLOCK] ^= 1;
    let two = Two::new(|m| (vec![m.file("big", &big)], vec![m.file("big", &next)]));
    let mut edited = big.clone();
    // An edit that the differences do not contain.
    edited[12 * BLOCK] ^= 1;
    fs::write(two.at("big"), &edited).unwrap();
    two.go(None);
    assert!(fs::read(two.at("big")).unwrap() == next);
}

#[test]
fn a_file_that_was_edited_in_the_meantime_does_not_get_the_metadata_of_another() {
    let two = Two::new(|m| {
        let (f, g) = (m.file("f", b"old"), m.file("g", b"g"));
        (
            vec![f.clone(), g.clone()],
            vec![touched(f, 5), touched(g, 6)],
        )
    });
    // The edit is later than the comparison, so the differences still claim that only the time
    // changes.
    fs::write(two.at("f"), b"new").unwrap();
    let heard = Heard::default();
    let (report, _) = two.go(Some(&heard));
    assert_eq!((report.incomplete, report.files), (1, 1));
    assert_eq!(fs::read(two.at("f")).unwrap(), b"new");
    assert!(fs::metadata(two.at("f")).unwrap().mtime() > 1_000_000_000);
    assert_eq!(fs::metadata(two.at("g")).unwrap().mtime(), 6);
    assert_eq!(
        heard.remembered(),
        [""; 0],
        "a file that was not changed is not remembered as changed"
    );
}

#[test]
fn names_of_one_file_get_their_metadata_together() {
    let two = Two::new(|m| {
        let names = [
            linked(m.file("a", b"1"), 1, 2),
            linked(m.file("b", b"1"), 1, 2),
        ];
        (names.to_vec(), names.map(|n| touched(n, 5)).to_vec())
    });
    assert_eq!(two.go(None).0.incomplete, 0);
    assert_eq!(fs::metadata(two.at("a")).unwrap().mtime(), 5);
}

#[test]
fn what_lacks_metadata_is_not_remembered() {
    let big = noise(20 * BLOCK, 3);
    let mut next = big.clone();
    next[7 * BLOCK] ^= 1;
    let two = Two::new(|m| {
        let all = |m: &mut Memory, big: &[u8], small: &[u8]| {
            let (sub, bad) = (
                m.dir("sub", vec![m_file(small)]),
                m.dir("worse", vec![m_file(small)]),
            );
            let (big, large) = (m.file("big", big), m.file("large", big));
            (
                vec![m.file("kept", b"1"), m.file("small", small), big, sub],
                vec![m.file("set", b"1"), large, bad],
            )
        };
        let (old, old_bad) = all(m, &big, b"1");
        let (new, new_bad) = all(m, &next, b"2");
        let new_bad: Vec<_> = new_bad.into_iter().map(impossible).collect();
        ([old, old_bad].concat(), [new, new_bad].concat())
    });
    let heard = Heard::default();
    let (report, half_written) = two.go(Some(&heard));
    assert_eq!((report.incomplete, half_written.len()), (3, 0));
    let mut remembered = heard.remembered();
    remembered.sort();
    assert_eq!(
        remembered,
        ["big", "kept", "small", "sub", "sub/f", "worse/f"]
    );
}

fn m_file(bytes: &[u8]) -> Entry {
    Memory::default().file("f", bytes)
}

#[test]
fn names_that_are_said_to_be_one_file_are_not_patched_as_one_if_they_differ() {
    let (big, mut one, mut other) = (
        noise(20 * BLOCK, 3),
        noise(20 * BLOCK, 3),
        noise(20 * BLOCK, 3),
    );
    // In the second version, the two names of the group differ.
    one[0] ^= 1;
    other[BLOCK] ^= 1;
    let two = Two::new(|m| {
        let pair = |m: &mut Memory, a: &[u8], b: &[u8]| {
            vec![linked(m.file("a", a), 1, 2), linked(m.file("b", b), 1, 2)]
        };
        (pair(m, &big, &big), pair(m, &one, &other))
    });
    two.go(None);
    assert!(fs::read(two.at("a")).unwrap() == one);
    assert!(fs::read(two.at("b")).unwrap() == other);
}

#[test]
fn nobody_reads_new_content_by_the_old_mode() {
    let big = noise(20 * BLOCK, 3);
    let mut next = big.clone();
    next[4 * BLOCK] ^= 1;
    next[9 * BLOCK] ^= 1;
    let mut two = Two::new(|m| {
        let (mut old, mut new) = (m.file("big", &big), m.file("big", &next));
        (old.meta.mode, new.meta.mode) = (0o4755, 0o640);
        (vec![old], vec![new])
    });
    // The damaged chunk stops the patch half-way.
    two.memory.damage(&next[9 * BLOCK..10 * BLOCK]);
    let (report, half_written) = two.go(None);
    assert_eq!(report.damaged, 1);
    // With reflinks, only a clone is patched, so the old file is unchanged.
    let expected = if half_written.is_empty() {
        0o4755
    } else {
        0o640
    };
    assert_eq!(
        fs::metadata(two.at("big")).unwrap().mode() & 0o7777,
        expected
    );
}

#[test]
fn a_closed_directory_outside_of_the_scope_stays_closed() {
    if as_nobody(
        "checkout::patch::tests::distrust::a_closed_directory_outside_of_the_scope_stays_closed",
    ) {
        return;
    }
    let mut closed = dir(5);
    closed.mode = 0o500;
    let old = model(&[("d", closed.clone()), ("d/f", file(b"old", 1))]);
    let new = model(&[("d", closed), ("d/f", file(b"new", 1))]);
    let (mut bench, first) = Bench::new(&old);
    let second = store(&mut bench.memory, &new);
    let mut changes = Vec::new();
    differences(&bench.memory, &first, &second, b"", &mut changes);
    changes.retain(|c| c.path == b"d/f");
    bench.apply(
        &first,
        &second,
        changes,
        &[b"d/f".to_vec()],
        &Notes::default(),
    );
    let at = bench.tree.path();
    assert_eq!(fs::read(at.join("d/f")).unwrap(), b"new");
    let stat = fs::metadata(at.join("d")).unwrap();
    fs::set_permissions(at.join("d"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.mtime()), (0o500, 5));
}
