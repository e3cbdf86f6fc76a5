//! How versions, changes and entries look: text for people, objects for `--json`.

pub(crate) mod change;
pub(crate) mod entry;
pub(crate) mod format;
pub(crate) mod graph;
pub(crate) mod moved;
pub(crate) mod version;

use dvc::model::commit::Timestamp;
use dvc::model::id::to_hex;
use dvc::model::path::display;
use serde::Serialize;

/// A path in JSON: readable, the root is `.`; and in hex where it is not UTF-8.
#[derive(Default, Serialize)]
pub(crate) struct JsonPath {
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_hex: Option<String>,
}

impl JsonPath {
    pub(crate) fn new(path: &[u8]) -> Self {
        match std::str::from_utf8(path) {
            Ok("") => Self { path: ".".to_owned(), path_hex: None },
            Ok(text) => Self { path: text.to_owned(), path_hex: None },
            Err(_) => Self { path: display(path), path_hex: Some(to_hex(path)) },
        }
    }
}

/// A path for people; the root is `.`.
pub(crate) fn shown(path: &[u8]) -> String {
    if path.is_empty() { ".".to_owned() } else { display(path) }
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "@%+=:,./_-^~".contains(c);
    if !word.is_empty() && !word.starts_with('~') && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The time on the clock that it was read from.
pub(crate) fn zoned(time: &Timestamp) -> jiff::Zoned {
    let nanos = i32::try_from(time.nanos).unwrap_or(0);
    let stamp = jiff::Timestamp::new(time.secs, nanos).unwrap_or_default();
    let offset = jiff::tz::Offset::from_seconds(time.offset).unwrap_or(jiff::tz::Offset::UTC);
    stamp.to_zoned(jiff::tz::TimeZone::fixed(offset))
}

/// `2026-11-20T03:00:00+01:00`.
pub(crate) fn iso(time: &Timestamp) -> String {
    zoned(time).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// `Fri Nov 20 03:00:00 2026 +0100`, as git writes it.
pub(crate) fn long_date(time: &Timestamp) -> String {
    zoned(time).strftime("%a %b %-d %H:%M:%S %Y %z").to_string()
}
