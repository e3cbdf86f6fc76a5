//! Commits to a repository whose index has 20 million chunks, under `--memory 256M`: time and peak
//! memory.
//!
//! `cargo bench --bench many_chunks -- [ROWS [DIRECTORY [REPOSITORY]]]`. The rows of the index are
//! synthetic: they point to packs that do not exist, and no commit reads them. DIRECTORY (default:
//! /usr/share) is committed twice, the second time without changes. If REPOSITORY is given, it is
//! not deleted at the end, so that lazy clones of it can be measured.

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
use dvc::model::id::Id;
use dvc::model::refname::RefName;
use dvc::repo::{OpenOptions, Repo, layout};

const MEMORY: &str = "256M";
const CHUNKS_PER_PACK: u64 = 500;
const CHUNK: u32 = 64 << 10;
const STORED: u32 = 30 << 10;

fn pack(number: u64) -> PackName {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

/// Returns row `n` of `rows`. The ids ascend with `n`: the first bytes are a counter, the others
/// are a hash.
fn row(n: u64, rows: u64) -> IndexRow {
    let mut id = *blake3::hash(&n.to_be_bytes()).as_bytes();
    let first = (u128::from(n) << 64) / u128::from(rows);
    id[..8].copy_from_slice(&u64::try_from(first).unwrap().to_be_bytes());
    let offset = 64 + u32::try_from(n % CHUNKS_PER_PACK).unwrap() * STORED;
    let place = ObjectLocation {
        pack: pack(n / CHUNKS_PER_PACK),
        offset,
        stored: STORED,
        within: 0,
        len: CHUNK,
        codec: CODEC_ZSTD,
    };
    IndexRow {
        id: Id(id),
        place,
        base: None,
    }
}

fn make(root: &Path, rows: u64) {
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
    (0..rows).for_each(|n| writer.push(&row(n, rows)).unwrap());
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
}

fn main() {
    let mut words = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let rows = words.next().map_or(20_000_000, |r| r.parse().unwrap());
    let source = words.next().unwrap_or_else(|| "/usr/share".to_owned());
    let dir = tempfile::tempdir().unwrap();
    let root = words
        .next()
        .map_or_else(|| dir.path().join("repository"), Into::into);
    make(&root, rows);
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
