//! Which packs that the index names are there: a row of the index is no proof of its pack.
//!
//! A commit relies on objects that earlier ones stored. It lists the packs once, by names alone, and takes an object for
//! stored only if its pack is among them.

use std::collections::HashSet;
use std::io::ErrorKind;

use super::{Repo, layout};
use crate::error::Result;
use crate::format::pack::PackKind;
use crate::format::segment::{IndexRow, PackName};
use crate::model::id::{Id, ObjectKind, parse_hex};
use crate::sys::io_error::IoError;

impl Repo {
    /// Packs that the index names, and that are gone; listed once. None of a repository elsewhere.
    pub(super) fn gone(&self) -> Result<&HashSet<PackName>> {
        if let Some(gone) = self.gone.get() {
            return Ok(gone);
        }
        let gone = if self.as_local().is_some() {
            let there = self.packs_there()?;
            self.named_packs()?.into_iter().filter(|name| !there.contains(name)).collect()
        } else {
            HashSet::new()
        };
        Ok(self.gone.get_or_init(|| gone))
    }

    /// Whether a copy of an object can be read, as far as packs that are gone tell.
    pub(super) fn is_there(&self, row: &IndexRow) -> Result<bool> {
        let gone = self.gone()?;
        Ok(!gone.contains(&row.place.pack) && row.base.is_none_or(|base| !gone.contains(&base.pack)))
    }

    /// Whether an object is stored in a pack that is there.
    pub fn has_whole(&self, kind: ObjectKind, id: &Id) -> Result<bool> {
        let (index, table) = (self.index()?, PackKind::of(kind));
        if self.gone()?.is_empty() {
            return Ok(index.lookup(table, id)?.is_some());
        }
        for row in index.lookup_all(table, id)? {
            if self.is_there(&row)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The packs that the index names and that are there, as sorted beginnings of their names.
    pub fn sound_packs(&self) -> Result<Vec<u64>> {
        let gone = self.gone()?;
        let sound = self.named_packs()?.into_iter().filter(|name| !gone.contains(name));
        let mut all: Vec<u64> = sound.filter_map(|name| Some(u64::from_be_bytes(*name.first_chunk()?))).collect();
        all.sort_unstable();
        Ok(all)
    }

    fn named_packs(&self) -> Result<HashSet<PackName>> {
        let index = self.index()?;
        let segments = layout::SEGMENT_KINDS.iter().flat_map(|kind| index.segments(*kind));
        Ok(segments.flat_map(|segment| segment.packs().iter().map(|pack| pack.name).collect::<Vec<_>>()).collect())
    }

    fn packs_there(&self) -> Result<HashSet<PackName>> {
        let dir = self.path().join(layout::PACKS);
        let failed = |source| IoError::new("list", layout::PACKS, source);
        let list = |dir| match std::fs::read_dir(dir) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            list => list.map(Some),
        };
        let mut there = HashSet::new();
        for fold in list(dir).map_err(failed)?.into_iter().flatten() {
            for pack in list(fold.map_err(failed)?.path()).map_err(failed)?.into_iter().flatten() {
                let mut name = PackName::default();
                let known = pack.map_err(failed)?.file_name();
                if known.to_str().and_then(|hex| parse_hex(hex, &mut name)).is_some() {
                    there.insert(name);
                }
            }
        }
        Ok(there)
    }
}
