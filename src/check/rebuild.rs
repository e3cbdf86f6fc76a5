//! Rebuilds the index and the catalogue from packs and refs.
//!
//! Memory is bounded: rows are sorted in runs, which are temporary segments, and the runs are
//! merged. The new segments are durable before any old one is removed. After a crash at any point,
//! both are used, and another run completes the rebuild. The new segments do not declare that they
//! replace the old ones, because they may lack some of their rows: the old segments may be intact
//! in another copy of the repository, and a lost pack may be restored together with its segment.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::findings::{Findings, is_damage};
use super::pack_reader::{BadWhy, PackReader};
use super::rows::Rows;
use super::salvage;
use super::{logs, places};
use crate::error::{Result, with_causes};
use crate::format::frame::CODEC_DELTA;
use crate::format::pack::{PackKind, TableFrame};
use crate::format::segment::tables::PackEntry;
use crate::format::segment::{IndexRow, PackName, SegmentName};
use crate::index::Index;
use crate::index::catalogue::commits::CommitRow;
use crate::index::catalogue::segments::SegmentRow;
use crate::index::segment_reader::SegmentReader;
use crate::index::segment_writer::{merge, merge_as, write_segment};
use crate::model::id::{Id, ObjectKind, parse_hex};
use crate::model::text::count;
use crate::observe::{Notice, NoticeLevel, Observer, Silent};
use crate::repo::packs::{PackTable, read_table, rows_of};
use crate::repo::{LocalRepo, Repo, layout};
use crate::work::Cancelled;

/// Number of rows that are sorted in memory, about 20 MiB.
const RUN_ROWS: usize = 150_000;
/// Maximum number of runs that are merged at the same time, with 256 KiB of memory each.
const RUNS: usize = 64;
/// Number of commits that are added to the catalogue together.
const COMMITS: usize = 1000;

/// A pack without a usable table of contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// Key of the pack.
    pub key: String,
    /// Description of the damage.
    pub why: String,
    /// Number of objects that were found without the table.
    pub objects: u64,
}

/// The result of a rebuild, or of a dry run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RebuildReport {
    /// Number of packs.
    pub packs: u64,
    /// Number of objects in the new index.
    pub objects: u64,
    /// Packs without a usable table of contents, which were searched frame by frame.
    pub salvaged: Vec<Salvaged>,
    /// Deltas that were omitted because no whole copy of their base was found.
    pub baseless: u64,
    /// Number of new segments.
    pub segments: u64,
    /// Number of removed segments.
    pub replaced: u64,
    /// Number of commits in the new catalogue.
    pub versions: u64,
    /// Keys of the worktrees whose damaged state was discarded.
    pub put_aside: Vec<String>,
}

/// The new segments, which are durable; the old segments still exist.
pub struct Rebuilt {
    report: RebuildReport,
    segments: Vec<SegmentRow>,
    old: Vec<SegmentName>,
}

/// Reads all packs and writes the new segments. With `dry_run`, only counts.
pub fn segments(repo: LocalRepo<'_>, observer: &dyn Observer, dry_run: bool) -> Result<Rebuilt> {
    // List the segments before the packs, because all packs of a segment are stored before the
    // segment.
    let old = old_segments(&repo)?;
    let packs = places::list_packs(&repo, &Findings::new(&Silent))?;
    let bytes = packs.values().sum();
    observer.phase("read tables", Some(packs.len() as u64), Some(bytes));
    let mut work = Rebuilder {
        repo,
        observer,
        dry_run,
        sizes: packs,
        runs: BTreeMap::new(),
        report: RebuildReport::default(),
    };
    work.report.packs = work.sizes.len() as u64;
    // Whole rows come first, because the row of a delta contains the place of its base.
    let (bad, deltas) = work.whole_rows()?;
    work.known_rows(&bad)?;
    work.delta_rows(&bad, &deltas)?;
    work.finish(old)
}

/// Recreates the catalogue and removes the old segments. `repo` must have been opened after the new
/// segments were written.
pub fn finish(repo: &Repo, rebuilt: Rebuilt, observer: &dyn Observer) -> Result<RebuildReport> {
    let Rebuilt {
        mut report,
        segments,
        old,
    } = rebuilt;
    observer.phase("rebuild catalogue", None, None);
    let catalogue = repo.catalogue()?;
    // Read the records before the reset, which removes them.
    let checks = catalogue.pack_checks().unwrap_or_default();
    // A lazy clone cannot read the versions that are only on its remote, so its rows for them are
    // kept.
    let kept_commits = if repo.is_lazy() {
        known_commits(repo)
    } else {
        Vec::new()
    };
    observer.step("catalogue");
    catalogue.reset()?;
    catalogue.put_commits(&kept_commits)?;
    let removed: Vec<SegmentName> = old
        .into_iter()
        // Segments are named by their content, so a new segment may be equal to an old one.
        .filter(|n| segments.iter().all(|s| s.name != *n))
        .collect();
    for row in &segments {
        catalogue.add_segment(row, &[], &[])?;
    }
    // A process that opens the index before the old segments are removed must not use them.
    if let Some(new) = segments.first() {
        for name in &removed {
            let row = SegmentRow {
                name: *name,
                replaced_by: Some(new.name),
                ..*new
            };
            catalogue.add_segment(&row, &[], &[])?;
        }
    }
    let there = |pack: &PackName| matches!(repo.store().len(&layout::pack(pack)), Ok(Some(_)));
    // Records of packs that no longer exist would stay forever.
    let kept: Vec<_> = checks.into_iter().filter(|c| there(&c.pack)).collect();
    catalogue.put_pack_checks(&kept)?;
    report.versions = put_commits(repo, observer)?;
    for (key, state) in repo.worktree_states()? {
        if state.is_err_and(|e| is_damage(&e)) {
            observer.step("worktree state");
            repo.discard_worktree_state(&key)?;
            report.put_aside.push(key);
        }
    }
    // The old segments are removed last, so a crash before this point loses no row.
    for name in &removed {
        observer.step("remove segment");
        repo.store().delete(&layout::segment(name))?;
        report.replaced += 1;
    }
    catalogue.remove_segments(&removed)?;
    observer.step("rebuilt");
    Ok(report)
}

impl Rebuilt {
    /// Returns the report of a dry run.
    pub fn into_report(self) -> RebuildReport {
        RebuildReport {
            replaced: self.old.len() as u64,
            ..self.report
        }
    }
}

/// Returns all segments in `index/`, judged by their names.
fn old_segments(repo: &Repo) -> Result<Vec<SegmentName>> {
    let mut names = Vec::new();
    for listed in repo.store().list(layout::INDEX)? {
        let mut name = [0u8; 32];
        if parse_hex(&listed.name, &mut name).is_some() && !listed.is_dir {
            names.push(name);
        }
    }
    Ok(names)
}

/// Returns the commits in the catalogue, because a lazy clone does not have all commits in local
/// packs.
fn known_commits(repo: &Repo) -> Vec<CommitRow> {
    let mut rows = Vec::new();
    let keep = |row: CommitRow| {
        // The rows come from a catalogue that may be damaged.
        if repo.ids().id(ObjectKind::Commit, &row.bytes) == row.id {
            rows.push(row);
        }
    };
    // If the catalogue is unreadable, no commit can be kept.
    let _ = repo
        .catalogue()
        .map(|catalogue| catalogue.each_commit(keep));
    rows
}

/// Adds all commits that are reachable from the logs of refs and available locally to the
/// catalogue. Returns their number.
fn put_commits(repo: &Repo, observer: &dyn Observer) -> Result<u64> {
    let roots = logs::check(repo, &Findings::new(&Silent), &mut Default::default())?;
    let mut todo: Vec<Id> = roots.iter().map(|r| r.id).collect();
    let mut seen = HashSet::new();
    let mut rows = Vec::new();
    let mut count = 0;
    while let Some(id) = todo.pop() {
        if observer.cancelled() {
            return Err(Cancelled.into());
        }
        // The history may contain merges, so a version is reached on several paths.
        if !seen.insert(id.prefix()) {
            continue;
        }
        let plain = match repo.object_by(repo.index()?, ObjectKind::Commit, &id) {
            Ok(Some(plain)) => plain,
            // A lost version is left out here, because a check reports it.
            Ok(None) => continue,
            Err(e) if is_damage(&e) => continue,
            Err(e) => return Err(e),
        };
        let Ok(commit) = crate::format::object::decode_commit(&plain) else {
            continue;
        };
        todo.extend(&commit.parents);
        rows.push(CommitRow::new(&id, &commit, &plain));
        count += 1;
        if rows.len() >= COMMITS {
            repo.catalogue()?.put_commits(&std::mem::take(&mut rows))?;
        }
    }
    repo.catalogue()?.put_commits(&rows)?;
    Ok(count)
}

/// The sorted runs of one kind of pack, and the rows for the next run.
#[derive(Default)]
struct Runs {
    rows: Vec<IndexRow>,
    /// Temporary segments. Their files are unlinked and exist as long as the readers.
    done: Vec<Arc<SegmentReader>>,
}

struct Rebuilder<'a> {
    repo: LocalRepo<'a>,
    observer: &'a dyn Observer,
    dry_run: bool,
    sizes: BTreeMap<PackName, u64>,
    runs: BTreeMap<PackKind, Runs>,
    report: RebuildReport,
}

impl Rebuilder<'_> {
    /// Adds the rows of all frames except deltas. Returns the packs without a usable table of
    /// contents, and the packs with deltas.
    fn whole_rows(&mut self) -> Result<(Vec<PackName>, Vec<PackName>)> {
        let (mut bad, mut deltas) = (Vec::new(), Vec::new());
        let checks = self
            .repo
            .catalogue()
            .and_then(|c| Ok(c.pack_checks()?))
            .unwrap_or_default();
        // A pack that a check has found damaged may have an intact table, so its frames are read.
        let suspects: HashSet<PackName> = checks.iter().filter(|c| !c.ok).map(|c| c.pack).collect();
        for name in self.sizes.keys().copied().collect::<Vec<_>>() {
            if self.observer.cancelled() {
                return Err(Cancelled.into());
            }
            let frames = match read_table(self.repo.store(), &name) {
                Ok(table) if suspects.contains(&name) => self.intact_frames(&name, table)?,
                Ok(table) => table.frames,
                Err(e) if is_damage(&e) => {
                    bad.push(name);
                    self.salvage(&name, with_causes(e.as_error()))?
                }
                Err(e) => return Err(e),
            };
            if frames.iter().any(|f| f.codec == CODEC_DELTA) {
                deltas.push(name);
            }
            // Deltas are added later, when the locations of their bases are known. A dry run counts
            // them here.
            let counting = self.dry_run;
            for frame in frames.iter().filter(|f| counting || f.codec != CODEC_DELTA) {
                self.push(frame, &name, None)?;
            }
            self.observer
                .advance(1, self.sizes.get(&name).copied().unwrap_or(0));
        }
        Ok((bad, deltas))
    }

    /// Returns the intact frames of a damaged pack, and adds the intact objects of the other
    /// frames. An object that is missing in the index is stored again by the next commit that
    /// contains it.
    fn intact_frames(&mut self, name: &PackName, table: PackTable) -> Result<Vec<TableFrame>> {
        let file = self.repo.pack_file(name)?;
        let Some(read) =
            // The closure never stops the read, so `None` cannot occur, and the table is a safe
            // answer.
            PackReader::new(self.repo.repo()).read(file.path(), name, Some(&table), &|_| false)
        else {
            return Ok(table.frames);
        };
        let bad: HashSet<u64> = read
            .bad
            .iter()
            .filter(|b| matches!(b.why, BadWhy::Frame(_)))
            .map(|b| b.offset)
            .collect();
        let (bad, intact): (Vec<_>, Vec<_>) = table
            .frames
            .into_iter()
            .partition(|f| bad.contains(&f.offset));
        let mut lost = 0;
        for frame in &bad {
            let mut rows = Vec::new();
            rows_of(frame, name, None, &mut rows)?;
            lost += rows.len();
            // A damaged frame may contain intact objects, so each object is read by itself.
            rows.retain(|row| {
                frame.codec != CODEC_DELTA && self.repo.object_at(frame.kind, row).is_ok()
            });
            lost -= rows.len();
            self.report.objects += rows.len() as u64;
            if !self.dry_run {
                self.runs
                    .entry(PackKind::of(frame.kind))
                    .or_default()
                    .rows
                    .extend(rows);
            }
        }
        if lost > 0 {
            let message = format!(
                "pack `{}`: skipped {}",
                layout::pack(name),
                count(lost as u64, "damaged object")
            );
            self.observer.notice(Notice {
                level: NoticeLevel::Info,
                path: Vec::new(),
                message,
            });
        }
        Ok(intact)
    }

    fn salvage(&mut self, name: &PackName, why: String) -> Result<Vec<TableFrame>> {
        let found = match salvage::frames(&self.repo, name, None) {
            Ok(found) => found,
            Err(e) if is_damage(&e) => Vec::new(),
            Err(e) => return Err(e),
        };
        let objects = found.iter().map(|f| f.objects.len() as u64).sum();
        let key = layout::pack(name);
        let message = format!(
            "pack `{key}`: {why}; recovered {} without the table of contents",
            count(objects, "object")
        );
        self.observer.notice(Notice {
            level: NoticeLevel::Incomplete,
            path: Vec::new(),
            message,
        });
        self.report.salvaged.push(Salvaged { key, why, objects });
        Ok(found)
    }

    fn push(&mut self, frame: &TableFrame, name: &PackName, base: Option<&IndexRow>) -> Result<()> {
        let kind = PackKind::of(frame.kind);
        let runs = self.runs.entry(kind).or_default();
        rows_of(frame, name, base.map(|b| b.place), &mut runs.rows)?;
        self.report.objects += frame.objects.len() as u64;
        if self.dry_run {
            runs.rows.clear();
        } else if runs.rows.len() >= RUN_ROWS {
            self.spill(kind)?;
        }
        Ok(())
    }

    /// Adds the intact objects that the old index locates in packs without a usable table, because
    /// an uncompressed frame after a damaged one cannot be found by searching.
    fn known_rows(&mut self, bad: &[PackName]) -> Result<()> {
        let index = match self.repo.repo().index() {
            // An index that is not readable contributes no rows, which is the reason for the
            // rebuild.
            Ok(index) if !bad.is_empty() => index,
            _ => return Ok(()),
        };
        for kind in PackKind::ALL {
            for row in
                Rows::of(index, kind).filter(|r| r.base.is_none() && bad.contains(&r.place.pack))
            {
                let mut kinds = ObjectKind::ALL
                    .into_iter()
                    .filter(|k| PackKind::of(*k) == kind);
                // The pack has no usable table, so a row is kept only if its object can be read at
                // this place.
                if !self.dry_run && kinds.any(|k| self.repo.object_at(k, &row).is_ok()) {
                    self.runs.entry(kind).or_default().rows.push(row);
                }
            }
            if self
                .runs
                .get(&kind)
                .is_some_and(|r| r.rows.len() >= RUN_ROWS)
            {
                self.spill(kind)?;
            }
        }
        Ok(())
    }

    /// Adds the rows of all deltas whose base was found.
    fn delta_rows(&mut self, bad: &[PackName], deltas: &[PackName]) -> Result<()> {
        if self.dry_run || (deltas.is_empty() && bad.is_empty()) {
            return Ok(());
        }
        // The bases are looked up in the runs, so the runs must contain all whole rows.
        for kind in PackKind::ALL {
            self.spill(kind)?;
        }
        let wholes = Index::of_segments(self.runs.values().flat_map(|r| r.done.iter().cloned()));
        for name in deltas.iter().chain(bad) {
            let frames = match read_table(self.repo.store(), name) {
                Ok(table) => table.frames,
                // The second salvage decodes the deltas, because the places of their bases are
                // known now.
                Err(_) => salvage::frames(&self.repo, name, Some(&wholes)).unwrap_or_default(),
            };
            for frame in frames.iter().filter(|f| f.codec == CODEC_DELTA) {
                let Some(base) = &frame.base else { continue };
                match wholes.lookup(PackKind::of(frame.kind), base)? {
                    Some(row) => self.push(frame, name, Some(&row))?,
                    None => self.report.baseless += 1,
                }
            }
        }
        Ok(())
    }

    /// Sorts the pending rows of a kind into a new run.
    fn spill(&mut self, kind: PackKind) -> Result<()> {
        let staging = self.repo.files().staging()?;
        let runs = self.runs.entry(kind).or_default();
        let mut rows = std::mem::take(&mut runs.rows);
        if rows.is_empty() {
            return Ok(());
        }
        rows.sort_unstable();
        rows.dedup();
        let sizes = &self.sizes;
        let mut names: Vec<PackName> = rows
            .iter()
            .flat_map(|r| [Some(r.place.pack), r.base.map(|b| b.pack)])
            .flatten()
            .collect();
        names.sort_unstable();
        names.dedup();
        let size = |n: &PackName| PackEntry {
            name: *n,
            size_bytes: sizes.get(n).copied().unwrap_or(0),
        };
        let packs: Vec<PackEntry> = names.iter().map(size).collect();
        let run = write_segment(&staging, kind, &rows, &packs, &[])?;
        runs.done
            .push(Arc::new(SegmentReader::open(run.name, run.file.path())?));
        // Each run is an open file, so their number is limited.
        if runs.done.len() >= RUNS {
            let merged = merge(&staging, kind, &runs.done, |_| true)?;
            runs.done = vec![Arc::new(SegmentReader::open(
                merged.name,
                merged.file.path(),
            )?)];
        }
        Ok(())
    }

    /// Merges the runs of each kind into one new segment.
    fn finish(mut self, old: Vec<SegmentName>) -> Result<Rebuilt> {
        let mut segments = Vec::new();
        if self.dry_run {
            self.report.segments = self.runs.len() as u64;
            return Ok(Rebuilt {
                report: self.report,
                segments,
                old,
            });
        }
        let staging = self.repo.files().staging()?;
        for kind in PackKind::ALL {
            self.spill(kind)?;
            let runs = self.runs.remove(&kind).unwrap_or_default().done;
            if runs.is_empty() {
                continue;
            }
            self.observer.phase("write index", None, None);
            let written = merge_as(&staging, kind, &runs, |_| true, &[])?;
            let row = SegmentRow {
                name: written.name,
                kind,
                file_bytes: written.file_bytes,
                rows: written.rows,
                replaced_by: None,
            };
            self.observer.step("segment");
            self.repo
                .files()
                .publish(written.file, &layout::segment(&row.name))?;
            self.observer.step("segment published");
            segments.push(row);
        }
        self.report.segments = segments.len() as u64;
        Ok(Rebuilt {
            report: self.report,
            segments,
            old,
        })
    }
}
