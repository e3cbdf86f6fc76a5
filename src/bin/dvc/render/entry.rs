//! Entries of a version, as a long listing (`-rw-r--r--  0  0  21.0 MiB  2026-11-20 03:00:00
//! path`) and as JSON.

use super::{JsonPath, at, iso};
use crate::print::size;
use dvc::model::commit::Timestamp;
use dvc::model::entry::{Entry, Meta, Node, Time};
use dvc::model::id::to_hex;
use dvc::model::path::display;
use serde::Serialize;

/// Returns the type of an entry.
pub(crate) fn kind(entry: &Entry) -> &'static str {
    match entry.node {
        Node::File { .. } => "file",
        Node::Dir { .. } => "dir",
        Node::Symlink { .. } => "symlink",
        Node::Fifo => "fifo",
        Node::CharDevice { .. } => "char-device",
        Node::BlockDevice { .. } => "block-device",
    }
}

/// Returns type and permissions: `-rw-r--r--`.
fn mode(entry: &Entry) -> String {
    let kind = match entry.node {
        Node::File { .. } => '-',
        Node::Dir { .. } => 'd',
        Node::Symlink { .. } => 'l',
        Node::Fifo => 'p',
        Node::CharDevice { .. } => 'c',
        Node::BlockDevice { .. } => 'b',
    };
    let bits = entry.meta.mode;
    let mut text = String::from(kind);
    for (shift, special, set, unset) in [
        (6, 0o4000, 's', 'S'),
        (3, 0o2000, 's', 'S'),
        (0, 0o1000, 't', 'T'),
    ] {
        let has = |bit: u32| bits >> shift & bit != 0;
        text.push(if has(4) { 'r' } else { '-' });
        text.push(if has(2) { 'w' } else { '-' });
        text.push(match (bits & special != 0, has(1)) {
            (true, true) => set,
            (true, false) => unset,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

fn stamp(time: Time) -> Timestamp {
    Timestamp {
        secs: time.secs,
        nanos: time.nanos,
        offset: 0,
    }
}

/// Returns the columns before the path; the time is in UTC.
pub(crate) fn long(entry: &Entry) -> String {
    let Meta {
        uid,
        gid,
        mtime,
        ref xattrs,
        ..
    } = entry.meta;
    let time = at(&stamp(mtime), "%Y-%m-%d %H:%M:%S");
    let what = match &entry.node {
        Node::CharDevice { major, minor } | Node::BlockDevice { major, minor } => {
            format!("{major}, {minor}")
        }
        Node::Dir { totals, .. } => size(totals.bytes),
        _ => size(entry.size()),
    };
    let more = if xattrs.is_empty() { ' ' } else { '+' };
    format!("{}{more} {uid:>5} {gid:>5} {what:>10} {time}", mode(entry))
}

/// Returns what follows the path in a long listing.
pub(crate) fn tail(entry: &Entry) -> String {
    match &entry.node {
        Node::Symlink { target } => format!(" -> {}", display(target)),
        _ => String::new(),
    }
}

/// An entry in JSON.
#[derive(Serialize)]
pub(crate) struct JsonEntry {
    #[serde(flatten)]
    path: JsonPath,
    r#type: &'static str,
    mode: String,
    uid: u32,
    gid: u32,
    /// The size; for a directory, the sum of all files below it.
    bytes: u64,
    mtime: String,
    /// Seconds since 1970, because few programs can parse a year with more than four digits in
    /// `mtime`.
    mtime_seconds: i64,
    mtime_nanoseconds: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_major: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_minor: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hard_links: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    xattrs: Vec<JsonXattr>,
}

#[derive(Serialize)]
struct JsonXattr {
    name: String,
    value_hex: String,
}

impl JsonEntry {
    /// Returns the entry at `path`.
    pub(crate) fn new(path: &[u8], entry: &Entry) -> Self {
        let (mut bytes, mut files, mut target, mut device) = (entry.size(), None, None, None);
        match &entry.node {
            Node::Dir { totals, .. } => (bytes, files) = (totals.bytes, Some(totals.files)),
            Node::Symlink { target: to } => target = Some(JsonPath::new(to)),
            Node::CharDevice { major, minor } | Node::BlockDevice { major, minor } => {
                device = Some((*major, *minor))
            }
            Node::File { .. } | Node::Fifo => {}
        }
        let (target, target_hex) = target.map(|t| (t.path, t.path_hex)).unzip();
        let target_hex = target_hex.flatten();
        let xattr = |x: &dvc::model::entry::Xattr| JsonXattr {
            name: JsonPath::new(&x.name).path,
            value_hex: to_hex(&x.value),
        };
        Self {
            path: JsonPath::new(path),
            r#type: kind(entry),
            mode: format!("{:04o}", entry.meta.mode),
            uid: entry.meta.uid,
            gid: entry.meta.gid,
            bytes,
            mtime: iso(&stamp(entry.meta.mtime)),
            mtime_seconds: entry.meta.mtime.secs,
            mtime_nanoseconds: entry.meta.mtime.nanos,
            files,
            target,
            target_hex,
            device_major: device.map(|(major, _)| major),
            device_minor: device.map(|(_, minor)| minor),
            hard_links: entry.link.map(|l| l.count),
            xattrs: entry.meta.xattrs.iter().map(xattr).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        let with = |mode| {
            let meta = Meta {
                mode,
                ..Meta::default()
            };
            super::mode(&Entry {
                name: b"f".to_vec(),
                meta,
                link: None,
                node: Node::Fifo,
            })
        };
        assert_eq!(with(0o644), "prw-r--r--");
        assert_eq!(with(0o7755), "prwsr-sr-t");
        assert_eq!(with(0o7000), "p--S--S--T");
    }
}
