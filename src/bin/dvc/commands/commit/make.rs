//! Commits one worktree, mount, stream or volume.

use super::args::CommitArgs;
use super::exec;
use super::hooked::{HookedCommit, HookedReport};
use super::options::options;
use super::report::CommitSummary;
use crate::commands::push;
use crate::failure::{CliError, CommandResult, Exit};
use crate::machine::volumes;
use crate::place::{self, RepoPlace};
use crate::session::Session;
use crate::settings::value;
use dvc::error::{Error, Kind};
use dvc::model::refname::RefName;
use dvc::ops::commit::{CommitOptions, CommitReport, StreamOptions, commit, commit_stream};
use dvc::ops::push::PushOptions;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

/// The source of a commit, and the branch it goes to.
pub(super) struct CommitTarget<'a> {
    pub(super) place: &'a RepoPlace,
    /// The branch to commit to if the command line names none.
    pub(super) branch: Option<RefName>,
    /// The name of the volume, if one is committed.
    pub(super) volume: Option<&'a str>,
}

/// Commits a target, and pushes the version if the command line requests it.
pub(super) fn make(
    session: &Session,
    args: &CommitArgs,
    target: CommitTarget<'_>,
) -> CommandResult {
    let begun = Instant::now();
    let CommitTarget {
        place,
        branch,
        volume,
    } = target;
    let mut context = session.context(place)?;
    if let Some(author) = &args.author {
        context.author =
            value::author(author).map_err(|problem| CliError::option("--author", problem))?;
    }
    let mut options = options(session, args, &context, place)?;
    if let Some(quiesce) = &mut options.quiesce {
        quiesce.volumes = match (volume, &place.mount) {
            (Some(name), _) => vec![name.to_owned()],
            (None, Some(_)) => volumes(session)?
                .name_of(&place.worktree)?
                .into_iter()
                .collect(),
            (None, None) => Vec::new(),
        };
    }
    options.branch = options.branch.or(branch);
    let progress = session.progress()?;
    let act = || match (&args.stdin, &args.exec) {
        (None, None) => commit(&context, &options, &progress),
        (Some(name), _) => {
            let (name, mut input) = (name.as_bytes().to_vec(), session.stdin()?);
            let stream = StreamOptions {
                name,
                add: args.add,
                input: &mut input,
                check: &mut || Ok(()),
            };
            commit_stream(&context, &options, stream, &progress)
        }
        (None, Some(name)) => {
            let mut child = exec::spawn(&args.args)?;
            let mut output = exec::output(&mut child, &session.signals);
            let stream = StreamOptions {
                name: name.as_bytes().to_vec(),
                add: args.add,
                input: &mut output,
                check: &mut || exec::check(&mut child, &args.args),
            };
            let report = commit_stream(&context, &options, stream, &progress);
            // If the commit has failed, the command may still run.
            exec::end(&mut child);
            report
        }
    };
    let hooked = HookedCommit {
        session,
        context: &context,
        options: &options,
        volume,
        observer: &progress,
    };
    let HookedReport {
        report,
        hook_failure,
    } = hooked.run(act, |report| report)?;
    drop(progress);
    let took = begun.elapsed();
    // The version exists even if a hook failed after it, so report the version first.
    CommitSummary {
        report: &report,
        volume,
        dry_run: options.dry_run,
        took,
        import: None,
    }
    .print(session)?;
    // A version whose hook has failed is not pushed.
    if let Some(failed) = hook_failure {
        return Err(Error::from(failed).into());
    }
    if let Some(name) = args.push.as_ref().filter(|_| !options.dry_run) {
        let remote = match name.as_str() {
            "" => session.default_remote(&context)?,
            name => session.remote(&context, name)?,
        };
        let tags = report.tags.iter().map(ToString::to_string);
        let names = std::iter::once(report.branch.to_string())
            .chain(tags)
            .collect();
        push::to(
            session,
            &context,
            &remote,
            &PushOptions {
                names,
                ..PushOptions::default()
            },
        )?;
    }
    Ok(exit_of(&report))
}

/// Returns the exit code of a commit: incomplete if files changed while they were read.
fn exit_of(report: &CommitReport) -> Exit {
    if report.unstable.is_empty() {
        Exit::DONE
    } else {
        Exit::with(Kind::Incomplete)
    }
}

/// Commits the whole mount at `at`, before it is unmounted.
pub(crate) fn commit_mount(
    session: &Session,
    at: &Path,
    message: &str,
    dry_run: bool,
) -> CommandResult {
    let begun = Instant::now();
    let place = place::of_mount(at)?;
    let context = session.context(&place)?;
    let (message, walk) = (message.to_owned(), session.walk()?);
    let options = CommitOptions {
        message,
        walk,
        dry_run,
        ..CommitOptions::default()
    };
    let progress = session.progress()?;
    let hooked = HookedCommit {
        session,
        context: &context,
        options: &options,
        volume: None,
        observer: &progress,
    };
    let HookedReport {
        report,
        hook_failure,
    } = hooked.run(|| commit(&context, &options, &progress), |report| report)?;
    drop(progress);
    CommitSummary {
        report: &report,
        volume: None,
        dry_run,
        took: begun.elapsed(),
        import: None,
    }
    .print(session)?;
    hook_failure.map_or(Ok(exit_of(&report)), |failed| {
        Err(Error::from(failed).into())
    })
}
