//! Compares re-chunking with reading the whole file: files of every shape, all kinds of writes, the
//! number of bytes that are read, and errors.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::codec::cut::{BLOCK, ChunkerConfig};
use crate::error::Kind;
use crate::format::Malformed;
use crate::model::refname::RefName;
use crate::observe::Silent;
use crate::repo::{OpenOptions, Repo};
use crate::snapshot::content::store::store_bytes;
use crate::snapshot::content::stream::store_stream;
use crate::work::Panicked;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_oneof, proptest};

const MIB: usize = 1 << 20;
/// A small division, so that small files are divided too and many guesses are wrong.
const SMALL: Shares = Shares {
    step: 96 << 10,
    gap: 1,
};

fn repository(config: &ChunkerConfig) -> (tempfile::TempDir, Repo) {
    let dir = tempfile::tempdir().unwrap();
    let main = RefName::new("main").unwrap();
    let repo = Repo::create(
        &dir.path().join("repo"),
        &main,
        config,
        OpenOptions::default(),
    )
    .unwrap();
    (dir, repo)
}

fn configs() -> [ChunkerConfig; 5] {
    let pages = |n| ChunkerConfig::in_pages(n).unwrap();
    [
        ChunkerConfig::default(),
        ChunkerConfig::by_content(4096).unwrap(),
        pages(4096),
        pages(256 << 10),
        ChunkerConfig::default(),
    ]
}

/// Returns pseudo-random bytes, the same ones for the same seed.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    static POOL: OnceLock<Vec<u8>> = OnceLock::new();
    let pool = POOL.get_or_init(|| {
        let mut x = 0x9e37_79b9_7f4a_7c15_u64;
        (0..MIB)
            .flat_map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                x.to_le_bytes()
            })
            .collect()
    });
    let mut out = Vec::with_capacity(len);
    let mut mixed = seed;
    while out.len() < len {
        mixed = mixed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(mixed >> 33).unwrap() % (pool.len() - 300_000);
        out.extend_from_slice(&pool[at..at + 300_000.min(len - out.len())]);
    }
    out
}

/// A file with a known old version, and the writes to it.
struct Changed {
    old: Vec<u8>,
    new: Vec<u8>,
    dirty: Vec<Range<u64>>,
    kept: u64,
}

impl Changed {
    fn new(old: Vec<u8>) -> Self {
        Self {
            new: old.clone(),
            kept: old.len() as u64,
            old,
            dirty: Vec::new(),
        }
    }

    fn write(&mut self, at: usize, bytes: &[u8], align: usize) {
        if bytes.is_empty() {
            return;
        }
        if self.new.len() < at + bytes.len() {
            self.new.resize(at + bytes.len(), 0);
        }
        self.new[at..at + bytes.len()].copy_from_slice(bytes);
        // An overlay records whole blocks, so the recorded range may be larger than the write.
        let (from, to) = (
            at / align * align,
            (at + bytes.len()).next_multiple_of(align),
        );
        self.dirty.push(from as u64..to as u64);
    }

    fn resize(&mut self, len: usize) {
        self.new.resize(len, 0);
        // Bytes after a truncation are not old bytes, even if the file grows again.
        self.kept = self.kept.min(len as u64);
    }

    /// Returns the written ranges, sorted and disjoint.
    fn dirty(&self) -> Vec<Range<u64>> {
        let mut sorted = self.dirty.clone();
        sorted.sort_by_key(|r| r.start);
        let mut out: Vec<Range<u64>> = Vec::new();
        for next in sorted {
            match out.last_mut() {
                Some(last) if next.start <= last.end => last.end = last.end.max(next.end),
                _ => out.push(next),
            }
        }
        out
    }
}

struct Way {
    threads: usize,
    shares: Shares,
    hint: bool,
}

/// Chunks both versions as a whole, and the new one by its changes. Returns both contents, and the
/// number of bytes that were read for the latter.
fn both(
    out: &Output<'_>,
    file: &Changed,
    way: &Way,
) -> ((Chunker, Content), (Chunker, Content), u64) {
    let (size, chunker, content) = store_stream(out, &Silent, &mut &file.old[..]).unwrap();
    let (_, new_chunker, whole) = store_stream(out, &Silent, &mut &file.new[..]).unwrap();
    let read_bytes = AtomicU64::new(0);
    let read = |at: u64, space: &mut [u8]| {
        assert!(!space.is_empty());
        read_bytes.fetch_add(space.len() as u64, Ordering::Relaxed);
        let at = usize::try_from(at).unwrap();
        space.copy_from_slice(&file.new[at..at + space.len()]);
        Ok(())
    };
    // Like `SEEK_DATA`: skips pages of zeros.
    let data = |at: u64| {
        let pages = file.new[usize::try_from(at).unwrap()..].chunks(4096);
        at + pages
            .take_while(|p| p.iter().all(|b| *b == 0))
            .map(|p| p.len() as u64)
            .sum::<u64>()
    };
    let dirty = file.dirty();
    let change = Change {
        old: Some(OldState {
            size,
            chunker,
            content: &content,
        }),
        dirty: &dirty,
        kept: file.kept,
        size: file.new.len() as u64,
        read: &read,
        data: way.hint.then_some(&data),
    };
    let found = rechunk_by(out, &change, way.threads, way.shares).unwrap();
    let bytes = read_bytes.load(Ordering::Relaxed);
    // Without an old version, the result must be the same.
    let fresh = Change {
        old: None,
        dirty: &[],
        ..change
    };
    let all = rechunk_by(out, &fresh, way.threads, way.shares).unwrap();
    assert!(all == (new_chunker, whole.clone()), "a new file");
    (found, (new_chunker, whole), bytes)
}

#[derive(Clone, Debug)]
enum Op {
    Noise(usize, usize),
    Zeros(usize, usize),
    /// Writes the bytes that are already there.
    Same(usize, usize),
    Resize(usize),
    Header(bool),
    /// Writes a number of bytes at a distance from an old boundary.
    Cut(usize, isize, usize),
    /// Changes the size, so that the file ends near an old boundary.
    End(usize, isize),
}

fn places() -> impl Strategy<Value = usize> {
    let near = |at: usize, by: usize| (0..2 * by).prop_map(move |d| (at + d).saturating_sub(by));
    let edges = (0usize..40).prop_flat_map(move |n| near(n * BLOCK, 3));
    prop_oneof![
        3 => 0usize..2 * MIB,
        3 => edges,
        1 => Just(0usize),
        2 => (0usize..32).prop_map(|n| n * BLOCK),
        2 => (0usize..512).prop_map(|n| n * 4096),
        1 => 0usize..600,
    ]
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        3 => 1usize..200,
        3 => Just(4096usize),
        2 => 1usize..100_000,
        2 => (1usize..5).prop_map(|n| n * BLOCK),
        1 => (1usize..5).prop_map(|n| n * BLOCK - 1),
        1 => 1usize..MIB,
    ]
}

fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (places(), lengths()).prop_map(|(a, n)| Op::Noise(a, n)),
        3 => (places(), lengths()).prop_map(|(a, n)| Op::Zeros(a, n)),
        1 => (places(), lengths()).prop_map(|(a, n)| Op::Same(a, n)),
        1 => places().prop_map(Op::Resize),
        1 => any::<bool>().prop_map(Op::Header),
        // A boundary depends on the 64 bytes before it (`MEMORY`) and on a few after it (`LOOK`).
        4 => (0usize..40, -70isize..4, 1usize..64).prop_map(|(i, by, n)| Op::Cut(i, by, n)),
        1 => (0usize..40, -4isize..4).prop_map(|(i, by)| Op::End(i, by)),
    ];
    proptest::collection::vec(op, 0..most)
}

fn apply(file: &mut Changed, ops: &[Op], cuts: &[usize], seed: u64, align: usize) {
    let near = |i: usize, by: isize| {
        cuts.get(i % cuts.len().max(1))
            .map_or(0, |at| at.saturating_add_signed(by))
    };
    for (i, op) in ops.iter().enumerate() {
        match op {
            Op::Noise(at, len) => file.write(*at, &noise(*len, seed ^ i as u64), align),
            Op::Zeros(at, len) => file.write(*at, &vec![0; *len], align),
            Op::Same(at, len) => {
                let end = file.new.len().min(at + len);
                let there = file.new.get(*at..end).unwrap_or_default().to_vec();
                file.write(*at, &there, align);
            }
            Op::Resize(len) => file.resize(*len),
            // Turns the file into a database, which has a different chunker. `Header(false)` does
            // the opposite.
            Op::Header(true) => file.write(0, b"SQLite format 3\0", align),
            Op::Cut(i, by, len) => file.write(near(*i, *by), &noise(*len, seed ^ *i as u64), align),
            Op::End(i, by) => file.resize(near(*i, *by)),
            Op::Header(false) => file.write(0, b"0123456789abcdef", align),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_same_as_a_whole_read(
        which in 0usize..5,
        size in places(),
        seed in any::<u64>(),
        before in ops(5),
        after in ops(8),
        aligned in any::<bool>(),
        threads in 1usize..4,
        small in any::<bool>(),
        hint in any::<bool>(),
    ) {
        let (_dir, repo) = repository(&configs()[which]);
        let out = Output::dry(&repo);
        let mut first = Changed::new(noise(size, seed));
        apply(&mut first, &before, &[], seed, 1);
        let mut file = Changed::new(first.new);
        let cuts = cuts_of(&out, &file.old);
        apply(&mut file, &after, &cuts, !seed, if aligned { 4096 } else { 1 });
        // `SMALL` allows guesses between close changes, where they are often wrong.
        let shares = if small { SMALL } else { SHARES };
        let (found, whole, _) = both(&out, &file, &Way { threads, shares, hint });
        prop_assert!(found == whole, "{:?}", difference(&repo, &found, &whole));
    }
}

fn cuts_of(out: &Output<'_>, bytes: &[u8]) -> Vec<usize> {
    let (_, _, content) = store_stream(out, &Silent, &mut &bytes[..]).unwrap();
    let mut at = 0;
    let ends = out.repo().extents(&content).map(|x| {
        at += usize::try_from(x.unwrap().len).unwrap();
        at
    });
    ends.collect()
}

/// Returns the first extents that differ.
fn difference(repo: &Repo, found: &(Chunker, Content), whole: &(Chunker, Content)) -> String {
    let (mut at, mut other) = (0, repo.extents(&whole.1));
    for extent in repo.extents(&found.1) {
        let (extent, other) = (
            extent.unwrap(),
            other.next().map(std::result::Result::unwrap),
        );
        if Some(extent) != other {
            return format!("at {at}: {extent:?} and not {other:?}");
        }
        at += extent.len;
    }
    format!("{:?} and not {:?}, until {at}", found.0, whole.0)
}

/// Returns a file of noise with holes, and changes of one page each, which are far apart on
/// average.
fn scattered(size: usize, changes: usize, seed: u64) -> Changed {
    let mut old = noise(size, seed);
    for i in 1..4 {
        old[size / 4 * i / BLOCK * BLOCK..][..3 * BLOCK].fill(0);
    }
    let mut file = Changed::new(old);
    let mut x = seed | 1;
    for i in 0..changes {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(x >> 33).unwrap() % (size / 4096 - 1) * 4096;
        file.write(at, &noise(4096, x ^ i as u64), 4096);
    }
    file
}

#[test]
fn scattered_changes_by_many_threads() {
    for config in &configs()[..4] {
        let (_dir, repo) = repository(config);
        for seed in 0..3 {
            let file = scattered(24 * MIB + 77, 40, seed);
            for (threads, shares) in [(1, SHARES), (2, SHARES), (4, SHARES), (3, SMALL)] {
                let (found, whole, _) = both(
                    &Output::dry(&repo),
                    &file,
                    &Way {
                        threads,
                        shares,
                        hint: false,
                    },
                );
                assert!(
                    found == whole,
                    "{threads}: {}",
                    difference(&repo, &found, &whole)
                );
            }
        }
    }
}

#[test]
fn little_is_read_but_the_chunks_that_hold_changes() {
    let changes = 30;
    for (config, each) in [
        (ChunkerConfig::default(), 256 << 10),
        (
            ChunkerConfig::in_pages(64 << 10).unwrap(),
            (64 << 10) + 8192,
        ),
    ] {
        let (_dir, repo) = repository(&config);
        let out = Output::dry(&repo);
        let file = scattered(48 * MIB, changes, 5);
        for threads in [1, 3] {
            let (found, whole, read_bytes) = both(
                &out,
                &file,
                &Way {
                    threads,
                    shares: SHARES,
                    hint: false,
                },
            );
            assert!(found == whole);
            assert!(
                read_bytes < (changes * each) as u64,
                "{read_bytes} for {changes} changes"
            );
        }
    }
}

#[test]
fn nothing_is_read_if_nothing_changed() {
    let (_dir, repo) = repository(&ChunkerConfig::default());
    let out = Output::dry(&repo);
    let bytes = noise(3 * MIB, 1);
    let (size, chunker, content) = store_stream(&out, &Silent, &mut &bytes[..]).unwrap();
    let read = |_: u64, _: &mut [u8]| -> Result<()> { panic!("it is read") };
    let old = Some(OldState {
        size,
        chunker,
        content: &content,
    });
    let change = Change {
        old,
        dirty: &[],
        kept: u64::MAX,
        size,
        read: &read,
        data: None,
    };
    assert!(rechunk(&out, &change, 2).unwrap() == (chunker, content));
}

#[test]
fn a_long_hole_is_not_read() {
    let (_dir, repo) = repository(&ChunkerConfig::default());
    let out = Output::dry(&repo);
    let end = noise(100_000, 1);
    let size = (1 << 40) + end.len() as u64;
    let read = |at: u64, space: &mut [u8]| {
        assert!(!(65536..1 << 40).contains(&at), "it reads the hole");
        space.fill(0);
        if let Some(at) = at.checked_sub(1 << 40) {
            let at = usize::try_from(at).unwrap();
            space.copy_from_slice(&end[at..at + space.len()]);
        }
        Ok(())
    };
    let data = |at: u64| at.max(1 << 40);
    let change = Change {
        old: None,
        dirty: &[],
        kept: 0,
        size,
        read: &read,
        data: Some(&data),
    };
    let (chunker, content) = rechunk(&out, &change, 2).unwrap();
    let extents: Vec<Extent> = repo.extents(&content).map(|x| x.unwrap()).collect();
    assert_eq!(
        (chunker, extents[0]),
        (
            Chunker::Cdc,
            Extent {
                len: 1 << 40,
                chunk: None
            }
        )
    );
    let Content::Direct(tail) = store_bytes(&out, &end, Chunker::Cdc, None).unwrap() else {
        panic!("a short list")
    };
    assert_eq!(extents[1..], tail);
}

#[test]
fn what_is_stored_can_be_read() {
    for config in [
        ChunkerConfig::default(),
        ChunkerConfig::in_pages(16 << 10).unwrap(),
    ] {
        let (_dir, repo) = repository(&config);
        let out = Output::storing(&repo, &Silent).unwrap();
        let mut file = scattered(9 * MIB, 12, 3);
        let (size, chunker, content) = store_stream(&out, &Silent, &mut &file.old[..]).unwrap();
        out.flush().unwrap();
        out.sink().unwrap().finish().unwrap();
        let before = out.stored_bytes();

        file.resize(8 * MIB + 5);
        file.write(8 * MIB + 100, &noise(70_000, 4), 1);
        let read = |at: u64, space: &mut [u8]| {
            let at = usize::try_from(at).unwrap();
            space.copy_from_slice(&file.new[at..at + space.len()]);
            Ok(())
        };
        let (dirty, new_size) = (file.dirty(), file.new.len() as u64);
        let old = Some(OldState {
            size,
            chunker,
            content: &content,
        });
        let change = Change {
            old,
            dirty: &dirty,
            kept: file.kept,
            size: new_size,
            read: &read,
            data: None,
        };
        let (_, found) = rechunk(&out, &change, 3).unwrap();
        flush_small(&out).unwrap();
        out.flush().unwrap();
        out.sink().unwrap().finish().unwrap();
        assert!(repo.read_content(&found, new_size).unwrap() == file.new);
        // Each delta consists of a page of noise; the end of the file is new.
        let stored = out.stored_bytes() - before;
        assert!(stored < 13 * 6000 + 140_000, "{stored}");
    }
}

#[test]
fn an_error_of_the_reader_ends_it() {
    let (_dir, repo) = repository(&ChunkerConfig::default());
    let out = Output::dry(&repo);
    let file = scattered(24 * MIB, 30, 9);
    let (size, chunker, content) = store_stream(&out, &Silent, &mut &file.old[..]).unwrap();
    let reads = AtomicU64::new(0);
    let read = |_: u64, space: &mut [u8]| {
        space.fill(1);
        match reads.fetch_add(1, Ordering::Relaxed) {
            // An error in the middle of the work.
            12 => Err(Malformed::new("file", "on purpose").into()),
            _ => Ok(()),
        }
    };
    let dirty = file.dirty();
    for (old, dirty) in [
        (
            Some(OldState {
                size,
                chunker,
                content: &content,
            }),
            dirty.as_slice(),
        ),
        (None, &[]),
    ] {
        for threads in [1, 4] {
            reads.store(0, Ordering::Relaxed);
            let change = Change {
                old,
                dirty,
                kept: size,
                size,
                read: &read,
                data: None,
            };
            let Err(e) = rechunk(&out, &change, threads) else {
                panic!("it went on")
            };
            assert_eq!(
                (e.kind(), e.to_string().contains("on purpose")),
                (Kind::Integrity, true)
            );
        }
    }
}

#[test]
fn a_panic_does_not_hang() {
    let (_dir, repo) = repository(&ChunkerConfig::default());
    let out = Output::dry(&repo);
    let reads = AtomicU64::new(0);
    let read = |_: u64, space: &mut [u8]| {
        space.fill(1);
        assert!(reads.fetch_add(1, Ordering::Relaxed) < 5, "on purpose");
        Ok(())
    };
    let change = Change {
        old: None,
        dirty: &[],
        kept: 0,
        size: 64 << 20,
        read: &read,
        data: None,
    };
    let Err(e) = rechunk(&out, &change, 3) else {
        panic!("it went on")
    };
    assert!(e.as_error().is::<Panicked>());
}

/// Returns the range of the last chunk of each leaf of a list.
fn leaf_ends(repo: &Repo, content: &Content) -> Vec<Range<u64>> {
    let mut map = OldMap::new(repo, content).unwrap();
    let mut ends = Vec::new();
    let mut at = 0;
    while let Some(leaf) = map.leaf_at(at).unwrap() {
        at = leaf.end;
        ends.push(map.at(at - 1).unwrap().unwrap().0..at);
    }
    ends
}

#[test]
fn nodes_of_the_list_that_end_elsewhere() {
    let (_dir, repo) = repository(&ChunkerConfig::by_content(4096).unwrap());
    let out = Output::dry(&repo);
    let old = noise(24 * MIB, 2);
    let (_, _, content) = store_stream(&out, &Silent, &mut &old[..]).unwrap();
    let ends = leaf_ends(&repo, &content);
    assert!(ends.len() >= 8, "{}", ends.len());
    for every in [1, 3] {
        let mut file = Changed::new(old.clone());
        for chunk in ends.iter().step_by(every) {
            // A node ends after a chunk whose id ends in a zero byte. Another content of this chunk
            // moves the end of the node.
            file.write(usize::try_from(chunk.start).unwrap() + 200, b"written", 1);
        }
        let (found, whole, _) = both(
            &out,
            &file,
            &Way {
                threads: 2,
                shares: SHARES,
                hint: false,
            },
        );
        assert!(found == whole, "{}", difference(&repo, &found, &whole));
    }
}

#[test]
fn a_node_is_not_taken_after_a_hole_that_may_go_on_in_it() {
    let (_dir, repo) = repository(&ChunkerConfig::default());
    let out = Output::dry(&repo);
    let id = repo.ids().id(ObjectKind::Chunk, b"x");
    for last in [None, Some(id)] {
        let mut builder = ListBuilder::default();
        for i in 0..1024 {
            builder
                .push(
                    Extent {
                        len: 65536,
                        chunk: if i < 1023 { Some(id) } else { last },
                    },
                    &out,
                )
                .unwrap();
        }
        assert_eq!(
            builder.push_leaf((65536, id), &out).unwrap(),
            last.is_some()
        );
    }
}
