//! Objects of planned packs that have another copy: before a pack is marked as dead, the copies
//! that stay are read.
//!
//! A writer that is not visible yet may rely on any copy that stays, so a damaged copy must not
//! outlive a good one.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

use crate::error::{Error, Kind, Result};
use crate::format::pack::PackKind;
use crate::format::segment::{IndexRow, PackName};
use crate::index::merged_rows::MergedRows;
use crate::model::id::ObjectKind;
use crate::repo::Repo;
use crate::work::fan_out;

/// An object with several copies.
struct Twin {
    kind: PackKind,
    rows: Vec<IndexRow>,
}

impl Twin {
    fn packs(row: &IndexRow) -> impl Iterator<Item = PackName> {
        std::iter::once(row.place.pack).chain(row.base.map(|base| base.pack))
    }

    /// The copies of which no pack is in `packs`.
    fn outside<'t>(&'t self, packs: &'t HashSet<PackName>) -> impl Iterator<Item = &'t IndexRow> {
        self.rows
            .iter()
            .filter(|row| Self::packs(row).all(|pack| !packs.contains(&pack)))
    }

    /// The packs of all copies that are in `packs`.
    fn inside<'t>(&'t self, packs: &'t HashSet<PackName>) -> impl Iterator<Item = PackName> + 't {
        self.rows
            .iter()
            .flat_map(Self::packs)
            .filter(|pack| packs.contains(pack))
    }
}

/// The objects of planned packs that have several copies.
pub(super) struct Twins<'t> {
    repo: &'t Repo,
    /// Reads a remote repository without the copies of this machine.
    uncached: Option<Repo>,
    twins: Vec<Twin>,
    /// Copies that were read, and whether they are intact.
    read: Mutex<HashMap<IndexRow, bool>>,
}

impl<'t> Twins<'t> {
    /// Finds the objects in the index. Objects with a copy in a pack for which `is_new` are left
    /// out, because this run has verified what it wrote.
    pub(super) fn find(
        repo: &'t Repo,
        planned: &HashSet<PackName>,
        is_new: &dyn Fn(&PackName) -> bool,
    ) -> Result<Self> {
        let state = repo.gc_state();
        let mut twins = Vec::new();
        for kind in PackKind::ALL {
            let mut group: Vec<IndexRow> = Vec::new();
            let is_twin = |group: &[IndexRow]| {
                let has_new = || group.iter().any(|row| is_new(&row.place.pack));
                let is_planned = |row: &IndexRow| Twin::packs(row).any(|p| planned.contains(&p));
                group.len() > 1 && group.iter().any(is_planned) && !has_new()
            };
            for row in MergedRows::new(&repo.index()?.segments(kind))? {
                let row = row?;
                if Twin::packs(&row).any(|pack| state.is_dead(&pack)) || group.contains(&row) {
                    continue;
                }
                if group.first().is_some_and(|first| first.id != row.id) {
                    if is_twin(&group) {
                        twins.push(Twin {
                            kind,
                            rows: group.clone(),
                        });
                    }
                    group.clear();
                }
                group.push(row);
            }
            if is_twin(&group) {
                twins.push(Twin { kind, rows: group });
            }
        }
        Ok(Self {
            repo,
            uncached: repo.uncached()?,
            twins,
            read: Mutex::default(),
        })
    }

    /// Removes packs from a plan if they contain an object without a readable copy in a pack that
    /// stays. A pack that leaves the plan stays, so its own copies are read too.
    pub(super) fn keep_unless_sound(&self, planned: &mut HashSet<PackName>) -> Result<()> {
        loop {
            let affected = || {
                self.twins
                    .iter()
                    .filter(|twin| twin.inside(planned).next().is_some())
            };
            self.read_all(
                affected().flat_map(|twin| twin.outside(planned).map(|row| (twin.kind, *row))),
            )?;
            let mut kept = HashSet::new();
            for twin in affected() {
                let mut stay = twin.outside(planned).peekable();
                if stay.peek().is_some() && !stay.any(|row| self.is_sound(row)) {
                    kept.extend(twin.inside(planned));
                }
            }
            if kept.is_empty() {
                return Ok(());
            }
            planned.retain(|pack| !kept.contains(pack));
        }
    }

    /// Adds packs to `spared`, the packs that leave a plan. A pack is added if its objects would
    /// otherwise rely on a copy that cannot be read.
    pub(super) fn spare_unsound(
        &self,
        planned: &HashSet<PackName>,
        spared: &mut HashSet<PackName>,
    ) -> Result<()> {
        let mut rest: HashSet<PackName> = planned.difference(spared).copied().collect();
        self.keep_unless_sound(&mut rest)?;
        spared.extend(planned.iter().filter(|pack| !rest.contains(*pack)));
        Ok(())
    }

    fn is_sound(&self, row: &IndexRow) -> bool {
        self.read.lock().get(row).copied().unwrap_or(false)
    }

    fn read_all(&self, rows: impl Iterator<Item = (PackKind, IndexRow)>) -> Result<()> {
        let mut seen = HashSet::new();
        let read = self.read.lock();
        let new: Vec<(PackKind, IndexRow)> = rows
            .filter(|(_, row)| !read.contains_key(row) && seen.insert(*row))
            .collect();
        drop(read);
        let reader = self.uncached.as_ref().unwrap_or(self.repo);
        let index = self.repo.index()?;
        let threads = self.repo.store().abilities().in_flight.min(new.len());
        fan_out::for_each(threads, new.into_iter(), |(kind, row)| {
            let kinds: &[ObjectKind] = match kind {
                PackKind::Data => &[ObjectKind::Chunk],
                PackKind::List => &[ObjectKind::List],
                PackKind::Tree => &[ObjectKind::Tree, ObjectKind::Commit],
            };
            let mut is_sound = false;
            for kind in kinds {
                match reader.object_at_by(index, *kind, &row) {
                    Err(e) if e.kind() != Kind::Integrity => return Err(e),
                    object => is_sound |= object.is_ok(),
                }
            }
            self.read.lock().insert(row, is_sound);
            Ok::<_, Error>(())
        })
    }
}
