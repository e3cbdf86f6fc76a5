//! `dvc commit`: makes a version of the worktree, of standard input, or of a command's output.

mod exec;
mod volumes;

use crate::args::DryRun;
use crate::commands::push;
use crate::failure::{CliError, Exit, Failed, Outcome};
use crate::place::Place;
use crate::print::{Paint, elapsed, size};
use crate::render::{JsonPath, harmless, shown};
use crate::session::Session;
use crate::settings::value;
use clap::Args;
use dvc::error::{Error, Kind};
use dvc::model::refname::RefName;
use dvc::model::when::{Edge, When};
use dvc::ops::Context;
use dvc::ops::commit::{CommitOptions, CommitReport, StreamOptions, commit, commit_stream};
use dvc::ops::head::Head;
use dvc::ops::push::PushOptions;
use dvc::ops::worktree::WalkOptions;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Instant;

/// Options of `commit`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    dvc -C /var/lib/mysql commit -m nightly\n  \
    dvc commit --volume db --push -m nightly\n  \
    dvc commit -b dump --exec all.sql -m nightly -- mysqldump --all-databases")]
pub(crate) struct CommitArgs {
    /// The message; a second one begins a paragraph
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Vec<String>,
    /// Read the message from FILE, `-` is standard input
    #[arg(short = 'F', long, value_name = "FILE", conflicts_with = "message")]
    pub(crate) file: Option<PathBuf>,
    /// Commit to that branch, which is created where it is missing
    #[arg(short, long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// Tag the version; `@NAME` is a tag of its branch
    #[arg(long, value_name = "NAME")]
    pub(crate) tag: Vec<String>,
    /// Who made it, `Name <mail>`
    #[arg(long, value_name = "AUTHOR")]
    pub(crate) author: Option<String>,
    /// When it was made
    #[arg(long, value_name = "TIME")]
    pub(crate) time: Option<String>,
    /// Add a `Key: value` line about the version
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) trailer: Vec<String>,
    /// Leave out what matches, as in `.dvcsignore`
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Leave out directories marked by a CACHEDIR.TAG
    #[arg(long)]
    pub(crate) exclude_caches: bool,
    /// Do not descend into other file systems
    #[arg(short = 'x', long)]
    pub(crate) one_file_system: bool,
    /// Commit even where nothing changed or the source is empty
    #[arg(long)]
    pub(crate) allow_empty: bool,
    /// Commit standard input as a file of that name
    #[arg(long, value_name = "NAME", conflicts_with = "args", group = "stream")]
    pub(crate) stdin: Option<OsString>,
    /// Commit the output of a command, given after `--`, as a file of that name
    #[arg(long, value_name = "NAME", conflicts_with = "stdin", requires = "args", group = "stream")]
    pub(crate) exec: Option<OsString>,
    /// With --stdin and --exec: keep the other files of the version before
    #[arg(long, requires = "stream")]
    pub(crate) add: bool,
    /// Commit a volume, which need not be in use; may be repeated
    #[arg(long, value_name = "VOLUME", conflicts_with_all = ["stream", "args", "all_volumes"])]
    pub(crate) volume: Vec<String>,
    /// Commit every volume, a version of each
    #[arg(long, conflicts_with_all = ["stream", "args", "branch"])]
    pub(crate) all_volumes: bool,
    /// Push the branch afterwards, to `origin` or the named remote
    #[arg(long, value_name = "REMOTE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) push: Option<String>,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// Only these paths, or the command of --exec
    #[arg(value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) args: Vec<OsString>,
}

/// Runs `commit`.
pub(crate) fn run(session: &Session, args: &CommitArgs) -> Outcome {
    if args.all_volumes || !args.volume.is_empty() {
        return volumes::run(session, args);
    }
    make(session, &session.place()?, args, None)
}

/// Makes a version of a place; `branch` is where it goes if the command line does not say.
fn make(session: &Session, place: &Place, args: &CommitArgs, branch: Option<RefName>) -> Outcome {
    let begun = Instant::now();
    let mut context = session.context(place)?;
    if let Some(author) = &args.author {
        context.author = value::author(author).map_err(|problem| CliError::option("--author", problem))?;
    }
    let mut options = options(session, args, &context, place)?;
    options.branch = options.branch.or(branch);
    let progress = session.progress()?;
    let report = match (&args.stdin, &args.exec) {
        (None, None) => commit(&context, &options, &progress)?,
        (Some(name), _) => {
            let (name, mut input) = (name.as_bytes().to_vec(), std::io::stdin());
            let stream = StreamOptions { name, add: args.add, input: &mut input, check: &mut || Ok(()) };
            commit_stream(&context, &options, stream, &progress)?
        }
        (None, Some(name)) => {
            let mut child = exec::spawn(&args.args)?;
            let mut output = exec::output(&mut child);
            let stream = StreamOptions {
                name: name.as_bytes().to_vec(),
                add: args.add,
                input: &mut output,
                check: &mut || exec::check(&mut child, &args.args),
            };
            let report = commit_stream(&context, &options, stream, &progress);
            exec::end(&mut child);
            report?
        }
    };
    drop(progress);
    print(session, &report, options.dry_run, begun.elapsed())?;
    if let Some(name) = args.push.as_ref().filter(|_| !options.dry_run) {
        let remote = match name.as_str() {
            "" => session.default_remote(&context)?,
            name => session.remote(&context, name)?,
        };
        let tags = report.tags.iter().map(|tag| tag.to_string());
        let names = std::iter::once(report.branch.to_string()).chain(tags).collect();
        push::to(session, &context, &remote, &PushOptions { names, ..PushOptions::default() })?;
    }
    Ok(if report.unstable.is_empty() { Exit::DONE } else { Exit::with(Kind::Incomplete) })
}

/// Commits all of a mount.
pub(crate) fn of_mount(session: &Session, at: &std::path::Path, message: &str, dry_run: bool) -> Outcome {
    let begun = Instant::now();
    let place = crate::place::of_mount(at)?;
    let context = session.context(&place)?;
    let (message, walk) = (message.to_owned(), session.walk()?);
    let options = CommitOptions { message, walk, dry_run, ..CommitOptions::default() };
    let progress = session.progress()?;
    let report = commit(&context, &options, &progress)?;
    drop(progress);
    print(session, &report, dry_run, begun.elapsed())?;
    Ok(Exit::DONE)
}

fn options(session: &Session, args: &CommitArgs, context: &Context, place: &Place) -> Result<CommitOptions, Failed> {
    let walk = session.walk()?;
    let name = |name: &str| RefName::new(name).map_err(Error::from);
    let branch = args.branch.as_deref().map(name).transpose()?;
    let mut tags = Vec::new();
    for tag in &args.tag {
        tags.push(match tag.split_once('@') {
            None => name(tag)?,
            Some((scope, tag)) => {
                let scope = match (scope, &branch) {
                    ("", Some(branch)) => branch.clone(),
                    ("", None) => {
                        let head = Head::read(context, &context.repo()?)?;
                        head.branch.ok_or_else(|| CliError::option("--tag", "HEAD is detached, name the branch"))?
                    }
                    (scope, _) => name(scope)?,
                };
                RefName::scoped(&scope, tag).map_err(Error::from)?
            }
        });
    }
    let time = match &args.time {
        None => None,
        Some(text) => {
            let when: When = text.parse().map_err(Error::from)?;
            let at = when.resolve(&session.now, Edge::Start).map_err(Error::from)?;
            Some(at)
        }
    };
    let mut trailers = Vec::new();
    for trailer in &args.trailer {
        let (key, value) = trailer.split_once(['=', ':']).unwrap_or_default();
        let (key, value) = (key.trim(), value.trim());
        let blank = |c: char| c.is_whitespace() || c.is_control();
        if key.is_empty() || key.contains(blank) || value.contains(char::is_control) {
            let problem = format!("`{}` is not KEY=VALUE on one line, KEY without blanks", trailer.escape_debug());
            return Err(CliError::option("--trailer", problem).into());
        }
        trailers.push((key.to_owned(), value.to_owned()));
    }
    let paths = if args.exec.is_some() { Vec::new() } else { place.paths(&args.args)? };
    Ok(CommitOptions {
        message: message(args)?,
        branch,
        tags,
        trailers,
        time,
        walk: WalkOptions {
            exclude: [walk.exclude.as_slice(), args.exclude.as_slice()].concat(),
            skip_cache_dirs: args.exclude_caches || walk.skip_cache_dirs,
            one_file_system: args.one_file_system || walk.one_file_system,
            places: walk.places,
        },
        allow_empty: args.allow_empty,
        paths,
        dry_run: session.dry_run(args.dry),
    })
}

fn message(args: &CommitArgs) -> Result<String, CliError> {
    let text = match &args.file {
        None => args.message.join("\n\n"),
        Some(path) => {
            let read = if path.as_os_str() == "-" {
                if args.stdin.is_some() {
                    return Err(CliError::option("--file", "`-` is standard input, which `--stdin` commits"));
                }
                std::io::read_to_string(std::io::stdin())
            } else {
                std::fs::read_to_string(path)
            };
            read.map_err(|source| CliError::File { doing: "read", path: path.clone(), source })?
        }
    };
    let text = text.trim_end().to_owned();
    if text.len() > 64 << 10 {
        return Err(CliError::option("--message", "it is longer than 64 KiB"));
    }
    Ok(text)
}

/// Tells of a version.
pub(crate) fn print(
    session: &Session,
    report: &CommitReport,
    dry_run: bool,
    took: std::time::Duration,
) -> Result<(), Failed> {
    let mut out = session.plain_out();
    let CommitReport { branch, commit, .. } = report;
    if session.globals.json {
        out.json(&serde_json::json!({
            "id": report.id.map(|i| i.to_string()),
            "tree": commit.tree.to_string(),
            "branch": branch.as_str(),
            "ordinal": commit.ordinal,
            "parents": commit.parents.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "unchanged": report.unchanged,
            "dry_run": dry_run,
            "tags": report.tags.iter().map(RefName::as_str).collect::<Vec<_>>(),
            "changed": report.changed,
            "files": commit.counts.files,
            "bytes": commit.counts.bytes,
            "new_bytes": commit.counts.new_bytes,
            "stored_bytes": commit.counts.stored_bytes,
            "unstable": report.unstable.iter().map(|p| JsonPath::new(p)).collect::<Vec<_>>(),
            "seconds": took.as_secs_f64(),
        }))?;
    } else if session.globals.quiet == 0 {
        let id = report.id.map(|i| i.short());
        let name = match &id {
            Some(id) => format!("[{branch} v{} {}]", commit.ordinal, out.paint(Paint::Id, id)),
            None => format!("[{branch} v{}]", commit.ordinal),
        };
        if report.unchanged {
            writeln!(out, "{name} nothing to commit, {}", elapsed(took))?;
        } else {
            let would = if dry_run { " (dry run: nothing was stored)" } else { "" };
            writeln!(out, "{name} {}{would}", harmless(commit.subject()))?;
            let changed = report.changed.unwrap_or(commit.counts.files);
            let plural = if changed == 1 { "" } else { "s" };
            write!(out, " {changed} file{plural} changed, {} new", size(commit.counts.new_bytes))?;
            match dry_run {
                true => writeln!(out)?,
                false => writeln!(out, " ({} stored), {}", size(commit.counts.stored_bytes), elapsed(took))?,
            }
        }
        for path in &report.unstable {
            writeln!(out, "U {}", shown(path))?;
        }
    }
    out.finish()?;
    Ok(())
}
