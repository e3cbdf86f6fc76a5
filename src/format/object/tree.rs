//! Tree objects. A node is `{0: [entry], 1: [[first name, child]], 2: root}` with either 0 or 1. An
//! entry is `{0: name, 1: type, 2: mode, 3: uid, 4: gid, 5: [secs, nanos], 6: [[name, value]], 7:
//! [group, count], ...}`, followed for a file by `8: size, 9: fixed size, 10: bytes | 11: extents |
//! 12: list`, for a directory by `13: tree, 14: [files, dirs, bytes]`, for a symlink by `15:
//! target`, and for a device by `16: [major, minor]`.

use minicbor::decode::{Decoder, Error as DecodeError};

use super::cbor::{Enc, EncResult, array_len, bad, expect_array, finished, id, map_len, to_vec};
use super::list::{extents, put_extents};
use crate::format::Malformed;
use crate::model::entry::{Chunker, Content, Entry, HardLink, Meta, Node, Time, Totals, Xattr};
use crate::model::id::Id;
use crate::model::path;
use crate::model::tree::{LinkTable, RootInfo, TreeBody, TreeChild, TreeNode};

/// The fields that a root may have (metadata, totals and links), one bit per field number.
const ROOT_FIELDS: u32 = 0b0111_1100 | 1 << 14 | 1 << 17;
/// Limit on the items of a node. Writers put at most 1024 items into a node; the limit protects the
/// memory, because a decoded entry is ten times larger than its encoded bytes.
const ITEMS_MAX: u64 = 8192;
const FILE: u8 = 0;
const DIR: u8 = 1;
const SYMLINK: u8 = 2;
const FIFO: u8 = 3;
const CHAR_DEVICE: u8 = 4;
const BLOCK_DEVICE: u8 = 5;

/// Encodes a tree object.
pub fn encode_tree(node: &TreeNode) -> Vec<u8> {
    to_vec(|e| {
        e.map(1 + u64::from(node.root.is_some()))?;
        match &node.body {
            TreeBody::Leaf(entries) => {
                e.u8(0)?.array(entries.len() as u64)?;
                for entry in entries {
                    put_entry(e, entry)?;
                }
            }
            TreeBody::Inner(children) => {
                e.u8(1)?.array(children.len() as u64)?;
                for c in children {
                    e.array(2)?.bytes(&c.first)?.bytes(&c.id.0)?;
                }
            }
        }
        if let Some(root) = &node.root {
            e.u8(2)?
                // The metadata has four fields and perhaps attributes; totals and perhaps links
                // follow.
                .map(4 + xattr_fields(&root.meta) + 1 + u64::from(root.links.is_some()))?;
            put_meta(e, &root.meta)?;
            e.u8(14)?;
            put_totals(e, &root.totals)?;
            if let Some(links) = &root.links {
                e.u8(17)?.map(1)?;
                put_content(e, links)?;
            }
        }
        Ok(())
    })
}

/// Encodes a single entry.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    to_vec(|e| put_entry(e, entry))
}

fn xattr_fields(meta: &Meta) -> u64 {
    u64::from(!meta.xattrs.is_empty())
}

fn put_meta(e: &mut Enc<'_>, meta: &Meta) -> EncResult {
    e.u8(2)?
        .u32(meta.mode)?
        .u8(3)?
        .u32(meta.uid)?
        .u8(4)?
        .u32(meta.gid)?;
    e.u8(5)?
        .array(2)?
        .i64(meta.mtime.secs)?
        .u32(meta.mtime.nanos)?;
    // An absent field and an empty list would be two encodings of the same entry, with two ids. The
    // decoder therefore refuses an empty list.
    if !meta.xattrs.is_empty() {
        e.u8(6)?.array(meta.xattrs.len() as u64)?;
        for x in &meta.xattrs {
            e.array(2)?.bytes(&x.name)?.bytes(&x.value)?;
        }
    }
    Ok(())
}

fn put_totals(e: &mut Enc<'_>, t: &Totals) -> EncResult {
    e.array(3)?.u64(t.files)?.u64(t.dirs)?.u64(t.bytes)?;
    Ok(())
}

fn put_content(e: &mut Enc<'_>, content: &Content) -> EncResult {
    match content {
        Content::Inline(bytes) => {
            e.u8(10)?.bytes(bytes)?;
        }
        Content::Direct(list) => {
            e.u8(11)?;
            put_extents(e, list)?;
        }
        Content::List(root) => {
            e.u8(12)?.bytes(&root.0)?;
        }
    }
    Ok(())
}

fn put_entry(e: &mut Enc<'_>, entry: &Entry) -> EncResult {
    let special = match &entry.node {
        Node::File { chunker, .. } => 2 + u64::from(*chunker != Chunker::Cdc),
        Node::Dir { .. } => 2,
        Node::Fifo => 0,
        _ => 1,
    };
    // Deterministic CBOR has only definite lengths, so the fields are counted before the first one
    // is written. Six of them are common to all types.
    e.map(6 + xattr_fields(&entry.meta) + u64::from(entry.link.is_some()) + special)?;
    e.u8(0)?.bytes(&entry.name)?.u8(1)?.u8(match &entry.node {
        Node::File { .. } => FILE,
        Node::Dir { .. } => DIR,
        Node::Symlink { .. } => SYMLINK,
        Node::Fifo => FIFO,
        Node::CharDevice { .. } => CHAR_DEVICE,
        Node::BlockDevice { .. } => BLOCK_DEVICE,
    })?;
    put_meta(e, &entry.meta)?;
    if let Some(link) = &entry.link {
        e.u8(7)?.array(2)?.bytes(&link.group)?.u32(link.count)?;
    }
    match &entry.node {
        Node::File {
            size,
            chunker,
            content,
        } => {
            e.u8(8)?.u64(*size)?;
            if let Chunker::Fixed(n) = chunker {
                e.u8(9)?.u32(*n)?;
            }
            put_content(e, content)?;
        }
        Node::Dir { tree, totals } => {
            e.u8(13)?.bytes(&tree.0)?.u8(14)?;
            put_totals(e, totals)?;
        }
        Node::Symlink { target } => {
            e.u8(15)?.bytes(target)?;
        }
        Node::CharDevice { major, minor } | Node::BlockDevice { major, minor } => {
            e.u8(16)?.array(2)?.u32(*major)?.u32(*minor)?;
        }
        Node::Fifo => {}
    }
    Ok(())
}

/// Decodes a tree object.
pub fn decode_tree(bytes: &[u8]) -> Result<TreeNode, Malformed> {
    read_tree(bytes).map_err(bad("tree"))
}

fn read_tree(bytes: &[u8]) -> Result<TreeNode, DecodeError> {
    let d = &mut Decoder::new(bytes);
    let fields = map_len(d)?;
    let body = match d.u8()? {
        0 => {
            let mut entries: Vec<Entry> = Vec::new();
            for _ in 0..at_most(array_len(d)?)? {
                let f = Fields::read(d)?;
                let entry = f.entry()?;
                // Lookups bisect the names. In a forged node with equal or unsorted names, a
                // lookup and a listing would show different files.
                if entries.last().is_some_and(|l| l.name >= entry.name) {
                    return Err(DecodeError::message("names out of order"));
                }
                entries.push(entry);
            }
            TreeBody::Leaf(entries)
        }
        1 => {
            let mut children: Vec<TreeChild> = Vec::new();
            for _ in 0..at_most(array_len(d)?)? {
                expect_array(d, 2)?;
                let first = name(d.bytes()?)?;
                // A descent bisects the children, like the names of a leaf.
                if children.last().is_some_and(|l| l.first >= first) {
                    return Err(DecodeError::message("names out of order"));
                }
                children.push(TreeChild { first, id: id(d)? });
            }
            if children.is_empty() {
                return Err(DecodeError::message("empty inner node"));
            }
            TreeBody::Inner(children)
        }
        _ => return Err(DecodeError::message("unknown node")),
    };
    let root = match fields {
        1 => None,
        2 if d.u8()? == 2 => {
            let f = Fields::read(d)?;
            if f.seen & !ROOT_FIELDS != 0 {
                return Err(DecodeError::message("unexpected fields in a root"));
            }
            let totals = f
                .totals
                .ok_or_else(|| DecodeError::message("missing totals in a root"))?;
            Some(RootInfo {
                meta: f.meta()?,
                totals,
                links: f.links,
            })
        }
        _ => return Err(DecodeError::message("unknown fields")),
    };
    finished(d, bytes)?;
    Ok(TreeNode { root, body })
}

fn at_most(items: u64) -> Result<u64, DecodeError> {
    if items > ITEMS_MAX {
        Err(DecodeError::message("too many items in a node"))
    } else {
        Ok(items)
    }
}

fn name(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    match path::check_name(bytes) {
        Ok(()) => Ok(bytes.to_vec()),
        Err(e) => Err(DecodeError::message(format!("invalid name: {e:?}"))),
    }
}

/// The decoded fields of an entry or a root.
#[derive(Default)]
struct Fields {
    name: Option<Vec<u8>>,
    kind: Option<u8>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<Time>,
    xattrs: Vec<Xattr>,
    link: Option<HardLink>,
    size: Option<u64>,
    fixed: Option<u32>,
    content: Option<Content>,
    tree: Option<Id>,
    totals: Option<Totals>,
    target: Option<Vec<u8>>,
    device: Option<(u32, u32)>,
    links: Option<Content>,
    /// Bit `n` is set if field `n` was present.
    seen: u32,
}

impl Fields {
    fn read(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut f = Self::default();
        for _ in 0..map_len(d)? {
            let key = d.u8()?;
            // Keys are ascending, so neither this field nor one with a higher number was seen.
            if key > 17 || f.seen >> key != 0 {
                return Err(DecodeError::message("unknown field or fields out of order"));
            }
            f.seen |= 1 << key;
            match key {
                0 => f.name = Some(name(d.bytes()?)?),
                1 => f.kind = Some(d.u8()?),
                2 => f.mode = Some(d.u32()?),
                3 => f.uid = Some(d.u32()?),
                4 => f.gid = Some(d.u32()?),
                5 => {
                    expect_array(d, 2)?;
                    f.mtime = Some(Time {
                        secs: d.i64()?,
                        nanos: d.u32()?,
                    });
                }
                6 => f.xattrs = xattrs(d)?,
                7 => {
                    expect_array(d, 2)?;
                    let group = d
                        .bytes()?
                        .try_into()
                        .map_err(|_| DecodeError::message("a group must have 16 bytes"))?;
                    f.link = Some(HardLink {
                        group,
                        count: d.u32()?,
                    });
                }
                8 => f.size = Some(d.u64()?),
                9 => f.fixed = Some(d.u32()?),
                10 => f.content = Some(Content::Inline(d.bytes()?.to_vec())),
                11 => f.content = Some(Content::Direct(extents(d)?)),
                12 => f.content = Some(Content::List(id(d)?)),
                13 => f.tree = Some(id(d)?),
                14 => {
                    expect_array(d, 3)?;
                    f.totals = Some(Totals {
                        files: d.u64()?,
                        dirs: d.u64()?,
                        bytes: d.u64()?,
                    });
                }
                15 => f.target = Some(d.bytes()?.to_vec()),
                16 => {
                    expect_array(d, 2)?;
                    f.device = Some((d.u32()?, d.u32()?));
                }
                _ => f.links = Some(lone_content(d)?),
            }
        }
        Ok(f)
    }

    fn meta(&self) -> Result<Meta, DecodeError> {
        match (self.mode, self.uid, self.gid, self.mtime) {
            (Some(mode), Some(uid), Some(gid), Some(mtime))
                // The type comes only from field 1, so type bits in the mode are refused. Larger
                // nanoseconds include UTIME_NOW and UTIME_OMIT of utimensat(2), which do not mean a
                // time.
                if mode <= 0o7777 && mtime.nanos < 1_000_000_000 =>
            {
                Ok(Meta {
                    mode,
                    uid,
                    gid,
                    mtime,
                    xattrs: self.xattrs.clone(),
                })
            }
            _ => Err(DecodeError::message("metadata missing or out of range")),
        }
    }

    fn entry(mut self) -> Result<Entry, DecodeError> {
        // Fields 0 to 5 are common to all types; 6 (xattrs) and 7 (hard link) are optional for all
        // types.
        const BASE: u32 = 0b0011_1111;
        let optional = self.seen & !(BASE | 0b1100_0000);
        // Accept exactly the fields of the type, because an ignored field would give equal entries
        // different ids.
        let allowed = |bits: &[u32]| optional == bits.iter().fold(0, |a, b| a | 1 << b);
        let wrong = || DecodeError::message("fields do not match the type");
        // Without any content, `allowed` fails, because bit 12 is not set in `seen`. With two
        // contents, it fails because of the bit of the other one.
        let content_bit = match &self.content {
            Some(Content::Inline(_)) => 10,
            Some(Content::Direct(_)) => 11,
            _ => 12,
        };
        let node = match (self.kind, self.device) {
            (Some(FILE), None) if allowed(&[8, content_bit]) || allowed(&[8, 9, content_bit]) => {
                let size = self.size.ok_or_else(wrong)?;
                let content = self.content.take().ok_or_else(wrong)?;
                let fits = match &content {
                    Content::Inline(b) => b.len() as u64 == size,
                    // `extents` has checked that the sum does not overflow.
                    Content::Direct(list) => list.iter().map(|x| x.len).sum::<u64>() == size,
                    // The lengths are in the nodes of the list, which this decoder does not have.
                    Content::List(_) => true,
                };
                if !fits {
                    return Err(DecodeError::message("size does not match the content"));
                }
                Node::File {
                    size,
                    chunker: self.fixed.map_or(Chunker::Cdc, Chunker::Fixed),
                    content,
                }
            }
            (Some(DIR), None) if allowed(&[13, 14]) => Node::Dir {
                tree: self.tree.ok_or_else(wrong)?,
                totals: self.totals.ok_or_else(wrong)?,
            },
            (Some(SYMLINK), None) if allowed(&[15]) => {
                let target = self
                    .target
                    .take()
                    // No such link can be created (symlink(2)).
                    .filter(|t| !t.is_empty() && !t.contains(&0))
                    .ok_or_else(wrong)?;
                Node::Symlink { target }
            }
            (Some(FIFO), None) if allowed(&[]) => Node::Fifo,
            (Some(CHAR_DEVICE), Some((major, minor))) if allowed(&[16]) => {
                Node::CharDevice { major, minor }
            }
            (Some(BLOCK_DEVICE), Some((major, minor))) if allowed(&[16]) => {
                Node::BlockDevice { major, minor }
            }
            _ => return Err(wrong()),
        };
        let name = self.name.take().ok_or_else(wrong)?;
        Ok(Entry {
            name,
            meta: self.meta()?,
            link: self.link,
            node,
        })
    }
}

/// Decodes the content of the link table, which is a map of its own. A content never contains
/// another content, so hostile input cannot cause deep recursion.
fn lone_content(d: &mut Decoder<'_>) -> Result<Content, DecodeError> {
    if map_len(d)? != 1 {
        return Err(DecodeError::message("content must have exactly one field"));
    }
    match d.u8()? {
        10 => Ok(Content::Inline(d.bytes()?.to_vec())),
        11 => Ok(Content::Direct(extents(d)?)),
        12 => Ok(Content::List(id(d)?)),
        _ => Err(DecodeError::message("unknown content")),
    }
}

fn xattrs(d: &mut Decoder<'_>) -> Result<Vec<Xattr>, DecodeError> {
    let mut out: Vec<Xattr> = Vec::new();
    for _ in 0..array_len(d)? {
        expect_array(d, 2)?;
        let x = Xattr {
            name: d.bytes()?.to_vec(),
            value: d.bytes()?.to_vec(),
        };
        // setxattr(2) takes the name as a C string, so no file has such a name.
        if x.name.is_empty() || x.name.contains(&0) || out.last().is_some_and(|l| l.name >= x.name)
        {
            return Err(DecodeError::message(
                "xattrs out of order or without a name",
            ));
        }
        out.push(x);
    }
    if out.is_empty() {
        Err(DecodeError::message("empty list of xattrs"))
    } else {
        Ok(out)
    }
}

/// Encodes the table of hard links: `[[group, [path]]]`.
pub fn encode_links(table: &LinkTable) -> Vec<u8> {
    to_vec(|e| {
        e.array(table.0.len() as u64)?;
        for (group, paths) in &table.0 {
            e.array(2)?.bytes(group)?.array(paths.len() as u64)?;
            for p in paths {
                e.bytes(p)?;
            }
        }
        Ok(())
    })
}

/// Decodes the table of hard links.
pub fn decode_links(bytes: &[u8]) -> Result<LinkTable, Malformed> {
    let read = || {
        let d = &mut Decoder::new(bytes);
        let mut table = LinkTable::default();
        for _ in 0..array_len(d)? {
            expect_array(d, 2)?;
            let group = d
                .bytes()?
                .try_into()
                .map_err(|_| DecodeError::message("a group must have 16 bytes"))?;
            let mut paths = Vec::new();
            for _ in 0..array_len(d)? {
                let p = d.bytes()?;
                // A path of a forged version must not lead out of the worktree.
                path::split(p).ok_or_else(|| DecodeError::message("invalid path"))?;
                paths.push(p.to_vec());
            }
            table.0.push((group, paths));
        }
        finished(d, bytes)?;
        Ok(table)
    };
    read().map_err(bad("link table"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::Extent;

    fn entry(name: &str, node: Node) -> Entry {
        let meta = Meta {
            // Values that a careless encoding would lose: set-user-id, a group above 16 bits, and a
            // time before 1970.
            mode: 0o4755,
            uid: 1,
            gid: 70_000,
            mtime: Time {
                secs: -3,
                nanos: 999_999_999,
            },
            xattrs: vec![],
        };
        Entry {
            name: name.as_bytes().to_vec(),
            meta,
            link: None,
            node,
        }
    }

    fn everything() -> TreeNode {
        let list = vec![
            Extent {
                len: 7,
                chunk: Some(Id([4; 32])),
            },
            Extent {
                len: 65536,
                chunk: None,
            },
        ];
        let mut linked = entry(
            "a",
            Node::File {
                size: 2,
                chunker: Chunker::Cdc,
                content: Content::Inline(b"hi".to_vec()),
            },
        );
        linked.link = Some(HardLink {
            group: [9; 16],
            count: 2,
        });
        linked.meta.xattrs = vec![Xattr {
            name: b"user.x".to_vec(),
            value: vec![0, 255],
        }];
        let totals = Totals {
            files: 1,
            dirs: 2,
            bytes: 3,
        };
        let entries = vec![
            linked,
            entry(
                "b",
                Node::File {
                    // Seven bytes of data and a hole of 64 KiB, as in `list`.
                    size: 65543,
                    chunker: Chunker::Fixed(65536),
                    content: Content::Direct(list),
                },
            ),
            entry(
                "c",
                Node::File {
                    size: 1 << 40,
                    chunker: Chunker::Cdc,
                    content: Content::List(Id([5; 32])),
                },
            ),
            entry(
                "d",
                Node::Dir {
                    tree: Id([6; 32]),
                    totals,
                },
            ),
            entry(
                "e",
                Node::Symlink {
                    target: b"../x\xff".to_vec(),
                },
            ),
            entry("f", Node::Fifo),
            entry("g", Node::CharDevice { major: 1, minor: 3 }),
            entry("h", Node::BlockDevice { major: 8, minor: 1 }),
        ];
        let root = RootInfo {
            meta: entries[0].meta.clone(),
            totals,
            links: Some(Content::Inline(vec![1])),
        };
        TreeNode {
            root: Some(root),
            body: TreeBody::Leaf(entries),
        }
    }

    #[test]
    fn round_trip_and_truncation() {
        let node = everything();
        let bytes = encode_tree(&node);
        assert_eq!(decode_tree(&bytes), Ok(node));
        for i in 0..bytes.len() {
            assert!(decode_tree(&bytes[..i]).is_err(), "{i}");
        }
    }

    #[test]
    fn flipped_bytes_never_panic() {
        let bytes = encode_tree(&everything());
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut b = bytes.clone();
                b[i] ^= 1 << bit;
                // A flipped bit may yield another valid tree, because only the id protects the
                // bytes.
                let _ = decode_tree(&b);
            }
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        for name in ["..", "a/b", "", "."] {
            let node = TreeNode {
                root: None,
                body: TreeBody::Leaf(vec![entry(name, Node::Fifo)]),
            };
            assert!(decode_tree(&encode_tree(&node)).is_err(), "{name}");
        }
        let twice = TreeNode {
            root: None,
            body: TreeBody::Leaf(vec![entry("a", Node::Fifo), entry("a", Node::Fifo)]),
        };
        assert!(decode_tree(&encode_tree(&twice)).is_err());
    }

    #[test]
    fn inner_nodes_and_links() {
        let children = vec![
            TreeChild {
                first: b"a".to_vec(),
                id: Id([1; 32]),
            },
            TreeChild {
                first: b"m".to_vec(),
                id: Id([2; 32]),
            },
        ];
        let node = TreeNode {
            root: None,
            body: TreeBody::Inner(children),
        };
        assert_eq!(decode_tree(&encode_tree(&node)), Ok(node));
        let table = LinkTable(vec![([1; 16], vec![b"a".to_vec(), b"d/b".to_vec()])]);
        assert_eq!(decode_links(&encode_links(&table)), Ok(table));
    }
}
