//! `dvc pack`: commits the volumes below `/source` and pushes them. It is a container's entry
//! point, configured by the environment.

use crate::commands::commit::{CommitSummary, HookedCommit, HookedReport, running_database};
use crate::commands::{fetch, push};
use crate::dirs;
use crate::failure::{CliError, CommandResult, Exit, Failed};
use crate::globals::DryRun;
use crate::place::{self, RepoPlace};
use crate::remotes::{ORIGIN, credential};
use crate::session::Session;
use crate::settings::{BadConfiguration, ConfigProblem, Origin};
use crate::sidecar::{self, ContainerVerb, SidecarPlan};
use clap::Args;
use dvc::context::Context;
use dvc::context::Remote;
use dvc::error::{Error, Kind};
use dvc::model::refname::RefName;
use dvc::ops::commit::CommitOptions;
use dvc::ops::pack::{PackOptions, RepositoryOrigin, pack};
use dvc::ops::push::PushOptions;
use dvc::query::volumes::mounted;
use dvc::repo::Repo;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The directory of the volumes, unless `-C` names another.
const SOURCE: &str = "/source";
/// The name of the default repository below the state directory.
const REPOSITORY: &str = "data";

/// Options of `pack`.
#[derive(Args, Debug)]
#[command(
    after_help = "Environment: DATA_TAG, REGISTRY, DATA_S3_DST, NO_PUSH; each also as NAME_FILE and /run/secrets/NAME.\n\
    `--repo` or DVC_REPO selects the repository; the default is /var/lib/dvc/data. `-C` replaces /source.\n\n\
    Examples:\n  \
    docker run --rm -v db:/source/db:ro -e DATA_TAG=registry.example/backup dvc pack\n  \
    NO_PUSH=1 dvc -C /srv/volumes --repo /backup/volumes pack"
)]
pub(crate) struct PackArgs {
    /// Commit to this branch; the default is the tag of DATA_TAG, or the repository's default
    /// branch
    #[arg(short, long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// Use this message
    #[arg(short, long, value_name = "TEXT", default_value = "pack")]
    pub(crate) message: String,
    /// Do not push, as with NO_PUSH=1
    #[arg(long)]
    pub(crate) no_push: bool,
    /// Commit even if a volume is empty or missing
    #[arg(long)]
    pub(crate) allow_empty: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// Commit only these volumes, by their paths below /source
    #[arg(value_name = "VOLUME", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) volumes: Vec<OsString>,
}

/// The task of `pack` or `unpack`, from the arguments and the environment.
pub(crate) struct ContainerRun {
    /// The session with the settings of the repository.
    pub(crate) session: Session,
    pub(crate) context: Context,
    /// The remote; `None` if the network is off.
    pub(crate) remote: Option<Remote>,
    pub(crate) branch: Option<RefName>,
    /// The requested volumes, as paths below the worktree.
    pub(crate) paths: Vec<Vec<u8>>,
    /// Whether each directory below the worktree is a volume: true for `/source`, false for `-C`.
    pub(crate) volumes: bool,
}

/// Runs `pack`.
pub(crate) fn run(session: &Session, args: &PackArgs) -> CommandResult {
    let begun = begin(
        session,
        ContainerVerb::Pack,
        args.no_push,
        args.branch.as_deref(),
        &args.volumes,
    )?;
    let ContainerRun {
        session,
        context,
        remote,
        ..
    } = &begun;
    let dry_run = session.dry_run(args.dry);
    if dry_run && !Repo::is_at(&context.repository) {
        let line = format!(
            "would create a repository in `{}`\n",
            context.repository.display()
        );
        std::io::stderr().write_all(line.as_bytes())?;
        return Ok(Exit::DONE);
    }
    let first = session
        .settings()?
        .text("init.branch")
        .unwrap_or("main")
        .to_owned();
    let began = Instant::now();
    let options = PackOptions {
        branch: begun.branch.clone(),
        first_branch: begun
            .branch
            .clone()
            .map_or_else(|| RefName::new(&first), Ok)
            .map_err(Error::from)?,
        // Without a remote, nothing is fetched: a dry run moves nothing, not even a local branch.
        remote: remote.clone().filter(|_| !dry_run),
        volumes: begun.volumes,
        commit: CommitOptions {
            message: args.message.clone(),
            walk: session.walk()?,
            allow_empty: args.allow_empty,
            paths: begun.paths.clone(),
            running_database: running_database(session)?,
            dry_run,
            ..CommitOptions::default()
        },
    };
    let progress = session.progress()?;
    let act = || pack(context, &options, &progress);
    let hooked = HookedCommit {
        session,
        context,
        options: &options.commit,
        volume: None,
        observer: &progress,
    };
    let HookedReport {
        report,
        hook_failure,
    } = hooked.run(act, |report| &report.commit)?;
    drop(progress);
    if !session.globals.json && session.globals.quiet == 0 {
        let mut out = session.plain_out();
        let place = context.repository.display();
        match report.repository {
            RepositoryOrigin::Here => {}
            RepositoryOrigin::Copied => writeln!(out, "cloned the remote lazily into `{place}`")?,
            RepositoryOrigin::Made => writeln!(out, "created a repository in `{place}`")?,
        }
        if let Some(fetched) = &report.fetched {
            fetch::print(&mut out, fetched, began.elapsed())?;
        }
        out.finish()?;
    }
    CommitSummary {
        report: &report.commit,
        volume: None,
        dry_run,
        took: began.elapsed(),
        import: None,
    }
    .print(session)?;
    if let Some(failed) = hook_failure {
        return Err(Error::from(failed).into());
    }
    if let Some(remote) = remote.as_ref().filter(|_| !dry_run) {
        let names = vec![report.commit.branch.to_string()];
        push::to(
            session,
            context,
            remote,
            &PushOptions {
                names,
                ..PushOptions::default()
            },
        )?;
    }
    Ok(if report.commit.unstable.is_empty() {
        Exit::DONE
    } else {
        Exit::with(Kind::Incomplete)
    })
}

/// Reads the arguments and the environment. All problems are reported together.
pub(crate) fn begin(
    session: &Session,
    way: ContainerVerb,
    offline: bool,
    branch: Option<&str>,
    volumes: &[OsString],
) -> Result<ContainerRun, Failed> {
    // A directory that `-C` selects need not consist of mounts.
    let is_usual = session.globals.start_in.is_empty();
    let worktree = if is_usual {
        PathBuf::from(SOURCE)
    } else {
        session.current.clone()
    };
    // All problems are collected, so that one run of the container shows them.
    let mut problems = Vec::new();
    let repository = match repository(session) {
        Ok(repository) => repository,
        Err(e) => {
            problems.push(ConfigProblem::new(Origin::BuiltIn, e.to_string()));
            // The path is never used, because the problem ends the command.
            PathBuf::from("/nonexistent")
        }
    };
    let session = session.in_repository(&repository);
    let get = |name: &str| {
        // The option has the same effect as the variable.
        if offline && way.switch() == name {
            Ok(Some("1".to_owned()))
        } else {
            credential(name)
        }
    };
    let plan = sidecar::plan(way, &get, &session.current).unwrap_or_else(|found| {
        problems.extend(found);
        SidecarPlan::default()
    });
    if let Err(BadConfiguration(found)) = session.settings() {
        problems.extend(found);
    }
    let has_origin = || {
        session.settings().is_ok_and(|s| {
            s.remotes()
                .any(|(name, e)| name == ORIGIN && e.url.is_some())
        })
    };
    // Other problems may be the reason why there is no remote.
    if plan.origin.is_none() && !plan.offline && problems.is_empty() && !has_origin() {
        let text = format!(
            "no remote: set DATA_TAG or DATA_S3_DST, or {}=1 to work without a remote",
            way.switch()
        );
        problems.push(ConfigProblem::new(Origin::BuiltIn, text));
    }
    let lacks = match std::fs::read_dir(&worktree).map(|mut names| names.next().is_none()) {
        Err(e) => Some(format!("cannot read `{}` ({e})", worktree.display())),
        Ok(true) if way == ContainerVerb::Pack && is_usual => {
            Some(format!("`{}` is empty", worktree.display()))
        }
        // The files would go to the container's own layer, which is removed with the container.
        Ok(_) if way == ContainerVerb::Unpack && is_usual && mounted(&worktree).is_empty() => Some(
            format!("nothing is mounted at or below `{}`", worktree.display()),
        ),
        Ok(_) => None,
    };
    if let Some(lacks) = lacks {
        problems.push(ConfigProblem::new(
            Origin::BuiltIn,
            format!("{lacks}; mount volumes there"),
        ));
    }
    if !problems.is_empty() {
        return Err(BadConfiguration(problems).into());
    }
    for (name, like) in session.strange_secrets() {
        let Some(like) = like else { continue };
        let line = format!(
            "warning: the secret `{}` is not used; did you mean `{like}`?\n",
            name.escape_debug()
        );
        std::io::stderr().write_all(line.as_bytes())?;
    }
    let place = RepoPlace {
        repository,
        worktree,
        prefix: PathBuf::new(),
        remote_url: None,
        mount: None,
    };
    let paths = place.paths(volumes)?;
    let mut context = session.context(&place)?;
    // The environment overrides the settings.
    if let Some(location) = plan.origin {
        context.remotes.retain(|remote| remote.name != ORIGIN);
        let access = session.access(session.settings()?, Some(ORIGIN), false)?;
        context.remotes.push(Remote {
            name: ORIGIN.to_owned(),
            location,
            lazy: false,
            access,
        });
    }
    // A lazy copy stays lazy, and a complete one stays complete.
    let lazy = Repo::partial(&context.repository).is_some();
    for remote in context
        .remotes
        .iter_mut()
        .filter(|remote| remote.name == ORIGIN)
    {
        remote.lazy |= lazy;
        remote.access.offline |= plan.offline;
    }
    let remote = if plan.offline {
        None
    } else {
        Some(session.default_remote(&context)?)
    };
    let named = branch.map(RefName::new).transpose().map_err(Error::from)?;
    Ok(ContainerRun {
        session,
        context,
        remote,
        branch: named.or(plan.branch),
        paths,
        volumes: is_usual,
    })
}

/// Returns the path of the repository, which may not exist yet.
fn repository(session: &Session) -> Result<PathBuf, CliError> {
    let Some(named) = session.named_repository() else {
        return Ok(dirs::state().join(REPOSITORY));
    };
    let root = session.current.join(place::local(&named)?);
    // The name may be that of a worktree.
    let inside = root.join(place::INSIDE);
    Ok(if Repo::is_at(Path::new(&inside)) {
        inside
    } else {
        root
    })
}
