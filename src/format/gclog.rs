//! An entry of the garbage collection log: `quarantine/log/<seq>`.
//!
//! A `plan` lists packs that may be deleted; it is valid as long as it is the newest entry. A
//! `dead` entry follows its plan immediately and lists all packs that are dead. Each list is stored
//! in a separate object (`packlist`).

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::text::{decode_exact_line, encode_line, hex_name};
use crate::model::id::is_hex;

const WHAT: &str = "entry of the gc log";
/// The `kind` of every entry.
pub const GC_KIND: &str = "gc";

/// The step of garbage collection that an entry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GcStep {
    /// The listed packs may become dead.
    Plan,
    /// The listed packs are dead. The list repeats the packs of all earlier `dead` entries.
    Dead,
}

/// An entry of the garbage collection log. The fields have the same order as in the stored text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GcEntry {
    /// Always [`GC_KIND`].
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
    pub what: GcStep,
    /// Name of the list of packs. `None` for a plan without packs, which cancels the previous plan.
    #[serde(with = "hex_name")]
    pub list: Option<[u8; 32]>,
    /// Number of packs in the list.
    pub count: u64,
    /// Total length of these packs in bytes.
    pub bytes: u64,
    pub why: String,
}

impl GcEntry {
    pub fn encode(&self) -> Vec<u8> {
        encode_line(self)
    }

    /// Decodes an entry and checks its values.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let entry: Self = decode_exact_line(bytes, WHAT)?;
        match entry.broken_rule() {
            None => Ok(entry),
            Some(rule) => Err(Malformed::new(WHAT, rule)),
        }
    }

    fn broken_rule(&self) -> Option<&'static str> {
        if self.kind != GC_KIND {
            Some("kind is not `gc`")
        } else if self.seq == 0 {
            Some("sequence number is 0")
        } else if !is_hex(&self.update, 32) {
            Some("update is not 32 hex digits")
        } else if self.nanos >= 1_000_000_000 {
            Some("nanoseconds out of range")
        // A list has at least one pack. An entry without a list has neither packs nor bytes.
        } else if self.list.is_some() == (self.count == 0) || (self.count == 0 && self.bytes != 0) {
            Some("number of packs does not match the list")
        } else if self.what == GcStep::Dead && self.list.is_none() {
            Some("no dead packs")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::text::line_checksum;

    fn plan() -> GcEntry {
        GcEntry {
            kind: GC_KIND.into(),
            seq: 7,
            update: "0a".repeat(16),
            time: 1_700_000_000,
            nanos: 5,
            who: "A <a@b>".into(),
            what: GcStep::Plan,
            list: Some([0xab; 32]),
            count: 2,
            bytes: 70_000_000,
            why: "gc".into(),
        }
    }

    #[test]
    fn the_text_is_that_of_the_format() {
        let line = concat!(
            r#"{"kind":"gc","seq":7,"update":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a","time":1700000000,"nanos":5,"#,
            r#""who":"A <a@b>","what":"plan","#,
            r#""list":"abababababababababababababababababababababababababababababababab","#,
            r#""count":2,"bytes":70000000,"why":"gc"}"#
        );
        assert_eq!(
            plan().encode(),
            format!("{line}\n{}\n", line_checksum(line)).into_bytes()
        );
        assert_eq!(GcEntry::decode(&plan().encode()), Ok(plan()));
        let void = GcEntry {
            list: None,
            count: 0,
            bytes: 0,
            ..plan()
        };
        assert!(
            String::from_utf8(void.encode())
                .unwrap()
                .contains(r#""list":null,"count":0,"bytes":0"#)
        );
        assert_eq!(GcEntry::decode(&void.encode()), Ok(void));
        let dead = GcEntry {
            what: GcStep::Dead,
            ..plan()
        };
        assert!(
            String::from_utf8(dead.encode())
                .unwrap()
                .contains(r#""what":"dead""#)
        );
        assert_eq!(GcEntry::decode(&dead.encode()), Ok(dead));
    }

    #[test]
    fn damage_is_seen() {
        let bytes = plan().encode();
        for i in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[i] ^= 1;
            assert!(GcEntry::decode(&flipped).is_err(), "{i}");
            assert!(GcEntry::decode(&bytes[..i]).is_err(), "{i}");
        }
        assert!(GcEntry::decode(&[&bytes[..], b"\n"].concat()).is_err());
    }

    #[test]
    fn wrong_values_are_refused() {
        for bad in [
            GcEntry {
                kind: "heads".into(),
                ..plan()
            },
            GcEntry { seq: 0, ..plan() },
            GcEntry {
                update: "0A".repeat(16),
                ..plan()
            },
            GcEntry {
                update: "../../x".into(),
                ..plan()
            },
            GcEntry {
                nanos: 1_000_000_000,
                ..plan()
            },
            GcEntry {
                list: None,
                ..plan()
            },
            GcEntry { count: 0, ..plan() },
            GcEntry {
                list: None,
                count: 0,
                ..plan()
            },
            GcEntry {
                what: GcStep::Dead,
                list: None,
                count: 0,
                bytes: 0,
                ..plan()
            },
        ] {
            assert!(GcEntry::decode(&bad.encode()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn other_texts_of_the_same_value_are_refused() {
        let good = String::from_utf8(plan().encode()).unwrap();
        let line = good.lines().next().unwrap();
        for (from, to) in [
            // Another order, a space, an unknown field, a missing field, an escape that is not
            // needed, upper-case digits, an unknown step, and a number above 64 bits.
            (r#""kind":"gc","seq":7,"#, r#""seq":7,"kind":"gc","#),
            (r#""seq":7"#, r#""seq": 7"#),
            ("{", r#"{"more":1,"#),
            (r#","why":"gc""#, ""),
            (r#""why":"gc""#, r#""why":"\u0067c""#),
            ("abab", "ABAB"),
            (r#""plan""#, r#""spare""#),
            (r#""seq":7"#, r#""seq":18446744073709551616"#),
        ] {
            let other = line.replacen(from, to, 1);
            assert_ne!(other, line);
            let bytes = format!("{other}\n{}\n", line_checksum(&other));
            assert!(GcEntry::decode(bytes.as_bytes()).is_err(), "{other}");
        }
    }
}
