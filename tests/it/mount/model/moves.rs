//! Random switches between versions with open files, pinned inodes and mappings, compared with a
//! model of the content of each inode and the inode of each name.
//!
//! An inode never changes into a different file: a handle reads the content that it had at the time
//! of the switch, and a name reads the content of the new version, in other processes too.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{UnmountFlags, mount_bind, unmount};

use super::number;
use super::steps::{Random, trace};
use crate::mount::harness::{Mount, PASSTHROUGH, Volume, assert_like};
use crate::mount::mapping::Mapping;
use crate::support::needs;
use crate::support::zoo::noise;

const STEPS: u64 = 50;
/// The names of all files. The directories exist in every version.
const NAMES: [&str; 8] = [
    "f0", "f1", "d0/f2", "d0/f3", "d0/d1/f4", "d0/d1/f5", "d2/f6", "d2/f7",
];

type Files = BTreeMap<&'static str, Vec<u8>>;

/// A reference that keeps an inode alive.
enum Pin {
    Open(File),
    Path(OwnedFd),
    Map(Mapping, usize),
    Bound(PathBuf),
}

struct Moves<'v> {
    v: &'v Volume,
    m: Mount<'v>,
    random: Random,
    what: String,
    /// The expected current content of each name.
    files: Files,
    versions: Vec<(String, Files)>,
    /// The id of the version that the mount is based on.
    base: String,
    /// The expected content of each inode that the test has seen.
    inodes: BTreeMap<u64, Vec<u8>>,
    pins: Vec<(u64, Pin)>,
    watch: OwnedFd,
}

impl Moves<'_> {
    fn choose(&mut self, n: usize) -> usize {
        usize::try_from(self.random.next(n as u64)).unwrap()
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let (seed, len) = (self.random.next(1 << 40), self.random.next(most));
        noise(seed, usize::try_from(len).unwrap())
    }

    fn number(&self, name: &str) -> u64 {
        fs::metadata(self.m.at(name)).unwrap().ino()
    }

    /// Returns a random existing name with its inode.
    fn there(&mut self) -> Option<(&'static str, u64)> {
        let at = self.choose(self.files.len().max(1));
        let name = *self.files.keys().nth(at)?;
        Some((name, self.number(name)))
    }

    /// Records the new content of a file.
    fn holds(&mut self, name: &'static str, bytes: Vec<u8>) {
        let ino = self.number(name);
        self.inodes.insert(ino, bytes.clone());
        self.files.insert(name, bytes);
    }

    fn write(&mut self) {
        let name = NAMES[self.choose(NAMES.len())];
        let mut now = self.files.get(name).cloned().unwrap_or_default();
        let (at, bytes) = (self.choose(now.len() + 5000), self.bytes(20_000));
        let direct = self.random.next(4) == 0;
        trace(&format!(
            "write {} at {at} of {name}, past the cache: {direct}",
            bytes.len()
        ));
        // In passthrough mode, direct I/O needs whole blocks.
        let (at, bytes) = if direct {
            (at / 4096 * 4096, vec![7; 8192])
        } else {
            (at, bytes)
        };
        if direct {
            self.write_direct(name, at, &bytes);
        } else {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(self.m.at(name));
            file.unwrap().write_all_at(&bytes, at as u64).unwrap();
        }
        if bytes.is_empty() {
            return self.holds(name, now);
        }
        now.resize(now.len().max(at + bytes.len()), 0);
        now[at..at + bytes.len()].copy_from_slice(&bytes);
        self.holds(name, now);
    }

    /// Writes with direct I/O from another program, while this program reads the file through the
    /// cache.
    fn write_direct(&self, name: &str, at: usize, bytes: &[u8]) {
        let path = self.m.at(name);
        let fill = format!("head -c {} /dev/zero | tr '\\0' '\\7'", bytes.len());
        let write = format!(
            "dd of=\"$1\" bs=4096 seek={} conv=notrunc oflag=direct iflag=fullblock",
            at / 4096
        );
        let mut child = Command::new("sh")
            .args(["-c", &format!("{fill} | {write} 2>/dev/null"), "sh"])
            .arg(&path)
            .spawn()
            .unwrap();
        while child.try_wait().unwrap().is_none() {
            let _ = fs::read(&path);
        }
        assert!(child.wait().unwrap().success());
    }

    fn truncate(&mut self) {
        let Some((name, _)) = self.there() else {
            return;
        };
        let mut now = self.files[name].clone();
        // Truncating a mapped file would kill this process with SIGBUS.
        if self
            .pins
            .iter()
            .any(|(ino, pin)| matches!(pin, Pin::Map(..)) && *ino == self.number(name))
        {
            return;
        }
        let len = self.choose(now.len() + 3000);
        trace(&format!("truncate {name} to {len}"));
        OpenOptions::new()
            .write(true)
            .open(self.m.at(name))
            .unwrap()
            .set_len(len as u64)
            .unwrap();
        now.resize(len, 0);
        self.holds(name, now);
    }

    fn remove(&mut self) {
        let Some((name, _)) = self.there() else {
            return;
        };
        if self
            .pins
            .iter()
            .any(|(ino, pin)| matches!(pin, Pin::Bound(..)) && *ino == self.number(name))
        {
            return;
        }
        trace(&format!("remove {name}"));
        fs::remove_file(self.m.at(name)).unwrap();
        self.files.remove(name);
    }

    fn pin(&mut self) {
        let Some((name, ino)) = self.there() else {
            return;
        };
        let path = self.m.at(name);
        let pin = match self.random.next(5) {
            0 | 1 => Pin::Open(File::open(&path).unwrap()),
            2 => Pin::Path(
                rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap(),
            ),
            3 if !self.files[name].is_empty() => {
                let len = self.files[name].len();
                Pin::Map(Mapping::to_read(&File::open(&path).unwrap()), len)
            }
            _ => {
                let side = self.v.s.at(format!("side-{}", self.random.next(1 << 40)));
                fs::write(&side, b"").unwrap();
                mount_bind(&path, &side).unwrap();
                Pin::Bound(side)
            }
        };
        let kind = match pin {
            Pin::Open(_) => "open",
            Pin::Path(_) => "hold the path of",
            Pin::Map(..) => "map",
            Pin::Bound(_) => "bind",
        };
        trace(&format!("{kind} {name}"));
        inotify::add_watch(&self.watch, &path, WatchFlags::MODIFY).unwrap();
        self.pins.push((ino, pin));
    }

    fn unpin(&mut self) {
        if !self.pins.is_empty() {
            let at = self.choose(self.pins.len());
            release(self.pins.swap_remove(at).1);
        }
    }

    /// Asserts that each pinned inode still has its content.
    fn check(&self, when: &str) {
        for (ino, pin) in &self.pins {
            let expected = &self.inodes[ino];
            let seen = match pin {
                Pin::Open(file) => read_open(file),
                Pin::Path(path) => fs::read(format!("/proc/self/fd/{}", path.as_raw_fd())).unwrap(),
                Pin::Map(map, len) => map.read(0, (*len).min(expected.len())),
                Pin::Bound(side) => fs::read(side).unwrap(),
            };
            let expected = match pin {
                Pin::Map(_, len) => &expected[..(*len).min(expected.len())],
                _ => &expected[..],
            };
            let kind = matches!(pin, Pin::Map(..));
            assert!(
                seen == expected,
                "{}: {when}: inode {ino} ({} bytes, expected {}; map: {kind})",
                self.what,
                seen.len(),
                expected.len()
            );
        }
        let paths = NAMES.map(|name| self.m.at(name));
        let seen = Command::new(needs::need("cat"))
            .args(&paths)
            .output()
            .unwrap()
            .stdout;
        let expected: Vec<u8> = NAMES
            .iter()
            .filter_map(|name| self.files.get(name))
            .flatten()
            .copied()
            .collect();
        for name in NAMES {
            let len = fs::metadata(self.m.at(name)).ok().map(|meta| meta.len());
            assert_eq!(
                len,
                self.files.get(name).map(|f| f.len() as u64),
                "{}: {when}: length of {name}",
                self.what
            );
        }
        assert!(
            seen == expected,
            "{}: {when}: another process reads something else",
            self.what
        );
    }

    fn commit(&mut self) {
        let name = format!("b{}", self.versions.len());
        let mut run = self
            .m
            .dvc(&["--json", "commit", "--allow-empty", "-m", "a version"]);
        if run.code == 4 {
            // The branch has versions that are newer than the base of the mount, so commit to a new
            // branch.
            run = self.m.dvc(&[
                "--json",
                "commit",
                "-b",
                &name,
                "--allow-empty",
                "-m",
                "a version",
            ]);
        }
        let id = run.ok().json()["id"].as_str().unwrap().to_owned();
        self.base.clone_from(&id);
        self.versions.push((id, self.files.clone()));
        trace(&format!("commit {}", self.versions.len()));
        let (id, _) = &self.versions[self.versions.len() - 1];
        let out = self.v.checkout(id, &format!("out-{}", self.versions.len()));
        assert_like(self.m.root(), &out);
    }

    fn checkout(&mut self) {
        let at = self.choose(self.versions.len());
        let (id, files) = self.versions[at].clone();
        trace(&format!("checkout {at}"));
        if self.random.next(3) == 0
            && let Some((name, _)) = self.there()
        {
            let writer = OpenOptions::new()
                .write(true)
                .open(self.m.at(name))
                .unwrap();
            self.m
                .dvc(&["checkout", "--force", &id])
                .code(11)
                .complains(name);
            drop(writer);
            self.check("after a version was refused");
        }
        self.m.dvc(&["checkout", "--force", &id]).ok();
        (self.base, self.files) = (id, files);
        for (name, bytes) in &self.files {
            let ino = fs::metadata(self.m.at(name)).unwrap().ino();
            let known = self.inodes.entry(ino).or_insert_with(|| bytes.clone());
            let pinned = self.pins.iter().any(|(pinned, _)| *pinned == ino);
            assert!(
                known == bytes || !pinned,
                "{}: the inode of {name} became another file",
                self.what
            );
            known.clone_from(bytes);
        }
    }
}

fn read_open(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap() + 100];
    let mut n = 0;
    while let read @ 1.. = file.read_at(&mut bytes[n..], n as u64).unwrap() {
        n += read;
    }
    bytes.truncate(n);
    bytes
}

fn release(pin: Pin) {
    if let Pin::Bound(side) = pin {
        let _ = unmount(&side, UnmountFlags::DETACH);
    }
}

impl Drop for Moves<'_> {
    fn drop(&mut self) {
        self.pins.drain(..).for_each(|(_, pin)| release(pin));
    }
}

fn fill(w: &Path, files: &Files) {
    for dir in ["d0/d1", "d2"] {
        fs::create_dir_all(w.join(dir)).unwrap();
    }
    for name in NAMES {
        match files.get(name) {
            // Unchanged content keeps the file and its timestamp.
            Some(bytes) if fs::read(w.join(name)).is_ok_and(|there| there == *bytes) => {}
            Some(bytes) => fs::write(w.join(name), bytes).unwrap(),
            None => drop(fs::remove_file(w.join(name))),
        }
    }
}

fn run(seed: u64, options: &[&str]) {
    let mut random = Random::new(seed ^ 0x6d6f_7665);
    let Some(v) = Volume::empty() else { return };
    let (mut versions, mut files): (Vec<(String, Files)>, Files) = (Vec::new(), Files::new());
    for n in 0..4 {
        for name in NAMES {
            match random.next(4) {
                0 => drop(files.remove(name)),
                1 | 2 => {
                    let len =
                        [0, 100, 5000, 30_000, 100_000][usize::try_from(random.next(5)).unwrap()];
                    files.insert(name, noise(random.next(1 << 40), len));
                }
                _ => {}
            }
        }
        fill(&v.s.at("w"), &files);
        v.commit(&format!("version {n}"));
        versions.push((format!("main@v{}", n + 1), files.clone()));
    }
    let m = v.mount(options);
    let watch = inotify::init(CreateFlags::CLOEXEC).unwrap();
    let what = format!("seed {seed}, {options:?}");
    let (inodes, pins) = (BTreeMap::new(), Vec::new());
    let base = "main".to_owned();
    let mut moves = Moves {
        v: &v,
        m,
        random,
        what,
        files,
        versions,
        base,
        inodes,
        pins,
        watch,
    };
    for name in moves.files.keys().copied().collect::<Vec<_>>() {
        let bytes = moves.files[name].clone();
        moves.holds(name, bytes);
    }
    for _ in 0..STEPS {
        match moves.random.next(24) {
            0..=6 => moves.write(),
            7 | 8 => moves.truncate(),
            9 => moves.remove(),
            10..=14 => moves.pin(),
            15 | 16 => moves.unpin(),
            17..=20 => moves.checkout(),
            21 => moves.commit(),
            _ => {}
        }
        moves.check("after a step");
    }
    moves.pins.drain(..).for_each(|(_, pin)| release(pin));
    moves.m.set(&moves.base, options);
    moves.m.again();
    moves.check("after a remount");
}

fn sequences(options: &[&str]) {
    let (first, count) = (number("DVC_TEST_SEED", 1), number("DVC_TEST_MODEL", 1));
    (first..first + count).for_each(|seed| run(seed, options));
}

#[test]
fn versions_change_under_open_and_pinned_files() {
    sequences(&[]);
}

#[test]
fn versions_change_under_open_and_pinned_files_of_a_live_mount() {
    sequences(&["--live"]);
}

#[test]
fn versions_change_under_open_and_pinned_files_in_passthrough() {
    sequences(PASSTHROUGH);
}
