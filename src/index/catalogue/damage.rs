//! Objects whose stored copies are damaged. Without these records, a commit trusts the damaged
//! copies again.

use super::{Catalogue, CatalogueResult};
use crate::model::id::{Id, ObjectKind};

impl Catalogue {
    /// Returns the objects whose stored copies are damaged.
    pub fn damaged_objects(&self) -> CatalogueResult<Vec<(ObjectKind, Id)>> {
        self.read(|c| {
            let mut all =
                c.prepare_cached("SELECT kind, id FROM damaged_objects ORDER BY kind, id")?;
            let rows = all.query_map([], |r| Ok((r.get::<_, u8>(0)?, Id(r.get(1)?))))?;
            let known = |(kind, id)| {
                ObjectKind::ALL
                    .get(usize::from(kind))
                    .map(|kind| (*kind, id))
            };
            Ok(rows
                .collect::<rusqlite::Result<Vec<(u8, Id)>>>()?
                .into_iter()
                .filter_map(known)
                .collect())
        })
    }

    /// Adds objects whose stored copies are damaged.
    pub fn add_damaged_objects(&self, objects: &[(ObjectKind, Id)]) -> CatalogueResult<()> {
        self.write(|c| {
            let mut add =
                c.prepare_cached("INSERT OR IGNORE INTO damaged_objects VALUES (?1, ?2)")?;
            objects
                .iter()
                .try_for_each(|(kind, id)| add.execute((number(*kind), id.0)).map(drop))
        })
    }

    /// Removes objects that have an intact copy now.
    pub fn remove_damaged_objects(&self, objects: &[(ObjectKind, Id)]) -> CatalogueResult<()> {
        self.write(|c| {
            let mut remove =
                c.prepare_cached("DELETE FROM damaged_objects WHERE kind = ?1 AND id = ?2")?;
            objects
                .iter()
                .try_for_each(|(kind, id)| remove.execute((number(*kind), id.0)).map(drop))
        })
    }
}

fn number(kind: ObjectKind) -> u8 {
    // The file stores positions in `ALL`, so a change of that order needs a new `VERSION` of the
    // schema.
    ObjectKind::ALL
        .iter()
        .position(|k| *k == kind)
        .and_then(|n| u8::try_from(n).ok())
        .unwrap_or(u8::MAX)
}
