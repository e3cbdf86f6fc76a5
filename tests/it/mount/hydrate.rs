//! Hydration: a file that is reported as hydrated is complete, the kernel then uses passthrough,
//! and data that the kernel has written is committed like that of ordinary directories.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::panic::{catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, FallocateFlags, SeekFrom, StatxFlags, fallocate, seek, statx};

use crate::mount::harness::{Mount, PASSTHROUGH, Volume, assert_like, is_passthrough};
use crate::mount::mapping::Mapping;
use crate::support::zoo::noise;

const LEN: usize = 3 << 20;

fn volume() -> Option<Volume> {
    Volume::of(|w| {
        fs::create_dir_all(w.join("deep/er")).unwrap();
        fs::write(w.join("big.ibd"), noise(1, LEN)).unwrap();
        fs::write(w.join("deep/er/other.ibd"), noise(2, LEN + 17)).unwrap();
        fs::write(w.join("deep/small"), b"small").unwrap();
    })
}

fn facts(m: &Mount<'_>, v: &Volume) -> serde_json::Value {
    v.s.dvc(["mount", "--json", "--stats", m.root().to_str().unwrap()])
        .ok()
        .json()
}

/// Hides the data of the version from the mount while `work` runs, by renaming the directory of
/// packs.
fn without_packs(v: &Volume, work: impl FnOnce()) {
    fs::rename(v.s.at("r/packs"), v.s.at("away")).unwrap();
    work();
    fs::rename(v.s.at("away"), v.s.at("r/packs")).unwrap();
}

/// Sets the same timestamps on files, so that commits of different directories can be equal.
fn same_times(root: &Path, names: &[&str]) {
    for name in names {
        let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        File::options()
            .write(true)
            .open(root.join(name))
            .unwrap()
            .set_modified(at)
            .unwrap();
    }
}

#[test]
fn hydrated_files_are_complete() {
    let Some(v) = volume() else { return };
    for live in [&[][..], &["--live"]] {
        let mut m = v.mount(
            &[
                &["--name", "kept", "--hydrate", "all", "--wait-hydrated"],
                live,
            ]
            .concat(),
        );
        let told = facts(&m, &v);
        assert!(
            told["stats"]["hydrated_bytes"].as_u64().unwrap() >= 2 * LEN as u64,
            "{told}"
        );
        without_packs(&v, || {
            assert!(fs::read(m.at("big.ibd")).unwrap() == noise(1, LEN));
            assert!(fs::read(m.at("deep/er/other.ibd")).unwrap() == noise(2, LEN + 17));
        });
        assert_eq!(m.status(), "");
        // The next mount uses the hydrated upper file and fetches nothing again.
        m.again();
        assert!(facts(&m, &v)["stats"]["hydrated_bytes"].as_u64().unwrap() < LEN as u64);
        without_packs(&v, || {
            assert!(fs::read(m.at("big.ibd")).unwrap() == noise(1, LEN))
        });
        assert!(m.down_with(&["--discard"]).code == 0);
    }
}

#[test]
fn only_matching_files_and_those_opened_for_writing_are_hydrated() {
    let Some(v) = volume() else { return };
    let mut m = v.mount(&["--ephemeral", "--hydrate", "**/er/*.ibd", "--wait-hydrated"]);
    let brought = facts(&m, &v)["stats"]["hydrated_bytes"].as_u64().unwrap();
    assert!((LEN as u64..2 * LEN as u64).contains(&brought), "{brought}");
    m.down();
    let mut m = v.mount(&["--ephemeral", "--hydrate", "open"]);
    assert_eq!(facts(&m, &v)["stats"]["hydrated_bytes"], 0);
    File::options()
        .write(true)
        .open(m.at("big.ibd"))
        .unwrap()
        .write_all_at(b"x", 1 << 20)
        .unwrap();
    let since = Instant::now();
    while facts(&m, &v)["stats"]["hydrated_bytes"].as_u64().unwrap() < (LEN - 4096) as u64 {
        assert!(since.elapsed().as_secs() < 60, "it is not brought");
        std::thread::sleep(Duration::from_millis(20));
    }
    m.down();
}

#[test]
fn direct_writes_of_the_kernel_are_in_the_version() {
    let Some(v) = volume() else { return };
    let mut m = v.mount(&["--hydrate", "all", "--wait-hydrated"]);
    let mode = facts(&m, &v)["mode"].as_str().unwrap().to_owned();
    for (round, at) in [0, 5000, LEN as u64 - 3, LEN as u64 + 100]
        .into_iter()
        .enumerate()
    {
        for root in [v.s.at("w"), m.root().to_owned()] {
            let file = File::options()
                .write(true)
                .open(root.join("big.ibd"))
                .unwrap();
            file.write_all_at(&noise(at, 9000), at).unwrap();
            if mode == "passthrough" && root == m.root() {
                m.dvc(&["commit", "-m", "too early"])
                    .code(4)
                    .complains("open");
            }
            drop(file);
            fs::write(root.join("deep/small"), format!("round {round}")).unwrap();
            same_times(&root, &["big.ibd", "deep/small"]);
        }
        m.dvc(&["status", "--porcelain"]).ok().says("M big.ibd");
        let made = m.commit("in the mount");
        assert_eq!(made, v.commit_dir("w", "plain", "a plain directory"));
        if round == 1 {
            m.again();
        }
    }
    assert_like(&v.s.at("w"), m.root());
    // An fsync suffices to keep a write across a crash.
    let file = File::options()
        .write(true)
        .open(m.at("deep/er/other.ibd"))
        .unwrap();
    file.write_all_at(b"kept", 70_000).unwrap();
    file.sync_data().unwrap();
    m.kill();
    drop(file);
    m.up();
    let mut got = [0; 4];
    File::open(m.at("deep/er/other.ibd"))
        .unwrap()
        .read_exact_at(&mut got, 70_000)
        .unwrap();
    assert_eq!(&got, b"kept");
    m.dvc(&["diff", "--stat"]).ok().says("deep/er/other.ibd");
}

/// In a complete file, the database marks a whole group of blocks as written, not only the written
/// block. After a crash, the other blocks of the group must have their old content.
#[test]
fn after_a_crash_a_complete_file_has_the_synced_data() {
    let Some(v) = volume() else { return };
    let mut m = v.mount(&["--live", "--hydrate", "all", "--wait-hydrated"]);
    let mut expected = noise(1, LEN);
    let file = File::options().write(true).open(m.at("big.ibd")).unwrap();
    for at in [4096 * 3, 4096 * 300 + 5, LEN - 4096] {
        file.write_all_at(b"written", at as u64).unwrap();
        expected[at..at + 7].copy_from_slice(b"written");
    }
    file.sync_data().unwrap();
    drop(file);
    m.kill();
    m.up();
    assert!(fs::read(m.at("big.ibd")).unwrap() == expected);
    fs::write(v.s.at("w/big.ibd"), &expected).unwrap();
    [&v.s.at("w"), m.root()]
        .into_iter()
        .for_each(|root| same_times(root, &["big.ibd"]));
    assert_eq!(
        m.commit("in the mount"),
        v.commit_dir("w", "plain", "a plain directory")
    );
}

/// A truncation during passthrough sets the time of the mount's clock, which is ahead of the clock
/// of the underlying file system. The time must not go back when the file is closed.
#[test]
fn the_time_of_a_truncation_does_not_go_back() {
    let Some(v) = volume() else { return };
    let mut m = v.mount(&["--hydrate", "all", "--wait-hydrated"]);
    let mtime = |m: &Mount<'_>| fs::metadata(m.at("big.ibd")).unwrap().modified().unwrap();
    for len in [LEN as u64 - 5, 100_000, 4096] {
        let file = File::options().write(true).open(m.at("big.ibd")).unwrap();
        file.write_all_at(b"x", 7).unwrap();
        file.set_len(len).unwrap();
        let told = mtime(&m);
        drop(file);
        m.again();
        assert_eq!(mtime(&m), told, "{len}");
    }
}

/// Direct writes of the kernel extend the file beyond the length that the mount process knows.
#[test]
fn lengths_include_direct_writes_of_the_kernel() {
    let Some(v) = volume() else { return };
    let m = v.mount(PASSTHROUGH);
    if !is_passthrough(&m) {
        return;
    }
    let file = File::options()
        .read(true)
        .write(true)
        .open(m.at("deep/small"))
        .unwrap();
    let len = |file: &File| file.metadata().unwrap().len();
    file.write_all_at(&noise(3, 10_000), 0).unwrap();
    // Truncate to the length that the file had when it was opened.
    file.set_len(5).unwrap();
    assert_eq!(
        (len(&file), fs::read(m.at("deep/small")).unwrap()),
        (5, noise(3, 5))
    );
    file.write_all_at(&noise(4, 10_000), 0).unwrap();
    fallocate(&file, FallocateFlags::empty(), 0, 6000).unwrap();
    assert_eq!(len(&file), 10_000);
    file.write_all_at(&noise(5, 30_000), 0).unwrap();
    fallocate(
        &file,
        FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        20_000,
        1000,
    )
    .unwrap();
    let mut expected = noise(5, 30_000);
    expected[20_000..21_000].fill(0);
    assert!(fs::read(m.at("deep/small")).unwrap() == expected);
    file.write_all_at(b"end", 40_000).unwrap();
    assert!(seek(&file, SeekFrom::Data(39_000)).is_ok());
    // Access the file by another hard link right after the write.
    fs::hard_link(m.at("deep/small"), m.at("link")).unwrap();
    file.write_all_at(b"end", 50_000).unwrap();
    assert_eq!(fs::metadata(m.at("link")).unwrap().len(), 50_003);
}

/// A `stat` that is answered during a truncation must not restore the old length.
#[test]
fn a_truncated_length_survives_a_concurrent_stat() {
    let Some(v) = volume() else { return };
    let m = v.mount(PASSTHROUGH);
    if !is_passthrough(&m) {
        return;
    }
    let (path, ended) = (m.at("deep/small"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    statx(
                        CWD,
                        &path,
                        AtFlags::STATX_FORCE_SYNC,
                        StatxFlags::BASIC_STATS,
                    )
                    .unwrap();
                }
            });
        }
        let done = catch_unwind(|| {
            let file = File::options().write(true).open(&path).unwrap();
            for n in 0..2000u64 {
                file.write_all_at(&[7; 8192], 0).unwrap();
                let cut = n % 4096;
                file.set_len(cut).unwrap();
                assert_eq!(file.metadata().unwrap().len(), cut, "round {n}");
            }
        });
        ended.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|e| resume_unwind(e));
    });
}

/// The kernel reports the close of a file, but not that a mapping can still write to it.
#[test]
fn no_version_is_made_while_a_mapping_can_write() {
    let Some(v) = volume() else { return };
    let m = v.mount(PASSTHROUGH);
    if !is_passthrough(&m) {
        return;
    }
    let mapping = Mapping::of(
        &File::options()
            .read(true)
            .write(true)
            .open(m.at("big.ibd"))
            .unwrap(),
    );
    mapping.write(100, b"first");
    m.dvc(&["commit", "-m", "too early"])
        .code(4)
        .complains("open");
    mapping.write(200, b"second");
    drop(mapping);
    m.commit("in time");
    let out = v.checkout("main", "out");
    let mut expected = noise(1, LEN);
    expected[100..105].copy_from_slice(b"first");
    expected[200..206].copy_from_slice(b"second");
    assert!(fs::read(out.join("big.ibd")).unwrap() == expected);
}
