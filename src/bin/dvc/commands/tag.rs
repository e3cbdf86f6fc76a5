//! `dvc tag`: lists, creates and deletes tags.

use crate::args::DryRun;
use crate::failure::{CliError, Exit, Failed, Outcome};
use crate::print::{Out, Paint};
use crate::render::moved;
use crate::session::Session;
use clap::Args;
use dvc::error::{Error, Kind};
use dvc::model::revision::Revision;
use dvc::model::text::harmless;
use dvc::ops::tag::{TagAction, TagName, TagOptions, TagReport, tag};
use std::io::{self, Write};

/// Options of `tag`.
#[derive(Args, Debug)]
pub(crate) struct TagArgs {
    /// List the tags, the default
    #[arg(short, long, conflicts_with_all = ["delete", "force", "names"])]
    pub(crate) list: bool,
    /// Delete the named tags
    #[arg(short, long, requires = "names")]
    pub(crate) delete: bool,
    /// Move a tag that exists
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// The new tag (NAME, BRANCH@NAME, or @NAME for the current branch) and its version; without any, tags are listed
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Runs `tag`.
pub(crate) fn run(session: &Session, args: &TagArgs) -> Outcome {
    let (_, context) = session.here()?;
    let options = TagOptions { action: action(args)?, dry_run: session.dry_run(args.dry) };
    let report = tag(&context, &options, &session.notices()?)?;
    let mut out = session.plain_out();
    match options.action {
        TagAction::List => list(session, &mut out, &report)?,
        _ => moved::print(session, &mut out, &report.moves, options.dry_run)?,
    }
    out.finish()?;
    Ok(if report.damaged == 0 { Exit::DONE } else { Exit::with(Kind::Integrity) })
}

fn action(args: &TagArgs) -> Result<TagAction, Failed> {
    match args.names.as_slice() {
        [] => Ok(TagAction::List),
        names if args.delete => {
            Ok(TagAction::Delete { names: names.iter().map(|n| TagName::parse(n)).collect::<Result<_, _>>()? })
        }
        [new] => Ok(TagAction::Create { name: TagName::parse(new)?, at: Revision::HEAD, force: args.force }),
        [new, at] => {
            let at = Revision::parse(at).map_err(Error::from)?;
            Ok(TagAction::Create { name: TagName::parse(new)?, at, force: args.force })
        }
        _ => Err(CliError::option("NAME", "there are too many names").into()),
    }
}

fn list(session: &Session, out: &mut Out, report: &TagReport) -> io::Result<()> {
    let width = report.tags.iter().map(|t| t.name.as_str().chars().count()).max().unwrap_or(0);
    for line in &report.tags {
        let (name, commit) = (line.name.as_str(), &line.commit);
        if session.globals.json {
            out.json(&serde_json::json!({
                "name": name, "id": line.id.to_string(), "ordinal": commit.ordinal,
                "timestamp": commit.time.secs, "message": commit.message,
            }))?;
            continue;
        }
        let shown = out.paint(Paint::Tag, format!("{name:<width$}"));
        let id = out.paint(Paint::Id, line.id.short());
        writeln!(out, "{}", format!("{shown} {id} v{} {}", commit.ordinal, harmless(commit.subject())).trim_end())?;
    }
    Ok(())
}
