//! Commits, pushes, fetches, checkouts and a mount with live commits run beside `forget` and `gc`
//! without a grace period; some of them are killed. A checker reads every version that a ref
//! reaches and compares it with its known content.
//!
//! `DVC_TEST_CAMPAIGN` is the time in seconds. The machine determines the order of the steps; the
//! tests of `care.rs` have fixed orders.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dvc::codec::hash::NameHasher;
use dvc::model::id::{Id, to_hex};
use dvc::model::refname::{RefKind, RefName};
use dvc::repo::Repo;
use parking_lot::Mutex;

use crate::care::Numbers;
use crate::child::spawn;
use crate::known::{Files, context, files_of, noise, read_version};
use crate::stage::{GC, Run, command, repository_in, run};

/// Everything that the threads share.
struct Field {
    dir: PathBuf,
    until: Instant,
    known: Mutex<BTreeMap<Id, Digests>>,
    counts: Mutex<BTreeMap<String, u64>>,
    faults: Mutex<Vec<String>>,
    has_ended: AtomicBool,
}

/// The digest of each file of a version.
type Digests = BTreeMap<String, String>;

fn digest(files: &Files) -> Digests {
    let of = |(path, bytes): (&Vec<u8>, &Vec<u8>)| {
        let path = String::from_utf8_lossy(path).into_owned();
        (path, to_hex(&NameHasher::of(bytes)))
    };
    files.iter().map(of).collect()
}

impl Field {
    fn goes_on(&self) -> bool {
        Instant::now() < self.until && self.faults.lock().is_empty()
    }

    fn count(&self, what: String) {
        *self.counts.lock().entry(what).or_default() += 1;
    }

    fn fault(&self, what: String) {
        let mut faults = self.faults.lock();
        if faults.len() < 10 {
            faults.push(what);
        }
    }

    /// Runs a command. Notes a fault if it ends with another code.
    fn dvc(&self, repository: &str, args: &[&str], codes: &[i32]) -> Run {
        self.checked(
            repository,
            args,
            codes,
            run(command(&self.dir, repository, args)),
        )
    }

    fn checked(&self, repository: &str, args: &[&str], codes: &[i32], run: Run) -> Run {
        let verb = args.iter().find(|a| VERBS.contains(a)).unwrap_or(&"?");
        self.count(format!("{repository} {verb} {}", run.code));
        if !codes.contains(&run.code) {
            self.fault(format!("{repository} {args:?}: {} {}", run.code, run.text));
        }
        run
    }

    /// Runs a command, and sometimes kills it with SIGKILL.
    fn dvc_or_kill(
        &self,
        dice: &mut Numbers,
        repository: &str,
        args: &[&str],
        codes: &[i32],
    ) -> Option<Run> {
        if dice.below(4) > 0 {
            return Some(self.dvc(repository, args, codes));
        }
        let mut c = command(&self.dir, repository, args);
        c.stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let mut child = spawn(&mut c);
        std::thread::sleep(Duration::from_millis(dice.below(1200) as u64));
        let _ = child.kill();
        let status = child.wait().unwrap();
        let verb = args.iter().find(|a| VERBS.contains(a)).unwrap_or(&"?");
        let how = if status.code().is_some() {
            "too late to kill"
        } else {
            "killed"
        };
        self.count(format!("{repository} {verb} {how}"));
        None
    }

    fn tip(&self, repository: &str, branch: &str) -> Option<Id> {
        let context = context(repository_in(&self.dir, repository), self.dir.join("w"));
        let name = RefName::new(branch).unwrap();
        let repo = context.repo().ok()?;
        repo.refs().value(RefKind::Branch, &name).ok().flatten()
    }

    fn learn(&self, repository: &str, branch: &str, files: &Files) {
        if let Some(id) = self.tip(repository, branch) {
            self.known.lock().entry(id).or_insert_with(|| digest(files));
        }
    }

    /// Changes a directory. The contents come from a small set, so that collected ones come back.
    fn change(&self, dice: &mut Numbers, work: &Path) {
        for _ in 0..1 + dice.below(4) {
            let path = work.join(format!("f{}", dice.below(12)));
            match dice.below(6) {
                0 => drop(fs::remove_file(path)),
                n => {
                    let size = [300, 3_000, 40_000, 200_000, 500_000][n - 1];
                    fs::write(path, noise(1 + dice.below(40) as u64, size)).unwrap();
                }
            }
        }
    }

    /// Commits changes of a worktree.
    fn commits(&self, seed: u64, branch: &str) {
        let mut dice = Numbers(seed);
        let work = self.dir.join(branch);
        while self.goes_on() {
            self.change(&mut dice, &work);
            let files = files_of(&work);
            let work = work.to_str().unwrap();
            let args = ["-C", work, "commit", "-m", "x", "-b", branch];
            // Collections run all the time, so they may win every race.
            self.dvc_or_kill(&mut dice, "repo", &args, &[0, 1, 11, 13]);
            self.learn("repo", branch, &files);
            if dice.below(20) == 0 {
                // A second branch with versions that the next ones may take data from.
                let name = format!("{branch}-old");
                self.dvc(
                    "repo",
                    &[
                        "branch",
                        "-f",
                        &name,
                        &format!("{branch}~{}", dice.below(2)),
                    ],
                    &[0, 4, 11, 13],
                );
            }
            if dice.below(20) == 0 {
                self.dvc(
                    "repo",
                    &["branch", "-D", &format!("{branch}-old")],
                    &[0, 11, 13],
                );
            }
        }
    }

    fn forgets(&self, seed: u64) {
        let mut dice = Numbers(seed);
        while self.goes_on() {
            let keep = (2 + dice.below(4)).to_string();
            let forget = ["-c", "gc.keep-log=0", "-y", "forget", "--keep-last", &keep];
            self.dvc_or_kill(&mut dice, "repo", &forget, &[0, 11]);
            match dice.below(4) {
                0 => drop(self.dvc("repo", &["forget", "--undo"], &[0, 1, 4, 11, 13])),
                1 => drop(self.dvc("there", &forget, &[0, 11])),
                _ => {}
            }
            std::thread::sleep(Duration::from_millis(dice.below(1500) as u64));
        }
    }

    fn collects(&self, seed: u64, repository: &str) {
        let mut dice = Numbers(seed);
        while self.goes_on() {
            let mut args = GC.to_vec();
            if dice.below(2) == 0 {
                args = vec![
                    "-c",
                    "gc.keep-log=0",
                    "-y",
                    "gc",
                    "--grace",
                    "0",
                    "--keep-trash",
                    "0",
                ];
            }
            // Another process may win the race.
            self.dvc_or_kill(&mut dice, repository, &args, &[0, 11]);
            std::thread::sleep(Duration::from_millis(dice.below(600) as u64));
        }
    }

    fn copies(&self, seed: u64) {
        let mut dice = Numbers(seed);
        while self.goes_on() {
            // The remote may have forgotten a version, or another push may have won.
            self.dvc_or_kill(
                &mut dice,
                "repo",
                &["push", "--all", "origin"],
                &[0, 4, 11, 13],
            );
            self.dvc_or_kill(&mut dice, "mine", &["fetch", "origin"], &[0, 11, 13]);
            let into = format!("out-{}", dice.below(3));
            let branch = ["a", "b"][dice.below(2)];
            let into = self.dir.join(&into);
            let _ = fs::remove_dir_all(&into);
            let args = ["checkout", branch, "--into", into.to_str().unwrap()];
            // A checkout fails with 13 only if, while it runs, the version stops being the tip and
            // the policy forgets it.
            let run = self.dvc("repo", &args, &[0, 1, 11, 13]);
            if run.code == 0 {
                let files = files_of(&into);
                let digest = digest(&files);
                if !self.known.lock().values().any(|known| *known == digest) {
                    // The committer may not have noted its version yet.
                    std::thread::sleep(Duration::from_secs(5));
                    if !self.known.lock().values().any(|known| *known == digest) {
                        self.fault(format!("a checkout of {branch} has unknown content"));
                    }
                }
            }
        }
    }

    /// Commits changes of a mount.
    fn mounts(&self, seed: u64) {
        let mut dice = Numbers(seed);
        let at = self.dir.join("m");
        let dir = at.to_str().unwrap();
        while self.goes_on() {
            let mount = self.dvc("repo", &["mount", "--live", "live", dir], &[0, 11]);
            // While a gc has a plan, a mount cannot know whether its version stays complete.
            if mount.code != 0 {
                continue;
            }
            for _ in 0..1 + dice.below(10) {
                if !self.goes_on() {
                    break;
                }
                self.change(&mut dice, &at);
                let files = files_of(&at);
                let args = ["-C", dir, "commit", "-m", "live"];
                // Without `--repo`, the commit is one of the mount.
                let run = self.dvc("", &args, &[0, 1, 11]);
                if run.code == 0 {
                    self.learn("repo", "live", &files);
                }
            }
            self.dvc("repo", &["umount", "--discard", dir], &[0]);
        }
        let _ = run(command(&self.dir, "repo", &["umount", "--discard", dir]));
    }

    /// Reads every version that a ref reaches.
    fn checks(&self) {
        let mut kept: BTreeMap<&str, (Repo, u32)> = BTreeMap::new();
        while !self.has_ended.load(Ordering::SeqCst) && self.faults.lock().is_empty() {
            for name in ["repo", "there", "mine"] {
                let context = context(repository_in(&self.dir, name), self.dir.join("w"));
                // A repository that stays open has an old index.
                let (repo, uses) = kept
                    .entry(name)
                    .or_insert_with(|| (context.repo().unwrap(), 0));
                *uses += 1;
                for (id, _) in needed(repo).unwrap() {
                    let read = read_version(repo, &id);
                    let bad: Vec<String> = read
                        .iter()
                        .filter_map(|(path, bytes)| {
                            Some(format!(
                                "{}: {}",
                                String::from_utf8_lossy(path),
                                bytes.as_ref().err()?
                            ))
                        })
                        .collect();
                    if !bad.is_empty() {
                        // A version that has been forgotten in the meantime may be gone.
                        let fresh = context.repo().unwrap();
                        if needed(&fresh).unwrap().contains_key(&id) {
                            let now = read_version(&fresh, &id);
                            let is_lost = now.values().any(Result::is_err);
                            self.fault(format!(
                                "{name} {id}: lost: {is_lost}, {uses} uses, {bad:?}"
                            ));
                        }
                        self.count(format!("{name} forgotten while it was read"));
                        continue;
                    }
                    let files: Files = read.into_iter().map(|(p, b)| (p, b.unwrap())).collect();
                    self.count(format!("{name} versions compared"));
                    let known = self.known.lock().get(&id).cloned();
                    match known {
                        Some(known) if known != digest(&files) => self.fault(format!(
                            "{name} {id}: {known:#?} became {:#?}",
                            digest(&files)
                        )),
                        Some(_) => {}
                        None => self.count(format!("{name} version not noted yet")),
                    }
                }
                if *uses > 5 {
                    kept.remove(name);
                }
            }
        }
    }
}

/// Versions that refs reach and that are not forgotten, with their branches.
fn needed(repo: &Repo) -> dvc::error::Result<BTreeMap<Id, String>> {
    let mut all = BTreeMap::new();
    let mut tips = Vec::new();
    for kind in [RefKind::Branch, RefKind::Tag] {
        tips.extend(repo.refs().list(kind)?);
    }
    let trash = dvc::repo::trashlog::TrashLog::new(repo.store()).read()?;
    let is_tip: BTreeSet<Id> = tips.iter().map(|tip| tip.id).collect();
    let mut todo: Vec<(Id, String)> = tips
        .into_iter()
        .map(|tip| (tip.id, tip.name.to_string()))
        .collect();
    let mut seen = BTreeSet::new();
    while let Some((id, name)) = todo.pop() {
        if !seen.insert(id) {
            continue;
        }
        todo.extend(
            repo.commit(&id)?
                .parents
                .into_iter()
                .map(|id| (id, name.clone())),
        );
        if is_tip.contains(&id) || !trash.contains(&id) {
            all.insert(id, name);
        }
    }
    Ok(all)
}

const VERBS: &[&str] = &[
    "commit", "clone", "push", "fetch", "checkout", "gc", "forget", "branch", "mount", "umount",
];

#[test]
#[allow(clippy::print_stderr)]
fn everything_at_once() {
    let seconds = std::env::var("DVC_TEST_CAMPAIGN").map_or(20, |text| text.parse().unwrap());
    let seed = std::env::var("DVC_TEST_SEED").map_or(7, |text| text.parse().unwrap());
    let mut dir = tempfile::tempdir().unwrap();
    dir.disable_cleanup(std::env::var_os("DVC_TEST_KEEP").is_some());
    let top = dir.path().canonicalize().unwrap();
    for name in ["w", "a", "b", "m", "home", "run"] {
        fs::create_dir(top.join(name)).unwrap();
    }
    let field = Field {
        dir: top.clone(),
        until: Instant::now() + Duration::from_secs(seconds),
        known: Mutex::default(),
        counts: Mutex::default(),
        faults: Mutex::default(),
        has_ended: AtomicBool::new(false),
    };
    let there = top.join("there");
    let there = there.to_str().unwrap();
    field.dvc("repo", &["init", "-b", "a"], &[0]);
    field.dvc("repo", &["remote", "add", "origin", there], &[0]);
    for branch in ["a", "b"] {
        let work = top.join(branch);
        field.change(&mut Numbers(seed + 1), &work);
        fs::write(work.join("all"), noise(99, 100_000)).unwrap();
        field.dvc(
            "repo",
            &[
                "-C",
                work.to_str().unwrap(),
                "commit",
                "-m",
                "1",
                "-b",
                branch,
            ],
            &[0],
        );
        field.learn("repo", branch, &files_of(&work));
    }
    field.dvc("repo", &["branch", "live", "a"], &[0]);
    field.dvc("repo", &["push", "--all", "origin"], &[0]);
    field.dvc("", &["clone", there, "../mw"], &[0]);
    let can_mount = Path::new("/dev/fuse").exists() && rustix::process::geteuid().is_root();
    std::thread::scope(|scope| {
        let field = &field;
        let mut threads = vec![
            scope.spawn(move || field.commits(seed * 10 + 1, "a")),
            scope.spawn(move || field.commits(seed * 10 + 2, "b")),
            scope.spawn(move || field.forgets(seed * 10 + 3)),
            scope.spawn(move || field.collects(seed * 10 + 4, "repo")),
            scope.spawn(move || field.collects(seed * 10 + 5, "there")),
            scope.spawn(move || field.copies(seed * 10 + 6)),
        ];
        if can_mount {
            threads.push(scope.spawn(move || field.mounts(seed * 10 + 7)));
        }
        let checker = scope.spawn(move || field.checks());
        let ends: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        field.has_ended.store(true, Ordering::SeqCst);
        checker.join().unwrap();
        for end in ends {
            end.unwrap();
        }
    });
    for (what, count) in field.counts.lock().iter() {
        eprintln!("{count:6} {what}");
    }
    let faults = std::mem::take(&mut *field.faults.lock());
    assert!(faults.is_empty(), "{faults:#?}\n{}", top.display());
    // Afterwards, a collection finishes what the killed processes left.
    for name in ["repo", "there", "mine"] {
        field.dvc(name, GC, &[0]);
        field.dvc(name, &["fsck", "--data"], &[0]);
        let mut context = context(repository_in(&top, name), top.join("w"));
        context.jobs = 2;
        let repo = context.repo().unwrap();
        for id in needed(&repo).unwrap().into_keys() {
            let read = read_version(&repo, &id);
            let files: Files = read.into_iter().map(|(p, b)| (p, b.unwrap())).collect();
            let known = field.known.lock().get(&id).cloned();
            assert!(
                known.is_none_or(|known| known == digest(&files)),
                "{name} {id}"
            );
        }
    }
    let faults = std::mem::take(&mut *field.faults.lock());
    assert!(faults.is_empty(), "{faults:#?}");
}
