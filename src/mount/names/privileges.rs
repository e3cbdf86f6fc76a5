//! Privileges of a file that a write removes: set-user-ID and set-group-ID bits, and capabilities.
//!
//! The bits and capabilities were granted to the old content only. Other file systems remove them
//! as well.

use crate::model::entry::Meta;

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const GROUP_EXEC: u32 = 0o010;
const CAPABILITY: &[u8] = b"security.capability";

/// Returns whether a write removes a privilege. With `keeps_mode`, only capabilities count.
pub(in crate::mount) fn has_privileges(meta: &Meta, keeps_mode: bool) -> bool {
    // Without the group's execute bit, the set-group-ID bit grants nothing: it once marked files
    // for mandatory locking, and the kernel keeps it too.
    let mode = meta.mode & SETUID != 0 || meta.mode & (SETGID | GROUP_EXEC) == SETGID | GROUP_EXEC;
    mode && !keeps_mode || meta.xattrs.iter().any(|x| x.name == CAPABILITY)
}

/// Removes the privileges that [`has_privileges`] detects.
pub(in crate::mount) fn drop_privileges(meta: &mut Meta, keeps_mode: bool) {
    if !keeps_mode {
        meta.mode &= !SETUID;
        if meta.mode & GROUP_EXEC != 0 {
            meta.mode &= !SETGID;
        }
    }
    meta.xattrs.retain(|x| x.name != CAPABILITY);
}
