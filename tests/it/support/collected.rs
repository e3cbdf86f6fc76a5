//! The state that garbage collections and `forget` will leave in a repository: their logs, lists,
//! forgotten versions, a lease, overwritten files of a worktree, and a salted pack. No command
//! writes this state yet.

use std::fs;
use std::path::{Path, PathBuf};

use dvc::codec::hash::{NameHasher, checksum};
use dvc::format::gclog::{GC_KIND, GcEntry, GcStep};
use dvc::format::lease::{LEASE_KIND, Lease, LeaseUse, lease_key};
use dvc::format::logkey::{seq_key, unique_seq_key};
use dvc::format::pack::{FOOTER_LEN, HEADER_LEN, PackFooter, PackHeader, PackKind, PackSalt};
use dvc::format::packlist::{ListReason, ListedPack, PackListWriter};
use dvc::format::refentry::RefEntry;
use dvc::format::trashlog::{TRASH_KIND, TrashEntry};
use dvc::model::id::{Id, to_hex};

use super::known::files_of;

/// 2026-11-20T03:00:00Z.
const TIME: i64 = 1_795_143_600;
const WHO: &str = "Ann Example <ann@example.org>";

/// The paths of files that [`write_state`] has written.
pub struct GcState {
    pub plan: PathBuf,
    pub dead: PathBuf,
    /// The list of the dead entry. `old_list` is a list to which no current entry refers.
    pub list: PathBuf,
    pub old_list: PathBuf,
    pub trash: [PathBuf; 2],
    pub lease: PathBuf,
    pub overwritten: PathBuf,
}

/// Writes the state into a repository with the versions `old` and `newest`. `old` is forgotten and
/// restored.
pub fn write_state(root: &Path, old: &Id, newest: &Id) -> GcState {
    let old_list = write_list(root, &[listed(0xd0, ListReason::Orphan)]);
    let list = write_list(
        root,
        &[
            listed(0xd0, ListReason::Orphan),
            listed(0xd1, ListReason::Copied),
        ],
    );
    let plan_list = write_list(
        root,
        &[ListedPack {
            since: 0,
            ..listed(0xd2, ListReason::Unused)
        }],
    );
    let first = gc_entry(1, GcStep::Plan, &old_list, 1);
    let dead = gc_entry(2, GcStep::Dead, &list, 2);
    let plan = gc_entry(3, GcStep::Plan, &plan_list, 1);
    let log = root.join("quarantine/log");
    write(&log.join(seq_key(1)), &first.encode());
    // In a store without conditional writes, an entry has a unique key of this form.
    let plan_path = write(&log.join(unique_seq_key(3, &plan.update)), &plan.encode());
    let dead_path = write(&log.join(seq_key(2)), &dead.encode());

    let forget = trash_entry(1, vec![*old], vec![]);
    let fence = TrashEntry {
        why: "gc: fence 3".to_owned(),
        ..trash_entry(2, vec![], vec![])
    };
    let restore = TrashEntry {
        older: vec![fence, forget],
        ..trash_entry(3, vec![], vec![*old])
    };
    let trash = root.join("trash");
    let folding = write(&trash.join(seq_key(3)), &restore.encode());
    let newest_trash = write(
        &trash.join(seq_key(4)),
        &trash_entry(4, vec![], vec![]).encode(),
    );

    let lease = Lease {
        kind: LEASE_KIND.to_owned(),
        host: "golden".to_owned(),
        what: LeaseUse::Mount,
        versions: vec![*old],
        made: TIME,
        until: TIME + 7 * 86_400,
    };
    let lease = write(
        &root.join("sessions").join(lease_key(&"0b".repeat(16))),
        &lease.encode(),
    );

    let worktree = "0c".repeat(16);
    let overwritten = RefEntry {
        kind: "trash".to_owned(),
        name: worktree.clone(),
        seq: 1,
        old: None,
        new: Some(newest.to_string()),
        update: "0a".repeat(16),
        time: TIME,
        nanos: 0,
        who: WHO.to_owned(),
        why: "checkout -f".to_owned(),
        older: vec![],
    };
    let overwritten = write(
        &root.join("refs/trash").join(worktree).join(seq_key(1)),
        &overwritten.encode(),
    );
    GcState {
        plan: plan_path,
        dead: dead_path,
        list: list.path,
        old_list: old_list.path,
        trash: [folding, newest_trash],
        lease,
        overwritten,
    }
}

struct WrittenList {
    name: [u8; 32],
    path: PathBuf,
    bytes: u64,
}

fn listed(n: u8, reason: ListReason) -> ListedPack {
    ListedPack {
        name: [n; 32],
        size_bytes: 1000,
        kind: PackKind::Data,
        reason,
        since: TIME.unsigned_abs(),
    }
}

fn write_list(root: &Path, packs: &[ListedPack]) -> WrittenList {
    let mut list = PackListWriter::default();
    packs.iter().for_each(|pack| list.push(pack).unwrap());
    let (sum, bytes) = (list.sum_bytes(), list.finish());
    let name = sha256(&bytes);
    let path = write(&root.join("quarantine/lists").join(to_hex(&name)), &bytes);
    WrittenList {
        name,
        path,
        bytes: sum,
    }
}

fn gc_entry(seq: u64, what: GcStep, list: &WrittenList, count: u64) -> GcEntry {
    GcEntry {
        kind: GC_KIND.to_owned(),
        seq,
        update: "0a".repeat(16),
        time: TIME,
        nanos: 0,
        who: WHO.to_owned(),
        what,
        list: Some(list.name),
        count,
        bytes: list.bytes,
        why: "gc".to_owned(),
    }
}

fn trash_entry(seq: u64, forget: Vec<Id>, restore: Vec<Id>) -> TrashEntry {
    TrashEntry {
        kind: TRASH_KIND.to_owned(),
        seq,
        update: "0a".repeat(16),
        time: TIME,
        nanos: 0,
        who: WHO.to_owned(),
        why: "forget".to_owned(),
        forget,
        restore,
        older: vec![],
    }
}

fn write(path: &Path, bytes: &[u8]) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    path.to_owned()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hasher = NameHasher::default();
    hasher.update(bytes);
    hasher.finish()
}

/// Gives all packs of a repository a salt, which changes their names. The index must be rebuilt
/// afterwards.
pub fn salt_packs(root: &Path, salt: PackSalt) {
    let packs = root.join("packs");
    let files = files_of(&packs);
    assert!(!files.is_empty());
    for bytes in files.values() {
        let salted = with_salt(bytes, salt);
        let name = to_hex(&sha256(&salted));
        write(&packs.join(&name[..2]).join(&name), &salted);
        let name = to_hex(&sha256(bytes));
        fs::remove_file(packs.join(&name[..2]).join(&name)).unwrap();
    }
}

/// Returns the pack with a different salt and the matching checksum.
fn with_salt(pack: &[u8], salt: PackSalt) -> Vec<u8> {
    let mut pack = pack.to_vec();
    let header = PackHeader {
        salt,
        ..PackHeader::decode(&pack).unwrap()
    }
    .encode();
    pack[..HEADER_LEN].copy_from_slice(&header);
    let (rest, end) = pack.split_last_chunk::<FOOTER_LEN>().unwrap();
    let footer = PackFooter::decode(end, pack.len() as u64).unwrap();
    let table = &rest[usize::try_from(footer.table_offset).unwrap()..];
    let footer = PackFooter {
        checksum: checksum(&[&header, table, &footer.fields()]),
        ..footer
    };
    [rest, &footer.encode()].concat()
}
