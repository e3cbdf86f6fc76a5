//! Restores damaged index segments: from a source, because their names are hashes too, or from the
//! tables of contents of the packs.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Repair, RepairSources, Target};
use crate::check::findings::{Findings, is_damage};
use crate::check::places::list_packs;
use crate::check::report::{CheckReport, What};
use crate::error::Result;
use crate::format::frame::CODEC_DELTA;
use crate::format::pack::PackKind;
use crate::format::segment::tables::PackEntry;
use crate::format::segment::{IndexRow, ObjectLocation, PackName};
use crate::model::id::{Id, parse_hex};
use crate::observe::Silent;
use crate::repo::packs::{PackTable, read_table, rows_of};

/// Limit on the length of a segment from a source, in bytes.
const SEGMENT_MAX: u64 = 8 << 30;

impl Repair {
    /// Restores the damaged segments that a source has. For the others, requests a rebuild of a
    /// local repository, or reads the tables of the packs of a remote one.
    pub(super) fn restore_segments(
        &mut self,
        target: &Target<'_>,
        check: &CheckReport,
        sources: &RepairSources<'_>,
    ) -> Result<()> {
        let mut left = Vec::new();
        for damage in check.damage.iter().filter(|d| d.what == What::Segment) {
            let mut name = [0; 32];
            let hex = damage.key.rsplit('/').next().unwrap_or_default();
            if parse_hex(hex, &mut name).is_none() || self.rebuilt.contains(&name) {
                continue;
            }
            match self.restore_named(target, sources, &damage.key, &name, SEGMENT_MAX)? {
                Some(restored) => {
                    self.rebuilt.insert(name);
                    self.report.segments += 1;
                    self.report.add(&restored.source, |share| {
                        share.segments += 1;
                        share.bytes += restored.bytes;
                    });
                }
                None => left.push((name, damage.key.clone())),
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        self.report.segments += left.len() as u64;
        self.rebuilt.extend(left.iter().map(|(name, _)| *name));
        // The caller rebuilds the whole index and the catalogue of a local repository.
        if target.repo.as_local().is_some() {
            self.needs_rebuild = true;
            return Ok(());
        }
        if !target.dry_run {
            index_unlisted_packs(target)?;
            // Remove a damaged segment only after the new ones list its packs.
            for (_, key) in left {
                target.observer.step("remove segment");
                target.repo.store().delete(&key)?;
            }
        }
        Ok(())
    }

    /// Returns whether the index and the catalogue of the local repository must be rebuilt, and
    /// clears that request.
    pub fn take_rebuild(&mut self) -> bool {
        std::mem::take(&mut self.needs_rebuild)
    }
}

/// Writes index segments for the packs that no readable segment lists.
fn index_unlisted_packs(target: &Target<'_>) -> Result<()> {
    let index = target.repo.index()?;
    let segments = PackKind::ALL
        .into_iter()
        .flat_map(|kind| index.segments(kind));
    let listed: HashSet<PackName> = segments
        .flat_map(|s| s.packs().iter().map(|pack| pack.name).collect::<Vec<_>>())
        .collect();
    let mut tables: Vec<(PackName, PackTable)> = Vec::new();
    for name in list_packs(target.repo, &Findings::new(&Silent))?
        .into_keys()
        .filter(|name| !listed.contains(name))
    {
        target.ensure_not_cancelled()?;
        match read_table(target.repo.store(), &name) {
            Ok(table) => tables.push((name, table)),
            // The objects of a damaged pack are restored by their ids.
            Err(e) if is_damage(&e) => {}
            Err(e) => return Err(e),
        }
    }
    let mut rows: BTreeMap<PackKind, Vec<IndexRow>> = BTreeMap::new();
    let mut wholes: HashMap<Id, ObjectLocation> = HashMap::new();
    // Add the whole rows of all packs first, because a delta may have its base in any pack.
    for (name, table) in &tables {
        let rows = rows.entry(table.kind).or_default();
        let from = rows.len();
        for frame in table.frames.iter().filter(|f| f.codec != CODEC_DELTA) {
            rows_of(frame, name, None, rows)?;
        }
        wholes.extend(rows.iter().skip(from).map(|row| (row.id, row.place)));
    }
    for (name, table) in &tables {
        for frame in table.frames.iter().filter(|f| f.codec == CODEC_DELTA) {
            let Some(base) = &frame.base else { continue };
            let known = || index.lookup_all(table.kind, base).unwrap_or_default();
            let whole = wholes.get(base).copied();
            let whole = whole.or_else(|| {
                known()
                    .into_iter()
                    .map(|r| r.place)
                    .find(|p| p.codec != CODEC_DELTA)
            });
            // A delta without a known base cannot be decoded, so a row for it would be useless.
            if whole.is_some() {
                rows_of(frame, name, whole, rows.entry(table.kind).or_default())?;
            }
        }
    }
    let entries: Vec<PackEntry> = tables
        .iter()
        .map(|(name, table)| PackEntry {
            name: *name,
            size_bytes: table.bytes,
        })
        .collect();
    for (kind, mut rows) in rows {
        rows.sort_unstable();
        rows.dedup();
        if !rows.is_empty() {
            target.put_segment(kind, &rows, &entries)?;
        }
    }
    Ok(())
}
