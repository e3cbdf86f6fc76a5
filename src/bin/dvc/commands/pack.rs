//! `dvc pack`: the word of a container that commits the volumes below `/source` and pushes them, by its environment.

use crate::args::DryRun;
use crate::commands::{commit, fetch, push};
use crate::dirs;
use crate::failure::{CliError, Exit, Failed, Outcome};
use crate::place::{self, Place};
use crate::remotes::{ORIGIN, credential};
use crate::session::Session;
use crate::settings::{BadConfiguration, Origin, Problem};
use crate::sidecar::{self, Plan, Way};
use clap::Args;
use dvc::context::Context;
use dvc::context::Remote;
use dvc::error::{Error, Kind};
use dvc::model::refname::RefName;
use dvc::ops::commit::CommitOptions;
use dvc::ops::pack::{Found, PackOptions, mounted, pack};
use dvc::ops::push::PushOptions;
use dvc::repo::Repo;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Where volumes are, unless `-C` says otherwise.
const SOURCE: &str = "/source";
/// The repository below the directory of states, unless one is named.
const REPOSITORY: &str = "data";

/// Options of `pack`.
#[derive(Args, Debug)]
#[command(
    after_help = "Environment: DATA_TAG, REGISTRY, DATA_S3_DST, NO_PUSH; each also as NAME_FILE and /run/secrets/NAME.\n\
    The repository is that of `--repo` or DVC_REPO, else /var/lib/dvc/data. `-C` names another directory than /source.\n\n\
    Examples:\n  \
    docker run --rm -v db:/source/db:ro -e DATA_TAG=registry.example/backup dvc pack\n  \
    NO_PUSH=1 dvc -C /srv/volumes --repo /backup/volumes pack"
)]
pub(crate) struct PackArgs {
    /// Commit to that branch; else the tag of DATA_TAG, else the repository's default branch
    #[arg(short, long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// The message
    #[arg(short, long, value_name = "TEXT", default_value = "pack")]
    pub(crate) message: String,
    /// Push nothing, as with NO_PUSH=1
    #[arg(long)]
    pub(crate) no_push: bool,
    /// Even where a volume is empty or missing
    #[arg(long)]
    pub(crate) allow_empty: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// Only these volumes, by their paths below /source
    #[arg(value_name = "VOLUME", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) volumes: Vec<OsString>,
}

/// What the arguments and the environment say.
pub(crate) struct Begun {
    /// The run, with the settings of the repository.
    pub(crate) session: Session,
    pub(crate) context: Context,
    /// The remote; `None` where no network is used.
    pub(crate) remote: Option<Remote>,
    pub(crate) branch: Option<RefName>,
    /// The paths that were asked for.
    pub(crate) paths: Vec<Vec<u8>>,
    /// Whether directories of the source are volumes, since it is the usual one.
    pub(crate) volumes: bool,
}

/// Runs `pack`.
pub(crate) fn run(session: &Session, args: &PackArgs) -> Outcome {
    let begun = begin(session, Way::Pack, args.no_push, args.branch.as_deref(), &args.volumes)?;
    let Begun { session, context, remote, .. } = &begun;
    let dry_run = session.dry_run(args.dry);
    if dry_run && !Repo::is_at(&context.repository) {
        let line = format!("would make a repository in `{}`\n", context.repository.display());
        std::io::stderr().write_all(line.as_bytes())?;
        return Ok(Exit::DONE);
    }
    let first = session.settings()?.text("init.branch").unwrap_or("main").to_owned();
    let began = Instant::now();
    let options = PackOptions {
        branch: begun.branch.clone(),
        first_branch: begun.branch.clone().map_or_else(|| RefName::new(&first), Ok).map_err(Error::from)?,
        // A dry run moves nothing, a branch here neither.
        remote: remote.clone().filter(|_| !dry_run),
        volumes: begun.volumes,
        commit: CommitOptions {
            message: args.message.clone(),
            walk: session.walk()?,
            allow_empty: args.allow_empty,
            paths: begun.paths.clone(),
            running_database: commit::running_database(session)?,
            dry_run,
            ..CommitOptions::default()
        },
    };
    let progress = session.progress()?;
    let act = || pack(context, &options, &progress);
    let (report, hook) =
        commit::around(session, context, &options.commit, None, &progress, act, |report| &report.commit)?;
    drop(progress);
    if !session.globals.json && session.globals.quiet == 0 {
        let mut out = session.plain_out();
        let place = context.repository.display();
        match report.repository {
            Found::Here => {}
            Found::Copied => writeln!(out, "made a copy of the remote's repository in `{place}`")?,
            Found::Made => writeln!(out, "made a repository in `{place}`")?,
        }
        if let Some(fetched) = &report.fetched {
            fetch::print(&mut out, fetched, began.elapsed())?;
        }
        out.finish()?;
    }
    commit::print(session, &report.commit, dry_run, began.elapsed())?;
    if let Some(failed) = hook {
        return Err(Error::from(failed).into());
    }
    if let Some(remote) = remote.as_ref().filter(|_| !dry_run) {
        let names = vec![report.commit.branch.to_string()];
        push::to(session, context, remote, &PushOptions { names, ..PushOptions::default() })?;
    }
    Ok(if report.commit.unstable.is_empty() { Exit::DONE } else { Exit::with(Kind::Incomplete) })
}

/// What the arguments and the environment say, or all that is wrong with it.
pub(crate) fn begin(
    session: &Session,
    way: Way,
    offline: bool,
    branch: Option<&str>,
    volumes: &[OsString],
) -> Result<Begun, Failed> {
    let is_usual = session.globals.start_in.is_empty();
    let worktree = if is_usual { PathBuf::from(SOURCE) } else { session.current.clone() };
    let mut problems = Vec::new();
    let repository = match repository(session) {
        Ok(repository) => repository,
        Err(e) => {
            problems.push(Problem::new(Origin::BuiltIn, e.to_string()));
            PathBuf::from("/nonexistent")
        }
    };
    let session = session.in_repository(&repository);
    let get = |name: &str| if offline && way.switch() == name { Ok(Some("1".to_owned())) } else { credential(name) };
    let plan = sidecar::plan(way, &get, &session.current).unwrap_or_else(|found| {
        problems.extend(found);
        Plan::default()
    });
    if let Err(BadConfiguration(found)) = session.settings() {
        problems.extend(found);
    }
    let has_origin =
        || session.settings().is_ok_and(|s| s.remotes().any(|(name, e)| name == ORIGIN && e.url.is_some()));
    if plan.origin.is_none() && !plan.offline && problems.is_empty() && !has_origin() {
        let text = format!("no remote: set DATA_TAG or DATA_S3_DST, or {}=1 to use none", way.switch());
        problems.push(Problem::new(Origin::BuiltIn, text));
    }
    let lacks = match std::fs::read_dir(&worktree).map(|mut names| names.next().is_none()) {
        Err(e) => Some(format!("cannot read `{}` ({e})", worktree.display())),
        Ok(true) if way == Way::Pack && is_usual => Some(format!("`{}` is empty", worktree.display())),
        // It would fill the container's own layer, which goes with the container.
        Ok(_) if way == Way::Unpack && is_usual && mounted(&worktree).is_empty() => {
            Some(format!("nothing is mounted at `{}` or below", worktree.display()))
        }
        Ok(_) => None,
    };
    if let Some(lacks) = lacks {
        problems.push(Problem::new(Origin::BuiltIn, format!("{lacks}: mount volumes there or below")));
    }
    if !problems.is_empty() {
        return Err(BadConfiguration(problems).into());
    }
    for (name, like) in session.strange_secrets() {
        let Some(like) = like else { continue };
        let line = format!("warning: the secret `{}` is not used; did you mean `{like}`?\n", name.escape_debug());
        std::io::stderr().write_all(line.as_bytes())?;
    }
    let place = Place { repository, worktree, prefix: PathBuf::new(), far: None, mount: None };
    let paths = place.paths(volumes)?;
    let mut context = session.context(&place)?;
    if let Some(location) = plan.origin {
        context.remotes.retain(|remote| remote.name != ORIGIN);
        let access = session.access(session.settings()?, Some(ORIGIN), false)?;
        context.remotes.push(Remote { name: ORIGIN.to_owned(), location, lazy: false, access });
    }
    // One that began as a lazy copy stays lazy, one that is whole stays whole.
    let lazy = Repo::partial(&context.repository).is_some();
    for remote in context.remotes.iter_mut().filter(|remote| remote.name == ORIGIN) {
        remote.lazy |= lazy;
        remote.access.offline |= plan.offline;
    }
    let remote = if plan.offline { None } else { Some(session.default_remote(&context)?) };
    let named = branch.map(RefName::new).transpose().map_err(Error::from)?;
    Ok(Begun { session, context, remote, branch: named.or(plan.branch), paths, volumes: is_usual })
}

/// Where the repository is, or will be.
fn repository(session: &Session) -> Result<PathBuf, CliError> {
    let Some(named) = session.named_repository() else { return Ok(dirs::state().join(REPOSITORY)) };
    let root = session.current.join(place::local(&named)?);
    let inside = root.join(place::INSIDE);
    Ok(if Repo::is_at(Path::new(&inside)) { inside } else { root })
}
