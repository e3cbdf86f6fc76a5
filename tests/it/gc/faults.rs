//! `gc` of a remote at each step of a push, and a push at each step of a `gc`; beside a reader that
//! opened the index earlier; and with a store that loses requests and responses.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dvc::care::options::GcReport;
use dvc::context::{CacheOptions, Context, Remote};
use dvc::error::Kind;
use dvc::format::lease::LeaseUse;
use dvc::model::id::Id;
use dvc::model::refname::RefName;
use dvc::model::revision::RevisionQuery;
use dvc::observe::{Observer, Silent};
use dvc::ops::fetch::{FetchOptions, fetch};
use dvc::ops::forget::{ForgetOptions, ForgetTarget, forget};
use dvc::ops::gc::{CollectOptions, collect_remote};
use dvc::ops::push::{PushOptions, push};
use dvc::repo::writer::RootCheck;
use dvc::store::access::{Access, Wrap};
use dvc::store::faulty::{Fault, Faults, FaultyStore};
use dvc::store::local::LocalStore;
use dvc::store::location::Location;
use dvc::store::{Store, StoreErrorKind};

use super::races::AtStep;
use crate::support::known::{KnownVersion, assert_sound, commit_all, context, copy_dir, files_of};
use crate::support::known::{lost_paths, read_version};
use crate::support::zoo::noise;

/// A remote whose data is in a directory, with faults. `modest` disables conditional writes.
fn remote(dir: &Path, faults: &Arc<Faults>, modest: bool) -> Remote {
    let (dir, faults) = (dir.to_owned(), Arc::clone(faults));
    let wrap: Arc<Wrap> = Arc::new(move |_| {
        let local: Arc<dyn Store> = Arc::new(LocalStore::new(dir.clone()));
        let faulty = FaultyStore::new(local, Arc::clone(&faults));
        Arc::new(if modest {
            faulty.without_conditional_writes()
        } else {
            faulty
        })
    });
    let location = Location::parse("s3://bucket/p?endpoint=http://127.0.0.1:9", Path::new("/"))
        .unwrap()
        .location;
    Remote {
        name: "origin".to_owned(),
        location,
        lazy: false,
        access: Access {
            wrap: Some(wrap),
            ..Access::default()
        },
    }
}

/// A repository, and a remote at which one of its versions is forgotten.
struct Stage {
    dir: tempfile::TempDir,
    modest: bool,
    /// The version that the remote has forgotten.
    gone: Id,
    /// The versions that the remote keeps.
    kept: Vec<KnownVersion>,
}

impl Stage {
    fn new(modest: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut stage = Self {
            dir,
            modest,
            gone: Id([0; 32]),
            kept: Vec::new(),
        };
        fs::create_dir(stage.dir.path().join("w")).unwrap();
        let here = stage.here();
        let main = RefName::new("main").unwrap();
        let chunker = dvc::codec::cut::ChunkerConfig::default();
        drop(
            dvc::repo::Repo::create(&here.repository, &main, &chunker, here.open.clone()).unwrap(),
        );
        let put = |name: &str, seed: u64| {
            fs::write(here.worktree.join(name), noise(seed, 60_000)).unwrap()
        };
        put("a", 1);
        put("back", 2);
        stage.gone = commit_all(&here, "main", &[]).id;
        stage.push(&Silent).unwrap();
        fs::remove_file(here.worktree.join("back")).unwrap();
        put("b", 3);
        for seed in [4, 5] {
            put("c", seed);
            let version = commit_all(&here, "main", &[]);
            stage.kept.push(version);
            stage.push(&Silent).unwrap();
        }
        let there = Context {
            remote_repository: Some(stage.remote(&Faults::none())),
            ..stage.here()
        };
        let options = ForgetOptions {
            target: ForgetTarget::Versions(vec![RevisionQuery::parse(b"main@v1").unwrap()]),
            max_forget: None,
            is_confirmed: true,
            skips_trash: false,
            dry_run: false,
            run: "/nonexistent".into(),
        };
        forget(&there, &options, &Silent).unwrap();
        stage
    }

    fn copy(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(self.dir.path(), dir.path());
        Self {
            dir,
            modest: self.modest,
            gone: self.gone,
            kept: self.kept.clone(),
        }
    }

    fn here(&self) -> Context {
        let dir = self.dir.path().canonicalize().unwrap();
        let mut context = context(dir.join("repo"), dir.join("w"));
        context.cache = CacheOptions {
            dir: dir.join("cache"),
            limit_bytes: 1 << 30,
        };
        context
    }

    fn remote(&self, faults: &Arc<Faults>) -> Remote {
        remote(&self.dir.path().join("there"), faults, self.modest)
    }

    fn push(&self, observer: &dyn Observer) -> dvc::error::Result<()> {
        let options = PushOptions {
            all: true,
            ..PushOptions::default()
        };
        let report = push(
            &self.here(),
            &self.remote(&Faults::none()),
            &options,
            observer,
        )?;
        assert!(report.rejected().is_none(), "{report:?}");
        Ok(())
    }

    fn gc(&self, faults: &Arc<Faults>, observer: &dyn Observer) -> dvc::error::Result<GcReport> {
        self.gc_of(&self.remote(faults), observer)
    }

    fn gc_of(&self, remote: &Remote, observer: &dyn Observer) -> dvc::error::Result<GcReport> {
        let options = CollectOptions {
            at_once: BTreeSet::new(),
            grace: Duration::ZERO,
            keep_trash: Duration::ZERO,
            keep_local_trash: Duration::ZERO,
            keep_log: Duration::ZERO,
            max_unused: 0.0,
            max_repack: None,
            max_time: None,
            dry_run: false,
            is_confirmed: true,
        };
        let settle = Some(Duration::ZERO);
        collect_remote(
            &self.here(),
            remote,
            &self.dir.path().join("run"),
            &options,
            settle,
            observer,
        )
    }

    /// Commits content of the forgotten version again.
    fn commit_back(&mut self) {
        let here = self.here();
        fs::write(here.worktree.join("back"), noise(2, 60_000)).unwrap();
        self.kept.push(commit_all(&here, "main", &[]));
    }

    fn assert_kept(&self, case: &str) {
        let there = self.dir.path().join("there");
        let context = context(there, self.dir.path().join("w"));
        assert_sound(&context, &self.kept, case);
    }
}

/// The lock of a lease is on the machine of the remote, so a collector on another machine cannot try it.
#[test]
fn a_locked_lease_stays_on_a_remote() {
    let stage = Stage::new(false);
    let there = context(stage.dir.path().join("there"), stage.dir.path().join("w"));
    let repo = there.repo().unwrap();
    let now = dvc::sys::clock::now().secs;
    let lease = repo
        .ensure_local()
        .unwrap()
        .lock_lease("db1", LeaseUse::Mount, &[stage.gone], now)
        .unwrap();
    let is_whole = || {
        RootCheck::since(None)
            .ensure_whole(&there.repo().unwrap(), &[stage.gone])
            .is_ok()
    };
    stage.gc(&Faults::none(), &Silent).unwrap();
    assert!(is_whole());
    assert_eq!(repo.leases(now, false).unwrap().live.len(), 1);
    drop(lease);
    stage.gc(&Faults::none(), &Silent).unwrap();
    assert!(!is_whole());
    stage.assert_kept("after the lease");
}

/// Worktrees, overlays and the trash of a repository on a file server cannot be seen by another machine.
#[test]
fn a_repository_in_use_on_a_file_server_is_not_collected_by_another_machine() {
    for dir in ["worktrees", "overlays", "trash-local"] {
        let stage = Stage::new(false);
        let mut remote = stage.remote(&Faults::none());
        remote.location = Location::parse("webdav://127.0.0.1:9/p", Path::new("/"))
            .unwrap()
            .location;
        let used = stage.dir.path().join("there").join(dir);
        fs::create_dir_all(used.join("one")).unwrap();
        fs::write(used.join("one/state"), b"{}").unwrap();
        let e = stage.gc_of(&remote, &Silent).unwrap_err();
        assert_eq!(e.kind(), Kind::Busy, "{dir}: {e}");
        assert!(e.to_string().contains(dir), "{e}");
        fs::remove_dir_all(used).unwrap();
        assert!(stage.gc_of(&remote, &Silent).unwrap().deleted_packs > 0);
        stage.assert_kept(dir);
    }
}

#[test]
fn a_gc_at_each_step_of_a_push() {
    for modest in [false, true] {
        let mut stage = Stage::new(modest);
        stage.commit_back();
        for step in 1.. {
            let copy = stage.copy();
            let inner = |_: &str| drop(copy.gc(&Faults::none(), &Silent).unwrap());
            let observer = AtStep::new(step, &inner);
            copy.push(&observer).unwrap();
            let Some(name) = observer.ran_at() else {
                assert!(step > 3, "a push has steps");
                break;
            };
            copy.assert_kept(&format!("gc at step {step}, {name}"));
            drop(copy.gc(&Faults::none(), &Silent).unwrap());
            copy.assert_kept(&format!("second gc after step {step}, {name}"));
        }
    }
}

#[test]
fn a_push_at_each_step_of_a_gc() {
    for modest in [false, true] {
        let mut stage = Stage::new(modest);
        stage.commit_back();
        for step in 1.. {
            let copy = stage.copy();
            let inner = |_: &str| copy.push(&Silent).unwrap();
            let observer = AtStep::new(step, &inner);
            let done = copy.gc(&Faults::none(), &observer);
            assert!(
                done.as_ref().err().is_none_or(|e| e.kind() == Kind::Busy),
                "step {step}: {:?}",
                done.err()
            );
            let Some(name) = observer.ran_at() else {
                assert!(step > 3, "a gc has steps");
                break;
            };
            copy.assert_kept(&format!("push at step {step}, {name}"));
            drop(copy.gc(&Faults::none(), &Silent).unwrap());
            copy.assert_kept(&format!("second gc after step {step}, {name}"));
        }
    }
}

#[test]
fn a_gc_at_each_step_of_a_fetch() {
    let stage = Stage::new(false);
    for step in 1.. {
        let copy = stage.copy();
        let dir = copy.dir.path().canonicalize().unwrap();
        let (_, mut other) = (
            fs::create_dir(dir.join("w2")).unwrap(),
            context(dir.join("other"), dir.join("w2")),
        );
        other.cache = CacheOptions {
            dir: dir.join("cache2"),
            limit_bytes: 1 << 30,
        };
        let far = copy.remote(&Faults::none());
        other.remotes = vec![far.clone()];
        let marker = copy.here().repo().unwrap().marker().clone();
        drop(dvc::repo::Repo::create_copy(&other.repository, &marker, other.open.clone()).unwrap());
        let inner = |_: &str| drop(copy.gc(&Faults::none(), &Silent).unwrap());
        let observer = AtStep::new(step, &inner);
        fetch(&other, &far, &FetchOptions::default(), &observer).unwrap();
        let case = format!("gc at step {step}, {:?}", observer.ran_at());
        assert_sound(&other, &copy.kept, &case);
        if observer.ran_at().is_none() {
            assert!(step > 2, "a fetch has steps");
            return;
        }
    }
}

/// A reader keeps its index while several collections move its objects and replace its segments.
#[test]
fn a_reader_survives_collections() {
    for lazy in [false, true] {
        let mut stage = Stage::new(false);
        let dir = stage.dir.path().canonicalize().unwrap();
        let mut reading = stage.here();
        // Use neither the cache nor the packs of the local repository.
        (reading.repository, reading.cache.dir) = (dir.join("none"), dir.join("cache3"));
        let repo = if lazy {
            let mut far = stage.remote(&Faults::none());
            far.lazy = true;
            let (mut other, marker) = (reading.clone(), stage.here().repo().unwrap());
            other.repository = dir.join("lazy");
            other.remotes = vec![far.clone()];
            drop(
                dvc::repo::Repo::create_copy(
                    &other.repository,
                    marker.marker(),
                    other.open.clone(),
                )
                .unwrap(),
            );
            fetch(&other, &far, &FetchOptions::default(), &Silent).unwrap();
            other.repo().unwrap()
        } else {
            reading.open_remote(&stage.remote(&Faults::none())).unwrap()
        };
        let versions = stage.kept.clone();
        let first = &versions[0];
        // The index is open, and some frames were read.
        drop(repo.commit(&first.id).unwrap());
        for round in 0..3u64 {
            stage.commit_back();
            let here = stage.here();
            fs::write(here.worktree.join("c"), noise(20 + round, 60_000)).unwrap();
            stage.kept.push(commit_all(&here, "main", &[]));
            stage.push(&Silent).unwrap();
            drop(stage.gc(&Faults::none(), &Silent).unwrap());
            fs::remove_file(here.worktree.join("back")).unwrap();
            for version in &versions {
                for (path, bytes) in read_version(&repo, &version.id) {
                    let case = format!("round {round}, lazy {lazy}, {path:?}");
                    assert!(!bytes.unwrap_or_else(|e| panic!("{case}: {e:?}")).is_empty());
                }
                let lost = lost_paths(&repo, version, "after a gc");
                assert!(lost.is_empty(), "{lost:?}");
            }
            // A reader refreshes its index once a second.
            std::thread::sleep(Duration::from_millis(1100));
        }
    }
}

/// If the response to a request is lost, the gc sends the request again and loses nothing.
#[test]
fn a_lost_response_of_each_request() {
    for modest in [false, true] {
        let stage = Stage::new(modest);
        let faults = Faults::none();
        let copy = stage.copy();
        copy.gc(&faults, &Silent).unwrap();
        let count = faults.asked().len();
        assert!(count > 20, "{:?}", faults.asked());
        for at in (0..count).step_by(if modest { 5 } else { 2 }) {
            let copy = stage.copy();
            let faults = Faults::at(at as u64, Fault::Reply, StoreErrorKind::Unreachable);
            let report = copy.gc(&faults, &Silent);
            let asked = faults.asked();
            let case = format!("request {at}: {:?}", asked.get(at));
            let report = report.unwrap_or_else(|e| panic!("{case}: {e:?}"));
            assert!(report.deleted_packs > 0, "{case}: {report:?}");
            copy.assert_kept(&case);
        }
    }
}

/// A gc that ends with an error at any request leaves a sound remote, and the next one completes the
/// work.
#[test]
fn an_error_at_each_request() {
    let stage = Stage::new(false);
    let faults = Faults::none();
    let copy = stage.copy();
    copy.gc(&faults, &Silent).unwrap();
    let count = faults.asked().len();
    for at in 0..count {
        let copy = stage.copy();
        let faults = Faults::at(at as u64, Fault::Reply, StoreErrorKind::Refused);
        let failed = copy.gc(&faults, &Silent);
        let case = format!(
            "request {at}: {:?}, {:?}",
            faults.asked().get(at),
            failed.err()
        );
        copy.assert_kept(&case);
        let report = copy.gc(&Faults::none(), &Silent);
        let report = report.unwrap_or_else(|e| panic!("{case}: {e:?}"));
        assert_eq!(report.dead_packs, 0, "{case}: {report:?}");
        copy.assert_kept(&case);
        let packs = files_of(&copy.dir.path().join("there/packs"));
        assert!(packs.len() <= 8, "{case}: {} packs", packs.len());
    }
}

#[test]
fn a_store_that_often_fails() {
    let stage = Stage::new(true);
    for seed in 1..=6 {
        let copy = stage.copy();
        let faults = Faults::by_chance(5, seed);
        let done = copy.gc(&faults, &Silent);
        copy.assert_kept(&format!("seed {seed}: {:?}", done.err()));
        copy.gc(&Faults::none(), &Silent).unwrap();
        copy.assert_kept(&format!("second gc after seed {seed}"));
    }
}

/// Two collections: the second one runs at a step of the first one.
#[test]
fn a_gc_at_each_step_of_another_one() {
    let stage = Stage::new(false);
    for step in 1.. {
        let copy = stage.copy();
        let inner = |_: &str| drop(copy.gc(&Faults::none(), &Silent).unwrap());
        let observer = AtStep::new(step, &inner);
        let done = copy.gc(&Faults::none(), &observer);
        assert!(
            done.as_ref().err().is_none_or(|e| e.kind() == Kind::Busy),
            "step {step}: {:?}",
            done.err()
        );
        copy.assert_kept(&format!("second gc at step {step}"));
        if observer.ran_at().is_none() {
            return;
        }
    }
}
