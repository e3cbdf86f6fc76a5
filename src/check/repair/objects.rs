//! Stores lost objects again: from other repositories by id, from the files of worktrees and
//! directories, and deltas whose base was found.

use std::collections::BTreeSet;

use super::files::{FileSearch, KnownPlaces};
use super::writer::ObjectWriter;
use super::{Repair, RepairSources, SourceRepo, Target};
use crate::check::findings::is_damage;
use crate::check::report::{CheckReport, StoredObject};
use crate::error::{Kind, Result};
use crate::format::frame::{CODEC_DELTA, FrameHead};
use crate::format::pack::PackKind;
use crate::model::id::{Id, ObjectKind};
use crate::repo::frames::decode_payload;
use crate::repo::layout;

/// Maximum number of chunks that are fetched together, with shared requests.
const BATCH: usize = 512;

impl Repair {
    /// Stores the lost objects that a source has.
    pub(super) fn restore_objects(
        &mut self,
        target: &Target<'_>,
        check: &CheckReport,
        sources: &RepairSources<'_>,
    ) -> Result<()> {
        let mut needed = BTreeSet::new();
        for object in &check.lost_objects {
            if self.found.contains(object) {
                continue;
            }
            if self.is_readable(target, object, sources)? {
                self.found.insert(*object);
            } else if !self.sought.contains(object) {
                needed.insert(*object);
            }
        }
        if needed.is_empty() {
            return Ok(());
        }
        target
            .observer
            .phase("restore objects", Some(needed.len() as u64), None);
        let (deltas, mut wholes): (BTreeSet<_>, BTreeSet<_>) = needed
            .into_iter()
            .partition(|object| is_delta(target, object));
        // Whole objects come first, because a delta needs no copy if its base is found.
        self.restore_from_all(target, check, sources, &mut wholes)?;
        // A delta is readable again if its base was found.
        let is_lost = |object: &StoredObject| !self.take_readable(target, object, sources);
        let mut deltas: BTreeSet<_> = deltas.into_iter().filter(is_lost).collect();
        self.restore_from_all(target, check, sources, &mut deltas)?;
        self.sought.extend(wholes.into_iter().chain(deltas));
        Ok(())
    }

    /// Returns whether a lost object is intact again because its pack was restored.
    fn is_readable(
        &self,
        target: &Target<'_>,
        object: &StoredObject,
        sources: &RepairSources<'_>,
    ) -> Result<bool> {
        if !target.dry_run {
            return match target.repo.object(object.kind, &object.id) {
                Ok(_) => Ok(true),
                Err(e) if is_damage(&e) => Ok(false),
                Err(e) => Err(e),
            };
        }
        let rows = target
            .repo
            .index()?
            .lookup_all(PackKind::of(object.kind), &object.id)
            .unwrap_or_default();
        // A dry run has changed nothing, so the object counts as readable if its pack would be
        // restored.
        let is_restored = rows
            .iter()
            .any(|row| self.restored.contains(&row.place.pack));
        if is_restored && object.kind != ObjectKind::Chunk {
            // The check of the versions below continues with this object.
            let found = sources
                .repos
                .iter()
                .find_map(|source| source.repo.object(object.kind, &object.id).ok());
            found
                .iter()
                .for_each(|plain| target.repo.volatile().put(object.id, plain.to_vec()));
        }
        Ok(is_restored)
    }

    fn take_readable(
        &mut self,
        target: &Target<'_>,
        object: &StoredObject,
        sources: &RepairSources<'_>,
    ) -> bool {
        let is_readable = match target.dry_run {
            true => self.would_decode(target, object, sources).unwrap_or(false),
            false => target.repo.object(object.kind, &object.id).is_ok(),
        };
        if is_readable {
            self.found.insert(*object);
        }
        is_readable
    }

    /// Returns whether a delta can be decoded with a base that a dry run has found at a source.
    fn would_decode(
        &self,
        target: &Target<'_>,
        object: &StoredObject,
        sources: &RepairSources<'_>,
    ) -> Result<bool> {
        for row in target
            .repo
            .index()?
            .lookup_all(PackKind::of(object.kind), &object.id)?
        {
            let key = layout::pack(&row.place.pack);
            let Ok(stored) = target.repo.store().read_at(
                &key,
                row.place.offset.into(),
                row.place.stored as usize,
            ) else {
                continue;
            };
            let mut payload = stored.as_slice();
            let Ok(head) = FrameHead::decode(&mut payload) else {
                continue;
            };
            let Some(base) = head.base.map(|id| StoredObject {
                kind: object.kind,
                id,
            }) else {
                continue;
            };
            if !self.found.contains(&base) || payload.len() != head.payload as usize {
                continue;
            }
            let base = sources
                .repos
                .iter()
                .find_map(|source| source.repo.object(base.kind, &base.id).ok());
            let plain = base.and_then(|base| decode_payload(&head, payload, Some(&base)).ok());
            if plain.is_some_and(|plain| target.repo.ids().id(object.kind, &plain) == object.id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Stores the needed objects that a source has, and removes them from `needed`.
    fn restore_from_all(
        &mut self,
        target: &Target<'_>,
        check: &CheckReport,
        sources: &RepairSources<'_>,
        needed: &mut BTreeSet<StoredObject>,
    ) -> Result<()> {
        let mut writer = ObjectWriter::new(target);
        let mut stored = Vec::new();
        // Repositories come before directories, because a lookup by id is cheaper than reading all
        // files.
        for source in self.usable(sources) {
            if needed.is_empty() {
                break;
            }
            if let Err(e) = self.restore_from_repo(target, source, needed, &mut writer, &mut stored)
            {
                self.leave_out(target, source, e)?;
            }
        }
        if !needed.is_empty() {
            self.restore_from_dirs(target, check, sources, needed, &mut writer, &mut stored)?;
        }
        // Objects count only once they are durable.
        writer.finish()?;
        self.found.extend(stored);
        Ok(())
    }

    fn restore_from_repo(
        &mut self,
        target: &Target<'_>,
        source: &SourceRepo,
        needed: &mut BTreeSet<StoredObject>,
        writer: &mut ObjectWriter<'_>,
        stored: &mut Vec<StoredObject>,
    ) -> Result<()> {
        let mut damaged = 0u64;
        let all: Vec<StoredObject> = needed.iter().copied().collect();
        for batch in all.chunks(BATCH) {
            let chunks: Vec<Id> = batch
                .iter()
                .filter(|o| o.kind == ObjectKind::Chunk)
                .map(|o| o.id)
                .collect();
            // Reading the single objects reports any error.
            let _ = source.repo.fetch_ahead(&chunks);
            for object in batch {
                target.ensure_not_cancelled()?;
                if !source.repo.has(object.kind, &object.id)? {
                    continue;
                }
                let plain = match source.repo.object(object.kind, &object.id) {
                    Ok(plain) => plain,
                    // A source may be damaged too, and the next one may have an intact copy.
                    Err(e) if e.kind() == Kind::Integrity => {
                        damaged += 1;
                        continue;
                    }
                    Err(e) => return Err(e),
                };
                if writer.add(object.kind, &object.id, &plain)? {
                    self.count(target, &source.name, plain.len());
                    needed.remove(object);
                    stored.push(*object);
                }
            }
        }
        if damaged > 0 {
            let objects = crate::model::text::count(damaged, "lost object");
            target.info(format!(
                "`{}` has only damaged copies of {objects}",
                source.name
            ));
        }
        Ok(())
    }

    fn restore_from_dirs(
        &mut self,
        target: &Target<'_>,
        check: &CheckReport,
        sources: &RepairSources<'_>,
        needed: &mut BTreeSet<StoredObject>,
        writer: &mut ObjectWriter<'_>,
        stored: &mut Vec<StoredObject>,
    ) -> Result<()> {
        let mut chunks: BTreeSet<Id> = needed
            .iter()
            .filter(|o| o.kind == ObjectKind::Chunk)
            .map(|o| o.id)
            .collect();
        let known = KnownPlaces::find(target.repo, check, &chunks)?;
        // Directories that the user has named come first and are searched completely.
        let dirs = sources.dirs.named.iter().map(|dir| (dir, true));
        for (dir, everywhere) in dirs.chain(sources.dirs.worktrees.iter().map(|dir| (dir, false))) {
            target.ensure_not_cancelled()?;
            let name = dir.display().to_string();
            let mut take = |id: &Id, bytes: &[u8]| -> Result<()> {
                let object = StoredObject {
                    kind: ObjectKind::Chunk,
                    id: *id,
                };
                if writer.add(object.kind, id, bytes)? {
                    self.count(target, &name, bytes.len());
                    stored.push(object);
                }
                Ok(())
            };
            let cancelled = || target.observer.cancelled();
            let mut search = FileSearch {
                repo: target.repo,
                known: &known,
                needed: &mut chunks,
                take: &mut take,
                cancelled: &cancelled,
            };
            search.search(dir, everywhere)?;
            needed.retain(|object| object.kind != ObjectKind::Chunk || chunks.contains(&object.id));
            // Only lost trees and lists need the rebuild, which walks the whole directory.
            if needed
                .iter()
                .all(|object| matches!(object.kind, ObjectKind::Chunk | ObjectKind::Commit))
            {
                continue;
            }
            let rebuilt = match (sources.rebuild_trees)(dir) {
                Ok(rebuilt) => rebuilt,
                Err(e) if e.kind() == Kind::Cancelled => return Err(e),
                // A worktree may be gone, or may belong to another user.
                Err(_) => continue,
            };
            for (id, bytes) in rebuilt {
                // A rebuilt id does not contain its kind, so both kinds are tried.
                for kind in [ObjectKind::List, ObjectKind::Tree] {
                    let object = StoredObject { kind, id };
                    if needed.contains(&object) && writer.add(kind, &id, &bytes)? {
                        self.count(target, &name, bytes.len());
                        needed.remove(&object);
                        stored.push(object);
                    }
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, target: &Target<'_>, source: &str, bytes: usize) {
        target.observer.advance(1, bytes as u64);
        self.report.add(source, |share| {
            share.objects += 1;
            share.bytes += bytes as u64;
        });
    }
}

/// Returns whether all copies of an object are deltas, so that another object may make it readable.
fn is_delta(target: &Target<'_>, object: &StoredObject) -> bool {
    let rows = target
        .repo
        .index()
        .ok()
        .and_then(|i| i.lookup_all(PackKind::of(object.kind), &object.id).ok());
    rows.is_some_and(|rows| {
        !rows.is_empty() && rows.iter().all(|row| row.place.codec == CODEC_DELTA)
    })
}
