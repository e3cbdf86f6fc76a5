//! Runs a commit between its hooks.

use crate::failure::Failed;
use crate::session::Session;
use dvc::context::Context;
use dvc::error::Result;
use dvc::hooks::{HookError, HookFacts, HookVerb};
use dvc::observe::Observer;
use dvc::ops::commit::{CommitOptions, CommitReport};
use dvc::refs::head::Head;

/// A commit that runs the hooks of its repository.
pub(crate) struct HookedCommit<'a> {
    pub(crate) session: &'a Session,
    pub(crate) context: &'a Context,
    pub(crate) options: &'a CommitOptions,
    /// The volume that is committed, if one was named.
    pub(crate) volume: Option<&'a str>,
    pub(crate) observer: &'a dyn Observer,
}

/// The result of a commit, and the failure of the hook that ran after it, if that hook failed.
pub(crate) struct HookedReport<T> {
    pub(crate) report: T,
    pub(crate) hook_failure: Option<HookError>,
}

impl HookedCommit<'_> {
    /// Runs `act` between the commit hooks; a dry run runs no hook. `commit_of` extracts the commit
    /// report from the result of `act`.
    pub(crate) fn run<T>(
        &self,
        act: impl FnOnce() -> Result<T>,
        commit_of: impl FnOnce(&T) -> &CommitReport,
    ) -> std::result::Result<HookedReport<T>, Failed> {
        if self.options.dry_run {
            return Ok(HookedReport {
                report: act()?,
                hook_failure: None,
            });
        }
        // Errors are ignored, because the commit reads the repository again and reports them.
        let head = || {
            Some(
                Head::read(self.context, &self.context.repo().ok()?)
                    .ok()?
                    .branch?
                    .to_string(),
            )
        };
        let facts = HookFacts {
            repository: self.context.repository.display().to_string(),
            worktree: Some(self.context.worktree.display().to_string()),
            volume: self.volume.map(str::to_owned),
            branch: self
                .options
                .branch
                .as_ref()
                .map(ToString::to_string)
                .or_else(head),
            ..HookFacts::default()
        };
        let learned = |done: &T, facts: &mut HookFacts| {
            let report = commit_of(done);
            facts.branch = Some(report.branch.to_string());
            facts.version = report.id.map(|id| id.to_string());
            !report.unchanged
        };
        let hooks = self.session.hooks(self.context)?;
        let (report, hook_failure) =
            hooks.around(HookVerb::Commit, facts, self.observer, act, learned)?;
        Ok(HookedReport {
            report,
            hook_failure,
        })
    }
}
