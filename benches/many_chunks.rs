//! A repository whose index has 20 million chunks: time and peak memory of a commit under
//! `--memory 256M`, and the repository for the garbage collection of `benches/rivals/care.py`.
//!
//! `cargo bench --bench many_chunks -- [ROWS [DIRECTORY [REPOSITORY]]]`. The rows of the index are
//! synthetic: they point to packs that do not exist, and no commit reads them. DIRECTORY (default:
//! /usr/share) is committed twice, the second time without changes. If REPOSITORY is given, it is
//! not deleted at the end, so that lazy clones of it can be measured.
//!
//! `cargo bench --bench many_chunks -- whole ROWS REPOSITORY` makes a repository with one version
//! that needs all chunks: 50 in each of its directories, in the order of the packs. The packs are
//! holes, because a collection that finds nothing unneeded does not read them.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::Path;
use std::process::Command;

use dvc::codec::cut::ChunkerConfig;
use dvc::format::frame::CODEC_ZSTD;
use dvc::format::pack::PackKind;
use dvc::format::segment::tables::{PackEntry, PackTable};
use dvc::format::segment::{IndexRow, ObjectLocation, PackName};
use dvc::index::catalogue::segments::SegmentRow;
use dvc::index::segment_writer::SegmentWriter;
use dvc::model::commit::Timestamp;
use dvc::model::entry::{Chunker, Content, Entry, Extent, Meta, Node, Time, Totals};
use dvc::model::id::Id;
use dvc::model::refname::RefName;
use dvc::model::tree::RootInfo;
use dvc::observe::Silent;
use dvc::repo::{OpenOptions, Repo, layout};
use dvc::snapshot::commit::{Draft, publish};
use dvc::snapshot::output::Output;
use dvc::snapshot::tree::store_tree;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

const MEMORY: &str = "256M";
const CHUNKS_PER_PACK: u64 = 500;
const CHUNK: u32 = 64 << 10;
const STORED: u32 = 30 << 10;
const CHUNKS_PER_FILE: u64 = 10;
const FILES_PER_DIR: u64 = 5;
const DIRS_PER_DIR: u64 = 500;
/// Order of the ids within the packs: neighbours in a pack have distant ids.
const STRIDE: u64 = 7_368_787;

fn pack(number: u64) -> PackName {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

/// Returns the id of row `n` of `rows`. The ids ascend with `n`: the first bytes are a counter, the
/// others are a hash.
fn id(n: u64, rows: u64) -> Id {
    let mut id = *blake3::hash(&n.to_be_bytes()).as_bytes();
    let first = (u128::from(n) << 64) / u128::from(rows);
    id[..8].copy_from_slice(&u64::try_from(first).unwrap().to_be_bytes());
    Id(id)
}

/// Returns the row of the chunk at a position in the packs.
fn row_at(position: u64, rows: u64) -> u64 {
    let row = u128::from(position) * u128::from(STRIDE) % u128::from(rows);
    u64::try_from(row).expect("smaller than `rows`")
}

/// Returns the factor that turns the number of a row into its position.
fn inverse(rows: u64) -> u64 {
    let (mut a, mut b) = (i128::from(STRIDE % rows), i128::from(rows));
    let (mut x, mut y) = (1i128, 0i128);
    while b != 0 {
        let quotient = a / b;
        (a, b) = (b, a % b);
        (x, y) = (y, x - quotient * y);
    }
    assert_eq!(
        a, 1,
        "the number of rows has a factor in common with {STRIDE}"
    );
    u64::try_from(x.rem_euclid(i128::from(rows))).unwrap()
}

/// Returns row `n` of `rows`.
fn row(n: u64, rows: u64, inverse: u64) -> IndexRow {
    let position = u64::try_from(u128::from(n) * u128::from(inverse) % u128::from(rows)).unwrap();
    let offset = 64 + u32::try_from(position % CHUNKS_PER_PACK).unwrap() * STORED;
    let place = ObjectLocation {
        pack: pack(position / CHUNKS_PER_PACK),
        offset,
        stored: STORED,
        within: 0,
        len: CHUNK,
        codec: CODEC_ZSTD,
    };
    IndexRow {
        id: id(n, rows),
        place,
        base: None,
    }
}

fn make(root: &Path, rows: u64) -> Repo {
    let main = RefName::new("main").unwrap();
    Repo::create(
        root,
        &main,
        &ChunkerConfig::default(),
        OpenOptions::default(),
    )
    .unwrap();
    let repo = Repo::open(root, OpenOptions::default()).unwrap();
    let size_bytes = u64::from(STORED) * CHUNKS_PER_PACK;
    let packs = (0..rows.div_ceil(CHUNKS_PER_PACK))
        .map(|n| PackEntry {
            name: pack(n),
            size_bytes,
        })
        .collect();
    let staging = repo.ensure_local().unwrap().files().staging().unwrap();
    let mut writer = SegmentWriter::create(
        &staging,
        PackKind::Data,
        PackTable::new(packs).unwrap(),
        rows,
    )
    .unwrap();
    let inverse = inverse(rows);
    (0..rows).for_each(|n| writer.push(&row(n, rows, inverse)).unwrap());
    let written = writer.finish(&[]).unwrap();
    repo.ensure_local()
        .unwrap()
        .files()
        .publish(written.file, &layout::segment(&written.name))
        .unwrap();
    let (name, kind, file_bytes) = (written.name, written.kind, written.file_bytes);
    let listed = SegmentRow {
        name,
        kind,
        file_bytes,
        rows: written.rows,
        replaced_by: None,
    };
    repo.catalogue()
        .unwrap()
        .add_segment(&listed, &[], &[])
        .unwrap();
    println!(
        "an index of {rows} chunks, {:.1} MB",
        file_bytes as f64 / 1e6
    );
    repo
}

/// Commits a version that needs all chunks, and makes the packs.
fn commit_all(repo: &Repo, rows: u64) {
    for n in 0..rows.div_ceil(CHUNKS_PER_PACK) {
        let path = repo.path().join(layout::pack(&pack(n)));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = std::fs::File::create(path).unwrap();
        file.set_len(u64::from(STORED) * CHUNKS_PER_PACK).unwrap();
    }
    let out = Output::storing(repo, &Silent).unwrap();
    let per_dir = CHUNKS_PER_FILE * FILES_PER_DIR;
    let dirs = rows / per_dir;
    let above: Vec<Entry> = (0..dirs.div_ceil(DIRS_PER_DIR))
        .into_par_iter()
        .map(|n| {
            let below = n * DIRS_PER_DIR..((n + 1) * DIRS_PER_DIR).min(dirs);
            dir(
                n,
                below
                    .map(|leaf| dir(leaf, files(leaf, rows), &out))
                    .collect(),
                &out,
            )
        })
        .collect();
    let totals = totals(&above);
    let root = RootInfo {
        meta: Meta::default(),
        totals,
        links: None,
    };
    let tree = store_tree(above, Some(root), &out).unwrap();
    out.flush().unwrap();
    let draft = Draft {
        author: "bench <bench@example.org>".to_owned(),
        host: "bench".to_owned(),
        time: Timestamp::default(),
        moved_at: Time::default(),
        message: "many chunks".to_owned(),
        trailers: Vec::new(),
        unstable: Vec::new(),
    };
    let main = RefName::new("main").unwrap();
    publish(&out, &Silent, &main, &draft, &|_| Ok((tree, totals))).unwrap();
    println!(
        "a version of {} files, {} directories",
        totals.files, totals.dirs
    );
}

fn files(leaf: u64, rows: u64) -> Vec<Entry> {
    let first = leaf * FILES_PER_DIR;
    (first..first + FILES_PER_DIR)
        .map(|file| {
            let positions = file * CHUNKS_PER_FILE..(file + 1) * CHUNKS_PER_FILE;
            let extents = positions.map(|position| Extent {
                len: u64::from(CHUNK),
                chunk: Some(id(row_at(position, rows), rows)),
            });
            let node = Node::File {
                size: u64::from(CHUNK) * CHUNKS_PER_FILE,
                chunker: Chunker::Cdc,
                content: Content::Direct(extents.collect()),
            };
            entry(file, node)
        })
        .collect()
}

fn dir(number: u64, entries: Vec<Entry>, out: &Output<'_>) -> Entry {
    let totals = totals(&entries);
    let tree = store_tree(entries, None, out).unwrap();
    entry(number, Node::Dir { tree, totals })
}

fn entry(number: u64, node: Node) -> Entry {
    Entry {
        name: format!("{number:08}").into_bytes(),
        meta: Meta::default(),
        link: None,
        node,
    }
}

fn totals(entries: &[Entry]) -> Totals {
    let mut totals = Totals::default();
    entries.iter().for_each(|entry| totals.add(entry));
    totals
}

fn main() {
    let mut words = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .peekable();
    let is_whole = words.next_if(|word| word == "whole").is_some();
    let rows = words.next().map_or(20_000_000, |r| r.parse().unwrap());
    if is_whole {
        let root = words.next().expect("a directory for the repository");
        commit_all(&make(root.as_ref(), rows), rows);
        return;
    }
    let source = words.next().unwrap_or_else(|| "/usr/share".to_owned());
    let dir = tempfile::tempdir().unwrap();
    let root = words
        .next()
        .map_or_else(|| dir.path().join("repository"), Into::into);
    drop(make(&root, rows));
    for what in ["first commit", "nothing changed"] {
        let mut c = Command::new("/usr/bin/time");
        c.args([
            "-f",
            &format!("{what} of {source} under --memory {MEMORY}: %e s, peak %M KiB"),
        ]);
        c.arg(env!("CARGO_BIN_EXE_dvc"))
            .args(["--memory", MEMORY, "-C", &source]);
        c.arg("--repo")
            .arg(&root)
            .args(["commit", "-m", "many chunks"]);
        assert!(matches!(c.status().unwrap().code(), Some(0 | 3)));
    }
}
