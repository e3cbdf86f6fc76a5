//! Measures each stage of a commit by itself, on the same data in every run. `cargo bench` runs all
//! benchmarks; an argument selects one by name.
//!
//! Throughput is in bytes of the file if the stage handles bytes, otherwise in rows or entries.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dvc::codec::compress::{CompressionProfile, Compressor, Decompressor};
use dvc::codec::cut::{ChunkerConfig, next_chunk};
use dvc::codec::hash::IdHasher;
use dvc::format::frame::CODEC_RAW;
use dvc::format::object::{decode_tree, encode_tree};
use dvc::format::pack::PackKind;
use dvc::format::segment::tables::PackEntry;
use dvc::format::segment::{IndexRow, ObjectLocation};
use dvc::index::Index;
use dvc::index::segment_reader::SegmentReader;
use dvc::index::segment_writer::{merge, write_segment};
use dvc::model::entry::{Chunker, Content, Entry, Extent, Meta, Node, Time};
use dvc::model::id::{Id, ObjectKind};
use dvc::model::tree::{TreeBody, TreeNode};
use dvc::repo::packs::{NewFrame, PackWriter};
use dvc::store::local::LocalStore;

const MIB: usize = 1 << 20;
const CHUNK: usize = 64 << 10;

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out.extend_from_slice(&x.to_le_bytes());
    }
    out.truncate(len);
    out
}

/// Returns data that resembles the rows of a database page: one half is digits, the other is
/// repeated structure.
fn rows_like(len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 64);
    for (n, pair) in noise(1, len / 4).chunks(8).enumerate() {
        out.extend_from_slice(&[0x80, 0, 0, 0x1c, 0xff]);
        out.extend_from_slice(format!("{n:08}").as_bytes());
        out.extend(pair.iter().flat_map(|b| [b'0' + b % 10, b'0' + b / 26]));
        if out.len() >= len {
            break;
        }
    }
    out.truncate(len);
    out
}

fn chunking(c: &mut Criterion) {
    let data = noise(2, 16 * MIB);
    let mut g = c.benchmark_group("chunking");
    g.throughput(Throughput::Bytes(data.len() as u64));
    for (name, chunker) in [("content", Chunker::Cdc), ("fixed", Chunker::Fixed(65_536))] {
        g.bench_function(name, |b| {
            b.iter(|| {
                let (mut at, mut count) = (0, 0);
                while let Some(n) =
                    next_chunk(&ChunkerConfig::default(), chunker, &data[at..], true)
                {
                    at += n;
                    count += 1;
                }
                black_box(count)
            });
        });
    }
}

fn hashing(c: &mut Criterion) {
    let ids = IdHasher::unencrypted();
    let mut g = c.benchmark_group("hashing");
    for len in [200, 4096, CHUNK, 4 * CHUNK] {
        let data = noise(3, len);
        g.throughput(Throughput::Bytes(len as u64));
        g.bench_function(format!("{len} bytes"), |b| {
            b.iter(|| ids.id(ObjectKind::Chunk, black_box(&data)))
        });
    }
}

fn compressing(c: &mut Criterion) {
    let plain = rows_like(4 * CHUNK);
    let mut g = c.benchmark_group("compressing");
    g.throughput(Throughput::Bytes(plain.len() as u64));
    let mut out = Vec::new();
    for profile in [
        CompressionProfile::Literal,
        CompressionProfile::Normal,
        CompressionProfile::High,
    ] {
        let mut compressor = Compressor::default();
        g.bench_function(format!("{profile:?}"), |b| {
            b.iter(|| compressor.compress(profile, black_box(&plain), &mut out));
        });
    }
    Compressor::default().compress(CompressionProfile::Normal, &plain, &mut out);
    let (packed, mut back) = (out.clone(), Vec::new());
    let mut decompressor = Decompressor::default();
    g.bench_function("back", |b| {
        b.iter(|| {
            decompressor
                .zstd(black_box(&packed), plain.len(), &mut back)
                .unwrap()
        })
    });
}

fn delta(c: &mut Criterion) {
    let base = rows_like(CHUNK);
    let mut plain = base.clone();
    for at in [5000, 21_000, 40_000] {
        plain[at..at + 120].copy_from_slice(&noise(4, 120));
    }
    let mut g = c.benchmark_group("delta");
    g.throughput(Throughput::Bytes(plain.len() as u64));
    let (mut compressor, mut packed, mut back) = (Compressor::default(), Vec::new(), Vec::new());
    g.bench_function("make", |b| {
        b.iter(|| compressor.delta(&base, black_box(&plain), &mut packed))
    });
    let mut decompressor = Decompressor::default();
    g.bench_function("apply", |b| {
        b.iter(|| {
            decompressor
                .delta(&base, black_box(&packed), plain.len(), &mut back)
                .unwrap()
        });
    });
}

fn pack_writing(c: &mut Criterion) {
    let payload = noise(5, CHUNK);
    let mut g = c.benchmark_group("pack writing");
    g.sample_size(10)
        .throughput(Throughput::Bytes(16 * MIB as u64));
    g.bench_function("16 MiB, synced", |b| {
        b.iter_batched(
            || tempfile::tempdir().unwrap(),
            |dir| {
                let store = LocalStore::new(dir.path().to_owned());
                let mut pack = PackWriter::create(&store, PackKind::Data).unwrap();
                for n in 0..256_u32 {
                    let objects = [(id(u64::from(n)), 65_536)];
                    let kind = ObjectKind::Chunk;
                    pack.append(&NewFrame {
                        kind,
                        codec: CODEC_RAW,
                        objects: &objects,
                        base: None,
                        payload: &payload,
                    })
                    .unwrap();
                }
                pack.finish(&store, &|_| false).unwrap();
                dir
            },
            BatchSize::PerIteration,
        );
    });
}

fn id(n: u64) -> Id {
    let mut out = [0; 32];
    out.copy_from_slice(&noise(n + 1, 32));
    Id(out)
}

fn rows(count: u64, seed: u64) -> Vec<IndexRow> {
    let place = |n: u64| ObjectLocation {
        pack: [(n % 50).to_le_bytes()[0]; 32],
        offset: u32::try_from(n * 997 % (32 << 20)).unwrap(),
        stored: 9000,
        within: 0,
        len: 65_536,
        codec: 1,
    };
    let mut rows: Vec<IndexRow> = (0..count)
        .map(|n| IndexRow {
            id: id(seed + n),
            place: place(n),
            base: None,
        })
        .collect();
    rows.sort_unstable();
    rows
}

fn index(c: &mut Criterion) {
    const ROWS: u64 = 1_000_000;
    let dir = tempfile::tempdir().unwrap();
    let packs: Vec<PackEntry> = (0..50)
        .map(|n| PackEntry {
            name: [n; 32],
            size_bytes: 32 << 20,
        })
        .collect();
    let all = rows(ROWS, 0);
    let mut g = c.benchmark_group("index");

    g.throughput(Throughput::Elements(100_000));
    let some: Vec<IndexRow> = all.iter().step_by(10).copied().collect();
    g.bench_function("insert 100,000", |b| {
        b.iter(|| {
            let index = Index::default();
            for row in &some {
                index.insert(PackKind::Data, row);
            }
            index
        });
    });
    g.sample_size(10);
    g.bench_function("write a segment of 100,000", |b| {
        b.iter(|| write_segment(dir.path(), PackKind::Data, &some, &packs, &[]).unwrap());
    });

    let mut kept = Vec::new();
    let mut paths = Vec::new();
    for n in 0..4 {
        // Distribute the ids evenly over the segments.
        let part: Vec<IndexRow> = all.iter().skip(n).step_by(4).copied().collect();
        let written = write_segment(dir.path(), PackKind::Data, &part, &packs, &[]).unwrap();
        let path = dir.path().join(format!("segment-{n}"));
        written.file.persist(&path).unwrap();
        kept.push(Arc::new(SegmentReader::open(written.name, &path).unwrap()));
        paths.push((written.name, path));
    }
    g.throughput(Throughput::Elements(ROWS));
    g.bench_function("merge 4 segments to 1,000,000", |b| {
        b.iter(|| merge(dir.path(), PackKind::Data, &kept, |_| true).unwrap());
    });

    let index = Index::open(
        paths
            .iter()
            .map(|(name, path)| (*name, SegmentReader::open(*name, path))),
    )
    .unwrap();
    g.sample_size(50).throughput(Throughput::Elements(1000));
    let mut at = 0;
    g.bench_function("look up what is there (4 segments)", |b| {
        b.iter(|| {
            for _ in 0..1000 {
                at = (at + 7919) % all.len();
                assert!(index.lookup(PackKind::Data, &all[at].id).unwrap().is_some());
            }
        });
    });
    let missing: Vec<Id> = (0..1000).map(|n| id(1 << 40 | n)).collect();
    g.bench_function("look up what is not there (4 segments)", |b| {
        b.iter(|| {
            missing
                .iter()
                .filter(|id| index.lookup(PackKind::Data, id).unwrap().is_some())
                .count()
        });
    });
}

fn trees(c: &mut Criterion) {
    let entries: Vec<Entry> = (0..1000_u32)
        .map(|n| Entry {
            name: format!("file-{n:06}.ibd").into_bytes(),
            meta: Meta {
                mode: 0o640,
                uid: 999,
                gid: 999,
                mtime: Time {
                    secs: 1 << 30,
                    nanos: n,
                },
                xattrs: vec![],
            },
            link: None,
            node: Node::File {
                size: 65_536,
                chunker: Chunker::Cdc,
                content: Content::Direct(vec![Extent {
                    len: 65_536,
                    chunk: Some(id(u64::from(n))),
                }]),
            },
        })
        .collect();
    let node = TreeNode {
        root: None,
        body: TreeBody::Leaf(entries),
    };
    let bytes = encode_tree(&node);
    let mut g = c.benchmark_group("trees");
    g.throughput(Throughput::Elements(1000));
    g.bench_function("encode", |b| b.iter(|| encode_tree(black_box(&node))));
    g.bench_function("decode", |b| {
        b.iter(|| decode_tree(black_box(&bytes)).unwrap())
    });
}

criterion_group!(
    stages,
    chunking,
    hashing,
    compressing,
    delta,
    pack_writing,
    index,
    trees
);
criterion_main!(stages);
