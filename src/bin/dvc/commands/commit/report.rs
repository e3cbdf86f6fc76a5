//! The report of a commit: text, or JSON.

use crate::failure::Failed;
use crate::print::{Paint, elapsed, size};
use crate::render::{JsonPath, shown};
use crate::session::Session;
use dvc::model::refname::RefName;
use dvc::model::text::harmless;
use dvc::ops::commit::CommitReport;
use serde::Serialize;
use std::io::Write;
use std::time::Duration;

/// A commit to report.
pub(crate) struct CommitSummary<'a> {
    pub(crate) report: &'a CommitReport,
    /// The volume that was committed, if one was named.
    pub(crate) volume: Option<&'a str>,
    pub(crate) dry_run: bool,
    pub(crate) took: Duration,
    /// The additional fields of an import.
    pub(crate) import: Option<JsonImport<'a>>,
}

#[derive(Serialize)]
struct JsonCommit<'a> {
    id: Option<String>,
    volume: Option<&'a str>,
    tree: String,
    branch: &'a str,
    ordinal: u64,
    parents: Vec<String>,
    unchanged: bool,
    dry_run: bool,
    tags: Vec<&'a str>,
    changed_files: Option<u64>,
    files: u64,
    bytes: u64,
    new_bytes: u64,
    stored_bytes: u64,
    unstable: Vec<JsonPath>,
    seconds: f64,
    #[serde(flatten)]
    import: Option<JsonImport<'a>>,
}

/// The fields that `dvc import` adds to those of a commit.
#[derive(Serialize, Clone, Copy)]
pub(crate) struct JsonImport<'a> {
    pub(crate) members: u64,
    pub(crate) left_out: u64,
    pub(crate) digest: Option<&'a str>,
}

impl CommitSummary<'_> {
    /// Writes the report to standard output.
    pub(crate) fn print(&self, session: &Session) -> Result<(), Failed> {
        if session.globals.json {
            let mut out = session.plain_out();
            out.json(&self.json())?;
            return Ok(out.finish()?);
        }
        if session.globals.quiet > 0 {
            Ok(())
        } else {
            self.print_text(session)
        }
    }

    fn json(&self) -> JsonCommit<'_> {
        let CommitReport { branch, commit, .. } = self.report;
        JsonCommit {
            id: self.report.id.map(|id| id.to_string()),
            volume: self.volume,
            tree: commit.tree.to_string(),
            branch: branch.as_str(),
            ordinal: commit.ordinal,
            parents: commit.parents.iter().map(ToString::to_string).collect(),
            unchanged: self.report.unchanged,
            dry_run: self.dry_run,
            tags: self.report.tags.iter().map(RefName::as_str).collect(),
            changed_files: self.report.changed,
            files: commit.counts.files,
            bytes: commit.counts.bytes,
            new_bytes: commit.counts.new_bytes,
            stored_bytes: commit.counts.stored_bytes,
            unstable: self
                .report
                .unstable
                .iter()
                .map(|path| JsonPath::new(path))
                .collect(),
            seconds: self.took.as_secs_f64(),
            import: self.import,
        }
    }

    fn print_text(&self, session: &Session) -> Result<(), Failed> {
        let mut out = session.plain_out();
        let CommitReport {
            branch,
            commit,
            unchanged,
            ..
        } = self.report;
        let name = match self.report.id {
            Some(id) => format!(
                "[{branch} v{} {}]",
                commit.ordinal,
                out.paint(Paint::Id, id.short())
            ),
            None => format!("[{branch} v{}]", commit.ordinal),
        };
        let name = match self.volume.filter(|volume| *volume != branch.as_str()) {
            Some(volume) => format!("{volume}: {name}"),
            None => name,
        };
        if *unchanged {
            writeln!(out, "{name} nothing to commit, {}", elapsed(self.took))?;
        } else {
            let dry = if self.dry_run {
                " (dry run: nothing was stored)"
            } else {
                ""
            };
            writeln!(out, "{name} {}{dry}", harmless(commit.subject()))?;
            let changed = self.report.changed.unwrap_or(commit.counts.files);
            let plural = if changed == 1 { "" } else { "s" };
            write!(
                out,
                " {changed} file{plural} changed, {} new",
                size(commit.counts.new_bytes)
            )?;
            if self.dry_run {
                writeln!(out)?;
            } else {
                writeln!(
                    out,
                    " ({} stored), {}",
                    size(commit.counts.stored_bytes),
                    elapsed(self.took)
                )?;
            }
        }
        for path in &self.report.unstable {
            writeln!(out, "U {}", shown(path))?;
        }
        Ok(out.finish()?)
    }
}
