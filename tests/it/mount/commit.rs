//! A commit in a mount creates the same tree, with the same id, as a commit of an ordinary
//! directory with the same content.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::Path;

use rustix::fs::{CWD, FallocateFlags, FileType, Mode, XattrFlags, fallocate, mknodat, setxattr};

use crate::mount::harness::{Mount, Volume, assert_like_by, loosely};
use crate::support::facts::Compare;
use crate::support::needs::run;
use crate::support::zoo::{noise, prose, set_mtime};

fn fill(w: &Path) {
    for dir in ["a/deep/er", "b", "logs", "empty"] {
        fs::create_dir_all(w.join(dir)).unwrap();
    }
    fs::write(w.join("big"), noise(1, 5_000_000)).unwrap();
    let mut pages = b"SQLite format 3\0".to_vec();
    pages.extend(noise(2, 3_000_000));
    fs::write(w.join("pages"), pages).unwrap();
    fs::write(w.join("text"), prose(3, 300_000)).unwrap();
    for n in 0..40 {
        fs::write(
            w.join(format!("a/small {n}")),
            prose(n, 10 + 40 * usize::try_from(n).unwrap()),
        )
        .unwrap();
        fs::write(w.join(format!("logs/{n}.log")), prose(n, 1000)).unwrap();
    }
    fs::write(w.join("a/deep/er/one"), noise(4, 100_000)).unwrap();
    fs::hard_link(w.join("a/deep/er/one"), w.join("b/two")).unwrap();
    fs::hard_link(w.join("a/deep/er/one"), w.join("a/three")).unwrap();
    fs::write(w.join("b/pair"), b"pair").unwrap();
    fs::hard_link(w.join("b/pair"), w.join("a/deep/pair too")).unwrap();
    fs::write(w.join("b/plain"), b"not a link yet").unwrap();
    symlink("text", w.join("link")).unwrap();
    for (n, name) in ["kind 1", "kind 2", "kind 3"].iter().enumerate() {
        fs::write(w.join(name), noise(n as u64, 5000)).unwrap();
    }
    fs::create_dir(w.join("was a directory")).unwrap();
    fs::write(w.join("was a directory/in it"), b"x").unwrap();
}

fn edit(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}

/// Applies the changes before the first, second or third commit.
fn change(m: &Path, round: usize) {
    match round {
        0 => {
            fs::rename(m.join("a/deep"), m.join("b/moved")).unwrap();
            fs::rename(m.join("a"), m.join("c")).unwrap();
            for n in 0..60 {
                edit(&m.join("big"))
                    .write_all_at(
                        &noise(n, 10 + 100 * usize::try_from(n).unwrap()),
                        n * 83_000 + 5,
                    )
                    .unwrap();
                edit(&m.join("pages"))
                    .write_all_at(&noise(n, 4096), n * 40_960 + 4096)
                    .unwrap();
            }
            edit(&m.join("text")).set_len(123_457).unwrap();
            fs::set_permissions(m.join("c/small 3"), PermissionsExt::from_mode(0o600)).unwrap();
            chown(m.join("c/small 4"), Some(5), Some(6)).unwrap();
            set_mtime(&m.join("c/small 5"), -7, 8);
            setxattr(m.join("c/small 6"), "user.x", b"y", XattrFlags::empty()).unwrap();
            fs::remove_file(m.join("kind 1")).unwrap();
            fs::create_dir(m.join("kind 1")).unwrap();
            fs::write(m.join("kind 1/in it"), b"x").unwrap();
            fs::remove_file(m.join("kind 2")).unwrap();
            symlink("nowhere", m.join("kind 2")).unwrap();
            fs::remove_file(m.join("kind 3")).unwrap();
            mknodat(CWD, m.join("kind 3"), FileType::Fifo, Mode::RUSR, 0).unwrap();
            fs::remove_dir_all(m.join("was a directory")).unwrap();
            fs::write(m.join("was a directory"), b"a file").unwrap();
            fs::write(m.join(".dvcsignore"), b"*.log\n!7.log\n").unwrap();
            mknodat(CWD, m.join("socket"), FileType::Socket, Mode::RUSR, 0).unwrap();
            mknodat(CWD, m.join("c/socket"), FileType::Socket, Mode::RUSR, 0).unwrap();
            fs::hard_link(m.join("b/plain"), m.join("c/plain too")).unwrap();
        }
        1 => {
            fs::rename(m.join("b/moved/er"), m.join("er")).unwrap();
            fs::remove_file(m.join("b/two")).unwrap();
            edit(&m.join("er/one"))
                .write_all_at(b"changed", 50_000)
                .unwrap();
            fs::remove_file(m.join("b/pair")).unwrap();
            edit(&m.join("big")).set_len(7_000_001).unwrap();
            edit(&m.join("big"))
                .write_all_at(b"at the end", 6_999_000)
                .unwrap();
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(edit(&m.join("big")), punch, 1_000_000, 1_500_000).unwrap();
            edit(&m.join("text")).set_len(0).unwrap();
            edit(&m.join("text"))
                .write_all_at(&prose(9, 200_000), 0)
                .unwrap();
            fs::write(m.join("c/.dvcsignore"), b"small 1*\n").unwrap();
            fs::remove_file(m.join(".dvcsignore")).unwrap();
            // Swap the chunkers: `big` was chunked by content and is now chunked by pages; `pages`
            // the reverse.
            edit(&m.join("big"))
                .write_all_at(b"SQLite format 3\0", 0)
                .unwrap();
            edit(&m.join("pages")).write_all_at(b"no more", 0).unwrap();
            fs::rename(m.join("kind 1"), m.join("kind 4")).unwrap();
            fs::write(m.join("c/small 7"), noise(9, 900_000)).unwrap();
        }
        _ => {
            fs::rename(m.join("c/three"), m.join("er/one")).unwrap();
            fs::remove_file(m.join("c/plain too")).unwrap();
            edit(&m.join("b/plain")).write_all_at(b"THIS", 3).unwrap();
            fs::remove_file(m.join("c/.dvcsignore")).unwrap();
            fs::rename(m.join("er"), m.join("empty/er")).unwrap();
            fs::remove_dir_all(m.join("logs")).unwrap();
            edit(&m.join("c/small 8"))
                .write_all_at(&noise(4, 300), 0)
                .unwrap();
            edit(&m.join("c/small 9")).set_len(3).unwrap();
            run(
                "cp",
                &[
                    "-a",
                    "--sparse=never",
                    m.join("c").to_str().unwrap(),
                    m.join("copy of c").to_str().unwrap(),
                ],
            );
        }
    }
}

/// Copies the files of a mount to an ordinary directory and commits it to a branch of its own.
/// Returns the id of the tree.
fn plain(v: &Volume, m: &Mount<'_>, name: &str) -> String {
    let copy = v.s.at(name);
    run(
        "cp",
        &["-a", m.root().to_str().unwrap(), copy.to_str().unwrap()],
    );
    assert_like_by(m.root(), &copy, &loosely(), "the copy");
    let run = v.dvc(&[
        "-C",
        &format!("../{name}"),
        "--json",
        "commit",
        "-b",
        name,
        "-m",
        name,
    ]);
    assert!(run.code == 0 || run.code == 3, "{}", run.err);
    crate::mount::harness::tree_of(&run)
}

#[track_caller]
fn same_tree(v: &Volume, ours: &str, plain: &str, branch: &str, what: &str) {
    if ours != plain {
        let diff = v.dvc(&["diff", branch, "main"]);
        let (a, b) = (
            v.dvc(&["--json", "ls", "-r", branch]),
            v.dvc(&["--json", "ls", "-r", "main"]),
        );
        let (a, b) = (a.lines(), b.lines());
        let only: Vec<String> = a
            .iter()
            .filter(|l| !b.contains(l))
            .map(|l| format!("plain {l}"))
            .collect();
        let ours: Vec<String> = b
            .iter()
            .filter(|l| !a.contains(l))
            .map(|l| format!("mount {l}"))
            .collect();
        panic!(
            "{what}: another tree\n{}\n{}\n{}",
            diff.out,
            only.join("\n"),
            ours.join("\n")
        );
    }
}

fn three_rounds(again: bool) {
    let Some(v) = Volume::of(fill) else { return };
    let mut m = v.mount(&[]);
    for round in 0..3 {
        change(m.root(), round);
        if again {
            m.again();
        }
        let branch = format!("plain {round}").replace(' ', "-");
        let expected = plain(&v, &m, &branch);
        let looked = m.dvc(&["--json", "status"]);
        assert!(looked.code == 0 || looked.code == 3, "{}", looked.err);
        let tree = m.commit(&format!("round {round}"));
        same_tree(&v, &tree, &expected, &branch, &format!("round {round}"));
        let out = v.checkout("main", &format!("out-{round}"));
        let out_tree = v.commit_dir(
            &format!("out-{round}"),
            &format!("out-{round}"),
            "checked out",
        );
        assert_eq!(out_tree, tree, "round {round}, checked out");
        drop(out);
        let status = m.status();
        assert!(status.lines().all(|l| l.contains("socket")), "{status}");
        if again {
            m.again();
            assert!(
                m.status().lines().all(|l| l.contains("socket")),
                "{}",
                m.status()
            );
            assert_eq!(m.commit("nothing"), tree, "round {round}, after a remount");
        }
    }
}

#[test]
fn three_commits_in_one_mount_are_those_of_plain_directories() {
    three_rounds(false);
}

#[test]
fn commits_after_remounts_are_those_of_plain_directories() {
    three_rounds(true);
}

/// Data that is written during a commit is not part of the version, but is not lost.
#[test]
fn a_commit_while_files_change_has_each_at_one_moment() {
    let Some(v) = Volume::of(|w| {
        for name in ["one", "two"] {
            fs::write(w.join(name), vec![0; 3 << 20]).unwrap();
        }
    }) else {
        return;
    };
    let m = v.mount(&[]);
    let (one, two) = (edit(&m.at("one")), edit(&m.at("two")));
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Each round writes and syncs the first file before the second, so no version may have
            // newer data in the second file.
            let mut n: u64 = 1;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for file in [&one, &two] {
                    file.write_all_at(&n.to_le_bytes(), n * 4096 % (3 << 20))
                        .unwrap();
                    file.write_all_at(&n.to_le_bytes(), 8).unwrap();
                    file.sync_data().unwrap();
                }
                n += 1;
            }
        });
        for round in 0..6 {
            m.commit("live");
            let out = v.checkout("main", &format!("live-{round}"));
            let count = |name: &str| {
                let bytes = fs::read(out.join(name)).unwrap();
                u64::from_le_bytes(bytes[8..16].try_into().unwrap())
            };
            let (one, two) = (count("one"), count("two"));
            assert!(one == two || one == two + 1, "{one} and {two}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    drop((one, two));
    m.commit("at the end");
    let how = Compare {
        root_time: false,
        ..loosely()
    };
    assert_like_by(m.root(), &v.checkout("main", "out"), &how, "at the end");
}
