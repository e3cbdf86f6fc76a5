//! Roots without a log: a checkout and a lease of a version that no ref names, at each step of a
//! collection, and a collection at each step of a checkout. Either the version is complete
//! afterwards, or the operation failed and left no root.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use dvc::context::Context;
use dvc::error::{Error, Kind};
use dvc::format::lease::LeaseUse;
use dvc::model::id::Id;
use dvc::model::revision::Revision;
use dvc::observe::{Observer, Silent};
use dvc::ops::checkout::{CheckoutOptions, checkout};
use dvc::ops::commit::{CommitOptions, StreamOptions, commit_stream};
use dvc::repo::writer::RootCheck;
use dvc::sys::clock;
use parking_lot::Mutex;

use super::races::{AtStep, Stage, at, collect_now};
use crate::support::known::{KnownVersion, assert_sound, files_of};
use crate::support::zoo::noise;

fn is_whole(context: &Context, id: &Id) -> bool {
    RootCheck::since(None)
        .ensure_whole(&context.repo().unwrap(), &[*id])
        .is_ok()
}

/// Checks out a version into the worktree.
fn check_out(context: &Context, id: &Id, observer: &dyn Observer) -> Result<(), Error> {
    let options = CheckoutOptions {
        revision: Some(Revision::parse(&id.to_string()).unwrap()),
        force: true,
        ..CheckoutOptions::default()
    };
    let context = Context {
        now: jiff::Zoned::now(),
        ..context.clone()
    };
    checkout(&context, &options, observer).map(drop)
}

/// Asserts that a root exists only together with its version.
fn assert_root(stage: &Stage, context: &Context, done: &Result<(), Error>, case: &str) {
    assert_sound(context, &stage.versions, case);
    drop(collect_now(context, &Silent).unwrap());
    let repo = context.repo().unwrap();
    let state = repo.worktree(&context.worktree).unwrap().state().unwrap();
    let base = state.and_then(|state| state.base);
    match done {
        Ok(()) => {
            assert_eq!(base, Some(stage.gone.id.to_string()), "{case}");
            assert!(is_whole(context, &stage.gone.id), "{case}");
            assert!(files_of(&context.worktree) == stage.gone.files, "{case}");
        }
        Err(e) => {
            let is_told = matches!(e.kind(), Kind::NotFound | Kind::Busy | Kind::Integrity);
            assert!(is_told, "{case}: {e}");
            assert_ne!(base, Some(stage.gone.id.to_string()), "{case}");
            if e.kind() != Kind::Integrity {
                let journal = repo.worktree(&context.worktree).unwrap();
                assert!(!journal.state_dir().join("checkout").exists(), "{case}");
            }
        }
    }
    assert_sound(context, &stage.versions, case);
}

#[test]
fn a_checkout_at_each_step_of_a_gc() {
    let stage = Stage::new();
    for step in 1.. {
        let dir = stage.copy();
        let context = at(dir.path());
        let made = Mutex::new(None);
        let inner = |_: &str| *made.lock() = Some(check_out(&context, &stage.gone.id, &Silent));
        let observer = AtStep::new(step, &inner);
        let done = collect_now(&context, &observer);
        assert!(
            done.as_ref().err().is_none_or(|e| e.kind() == Kind::Busy),
            "step {step}: {:?}",
            done.err()
        );
        let Some(name) = observer.ran_at() else {
            assert!(step > 4, "a gc has steps");
            return;
        };
        let made = made.lock().take().unwrap();
        assert_root(&stage, &context, &made, &format!("gc step {step}, {name}"));
    }
}

#[test]
fn a_gc_at_each_step_of_a_checkout() {
    let stage = Stage::new();
    for step in 1.. {
        let dir = stage.copy();
        let context = at(dir.path());
        let inner = |_: &str| drop(collect_now(&context, &Silent).unwrap());
        let observer = AtStep::new(step, &inner);
        let done = check_out(&context, &stage.gone.id, &observer);
        let Some(name) = observer.ran_at() else {
            assert!(step > 1, "a checkout has steps");
            return;
        };
        let case = format!("checkout step {step}, {name}");
        assert_root(&stage, &context, &done, &case);
    }
}

#[test]
fn a_lease_at_each_step_of_a_gc() {
    let stage = Stage::new();
    for step in 1.. {
        let dir = stage.copy();
        let context = at(dir.path());
        let gone = stage.gone.id;
        let made = Mutex::new(None);
        // A mount reads the log, chooses the version, takes the lease, and reads the log again.
        let take = |_: &str| {
            let repo = context.repo().unwrap();
            let check = RootCheck::begin(&repo).unwrap();
            let now = clock::now().secs;
            let lease = repo
                .ensure_local()
                .unwrap()
                .lock_lease("db1", LeaseUse::Mount, &[gone], now)
                .unwrap();
            *made.lock() = Some(check.ensure_whole(&repo, &[gone]).map(|()| lease));
        };
        let observer = AtStep::new(step, &take);
        let done = collect_now(&context, &observer);
        assert!(
            done.as_ref().err().is_none_or(|e| e.kind() == Kind::Busy),
            "step {step}: {:?}",
            done.err()
        );
        let Some(name) = observer.ran_at() else {
            assert!(step > 4, "a gc has steps");
            return;
        };
        let case = format!("gc step {step}, {name}");
        match made.lock().take().unwrap() {
            Ok(lease) => {
                assert!(is_whole(&context, &gone), "{case}");
                drop(collect_now(&context, &Silent).unwrap());
                assert!(is_whole(&context, &gone), "{case}: second gc");
                drop(lease);
            }
            Err(e) => {
                let is_told = matches!(e.kind(), Kind::NotFound | Kind::Busy);
                assert!(is_told, "{case}: {e}");
            }
        }
        assert_sound(&context, &stage.versions, &case);
    }
}

/// Ends an operation at one step, as if the process had been killed there.
struct DiesAt(&'static str, AtomicBool);

impl Observer for DiesAt {
    fn step(&self, name: &'static str) {
        self.1.fetch_or(name == self.0, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }
}

#[test]
fn the_plan_of_a_dead_gc_refuses_a_checkout_until_the_next_gc() {
    let stage = Stage::new();
    let context = at(stage.dir.path());
    let dies = DiesAt("gc planned", AtomicBool::new(false));
    let e = collect_now(&context, &dies).unwrap_err();
    assert_eq!(e.kind(), Kind::Cancelled, "{e}");
    let e = check_out(&context, &stage.gone.id, &Silent).unwrap_err();
    assert_eq!(e.kind(), Kind::Busy, "{e}");
    let refused = Err(e);
    assert_root(&stage, &context, &refused, "a plan");
    let e = check_out(&context, &stage.gone.id, &Silent).unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound, "{e}");
}

fn commit_file(context: &Context, bytes: &[u8], observer: &dyn Observer) -> Result<Id, Error> {
    let options = CommitOptions {
        message: "stream".to_owned(),
        branch: Some(dvc::model::refname::RefName::new("main").unwrap()),
        ..CommitOptions::default()
    };
    let mut input = bytes;
    let stream = StreamOptions {
        name: b"back".to_vec(),
        add: true,
        input: &mut input,
        check: &mut || Ok(()),
    };
    let context = Context {
        now: jiff::Zoned::now(),
        ..context.clone()
    };
    commit_stream(&context, &options, stream, observer).map(|report| report.id.unwrap())
}

/// The bytes of a stream are gone when the commit learns that its chunks were collected. It stores
/// them again from the packs, which a gc deletes later.
#[test]
fn a_gc_that_dies_at_each_step_during_a_commit_of_a_stream() {
    let stage = Stage::new();
    let bytes = noise(3, 90_000);
    for dies_at in ["gc planned", "gc fenced", "gc given up"] {
        for step in 1.. {
            let dir = stage.copy();
            let context = at(dir.path());
            let inner = |_: &str| {
                let dies = DiesAt(dies_at, AtomicBool::new(false));
                drop(collect_now(&context, &dies));
            };
            let observer = AtStep::new(step, &inner);
            let id = commit_file(&context, &bytes, &observer);
            let Some(name) = observer.ran_at() else {
                assert!(step > 2, "a commit has steps");
                break;
            };
            let case = format!("{dies_at} during step {step}, {name}");
            // If the gc reaches the deletion before it dies, the bytes are gone.
            let id = match id {
                Err(e) if dies_at == "gc given up" => {
                    assert_eq!(e.kind(), Kind::NotFound, "{case}: {e}");
                    continue;
                }
                id => id.unwrap_or_else(|e| panic!("{case}: {e}")),
            };
            drop(collect_now(&context, &Silent).unwrap());
            let mut versions = stage.versions.clone();
            let mut files = stage.versions[1].files.clone();
            files.insert(b"back".to_vec(), bytes.clone());
            versions.push(KnownVersion {
                id,
                branch: "main",
                files,
            });
            assert_sound(&context, &versions, &case);
        }
    }
}

/// The committed data of an overlay takes space until the next mount or collection.
#[test]
fn a_collection_frees_committed_data_in_overlays() {
    use crate::mount::harness::Volume;
    let Some(v) = Volume::of(|w| fs::write(w.join("a"), noise(1, 90_000)).unwrap()) else {
        return;
    };
    let overlay = v.s.at("r/overlays");
    let bytes = || on_disk(&overlay);
    {
        let m = v.mount(&[]);
        fs::write(m.at("large"), noise(5, 6 << 20)).unwrap();
        fs::write(m.at("own"), noise(6, 300_000)).unwrap();
        m.commit("in the mount");
        // Bytes that are in no version.
        fs::write(m.at("own"), noise(7, 300_000)).unwrap();
        // A mounted overlay stays as it is.
        let report = v.dvc(&["-y", "--json", "gc"]).ok().json();
        assert_eq!(report["overlay_bytes"], 0);
    }
    let before = bytes();
    assert!(before > 6 << 20, "{before}");
    let planned = v.dvc(&["--json", "gc", "-n"]).ok().json();
    assert!(
        planned["overlay_bytes"].as_u64().unwrap() >= 6 << 20,
        "{planned}"
    );
    assert_eq!(bytes(), before);
    let report = v.dvc(&["-y", "--json", "gc"]).ok().json();
    assert!(
        report["overlay_bytes"].as_u64().unwrap() >= 6 << 20,
        "{report}"
    );
    assert!(bytes() < 2 << 20, "{}", bytes());
    let again = v.dvc(&["-y", "--json", "gc"]).ok().json();
    assert_eq!(again["overlay_bytes"], 0);
    let m = v.mount(&[]);
    assert!(fs::read(m.at("large")).unwrap() == noise(5, 6 << 20));
    assert!(fs::read(m.at("own")).unwrap() == noise(7, 300_000));
    assert_eq!(fs::read(m.at("a")).unwrap(), noise(1, 90_000));
}

fn on_disk(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    crate::support::sandbox::all_below(dir)
        .iter()
        .filter_map(|path| fs::metadata(path).ok())
        .filter(|meta| meta.is_file())
        .map(|meta| meta.blocks() * 512)
        .sum()
}
