//! Every decoder as a function of bytes, with valid samples. The fuzz targets call these functions,
//! and so do the ordinary tests (`tests/it/damage/decoders.rs`), which do not need libFuzzer.
//!
//! A function panics if its decoder breaks one of two rules: the decoder must not panic, and an
//! accepted value must not change when it is encoded and decoded again. The functions correct
//! checksums first, because random bytes would never reach the code behind the checksum.

mod small_objects;

use std::sync::OnceLock;

use dvc::archive::member::{ArchiveMember, MemberKind};
use dvc::archive::reader::{ArchiveInput, TarReader};
use dvc::archive::writer;
use dvc::codec::compress::{CompressionProfile, Compressor, Decompressor};
use dvc::format::frame::{CODEC_DELTA, CODEC_RAW, CODEC_ZSTD, FrameHead};
use dvc::format::object::{
    ListNode, decode_commit, decode_links, decode_list, decode_tree, encode_commit, encode_links,
    encode_list, encode_tree,
};
use dvc::format::pack::{self, HEADER_LEN, PackFooter, PackHeader, PackKind, TableFrame};
use dvc::format::segment::bucket::{self, BucketEncoder};
use dvc::format::segment::fanout::{self, FanoutPage};
use dvc::format::segment::tables::{self, PackEntry, PackTable};
use dvc::format::segment::{self, IndexRow, ObjectLocation, SegmentSection, filter, footer};
use dvc::format::varint;
use dvc::model::commit::{Commit, CommitCounts, Timestamp};
use dvc::model::entry::{
    Chunker, Content, Entry, Extent, HardLink, Meta, Node, Time, Totals, Xattr,
};
use dvc::model::id::{Id, ObjectKind};
use dvc::model::refname::RefName;
use dvc::model::revision::{RevisionQuery, RevisionSpec};
use dvc::model::tree::{LinkTable, RootInfo, TreeBody, TreeChild, TreeNode};
use dvc::model::when::When;
use dvc::repo::frames::decode_payload;
use dvc::snapshot::walk::basis::DirRecord;

pub use small_objects::{gc_entry, lease, marker, pack_list, ref_entry, trash_entry};
use small_objects::{
    gc_entry_samples, lease_samples, marker_samples, pack_list_samples, ref_entry_samples,
    trash_entry_samples,
};

/// A decoder, and inputs that it accepts.
pub struct Decoder {
    /// Name of the fuzz target.
    pub name: &'static str,
    /// Decodes the bytes and checks the result.
    pub run: fn(&[u8]),
    /// Returns valid inputs.
    pub samples: fn() -> Vec<Vec<u8>>,
}

/// All decoders. To add a decoder, add a row here and a target in `fuzz_targets/`; a test compares
/// the two.
pub const DECODERS: &[Decoder] = &[
    Decoder {
        name: "archive",
        run: archive,
        samples: archive_samples,
    },
    Decoder {
        name: "basis",
        run: basis,
        samples: basis_samples,
    },
    Decoder {
        name: "bucket",
        run: bucket,
        samples: bucket_samples,
    },
    Decoder {
        name: "commit",
        run: commit,
        samples: commit_samples,
    },
    Decoder {
        name: "frame",
        run: frame,
        samples: frame_samples,
    },
    Decoder {
        name: "gc_entry",
        run: gc_entry,
        samples: gc_entry_samples,
    },
    Decoder {
        name: "lease",
        run: lease,
        samples: lease_samples,
    },
    Decoder {
        name: "links",
        run: links,
        samples: links_samples,
    },
    Decoder {
        name: "list",
        run: list,
        samples: list_samples,
    },
    Decoder {
        name: "marker",
        run: marker,
        samples: marker_samples,
    },
    Decoder {
        name: "pack",
        run: pack,
        samples: pack_samples,
    },
    Decoder {
        name: "pack_list",
        run: pack_list,
        samples: pack_list_samples,
    },
    Decoder {
        name: "ref_entry",
        run: ref_entry,
        samples: ref_entry_samples,
    },
    Decoder {
        name: "revision",
        run: revision,
        samples: revision_samples,
    },
    Decoder {
        name: "segment",
        run: segment,
        samples: segment_samples,
    },
    Decoder {
        name: "trash_entry",
        run: trash_entry,
        samples: trash_entry_samples,
    },
    Decoder {
        name: "tree",
        run: tree,
        samples: tree_samples,
    },
    Decoder {
        name: "zstd",
        run: zstd,
        samples: zstd_samples,
    },
];

fn stable<T: PartialEq + std::fmt::Debug, E: std::fmt::Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    if let Ok(value) = decode(bytes) {
        match decode(&encode(&value)) {
            Ok(again) => assert_eq!(again, value, "encoding changed the value"),
            Err(e) => panic!("its own encoding was refused: {e:?}\n{value:?}"),
        }
    }
}

// Objects.

/// Decodes a directory node. Checks the names of its entries again, because they must be safe to
/// restore.
pub fn tree(bytes: &[u8]) {
    stable(bytes, decode_tree, encode_tree);
    let Ok(node) = decode_tree(bytes) else { return };
    let names: Vec<&[u8]> = match &node.body {
        TreeBody::Leaf(entries) => entries.iter().map(|e| e.name.as_slice()).collect(),
        TreeBody::Inner(children) => children.iter().map(|c| c.first.as_slice()).collect(),
    };
    for name in &names {
        assert!(
            !name.is_empty()
                && !name.contains(&b'/')
                && !name.contains(&0)
                && *name != b"."
                && *name != b".."
        );
    }
    assert!(names.is_sorted_by(|a, b| a < b));
}

fn meta() -> Meta {
    let xattrs = vec![Xattr {
        name: b"user.x".to_vec(),
        value: vec![0, 255],
    }];
    Meta {
        mode: 0o4755,
        uid: 1,
        gid: 70_000,
        mtime: Time {
            secs: -3,
            nanos: 999_999_999,
        },
        xattrs,
    }
}

fn extents() -> Vec<Extent> {
    vec![
        Extent {
            len: 7,
            chunk: Some(Id([4; 32])),
        },
        Extent {
            len: 65_536,
            chunk: None,
        },
    ]
}

fn tree_samples() -> Vec<Vec<u8>> {
    let file = |size, chunker, content| Node::File {
        size,
        chunker,
        content,
    };
    let totals = Totals {
        files: 1,
        dirs: 2,
        bytes: 3,
    };
    let nodes = [
        file(2, Chunker::Cdc, Content::Inline(b"hi".to_vec())),
        file(65_543, Chunker::Fixed(65_536), Content::Direct(extents())),
        file(1 << 40, Chunker::Cdc, Content::List(Id([5; 32]))),
        Node::Dir {
            tree: Id([6; 32]),
            totals,
        },
        Node::Symlink {
            target: b"../x\xff".to_vec(),
        },
        Node::Fifo,
        Node::CharDevice { major: 1, minor: 3 },
        Node::BlockDevice { major: 8, minor: 1 },
    ];
    let link = Some(HardLink {
        group: [9; 16],
        count: 2,
    });
    let entries: Vec<Entry> = (b'a'..)
        .zip(nodes)
        .map(|(n, node)| Entry {
            name: vec![n, 255],
            meta: meta(),
            link: link.filter(|_| n % 2 == 0),
            node,
        })
        .collect();
    let root = RootInfo {
        meta: meta(),
        totals,
        links: Some(Content::Direct(extents())),
    };
    let children = (1..9)
        .map(|n| TreeChild {
            first: vec![b'a' + n],
            id: Id([n; 32]),
        })
        .collect();
    [
        TreeNode {
            root: Some(root),
            body: TreeBody::Leaf(entries.clone()),
        },
        TreeNode {
            root: None,
            body: TreeBody::Leaf(entries),
        },
        TreeNode {
            root: None,
            body: TreeBody::Leaf(Vec::new()),
        },
        TreeNode {
            root: None,
            body: TreeBody::Inner(children),
        },
    ]
    .iter()
    .map(encode_tree)
    .collect()
}

/// Decodes a table of hard links.
pub fn links(bytes: &[u8]) {
    stable(bytes, decode_links, encode_links);
}

fn links_samples() -> Vec<Vec<u8>> {
    let groups = (0..5)
        .map(|n| ([n; 16], vec![b"a/b".to_vec(), vec![b'c', n + 1]]))
        .collect();
    vec![
        encode_links(&LinkTable(groups)),
        encode_links(&LinkTable::default()),
    ]
}

/// Decodes a node of a chunk list.
pub fn list(bytes: &[u8]) {
    stable(bytes, decode_list, encode_list);
}

fn list_samples() -> Vec<Vec<u8>> {
    let inner = vec![(1 << 41, Id([2; 32])), (5, Id([3; 32]))];
    vec![
        encode_list(&ListNode::Leaf(extents())),
        encode_list(&ListNode::Inner(inner)),
    ]
}

/// Decodes a commit.
pub fn commit(bytes: &[u8]) {
    stable(bytes, decode_commit, encode_commit);
}

fn commit_samples() -> Vec<Vec<u8>> {
    let full = Commit {
        tree: Id([1; 32]),
        parents: vec![Id([2; 32]), Id([3; 32])],
        ordinal: 42,
        author: "A <a@b>".to_owned(),
        host: "db1".to_owned(),
        time: Timestamp {
            secs: -5,
            nanos: 7,
            offset: 3600,
        },
        message: "nightly\n\nlong".to_owned(),
        trailers: vec![("Job".to_owned(), "7".to_owned())],
        counts: CommitCounts {
            files: 3,
            bytes: 10,
            new_bytes: 4,
            stored_bytes: 2,
        },
        unstable: vec![b"a\xff".to_vec()],
        signature: Some(vec![1, 2, 3]),
    };
    let plain = Commit {
        parents: vec![],
        trailers: vec![],
        unstable: vec![],
        signature: None,
        ..full.clone()
    };
    vec![encode_commit(&full), encode_commit(&plain)]
}

// Packs.

/// Decodes a frame: header, payload, objects.
pub fn frame(bytes: &[u8]) {
    let mut rest = bytes;
    let Ok(head) = FrameHead::decode(&mut rest) else {
        return;
    };
    let mut again = Vec::new();
    head.encode(&mut again);
    assert_eq!(FrameHead::decode(&mut again.as_slice()).as_ref(), Ok(&head));
    let Some(payload) = rest.get(..head.payload as usize) else {
        return;
    };
    let base = vec![7; 65_536];
    if let Ok(plain) = decode_payload(&head, payload, head.base.map(|_| base.as_slice())) {
        assert_eq!(plain.len(), head.plain_len());
    }
}

fn text(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i * i / 7 % 251).to_le_bytes()[0])
        .collect()
}

fn frame_samples() -> Vec<Vec<u8>> {
    let plain = text(3000);
    let mut packed = Vec::new();
    Compressor::default().compress(CompressionProfile::Normal, &plain, &mut packed);
    let mut delta = Vec::new();
    Compressor::default().delta(&[7; 65_536], &text(65_536), &mut delta);
    [
        (CODEC_RAW, vec![1000, 0, 2000], None, plain),
        (CODEC_ZSTD, vec![3000], None, packed),
        (CODEC_DELTA, vec![65_536], Some(Id([3; 32])), delta),
    ]
    .into_iter()
    .map(|(codec, lens, base, payload)| {
        let payload_len = u32::try_from(payload.len()).unwrap_or(0);
        let mut out = Vec::new();
        FrameHead {
            kind: ObjectKind::Chunk,
            codec,
            lens,
            base,
            payload: payload_len,
        }
        .encode(&mut out);
        out.extend_from_slice(&payload);
        out
    })
    .collect()
}

/// Decodes one part of a pack. The first byte selects the part: header, table or footer.
pub fn pack(bytes: &[u8]) {
    let Some((part, bytes)) = bytes.split_first() else {
        return;
    };
    match part % 3 {
        0 => {
            if let Ok(header) = PackHeader::decode(bytes) {
                assert_eq!(header.encode(), bytes[..HEADER_LEN]);
            }
        }
        1 => stable(
            bytes,
            |b| pack::decode_table(b, 16),
            |frames: &Vec<TableFrame>| {
                let mut out = Vec::new();
                frames
                    .iter()
                    .for_each(|f| pack::put_table_frame(&mut out, f));
                out
            },
        ),
        _ => {
            let Some((footer, rest)) = bytes.split_first_chunk() else {
                return;
            };
            let len = rest.first_chunk().map_or(1094, |b| u64::from_le_bytes(*b));
            if let Ok(footer) = PackFooter::decode(footer, len) {
                assert_eq!(PackFooter::decode(&footer.encode(), len), Ok(footer));
                assert!(footer.table_offset < len);
            }
        }
    }
}

fn pack_samples() -> Vec<Vec<u8>> {
    let mut header = vec![0];
    header.extend_from_slice(
        &PackHeader {
            kind: PackKind::Data,
            salt: [1, 2, 3, 4],
        }
        .encode(),
    );
    let mut table = vec![1];
    for n in 0..4 {
        let (codec, base) = if n == 3 {
            (CODEC_DELTA, Some(Id([2; 32])))
        } else {
            (n, None)
        };
        let objects = vec![(Id([n; 32]), 65_536)];
        let f = TableFrame {
            kind: ObjectKind::Chunk,
            codec,
            offset: 0,
            stored: 500,
            objects,
            base,
        };
        pack::put_table_frame(&mut table, &f);
    }
    let mut footer = vec![2];
    let f = PackFooter {
        table_offset: 1000,
        table_stored: 50,
        table_plain: 90,
        frames: 2,
        checksum: [7; 16],
    };
    footer.extend_from_slice(&f.encode());
    footer.extend_from_slice(&1094_u64.to_le_bytes());
    vec![header, table, footer]
}

/// Decompresses a zstd frame or a delta against a base. The claimed length comes first.
pub fn zstd(bytes: &[u8]) {
    let mut rest = bytes;
    let Some(len) = varint::take(&mut rest).and_then(|n| usize::try_from(n).ok()) else {
        return;
    };
    let len = len.min(256 << 10);
    let mut out = Vec::new();
    if Decompressor::default().zstd(rest, len, &mut out).is_ok() {
        assert_eq!(out.len(), len);
    }
    static BASE: OnceLock<Vec<u8>> = OnceLock::new();
    if Decompressor::default()
        .delta(BASE.get_or_init(|| text(65_536)), rest, len, &mut out)
        .is_ok()
    {
        assert_eq!(out.len(), len);
    }
}

fn zstd_samples() -> Vec<Vec<u8>> {
    let with_len = |packed: Vec<u8>| {
        let mut out = Vec::new();
        varint::put(&mut out, 65_536);
        out.extend(packed);
        out
    };
    let mut plain = text(65_536);
    plain[1000..1100].fill(3);
    let (mut packed, mut delta) = (Vec::new(), Vec::new());
    Compressor::default().compress(CompressionProfile::High, &plain, &mut packed);
    Compressor::default().delta(&text(65_536), &plain, &mut delta);
    vec![with_len(packed), with_len(delta)]
}

// Index segments.

fn sealed_part(section: SegmentSection, index: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out.extend_from_slice(&segment::checksum(section, index, bytes));
    out
}

fn packs() -> PackTable {
    PackTable::new(
        (0..40)
            .map(|n| PackEntry {
                name: [n; 32],
                size_bytes: 1000,
            })
            .collect(),
    )
    .unwrap_or_default()
}

/// Decodes the rows of one bucket. The first byte is the number of bits.
pub fn bucket(bytes: &[u8]) {
    let Some((bits, content)) = bytes.split_first() else {
        return;
    };
    let (bits, packs) = (bits % (fanout::MAX_BITS + 1), packs());
    let sealed = sealed_part(SegmentSection::Bucket, 0, content);
    let Ok(rows) = bucket::decode(bits, 0, &sealed, &packs) else {
        return;
    };
    for row in &rows {
        let mut found = false;
        let looked = bucket::find(bits, &row.id, &sealed, &packs, |r| {
            found |= r == *row;
            true
        });
        assert!(looked.is_ok() && found);
    }
}

fn bucket_samples() -> Vec<Vec<u8>> {
    let place = |n| ObjectLocation {
        pack: [n; 32],
        offset: 16,
        stored: 900,
        within: 0,
        len: 4096,
        codec: 1,
    };
    [0, 9]
        .map(|bits| {
            let mut encoder = BucketEncoder::default();
            for n in 1..20 {
                let mut id = [n; 32];
                id[..2].fill(0);
                let base = (n % 3 == 0).then(|| place(n + 1));
                let pushed = encoder.push(
                    bits,
                    &IndexRow {
                        id: Id(id),
                        place: place(n),
                        base,
                    },
                    &packs(),
                );
                assert!(pushed.is_ok());
            }
            let sealed = encoder.finish(0).ok().flatten().unwrap_or_default();
            let content = &sealed[..sealed.len().saturating_sub(segment::SUM_BYTES)];
            [&[bits], content].concat()
        })
        .to_vec()
}

/// Decodes another part of a segment. The first byte selects the part: head, footer, fan-out,
/// filter, pack table or replaced segments.
pub fn segment(bytes: &[u8]) {
    let Some((part, bytes)) = bytes.split_first() else {
        return;
    };
    match part % 6 {
        0 => {
            if let Some(Ok(kind)) = bytes.first_chunk().map(segment::decode_head) {
                assert_eq!(segment::decode_head(&segment::encode_head(kind)), Ok(kind));
            }
        }
        1 => {
            let Some(content) = bytes.get(..56) else {
                return;
            };
            let sealed = sealed_part(SegmentSection::Footer, 0, content);
            let Some(Ok(footer)) = sealed.first_chunk().map(footer::SegmentFooter::decode) else {
                return;
            };
            assert_eq!(footer::SegmentFooter::decode(&footer.encode()), Ok(footer));
            if let Some(layout) = footer.layout() {
                assert!(
                    layout.file_bytes >= layout.replaces.end
                        && layout.fanout.start == layout.buckets.end
                );
            }
        }
        2 => {
            let Some((bits, content)) = bytes.split_first() else {
                return;
            };
            let sealed = sealed_part(SegmentSection::Fanout, 0, content);
            let Ok(page) = FanoutPage::decode(bits % (fanout::MAX_BITS + 1), 0, 1 << 40, &sealed)
            else {
                return;
            };
            let mut end = page.span().start;
            for bucket in (0..).map_while(|n| page.bucket(n)) {
                assert!(bucket.start == end && bucket.end <= 1 << 40);
                end = bucket.end;
            }
            assert_eq!(end, page.span().end);
        }
        3 => {
            let sealed = sealed_part(SegmentSection::Filter, 0, bytes);
            if let Ok(blocks) = filter::decode_piece(0, &sealed) {
                assert_eq!(blocks, bytes);
                filter::may_contain(blocks, &Id([5; 32]));
            }
        }
        4 => stable(
            &sealed_part(SegmentSection::Packs, 0, bytes),
            PackTable::decode,
            PackTable::encode,
        ),
        _ => stable(
            &sealed_part(SegmentSection::Replaces, 0, bytes),
            tables::decode_replaces,
            |n: &Vec<[u8; 32]>| tables::encode_replaces(n),
        ),
    }
}

fn segment_samples() -> Vec<Vec<u8>> {
    let kind = PackKind::Tree;
    let f = footer::SegmentFooter {
        kind,
        bits: 3,
        rows: 300,
        bucket_bytes: 9000,
        filter_blocks: 6,
        packs: 2,
        replaces: 1,
    };
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - segment::SUM_BYTES].to_vec();
    [
        (0, segment::encode_head(kind).to_vec()),
        (1, f.encode()[..56].to_vec()),
        (
            2,
            [vec![3], cut(fanout::encode(&[10, 20, 0, 0, 30, 5, 5, 1]))].concat(),
        ),
        (3, vec![0x5a; 128]),
        (4, cut(packs().encode())),
        (5, cut(tables::encode_replaces(&[[1; 32], [2; 32]]))),
    ]
    .map(|(part, bytes)| [vec![part], bytes].concat())
    .to_vec()
}

/// Decodes a record that a worktree keeps about a directory between two commits.
pub fn basis(bytes: &[u8]) {
    stable(bytes, |b| DirRecord::decode(b).ok_or(()), DirRecord::encode);
}

fn basis_samples() -> Vec<Vec<u8>> {
    let newest = Time {
        secs: -1,
        nanos: 999_999_999,
    };
    let totals = Totals {
        files: 300,
        dirs: 2,
        bytes: 1 << 40,
    };
    vec![
        DirRecord {
            tree: Id([3; 32]),
            totals,
            device: 7,
            newest,
            prints: vec![0, 5, u64::MAX],
        }
        .encode(),
    ]
}

// Archives of other programs.

struct Bytes<'b>(&'b [u8]);

impl std::io::Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl ArchiveInput for Bytes<'_> {}

/// Returns the bytes with correct checksums in all tar headers.
fn summed(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for block in out
        .chunks_exact_mut(512)
        .filter(|block| block[257..262] == *b"ustar")
    {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    out
}

/// Decodes a tar archive. An accepted member must not change when it is written and read again.
pub fn archive(bytes: &[u8]) {
    let summed = summed(bytes);
    let mut reader = TarReader::new(Bytes(&summed));
    while let Ok(Some(mut member)) = reader.next_member() {
        assert!(reader.position() <= summed.len() as u64);
        let (mut buffer, mut read) = ([0; 4096], 0u64);
        loop {
            let hole = reader.hole();
            reader.skip_hole(hole);
            match reader.read(&mut buffer) {
                Ok(0) => {
                    let MemberKind::File { size } = member.kind else {
                        break;
                    };
                    assert_eq!(read + hole, size, "a file is as long as it says");
                    break;
                }
                Ok(n) => read += hole + n as u64,
                Err(_) => return,
            }
        }
        if matches!(member.kind, MemberKind::HardLink { .. }) {
            member.meta.xattrs.clear();
        }
        if member.path.is_empty() {
            member.path.push(b'.');
        }
        let again = [writer::head(&member, None).as_slice(), &writer::END].concat();
        assert_eq!(
            TarReader::new(Bytes(&again)).next_member().ok().flatten(),
            Some(member)
        );
    }
}

fn archive_samples() -> Vec<Vec<u8>> {
    let member = |path: &[u8], kind| ArchiveMember {
        path: path.to_vec(),
        meta: meta(),
        kind,
    };
    let data = |mut head: Vec<u8>, data: &[u8]| {
        head.extend_from_slice(data);
        head.resize(head.len().next_multiple_of(512), 0);
        head
    };
    let plain = |path: &[u8], kind| writer::head(&member(path, kind), None);
    let runs = [(0, 7), (65_536, 3)];
    let sparse = writer::head(
        &member(b"sparse", MemberKind::File { size: 1 << 40 }),
        Some(&runs),
    );
    let mut old = plain(b"old", MemberKind::File { size: 5 });
    old.drain(..1024);
    let all = [
        plain(b".", MemberKind::Dir),
        data(
            plain(
                &[&b"d/"[..], &[b'n'; 200], b"\xff"].concat(),
                MemberKind::File { size: 5 },
            ),
            b"12345",
        ),
        plain(
            b"link",
            MemberKind::Symlink {
                target: b"../x\xff".to_vec(),
            },
        ),
        plain(
            b"hard",
            MemberKind::HardLink {
                target: b"link".to_vec(),
            },
        ),
        plain(b"fifo", MemberKind::Fifo),
        plain(b"null", MemberKind::CharDevice { major: 1, minor: 3 }),
        plain(b"disk", MemberKind::BlockDevice { major: 8, minor: 1 }),
        data(sparse, b"1234567890"),
        data(old, b"54321"),
    ];
    let whole = [&all.concat()[..], &writer::END].concat();
    let mut each: Vec<Vec<u8>> = all
        .iter()
        .map(|one| [&one[..], &writer::END].concat())
        .collect();
    each.push(whole);
    each
}

// User input.

/// Parses a revision, a time or a name.
pub fn revision(bytes: &[u8]) {
    if let Ok(spec) = RevisionSpec::parse(bytes) {
        assert_eq!(RevisionSpec::parse(&spec.to_bytes()).as_ref(), Ok(&spec));
    }
    let _ = RevisionSpec::parse_located(bytes);
    let _ = RevisionQuery::parse(bytes);
    dvc::model::path::split(bytes);
    dvc::model::path::display(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<When>();
        if let Ok(name) = RefName::parse_stored(text) {
            assert_eq!(RefName::parse_stored(name.as_str()), Ok(name));
        }
    }
}

fn revision_samples() -> Vec<Vec<u8>> {
    let texts = [
        "AMCC@v3~2^1:acme/orders.ibd",
        "@{3 days ago}",
        "origin/main@{2}",
        "a..b",
        "HEAD...@~",
        "https://h/r#AMCC@#7",
        "1c0ffee0",
        "AMCC@2026-11-20",
        "2026-11-20T03:00:00+02:00",
        "yesterday",
        "2h ago",
        "cust/acme@release",
        "main~И",
    ];
    texts.map(|t| t.as_bytes().to_vec()).to_vec()
}
