//! An entry of a ref log, `refs/<kind>/<name>/<seq>`, and the encoding of ref names in keys.
//!
//! An entry is a JSON object, followed by a line with its BLAKE3 hash in hex. The newest entry has
//! the value of the ref; an entry whose `new` is null deletes the ref. An entry may contain older
//! entries that were folded into it.

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::text::{decode_line, encode_line, line_checksum};
use crate::model::id::Id;

/// One update of a ref, as it is stored in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefEntry {
    /// The directory below `refs/`: `heads`, `tags`, `remotes` or `trash`. Together with `name` and
    /// `seq`, it makes an entry valid only under its own key.
    pub kind: String,
    /// Name of the ref, as users see it.
    pub name: String,
    /// Number of the entry, from 1. Numbers are never reused.
    pub seq: u64,
    /// Hex id before the update; null if the ref did not exist before.
    pub old: Option<String>,
    /// Hex id after the update; null deletes the ref.
    pub new: Option<String>,
    /// Random id, by which a writer recognises the update that it has written.
    pub update: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Nanoseconds after `time`; they let `undo` order several updates within a second.
    pub nanos: u32,
    /// Author of the update.
    pub who: String,
    /// Description of the update, such as `commit: nightly` or `undo: ...`.
    pub why: String,
    /// Older entries that were folded into this one, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub older: Vec<RefEntry>,
}

impl RefEntry {
    pub fn encode(&self) -> Vec<u8> {
        encode_line(self)
    }

    /// Decodes an entry and checks its values.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let entry: Self = decode_line(bytes, "ref entry")?;
        std::iter::once(&entry)
            .chain(&entry.older)
            .try_for_each(Self::check)?;
        Ok(entry)
    }

    /// Checks the values that are used as ids and numbers. A remote may contain any bytes, and an
    /// invalid id must not be mistaken for a deletion.
    fn check(&self) -> Result<(), Malformed> {
        let is_id = |value: &Option<String>| {
            value
                .as_deref()
                .is_none_or(|text| Id::parse(text).is_some())
        };
        if self.seq == 0 {
            return Err(Malformed::new("ref entry", "sequence number is 0"));
        }
        if !is_id(&self.old) || !is_id(&self.new) {
            return Err(Malformed::new("ref entry", "value is not a commit id"));
        }
        Ok(())
    }
}

/// Encodes a ref name as one path component. All characters except lower-case letters, digits, `-`,
/// `_` and dots after the first character are encoded as `%XX`, so that names stay distinct on
/// case-insensitive stores and contain no `/`. A long name is cut and ends in a hash; the entry
/// contains the full name.
pub fn encode_name(name: &str) -> String {
    let mut s = String::with_capacity(name.len());
    for (i, b) in name.bytes().enumerate() {
        match b {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => s.push(char::from(b)),
            // A component with a leading dot could be `.` or `..`, or be hidden.
            b'.' if i > 0 => s.push('.'),
            _ => s.push_str(&format!("%{b:02x}")),
        }
    }
    // File systems limit a path component to 255 bytes.
    if s.len() > 200 {
        // The encoded name is ASCII, so it can be cut at any byte.
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
    fn names() {
        for name in ["main", "AMCC", "cust/acme", "AMCC@rel.1", "ü%"] {
            let segment = encode_name(name);
            assert!(!segment.contains('/') && segment == segment.to_lowercase());
        }
        // The names differ only in a character that is cut off, so only the hash distinguishes
        // them.
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
            RefEntry {
                new: Some("../../x".into()),
                ..e.clone()
            },
            RefEntry {
                new: Some(String::new()),
                ..e.clone()
            },
            RefEntry {
                old: Some("ab".into()),
                ..e.clone()
            },
            RefEntry {
                seq: 0,
                ..e.clone()
            },
            RefEntry {
                older: vec![RefEntry {
                    new: Some("ab".into()),
                    ..e.clone()
                }],
                ..e.clone()
            },
        ] {
            assert!(RefEntry::decode(&bad.encode()).is_err());
        }
    }
}
