//! Local failures: damage, a full disk, a killed or terminated process, and a mount in use. Synced
//! data is never lost, and no read returns wrong bytes.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Signal, kill_process};

use super::{Mount, possible, possible_as_root, r, try_mount};
use crate::support::facts::assert_same;
use crate::support::needs::run;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::small::Small;
use crate::support::zoo::noise;

const PAGE: u64 = 4096;
const PAGES: u64 = 256;

fn is(e: &io::Error, errno: Errno) -> bool {
    e.raw_os_error() == Some(errno.raw_os_error())
}

/// Creates a repository at `repo` with one version of `w`.
fn with_version(repo: &str) -> Sandbox {
    let s = Sandbox::new();
    s.dvc([
        "init",
        "--repo",
        &s.at(repo).display().to_string(),
        "-b",
        "main",
    ])
    .ok();
    s.write("base", noise(1, usize::try_from(PAGE * PAGES).unwrap()));
    s.write("other", noise(2, 300_000));
    s.dvc([
        "--repo",
        &s.at(repo).display().to_string(),
        "commit",
        "-b",
        "main",
        "-m",
        "one",
    ])
    .ok();
    s
}

/// Bits of a pack are flipped. Reading the affected files fails and is logged; all other reads
/// work.
#[test]
fn damage_is_reported_and_never_read() {
    if !possible() {
        return;
    }
    let s = with_version("r");
    let found = run(
        "find",
        &[
            s.at("r/packs").to_str().unwrap(),
            "-type",
            "f",
            "-size",
            "+300k",
        ],
    );
    let pack = found.trim();
    let mut bytes = fs::read(pack).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle..middle + 40]
        .iter_mut()
        .for_each(|b| *b ^= 0x55);
    fs::write(pack, bytes).unwrap();
    let mount = Mount::new(&s, &["--repo", &r(&s)], &["--name", "n", "main"], "mnt");
    let (mut right, mut failed) = (0, 0);
    for name in ["base", "other"] {
        let expected = s.read(name);
        let file = File::open(mount.join(name)).unwrap();
        for (n, piece) in expected.chunks(4096).enumerate() {
            let mut got = vec![0; piece.len()];
            match file.read_exact_at(&mut got, n as u64 * PAGE) {
                Ok(()) => assert!(got == piece, "{name}, page {n}"),
                Err(e) => assert!(is(&e, Errno::IO), "{e}"),
            }
            right += usize::from(got == piece);
            failed += usize::from(got != piece);
        }
    }
    assert!(
        failed > 0 && right > failed,
        "{right} right, {failed} failed"
    );
    assert!(mount.counted("failed_operations") > 0);
    let log = fs::read_to_string(s.at("r/overlays/n/log")).unwrap();
    assert!(log.lines().count() > 1, "{log}");
    // A file that cannot be read cannot be changed in part, but can be replaced.
    fs::write(mount.join("base"), noise(3, 100_000)).unwrap();
    fs::write(mount.join("other"), noise(4, 100_000)).unwrap();
    mount.dvc(&["commit", "-m", "two"]).ok();
    mount.umount();
    let copy = Mount::new(&s, &["--repo", &r(&s)], &["--ro", "main"], "copy");
    assert!(fs::read(copy.join("base")).unwrap() == noise(3, 100_000));
    copy.umount();
}

/// The disk of the overlay is full. Writes fail with `ENOSPC`, existing data stays, and everything
/// works again once there is free space.
#[test]
fn a_full_disk() {
    if !possible_as_root() {
        return;
    }
    let s = with_version("r");
    let place = s.at("small");
    let Some(_small) = Small::mount(&place, "16m") else {
        return;
    };
    let repo = place.join("r").display().to_string();
    s.dvc(["--repo", &repo, "init", "--repo", &repo, "-b", "main"])
        .ok();
    s.dvc(["--repo", &repo, "commit", "-b", "main", "-m", "one"])
        .ok();
    let filler = place.join("filler");
    fs::write(&filler, noise(9, 8 << 20)).unwrap();
    let mount = Mount::new(&s, &["--repo", &repo], &["--name", "n", "main"], "mnt");

    // Write a new file and sync it after each write.
    let all = noise(5, 32 << 20);
    let piece = 64 << 10;
    let mut durable = 0;
    let file = File::create(mount.join("new")).unwrap();
    let failed = all.chunks(piece).find_map(|part| {
        let done = file
            .write_all_at(part, durable as u64)
            .and_then(|()| file.sync_all());
        durable += if done.is_ok() { part.len() } else { 0 };
        done.err()
    });
    assert!(
        failed.as_ref().is_some_and(|e| is(e, Errno::NOSPC)),
        "{failed:?} after {durable} bytes"
    );
    assert!(durable > 0);
    let is_prefix = |what: &str, bytes: &[u8]| {
        assert!(
            bytes.len() >= durable && bytes[..durable] == all[..durable],
            "{what}: {} of {durable}",
            bytes.len()
        );
        let rest = &bytes[durable..];
        let same = rest
            .iter()
            .zip(&all[durable..])
            .take_while(|(a, b)| a == b)
            .count();
        assert!(
            rest[same..].iter().all(|b| *b == 0),
            "{what}: something else than what was written"
        );
    };
    is_prefix("while it is full", &fs::read(mount.join("new")).unwrap());
    // Overwrite a file of the version in place.
    let base = OpenOptions::new()
        .write(true)
        .read(true)
        .open(mount.join("base"))
        .unwrap();
    let mut pages = BTreeMap::new();
    for page in 0..PAGES {
        let done = base
            .write_all_at(&all[..4096], page * PAGE)
            .and_then(|()| base.sync_all());
        pages.insert(page, done.is_ok());
        let Err(e) = done else { continue };
        assert!(is(&e, Errno::NOSPC), "{e}");
    }
    let pages_are = |what: &str, bytes: &[u8]| {
        let before = s.read("base");
        assert_eq!(bytes.len(), before.len(), "{what}");
        for ((page, written), (now, before)) in pages
            .iter()
            .zip(bytes.chunks(4096).zip(before.chunks(4096)))
        {
            let new = now == &all[..4096];
            assert!(
                new || (!*written && now == before),
                "{what}: page {page}, fsynced: {written}"
            );
        }
    };
    pages_are("while it is full", &fs::read(mount.join("base")).unwrap());
    assert!(fs::read(mount.join("other")).unwrap() == s.read("other"));
    drop((file, base));

    // Kill the process while the disk is full, as in a power failure.
    mount.kill();
    drop(mount);
    fs::remove_file(&filler).unwrap();
    let mount = Mount::new(&s, &["--repo", &repo], &["--name", "n", "main"], "mnt");
    is_prefix("mounted again", &fs::read(mount.join("new")).unwrap());
    pages_are("mounted again", &fs::read(mount.join("base")).unwrap());

    // Fill the disk again, then free some space.
    fs::write(&filler, noise(9, 7 << 20)).unwrap();
    let mut file = File::create(mount.join("more")).unwrap();
    let failed = all
        .chunks(piece)
        .find_map(|part| file.write_all(part).and_then(|()| file.sync_all()).err());
    assert!(
        failed.as_ref().is_some_and(|e| is(e, Errno::NOSPC)),
        "{failed:?}"
    );
    drop(file);
    fs::remove_file(&filler).unwrap();
    fs::remove_file(mount.join("new")).unwrap();
    fs::write(mount.join("more"), &all[..1 << 20]).unwrap();
    File::open(mount.join("more"))
        .and_then(|f| f.sync_all())
        .unwrap();
    mount.umount();
    let mount = Mount::new(&s, &["--repo", &repo], &["--name", "n", "main"], "mnt");
    assert!(fs::read(mount.join("more")).unwrap() == all[..1 << 20]);
    assert!(!mount.join("new").exists());
    mount.umount();
}

/// When the disk is full, removing a file in the mount frees space, and then the mount can be
/// written, committed and unmounted.
#[test]
fn removing_a_file_on_a_full_disk_frees_its_space() {
    if !possible_as_root() {
        return;
    }
    let s = with_version("r");
    let place = s.at("small");
    let Some(_small) = Small::mount(&place, "24m") else {
        return;
    };
    let repo = place.join("r").display().to_string();
    s.dvc(["--repo", &repo, "init", "--repo", &repo, "-b", "main"])
        .ok();
    s.dvc(["--repo", &repo, "commit", "-b", "main", "-m", "one"])
        .ok();
    let mount = Mount::new(&s, &["--repo", &repo], &["--name", "n", "main"], "mnt");
    fs::write(mount.join("big"), noise(5, 8 << 20)).unwrap();
    fs::write(mount.join("also big"), noise(6, 4 << 20)).unwrap();
    File::open(mount.join("big"))
        .and_then(|file| file.sync_all())
        .unwrap();
    let fill = || {
        let filler = OpenOptions::new()
            .append(true)
            .create(true)
            .open(place.join("filler"))
            .unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            while (&filler).write_all(&vec![1; size]).is_ok() {}
        }
    };
    fill();
    // Names change only in memory at first. The next flush has no space except the reserve.
    fs::remove_file(mount.join("big")).unwrap();
    File::open(&mount.at)
        .and_then(|dir| dir.sync_all())
        .unwrap();
    fs::write(mount.join("new"), noise(7, 1 << 20)).unwrap();
    File::open(mount.join("new"))
        .and_then(|file| file.sync_all())
        .unwrap();
    mount.dvc(&["commit", "-m", "two"]).ok();
    // Fill the disk again and unmount.
    fill();
    fs::remove_file(mount.join("also big")).unwrap();
    mount.try_umount(&[]).ok();
    mount.has_ended();
    drop(mount);
    // Mounting works on a full disk, too.
    fill();
    let mount = Mount::new(&s, &["--repo", &repo], &["--name", "n", "main"], "mnt");
    assert!(!mount.join("big").exists() && !mount.join("also big").exists());
    assert!(fs::read(mount.join("new")).unwrap() == noise(7, 1 << 20));
    mount.umount();
}

/// The data of three writers that a sync has made durable.
#[derive(Default)]
struct Durable {
    /// Number of durable bytes in the log.
    log: usize,
    /// For each page, the first and the last value that it may have.
    pages: BTreeMap<u64, (u64, u64)>,
    /// Files that were renamed into place. `removed` lists the files that were removed.
    made: Vec<u64>,
    removed: Vec<u64>,
}

fn value(page: u64, n: u64) -> Vec<u8> {
    noise(1_000_000 + page * 1000 + n, 600)
}

fn record(n: u64) -> Vec<u8> {
    noise(n, usize::try_from(100 + n * 7919 % 5000).unwrap())
}

/// Offset of a value in its page. A value does not begin at the page boundary, so the rest of the
/// page has to be kept.
const INSIDE: u64 = 1700;

fn append(dir: &Path, round: u64) -> usize {
    let (mut durable, mut n) = (0, 0);
    let mut write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(dir.join(format!("log-{round}")))?;
        let top = File::open(dir)?;
        top.sync_all()?;
        loop {
            let bytes = record(n);
            file.write_all(&bytes)?;
            if n % 2 == 0 {
                file.sync_all()?
            } else {
                file.sync_data()?
            }
            durable += bytes.len();
            n += 1;
        }
    };
    let _ = write();
    durable
}

fn write_pages(dir: &Path, pages: &mut BTreeMap<u64, (u64, u64)>, round: u64) {
    let mut write = || -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(dir.join("base"))?;
        for n in 0u64.. {
            let page = (n * 7919 + round * 31) % PAGES;
            let known = pages.entry(page).or_default();
            known.1 += 1;
            file.write_all_at(&value(page, known.1), page * PAGE + INSIDE)?;
            if n % 3 == 0 {
                file.sync_data()?;
                // This sync has made all earlier writes durable.
                pages.values_mut().for_each(|known| known.0 = known.1);
            }
        }
        Ok(())
    };
    let _ = write();
}

fn rename(dir: &Path, round: u64) -> (Vec<u64>, Vec<u64>) {
    let (mut made, mut removed) = (Vec::new(), Vec::new());
    let mut write = || -> io::Result<()> {
        let top = File::open(dir)?;
        for n in 0u64.. {
            let temporary = dir.join(format!("temporary-{round}"));
            let mut file = File::create(&temporary)?;
            file.write_all(&record(n))?;
            file.sync_all()?;
            fs::rename(&temporary, dir.join(format!("made-{round}-{n}")))?;
            if n % 5 == 4 {
                fs::remove_file(dir.join(format!("made-{round}-{}", n - 3)))?;
            }
            top.sync_all()?;
            made.push(n);
            if n % 5 == 4 {
                removed.push(n - 3);
            }
        }
        Ok(())
    };
    let _ = write();
    (made, removed)
}

#[track_caller]
fn assert_there(dir: &Path, round: u64, known: &mut Durable) {
    let log = fs::read(dir.join(format!("log-{round}")))
        .unwrap_or_else(|e| panic!("round {round}: the log: {e}"));
    let all: Vec<u8> = (0..)
        .flat_map(record)
        .take(log.len().max(known.log))
        .collect();
    assert!(
        log.len() >= known.log && log[..known.log] == all[..known.log],
        "round {round}: {} bytes of {}",
        log.len(),
        known.log
    );
    let base = fs::read(dir.join("base")).unwrap();
    let before = noise(1, base.len());
    for (page, (first, last)) in &mut known.pages {
        let at = usize::try_from(page * PAGE).unwrap();
        let found = (*first..=*last).find(|n| {
            let mut expected = before[at..at + 4096].to_vec();
            if *n > 0 {
                let inside = usize::try_from(INSIDE).unwrap();
                expected[inside..inside + 600].copy_from_slice(&value(*page, *n));
            }
            expected == base[at..at + 4096]
        });
        let found = found
            .unwrap_or_else(|| panic!("round {round}: page {page} is none of {first} to {last}"));
        (*first, *last) = (found, found);
    }
    for n in &known.made {
        let there = fs::read(dir.join(format!("made-{round}-{n}")));
        match known.removed.contains(n) {
            true => assert!(there.is_err(), "round {round}: {n} was removed"),
            // The file may be the next one to be removed, so its removal may not be recorded yet.
            false if there.is_err() => assert_eq!(n % 5, 1, "round {round}: {n} is lost"),
            false => assert!(there.unwrap() == record(*n), "round {round}: {n}"),
        }
    }
}

/// The mount process is killed at random moments under load, also during commits.
#[test]
fn killed_under_load() {
    if !possible() {
        return;
    }
    let s = with_version("r");
    let mut known = Durable::default();
    let rounds = std::env::var("DVC_TEST_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(8);
    for round in 0..rounds {
        let mount = Mount::new(&s, &["--repo", &r(&s)], &["--name", "n", "main"], "mnt");
        let at = mount.at.as_path();
        std::thread::scope(|scope| {
            let log = scope.spawn(move || append(at, round));
            let pages = &mut known.pages;
            let written = scope.spawn(move || write_pages(at, pages, round));
            let names = scope.spawn(move || rename(at, round));
            std::thread::sleep(Duration::from_millis(200 + round * 7919 % 300));
            let commit = (round % 3 == 2).then(|| {
                let mut c = s.command(["-C", at.to_str().unwrap(), "commit", "-m", "perhaps"]);
                let child = c
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                std::thread::sleep(Duration::from_millis(20 + round * 31 % 120));
                child
            });
            mount.kill();
            known.log = log.join().unwrap();
            written.join().unwrap();
            (known.made, known.removed) = names.join().unwrap();
            if let Some(mut commit) = commit {
                commit.wait().unwrap();
            }
        });
        // Mounting again replaces the dead mount.
        std::mem::forget(mount);
        let mount = Mount::new(&s, &["--repo", &r(&s)], &["--name", "n", "main"], "mnt");
        assert_there(&mount.at, round, &mut known);
        mount.umount();
    }
    assert!(
        known.log > 0 && !known.made.is_empty() && known.pages.len() > 3,
        "nothing was written"
    );
    let mount = Mount::new(&s, &["--repo", &r(&s)], &["--name", "n", "main"], "mnt");
    mount.dvc(&["commit", "-m", "at last"]).ok();
    let copy = Mount::new(&s, &["--repo", &r(&s)], &["--ro", "main"], "copy");
    assert_same(&mount.at, &copy.at);
    copy.umount();
    mount.umount();
    s.dvc(["--repo", &r(&s), "fsck", "--data"])
        .ok()
        .says("no damage");
}

/// The overlay database records a file before its first bytes are written. Data that is synced
/// later must still be kept.
#[test]
fn a_file_is_noted_before_it_is_written() {
    if !possible() {
        return;
    }
    let s = with_version("r");
    let mount = Mount::new(&s, &["--repo", &r(&s)], &["--name", "n", "main"], "mnt");
    File::create(mount.join("empty")).unwrap();
    let mut file = File::create(mount.join("new")).unwrap();
    File::open(&mount.at)
        .and_then(|dir| dir.sync_all())
        .unwrap();
    file.write_all(&noise(5, 10_000)).unwrap();
    file.sync_data().unwrap();
    mount.kill();
    drop(mount);
    let mount = Mount::new(&s, &["--repo", &r(&s)], &["--name", "n", "main"], "mnt");
    assert!(fs::read(mount.join("new")).unwrap() == noise(5, 10_000));
    mount.dvc(&["commit", "-m", "two"]).ok();
    let copy = Mount::new(&s, &["--repo", &r(&s)], &["--ro", "main"], "copy");
    assert_same(&mount.at, &copy.at);
    copy.umount();
    mount.umount();
}

/// A dead mount is listed, and `umount` or the next `mount` removes it.
#[test]
fn a_dead_mount_is_removed() {
    if !possible() {
        return;
    }
    let s = with_version("r");
    let globals: &[&str] = &["--repo", &r(&s)];
    let mount = Mount::new(&s, globals, &["main"], "mnt");
    mount.kill();
    assert!(
        fs::read(mount.join("base"))
            .is_err_and(|e| is(&e, Errno::NOTCONN) || is(&e, Errno::CONNABORTED))
    );
    let at = mount.at.to_str().unwrap().to_owned();
    let listed = s.dvc(["mount", "--json"]).ok().json_lines();
    assert!(
        listed
            .iter()
            .any(|l| l["mount_point"] == at.as_str() && l["alive"] == false),
        "{listed:?}"
    );
    mount.try_umount(&[]).ok();
    assert!(fs::read_dir(&mount.at).unwrap().next().is_none());
    mount.try_umount(&[]).code(13);
    drop(mount);

    let corpse = Mount::new(&s, globals, &["main"], "mnt");
    fs::write(corpse.join("new"), "new").unwrap();
    File::open(corpse.join("new"))
        .and_then(|f| f.sync_all())
        .unwrap();
    corpse.kill();
    let mount = Mount::new(&s, globals, &["main"], "mnt");
    assert_eq!(fs::read(mount.join("new")).unwrap(), b"new");
    mount.kill();
    // The same with a mount point whose path is not normalised.
    let again = Run::of(
        s.command(globals)
            .args(["mount", "--json", "main", "../w/../mnt"]),
    )
    .ok();
    let again = Mount::of(&s, "mnt", &again);
    assert_eq!(fs::read(again.join("new")).unwrap(), b"new");
    again.kill();
    s.dvc(["umount", "../mnt"]).ok();
    // Without the mount, the mount point is an empty directory.
    assert!(fs::read_dir(s.at("mnt")).unwrap().next().is_none());
    // A mount does not replace a live one.
    let living = Mount::new(&s, globals, &["main"], "mnt");
    try_mount(&s, globals, &["--name", "x", "main"], "mnt").code(11);
    assert!(fs::read(living.join("base")).unwrap() == s.read("base"));
    living.umount();
}

/// A program that uses a mount keeps its process alive. On SIGTERM, the process detaches the mount
/// and exits after the last user.
#[test]
fn the_process_ends_after_its_last_user() {
    if !possible() {
        return;
    }
    let s = with_version("r");
    let globals: &[&str] = &["--repo", &r(&s)];
    let mount = Mount::new(&s, globals, &["main"], "mnt");
    let mut file = File::create(mount.join("new")).unwrap();
    file.write_all(b"one").unwrap();
    for more in [&[][..], &["--discard"]] {
        mount.try_umount(more).code(11).complains("is in use");
    }
    file.write_all(b", two").unwrap();
    assert_eq!(fs::read(mount.join("new")).unwrap(), b"one, two");

    // No data was synced, but none is lost.
    kill_process(mount.pid, Signal::TERM).unwrap();
    super::until("no new program gets in", || !mount.join("new").exists());
    file.write_all(b", three").unwrap();
    drop(file);
    mount.has_ended();
    drop(mount);
    let mount = Mount::new(&s, globals, &["main"], "mnt");
    assert_eq!(fs::read(mount.join("new")).unwrap(), b"one, two, three");
    fs::write(mount.join("other"), noise(7, 500_000)).unwrap();
    fs::rename(mount.join("base"), mount.join("moved")).unwrap();
    kill_process(mount.pid, Signal::TERM).unwrap();
    mount.has_ended();
    assert!(fs::read_dir(&mount.at).unwrap().next().is_none());
    drop(mount);
    let mount = Mount::new(&s, globals, &["main"], "mnt");
    assert!(fs::read(mount.join("other")).unwrap() == noise(7, 500_000));
    assert!(
        fs::read(mount.join("moved")).unwrap() == s.read("base") && !mount.join("base").exists()
    );
    mount.try_umount(&["--discard"]).ok();
    mount.has_ended();
    let mount = Mount::new(&s, globals, &["main"], "mnt");
    assert_same(&s.w(""), &mount.at);
    mount.umount();
}

/// On SIGUSR1, the mount process logs the counters that explain why a mount is slow.
#[test]
fn a_signal_writes_the_state_to_the_log() {
    if !possible() {
        return;
    }
    let s = with_version("r");
    let mount = Mount::new(&s, &["--repo", &r(&s)], &["main"], "mnt");
    fs::read(mount.join("base")).unwrap();
    kill_process(mount.pid, Signal::USR1).unwrap();
    super::until("it is told", || {
        s.sh("cat ../r/overlays/*/log")
            .ok()
            .out
            .contains("\"read_bytes\":")
    });
    mount.umount();
}
