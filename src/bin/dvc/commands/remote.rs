//! `dvc remote`: lists, adds, changes, removes and checks remotes.

use crate::args::{DryRun, Globals, With};
use crate::commands::config;
use crate::failure::{CliError, Exit, Failed, Outcome};
use crate::print::size;
use crate::remotes::ORIGIN;
use crate::session::Session;
use clap::{Args, Subcommand};
use dvc::model::refname::RefName;
use dvc::model::text::{count, harmless};
use dvc::ops::remote::{CheckReport, check};
use dvc::store::location::Location;
use std::io::Write;

/// Options of `remote`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RemoteArgs {
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Action {
    /// List remotes with their URLs
    #[command(visible_alias = "ls")]
    List(With<ListArgs>),
    /// Add a remote; the first push makes the repository there
    Add(With<AddArgs>),
    /// Give a remote another URL
    #[command(alias = "set-url")]
    Set(With<AddArgs>),
    /// Forget a remote
    #[command(visible_alias = "remove")]
    Rm(With<RmArgs>),
    /// Reach a remote, write to it, and find out whether it decides races
    Check(With<CheckArgs>),
}

/// Options of `remote list`.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {}

/// Options of `remote add` and `remote set`.
#[derive(Args, Debug)]
pub(crate) struct AddArgs {
    /// Its name
    pub(crate) name: String,
    /// Its URL, or a directory
    pub(crate) url: String,
    /// Take what is missing here from it when it is read, and fetch only refs and trees
    #[arg(long)]
    pub(crate) lazy: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Options of `remote rm`.
#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    /// The remote's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Options of `remote check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// Its name or URL; all remotes if left out
    pub(crate) name: Option<String>,
}

impl Action {
    /// The global options behind the action.
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
pub(crate) fn run(session: &Session, args: &RemoteArgs) -> Outcome {
    match &args.action {
        None | Some(Action::List(_)) => list(session),
        Some(Action::Add(with)) => add(session, &with.own, false),
        Some(Action::Set(with)) => add(session, &with.own, true),
        Some(Action::Rm(with)) => rm(session, &with.own),
        Some(Action::Check(with)) => checked(session, with.own.name.as_deref()),
    }
}

fn list(session: &Session) -> Outcome {
    let (_, context) = session.here()?;
    let mut out = session.plain_out();
    for remote in &context.remotes {
        let url = remote.location.to_string();
        if session.globals.json {
            out.json(&serde_json::json!({ "name": remote.name, "url": url, "lazy": remote.lazy }))?;
        } else {
            writeln!(out, "{}\t{url}{}", remote.name, if remote.lazy { " (lazy)" } else { "" })?;
        }
    }
    out.finish()?;
    Ok(Exit::DONE)
}

fn add(session: &Session, args: &AddArgs, again: bool) -> Outcome {
    let (place, context) = session.here()?;
    RefName::new(&args.name).map_err(dvc::error::Error::from)?;
    if args.name.contains('/') || args.name.contains('.') {
        return Err(CliError::option("NAME", "a remote's name has no `/` and no `.`").into());
    }
    let settled = session.settings()?.remotes().any(|(name, _)| name == args.name);
    let known = context.remote(&args.name).filter(|_| settled);
    match (known, again) {
        (Some(known), false) => {
            let problem =
                format!("there is a remote `{}` already, `{}`; `dvc remote set` changes it", args.name, known.location);
            return Err(CliError::option("NAME", problem).into());
        }
        (None, true) => {
            let known: Vec<&str> = context.remotes.iter().map(|r| r.name.as_str()).collect();
            return Err(CliError::NoRemote { name: args.name.clone(), known: known.join(", ") }.into());
        }
        _ => {}
    }
    let location = session.location(&args.url)?;
    ensure_outside(&place, &location)?;
    if !session.dry_run(args.dry) {
        let lazy = (args.lazy || known.is_some_and(|known| known.lazy)).then_some("true");
        write(&place, &args.name, Some(&location), lazy)?;
    }
    let mut out = session.plain_out();
    let told = match (session.dry_run(args.dry), again) {
        (false, false) => format!("added remote {}, {location}", args.name),
        (false, true) => format!("changed remote {}, now {location}", args.name),
        (true, false) => format!("would add remote {}, {location}", args.name),
        (true, true) => format!("would change remote {} to {location}", args.name),
    };
    let report = match session.dry_run(args.dry) || session.settings()?.on("network.offline") {
        true => None,
        false => {
            let mut remote = session.unnamed(location.clone())?;
            remote.name.clone_from(&args.name);
            remote.access = session.access(session.settings()?, Some(&args.name), true)?;
            Some(check(&context, &remote, &session.watch()))
        }
    };
    match report {
        Some(Ok(report)) => {
            tell(session, &mut out, &told)?;
            print(session, &mut out, &report)?;
        }
        Some(Err(e)) => {
            out.finish()?;
            let done = if again { "changed" } else { "added" };
            let kept = format!("warning: `{}` is {done}, but it cannot be used yet\n", args.name);
            let _ = std::io::stderr().write_all(kept.as_bytes());
            return Err(e.into());
        }
        None if session.globals.json => {
            out.json(&serde_json::json!({ "name": args.name, "url": location.to_string(), "lazy": args.lazy }))?;
        }
        None => tell(session, &mut out, &told)?,
    }
    out.finish()?;
    Ok(Exit::DONE)
}

fn tell(session: &Session, out: &mut crate::print::Out, line: &str) -> std::io::Result<()> {
    if session.globals.json || session.globals.quiet > 0 { Ok(()) } else { writeln!(out, "{line}") }
}

/// A remote inside the worktree would be part of the versions that are pushed to it, and would be lost with them.
fn ensure_outside(place: &crate::place::Place, location: &Location) -> Result<(), CliError> {
    let (Some(dir), true) = (location.as_directory(), place.repository == place.worktree.join(crate::place::INSIDE))
    else {
        return Ok(());
    };
    let dir = crate::place::without_links(&dir);
    let top = place.worktree.canonicalize().unwrap_or_else(|_| place.worktree.clone());
    match dir.starts_with(&top) {
        true => Err(CliError::InsideWorktree { dir, top }),
        false => Ok(()),
    }
}

/// Writes a remote into the repository's settings.
pub(crate) fn write(
    place: &crate::place::Place,
    name: &str,
    location: Option<&Location>,
    lazy: Option<&str>,
) -> Result<(), Failed> {
    let path = place.repository.join("config.toml");
    let url = location.map(ToString::to_string);
    config::write_text(&path, &format!("remote.{name}.url"), url.as_deref())?;
    config::write_text(&path, &format!("remote.{name}.lazy"), lazy)
}

fn rm(session: &Session, args: &RmArgs) -> Outcome {
    let (place, context) = session.here()?;
    if context.remote(&args.name).is_none() {
        let known: Vec<&str> = context.remotes.iter().map(|r| r.name.as_str()).collect();
        return Err(CliError::NoRemote { name: args.name.clone(), known: known.join(", ") }.into());
    }
    if !session.dry_run(args.dry) {
        write(&place, &args.name, None, None)?;
        dvc::ops::remote::forget(&context, &args.name)?;
    }
    let mut out = session.plain_out();
    let told = if session.dry_run(args.dry) { "would remove remote" } else { "removed remote" };
    tell(session, &mut out, &format!("{told} {}", args.name))?;
    out.finish()?;
    Ok(Exit::DONE)
}

fn checked(session: &Session, name: Option<&str>) -> Outcome {
    let context = match name {
        // A URL can be checked without any repository; one that is here remembers what was found.
        Some(name) if Location::is_url(name) => match session.here() {
            Ok((_, context)) => context,
            Err(_) => session.nowhere()?,
        },
        _ => session.here()?.1,
    };
    let remotes = match name {
        Some(name) => vec![session.remote(&context, name)?],
        None => context.remotes.iter().map(|r| session.with_access(r)).collect::<Result<_, _>>()?,
    };
    let mut out = session.plain_out();
    if remotes.is_empty() {
        return Err(CliError::NoRemote { name: ORIGIN.to_owned(), known: String::new() }.into());
    }
    let mut failed = None;
    for remote in &remotes {
        match check(&context, remote, &session.watch()) {
            Ok(report) => print(session, &mut out, &report)?,
            Err(e) if remotes.len() > 1 => {
                let _ = std::io::stderr().write_all(harmless(&format!("error: {}: {e}\n", remote.name)).as_bytes());
                failed.get_or_insert(e.kind());
            }
            Err(e) => return Err(e.into()),
        }
    }
    out.finish()?;
    Ok(failed.map_or(Exit::DONE, Exit::with))
}

fn print(session: &Session, out: &mut crate::print::Out, report: &CheckReport) -> std::io::Result<()> {
    if session.globals.json {
        return out.json(&serde_json::json!({
            "name": report.remote,
            "url": report.url,
            "repository": report.repository,
            "same": report.same,
            "refs": report.refs,
            "exclusive": report.exclusive,
            "seconds": report.answer_secs,
            "requests": report.requests,
            "object_max": (report.object_max < u64::MAX).then_some(report.object_max),
        }));
    }
    writeln!(out, "{} {}", report.remote, report.url)?;
    match (&report.repository, report.same) {
        (None, _) => writeln!(out, "  repository  none yet; the first push makes it")?,
        (Some(id), Some(false)) => writeln!(out, "  repository  {id}: not a copy of this one")?,
        (Some(id), _) => writeln!(out, "  repository  {id}, {}", count(report.refs as u64, "ref"))?,
    }
    let races = match report.exclusive {
        true => "decided by the store",
        false => "not decided by the store: an intent lock guards refs",
    };
    writeln!(out, "  races       {races}")?;
    writeln!(out, "  answers in  {:.0} ms", report.answer_secs * 1000.0)?;
    if report.object_max < u64::MAX {
        writeln!(out, "  objects     at most {}", size(report.object_max))?;
    }
    Ok(())
}
