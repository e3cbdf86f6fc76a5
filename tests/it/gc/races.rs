//! A garbage collection at each step of a commit, and a commit at each step of a garbage
//! collection.
//!
//! The outer operation runs in this process with an observer that runs the inner one at one step.
//! Every version must be complete afterwards, and the outer operation may fail only because it lost
//! a race.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use dvc::context::Context;
use dvc::error::Kind;
use dvc::model::entry::Time;
use dvc::model::id::Id;
use dvc::model::refname::{RefKind, RefName};
use dvc::observe::{Observer, Silent};
use dvc::ops::branch::{BranchAction, BranchOptions, branch};
use dvc::ops::commit::{CommitOptions, commit};
use dvc::ops::gc::{CollectOptions, collect};
use dvc::ops::undo::{UndoOptions, undo};
use dvc::repo::refs::Move;
use dvc::repo::trashlog::{COPIED_WITHOUT_DATA, TrashLog};
use parking_lot::Mutex;

use crate::support::known::{KnownVersion, assert_sound, commit_all, context, copy_dir, files_of};
use crate::support::zoo::noise;

/// Runs an action at one step.
pub(super) struct AtStep<'a> {
    state: Mutex<Steps>,
    action: &'a (dyn Fn(&str) + Sync),
}

struct Steps {
    left: u64,
    ran_at: Option<&'static str>,
}

impl<'a> AtStep<'a> {
    pub(super) fn new(step: u64, action: &'a (dyn Fn(&str) + Sync)) -> Self {
        Self {
            state: Mutex::new(Steps {
                left: step,
                ran_at: None,
            }),
            action,
        }
    }

    /// The name of the step at which the action ran.
    pub(super) fn ran_at(&self) -> Option<&'static str> {
        self.state.lock().ran_at
    }
}

impl Observer for AtStep<'_> {
    fn step(&self, name: &'static str) {
        let mut state = self.state.lock();
        if state.left == 0 {
            return;
        }
        state.left -= 1;
        if state.left == 0 {
            state.ran_at = Some(name);
            drop(state);
            (self.action)(name);
        }
    }
}

/// A repository whose branch `main` has two versions, and of which a deleted branch needed more:
/// the content of `w/back`.
pub(super) struct Stage {
    pub(super) dir: tempfile::TempDir,
    pub(super) versions: Vec<KnownVersion>,
    /// The version of the deleted branch.
    pub(super) gone: KnownVersion,
}

pub(super) fn at(dir: &Path) -> Context {
    let dir = dir.canonicalize().unwrap();
    context(dir.join("repo"), dir.join("w"))
}

impl Stage {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("w")).unwrap();
        let context = at(dir.path());
        let main = RefName::new("main").unwrap();
        let chunker = dvc::codec::cut::ChunkerConfig::default();
        drop(
            dvc::repo::Repo::create(&context.repository, &main, &chunker, context.open.clone())
                .unwrap(),
        );
        let put = |name: &str, seed: u64| {
            fs::write(context.worktree.join(name), noise(seed, 90_000)).unwrap()
        };
        put("a", 1);
        put("b", 2);
        let mut versions = vec![commit_all(&context, "main", &[])];
        put("back", 3);
        put("b", 4);
        let gone = commit_all(&context, "gone", &[]);
        fs::remove_file(context.worktree.join("back")).unwrap();
        versions.push(commit_all(&context, "main", &[]));
        let names = vec![RefName::new("gone").unwrap()];
        let delete = BranchOptions {
            action: BranchAction::Delete { names, force: true },
            dry_run: false,
        };
        branch(&context, &delete, &Silent).unwrap();
        Self {
            dir,
            versions,
            gone,
        }
    }

    pub(super) fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(self.dir.path(), copy.path());
        copy
    }
}

pub(super) fn collect_now(
    context: &Context,
    observer: &dyn Observer,
) -> dvc::error::Result<dvc::care::options::GcReport> {
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
    let context = Context {
        now: jiff::Zoned::now(),
        ..context.clone()
    };
    let report = collect(&context, Path::new("/nonexistent"), &options, observer)?;
    Ok(report.packs)
}

fn commit_back(context: &Context, observer: &dyn Observer) -> dvc::error::Result<Id> {
    let branch = Some(RefName::new("main").unwrap());
    let options = CommitOptions {
        message: "back".to_owned(),
        branch,
        ..CommitOptions::default()
    };
    let context = Context {
        now: jiff::Zoned::now(),
        ..context.clone()
    };
    commit(&context, &options, observer).map(|report| report.id.unwrap())
}

#[test]
fn a_gc_at_each_step_of_a_commit() {
    let stage = Stage::new();
    for step in 1.. {
        let dir = stage.copy();
        let context = at(dir.path());
        // The deleted branch had this file, so the commit finds its content in packs that a gc
        // marks as dead.
        fs::write(context.worktree.join("back"), noise(3, 90_000)).unwrap();
        let inner = |_: &str| drop(collect_now(&context, &Silent).unwrap());
        let observer = AtStep::new(step, &inner);
        let id = commit_back(&context, &observer).unwrap();
        let Some(name) = observer.ran_at() else {
            assert!(step > 4, "a commit has steps");
            return;
        };
        let mut versions = stage.versions.clone();
        versions.push(KnownVersion {
            id,
            branch: "main",
            files: files_of(&context.worktree),
        });
        assert_sound(&context, &versions, &format!("gc at step {step}, {name}"));
        drop(collect_now(&context, &Silent).unwrap());
        assert_sound(
            &context,
            &versions,
            &format!("second gc after step {step}, {name}"),
        );
    }
}

#[test]
fn a_commit_at_each_step_of_a_gc() {
    let stage = Stage::new();
    for step in 1.. {
        let dir = stage.copy();
        let context = at(dir.path());
        fs::write(context.worktree.join("back"), noise(3, 90_000)).unwrap();
        let made = Mutex::new(None);
        let inner = |_: &str| *made.lock() = Some(commit_back(&context, &Silent).unwrap());
        let observer = AtStep::new(step, &inner);
        let done = collect_now(&context, &observer);
        // Another process may win the race.
        assert!(
            done.as_ref().err().is_none_or(|e| e.kind() == Kind::Busy),
            "step {step}: {:?}",
            done.err()
        );
        let Some(name) = observer.ran_at() else {
            assert!(step > 4, "a gc has steps");
            return;
        };
        let mut versions = stage.versions.clone();
        let id = made.lock().take().unwrap();
        versions.push(KnownVersion {
            id,
            branch: "main",
            files: files_of(&context.worktree),
        });
        assert_sound(
            &context,
            &versions,
            &format!("commit at step {step}, {name}"),
        );
        drop(collect_now(&context, &Silent).unwrap());
        assert_sound(
            &context,
            &versions,
            &format!("second gc after step {step}, {name}"),
        );
    }
}

#[test]
fn a_gc_at_each_step_of_another_gc() {
    let stage = Stage::new();
    for step in 1.. {
        let dir = stage.copy();
        let context = at(dir.path());
        let inner = |_: &str| drop(collect_now(&context, &Silent).unwrap());
        let observer = AtStep::new(step, &inner);
        let done = collect_now(&context, &observer);
        // Another process may win the race.
        assert!(
            done.as_ref().err().is_none_or(|e| e.kind() == Kind::Busy),
            "step {step}: {:?}",
            done.err()
        );
        let Some(name) = observer.ran_at() else {
            return;
        };
        assert_sound(
            &context,
            &stage.versions,
            &format!("gc at step {step}, {name}"),
        );
    }
}

/// The deleted branch comes back between the mark and the plan, so that every planned pack stays.
#[test]
fn a_plan_of_which_every_pack_is_spared() {
    let stage = Stage::new();
    let mut came_back = 0;
    for step in 1.. {
        let dir = stage.copy();
        let context = at(dir.path());
        let name = RefName::new("gone").unwrap();
        let restore = |_: &str| {
            let options = UndoOptions {
                name: Some(name.clone()),
                dry_run: false,
            };
            // Later in the run, the data is gone or planned to be.
            let _ = undo(&context, &options, &Silent);
        };
        let observer = AtStep::new(step, &restore);
        let done = collect_now(&context, &observer);
        assert!(
            done.as_ref().err().is_none_or(|e| e.kind() == Kind::Busy),
            "step {step}: {:?}",
            done.err()
        );
        let Some(ran_at) = observer.ran_at() else {
            break;
        };
        let case = format!("undo at step {step}, {ran_at}");
        let tip = context
            .repo()
            .unwrap()
            .refs()
            .value(RefKind::Branch, &name)
            .unwrap();
        came_back += usize::from(tip.is_some());
        assert_sound(&context, &stage.versions, &case);
        drop(collect_now(&context, &Silent).unwrap());
        assert_sound(&context, &stage.versions, &format!("{case}, second gc"));
        fs::write(context.worktree.join("new"), noise(9, 9000)).unwrap();
        commit_back(&context, &Silent).unwrap();
    }
    assert!(came_back > 2, "{came_back}");
}

/// A copy without data adds a forgotten version to the trash log again, at a time after the
/// collection started.
#[test]
fn a_collected_version_that_is_entered_again() {
    let stage = Stage::new();
    let first = stage.versions[0].id;
    for step in 1.. {
        let dir = stage.copy();
        let context = at(dir.path());
        let enter = |secs: i64, why: &str| {
            let repo = context.repo().unwrap();
            let log = TrashLog::new(repo.store());
            let time = Time { secs, nanos: 0 };
            let who = "A <a@example.org>";
            let number = log.read().unwrap().number;
            log.append(number, &[first], &[], &Move { who, why, time })
                .unwrap();
        };
        let now = jiff::Timestamp::now().as_second();
        enter(now - 100, "forget");
        drop(collect_now(&context, &Silent).unwrap());
        // Create data for the plan.
        fs::write(context.worktree.join("c"), noise(8, 90_000)).unwrap();
        commit_all(&context, "other", &[]);
        let names = vec![RefName::new("other").unwrap()];
        let delete = BranchOptions {
            action: BranchAction::Delete { names, force: true },
            dry_run: false,
        };
        branch(&context, &delete, &Silent).unwrap();
        let again = |_: &str| enter(now + 3600, COPIED_WITHOUT_DATA);
        let observer = AtStep::new(step, &again);
        let done = collect_now(&context, &observer);
        assert!(
            done.as_ref().err().is_none_or(|e| e.kind() == Kind::Busy),
            "step {step}, {:?}: {:?}",
            observer.ran_at(),
            done.err()
        );
        if observer.ran_at().is_none() {
            break;
        }
        drop(collect_now(&context, &Silent).unwrap());
        assert_sound(&context, &stage.versions[1..], &format!("step {step}"));
    }
}

/// Folding leaves out old fences, which is not damage.
#[test]
fn a_trash_log_with_many_fences_is_sound() {
    let stage = Stage::new();
    let context = at(stage.dir.path());
    let first = stage.versions[0].id;
    let repo = context.repo().unwrap();
    let log = TrashLog::new(repo.store());
    let (who, why) = ("A <a@example.org>", "test");
    let time = Time {
        secs: 1_795_143_600,
        nanos: 0,
    };
    let how = Move { who, why, time };
    for _ in 0..150 {
        let number = log.read().unwrap().number;
        log.append(number, &[first], &[], &how).unwrap();
        log.fence(&how).unwrap();
    }
    log.append(log.read().unwrap().number, &[], &[first], &how)
        .unwrap();
    assert_sound(&context, &stage.versions, "after 300 entries");
}
