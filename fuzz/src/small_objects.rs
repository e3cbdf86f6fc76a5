//! Decoders of the small objects of a repository: the marker, log entries, leases and pack lists.
//!
//! All except pack lists consist of a line of text and a line with its checksum, which is corrected
//! first.

use dvc::format::gclog::{GC_KIND, GcEntry, GcStep};
use dvc::format::lease::{LEASE_KIND, Lease, LeaseUse};
use dvc::format::marker::Marker;
use dvc::format::pack::PackKind;
use dvc::format::packlist::{self, ListReason, ListedPack, PackList, PackListWriter};
use dvc::format::refentry::RefEntry;
use dvc::format::text::line_checksum;
use dvc::format::trashlog::{TRASH_KIND, TrashEntry};
use dvc::model::id::Id;

use super::stable;

fn sealed_line(bytes: &[u8]) -> Option<Vec<u8>> {
    let line = std::str::from_utf8(bytes)
        .ok()
        .filter(|l| !l.contains('\n'))?;
    Some(format!("{line}\n{}\n", line_checksum(line)).into_bytes())
}

/// Decodes the marker of a repository.
pub fn marker(bytes: &[u8]) {
    stable(bytes, Marker::decode, Marker::encode);
    if let Some(sealed) = sealed_line(bytes) {
        stable(&sealed, Marker::decode, Marker::encode);
    }
}

fn first_line(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().take_while(|b| *b != b'\n').collect()
}

pub(super) fn marker_samples() -> Vec<Vec<u8>> {
    let m = Marker {
        kind: "dvc".to_owned(),
        version: 1,
        id: "0a".repeat(16),
        features: vec![],
        default_branch: "main".to_owned(),
        chunker: "auto".into(),
        cdc: [16_384, 65_536, 262_144],
        page: 65_536,
    };
    vec![m.encode(), first_line(m.encode())]
}

/// Decodes an entry of a ref log.
pub fn ref_entry(bytes: &[u8]) {
    stable(bytes, RefEntry::decode, RefEntry::encode);
    if let Some(sealed) = sealed_line(bytes) {
        stable(&sealed, RefEntry::decode, RefEntry::encode);
    }
}

pub(super) fn ref_entry_samples() -> Vec<Vec<u8>> {
    let old = RefEntry {
        kind: "heads".to_owned(),
        name: "cust/acme".to_owned(),
        seq: 6,
        old: None,
        new: Some("1a".repeat(32)),
        update: "u".to_owned(),
        time: -1,
        nanos: 1,
        who: "A".to_owned(),
        why: "commit: nightly".to_owned(),
        older: vec![],
    };
    let e = RefEntry {
        seq: 7,
        old: old.new.clone(),
        new: None,
        older: vec![old.clone(), old.clone()],
        ..old
    };
    vec![e.encode(), first_line(e.encode())]
}

/// Decodes a value that has only one encoding, so that a signature of the text is also a signature
/// of the value.
fn exact<T: PartialEq + std::fmt::Debug, E: std::fmt::Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    for bytes in [Some(bytes.to_vec()), sealed_line(bytes)]
        .into_iter()
        .flatten()
    {
        if let Ok(value) = decode(&bytes) {
            assert_eq!(
                encode(&value),
                bytes,
                "another text was accepted for {value:?}"
            );
        }
    }
}

/// Decodes an entry of the garbage collection log.
pub fn gc_entry(bytes: &[u8]) {
    exact(bytes, GcEntry::decode, GcEntry::encode);
}

pub(super) fn gc_entry_samples() -> Vec<Vec<u8>> {
    let plan = GcEntry {
        kind: GC_KIND.to_owned(),
        seq: 7,
        update: "0a".repeat(16),
        time: -1,
        nanos: 1,
        who: "A \"B\"".to_owned(),
        what: GcStep::Plan,
        list: Some([0x1a; 32]),
        count: 3,
        bytes: 1 << 40,
        why: "gc: \u{e9}".to_owned(),
    };
    let dead = GcEntry {
        seq: 8,
        what: GcStep::Dead,
        ..plan.clone()
    };
    let void = GcEntry {
        list: None,
        count: 0,
        bytes: 0,
        ..plan.clone()
    };
    let whole = [plan, dead, void].map(|e| e.encode());
    let lines = whole.clone().map(first_line);
    [whole, lines].concat()
}

/// Decodes an entry of the log of forgotten versions.
pub fn trash_entry(bytes: &[u8]) {
    exact(bytes, TrashEntry::decode, TrashEntry::encode);
}

pub(super) fn trash_entry_samples() -> Vec<Vec<u8>> {
    let old = TrashEntry {
        kind: TRASH_KIND.to_owned(),
        seq: 127,
        update: "0a".repeat(16),
        time: 5,
        nanos: 0,
        who: "A".to_owned(),
        why: "forget: keep-daily 7".to_owned(),
        forget: vec![Id([1; 32]), Id([2; 32])],
        restore: vec![Id([3; 32])],
        older: vec![],
    };
    let fence = TrashEntry {
        seq: 126,
        forget: vec![],
        restore: vec![],
        ..old.clone()
    };
    let e = TrashEntry {
        seq: 128,
        older: vec![old.clone(), fence],
        ..old.clone()
    };
    vec![e.encode(), first_line(e.encode()), first_line(old.encode())]
}

/// Decodes a lease.
pub fn lease(bytes: &[u8]) {
    exact(bytes, Lease::decode, Lease::encode);
}

pub(super) fn lease_samples() -> Vec<Vec<u8>> {
    let versions = vec![Id([1; 32]), Id([2; 32])];
    let l = Lease {
        kind: LEASE_KIND.to_owned(),
        host: "db1".to_owned(),
        what: LeaseUse::Overlay,
        versions,
        made: 5,
        until: i64::MAX,
    };
    vec![l.encode(), first_line(l.encode())]
}

/// Decodes a pack list. The input has no checksum; the function adds it.
pub fn pack_list(bytes: &[u8]) {
    let sealed = [bytes, &packlist::checksum(bytes)].concat();
    let Ok(list) = PackList::decode(sealed.clone()) else {
        return;
    };
    let mut again = PackListWriter::default();
    for pack in list.iter() {
        assert_eq!(list.find(&pack.name), Some(pack));
        assert!(again.push(&pack).is_ok());
    }
    assert_eq!(
        (again.count(), again.sum_bytes()),
        (list.len() as u64, list.sum_bytes())
    );
    assert_eq!(again.finish(), sealed);
}

pub(super) fn pack_list_samples() -> Vec<Vec<u8>> {
    let reasons = [
        ListReason::Unused,
        ListReason::Copied,
        ListReason::Orphan,
        ListReason::Damaged,
    ];
    [0, 1, 4]
        .map(|len| {
            let mut list = PackListWriter::default();
            for (n, reason) in (1..).zip(reasons).take(len) {
                let pack = ListedPack {
                    name: [n; 32],
                    size_bytes: 1000,
                    kind: PackKind::List,
                    reason,
                    since: 1 << 40,
                };
                assert!(list.push(&pack).is_ok());
            }
            let mut bytes = list.finish();
            bytes.truncate(bytes.len() - 16);
            bytes
        })
        .to_vec()
}
