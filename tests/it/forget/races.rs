//! A forget beside other commands, and one that is killed.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dvc::context::Context;
use dvc::model::retention::{RetentionPolicy, RetentionRule};
use dvc::model::revision::RevisionQuery;
use dvc::observe::{Observer, Silent};
use dvc::ops::commit::{CommitOptions, commit};
use dvc::ops::forget::{
    BranchPolicy, ForgetOptions, ForgetTarget, RestoreOptions, forget, restore,
};

use super::History;
use crate::support::known::context;
use crate::support::spawned::Spawned;

/// Runs an action once, at the first step of a name.
struct Once<'a> {
    step: &'static str,
    has_run: AtomicBool,
    action: &'a (dyn Fn() + Sync),
}

impl<'a> Once<'a> {
    fn new(step: &'static str, action: &'a (dyn Fn() + Sync)) -> Self {
        Self {
            step,
            has_run: AtomicBool::new(false),
            action,
        }
    }
}

impl Observer for Once<'_> {
    fn step(&self, name: &'static str) {
        if name == self.step && !self.has_run.swap(true, Ordering::SeqCst) {
            (self.action)();
        }
    }
}

fn now(h: &History) -> Context {
    Context {
        now: jiff::Zoned::now(),
        ..context(h.s.w(".dvcs"), h.s.at("w"))
    }
}

fn options(target: ForgetTarget, h: &History) -> ForgetOptions {
    ForgetOptions {
        target,
        max_forget: None,
        is_confirmed: true,
        skips_trash: false,
        dry_run: false,
        run: h.s.at("no-run"),
    }
}

fn named(h: &History, revisions: &[&str]) -> ForgetOptions {
    let parse = |text: &&str| RevisionQuery::parse(text.as_bytes()).unwrap();
    options(
        ForgetTarget::Versions(revisions.iter().map(parse).collect()),
        h,
    )
}

#[test]
fn two_forgets_at_once() {
    let h = History::days(8);
    let other = || {
        forget(&now(&h), &named(&h, &["main@v2", "main@v3"]), &Silent).unwrap();
    };
    let report = forget(
        &now(&h),
        &named(&h, &["main@v3", "main@v4"]),
        &Once::new("forget", &other),
    )
    .unwrap();
    // The other one has forgotten v3 first.
    assert_eq!(
        report
            .forgotten()
            .map(|verdict| verdict.name.as_str())
            .collect::<Vec<_>>(),
        ["main@v4"]
    );
    assert_eq!(h.log(&[]), ["v1", "v5", "v6", "v7", "v8"]);
    let rule = RetentionRule::parse("last", "2").unwrap();
    let policy = RetentionPolicy { rules: vec![rule] };
    let all = BranchPolicy {
        name: None,
        branches: vec!["*".to_owned()],
        policy,
    };
    let undo = || {
        restore(&now(&h), &RestoreOptions::default(), &Silent).unwrap();
    };
    forget(
        &now(&h),
        &options(ForgetTarget::Policies(vec![all]), &h),
        &Once::new("forget", &undo),
    )
    .unwrap();
    assert_eq!(h.log(&[]), ["v7", "v8"]);
    h.s.dvc(["fsck", "--data"]).ok().says("no damage");
}

#[test]
fn a_forget_beside_a_commit() {
    let h = History::days(5);
    h.s.write("n", "6\n");
    let other = || {
        forget(&now(&h), &named(&h, &["main@v2", "main@v4"]), &Silent).unwrap();
    };
    commit(
        &now(&h),
        &CommitOptions {
            message: "c6".to_owned(),
            ..CommitOptions::default()
        },
        &Once::new("ref", &other),
    )
    .unwrap();
    h.s.write("n", "7\n");
    let other = || {
        let options = CommitOptions {
            message: "c7".to_owned(),
            ..CommitOptions::default()
        };
        commit(&now(&h), &options, &Silent).unwrap();
    };
    forget(
        &now(&h),
        &named(&h, &["main@v3", "main@v5"]),
        &Once::new("forget", &other),
    )
    .unwrap();
    assert_eq!(h.log(&[]), ["v1", "v6", "v7"]);
    h.gc();
    h.s.dvc(["fsck", "--data"]).ok().says("no damage");
    assert_eq!(h.s.dvc(["show", "main@v7:n"]).ok().out, "7\n");
}

/// A gc takes what a restore is about to take back: the version stays forgotten, and is not
/// half-restored.
#[test]
fn a_restore_beside_a_gc() {
    let h = History::days(5);
    h.forget(&["main@v2"]).ok();
    let gc = || h.gc();
    assert!(
        restore(
            &now(&h),
            &RestoreOptions::default(),
            &Once::new("restore", &gc)
        )
        .is_err()
    );
    assert_eq!(h.log(&[]), ["v1", "v2 forgotten", "v3", "v4", "v5"]);
    h.s.dvc(["fsck", "--data"]).ok().says("no damage");
}

#[test]
fn a_killed_forget_is_done_or_not() {
    let h = History::days(6);
    let (mut done, mut pause) = (0, Duration::ZERO);
    while done == 0 || pause < Duration::from_millis(40) {
        let mut c = h.s.command(["forget", "main@v2", "main@v3"]);
        let mut child = Spawned::start(c.stdout(Stdio::null()).stderr(Stdio::null()));
        std::thread::sleep(pause);
        child.kill().unwrap();
        child.wait().unwrap();
        let listed = h.s.dvc(["--json", "forget", "--list"]).ok().json_lines();
        assert!(listed.is_empty() || listed.len() == 2, "{listed:?}");
        if !listed.is_empty() {
            done += 1;
            h.forget(&["--undo"]).ok();
        }
        assert_eq!(h.log(&[]).len(), 6);
        pause += Duration::from_millis(5);
    }
    h.s.dvc(["fsck", "--data"]).ok().says("no damage");
}
