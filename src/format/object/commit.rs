//! Commit objects: `{0: tree, 1: parents, 2: ordinal, 3: author, 4: host, 5: [secs, nanos, offset],
//! 6: message, 7: [[key, value]], 8: [files, bytes, new, stored], 9: unstable paths, 10:
//! signature}`.

use minicbor::decode::{Decoder, Error as DecodeError};

use super::cbor::{array_len, bad, expect_array, finished, id, map_len, to_vec};
use crate::format::Malformed;
use crate::model::commit::{Commit, CommitCounts, Timestamp};
use crate::model::id::Id;

/// Encodes a commit.
pub fn encode_commit(c: &Commit) -> Vec<u8> {
    // Fields 0 to 6 are always present, and so is field 8 (`true`).
    let fields = 7 + [
        !c.trailers.is_empty(),
        true,
        !c.unstable.is_empty(),
        c.signature.is_some(),
    ]
    .iter()
    .map(|b| u64::from(*b))
    .sum::<u64>();
    to_vec(|e| {
        e.map(fields)?.u8(0)?.bytes(&c.tree.0)?;
        e.u8(1)?.array(c.parents.len() as u64)?;
        for p in &c.parents {
            e.bytes(&p.0)?;
        }
        e.u8(2)?
            .u64(c.ordinal)?
            .u8(3)?
            .str(&c.author)?
            .u8(4)?
            .str(&c.host)?;
        e.u8(5)?
            .array(3)?
            .i64(c.time.secs)?
            .u32(c.time.nanos)?
            .i32(c.time.offset)?;
        e.u8(6)?.str(&c.message)?;
        if !c.trailers.is_empty() {
            e.u8(7)?.array(c.trailers.len() as u64)?;
            for (k, v) in &c.trailers {
                e.array(2)?.str(k)?.str(v)?;
            }
        }
        let n = &c.counts;
        e.u8(8)?
            .array(4)?
            .u64(n.files)?
            .u64(n.bytes)?
            .u64(n.new_bytes)?
            .u64(n.stored_bytes)?;
        if !c.unstable.is_empty() {
            e.u8(9)?.array(c.unstable.len() as u64)?;
            for p in &c.unstable {
                e.bytes(p)?;
            }
        }
        if let Some(s) = &c.signature {
            e.u8(10)?.bytes(s)?;
        }
        Ok(())
    })
}

/// Decodes a commit.
pub fn decode_commit(bytes: &[u8]) -> Result<Commit, Malformed> {
    read(bytes).map_err(bad("commit"))
}

fn read(bytes: &[u8]) -> Result<Commit, DecodeError> {
    let mut d = Decoder::new(bytes);
    // The check for missing fields below ensures that the stored values replace these.
    let mut c = Commit {
        tree: Id([0; 32]),
        parents: Vec::new(),
        ordinal: 0,
        author: String::new(),
        host: String::new(),
        time: Timestamp::default(),
        message: String::new(),
        trailers: Vec::new(),
        counts: CommitCounts::default(),
        unstable: Vec::new(),
        signature: None,
    };
    let mut last = None;
    for _ in 0..map_len(&mut d)? {
        let key = d.u8()?;
        // Ascending keys have only one encoding, and no key can occur twice.
        if last.is_some_and(|l| key <= l) {
            return Err(DecodeError::message("fields out of order"));
        }
        match key {
            0 => c.tree = id(&mut d)?,
            1 => {
                for _ in 0..array_len(&mut d)? {
                    c.parents.push(id(&mut d)?);
                }
            }
            2 => c.ordinal = d.u64()?,
            3 => c.author = d.str()?.to_owned(),
            4 => c.host = d.str()?.to_owned(),
            5 => {
                expect_array(&mut d, 3)?;
                c.time = Timestamp {
                    secs: d.i64()?,
                    nanos: d.u32()?,
                    offset: d.i32()?,
                };
            }
            6 => c.message = d.str()?.to_owned(),
            7 => {
                for _ in 0..array_len(&mut d)? {
                    expect_array(&mut d, 2)?;
                    c.trailers.push((d.str()?.to_owned(), d.str()?.to_owned()));
                }
            }
            8 => {
                expect_array(&mut d, 4)?;
                c.counts = CommitCounts {
                    files: d.u64()?,
                    bytes: d.u64()?,
                    new_bytes: d.u64()?,
                    stored_bytes: d.u64()?,
                };
            }
            9 => {
                for _ in 0..array_len(&mut d)? {
                    c.unstable.push(d.bytes()?.to_vec());
                }
            }
            10 => c.signature = Some(d.bytes()?.to_vec()),
            _ => return Err(DecodeError::message("unknown field")),
        }
        // Fields 0 to 6 and 8 are mandatory.
        if last.map_or(0, |l: u8| l + 1) != key && (key <= 6 || key > 8 && last < Some(8)) {
            return Err(DecodeError::message("missing field"));
        }
        last = Some(key);
    }
    finished(&d, bytes)?;
    if last.is_none_or(|l| l < 8)
        || c.ordinal == 0
        || c.time.nanos >= 1_000_000_000
        // `abs` would overflow for the smallest number, and a stored offset may be any number.
        || c.time.offset.unsigned_abs() >= 86_400
    {
        return Err(DecodeError::message("field missing or out of range"));
    }
    Ok(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_truncation() {
        let c = Commit {
            tree: Id([1; 32]),
            parents: vec![Id([2; 32])],
            ordinal: 42,
            author: "A <a@b>".into(),
            host: "db1".into(),
            time: Timestamp {
                secs: -5,
                nanos: 7,
                offset: 3600,
            },
            message: "nightly\n\nlong".into(),
            trailers: vec![("Job".into(), "7".into())],
            counts: CommitCounts {
                files: 3,
                bytes: 10,
                new_bytes: 4,
                stored_bytes: 2,
            },
            unstable: vec![b"a\xff".to_vec()],
            signature: None,
        };
        let bytes = encode_commit(&c);
        assert_eq!(decode_commit(&bytes), Ok(c.clone()));
        for i in 0..bytes.len() {
            assert!(decode_commit(&bytes[..i]).is_err(), "{i}");
        }
        let plain = Commit {
            trailers: vec![],
            unstable: vec![],
            parents: vec![],
            ..c
        };
        assert_eq!(decode_commit(&encode_commit(&plain)), Ok(plain));
    }
}
