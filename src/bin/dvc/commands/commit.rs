//! `dvc commit`: makes a version of the worktree, of standard input, or of a command's output.

mod exec;
mod volumes;

use crate::args::DryRun;
use crate::commands::volume::volumes as all_volumes;
use crate::commands::{push, watchdog};
use crate::dirs;
use crate::failure::{CliError, Exit, Failed, Outcome};
use crate::place::Place;
use crate::print::{Paint, elapsed, size};
use crate::render::{JsonPath, shown};
use crate::session::Session;
use crate::settings::BadConfiguration;
use crate::settings::value::{self, Type, Value};
use clap::Args;
use dvc::context::Context;
use dvc::error::{Error, Kind};
use dvc::hooks::{Facts, HookError, Verb as HookVerb};
use dvc::model::refname::RefName;
use dvc::model::text::harmless;
use dvc::model::when::{Edge, When};
use dvc::observe::Observer;
use dvc::ops::commit::{CommitOptions, CommitReport, RunningDatabase, StreamOptions, commit, commit_stream};
use dvc::ops::push::PushOptions;
use dvc::query::worktree::WalkOptions;
use dvc::quiesce::{Profile, Quiesce};
use dvc::refs::head::Head;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
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
    /// Commit to that branch, which is created where it is missing; not with several volumes
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
    /// Leave out files with more bytes than SIZE, such as 4G
    #[arg(long, value_name = "SIZE", conflicts_with = "stream")]
    pub(crate) exclude_larger_than: Option<String>,
    /// Leave out directories marked by a CACHEDIR.TAG
    #[arg(long)]
    pub(crate) exclude_caches: bool,
    /// Do not descend into other file systems
    #[arg(short = 'x', long)]
    pub(crate) one_file_system: bool,
    /// Accepted for git's `commit -a`: all changes are always committed
    #[arg(short, long, hide = true, conflicts_with = "args")]
    pub(crate) all: bool,
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
    /// Commit a volume of dvc or a plain one of Docker, in use or not; may be repeated
    #[arg(long, value_name = "VOLUME", conflicts_with_all = ["stream", "args", "all_volumes"])]
    pub(crate) volume: Vec<String>,
    /// Commit every volume of dvc, and every plain one of Docker that has a name: a version of each
    #[arg(long, conflicts_with_all = ["stream", "args", "branch"])]
    pub(crate) all_volumes: bool,
    /// Hold writers still while the source is read; in a mount, for a moment. In the given order, undone in reverse:
    /// docker:pause, docker:stop, exec:CONTAINER:CMD[ / CMD], mariadb:[AT], postgres:[AT], fsfreeze:PATH, none
    #[arg(long, value_name = "PROFILE", conflicts_with = "stream")]
    pub(crate) quiesce: Vec<String>,
    /// Let go after this time and give the commit up, such as 90s
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(crate) quiesce_timeout: String,
    /// Push the branch afterwards, to `origin` or the named remote
    #[arg(long, value_name = "REMOTE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) push: Option<String>,
    /// Only the paths that FILE lists, one a line, with any that are arguments; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["stream", "volume", "all_volumes"])]
    pub(crate) files_from: Option<PathBuf>,
    /// With --files-from: a zero byte ends each path
    #[arg(short = 'z', requires = "files_from")]
    pub(crate) null: bool,
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
    make(session, &session.place()?, args, None, None)
}

/// Makes a version of a place; `branch` is where it goes if the command line does not say.
fn make(session: &Session, place: &Place, args: &CommitArgs, branch: Option<RefName>, volume: Option<&str>) -> Outcome {
    let begun = Instant::now();
    let mut context = session.context(place)?;
    if let Some(author) = &args.author {
        context.author = value::author(author).map_err(|problem| CliError::option("--author", problem))?;
    }
    let mut options = options(session, args, &context, place)?;
    if let Some(quiesce) = &mut options.quiesce {
        quiesce.volumes = match (volume, &place.mount) {
            (Some(name), _) => vec![name.to_owned()],
            (None, Some(_)) => all_volumes(session)?.name_of(&place.worktree)?.into_iter().collect(),
            (None, None) => Vec::new(),
        };
    }
    options.branch = options.branch.or(branch);
    let progress = session.progress()?;
    let act = || match (&args.stdin, &args.exec) {
        (None, None) => commit(&context, &options, &progress),
        (Some(name), _) => {
            let (name, mut input) = (name.as_bytes().to_vec(), std::io::stdin());
            let stream = StreamOptions { name, add: args.add, input: &mut input, check: &mut || Ok(()) };
            commit_stream(&context, &options, stream, &progress)
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
            report
        }
    };
    let (report, hook) = hooked(session, &context, &options, volume, &progress, act)?;
    drop(progress);
    print_of(session, &report, volume, options.dry_run, begun.elapsed(), &[])?;
    if let Some(failed) = hook {
        return Err(Error::from(failed).into());
    }
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
    let (report, hook) =
        hooked(session, &context, &options, None, &progress, || commit(&context, &options, &progress))?;
    drop(progress);
    print(session, &report, dry_run, begun.elapsed())?;
    hook.map_or(Ok(Exit::DONE), |failed| Err(Error::from(failed).into()))
}

/// Commits between the hooks. An error of the last comes beside the report.
fn hooked(
    session: &Session,
    context: &Context,
    options: &CommitOptions,
    volume: Option<&str>,
    observer: &dyn Observer,
    act: impl FnOnce() -> dvc::error::Result<CommitReport>,
) -> Result<(CommitReport, Option<HookError>), Failed> {
    around(session, context, options, volume, observer, act, |report| report)
}

/// The same for whatever makes a version among other things.
pub(crate) fn around<T>(
    session: &Session,
    context: &Context,
    options: &CommitOptions,
    volume: Option<&str>,
    observer: &dyn Observer,
    act: impl FnOnce() -> dvc::error::Result<T>,
    made: impl FnOnce(&T) -> &CommitReport,
) -> Result<(T, Option<HookError>), Failed> {
    if options.dry_run {
        return Ok((act()?, None));
    }
    let head = || Some(Head::read(context, &context.repo().ok()?).ok()?.branch?.to_string());
    let facts = Facts {
        repository: context.repository.display().to_string(),
        worktree: Some(context.worktree.display().to_string()),
        volume: volume.map(str::to_owned),
        branch: options.branch.as_ref().map(ToString::to_string).or_else(head),
        ..Facts::default()
    };
    let learned = |done: &T, facts: &mut Facts| {
        let report = made(done);
        facts.branch = Some(report.branch.to_string());
        facts.version = report.id.map(|id| id.to_string());
        !report.unchanged
    };
    Ok(session.hooks(context)?.around(HookVerb::Commit, facts, observer, act, learned)?)
}

/// How writers are held still.
fn quiesce(session: &Session, args: &CommitArgs) -> Result<Option<Quiesce>, Failed> {
    let mut profiles = Vec::new();
    for text in &args.quiesce {
        profiles.extend(Profile::parse(text).map_err(Error::from)?);
    }
    if profiles.is_empty() {
        return Ok(None);
    }
    let option = "--quiesce-timeout";
    let limit = value::duration(&args.quiesce_timeout).map_err(|problem| CliError::option(option, problem))?;
    if limit.is_zero() {
        return Err(CliError::option(option, "there has to be some time").into());
    }
    let own = std::env::current_exe();
    let own = own.map_err(|source| CliError::File { doing: "find", path: PathBuf::from("dvc"), source })?;
    let engine = std::env::var("DOCKER_HOST").ok();
    Ok(Some(Quiesce {
        profiles,
        limit,
        watchdog: vec![own.into(), watchdog::NAME.into()],
        engine,
        volumes: Vec::new(),
        password: session.settings()?.text("quiesce.password").map(str::to_owned),
        ours: vec![dirs::run(), dirs::state(), dirs::cache(), std::env::temp_dir()],
    }))
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
    let mut paths = if args.exec.is_some() { Vec::new() } else { place.paths(&args.args)? };
    if let Some(list) = &args.files_from {
        paths.extend(place.paths(&listed(args, list)?)?);
    }
    // The top of the worktree is all of it.
    if paths.iter().any(Vec::is_empty) {
        paths.clear();
    }
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
            larger_than: args.exclude_larger_than.as_deref().map(size_of).transpose()?,
            places: walk.places,
        },
        allow_empty: args.allow_empty,
        paths,
        quiesce: quiesce(session, args)?,
        running_database: match args.quiesce.is_empty() {
            true => running_database(session)?,
            // `none` says that nothing is to be held still.
            false => RunningDatabase::Ignore,
        },
        dry_run: session.dry_run(args.dry),
    })
}

/// The reaction to a database that runs in the directory that a commit reads.
pub(crate) fn running_database(session: &Session) -> Result<RunningDatabase, BadConfiguration> {
    Ok(match session.settings()?.text("commit.running-database") {
        Some("refuse") => RunningDatabase::Refuse,
        Some("ignore") => RunningDatabase::Ignore,
        _ => RunningDatabase::Warn,
    })
}

fn size_of(text: &str) -> Result<u64, CliError> {
    match (Type::Size { min: 0 }).parse(text) {
        Ok(Value::Number(bytes)) => Ok(bytes),
        Ok(_) => Err(CliError::option("--exclude-larger-than", "it is not a size")),
        Err(problem) => Err(CliError::option("--exclude-larger-than", problem)),
    }
}

/// The paths that a file lists.
fn listed(args: &CommitArgs, list: &std::path::Path) -> Result<Vec<OsString>, CliError> {
    let is_stdin = list.as_os_str() == "-";
    if is_stdin && args.file.as_ref().is_some_and(|file| file.as_os_str() == "-") {
        return Err(CliError::option("--files-from", "`-` is standard input, which `--file` reads"));
    }
    let mut text = Vec::new();
    let read = if is_stdin {
        std::io::stdin().read_to_end(&mut text)
    } else {
        std::fs::File::open(list).and_then(|mut file| file.read_to_end(&mut text))
    };
    read.map_err(|source| CliError::File { doing: "read", path: list.to_owned(), source })?;
    let paths = if args.null { split_list(&text, b'\0') } else { split_list(&text, b'\n') };
    if paths.is_empty() && args.args.is_empty() {
        // Without any path everything would be committed.
        return Err(CliError::option("--files-from", format!("`{}` lists no path", list.display())));
    }
    Ok(paths)
}

/// The paths in a list; lines may end as on Windows, and begin with a byte order mark.
fn split_list(text: &[u8], end: u8) -> Vec<OsString> {
    let lines = end == b'\n';
    let text = text.strip_prefix(b"\xef\xbb\xbf").filter(|_| lines).unwrap_or(text);
    let path = |piece: &[u8]| {
        let piece = piece.strip_suffix(b"\r").filter(|_| lines).unwrap_or(piece);
        (!piece.is_empty()).then(|| OsString::from_vec(piece.to_vec()))
    };
    text.split(|byte| *byte == end).filter_map(path).collect()
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
    print_with(session, report, dry_run, took, &[])
}

/// The same, with more for JSON.
pub(crate) fn print_with(
    session: &Session,
    report: &CommitReport,
    dry_run: bool,
    took: std::time::Duration,
    more: &[(&str, serde_json::Value)],
) -> Result<(), Failed> {
    print_of(session, report, None, dry_run, took, more)
}

fn print_of(
    session: &Session,
    report: &CommitReport,
    volume: Option<&str>,
    dry_run: bool,
    took: std::time::Duration,
    more: &[(&str, serde_json::Value)],
) -> Result<(), Failed> {
    let mut out = session.plain_out();
    let CommitReport { branch, commit, .. } = report;
    if session.globals.json {
        let mut object = serde_json::json!({
            "id": report.id.map(|i| i.to_string()),
            "volume": volume,
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
        });
        for (key, value) in more {
            object[*key] = value.clone();
        }
        out.json(&object)?;
    } else if session.globals.quiet == 0 {
        let id = report.id.map(|i| i.short());
        let name = match &id {
            Some(id) => format!("[{branch} v{} {}]", commit.ordinal, out.paint(Paint::Id, id)),
            None => format!("[{branch} v{}]", commit.ordinal),
        };
        let name = match volume.filter(|volume| *volume != branch.as_str()) {
            Some(volume) => format!("{volume}: {name}"),
            None => name,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_paths() {
        let split = |text: &[u8], end| -> Vec<String> {
            split_list(text, end).into_iter().map(|path| path.to_string_lossy().into_owned()).collect()
        };
        assert_eq!(split(b"\xef\xbb\xbfa b\r\n\nc", b'\n'), ["a b", "c"]);
        assert_eq!(split(b"a\nb\r\0c\0", b'\0'), ["a\nb\r", "c"]);
        assert_eq!(split(b"\n\n", b'\n'), Vec::<String>::new());
    }
}
