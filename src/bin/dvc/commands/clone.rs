//! `dvc clone`: copies a repository and checks out a version.

use crate::commands::checkout;
use crate::commands::fetch::{self, JsonFetch};
use crate::failure::{CliError, CommandResult, Exit};
use crate::place::{INSIDE, RepoPlace, ensure_outside_mounts};
use crate::print::Paint;
use crate::remotes::{ORIGIN, write_remote};
use crate::render::quoted;
use crate::session::Session;
use clap::Args;
use dvc::error::{Error, Kind};
use dvc::model::refname::RefName;
use dvc::model::revision::{RevisionBase, RevisionSpec};
use dvc::ops::clone::{CloneOptions, clone, is_unfinished};
use dvc::repo::{Repo, RepoError};
use serde::Serialize;
use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Options of `clone`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dvc clone s3://backups/amcc\n  dvc clone --lazy oci://registry.example/amcc work\n  \
                        dvc clone 'sftp://nas/srv/amcc#AMCC@v3'"
)]
pub(crate) struct CloneArgs {
    /// Copy the repository at URL; a version to check out may follow after `#`
    pub(crate) url: String,
    /// Create this directory; the default is the last name of the URL
    #[arg(value_hint = clap::ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// Fetch only refs and trees; data is fetched when it is read
    #[arg(long)]
    pub(crate) lazy: bool,
    /// Fetch the data of the last N versions of each branch; older data is fetched when it is read
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) depth: Option<u32>,
    /// Leave the worktree empty
    #[arg(long)]
    pub(crate) no_checkout: bool,
    /// Check out this branch
    #[arg(short, long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
}

/// Runs `clone`.
pub(crate) fn run(session: &Session, args: &CloneArgs) -> CommandResult {
    let (url, revision) = match args.url.split_once('#') {
        Some((url, revision)) => (
            url,
            Some(RevisionSpec::parse(revision.as_bytes()).map_err(Error::from)?),
        ),
        None => (args.url.as_str(), None),
    };
    if revision.as_ref().is_some_and(|spec| spec.path.is_some()) {
        return Err(CliError::option("URL", "expected a version without a path").into());
    }
    let location = session.location(url)?;
    let dir = match &args.dir {
        Some(dir) => session.current.join(dir),
        None => {
            let last = location
                .path
                .rsplit('/')
                // The path of a repository in a worktree ends with a fixed name, so the worktree
                // names the clone.
                .find(|name| !name.is_empty() && *name != INSIDE);
            session.current.join(last.unwrap_or(&location.host))
        }
    };
    let named = session
        .named_repository()
        .map(|repo| session.current.join(repo));
    let repository = named.clone().unwrap_or_else(|| dir.join(INSIDE));
    let is_new = !dir.exists();
    let place = RepoPlace {
        repository,
        worktree: dir.clone(),
        prefix: PathBuf::new(),
        remote_url: None,
        mount: None,
    };
    // A directory with files of the user must not become a worktree, but an interrupted clone may
    // continue.
    if named.is_none()
        && !is_new
        && !has_no_worktree(&dir)
        && !is_unfinished(&session.context(&place)?)
    {
        let inside = dir.join(INSIDE);
        let taken = if Repo::is_at(&inside) {
            RepoError::Exists { path: inside }
        } else {
            RepoError::Occupied { path: dir }
        };
        return Err(Error::from(taken).into());
    }
    if named.is_none() {
        ensure_outside_mounts(&dir)?;
    }
    let failed = |source| CliError::File {
        doing: "create",
        path: dir.clone(),
        source,
    };
    std::fs::create_dir_all(&dir).map_err(failed)?;
    let result = cloned(session, args, location, revision, &place);
    if result.is_err() && is_new {
        // Remove the directory of a clone that failed before it stored anything.
        let _ = std::fs::remove_dir(&dir);
    }
    result
}

/// Returns whether a directory contains nothing but a repository, which may be an unfinished clone.
/// A directory that cannot be read counts as empty.
fn has_no_worktree(dir: &Path) -> bool {
    let names: Vec<_> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    names.iter().all(|name| name == INSIDE)
}

#[derive(Serialize)]
struct JsonClone<'a> {
    repository: Cow<'a, str>,
    worktree: Cow<'a, str>,
    branch: Option<&'a str>,
    version: Option<String>,
    lazy: bool,
    fetched: JsonFetch<'a>,
}

fn cloned(
    session: &Session,
    args: &CloneArgs,
    location: dvc::store::location::Location,
    revision: Option<RevisionSpec>,
    place: &RepoPlace,
) -> CommandResult {
    let began = Instant::now();
    let context = session.context(place)?;
    let mut origin = session.unnamed(location.clone())?;
    ORIGIN.clone_into(&mut origin.name);
    origin.access = session.access(session.settings()?, Some(ORIGIN), true)?;
    // Missing data is fetched from the origin when it is read.
    origin.lazy = args.lazy || args.depth.is_some();
    let mut branch = args
        .branch
        .as_deref()
        .map(RefName::new)
        .transpose()
        .map_err(Error::from)?;
    let revision = revision.map(|spec| spec.revision);
    // Without `-b`, a name after `#` is the branch to check out.
    if let (None, Some(RevisionBase::Name(name) | RevisionBase::Scoped(Some(name), _))) =
        (&branch, revision.as_ref().map(|r| &r.base))
    {
        branch = Some(name.clone());
    }
    let options = CloneOptions {
        branch,
        // A plain name is already the branch.
        revision: revision
            .filter(|r| !r.suffixes.is_empty() || !matches!(r.base, RevisionBase::Name(_))),
        depth: args.depth.and_then(|n| usize::try_from(n).ok()),
        no_checkout: args.no_checkout || args.lazy,
    };
    let settle = || write_remote(place, ORIGIN, &location, origin.lazy);
    let progress = session.progress()?;
    let report = clone(&context, &origin, &options, &settle, &progress)?;
    drop(progress);
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&JsonClone {
            repository: report.repository.to_string_lossy(),
            worktree: place.worktree.to_string_lossy(),
            branch: report.branch.as_ref().map(RefName::as_str),
            version: report.version.map(|id| id.to_string()),
            lazy: origin.lazy,
            fetched: fetch::json(&report.fetched, false, began.elapsed()),
        })?;
    } else if session.globals.quiet == 0 {
        fetch::print(&mut out, &report.fetched, began.elapsed())?;
        let dir = place.worktree.display();
        match (&report.branch, report.version) {
            (Some(branch), Some(version)) => {
                let (branch, version) = (
                    out.paint(Paint::Branch, branch),
                    out.paint(Paint::Id, version.short()),
                );
                writeln!(out, "cloned into `{dir}`, on branch {branch}, {version}")?;
            }
            (None, Some(version)) => writeln!(
                out,
                "cloned into `{dir}`, {}",
                out.paint(Paint::Id, version.short())
            )?,
            _ => writeln!(
                out,
                "cloned into `{dir}`; the repository has no branches yet"
            )?,
        }
        if args.lazy && report.version.is_some() {
            // Show the path as typed, unless `-C` was given: the user will run the shown commands
            // in the directory before `-C`.
            let dir = if session.begun == session.current {
                place
                    .worktree
                    .strip_prefix(&session.current)
                    .unwrap_or(&place.worktree)
            } else {
                &place.worktree
            };
            let dir = quoted(
                &args
                    .dir
                    .as_deref()
                    .filter(|_| session.begun == session.current)
                    .unwrap_or(dir)
                    .to_string_lossy(),
            );
            let revision = report.branch.as_ref().map_or("REV", RefName::as_str);
            let dvc = match session.named_repository() {
                Some(_) => format!("dvc --repo {}", quoted(&place.repository.to_string_lossy())),
                None => "dvc".to_owned(),
            };
            let steps = [
                (format!("{dvc} -C {dir} ls"), "lists the files"),
                (
                    format!("{dvc} -C {dir} checkout {revision} -- PATH"),
                    "fetches some of them",
                ),
                (
                    format!("{dvc} -C {dir} mount {revision} DIR"),
                    "shows all of them as a directory",
                ),
            ];
            let width = steps
                .iter()
                .map(|(command, _)| command.chars().count())
                .max()
                .unwrap_or(0);
            writeln!(
                out,
                "nothing is checked out yet; data is fetched when it is read:"
            )?;
            for (command, does) in steps {
                writeln!(out, "  {command:<width$}  {does}")?;
            }
        }
    }
    out.finish()?;
    if report.fetched.damaged > 0 {
        return Ok(Exit::with(Kind::Integrity));
    }
    Ok(report.checkout.as_ref().map_or(Exit::DONE, checkout::exit))
}
