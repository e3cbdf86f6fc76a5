//! The versions that a repository must keep although no ref names them.

use std::collections::BTreeSet;
use std::path::Path;

use crate::care::roots::LooseRoot;
use crate::checkout::patch::journal::Journal;
use crate::context::Context;
use crate::error::{Error, Failure, Kind, Result};
use crate::model::id::Id;
use crate::model::text::harmless;
use crate::mount::daemon::overlay_roots;
use crate::ops::mount::{Overlay, mounts, overlays};
use crate::repo::local_trash::LocalTrash;
use crate::repo::{Repo, layout};
use crate::sys::clock;
use crate::sys::io_error::IoError;

/// The error for a mount whose version is unknown because its process does not answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot determine the version that the mount at `{at}` needs: its daemon does not respond")]
struct SilentMount {
    at: String,
}

impl Failure for SilentMount {
    fn kind(&self) -> Kind {
        Kind::Busy
    }

    fn hint(&self) -> Option<String> {
        Some(format!(
            "run `dvc umount {}`, then run `dvc gc` again",
            self.at
        ))
    }
}

/// The error for an overlay in the trash that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {id} in the trash, so the version that it needs is unknown")]
struct UnreadableTrash {
    id: String,
    source: Error,
}

impl Failure for UnreadableTrash {
    fn kind(&self) -> Kind {
        self.source.kind()
    }

    fn hint(&self) -> Option<String> {
        let id = &self.id;
        match self.source.kind() {
            Kind::Denied => {
                Some("run the command as the owner of the trash entry, or as root".to_owned())
            }
            Kind::Integrity => Some(format!(
                "run `dvc trash restore {id}` and `dvc mount --salvage` to copy what is readable, or \
                 `dvc trash empty {id}` to delete it"
            )),
            _ => None,
        }
    }
}

/// Returns the name of an overlay as a holder of versions.
pub(super) fn holder_of(overlay: &Overlay) -> String {
    format!("overlay {}", overlay.name)
}

/// Returns the versions of leases: those of processes on this machine, and of mounts and lazy
/// clones on other machines.
pub(in crate::ops) fn lease_roots(repo: &Repo) -> Result<Vec<LooseRoot>> {
    let mut roots = Vec::new();
    for live in repo.leases(clock::now().secs, false)?.live {
        let (what, host) = (live.lease.what.name(), harmless(&live.lease.host));
        let name = format!("lease of a {what} on {host}");
        roots.extend(live.lease.versions.into_iter().map(|id| LooseRoot {
            name: name.clone(),
            id,
            trees: Vec::new(),
        }));
    }
    Ok(roots)
}

/// Returns the versions that the repository must keep although no ref names them: those of
/// worktrees, of interrupted checkouts, of overlays and of mounts. The entries `left_out` of the
/// trash are ignored.
pub(in crate::ops) fn loose_roots(
    context: &Context,
    repo: &Repo,
    run: &Path,
    left_out: &BTreeSet<String>,
) -> Result<Vec<LooseRoot>> {
    let mut roots = Vec::new();
    let mut add = |name: String, id: Option<Id>, trees: Vec<Id>| {
        roots.extend(id.map(|id| LooseRoot { name, id, trees }));
    };
    for (_, state) in repo.worktree_states()? {
        // An unreadable state may name a version that would be deleted.
        let state = state?;
        add(
            format!("worktree {}", state.path),
            state.base.as_deref().and_then(Id::parse),
            Vec::new(),
        );
    }
    // A worktree without a state may have an interrupted checkout.
    let dir = repo.state_dir()?.join(layout::WORKTREES);
    let entries = match std::fs::read_dir(&dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        entries => Some(entries.map_err(IoError::at("list", &dir))?),
    };
    for entry in entries.into_iter().flatten() {
        let dir = entry.map_err(IoError::at("list", &dir))?.path();
        if let Some(interrupted) = Journal::read(&dir)? {
            let name = || format!("interrupted checkout in {}", dir.display());
            let versions = [interrupted.goal.base, Some(interrupted.goal.target)]
                .into_iter()
                .flatten();
            versions
                .chain(interrupted.others)
                .for_each(|id| add(name(), Some(id), Vec::new()));
        }
    }
    // The lock keeps an overlay from moving between the two lists.
    let trash = LocalTrash::of(&context.repository);
    let lock = trash.lock()?;
    for overlay in overlays(&context.repository)? {
        if let Some(held) = overlay_roots(&overlay.dir)? {
            add(holder_of(&overlay), Some(held.version), held.trees);
        }
    }
    for overlay in trash.list()? {
        if left_out.contains(&overlay.id) {
            continue;
        }
        let held = overlay_roots(&overlay.dir).map_err(|source| UnreadableTrash {
            id: overlay.id.clone(),
            source,
        })?;
        if let Some(held) = held {
            let name = format!("overlay {} in the trash", overlay.id);
            add(name, Some(held.version), held.trees);
        }
    }
    drop(lock);
    roots.extend(lease_roots(repo)?);
    let mut add = |name: String, id: Option<Id>, trees: Vec<Id>| {
        roots.extend(id.map(|id| LooseRoot { name, id, trees }));
    };
    let repository = context
        .repository
        .canonicalize()
        .map_err(IoError::at("open", &context.repository))?;
    for mount in mounts(run)? {
        // A note may name the repository through a symbolic link, so both paths are canonical.
        let is_ours = |note: &crate::mount::control::MountNote| {
            note.repository
                .canonicalize()
                .is_ok_and(|dir| dir == repository)
        };
        let Some(note) = mount.note.as_ref().filter(|note| is_ours(note)) else {
            continue;
        };
        let at = mount.mounted.at.display().to_string();
        match mount.facts() {
            Some(facts) => {
                let trees = facts
                    .snapshot
                    .as_deref()
                    .and_then(Id::parse)
                    .into_iter()
                    .collect();
                add(
                    format!("mount {at}"),
                    facts.version.as_deref().and_then(Id::parse),
                    trees,
                );
            }
            // The database of the overlay has the version.
            None if note.overlay.is_some() => {}
            None => return Err(SilentMount { at }.into()),
        }
    }
    Ok(roots)
}
