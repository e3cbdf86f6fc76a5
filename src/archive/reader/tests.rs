//! Tests of the reader: round trips with the writer, and rejection of damaged archives.

use super::*;
use crate::error::{Failure, Kind};

impl ArchiveInput for &[u8] {}

fn member(path: &[u8], kind: MemberKind) -> ArchiveMember {
    let meta = Meta {
        mode: 0o4755,
        uid: 1,
        // Values that do not fit into the fields of a header: they need records.
        gid: 4_000_000_000,
        mtime: Time { secs: -5, nanos: 7 },
        xattrs: Vec::new(),
    };
    ArchiveMember {
        path: path.to_vec(),
        meta,
        kind,
    }
}

fn all(bytes: &[u8]) -> Result<Vec<(ArchiveMember, Vec<u8>)>, ArchiveError> {
    let mut reader = TarReader::new(bytes);
    let mut out = Vec::new();
    while let Some(member) = reader.next_member()? {
        let (mut data, mut buffer) = (Vec::new(), [0; 100]);
        loop {
            match reader.read(&mut buffer)? {
                0 => break,
                n => data.extend_from_slice(&buffer[..n]),
            }
        }
        out.push((member, data));
    }
    Ok(out)
}

fn archive(members: &[(ArchiveMember, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (member, data) in members {
        out.extend(writer::head(member, None));
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend(writer::END);
    out
}

#[test]
fn members_come_back() {
    let mut odd = member(
        &[&[b'n'; 255][..], b"/\xff\n"].concat(),
        MemberKind::File { size: 3 },
    );
    odd.meta.xattrs = vec![
        Xattr {
            name: b"system.posix_acl_access".to_vec(),
            value: acl::of_text(b"user::rw-,user:7:r--,mask::r--,group::r--,other::r--").unwrap(),
        },
        Xattr {
            name: b"user.100%=".to_vec(),
            value: b"\n12 a=b\n\0\xff".to_vec(),
        },
        Xattr {
            name: b"user.empty".to_vec(),
            value: Vec::new(),
        },
    ];
    let mut link = member(
        b"link",
        MemberKind::Symlink {
            target: vec![b'x'; 4000],
        },
    );
    link.meta.mode = 0o777;
    let members = [
        (member(b".", MemberKind::Dir), &b""[..]),
        (odd, b"abc"),
        (link, b""),
        (
            member(
                b"hard",
                MemberKind::HardLink {
                    target: b"\xfe".to_vec(),
                },
            ),
            b"",
        ),
        (member(b"fifo", MemberKind::Fifo), b""),
        (
            member(
                b"c",
                MemberKind::CharDevice {
                    major: 511,
                    minor: 1_048_575,
                },
            ),
            b"",
        ),
        (
            member(
                b"b",
                MemberKind::BlockDevice {
                    major: 7,
                    minor: 200,
                },
            ),
            b"",
        ),
        (member(b"empty", MemberKind::File { size: 0 }), b""),
        (member("d/é".as_bytes(), MemberKind::Dir), b""),
    ];
    let bytes = archive(&members);
    let back = all(&bytes).unwrap();
    assert_eq!(back.len(), members.len());
    for ((a, x), (b, y)) in back.iter().zip(&members) {
        assert_eq!((a, x.as_slice()), (b, *y));
    }
    assert_eq!(archive(&members), bytes);
}

#[test]
fn sparse_files_come_back() {
    // One size ends with a hole, and the other one ends with data.
    let size = (1 << 40) + 5;
    let runs: Vec<Run> = (0..200).map(|n| (n * 1_000_000, 3)).collect();
    for size in [size, 199_000_003] {
        let mut bytes = writer::head(&member(b"sparse", MemberKind::File { size }), Some(&runs));
        bytes.extend(b"abc".repeat(200));
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes.extend(archive(&[(member(b"next", MemberKind::Fifo), b"")]));
        let mut reader = TarReader::new(bytes.as_slice());
        let first = reader.next_member().unwrap().unwrap();
        assert_eq!(
            (first.path.as_slice(), &first.kind),
            (&b"sparse"[..], &MemberKind::File { size })
        );
        let mut at = 0;
        let mut buffer = [9; 10];
        for run in &runs {
            assert_eq!(reader.hole(), run.0 - at);
            reader.skip_hole(run.0 - at);
            assert_eq!(reader.read(&mut buffer).unwrap(), 3);
            assert_eq!(&buffer[..3], b"abc");
            at = run.0 + run.1;
        }
        assert_eq!(reader.hole(), size - at);
        reader.skip_hole(u64::MAX);
        assert_eq!(reader.read(&mut buffer).unwrap(), 0);
        assert_eq!(reader.next_member().unwrap().unwrap().path, b"next");
    }
}

#[test]
fn every_cut_and_every_flip_of_a_header_is_seen() {
    let bytes = archive(&[
        (member(b"file", MemberKind::File { size: 600 }), &[1; 600]),
        (member(b"\xff", MemberKind::Dir), b""),
    ]);
    // One empty block ends an archive, too.
    for len in (0..bytes.len() - 512)
        .step_by(64)
        .chain([bytes.len() - 513])
    {
        assert_eq!(
            all(&bytes[..len]).unwrap_err().kind(),
            Kind::Integrity,
            "{len}"
        );
    }
    assert!(all(&bytes[..bytes.len() - 512]).is_ok());
    let whole = all(&bytes).unwrap();
    // The layout: PAX header, records, header, 600 bytes of content, then the same for the
    // directory.
    let pax = 512..1024;
    let data = 1536..1536 + 1024;
    for at in 0..bytes.len() - 1024 {
        let mut changed = bytes.clone();
        changed[at] ^= 4;
        if pax.contains(&at) || data.contains(&at) || (3072..3584).contains(&at) {
            // No checksum covers these bytes. A change may yield another value, but no panic.
            let _ = all(&changed);
        } else {
            assert!(
                all(&changed).is_err() || all(&changed).unwrap() == whole,
                "{at}"
            );
        }
    }
}

#[test]
fn what_is_claimed_is_not_believed() {
    let huge = |size: u64| {
        let mut bytes = writer::head(&member(b"huge", MemberKind::File { size }), None);
        bytes.extend([7; 1000]);
        bytes
    };
    // The archive has only 1,000 bytes of content.
    for size in [1 << 33, 1 << 60, u64::MAX - 511, u64::MAX] {
        assert_eq!(
            all(&huge(size)).unwrap_err().kind(),
            Kind::Integrity,
            "{size}"
        );
    }
    // One extension header of 4 GiB, then forty empty ones, then an unknown type.
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_size(1 << 32);
    header.set_cksum();
    assert!(
        all(header.as_bytes())
            .unwrap_err()
            .to_string()
            .contains("extension headers")
    );
    header.set_size(0);
    header.set_cksum();
    assert!(
        all(&header.as_bytes().repeat(40))
            .unwrap_err()
            .to_string()
            .contains("extension headers")
    );
    header.set_entry_type(EntryType::new(b'Z'));
    header.set_cksum();
    assert_eq!(all(header.as_bytes()).unwrap_err().kind(), Kind::Usage);
    assert_eq!(all(&[7; 2048]).unwrap_err().kind(), Kind::Integrity);
    // Ranges that overlap.
    let runs: Vec<Run> = vec![(0, 3), (1, 3)];
    let bytes = writer::head(&member(b"s", MemberKind::File { size: 100 }), Some(&runs));
    assert!(
        all(&bytes)
            .unwrap_err()
            .to_string()
            .contains("does not match the file size")
    );
}
