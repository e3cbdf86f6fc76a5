//! The header of a tar member, preceded by a PAX header if the ustar header cannot represent the
//! member.
//!
//! Invariant: the bytes depend only on the member.

use tar::{EntryType, Header};

use super::acl;
use super::member::{ArchiveMember, MemberKind};
use super::records::{put, time_text};
use super::sparse::{Run, map_of};

/// Size of a tar block; the header and the content of a member are padded to a multiple of it.
pub const BLOCK: u64 = 512;
/// The end of an archive: two empty blocks.
pub const END: [u8; 1024] = [0; 1024];

/// Limits on the numbers in the fields of a ustar header.
const ID_MAX: u64 = 0o7_777_777;
const NUMBER_MAX: u64 = 0o77_777_777_777;

/// Returns the number of bytes up to the next multiple of [`BLOCK`].
pub fn padding(len: u64) -> u64 {
    len.wrapping_neg() % BLOCK
}

/// Returns all bytes that precede the content of a member. For a sparse file, `runs` are the ranges
/// of data that follow.
pub fn head(member: &ArchiveMember, runs: Option<&[Run]>) -> Vec<u8> {
    let mut pax = Vec::new();
    let mut header = Header::new_ustar();
    let mut name = member.path.clone();
    // Tar programs from before ustar recognise a directory only by the slash.
    if member.kind == MemberKind::Dir && !name.ends_with(b"/") {
        name.push(b'/');
    }
    let link = match &member.kind {
        MemberKind::Symlink { target } | MemberKind::HardLink { target } => target.as_slice(),
        _ => b"",
    };
    // Write names as raw bytes without a `hdrcharset` record, as GNU tar does, because GNU tar
    // warns about that record.
    let map = match (&member.kind, runs) {
        (MemberKind::File { size }, Some(runs)) => Some(padded(map_of(runs, *size))),
        _ => None,
    };
    match &map {
        Some(_) => {
            let base = name.rsplit(|b| *b == b'/').next().unwrap_or_default();
            // A program that does not know sparse files extracts the raw data under this name, as
            // GNU tar intends.
            let plain = [b"GNUSparseFile.0/", base].concat();
            set_name(&mut header, &plain);
        }
        None => {
            if set_name(&mut header, &name) {
                put(&mut pax, b"path", &name);
            }
        }
    }
    if let Some(ustar) = header.as_ustar_mut() {
        let len = link.len().min(ustar.linkname.len());
        ustar.linkname[..len].copy_from_slice(&link[..len]);
    }
    if !is_plain(link) {
        put(&mut pax, b"linkpath", link);
    }
    let stored = match (&member.kind, &map, runs) {
        (MemberKind::File { .. }, Some(map), Some(runs)) => {
            map.len() as u64 + runs.iter().map(|r| r.1).sum::<u64>()
        }
        (MemberKind::File { size }, ..) => *size,
        _ => 0,
    };
    let number = |value: u64, max: u64, key: &[u8], pax: &mut Vec<u8>| {
        // A number that does not fit is in a record, which overrides the field.
        if value <= max {
            return value;
        }
        put(pax, key, value.to_string().as_bytes());
        0
    };
    header.set_size(number(stored, NUMBER_MAX, b"size", &mut pax));
    header.set_uid(number(u64::from(member.meta.uid), ID_MAX, b"uid", &mut pax));
    header.set_gid(number(u64::from(member.meta.gid), ID_MAX, b"gid", &mut pax));
    let time = member.meta.mtime;
    let secs = u64::try_from(time.secs).ok().filter(|s| *s <= NUMBER_MAX);
    header.set_mtime(secs.unwrap_or(0));
    // The field has neither a sign nor a fraction.
    if secs.is_none() || time.nanos != 0 {
        put(&mut pax, b"mtime", time_text(time).as_bytes());
    }
    header.set_mode(member.meta.mode & 0o7777);
    if let (MemberKind::File { size }, Some(_)) = (&member.kind, &map) {
        put(&mut pax, b"GNU.sparse.major", b"1");
        put(&mut pax, b"GNU.sparse.minor", b"0");
        put(&mut pax, b"GNU.sparse.name", &name);
        put(
            &mut pax,
            b"GNU.sparse.realsize",
            size.to_string().as_bytes(),
        );
    }
    attributes(member, &mut pax);
    set_kind(&mut header, &member.kind);
    header.set_cksum();
    let mut out = Vec::new();
    if !pax.is_empty() {
        out.extend_from_slice(extension(&name, pax.len() as u64).as_bytes());
        out.extend_from_slice(&padded(pax));
    }
    out.extend_from_slice(header.as_bytes());
    out.extend(map.unwrap_or_default());
    out
}

/// Pads with zeros to a multiple of [`BLOCK`].
fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// Returns whether a name fits into a ustar header.
fn is_plain(name: &[u8]) -> bool {
    name.len() <= 100 && name.is_ascii()
}

/// Copies the part of a name that fits into the field. Returns true if the name needs a record.
fn set_name(header: &mut Header, name: &[u8]) -> bool {
    if let Some(ustar) = header.as_ustar_mut() {
        let len = name.len().min(ustar.name.len());
        ustar.name[..len].copy_from_slice(&name[..len]);
    }
    !is_plain(name)
}

/// Returns the ustar header of a PAX header.
fn extension(name: &[u8], len: u64) -> Header {
    let mut header = Header::new_ustar();
    let base = name
        .strip_suffix(b"/")
        .unwrap_or(name)
        .rsplit(|b| *b == b'/')
        .next()
        .unwrap_or_default();
    set_name(&mut header, &[b"PaxHeaders/", base].concat());
    // Use constant values, because equal members must encode to equal bytes.
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(len);
    header.set_entry_type(EntryType::XHeader);
    header.set_cksum();
    header
}

fn attributes(member: &ArchiveMember, pax: &mut Vec<u8>) {
    // A hard link shares the xattrs of its first member, so do not repeat them.
    if matches!(member.kind, MemberKind::HardLink { .. }) {
        return;
    }
    for (name, record) in [acl::ACCESS, acl::DEFAULT] {
        let value = member.meta.xattrs.iter().find(|x| x.name == name);
        // GNU tar restores an ACL from this text. The raw xattr below is for dvc, because it is
        // exact.
        if let Some(text) = value.and_then(|x| acl::text_of(&x.value)) {
            put(pax, record, text.as_bytes());
        }
    }
    for xattr in &member.meta.xattrs {
        let mut key = b"SCHILY.xattr.".to_vec();
        for byte in &xattr.name {
            match byte {
                // A `=` would end the key of the record. GNU tar encodes the same two bytes.
                b'%' => key.extend_from_slice(b"%25"),
                b'=' => key.extend_from_slice(b"%3D"),
                other => key.push(*other),
            }
        }
        put(pax, &key, &xattr.value);
    }
}

fn set_kind(header: &mut Header, kind: &MemberKind) {
    let mut device = |major: &u32, minor: &u32| {
        // The calls fail only for headers of the old format, which lack the fields.
        let _ = header.set_device_major(*major);
        let _ = header.set_device_minor(*minor);
    };
    let entry_type = match kind {
        MemberKind::File { .. } => EntryType::Regular,
        MemberKind::Dir => EntryType::Directory,
        MemberKind::Symlink { .. } => EntryType::Symlink,
        MemberKind::HardLink { .. } => EntryType::Link,
        MemberKind::Fifo => EntryType::Fifo,
        MemberKind::CharDevice { major, minor } => {
            device(major, minor);
            EntryType::Char
        }
        MemberKind::BlockDevice { major, minor } => {
            device(major, minor);
            EntryType::Block
        }
    };
    header.set_entry_type(entry_type);
}
