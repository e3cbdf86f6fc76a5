//! Overlays by name: `dvc mount --overlays`, `dvc mount --salvage` and `dvc umount --discard NAME`.
//!
//! Overlays are in the current repository, in the shared clones that mounts of a URL use, and in
//! the repository of volumes that name none.

use crate::dirs;
use crate::failure::{CommandResult, Exit, Failed};
use crate::globals::DryRun;
use crate::machine::volumes;
use crate::mount_source::clones;
use crate::print::{Out, Paint, size};
use crate::render::iso;
use crate::session::Session;
use dvc::model::commit::Timestamp;
use dvc::model::text::harmless_line;
use dvc::ops::mount::{
    Discard, Overlay, OverlayError, OverlayState, discard as remove, ensure_discardable,
    has_overlay, overlays, salvage as copy,
};
use dvc::repo::Repo;
use dvc::sys::mountinfo;
use serde::Serialize;
use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Returns all known repositories on this machine that may have overlays, or only the one that
/// `--repo` or `DVC_REPO` names.
pub(crate) fn repositories(session: &Session) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = session
        // Overlays can be used outside of any repository, too.
        .place()
        .ok()
        .map(|place| place.repository)
        .into_iter()
        .collect();
    // With an explicit repository, only its overlays count.
    if session.named_repository().is_none() {
        let shared = std::fs::read_dir(clones())
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        all.extend(
            shared
                .chain([dirs::state().join("repository")])
                .filter(|path| Repo::is_at(path)),
        );
    }
    all.sort();
    all.dedup();
    all
}

/// Returns the repository that has an overlay with this name.
fn repository_of(session: &Session, name: &str) -> Result<Option<PathBuf>, Failed> {
    let mut found: Vec<PathBuf> = repositories(session)
        .into_iter()
        .filter(|at| has_overlay(at, name))
        .collect();
    if found.len() > 1 {
        let repositories = found.iter().map(|at| at.display().to_string()).collect();
        return Err(dvc::error::Error::from(OverlayError::Several {
            name: name.to_owned(),
            repositories,
        })
        .into());
    }
    Ok(found.pop())
}

/// Returns the names of all overlays. Repositories whose overlays cannot be listed are skipped.
pub(super) fn names(session: &Session) -> Vec<String> {
    let all = repositories(session)
        .into_iter()
        .flat_map(|repository| overlays(&repository).unwrap_or_default());
    all.map(|overlay| overlay.name).collect()
}

/// Lists overlays.
pub(super) fn list(session: &Session) -> CommandResult {
    let mut out = session.plain_out();
    let now = session.now.timestamp().as_second();
    for repository in repositories(session) {
        for overlay in overlays(&repository)? {
            if session.globals.json {
                out.json(&json(&repository, &overlay))?;
            } else if session.globals.quiet > 0 {
                writeln!(out, "{}", overlay.name)?;
            } else {
                line(&mut out, &repository, &overlay, now)?;
            }
        }
    }
    out.finish()?;
    Ok(Exit::DONE)
}

#[derive(Serialize)]
struct JsonOverlay<'a> {
    overlay: &'a str,
    repository: Cow<'a, str>,
    bytes: u64,
    last_used_time: String,
    state: &'static str,
    damage: Option<&'a str>,
    version: Option<String>,
    branch: Option<&'a str>,
    changed: Option<bool>,
    mount_point: Option<Cow<'a, str>>,
}

fn json<'a>(repository: &'a Path, overlay: &'a Overlay) -> JsonOverlay<'a> {
    let (state, damage) = match &overlay.state {
        OverlayState::Mounted => ("mounted", None),
        OverlayState::Empty => ("empty", None),
        OverlayState::Left(_) => ("left", None),
        OverlayState::Damaged(why) => ("damaged", Some(why.as_str())),
    };
    let left = match &overlay.state {
        OverlayState::Left(left) => Some(left),
        _ => None,
    };
    JsonOverlay {
        overlay: &overlay.name,
        repository: repository.to_string_lossy(),
        bytes: overlay.bytes,
        last_used_time: iso(&Timestamp {
            secs: overlay.used_secs,
            nanos: 0,
            offset: 0,
        }),
        state,
        damage,
        version: left.map(|left| left.version.to_string()),
        branch: left.and_then(|left| left.branch.as_deref()),
        changed: left.map(|left| left.changed),
        mount_point: left
            .and_then(|left| left.at.as_deref())
            .map(Path::to_string_lossy),
    }
}

fn line(out: &mut Out, repository: &Path, overlay: &Overlay, now: i64) -> std::io::Result<()> {
    let what = match &overlay.state {
        OverlayState::Mounted => "mounted".to_owned(),
        OverlayState::Empty => "empty".to_owned(),
        OverlayState::Damaged(why) => format!("damaged: {why}"),
        OverlayState::Left(left) => {
            let branch = left
                .branch
                .as_ref()
                .map_or(String::new(), |branch| format!(" of {branch}"));
            let changed = if left.changed { "changed" } else { "unchanged" };
            let at = left.at.as_ref().map_or(String::new(), |at| {
                format!(", last mounted on {}", at.display())
            });
            format!(
                "{changed}, {}{branch}{at}",
                out.paint(Paint::Id, left.version.short())
            )
        }
    };
    let (age, bytes) = (
        age(now.saturating_sub(overlay.used_secs)),
        size(overlay.bytes),
    );
    writeln!(
        out,
        "{}\t{bytes}\t{age}\t{what}\t{}",
        overlay.name,
        repository.display()
    )
}

fn age(secs: i64) -> String {
    match secs {
        ..60 => "just now".to_owned(),
        60..3600 => format!("{} min ago", secs / 60),
        3600..86_400 => format!("{} h ago", secs / 3600),
        _ => format!("{} days ago", secs / 86_400),
    }
}

#[derive(Serialize)]
struct JsonDiscarded<'a> {
    name: &'a str,
    trash: Option<&'a str>,
}

/// Prints where the changes of a discarded overlay are.
pub(super) fn print_discarded(
    session: &Session,
    name: &str,
    trash: Option<&str>,
) -> Result<(), Failed> {
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&JsonDiscarded { name, trash })?;
    } else if let (Some(id), 0) = (trash, session.globals.quiet) {
        writeln!(
            out,
            "{}: its changes are in the trash; run `dvc trash restore {id}` to restore them",
            harmless_line(name)
        )?;
    }
    Ok(out.finish()?)
}

/// Removes the overlay that an argument of `umount --discard` names. Returns false if the argument
/// names a mount or no known overlay.
pub(super) fn discard(
    session: &Session,
    named: &Path,
    no_trash: bool,
    dry_run: bool,
) -> Result<bool, Failed> {
    // A name with a slash is the path of a mount.
    let Some(name) = named.to_str().filter(|name| !name.contains('/')) else {
        return Ok(false);
    };
    // A name may also be the path of a mount, which is unmounted instead.
    let at = session.current.join(named);
    if mountinfo::ours().is_ok_and(|all| all.iter().any(|mounted| mounted.at == at)) {
        return Ok(false);
    }
    let Some(repository) = repository_of(session, name)? else {
        return Ok(false);
    };
    // The overlay of a volume is removed only together with the volume or its entry in the trash.
    let volumes = volumes(session)?;
    // Moves the overlays of volumes that are in the trash, too.
    volumes.trash()?;
    if let Some(volume) = volumes
        .list()?
        .into_iter()
        .find(|record| record.overlay == name)
    {
        return Err(dvc::error::Error::from(OverlayError::OfVolume {
            name: name.to_owned(),
            volume: volume.name,
        })
        .into());
    }
    if !dry_run {
        let how = if no_trash {
            Discard::Delete
        } else {
            Discard::ToTrash
        };
        let trash = remove(&repository, name, how)?;
        print_discarded(session, name, trash.as_deref())?;
        return Ok(true);
    }
    ensure_discardable(&repository, name)?;
    if session.globals.quiet == 0 && !session.globals.json {
        let mut out = session.plain_out();
        let (verb, to) = if no_trash {
            ("remove", "")
        } else {
            ("move", " to the trash")
        };
        let place = repository.display();
        writeln!(out, "would {verb} overlay {name} in {place}{to}")?;
        out.finish()?;
    }
    Ok(true)
}

#[derive(Serialize)]
struct JsonSalvagedFile<'a> {
    file: Cow<'a, str>,
    bytes: u64,
    /// `null` if the version of the file is unknown.
    complete: Option<bool>,
}

/// Copies the files of an overlay into a directory.
pub(super) fn salvage(session: &Session, dry: DryRun, name: &str, into: &str) -> CommandResult {
    let missing = || OverlayError::Missing {
        name: name.to_owned(),
        repository: dirs::state(),
    };
    let repository =
        repository_of(session, name)?.ok_or_else(|| dvc::error::Error::from(missing()))?;
    if session.dry_run(dry) {
        let mut out = session.plain_out();
        writeln!(out, "would copy the files of overlay {name} into {into}")?;
        out.finish()?;
        return Ok(Exit::DONE);
    }
    let copied = copy(&repository, name, &session.current.join(into))?;
    let mut out = session.plain_out();
    for file in &copied {
        if session.globals.json {
            out.json(&JsonSalvagedFile {
                file: file.at.to_string_lossy(),
                bytes: file.bytes,
                complete: file.whole,
            })?;
        } else if session.globals.quiet == 0 {
            let what = match file.whole {
                Some(true) => "",
                Some(false) => ", incomplete: unwritten blocks are zeros",
                None => ", name unknown",
            };
            writeln!(out, "{}, {}{what}", file.at.display(), size(file.bytes))?;
        }
    }
    out.finish()?;
    Ok(Exit::DONE)
}
