//! A lease: `sessions/lease-<random>`. A lease protects versions to which no ref points from
//! garbage collection.

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::text::{decode_exact_line, encode_line, hex_ids};
use crate::model::id::{Id, is_hex};

const WHAT: &str = "lease";
/// The `kind` of every lease.
pub const LEASE_KIND: &str = "lease";
/// Limit on the number of versions in a lease.
pub const VERSIONS_MAX: usize = 10_000;
const PREFIX: &str = "lease-";

/// The way in which the versions of a lease are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseUse {
    Mount,
    Overlay,
    /// A lazy clone with commits that were not pushed.
    Lazy,
}

/// A lease. The fields have the same order as in the stored text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// Always [`LEASE_KIND`].
    pub kind: String,
    /// Name of the machine that uses the versions.
    pub host: String,
    pub what: LeaseUse,
    /// Ids of commits, in ascending order.
    #[serde(with = "hex_ids")]
    pub versions: Vec<Id>,
    /// Time of creation, in seconds since 1970.
    pub made: i64,
    /// Time of expiry, in seconds since 1970.
    pub until: i64,
}

impl Lease {
    pub fn encode(&self) -> Vec<u8> {
        encode_line(self)
    }

    /// Decodes a lease and checks its values.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let lease: Self = decode_exact_line(bytes, WHAT)?;
        let rule = if lease.kind != LEASE_KIND {
            "kind is not `lease`"
        } else if lease.versions.is_empty() || lease.versions.len() > VERSIONS_MAX {
            "number of versions out of range"
        } else if !lease.versions.is_sorted_by(|a, b| a < b) {
            "ids are not ascending"
        } else {
            return Ok(lease);
        };
        Err(Malformed::new(WHAT, rule))
    }
}

/// Returns the last component of a lease's key. `random` is 32 hex digits.
pub fn lease_key(random: &str) -> String {
    format!("{PREFIX}{random}")
}

/// Returns whether a name has the form of [`lease_key`].
pub fn is_lease_key(name: &str) -> bool {
    // The same folder has intent locks and probes.
    name.strip_prefix(PREFIX)
        .is_some_and(|random| is_hex(random, 32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::text::line_checksum;

    fn lease() -> Lease {
        Lease {
            kind: LEASE_KIND.into(),
            host: "db1".into(),
            what: LeaseUse::Mount,
            versions: vec![Id([1; 32]), Id([2; 32])],
            made: 1_700_000_000,
            until: 1_700_600_000,
        }
    }

    #[test]
    fn the_text_is_that_of_the_format() {
        let line = format!(
            r#"{{"kind":"lease","host":"db1","what":"mount","versions":["{}","{}"],"made":1700000000,"until":1700600000}}"#,
            Id([1; 32]),
            Id([2; 32])
        );
        assert_eq!(
            lease().encode(),
            format!("{line}\n{}\n", line_checksum(&line)).into_bytes()
        );
        for what in [LeaseUse::Mount, LeaseUse::Overlay, LeaseUse::Lazy] {
            let lease = Lease { what, ..lease() };
            assert_eq!(Lease::decode(&lease.encode()), Ok(lease));
        }
    }

    #[test]
    fn damage_and_wrong_values_are_refused() {
        let bytes = lease().encode();
        for i in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[i] ^= 1;
            assert!(Lease::decode(&flipped).is_err(), "{i}");
            assert!(Lease::decode(&bytes[..i]).is_err(), "{i}");
        }
        let many = (0..=VERSIONS_MAX as u64).map(|n| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            Id(id)
        });
        for bad in [
            Lease {
                kind: "gc".into(),
                ..lease()
            },
            Lease {
                versions: vec![],
                ..lease()
            },
            Lease {
                versions: vec![Id([2; 32]), Id([1; 32])],
                ..lease()
            },
            Lease {
                versions: many.collect(),
                ..lease()
            },
        ] {
            assert!(Lease::decode(&bad.encode()).is_err());
        }
    }

    #[test]
    fn keys() {
        assert!(is_lease_key(&lease_key(&"0a".repeat(16))));
        for bad in [
            "lease-",
            "lease-0a",
            "lock-0a",
            &lease_key(&"0A".repeat(16)),
            &lease_key(&"g".repeat(32)),
        ] {
            assert!(!is_lease_key(bad), "{bad}");
        }
    }
}
