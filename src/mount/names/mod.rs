//! Names and inodes of a mount.

mod attr;
mod changes;
mod entry;
mod inode;
mod listing;
mod privileges;
mod references;
mod switch;
mod table;
mod upper;

pub use attr::{NodeAttr, NodeKind, ROOT_INO};
pub use changes::RenameMode;
pub use entry::{EntryName, EntryRef};
pub use inode::{Inode, InodeBody, StoredDir};
pub use listing::{ListedName, position};
pub(super) use privileges::{drop_privileges, has_privileges};
pub use references::ClosedFile;
pub use switch::{StaleEntries, StaleName, SwitchAttempt, SwitchDirs, SwitchPlan};
pub use table::{DirResult, Lookup, LookupStop, NameCounts, NameTable, PendingRows};
pub use upper::{NameOverrides, UpperTree};
