//! Random sequences of operations on a mount and on an ordinary directory. Both must stay equal
//! through commits, unmounts, crashes and checkouts.
//!
//! `DVC_TEST_MODEL` is the number of seeds (default 6), `DVC_TEST_SEED` the first seed. A failure
//! prints its seed.

mod moves;
mod steps;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::mount::harness::{Mount, PASSTHROUGH, Volume, assert_like_by, loosely, tree_of};
use crate::support::facts::{Compare, facts};
use crate::support::needs;
use crate::support::zoo::{self, set_mtime};
use steps::{Random, Steps};

/// Operations per phase.
const STEPS: u64 = 60;
const PHASES: u64 = 9;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(otherwise, |text| text.parse().unwrap())
}

/// Creates the files of the first version.
fn fill(w: &Path) {
    for dir in ["d0", "d0/d1", "d2"] {
        fs::create_dir(w.join(dir)).unwrap();
    }
    fs::write(w.join("f0"), zoo::noise(1, 700_000)).unwrap();
    fs::write(w.join("f1"), zoo::prose(2, 90_000)).unwrap();
    fs::write(w.join("d0/f2"), zoo::noise(3, 150)).unwrap();
    let mut pages = b"SQLite format 3\0".to_vec();
    pages.extend(zoo::noise(4, 400_000));
    fs::write(w.join("d0/d1/f3"), pages).unwrap();
    fs::hard_link(w.join("f0"), w.join("d2/f4")).unwrap();
    fs::hard_link(w.join("d0/f2"), w.join("d2/f5")).unwrap();
    std::os::unix::fs::symlink("f0", w.join("d2/f6")).unwrap();
    let sparse = File::create(w.join("f7")).unwrap();
    sparse.set_len(600_000).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &zoo::noise(5, 70_000), 250_000).unwrap();
}

/// Sets the modification times in the ordinary directory to those in the mount, because the two
/// have different clocks.
fn adopt_times(m: &Path, plain: &Path) {
    let how = Compare {
        holes: false,
        sockets: true,
        ..Compare::default()
    };
    for (path, fact) in facts(m, &how) {
        let path = plain.join(std::ffi::OsStr::from_bytes(&path));
        if fs::symlink_metadata(&path).is_ok() {
            set_mtime(&path, fact.mtime.0, fact.mtime.1);
        }
    }
}

/// Syncs every file and directory on its own.
fn sync_each(root: &Path) {
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        if meta.is_dir() || meta.is_file() {
            File::open(&path).unwrap().sync_all().unwrap();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    needs::run("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
}

struct Model<'v> {
    v: &'v Volume,
    m: Mount<'v>,
    plain: PathBuf,
    random: Random,
    /// The ids of all versions, each with a copy of its content.
    versions: Vec<(String, PathBuf)>,
    seed: u64,
}

impl Model<'_> {
    #[track_caller]
    fn check(&self, what: &str, times: bool) {
        let how = Compare { times, ..loosely() };
        assert_like_by(
            &self.plain,
            self.m.root(),
            &how,
            &format!("seed {}, {what}", self.seed),
        );
    }

    fn commit(&mut self, n: u64) {
        adopt_times(self.m.root(), &self.plain);
        let run = self.m.dvc(&[
            "--json",
            "commit",
            "--allow-empty",
            "-m",
            &format!("phase {n}"),
        ]);
        assert!(matches!(run.code, 0 | 3), "seed {}: {}", self.seed, run.err);
        let id = run.json()["id"].as_str().unwrap().to_owned();
        let out = self.v.checkout(&id, &format!("out-{n}"));
        let how = Compare {
            sockets: false,
            ..loosely()
        };
        assert_like_by(
            &self.plain,
            &out,
            &how,
            &format!("seed {}, commit {n}", self.seed),
        );
        // A commit of the ordinary directory must give the same tree.
        let plain = self.v.dvc(&[
            "-C",
            self.plain.to_str().unwrap(),
            "--json",
            "commit",
            "--allow-empty",
            "-b",
            "plain",
            "-m",
            "p",
        ]);
        assert!(
            matches!(plain.code, 0 | 3),
            "seed {}: {}",
            self.seed,
            plain.err
        );
        assert_eq!(
            tree_of(&plain),
            tree_of(&run),
            "seed {}: commit {n} has another tree\n{}",
            self.seed,
            {
                let (a, b) = (
                    self.v.dvc(&["--json", "ls", "-r", "plain"]),
                    self.v.dvc(&["--json", "ls", "-r", &id]),
                );
                let differ = |x: &str, y: &str| {
                    x.lines()
                        .filter(|l| !y.lines().any(|m| m == *l))
                        .map(str::to_owned)
                        .collect::<Vec<_>>()
                        .join("\n")
                };
                format!(
                    "plain: {}\nmount: {}",
                    differ(&a.out, &b.out),
                    differ(&b.out, &a.out)
                )
            }
        );
        self.check("after a commit", true);
        self.versions.push((id, out));
    }

    /// Commits, and then switches the mount to another version and back to the tip.
    fn checkout(&mut self, n: u64) {
        self.commit(n);
        let at = usize::try_from(self.random.next(self.versions.len() as u64)).unwrap();
        let (id, tree) = self.versions[at].clone();
        // No version contains sockets, so existing sockets count as changes and require --force.
        self.m.dvc(&["checkout", "--force", &id]).ok();
        copy(&tree, &self.plain);
        self.check(&format!("after a checkout of {id}"), true);
        self.m.dvc(&["checkout", "--force", "main"]).ok();
        let last = self.versions.last().unwrap().1.clone();
        copy(&last, &self.plain);
        self.check("after a checkout of the tip", true);
    }

    fn phase(&mut self, n: u64) {
        let what = self.random.next(5);
        steps::trace(&format!("== phase {n}: {what}"));
        match what {
            0 => self.commit(n),
            1 => {
                adopt_times(self.m.root(), &self.plain);
                self.m.again();
                self.check("after a remount", true);
            }
            2 => {
                sync_each(self.m.root());
                self.m.kill();
                self.m.up();
                self.check("everything was synced, then killed", false);
            }
            3 => self.checkout(n),
            _ => self.check("in between", false),
        }
    }
}

fn run(seed: u64, options: &[&str]) {
    let Some(v) = Volume::of(fill) else { return };
    sequence(&v, seed, options);
}

/// Runs a sequence on a lazy clone whose cache is emptied all the time.
fn run_lazy(seed: u64) {
    let Some((s3, v)) = Volume::lazy(fill) else {
        return;
    };
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let emptied = scope.spawn(|| {
            let mut times = 0;
            while !ended.load(Ordering::Relaxed) {
                v.s.dvc(["gc", "--cache"]).ok();
                times += 1;
            }
            times
        });
        let done = catch_unwind(AssertUnwindSafe(|| sequence(&v, seed, &[])));
        ended.store(true, Ordering::Relaxed);
        assert!(emptied.join().unwrap() > 0);
        done.unwrap_or_else(|e| resume_unwind(e));
    });
    drop((v, s3));
}

fn sequence(v: &Volume, seed: u64, options: &[&str]) {
    let plain = v.s.at("plain");
    copy(&v.s.at("w"), &plain);
    let m = v.mount(options);
    let mut model = Model {
        v,
        m,
        plain,
        random: Random::new(seed),
        versions: Vec::new(),
        seed,
    };
    for n in 0..PHASES {
        for _ in 0..STEPS {
            let root = model.m.root().to_owned();
            Steps {
                mount: &root,
                plain: &model.plain,
                random: &mut model.random,
                seed,
            }
            .one();
        }
        model.check("before the phase", false);
        model.phase(n);
    }
    model.commit(PHASES);
    model.m.again();
    model.check("at the end", true);
}

fn random_sequences(options: &[&str], count: u64) {
    let (first, count) = (number("DVC_TEST_SEED", 1), number("DVC_TEST_MODEL", count));
    std::thread::scope(|scope| {
        for part in 0..2 {
            let seeds = (first..first + count).filter(move |seed| seed % 2 == part);
            scope.spawn(move || seeds.for_each(|seed| run(seed, options)));
        }
    });
}

#[test]
fn random_sequences_leave_a_mount_like_a_plain_directory() {
    random_sequences(&[], 6);
}

#[test]
fn random_sequences_on_a_remote_version_without_a_cache() {
    let (first, count) = (number("DVC_TEST_SEED", 1), number("DVC_TEST_MODEL", 3));
    (first..first + count).for_each(run_lazy);
}

/// The same test in passthrough mode.
#[test]
fn random_sequences_in_passthrough_leave_a_mount_like_a_plain_directory() {
    random_sequences(PASSTHROUGH, 4);
}

/// All states of files since their last sync, by their inode in the ordinary directory, and the
/// inodes that each path has had.
#[derive(Default)]
struct Seen {
    states: HashMap<u64, Vec<Vec<u8>>>,
    at: HashMap<Vec<u8>, HashSet<u64>>,
}

impl Seen {
    fn note(&mut self, root: &Path) {
        for (path, _) in facts(root, &loosely())
            .into_iter()
            .filter(|f| f.1.kind == 'f')
        {
            let file = root.join(std::ffi::OsStr::from_bytes(&path));
            let ino = fs::metadata(&file).unwrap().ino();
            let bytes = fs::read(file).unwrap();
            let states = self.states.entry(ino).or_default();
            if states.last() != Some(&bytes) {
                states.push(bytes);
            }
            self.at.entry(path).or_default().insert(ino);
        }
    }

    /// Asserts that each file consists of blocks from earlier states of one inode that had its
    /// path.
    fn check(&self, root: &Path, seed: u64) {
        for (path, _) in facts(root, &loosely())
            .into_iter()
            .filter(|f| f.1.kind == 'f')
        {
            let name = dvc::model::path::display(&path);
            let now = fs::read(root.join(std::ffi::OsStr::from_bytes(&path))).unwrap();
            let inodes = self
                .at
                .get(&path)
                .unwrap_or_else(|| panic!("seed {seed}: {name} never was"));
            let fits = inodes.iter().any(|ino| {
                now.chunks(4096)
                    .enumerate()
                    .all(|(n, b)| self.was(*ino, n, b))
            });
            assert!(fits, "seed {seed}: {name} has what never was in it");
        }
    }

    /// Returns whether a block comes from one state, which may end within the block. If a file
    /// ended in this block, its old part and the appended part may come from two states.
    fn was(&self, ino: u64, n: usize, block: &[u8]) -> bool {
        let states = &self.states[&ino];
        let mut ends: Vec<usize> = states
            .iter()
            .map(|s| s.len().saturating_sub(n * 4096).min(block.len()))
            .collect();
        ends.extend([0, block.len()]);
        ends.sort_unstable();
        ends.windows(2).all(|part| {
            let of = |state: &Vec<u8>| {
                let there = state.get(n * 4096 + part[0]..).unwrap_or_default();
                let bytes = &block[part[0]..part[1]];
                let (head, tail) = bytes.split_at(there.len().min(bytes.len()));
                there.starts_with(head) && tail.iter().all(|b| *b == 0)
            };
            block[part[0]..part[1]].iter().all(|b| *b == 0) || states.iter().any(of)
        })
    }
}

/// Kills the process at a random moment without a sync. The mount must work again, each block of a
/// file must be from an earlier state or a later one, and everything can be committed.
fn crash(seed: u64) {
    let Some(v) = Volume::of(fill) else { return };
    let plain = v.s.at("plain");
    copy(&v.s.at("w"), &plain);
    let mut m = v.mount(&[]);
    let mut random = Random::new(seed ^ 0xc0ffee);
    for n in 0..5 {
        let mut seen = Seen::default();
        seen.note(&plain);
        for _ in 0..random.next(30) + 1 {
            let root = m.root().to_owned();
            Steps {
                mount: &root,
                plain: &plain,
                random: &mut random,
                seed,
            }
            .one();
            seen.note(&plain);
        }
        m.kill();
        m.up();
        seen.check(m.root(), seed);
        m.status();
        m.commit(&format!("after crash {n}"));
        assert_like_by(
            m.root(),
            &v.checkout("main", &format!("out-{n}")),
            &Compare {
                sockets: false,
                ..loosely()
            },
            &format!("seed {seed}, crash {n}"),
        );
        copy(m.root(), &plain);
    }
}

#[test]
fn a_kill_at_any_moment_leaves_each_file_old_or_newer() {
    let (first, count) = (number("DVC_TEST_SEED", 1), number("DVC_TEST_MODEL", 6));
    (first..first + count).for_each(crash);
}
