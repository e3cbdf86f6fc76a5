//! `forget`: moves versions to the trash, by name or by retention policies, lists the trash, and
//! restores versions from it.
//!
//! A forget appends one or more entries to the trash log. The commit object of a forgotten version
//! stays forever; a gc deletes its data once the version has been in the trash for long enough. A
//! version that a ref, a worktree, an overlay or a mount needs is never forgotten.

mod choose;
mod error;
mod lines;
mod options;
mod protect;
mod restore;
mod target;
mod trash;

pub use error::ForgetError;
pub use options::{
    BranchExcess, BranchPolicy, ForgetOptions, ForgetReport, ForgetTarget, ForgetVerdict,
};
pub(super) use restore::last_forget;
pub use restore::{RestoreOptions, RestoreReport, restore};
pub use trash::{TrashedVersion, trash};

use std::collections::BTreeSet;

use crate::context::Context;
use crate::error::Result;
use crate::model::id::Id;
use crate::observe::Observer;
use crate::repo::log::Appended;
use crate::repo::trashlog::{FORGET_NOW, TrashLog};
use choose::{ByReason, Choice};
use lines::BranchLines;
use protect::Protections;
use target::{Target, directory_of};

/// Forgets the chosen versions. If another process forgets versions at the same time, chooses
/// again.
pub fn forget(
    context: &Context,
    options: &ForgetOptions,
    observer: &dyn Observer,
) -> Result<ForgetReport> {
    let there = directory_of(context);
    let context = there.as_ref().unwrap_or(context);
    let target = Target::open(context, !options.dry_run)?;
    // The versions that this run has forgotten before it lost a race.
    let mut done: Vec<ForgetVerdict> = Vec::new();
    loop {
        let mut lines = BranchLines::read(&target.repo)?;
        let protections = Protections::read(&target, &options.run)?;
        let trash = target.repo.forgotten()?;
        let Choice {
            mut report,
            reasons,
        } = choose::choose(&target, options, &mut lines, &protections, &trash)?;
        report
            .verdicts
            .retain(|verdict| done.iter().all(|done| done.id != verdict.id));
        if options.dry_run {
            return Ok(report);
        }
        ensure_allowed(options, &report)?;
        let mut appended: BTreeSet<Id> = BTreeSet::new();
        let reasons = match options.skips_trash {
            true => reasons.into_iter().map(skip_trash).collect(),
            false => reasons,
        };
        let is_done = append(&target, trash.number, reasons, &mut appended, observer)?;
        if is_done {
            report.verdicts.splice(..0, done);
            return Ok(report);
        }
        report
            .verdicts
            .retain(|verdict| appended.contains(&verdict.id));
        done.extend(report.verdicts);
    }
}

/// Appends an entry for each reason. Returns false if another process appended first; `appended`
/// receives the versions whose entry was written.
fn append(
    target: &Target<'_>,
    mut number: u64,
    reasons: ByReason,
    appended: &mut BTreeSet<Id>,
    observer: &dyn Observer,
) -> Result<bool> {
    let log = TrashLog::new(target.repo.store());
    for (why, versions) in reasons {
        observer.step("forget");
        if log.append(number, &versions, &[], &target.how(&why))? == Appended::Lost {
            return Ok(false);
        }
        observer.step("forgotten");
        appended.extend(versions);
        // A long list is written as several entries, so read the newest number from the log.
        number = log.read()?.number;
    }
    Ok(true)
}

/// Marks an entry as one whose versions skip the trash.
fn skip_trash((why, versions): (String, Vec<Id>)) -> (String, Vec<Id>) {
    let rest = why.strip_prefix("forget: ").unwrap_or(&why);
    (format!("{FORGET_NOW}{rest}"), versions)
}

/// Fails if the run forgets more versions than `max_forget` or, without that limit, if it needs a
/// confirmation that was not given.
fn ensure_allowed(options: &ForgetOptions, report: &ForgetReport) -> Result<(), ForgetError> {
    let count = report.forgotten().count();
    match (options.max_forget, report.excess.first()) {
        (Some(most), _) if count > most => Err(ForgetError::TooMany { count, most }),
        (None, Some(first)) if !options.is_confirmed => Err(ForgetError::Excess(first.clone())),
        _ => Ok(()),
    }
}
