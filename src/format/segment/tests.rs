//! Tests of the parts of a segment: round trips, and decoders that receive arbitrary bytes.

use super::bucket::BucketEncoder;
use super::fanout::FanoutPage;
use super::filter::FilterBuilder;
use super::footer::SegmentFooter;
use super::tables::{PackEntry, PackTable};
use super::{
    IndexRow, ObjectLocation, SegmentError, SegmentSection, bucket, checksum, decode_head,
    encode_head, fanout, filter, footer, tables,
};
use crate::format::pack::PackKind;
use crate::model::id::Id;
use proptest::prelude::*;

fn packs() -> PackTable {
    PackTable::new(
        (0..200u8)
            // `PackTable::new` sorts the packs.
            .rev()
            .map(|n| PackEntry {
                name: [n; 32],
                size_bytes: u64::from(n),
            })
            .collect(),
    )
    .unwrap()
}

fn place() -> impl Strategy<Value = ObjectLocation> {
    (0..200u8, any::<[u32; 4]>(), 0..4u8).prop_map(
        |(pack, [offset, stored, within, len], codec)| ObjectLocation {
            pack: [pack; 32],
            offset,
            stored,
            within,
            len,
            codec,
        },
    )
}

fn row() -> impl Strategy<Value = IndexRow> {
    (any::<[u8; 32]>(), place(), proptest::option::of(place())).prop_map(|(id, place, base)| {
        IndexRow {
            id: Id(id),
            place,
            base,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bucket_round_trip(bits in 0..=26u8, mut rows in proptest::collection::vec(row(), 1..40)) {
        let packs = packs();
        let bucket = fanout::bucket_of(&rows[0].id, bits);
        let top = rows[0].id.0;
        // All ids begin with the same 32 bits, so all rows belong to one bucket for each number of
        // bits.
        for r in &mut rows {
            r.id.0[..4].copy_from_slice(&top[..4]);
        }
        rows.sort_unstable();
        rows.dedup();
        let mut encoder = BucketEncoder::default();
        for r in &rows {
            encoder.push(bits, r, &packs).unwrap();
        }
        let bytes = encoder.finish(bucket).unwrap().unwrap().to_vec();
        prop_assert_eq!(&bucket::decode(bits, bucket, &bytes, &packs).unwrap(), &rows);
        for r in &rows {
            let mut found = Vec::new();
            bucket::find(bits, &r.id, &bytes, &packs, |row| { found.push(row); true }).unwrap();
            prop_assert!(found.contains(r) && found.iter().all(|f| f.id == r.id));
        }
        // The bucket is rejected under a different number, and with any byte changed.
        prop_assert!(bucket::decode(bits, bucket ^ 1, &bytes, &packs).is_err());
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            prop_assert!(bucket::decode(bits, bucket, &bad, &packs).is_err());
        }
        // Without the pack table, the numbers of the packs have no meaning.
        prop_assert!(bucket::decode(bits, bucket, &bytes, &PackTable::default()).is_err());
    }

    #[test]
    fn any_bytes_are_taken(bits in any::<u8>(), n in any::<u64>(), mut bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        // Add a valid checksum, because a decoder would otherwise reject the bytes before it
        // decodes them.
        let mut sealed = |section| {
            let content = bytes.len().saturating_sub(8);
            let sum = checksum(section, n, &bytes[..content]);
            bytes.truncate(content);
            bytes.extend_from_slice(&sum);
            bytes.clone()
        };
        let bits = bits % 27;
        let _ = bucket::decode(bits, n, &sealed(SegmentSection::Bucket), &packs());
        let _ = FanoutPage::decode(bits, n, n, &sealed(SegmentSection::Fanout));
        let _ = filter::decode_piece(n, &sealed(SegmentSection::Filter));
        let _ = PackTable::decode(&sealed(SegmentSection::Packs));
        let _ = tables::decode_replaces(&sealed(SegmentSection::Replaces));
        let _ = filter::piece_range(n, n / 1024);
        if let Some(last) = sealed(SegmentSection::Footer).last_chunk::<64>() {
            let _ = SegmentFooter::decode(last).map(|f| f.layout());
        }
    }

    #[test]
    fn footer_round_trip(bits in 0..=26u8, n in any::<[u64; 5]>()) {
        let [rows, bucket_bytes, blocks, packs, replaces] = n;
        let footer = SegmentFooter { kind: PackKind::List, bits, rows, bucket_bytes, filter_blocks: blocks.max(1), packs, replaces };
        prop_assert_eq!(SegmentFooter::decode(&footer.encode()), Ok(footer));
        if let Some(layout) = footer.layout() {
            prop_assert!(layout.buckets.end <= layout.fanout.end && layout.filter.end <= layout.file_bytes);
            prop_assert!(footer.layout_in(layout.file_bytes + 1).is_err());
        }
    }

    #[test]
    fn fanout_round_trip(lengths in proptest::collection::vec(0..100_000u32, 1024)) {
        let bytes = fanout::encode(&lengths);
        prop_assert_eq!(bytes.len() as u64, fanout::section_bytes(10));
        let mut next = super::HEAD_BYTES;
        for page in 0..fanout::page_count(10) {
            let (start, len) = fanout::page_range(10, page);
            let stored = &bytes[usize::try_from(start).unwrap()..][..usize::try_from(len).unwrap()];
            let decoded = FanoutPage::decode(10, page, u64::MAX, stored).unwrap();
            // If the buckets end one byte earlier, the last bucket of this page is beyond their
            // end.
            prop_assert!(FanoutPage::decode(10, page, decoded.span().end - 1, stored).is_err());
            for (nth, bucket) in (0..).zip(fanout::buckets_of_page(10, page)) {
                let range = decoded.bucket(nth).unwrap();
                prop_assert_eq!((range.start, range.end - range.start), (next, u64::from(lengths[usize::try_from(bucket).unwrap()])));
                next = range.end;
            }
            prop_assert_eq!(decoded.bucket(512), None);
        }
    }
}

#[test]
fn filter_has_every_id_and_few_others() {
    let id = |n: u32| Id(*blake3::hash(&n.to_le_bytes()).as_bytes());
    let mut builder = FilterBuilder::new(100_000).unwrap();
    (0..100_000).for_each(|n| builder.insert(&id(n)));
    let blocks = builder.blocks();
    let mut stored = Vec::new();
    for (piece, sum) in builder.pieces() {
        stored.extend_from_slice(piece);
        stored.extend_from_slice(&sum);
    }
    assert_eq!(stored.len() as u64, filter::section_bytes(blocks).unwrap());
    let hits = |ids: std::ops::Range<u32>| {
        ids.filter(|n| {
            let block = filter::block_of(&id(*n), blocks);
            let piece = block / filter::PIECE_BLOCKS;
            let (start, len) = filter::piece_range(blocks, piece).unwrap();
            let bytes = &stored[usize::try_from(start).unwrap()..][..usize::try_from(len).unwrap()];
            let at = usize::try_from(block % filter::PIECE_BLOCKS).unwrap() * 64;
            filter::may_contain(
                &filter::decode_piece(piece, bytes).unwrap()[at..at + 64],
                &id(*n),
            )
        })
        .count()
    };
    assert_eq!(hits(0..100_000), 100_000);
    // Ten bits per row and seven probes let 0.8 % of absent ids pass in theory. The division into
    // blocks adds to that, because some blocks have more rows than others.
    let wrong = hits(100_000..200_000);
    assert!(wrong < 2_000, "{wrong} of 100,000 absent ids pass");
}

#[test]
fn tables_round_trip() {
    let table = packs();
    assert_eq!(PackTable::decode(&table.encode()), Ok(table.clone()));
    assert_eq!(table.number(&[7; 32]), Some(7));
    assert_eq!(table.number(&[250; 32]), None);
    let names = vec![[1; 32], [9; 32]];
    assert_eq!(
        tables::decode_replaces(&tables::encode_replaces(&names)),
        Ok(names)
    );
}

#[test]
fn pack_table_out_of_order_is_refused() {
    let mut content = [vec![2; 40], vec![1; 40]].concat();
    let sum = checksum(SegmentSection::Packs, 0, &content);
    content.extend_from_slice(&sum);
    assert_eq!(
        PackTable::decode(&content),
        Err(SegmentError::Damaged("pack table is not sorted"))
    );
}

#[test]
fn a_later_version_is_named() {
    let mut head = encode_head(PackKind::Tree);
    assert_eq!(decode_head(&head), Ok(PackKind::Tree));
    head[8] = 2;
    assert_eq!(decode_head(&head), Err(SegmentError::Version(2)));
    assert_eq!(footer::FOOTER_BYTES, 64);
}
