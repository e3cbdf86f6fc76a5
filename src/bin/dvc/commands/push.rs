//! `dvc push`: sends branches and tags to remotes.

use crate::failure::{CliError, CommandResult, Exit, Failed};
use crate::globals::DryRun;
use crate::print::{Out, Paint, elapsed, size};
use crate::session::Session;
use clap::Args;
use dvc::context::Context;
use dvc::context::Remote;
use dvc::error::{Error, Kind};
use dvc::hooks::{HookError, HookFacts, HookVerb};
use dvc::model::refname::RefName;
use dvc::model::revision::RevisionSpec;
use dvc::model::text::{count, harmless};
use dvc::observe::{Notice, NoticeLevel, Observer};
use dvc::ops::push::{PushOptions, PushOutcome, PushReport, RejectedRef, push};
use dvc::repo::refs::RefError;
use serde::Serialize;
use std::io::Write;
use std::time::{Duration, Instant};

/// Options of `push`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dvc push origin            the current branch\n  dvc push origin AMCC       one branch\n  \
                        dvc push --all-remotes --all --tags\n  dvc push -n                what would be sent"
)]
pub(crate) struct PushArgs {
    /// Push to these remotes (names or URLs), these branches and tags; the default is the current
    /// branch to `origin`
    #[arg(value_name = "REMOTE|REF")]
    pub(crate) names: Vec<String>,
    /// Push all branches
    #[arg(long)]
    pub(crate) all: bool,
    /// Accept git's `push -u`: dvc always tracks the remote's branch with the same name
    #[arg(short = 'u', long, hide = true)]
    pub(crate) set_upstream: bool,
    /// Push all tags
    #[arg(long)]
    pub(crate) tags: bool,
    /// Push to every remote
    #[arg(long)]
    pub(crate) all_remotes: bool,
    /// Also move a branch that is not a fast-forward, if the remote's branch is unchanged since the last fetch
    #[arg(long)]
    pub(crate) force_with_lease: bool,
    /// Continue even if the remote is not a copy of this repository
    #[arg(long)]
    pub(crate) force: bool,
    /// Send the data of this version again, which the remote has forgotten; may be repeated
    #[arg(long, value_name = "REV")]
    pub(crate) restore: Vec<String>,
    /// Read PCT percent of the sent data back and compare it
    #[arg(long, value_name = "PCT", num_args = 0..=1, require_equals = true, default_missing_value = "100",
          value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) verify: Option<u8>,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Runs `push`.
pub(crate) fn run(session: &Session, args: &PushArgs) -> CommandResult {
    let (_, context) = session.here()?;
    let PushTargets { remotes, names } = split(session, &context, args)?;
    let restore = args.restore.iter();
    let options = PushOptions {
        restore: restore
            .map(|spec| RevisionSpec::parse(spec.as_bytes()).map_err(Error::from))
            .collect::<Result<_, _>>()?,
        names,
        all: args.all,
        tags: args.tags,
        force_with_lease: args.force_with_lease,
        force: args.force,
        verify_percent: args.verify.unwrap_or(0),
        dry_run: session.dry_run(args.dry),
    };
    let mut failed: Option<Error> = None;
    for remote in &remotes {
        if let Err(e) = to(session, &context, remote, &options) {
            // If standard output is closed, no further result can be shown.
            let Failed::Operation(e) = e else {
                return Err(e);
            };
            // Continue with the other remotes, unless the user cancelled the push.
            // Only the last failure is the result of the command, so earlier ones are printed here.
            if let Some(before) = failed.replace(e) {
                let _ = std::io::stderr()
                    .write_all(format!("error: {}\n", harmless(&before.to_string())).as_bytes());
            }
            if failed.as_ref().is_some_and(|e| e.kind() == Kind::Cancelled) {
                break;
            }
        }
    }
    failed.map_or(Ok(Exit::DONE), |e| Err(e.into()))
}

/// Pushes to one remote and reports the result.
pub(crate) fn to(
    session: &Session,
    context: &Context,
    remote: &Remote,
    options: &PushOptions,
) -> Result<(), Failed> {
    let began = Instant::now();
    let progress = session.progress()?;
    let HookedPush {
        report,
        hook_failure,
    } = hooked(session, context, remote, options, &progress)?;
    if !report.left_out.is_empty() {
        let message = format!(
            "not pushed: {}; specify the branches to push, or use `--all`",
            listed(&report.left_out)
        );
        progress.notice(Notice {
            level: NoticeLevel::Info,
            path: Vec::new(),
            message,
        });
    }
    drop(progress);
    let mut out = session.plain_out();
    print(session, &mut out, &report, options.dry_run, began.elapsed())?;
    out.finish()?;
    match report.rejected() {
        Some(rejected) => {
            let (remote, kind, name) =
                (report.remote.clone(), rejected.kind, rejected.name.clone());
            Err(Error::from(RejectedRef { remote, kind, name }).into())
        }
        None if hook_failure.is_none() && report.damaged > 0 => Err(Error::from(RefError::Some {
            count: report.damaged,
        })
        .into()),
        None => hook_failure.map_or(Ok(()), |failed| Err(Error::from(failed).into())),
    }
}

/// The report of a push, and the failure of the hook that ran after it.
struct HookedPush {
    report: PushReport,
    hook_failure: Option<HookError>,
}

/// Runs a push between its hooks. To the hooks, a rejected ref is a failure.
fn hooked(
    session: &Session,
    context: &Context,
    remote: &Remote,
    options: &PushOptions,
    observer: &dyn Observer,
) -> Result<HookedPush, Failed> {
    if options.dry_run {
        return Ok(HookedPush {
            report: push(context, remote, options, observer)?,
            hook_failure: None,
        });
    }
    let facts = HookFacts {
        repository: context.repository.display().to_string(),
        remote: Some(remote.name.clone()).filter(|name| !name.is_empty()),
        url: Some(remote.location.to_string()),
        refs: options.names.clone(),
        ..HookFacts::default()
    };
    // The hooks get the rejected ref only as an error, so the report is stored beside it.
    let mut rejected = None;
    let act = || {
        let report = push(context, remote, options, observer)?;
        match report.rejected() {
            None => Ok(report),
            Some(one) => {
                let failed = RejectedRef {
                    remote: report.remote.clone(),
                    kind: one.kind,
                    name: one.name.clone(),
                };
                rejected = Some(report);
                Err(failed.into())
            }
        }
    };
    let learned = |report: &PushReport, facts: &mut HookFacts| {
        facts.refs = report.refs.iter().map(|one| one.name.to_string()).collect();
        true
    };
    match (
        session
            .hooks(context)?
            .around(HookVerb::Push, facts, observer, act, learned),
        rejected,
    ) {
        // A ref was rejected: the caller prints the result of each ref, and then the error.
        (Err(_), Some(report)) => Ok(HookedPush {
            report,
            hook_failure: None,
        }),
        (done, _) => {
            let (report, hook_failure) = done?;
            Ok(HookedPush {
                report,
                hook_failure,
            })
        }
    }
}

/// The remotes to push to, and the names of refs.
struct PushTargets {
    remotes: Vec<Remote>,
    names: Vec<String>,
}

/// Splits the arguments into remotes and refs.
fn split(session: &Session, context: &Context, args: &PushArgs) -> Result<PushTargets, Failed> {
    if args.all_remotes {
        if context.remotes.is_empty() {
            return Err(CliError::NoRemote {
                name: "origin".to_owned(),
                known: String::new(),
            }
            .into());
        }
        let remotes = context
            .remotes
            .iter()
            .map(|r| session.with_access(r))
            .collect::<Result<_, _>>()?;
        return Ok(PushTargets {
            remotes,
            names: args.names.clone(),
        });
    }
    // A path must begin with a slash or a dot, because another name could be a branch.
    let is_remote = |name: &&String| {
        context.remote(name).is_some()
            || dvc::store::location::Location::is_url(name)
            || name.starts_with(['/', '.'])
    };
    // Remotes come first, so a later name is a ref even if a remote has the same name.
    let count = args.names.iter().take_while(is_remote).count();
    let (remotes, names) = args.names.split_at(count);
    let remotes = match remotes {
        [] => vec![session.default_remote(context)?],
        named => named
            .iter()
            .map(|name| session.remote(context, name))
            .collect::<Result<_, _>>()?,
    };
    Ok(PushTargets {
        remotes,
        names: names.to_vec(),
    })
}

/// Formats branch names for a message: all of them, or the first few and the number of the others.
fn listed(names: &[RefName]) -> String {
    const SHOWN: usize = 5;
    let shown = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[derive(Serialize)]
struct JsonPush<'a> {
    remote: &'a str,
    url: &'a str,
    refs: Vec<JsonPushedRef<'a>>,
    packs: u64,
    bytes: u64,
    sent_bytes: u64,
    requests: u64,
    verified_packs: u64,
    created: bool,
    not_pushed: Vec<&'a str>,
    restored: Vec<String>,
    dry_run: bool,
    seconds: f64,
}

#[derive(Serialize)]
struct JsonPushedRef<'a> {
    kind: &'static str,
    name: &'a str,
    old: Option<String>,
    new: String,
    outcome: &'static str,
}

fn print(
    session: &Session,
    out: &mut Out,
    report: &PushReport,
    dry_run: bool,
    took: Duration,
) -> std::io::Result<()> {
    let outcome = |outcome: PushOutcome| match outcome {
        PushOutcome::UpToDate => "up-to-date",
        PushOutcome::Created => "created",
        PushOutcome::Moved => "moved",
        PushOutcome::Forced => "forced",
        PushOutcome::Diverged => "diverged",
        PushOutcome::Raced => "lost-race",
    };
    if session.globals.json {
        let refs = report.refs.iter().map(|r| JsonPushedRef {
            kind: r.kind.name(),
            name: r.name.as_str(),
            old: r.old.map(|id| id.to_string()),
            new: r.new.to_string(),
            outcome: outcome(r.outcome),
        });
        return out.json(&JsonPush {
            remote: &report.remote,
            url: &report.url,
            refs: refs.collect(),
            packs: report.packs,
            bytes: report.bytes,
            sent_bytes: report.sent_bytes,
            requests: report.requests,
            verified_packs: report.verified,
            created: report.created,
            not_pushed: report.left_out.iter().map(RefName::as_str).collect(),
            restored: report.restored.iter().map(ToString::to_string).collect(),
            dry_run,
            seconds: took.as_secs_f64(),
        });
    }
    if session.globals.quiet > 0 {
        return Ok(());
    }
    writeln!(out, "to {}", report.url)?;
    for one in &report.refs {
        let (name, new) = (
            out.paint(Paint::Branch, &one.name),
            out.paint(Paint::Id, one.new.short()),
        );
        let old = one
            .old
            .map(|id| format!("{}..", id.short()))
            .unwrap_or_default();
        match one.outcome {
            PushOutcome::UpToDate => writeln!(out, "  {name} is up to date")?,
            PushOutcome::Created => writeln!(out, "  {name} {new} (new)")?,
            PushOutcome::Moved => writeln!(out, "  {name} {old}{new}")?,
            PushOutcome::Forced => writeln!(out, "  {name} {old}{new} (forced)")?,
            PushOutcome::Diverged | PushOutcome::Raced => writeln!(
                out,
                "  {name} rejected: the remote has {}",
                one.old.map(|id| id.short()).unwrap_or_default()
            )?,
        }
    }
    if !report.restored.is_empty() {
        let versions = count(report.restored.len() as u64, "version");
        let would = if dry_run { "would restore" } else { "restored" };
        writeln!(out, "  {would} {versions} from the trash of the remote")?;
    }
    let (packs, requests) = (
        count(report.packs, "pack"),
        count(report.requests, "request"),
    );
    let bytes = size(report.bytes);
    match (dry_run, report.packs) {
        (true, _) => writeln!(out, " would send {bytes} in {packs} with about {requests}"),
        (false, 0) => Ok(()),
        (false, _) => {
            let rate = size(
                (u128::from(report.bytes) * 1000 / took.as_millis().max(1))
                    .try_into()
                    .unwrap_or(u64::MAX),
            );
            let verified = if report.verified > 0 {
                format!(", {} read back", report.verified)
            } else {
                String::new()
            };
            writeln!(
                out,
                " {bytes} in {packs}, {requests}, {} ({rate}/s){verified}",
                elapsed(took)
            )
        }
    }
}
