//! `trash`: everything that commands have removed and that can be restored: forgotten versions,
//! overlays of mounts, volumes, and files of worktrees.
//!
//! Each kind has a place of its own: the trash log, `trash-local/`, the records of volumes, and
//! `refs/trash/`. A place that cannot be read does not hide the others.

mod error;
mod list;
mod restore;

pub use error::TrashError;
pub use list::{TrashEntry, TrashItem, TrashList, TrashScope, TrashUse, find, list};
pub use restore::{
    FilesReport, RestoredOverlay, delete_files, delete_overlay, restore_files, restore_overlay,
};
