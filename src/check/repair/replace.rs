//! Takes damaged packs out of the index: their intact objects are stored again, and new index
//! segments contain no rows for them. The packs themselves stay, because a better method may still
//! find something in them.
//!
//! The new segments do not declare that they replace the old ones: a push could send them to a
//! remote that has the pack intact and lacks the objects that are stored again here.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::writer::ObjectWriter;
use super::{Repair, Target};
use crate::check::findings::is_damage;
use crate::check::report::{CheckReport, StoredObject};
use crate::check::rows::Rows;
use crate::codec::hash::NameHasher;
use crate::error::{Error, Result};
use crate::format::pack::PackKind;
use crate::format::segment::{IndexRow, PackName, SegmentName};
use crate::index::catalogue::segments::SegmentRow;
use crate::index::segment_reader::SegmentReader;
use crate::index::segment_writer::{WrittenSegment, merge_as};
use crate::model::id::ObjectKind;
use crate::repo::{LocalRepo, layout};
use crate::work::Cancelled;

impl Repair {
    /// Replaces the damaged packs whose objects can all be read.
    pub(super) fn replace_packs(&mut self, target: &Target<'_>, check: &CheckReport) -> Result<()> {
        let is_left =
            |name: &PackName| !self.restored.contains(name) && !self.replaced.contains(name);
        let mut packs: HashSet<PackName> = check
            .packs
            .iter()
            .map(|pack| pack.name)
            .filter(is_left)
            .collect();
        if packs.is_empty() {
            return Ok(());
        }
        // A pack with a lost object keeps its rows, because a later repair needs them to find the
        // object.
        for object in check
            .lost_objects
            .iter()
            .filter(|object| !self.found.contains(object))
        {
            let rows = target
                .repo
                .index()?
                .lookup_all(PackKind::of(object.kind), &object.id)
                .unwrap_or_default();
            for row in rows {
                packs.remove(&row.place.pack);
                row.base
                    .iter()
                    .for_each(|base| _ = packs.remove(&base.pack));
            }
        }
        if !target.dry_run && !packs.is_empty() {
            target
                .observer
                .phase("replace packs", Some(packs.len() as u64), None);
            // The same objects may result in the same pack.
            self.take_intact(target, &mut packs)?;
            // The packs keep their rows unless every object was moved, because a row is needed to
            // find its object again.
            if !move_objects(target, &packs)? {
                return Ok(());
            }
            self.take_intact(target, &mut packs)?;
            for kind in PackKind::ALL {
                drop_rows(target, kind, &packs)?;
            }
        }
        self.report
            .replaced_packs
            .extend(packs.iter().map(layout::pack).collect::<BTreeSet<_>>());
        self.replaced.extend(packs);
        Ok(())
    }

    /// Removes from `packs` those packs whose stored bytes match their names, and records them as
    /// restored.
    fn take_intact(&mut self, target: &Target<'_>, packs: &mut HashSet<PackName>) -> Result<()> {
        for name in packs.iter().copied().collect::<Vec<_>>() {
            let mut hasher = NameHasher::default();
            let read = target
                .repo
                .store()
                .read_from(&layout::pack(&name), 0, &mut |bytes| {
                    hasher.update(bytes);
                    if target.observer.cancelled() {
                        Err(Cancelled.into())
                    } else {
                        Ok(())
                    }
                });
            match read.map_err(Error::from) {
                // A pack with the right hash is intact, so its rows must stay.
                Ok(()) if hasher.finish() == name => {
                    packs.remove(&name);
                    self.restored.insert(name);
                }
                Err(e) if !is_damage(&e) => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }
}

fn uses(row: &IndexRow, packs: &HashSet<PackName>) -> bool {
    packs.contains(&row.place.pack) || row.base.is_some_and(|base| packs.contains(&base.pack))
}

/// Stores objects that only these packs have in new packs. Returns false if an object is
/// unreadable.
fn move_objects(target: &Target<'_>, packs: &HashSet<PackName>) -> Result<bool> {
    let index = target.repo.index()?;
    let mut objects: BTreeSet<StoredObject> = BTreeSet::new();
    for kind in PackKind::ALL {
        for row in Rows::of(index, kind).filter(|row| uses(row, packs)) {
            if index
                .lookup_all(kind, &row.id)?
                .iter()
                .all(|row| uses(row, packs))
            {
                let kinds = ObjectKind::ALL
                    .into_iter()
                    .filter(|k| PackKind::of(*k) == kind);
                objects.extend(kinds.map(|kind| StoredObject { kind, id: row.id }));
            }
        }
    }
    let mut writer = ObjectWriter::new(target);
    let mut unreadable = HashSet::new();
    let mut readable = HashSet::new();
    for object in objects {
        target.ensure_not_cancelled()?;
        // Trees and commits share packs, and an id matches only one of the two kinds.
        let plain = target.repo.object(object.kind, &object.id);
        match plain {
            Ok(plain) if writer.add(object.kind, &object.id, &plain)? => {
                _ = readable.insert(object.id)
            }
            _ => _ = unreadable.insert(object.id),
        }
    }
    writer.finish()?;
    Ok(unreadable.is_subset(&readable))
}

/// Replaces the segments of a kind that have rows of these packs.
fn drop_rows(target: &Target<'_>, kind: PackKind, packs: &HashSet<PackName>) -> Result<()> {
    // Other processes may have merged segments in the meantime.
    target.repo.refresh_segments()?;
    let index = target.repo.index()?;
    let old = index.segments(kind);
    let old: Vec<_> = old
        .into_iter()
        .filter(|s| s.packs().iter().any(|pack| packs.contains(&pack.name)))
        .collect();
    if old.is_empty() {
        return Ok(());
    }
    let written = merge_as(
        &target.staging.staging()?,
        kind,
        &old,
        |pack| !packs.contains(pack),
        &[],
    )?;
    let names: Vec<SegmentName> = old.iter().map(|segment| *segment.name()).collect();
    let WrittenSegment {
        name,
        file_bytes,
        rows,
        file,
        ..
    } = written;
    let key = layout::segment(&name);
    // The new segment is durable before the old ones are removed, so that a crash loses no row.
    if rows > 0 {
        target.observer.step("segment");
        match target.repo.as_local().map(LocalRepo::files) {
            Some(files) => files.publish(file, &key)?,
            None => target.repo.store().put(file.path(), &key)?,
        }
        target.observer.step("segment published");
    }
    if target.repo.as_local().is_some() {
        let catalogue = target.repo.catalogue()?;
        let new = SegmentRow {
            name,
            kind,
            file_bytes,
            rows,
            replaced_by: None,
        };
        if rows > 0 {
            catalogue.add_segment(&new, &names, &[])?;
        }
    }
    // Segments that these ones have replaced would count again without them.
    let superseded = superseded(target, &old)?;
    for name in superseded.iter().chain(&names) {
        target.observer.step("remove segment");
        target.repo.store().delete(&layout::segment(name))?;
    }
    if target.repo.as_local().is_some() {
        target
            .repo
            .catalogue()?
            .remove_segments(&[superseded, names].concat())?;
    }
    Ok(())
}

/// Returns the stored segments whose rows are also in the `live` segments.
fn superseded(target: &Target<'_>, live: &[Arc<SegmentReader>]) -> Result<Vec<SegmentName>> {
    // A remote has no catalogue, so only the segments themselves name the replaced ones.
    let known = match target.repo.as_local() {
        Some(_) => target.repo.catalogue()?.segments()?,
        None => Vec::new(),
    };
    let mut todo: Vec<SegmentName> = live.iter().map(|segment| *segment.name()).collect();
    let mut found: Vec<SegmentName> = live
        .iter()
        .flat_map(|segment| segment.replaces())
        .copied()
        .collect();
    todo.extend(&found);
    while let Some(by) = todo.pop() {
        for row in known.iter().filter(|row| row.replaced_by == Some(by)) {
            if !found.contains(&row.name) {
                found.push(row.name);
                todo.push(row.name);
            }
        }
    }
    found.retain(|name| live.iter().all(|segment| segment.name() != name));
    Ok(found)
}
