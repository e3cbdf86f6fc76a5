//! Changes as text and JSON: `M<TAB>path`, the lines of `--stat`, the byte ranges of `--chunks`.

use super::{JsonPath, shown};
use crate::print::{Out, Paint, size};
use dvc::model::entry::Entry;
use dvc::query::compare::{Letter, TreeChange};
use dvc::query::describe::MeasuredChange;
use dvc::query::ranges::total;
use serde::Serialize;
use std::io::{self, Write};

/// Returns the colour of a letter.
pub(crate) fn paint(letter: Letter) -> Paint {
    match letter {
        Letter::Added => Paint::Added,
        Letter::Deleted | Letter::Unstable => Paint::Removed,
        _ => Paint::Changed,
    }
}

/// Writes the letter and the path on one line. With `null`, names are raw and end with NUL.
pub(crate) fn name_status(out: &mut Out, change: &TreeChange, null: bool) -> io::Result<()> {
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

/// Number of rows that determine the column widths; later rows may be wider.
const STAT_ROWS: usize = 1000;
/// Limit for the bytes of names in the waiting rows. At the limit, the rows are written.
const STAT_BYTES: usize = 1 << 20;

/// The lines of `--stat` and their total, written as the changes arrive. Directories are left out.
pub(crate) struct StatTable<'b> {
    before: &'b str,
    /// Rows that wait until the column widths are known.
    rows: Vec<StatRow>,
    waiting: usize,
    /// The widths of the columns, once they are known.
    widths: Option<StatWidths>,
    files: u64,
    bytes: u64,
    ranges: usize,
}

#[derive(Clone, Copy)]
struct StatWidths {
    name: usize,
    size: usize,
}

struct StatRow {
    name: String,
    size: String,
    what: String,
    letter: Letter,
}

impl<'b> StatTable<'b> {
    /// Returns an empty table whose lines start with `before`.
    pub(crate) fn new(before: &'b str) -> Self {
        Self {
            before,
            rows: Vec::new(),
            waiting: 0,
            widths: None,
            files: 0,
            bytes: 0,
            ranges: 0,
        }
    }

    /// Counts a change; directories are ignored. May write the rows that are complete.
    pub(crate) fn add(&mut self, out: &mut Out, changed: &MeasuredChange) -> io::Result<()> {
        let change = &changed.change;
        if is_dir(change) {
            return Ok(());
        }
        self.files += 1;
        self.bytes = self.bytes.saturating_add(total(&changed.ranges));
        self.ranges += changed.ranges.len();
        let name = match &change.from {
            Some(from) => format!("{} => {}", shown(from), shown(&change.path)),
            None => shown(&change.path),
        };
        let entry = change.new.as_ref().or(change.old.as_ref());
        let row = StatRow {
            name,
            size: size(entry.map_or(0, Entry::size)),
            what: what(changed),
            letter: change.letter,
        };
        if let Some(widths) = self.widths {
            return self.row(out, &row, widths);
        }
        self.waiting += row.name.len();
        self.rows.push(row);
        if self.rows.len() >= STAT_ROWS || self.waiting >= STAT_BYTES {
            self.flush(out)
        } else {
            Ok(())
        }
    }

    /// Writes the waiting rows and the sum.
    pub(crate) fn finish(mut self, out: &mut Out) -> io::Result<()> {
        self.flush(out)?;
        let (files, ranges) = (self.files, self.ranges);
        let plural = |is_one: bool| if is_one { "" } else { "s" };
        writeln!(
            out,
            "{} {files} file{} changed, {} in {ranges} range{}",
            self.before,
            plural(files == 1),
            size(self.bytes),
            plural(ranges == 1)
        )
    }

    fn flush(&mut self, out: &mut Out) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let widest = |f: fn(&StatRow) -> &str, most: usize| {
            rows.iter()
                .map(|r| f(r).chars().count())
                .max()
                .unwrap_or(0)
                .min(most)
        };
        // A few long names must not widen the columns of all rows.
        let widths = *self.widths.get_or_insert(StatWidths {
            name: widest(|r| &r.name, 60),
            size: widest(|r| &r.size, 12),
        });
        rows.iter().try_for_each(|row| self.row(out, row, widths))
    }

    fn row(&self, out: &mut Out, row: &StatRow, widths: StatWidths) -> io::Result<()> {
        let StatRow {
            name,
            size,
            what,
            letter,
        } = row;
        let StatWidths {
            name: names,
            size: sizes,
        } = widths;
        let what = out.paint(paint(*letter), what);
        writeln!(
            out,
            "{} {name:<names$} | {size:>sizes$} | {what}",
            self.before
        )
    }
}

fn what(changed: &MeasuredChange) -> String {
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

fn is_dir(change: &TreeChange) -> bool {
    let root = change.path.is_empty();
    root || [&change.old, &change.new]
        .into_iter()
        .flatten()
        .all(Entry::is_dir)
}

/// Writes the changed byte ranges of one file: `path<TAB>offset<TAB>length`. With `null`, the path
/// is raw and each row ends with NUL.
pub(crate) fn chunks(out: &mut Out, changed: &MeasuredChange, null: bool) -> io::Result<()> {
    let path = if null {
        changed.change.path.clone()
    } else {
        shown(&changed.change.path).into_bytes()
    };
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
    old_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ranges: Option<Vec<JsonRange>>,
}

/// A changed byte range of a file.
#[derive(Serialize)]
struct JsonRange {
    offset_bytes: u64,
    length_bytes: u64,
}

impl JsonChange {
    /// Returns the change, with its byte ranges if `with_ranges` is set.
    pub(crate) fn new(changed: &MeasuredChange, with_ranges: bool) -> Self {
        let MeasuredChange { change, ranges } = changed;
        let kind = |e: &Option<Entry>| e.as_ref().map(super::entry::kind);
        let from = change.from.as_deref().map(JsonPath::new);
        Self {
            letter: change.letter.as_str(),
            path: JsonPath::new(&change.path),
            from: from.as_ref().map(|f| f.path.clone()),
            from_hex: from.and_then(|f| f.path_hex),
            old_type: kind(&change.old),
            r#type: kind(&change.new),
            old_bytes: change.old.as_ref().map(Entry::size),
            bytes: change.new.as_ref().map(Entry::size),
            changed_bytes: with_ranges.then(|| total(ranges)),
            ranges: with_ranges.then(|| {
                let range = |r: &std::ops::Range<u64>| JsonRange {
                    offset_bytes: r.start,
                    length_bytes: r.end - r.start,
                };
                ranges.iter().map(range).collect()
            }),
        }
    }
}
