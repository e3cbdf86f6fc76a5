//! Records of PAX headers, `length key=value`, whose values may contain any byte; and timestamps as
//! values of records.
//!
//! The `tar` crate splits records at line breaks, which the values of extended attributes may
//! contain.

use crate::model::entry::Time;

/// Appends a record.
pub fn put(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length includes its own digits.
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while rest + digits(len) != len {
        len = rest + digits(len);
    }
    out.extend_from_slice(len.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(n: usize) -> usize {
    n.to_string().len()
}

/// Returns the keys and values of all records in order, or `None` if the records are malformed.
pub fn take(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        // The longest u64 has 20 digits.
        let space = bytes.iter().take(21).position(|b| *b == b' ')?;
        let len = number(&bytes[..space])?;
        let record = bytes
            .get(space + 1..usize::try_from(len).ok()?)?
            .strip_suffix(b"\n")?;
        let equals = record.iter().position(|b| *b == b'=')?;
        out.push((&record[..equals], &record[equals + 1..]));
        bytes = &bytes[usize::try_from(len).ok()?..];
    }
    Some(out)
}

/// Parses decimal digits.
pub fn number(text: &[u8]) -> Option<u64> {
    let plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text)
        .ok()
        .filter(|_| plain)?
        .parse()
        .ok()
}

/// Formats a timestamp as seconds with a fraction.
pub fn time_text(time: Time) -> String {
    // Nanoseconds count upwards from the seconds, so -5 s and 7 ns are -4.999999993.
    let (sign, whole, nanos) = match (time.secs < 0, time.nanos) {
        (true, nanos) if nanos > 0 => ("-", time.secs.unsigned_abs() - 1, 1_000_000_000 - nanos),
        (true, nanos) => ("-", time.secs.unsigned_abs(), nanos),
        (false, nanos) => ("", time.secs.unsigned_abs(), nanos),
    };
    let fraction = if nanos == 0 {
        String::new()
    } else {
        format!(".{nanos:09}")
    };
    format!("{sign}{whole}{}", fraction.trim_end_matches('0'))
}

/// Parses a timestamp. Ignores digits after the ninth, which other programs write.
pub fn time_of(text: &[u8]) -> Option<Time> {
    let (negative, text) = text
        .strip_prefix(b"-")
        .map_or((false, text), |rest| (true, rest));
    let point = text.iter().position(|b| *b == b'.').unwrap_or(text.len());
    // The number is not negative, so its negation cannot overflow.
    let whole = i64::try_from(number(&text[..point])?).ok()?;
    let fraction = text.get(point + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = (0..9).fold(0, |n, at| {
        n * 10 + fraction.get(at).map_or(0, |b| u32::from(b - b'0'))
    });
    Some(match (negative, nanos) {
        (false, nanos) => Time { secs: whole, nanos },
        (true, 0) => Time {
            secs: -whole,
            nanos,
        },
        (true, nanos) => Time {
            secs: -whole - 1,
            nanos: 1_000_000_000 - nanos,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        for len in [
            // Around the lengths at which the length of the record gets another digit.
            0, 1, 2, 3, 88, 89, 90, 91, 980, 990, 991, 992, 993, 9_990, 70_000,
        ] {
            let mut bytes = Vec::new();
            put(&mut bytes, b"key", &vec![b'\n'; len]);
            put(&mut bytes, b"other", b"a=b");
            let records = take(&bytes).unwrap();
            assert_eq!(
                records,
                [(&b"key"[..], &vec![b'\n'; len][..]), (b"other", b"a=b")]
            );
        }
        for bad in [
            &b"5 a=b\n"[..],
            b"6 a=b",
            b"x a=b\n",
            b"99 a=b\n",
            b"5 ab\n",
            b"18446744073709551615 a=b\n",
            b" =\n",
        ] {
            assert!(take(bad).is_none(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn times_come_back() {
        for (secs, nanos, text) in [
            (0, 0, "0"),
            (1_700_000_000, 123_456_789, "1700000000.123456789"),
            (5, 500_000_000, "5.5"),
            (-1, 1, "-0.999999999"),
            (-5, 7, "-4.999999993"),
            (-5, 0, "-5"),
        ] {
            let time = Time { secs, nanos };
            assert_eq!(time_text(time), text);
            assert_eq!(time_of(text.as_bytes()), Some(time));
        }
        assert_eq!(
            time_of(b"1.1234567899"),
            Some(Time {
                secs: 1,
                nanos: 123_456_789
            })
        );
        for bad in [
            &b""[..],
            b"x",
            b"1.x",
            b"--1",
            b"1e5",
            b"99999999999999999999",
        ] {
            assert_eq!(time_of(bad), None);
        }
    }
}
