//! Checkout in place: changes a worktree into a version by touching only the differences.
//!
//! Small files are created under a temporary name and renamed, so that a crash leaves the old or
//! the new file; large files are patched ([`crate::checkout::patch::large`]). A name that exists
//! but is not part of the differences is never overwritten.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, syncfs, unlinkat};
use rustix::io::Errno;

use crate::checkout::dir::{Dir, Finish, OPEN_DIR};
use crate::checkout::error::{concerns_all, error_text, io_error};
use crate::checkout::lookup::Lookup;
use crate::checkout::meta::{Known, Spot, mtime, open_file, open_up};
use crate::checkout::patch::change::Change;
use crate::checkout::patch::journal::{Journal, temp_name};
use crate::checkout::patch::plan::{is_dir, plan};
use crate::checkout::patch::remove::remove;
use crate::checkout::placed::{PlacedName, Placements};
use crate::checkout::restore::engine::Engine;
use crate::checkout::restore::item::Item;
use crate::checkout::restore::links::Member;
use crate::checkout::restore::node::Maker;
use crate::checkout::restore::report::RestoreReport;
use crate::checkout::restore::whole::refuse_reserved;
use crate::checkout::source::Source;
use crate::error::Result;
use crate::model::entry::{Entry, HardLink, Node, Time};
use crate::model::id::Id;
use crate::model::path::{has_reserved, is_within, join};
use crate::observe::{Observer, Silent};
use crate::sys::mountinfo::MountTable;

/// Options of a patch.
#[derive(Clone, Copy)]
pub struct PatchOptions<'a> {
    /// Number of threads, at least 1.
    pub jobs: usize,
    /// Paths that are changed to the version; empty means all. Directories outside of these paths
    /// keep their times.
    pub scope: &'a [Vec<u8>],
    /// Receives the directories that are complete.
    pub placements: Option<&'a dyn Placements>,
}

/// A directory in which entries were changed.
pub(in crate::checkout) struct Touched {
    pub(in crate::checkout) dir: Arc<Dir>,
    mtime: Time,
    mode: u32,
    pub(in crate::checkout) dev: u64,
}

impl Touched {
    /// Records the state of the directory before its entries change.
    fn new(dir: Arc<Dir>, stat: &Stat) -> Self {
        Self {
            dir,
            mtime: mtime(stat),
            mode: stat.st_mode & 0o7777,
            dev: stat.st_dev,
        }
    }

    /// Restores the mode and the time of the directory.
    fn give_back(&self, spot: Spot<'_>) -> Result<(), Errno> {
        if spot.stat()?.st_mode & 0o7777 != self.mode {
            spot.chmod(self.mode)?;
        }
        spot.set_mtime(self.mtime)
    }
}

/// The state of a running patch.
pub(in crate::checkout) struct Patch<'a> {
    pub(in crate::checkout) engine: Engine<'a>,
    pub(in crate::checkout) journal: &'a mut Journal,
    pub(in crate::checkout) options: PatchOptions<'a>,
    pub(in crate::checkout) reflink: bool,
    lookup: Lookup<'a>,
    pub(in crate::checkout) touched: BTreeMap<Vec<u8>, Touched>,
    pub(in crate::checkout) made: HashSet<Vec<u8>>,
    pub(in crate::checkout) temps: u64,
}

/// Fails if this version cannot be checked out into `root`. Changes nothing.
pub fn refuse_unfit(source: &dyn Source, target: &Id, root: &Path) -> Result<()> {
    enter(source, target, root, &Silent).map(|_| ())
}

fn enter<'a>(
    source: &'a dyn Source,
    target: &Id,
    root: &Path,
    observer: &dyn Observer,
) -> Result<(Lookup<'a>, OwnedFd, Stat, Maker)> {
    let lookup = Lookup::new(source, target)?;
    refuse_reserved(lookup.root())?;
    let shown = root.as_os_str().as_encoded_bytes();
    let fd =
        rustix::fs::open(root, OPEN_DIR, Mode::empty()).map_err(|e| io_error("open", shown, e))?;
    let stat = fstat(&fd).map_err(|e| io_error("inspect", shown, e))?;
    open_up(fd.as_fd());
    let maker = Maker::probe(fd.as_fd(), false, observer)
        .map_err(|e| io_error("create a file in", shown, e))?
        .remembering();
    Ok((lookup, fd, stat, maker))
}

/// Changes `root` into the version with root `target`. The caller finishes the journal after saving
/// the new state of the worktree.
pub fn patch(
    source: &dyn Source,
    target: &Id,
    changes: Vec<Change>,
    root: &Path,
    journal: &mut Journal,
    options: &PatchOptions<'_>,
    observer: &dyn Observer,
) -> Result<RestoreReport> {
    let (lookup, fd, stat, maker) = enter(source, target, root, observer)?;
    let engine = Engine::new(source, maker, observer, options.placements);
    let top = Touched::new(Dir::root(fd, None), &stat);
    let mut patch = Patch {
        engine,
        journal,
        options: *options,
        reflink: true,
        lookup,
        touched: BTreeMap::from([(Vec::new(), top)]),
        made: HashSet::new(),
        temps: 0,
    };
    if patch.journal.is_resumed() {
        // The interrupted run may have changed any file system that is mounted in the worktree, so
        // all of them must be synced.
        for point in MountTable::read().unwrap_or_default().visible_below(root) {
            let point = point.as_os_str().as_bytes();
            if !has_reserved(point) {
                // Opening a directory marks its file system for the sync. A directory that cannot
                // be opened was not changed either.
                let _ = patch.dir(point);
            }
        }
    }
    patch.run(changes)
}

impl<'a> Patch<'a> {
    fn run(&mut self, mut changes: Vec<Change>) -> Result<RestoreReport> {
        // First finish the interrupted run: remove its temporary files, and change its half-written
        // files again.
        self.clear_leftovers();
        self.add_half_written(&mut changes)?;
        // Skip repositories: those in the worktree belong to the user, and those in a version are
        // never restored.
        for change in changes
            .extract_if(.., |c| has_reserved(&c.path))
            .filter(|c| c.new.is_some())
        {
            self.engine.reserved(change.path);
        }
        // A directory comes before its entries, on which `remove_old` and `plan` rely.
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        let observer = self.engine.observer;
        let nothing = changes.is_empty();
        let files = changes.iter().map(|c| match &c.new {
            Some(Entry {
                node: Node::Dir { totals, .. },
                ..
            }) if !is_dir(&c.old) => totals.files,
            _ => 1,
        });
        observer.phase("checkout", Some(files.fold(0, u64::saturating_add)), None);
        observer.step("checkout begin");
        // Remove first, because a name can change between file and directory.
        self.remove_old(&changes)?;
        observer.step("checkout removed");
        let plan = plan(&changes);
        self.seed_groups(&changes, &plan.metadata)?;
        self.make_trees(plan.trees)?;
        let mut linked = plan.linked;
        let mut replaced = plan.replaced;
        for (change, others) in self.patch_large(plan.large)? {
            let list = if others.is_empty() {
                &mut replaced
            } else {
                &mut linked
            };
            list.push(change);
            list.extend(others);
        }
        self.replace(replaced)?;
        // Use one batch, because later hard links link to the first one under its temporary name.
        self.replace_batch(linked)?;
        self.engine.close_groups();
        for change in plan.metadata {
            self.set_metadata(change)?;
        }
        observer.step("checkout contents");
        // Directories come last, because each change of their entries updates their times.
        self.finish_dirs()?;
        self.end_half_written()?;
        // Sync after a resumed run even if nothing changed, because the interrupted run may have
        // died before its sync.
        if !nothing || self.journal.is_resumed() {
            self.sync_all()?;
        }
        observer.step("checkout done");
        let mut report = RestoreReport::of(&self.engine.counts);
        self.engine.maker.complete(&mut report, observer);
        Ok(report)
    }

    /// Syncs every file system that was changed.
    fn sync_all(&self) -> Result<()> {
        let mut synced = HashSet::new();
        for (path, touched) in &self.touched {
            if synced.contains(&touched.dev) {
                continue;
            }
            match touched.dir.fd().and_then(syncfs) {
                Ok(()) => _ = synced.insert(touched.dev),
                // The directory was removed in the meantime. Its parent, which is on the same file
                // system, is synced.
                Err(Errno::NOENT) => {}
                Err(e) => return Err(io_error("sync", path, e)),
            }
        }
        Ok(())
    }

    /// Opens the directory at `path` without following links, and marks it as touched.
    pub(in crate::checkout) fn dir(&mut self, path: &[u8]) -> Result<Arc<Dir>, Errno> {
        let mut dir = self
            .touched
            .get(&b""[..])
            .map(|t| Arc::clone(&t.dir))
            .ok_or(Errno::BADF)?;
        let slashes = path
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'/')
            .map(|(at, _)| at);
        let mut from = 0;
        // Opens one component after the other, because a path as a whole could lead through a link.
        for to in slashes.chain((!path.is_empty()).then_some(path.len())) {
            dir = self.dir_in(&dir, &path[..to], &path[from..to])?;
            from = to + 1;
        }
        Ok(dir)
    }

    fn dir_in(&mut self, parent: &Arc<Dir>, path: &[u8], name: &[u8]) -> Result<Arc<Dir>, Errno> {
        if let Some(known) = self.touched.get(path) {
            return Ok(Arc::clone(&known.dir));
        }
        let dir = match Dir::open(parent, name, None) {
            // Only some paths are checked out, and this is the first one in a new directory.
            Err(Errno::NOENT) if self.lookup.dir(path).is_ok_and(|d| d.is_some()) => {
                Maker::dir(parent.fd()?.as_fd(), name)?;
                self.made.insert(path.to_vec());
                Dir::open(parent, name, None)?
            }
            other => other?,
        };
        let fd = dir.fd()?;
        // Read the mode before `open_up` widens it, because the mode is restored at the end.
        let stat = fstat(&fd)?;
        open_up(fd.as_fd());
        drop(fd);
        self.touched
            .insert(path.to_vec(), Touched::new(Arc::clone(&dir), &stat));
        Ok(dir)
    }

    /// Returns the location of a changed name. Reports a notice and returns `None` if the directory
    /// cannot be opened.
    pub(in crate::checkout) fn member(&mut self, path: &[u8]) -> Result<Option<Member>> {
        let slash = path.iter().rposition(|b| *b == b'/');
        let (above, name) = slash.map_or((&path[..0], path), |at| (&path[..at], &path[at + 1..]));
        match self.dir(above) {
            Ok(dir) => Ok(Some(Member {
                dir,
                name: name.to_vec(),
            })),
            Err(e) if concerns_all(e) => Err(io_error("open", above, e)),
            Err(e) => {
                self.engine.incomplete(
                    path.to_vec(),
                    format!("cannot open the parent directory: {}", error_text(e)),
                );
                Ok(None)
            }
        }
    }

    /// Removes temporary files of interrupted runs, whose names contain the id of the run.
    fn clear_leftovers(&mut self) {
        for (run, path) in self.journal.take_left() {
            // A directory that does not exist any more has no leftovers.
            let Ok(dir) = self.dir(&path) else { continue };
            let Ok(fd) = dir.fd() else { continue };
            let Ok(names) = rustix::fs::Dir::read_from(&fd) else {
                continue;
            };
            let prefix = temp_name(&run);
            for entry in names.flatten() {
                if entry.file_name().to_bytes().starts_with(prefix.as_bytes()) {
                    // A file that remains is harmless: `status` shows it as an unknown file.
                    let _ = unlinkat(&fd, entry.file_name(), AtFlags::empty());
                }
            }
        }
    }

    /// Adds half-written files of an interrupted run that the caller's differences do not contain.
    /// Marks those that they contain as not verified.
    fn add_half_written(&mut self, changes: &mut Vec<Change>) -> Result<()> {
        let half: Vec<Vec<u8>> = self
            .journal
            .half_written()
            .iter()
            .filter(|p| self.in_scope(p))
            .cloned()
            .collect();
        if half.is_empty() {
            return Ok(());
        }
        let mut known: HashMap<&[u8], usize> = HashMap::new();
        for (at, change) in changes.iter().enumerate() {
            known.insert(&change.path, at);
        }
        let (known, missing): (Vec<_>, Vec<_>) = half
            .into_iter()
            .map(|p| (known.get(p.as_slice()).copied(), p))
            .partition(|k| k.0.is_some());
        for change in known.into_iter().filter_map(|k| k.0).collect::<Vec<_>>() {
            if let Some(change) = changes.get_mut(change) {
                // The file may contain a mix of old and new ranges, so its content is compared
                // again.
                change.sure = false;
            }
        }
        for (_, path) in missing {
            // The file looks unchanged by its stat, but may contain a mix.
            let entry = self.lookup.entry(&path)?;
            if entry.is_some() {
                changes.push(Change {
                    path,
                    old: entry.clone(),
                    new: entry,
                    sure: false,
                });
            } else {
                self.journal.end_files(&[path])?;
            }
        }
        Ok(())
    }

    /// Removes half-written files of an interrupted run from the journal, if they were replaced or
    /// deleted since then.
    fn end_half_written(&mut self) -> Result<()> {
        let mut done = Vec::new();
        for path in self.journal.half_written().clone() {
            if self.made.contains(&path)
                || (self.in_scope(&path) && self.lookup.entry(&path)?.is_none())
            {
                done.push(path);
            }
        }
        self.journal.end_files(&done)
    }

    fn in_scope(&self, path: &[u8]) -> bool {
        self.options.scope.is_empty() || self.options.scope.iter().any(|s| is_within(path, s))
    }

    fn remove_old(&mut self, changes: &[Change]) -> Result<()> {
        // The reverse order removes the entries of a directory first.
        for change in changes.iter().rev() {
            let Some(old) = &change.old else { continue };
            let gone = match &change.new {
                None => true,
                Some(new) => old.is_dir() != new.is_dir(),
            };
            if gone && let Some(place) = self.member(&change.path)? {
                remove(&self.engine, &place, old, change.sure)?;
            }
        }
        Ok(())
    }

    /// Registers groups of hard links of which some names keep their file, so that new names link
    /// to it.
    fn seed_groups(&mut self, changes: &[Change], staying: &[&Change]) -> Result<()> {
        for change in staying {
            if let Some(link) = change.new.as_ref().and_then(|n| n.link) {
                self.seed_group(link, &change.path)?;
            }
        }
        if self.lookup.info.links.is_none() {
            return Ok(());
        }
        // If a name belongs to a changed group but does not differ itself, only the version's table
        // of hard links contains it.
        let table = self.engine.source.links(&self.lookup.info)?;
        let changed: HashMap<&[u8], bool> = changes
            .iter()
            .map(|c| (c.path.as_slice(), is_dir(&c.new) && !is_dir(&c.old)))
            .collect();
        // A name also changes if a directory above it is new, because everything below is created.
        let is_changed = |path: &[u8]| {
            let mut above = path
                .iter()
                .enumerate()
                .filter(|(_, b)| **b == b'/')
                .map(|(at, _)| &path[..at]);
            changed.contains_key(path) || above.any(|dir| changed.get(dir) == Some(&true))
        };
        for (group, paths) in table.0 {
            // The caller has only compared the paths in the scope, so a name outside may be any
            // file.
            let Some(stays) = paths.iter().find(|p| self.in_scope(p) && !is_changed(p)) else {
                continue;
            };
            if paths.iter().any(|p| is_changed(p)) {
                let count = u32::try_from(paths.len()).unwrap_or(u32::MAX);
                self.seed_group(HardLink { group, count }, stays)?;
            }
        }
        Ok(())
    }

    fn seed_group(&mut self, link: HardLink, path: &[u8]) -> Result<()> {
        // In a forged version, the table may contradict the entries.
        let named = self
            .lookup
            .entry(path)?
            .filter(|e| e.link.is_some_and(|l| l.group == link.group));
        let Some(Entry { node, .. }) = named else {
            return Ok(());
        };
        let Some(place) = self.member(path)? else {
            return Ok(());
        };
        let there = place
            .dir
            .fd()
            .and_then(|fd| Spot::Named(fd.as_fd(), &place.name).stat());
        // A directory cannot have hard links (link(2)), so a directory in this place is not the
        // file of the group.
        if there.is_ok_and(|s| !FileType::from_raw_mode(s.st_mode).is_dir()) {
            self.engine.links.seed(&link, place, node);
        }
        Ok(())
    }

    fn make_trees(&mut self, trees: Vec<&Change>) -> Result<()> {
        let mut items = Vec::new();
        for change in trees {
            let Some(place) = self.member(&change.path)? else {
                continue;
            };
            let Some(Entry {
                meta,
                node: Node::Dir { tree, totals },
                ..
            }) = &change.new
            else {
                continue;
            };
            // `Engine::work` releases the directory after it has processed the item.
            place.dir.retain();
            self.made.insert(change.path.clone());
            items.push(Item::Tree {
                place,
                finish: Finish {
                    meta: meta.clone(),
                    tree: *tree,
                    totals: *totals,
                },
            });
        }
        self.engine.run(self.options.jobs, |queue| {
            // The queue is a stack, so the first item is pushed last.
            items.into_iter().rev().for_each(|i| queue.push(i))
        })
    }

    fn set_metadata(&mut self, change: &Change) -> Result<()> {
        let Some(new) = &change.new else {
            return Ok(());
        };
        if new.is_dir() {
            // Metadata of directories is set last, after all changes in them.
            if let Some(place) = self.member(&change.path)?
                && let Err(e) = self.dir(&change.path)
            {
                self.engine
                    .lose(&place, format!("metadata not restored: {}", error_text(e)));
            }
            return Ok(());
        }
        let Some(place) = self.member(&change.path)? else {
            return Ok(());
        };
        let settled = place.dir.fd().and_then(|dir| {
            let file = match new.node {
                Node::File { .. } => Some(open_file(dir.as_fd(), &place.name, OFlags::RDONLY)?),
                _ => None,
            };
            let spot = file
                .as_ref()
                .map_or(Spot::Named(dir.as_fd(), &place.name), |f| {
                    Spot::Open(f.as_fd())
                });
            let stat = spot.stat()?;
            // Another hard link of the same file may have been changed before.
            let again = new.link.is_some() && is_as_found(&stat, new);
            // A file that was edited since the comparison must not get the recorded time, because
            // it would count as unchanged.
            if !again
                && !change
                    .old
                    .as_ref()
                    .is_some_and(|old| is_as_found(&stat, old))
            {
                return Ok(None);
            }
            Ok(Some(spot.settle(
                &new.meta,
                Known::of(&stat),
                matches!(new.node, Node::Symlink { .. }),
            )))
        });
        match settled {
            Ok(None) => self.engine.lose(
                &place,
                "metadata not restored: changed during the checkout".to_owned(),
            ),
            Ok(Some(lost)) => {
                self.made.insert(change.path.clone());
                self.engine.lost(lost, &place);
                self.engine
                    .counts
                    .files
                    .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                self.engine.observer.advance(1, 0);
            }
            Err(e) => self
                .engine
                .lose(&place, format!("metadata not restored: {}", error_text(e))),
        }
        Ok(())
    }

    /// Sets the metadata of every touched directory to that of the version, deepest first.
    /// Directories outside of the scope get their previous mode and time.
    fn finish_dirs(&mut self) -> Result<()> {
        for (path, touched) in self.touched.iter().rev() {
            let ours = self.in_scope(path) || self.made.contains(path);
            let found = if ours { self.lookup.dir(path)? } else { None };
            let settled = touched.dir.fd().and_then(|fd| {
                let spot = Spot::Open(fd.as_fd());
                match &found {
                    Some(found) => spot
                        .stat()
                        .map(|stat| spot.settle(found.meta, Known::of(&stat), false)),
                    None => touched.give_back(spot).map(|()| Default::default()),
                }
            });
            match settled {
                Ok(lost) => {
                    if !lost.other.is_empty() {
                        touched.dir.placed_in_part();
                    }
                    let count =
                        self.engine
                            .maker
                            .report(lost, || path.clone(), self.engine.observer);
                    self.engine
                        .counts
                        .incomplete
                        .fetch_add(count, std::sync::atomic::Ordering::Relaxed);
                }
                // The directory was removed together with its parent.
                Err(Errno::NOENT) => continue,
                Err(e) => {
                    touched.dir.placed_in_part();
                    self.engine.incomplete(
                        path.clone(),
                        format!("metadata not restored: {}", error_text(e)),
                    );
                }
            }
            if let (Some(found), Some(placements)) = (found, self.options.placements)
                && !touched.dir.placed().broken
                && let Some(names) =
                    stat_all(path, touched, found.entries, &self.made, &self.touched)
            {
                placements.dir_placed(path, &found.tree, &found.totals, names);
            }
        }
        Ok(())
    }
}

/// Returns whether a node still matches the entry that the comparison found. Compares only the
/// mtime, whether the node is a regular file, and the size of a file.
pub(in crate::checkout) fn is_as_found(stat: &Stat, found: &Entry) -> bool {
    let is_file = FileType::from_raw_mode(stat.st_mode).is_file();
    let same_size = !is_file || u64::try_from(stat.st_size) == Ok(found.size());
    is_file == matches!(found.node, Node::File { .. })
        && same_size
        && mtime(stat) == found.meta.mtime
}

/// Returns the stat of every name of a directory, or `None` if a name is missing.
fn stat_all(
    path: &[u8],
    touched: &Touched,
    entries: &[Entry],
    made: &HashSet<Vec<u8>>,
    dirs: &BTreeMap<Vec<u8>, Touched>,
) -> Option<Vec<PlacedName>> {
    let fd = touched.dir.fd().ok()?;
    let in_part = std::mem::take(&mut touched.dir.placed().in_part);
    let name_of = |entry: &Entry| {
        let stat = Spot::Named(fd.as_fd(), &entry.name).stat().ok()?;
        let below = join(path, &entry.name);
        let made = made.contains(&below) || dirs.contains_key(&below);
        Some(PlacedName {
            name: entry.name.clone(),
            stat: Some(stat).filter(|_| !in_part.contains(&entry.name)),
            made,
        })
    };
    entries.iter().map(name_of).collect()
}
