//! Names and inodes of a mount.

mod attr;
mod changes;
mod entry;
mod inode;
mod privileges;
mod references;
mod switch;
mod table;
mod upper;

pub use attr::{NodeAttr, NodeKind, ROOT_INO};
pub use changes::RenameMode;
pub use entry::{EntryName, EntryRef};
pub use inode::{Inode, InodeBody, StoredDir};
pub(super) use privileges::{drop_privileges, has_privileges};
pub use references::ClosedFile;
pub use switch::{StaleEntries, StaleName, SwitchAttempt, SwitchDirs, SwitchPlan};
pub use table::{DirResult, ListedName, Lookup, LookupStop, NameCounts, NameTable, PendingRows, position};
pub use upper::{NameOverrides, UpperTree};
