//! Crashes at each step, and after each file, of a checkout into a new directory and of a clone.
//! The same command then completes the work.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use dvc::context::Context;
use dvc::context::{CacheOptions, Remote};
use dvc::error::Result;
use dvc::model::revision::Revision;
use dvc::observe::{Observer, Silent};
use dvc::ops::checkout::{CheckoutOptions, checkout};
use dvc::ops::clone::{CloneOptions, CloneReport, clone, is_unfinished};
use dvc::ops::status::{StatusOptions, status};
use dvc::store::access::Access;
use dvc::store::location::Location;

use crate::child::{Dying, End, no_forks, orders, run};
use crate::known::{Known, KnownVersion, context, copy_dir, files_of};

/// Counts each finished file as a step, because a restore makes nothing durable until its end.
struct EachFile(Arc<Dying>);

impl Observer for EachFile {
    fn step(&self, name: &'static str) {
        self.0.step(name);
    }
    fn advance(&self, files: u64, _: u64) {
        if files > 0 {
            self.0.step("file");
        }
    }
}

fn at(dir: &Path, repository: &str, worktree: &str) -> Context {
    let dir = dir.canonicalize().unwrap();
    let mut context = context(dir.join(repository), dir.join(worktree));
    context.cache = CacheOptions {
        dir: dir.join("cache"),
        limit_bytes: 1 << 30,
    };
    context
}

/// Creates a repository. Returns the repository and the tip of its default branch.
fn stage() -> (tempfile::TempDir, KnownVersion) {
    let known = Known::build();
    let dir = tempfile::tempdir().unwrap();
    copy_dir(known.root(), &dir.path().join("repo"));
    fs::create_dir(dir.path().join("work")).unwrap();
    // The newest version was undone, so the tip of `main` is an older one.
    (dir, known.versions[2].clone())
}

fn restore(dir: &Path, version: &KnownVersion, observer: &dyn Observer) -> Result<()> {
    let _whole = no_forks();
    let options = CheckoutOptions {
        revision: Some(Revision::parse(&version.id.to_string()).unwrap()),
        into: Some(dir.join("out")),
        verify: true,
        ..CheckoutOptions::default()
    };
    let report = checkout(&at(dir, "repo", "work"), &options, observer)?;
    assert_eq!(
        (report.done.incomplete, report.done.damaged, report.wrong),
        (0, 0, 0)
    );
    Ok(())
}

/// Scenario of the test below. Does nothing unless a test runs it in a child process.
#[test]
#[ignore = "runs as a child of another test"]
fn restoring() {
    let Some((dir, dying)) = orders() else { return };
    restore(&dir, &stage_version(&dir), &EachFile(dying)).unwrap();
}

fn stage_version(dir: &Path) -> KnownVersion {
    let text = fs::read_to_string(dir.join("version")).unwrap();
    KnownVersion {
        id: dvc::model::id::Id::parse(&text).unwrap(),
        branch: "main",
        files: Default::default(),
    }
}

#[test]
fn a_killed_checkout_into_a_directory_is_finished_by_the_same_command() {
    let (stage, newest) = stage();
    fs::write(stage.path().join("version"), newest.id.to_string()).unwrap();
    let mut in_part = 0;
    let mut steps = Vec::new();
    for step in 0.. {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(stage.path(), dir.path());
        let end = run("into::restoring", dir.path(), step);
        let case = format!("step {step}: {end:?}");
        let out = dir.path().join("out");
        if let End::At(name) = end {
            let now = files_of(&out).len();
            in_part += usize::from(now > 0 && now < newest.files.len());
            restore(dir.path(), &newest, &Silent).unwrap_or_else(|e| panic!("{case}: {e}"));
            steps.push(name);
        }
        assert!(files_of(&out) == newest.files, "{case}");
        // The directory is a clean worktree of the version, and no operation is recorded as
        // interrupted.
        let report = status(
            &at(dir.path(), "repo", "out"),
            &StatusOptions::default(),
            &Silent,
        )
        .unwrap();
        assert!(
            report.changes.is_empty() && report.interrupted.is_none(),
            "{case}: {:?}",
            report.changes
        );
        assert_eq!(fs::metadata(&out).unwrap().mode() & 0o777, 0o755, "{case}");
        if steps.len() as u64 <= step {
            break;
        }
    }
    assert!(in_part > 5, "{in_part} of {steps:?}");
}

fn remote(dir: &Path) -> Remote {
    let there = dir.join("repo");
    let location = Location::parse(there.to_str().unwrap(), Path::new("/"))
        .unwrap()
        .location;
    Remote {
        name: "origin".to_owned(),
        location,
        lazy: false,
        access: Access::default(),
    }
}

fn copy(dir: &Path, observer: &dyn Observer, tracer: Option<Arc<Dying>>) -> Result<CloneReport> {
    let _whole = no_forks();
    fs::create_dir_all(dir.join("mine")).unwrap();
    let mut context = at(dir, "mine/.dvcs", "mine");
    context.open.tracer = tracer.map(|dying| dying as Arc<_>);
    clone(
        &context,
        &remote(dir),
        &CloneOptions::default(),
        &|| Ok(()),
        observer,
    )
}

/// Scenario of the test below. Does nothing unless a test runs it in a child process.
#[test]
#[ignore = "runs as a child of another test"]
fn cloning() {
    let Some((dir, dying)) = orders() else { return };
    copy(&dir, &EachFile(dying.clone()), Some(dying)).unwrap();
}

#[test]
fn a_killed_clone_is_finished_by_the_same_command() {
    let (stage, newest) = stage();
    let mut in_checkout = 0;
    let mut steps = Vec::new();
    // Skip most of the early steps: they belong to the fetch, which `remotes.rs` tests. The
    // checkout begins later.
    for step in (0..40).step_by(8).chain(40..) {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(stage.path(), dir.path());
        let end = run("into::cloning", dir.path(), step);
        let case = format!("step {step}: {end:?}");
        let context = at(dir.path(), "mine/.dvcs", "mine");
        if let End::At(name) = &end {
            in_checkout += usize::from(is_unfinished(&context));
            let report = copy(dir.path(), &Silent, None).unwrap_or_else(|e| panic!("{case}: {e}"));
            assert_eq!(report.version, Some(newest.id), "{case}");
            steps.push(name.clone());
        }
        assert!(!is_unfinished(&context), "{case}");
        let mut files = files_of(&context.worktree);
        files.retain(|path, _| !path.starts_with(b".dvcs/"));
        assert!(files == newest.files, "{case}");
        let report = status(&context, &StatusOptions::default(), &Silent).unwrap();
        assert!(
            report.changes.is_empty() && report.interrupted.is_none(),
            "{case}: {:?}",
            report.changes
        );
        if end == End::Through {
            break;
        }
    }
    assert!(in_checkout > 10, "{in_checkout} of {steps:?}");
    // A complete clone cannot be started again.
    let again = copy(stage.path(), &Silent, None).and_then(|_| copy(stage.path(), &Silent, None));
    assert_eq!(again.unwrap_err().kind(), dvc::error::Kind::Usage);
}
