//! Existing and new hard links, inode numbers, and open files without a name.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::mount::harness::{Volume, assert_like, drop_cache, errno};
use crate::mount::posix::bytes::libc;
use crate::support::zoo::noise;

fn fill(w: &Path) {
    fs::create_dir_all(w.join("d/deep")).unwrap();
    fs::write(w.join("a"), noise(1, 300_000)).unwrap();
    fs::hard_link(w.join("a"), w.join("b")).unwrap();
    fs::hard_link(w.join("a"), w.join("d/deep/c")).unwrap();
    fs::write(w.join("pair 1"), b"pair").unwrap();
    fs::hard_link(w.join("pair 1"), w.join("d/pair 2")).unwrap();
    fs::write(w.join("alone"), noise(2, 100_000)).unwrap();
    std::os::unix::fs::symlink("a", w.join("sym")).unwrap();
    fs::hard_link(w.join("sym"), w.join("sym too")).unwrap();
}

fn append(path: &Path, bytes: &[u8]) {
    std::io::Write::write_all(
        &mut OpenOptions::new().append(true).open(path).unwrap(),
        bytes,
    )
    .unwrap();
}

fn ino(path: &Path) -> (u64, u64) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.ino(), meta.nlink())
}

#[test]
fn hard_links_are_one_file() {
    let Some(v) = Volume::of(fill) else { return };
    let mut m = v.mount(&[]);
    assert_eq!(ino(&m.at("a")), ino(&m.at("b")));
    assert_eq!(ino(&m.at("a")), ino(&m.at("d/deep/c")));
    assert_eq!(ino(&m.at("a")).1, 3);
    assert_eq!(ino(&m.at("sym")), ino(&m.at("sym too")));
    append(&m.at("d/deep/c"), b"through c");
    assert!(fs::read(m.at("a")).unwrap().ends_with(b"through c"));
    fs::remove_file(m.at("a")).unwrap();
    fs::hard_link(m.at("b"), m.at("d/e")).unwrap();
    fs::rename(m.at("d/deep"), m.at("deep")).unwrap();
    fs::hard_link(m.at("alone"), m.at("not alone")).unwrap();
    for round in 0..2 {
        let first = ino(&m.at("b"));
        assert_eq!(first.1, 3);
        assert_eq!((ino(&m.at("deep/c")), ino(&m.at("d/e"))), (first, first));
        assert_eq!(ino(&m.at("alone")), ino(&m.at("not alone")));
        assert_eq!(ino(&m.at("pair 1")).1, 2);
        if round == 0 {
            m.again();
            assert_eq!(ino(&m.at("b")), first);
        }
    }
    m.commit("links");
    let out = v.checkout("main", "out");
    assert_like(&out, m.root());
    assert_eq!(ino(&out.join("b")).1, 3);
    assert_eq!(
        v.commit_dir("out", "again", "copy"),
        m.dvc(&["--json", "show"]).ok().json()["tree"]
            .as_str()
            .unwrap()
    );
}

/// A file is written through its remaining hard link after its first name has been removed.
#[test]
fn a_file_is_committed_by_the_name_that_is_left() {
    let Some(v) = Volume::of(fill) else { return };
    let mut m = v.mount(&[]);
    fs::create_dir(m.at("n")).unwrap();
    fs::write(m.at("n/first"), noise(3, 50_000)).unwrap();
    fs::hard_link(m.at("n/first"), m.at("d/second")).unwrap();
    fs::remove_file(m.at("n/first")).unwrap();
    // Do the same with files of the version: write through one hard link, then remove that link.
    append(&m.at("pair 1"), b"!");
    fs::remove_file(m.at("pair 1")).unwrap();
    append(&m.at("a"), b"!");
    fs::remove_file(m.at("a")).unwrap();
    fs::remove_file(m.at("b")).unwrap();
    for round in 0..3 {
        m.commit("one more");
        let out = v.checkout("main", &format!("out {round}"));
        assert_like(&out, m.root());
        // Keep the files open, so that the commit must flush them under the remaining name.
        let open: Vec<File> = ["d/second", "d/pair 2", "d/deep/c"]
            .iter()
            .map(|name| {
                OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(m.at(name))
                    .unwrap()
            })
            .collect();
        for file in &open {
            file.write_all_at(format!("round {round}").as_bytes(), 10 * round)
                .unwrap();
        }
        m.commit("while it is open");
        let out = v.checkout("main", &format!("out {round} open"));
        for name in ["d/second", "d/pair 2", "d/deep/c"] {
            assert!(
                fs::read(out.join(name)).unwrap() == fs::read(m.at(name)).unwrap(),
                "{name} in round {round}"
            );
        }
        drop(open);
        m.again();
    }
}

#[test]
fn inode_numbers_stay() {
    let Some(v) = Volume::of(fill) else { return };
    let mut m = v.mount(&[]);
    let first = ino(&m.at("alone")).0;
    let dir = ino(&m.at("d")).0;
    fs::write(m.at("new"), b"new").unwrap();
    let new = ino(&m.at("new")).0;
    append(&m.at("alone"), b"x");
    assert_eq!(ino(&m.at("alone")).0, first);
    fs::rename(m.at("alone"), m.at("d/moved")).unwrap();
    assert_eq!(ino(&m.at("d/moved")).0, first);
    fs::rename(m.at("d"), m.at("e")).unwrap();
    for _ in 0..2 {
        assert_eq!(
            (
                ino(&m.at("e")).0,
                ino(&m.at("e/moved")).0,
                ino(&m.at("new")).0
            ),
            (dir, first, new)
        );
        m.again();
    }
    m.commit("moved");
    m.again();
    assert_eq!(
        (
            ino(&m.at("e")).0,
            ino(&m.at("e/moved")).0,
            ino(&m.at("new")).0
        ),
        (dir, first, new)
    );
    // A new file with the name of a removed one gets a new inode.
    fs::remove_file(m.at("a")).unwrap();
    let b = ino(&m.at("b")).0;
    fs::write(m.at("a"), b"another").unwrap();
    assert_ne!(ino(&m.at("a")).0, b);
    // Directory listings report the same inode numbers.
    for entry in fs::read_dir(m.at("e")).unwrap() {
        let entry = entry.unwrap();
        use std::os::unix::fs::DirEntryExt;
        assert_eq!(entry.ino(), ino(&entry.path()).0);
    }
}

#[test]
fn an_open_file_lives_without_a_name() {
    let Some(v) = Volume::of(fill) else { return };
    let mut m = v.mount(&[]);
    fs::write(m.at("new"), noise(4, 20_000)).unwrap();
    for name in ["alone", "new"] {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(m.at(name))
            .unwrap();
        let mut model = fs::read(m.at(name)).unwrap();
        fs::remove_file(m.at(name)).unwrap();
        file.write_all_at(b"still here", 5000).unwrap();
        model[5000..5010].copy_from_slice(b"still here");
        drop_cache(&file);
        let mut now = vec![0; model.len()];
        file.read_exact_at(&mut now, 0).unwrap();
        assert!(now == model);
        assert_eq!(file.metadata().unwrap().nlink(), 0);
        file.set_len(100).unwrap();
        // A new file with the same name does not affect the open, removed one.
        fs::write(m.at(name), b"another").unwrap();
        assert_eq!(file.metadata().unwrap().len(), 100);
        // The version contains only the new file.
        m.commit("without");
        assert_eq!(
            fs::read(v.checkout("main", &format!("out {name}")).join(name)).unwrap(),
            b"another"
        );
        file.write_all_at(b"and on", 200).unwrap();
        drop_cache(&file);
        assert_eq!(file.metadata().unwrap().len(), 206);
    }
    // A removed directory that is still open is empty, and no file can be created in it.
    fs::create_dir(m.at("gone")).unwrap();
    let dir = File::open(m.at("gone")).unwrap();
    fs::remove_dir(m.at("gone")).unwrap();
    let made = rustix::fs::openat(
        &dir,
        "x",
        rustix::fs::OFlags::CREATE,
        rustix::fs::Mode::RUSR,
    );
    assert_eq!(made.unwrap_err(), rustix::io::Errno::NOENT);
    drop(dir);
    m.again();
    let data = fs::read_dir(v.s.at("r/overlays")).unwrap().count();
    assert_eq!(data, 1);
}

#[test]
fn a_file_replaced_by_rename_stays_open() {
    let Some(v) = Volume::of(fill) else { return };
    let m = v.mount(&[]);
    for (from, over) in [("alone", "pair 1"), ("pair 1", "b"), ("sym", "d/pair 2")] {
        let open = File::open(m.at(over)).unwrap();
        let before = fs::read(m.at(over)).unwrap();
        let links = ino(&m.at(over)).1;
        let moved = ino(&m.at(from));
        fs::rename(m.at(from), m.at(over)).unwrap();
        assert_eq!(ino(&m.at(over)), moved);
        drop_cache(&open);
        let mut now = vec![0; before.len()];
        open.read_exact_at(&mut now, 0).unwrap();
        assert!(now == before, "{over}");
        assert_eq!(open.metadata().unwrap().nlink(), links - 1);
    }
    // Renaming a hard link to another link of the same file has no effect.
    fs::hard_link(m.at("b"), m.at("b too")).unwrap();
    fs::rename(m.at("b"), m.at("b too")).unwrap();
    assert!(m.at("b").exists() && m.at("b too").exists());
}

#[test]
fn names_are_exchanged_or_not_replaced() {
    let Some(v) = Volume::of(fill) else { return };
    let mut m = v.mount(&[]);
    fs::write(m.at("new"), b"new").unwrap();
    let swap = |a: &str, b: &str| renameat_with(CWD, m.at(a), CWD, m.at(b), RenameFlags::EXCHANGE);
    let pairs = [
        ("alone", "d"),
        ("new", "pair 1"),
        ("d/deep", "sym"),
        ("a", "d/deep"),
    ];
    for (a, b) in pairs.iter().take(2) {
        let (x, y) = (ino(&m.at(a)), ino(&m.at(b)));
        swap(a, b).unwrap();
        assert_eq!((ino(&m.at(a)), ino(&m.at(b))), (y, x), "{a} and {b}");
    }
    assert!(m.at("alone/deep/c").exists());
    assert_eq!(
        swap("new", "nothing").unwrap_err(),
        rustix::io::Errno::NOENT
    );
    assert!(
        swap("alone", "alone/deep").is_err(),
        "a directory cannot change places with one in it"
    );
    let fresh =
        |a: &str, b: &str| renameat_with(CWD, m.at(a), CWD, m.at(b), RenameFlags::NOREPLACE);
    assert_eq!(fresh("new", "a").unwrap_err(), rustix::io::Errno::EXIST);
    assert_eq!(fresh("new", "alone").unwrap_err(), rustix::io::Errno::EXIST);
    fresh("new", "newer").unwrap();
    fresh("sym", "alone/sym").unwrap();
    m.commit("exchanged");
    let out = v.checkout("main", "out");
    assert_like(&out, m.root());
    m.again();
    assert_like(&out, m.root());
    assert_eq!(
        errno(fs::rename(m.at("alone"), m.at("alone/deep/in itself"))),
        libc("EINVAL")
    );
    assert_eq!(errno(fs::rename(m.at("alone"), m.at("a"))), libc("ENOTDIR"));
    assert_eq!(errno(fs::rename(m.at("a"), m.at("alone"))), libc("EISDIR"));
    fs::create_dir(m.at("empty")).unwrap();
    assert_eq!(
        errno(fs::rename(m.at("empty"), m.at("alone"))),
        libc("ENOTEMPTY")
    );
    fs::rename(m.at("alone"), m.at("empty")).unwrap();
    assert!(m.at("empty/deep/c").exists());
}

/// After the first name of a file was removed, the file is found by its remaining names, even if
/// these are renamed.
#[test]
fn a_file_is_found_by_the_names_that_are_left() {
    let Some(v) = Volume::of(fill) else { return };
    let mut m = v.mount(&[]);
    for dir in ["x", "y", "z"] {
        fs::create_dir(m.at(dir)).unwrap();
    }
    fs::write(m.at("x/first"), "1").unwrap();
    fs::hard_link(m.at("x/first"), m.at("y/second")).unwrap();
    fs::hard_link(m.at("x/first"), m.at("z/third")).unwrap();
    fs::remove_file(m.at("x/first")).unwrap();
    fs::rename(m.at("y/second"), m.at("x/again")).unwrap();
    fs::remove_file(m.at("z/third")).unwrap();
    fs::rename(m.at("x"), m.at("moved")).unwrap();
    append(&m.at("moved/again"), b"2");
    m.commit("one name");
    assert_eq!(v.dvc(&["show", "main:moved/again"]).ok().out, "12");
    // The same after a remount, which loads the names from the overlay.
    fs::hard_link(m.at("moved/again"), m.at("y/other")).unwrap();
    m.again();
    fs::remove_file(m.at("moved/again")).unwrap();
    append(&m.at("y/other"), b"3");
    m.commit("another name");
    assert_eq!(v.dvc(&["show", "main:y/other"]).ok().out, "123");
    assert_eq!(fs::metadata(m.at("y/other")).unwrap().nlink(), 1);
}
