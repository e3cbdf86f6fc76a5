//! The output of versions, changes and entries: text for people, objects for `--json`.

pub(crate) mod change;
pub(crate) mod entry;
pub(crate) mod format;
pub(crate) mod graph;
pub(crate) mod mount;
pub(crate) mod moved;
pub(crate) mod version;

use dvc::model::commit::Timestamp;
use dvc::model::id::to_hex;
use dvc::model::path::display;
use serde::Serialize;

/// A path in JSON. The root is `.`. `path_hex` has the exact bytes if they are not UTF-8.
#[derive(Default, Serialize)]
pub(crate) struct JsonPath {
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_hex: Option<String>,
}

impl JsonPath {
    pub(crate) fn new(path: &[u8]) -> Self {
        match std::str::from_utf8(path) {
            Ok("") => Self {
                path: ".".to_owned(),
                path_hex: None,
            },
            Ok(text) => Self {
                path: text.to_owned(),
                path_hex: None,
            },
            Err(_) => Self {
                path: display(path),
                path_hex: Some(to_hex(path)),
            },
        }
    }
}

/// Returns a path for people; the root is `.`.
pub(crate) fn shown(path: &[u8]) -> String {
    if path.is_empty() {
        ".".to_owned()
    } else {
        display(path)
    }
}

/// Quotes a word for a shell.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "@%+=:,./_-^~".contains(c);
    // A shell expands `~` only at the start of a word.
    if !word.is_empty() && !word.starts_with('~') && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Formats a time in its own time zone, by a pattern of `strftime`.
///
/// Years outside of -9999 to 9999 have a sign and as many digits as they need, as ISO 8601 allows:
/// `+4428626`. File systems store such times, but jiff does not support them.
pub(crate) fn at(time: &Timestamp, pattern: &str) -> String {
    /// The Gregorian calendar repeats every 400 years, including the days of the week.
    const YEARS: i64 = 400;
    const CYCLE: i64 = 146_097 * 24 * 60 * 60;
    let nanos = i32::try_from(time.nanos).unwrap_or(0);
    let offset = jiff::tz::Offset::from_seconds(time.offset).unwrap_or(jiff::tz::Offset::UTC);
    let zone = jiff::tz::TimeZone::fixed(offset);
    if let Ok(stamp) = jiff::Timestamp::new(time.secs, nanos) {
        return stamp.to_zoned(zone).strftime(pattern).to_string();
    }
    let within = jiff::Timestamp::new(time.secs.rem_euclid(CYCLE), nanos)
        .unwrap_or_default()
        .to_zoned(zone);
    let year = i64::from(within.year()) + YEARS * time.secs.div_euclid(CYCLE);
    within
        .strftime(&pattern.replace("%Y", &format!("{year:+05}")))
        .to_string()
}

/// Returns a time as in RFC 3339: `2026-11-20T03:00:00+01:00`.
pub(crate) fn iso(time: &Timestamp) -> String {
    at(time, "%Y-%m-%dT%H:%M:%S%:z")
}

/// Returns a time as git prints it: `Fri Nov 20 03:00:00 2026 +0100`.
pub(crate) fn long_date(time: &Timestamp) -> String {
    at(time, "%a %b %-d %H:%M:%S %Y %z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_of_any_length_are_formatted() {
        let shown = |secs, offset| {
            iso(&Timestamp {
                secs,
                nanos: 7,
                offset,
            })
        };
        assert_eq!(shown(0, 3600), "1970-01-01T01:00:00+01:00");
        assert_eq!(shown(253_402_207_199, 0), "9999-12-30T21:59:59+00:00");
        assert_eq!(shown(253_402_300_800, 0), "+10000-01-01T00:00:00+00:00");
        assert_eq!(
            shown(139_750_000_000_000, 0),
            "+4430471-03-16T20:26:40+00:00"
        );
        assert_eq!(shown(-377_705_116_801, 0), "-10000-12-31T23:59:59+00:00");
        assert_eq!(shown(i64::MAX, 0), "+292277026596-12-04T15:30:07+00:00");
        assert_eq!(shown(i64::MIN, 0), "-292277022657-01-27T08:29:52+00:00");
        let date = long_date(&Timestamp {
            secs: 253_402_300_800,
            nanos: 0,
            offset: 0,
        });
        assert_eq!(date, "Sat Jan 1 00:00:00 +10000 +0000");
    }
}
