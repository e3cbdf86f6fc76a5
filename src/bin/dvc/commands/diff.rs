//! `dvc diff`: shows differences between two versions, or between a version and the worktree.

use crate::failure::{CliError, CommandResult, Exit, Failed};
use crate::print::{Out, Paint, size};
use crate::render::change::{JsonChange, StatTable, chunks, name_status};
use crate::render::shown;
use crate::session::Session;
use clap::Args;
use dvc::error::{Error, Kind};
use dvc::model::revision::{RevisionQuery, RevisionSpec};
use dvc::ops::diff::{DiffOptions, DiffSides, Difference, LinePatch, diff};
use dvc::query::compare::Letter;
use dvc::query::describe::ChangeDetail;
use dvc::query::lines::{Hunk, Mark};
use dvc::query::ranges::total;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

/// Options of `diff`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    dvc diff --stat AMCC@v41 AMCC@v42\n  \
    dvc diff -p @ -- my.cnf")]
pub(crate) struct DiffArgs {
    /// Compare this version with the worktree, or two versions, or A..B; each may name a path,
    /// REV:PATH
    #[arg(value_name = "REV", num_args = 0..=2)]
    pub(crate) revs: Vec<OsString>,
    /// Show each file with its size and how much of it changed
    #[arg(long)]
    pub(crate) stat: bool,
    /// Show names with a letter for the kind of change (the default)
    #[arg(long)]
    pub(crate) name_status: bool,
    /// Show only names
    #[arg(long)]
    pub(crate) name_only: bool,
    /// Show changed byte ranges, computed from the chunk lists alone
    #[arg(long)]
    pub(crate) chunks: bool,
    /// Show changed lines of text files
    #[arg(short, long)]
    pub(crate) patch: bool,
    /// Exit with 1 if there are differences
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// End lines with NUL and do not quote names
    #[arg(short = 'z', conflicts_with_all = ["stat", "patch"])]
    pub(crate) null: bool,
    /// Compare only these paths
    #[arg(value_name = "PATH", last = true, value_hint = clap::ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
}

/// Runs `diff`.
pub(crate) fn run(session: &Session, args: &DiffArgs) -> CommandResult {
    let (place, context) = session.anywhere()?;
    let ranges = args.stat || args.chunks || args.patch;
    let options = DiffOptions {
        sides: sides(&args.revs)?,
        paths: place.paths(&args.paths)?,
        detail: if ranges {
            ChangeDetail::Ranges
        } else {
            ChangeDetail::Names
        },
        patch: args.patch && !session.globals.json,
        walk: session.walk()?,
    };
    let mut out = session.paged_out();
    // A callback can only end the comparison, so its error is stored here.
    let mut written = Ok(());
    let mut stat = (args.stat && !session.globals.json).then(|| StatTable::new(""));
    let notices = session.notices()?;
    let report = diff(&context, &options, &notices, &mut |difference| {
        written = match (&mut stat, session.globals.json) {
            (Some(stat), _) => stat.add(&mut out, &difference.changed),
            (None, true) => out.json(&JsonChange::new(&difference.changed, ranges)),
            (None, false) => print(&mut out, args, &difference),
        };
        if written.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    written?;
    if let Some(stat) = stat.filter(|_| report.changes > 0) {
        stat.finish(&mut out)?;
    }
    out.finish()?;
    let exit = match (report.unstable > 0, args.exit_code && report.changes > 0) {
        (true, _) => Exit::with(Kind::Incomplete),
        (false, true) => Exit::NO,
        (false, false) => Exit::DONE,
    };
    Ok(exit.unless_cancelled(&session.signals))
}

fn sides(revs: &[OsString]) -> Result<DiffSides, Failed> {
    let query = |rev: &OsString| {
        RevisionQuery::parse(rev.as_bytes()).map_err(|e| Failed::from(Error::from(e)))
    };
    let spec = |rev: &OsString| {
        RevisionSpec::parse(rev.as_bytes()).map_err(|e| Failed::from(Error::from(e)))
    };
    match revs {
        [] => Ok(DiffSides::Worktree),
        [one] => Ok(match query(one)? {
            RevisionQuery::One(spec) => DiffSides::Since(spec),
            RevisionQuery::Range(range) => DiffSides::Range(range),
        }),
        [old, new] => Ok(DiffSides::Between(spec(old)?, spec(new)?)),
        _ => Err(CliError::option("REV", "expected at most two versions").into()),
    }
}

fn print(out: &mut Out, args: &DiffArgs, difference: &Difference) -> io::Result<()> {
    let change = &difference.changed.change;
    if args.chunks {
        return chunks(out, &difference.changed, args.null);
    }
    if args.patch {
        return patch(out, difference);
    }
    if !args.name_only {
        return name_status(out, change, args.null);
    }
    if args.null {
        out.write_all(&change.path)?;
        return out.write_all(b"\0");
    }
    writeln!(out, "{}", shown(&change.path))
}

/// Writes a change in the format that `patch` reads: `--- a/x`, `+++ b/x`, hunks.
pub(crate) fn patch(out: &mut Out, difference: &Difference) -> io::Result<()> {
    let change = &difference.changed.change;
    let (old, new) = (
        shown(change.from.as_ref().unwrap_or(&change.path)),
        shown(&change.path),
    );
    if change.letter == Letter::Unstable {
        return writeln!(
            out,
            "File {new} could not be read, or changed while it was read"
        );
    }
    let mode = |e: &Option<dvc::model::entry::Entry>| e.as_ref().map(|e| e.meta.mode);
    let modes = match (mode(&change.old), mode(&change.new)) {
        (Some(before), Some(after)) if before != after => {
            format!("old mode {before:04o}\nnew mode {after:04o}\n")
        }
        (None, Some(after)) => format!("new file mode {after:04o}\n"),
        (Some(before), None) => format!("deleted file mode {before:04o}\n"),
        _ => String::new(),
    };
    // A patch cannot show a change of the owner or of the times.
    if modes.is_empty() && difference.patch.is_none() && change.letter == Letter::Metadata {
        return Ok(());
    }
    let head = out.paint(Paint::Strong, format!("diff --git a/{old} b/{new}"));
    write!(out, "{head}\n{modes}")?;
    let (from, to) = match change.letter {
        Letter::Added => ("/dev/null".to_owned(), format!("b/{new}")),
        Letter::Deleted => (format!("a/{old}"), "/dev/null".to_owned()),
        Letter::Renamed => return writeln!(out, "rename from {old}\nrename to {new}"),
        _ => (format!("a/{old}"), format!("b/{new}")),
    };
    match &difference.patch {
        None => Ok(()),
        Some(LinePatch::Binary) => {
            let ranges = &difference.changed.ranges;
            let bytes = size(total(ranges));
            let plural = if ranges.len() == 1 { "" } else { "s" };
            writeln!(
                out,
                "Binary files {from} and {to} differ: {bytes} in {} range{plural}",
                ranges.len()
            )
        }
        Some(LinePatch::Lines(hunks)) if hunks.is_empty() => Ok(()),
        Some(LinePatch::Lines(hunks)) => {
            let (from, to) = (
                out.paint(Paint::Strong, format!("--- {from}")),
                out.paint(Paint::Strong, format!("+++ {to}")),
            );
            writeln!(out, "{from}\n{to}")?;
            hunks.iter().try_for_each(|h| hunk(out, h))
        }
    }
}

fn hunk(out: &mut Out, hunk: &Hunk) -> io::Result<()> {
    // As in a unified diff, line numbers start at 1, and an empty range has the number of the line
    // before it.
    let span = |r: &std::ops::Range<usize>| {
        format!(
            "{},{}",
            if r.is_empty() { r.start } else { r.start + 1 },
            r.len()
        )
    };
    let head = out.paint(
        Paint::Changed,
        format!("@@ -{} +{} @@", span(&hunk.old), span(&hunk.new)),
    );
    writeln!(out, "{head}")?;
    for (mark, line) in &hunk.lines {
        let (sign, paint) = match mark {
            Mark::Same => (" ", None),
            Mark::Removed => ("-", Some(Paint::Removed)),
            Mark::Added => ("+", Some(Paint::Added)),
        };
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        match paint.filter(|_| out.colour()) {
            Some(paint) => {
                let text = out.paint(paint, format!("{sign}{}", String::from_utf8_lossy(text)));
                write!(out, "{text}")?;
            }
            // On a terminal, write the content with `write!`, which escapes control characters. A
            // pipe or file gets the bytes unchanged, so that `patch` can read them.
            None if io::stdout().is_terminal() => {
                write!(out, "{sign}{}", String::from_utf8_lossy(text))?
            }
            None => {
                out.write_all(sign.as_bytes())?;
                out.write_all(text)?;
            }
        }
        out.write_all(if line.ends_with(b"\n") {
            b"\n"
        } else {
            b"\n\\ No newline at end of file\n"
        })?;
    }
    Ok(())
}
