//! The options and the output of `dvc fsck --repair`.

use crate::dirs;
use crate::failure::{CliError, Failed};
use crate::place::INSIDE;
use crate::print::{Out, size};
use crate::session::Session;
use clap::Args;
use dvc::check::repair::{RepairReport, RepairedRef};
use dvc::context::Context;
use dvc::model::text::count;
use dvc::mount::control;
use dvc::ops::fsck::{RepairOptions, RepairPlace};
use dvc::repo::Repo;
use dvc::store::location::Location;
use dvc::sys::mountinfo;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The options of a repair.
#[derive(Args, Debug)]
pub(crate) struct RepairArgs {
    /// Repair the damage from remotes, worktrees and mounts
    #[arg(long)]
    pub(crate) repair: bool,
    /// Repair from this remote, repository or directory of files first; may be repeated
    #[arg(long, value_name = "REMOTE|DIR", requires = "repair", value_hint = clap::ValueHint::DirPath)]
    pub(crate) from: Vec<OsString>,
    /// Let a branch or tag whose newest entry is lost return to an older version
    #[arg(long, requires = "repair")]
    pub(crate) accept_older: bool,
}

impl RepairArgs {
    /// Returns the options, or `None` without `--repair`.
    pub(super) fn options(
        &self,
        session: &Session,
        context: &Context,
    ) -> Result<Option<RepairOptions>, Failed> {
        if !self.repair {
            return Ok(None);
        }
        let from = self
            .from
            .iter()
            .map(|place| place_of(session, context, place))
            .collect::<Result<_, Failed>>()?;
        Ok(Some(RepairOptions {
            from,
            mounts: mounts_of(context),
            walk: session.walk()?,
            accept_older: self.accept_older,
        }))
    }
}

/// Returns the place that the user has named: a remote, a URL, a repository or a directory.
fn place_of(session: &Session, context: &Context, text: &OsString) -> Result<RepairPlace, Failed> {
    let dir = session.current.join(text);
    // The name of a remote takes precedence over a directory with the same name.
    let name = text
        .to_str()
        .filter(|name| context.remote(name).is_some() || Location::is_url(name));
    if let Some(name) = name {
        return Ok(RepairPlace::Repository(Box::new(
            session.remote(context, name)?,
        )));
    }
    if !dir.is_dir() {
        let problem = format!("`{}` is neither a remote nor a directory", text.display());
        return Err(CliError::option("--from", problem).into());
    }
    // A worktree of another repository is a place of files as well, but its repository has more.
    match [dir.clone(), dir.join(INSIDE)]
        .into_iter()
        .find(|dir| Repo::is_at(dir))
    {
        Some(root) if !is_same(&root, &context.repository) => Ok(RepairPlace::Repository(
            Box::new(session.unnamed(Location::directory(&root))?),
        )),
        _ => Ok(RepairPlace::Directory(dir)),
    }
}

fn is_same(a: &Path, b: &Path) -> bool {
    // Both paths may contain symbolic links.
    a.canonicalize()
        .ok()
        .is_some_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

/// Returns the mount points of the repository.
fn mounts_of(context: &Context) -> Vec<PathBuf> {
    let run = dirs::run();
    let ours = |mounted: &mountinfo::Mounted| {
        control::note(&run, mounted)
            .is_some_and(|note| is_same(&note.repository, &context.repository))
    };
    mountinfo::ours()
        // Without the table, no mount is searched.
        .unwrap_or_default()
        .into_iter()
        .filter(ours)
        .map(|mounted| mounted.at)
        .collect()
}

/// Prints what was repaired.
pub(super) fn print(out: &mut Out, done: &RepairReport, dry_run: bool) -> Result<(), Failed> {
    let repaired = if dry_run { "would repair" } else { "repaired" };
    if done.objects > 0 || done.packs > 0 {
        let (objects, packs) = (count(done.objects, "object"), count(done.packs, "pack"));
        writeln!(out, "{repaired} {objects} in {packs}")?;
    }
    if done.segments > 0 {
        writeln!(out, "{repaired} {}", count(done.segments, "index segment"))?;
    }
    if done.entries > 0 {
        writeln!(
            out,
            "{repaired} {} of logs of branches and tags",
            entries(done.entries)
        )?;
    }
    for RepairedRef {
        kind,
        name,
        id,
        source,
    } in &done.refs
    {
        let value = id.map_or_else(|| "deleted".to_owned(), |id| id.short());
        let place = if source == "log" {
            "its previous entry".to_owned()
        } else {
            format!("`{source}`")
        };
        writeln!(
            out,
            "{repaired} {} `{name}`: {value}, from {place}",
            kind.name()
        )?;
    }
    for share in &done.sources {
        let mut parts = Vec::new();
        for (n, what) in [
            (share.packs, "pack"),
            (share.segments, "index segment"),
            (share.objects, "object"),
        ] {
            if n > 0 {
                parts.push(count(n, what));
            }
        }
        writeln!(
            out,
            "  {} ({}) from `{}`",
            parts.join(", "),
            size(share.bytes),
            share.name
        )?;
    }
    for key in &done.replaced_packs {
        writeln!(
            out,
            "  the damaged `{key}` is kept, but the index no longer refers to it"
        )?;
    }
    for unrepaired in &done.unrepaired_refs {
        let previous = unrepaired
            .previous
            .map_or_else(|| "none".to_owned(), |id| id.short());
        writeln!(
            out,
            "not repaired: the newest entry of `{}`; the version before it is {previous}",
            unrepaired.log
        )?;
    }
    if !done.unrepaired_refs.is_empty() {
        writeln!(
            out,
            "hint: run `dvc fsck --repair --accept-older` to return to the version before it"
        )?;
    }
    Ok(())
}

fn entries(n: u64) -> String {
    if n == 1 {
        "1 entry".to_owned()
    } else {
        format!("{n} entries")
    }
}
