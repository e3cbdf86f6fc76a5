//! A version: on one line, in full, or in JSON.

use super::change::JsonChange;
use super::{JsonPath, iso, long_date, shown};
use crate::print::{Out, Paint, size};
use dvc::error::Error;
use dvc::model::commit::Timestamp;
use dvc::model::refname::RefKind;
use dvc::model::text::harmless;
use dvc::query::describe::{ChangeDetail, DescribedVersion, VersionChanges};
use serde::Serialize;
use serde::ser::{Error as _, SerializeSeq, Serializer};
use std::cell::RefCell;
use std::ops::ControlFlow;

/// Returns the names of a version: `HEAD, AMCC, tag: AMCC@release`.
pub(crate) fn names(version: &DescribedVersion) -> Option<String> {
    joined(version, |_, text| text)
}

fn joined(
    version: &DescribedVersion,
    paint: impl Fn(Option<RefKind>, String) -> String,
) -> Option<String> {
    let mut all = Vec::new();
    if version.head || version.names.iter().any(|n| n.head) {
        all.push(paint(None, "HEAD".to_owned()));
    }
    for naming in &version.names {
        let tag = if naming.kind == RefKind::Tag {
            "tag: "
        } else {
            ""
        };
        all.push(paint(Some(naming.kind), format!("{tag}{}", naming.name)));
    }
    if let Some(forgotten) = &version.forgotten {
        let state = if forgotten.is_collected {
            "forgotten"
        } else {
            "in the trash"
        };
        all.push(paint(Some(RefKind::Trash), state.to_owned()));
    }
    if all.is_empty() {
        None
    } else {
        Some(all.join(", "))
    }
}

fn painted_names(out: &Out, version: &DescribedVersion) -> String {
    let painted = joined(version, |kind, text| match kind {
        None => out.paint(Paint::Changed, text),
        Some(RefKind::Tag) => out.paint(Paint::Tag, text),
        Some(RefKind::Branch) => out.paint(Paint::Branch, text),
        Some(RefKind::Remote | RefKind::Trash) => out.paint(Paint::Removed, text),
    });
    painted
        .map(|names| format!("({names}) "))
        .unwrap_or_default()
}

/// Returns a version on one line: `1c0ffee0 (HEAD, AMCC) v42 nightly`.
pub(crate) fn one_line(out: &Out, version: &DescribedVersion, whole_id: bool) -> String {
    let id = out.paint(Paint::Id, id(version, whole_id));
    let subject = harmless(version.commit.subject());
    let line = format!(
        "{id} {}v{} {subject}",
        painted_names(out, version),
        version.commit.ordinal
    );
    line.trim_end().to_owned()
}

fn id(version: &DescribedVersion, whole: bool) -> String {
    if whole {
        version.id.to_string()
    } else {
        version.id.short()
    }
}

/// Returns the lines of the header and the message.
pub(crate) fn full(out: &Out, version: &DescribedVersion, whole_id: bool) -> Vec<String> {
    let commit = &version.commit;
    let id = out.paint(Paint::Id, format!("commit {}", id(version, whole_id)));
    let mut lines = vec![format!(
        "{id} {}v{}",
        painted_names(out, version),
        commit.ordinal
    )];
    lines.push(format!("Author: {}", harmless(&commit.author)));
    lines.push(format!("Date:   {}", long_date(&commit.time)));
    if let Some(forgotten) = &version.forgotten {
        let time = Timestamp {
            secs: forgotten.time,
            nanos: 0,
            offset: commit.time.offset,
        };
        lines.push(format!(
            "Forgotten: {} ({})",
            long_date(&time),
            harmless(&forgotten.why)
        ));
    }
    let counts = &commit.counts;
    let plural = if counts.files == 1 { "" } else { "s" };
    lines.push(format!(
        "Size:   {} in {} file{plural}, {} new ({} stored)",
        size(counts.bytes),
        counts.files,
        size(counts.new_bytes),
        size(counts.stored_bytes)
    ));
    for path in &commit.unstable {
        lines.push(format!("Unstable: {}", shown(path)));
    }
    if !commit.message.is_empty() {
        lines.push(String::new());
        lines.extend(
            harmless(&commit.message)
                .lines()
                .map(|l| format!("    {l}").trim_end().to_owned()),
        );
    }
    if !commit.trailers.is_empty() {
        lines.push(String::new());
        lines.extend(
            commit
                .trailers
                .iter()
                .map(|(k, v)| harmless(&format!("    {k}: {v}"))),
        );
    }
    lines
}

/// A version in JSON.
#[derive(Serialize)]
pub(crate) struct JsonVersion<'a> {
    id: String,
    tree: String,
    parents: Vec<String>,
    ordinal: u64,
    author: &'a str,
    host: &'a str,
    time: String,
    message: &'a str,
    trailers: Vec<JsonTrailer<'a>>,
    files: u64,
    bytes: u64,
    new_bytes: u64,
    stored_bytes: u64,
    unstable: Vec<JsonPath>,
    head: bool,
    branches: Vec<&'a str>,
    tags: Vec<&'a str>,
    remote_branches: Vec<&'a str>,
    /// When the version was forgotten.
    forgotten: Option<String>,
    collected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<JsonChanges<'a>>,
}

#[derive(Serialize)]
struct JsonTrailer<'a> {
    key: &'a str,
    value: &'a str,
}

/// The changes of a version in JSON, serialised while they are computed.
struct JsonChanges<'a> {
    changes: &'a VersionChanges<'a>,
    /// The error that ended the computation.
    failed: &'a RefCell<Option<Error>>,
}

impl Serialize for JsonChanges<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let mut written = Ok(());
        let computed = self.changes.each(&mut |changed| {
            written = list.serialize_element(&JsonChange::new(
                &changed,
                self.changes.detail() == ChangeDetail::Ranges,
            ));
            if written.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        // An error of serde contains only text, so the error itself goes to `failed`.
        if let Err(e) = computed {
            self.failed.replace(Some(e));
            return Err(S::Error::custom("cannot compute the changes"));
        }
        written?;
        list.end()
    }
}

impl<'a> JsonVersion<'a> {
    /// Returns the version, with its changes if they are requested. An error that ends their
    /// computation goes to `failed`.
    pub(crate) fn new(
        version: &'a DescribedVersion,
        changes: &'a VersionChanges<'a>,
        failed: &'a RefCell<Option<Error>>,
    ) -> Self {
        let commit = &version.commit;
        let named = |kind| {
            version
                .names
                .iter()
                .filter(|n| n.kind == kind)
                .map(|n| n.name.as_str())
                .collect()
        };
        Self {
            id: version.id.to_string(),
            tree: commit.tree.to_string(),
            parents: commit.parents.iter().map(ToString::to_string).collect(),
            ordinal: commit.ordinal,
            author: &commit.author,
            host: &commit.host,
            time: iso(&commit.time),
            message: &commit.message,
            trailers: commit
                .trailers
                .iter()
                .map(|(key, value)| JsonTrailer { key, value })
                .collect(),
            files: commit.counts.files,
            bytes: commit.counts.bytes,
            new_bytes: commit.counts.new_bytes,
            stored_bytes: commit.counts.stored_bytes,
            unstable: commit.unstable.iter().map(|p| JsonPath::new(p)).collect(),
            head: version.head || version.names.iter().any(|n| n.head),
            branches: named(RefKind::Branch),
            tags: named(RefKind::Tag),
            remote_branches: named(RefKind::Remote),
            forgotten: version.forgotten.as_ref().map(|forgotten| {
                iso(&Timestamp {
                    secs: forgotten.time,
                    nanos: 0,
                    offset: commit.time.offset,
                })
            }),
            collected: version
                .forgotten
                .as_ref()
                .is_some_and(|forgotten| forgotten.is_collected),
            changes: (changes.detail() != ChangeDetail::None)
                .then_some(JsonChanges { changes, failed }),
        }
    }
}
