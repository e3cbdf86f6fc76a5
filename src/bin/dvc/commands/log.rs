//! `dvc log`: lists versions, newest first.

use crate::failure::{CommandResult, Exit, Failed};
use crate::print::{Out, Paint};
use crate::render::change::{StatTable, name_status};
use crate::render::format::{FormatContext, VersionFormat};
use crate::render::graph::{AncestryGraph, GraphRows};
use crate::render::iso;
use crate::render::version::{JsonVersion, full, one_line};
use crate::session::Session;
use clap::Args;
use dvc::error::Error;
use dvc::model::commit::Timestamp;
use dvc::model::id::Id;
use dvc::model::revision::{RevisionQuery, RevisionSpec};
use dvc::model::text::harmless;
use dvc::model::when::Edge;
use dvc::ops::diff::{DiffOptions, DiffSides, diff};
use dvc::ops::log::{LogOptions, RefUpdate, log, updates};
use dvc::query::describe::{ChangeDetail, DescribedVersion, VersionChanges};
use dvc::query::worktree::WalkOptions;
use serde::Serialize;
use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

/// Options of `log`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    dvc log --oneline --graph --all\n  \
    dvc log --stat --since yesterday AMCC -- acme/orders.ibd")]
pub(crate) struct LogArgs {
    /// List these versions and ranges with their ancestors; -N is short for -n N
    #[arg(value_name = "REV", allow_negative_numbers = true)]
    pub(crate) revs: Vec<OsString>,
    /// List at most N versions; a negative number means no limit
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, value_parser = count)]
    pub(crate) max_count: Option<usize>,
    /// Print one line for each version
    #[arg(long)]
    pub(crate) oneline: bool,
    /// Print ids in full
    #[arg(long, alias = "no-abbrev-commit")]
    pub(crate) no_abbrev: bool,
    /// Accept git's option with this name: ids are short unless --no-abbrev is given
    #[arg(long, hide = true)]
    pub(crate) abbrev_commit: bool,
    /// Accept git's option with this name: names of versions are always shown
    #[arg(long, hide = true)]
    pub(crate) decorate: bool,
    /// Draw the ancestry graph
    #[arg(long)]
    pub(crate) graph: bool,
    /// List the versions of all branches and tags, and those in the trash
    #[arg(long)]
    pub(crate) all: bool,
    /// List the oldest version first
    #[arg(long, conflicts_with = "graph")]
    pub(crate) reverse: bool,
    /// Show the changed files and how much of them changed
    #[arg(long)]
    pub(crate) stat: bool,
    /// Show the changed files with a letter for the kind of change
    #[arg(long)]
    pub(crate) name_status: bool,
    /// Show the changed lines of text files
    #[arg(short, long, conflicts_with_all = ["stat", "name_status", "graph", "walk_reflogs"])]
    pub(crate) patch: bool,
    /// List versions since TIME
    #[arg(long, value_name = "TIME", visible_alias = "after")]
    pub(crate) since: Option<String>,
    /// List versions up to TIME
    #[arg(long, value_name = "TIME", visible_alias = "before")]
    pub(crate) until: Option<String>,
    /// List versions whose author matches PATTERN
    #[arg(long, value_name = "PATTERN")]
    pub(crate) author: Option<String>,
    /// List versions whose message matches PATTERN
    #[arg(long, value_name = "PATTERN")]
    pub(crate) grep: Option<String>,
    /// Ignore case in patterns
    #[arg(short = 'i', long = "regexp-ignore-case")]
    pub(crate) ignore_case: bool,
    /// List the previous versions of a branch, from its ref log
    #[arg(short = 'g', long, conflicts_with_all = ["graph", "all", "reverse", "stat", "name_status", "format", "paths"])]
    pub(crate) walk_reflogs: bool,
    /// Print versions in this format: oneline, or text with %H %h %T %P %O %an %ae %aI %ar %d %s %b
    /// %U ...
    #[arg(long, value_name = "FORMAT", visible_alias = "pretty")]
    pub(crate) format: Option<String>,
    /// List only versions that change these paths
    #[arg(value_name = "PATH", last = true, value_hint = clap::ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
}

/// How to print a version.
pub(crate) enum VersionStyle {
    OneLine {
        whole_id: bool,
    },
    /// The header and the message.
    Full {
        whole_id: bool,
    },
    VersionFormat(VersionFormat),
}

impl VersionStyle {
    /// Returns the format that `--oneline`, `--format` and `--no-abbrev` select.
    pub(crate) fn new(oneline: bool, format: Option<&str>, whole_id: bool) -> Result<Self, Failed> {
        match format {
            Some("oneline") => Ok(Self::OneLine { whole_id }),
            Some("full" | "medium") => Ok(Self::Full { whole_id }),
            Some(text) => Ok(Self::VersionFormat(VersionFormat::parse(text)?)),
            None if oneline => Ok(Self::OneLine { whole_id }),
            None => Ok(Self::Full { whole_id }),
        }
    }

    /// Returns whether the format shows the address of each version.
    pub(crate) fn wants_address(&self) -> bool {
        matches!(self, Self::VersionFormat(format) if format.wants_address())
    }

    /// Writes a line. If stdout is not a terminal, the output of `--format` is written unchanged,
    /// without escaping control characters.
    pub(crate) fn write(&self, out: &mut Out, line: &str) -> io::Result<()> {
        if matches!(self, Self::VersionFormat(_)) && !io::stdout().is_terminal() {
            out.write_all(line.as_bytes())?;
            return out.write_all(b"\n");
        }
        writeln!(out, "{line}")
    }

    /// Returns the lines of one version, without its changes.
    pub(crate) fn lines(
        &self,
        out: &Out,
        version: &DescribedVersion,
        around: &FormatContext<'_>,
    ) -> Vec<String> {
        match self {
            Self::OneLine { whole_id } => vec![one_line(out, version, *whole_id)],
            Self::Full { whole_id } => full(out, version, *whole_id),
            Self::VersionFormat(format) => {
                let text = format.fill(version, around);
                text.split('\n').map(str::to_owned).collect()
            }
        }
    }
}

/// Returns the detail of changes that the flags need.
pub(crate) fn detail(stat: bool, name_status: bool) -> ChangeDetail {
    match (stat, name_status) {
        (true, _) => ChangeDetail::Ranges,
        (_, true) => ChangeDetail::Names,
        _ => ChangeDetail::None,
    }
}

/// Runs `log`.
pub(crate) fn run(session: &Session, args: &LogArgs) -> CommandResult {
    let (place, context) = session.anywhere()?;
    let style = VersionStyle::new(args.oneline, args.format.as_deref(), args.no_abbrev)?;
    // clap has no option like git's `-3`, so it arrives among the revisions.
    let (counts, revs): (Vec<_>, Vec<_>) =
        args.revs.iter().partition(|rev| short_count(rev).is_some());
    let query = |rev: &&OsString| {
        RevisionQuery::parse(rev.as_bytes()).map_err(|e| Failed::from(Error::from(e)))
    };
    let options = LogOptions {
        queries: revs.iter().map(query).collect::<Result<_, _>>()?,
        all: args.all,
        max_count: counts
            .last()
            .and_then(|rev| short_count(rev))
            .or(args.max_count),
        since: args
            .since
            .as_deref()
            .map(|t| session.seconds(t, Edge::Start))
            .transpose()?,
        until: args
            .until
            .as_deref()
            .map(|t| session.seconds(t, Edge::End))
            .transpose()?,
        author: args.author.clone(),
        grep: args.grep.clone(),
        ignore_case: args.ignore_case,
        paths: place.paths(&args.paths)?,
        reverse: args.reverse,
        // The first version has no parent to compare with, so `--patch` lists its files.
        detail: detail(args.stat, args.name_status || args.patch),
        graph: args.graph && !session.globals.json,
        addresses: style.wants_address() || session.globals.json && args.format.is_some(),
    };
    let mut out = session.paged_out();
    // A callback can only end the walk, so its error is stored here.
    let mut written: Result<(), Failed> = Ok(());
    if args.walk_reflogs {
        updates(&context, &options, &mut |update| {
            written = print_update(session, &mut out, &update).map_err(Failed::from);
            if written.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
    } else {
        let url = place.url();
        let around = FormatContext {
            now: session.now.timestamp().as_second(),
            url: &url,
        };
        let patch = Patches {
            context: &context,
            paths: &options.paths,
            walk: session.walk()?,
            wanted: args.patch,
        };
        let mut printer = Printer {
            args,
            style: &style,
            around: &around,
            graph: AncestryGraph::default(),
            first: true,
        };
        log(
            &context,
            &options,
            &session.notices()?,
            &mut |version, changes| {
                written = if session.globals.json {
                    json(&mut out, &version, changes)
                } else {
                    let printed = printer.version(&mut out, &version, changes);
                    printed.and_then(|()| patch.print(&mut out, &version, changes))
                };
                if written.is_ok() {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            },
        )?;
    }
    written?;
    out.finish()?;
    Ok(Exit::DONE.unless_cancelled(&session.signals))
}

/// Parses `-3` as a count of versions.
fn short_count(rev: &OsString) -> Option<usize> {
    let digits = rev.to_str()?.strip_prefix('-')?;
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

/// Parses a count of versions. As in git, a negative count means no limit.
fn count(text: &str) -> Result<usize, std::num::ParseIntError> {
    text.parse::<i64>()
        .map(|n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// The printer of changed lines, for `--patch`.
struct Patches<'a> {
    context: &'a dvc::context::Context,
    paths: &'a [Vec<u8>],
    walk: WalkOptions,
    wanted: bool,
}

impl Patches<'_> {
    /// Prints the changed lines of a version, or the files of a version without a parent. Does
    /// nothing without `--patch`, or if the data of the version is deleted.
    fn print(
        &self,
        out: &mut Out,
        version: &DescribedVersion,
        changed: &VersionChanges<'_>,
    ) -> Result<(), Failed> {
        let is_collected = version
            .forgotten
            .as_ref()
            .is_some_and(|forgotten| forgotten.is_collected);
        if !self.wanted || is_collected {
            return Ok(());
        }
        writeln!(out)?;
        let revision =
            |id: &Id| RevisionSpec::parse(id.to_string().as_bytes()).map_err(Error::from);
        // The first version has no parent to compare with.
        let Some(parent) = changed.before() else {
            return changes(out, changed, false, "");
        };
        let options = DiffOptions {
            sides: DiffSides::Between(revision(parent)?, revision(&version.id)?),
            paths: self.paths.to_vec(),
            detail: ChangeDetail::Ranges,
            patch: true,
            walk: self.walk.clone(),
        };
        let mut written = Ok(());
        diff(
            self.context,
            &options,
            &dvc::observe::Silent,
            &mut |difference| {
                written = super::diff::patch(out, &difference);
                if written.is_ok() {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            },
        )?;
        Ok(written?)
    }
}

struct Printer<'a> {
    args: &'a LogArgs,
    style: &'a VersionStyle,
    around: &'a FormatContext<'a>,
    graph: AncestryGraph,
    first: bool,
}

impl Printer<'_> {
    fn version(
        &mut self,
        out: &mut Out,
        version: &DescribedVersion,
        changed: &VersionChanges<'_>,
    ) -> Result<(), Failed> {
        let rows = if self.args.graph {
            self.graph.next(version.id, &version.shown_parents)
        } else {
            GraphRows {
                before: Vec::new(),
                first: String::new(),
                others: String::new(),
            }
        };
        if !self.first && matches!(self.style, VersionStyle::Full { .. }) {
            // The empty line between two versions continues the lines of the graph.
            writeln!(
                out,
                "{}",
                rows.before
                    .first()
                    .unwrap_or(&rows.first)
                    .replace('*', "|")
                    .trim_end()
            )?;
        }
        self.first = false;
        for line in &rows.before {
            writeln!(out, "{}", line.trim_end())?;
        }
        for (n, line) in self
            .style
            .lines(out, version, self.around)
            .iter()
            .enumerate()
        {
            let row = if n == 0 { &rows.first } else { &rows.others };
            self.style.write(out, format!("{row}{line}").trim_end())?;
        }
        // The data of a collected version is deleted, so its changes are unknown.
        let is_collected = version
            .forgotten
            .as_ref()
            .is_some_and(|forgotten| forgotten.is_collected);
        if (self.args.stat || self.args.name_status) && !is_collected {
            if matches!(self.style, VersionStyle::Full { .. }) {
                writeln!(out, "{}", rows.others.trim_end())?;
            }
            changes(out, changed, self.args.stat, &rows.others)?;
        }
        Ok(())
    }
}

/// Writes the changes of a version, as letters or as a table, while they are computed.
pub(crate) fn changes(
    out: &mut Out,
    changes: &VersionChanges<'_>,
    stat: bool,
    before: &str,
) -> Result<(), Failed> {
    let mut written = Ok(());
    if stat {
        let mut stat = StatTable::new(before);
        changes.each_file(&mut |changed| {
            written = stat.add(out, &changed);
            if written.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        written?;
        return Ok(stat.finish(out)?);
    }
    changes.each(&mut |changed| {
        written = write!(out, "{before}").and_then(|()| name_status(out, &changed.change, false));
        if written.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(written?)
}

/// Writes a version in JSON, with its changes while they are computed.
pub(crate) fn json(
    out: &mut Out,
    version: &DescribedVersion,
    changes: &VersionChanges<'_>,
) -> Result<(), Failed> {
    // The serializer cannot return an error of the repository, so the error is stored here.
    let failed = RefCell::new(None);
    let written = out.json(&JsonVersion::new(version, changes, &failed));
    match failed.into_inner() {
        Some(e) => Err(Error::into(e)),
        None => Ok(written?),
    }
}

#[derive(Serialize)]
struct JsonUpdate<'a> {
    r#ref: &'a str,
    number: usize,
    old: Option<&'a str>,
    new: Option<&'a str>,
    author: &'a str,
    message: &'a str,
    time: String,
    ordinal: Option<u64>,
}

fn print_update(session: &Session, out: &mut Out, update: &RefUpdate) -> io::Result<()> {
    let RefUpdate {
        name,
        number,
        entry,
        version,
    } = update;
    let time = Timestamp {
        secs: entry.time,
        nanos: 0,
        offset: session.now.offset().seconds(),
    };
    if session.globals.json {
        return out.json(&JsonUpdate {
            r#ref: name.as_str(),
            number: *number,
            old: entry.old.as_deref(),
            new: entry.new.as_deref(),
            author: &entry.who,
            message: &entry.why,
            time: iso(&time),
            ordinal: version.as_ref().map(|version| version.commit.ordinal),
        });
    }
    let id = match &entry.new {
        Some(id) => out.paint(Paint::Id, id.get(..8).unwrap_or(id)),
        None => out.paint(Paint::Removed, "deleted "),
    };
    let ordinal = version
        .as_ref()
        .map(|version| format!("v{} ", version.commit.ordinal))
        .unwrap_or_default();
    let why = harmless(entry.why.lines().next().unwrap_or(""));
    writeln!(
        out,
        "{id} {ordinal}{name}@{{{number}}} {}: {why}",
        iso(&time)
    )
}
