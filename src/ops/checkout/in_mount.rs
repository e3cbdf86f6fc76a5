//! `checkout` in a mount: the process of the mount switches to another version.

use super::keep::{AtRisk, Seen, not_kept};
use super::options::{CheckoutOptions, CheckoutReport, KeptFiles, planned};
use crate::context::{Context, InMount};
use crate::error::Result;
use crate::model::refname::RefKind;
use crate::mount::control::ControlRequest;
use crate::observe::Observer;
use crate::query::resolve::Resolver;
use crate::refs::head::Head;
use crate::refs::moves::RefMoveError;
use crate::repo::Repo;
use crate::repo::refs::Move;
use crate::repo::writer::RootCheck;

/// Switches a mount to another version, and to the branch that the revision names.
pub(super) fn checkout(
    context: &Context,
    mount: &InMount,
    options: &CheckoutOptions,
    resolver: &Resolver<'_>,
    check: &RootCheck,
    mut report: CheckoutReport,
    observer: &dyn Observer,
) -> Result<CheckoutReport> {
    let (repo, head) = (resolver.repo(), resolver.head());
    let named = options
        .revision
        .as_ref()
        .map(|revision| resolver.commit_branch(revision))
        .transpose()?
        .flatten();
    report.branch = options
        .new_branch
        .clone()
        .or(named)
        .or_else(|| head.branch.clone());
    if options.dry_run {
        let before = head
            .base
            .map(|id| repo.commit_cached(&id))
            .transpose()?
            .map(|commit| commit.tree);
        report.planned = planned(repo, before.as_ref(), &report.commit.tree, &[])?;
        return Ok(report);
    }
    let mut client = mount.client()?;
    // The kernel may have written data that the mount has not seen and would not count as a change.
    client.flush_kernel()?;
    if options.force && !options.no_trash && mount.facts()?.changed > 0 {
        report.kept = keep(context, repo, mount, options, head, observer)?;
    }
    let branch = report.branch.as_ref().map(ToString::to_string);
    let ask = ControlRequest::Switch {
        version: report.version.to_string(),
        branch,
        force: options.force,
        gc_number: check.number(),
    };
    client.flush_kernel()?;
    client.request::<()>(&ask)?;
    // Create the branch only now, because the switch may be refused.
    if let Some(name) = &options.new_branch {
        let how = Move {
            who: &context.author,
            why: "branch: created by checkout",
            time: context.moved_at(),
        };
        let made = repo.move_ref(RefKind::Branch, name, None, Some(report.version), &how)?;
        made.ok_or_else(|| RefMoveError::Raced {
            kind: RefKind::Branch,
            name: name.clone(),
        })?;
    }
    Ok(report)
}

/// Moves the files of the mount that are in no version to the trash, because the switch discards
/// them.
fn keep(
    context: &Context,
    repo: &Repo,
    mount: &InMount,
    options: &CheckoutOptions,
    head: &Head,
    observer: &dyn Observer,
) -> Result<Option<KeptFiles>> {
    let kept = || -> Result<Option<KeptFiles>> {
        let seen = Seen::take(repo, mount, observer)?;
        let at_risk = AtRisk {
            context,
            repo,
            scope: &[],
            base: head.base,
            target: None,
            changes: &[],
            interrupted: None,
            now: &seen.tree,
        };
        let unsaved = at_risk.files()?;
        if unsaved.is_empty() {
            return Ok(None);
        }
        seen.keep(context, repo, options, head, &unsaved, observer)
    };
    kept().map_err(not_kept)
}
