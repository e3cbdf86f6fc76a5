//! POSIX ACLs: the xattr of the kernel, and the text that GNU tar writes for `--acls`.
//!
//! Converts between both forms. Returns `None` for an ACL that cannot be converted, for example one
//! with user names instead of numbers, because names mean different users on different machines.

use crate::sys::xattr::{ACL_ACCESS, ACL_DEFAULT};

/// Version of the xattr's format.
const VERSION: u32 = 2;
/// Id of an entry that is not for a named user or group.
const NO_ID: u32 = u32::MAX;
/// The xattr of an access ACL, and its record in archives.
pub const ACCESS: (&[u8], &[u8]) = (ACL_ACCESS, b"SCHILY.acl.access");
/// The xattr of a default ACL, which new files in a directory inherit, and its record in archives.
pub const DEFAULT: (&[u8], &[u8]) = (ACL_DEFAULT, b"SCHILY.acl.default");

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Converts an xattr to text.
pub fn text_of(value: &[u8]) -> Option<String> {
    let (version, rest) = value.split_first_chunk::<4>()?;
    let (entries, left) = rest.as_chunks::<8>();
    if u32::from_le_bytes(*version) != VERSION || !left.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(entries.len());
    for e in entries {
        let (tag, rights) = (
            u16::from_le_bytes([e[0], e[1]]),
            u16::from_le_bytes([e[2], e[3]]),
        );
        let id = u32::from_le_bytes([e[4], e[5], e[6], e[7]]);
        let who = match tag {
            USER_OBJ => "user:".to_owned(),
            USER => format!("user:{id}"),
            GROUP_OBJ => "group:".to_owned(),
            GROUP => format!("group:{id}"),
            MASK => "mask:".to_owned(),
            OTHER => "other:".to_owned(),
            _ => return None,
        };
        let right = |bit: u16, c: char| if rights & bit != 0 { c } else { '-' };
        out.push(format!(
            "{who}:{}{}{}",
            right(4, 'r'),
            right(2, 'w'),
            right(1, 'x')
        ));
    }
    Some(out.join(","))
}

/// Converts text to an xattr. Entries are separated by commas or line breaks and name users and
/// groups by number; a fourth field may contain the number of a named user or group.
pub fn of_text(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut entries = Vec::new();
    for entry in text
        .split([',', '\n'])
        .map(str::trim)
        .filter(|e| !e.is_empty() && !e.starts_with('#'))
    {
        let fields: Vec<&str> = entry.split(':').collect();
        let (who, rights) = (*fields.get(1)?, *fields.get(2)?);
        let id = || who.parse().ok().or_else(|| fields.get(3)?.parse().ok());
        let (tag, id) = match (fields[0], who) {
            ("user" | "u", "") => (USER_OBJ, NO_ID),
            ("user" | "u", _) => (USER, id()?),
            ("group" | "g", "") => (GROUP_OBJ, NO_ID),
            ("group" | "g", _) => (GROUP, id()?),
            ("mask" | "m", _) => (MASK, NO_ID),
            ("other" | "o", _) => (OTHER, NO_ID),
            _ => return None,
        };
        let mut bits = 0u16;
        for c in rights.chars() {
            bits |= match c {
                'r' => 4,
                'w' => 2,
                'x' => 1,
                '-' => 0,
                _ => return None,
            };
        }
        entries.push((tag, id, bits));
    }
    // The kernel requires this order.
    entries.sort_unstable();
    let mut out = VERSION.to_le_bytes().to_vec();
    for (tag, id, bits) in entries {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&bits.to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    }
    (out.len() > 4).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        let text = "user::rw-,user:12345:rwx,group::r--,group:54321:r--,mask::rwx,other::---";
        let value = of_text(text.as_bytes()).unwrap();
        assert_eq!(value.len(), 4 + 6 * 8);
        assert_eq!(text_of(&value).as_deref(), Some(text));
        assert_eq!(
            of_text(b"other::---\nmask::rwx\ngroup:x:r--:54321\ngroup::r--\nuser:games:rwx:12345\nuser::rw-"),
            Some(value)
        );
        assert_eq!(of_text(b"user:games:rwx"), None);
        assert_eq!(of_text(b""), None);
        assert_eq!(text_of(b"\x02\0\0\0\x01"), None);
        assert_eq!(text_of(b"\x01\0\0\0"), None);
    }
}
