//! The marker file `format`, which makes a directory a repository and lists the features that a
//! program must support.
//!
//! The file contains a JSON object and, on the next line, the BLAKE3 hash of the first line in hex.
//! Unknown versions, features and fields are rejected, so that an old program never misreads a new
//! repository. A change of the format's meaning therefore needs a new required feature.

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::text::{checked_line, encode_line};
use crate::model::id::is_hex;
use crate::model::refname::RefName;

/// The only existing version of the format.
pub const VERSION: u32 = 1;
/// The required features that this program supports.
pub const FEATURES: &[&str] = &[];

/// The content of the marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    /// Always `dvc`.
    pub kind: String,
    /// Version of the format.
    pub version: u32,
    /// Random id of the repository: 32 hex digits.
    pub id: String,
    /// Features that a program must support to use the repository.
    pub features: Vec<String>,
    /// The branch that a new worktree checks out.
    pub default_branch: String,
    /// The chunker setting of the repository: `auto`, `cdc` or `fixed`.
    pub chunker: String,
    /// Minimum, average and maximum length of content-defined chunks in bytes.
    pub cdc: [u32; 3],
    /// Chunk length in bytes for files that consist of pages.
    pub page: u32,
}

/// Returns whether a text is a repository id: 32 lower-case hex digits. Ids are used as directory
/// names, so any other text must be rejected.
pub fn is_repository_id(text: &str) -> bool {
    is_hex(text, 32)
}

impl Marker {
    pub fn encode(&self) -> Vec<u8> {
        encode_line(self)
    }

    /// Decodes a marker. Rejects versions, features and fields that this program does not know.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let line = checked_line(bytes, "repository marker")?;
        #[derive(Deserialize)]
        struct Version {
            version: u32,
            #[serde(default)]
            features: Vec<String>,
        }
        let bad = |e: serde_json::Error| Malformed::new("repository marker", e.to_string());
        // Check version and features first: a newer marker may also have unknown fields, and the
        // version is the better explanation.
        let first: Version = serde_json::from_str(line).map_err(bad)?;
        if first.version != VERSION {
            let why = format!("unsupported version {}", first.version);
            return Err(Malformed::new("repository marker", why));
        }
        if let Some(unknown) = first
            .features
            .iter()
            .find(|f| !FEATURES.contains(&f.as_str()))
        {
            return Err(Malformed::new(
                "repository marker",
                format!("unsupported feature `{unknown}`"),
            ));
        }
        let marker: Self = serde_json::from_str(line).map_err(bad)?;
        marker.check()?;
        Ok(marker)
    }

    /// Checks the values that are used as names of files and refs, because a remote may contain any
    /// bytes.
    fn check(&self) -> Result<(), Malformed> {
        let why = if self.kind != "dvc" {
            "kind is not `dvc`"
        } else if !is_repository_id(&self.id) {
            "id is not 32 hex digits"
        } else if RefName::new(&self.default_branch).is_err() {
            "default branch is not a valid branch name"
        } else {
            return Ok(());
        };
        Err(Malformed::new("repository marker", why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker() -> Marker {
        Marker {
            kind: "dvc".into(),
            version: 1,
            id: "00".repeat(16),
            features: vec![],
            default_branch: "main".into(),
            chunker: "auto".into(),
            cdc: [16384, 65536, 262144],
            page: 65536,
        }
    }

    #[test]
    fn round_trip_and_damage() {
        let bytes = marker().encode();
        assert_eq!(Marker::decode(&bytes), Ok(marker()));
        for i in 0..bytes.len() {
            let mut b = bytes.clone();
            b[i] ^= 4;
            assert!(Marker::decode(&b).is_err(), "{i}");
        }
    }

    #[test]
    fn values_that_become_names_are_checked() {
        for id in [
            "",
            "../../../x",
            "/etc",
            "AB",
            &"g".repeat(32),
            &"A".repeat(32),
            &"0".repeat(31),
            &"0".repeat(33),
        ] {
            let bad = Marker {
                id: id.to_owned(),
                ..marker()
            };
            assert!(Marker::decode(&bad.encode()).is_err(), "{id}");
        }
        // Names are printed, too: this escape sequence would clear the terminal.
        for branch in ["", "../x", "a/../b", "a\n", "\u{1b}[2J", "/a"] {
            let bad = Marker {
                default_branch: branch.to_owned(),
                ..marker()
            };
            assert!(Marker::decode(&bad.encode()).is_err(), "{branch}");
        }
        assert!(
            Marker::decode(
                &Marker {
                    kind: "git".into(),
                    ..marker()
                }
                .encode()
            )
            .is_err()
        );
    }

    #[test]
    fn unknown_is_refused() {
        let newer = Marker {
            version: 2,
            ..marker()
        };
        assert!(
            Marker::decode(&newer.encode())
                .unwrap_err()
                .why
                .contains("version 2")
        );
        let feature = Marker {
            features: vec!["sealed".into()],
            ..marker()
        };
        assert!(
            Marker::decode(&feature.encode())
                .unwrap_err()
                .why
                .contains("`sealed`")
        );
    }
}
