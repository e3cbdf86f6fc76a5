//! Translates the command line of `dvc commit` to the options of the library.

use super::args::CommitArgs;
use crate::commands::watchdog;
use crate::dirs;
use crate::failure::{CliError, Failed};
use crate::place::RepoPlace;
use crate::session::Session;
use crate::settings::BadConfiguration;
use crate::settings::value::{self, SettingType, SettingValue};
use dvc::context::Context;
use dvc::error::Error;
use dvc::model::commit::Timestamp;
use dvc::model::refname::RefName;
use dvc::model::when::{Edge, When};
use dvc::ops::commit::{CommitOptions, RunningDatabase};
use dvc::query::worktree::WalkOptions;
use dvc::quiesce::{Quiesce, QuiesceProfile};
use dvc::refs::head::Head;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Limit on the length of a message in bytes.
const MESSAGE_MAX: usize = 64 << 10;

/// Returns the options of a commit of `place`.
pub(super) fn options(
    session: &Session,
    args: &CommitArgs,
    context: &Context,
    place: &RepoPlace,
) -> Result<CommitOptions, Failed> {
    let walk = session.walk()?;
    let branch = args.branch.as_deref().map(ref_name).transpose()?;
    let mut paths = if args.exec.is_some() {
        Vec::new()
    } else {
        place.paths(&args.args)?
    };
    if let Some(list) = &args.files_from {
        paths.extend(place.paths(&listed(session, args, list)?)?);
    }
    // An empty list means the complete worktree, as does the path of its top.
    if paths.iter().any(Vec::is_empty) {
        paths.clear();
    }
    Ok(CommitOptions {
        message: message(session, args)?,
        tags: tags(args, context, branch.as_ref())?,
        branch,
        trailers: args
            .trailer
            .iter()
            .map(|text| trailer(text))
            .collect::<Result<_, _>>()?,
        time: args
            .time
            .as_deref()
            .map(|text| time(session, text))
            .transpose()?,
        walk: WalkOptions {
            exclude: [walk.exclude.as_slice(), args.exclude.as_slice()].concat(),
            skip_cache_dirs: args.exclude_caches || walk.skip_cache_dirs,
            one_file_system: args.one_file_system || walk.one_file_system,
            larger_than: args
                .exclude_larger_than
                .as_deref()
                .map(size_of)
                .transpose()?,
            places: walk.places,
        },
        allow_empty: args.allow_empty,
        paths,
        quiesce: quiesce(session, args)?,
        running_database: if args.quiesce.is_empty() {
            running_database(session)?
        } else {
            // With `--quiesce`, the user knows about the database, even with the profile `none`.
            RunningDatabase::Ignore
        },
        dry_run: session.dry_run(args.dry),
    })
}

/// Returns how a commit treats a running database whose files it reads.
pub(crate) fn running_database(session: &Session) -> Result<RunningDatabase, BadConfiguration> {
    Ok(match session.settings()?.text("commit.running-database") {
        Some("refuse") => RunningDatabase::Refuse,
        Some("ignore") => RunningDatabase::Ignore,
        _ => RunningDatabase::Warn,
    })
}

/// Returns how writers are quiesced, or `None` if they are not.
fn quiesce(session: &Session, args: &CommitArgs) -> Result<Option<Quiesce>, Failed> {
    let mut profiles = Vec::new();
    for text in &args.quiesce {
        profiles.extend(QuiesceProfile::parse(text).map_err(Error::from)?);
    }
    if profiles.is_empty() {
        return Ok(None);
    }
    let option = "--quiesce-timeout";
    let limit = value::duration(&args.quiesce_timeout)
        .map_err(|problem| CliError::option(option, problem))?;
    if limit.is_zero() {
        return Err(CliError::option(option, "the timeout must be greater than zero").into());
    }
    // The watchdog is a second process of this program.
    let own = std::env::current_exe();
    let own = own.map_err(|source| CliError::File {
        doing: "find",
        path: PathBuf::from("dvc"),
        source,
    })?;
    Ok(Some(Quiesce {
        profiles,
        limit,
        watchdog: vec![own.into(), watchdog::NAME.into()],
        engine: std::env::var("DOCKER_HOST").ok(),
        volumes: Vec::new(),
        password: session
            .settings()?
            .text("quiesce.password")
            .map(str::to_owned),
        // dvc itself writes to these directories, so a freeze of them would block it.
        ours: vec![
            dirs::run(),
            dirs::state(),
            dirs::cache(),
            std::env::temp_dir(),
        ],
    }))
}

fn ref_name(name: &str) -> Result<RefName, Error> {
    RefName::new(name).map_err(Error::from)
}

/// Returns the tags that are given on the command line. `@NAME` is scoped by `branch`, or by the
/// current branch.
fn tags(
    args: &CommitArgs,
    context: &Context,
    branch: Option<&RefName>,
) -> Result<Vec<RefName>, Failed> {
    let mut tags = Vec::new();
    for tag in &args.tag {
        let Some((scope, tag)) = tag.split_once('@') else {
            tags.push(ref_name(tag)?);
            continue;
        };
        let scope = match (scope, branch) {
            ("", Some(branch)) => branch.clone(),
            ("", None) => {
                let head = Head::read(context, &context.repo()?)?;
                head.branch.ok_or_else(|| {
                    CliError::option(
                        "--tag",
                        "HEAD is detached, so the branch must be specified: BRANCH@NAME",
                    )
                })?
            }
            (scope, _) => ref_name(scope)?,
        };
        tags.push(RefName::scoped(&scope, tag).map_err(Error::from)?);
    }
    Ok(tags)
}

fn time(session: &Session, text: &str) -> Result<Timestamp, Error> {
    let when: When = text.parse().map_err(Error::from)?;
    when.resolve(&session.now, Edge::Start).map_err(Error::from)
}

fn trailer(text: &str) -> Result<(String, String), CliError> {
    // Without a separator, the key is empty, which is an error.
    let (key, value) = text.split_once(['=', ':']).unwrap_or_default();
    let (key, value) = (key.trim(), value.trim());
    let blank = |c: char| c.is_whitespace() || c.is_control();
    if key.is_empty() || key.contains(blank) || value.contains(char::is_control) {
        let problem = format!(
            "invalid trailer `{}`: expected KEY=VALUE on one line, without blanks in KEY",
            text.escape_debug()
        );
        return Err(CliError::option("--trailer", problem));
    }
    Ok((key.to_owned(), value.to_owned()))
}

fn size_of(text: &str) -> Result<u64, CliError> {
    match (SettingType::Size { min: 0 }).parse(text) {
        Ok(SettingValue::Number(bytes)) => Ok(bytes),
        Ok(_) => Err(CliError::option(
            "--exclude-larger-than",
            "the value is not a size",
        )),
        Err(problem) => Err(CliError::option("--exclude-larger-than", problem)),
    }
}

/// Reads the paths that a file lists.
fn listed(session: &Session, args: &CommitArgs, list: &Path) -> Result<Vec<OsString>, CliError> {
    let is_stdin = list.as_os_str() == "-";
    if is_stdin
        && args
            .file
            .as_ref()
            .is_some_and(|file| file.as_os_str() == "-")
    {
        return Err(CliError::option(
            "--files-from",
            "`-` is standard input, which `--file` reads",
        ));
    }
    let mut text = Vec::new();
    let read = if is_stdin {
        session.stdin()?.read_to_end(&mut text)
    } else {
        std::fs::File::open(list).and_then(|mut file| file.read_to_end(&mut text))
    };
    read.map_err(|source| CliError::File {
        doing: "read",
        path: list.to_owned(),
        source,
    })?;
    let paths = if args.null {
        split_list(&text, b'\0')
    } else {
        split_list(&text, b'\n')
    };
    if paths.is_empty() && args.args.is_empty() {
        // An empty list of paths would commit everything.
        return Err(CliError::option(
            "--files-from",
            format!("`{}` contains no paths", list.display()),
        ));
    }
    Ok(paths)
}

/// Splits a list of paths. Lines may end with CRLF, and the list may start with a byte order mark.
fn split_list(text: &[u8], end: u8) -> Vec<OsString> {
    let lines = end == b'\n';
    // Editors of Windows write a byte order mark and carriage returns.
    let text = text
        .strip_prefix(b"\xef\xbb\xbf")
        .filter(|_| lines)
        .unwrap_or(text);
    let path = |piece: &[u8]| {
        let piece = piece.strip_suffix(b"\r").filter(|_| lines).unwrap_or(piece);
        (!piece.is_empty()).then(|| OsString::from_vec(piece.to_vec()))
    };
    text.split(|byte| *byte == end).filter_map(path).collect()
}

fn message(session: &Session, args: &CommitArgs) -> Result<String, CliError> {
    let text = match &args.file {
        None => args.message.join("\n\n"),
        Some(path) => {
            let read = if path.as_os_str() == "-" {
                if args.stdin.is_some() {
                    return Err(CliError::option(
                        "--file",
                        "`-` is standard input, which `--stdin` commits",
                    ));
                }
                std::io::read_to_string(session.stdin()?)
            } else {
                std::fs::read_to_string(path)
            };
            read.map_err(|source| CliError::File {
                doing: "read",
                path: path.clone(),
                source,
            })?
        }
    };
    let text = text.trim_end().to_owned();
    if text.len() > MESSAGE_MAX {
        return Err(CliError::option(
            "--message",
            "the message is longer than 64 KiB",
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_paths() {
        let split = |text: &[u8], end| -> Vec<String> {
            split_list(text, end)
                .into_iter()
                .map(|path| path.to_string_lossy().into_owned())
                .collect()
        };
        assert_eq!(split(b"\xef\xbb\xbfa b\r\n\nc", b'\n'), ["a b", "c"]);
        assert_eq!(split(b"a\nb\r\0c\0", b'\0'), ["a\nb\r", "c"]);
        assert_eq!(split(b"\n\n", b'\n'), Vec::<String>::new());
    }
}
