//! Index segments and packs in the catalogue: the list of segments, the packs that no segment lists
//! yet, and the results of checks of packs.

use super::{Catalogue, CatalogueResult, signed, unsigned};
use crate::format::pack::PackKind;
use crate::format::segment::{PackName, SegmentName};
use rusqlite::{Connection, Row};
use std::collections::HashMap;

/// An index segment in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRow {
    /// SHA-256 of the file.
    pub name: SegmentName,
    /// Kind of the objects in the rows.
    pub kind: PackKind,
    /// Length of the file in bytes.
    pub file_bytes: u64,
    /// Number of rows.
    pub rows: u64,
    /// Segment that has replaced this one and contains its rows.
    pub replaced_by: Option<SegmentName>,
}

/// A pack that a running or interrupted operation has stored and that no segment lists yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoosePack {
    /// SHA-256 of the file.
    pub name: PackName,
    pub kind: PackKind,
}

/// The last check of the content of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackCheck {
    pub pack: PackName,
    /// Seconds since 1970.
    pub checked_at: i64,
    /// Whether the pack was intact.
    pub ok: bool,
}

impl Catalogue {
    /// Returns all segments in the order in which they were added.
    pub fn segments(&self) -> CatalogueResult<Vec<SegmentRow>> {
        self.read(|c| {
            let mut all = c.prepare_cached(
                "SELECT name, kind, size, rows, replaced_by FROM segments ORDER BY seq",
            )?;
            let rows = all.query_map([], |r| {
                Ok(SegmentRow {
                    name: r.get(0)?,
                    kind: pack_kind(r, 1)?,
                    file_bytes: unsigned(r, 2)?,
                    rows: unsigned(r, 3)?,
                    replaced_by: r.get(4)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Adds a segment, marks the segments in `replaces` as replaced by it, and removes `packs`, the
    /// packs that it lists, from the loose packs.
    pub fn add_segment(
        &self,
        segment: &SegmentRow,
        replaces: &[SegmentName],
        packs: &[PackName],
    ) -> CatalogueResult<()> {
        self.write(|c| {
            // An update keeps `seq`, the order in which segments were added. `INSERT OR REPLACE`
            // would give the row a new one.
            let mut add = c.prepare_cached(
                "INSERT INTO segments (name, kind, size, rows, replaced_by) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (name) DO UPDATE SET replaced_by = excluded.replaced_by",
            )?;
            let s = segment;
            add.execute((s.name, s.kind.number(), signed(s.file_bytes), signed(s.rows), s.replaced_by))?;
            let mut mark = c.prepare_cached("UPDATE segments SET replaced_by = ?1 WHERE name = ?2")?;
            for old in replaces {
                mark.execute((s.name, old))?;
            }
            let mut listed = c.prepare_cached("DELETE FROM loose_packs WHERE name = ?1")?;
            for pack in packs {
                listed.execute([pack])?;
            }
            Ok(())
        })
    }

    /// Removes segments.
    pub fn remove_segments(&self, names: &[SegmentName]) -> CatalogueResult<()> {
        self.write(|c| {
            let mut remove = c.prepare_cached("DELETE FROM segments WHERE name = ?1")?;
            names
                .iter()
                .try_for_each(|name| remove.execute([name]).map(drop))
        })
    }

    /// Returns the packs that no segment lists yet, sorted by name.
    pub fn loose_packs(&self) -> CatalogueResult<Vec<LoosePack>> {
        self.read(|c| {
            let mut all = c.prepare_cached("SELECT name, kind FROM loose_packs ORDER BY name")?;
            all.query_map([], |r| {
                Ok(LoosePack {
                    name: r.get(0)?,
                    kind: pack_kind(r, 1)?,
                })
            })?
            .collect()
        })
    }

    /// Adds a finished pack that no segment lists yet.
    pub fn add_loose_pack(&self, pack: LoosePack) -> CatalogueResult<()> {
        self.write(|c| {
            let mut add = c.prepare_cached("INSERT OR REPLACE INTO loose_packs VALUES (?1, ?2)")?;
            add.execute((pack.name, pack.kind.number())).map(drop)
        })
    }

    /// Removes packs from the loose packs.
    pub fn remove_loose_packs(&self, names: &[PackName]) -> CatalogueResult<()> {
        self.write(|c| {
            let mut remove = c.prepare_cached("DELETE FROM loose_packs WHERE name = ?1")?;
            names
                .iter()
                .try_for_each(|name| remove.execute([name]).map(drop))
        })
    }

    /// Returns since when each of `packs` has been known as unneeded, in seconds since 1970; `now`
    /// for those that were needed or unknown before.
    pub fn unused_packs(
        &self,
        packs: &[PackName],
        now: i64,
    ) -> CatalogueResult<HashMap<PackName, i64>> {
        self.read(|c| unused(c, packs, now))
    }

    /// Returns since when packs are known as unneeded, for all packs of the last record.
    pub fn recorded_unused_packs(&self) -> CatalogueResult<HashMap<PackName, i64>> {
        self.read(|c| {
            let mut all = c.prepare_cached("SELECT name, first_seen FROM unused_packs")?;
            all.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect()
        })
    }

    /// Records that nothing needs the packs, and that all other packs are needed. Returns the same
    /// as [`Self::unused_packs`].
    pub fn see_unused_packs(
        &self,
        packs: &[PackName],
        now: i64,
    ) -> CatalogueResult<HashMap<PackName, i64>> {
        self.write(|c| {
            let since = unused(c, packs, now)?;
            c.prepare_cached("DELETE FROM unused_packs")?.execute([])?;
            let mut put = c.prepare_cached("INSERT INTO unused_packs VALUES (?1, ?2)")?;
            since
                .iter()
                .try_for_each(|row| put.execute(row).map(drop))?;
            Ok(since)
        })
    }

    /// Returns the last check of every pack, least recent first.
    pub fn pack_checks(&self) -> CatalogueResult<Vec<PackCheck>> {
        self.read(|c| {
            let mut all = c.prepare_cached(
                "SELECT pack, checked_at, ok FROM fsck_packs ORDER BY checked_at, pack",
            )?;
            all.query_map([], |r| {
                Ok(PackCheck {
                    pack: r.get(0)?,
                    checked_at: r.get(1)?,
                    ok: r.get(2)?,
                })
            })?
            .collect()
        })
    }

    /// Records checks of packs, replacing earlier ones.
    pub fn put_pack_checks(&self, checks: &[PackCheck]) -> CatalogueResult<()> {
        self.write(|c| {
            let mut put =
                c.prepare_cached("INSERT OR REPLACE INTO fsck_packs VALUES (?1, ?2, ?3)")?;
            checks
                .iter()
                .try_for_each(|p| put.execute((p.pack, p.checked_at, p.ok)).map(drop))
        })
    }

    /// Removes the records of packs, for packs that no longer exist.
    pub fn remove_pack_checks(&self, packs: &[PackName]) -> CatalogueResult<()> {
        self.write(|c| {
            let mut remove = c.prepare_cached("DELETE FROM fsck_packs WHERE pack = ?1")?;
            packs
                .iter()
                .try_for_each(|pack| remove.execute([pack]).map(drop))
        })
    }
}

fn unused(
    connection: &Connection,
    packs: &[PackName],
    now: i64,
) -> rusqlite::Result<HashMap<PackName, i64>> {
    let mut all = connection.prepare_cached("SELECT name, first_seen FROM unused_packs")?;
    let known = all
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect::<rusqlite::Result<HashMap<PackName, i64>>>()?;
    // A clock that was set back must not make a pack wait forever.
    Ok(packs
        .iter()
        .map(|name| (*name, known.get(name).copied().unwrap_or(now).min(now)))
        .collect())
}

fn pack_kind(row: &Row<'_>, column: usize) -> rusqlite::Result<PackKind> {
    let number: u8 = row.get(column)?;
    PackKind::from_number(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(
        column,
        i64::from(number),
    ))
}
