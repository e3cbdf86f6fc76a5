//! Fills the stat cache from a checkout, so that the next `status` does not read the written files
//! again.
//!
//! A file that the checkout wrote is recorded as unmodified. A file that the checkout did not touch
//! is recorded only if its stat is the same as at the comparison.

use std::collections::HashMap;
use std::path::Path;

use parking_lot::Mutex;
use rustix::fs::Stat;

use crate::checkout::placed::{PlacedName, Placements};
use crate::error::Result;
use crate::model::entry::Totals;
use crate::model::id::Id;
use crate::model::path;
use crate::repo::Repo;
use crate::snapshot::commit::Snapshot;
use crate::snapshot::walk::basis::{DirRecord, fingerprint, vouch};
use crate::snapshot::walk::entries;
use crate::snapshot::walk::entries::Stat as Seen;
use crate::sys::clock::{now, time};

/// Collects the directories that a checkout writes, and then records them in the stat cache.
pub(super) struct PlacedFiles<'a> {
    repo: &'a Repo,
    worktree: Option<i64>,
    before: &'a Snapshot,
    dirs: Mutex<HashMap<Vec<u8>, PlacedDir>>,
}

/// A directory with its tree and its names.
struct PlacedDir {
    tree: Id,
    totals: Totals,
    names: Vec<PlacedName>,
}

impl<'a> PlacedFiles<'a> {
    pub(super) fn new(repo: &'a Repo, worktree: Option<i64>, before: &'a Snapshot) -> Self {
        Self {
            repo,
            worktree,
            before,
            dirs: Mutex::default(),
        }
    }

    /// Writes the records of the stat cache.
    pub(super) fn remember(self, root: &Path) -> Result<()> {
        let Some(worktree) = self.worktree else {
            return Ok(());
        };
        let dirs = self.dirs.into_inner();
        let catalogue = self.repo.catalogue()?;
        let now = now();
        // Without the stat of the root, the print of the root is 0, so `status` examines the root
        // again.
        let root_stat = entries::open_root(root)
            .and_then(|fd| entries::stat_at(std::os::fd::AsFd::as_fd(&fd), b""))
            .ok();
        let mut devices: HashMap<Vec<u8>, u64> = root_stat
            .iter()
            .map(|stat| (Vec::new(), stat.dev))
            .collect();
        for (dir, PlacedDir { names, .. }) in &dirs {
            let below = names
                .iter()
                .filter_map(|name| Some((name, name.stat.filter(is_dir)?)));
            devices.extend(below.map(|(name, stat)| (path::join(dir, &name.name), stat.st_dev)));
        }
        let mut records: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::with_capacity(dirs.len());
        for (
            dir,
            PlacedDir {
                tree,
                totals,
                names,
            },
        ) in &dirs
        {
            let old = match self.before.record(dir) {
                Some(record) => Some(record),
                None => catalogue
                    .stat_dirs(worktree, &[dir])?
                    .into_iter()
                    .next()
                    .flatten(),
            };
            let old = old
                .and_then(|r| DirRecord::decode(&r))
                .map(|r| r.prints)
                .unwrap_or_default();
            let device = devices.get(dir).copied().unwrap_or(0);
            let mut prints: Vec<u64> = names
                .iter()
                .map(|name| {
                    let below = dirs.get(&path::join(dir, &name.name)).map(|d| &d.tree);
                    let print = name.stat.map_or(0, |s| {
                        fingerprint(&name.name, &seen(&s), below, device, now)
                    });
                    // A print of 0 counts as changed. A file that this checkout did not write keeps
                    // its print only if an earlier record has the same one.
                    if name.made || below.is_some() || old.contains(&print) {
                        print
                    } else {
                        0
                    }
                })
                .collect();
            let own = if dir.is_empty() {
                root_stat.map_or(0, |s| fingerprint(b"", &s, Some(&Id([0; 32])), s.dev, now))
            } else {
                0
            };
            prints.push(own);
            // The files were just written, so their newest time is now.
            let record = DirRecord {
                tree: *tree,
                totals: *totals,
                device,
                newest: now,
                prints,
            };
            records.push((dir.clone(), Some(record.encode())));
        }
        records.sort();
        catalogue.put_stat_dirs(worktree, &records)?;
        vouch(self.repo, worktree)
    }
}

impl Placements for PlacedFiles<'_> {
    fn dir_placed(&self, path: &[u8], tree: &Id, totals: &Totals, names: Vec<PlacedName>) {
        let mut dirs = self.dirs.lock();
        dirs.insert(
            path.to_vec(),
            PlacedDir {
                tree: *tree,
                totals: *totals,
                names,
            },
        );
    }
}

fn is_dir(s: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(s.st_mode).is_dir()
}

fn seen(s: &Stat) -> Seen {
    let size = |n| u64::try_from(n).unwrap_or(0);
    Seen {
        kind: rustix::fs::FileType::from_raw_mode(s.st_mode),
        mode: s.st_mode & 0o7777,
        uid: s.st_uid,
        gid: s.st_gid,
        size: size(s.st_size),
        blocks: size(s.st_blocks),
        mtime: time(s.st_mtime, s.st_mtime_nsec),
        ctime: time(s.st_ctime, s.st_ctime_nsec),
        ino: s.st_ino,
        dev: s.st_dev,
        nlink: u32::try_from(s.st_nlink).unwrap_or(u32::MAX),
        rdev: (rustix::fs::major(s.st_rdev), rustix::fs::minor(s.st_rdev)),
    }
}
