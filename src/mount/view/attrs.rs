//! Changing metadata: mode, owner, times, extended attributes.

use std::sync::Arc;

use super::{Caller, View, acl};
use crate::model::entry::{Meta, Time, Xattr};
use crate::mount::errno::{Answer, Errno};
use crate::mount::inode::{Attr, Kind, What};
use crate::sys::clock::stamp_now;
use crate::sys::xattr::CAPABILITY;

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const GROUP_EXEC: u32 = 0o010;
/// The longest value of an attribute.
const VALUE_MAX: usize = 64 << 10;

/// A time to set.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// The present.
    Now,
    /// That one.
    At(Time),
}

impl When {
    fn time(self) -> Time {
        match self {
            Self::Now => stamp_now(),
            Self::At(time) => time,
        }
    }
}

/// What to set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length in bytes.
    pub size: Option<u64>,
    /// Last read.
    pub atime: Option<When>,
    /// Last change of content.
    pub mtime: Option<When>,
    /// Last change of anything, where the kernel keeps it.
    pub ctime: Option<Time>,
}

/// Fails for names of attributes that no file system of the kernel takes: programs find out by that what is kept, and a
/// checkout could not set them.
fn ensure_in_namespace(name: &[u8]) -> Answer<()> {
    const PREFIXES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
    match PREFIXES.iter().find(|prefix| name.starts_with(prefix)) {
        _ if acl::is_list(name) => Ok(()),
        Some(prefix) if name.len() > prefix.len() => Ok(()),
        Some(_) => Err(Errno::INVAL),
        None => Err(Errno::OPNOTSUPP),
    }
}

/// What a write takes from a file: set-user-id and set-group-id, unless `keeps_mode`, and capabilities.
pub(in crate::mount) fn loses_trust(meta: &Meta, keeps_mode: bool) -> bool {
    let mode = meta.mode & SETUID != 0 || meta.mode & (SETGID | GROUP_EXEC) == SETGID | GROUP_EXEC;
    mode && !keeps_mode || meta.xattrs.iter().any(|x| x.name == CAPABILITY)
}

/// Takes it.
pub(in crate::mount) fn lose_trust(meta: &mut Meta, keeps_mode: bool) {
    if !keeps_mode {
        meta.mode &= !SETUID;
        if meta.mode & GROUP_EXEC != 0 {
            meta.mode &= !SETGID;
        }
    }
    meta.xattrs.retain(|x| x.name != CAPABILITY);
}

impl View {
    /// Sets attributes and returns what they are then.
    pub fn set_attr(&self, caller: Caller, ino: u64, changes: &Changes) -> Answer<Attr> {
        if let Some(size) = changes.size {
            let data = self.ask(|n| n.open(ino, true))?;
            let done = self.resize(caller, &data, size);
            self.closed(&data, false, true);
            done?;
        }
        let _gate = self.changing()?;
        let mtime = changes.mtime.map(When::time);
        if let Some(data) = self.data_of(ino) {
            // What was written before takes nothing from the mode that is set now.
            self.ask(|n| n.catch_up(&data))?;
            if let Some(mtime) = mtime {
                data.stamp(mtime)?;
            }
        }
        self.ask(|n| {
            let only_times = changes.mode.is_none() && changes.uid.is_none() && changes.gid.is_none();
            let sets = !only_times || changes.atime.is_some() || changes.mtime.is_some() || changes.ctime.is_some();
            if sets {
                let inode = if only_times { n.times(ino)? } else { n.change(ino)? };
                if let Some(mode) = changes.mode {
                    inode.meta.mode = mode & 0o7777;
                    acl::follow_mode(&mut inode.meta);
                } else if (changes.uid.is_some() || changes.gid.is_some()) && inode.kind() != Kind::Dir {
                    lose_trust(&mut inode.meta, false);
                }
                if changes.uid.is_some() || changes.gid.is_some() {
                    if inode.foreign
                        && let Some((uid, gid)) = self.options.map_owner
                    {
                        (inode.meta.uid, inode.meta.gid) = (uid, gid);
                    }
                    inode.foreign = false;
                }
                inode.meta.uid = changes.uid.unwrap_or(inode.meta.uid);
                inode.meta.gid = changes.gid.unwrap_or(inode.meta.gid);
                inode.atime = changes.atime.map_or(inode.atime, When::time);
                inode.meta.mtime = mtime.unwrap_or(inode.meta.mtime);
                inode.ctime = changes.ctime.unwrap_or_else(stamp_now);
            }
            n.attr(ino).map(|attr| self.shown(n, attr))
        })
        .map(|attr| self.with_holes(attr))
    }

    /// The value of an extended attribute.
    pub fn get_xattr(&self, ino: u64, name: &[u8]) -> Answer<Vec<u8>> {
        self.ask(|n| {
            let value = n.look(ino, |meta, _| meta.xattrs.iter().find(|x| x.name == name).map(|x| x.value.clone()))?;
            match value {
                Some(value) => Ok(value),
                // A version may hold what came from elsewhere.
                None => Err(ensure_in_namespace(name).err().unwrap_or(Errno::NODATA).into()),
            }
        })
    }

    /// The names of all extended attributes, each ended by NUL.
    pub fn list_xattrs(&self, ino: u64) -> Answer<Vec<u8>> {
        self.ask(|n| {
            n.look(ino, |meta, _| meta.xattrs.iter().flat_map(|x| x.name.iter().copied().chain([0])).collect())
        })
    }

    /// Sets an extended attribute; `must`: whether it has to be there, or must not.
    pub fn set_xattr(&self, caller: Caller, ino: u64, name: &[u8], value: &[u8], must: Option<bool>) -> Answer<()> {
        let _gate = self.changing()?;
        ensure_in_namespace(name)?;
        if value.len() > VALUE_MAX {
            return Err(Errno::TOOBIG);
        }
        self.ask(|n| {
            let there = n.look(ino, |meta, _| meta.xattrs.iter().any(|x| x.name == name))?;
            match (must, there) {
                (Some(true), false) => return Err(Errno::NODATA.into()),
                (Some(false), true) => return Err(Errno::EXIST.into()),
                _ => {}
            }
            let inode = n.change(ino)?;
            inode.ctime = stamp_now();
            let xattrs = &mut inode.meta.xattrs;
            xattrs.retain(|x| x.name != name);
            xattrs.push(Xattr { name: name.to_vec(), value: value.to_vec() });
            xattrs.sort_unstable();
            let mode = inode.meta.mode;
            acl::mode_follows(&mut inode.meta, name, value);
            if acl::is_access(name) && caller.uid != 0 && caller.gid != inode.meta.gid {
                // As `chmod` does for who is not of the group. Which others the caller is of the kernel does not tell.
                inode.meta.mode &= !SETGID;
            }
            Ok(inode.meta.mode != mode)
        })
        .map(|changed| {
            if changed {
                self.is_stale(ino)
            }
        })
    }

    /// Removes an extended attribute.
    pub fn remove_xattr(&self, ino: u64, name: &[u8]) -> Answer<()> {
        let _gate = self.changing()?;
        self.ask(|n| {
            if !n.look(ino, |meta, _| meta.xattrs.iter().any(|x| x.name == name))? {
                return Err(ensure_in_namespace(name).err().unwrap_or(Errno::NODATA).into());
            }
            let inode = n.change(ino)?;
            inode.ctime = stamp_now();
            inode.meta.xattrs.retain(|x| x.name != name);
            Ok(())
        })
    }

    /// The file of an inode that was changed, if it is one.
    pub(in crate::mount) fn data_of(&self, ino: u64) -> Option<Arc<crate::mount::data::Data>> {
        match &self.names().upper().inodes.get(&ino)?.what {
            What::File(data) => Some(Arc::clone(data)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_the_namespaces_of_the_kernel() {
        for name in ["user.a", "trusted.a.b", "security.selinux", "system.posix_acl_access", "system.posix_acl_default"]
        {
            assert_eq!(ensure_in_namespace(name.as_bytes()), Ok(()), "{name}");
        }
        for (name, e) in [
            ("user.", Errno::INVAL),
            ("security.", Errno::INVAL),
            ("user", Errno::OPNOTSUPP),
            ("foo.bar", Errno::OPNOTSUPP),
            ("system.foo", Errno::OPNOTSUPP),
            ("system.posix_acl_accessx", Errno::OPNOTSUPP),
        ] {
            assert_eq!(ensure_in_namespace(name.as_bytes()), Err(e), "{name}");
        }
    }
}
