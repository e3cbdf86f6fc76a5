//! `dvc status`: shows differences between the worktree and its version.

use crate::failure::{CommandResult, Exit};
use crate::print::{Out, Paint};
use crate::render::change::{JsonChange, paint};
use crate::render::{JsonPath, at, iso, quoted, shown};
use crate::session::Session;
use clap::Args;
use dvc::checkout::patch::journal::Goal;
use dvc::error::Kind;
use dvc::model::commit::Timestamp;
use dvc::model::refname::RefName;
use dvc::ops::status::{StatusOptions, StatusReport, status};
use dvc::query::compare::{Letter, TreeChange};
use dvc::query::describe::{MeasuredChange, VersionInfo};
use serde::Serialize;
use std::ffi::OsString;
use std::io::{self, Write};

/// Options of `status`.
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Show only letters and paths
    #[arg(short, long, conflicts_with_all = ["porcelain", "null"])]
    pub(crate) short: bool,
    /// Accept git's `status -sb`: with --short, show the branch as well
    #[arg(short, long, hide = true)]
    pub(crate) branch: bool,
    /// Print lines for scripts, in a format that never changes
    #[arg(long)]
    pub(crate) porcelain: bool,
    /// End lines with NUL and do not quote names; implies --porcelain
    #[arg(short = 'z')]
    pub(crate) null: bool,
    /// Exit with 1 if there are differences
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// Compare only these paths
    #[arg(value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
}

/// Runs `status`.
pub(crate) fn run(session: &Session, args: &StatusArgs) -> CommandResult {
    let (place, context) = session.here()?;
    let options = StatusOptions {
        walk: session.walk()?,
        paths: place.paths(&args.paths)?,
    };
    let progress = session.progress()?;
    let report = status(&context, &options, &progress)?;
    // The display of the progress ends first, because it shares the terminal with the output.
    drop(progress);
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&json(&report))?;
    } else if args.porcelain || args.null {
        porcelain(&mut out, &report, args.null)?;
    } else if args.short {
        short(&mut out, &report, args.branch)?;
    } else {
        text(&mut out, &report)?;
    }
    out.finish()?;
    let unstable = report.changes.iter().any(|c| c.letter == Letter::Unstable);
    let differs = !report.changes.is_empty() || report.interrupted.is_some();
    // Unstable paths take precedence, because the comparison is incomplete.
    Ok(match (unstable, args.exit_code && differs) {
        (true, _) => Exit::with(Kind::Incomplete),
        (false, true) => Exit::NO,
        (false, false) => Exit::DONE,
    })
}

#[derive(Serialize)]
struct JsonStatus<'a> {
    branch: Option<&'a str>,
    detached: bool,
    base: Option<JsonBase>,
    moved_tip: Option<JsonBase>,
    upstream: Option<JsonUpstream<'a>>,
    clean: bool,
    changes: Vec<JsonChange>,
    interrupted: Option<JsonInterrupted>,
}

/// The version of the worktree or of its branch.
#[derive(Serialize)]
struct JsonBase {
    id: String,
    ordinal: u64,
}

#[derive(Serialize)]
struct JsonUpstream<'a> {
    name: &'a str,
    ahead: usize,
    behind: usize,
    last_reached_time: Option<String>,
}

/// A checkout that did not finish.
#[derive(Serialize)]
struct JsonInterrupted {
    from: Option<String>,
    to: String,
    paths: Vec<JsonPath>,
    resume_command: String,
    half_written: Vec<JsonPath>,
}

fn json(report: &StatusReport) -> JsonStatus<'_> {
    let version = |v: &VersionInfo| JsonBase {
        id: v.id.to_string(),
        ordinal: v.commit.ordinal,
    };
    let change = |c: &TreeChange| {
        JsonChange::new(
            &MeasuredChange {
                change: c.clone(),
                ranges: Vec::new(),
            },
            false,
        )
    };
    let paths = |paths: &[Vec<u8>]| paths.iter().map(|path| JsonPath::new(path)).collect();
    JsonStatus {
        branch: report.head.branch.as_ref().map(RefName::as_str),
        detached: report.head.branch.is_none(),
        base: report.base.as_ref().map(version),
        moved_tip: report.moved_tip.as_ref().map(version),
        upstream: report.upstream.as_ref().map(|up| JsonUpstream {
            name: up.name.as_str(),
            ahead: up.ahead,
            behind: up.behind,
            last_reached_time: up.reached.map(|secs| {
                iso(&Timestamp {
                    secs,
                    nanos: 0,
                    offset: 0,
                })
            }),
        }),
        clean: report.changes.is_empty() && report.interrupted.is_none(),
        changes: report.changes.iter().map(change).collect(),
        interrupted: report.interrupted.as_ref().map(|i| JsonInterrupted {
            from: i.goal.base.map(|id| id.to_string()),
            to: i.goal.target.to_string(),
            paths: paths(&i.goal.scope),
            resume_command: again(&i.goal),
            half_written: paths(&i.half_written),
        }),
    }
}

/// Writes lines in a format that never changes: `# branch.head`, `# branch.ordinal`, if they apply
/// `# branch.upstream` and `# checkout.interrupted`, then `M path`.
fn porcelain(out: &mut Out, report: &StatusReport, null: bool) -> io::Result<()> {
    let end: &[u8] = if null { b"\0" } else { b"\n" };
    let mut lines = vec![
        format!(
            "# branch.head {}",
            report
                .head
                .branch
                .as_ref()
                .map_or("(detached)", RefName::as_str)
        ),
        format!(
            "# branch.ordinal {}",
            report.base.as_ref().map_or(0, |base| base.commit.ordinal)
        ),
    ];
    if let Some(up) = &report.upstream {
        lines.push(format!(
            "# branch.upstream {} +{} -{}",
            up.name, up.ahead, up.behind
        ));
    }
    if let Some(interrupted) = &report.interrupted {
        lines.push(format!(
            "# checkout.interrupted {}",
            interrupted.goal.target
        ));
    }
    for line in lines {
        if null {
            out.write_all(line.as_bytes())?;
        } else {
            write!(out, "{line}")?;
        }
        out.write_all(end)?;
    }
    for change in &report.changes {
        out.write_all(change.letter.as_str().as_bytes())?;
        out.write_all(b" ")?;
        let mut pieces = change.from.iter().chain([&change.path]).peekable();
        while let Some(piece) = pieces.next() {
            if null {
                out.write_all(piece)?;
            } else {
                out.write_all(shown(piece).as_bytes())?;
            }
            match (pieces.peek(), null) {
                (Some(_), false) => out.write_all(b"\t")?,
                _ => out.write_all(end)?,
            }
        }
    }
    Ok(())
}

/// Formats a time in UTC.
fn when(secs: i64) -> String {
    at(
        &Timestamp {
            secs,
            nanos: 0,
            offset: 0,
        },
        "%Y-%m-%d %H:%M UTC",
    )
}

/// Returns the command that finishes an interrupted checkout, if run at the top of the worktree.
fn again(goal: &Goal) -> String {
    let mut words = vec!["dvc checkout".to_owned()];
    words.extend(goal.keep_extra.then(|| "--keep-extra".to_owned()));
    words.extend(goal.new_branch.iter().map(|b| format!("-b {}", quoted(b))));
    words.push(if goal.revision.is_empty() {
        goal.target.short()
    } else {
        quoted(&goal.revision)
    });
    if !goal.scope.is_empty() {
        words.push("--".to_owned());
        words.extend(goal.scope.iter().map(|p| quoted(&shown(p))));
    }
    words.join(" ")
}

/// Writes `## main v3` if `branch` is set, then the letter and the path of each change.
fn short(out: &mut Out, report: &StatusReport, branch: bool) -> io::Result<()> {
    if branch {
        let name = report
            .head
            .branch
            .as_ref()
            .map_or("(detached)", RefName::as_str);
        let ordinal = report.base.as_ref().map_or(0, |base| base.commit.ordinal);
        writeln!(out, "## {} v{ordinal}", out.paint(Paint::Branch, name))?;
    }
    changes(out, report, "")
}

fn changes(out: &mut Out, report: &StatusReport, before: &str) -> io::Result<()> {
    for change in &report.changes {
        let letter = out.paint(paint(change.letter), change.letter.as_str());
        match &change.from {
            Some(from) => writeln!(
                out,
                "{before}{letter} {} -> {}",
                shown(from),
                shown(&change.path)
            )?,
            None => writeln!(out, "{before}{letter} {}", shown(&change.path))?,
        }
    }
    Ok(())
}

fn text(out: &mut Out, report: &StatusReport) -> io::Result<()> {
    let at = match &report.base {
        Some(VersionInfo { id, commit }) => {
            format!("v{} {}", commit.ordinal, out.paint(Paint::Id, id.short()))
        }
        None => "no versions yet".to_owned(),
    };
    match &report.head.branch {
        Some(branch) => writeln!(out, "on branch {}, {at}", out.paint(Paint::Branch, branch))?,
        None => writeln!(out, "HEAD is detached, {at}")?,
    }
    if let Some(VersionInfo { id, commit }) = &report.moved_tip {
        let id = out.paint(Paint::Id, id.short());
        writeln!(out, "the branch has moved to v{} {id}", commit.ordinal)?;
    }
    if let Some(up) = &report.upstream {
        let name = out.paint(Paint::Branch, &up.name);
        let reached = up
            .reached
            .map(|at| format!(", last reached {}", when(at)))
            .unwrap_or_default();
        match (up.ahead, up.behind) {
            (0, 0) => writeln!(out, "up to date with {name}{reached}")?,
            (ahead, 0) => writeln!(out, "{ahead} ahead of {name}{reached}")?,
            (0, behind) => writeln!(out, "{behind} behind {name}{reached}")?,
            (ahead, behind) => {
                writeln!(out, "{ahead} ahead of {name} and {behind} behind{reached}")?
            }
        }
    }
    if let Some(interrupted) = &report.interrupted {
        let target = interrupted.goal.target.short();
        writeln!(
            out,
            "a checkout of {target} was interrupted; run `{}` to finish it",
            again(&interrupted.goal)
        )?;
        for path in &interrupted.half_written {
            let line = out.paint(
                Paint::Removed,
                format!("partially written: {}", shown(path)),
            );
            writeln!(out, "  {line}")?;
        }
    }
    changes(out, report, "  ")?;
    match report.changes.len() {
        0 if report.interrupted.is_none() => writeln!(out, "nothing to commit"),
        0 => Ok(()),
        1 => writeln!(out, "1 path differs"),
        n => writeln!(out, "{n} paths differ"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dvc::model::id::Id;

    #[test]
    fn an_interrupted_checkout_is_finished_by_the_same_command() {
        let goal = Goal::whole(None, Id([0xab; 32]));
        assert_eq!(again(&goal), "dvc checkout abababab");
        let goal = Goal {
            revision: "main~1".to_owned(),
            new_branch: Some("side".to_owned()),
            keep_extra: true,
            ..goal
        };
        assert_eq!(again(&goal), "dvc checkout --keep-extra -b side main~1");
        let scope = vec![b"a b".to_vec(), b"it's".to_vec(), b"d/e".to_vec()];
        let goal = Goal {
            revision: "@{1 day ago}".to_owned(),
            scope,
            ..Goal::whole(None, goal.target)
        };
        assert_eq!(
            again(&goal),
            r"dvc checkout '@{1 day ago}' -- 'a b' 'it'\''s' d/e"
        );
    }
}
