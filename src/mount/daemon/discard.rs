//! Moves the overlay of an ended mount to the trash of its repository, or deletes it.

use std::path::Path;

use super::resume::overlay_base;
use super::waiting;
use crate::error::Result;
use crate::mount::file::{UPPER_DIR, UpperFiles};
use crate::mount::overlay::OverlayDb;
use crate::repo::local_trash::{LocalTrash, OverlayOwner, TrashNote};
use crate::sys::clock;
use crate::sys::io_error::IoError;

/// Moves an overlay that is not mounted to the trash. Returns the id of the entry; `None` if the
/// overlay had no changes and was removed.
pub fn discard_overlay(repository: &Path, overlay: &Path, name: &str) -> Result<Option<String>> {
    // The lock keeps a mount from using the overlay while it is moved.
    let lock = OverlayDb::lock(overlay, name)?;
    let id = move_to_trash(repository, overlay, name)?;
    drop(lock);
    settle(repository, &id, name)
}

/// Like [`discard_overlay`], for the process that has served the overlay until now.
pub(super) fn discard_served(
    repository: &Path,
    overlay: &Path,
    name: &str,
) -> Result<Option<String>> {
    // A thread that waits for a request may keep the database of this process open, and with it the
    // lock. No other process can then use the overlay until this one exits.
    if waiting::is_locked_by_this_process(overlay)? {
        let id = move_to_trash(repository, overlay, name)?;
        return Ok(Some(id));
    }
    discard_overlay(repository, overlay, name)
}

/// Deletes an overlay that no other process uses, without an entry in the trash.
pub fn delete_overlay(repository: &Path, overlay: &Path, name: &str) -> Result<()> {
    // The lock keeps a mount from using the overlay while it is deleted. The process that has served
    // the overlay may still have the lock.
    let is_ours = waiting::is_locked_by_this_process(overlay)?;
    let lock = (!is_ours)
        .then(|| OverlayDb::lock(overlay, name))
        .transpose()?;
    LocalTrash::of(repository).delete_overlay(overlay, name)?;
    drop(lock);
    Ok(())
}

fn move_to_trash(repository: &Path, overlay: &Path, name: &str) -> Result<String> {
    let now = clock::now();
    let note = TrashNote {
        schema: 1,
        owner: OverlayOwner::Mount,
        overlay: name.to_owned(),
        time: now.secs,
        nanos: now.nanos,
        volume: None,
    };
    LocalTrash::of(repository).put(overlay, &note, None)
}

/// Deletes an entry that has no changes. This is decided in the trash, where no mount can make
/// changes any more; an overlay that cannot be read stays there.
fn settle(repository: &Path, id: &str, name: &str) -> Result<Option<String>> {
    let trash = LocalTrash::of(repository);
    let dir = trash.path(id);
    let is_unchanged = match overlay_base(&dir, name) {
        Ok(Some(base)) => !base.changed,
        Ok(None) => {
            let upper = dir.join(UPPER_DIR);
            !UpperFiles::has_files(&upper).map_err(IoError::at("list", &upper))?
        }
        Err(_) => false,
    };
    if is_unchanged {
        trash.delete(id)?;
        return Ok(None);
    }
    Ok(Some(id.to_owned()))
}
