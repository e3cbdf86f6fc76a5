//! Object ids: 32 bytes, displayed as hex. Each kind of object has its own ids.

use std::fmt;

/// The kind of an object. Ids of different kinds never collide, because each kind has its own hash
/// key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A chunk of file content.
    Chunk,
    /// A node of a chunk list.
    List,
    /// A directory, or a node of a large directory.
    Tree,
    Commit,
}

impl ObjectKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Chunk, Self::List, Self::Tree, Self::Commit];

    /// Returns the name that messages use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chunk => "chunk",
            Self::List => "chunk list",
            Self::Tree => "tree",
            Self::Commit => "commit",
        }
    }
}

/// The id of an object: keyed BLAKE3-256 of its uncompressed bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub [u8; 32]);

impl Id {
    /// Parses 64 hex digits.
    pub fn parse(hex: &str) -> Option<Self> {
        let mut out = [0u8; 32];
        if hex.len() != 64 {
            return None;
        }
        parse_hex(hex, &mut out)?;
        Some(Self(out))
    }

    /// Returns the first eight hex digits, the form that users see.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }

    /// Returns the first eight bytes as a number, which is uniformly distributed and therefore
    /// usable as a hash.
    pub fn prefix(&self) -> u64 {
        let mut b = [0u8; 8];
        b.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(b)
    }
}

/// Parses `hex` into `out`. Returns `None` if `hex` does not have exactly two digits per byte of
/// `out`.
pub fn parse_hex(hex: &str, out: &mut [u8]) -> Option<()> {
    let hex = hex.as_bytes();
    if hex.len() != out.len() * 2 {
        return None;
    }
    for (o, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
        // Capital digits are valid too. A caller that needs one spelling compares with `to_hex`.
        let hi = char::from(pair[0]).to_digit(16)?;
        let lo = char::from(pair[1]).to_digit(16)?;
        *o = u8::try_from(hi * 16 + lo).ok()?;
    }
    Some(())
}

/// Returns whether a text consists of this number of lower-case hex digits.
pub fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns `bytes` as lower-case hex digits.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut s = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        s.push(char::from(DIGITS[usize::from(b >> 4)]));
        s.push(char::from(DIGITS[usize::from(b & 15)]));
    }
    s
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trip() {
        let id = Id([0xa5; 32]);
        assert_eq!(Id::parse(&id.to_string()), Some(id));
        assert_eq!(id.short(), "a5a5a5a5");
        assert_eq!(Id::parse("a5"), None);
        assert_eq!(Id::parse(&"zz".repeat(32)), None);
    }
}
