//! What the catalogue knows of segments and packs: the list of segments, packs that no segment lists yet, and when packs were checked.

use super::{Catalogue, Result, signed, unsigned};
use crate::format::pack::PackKind;
use crate::format::segment::{PackName, SegmentName};
use rusqlite::Row;

/// One index segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRow {
    /// SHA-256 of the file.
    pub name: SegmentName,
    /// What its rows are about.
    pub kind: PackKind,
    /// Its length in bytes.
    pub file_bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// The segment that holds its rows now.
    pub replaced_by: Option<SegmentName>,
}

/// A pack that a running or interrupted commit finished, and no segment lists yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoosePack {
    /// SHA-256 of the file.
    pub name: PackName,
    /// What it holds.
    pub kind: PackKind,
}

/// The last check of a pack's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackCheck {
    /// The pack.
    pub pack: PackName,
    /// Seconds since 1970.
    pub checked_at: i64,
    /// Whether it was whole.
    pub ok: bool,
}

impl Catalogue {
    /// All segments in the order in which they were added.
    pub fn segments(&self) -> Result<Vec<SegmentRow>> {
        self.read(|c| {
            let mut all = c.prepare_cached("SELECT name, kind, size, rows, replaced_by FROM segments ORDER BY seq")?;
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

    /// Adds segments, marks what each of them replaces (in `replaces`), and forgets loose packs that they list.
    pub fn add_segment(&self, segment: &SegmentRow, replaces: &[SegmentName], packs: &[PackName]) -> Result<()> {
        self.write(|c| {
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

    /// Forgets segments.
    pub fn remove_segments(&self, names: &[SegmentName]) -> Result<()> {
        self.write(|c| {
            let mut remove = c.prepare_cached("DELETE FROM segments WHERE name = ?1")?;
            names.iter().try_for_each(|name| remove.execute([name]).map(drop))
        })
    }

    /// Packs that no segment lists yet, in order of their names.
    pub fn loose_packs(&self) -> Result<Vec<LoosePack>> {
        self.read(|c| {
            let mut all = c.prepare_cached("SELECT name, kind FROM loose_packs ORDER BY name")?;
            all.query_map([], |r| Ok(LoosePack { name: r.get(0)?, kind: pack_kind(r, 1)? }))?.collect()
        })
    }

    /// Notes a finished pack.
    pub fn add_loose_pack(&self, pack: LoosePack) -> Result<()> {
        self.write(|c| {
            let mut add = c.prepare_cached("INSERT OR REPLACE INTO loose_packs VALUES (?1, ?2)")?;
            add.execute((pack.name, pack.kind.number())).map(drop)
        })
    }

    /// Forgets loose packs.
    pub fn remove_loose_packs(&self, names: &[PackName]) -> Result<()> {
        self.write(|c| {
            let mut remove = c.prepare_cached("DELETE FROM loose_packs WHERE name = ?1")?;
            names.iter().try_for_each(|name| remove.execute([name]).map(drop))
        })
    }

    /// All checks of packs, oldest first.
    pub fn pack_checks(&self) -> Result<Vec<PackCheck>> {
        self.read(|c| {
            let mut all = c.prepare_cached("SELECT pack, checked_at, ok FROM fsck_packs ORDER BY checked_at, pack")?;
            all.query_map([], |r| Ok(PackCheck { pack: r.get(0)?, checked_at: r.get(1)?, ok: r.get(2)? }))?.collect()
        })
    }

    /// Notes checks of packs.
    pub fn put_pack_checks(&self, checks: &[PackCheck]) -> Result<()> {
        self.write(|c| {
            let mut put = c.prepare_cached("INSERT OR REPLACE INTO fsck_packs VALUES (?1, ?2, ?3)")?;
            checks.iter().try_for_each(|p| put.execute((p.pack, p.checked_at, p.ok)).map(drop))
        })
    }

    /// Forgets the checks of packs that are gone.
    pub fn remove_pack_checks(&self, packs: &[PackName]) -> Result<()> {
        self.write(|c| {
            let mut remove = c.prepare_cached("DELETE FROM fsck_packs WHERE pack = ?1")?;
            packs.iter().try_for_each(|pack| remove.execute([pack]).map(drop))
        })
    }
}

fn pack_kind(row: &Row<'_>, column: usize) -> rusqlite::Result<PackKind> {
    let number: u8 = row.get(column)?;
    PackKind::from_number(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, i64::from(number)))
}
