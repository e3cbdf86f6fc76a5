//! Access lists and permission bits say the same: whoever changes one changes the other, as file systems do.
//!
//! The form is the kernel's: a version of four bytes, then entries of a tag, a permission and an id (2, 2 and 4 bytes).

use crate::model::entry::Meta;

/// The attribute that holds the list.
const ACCESS: &[u8] = b"system.posix_acl_access";
const OWNER: u16 = 0x01;
const GROUP: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Tag and position of the permission of each entry.
fn entries(list: &[u8]) -> impl Iterator<Item = (u16, usize)> + '_ {
    let all = list.get(4..).unwrap_or_default().chunks_exact(8).enumerate();
    all.map(|(n, entry)| (u16::from_le_bytes([entry[0], entry[1]]), 4 + n * 8 + 2))
}

/// Sets the permission bits to what a list says that was just set.
pub(super) fn mode_follows(meta: &mut Meta, name: &[u8], list: &[u8]) {
    if name != ACCESS {
        return;
    }
    let mut masked = false;
    for (tag, at) in entries(list) {
        let allowed = u32::from(list[at]) & 7;
        let shift = match tag {
            OWNER => 6,
            MASK => 3,
            GROUP if !masked => 3,
            OTHER => 0,
            _ => continue,
        };
        masked |= tag == MASK;
        meta.mode = meta.mode & !(7 << shift) | allowed << shift;
    }
    if entries(list).count() == 3 {
        // It says nothing that the bits do not.
        meta.xattrs.retain(|x| x.name != ACCESS);
    }
}

/// Sets a list to what the permission bits say that were just set.
pub(super) fn follow_mode(meta: &mut Meta) {
    let mode = meta.mode;
    let Some(list) = meta.xattrs.iter_mut().find(|x| x.name == ACCESS) else { return };
    let masked = entries(&list.value).any(|(tag, _)| tag == MASK);
    let all: Vec<(u16, usize)> = entries(&list.value).collect();
    for (tag, at) in all {
        let bits = match tag {
            OWNER => mode >> 6,
            MASK => mode >> 3,
            GROUP if !masked => mode >> 3,
            OTHER => mode,
            _ => continue,
        };
        list.value[at] = u8::try_from(bits & 7).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::Xattr;

    #[test]
    fn both_say_the_same() {
        let entry = |tag: u16, allowed: u8| [tag.to_le_bytes()[0], 0, allowed, 0, 255, 255, 255, 255];
        let list =
            [&[2, 0, 0, 0][..], &entry(OWNER, 6), &entry(2, 7), &entry(GROUP, 4), &entry(MASK, 5), &entry(OTHER, 0)];
        let list = list.concat();
        let mut meta = Meta { mode: 0o4777, ..Meta::default() };
        mode_follows(&mut meta, ACCESS, &list);
        assert_eq!(meta.mode, 0o4650);
        meta.xattrs = vec![Xattr { name: ACCESS.to_vec(), value: list }];
        meta.mode = 0o710;
        follow_mode(&mut meta);
        let said: Vec<u8> = entries(&meta.xattrs[0].value).map(|(_, at)| meta.xattrs[0].value[at]).collect();
        assert_eq!(said, [7, 7, 4, 1, 0]);
    }
}
