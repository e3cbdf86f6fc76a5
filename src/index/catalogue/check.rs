//! Checks the catalogue file, and empties it while other processes have it open.

use super::{Catalogue, CatalogueResult, commits::CommitRow, schema, stat};
use crate::error::{Failure, Kind};
use crate::model::text::count;
use std::error::Error;

/// Limit on the number of problems that are reported for the file.
const LINES: u32 = 20;

impl Catalogue {
    /// Returns whether the file was damaged when it was opened, and therefore recreated.
    pub const fn was_damaged(&self) -> bool {
        self.was_damaged
    }

    /// Returns a description of each problem in the file: in its pages and indexes, and in the
    /// checksums of the stat cache.
    pub fn check(&self) -> CatalogueResult<Vec<String>> {
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
                lines.push(format!(
                    "checksum mismatch in {} of the stat cache",
                    count(stat, "value")
                ));
            }
            Ok(lines)
        });
        match found {
            // A file that SQLite cannot read is a finding, not a failure of the check.
            Err(e) if e.kind() == Kind::Integrity => Ok(vec![
                e.source().map_or_else(String::new, ToString::to_string),
            ]),
            found => found,
        }
    }

    /// Calls `visit` with every commit.
    pub fn each_commit(&self, mut visit: impl FnMut(CommitRow)) -> CatalogueResult<()> {
        self.read(|c| {
            let mut all =
                c.prepare("SELECT id, ordinal, first_parent, time, bytes FROM commits")?;
            all.query_map([], super::commits::row)?
                .try_for_each(|row| row.map(&mut visit))
        })
    }

    /// Empties the catalogue in one transaction, so that other processes see it either full or
    /// empty. A damaged file is recreated instead, in which case other processes may get errors.
    pub fn reset(&self) -> CatalogueResult<()> {
        if self.check().is_ok_and(|wrong| wrong.is_empty()) && self.clear().is_ok() {
            return Ok(());
        }
        let lock = self.lock();
        schema::reset(&lock).map_err(|e| self.wrap(e))
    }
}
