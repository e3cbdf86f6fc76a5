//! `dvc init`: creates a repository, in the worktree or in another directory.

use crate::failure::{CommandResult, Exit};
use crate::globals::DryRun;
use crate::place::{self, RepoPlace};
use crate::session::Session;
use clap::Args;
use dvc::codec::cut::{ChunkerConfig, UnknownChunker};
use dvc::error::Error;
use dvc::model::refname::RefName;
use dvc::observe::{Notice, NoticeLevel, Observer};
use dvc::ops::init::{InitOptions, init};
use dvc::repo::state::Sharing;
use serde::Serialize;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Options of `init`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    dvc init /var/lib/mysql\n  \
    dvc init --repo /backup/volumes --branch AMCC\n  \
    dvc init --repo /srv/team/volumes --shared")]
pub(crate) struct InitArgs {
    /// Make DIR a worktree; the default is the current directory
    #[arg(value_hint = clap::ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// Name the first branch
    #[arg(short, long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// Use this chunker: auto, cdc:SIZE (average) or fixed:SIZE
    #[arg(long, value_name = "SPEC")]
    pub(crate) chunker: Option<String>,
    /// Let the directory's group use the repository; with `all`, let all other users read it
    #[arg(long, value_name = "WHO", num_args = 0..=1, require_equals = true, default_missing_value = "group")]
    pub(crate) shared: Option<SharedWith>,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// The users who may use a new repository in addition to its owner.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub(crate) enum SharedWith {
    /// The members of the directory's group
    Group,
    /// The members of the group; all other users may read
    All,
}

#[derive(Serialize)]
struct JsonInit<'a> {
    repository: String,
    branch: &'a str,
    /// `null` in a dry run.
    id: Option<&'a str>,
}

/// Runs `init`.
pub(crate) fn run(session: &Session, args: &InitArgs) -> CommandResult {
    let cutting = cutting(args.chunker.as_deref().unwrap_or("auto"))?;
    let place = match session.named_repository() {
        Some(named) => {
            let repository = session.current.join(place::local(&named)?);
            RepoPlace {
                repository,
                worktree: session.current.clone(),
                prefix: PathBuf::new(),
                remote_url: None,
                mount: None,
            }
        }
        None => {
            let worktree = match &args.dir {
                Some(dir) => session.current.join(dir),
                None => session.current.clone(),
            };
            place::ensure_outside_mounts(&worktree)?;
            let repository = worktree.join(place::INSIDE);
            RepoPlace {
                repository,
                worktree,
                prefix: PathBuf::new(),
                remote_url: None,
                mount: None,
            }
        }
    };
    let named = args
        .branch
        .as_deref()
        .or(session.settings()?.text("init.branch"))
        .unwrap_or("main")
        .to_owned();
    let branch = RefName::new(&named).map_err(Error::from)?;
    let prepared = args.shared.is_none() && is_for_a_group(&place.repository);
    let sharing = match args.shared {
        None if prepared => Sharing::Group,
        None => Sharing::Owner,
        Some(SharedWith::Group) => Sharing::Group,
        Some(SharedWith::All) => Sharing::Everyone,
    };
    let options = InitOptions {
        branch,
        cutting,
        sharing,
        dry_run: session.dry_run(args.dry),
    };
    let report = init(&session.context(&place)?, &options)?;
    if prepared {
        let message = "the group of the directory can use the repository, because the directory is shared; \
                       with umask 077 only you can";
        session.store_notices()?.notice(Notice {
            level: NoticeLevel::Info,
            path: Vec::new(),
            message: message.to_owned(),
        });
    }
    let mut out = session.plain_out();
    let path = report.repository.display().to_string();
    if session.globals.json {
        out.json(&JsonInit {
            repository: path,
            branch: report.branch.as_str(),
            id: report.id.as_deref(),
        })?;
    } else if session.globals.quiet == 0 {
        let done = if report.id.is_some() {
            "created"
        } else {
            "would create"
        };
        writeln!(
            out,
            "{done} a repository in `{path}`, branch {}",
            report.branch
        )?;
    }
    out.finish()?;
    Ok(Exit::DONE)
}

/// Returns whether the parent directory of a repository is prepared for a group (set-group-ID and
/// group-writable), and the caller's umask leaves all permissions of the group. Users who share a
/// directory set up both.
fn is_for_a_group(repository: &Path) -> bool {
    let around = repository
        .parent()
        .and_then(|dir| std::fs::metadata(dir).ok());
    around.is_some_and(|dir| dir.mode() & 0o2020 == 0o2020) && umask() & 0o070 == 0
}

/// Returns the umask of this process. Reading it means setting it for a moment, which is safe
/// because no other thread creates files yet.
fn umask() -> u32 {
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    mask.as_raw_mode()
}

/// Parses `auto`, `cdc:SIZE` or `fixed:SIZE`.
fn cutting(spec: &str) -> Result<ChunkerConfig, Error> {
    let sized = spec
        .split_once(':')
        .and_then(|(kind, size)| Some((kind, dvc::model::size::parse(size).ok()?)));
    let cutting = match sized {
        None if spec == "auto" => Some(ChunkerConfig::default()),
        Some(("cdc", average)) => ChunkerConfig::by_content(average),
        Some(("fixed", page)) => ChunkerConfig::in_pages(page),
        _ => None,
    };
    cutting.ok_or_else(|| UnknownChunker(spec.to_owned()).into())
}
