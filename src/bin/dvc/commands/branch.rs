//! `dvc branch`: lists, creates, renames and deletes branches.

use crate::args::DryRun;
use crate::failure::{CliError, Exit, Failed, Outcome};
use crate::print::{Out, Paint};
use crate::render::moved;
use crate::session::Session;
use clap::Args;
use dvc::error::{Error, Kind};
use dvc::model::refname::RefName;
use dvc::model::revision::Revision;
use dvc::model::text::harmless;
use dvc::ops::branch::{BranchAction, BranchOptions, BranchReport, BranchScope, branch};
use std::io::{self, Write};

/// Options of `branch`.
#[derive(Args, Debug)]
pub(crate) struct BranchArgs {
    /// Delete the named branches
    #[arg(short, long, requires = "names", conflicts_with = "rename")]
    pub(crate) delete: bool,
    /// Accepted for git's `branch -D`: as -d -f
    #[arg(short = 'D', hide = true, requires = "names", conflicts_with = "rename")]
    pub(crate) delete_anyway: bool,
    /// List the branches, the default
    #[arg(short, long, conflicts_with_all = ["delete", "rename", "names", "force"])]
    pub(crate) list: bool,
    /// List the branches of remotes as well
    #[arg(short, long, conflicts_with_all = ["delete", "rename", "names", "force"])]
    pub(crate) all: bool,
    /// List only the branches of remotes
    #[arg(short, long, conflicts_with_all = ["delete", "rename", "names", "force", "all"])]
    pub(crate) remotes: bool,
    /// Rename: the old name (else the current branch) and the new one
    #[arg(short = 'm', long = "move", requires = "names")]
    pub(crate) rename: bool,
    /// Move a branch that exists
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Print the name of the current branch
    #[arg(long, conflicts_with_all = ["delete", "rename", "names"])]
    pub(crate) show_current: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// The new branch and its version; without any, branches are listed
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Runs `branch`.
pub(crate) fn run(session: &Session, args: &BranchArgs) -> Outcome {
    let (_, context) = session.here()?;
    let options = BranchOptions { action: action(args)?, dry_run: session.dry_run(args.dry) };
    let report = branch(&context, &options, &session.notices()?)?;
    let mut out = session.plain_out();
    match options.action {
        BranchAction::List(_) if args.show_current => show_current(session, &mut out, &report)?,
        BranchAction::List(_) => list(session, &mut out, &report)?,
        _ => moved::print(session, &mut out, &report.moves, options.dry_run)?,
    }
    out.finish()?;
    Ok(if report.damaged == 0 { Exit::DONE } else { Exit::with(Kind::Integrity) })
}

fn action(args: &BranchArgs) -> Result<BranchAction, Failed> {
    let name = |text: &String| RefName::new(text).map_err(|e| Failed::from(Error::from(e)));
    let too_many = || Failed::from(CliError::option("NAME", "there are too many names"));
    if args.delete || args.delete_anyway {
        let names = args.names.iter().map(name).collect::<Result<_, _>>()?;
        return Ok(BranchAction::Delete { names, force: args.force || args.delete_anyway });
    }
    match (args.rename, args.names.as_slice()) {
        (true, [new]) => Ok(BranchAction::Rename { old: None, new: name(new)? }),
        (true, [old, new]) => Ok(BranchAction::Rename { old: Some(name(old)?), new: name(new)? }),
        (false, []) => Ok(BranchAction::List(match (args.all, args.remotes) {
            (true, _) => BranchScope::All,
            (false, true) => BranchScope::Remote,
            (false, false) => BranchScope::Local,
        })),
        (false, [new]) => Ok(BranchAction::Create { name: name(new)?, at: Revision::HEAD, force: args.force }),
        (false, [new, at]) => {
            let at = Revision::parse(at).map_err(Error::from)?;
            Ok(BranchAction::Create { name: name(new)?, at, force: args.force })
        }
        _ => Err(too_many()),
    }
}

fn show_current(session: &Session, out: &mut Out, report: &BranchReport) -> io::Result<()> {
    let current = report.current.as_ref().map(RefName::as_str);
    match (session.globals.json, current) {
        (true, current) => out.json(&serde_json::json!({ "current": current })),
        (false, Some(current)) => writeln!(out, "{current}"),
        (false, None) => Ok(()),
    }
}

fn list(session: &Session, out: &mut Out, report: &BranchReport) -> io::Result<()> {
    let width = report.branches.iter().map(|b| b.name.as_str().chars().count()).max().unwrap_or(0);
    for line in &report.branches {
        let (name, commit) = (line.name.as_str(), &line.commit);
        if session.globals.json {
            out.json(&serde_json::json!({
                "name": name, "id": line.id.to_string(), "ordinal": commit.ordinal, "current": line.current,
                "timestamp": commit.time.secs, "message": commit.message,
            }))?;
            continue;
        }
        let mark = if line.current { '*' } else { ' ' };
        let shown = format!("{name:<width$}");
        let shown = if line.current { out.paint(Paint::Branch, shown) } else { shown };
        let id = out.paint(Paint::Id, line.id.short());
        let text = format!("{mark} {shown} {id} v{} {}", commit.ordinal, harmless(commit.subject()));
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}
