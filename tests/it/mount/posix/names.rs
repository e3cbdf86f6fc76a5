//! Directories and names: large directories, unusual names, changes during a listing, and refused
//! names.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat, openat};

use crate::mount::harness::{Volume, assert_like, assert_like_by, errno, loosely};
use crate::mount::posix::bytes::libc;
use crate::support::facts::{Compare, assert_same};
use crate::support::zoo;

fn names(dir: &Path) -> BTreeSet<Vec<u8>> {
    let all: Vec<Vec<u8>> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().as_bytes().to_vec())
        .collect();
    let set: BTreeSet<Vec<u8>> = all.iter().cloned().collect();
    assert_eq!(set.len(), all.len(), "a name is told twice");
    set
}

#[test]
fn everything_a_volume_can_hold_is_shown() {
    let Some(v) = Volume::empty() else { return };
    let missing = zoo::build(&v.s.at("w"));
    assert!(missing.is_empty(), "{missing:?}");
    fs::remove_file(v.s.w("special/socket")).unwrap();
    // A writable mount does not report holes, so this file of 1 TiB would be read completely.
    fs::remove_file(v.s.w("sparse/huge")).unwrap();
    zoo::set_mtime(&v.s.w("special"), 1, 1);
    zoo::set_mtime(&v.s.w("sparse"), 1, 1);
    let tree = v.commit("zoo");
    let mut m = v.mount(&[]);
    assert_like(&v.s.at("w"), m.root());
    assert_eq!(m.status(), "");
    let ro = v.mount_at("ro", "main", &["--ro"]);
    assert_same(&v.s.at("w"), ro.root());
    // Create everything again in the mount, and check out the commit of it.
    let missing = zoo::build(&make(&m.at("again")));
    assert!(missing.is_empty(), "{missing:?}");
    fs::remove_file(m.at("again/special/socket")).unwrap();
    fs::remove_file(m.at("again/sparse/huge")).unwrap();
    // The recreated files have different timestamps.
    let how = Compare {
        times: false,
        ..loosely()
    };
    for _ in 0..2 {
        assert_like_by(&v.s.at("w"), &m.at("again"), &how, "made again");
        m.again();
    }
    assert_ne!(m.commit("twice"), tree);
    assert_like(&v.checkout("main", "out"), m.root());
}

fn make(dir: &Path) -> PathBuf {
    fs::create_dir(dir).unwrap();
    dir.to_owned()
}

#[test]
fn directories_of_a_hundred_thousand() {
    const MANY: usize = 100_000;
    let Some(v) = Volume::of(|w| {
        fs::create_dir(w.join("many")).unwrap();
        for n in 0..MANY {
            File::create(w.join(format!("many/of the version {n:06}"))).unwrap();
        }
    }) else {
        return;
    };
    let mut m = v.mount(&[]);
    let all = names(&m.at("many"));
    assert_eq!(all.len(), MANY);
    assert!(
        m.at("many/of the version 054321").exists() && !m.at("many/of the version 100000").exists()
    );
    fs::create_dir(m.at("new")).unwrap();
    for n in 0..MANY {
        mknodat(
            CWD,
            m.at(format!("new/{n:06}")),
            FileType::RegularFile,
            Mode::RUSR,
            0,
        )
        .unwrap();
    }
    assert_eq!(names(&m.at("new")).len(), MANY);
    // Removing files during a listing still lists all of them.
    for entry in fs::read_dir(m.at("many")).unwrap() {
        let path = entry.unwrap().path();
        if !path.as_os_str().as_bytes().ends_with(b"7") {
            fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(names(&m.at("many")).len(), MANY / 10);
    m.again();
    assert_eq!(
        (names(&m.at("new")).len(), names(&m.at("many")).len()),
        (MANY, MANY / 10)
    );
    let run = m.dvc(&["--json", "commit", "-m", "many"]).ok();
    let ls = v.dvc(&["ls", "-r", "main"]).ok();
    assert_eq!(
        ls.lines().iter().filter(|l| l.contains("new/0")).count(),
        MANY,
        "{}",
        run.out
    );
    assert_eq!(
        ls.lines()
            .iter()
            .filter(|l| l.contains("of the version"))
            .count(),
        MANY / 10
    );
}

#[test]
fn a_directory_may_change_while_it_is_read() {
    let Some(v) = Volume::of(|w| {
        for n in 0..3000 {
            File::create(w.join(format!("old {n:04}"))).unwrap();
        }
    }) else {
        return;
    };
    let m = v.mount(&[]);
    for round in 0..3 {
        let kept: BTreeSet<Vec<u8>> = names(m.root());
        let mut seen = BTreeSet::new();
        let (mut n, mut added, mut removed) = (0, BTreeSet::new(), BTreeSet::new());
        for entry in fs::read_dir(m.root()).unwrap() {
            let name = entry.unwrap().file_name().as_bytes().to_vec();
            assert!(seen.insert(name.clone()), "{name:?} is told twice");
            n += 1;
            if n % 10 == 0 {
                let new = format!("new {round} {n:05}");
                File::create(m.at(&new)).unwrap();
                added.insert(new.into_bytes());
            }
            if n % 7 == 0 {
                let gone = kept.iter().rev().nth(n / 7).unwrap().clone();
                if fs::remove_file(m.at(OsStr::from_bytes(&gone))).is_ok() {
                    removed.insert(gone);
                }
            }
        }
        // A name that exists during the whole listing is listed once. Other names may or may not be
        // listed.
        for name in kept.difference(&removed) {
            assert!(seen.contains(name), "{name:?} was left out");
        }
        assert!(seen.iter().all(|n| kept.contains(n) || added.contains(n)));
        let now: BTreeSet<_> = kept
            .union(&added)
            .filter(|n| !removed.contains(*n))
            .cloned()
            .collect();
        assert_eq!(names(m.root()), now);
        for gone in &removed {
            assert!(
                fs::symlink_metadata(m.at(OsStr::from_bytes(gone))).is_err(),
                "{gone:?} is there again"
            );
        }
    }
}

/// Rewinding an open directory handle lists new names.
#[test]
fn a_rewound_listing_is_current() {
    let Some(v) = Volume::of(|w| fs::write(w.join("a"), b"a").unwrap()) else {
        return;
    };
    let m = v.mount(&[]);
    let mut dir = rustix::fs::Dir::read_from(File::open(m.root()).unwrap()).unwrap();
    let mut list = || -> BTreeSet<Vec<u8>> {
        dir.rewind();
        dir.by_ref()
            .map(|e| e.unwrap().file_name().to_bytes().to_vec())
            .collect()
    };
    assert_eq!(list().len(), 3);
    fs::write(m.at("b"), b"b").unwrap();
    assert!(list().contains(b"b".as_slice()));
    fs::remove_file(m.at("a")).unwrap();
    assert!(!list().contains(b"a".as_slice()));
}

#[test]
fn names_are_bytes_up_to_255_of_them() {
    let Some(v) = Volume::of(|w| fs::create_dir(w.join("d")).unwrap()) else {
        return;
    };
    let mut m = v.mount(&[]);
    let odd: [&[u8]; 7] = [
        b"\xff\xfe",
        b"\x80",
        b"a\nb",
        b"\x01",
        b" ",
        &[b'x'; 255],
        &[0xe9; 255],
    ];
    let all: BTreeSet<Vec<u8>> = odd.iter().map(|n| n.to_vec()).collect();
    for name in odd {
        let name = OsStr::from_bytes(name);
        fs::write(m.at(name), name.as_bytes()).unwrap();
        fs::create_dir(m.at("d").join(name)).unwrap();
        fs::rename(m.at("d").join(name), m.at("x")).unwrap();
        fs::rename(m.at("x"), m.at("d").join(name)).unwrap();
    }
    let long = OsStr::from_bytes(&[b'y'; 256]);
    assert_eq!(errno(File::create(m.at(long))), libc("ENAMETOOLONG"));
    assert_eq!(errno(fs::create_dir(m.at(long))), libc("ENAMETOOLONG"));
    assert_eq!(
        errno(fs::rename(m.at("d"), m.at(long))),
        libc("ENAMETOOLONG")
    );
    assert_eq!(
        errno(fs::symlink_metadata(m.at(long))),
        libc("ENAMETOOLONG")
    );
    assert_eq!(
        errno(fs::hard_link(m.at(OsStr::from_bytes(odd[0])), m.at(long))),
        libc("ENAMETOOLONG")
    );
    m.again();
    assert_eq!(names(&m.at("d")), all);
    m.commit("odd");
    let out = v.checkout("main", "out");
    assert_like(&out, m.root());
    assert_eq!(names(&out.join("d")), all);
}

#[test]
fn special_files_are_made_and_kept() {
    let Some(v) = Volume::of(|w| fs::write(w.join("a"), b"a").unwrap()) else {
        return;
    };
    let mut m = v.mount(&[]);
    let make = |name: &str, kind, dev| {
        mknodat(CWD, m.at(name), kind, Mode::from_raw_mode(0o640), dev).unwrap()
    };
    make("fifo", FileType::Fifo, 0);
    make("socket", FileType::Socket, 0);
    make("null", FileType::CharacterDevice, makedev(1, 3));
    make("big", FileType::CharacterDevice, makedev(511, 1_048_575));
    make("block", FileType::BlockDevice, makedev(7, 200));
    let listener = std::os::unix::net::UnixListener::bind(m.at("bound")).unwrap();
    std::os::unix::net::UnixStream::connect(m.at("bound")).unwrap();
    drop(listener);
    // Open both ends of a named pipe.
    let (to, from) = (m.at("fifo"), m.at("fifo"));
    let writer = std::thread::spawn(move || fs::write(to, b"through").unwrap());
    assert_eq!(fs::read(from).unwrap(), b"through");
    writer.join().unwrap();
    let run = m.dvc(&["commit", "-m", "special"]);
    assert!(run.err.contains("socket"), "{}", run.err);
    let out = v.checkout("main", "out");
    let how = Compare {
        sockets: false,
        ..loosely()
    };
    assert_like_by(m.root(), &out, &how, "but for sockets");
    m.again();
    assert_like_by(m.root(), &out, &how, "but for sockets");
    assert!(m.at("bound").exists() && m.at("socket").exists());
}

#[test]
fn missing_names_fail_cleanly() {
    let Some(v) = Volume::of(|w| fs::write(w.join("a"), b"a").unwrap()) else {
        return;
    };
    let m = v.mount(&[]);
    let unnamed = openat(CWD, m.root(), OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR);
    assert_eq!(unnamed.unwrap_err(), rustix::io::Errno::OPNOTSUPP);
    let whiteout = rustix::fs::renameat_with(
        CWD,
        m.at("a"),
        CWD,
        m.at("b"),
        rustix::fs::RenameFlags::WHITEOUT,
    );
    assert_eq!(whiteout.unwrap_err(), rustix::io::Errno::INVAL);
    let fresh = |name: &str| {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(m.at(name))
    };
    assert_eq!(errno(fresh("a")), libc("EEXIST"));
    fresh("b").unwrap();
    assert_eq!(errno(fresh("b")), libc("EEXIST"));
    fs::remove_file(m.at("b")).unwrap();
    fresh("b").unwrap();
    assert_eq!(errno(fs::read(m.at("a/b"))), libc("ENOTDIR"));
    assert_eq!(errno(fs::remove_dir(m.at("a"))), libc("ENOTDIR"));
    assert_eq!(errno(fs::remove_file(m.at("c"))), libc("ENOENT"));
    fs::create_dir(m.at("d")).unwrap();
    fs::write(m.at("d/x"), b"x").unwrap();
    assert_eq!(errno(fs::remove_dir(m.at("d"))), libc("ENOTEMPTY"));
    assert_eq!(errno(fs::remove_file(m.at("d"))), libc("EISDIR"));
    assert_eq!(errno(fs::hard_link(m.at("d"), m.at("e"))), libc("EPERM"));
}

/// If many threads create the same name with `O_EXCL`, exactly one succeeds.
#[test]
fn exclusive_creation_has_one_winner() {
    let Some(v) = Volume::of(|w| fs::write(w.join("a"), b"a").unwrap()) else {
        return;
    };
    let m = v.mount(&[]);
    for round in 0..50 {
        let path = m.at(format!("lock {round}"));
        let got: usize = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        usize::from(
                            OpenOptions::new()
                                .write(true)
                                .create_new(true)
                                .open(&path)
                                .is_ok(),
                        )
                    })
                })
                .collect();
            all.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(got, 1);
    }
}
