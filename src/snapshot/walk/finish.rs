//! Finishes the directories of a walk: stores the tree of a directory when everything below it is
//! stored.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::FileType;

use crate::error::Result;
use crate::format::Malformed;
use crate::model::entry::{Entry, Meta, Node, Time, Totals};
use crate::model::id::Id;
use crate::model::path;
use crate::model::tree::RootInfo;
use crate::snapshot::content::store::store_links;
use crate::snapshot::tree::store_tree;
use crate::snapshot::walk::basis::{DirRecord, fingerprint};
use crate::snapshot::walk::dir::{Dir, Slot, State};
use crate::snapshot::walk::entries::Stat;
use crate::snapshot::walk::scan::{Finished, Walk};

impl Walk<'_> {
    /// Completes one task of a directory. After the last one, finishes the directory, and then its
    /// parents if these were their last tasks.
    pub fn done(&self, dir: &Arc<Dir>) -> Result<()> {
        let mut dir = Arc::clone(dir);
        while dir.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            let gone = dir.lock().gone;
            let finished = if gone { None } else { Some(self.finish(&dir)?) };
            let Some(parent) = dir.parent.clone() else {
                *self.result.lock() = finished;
                return Ok(());
            };
            let mut state = parent.lock();
            if let Some(finished) = finished
                && let Ok(at) = state.slots.binary_search_by(|s| s.name.cmp(&dir.name))
            {
                let stat = *dir.stat.lock();
                let slot = &mut state.slots[at];
                slot.print = fingerprint(
                    &dir.name,
                    &stat,
                    Some(&finished.tree),
                    parent.device(),
                    self.before,
                );
                slot.entry = Some(Entry {
                    name: dir.name.clone(),
                    meta: finished.meta,
                    link: None,
                    node: Node::Dir {
                        tree: finished.tree,
                        totals: finished.totals,
                    },
                });
            }
            drop(state);
            dir = parent;
        }
        Ok(())
    }

    fn finish(&self, dir: &Dir) -> Result<Finished> {
        let stat = *dir.stat.lock();
        let mut state = std::mem::take(&mut *dir.lock());
        let mut meta = match self.rules.is_place(&dir.path) {
            true => Meta {
                mode: 0o755,
                ..Meta::default()
            },
            false => stat.meta(std::mem::take(&mut state.xattrs)),
        };
        // Use a constant instead of the tree, because only the metadata of the directory is
        // compared.
        let own = fingerprint(b"", &stat, Some(&Id([0; 32])), stat.dev, self.before);
        if let Some(record) = state.record.as_ref().filter(|_| state.clean) {
            let same =
                |stat: &Stat, now, then: &u64| record.confirms(dir.device(), stat, now, *then);
            // The tree is reused only if the subdirectories, which are finished now, match too.
            let names = state
                .slots
                .iter()
                .zip(&record.prints)
                .all(|(s, then)| same(&s.stat, s.print, then));
            // The metadata of the root is in its own object; that of any other directory is in its
            // parent.
            let itself = !dir.is_root()
                || record
                    .prints
                    .last()
                    .is_some_and(|then| same(&stat, own, then));
            if names && itself {
                if let Some(kept) = &self.kept {
                    kept.lock().push(dir.path.clone());
                }
                return Ok(Finished {
                    tree: record.tree,
                    totals: record.totals,
                    meta,
                });
            }
            // Only the recorded tree lists the unchanged entries; if the tree is unreadable, the
            // walk is restarted without records.
            let mut old: HashMap<Vec<u8>, Entry> = self
                .out
                .repo()
                .entries(&record.tree)?
                .into_iter()
                .map(|e| (e.name.clone(), e))
                .collect();
            for slot in state
                .slots
                .iter_mut()
                .filter(|s| s.stat.kind != FileType::Directory)
            {
                let entry = old.remove(&slot.name);
                slot.entry = Some(entry.ok_or_else(|| {
                    Malformed::new("directory", "the names differ from the recorded tree")
                })?);
            }
        }
        // A hard-linked file gets the node that was read through any of its names.
        for slot in &mut state.slots {
            if let Some(key) = slot.link {
                let (link, node) = self.links().result(&key);
                slot.entry = slot.entry.take().zip(node).map(|(entry, node)| Entry {
                    link,
                    node,
                    ..entry
                });
            }
        }
        self.settle_unrestored(dir, &mut meta, &mut state)?;
        let mut prints = Vec::with_capacity(state.slots.len() + 1);
        let mut entries = Vec::with_capacity(state.slots.len());
        let mut totals = Totals::default();
        for slot in state.slots {
            if let Some(entry) = slot.entry {
                totals.add(&entry);
                prints.push(slot.print);
                entries.push(entry);
            }
        }
        prints.push(own);
        // A directory that is included only in part has no tree of its own.
        if let Some(chosen) = &dir.chosen {
            let whole = entries
                .into_iter()
                .filter(|entry| chosen.takes_whole(&entry.name));
            let picked = whole.map(|entry| (path::join(&dir.path, &entry.name), entry));
            self.picked.lock().extend(picked);
            return Ok(Finished {
                tree: Id([0; 32]),
                totals,
                meta,
            });
        }
        let root = if dir.is_root() {
            let table = self.links().table();
            let links = if table.0.is_empty() {
                None
            } else {
                Some(store_links(self.out, &table)?)
            };
            Some(RootInfo {
                meta: meta.clone(),
                totals,
                links,
            })
        } else {
            None
        };
        let tree = store_tree(entries, root, self.out)?;
        // The time of the latest change is known only at the end of the walk, so `newest` is set
        // then.
        let record = DirRecord {
            tree,
            totals,
            device: stat.dev,
            newest: Time::default(),
            prints,
        };
        self.records.lock().push((dir.path.clone(), record));
        Ok(Finished { tree, totals, meta })
    }

    /// Restores in the entries of a directory the properties that a checkout could not set, and
    /// adds the devices that it could not create.
    fn settle_unrestored(&self, dir: &Dir, meta: &mut Meta, state: &mut State) -> Result<()> {
        let Some(unrestored) = self.unrestored else {
            return Ok(());
        };
        let own = dir.is_root().then_some(meta);
        for entry in unrestored.settle(self.out.repo(), &dir.path, own, &mut state.slots)? {
            let name = entry.name.clone();
            let is_wanted = dir.chosen.as_ref().is_none_or(|chosen| chosen.takes(&name));
            if !is_wanted
                || state
                    .ignores
                    .excludes(self.rules, &path::join(&dir.path, &name), false)
            {
                continue;
            }
            // Fingerprint 0 never matches. The device node does not exist, so later walks have no
            // stat to compare.
            let stat = Stat {
                kind: FileType::CharacterDevice,
                ..*dir.stat.lock()
            };
            let slot = Slot {
                name,
                stat,
                print: 0,
                entry: Some(entry),
                link: None,
            };
            let at = state.slots.partition_point(|s| s.name < slot.name);
            state.slots.insert(at, slot);
        }
        Ok(())
    }
}
