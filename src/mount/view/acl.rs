//! POSIX ACLs. The ACL and the permission bits of a node are kept consistent, and new nodes inherit
//! the default ACL of their directory, as in the kernel's own file systems.
//!
//! The format is that of the kernel (`posix_acl_xattr.h`): a version of four bytes, then entries of
//! a tag, a permission and an id (2, 2 and 4 bytes).

use crate::model::entry::{Meta, Xattr};
use crate::sys::xattr::{ACL_ACCESS, ACL_DEFAULT};

const OWNER: u16 = 0x01;
const GROUP: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
/// Number of entries of an ACL that is equivalent to permission bits.
const PLAIN: usize = 3;

/// Iterates over the tag of each entry and the offset of its permission.
fn entries(list: &[u8]) -> impl Iterator<Item = (u16, usize)> + '_ {
    let all = list
        .get(4..)
        .unwrap_or_default()
        .chunks_exact(8)
        .enumerate();
    all.map(|(n, entry)| (u16::from_le_bytes([entry[0], entry[1]]), 4 + n * 8 + 2))
}

/// Returns the offsets of the permissions that the mode also contains, and their shift in the mode.
/// A mask, if there is one, takes the place of the group.
fn shared(list: &[u8]) -> Vec<(usize, u32)> {
    let masked = entries(list).any(|(tag, _)| tag == MASK);
    let shift = |tag| match tag {
        OWNER => Some(6),
        MASK => Some(3),
        GROUP if !masked => Some(3),
        OTHER => Some(0),
        _ => None,
    };
    entries(list)
        .filter_map(|(tag, at)| shift(tag).map(|by| (at, by)))
        .collect()
}

/// Updates the mode after an ACL was set, and removes the ACL if the mode is equivalent.
pub(super) fn mode_follows(meta: &mut Meta, name: &[u8], list: &[u8]) {
    if name != ACL_ACCESS {
        return;
    }
    for (at, by) in shared(list) {
        meta.mode = meta.mode & !(7 << by) | (u32::from(list[at]) & 7) << by;
    }
    if entries(list).count() == PLAIN {
        meta.xattrs.retain(|x| x.name != ACL_ACCESS);
    }
}

/// Returns whether an xattr is an ACL.
pub(super) fn is_list(name: &[u8]) -> bool {
    name == ACL_ACCESS || name == ACL_DEFAULT
}

/// Returns whether an xattr is the ACL of the node itself, so that it determines permissions.
pub(super) fn is_access(name: &[u8]) -> bool {
    name == ACL_ACCESS
}

/// Updates the ACL after the mode has been set.
pub(super) fn follow_mode(meta: &mut Meta) {
    let mode = meta.mode;
    let Some(list) = meta.xattrs.iter_mut().find(|x| x.name == ACL_ACCESS) else {
        return;
    };
    for (at, by) in shared(&list.value) {
        list.value[at] = u8::try_from(mode >> by & 7).unwrap_or(0);
    }
}

/// Returns the default ACL of a directory.
pub(super) fn default_of(dir: &Meta) -> Option<Vec<u8>> {
    let list = dir.xattrs.iter().find(|x| x.name == ACL_DEFAULT)?;
    // A version may contain any value, so one without a complete entry counts as no ACL.
    entries(&list.value).next()?;
    Some(list.value.clone())
}

/// Applies the default ACL of the directory to a new node. The requested mode limits the
/// permissions; the umask does not apply. A directory also inherits the default ACL.
pub(super) fn inherit(meta: &mut Meta, default: Vec<u8>, dir: bool) {
    let mut list = default.clone();
    for (at, by) in shared(&default) {
        let allowed = list[at] & u8::try_from(meta.mode >> by & 7).unwrap_or(0);
        list[at] = allowed;
        meta.mode = meta.mode & !(7 << by) | u32::from(allowed) << by;
    }
    // As in the kernel (`posix_acl_equiv_mode`), an ACL that is equivalent to the mode is not
    // stored.
    if entries(&list).count() != PLAIN {
        meta.xattrs.push(Xattr {
            name: ACL_ACCESS.to_vec(),
            value: list,
        });
    }
    if dir {
        meta.xattrs.push(Xattr {
            name: ACL_DEFAULT.to_vec(),
            value: default,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u8)]) -> Vec<u8> {
        let entry =
            |(tag, allowed): &(u16, u8)| [tag.to_le_bytes()[0], 0, *allowed, 0, 255, 255, 255, 255];
        [vec![2, 0, 0, 0], entries.iter().flat_map(entry).collect()].concat()
    }

    /// Returns the permissions of an ACL in the order of its entries.
    fn said(meta: &Meta, name: &[u8]) -> Option<Vec<u8>> {
        let list = &meta.xattrs.iter().find(|x| x.name == name)?.value;
        Some(entries(list).map(|(_, at)| list[at]).collect())
    }

    const USER: u16 = 2;

    #[test]
    fn both_say_the_same() {
        let list = list(&[(OWNER, 6), (USER, 7), (GROUP, 4), (MASK, 5), (OTHER, 0)]);
        let mut meta = Meta {
            mode: 0o4777,
            ..Meta::default()
        };
        mode_follows(&mut meta, ACL_ACCESS, &list);
        assert_eq!(meta.mode, 0o4650);
        meta.xattrs = vec![Xattr {
            name: ACL_ACCESS.to_vec(),
            value: list,
        }];
        meta.mode = 0o710;
        follow_mode(&mut meta);
        assert_eq!(said(&meta, ACL_ACCESS).unwrap(), [7, 7, 4, 1, 0]);
    }

    #[test]
    fn a_list_that_says_no_more_than_the_bits_is_none() {
        let list = list(&[(OWNER, 6), (GROUP, 5), (OTHER, 1)]);
        let mut meta = Meta {
            mode: 0o2000,
            ..Meta::default()
        };
        meta.xattrs = vec![Xattr {
            name: ACL_ACCESS.to_vec(),
            value: list.clone(),
        }];
        mode_follows(&mut meta, ACL_ACCESS, &list);
        assert_eq!((meta.mode, said(&meta, ACL_ACCESS)), (0o2651, None));
        // A default ACL does not apply to the directory itself.
        mode_follows(&mut meta, ACL_DEFAULT, &[]);
        assert_eq!(meta.mode, 0o2651);
    }

    #[test]
    fn what_is_made_gets_what_the_directory_says_and_was_asked_for() {
        let default = list(&[(OWNER, 7), (USER, 6), (GROUP, 5), (MASK, 7), (OTHER, 4)]);
        let mut file = Meta {
            mode: 0o4646,
            ..Meta::default()
        };
        inherit(&mut file, default.clone(), false);
        // The group entry stays, because the mask limits it.
        assert_eq!(said(&file, ACL_ACCESS).unwrap(), [6, 6, 5, 4, 4]);
        assert_eq!((file.mode, said(&file, ACL_DEFAULT)), (0o4644, None));
        let mut dir = Meta {
            mode: 0o2777,
            ..Meta::default()
        };
        inherit(&mut dir, default.clone(), true);
        assert_eq!(
            (dir.mode, said(&dir, ACL_ACCESS).unwrap()),
            (0o2774, vec![7, 6, 5, 7, 4])
        );
        assert_eq!(default_of(&dir), Some(default));
    }

    #[test]
    fn a_default_that_says_no_more_than_bits_leaves_no_list() {
        let default = list(&[(OWNER, 7), (GROUP, 5), (OTHER, 0)]);
        let mut dir = Meta {
            mode: 0o777,
            ..Meta::default()
        };
        inherit(&mut dir, default.clone(), true);
        assert_eq!((dir.mode, said(&dir, ACL_ACCESS)), (0o750, None));
        let mut file = Meta {
            mode: 0o666,
            ..Meta::default()
        };
        inherit(&mut file, default_of(&dir).unwrap(), false);
        assert_eq!((file.mode, file.xattrs), (0o640, Vec::new()));
    }

    #[test]
    fn a_torn_list_is_none() {
        for value in [&b""[..], b"\x02", b"\x02\0\0\0", b"\x02\0\0\0\x01\0\x07"] {
            let meta = Meta {
                xattrs: vec![Xattr {
                    name: ACL_DEFAULT.to_vec(),
                    value: value.to_vec(),
                }],
                ..Meta::default()
            };
            assert_eq!(default_of(&meta), None);
        }
    }
}
