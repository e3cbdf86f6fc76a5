//! Whole restore of every kind of content from memory.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use parking_lot::Mutex;

use super::memory::{BLOCK, Memory, Notes, linked, meta, node, noise};
use super::placed::{PlacedName, Placements};
use crate::checkout::restore::report::RestoreReport;
use crate::checkout::restore::whole::{RestoreOptions, restore};
use crate::error::{Kind, Result};
use crate::model::entry::{Chunker, Content, Entry, Extent, Node, Time, Totals, Xattr};
use crate::model::id::Id;
use crate::observe::NoticeLevel;

fn run(memory: &Memory, tree: &Id, target: &Path, jobs: usize) -> Result<(RestoreReport, Notes)> {
    let notes = Notes::default();
    let report = restore(
        memory,
        tree,
        target,
        &RestoreOptions {
            jobs,
            placements: None,
        },
        &notes,
    )?;
    Ok((report, notes))
}

fn symlink(name: &str, target: &str) -> Entry {
    node(
        name,
        Node::Symlink {
            target: target.as_bytes().to_vec(),
        },
    )
}

#[test]
fn every_kind_of_node() {
    let mut m = Memory {
        root_meta: meta(0o750),
        ..Memory::default()
    };
    let mut old = m.file("old", b"before 1970");
    old.meta.mtime = Time {
        secs: -1_000,
        nanos: 999_999_999,
    };
    old.meta.mode = 0o4711;
    let mut tagged = m.file("tagged", &noise(3 * BLOCK, 1));
    // The mode denies writing even to the owner, but content and xattr must get in.
    tagged.meta.mode = 0o444;
    tagged.meta.xattrs = vec![Xattr {
        name: b"user.note".to_vec(),
        value: b"v\0w".to_vec(),
    }];
    let mut sealed = m.dir("sealed", vec![]);
    sealed.meta.mode = 0o555;
    let inner = vec![
        m.file("\u{fc}\n", b"x"),
        symlink("dangling", "/no/where"),
        node("pipe", Node::Fifo),
        sealed,
    ];
    let mut sub = m.dir("sub", inner);
    sub.meta.mode = 0o2755;
    let empty = m.file("empty", b"");
    let tree = m.tree(vec![old, tagged, sub, empty]);
    // One thread processes the items in a fixed order, several threads in any order.
    for jobs in [1, 4] {
        let temp = tempfile::tempdir().unwrap();
        let at = temp.path().join("new");
        let (report, notes) = run(&m, &tree, &at, jobs).unwrap();
        assert_eq!(notes.notices.into_inner(), []);
        assert_eq!((report.files, report.dirs, report.incomplete), (6, 3, 0));
        let stat = |name: &str| fs::symlink_metadata(at.join(name)).unwrap();
        assert_eq!(fs::read(at.join("tagged")).unwrap(), noise(3 * BLOCK, 1));
        assert_eq!(fs::read(at.join("old")).unwrap(), b"before 1970");
        assert_eq!(
            (stat("old").mtime(), stat("old").mtime_nsec()),
            (-1_000, 999_999_999)
        );
        assert_eq!(stat("old").mode() & 0o7777, 0o4711);
        assert_eq!(stat("sub").mode() & 0o7777, 0o2755);
        assert_eq!(stat("sub/sealed").mode() & 0o7777, 0o555);
        for name in [
            "tagged",
            "sub",
            "sub/dangling",
            "sub/pipe",
            "sub/sealed",
            "",
        ] {
            assert_eq!(
                (stat(name).mtime(), stat(name).mtime_nsec()),
                (1_000_000_000, 123_456_789),
                "`{name}`"
            );
        }
        assert!(stat("sub/pipe").file_type().is_fifo());
        assert_eq!(
            fs::read_link(at.join("sub/dangling")).unwrap(),
            Path::new("/no/where")
        );
        assert_eq!(stat("").mode() & 0o7777, 0o750);
        let mut value = [0u8; 16];
        let len = rustix::fs::getxattr(at.join("tagged"), "user.note", &mut value).unwrap();
        assert_eq!(&value[..len], b"v\0w");
        fs::set_permissions(at.join("sub/sealed"), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn large_files_are_written_by_ranges_and_stay_sparse() {
    let mut m = Memory::default();
    let mut bytes = noise(40 << 20, 7);
    // A hole in the middle and one at the end. 30 MiB and one block of data remain.
    bytes[BLOCK..9 << 20].fill(0);
    bytes[(39 << 20)..].fill(0);
    let large = m.file("large", &bytes);
    let hole = node(
        "hole",
        Node::File {
            // Without data, so that a writer that wrote the zeros would need 1 TiB of disk space.
            size: 1 << 40,
            chunker: Chunker::Cdc,
            content: Content::Direct(vec![Extent {
                len: 1 << 40,
                chunk: None,
            }]),
        },
    );
    let small_hole = m.file("tail", &[vec![1; BLOCK], vec![0; 2 * BLOCK + 5]].concat());
    let tree = m.tree(vec![large, hole, small_hole]);
    for jobs in [1, 3] {
        let temp = tempfile::tempdir().unwrap();
        run(&m, &tree, temp.path(), jobs).unwrap();
        assert!(fs::read(temp.path().join("large")).unwrap() == bytes);
        let blocks = |name: &str| fs::metadata(temp.path().join(name)).unwrap().blocks() * 512;
        assert!(blocks("large") <= 31 << 20, "{}", blocks("large"));
        assert_eq!(blocks("hole"), 0);
        assert_eq!(
            fs::metadata(temp.path().join("hole")).unwrap().len(),
            1 << 40
        );
        assert_eq!(
            fs::read(temp.path().join("tail")).unwrap().len(),
            3 * BLOCK + 5
        );
        assert_eq!(blocks("tail"), BLOCK as u64);
    }
}

#[test]
fn links_of_a_group_are_one_file_under_any_order() {
    let mut m = Memory::default();
    let bytes = noise(20 << 20, 3);
    let mut tops = vec![];
    for d in 0..20 {
        let small = linked(m.file("small", b"shared"), 1, 20);
        let large = linked(m.file("large", &bytes), 2, 20);
        let link = linked(symlink("link", "x"), 3, 20);
        // A group whose other members are not in this tree.
        let lone = linked(m.file("lone", b"lone"), 100 + d, 2);
        let mut dir = m.dir(&format!("d{d:02}"), vec![small, large, link, lone]);
        // The mode forbids new names, so a directory must not get its mode before its groups are
        // complete.
        dir.meta.mode = 0o500;
        tops.push(dir);
    }
    let tree = m.tree(tops);
    for jobs in [1, 4] {
        let temp = tempfile::tempdir().unwrap();
        let (report, notes) = run(&m, &tree, temp.path(), jobs).unwrap();
        assert_eq!(notes.notices.into_inner(), []);
        assert_eq!((report.files, report.dirs), (80, 21));
        for name in ["small", "large", "link"] {
            let stats: Vec<_> = (0..20)
                .map(|d| fs::symlink_metadata(temp.path().join(format!("d{d:02}/{name}"))).unwrap())
                .collect();
            assert!(
                stats
                    .iter()
                    .all(|s| s.ino() == stats[0].ino() && s.nlink() == 20),
                "{name}"
            );
        }
        for d in 0..20 {
            let dir = temp.path().join(format!("d{d:02}"));
            let stat = fs::metadata(&dir).unwrap();
            assert_eq!((stat.mode() & 0o7777, stat.mtime()), (0o500, 1_000_000_000));
            // Without write permission, the temporary directory could not be removed.
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}

#[test]
fn damage_is_named_and_the_rest_is_restored() {
    let mut m = Memory::default();
    let (good, bad) = (noise(2 * BLOCK, 5), noise(2 * BLOCK, 6));
    let mut big = noise(30 << 20, 9);
    // The damaged chunk is in the middle, so other ranges are written before the damage is found.
    big[20 << 20..(20 << 20) + BLOCK].copy_from_slice(&noise(BLOCK, 11));
    let files = vec![
        m.file("good", &good),
        m.file("bad", &bad),
        linked(m.file("big", &big), 1, 2),
    ];
    let again = linked(m.file("big2", &big), 1, 2);
    let lost = node(
        "lost",
        Node::Dir {
            tree: Id([9; 32]),
            totals: Default::default(),
        },
    );
    let short = node(
        "short",
        Node::File {
            // The size contradicts the content.
            size: 9 << 16,
            chunker: Chunker::Cdc,
            content: m.content(&good),
        },
    );
    let sub = m.dir("sub", vec![again, lost]);
    let tree = m.tree([files, vec![sub, short]].concat());
    m.damage(&bad[BLOCK..]);
    m.damage(&noise(BLOCK, 11));
    let temp = tempfile::tempdir().unwrap();
    let (report, notes) = run(&m, &tree, temp.path(), 2).unwrap();
    // Damaged: `bad`, `big`, `sub/lost` and `short`. Incomplete: `sub/big2`, which has no file to
    // link to.
    assert_eq!((report.files, report.damaged, report.incomplete), (1, 4, 1));
    let mut noticed: Vec<_> = notes
        .notices
        .into_inner()
        .into_iter()
        .map(|n| (n.level, n.path))
        .collect();
    noticed.sort_by(|a, b| a.1.cmp(&b.1));
    assert_eq!(noticed[0], (NoticeLevel::Damage, b"bad".to_vec()));
    assert!(noticed.iter().any(|s| s.1 == b"sub/lost"));
    assert_eq!(
        fs::read_dir(temp.path()).unwrap().count(),
        2,
        "what is damaged is not left half-made"
    );
}

#[test]
fn a_full_or_strange_target_is_refused() {
    let mut m = Memory::default();
    let tree = m.tree(vec![]);
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("x"), b"").unwrap();
    assert_eq!(
        run(&m, &tree, temp.path(), 1).err().unwrap().kind(),
        Kind::Rejected
    );
    assert!(run(&m, &tree, &temp.path().join("x"), 1).is_err());
    assert!(run(&m, &tree, &temp.path().join("no/way"), 1).is_err());
}

#[test]
fn nothing_is_inherited_from_the_target() {
    let mut m = Memory {
        root_meta: meta(0o755),
        ..Memory::default()
    };
    let file = m.file("f", b"x");
    let tree = m.tree(vec![file]);
    let temp = tempfile::tempdir().unwrap();
    // The target has a default ACL (if the machine has `setfacl`) and a set-group-id bit.
    let acl = std::process::Command::new("setfacl")
        .args(["-d", "-m", "u:1234:rwx"])
        .arg(temp.path())
        .status();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o2777)).unwrap();
    run(&m, &tree, temp.path(), 1).unwrap();
    if acl.is_ok_and(|s| s.success()) {
        let mut names = [0u8; 256];
        assert_eq!(
            rustix::fs::listxattr(temp.path().join("f"), &mut names[..]),
            Ok(0)
        );
        assert_eq!(rustix::fs::listxattr(temp.path(), &mut names[..]), Ok(0));
    }
    assert_eq!(
        fs::metadata(temp.path().join("f")).unwrap().mode() & 0o7777,
        0o644
    );
}

#[test]
fn placements_hear_of_whole_directories() {
    type Told = (Vec<u8>, Id, Vec<PlacedName>);
    struct Heard(Mutex<Vec<Told>>);
    impl Placements for Heard {
        fn dir_placed(&self, path: &[u8], tree: &Id, _: &Totals, names: Vec<PlacedName>) {
            self.0.lock().push((path.to_vec(), *tree, names));
        }
    }
    let mut m = Memory::default();
    let inner = vec![
        m.file("f", b"abc"),
        symlink("l", "f"),
        linked(m.file("h", b"x"), 1, 2),
    ];
    let sub = m.dir("sub", inner);
    let bad = noise(BLOCK, 2);
    let broken = vec![m.file("bad", &bad)];
    let broken = m.dir("broken", broken);
    m.damage(&bad);
    let tree = m.tree(vec![sub.clone(), broken]);
    let temp = tempfile::tempdir().unwrap();
    let heard = Heard(Mutex::default());
    let options = RestoreOptions {
        jobs: 2,
        placements: Some(&heard),
    };
    restore(&m, &tree, temp.path(), &options, &Notes::default()).unwrap();
    let heard = heard.0.into_inner();
    assert_eq!(
        heard.len(),
        2,
        "nothing of a directory that is not complete"
    );
    let (path, _, names) = &heard[0];
    assert_eq!(path, b"sub");
    assert_eq!(
        names.iter().map(|n| n.name.as_slice()).collect::<Vec<_>>(),
        [b"f", b"h", b"l"]
    );
    assert!(names[1].stat.is_none(), "further links change it");
    let stat = fs::metadata(temp.path().join("sub/f")).unwrap();
    let placed = names[0].stat.unwrap();
    assert_eq!(
        (placed.st_ino, placed.st_ctime, placed.st_ctime_nsec as i64),
        (stat.ino(), stat.ctime(), stat.ctime_nsec())
    );
    let (path, id, names) = &heard[1];
    assert_eq!((path.as_slice(), *id, names.len()), (&b""[..], tree, 2));
    let stat = fs::metadata(temp.path().join("sub")).unwrap();
    assert_eq!(
        names[1].stat.unwrap().st_ctime_nsec as i64,
        stat.ctime_nsec()
    );
}

#[test]
fn names_of_one_group_never_share_what_differs() {
    let mut m = Memory::default();
    // A forged version: three names of one group, of which one has other content.
    let one = linked(m.file("one", b"first"), 1, 3);
    let other = linked(m.file("other", b"second"), 1, 3);
    let same = linked(m.file("same", b"first"), 1, 3);
    let tree = m.tree(vec![one, other, same]);
    let temp = tempfile::tempdir().unwrap();
    run(&m, &tree, temp.path(), 1).unwrap();
    let found = |name: &str| {
        (
            fs::read(temp.path().join(name)).unwrap(),
            fs::metadata(temp.path().join(name)).unwrap(),
        )
    };
    assert_eq!(
        (found("one").0, found("other").0, found("same").0),
        (b"first".into(), b"second".into(), b"first".into())
    );
    assert_eq!(
        (found("one").1.ino(), found("other").1.nlink()),
        (found("same").1.ino(), 1)
    );
}

#[test]
fn what_lacks_metadata_is_not_remembered() {
    struct Heard(Mutex<Vec<(Vec<u8>, bool)>>);
    impl Placements for Heard {
        fn dir_placed(&self, path: &[u8], _: &Id, _: &Totals, names: Vec<PlacedName>) {
            let names = names
                .into_iter()
                .map(|n| (crate::model::path::join(path, &n.name), n.stat.is_some()));
            self.0.lock().extend(names);
        }
    }
    let impossible = |mut entry: Entry| {
        entry.meta.xattrs = vec![Xattr {
            // No file system accepts an xattr outside of the known name spaces (xattr(7)).
            name: b"nowhere.x".to_vec(),
            value: b"1".to_vec(),
        }];
        entry
    };
    let mut m = Memory::default();
    let inner = vec![
        m.file("good", b"1"),
        impossible(m.file("small", b"2")),
        // Above `LARGE`, so the file is written in ranges.
        impossible(m.file("large", &vec![7; 17 << 20])),
    ];
    let sub = impossible(m.dir("sub", inner));
    let tree = m.tree(vec![sub]);
    let temp = tempfile::tempdir().unwrap();
    let heard = Heard(Mutex::default());
    let report = restore(
        &m,
        &tree,
        temp.path(),
        &RestoreOptions {
            jobs: 2,
            placements: Some(&heard),
        },
        &Notes::default(),
    );
    assert_eq!(report.unwrap().incomplete, 3);
    let remembered: Vec<_> = heard
        .0
        .into_inner()
        .into_iter()
        .filter(|n| n.1)
        .map(|n| n.0)
        .collect();
    assert_eq!(remembered, [b"sub/good".to_vec()]);
}

#[test]
fn large_files_are_not_all_open_at_once() {
    /// Counts the files below the target that are open while ranges are written.
    struct Watch(std::path::PathBuf, std::sync::atomic::AtomicUsize);
    impl crate::observe::Observer for Watch {
        fn advance(&self, _: u64, _: u64) {
            let held = fs::read_dir("/proc/self/fd")
                .unwrap()
                .flatten()
                .filter_map(|fd| fs::read_link(fd.path()).ok());
            let open = held
                .filter(|path| path.starts_with(&self.0) && path.is_file())
                .count();
            self.1.fetch_max(open, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let mut m = Memory::default();
    // Above `LARGE`, but nearly all of it is a hole, so the test is fast.
    let bytes = [noise(BLOCK, 1), vec![0; 17 << 20]].concat();
    let files = (0..30).map(|n| m.file(&format!("f{n}"), &bytes)).collect();
    let tree = m.tree(files);
    let temp = tempfile::tempdir().unwrap();
    let watch = Watch(temp.path().canonicalize().unwrap(), Default::default());
    let report = restore(
        &m,
        &tree,
        temp.path(),
        &RestoreOptions {
            jobs: 2,
            placements: None,
        },
        &watch,
    )
    .unwrap();
    assert_eq!(report.files, 30);
    assert!((1..=4).contains(&watch.1.into_inner()));
}

#[test]
fn a_file_that_cannot_be_that_long_leaves_nothing() {
    let mut m = Memory::default();
    // Offsets in a file are signed 64-bit numbers, so ftruncate(2) fails after the file was
    // created.
    let size = 1 << 63;
    let content = Content::Direct(vec![Extent {
        len: size,
        chunk: None,
    }]);
    let tree = m.tree(vec![node(
        "huge",
        Node::File {
            size,
            chunker: Chunker::Cdc,
            content,
        },
    )]);
    let temp = tempfile::tempdir().unwrap();
    let (report, _) = run(&m, &tree, temp.path(), 1).unwrap();
    assert_eq!(report.incomplete, 1);
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
}
