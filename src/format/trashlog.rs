//! An entry of the log of forgotten versions: `trash/<seq>`.
//!
//! The newest entry with the id of a version determines whether the version is forgotten. Garbage
//! collection writes an entry without ids as a fence.

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::text::{decode_exact_line, encode_line, hex_ids};
use crate::model::id::{Id, is_hex};

const WHAT: &str = "entry of the trash log";
/// The `kind` of every entry.
pub const TRASH_KIND: &str = "trash";
/// Limit on the number of ids in an entry, including those of the entries in `older`.
pub const IDS_MAX: usize = 10_000;

/// An entry of the log of forgotten versions. The fields have the same order as in the stored text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrashEntry {
    /// Always [`TRASH_KIND`].
    pub kind: String,
    /// Number of the entry, from 1. Numbers are never reused.
    pub seq: u64,
    /// Random id of 32 hex digits, by which a writer recognises the entry that it has written.
    pub update: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Nanoseconds after `time`.
    pub nanos: u32,
    pub who: String,
    pub why: String,
    /// Ids of commits that are forgotten from now on, in ascending order.
    #[serde(with = "hex_ids")]
    pub forget: Vec<Id>,
    /// Ids of commits that are no longer forgotten, in ascending order.
    #[serde(with = "hex_ids")]
    pub restore: Vec<Id>,
    /// Older entries that were folded into this one, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub older: Vec<TrashEntry>,
}

impl TrashEntry {
    pub fn encode(&self) -> Vec<u8> {
        encode_line(self)
    }

    /// Decodes an entry and checks its values.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let entry: Self = decode_exact_line(bytes, WHAT)?;
        let rule = entry.broken_rule().or_else(|| entry.broken_rule_of_older());
        match rule {
            None => Ok(entry),
            Some(rule) => Err(Malformed::new(WHAT, rule)),
        }
    }

    fn broken_rule(&self) -> Option<&'static str> {
        // The ids must be strictly ascending, because an id may occur only once and `binary_search`
        // below needs the order.
        let is_ascending = |ids: &[Id]| ids.is_sorted_by(|a, b| a < b);
        if self.kind != TRASH_KIND {
            Some("kind is not `trash`")
        } else if self.seq == 0 {
            Some("sequence number is 0")
        } else if !is_hex(&self.update, 32) {
            Some("update is not 32 hex digits")
        } else if self.nanos >= 1_000_000_000 {
            Some("nanoseconds out of range")
        } else if !is_ascending(&self.forget) || !is_ascending(&self.restore) {
            Some("ids are not ascending")
        } else if self
            .forget
            .iter()
            // The newest entry with an id decides, so such an entry would be ambiguous.
            .any(|id| self.restore.binary_search(id).is_ok())
        {
            Some("an id is both forgotten and restored")
        } else {
            None
        }
    }

    fn broken_rule_of_older(&self) -> Option<&'static str> {
        let entries = || std::iter::once(self).chain(&self.older);
        let ids: usize = entries().map(|e| e.forget.len() + e.restore.len()).sum();
        if ids > IDS_MAX {
            Some("more than 10,000 ids")
        } else if !entries().is_sorted_by(|a, b| a.seq > b.seq) {
            Some("folded entries are not in order")
        // Readers look only one level deep, so they would overlook entries below that level.
        } else if self.older.iter().any(|e| !e.older.is_empty()) {
            Some("a folded entry contains folded entries")
        } else {
            self.older.iter().find_map(Self::broken_rule)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::text::line_checksum;

    fn entry() -> TrashEntry {
        TrashEntry {
            kind: TRASH_KIND.into(),
            seq: 3,
            update: "0a".repeat(16),
            time: -1,
            nanos: 999_999_999,
            who: "A".into(),
            why: "forget: keep-daily 7".into(),
            forget: vec![Id([1; 32]), Id([2; 32])],
            restore: vec![Id([3; 32])],
            older: vec![],
        }
    }

    fn ids(count: usize) -> Vec<Id> {
        (0..count as u64)
            .map(|n| {
                let mut id = [0; 32];
                id[..8].copy_from_slice(&n.to_be_bytes());
                Id(id)
            })
            .collect()
    }

    #[test]
    fn the_text_is_that_of_the_format() {
        let [one, two, three] = [1, 2, 3].map(|n| Id([n; 32]).to_string());
        let line = format!(
            concat!(
                r#"{{"kind":"trash","seq":3,"update":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a","time":-1,"nanos":999999999,"#,
                r#""who":"A","why":"forget: keep-daily 7","forget":["{}","{}"],"restore":["{}"]}}"#
            ),
            one, two, three
        );
        assert_eq!(
            entry().encode(),
            format!("{line}\n{}\n", line_checksum(&line)).into_bytes()
        );
        assert_eq!(TrashEntry::decode(&entry().encode()), Ok(entry()));
        let fence = TrashEntry {
            forget: vec![],
            restore: vec![],
            why: "gc: fence 7".into(),
            ..entry()
        };
        assert_eq!(TrashEntry::decode(&fence.encode()), Ok(fence.clone()));
        let folding = TrashEntry {
            seq: 128,
            older: vec![entry(), TrashEntry { seq: 2, ..fence }],
            ..entry()
        };
        assert_eq!(TrashEntry::decode(&folding.encode()), Ok(folding));
    }

    #[test]
    fn damage_is_seen() {
        let bytes = entry().encode();
        for i in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[i] ^= 1;
            assert!(TrashEntry::decode(&flipped).is_err(), "{i}");
            assert!(TrashEntry::decode(&bytes[..i]).is_err(), "{i}");
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        let older = |older: TrashEntry| TrashEntry {
            seq: 128,
            older: vec![older],
            ..entry()
        };
        for bad in [
            TrashEntry {
                kind: "gc".into(),
                ..entry()
            },
            TrashEntry { seq: 0, ..entry() },
            TrashEntry {
                update: "u".into(),
                ..entry()
            },
            TrashEntry {
                nanos: 1_000_000_000,
                ..entry()
            },
            TrashEntry {
                forget: vec![Id([2; 32]), Id([1; 32])],
                ..entry()
            },
            TrashEntry {
                restore: vec![Id([3; 32]), Id([3; 32])],
                ..entry()
            },
            TrashEntry {
                restore: vec![Id([2; 32])],
                ..entry()
            },
            older(TrashEntry {
                kind: "gc".into(),
                ..entry()
            }),
            older(TrashEntry {
                seq: 128,
                ..entry()
            }),
            older(TrashEntry { seq: 0, ..entry() }),
            older(TrashEntry {
                older: vec![TrashEntry { seq: 1, ..entry() }],
                ..entry()
            }),
            TrashEntry {
                seq: 128,
                older: vec![entry(), entry()],
                ..entry()
            },
        ] {
            assert!(TrashEntry::decode(&bad.encode()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_number_of_ids_is_limited() {
        let full = TrashEntry {
            forget: ids(IDS_MAX),
            restore: vec![],
            ..entry()
        };
        assert_eq!(TrashEntry::decode(&full.encode()), Ok(full));
        let over = TrashEntry {
            forget: ids(IDS_MAX + 1),
            restore: vec![],
            ..entry()
        };
        assert!(
            TrashEntry::decode(&over.encode())
                .unwrap_err()
                .why
                .contains("10,000")
        );
        // Two halves reach the limit exactly, and another id exceeds it.
        let half = TrashEntry {
            forget: ids(IDS_MAX / 2),
            restore: vec![],
            ..entry()
        };
        let folding = TrashEntry {
            seq: 128,
            older: vec![half.clone()],
            ..half.clone()
        };
        assert!(TrashEntry::decode(&folding.encode()).is_ok());
        let folding = TrashEntry {
            older: vec![half.clone(), TrashEntry { seq: 2, ..entry() }],
            ..folding
        };
        assert!(
            TrashEntry::decode(&folding.encode())
                .unwrap_err()
                .why
                .contains("10,000")
        );
    }

    #[test]
    fn other_texts_of_the_same_value_are_refused() {
        let good = String::from_utf8(entry().encode()).unwrap();
        let line = good.lines().next().unwrap();
        for (from, to) in [
            // Another order, an unknown field, an empty list that the encoder omits, and a short
            // id.
            (r#""who":"A","why":"#, r#""why":"A","who":"#),
            ("{", r#"{"more":1,"#),
            (r#"]}"#, r#"],"older":[]}"#),
            ("0303", "03"),
        ] {
            let other = line.replacen(from, to, 1);
            assert_ne!(other, line);
            let bytes = format!("{other}\n{}\n", line_checksum(&other));
            let decoded = TrashEntry::decode(bytes.as_bytes());
            assert!(decoded.is_err() || decoded != Ok(entry()), "{other}");
        }
    }
}
