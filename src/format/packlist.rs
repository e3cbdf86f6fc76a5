//! A list of packs: `quarantine/lists/<sha-256>`. The entries of the garbage collection log refer
//! to lists.
//!
//! ```text
//! head     "dvc-gc\n" 0, version(2), zeros(6)
//! rows     48 each: name(32) length(8) kind(1) reason(1) since(6, big-endian)
//! footer   rows(8) sum of lengths(8) checksum(16)
//! ```
//! Other numbers are little-endian. The checksum is the first 16 bytes of the BLAKE3 hash of all
//! preceding bytes.
//! Invariant: the rows are in ascending order of name without duplicates, and their number follows
//! from the length of the file.

use super::Malformed;
use super::pack::PackKind;
use super::segment::PackName;

const WHAT: &str = "list of packs";
const HEAD: &[u8; 16] = b"dvc-gc\n\0\x01\0\0\0\0\0\0\0";
const ROW: usize = 48;
const FOOTER: usize = 32;
const SUM: usize = 16;
/// Limit on the length of a list in bytes: 22 million packs.
pub const LIST_MAX: u64 = 1 << 30;
/// The largest possible `since`: a row stores it in six bytes.
const SINCE_MAX: u64 = (1 << 48) - 1;

/// The reason why a pack is in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListReason {
    /// No version needs the pack.
    Unused,
    /// The objects that are still needed were copied to another pack.
    Copied,
    /// No index segment lists the pack.
    Orphan,
    Damaged,
}

impl ListReason {
    const ALL: [Self; 4] = [Self::Unused, Self::Copied, Self::Orphan, Self::Damaged];

    const fn number(self) -> u8 {
        match self {
            Self::Unused => 0,
            Self::Copied => 1,
            Self::Orphan => 2,
            Self::Damaged => 3,
        }
    }

    fn from_number(n: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.number() == n)
    }
}

/// A pack in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedPack {
    pub name: PackName,
    /// Length of the pack in bytes.
    pub size_bytes: u64,
    pub kind: PackKind,
    pub reason: ListReason,
    /// Time of the first `dead` entry that lists the pack, in seconds since 1970; 0 in a plan.
    pub since: u64,
}

impl ListedPack {
    fn encode(&self) -> [u8; ROW] {
        let mut row = [0; ROW];
        row[..32].copy_from_slice(&self.name);
        row[32..40].copy_from_slice(&self.size_bytes.to_le_bytes());
        row[40] = self.kind.number();
        row[41] = self.reason.number();
        // Six bytes suffice for 8.9 million years and keep a row at 48 bytes.
        row[42..].copy_from_slice(&self.since.to_be_bytes()[2..]);
        row
    }

    fn decode(row: &[u8; ROW]) -> Result<Self, Malformed> {
        let (mut name, mut size, mut since) = ([0; 32], [0; 8], [0; 8]);
        name.copy_from_slice(&row[..32]);
        size.copy_from_slice(&row[32..40]);
        since[2..].copy_from_slice(&row[42..]);
        Ok(Self {
            name,
            size_bytes: u64::from_le_bytes(size),
            kind: PackKind::from_number(row[40]).ok_or_else(|| bad("unknown kind"))?,
            reason: ListReason::from_number(row[41]).ok_or_else(|| bad("unknown reason"))?,
            since: u64::from_be_bytes(since),
        })
    }
}

/// Builds a list from packs in ascending order.
pub struct PackListWriter {
    bytes: Vec<u8>,
    last: Option<PackName>,
    count: u64,
    sum_bytes: u64,
}

impl Default for PackListWriter {
    fn default() -> Self {
        Self {
            bytes: HEAD.to_vec(),
            last: None,
            count: 0,
            sum_bytes: 0,
        }
    }
}

impl PackListWriter {
    /// Appends a pack. Fails if its name is not greater than the previous one, or if a number is
    /// out of range.
    pub fn push(&mut self, pack: &ListedPack) -> Result<(), Malformed> {
        if self.last.is_some_and(|last| last >= pack.name) {
            return Err(bad("packs are not ascending"));
        }
        if pack.since > SINCE_MAX {
            return Err(bad("time out of range"));
        }
        self.sum_bytes = self
            .sum_bytes
            .checked_add(pack.size_bytes)
            .ok_or_else(|| bad("lengths out of range"))?;
        self.bytes.extend_from_slice(&pack.encode());
        self.last = Some(pack.name);
        self.count += 1;
        Ok(())
    }

    /// Returns the number of packs that were appended so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the total length of the packs that were appended so far, in bytes.
    pub fn sum_bytes(&self) -> u64 {
        self.sum_bytes
    }

    /// Returns the encoded list; its name is the SHA-256 of these bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&self.count.to_le_bytes());
        self.bytes.extend_from_slice(&self.sum_bytes.to_le_bytes());
        let sum = checksum(&self.bytes);
        self.bytes.extend_from_slice(&sum);
        self.bytes
    }
}

/// A decoded list. All its rows are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackList {
    bytes: Vec<u8>,
    sum_bytes: u64,
}

impl Default for PackList {
    /// Returns the list without packs.
    fn default() -> Self {
        Self {
            bytes: PackListWriter::default().finish(),
            sum_bytes: 0,
        }
    }
}

impl PackList {
    /// Decodes a list and checks all its rows.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, Malformed> {
        if bytes.len() as u64 > LIST_MAX {
            return Err(bad("longer than 1 GiB"));
        }
        let rows_len = bytes
            .len()
            .checked_sub(HEAD.len() + FOOTER)
            .ok_or_else(|| bad("truncated"))?;
        if bytes[..HEAD.len()] != *HEAD {
            return Err(bad("not a pack list, or an unsupported version"));
        }
        let (content, sum) = bytes.split_at(bytes.len() - SUM);
        if checksum(content) != *sum {
            return Err(bad("checksum mismatch"));
        }
        let mut stored = [[0; 8]; 2];
        stored[0].copy_from_slice(&content[content.len() - 16..content.len() - 8]);
        stored[1].copy_from_slice(&content[content.len() - 8..]);
        let [count, sum_bytes] = stored.map(u64::from_le_bytes);
        // The length of the file determines the number of rows. The stored number is only compared.
        if rows_len % ROW != 0 || (rows_len / ROW) as u64 != count {
            return Err(bad("number of rows does not match the file length"));
        }
        let list = Self { bytes, sum_bytes };
        // The checksum proves nothing about a list that an attacker has written, and `find` relies
        // on the order.
        let (mut last, mut sum) = (None, 0u64);
        for row in list.rows() {
            let pack = ListedPack::decode(row)?;
            if last.is_some_and(|last| last >= pack.name) {
                return Err(bad("packs are not ascending"));
            }
            last = Some(pack.name);
            sum = sum
                .checked_add(pack.size_bytes)
                .ok_or_else(|| bad("lengths out of range"))?;
        }
        if sum != sum_bytes {
            return Err(bad("sum of lengths does not match"));
        }
        Ok(list)
    }

    fn rows(&self) -> &[[u8; ROW]] {
        self.bytes[HEAD.len()..self.bytes.len() - FOOTER]
            .as_chunks()
            .0
    }

    pub fn len(&self) -> usize {
        self.rows().len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows().is_empty()
    }

    /// Returns the total length of the packs in bytes.
    pub fn sum_bytes(&self) -> u64 {
        self.sum_bytes
    }

    /// Returns the packs in ascending order of name.
    pub fn iter(&self) -> impl Iterator<Item = ListedPack> {
        self.rows()
            .iter()
            // `decode` has checked every row, so none is skipped.
            .filter_map(|row| ListedPack::decode(row).ok())
    }

    /// Returns the row of a pack, or `None` if the list does not contain the pack.
    pub fn find(&self, name: &PackName) -> Option<ListedPack> {
        let rows = self.rows();
        let at = rows.binary_search_by(|row| row[..32].cmp(name)).ok()?;
        ListedPack::decode(&rows[at]).ok()
    }
}

fn bad(why: &str) -> Malformed {
    Malformed::new(WHAT, why)
}

/// Returns the checksum of the preceding bytes of a list.
pub fn checksum(bytes: &[u8]) -> [u8; SUM] {
    let mut sum = [0; SUM];
    sum.copy_from_slice(&blake3::hash(bytes).as_bytes()[..SUM]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(n: u8, reason: ListReason) -> ListedPack {
        let kind = PackKind::ALL[usize::from(n) % 3];
        ListedPack {
            name: [n; 32],
            size_bytes: 1000 + u64::from(n),
            kind,
            reason,
            since: 0x0102_0304_0506,
        }
    }

    fn packs() -> Vec<ListedPack> {
        (1..)
            .zip(ListReason::ALL)
            .map(|(n, reason)| pack(n, reason))
            .collect()
    }

    fn encode(packs: &[ListedPack]) -> Vec<u8> {
        let mut writer = PackListWriter::default();
        packs.iter().for_each(|pack| writer.push(pack).unwrap());
        writer.finish()
    }

    /// Encodes rows unchecked, with a matching footer and checksum.
    fn forge(rows: &[[u8; ROW]], count: u64, sum_bytes: u64) -> Vec<u8> {
        let mut bytes = HEAD.to_vec();
        rows.iter().for_each(|row| bytes.extend_from_slice(row));
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&sum_bytes.to_le_bytes());
        let sum = checksum(&bytes);
        [bytes, sum.to_vec()].concat()
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let bytes = encode(&[pack(1, ListReason::Copied)]);
        let mut expected = b"dvc-gc\n\0\x01\0\0\0\0\0\0\0".to_vec();
        expected.extend([1; 32]);
        // The length 1001, the kind `list`, the reason `copied`, and the time.
        expected.extend([0xe9, 3, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6]);
        // One row, and the sum of the lengths.
        expected.extend([1, 0, 0, 0, 0, 0, 0, 0, 0xe9, 3, 0, 0, 0, 0, 0, 0]);
        let sum = blake3::hash(&expected);
        expected.extend(&sum.as_bytes()[..16]);
        assert_eq!(bytes, expected);
        assert_eq!(encode(&[]).len(), 48);
    }

    #[test]
    fn rows_are_found() {
        let list = PackList::decode(encode(&packs())).unwrap();
        assert_eq!((list.len(), list.sum_bytes()), (4, 4010));
        assert_eq!(list.iter().collect::<Vec<_>>(), packs());
        for pack in packs() {
            assert_eq!(list.find(&pack.name), Some(pack));
        }
        assert_eq!((list.find(&[0; 32]), list.find(&[9; 32])), (None, None));
        assert!(PackList::decode(encode(&[])).unwrap().is_empty());
    }

    #[test]
    fn damage_is_seen() {
        let bytes = encode(&packs());
        for i in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[i] ^= 1;
            assert!(PackList::decode(flipped).is_err(), "{i}");
            assert!(PackList::decode(bytes[..i].to_vec()).is_err(), "{i}");
        }
        // Bytes after the end: one byte, and the length of a row.
        assert!(PackList::decode([&bytes[..], &[0]].concat()).is_err());
        assert!(PackList::decode([&bytes[..], &[0; ROW]].concat()).is_err());
    }

    #[test]
    fn the_rules_also_hold_under_a_valid_checksum() {
        let rows = |packs: &[ListedPack]| packs.iter().map(ListedPack::encode).collect::<Vec<_>>();
        let all = rows(&packs());
        assert!(PackList::decode(forge(&all, 4, 4010)).is_ok());
        let why = |bytes: Vec<u8>| {
            PackList::decode(bytes)
                .err()
                .map(|e| e.why)
                .unwrap_or_default()
        };
        // A decoder that computed the length of the file from one of the last two numbers would
        // overflow.
        for count in [0, 3, 5, u64::MAX, u64::MAX / ROW as u64] {
            assert!(
                why(forge(&all, count, 4010)).contains("the file length"),
                "{count}"
            );
        }
        assert!(why(forge(&all, 4, 4011)).contains("sum"));
        let [one, two] = [all[0], all[1]];
        assert!(why(forge(&[two, one], 2, 2003)).contains("ascending"));
        assert!(why(forge(&[one, one], 2, 2002)).contains("ascending"));
        let huge = |n| ListedPack {
            size_bytes: u64::MAX,
            ..pack(n, ListReason::Unused)
        };
        assert!(why(forge(&rows(&[huge(1), huge(2)]), 2, u64::MAX - 1)).contains("out of range"));
        for (at, what) in [(40, "kind"), (41, "reason")] {
            let mut row = one;
            row[at] = 9;
            assert!(why(forge(&[row], 1, 1001)).contains(what));
        }
        let mut later = encode(&packs());
        // A list of a later version, with a valid checksum.
        later[8] = 2;
        let end = later.len() - SUM;
        let sum = checksum(&later[..end]);
        later[end..].copy_from_slice(&sum);
        assert!(why(later).contains("version"));
    }

    #[test]
    fn the_writer_accepts_only_valid_rows() {
        let mut writer = PackListWriter::default();
        writer.push(&pack(2, ListReason::Unused)).unwrap();
        let late = ListedPack {
            since: 1 << 48,
            ..pack(3, ListReason::Unused)
        };
        let huge = ListedPack {
            size_bytes: u64::MAX,
            ..pack(3, ListReason::Unused)
        };
        for bad in [
            pack(1, ListReason::Unused),
            pack(2, ListReason::Orphan),
            late,
            huge,
        ] {
            assert!(writer.push(&bad).is_err());
        }
        assert_eq!((writer.count(), writer.sum_bytes()), (1, 1002));
        assert_eq!(PackList::decode(writer.finish()).unwrap().len(), 1);
    }
}
