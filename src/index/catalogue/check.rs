//! Checking the catalogue as a file, and making it anew under whoever has it open.

use super::{Catalogue, Result, commits::CommitRow, schema, stat};
use crate::error::{Failure, Kind};
use std::error::Error;

/// No more lines than these about one file.
const LINES: u32 = 20;

impl Catalogue {
    /// Whether the file was damaged and this opening made it anew.
    pub const fn was_damaged(&self) -> bool {
        self.was_damaged
    }

    /// What is wrong with the file: its pages and indexes, and the checksums of the stat cache.
    pub fn check(&self) -> Result<Vec<String>> {
        let found = self.read(|c| {
            let mut lines = Vec::new();
            let mut check = c.prepare(&format!("PRAGMA integrity_check({LINES})"))?;
            let mut rows = check.query([])?;
            while let Some(row) = rows.next()? {
                let line: String = row.get(0)?;
                if line != "ok" {
                    lines.push(line.lines().collect::<Vec<_>>().join(", "));
                }
            }
            let stat = stat::damaged(c)?;
            if stat > 0 {
                lines.push(format!("{stat} values of the stat cache do not match their checksums"));
            }
            Ok(lines)
        });
        match found {
            Err(e) if e.kind() == Kind::Integrity => Ok(vec![e.source().map_or_else(String::new, ToString::to_string)]),
            found => found,
        }
    }

    /// Visits every commit.
    pub fn each_commit(&self, mut visit: impl FnMut(CommitRow)) -> Result<()> {
        self.read(|c| {
            let mut all = c.prepare("SELECT id, ordinal, first_parent, time, bytes FROM commits")?;
            all.query_map([], super::commits::row)?.try_for_each(|row| row.map(&mut visit))
        })
    }

    /// Empties the catalogue in one step, so that other processes that have it open see it full or empty. A damaged file is
    /// made anew, which they may notice.
    pub fn reset(&self) -> Result<()> {
        if self.check().is_ok_and(|wrong| wrong.is_empty()) && self.clear().is_ok() {
            return Ok(());
        }
        let lock = self.lock();
        schema::reset(&lock).map_err(|e| self.wrap(e))
    }
}
