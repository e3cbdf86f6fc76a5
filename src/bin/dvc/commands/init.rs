//! `dvc init`: creates a repository, in the worktree or elsewhere.

use crate::args::DryRun;
use crate::failure::{Exit, Outcome};
use crate::place::{self, Place};
use crate::session::Session;
use clap::Args;
use dvc::codec::cut::{ChunkerConfig, UnknownChunker};
use dvc::error::Error;
use dvc::model::refname::RefName;
use dvc::observe::{Notice, NoticeLevel, Observer};
use dvc::ops::init::{InitOptions, init};
use dvc::repo::state::Sharing;
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
    /// The directory that becomes a worktree; the current one where none is named
    #[arg(value_hint = clap::ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// The first branch
    #[arg(short, long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// How files are cut: auto, cdc:SIZE (average) or fixed:SIZE
    #[arg(long, value_name = "SPEC")]
    pub(crate) chunker: Option<String>,
    /// Let the members of the directory's group use the repository; with `all`, let all other users read it
    #[arg(long, value_name = "WHO", num_args = 0..=1, require_equals = true, default_missing_value = "group")]
    pub(crate) shared: Option<Shared>,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// The users, besides the owner, that may use a new repository.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub(crate) enum Shared {
    /// The members of the directory's group
    Group,
    /// The members of the group; all other users may read
    All,
}

/// Runs `init`.
pub(crate) fn run(session: &Session, args: &InitArgs) -> Outcome {
    let cutting = cutting(args.chunker.as_deref().unwrap_or("auto"))?;
    let place = match session.named_repository() {
        Some(named) => {
            let repository = session.current.join(place::local(&named)?);
            Place { repository, worktree: session.current.clone(), prefix: PathBuf::new(), far: None, mount: None }
        }
        None => {
            let worktree = match &args.dir {
                Some(dir) => session.current.join(dir),
                None => session.current.clone(),
            };
            place::ensure_outside_mounts(&worktree)?;
            let repository = worktree.join(place::INSIDE);
            Place { repository, worktree, prefix: PathBuf::new(), far: None, mount: None }
        }
    };
    let named = args.branch.as_deref().or(session.settings()?.text("init.branch")).unwrap_or("main").to_owned();
    let branch = RefName::new(&named).map_err(Error::from)?;
    let prepared = args.shared.is_none() && is_for_a_group(&place.repository);
    let sharing = match args.shared {
        None if prepared => Sharing::Group,
        None => Sharing::Owner,
        Some(Shared::Group) => Sharing::Group,
        Some(Shared::All) => Sharing::Everyone,
    };
    let options = InitOptions { branch, cutting, sharing, dry_run: session.dry_run(args.dry) };
    let report = init(&session.context(&place)?, &options)?;
    if prepared {
        let message = "the group of the directory can use the repository, because the directory is shared; \
                       with umask 077 only you can";
        session.told()?.notice(Notice { level: NoticeLevel::Info, path: Vec::new(), message: message.to_owned() });
    }
    let mut out = session.plain_out();
    let path = report.repository.display().to_string();
    if session.globals.json {
        let branch = report.branch.as_str();
        out.json(&serde_json::json!({ "repository": path, "branch": branch, "id": report.id }))?;
    } else if session.globals.quiet == 0 {
        let done = if report.id.is_some() { "made" } else { "would make" };
        writeln!(out, "{done} a repository in `{path}`, branch {}", report.branch)?;
    }
    out.finish()?;
    Ok(Exit::DONE)
}

/// Whether the directory around a repository was prepared for a group (set-group-ID and group-writable), and the caller's
/// umask lets the group write too. Both together are what users set up who share a directory.
fn is_for_a_group(repository: &Path) -> bool {
    let around = repository.parent().and_then(|dir| std::fs::metadata(dir).ok());
    around.is_some_and(|dir| dir.mode() & 0o2020 == 0o2020) && umask() & 0o070 == 0
}

/// Returns the umask of this process. The command has no other thread yet that creates files.
fn umask() -> u32 {
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    mask.as_raw_mode()
}

/// `auto`, `cdc:SIZE` or `fixed:SIZE`.
fn cutting(spec: &str) -> Result<ChunkerConfig, Error> {
    let sized = spec.split_once(':').and_then(|(kind, size)| Some((kind, dvc::model::size::parse(size).ok()?)));
    let cutting = match sized {
        None if spec == "auto" => Some(ChunkerConfig::default()),
        Some(("cdc", average)) => ChunkerConfig::by_content(average),
        Some(("fixed", page)) => ChunkerConfig::in_pages(page),
        _ => None,
    };
    cutting.ok_or_else(|| UnknownChunker(spec.to_owned()).into())
}
