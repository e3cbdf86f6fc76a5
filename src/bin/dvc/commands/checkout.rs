//! `dvc checkout`: writes a version, or paths of it, to the worktree or another directory.

use crate::failure::{CliError, CommandResult, Exit, Failed};
use crate::globals::DryRun;
use crate::print::{Out, Paint, elapsed, size};
use crate::render::change::JsonChange;
use crate::render::shown;
use crate::session::Session;
use clap::Args;
use dvc::error::{Error, Kind};
use dvc::model::refname::RefName;
use dvc::model::revision::Revision;
use dvc::model::text::{count, harmless};
use dvc::ops::checkout::{CheckoutOptions, CheckoutReport, KeptFiles, checkout};
use dvc::query::compare::TreeChange;
use dvc::query::describe::MeasuredChange;
use dvc::refs::head::Head;
use serde::Serialize;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

/// Options of `checkout`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    dvc checkout AMCC@v41 --into /restored\n  \
    dvc checkout AMCC@{yesterday} -- acme/orders.ibd\n  \
    dvc checkout AMCC@v41 -- 'orders*.ibd'")]
pub(crate) struct CheckoutArgs {
    /// Check out this version; a branch name also switches to the branch, `-` is the previous
    /// branch
    #[arg(value_name = "REV")]
    pub(crate) rev: Option<OsString>,
    /// Write to DIR, which is created, instead of the worktree
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) into: Option<PathBuf>,
    /// Create branch NAME at the version and switch to it
    #[arg(short, long, value_name = "NAME", conflicts_with_all = ["into", "paths"])]
    pub(crate) branch: Option<String>,
    /// Remove files that the version does not have (the default for a whole checkout)
    #[arg(long, conflicts_with_all = ["keep_extra", "paths"])]
    pub(crate) delete: bool,
    /// Keep files that the version does not have
    #[arg(long)]
    pub(crate) keep_extra: bool,
    /// Read the written files back and compare them
    #[arg(long)]
    pub(crate) verify: bool,
    /// Continue even if the target is in use or has changes, which are moved to the trash
    #[arg(short, long)]
    pub(crate) force: bool,
    /// With -f, lose changes instead of moving them to the trash
    #[arg(long, requires = "force")]
    pub(crate) no_trash: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// Write only these paths, or paths that match patterns as in `.dvcsignore`
    #[arg(value_name = "PATH", last = true, value_hint = clap::ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
}

/// Runs `checkout`.
pub(crate) fn run(session: &Session, args: &CheckoutArgs) -> CommandResult {
    let begun = Instant::now();
    let place = session.place()?;
    let context = session.context(&place)?;
    let revision = match &args.rev {
        Some(text) if text == "-" => Some(Head::previous(&context)?),
        Some(text) => Some(Revision::parse(&text.to_string_lossy()).map_err(Error::from)?),
        None => None,
    };
    // Such a call would only discard changes, which requires `-f`.
    if revision.is_none()
        && args.branch.is_none()
        && args.paths.is_empty()
        && args.into.is_none()
        && !args.force
    {
        return Err(CliError::option(
            "REV",
            "expected a version, paths after `--`, or `-f` for the current version",
        )
        .into());
    }
    let options = CheckoutOptions {
        revision,
        into: args.into.clone(),
        new_branch: args
            .branch
            .as_deref()
            .map(RefName::new)
            .transpose()
            .map_err(Error::from)?,
        paths: place.paths(&args.paths)?,
        prefix: place.prefix.as_os_str().as_encoded_bytes().to_vec(),
        keep_extra: args.keep_extra,
        delete: false,
        verify: args.verify,
        force: args.force,
        no_trash: args.no_trash,
        overwrite: false,
        dry_run: session.dry_run(args.dry),
        walk: session.walk()?,
    };
    let progress = session.progress()?;
    let report = checkout(&context, &options, &progress)?;
    drop(progress);
    print(session, args, &report, options.dry_run, begun.elapsed())?;
    Ok(exit(&report))
}

/// Returns the exit code for the result of a checkout.
pub(crate) fn exit(report: &CheckoutReport) -> Exit {
    if report.done.damaged > 0 || report.wrong > 0 {
        Exit::with(Kind::Integrity)
    } else if report.done.incomplete > 0 {
        Exit::with(Kind::Incomplete)
    } else {
        Exit::DONE
    }
}

/// Returns the id of the files that a checkout has moved to the trash.
pub(crate) fn trash_id(report: &CheckoutReport) -> Option<String> {
    let id = report.kept.as_ref()?.id?;
    Some(id.short())
}

/// Prints which files were moved to the trash.
pub(crate) fn print_kept(out: &mut Out, kept: &KeptFiles) -> std::io::Result<()> {
    let files = count(kept.files, "changed file");
    match kept.id {
        None => writeln!(out, " {files} would be moved to the trash"),
        Some(id) => writeln!(
            out,
            " {files} in the trash; run `dvc trash restore {}` to restore",
            out.paint(Paint::Id, id.short())
        ),
    }
}

#[derive(Serialize)]
struct JsonCheckout<'a> {
    id: String,
    tree: String,
    ordinal: u64,
    branch: Option<&'a str>,
    dry_run: bool,
    files: u64,
    directories: u64,
    bytes: u64,
    removed: u64,
    incomplete: u64,
    damaged: u64,
    mismatched: u64,
    trash: Option<String>,
    planned: Vec<JsonChange>,
    seconds: f64,
}

fn print(
    session: &Session,
    args: &CheckoutArgs,
    report: &CheckoutReport,
    dry_run: bool,
    took: std::time::Duration,
) -> Result<(), Failed> {
    let mut out = session.plain_out();
    let CheckoutReport {
        version,
        commit,
        branch,
        done,
        planned,
        wrong,
        kept,
    } = report;
    if session.globals.json {
        let step = |c: &TreeChange| {
            JsonChange::new(
                &MeasuredChange {
                    change: c.clone(),
                    ranges: Vec::new(),
                },
                false,
            )
        };
        out.json(&JsonCheckout {
            id: version.to_string(),
            tree: commit.tree.to_string(),
            ordinal: commit.ordinal,
            branch: branch.as_ref().map(RefName::as_str),
            dry_run,
            files: done.files,
            directories: done.dirs,
            bytes: done.bytes,
            removed: done.removed,
            incomplete: done.incomplete,
            damaged: done.damaged,
            mismatched: *wrong,
            trash: trash_id(report),
            planned: planned.iter().map(step).collect(),
            seconds: took.as_secs_f64(),
        })?;
    } else if session.globals.quiet == 0 {
        for change in planned {
            writeln!(out, "{} {}", change.letter.as_str(), shown(&change.path))?;
        }
        let name = match branch {
            Some(branch) => format!(
                "{branch} v{} {}",
                commit.ordinal,
                out.paint(Paint::Id, version.short())
            ),
            None => format!(
                "v{} {}",
                commit.ordinal,
                out.paint(Paint::Id, version.short())
            ),
        };
        let into = args
            .into
            .as_ref()
            .map(|d| format!(" in `{}`", d.display()))
            .unwrap_or_default();
        writeln!(out, "[{name}] {}{into}", harmless(commit.subject()))?;
        if dry_run {
            writeln!(out, " (dry run: nothing was changed)")?;
        } else {
            let gone = if done.removed > 0 {
                format!(", {} removed", done.removed)
            } else {
                String::new()
            };
            let plural = if done.files == 1 { "" } else { "s" };
            writeln!(
                out,
                " {} file{plural}, {} written{gone}, {}",
                done.files,
                size(done.bytes),
                elapsed(took)
            )?;
        }
        if let Some(kept) = kept {
            print_kept(&mut out, kept)?;
        }
        if args.verify && *wrong == 0 {
            writeln!(out, " verified")?;
        }
    }
    out.finish()?;
    Ok(())
}
