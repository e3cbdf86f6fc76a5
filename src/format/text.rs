//! Small objects of two lines: a JSON object, and the BLAKE3 hash of the first line in hex. The
//! marker, the entries of all logs, and leases use this format.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Malformed;
use crate::model::id::to_hex;

/// Returns the checksum line that follows a line of text.
pub fn line_checksum(line: &str) -> String {
    to_hex(blake3::hash(line.as_bytes()).as_bytes())
}

/// Verifies a line and the checksum line that follows it, and returns the line. Fails if more bytes
/// follow.
pub fn checked_line<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a str, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new(what, "not UTF-8"))?;
    let mut lines = text.split('\n');
    // Exactly two complete lines: any byte before, between or after them is damage.
    match (lines.next(), lines.next(), lines.next(), lines.next()) {
        (Some(line), Some(sum), Some(""), None) if sum == line_checksum(line) => Ok(line),
        _ => Err(Malformed::new(what, "checksum mismatch")),
    }
}

/// Encodes a value as a line of JSON and its checksum.
pub(super) fn encode_line<T: Serialize>(value: &T) -> Vec<u8> {
    // These types have only text keys and no custom errors, so serialising them cannot fail.
    let line = serde_json::to_string(value).unwrap_or_default();
    format!("{line}\n{}\n", line_checksum(&line)).into_bytes()
}

/// Verifies the checksum of a line of JSON and decodes the line.
pub(super) fn decode_line<T: DeserializeOwned>(
    bytes: &[u8],
    what: &'static str,
) -> Result<T, Malformed> {
    serde_json::from_str(checked_line(bytes, what)?)
        .map_err(|e| Malformed::new(what, e.to_string()))
}

/// Like [`decode_line`], but rejects every text that is not exactly the encoding of its value, such
/// as fields in a different order, spaces, or other escapes. A hash or signature of the text is
/// therefore also one of the value.
pub(super) fn decode_exact_line<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    what: &'static str,
) -> Result<T, Malformed> {
    let value = decode_line(bytes, what)?;
    if encode_line(&value) == bytes {
        Ok(value)
    } else {
        Err(Malformed::new(
            what,
            "not in canonical form (order of fields, or spaces)",
        ))
    }
}

/// Encodes ids as an array of hex texts; for `#[serde(with)]`.
pub(super) mod hex_ids {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::model::id::Id;

    pub(in crate::format) fn serialize<S: Serializer>(
        ids: &[Id],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ids.iter().map(Id::to_string))
    }

    pub(in crate::format) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Id>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let parse =
            |text: &String| Id::parse(text).ok_or_else(|| serde::de::Error::custom("not an id"));
        texts.iter().map(parse).collect()
    }
}

/// Encodes an optional SHA-256 as a hex text or null; for `#[serde(with)]`.
pub(super) mod hex_name {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::model::id::{parse_hex, to_hex};

    pub(in crate::format) fn serialize<S: Serializer>(
        name: &Option<[u8; 32]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match name {
            Some(name) => serializer.serialize_some(&to_hex(name)),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::format) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<[u8; 32]>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(None);
        };
        let mut name = [0; 32];
        parse_hex(&text, &mut name).ok_or_else(|| serde::de::Error::custom("not a SHA-256"))?;
        Ok(Some(name))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn lines_and_checksums() {
        let bytes = encode_line(&BTreeMap::from([("a", 1), ("b", 2)]));
        assert!(bytes.starts_with(b"{\"a\":1,\"b\":2}\n"));
        assert_eq!(
            decode_line::<BTreeMap<String, u8>>(&bytes, "test")
                .unwrap()
                .len(),
            2
        );
        for bad in [
            &bytes[..bytes.len() - 1],
            &bytes[1..],
            b"",
            b"\n\n",
            b"{}\n",
            b"\xff\n\n",
        ] {
            assert!(checked_line(bad, "test").is_err());
        }
    }

    #[test]
    fn only_the_encoding_of_a_value_is_exact() {
        let lined = |line: &str| format!("{line}\n{}\n", line_checksum(line)).into_bytes();
        let exact =
            |line: &str| decode_exact_line::<BTreeMap<String, String>>(&lined(line), "test");
        assert!(exact(r#"{"a":"é\n","b":""}"#).is_ok());
        for other in [
            // Another order, a space, an escape that is not needed, a repeated key, and a byte
            // after the value.
            r#"{"b":"","a":""}"#,
            r#"{"a": ""}"#,
            r#"{"a":"\u00e9"}"#,
            r#"{"a":"","a":""}"#,
            "{} ",
        ] {
            assert!(exact(other).is_err(), "{other}");
            assert!(decode_line::<BTreeMap<String, String>>(&lined(other), "test").is_ok());
        }
    }
}
