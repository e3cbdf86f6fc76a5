//! Restores whole packs and index segments: their names are the hashes of their bytes, so an intact
//! object with the same name has the same bytes in every store.

use std::path::Path;

use super::{Repair, RepairSources, Target};
use crate::check::report::CheckReport;
use crate::check::salvage::LONGEST;
use crate::error::Result;
use crate::format::pack::PackKind;
use crate::format::segment::PackName;
use crate::index::catalogue::segments::PackCheck;
use crate::repo::fetch::FetchedFile;
use crate::repo::{LocalRepo, layout};

/// A restored object.
pub(super) struct RestoredName {
    /// The name of the source.
    pub(super) source: String,
    pub(super) bytes: u64,
}

impl Repair {
    /// Restores the damaged packs that a source has.
    pub(super) fn restore_packs(
        &mut self,
        target: &Target<'_>,
        check: &CheckReport,
        sources: &RepairSources<'_>,
    ) -> Result<()> {
        if !check.packs.is_empty() {
            target
                .observer
                .phase("restore packs", Some(check.packs.len() as u64), None);
        }
        for pack in &check.packs {
            target.ensure_not_cancelled()?;
            if self.restored.contains(&pack.name) || self.replaced.contains(&pack.name) {
                continue;
            }
            let index = target.repo.index()?;
            let known = PackKind::ALL
                .into_iter()
                .find_map(|kind| index.pack_bytes(kind, &pack.name));
            // The limit keeps a hostile source from filling the disk.
            let limit = known.filter(|bytes| *bytes > 0).unwrap_or(LONGEST);
            let key = layout::pack(&pack.name);
            let Some(restored) = self.restore_named(target, sources, &key, &pack.name, limit)?
            else {
                continue;
            };
            self.restored.insert(pack.name);
            self.report.add(&restored.source, |share| {
                share.packs += 1;
                share.bytes += restored.bytes;
            });
            if let (false, Ok(catalogue)) = (target.dry_run, target.repo.catalogue()) {
                // Without the record, the next check only reads the pack once more.
                let checks = [PackCheck {
                    pack: pack.name,
                    checked_at: target.time.secs,
                    ok: true,
                }];
                let _ = catalogue.put_pack_checks(&checks);
            }
        }
        Ok(())
    }

    /// Restores the object `key` with this name from the first source that has it; `None` if no
    /// source does.
    pub(super) fn restore_named(
        &mut self,
        target: &Target<'_>,
        sources: &RepairSources<'_>,
        key: &str,
        name: &PackName,
        limit: u64,
    ) -> Result<Option<RestoredName>> {
        // A second search would cost a request for each source and find nothing.
        if self.unavailable.contains(name) {
            return Ok(None);
        }
        for source in self.usable(sources) {
            let cancelled = || target.observer.cancelled();
            match source
                .repo
                .fetch_named(key, name, limit, target.staging, &cancelled)
            {
                Ok(FetchedFile::Verified(file)) => {
                    let bytes = file.as_file().metadata().map_or(0, |m| m.len());
                    target.observer.advance(1, bytes);
                    if !target.dry_run {
                        target.observer.step("restore");
                        match target.repo.as_local().map(LocalRepo::files) {
                            Some(files) => files.publish(file, key)?,
                            None => target.replace(file.path(), key)?,
                        }
                        target.observer.step("restored");
                    }
                    return Ok(Some(RestoredName {
                        source: source.name.clone(),
                        bytes,
                    }));
                }
                Ok(FetchedFile::Missing) => {}
                Ok(FetchedFile::Wrong) => {
                    target.info(format!("`{key}` of `{}` is damaged too", source.name));
                }
                Err(e) => self.leave_out(target, source, e)?,
            }
        }
        self.unavailable.insert(*name);
        Ok(None)
    }
}

impl Target<'_> {
    /// Replaces an object of a remote repository.
    fn replace(&self, file: &Path, key: &str) -> Result<()> {
        // The cache may contain blocks of the damaged object.
        self.repo.store().replace(file, key)?;
        self.repo
            .remote_store()
            .iter()
            .for_each(|remote| remote.forget(key));
        Ok(())
    }
}
