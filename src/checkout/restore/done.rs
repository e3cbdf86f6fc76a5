//! Bookkeeping after each node: counters, groups of hard links, complete directories, notices.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;
use rustix::fs::{AtFlags, Stat, linkat, unlinkat};
use rustix::io::Errno;

use crate::checkout::dir::{Dir, Finish};
use crate::checkout::error::{concerns_all, error_text, io_error};
use crate::checkout::meta::{Known, Lost, Spot};
use crate::checkout::placed::PlacedName;
use crate::checkout::restore::engine::Engine;
use crate::checkout::restore::item::{Failed, UNLINKED};
use crate::checkout::restore::links::Member;
use crate::checkout::restore::node::refused;
use crate::error::{Error, Kind, Result};
use crate::model::entry::{Entry, Node};
use crate::model::path::display;
use crate::observe::{Notice, NoticeLevel};

impl Engine<'_> {
    /// Completes a node: updates the counters, its group of hard links and the stat cache.
    pub(in crate::checkout) fn done(
        &self,
        place: &Member,
        entry: Entry,
        outcome: Result<(), Failed>,
        stat: Option<Stat>,
    ) -> Result<()> {
        let made = outcome.is_ok();
        match outcome {
            Ok(()) => {
                self.counts.files.fetch_add(1, Ordering::Relaxed);
                self.observer.advance(1, 0);
                // The link count in the stat still changes until the group is complete.
                self.placed(place, stat.filter(|_| entry.link.is_none()));
            }
            Err(Failed::Target(why)) => self.lose(place, why),
            Err(Failed::Denied(message)) => {
                place.dir.placed().broken = true;
                let path = self.shown(place.dir.path_of(&place.name));
                self.observer.notice(Notice {
                    level: NoticeLevel::Info,
                    path,
                    message,
                });
            }
            // A directory that lacks an entry must not be reported as equal to its tree.
            Err(Failed::Source(e)) => {
                place.dir.placed().broken = true;
                self.damaged(place.dir.path_of(&place.name), e)?;
            }
        }
        let Some(link) = entry.link else {
            return Ok(());
        };
        let deferred = if made {
            self.links.made(&link, place)
        } else {
            self.links.failed(&link)
        };
        for (member, entry) in deferred {
            if made {
                self.link(&member, &entry, place)?;
            } else {
                self.lose(&member, UNLINKED.to_owned());
            }
            self.group_step(&entry);
            self.release(&member.dir);
        }
        self.group_step(&entry);
        Ok(())
    }

    /// Records a name for the stat cache.
    fn placed(&self, place: &Member, stat: Option<Stat>) {
        if self.placements.is_some() {
            let mut placed = place.dir.placed();
            let stat = stat.filter(|_| !placed.in_part.contains(&place.name));
            placed.names.push(PlacedName {
                name: place.name.clone(),
                stat,
                made: true,
            });
        }
    }

    /// Reports that a node could not be created.
    pub(in crate::checkout) fn lose(&self, place: &Member, why: String) {
        place.dir.placed().broken = true;
        self.incomplete(place.dir.path_of(&place.name), why);
    }

    pub(in crate::checkout) fn link(
        &self,
        place: &Member,
        entry: &Entry,
        first: &Member,
    ) -> Result<()> {
        let linked = first.dir.fd().and_then(|from| {
            let to = place.dir.fd()?;
            linkat(
                &from,
                first.name.as_slice(),
                &to,
                place.name.as_slice(),
                AtFlags::empty(),
            )
        });
        match linked {
            Ok(()) => {
                self.counts.files.fetch_add(1, Ordering::Relaxed);
                self.observer.advance(1, entry.size());
                self.placed(place, None);
                Ok(())
            }
            Err(e) if concerns_all(e) => Err(io_error("link", &place.dir.path_of(&place.name), e)),
            // Too many links, a file system without hard links (link(2)), or a mount point inside
            // the target.
            Err(e @ (Errno::MLINK | Errno::PERM | Errno::NOTSUP | Errno::XDEV)) => {
                let why = format!(
                    "copied instead of hard-linked to `{}`: {}",
                    display(&first.dir.path_of(&first.name)),
                    error_text(e)
                );
                self.incomplete(place.dir.path_of(&place.name), why);
                place.dir.placed().in_part.insert(place.name.clone());
                self.copy(place, entry)
            }
            Err(e) => {
                self.lose(place, format!("hard link not created: {}", error_text(e)));
                Ok(())
            }
        }
    }

    /// Creates a separate node because a link is not possible. Runs in one thread, because this
    /// case is rare.
    fn copy(&self, place: &Member, entry: &Entry) -> Result<()> {
        let alone = Entry {
            link: None,
            ..entry.clone()
        };
        match alone.node {
            Node::File { .. } => self.small(place, alone),
            _ => self.special(place, alone),
        }
    }

    /// Creates a node that is neither a file nor a directory.
    pub(in crate::checkout) fn special(&self, place: &Member, entry: Entry) -> Result<()> {
        match place
            .dir
            .fd()
            .and_then(|dir| self.maker.special(dir.as_fd(), &place.name, &entry))
        {
            Ok(lost) => {
                self.lost(lost, place);
                let stat = self.stat(|| Spot::Named(place.dir.fd()?.as_fd(), &place.name).stat());
                self.done(place, entry, Ok(()), stat)
            }
            Err(e) if concerns_all(e) => {
                Err(io_error("create", &place.dir.path_of(&place.name), e))
            }
            Err(e) => {
                let why = refused(&entry, e);
                let is_remembered = self.maker.is_denied_device(&entry, e);
                let failed = if is_remembered {
                    Failed::Denied(why)
                } else {
                    Failed::Target(why)
                };
                self.done(place, entry, Err(failed), None)
            }
        }
    }

    /// Records that one member of a group of hard links is complete or lost.
    pub(in crate::checkout) fn group_step(&self, entry: &Entry) {
        if let Some(link) = &entry.link
            && let Some(first) = self.links.complete(link)
        {
            self.release(&first.dir);
        }
    }

    /// Releases `dir` once. After the last release, finishes the directory and releases its parent.
    pub(in crate::checkout) fn release(&self, dir: &Arc<Dir>) {
        let mut dir = Arc::clone(dir);
        // Use a loop, because recursion over a deep chain of directories would overflow the stack.
        while dir.release() {
            self.finish_dir(&dir);
            let Some(parent) = dir.parent().map(Arc::clone) else {
                break;
            };
            dir = parent;
        }
    }

    fn finish_dir(&self, dir: &Dir) {
        let Some(finish) = &dir.finish else { return };
        let settled = dir.fd().and_then(|fd| {
            let spot = Spot::Open(fd.as_fd());
            let known = if dir.parent().is_some() {
                self.maker.known_dir(spot)?
            } else {
                Known::of(&spot.stat()?)
            };
            let lost = spot.settle(&finish.meta, known, false);
            Ok((
                lost,
                if self.placements.is_some() {
                    Some(spot.stat()?)
                } else {
                    None
                },
            ))
        });
        self.counts.dirs.fetch_add(1, Ordering::Relaxed);
        match settled {
            Ok((lost, stat)) => {
                // Denied properties are recorded for the whole worktree, so the stat cache may
                // contain the rest.
                if !lost.other.is_empty() {
                    dir.placed_in_part();
                }
                let count = self.maker.report(lost, || dir.path(), self.observer);
                self.counts.incomplete.fetch_add(count, Ordering::Relaxed);
                self.report_placed(dir, finish, stat);
            }
            Err(e) => {
                if let Some(parent) = dir.parent() {
                    parent.placed().broken = true;
                }
                self.incomplete(
                    dir.path(),
                    format!("metadata not restored: {}", error_text(e)),
                );
            }
        }
    }

    /// Reports a complete directory to the stat cache, and the stat of the directory to its parent.
    fn report_placed(&self, dir: &Dir, finish: &Finish, stat: Option<Stat>) {
        let Some(placements) = self.placements else {
            return;
        };
        let placed = std::mem::take(&mut *dir.placed());
        if !placed.broken {
            let mut names = placed.names;
            names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            placements.dir_placed(&dir.path(), &finish.tree, &finish.totals, names);
        }
        if let Some(parent) = dir.parent() {
            let mut above = parent.placed();
            let stat = stat.filter(|_| !above.in_part.contains(dir.name()));
            above.names.push(PlacedName {
                name: dir.name().to_vec(),
                stat,
                made: true,
            });
        }
    }

    pub(in crate::checkout) fn stat(
        &self,
        stat: impl FnOnce() -> Result<Stat, Errno>,
    ) -> Option<Stat> {
        self.placements?;
        stat().ok()
    }

    pub(in crate::checkout) fn unlink(&self, place: &Member) {
        if let Ok(dir) = place.dir.fd() {
            // Ignore an error, because a notice about the file follows anyway.
            let _ = unlinkat(dir, place.name.as_slice(), AtFlags::empty());
        }
    }

    /// Reports the properties of a node that were lost.
    pub(in crate::checkout) fn lost(&self, lost: Lost, place: &Member) {
        if !lost.other.is_empty() && self.placements.is_some() {
            place.dir.placed().in_part.insert(place.name.clone());
        }
        let count = self.maker.report(
            lost,
            || self.shown(place.dir.path_of(&place.name)),
            self.observer,
        );
        self.counts.incomplete.fetch_add(count, Ordering::Relaxed);
    }

    /// Returns the map from temporary to final paths.
    pub(in crate::checkout) fn renamed(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Vec<u8>>> {
        self.renamed.lock()
    }

    fn shown(&self, path: Vec<u8>) -> Vec<u8> {
        self.renamed().get(&path).cloned().unwrap_or(path)
    }

    /// Reports that something could not be restored.
    pub(in crate::checkout) fn incomplete(&self, path: Vec<u8>, message: String) {
        self.counts.incomplete.fetch_add(1, Ordering::Relaxed);
        self.observer.notice(Notice {
            level: NoticeLevel::Incomplete,
            path: self.shown(path),
            message,
        });
    }

    /// Reports damage in the repository. Any other error of the repository is returned and ends the
    /// run.
    pub(in crate::checkout) fn damaged(&self, path: Vec<u8>, e: Error) -> Result<()> {
        if e.kind() != Kind::Integrity {
            return Err(e);
        }
        self.counts.damaged.fetch_add(1, Ordering::Relaxed);
        let path = self.shown(path);
        self.observer.notice(Notice {
            level: NoticeLevel::Damage,
            path,
            message: format!("not restored: {e}"),
        });
        Ok(())
    }
}
