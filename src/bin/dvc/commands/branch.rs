//! `dvc branch`: lists, creates, renames and deletes branches.

use crate::failure::{CliError, CommandResult, Exit, Failed};
use crate::globals::DryRun;
use crate::print::{Out, Paint};
use crate::render::{iso, moved};
use crate::session::Session;
use clap::Args;
use dvc::error::{Error, Kind};
use dvc::model::refname::RefName;
use dvc::model::revision::Revision;
use dvc::model::text::harmless;
use dvc::ops::branch::{BranchAction, BranchOptions, BranchReport, BranchScope, branch};
use serde::Serialize;
use std::io::{self, Write};

/// Options of `branch`.
#[derive(Args, Debug)]
pub(crate) struct BranchArgs {
    /// Delete the named branches
    #[arg(short, long, requires = "names", conflicts_with = "rename")]
    pub(crate) delete: bool,
    /// Accept git's `branch -D`, which is -d -f
    #[arg(
        short = 'D',
        hide = true,
        requires = "names",
        conflicts_with = "rename"
    )]
    pub(crate) delete_anyway: bool,
    /// List branches (the default)
    #[arg(short, long, conflicts_with_all = ["delete", "rename", "names", "force"])]
    pub(crate) list: bool,
    /// List local and remote branches
    #[arg(short, long, conflicts_with_all = ["delete", "rename", "names", "force"])]
    pub(crate) all: bool,
    /// List only remote branches
    #[arg(short, long, conflicts_with_all = ["delete", "rename", "names", "force", "all"])]
    pub(crate) remotes: bool,
    /// Rename a branch: OLD NEW, or only NEW for the current branch
    #[arg(short = 'm', long = "move", requires = "names")]
    pub(crate) rename: bool,
    /// Move an existing branch, or delete an unmerged one
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Print the name of the current branch
    #[arg(long, conflicts_with_all = ["delete", "rename", "names"])]
    pub(crate) show_current: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// Create this branch at a version (NAME [REV]); without a name, list branches
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Runs `branch`.
pub(crate) fn run(session: &Session, args: &BranchArgs) -> CommandResult {
    let (_, context) = session.here()?;
    let options = BranchOptions {
        action: action(args)?,
        dry_run: session.dry_run(args.dry),
    };
    let report = branch(&context, &options, &session.notices()?)?;
    let mut out = session.plain_out();
    match options.action {
        BranchAction::List(_) if args.show_current => show_current(session, &mut out, &report)?,
        BranchAction::List(_) => list(session, &mut out, &report)?,
        _ => moved::print(session, &mut out, &report.moves, options.dry_run)?,
    }
    out.finish()?;
    Ok(if report.damaged == 0 {
        Exit::DONE
    } else {
        Exit::with(Kind::Integrity)
    })
}

fn action(args: &BranchArgs) -> Result<BranchAction, Failed> {
    let name = |text: &String| RefName::new(text).map_err(|e| Failed::from(Error::from(e)));
    let too_many = || Failed::from(CliError::option("NAME", "too many names"));
    if args.delete || args.delete_anyway {
        let names = args.names.iter().map(name).collect::<Result<_, _>>()?;
        return Ok(BranchAction::Delete {
            names,
            force: args.force || args.delete_anyway,
        });
    }
    match (args.rename, args.names.as_slice()) {
        (true, [new]) => Ok(BranchAction::Rename {
            old: None,
            new: name(new)?,
        }),
        (true, [old, new]) => Ok(BranchAction::Rename {
            old: Some(name(old)?),
            new: name(new)?,
        }),
        (false, []) => Ok(BranchAction::List(match (args.all, args.remotes) {
            (true, _) => BranchScope::All,
            (false, true) => BranchScope::Remote,
            (false, false) => BranchScope::Local,
        })),
        (false, [new]) => Ok(BranchAction::Create {
            name: name(new)?,
            at: Revision::HEAD,
            force: args.force,
        }),
        (false, [new, at]) => {
            let at = Revision::parse(at).map_err(Error::from)?;
            Ok(BranchAction::Create {
                name: name(new)?,
                at,
                force: args.force,
            })
        }
        _ => Err(too_many()),
    }
}

#[derive(Serialize)]
struct JsonCurrent<'a> {
    branch: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonBranch<'a> {
    name: &'a str,
    id: String,
    ordinal: u64,
    current: bool,
    time: String,
    message: &'a str,
}

fn show_current(session: &Session, out: &mut Out, report: &BranchReport) -> io::Result<()> {
    let current = report.current.as_ref().map(RefName::as_str);
    match (session.globals.json, current) {
        (true, branch) => out.json(&JsonCurrent { branch }),
        (false, Some(current)) => writeln!(out, "{current}"),
        (false, None) => Ok(()),
    }
}

fn list(session: &Session, out: &mut Out, report: &BranchReport) -> io::Result<()> {
    let width = report
        .branches
        .iter()
        .map(|b| b.name.as_str().chars().count())
        .max()
        .unwrap_or(0);
    for line in &report.branches {
        let (name, commit) = (line.name.as_str(), &line.commit);
        if session.globals.json {
            out.json(&JsonBranch {
                name,
                id: line.id.to_string(),
                ordinal: commit.ordinal,
                current: line.current,
                time: iso(&commit.time),
                message: &commit.message,
            })?;
            continue;
        }
        let mark = if line.current { '*' } else { ' ' };
        let shown = format!("{name:<width$}");
        let shown = if line.current {
            out.paint(Paint::Branch, shown)
        } else {
            shown
        };
        let id = out.paint(Paint::Id, line.id.short());
        let text = format!(
            "{mark} {shown} {id} v{} {}",
            commit.ordinal,
            harmless(commit.subject())
        );
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}
