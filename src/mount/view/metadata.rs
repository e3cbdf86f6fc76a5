//! Changes of metadata: mode, owner, times and xattrs.

use super::acl;
use super::shared::{Caller, FileOwner, View};
use crate::model::entry::{Time, Xattr};
use crate::mount::errno::{Errno, FsResult};
use crate::mount::names::{NodeAttr, NodeKind, drop_privileges};
use crate::sys::clock::stamp_now;

/// Largest value of an xattr, as in the kernel (`XATTR_SIZE_MAX`).
const VALUE_MAX: usize = 64 << 10;

const SETGID: u32 = 0o2000;

/// A time to set.
#[derive(Clone, Copy, Debug)]
pub enum SetTime {
    /// The current time.
    Now,
    /// The given time.
    At(Time),
}

impl SetTime {
    fn time(self) -> Time {
        match self {
            Self::Now => stamp_now(),
            Self::At(time) => time,
        }
    }
}

/// The attributes to set; `None` leaves an attribute unchanged.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttrChanges {
    /// Permission bits.
    pub mode: Option<u32>,
    /// User id of the owner.
    pub uid: Option<u32>,
    /// Group id.
    pub gid: Option<u32>,
    /// Length in bytes.
    pub size: Option<u64>,
    /// Time of the last read.
    pub atime: Option<SetTime>,
    /// Time of the last change of the content.
    pub mtime: Option<SetTime>,
    /// Time of the last change of content or metadata. The kernel sends it in writeback mode.
    pub ctime: Option<Time>,
}

/// Fails for xattr names that no file system of the kernel accepts. Programs use such names to
/// probe for support, and a checkout could not set them.
fn ensure_in_namespace(name: &[u8]) -> FsResult<()> {
    const PREFIXES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
    match PREFIXES.iter().find(|prefix| name.starts_with(prefix)) {
        _ if acl::is_list(name) => Ok(()),
        Some(prefix) if name.len() > prefix.len() => Ok(()),
        Some(_) => Err(Errno::INVAL),
        None => Err(Errno::OPNOTSUPP),
    }
}

impl View {
    /// Sets attributes. Returns all attributes after the change.
    pub fn set_attr(&self, caller: Caller, ino: u64, changes: &AttrChanges) -> FsResult<NodeAttr> {
        // Set the length first, because `resize` takes the write barrier itself. Taking it twice in
        // one thread deadlocks with a snapshot that waits for it.
        if let Some(size) = changes.size {
            let data = self.query(|n| n.open(ino, true))?;
            let done = self.resize(caller, &data, size);
            self.close_file(&data, false, true);
            done?;
        }
        let _barrier = self.begin_change()?;
        let mtime = changes.mtime.map(SetTime::time);
        if let Some(data) = self.data_of(ino) {
            // Account for earlier writes of the kernel first, because they must not remove
            // privileges from the new mode.
            self.query(|n| n.refresh_from_kernel(&data))?;
            if let Some(mtime) = mtime {
                data.set_kernel_mtime(mtime)?;
            }
        }
        self.query(|n| {
            let only_times =
                changes.mode.is_none() && changes.uid.is_none() && changes.gid.is_none();
            let sets = !only_times
                || changes.atime.is_some()
                || changes.mtime.is_some()
                || changes.ctime.is_some();
            if sets {
                let inode = if only_times {
                    n.change_times(ino)?
                } else {
                    n.change(ino)?
                };
                if let Some(mode) = changes.mode {
                    inode.meta.mode = mode & 0o7777;
                    acl::follow_mode(&mut inode.meta);
                } else if (changes.uid.is_some() || changes.gid.is_some())
                    && inode.kind() != NodeKind::Dir
                {
                    drop_privileges(&mut inode.meta, false);
                }
                if changes.uid.is_some() || changes.gid.is_some() {
                    if inode.has_version_owner
                        && let Some(FileOwner { uid, gid }) = self.options.map_owner
                    {
                        // The caller changes one of the ids that are shown, and expects the other
                        // one to stay as shown.
                        (inode.meta.uid, inode.meta.gid) = (uid, gid);
                    }
                    inode.has_version_owner = false;
                }
                inode.meta.uid = changes.uid.unwrap_or(inode.meta.uid);
                inode.meta.gid = changes.gid.unwrap_or(inode.meta.gid);
                inode.atime = changes.atime.map_or(inode.atime, SetTime::time);
                inode.meta.mtime = mtime.unwrap_or(inode.meta.mtime);
                inode.ctime = changes.ctime.unwrap_or_else(stamp_now);
            }
            n.attr(ino).map(|attr| self.as_shown(n, attr))
        })
        .map(|attr| self.with_allocated(attr))
    }

    /// Returns the value of an xattr.
    pub fn get_xattr(&self, ino: u64, name: &[u8]) -> FsResult<Vec<u8>> {
        self.query(|n| {
            let value = n.with_meta(ino, |meta, _| {
                meta.xattrs
                    .iter()
                    .find(|x| x.name == name)
                    .map(|x| x.value.clone())
            })?;
            match value {
                Some(value) => Ok(value),
                // Check the name last, because a version may contain xattrs of any name.
                None => Err(ensure_in_namespace(name)
                    .err()
                    .unwrap_or(Errno::NODATA)
                    .into()),
            }
        })
    }

    /// Returns the names of all xattrs, each with a trailing NUL.
    pub fn list_xattrs(&self, ino: u64) -> FsResult<Vec<u8>> {
        self.query(|n| {
            n.with_meta(ino, |meta, _| {
                meta.xattrs
                    .iter()
                    .flat_map(|x| x.name.iter().copied().chain([0]))
                    .collect()
            })
        })
    }

    /// Sets an xattr. If `must` is true, the xattr has to exist already; if it is false, the xattr
    /// must not exist.
    pub fn set_xattr(
        &self,
        caller: Caller,
        ino: u64,
        name: &[u8],
        value: &[u8],
        must: Option<bool>,
    ) -> FsResult<()> {
        let _barrier = self.begin_change()?;
        ensure_in_namespace(name)?;
        if value.len() > VALUE_MAX {
            return Err(Errno::TOOBIG);
        }
        self.query(|n| {
            let there = n.with_meta(ino, |meta, _| meta.xattrs.iter().any(|x| x.name == name))?;
            match (must, there) {
                (Some(true), false) => return Err(Errno::NODATA.into()),
                (Some(false), true) => return Err(Errno::EXIST.into()),
                _ => {}
            }
            let inode = n.change(ino)?;
            inode.ctime = stamp_now();
            let xattrs = &mut inode.meta.xattrs;
            xattrs.retain(|x| x.name != name);
            xattrs.push(Xattr {
                name: name.to_vec(),
                value: value.to_vec(),
            });
            // Trees store xattrs in order, so that equal metadata gives equal ids.
            xattrs.sort_unstable();
            let mode = inode.meta.mode;
            acl::mode_follows(&mut inode.meta, name, value);
            if acl::is_access(name) && caller.uid != 0 && caller.gid != inode.meta.gid {
                // `chmod` does the same if the caller is not in the group. FUSE does not report the
                // caller's supplementary groups, so only the primary one counts.
                inode.meta.mode &= !SETGID;
            }
            Ok(inode.meta.mode != mode)
        })
        .map(|changed| {
            if changed {
                self.attributes_changed(ino)
            }
        })
    }

    /// Removes an xattr; `ENODATA` if the file does not have it.
    pub fn remove_xattr(&self, ino: u64, name: &[u8]) -> FsResult<()> {
        let _barrier = self.begin_change()?;
        self.query(|n| {
            if !n.with_meta(ino, |meta, _| meta.xattrs.iter().any(|x| x.name == name))? {
                return Err(ensure_in_namespace(name)
                    .err()
                    .unwrap_or(Errno::NODATA)
                    .into());
            }
            let inode = n.change(ino)?;
            inode.ctime = stamp_now();
            inode.meta.xattrs.retain(|x| x.name != name);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_the_namespaces_of_the_kernel() {
        for name in [
            "user.a",
            "trusted.a.b",
            "security.selinux",
            "system.posix_acl_access",
            "system.posix_acl_default",
        ] {
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
