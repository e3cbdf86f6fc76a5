//! Tests of segments and the index: comparison with maps in memory, damage, and merging.

use super::segment_reader::SegmentReader;
use super::segment_writer::{WrittenSegment, merge, write_segment};
use super::{Index, IndexError, MERGE_AT, merge_plan};
use crate::format::pack::PackKind;
use crate::format::segment::tables::PackEntry;
use crate::format::segment::{IndexRow, ObjectLocation, SegmentName};
use crate::model::id::Id;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const KIND: PackKind = PackKind::Data;

fn id(n: u64) -> Id {
    Id(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

fn pack(n: u64) -> [u8; 32] {
    *blake3::hash(&[b"pack".as_slice(), &n.to_le_bytes()].concat()).as_bytes()
}

/// Returns a row that depends only on the number of its object and the number of its copy.
fn row(n: u64, copy: u64) -> IndexRow {
    let place = |n: u64, copy: u64| ObjectLocation {
        // Each copy of an object is in another pack.
        pack: pack(n % 7 + copy * 7),
        offset: u32::try_from(n * 1000).unwrap_or(u32::MAX),
        stored: 700 + u32::try_from(n % 300).unwrap(),
        within: u32::try_from(n % 3).unwrap() * 4096,
        len: 65536,
        codec: u8::try_from(n % 3).unwrap(),
    };
    IndexRow {
        id: id(n),
        place: place(n, copy),
        // Every fifth object is a delta.
        base: n.is_multiple_of(5).then(|| place(n / 5, copy)),
    }
}

fn all_packs() -> Vec<PackEntry> {
    (0..70)
        .map(|n| PackEntry {
            name: pack(n),
            size_bytes: n * 1000,
        })
        .collect()
}

fn segment(dir: &Path, rows: &BTreeSet<IndexRow>) -> WrittenSegment {
    let rows: Vec<IndexRow> = rows.iter().copied().collect();
    write_segment(dir, KIND, &rows, &all_packs(), &[]).unwrap()
}

fn open(written: &WrittenSegment) -> Arc<SegmentReader> {
    Arc::new(SegmentReader::open(written.name, written.file.path()).unwrap())
}

fn open_all(paths: &[(SegmentName, PathBuf)]) -> Result<Index, IndexError> {
    Index::open(
        paths
            .iter()
            .map(|(name, path)| (*name, SegmentReader::open(*name, path))),
    )
}

fn rows_of(reader: &Arc<SegmentReader>) -> Vec<IndexRow> {
    reader.iter().collect::<Result<_, _>>().unwrap()
}

fn numbers() -> impl Strategy<Value = BTreeSet<(u64, u64)>> {
    proptest::collection::btree_set((0..2000u64, 0..3u64), 0..600)
}

fn rows_from(numbers: &BTreeSet<(u64, u64)>) -> BTreeSet<IndexRow> {
    numbers.iter().map(|(n, copy)| row(*n, *copy)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn segment_is_the_set_of_its_rows(numbers in numbers()) {
        let dir = tempfile::tempdir().unwrap();
        let rows = rows_from(&numbers);
        let written = segment(dir.path(), &rows);
        let reader = open(&written);
        prop_assert_eq!(reader.rows(), rows.len() as u64);
        reader.verify().unwrap();
        prop_assert_eq!(rows_of(&reader), rows.iter().copied().collect::<Vec<_>>());
        for n in 0..2000 {
            let expected: Vec<IndexRow> = rows.iter().filter(|r| r.id == id(n)).copied().collect();
            let mut found = Vec::new();
            reader.lookup_all(&id(n), &mut found).unwrap();
            prop_assert_eq!(reader.lookup(&id(n)).unwrap(), expected.first().copied());
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn merge_is_union(inputs in proptest::collection::vec(numbers(), 1..6)) {
        let dir = tempfile::tempdir().unwrap();
        let sets: Vec<BTreeSet<IndexRow>> = inputs.iter().map(rows_from).collect();
        let written: Vec<_> = sets.iter().map(|s| segment(dir.path(), s)).collect();
        let readers: Vec<_> = written.iter().map(open).collect();
        let merged = open(&merge(dir.path(), KIND, &readers, |_| true).unwrap());
        merged.verify().unwrap();
        let union: BTreeSet<IndexRow> = sets.iter().flatten().copied().collect();
        prop_assert_eq!(rows_of(&merged), union.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(merged.replaces(), written.iter().map(|w| w.name).collect::<Vec<_>>());
        // A row also depends on the pack of its base, so both disappear with the pack.
        let gone = pack(3);
        let without = open(&merge(dir.path(), KIND, &readers, |p| *p != gone).unwrap());
        let left: Vec<IndexRow> = union.into_iter().filter(|r| r.place.pack != gone && r.base.is_none_or(|b| b.pack != gone)).collect();
        prop_assert_eq!(rows_of(&without), left);
    }

    #[test]
    fn index_is_the_union_of_memory_and_segments(steps in proptest::collection::vec((0..12u8, 0..60u64, 0..3u64), 0..200)) {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::default();
        let mut model: BTreeSet<IndexRow> = BTreeSet::new();
        let mut kept = Vec::new();
        for (step, n, copy) in steps {
            match step {
                0 => {
                    // The pending rows become a segment.
                    let rows = index.take_pending(KIND);
                    let written = write_segment(dir.path(), KIND, &rows, &all_packs(), &[]).unwrap();
                    index.add_segment(SegmentReader::open(written.name, written.file.path()).unwrap());
                    prop_assert_eq!(index.pending(KIND), 0);
                    kept.push(written);
                }
                1 => {
                    // All segments become one.
                    let merged = merge(dir.path(), KIND, &index.segments(KIND), |_| true).unwrap();
                    index.add_segment(SegmentReader::open(merged.name, merged.file.path()).unwrap());
                    prop_assert_eq!(index.segments(KIND).len(), 1);
                    kept.push(merged);
                }
                // Rows that were taken for a segment that never came must still be found.
                2 => drop(index.take_pending(KIND)),
                _ => {
                    let row = row(n, copy);
                    index.insert(KIND, &row);
                    model.insert(row);
                }
            }
            let expected: Vec<IndexRow> = model.iter().filter(|r| r.id == id(n)).copied().collect();
            prop_assert_eq!(index.lookup(KIND, &id(n)).unwrap().is_some(), !expected.is_empty());
            prop_assert_eq!(index.lookup_all(KIND, &id(n)).unwrap(), expected);
            prop_assert_eq!(index.lookup(PackKind::Tree, &id(n)).unwrap(), None);
        }
    }
}

#[test]
fn damage_of_any_byte_is_an_error_or_a_miss() {
    let dir = tempfile::tempdir().unwrap();
    let rows: BTreeSet<IndexRow> = (0..70).map(|n| row(n, 0)).collect();
    let written = segment(dir.path(), &rows);
    let good = std::fs::read(written.file.path()).unwrap();
    let path = dir.path().join("damaged");
    let verify = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let reader = Arc::new(SegmentReader::open(written.name, &path)?);
        for r in &rows {
            if let Ok(Some(found)) = reader.lookup(&r.id) {
                assert_eq!(found, *r, "wrong location");
            }
        }
        assert!(
            reader
                .iter()
                .filter_map(Result::ok)
                .all(|r| rows.contains(&r))
        );
        reader.verify()
    };
    verify(&good).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(verify(&bad).is_err(), "byte {at}");
    }
    for len in (0..good.len()).step_by(7) {
        assert!(
            matches!(verify(&good[..len]), Err(IndexError::Segment { .. })),
            "cut to {len}"
        );
    }
    // The file is repeated, so the footer at its end is valid, but the sections do not fill the
    // file.
    assert!(verify(&[&good, good.as_slice()].concat()).is_err());
}

#[test]
fn rows_out_of_order_or_without_pack_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = vec![row(1, 0), row(2, 0), row(3, 0)];
    rows.sort_unstable_by(|a, b| b.cmp(a));
    assert!(write_segment(dir.path(), KIND, &rows, &all_packs(), &[]).is_err());
    assert!(write_segment(dir.path(), KIND, &rows[..1], &[], &[]).is_err());
}

#[test]
fn a_whole_copy_comes_first() {
    let index = Index::default();
    let delta = row(5, 0);
    let whole = IndexRow {
        base: None,
        place: ObjectLocation {
            pack: pack(60),
            ..delta.place
        },
        ..delta
    };
    assert!(index.insert(KIND, &delta));
    assert!(!index.insert(KIND, &whole));
    assert!(!index.insert(KIND, &whole));
    assert_eq!(index.pending(KIND), 2);
    assert_eq!(index.lookup(KIND, &delta.id).unwrap(), Some(whole));
    assert_eq!(
        index.lookup_all(KIND, &delta.id).unwrap(),
        vec![whole, delta]
    );
}

#[test]
fn replaced_segments_are_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let old = segment(dir.path(), &(0..10).map(|n| row(n, 0)).collect());
    let new = merge(dir.path(), KIND, &[open(&old)], |p| *p != pack(1)).unwrap();
    let paths: Vec<_> = [&new, &old]
        .map(|w| (w.name, w.file.path().to_owned()))
        .into();
    let index = open_all(&paths).unwrap();
    assert_eq!(index.segments(KIND).len(), 1);
    assert_eq!(index.lookup(KIND, &id(1)).unwrap(), None);
    assert_eq!(index.pack_bytes(KIND, &pack(2)), Some(2000));
}

#[test]
fn a_damaged_segment_hides_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (
        (0..10).map(|n| row(n, 0)).collect(),
        (5..15).map(|n| row(n, 0)).collect(),
    );
    let (bad, good) = (segment(dir.path(), &first), segment(dir.path(), &second));
    let paths: Vec<_> = [&bad, &good]
        .map(|w| (w.name, w.file.path().to_owned()))
        .into();
    let whole = std::fs::read(bad.file.path()).unwrap();
    // A byte of the head, of the only bucket, and of the footer.
    for at in [9, 40, whole.len() - 10] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(bad.file.path(), &bytes).unwrap();
        let index = open_all(&paths).unwrap();
        assert!(
            (5..15).all(|n| index.lookup(KIND, &id(n)).unwrap() == Some(row(n, 0))),
            "{at}"
        );
        assert!(
            (5..15).all(|n| index.lookup_all(KIND, &id(n)).unwrap() == [row(n, 0)]),
            "{at}"
        );
        let lost = (0..5)
            .filter(|n| index.lookup(KIND, &id(*n)).is_err())
            .count();
        assert!(
            lost > 0 && (lost == 5 || index.damaged().is_empty()),
            "{at}: {lost}"
        );
        assert!((0..5).all(|n| !matches!(index.lookup(KIND, &id(n)), Ok(None))));
    }
    // Truncation is damage, which is only recorded. A missing file is an error of the system, which
    // ends the opening.
    std::fs::write(bad.file.path(), &whole[..whole.len() - 1]).unwrap();
    assert_eq!(open_all(&paths).unwrap().damaged().len(), 1);
    std::fs::remove_file(bad.file.path()).unwrap();
    assert!(open_all(&paths).is_err());
}

#[test]
fn full_tiers_are_merged_together() {
    assert_eq!(merge_plan(&[10; MERGE_AT - 1]), Vec::<usize>::new());
    assert_eq!(merge_plan(&[10; MERGE_AT]).len(), MERGE_AT);
    // The seven segments of the next tier join only if the merged segment belongs to their tier.
    let small = [[10; 8].as_slice(), &[5000; 7]].concat();
    assert_eq!(merge_plan(&small).len(), 8);
    let large = [[4000; 8].as_slice(), &[5000; 7]].concat();
    assert_eq!(merge_plan(&large).len(), 15);
}
