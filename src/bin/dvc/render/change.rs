//! Changes: `M<TAB>path`, the lines of `--stat`, byte ranges of `--chunks`, JSON.

use super::{JsonPath, shown};
use crate::print::{Out, Paint, size};
use dvc::model::entry::Entry;
use dvc::query::compare::{Change, Letter};
use dvc::query::describe::Changed;
use dvc::query::ranges::total;
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

/// Columns are as wide as so many rows need; later rows may be wider.
const STAT_ROWS: usize = 1000;
/// Rows with so many bytes of names are written without waiting for more.
const STAT_BYTES: usize = 1 << 20;

/// The lines of `--stat` with their sum, written as the changes come; directories are left out.
pub(crate) struct Stat<'b> {
    before: &'b str,
    /// Rows that wait until the widths of the columns are known.
    rows: Vec<Row>,
    waiting: usize,
    /// Of names and sizes.
    widths: Option<(usize, usize)>,
    files: u64,
    bytes: u64,
    ranges: usize,
}

struct Row {
    name: String,
    size: String,
    what: String,
    letter: Letter,
}

impl<'b> Stat<'b> {
    /// Every line begins with `before`.
    pub(crate) fn new(before: &'b str) -> Self {
        Self { before, rows: Vec::new(), waiting: 0, widths: None, files: 0, bytes: 0, ranges: 0 }
    }

    /// Takes one change.
    pub(crate) fn add(&mut self, out: &mut Out, changed: &Changed) -> io::Result<()> {
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
        let row = Row { name, size: size(entry.map_or(0, Entry::size)), what: what(changed), letter: change.letter };
        if let Some(widths) = self.widths {
            return self.row(out, &row, widths);
        }
        self.waiting += row.name.len();
        self.rows.push(row);
        if self.rows.len() >= STAT_ROWS || self.waiting >= STAT_BYTES { self.flush(out) } else { Ok(()) }
    }

    /// Writes the rows that wait, and the sum.
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
        let widest =
            |f: fn(&Row) -> &str, most: usize| rows.iter().map(|r| f(r).chars().count()).max().unwrap_or(0).min(most);
        let widths = *self.widths.get_or_insert((widest(|r| &r.name, 60), widest(|r| &r.size, 12)));
        rows.iter().try_for_each(|row| self.row(out, row, widths))
    }

    fn row(&self, out: &mut Out, row: &Row, (names, sizes): (usize, usize)) -> io::Result<()> {
        let Row { name, size, what, letter } = row;
        let what = out.paint(paint(*letter), what);
        writeln!(out, "{} {name:<names$} | {size:>sizes$} | {what}", self.before)
    }
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
