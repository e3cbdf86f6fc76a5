//! `dvc log`: lists versions, newest first.

use crate::failure::{Exit, Failed, Outcome};
use crate::print::{Out, Paint};
use crate::render::change::{Stat, name_status};
use crate::render::format::{Format, Surroundings};
use crate::render::graph::{Graph, Rows};
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
use dvc::ops::diff::{DiffOptions, Sides, diff};
use dvc::ops::log::{LogOptions, Update, log, updates};
use dvc::query::describe::{Changes, Detail, Version};
use dvc::query::worktree::WalkOptions;
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
    /// Versions and ranges to start from; -N is short for -n N
    #[arg(value_name = "REV", allow_negative_numbers = true)]
    pub(crate) revs: Vec<OsString>,
    /// At most that many versions; a negative number is no limit
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, value_parser = count)]
    pub(crate) max_count: Option<usize>,
    /// One line for each version
    #[arg(long)]
    pub(crate) oneline: bool,
    /// Ids in full
    #[arg(long, alias = "no-abbrev-commit")]
    pub(crate) no_abbrev: bool,
    /// Accepted for git's option of this name: ids are short unless --no-abbrev is given
    #[arg(long, hide = true)]
    pub(crate) abbrev_commit: bool,
    /// Accepted for git's option of this name: names of versions are always shown
    #[arg(long, hide = true)]
    pub(crate) decorate: bool,
    /// Draw the lines of descent
    #[arg(long)]
    pub(crate) graph: bool,
    /// Versions of all branches and tags
    #[arg(long)]
    pub(crate) all: bool,
    /// Oldest first
    #[arg(long, conflicts_with = "graph")]
    pub(crate) reverse: bool,
    /// With the files that changed and by how much
    #[arg(long)]
    pub(crate) stat: bool,
    /// With the names and letters of what changed
    #[arg(long)]
    pub(crate) name_status: bool,
    /// With the changed lines of text files
    #[arg(short, long, conflicts_with_all = ["stat", "name_status", "graph", "walk_reflogs"])]
    pub(crate) patch: bool,
    /// Not older than TIME
    #[arg(long, value_name = "TIME", visible_alias = "after")]
    pub(crate) since: Option<String>,
    /// Not younger than TIME
    #[arg(long, value_name = "TIME", visible_alias = "before")]
    pub(crate) until: Option<String>,
    /// By an author that matches the pattern
    #[arg(long, value_name = "PATTERN")]
    pub(crate) author: Option<String>,
    /// With a message that matches the pattern
    #[arg(long, value_name = "PATTERN")]
    pub(crate) grep: Option<String>,
    /// Patterns match without regard to case
    #[arg(short = 'i', long = "regexp-ignore-case")]
    pub(crate) ignore_case: bool,
    /// What a branch was before, from its ref log
    #[arg(short = 'g', long, conflicts_with_all = ["graph", "all", "reverse", "stat", "name_status", "format", "paths"])]
    pub(crate) walk_reflogs: bool,
    /// How to print a version: oneline, or text with %H %h %T %P %O %an %ae %aI %ar %d %s %b %U ...
    #[arg(long, value_name = "FORMAT", visible_alias = "pretty")]
    pub(crate) format: Option<String>,
    /// Only versions that change these paths
    #[arg(value_name = "PATH", last = true, value_hint = clap::ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
}

/// How a version is written.
pub(crate) enum Style {
    OneLine {
        whole_id: bool,
    },
    /// With the whole id, or a short one.
    Full {
        whole_id: bool,
    },
    Format(Format),
}

impl Style {
    /// From `--oneline`, `--format` and `--no-abbrev`.
    pub(crate) fn new(oneline: bool, format: Option<&str>, whole_id: bool) -> Result<Self, Failed> {
        match format {
            Some("oneline") => Ok(Self::OneLine { whole_id }),
            Some("full" | "medium") => Ok(Self::Full { whole_id }),
            Some(text) => Ok(Self::Format(Format::parse(text)?)),
            None if oneline => Ok(Self::OneLine { whole_id }),
            None => Ok(Self::Full { whole_id }),
        }
    }

    /// Whether the address of each version is needed.
    pub(crate) fn wants_address(&self) -> bool {
        matches!(self, Self::Format(format) if format.wants_address())
    }

    /// Writes a line. Programs get what they asked for by a format as it is.
    pub(crate) fn write(&self, out: &mut Out, line: &str) -> io::Result<()> {
        if matches!(self, Self::Format(_)) && !io::stdout().is_terminal() {
            out.write_all(line.as_bytes())?;
            return out.write_all(b"\n");
        }
        writeln!(out, "{line}")
    }

    /// The lines of one version, without its changes.
    pub(crate) fn lines(&self, out: &Out, version: &Version, around: &Surroundings<'_>) -> Vec<String> {
        match self {
            Self::OneLine { whole_id } => vec![one_line(out, version, *whole_id)],
            Self::Full { whole_id } => full(out, version, *whole_id),
            Self::Format(format) => {
                let text = format.fill(version, around);
                text.split('\n').map(str::to_owned).collect()
            }
        }
    }
}

/// The detail that flags ask for.
pub(crate) fn detail(stat: bool, name_status: bool) -> Detail {
    match (stat, name_status) {
        (true, _) => Detail::Ranges,
        (_, true) => Detail::Names,
        _ => Detail::None,
    }
}

/// Runs `log`.
pub(crate) fn run(session: &Session, args: &LogArgs) -> Outcome {
    let (place, context) = session.anywhere()?;
    let style = Style::new(args.oneline, args.format.as_deref(), args.no_abbrev)?;
    let (counts, revs): (Vec<_>, Vec<_>) = args.revs.iter().partition(|rev| short_count(rev).is_some());
    let query = |rev: &&OsString| RevisionQuery::parse(rev.as_bytes()).map_err(|e| Failed::from(Error::from(e)));
    let options = LogOptions {
        queries: revs.iter().map(query).collect::<Result<_, _>>()?,
        all: args.all,
        max_count: counts.last().and_then(|rev| short_count(rev)).or(args.max_count),
        since: args.since.as_deref().map(|t| session.seconds(t, Edge::Start)).transpose()?,
        until: args.until.as_deref().map(|t| session.seconds(t, Edge::End)).transpose()?,
        author: args.author.clone(),
        grep: args.grep.clone(),
        ignore_case: args.ignore_case,
        paths: place.paths(&args.paths)?,
        reverse: args.reverse,
        // The first version has no parent to be compared with; its names are listed.
        detail: detail(args.stat, args.name_status || args.patch),
        graph: args.graph && !session.globals.json,
        addresses: style.wants_address() || session.globals.json && args.format.is_some(),
    };
    let mut out = session.paged_out();
    let mut written: Result<(), Failed> = Ok(());
    if args.walk_reflogs {
        updates(&context, &options, &mut |update| {
            written = print_update(session, &mut out, &update).map_err(Failed::from);
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
    } else {
        let url = place.url();
        let around = Surroundings { now: session.now.timestamp().as_second(), url: &url };
        let patch = Patches { context: &context, paths: &options.paths, walk: session.walk()?, wanted: args.patch };
        let mut printer = Printer { args, style: &style, around: &around, graph: Graph::default(), first: true };
        log(&context, &options, &session.notices()?, &mut |version, changes| {
            written = match session.globals.json {
                true => json(&mut out, &version, changes),
                false => printer.version(&mut out, &version, changes),
            };
            if written.is_ok() && !session.globals.json {
                written = patch.print(&mut out, &version, changes);
            }
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
    }
    written?;
    out.finish()?;
    Ok(Exit::DONE.unless_cancelled(&session.signals))
}

/// `-3` as three versions.
fn short_count(rev: &OsString) -> Option<usize> {
    let digits = rev.to_str()?.strip_prefix('-')?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// A count of versions; as in git, a negative one is no limit.
fn count(text: &str) -> Result<usize, std::num::ParseIntError> {
    text.parse::<i64>().map(|n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// Prints the changed lines of versions.
struct Patches<'a> {
    context: &'a dvc::context::Context,
    paths: &'a [Vec<u8>],
    walk: WalkOptions,
    wanted: bool,
}

impl Patches<'_> {
    /// The outer result is the comparison's, the inner one the output's. The first version is compared with nothing.
    fn print(&self, out: &mut Out, version: &Version, changed: &Changes<'_>) -> Result<(), Failed> {
        if !self.wanted {
            return Ok(());
        }
        writeln!(out)?;
        let revision = |id: &Id| RevisionSpec::parse(id.to_string().as_bytes()).map_err(Error::from);
        let Some(parent) = version.commit.parents.first() else {
            return changes(out, changed, false, "");
        };
        let options = DiffOptions {
            sides: Sides::Between(revision(parent)?, revision(&version.id)?),
            paths: self.paths.to_vec(),
            detail: Detail::Ranges,
            patch: true,
            walk: self.walk.clone(),
        };
        let mut written = Ok(());
        diff(self.context, &options, &dvc::observe::Silent, &mut |difference| {
            written = super::diff::patch(out, &difference);
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(written?)
    }
}

struct Printer<'a> {
    args: &'a LogArgs,
    style: &'a Style,
    around: &'a Surroundings<'a>,
    graph: Graph,
    first: bool,
}

impl Printer<'_> {
    fn version(&mut self, out: &mut Out, version: &Version, changed: &Changes<'_>) -> Result<(), Failed> {
        let rows = match self.args.graph {
            true => self.graph.next(version.id, &version.shown_parents),
            false => Rows { before: Vec::new(), first: String::new(), others: String::new() },
        };
        if !self.first && matches!(self.style, Style::Full { .. }) {
            writeln!(out, "{}", rows.before.first().unwrap_or(&rows.first).replace('*', "|").trim_end())?;
        }
        self.first = false;
        for line in &rows.before {
            writeln!(out, "{}", line.trim_end())?;
        }
        for (n, line) in self.style.lines(out, version, self.around).iter().enumerate() {
            let row = if n == 0 { &rows.first } else { &rows.others };
            self.style.write(out, format!("{row}{line}").trim_end())?;
        }
        if self.args.stat || self.args.name_status {
            if matches!(self.style, Style::Full { .. }) {
                writeln!(out, "{}", rows.others.trim_end())?;
            }
            changes(out, changed, self.args.stat, &rows.others)?;
        }
        Ok(())
    }
}

/// Writes the changes of a version, by letters or as a statistic, while they are computed.
pub(crate) fn changes(out: &mut Out, changes: &Changes<'_>, stat: bool, before: &str) -> Result<(), Failed> {
    let mut written = Ok(());
    if stat {
        let mut stat = Stat::new(before);
        changes.each_file(&mut |changed| {
            written = stat.add(out, &changed);
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        written?;
        return Ok(stat.finish(out)?);
    }
    changes.each(&mut |changed| {
        written = write!(out, "{before}").and_then(|()| name_status(out, &changed.change, false));
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(written?)
}

/// A version in JSON, its changes written as they are worked out.
pub(crate) fn json(out: &mut Out, version: &Version, changes: &Changes<'_>) -> Result<(), Failed> {
    let failed = RefCell::new(None);
    let written = out.json(&JsonVersion::new(version, changes, &failed));
    match failed.into_inner() {
        Some(e) => Err(Error::into(e)),
        None => Ok(written?),
    }
}

fn print_update(session: &Session, out: &mut Out, update: &Update) -> io::Result<()> {
    let Update { name, number, entry, version } = update;
    let time = Timestamp { secs: entry.time, nanos: 0, offset: session.now.offset().seconds() };
    if session.globals.json {
        return out.json(&serde_json::json!({
            "ref": name.as_str(), "number": number, "old": entry.old, "new": entry.new, "who": entry.who,
            "why": entry.why, "time": iso(&time), "timestamp": entry.time,
            "ordinal": version.as_ref().map(|(_, c)| c.ordinal),
        }));
    }
    let id = match &entry.new {
        Some(id) => out.paint(Paint::Id, id.get(..8).unwrap_or(id)),
        None => out.paint(Paint::Removed, "deleted "),
    };
    let ordinal = version.as_ref().map(|(_, c)| format!("v{} ", c.ordinal)).unwrap_or_default();
    let why = harmless(entry.why.lines().next().unwrap_or(""));
    writeln!(out, "{id} {ordinal}{name}@{{{number}}} {}: {why}", iso(&time))
}
