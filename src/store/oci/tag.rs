//! Conversion between keys and tags of a registry: `[A-Za-z0-9_][A-Za-z0-9._-]*`, at most 128
//! characters.
//!
//! The tag of an object that is not a segment is a pure function of its key. The tag contains the
//! key, or if the key is too long, a hash of the directory with the last component (`h-`), or a
//! hash of the whole key (`g-`); the manifest of such a tag contains the key.

use crate::codec::hash::NameHasher;
use crate::model::id::to_hex;

/// Limit on the length of a tag.
const TAG_MAX: usize = 128;
/// Number of characters of a directory hash: half of a SHA-256.
const DIR_HASH: usize = 32;

/// The meaning of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// The manifest that makes an index segment visible.
    Segment {
        name: String,
        /// Length of the segment in bytes.
        len: u64,
    },
    /// A manifest with further packs of a segment that has too many packs for one manifest.
    Packs { segment: String },
    /// The object with this key.
    Key(String),
    /// An object in a directory whose name is too long for a tag.
    InDir {
        /// Hash of the directory.
        dir: String,
        /// Last component of the key.
        leaf: String,
    },
    /// An object whose key the tag does not contain.
    Hashed,
}

impl Tag {
    /// Parses a tag. Returns `None` for tags that dvc does not create.
    pub(super) fn parse(tag: &str) -> Option<Self> {
        let (kind, rest) = tag.split_once('-')?;
        match kind {
            "index" => {
                let (name, len) = rest.split_once('-')?;
                let len = len.parse().ok()?;
                // Another spelling of the length, such as `007`, would give one segment two tags.
                (is_sha256(name) && segment(name, len) == tag).then(|| Self::Segment {
                    name: name.to_owned(),
                    len,
                })
            }
            "packs" => {
                let (name, n) = rest.split_once('-')?;
                (is_sha256(name) && n.parse::<usize>().is_ok()).then(|| Self::Packs {
                    segment: name.to_owned(),
                })
            }
            "k" => unescaped(rest).map(Self::Key),
            "h" => {
                let (dir, leaf) = rest.split_at_checked(DIR_HASH)?;
                let leaf = unescaped(leaf.strip_prefix('-')?)?;
                Some(Self::InDir {
                    dir: dir.to_owned(),
                    leaf,
                })
            }
            "g" => is_sha256(rest).then_some(Self::Hashed),
            _ => None,
        }
    }
}

/// Returns the tag of an index segment.
pub(super) fn segment(name: &str, len: u64) -> String {
    format!("index-{name}-{len}")
}

/// Returns the tag of a further manifest with packs of a segment.
pub(super) fn packs(segment: &str, n: usize) -> String {
    format!("packs-{segment}-{n}")
}

/// Returns the tag of any other object.
pub(super) fn object(key: &str) -> String {
    let tag = format!("k-{}", escaped(key));
    if tag.len() <= TAG_MAX {
        return tag;
    }
    let (dir, leaf) = key.rsplit_once('/').unwrap_or(("", key));
    let tag = format!("h-{}-{}", dir_hash(dir), escaped(leaf));
    if tag.len() <= TAG_MAX {
        tag
    } else {
        format!("g-{}", sha256(key.as_bytes()))
    }
}

/// Returns the hash that represents a long directory name in tags.
pub(super) fn dir_hash(dir: &str) -> String {
    let mut hash = sha256(dir.as_bytes());
    // A leaf with the 64 digits of a SHA-256 would not fit next to a whole hash.
    hash.truncate(DIR_HASH);
    hash
}

/// Returns the SHA-256 in hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let mut hasher = NameHasher::default();
    hasher.update(bytes);
    to_hex(&hasher.finish())
}

/// Returns whether a name is a SHA-256 in lower-case hex.
pub(super) fn is_sha256(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Escapes a key for a tag. Letters, digits, `.` and `-` remain; `/` becomes `__`, `_` becomes
/// `_u`, `%` becomes `_p`, and any other byte becomes `_` with two upper-case hex digits.
fn escaped(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 8);
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => out.push(char::from(byte)),
            b'/' => out.push_str("__"),
            b'_' => out.push_str("_u"),
            b'%' => out.push_str("_p"),
            _ => {
                out.push('_');
                out.push_str(&to_hex(&[byte]).to_ascii_uppercase());
            }
        }
    }
    out
}

/// Reverses [`escaped`]. Accepts only its output, so that no two tags have the same key.
fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'_' => match rest.next()? {
                b'_' => b'/',
                b'u' => b'_',
                b'p' => b'%',
                high => {
                    let digit = |b: u8| u8::try_from(char::from(b).to_digit(16)?).ok();
                    digit(high)? << 4 | digit(rest.next()?)?
                }
            },
            plain => plain,
        });
    }
    // Another spelling would give one key two tags.
    String::from_utf8(out)
        .ok()
        .filter(|key| escaped(key) == text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_tag(tag: &str) -> bool {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        tag.len() <= TAG_MAX && tag.bytes().all(good) && !tag.starts_with(['.', '-'])
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_tag_leads_back_to_its_key(key in "[a-z0-9A-Z%._/~@-]{0,200}|\\PC{1,40}") {
            let tag = object(&key);
            prop_assert!(is_tag(&tag), "{}", tag);
            match Tag::parse(&tag) {
                Some(Tag::Key(back)) => prop_assert_eq!(back, key),
                Some(Tag::InDir { dir, leaf }) => {
                    let (d, l) = key.rsplit_once('/').unwrap_or(("", &key));
                    prop_assert_eq!((dir, leaf.as_str()), (dir_hash(d), l));
                }
                other => prop_assert_eq!(other, Some(Tag::Hashed)),
            }
        }

        #[test]
        fn no_two_tags_are_one_key(tag in "k-[a-zA-F0-9._-]{0,12}") {
            if let Some(Tag::Key(key)) = Tag::parse(&tag) {
                prop_assert_eq!(object(&key), tag);
            }
        }
    }

    #[test]
    fn the_forms_of_tags() {
        assert_eq!(object("format"), "k-format");
        assert_eq!(
            object("refs/heads/my_%c3/fffe"),
            "k-refs__heads__my_u_pc3__fffe"
        );
        let name = "ab".repeat(32);
        assert_eq!(
            Tag::parse(&segment(&name, 77)),
            Some(Tag::Segment {
                name: name.clone(),
                len: 77
            })
        );
        assert_eq!(
            Tag::parse(&packs(&name, 3)),
            Some(Tag::Packs {
                segment: name.clone()
            })
        );
        let long = format!("refs/heads/{}/fffffffffffffffe", "x".repeat(200));
        assert!(object(&long).starts_with("h-") && object(&long).ends_with("-fffffffffffffffe"));
        assert!(object(&"y".repeat(200)).starts_with("g-"));
        for foreign in [
            "latest",
            "v1.2",
            "index-12",
            &format!("index-{name}-077"),
            "k-a_",
            "k-a_zz",
            "h-12",
            "g-00",
        ] {
            assert_eq!(Tag::parse(foreign), None, "{foreign}");
        }
    }
}
