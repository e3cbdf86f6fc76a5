//! `dvc remote`: lists, adds, changes, removes and checks remotes.

use crate::failure::{CliError, CommandResult, Exit};
use crate::globals::{DryRun, Globals, With};
use crate::print::size;
use crate::remotes::{ORIGIN, remove_remote, write_remote};
use crate::session::Session;
use clap::{Args, Subcommand};
use dvc::model::refname::RefName;
use dvc::model::text::{count, harmless};
use dvc::ops::remote::{CheckReport, check};
use dvc::store::location::Location;
use serde::Serialize;
use std::io::Write;

/// Options of `remote`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RemoteArgs {
    #[command(subcommand)]
    pub(crate) action: Option<RemoteAction>,
}

/// The actions of `remote`.
#[derive(Subcommand, Debug)]
pub(crate) enum RemoteAction {
    /// List remotes with their URLs
    #[command(visible_alias = "ls")]
    List(With<ListArgs>),
    /// Add a remote; the first push creates the repository there
    Add(With<AddArgs>),
    /// Change the URL of a remote
    #[command(alias = "set-url")]
    Set(With<AddArgs>),
    /// Remove a remote
    #[command(visible_alias = "remove")]
    Rm(With<RmArgs>),
    /// Check the access to a remote, and whether it supports conditional writes
    Check(With<CheckArgs>),
}

/// Options of `remote list`.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {}

/// Options of `remote add` and `remote set`.
#[derive(Args, Debug)]
pub(crate) struct AddArgs {
    /// Give the remote this name
    pub(crate) name: String,
    /// Use this URL or directory
    pub(crate) url: String,
    /// Fetch only refs and trees; missing data is fetched from the remote when it is read
    #[arg(long)]
    pub(crate) lazy: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Options of `remote rm`.
#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    /// Remove this remote
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Options of `remote check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// Check this remote (name or URL); the default is all remotes
    pub(crate) name: Option<String>,
}

impl RemoteAction {
    /// Returns the global options that follow the action.
    pub(crate) fn globals(&self) -> &Globals {
        match self {
            Self::List(with) => &with.globals,
            Self::Add(with) | Self::Set(with) => &with.globals,
            Self::Rm(with) => &with.globals,
            Self::Check(with) => &with.globals,
        }
    }
}

/// Runs `remote`.
pub(crate) fn run(session: &Session, args: &RemoteArgs) -> CommandResult {
    match &args.action {
        None | Some(RemoteAction::List(_)) => list(session),
        Some(RemoteAction::Add(with)) => add(session, &with.own, false),
        Some(RemoteAction::Set(with)) => add(session, &with.own, true),
        Some(RemoteAction::Rm(with)) => rm(session, &with.own),
        Some(RemoteAction::Check(with)) => checked(session, with.own.name.as_deref()),
    }
}

#[derive(Serialize)]
struct JsonRemote<'a> {
    name: &'a str,
    url: String,
    lazy: bool,
}

#[derive(Serialize)]
struct JsonRemoteCheck<'a> {
    name: &'a str,
    url: &'a str,
    /// `null` if the remote has no repository yet.
    repository_id: Option<&'a str>,
    /// `null` without a local or a remote repository.
    same_repository: Option<bool>,
    refs: usize,
    conditional_writes: bool,
    response_seconds: f64,
    requests: u64,
    max_object_bytes: Option<u64>,
}

fn list(session: &Session) -> CommandResult {
    let (_, context) = session.here()?;
    let mut out = session.plain_out();
    for remote in &context.remotes {
        let url = remote.location.to_string();
        if session.globals.json {
            out.json(&JsonRemote {
                name: &remote.name,
                url,
                lazy: remote.lazy,
            })?;
        } else {
            writeln!(
                out,
                "{}\t{url}{}",
                remote.name,
                if remote.lazy { " (lazy)" } else { "" }
            )?;
        }
    }
    out.finish()?;
    Ok(Exit::DONE)
}

fn add(session: &Session, args: &AddArgs, again: bool) -> CommandResult {
    let (place, context) = session.here()?;
    // The names of remote-tracking branches begin with the name of the remote, and `/` ends it
    // there. A `.` would divide the key `remote.NAME.url`.
    RefName::new(&args.name).map_err(dvc::error::Error::from)?;
    if args.name.contains('/') || args.name.contains('.') {
        return Err(
            CliError::option("NAME", "the name of a remote cannot contain `/` or `.`").into(),
        );
    }
    // A remote that only the environment names can be added to the settings.
    let settled = session
        .settings()?
        .remotes()
        .any(|(name, _)| name == args.name);
    let known = context.remote(&args.name).filter(|_| settled);
    match (known, again) {
        (Some(known), false) => {
            let problem = format!(
                "the remote `{}` already exists (`{}`); run `dvc remote set` to change it",
                args.name, known.location
            );
            return Err(CliError::option("NAME", problem).into());
        }
        (None, true) => {
            let known: Vec<&str> = context.remotes.iter().map(|r| r.name.as_str()).collect();
            return Err(CliError::NoRemote {
                name: args.name.clone(),
                known: known.join(", "),
            }
            .into());
        }
        _ => {}
    }
    let location = session.location(&args.url)?;
    ensure_outside(&place, &location)?;
    // `set` changes the URL and keeps `lazy`.
    let lazy = args.lazy || known.is_some_and(|known| known.lazy);
    if !session.dry_run(args.dry) {
        write_remote(&place, &args.name, &location, lazy)?;
    }
    let mut out = session.plain_out();
    let summary = match (session.dry_run(args.dry), again) {
        (false, false) => format!("added remote {}, {location}", args.name),
        (false, true) => format!("changed remote {}, now {location}", args.name),
        (true, false) => format!("would add remote {}, {location}", args.name),
        (true, true) => format!("would change remote {} to {location}", args.name),
    };
    let report = if session.dry_run(args.dry) || session.settings()?.on("network.offline") {
        None
    } else {
        let mut remote = session.unnamed(location.clone())?;
        remote.name.clone_from(&args.name);
        remote.access = session.access(session.settings()?, Some(&args.name), true)?;
        Some(check(&context, &remote, &session.watch()))
    };
    match report {
        Some(Ok(report)) => {
            print_line(session, &mut out, &summary)?;
            print(session, &mut out, &report)?;
        }
        // The remote stays in the settings, because it may only be unreachable at the moment.
        Some(Err(e)) => {
            out.finish()?;
            let done = if again { "changed" } else { "added" };
            let kept = format!(
                "warning: the remote `{}` was {done}, but it is not accessible\n",
                args.name
            );
            let _ = std::io::stderr().write_all(kept.as_bytes());
            return Err(e.into());
        }
        None if session.globals.json => {
            out.json(&JsonRemote {
                name: &args.name,
                url: location.to_string(),
                lazy,
            })?;
        }
        None => print_line(session, &mut out, &summary)?,
    }
    out.finish()?;
    Ok(Exit::DONE)
}

fn print_line(session: &Session, out: &mut crate::print::Out, line: &str) -> std::io::Result<()> {
    if session.globals.json || session.globals.quiet > 0 {
        Ok(())
    } else {
        writeln!(out, "{line}")
    }
}

/// Fails if a remote is inside the worktree: it would be part of the versions that are pushed to
/// it, and would be lost with them.
fn ensure_outside(place: &crate::place::RepoPlace, location: &Location) -> Result<(), CliError> {
    let (Some(dir), true) = (
        location.as_directory(),
        place.repository == place.worktree.join(crate::place::INSIDE),
    ) else {
        return Ok(());
    };
    let dir = crate::place::without_links(&dir);
    let top = place
        .worktree
        .canonicalize()
        .unwrap_or_else(|_| place.worktree.clone());
    if dir.starts_with(&top) {
        Err(CliError::InsideWorktree { dir, top })
    } else {
        Ok(())
    }
}

fn rm(session: &Session, args: &RmArgs) -> CommandResult {
    let (place, context) = session.here()?;
    if context.remote(&args.name).is_none() {
        let known: Vec<&str> = context.remotes.iter().map(|r| r.name.as_str()).collect();
        return Err(CliError::NoRemote {
            name: args.name.clone(),
            known: known.join(", "),
        }
        .into());
    }
    if !session.dry_run(args.dry) {
        remove_remote(&place, &args.name)?;
        dvc::ops::remote::forget(&context, &args.name)?;
    }
    let mut out = session.plain_out();
    let done = if session.dry_run(args.dry) {
        "would remove remote"
    } else {
        "removed remote"
    };
    print_line(session, &mut out, &format!("{done} {}", args.name))?;
    out.finish()?;
    Ok(Exit::DONE)
}

fn checked(session: &Session, name: Option<&str>) -> CommandResult {
    let context = match name {
        // A URL can be checked without a repository. A local repository remembers the result.
        Some(name) if Location::is_url(name) => match session.here() {
            Ok((_, context)) => context,
            Err(_) => session.nowhere()?,
        },
        _ => session.here()?.1,
    };
    let remotes = match name {
        Some(name) => vec![session.remote(&context, name)?],
        None => context
            .remotes
            .iter()
            .map(|r| session.with_access(r))
            .collect::<Result<_, _>>()?,
    };
    let mut out = session.plain_out();
    if remotes.is_empty() {
        return Err(CliError::NoRemote {
            name: ORIGIN.to_owned(),
            known: String::new(),
        }
        .into());
    }
    let mut failed = None;
    for remote in &remotes {
        match check(&context, remote, &session.watch()) {
            Ok(report) => print(session, &mut out, &report)?,
            // The other remotes are checked too, and the first failure decides the exit code.
            Err(e) if remotes.len() > 1 => {
                let _ = std::io::stderr()
                    .write_all(harmless(&format!("error: {}: {e}\n", remote.name)).as_bytes());
                failed.get_or_insert(e.kind());
            }
            Err(e) => return Err(e.into()),
        }
    }
    out.finish()?;
    Ok(failed.map_or(Exit::DONE, Exit::with))
}

fn print(
    session: &Session,
    out: &mut crate::print::Out,
    report: &CheckReport,
) -> std::io::Result<()> {
    if session.globals.json {
        return out.json(&JsonRemoteCheck {
            name: &report.remote,
            url: &report.url,
            repository_id: report.repository.as_deref(),
            same_repository: report.same,
            refs: report.refs,
            conditional_writes: report.exclusive,
            response_seconds: report.answer_secs,
            requests: report.requests,
            max_object_bytes: (report.object_max < u64::MAX).then_some(report.object_max),
        });
    }
    writeln!(out, "{} {}", report.remote, report.url)?;
    match (&report.repository, report.same) {
        (None, _) => writeln!(out, "  repository  none yet; the first push creates it")?,
        (Some(id), Some(false)) => writeln!(
            out,
            "  repository  {id}: not a copy of the local repository"
        )?,
        (Some(id), _) => writeln!(
            out,
            "  repository  {id}, {}",
            count(report.refs as u64, "ref")
        )?,
    }
    let writes = if report.exclusive {
        "conditional"
    } else {
        "not conditional: refs are protected by an intent lock"
    };
    writeln!(out, "  writes      {writes}")?;
    writeln!(out, "  latency     {:.0} ms", report.answer_secs * 1000.0)?;
    if report.object_max < u64::MAX {
        writeln!(out, "  objects     at most {}", size(report.object_max))?;
    }
    Ok(())
}
