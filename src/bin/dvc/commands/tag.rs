//! `dvc tag`: lists, creates and deletes tags.

use crate::failure::{CliError, CommandResult, Exit, Failed};
use crate::globals::DryRun;
use crate::print::{Out, Paint};
use crate::render::{iso, moved};
use crate::session::Session;
use clap::Args;
use dvc::error::{Error, Kind};
use dvc::model::revision::Revision;
use dvc::model::text::harmless;
use dvc::ops::tag::{TagAction, TagName, TagOptions, TagReport, tag};
use serde::Serialize;
use std::io::{self, Write};

/// Options of `tag`.
#[derive(Args, Debug)]
pub(crate) struct TagArgs {
    /// List tags (the default)
    #[arg(short, long, conflicts_with_all = ["delete", "force", "names"])]
    pub(crate) list: bool,
    /// Delete the named tags
    #[arg(short, long, requires = "names")]
    pub(crate) delete: bool,
    /// Move an existing tag
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// Create this tag at a version (NAME [REV]); NAME may be BRANCH@NAME, or @NAME for the current
    /// branch; without a name, list tags
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Runs `tag`.
pub(crate) fn run(session: &Session, args: &TagArgs) -> CommandResult {
    let (_, context) = session.here()?;
    let options = TagOptions {
        action: action(args)?,
        dry_run: session.dry_run(args.dry),
    };
    let report = tag(&context, &options, &session.notices()?)?;
    let mut out = session.plain_out();
    match options.action {
        TagAction::List => list(session, &mut out, &report)?,
        _ => moved::print(session, &mut out, &report.moves, options.dry_run)?,
    }
    out.finish()?;
    Ok(if report.damaged == 0 {
        Exit::DONE
    } else {
        Exit::with(Kind::Integrity)
    })
}

fn action(args: &TagArgs) -> Result<TagAction, Failed> {
    match args.names.as_slice() {
        [] => Ok(TagAction::List),
        names if args.delete => Ok(TagAction::Delete {
            names: names
                .iter()
                .map(|n| TagName::parse(n))
                .collect::<Result<_, _>>()?,
        }),
        [new] => Ok(TagAction::Create {
            name: TagName::parse(new)?,
            at: Revision::HEAD,
            force: args.force,
        }),
        [new, at] => {
            let at = Revision::parse(at).map_err(Error::from)?;
            Ok(TagAction::Create {
                name: TagName::parse(new)?,
                at,
                force: args.force,
            })
        }
        _ => Err(CliError::option("NAME", "too many names").into()),
    }
}

#[derive(Serialize)]
struct JsonTag<'a> {
    name: &'a str,
    id: String,
    ordinal: u64,
    time: String,
    message: &'a str,
}

fn list(session: &Session, out: &mut Out, report: &TagReport) -> io::Result<()> {
    let width = report
        .tags
        .iter()
        .map(|t| t.name.as_str().chars().count())
        .max()
        .unwrap_or(0);
    for line in &report.tags {
        let (name, commit) = (line.name.as_str(), &line.commit);
        if session.globals.json {
            out.json(&JsonTag {
                name,
                id: line.id.to_string(),
                ordinal: commit.ordinal,
                time: iso(&commit.time),
                message: &commit.message,
            })?;
            continue;
        }
        let shown = out.paint(Paint::Tag, format!("{name:<width$}"));
        let id = out.paint(Paint::Id, line.id.short());
        writeln!(
            out,
            "{}",
            format!(
                "{shown} {id} v{} {}",
                commit.ordinal,
                harmless(commit.subject())
            )
            .trim_end()
        )?;
    }
    Ok(())
}
