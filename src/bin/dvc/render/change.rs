//! Changes: `M<TAB>path`, the lines of `--stat`, byte ranges of `--chunks`, JSON.

use super::{JsonPath, shown};
use crate::print::{Out, Paint, size};
use dvc::model::entry::Entry;
use dvc::ops::compare::{Change, Letter};
use dvc::ops::describe::Changed;
use dvc::ops::ranges::total;
use serde::Serialize;
use std::io::{self, Write};

/// The colour of a letter.
pub(crate) fn paint(letter: Letter) -> Paint {
    match letter {
        Letter::Added => Paint::Added,
        Letter::Deleted | Letter::Unstable => Paint::Removed,
        _ => Paint::Changed,
    }
}

/// One line with letter and path; with `null`, the pieces end with NUL and names are raw.
pub(crate) fn name_status(out: &mut Out, change: &Change, null: bool) -> io::Result<()> {
    let letter = change.letter.as_str();
    if null {
        out.write_all(letter.as_bytes())?;
        for path in change.from.iter().chain([&change.path]) {
            out.write_all(b"\0")?;
            out.write_all(path)?;
        }
        return out.write_all(b"\0");
    }
    let letter = out.paint(paint(change.letter), letter);
    match &change.from {
        Some(from) => writeln!(out, "{letter}\t{}\t{}", shown(from), shown(&change.path)),
        None => writeln!(out, "{letter}\t{}", shown(&change.path)),
    }
}

/// The lines of `--stat` with their sum; directories are left out.
pub(crate) fn stat(out: &mut Out, changes: &[Changed], before: &str) -> io::Result<()> {
    let files: Vec<&Changed> = changes.iter().filter(|c| !is_dir(&c.change)).collect();
    let name = |c: &Change| match &c.from {
        Some(from) => format!("{} => {}", shown(from), shown(&c.path)),
        None => shown(&c.path),
    };
    let rows: Vec<(String, String, String)> = files
        .iter()
        .map(|c| {
            let entry = c.change.new.as_ref().or(c.change.old.as_ref());
            (name(&c.change), size(entry.map_or(0, Entry::size)), what(c))
        })
        .collect();
    let widest = |f: fn(&(String, String, String)) -> &str, most: usize| {
        rows.iter().map(|r| f(r).chars().count()).max().unwrap_or(0).min(most)
    };
    let (names, sizes) = (widest(|r| &r.0, 60), widest(|r| &r.1, 12));
    for (file, (name, bytes, what)) in files.iter().zip(&rows) {
        let what = out.paint(paint(file.change.letter), what);
        writeln!(out, "{before} {name:<names$} | {bytes:>sizes$} | {what}")?;
    }
    let (bytes, ranges) = files.iter().fold((0, 0), |(b, r), c| (b + total(&c.ranges), r + c.ranges.len()));
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    writeln!(
        out,
        "{before} {} file{} changed, {} in {ranges} range{}",
        files.len(),
        plural(files.len()),
        size(bytes),
        plural(ranges)
    )
}

fn what(changed: &Changed) -> String {
    match changed.change.letter {
        Letter::Added => "new".to_owned(),
        Letter::Deleted => "deleted".to_owned(),
        Letter::Metadata => "metadata".to_owned(),
        Letter::Type => "type".to_owned(),
        Letter::Renamed => "renamed".to_owned(),
        Letter::Unstable => "unstable".to_owned(),
        Letter::Content => match changed.ranges.as_slice() {
            [] => "shorter".to_owned(),
            [one] => format!("{} in 1 range", size(one.end - one.start)),
            many => format!("{} in {} ranges", size(total(many)), many.len()),
        },
    }
}

fn is_dir(change: &Change) -> bool {
    let root = change.path.is_empty();
    root || [&change.old, &change.new].into_iter().flatten().all(Entry::is_dir)
}

/// Changed byte ranges of one file: `path<TAB>offset<TAB>length`.
pub(crate) fn chunks(out: &mut Out, changed: &Changed, null: bool) -> io::Result<()> {
    let path = if null { changed.change.path.clone() } else { shown(&changed.change.path).into_bytes() };
    for range in &changed.ranges {
        out.write_all(&path)?;
        write!(out, "\t{}\t{}", range.start, range.end - range.start)?;
        out.write_all(if null { b"\0" } else { b"\n" })?;
    }
    Ok(())
}

/// A change in JSON.
#[derive(Serialize)]
pub(crate) struct JsonChange {
    letter: &'static str,
    #[serde(flatten)]
    path: JsonPath,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_bytes: Option<u64>,
    /// Offset and length of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    ranges: Option<Vec<[u64; 2]>>,
}

impl JsonChange {
    /// With the ranges, where they were worked out.
    pub(crate) fn new(changed: &Changed, with_ranges: bool) -> Self {
        let Changed { change, ranges } = changed;
        let kind = |e: &Option<Entry>| e.as_ref().map(super::entry::kind);
        let from = change.from.as_deref().map(JsonPath::new);
        Self {
            letter: change.letter.as_str(),
            path: JsonPath::new(&change.path),
            from: from.as_ref().map(|f| f.path.clone()),
            from_hex: from.and_then(|f| f.path_hex),
            old_type: kind(&change.old),
            r#type: kind(&change.new),
            old_size: change.old.as_ref().map(Entry::size),
            size: change.new.as_ref().map(Entry::size),
            changed_bytes: with_ranges.then(|| total(ranges)),
            ranges: with_ranges.then(|| ranges.iter().map(|r| [r.start, r.end - r.start]).collect()),
        }
    }
}
