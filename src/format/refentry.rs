//! One entry of a ref log: `refs/<kind>/<name>/<seq>`, and the encoding of names and sequence
//! numbers in keys.
//!
//! An entry is a JSON object followed by a line with its BLAKE3 hash in hex. The newest entry is
//! the value of the ref; an entry whose `new` is null deletes the ref. An entry may contain older
//! entries that were compacted into it.

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::marker::{checked_line, line_checksum};
use crate::model::id::Id;

/// One update of a ref.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefEntry {
    /// The directory below `refs/`: `heads`, `tags` or `remotes`. Together with the name and the
    /// number, `kind` makes an entry valid only under its own key.
    pub kind: String,
    /// Name of the ref as users see it.
    pub name: String,
    /// Number of the entry, from 1. Numbers are never reused.
    pub seq: u64,
    /// Hex id before the update; null if the ref did not exist.
    pub old: Option<String>,
    /// Hex id after the update; null deletes the ref.
    pub new: Option<String>,
    /// Random id, by which a writer recognises its own update.
    pub update: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Nanoseconds after `time`, so that undo can order updates within one second.
    pub nanos: u32,
    /// Author of the update.
    pub who: String,
    /// Description of the update: `commit: nightly`, `undo: ...`.
    pub why: String,
    /// Older entries that were compacted into this one, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub older: Vec<RefEntry>,
}

impl RefEntry {
    pub fn encode(&self) -> Vec<u8> {
        let line = serde_json::to_string(self).unwrap_or_default();
        format!("{line}\n{}\n", line_checksum(&line)).into_bytes()
    }

    /// Decodes an entry and checks its values.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let line = checked_line(bytes, "ref entry")?;
        let entry: Self = serde_json::from_str(line).map_err(|e| Malformed::new("ref entry", e.to_string()))?;
        std::iter::once(&entry).chain(&entry.older).try_for_each(Self::check)?;
        Ok(entry)
    }

    /// Checks the values that are used as ids and numbers. A remote may contain any bytes, and a
    /// value that is not an id must not be taken for a deletion.
    fn check(&self) -> Result<(), Malformed> {
        let is_id = |value: &Option<String>| value.as_deref().is_none_or(|text| Id::parse(text).is_some());
        if self.seq == 0 {
            return Err(Malformed::new("ref entry", "sequence number is 0"));
        }
        if !is_id(&self.old) || !is_id(&self.new) {
            return Err(Malformed::new("ref entry", "value is not a commit id"));
        }
        Ok(())
    }
}

/// Returns the last component of an entry's key. The number counts down, so that keys sort newest
/// first.
pub fn seq_key(seq: u64) -> String {
    format!("{:016x}", u64::MAX - seq)
}

/// Returns the last component of an entry's key for a store without conditional writes. The key
/// contains the id of the update, so that two writers never write to the same key.
pub fn unique_seq_key(seq: u64, update: &str) -> String {
    format!("{}.{update}", seq_key(seq))
}

/// Returns the sequence number of a key of [`seq_key`] or [`unique_seq_key`].
pub fn seq_of_key(key: &str) -> Option<u64> {
    let (digits, update) = key.split_once('.').map_or((key, None), |(digits, update)| (digits, Some(update)));
    let hex = |s: &str, len: usize| s.len() == len && s.bytes().all(|b| b.is_ascii_hexdigit());
    (hex(digits, 16) && update.is_none_or(|u| hex(u, 32))).then_some(())?;
    u64::from_str_radix(digits, 16).ok().map(|n| u64::MAX - n)
}

/// Encodes a ref name as one path component. All characters except lower-case letters, digits, `-`,
/// `_` and inner dots become `%XX`, so that names are distinct on case-insensitive stores and
/// contain no `/`. Long names end in a hash; the entry contains the full name.
pub fn encode_name(name: &str) -> String {
    let mut s = String::with_capacity(name.len());
    for (i, b) in name.bytes().enumerate() {
        match b {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => s.push(char::from(b)),
            b'.' if i > 0 => s.push('.'),
            _ => s.push_str(&format!("%{b:02x}")),
        }
    }
    // File systems limit a path component to 255 bytes.
    if s.len() > 200 {
        s.truncate(150);
        s.push('~');
        s.push_str(&line_checksum(name)[..32]);
    }
    s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_newest_first() {
        assert!(seq_key(2) < seq_key(1));
        assert_eq!(seq_of_key(&seq_key(77)), Some(77));
        assert_eq!(seq_of_key(&unique_seq_key(77, &"0a".repeat(16))), Some(77));
        for bad in ["x", "0123", "000000000000000g", "0000000000000001.x", "0000000000000001."] {
            assert_eq!(seq_of_key(bad), None, "{bad}");
        }
    }

    #[test]
    fn names() {
        for name in ["main", "AMCC", "cust/acme", "AMCC@rel.1", "ü%"] {
            let segment = encode_name(name);
            assert!(!segment.contains('/') && segment == segment.to_lowercase());
        }
        let long = ["A".repeat(240), "A".repeat(239) + "B"].map(|n| encode_name(&n));
        assert!(long[0] != long[1] && long[0].len() < 250);
    }

    #[test]
    fn damage_is_seen() {
        let e = RefEntry {
            kind: "heads".into(),
            name: "main".into(),
            seq: 1,
            old: None,
            new: Some("ab".repeat(32)),
            update: "u".into(),
            time: 5,
            nanos: 6,
            who: "w".into(),
            why: "commit".into(),
            older: vec![],
        };
        let bytes = e.encode();
        assert_eq!(RefEntry::decode(&bytes), Ok(e.clone()));
        for i in 0..bytes.len() {
            let mut b = bytes.clone();
            b[i] ^= 1;
            assert!(RefEntry::decode(&b).is_err());
        }
        assert!(RefEntry::decode(&bytes[..bytes.len() - 1]).is_err());
        for bad in [
            RefEntry { new: Some("../../x".into()), ..e.clone() },
            RefEntry { new: Some(String::new()), ..e.clone() },
            RefEntry { old: Some("ab".into()), ..e.clone() },
            RefEntry { seq: 0, ..e.clone() },
            RefEntry { older: vec![RefEntry { new: Some("ab".into()), ..e.clone() }], ..e.clone() },
        ] {
            assert!(RefEntry::decode(&bad.encode()).is_err());
        }
    }
}
