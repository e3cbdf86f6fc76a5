//! Patching in place, compared with a simple model: random trees, crashes at random steps, and
//! files that must not change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::checkout::memory::{BLOCK, Memory, Notes, meta, noise};
use crate::checkout::patch::apply::{PatchOptions, patch};
use crate::checkout::patch::change::Change;
use crate::checkout::patch::journal::{Goal, Journal};
use crate::checkout::restore::report::RestoreReport;
use crate::checkout::restore::whole::{RestoreOptions, restore};
use crate::checkout::source::Source;
use crate::checkout::verify::verify;
use crate::model::entry::{Entry, HardLink, Meta, Node, Time};
use crate::model::id::Id;
use crate::model::path::join;
use crate::model::tree::LinkTable;
use crate::observe::{NoticeLevel, Observer};

mod distrust;

#[derive(Clone, PartialEq)]
enum What {
    File(Vec<u8>),
    Dir,
    Link(Vec<u8>),
    Pipe,
}

impl std::fmt::Debug for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(bytes) => write!(
                f,
                "file of {} ({:?})",
                bytes.len(),
                crate::codec::hash::checksum(&[bytes])[0]
            ),
            Self::Dir => f.write_str("dir"),
            Self::Link(to) => write!(f, "link {}", String::from_utf8_lossy(to)),
            Self::Pipe => f.write_str("pipe"),
        }
    }
}

/// A node; nodes with the same `inode` are hard links.
#[derive(Clone, Debug, PartialEq)]
struct Spec {
    what: What,
    mode: u32,
    secs: i64,
    inode: u64,
}

type Model = BTreeMap<Vec<u8>, Spec>;

fn groups(model: &Model) -> BTreeMap<u64, Vec<Vec<u8>>> {
    let mut groups: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
    for (path, spec) in model.iter().filter(|(_, s)| s.what != What::Dir) {
        groups.entry(spec.inode).or_default().push(path.clone());
    }
    groups.retain(|_, paths| paths.len() > 1);
    groups
}

fn group_id(path: &[u8]) -> [u8; 16] {
    crate::codec::hash::checksum(&[path])
}

fn meta_of(spec: &Spec) -> Meta {
    Meta {
        mtime: Time {
            secs: spec.secs,
            nanos: 5,
        },
        ..meta(spec.mode)
    }
}

/// Stores a model as a version.
fn store(memory: &mut Memory, model: &Model) -> Id {
    let groups = groups(model);
    let mut table: Vec<_> = groups
        .values()
        .map(|paths| (group_id(&paths[0]), paths.clone()))
        .collect();
    table.sort();
    memory.table = LinkTable(table);
    let mut children: BTreeMap<Vec<u8>, Vec<Entry>> = BTreeMap::new();
    // In reverse order, the entries of a directory come before the directory itself.
    for (path, spec) in model.iter().rev() {
        let slash = path.iter().rposition(|b| *b == b'/');
        let (dir, name) =
            slash.map_or((&path[..0], &path[..]), |at| (&path[..at], &path[at + 1..]));
        let below = children.remove(path).unwrap_or_default();
        let text = String::from_utf8(name.to_vec()).unwrap();
        let mut entry = match &spec.what {
            What::File(bytes) => memory.file(&text, bytes),
            What::Dir => memory.dir(&text, below),
            What::Link(to) => {
                crate::checkout::memory::node(&text, Node::Symlink { target: to.clone() })
            }
            What::Pipe => crate::checkout::memory::node(&text, Node::Fifo),
        };
        entry.meta = meta_of(spec);
        if spec.what != What::Dir
            && let Some(paths) = groups.get(&spec.inode)
        {
            let count = u32::try_from(paths.len()).unwrap();
            entry.link = Some(HardLink {
                group: group_id(&paths[0]),
                count,
            });
        }
        children.entry(dir.to_vec()).or_default().push(entry);
    }
    memory.root_meta = meta(0o755);
    memory.tree(children.remove(&b""[..]).unwrap_or_default())
}

/// Reads the tree from disk. Inodes are numbered in path order, so that models can be compared.
fn scan(root: &Path) -> Model {
    let mut model = Model::new();
    let mut inodes: BTreeMap<u64, u64> = BTreeMap::new();
    let mut dirs = vec![Vec::new()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(root.join(std::ffi::OsStr::from_bytes(&dir))).unwrap() {
            let entry = entry.unwrap();
            let path = join(&dir, entry.file_name().as_bytes());
            let stat = fs::symlink_metadata(entry.path()).unwrap();
            let kind = stat.file_type();
            let what = if kind.is_dir() {
                dirs.push(path.clone());
                What::Dir
            } else if kind.is_symlink() {
                What::Link(
                    fs::read_link(entry.path())
                        .unwrap()
                        .into_os_string()
                        .into_vec(),
                )
            } else if kind.is_fifo() {
                What::Pipe
            } else {
                What::File(fs::read(entry.path()).unwrap())
            };
            let mode = if kind.is_symlink() {
                0o777
            } else {
                stat.mode() & 0o7777
            };
            model.insert(
                path,
                Spec {
                    what,
                    mode,
                    secs: stat.mtime(),
                    inode: stat.ino(),
                },
            );
        }
    }
    for spec in model.values_mut() {
        let next = inodes.len() as u64;
        spec.inode = *inodes.entry(spec.inode).or_insert(next);
    }
    model
}

fn renumbered(model: &Model) -> Model {
    let mut inodes = BTreeMap::new();
    let mut out = model.clone();
    for spec in out.values_mut() {
        let next = inodes.len() as u64;
        spec.inode = *inodes.entry(spec.inode).or_insert(next);
    }
    out
}

fn assert_same(there: &Model, wanted: &Model, when: &str) {
    let wanted = renumbered(wanted);
    let differ: Vec<String> = there
        .keys()
        .chain(wanted.keys())
        .filter(|k| there.get(*k) != wanted.get(*k))
        .map(|k| {
            format!(
                "{}: {:?} instead of {:?}",
                String::from_utf8_lossy(k),
                there.get(k),
                wanted.get(k)
            )
        })
        .collect();
    assert!(differ.is_empty(), "{when}: {differ:#?}");
}

/// Returns the differences between two versions as a caller would find them.
fn differences(memory: &Memory, old: &Id, new: &Id, dir: &[u8], out: &mut Vec<Change>) {
    let (old, new) = (memory.entries(old).unwrap(), memory.entries(new).unwrap());
    let names: std::collections::BTreeSet<_> =
        old.iter().chain(&new).map(|e| e.name.clone()).collect();
    for name in names {
        let find = |list: &[Entry]| list.iter().find(|e| e.name == name).cloned();
        let (was, is) = (find(&old), find(&new));
        if was == is {
            continue;
        }
        let path = join(dir, &name);
        if let (Some(Node::Dir { tree: a, .. }), Some(Node::Dir { tree: b, .. })) =
            (was.as_ref().map(|e| &e.node), is.as_ref().map(|e| &e.node))
        {
            differences(memory, a, b, &path, out);
            if was.as_ref().map(|e| &e.meta) == is.as_ref().map(|e| &e.meta) {
                continue;
            }
        }
        out.push(Change {
            path,
            old: was,
            new: is,
            sure: true,
        });
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn random_file(r: &mut Random) -> Vec<u8> {
    match r.below(6) {
        0 => vec![],
        1 => noise(usize::try_from(r.below(200)).unwrap(), r.0),
        2..=4 => noise(usize::try_from(r.below(200_000)).unwrap(), r.0),
        _ => {
            let blocks = usize::try_from(17 + r.below(8)).unwrap();
            // Above `REPLACED_WHOLE`, so the file is patched. The constant seed lets versions share
            // blocks.
            let mut bytes = noise(BLOCK * blocks + 77, 42);
            for _ in 0..r.below(4) {
                let at = usize::try_from(r.below(17)).unwrap() * BLOCK;
                if r.below(2) == 0 {
                    bytes[at..at + BLOCK].fill(0);
                } else {
                    bytes[at..at + 100].copy_from_slice(&noise(100, r.0));
                }
            }
            bytes
        }
    }
}

fn mutate(model: &mut Model, r: &mut Random) {
    for _ in 0..1 + r.below(12) {
        let dirs: Vec<Vec<u8>> = std::iter::once(Vec::new())
            .chain(
                model
                    .iter()
                    .filter(|(_, s)| s.what == What::Dir)
                    .map(|(p, _)| p.clone()),
            )
            .collect();
        let dir = dirs[usize::try_from(r.below(dirs.len() as u64)).unwrap()].clone();
        // Few names, so that changes often meet at the same path.
        let path = join(&dir, format!("n{}", r.below(6)).as_bytes());
        let inode = 1_000 + r.below(1 << 40);
        let mode = [0o644, 0o600, 0o755, 0o444][usize::try_from(r.below(4)).unwrap()];
        let secs = 1_000_000 + i64::try_from(r.below(1000)).unwrap();
        let files: Vec<Vec<u8>> = model
            .iter()
            .filter(|(_, s)| s.what != What::Dir)
            .map(|(p, _)| p.clone())
            .collect();
        let other = files
            .get(usize::try_from(r.below(files.len().max(1) as u64)).unwrap())
            .cloned();
        let clear =
            |model: &mut Model| model.retain(|p, _| !crate::model::path::is_within(p, &path));
        match r.below(9) {
            0..=2 => {
                clear(model);
                model.insert(
                    path,
                    Spec {
                        what: What::File(random_file(r)),
                        mode,
                        secs,
                        inode,
                    },
                );
            }
            3 => {
                clear(model);
                model.insert(
                    path,
                    Spec {
                        what: What::Dir,
                        mode: 0o755,
                        secs,
                        inode,
                    },
                );
            }
            4 => {
                clear(model);
                model.insert(
                    path,
                    Spec {
                        what: What::Link(format!("t{}", r.below(3)).into()),
                        mode: 0o777,
                        secs,
                        inode,
                    },
                );
            }
            5 => clear(model),
            6 => {
                // A further hard link of an existing node.
                if let Some(other) = other.filter(|o| !crate::model::path::is_within(o, &path)) {
                    let spec = model[&other].clone();
                    clear(model);
                    model.insert(path, spec);
                }
            }
            7 => {
                // A change of content or metadata is visible through all hard links.
                if let Some(other) = other {
                    let inode = model[&other].inode;
                    let new = random_file(r);
                    for spec in model.values_mut().filter(|s| s.inode == inode) {
                        spec.secs = secs;
                        if let What::File(bytes) = &mut spec.what {
                            bytes.clone_from(&new);
                        }
                    }
                }
            }
            _ => {
                clear(model);
                model.insert(
                    path,
                    Spec {
                        what: What::Pipe,
                        mode,
                        secs,
                        inode,
                    },
                );
            }
        }
    }
}

/// Panics at the n-th step.
struct Mortal {
    notes: Notes,
    left: AtomicU64,
}

impl Observer for Mortal {
    fn notice(&self, notice: crate::observe::Notice) {
        self.notes.notice(notice);
    }

    fn step(&self, _: &'static str) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            // Panic without printing a message.
            std::panic::resume_unwind(Box::new("died"));
        }
    }
}

struct Bench {
    memory: Memory,
    tree: tempfile::TempDir,
    state: tempfile::TempDir,
}

impl Bench {
    fn new(model: &Model) -> (Self, Id) {
        let mut memory = Memory::default();
        let first = store(&mut memory, model);
        let bench = Self {
            memory,
            tree: tempfile::tempdir().unwrap(),
            state: tempfile::tempdir().unwrap(),
        };
        let options = RestoreOptions {
            jobs: 2,
            placements: None,
        };
        restore(
            &bench.memory,
            &first,
            bench.tree.path(),
            &options,
            &Notes::default(),
        )
        .unwrap();
        (bench, first)
    }

    fn go(&self, from: &Id, to: &Id, observer: &dyn Observer) -> RestoreReport {
        let mut changes = Vec::new();
        differences(&self.memory, from, to, b"", &mut changes);
        self.apply(from, to, changes, &[], observer)
    }

    fn journal(&self, from: &Id, to: &Id) -> Journal {
        let lock = Journal::lock(self.state.path()).unwrap();
        Journal::begin(lock, &Goal::whole(Some(*from), *to), false).unwrap()
    }

    fn apply(
        &self,
        from: &Id,
        to: &Id,
        changes: Vec<Change>,
        scope: &[Vec<u8>],
        o: &dyn Observer,
    ) -> RestoreReport {
        let mut journal = self.journal(from, to);
        let options = PatchOptions {
            jobs: 2,
            scope,
            placements: None,
        };
        let report = patch(
            &self.memory,
            to,
            changes,
            self.tree.path(),
            &mut journal,
            &options,
            o,
        )
        .unwrap();
        journal.finish().unwrap();
        report
    }
}

fn file(bytes: &[u8], inode: u64) -> Spec {
    Spec {
        what: What::File(bytes.to_vec()),
        mode: 0o644,
        secs: 1_000_000,
        inode,
    }
}

fn dir(secs: i64) -> Spec {
    Spec {
        what: What::Dir,
        mode: 0o755,
        secs,
        inode: 0,
    }
}

fn model(all: &[(&str, Spec)]) -> Model {
    all.iter()
        .map(|(p, s)| (p.as_bytes().to_vec(), s.clone()))
        .collect()
}

#[test]
fn random_trees_become_each_other() {
    for seed in 1..=40 {
        let mut r = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let mut old = Model::new();
        (0..4).for_each(|_| mutate(&mut old, &mut r));
        let (mut bench, first) = Bench::new(&old);
        let mut new = old.clone();
        mutate(&mut new, &mut r);
        let second = store(&mut bench.memory, &new);
        let notes = Notes::default();
        bench.go(&first, &second, &notes);
        assert_eq!(notes.notices.into_inner(), [], "seed {seed}");
        assert_same(&scan(bench.tree.path()), &new, &format!("seed {seed}"));
        let report = verify(
            &bench.memory,
            &second,
            bench.tree.path(),
            &|_, _| true,
            2,
            &Notes::default(),
        )
        .unwrap();
        assert_eq!(report.wrong, 0);
    }
}

#[test]
fn a_death_at_any_step_is_mended_by_the_next_run() {
    for seed in 1..=6 {
        let mut r = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let mut old = Model::new();
        (0..3).for_each(|_| mutate(&mut old, &mut r));
        let mut new = old.clone();
        mutate(&mut new, &mut r);
        // A patched file in each case, so that some deaths are between the journal entry and the
        // end of a patch.
        let big = noise(20 * BLOCK, 1);
        let mut changed = big.clone();
        changed[5 * BLOCK] ^= 1;
        changed[9 * BLOCK..10 * BLOCK].fill(0);
        old.insert(b"zbig".to_vec(), file(&big, 1));
        new.insert(b"zbig".to_vec(), file(&changed, 1));
        let mut rest = old.clone();
        (0..3).for_each(|_| mutate(&mut rest, &mut r));
        // Dies at each step in turn, until a run ends without dying.
        for death in 0.. {
            let (mut bench, first) = Bench::new(&old);
            let second = store(&mut bench.memory, &new);
            let mortal = Mortal {
                notes: Notes::default(),
                left: AtomicU64::new(death),
            };
            let died =
                catch_unwind(AssertUnwindSafe(|| bench.go(&first, &second, &mortal))).is_err();
            if !died {
                break;
            }
            // A scan of the worktree returns the old side of the differences.
            let now = scan(bench.tree.path());
            for (path, spec) in &now {
                // A file has its old or its new content, or is temporary, or the journal lists it
                // as half-written.
                let known = [&old, &new]
                    .iter()
                    .any(|m| m.get(path).map(|s| &s.what) == Some(&spec.what));
                let temp = path.windows(9).any(|w| w == b".dvc-tmp-");
                let half = Journal::read(bench.state.path())
                    .unwrap()
                    .unwrap()
                    .half_written;
                assert!(
                    known || temp || half.contains(path),
                    "seed {seed}, death {death}: {}",
                    String::from_utf8_lossy(path)
                );
            }
            let found = store(&mut bench.memory, &now);
            // In every second case, the user checks out another version instead.
            let goal = if death % 2 == 0 { &new } else { &rest };
            let goal_id = store(&mut bench.memory, goal);
            let notes = Notes::default();
            bench.go(&found, &goal_id, &notes);
            assert_same(
                &scan(bench.tree.path()),
                goal,
                &format!("seed {seed}, death {death}"),
            );
            assert_eq!(Journal::read(bench.state.path()).unwrap(), None);
        }
    }
}

#[test]
fn only_changed_ranges_of_a_large_file_are_written() {
    let big = noise(40 * BLOCK, 3);
    let mut next = big.clone();
    next[7 * BLOCK + 5] ^= 1;
    next[20 * BLOCK..22 * BLOCK].fill(0);
    next.truncate(39 * BLOCK + 100);
    let (mut bench, first) = Bench::new(&model(&[("big", file(&big, 1))]));
    let inode = fs::metadata(bench.tree.path().join("big")).unwrap().ino();
    let second = store(&mut bench.memory, &model(&[("big", file(&next, 1))]));
    bench.memory.asked.lock().clear();
    let report = bench.go(&first, &second, &Notes::default());
    assert_eq!(
        bench.memory.asked.lock().len(),
        2,
        "one changed block, and the short last one"
    );
    assert_eq!(report.bytes, BLOCK as u64 + 100);
    let stat = fs::metadata(bench.tree.path().join("big")).unwrap();
    assert!(fs::read(bench.tree.path().join("big")).unwrap() == next);
    // With reflinks, the file is replaced by a patched clone, which may have preallocated blocks,
    // so its block count is not checked.
    let cloned = stat.ino() != inode;
    assert!(
        cloned || stat.blocks() * 512 <= 38 * BLOCK as u64,
        "holes are punched"
    );
}

#[test]
fn a_file_with_a_name_elsewhere_is_not_written_through() {
    let big = noise(20 * BLOCK, 3);
    let mut next = big.clone();
    next[0] ^= 1;
    let (mut bench, first) = Bench::new(&model(&[("big", file(&big, 1))]));
    // On the same file system, because a hard link cannot leave it.
    let outside = tempfile::tempdir_in(bench.tree.path().parent().unwrap()).unwrap();
    fs::hard_link(bench.tree.path().join("big"), outside.path().join("copy")).unwrap();
    let second = store(&mut bench.memory, &model(&[("big", file(&next, 1))]));
    bench.go(&first, &second, &Notes::default());
    assert!(fs::read(bench.tree.path().join("big")).unwrap() == next);
    assert!(fs::read(outside.path().join("copy")).unwrap() == big);
}

#[test]
fn links_that_were_swapped_in_are_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("f"), b"precious").unwrap();
    let old = model(&[
        ("d", dir(5)),
        ("d/f", file(b"old", 1)),
        ("d/g", file(b"old", 2)),
    ]);
    let (mut bench, first) = Bench::new(&old);
    let new = model(&[
        ("d", dir(6)),
        ("d/f", file(b"new", 1)),
        ("d/h", file(b"new", 3)),
    ]);
    let second = store(&mut bench.memory, &new);
    // Another process replaces the directory by a link to a place outside of the worktree.
    fs::rename(bench.tree.path().join("d"), outside.path().join("moved")).unwrap();
    std::os::unix::fs::symlink(outside.path(), bench.tree.path().join("d")).unwrap();
    let notes = Notes::default();
    let report = bench.go(&first, &second, &notes);
    assert!(report.incomplete >= 3);
    assert_eq!(fs::read(outside.path().join("f")).unwrap(), b"precious");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2);
    assert!(
        notes
            .notices
            .into_inner()
            .iter()
            .all(|n| n.level == NoticeLevel::Incomplete)
    );
}

#[test]
fn what_no_version_knows_is_left_alone() {
    let old = model(&[
        ("d", dir(5)),
        ("d/f", file(b"old", 1)),
        ("keep", file(b"1", 9)),
    ]);
    let (mut bench, first) = Bench::new(&old);
    fs::write(bench.tree.path().join("d/ignored"), b"mine").unwrap();
    fs::write(bench.tree.path().join("new"), b"mine too").unwrap();
    fs::create_dir(bench.tree.path().join(".dvcs")).unwrap();
    let second = store(
        &mut bench.memory,
        &model(&[("keep", file(b"1", 9)), ("new", file(b"theirs", 4))]),
    );
    let notes = Notes::default();
    let report = bench.go(&first, &second, &notes);
    // `new` is occupied by a file of the user. `d/f` is removed.
    assert_eq!((report.incomplete, report.removed), (1, 1));
    assert_eq!(
        fs::read(bench.tree.path().join("d/ignored")).unwrap(),
        b"mine"
    );
    assert_eq!(
        fs::read(bench.tree.path().join("new")).unwrap(),
        b"mine too"
    );
    assert!(!bench.tree.path().join("d/f").exists());
    // The kept directory does not prevent a later checkout.
    let notes = Notes::default();
    bench.go(&second, &first, &notes);
    assert_eq!(fs::read(bench.tree.path().join("d/f")).unwrap(), b"old");
    assert_eq!(
        fs::metadata(bench.tree.path().join("d")).unwrap().mtime(),
        5
    );
}

#[test]
fn some_paths_only() {
    let old = model(&[
        ("a", dir(5)),
        ("a/f", file(b"old", 1)),
        ("b", file(b"1", 9)),
    ]);
    let new = model(&[
        ("a", dir(6)),
        ("a/f", file(b"new", 1)),
        ("c", dir(7)),
        ("c/d", dir(8)),
        ("c/d/e", file(b"e", 2)),
    ]);
    let (mut bench, first) = Bench::new(&old);
    let second = store(&mut bench.memory, &new);
    let root_time = fs::metadata(bench.tree.path()).unwrap().mtime();
    let mut changes = Vec::new();
    differences(&bench.memory, &first, &second, b"", &mut changes);
    let mut change = changes.iter().find(|c| c.path == b"a/f").unwrap().clone();
    bench.apply(
        &first,
        &second,
        vec![change.clone()],
        &[b"a/f".to_vec()],
        &Notes::default(),
    );
    let stat = |p: &str| fs::metadata(bench.tree.path().join(p)).unwrap().mtime();
    assert_eq!(fs::read(bench.tree.path().join("a/f")).unwrap(), b"new");
    assert_eq!(
        (stat("a"), stat("")),
        (5, root_time),
        "directories outside keep their times"
    );
    change.path = b"c/d/e".to_vec();
    change.old = None;
    change.new = crate::checkout::lookup::Lookup::new(&bench.memory, &second)
        .unwrap()
        .entry(b"c/d/e")
        .unwrap();
    bench.apply(
        &first,
        &second,
        vec![change],
        &[b"c/d/e".to_vec()],
        &Notes::default(),
    );
    // Directories that were created on the way get the metadata of the version.
    assert_eq!((stat("c"), stat("c/d"), stat("b")), (7, 8, 1_000_000));
}

#[test]
fn damage_leaves_old_or_half_written_files_that_are_named() {
    let big = noise(20 * BLOCK, 3);
    let mut next = big.clone();
    next[4 * BLOCK] ^= 1;
    next[9 * BLOCK] ^= 1;
    let small = noise(BLOCK, 5);
    let (mut bench, first) = Bench::new(&model(&[
        ("big", file(&big, 1)),
        ("small", file(b"old", 2)),
    ]));
    let new = model(&[("big", file(&next, 1)), ("small", file(&small, 2))]);
    let second = store(&mut bench.memory, &new);
    bench.memory.damage(&next[9 * BLOCK..10 * BLOCK]);
    bench.memory.damage(&small);
    let mut changes = Vec::new();
    differences(&bench.memory, &first, &second, b"", &mut changes);
    let mut journal = bench.journal(&first, &second);
    let options = PatchOptions {
        jobs: 1,
        scope: &[],
        placements: None,
    };
    let (at, notes) = (bench.tree.path(), Notes::default());
    let report = patch(
        &bench.memory,
        &second,
        changes,
        at,
        &mut journal,
        &options,
        &notes,
    )
    .unwrap();
    journal.finish().unwrap();
    assert_eq!(report.damaged, 2);
    assert_eq!(fs::read(at.join("small")).unwrap(), b"old");
    assert_eq!(
        fs::read_dir(at).unwrap().count(),
        2,
        "no temporary file is left"
    );
    let half = Journal::read(bench.state.path())
        .unwrap()
        .map_or(Vec::new(), |j| j.half_written);
    let whole = fs::read(at.join("big")).unwrap() == big;
    assert!(whole || half == [b"big".to_vec()]);
    // After the repository is repaired, the same checkout completes.
    store(&mut bench.memory, &new);
    bench.go(&second, &second, &Notes::default());
    assert!(whole || fs::read(bench.tree.path().join("big")).unwrap() == next);
}
