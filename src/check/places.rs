//! Compares index segments and packs: every segment is intact, every pack exists with its recorded
//! length and a valid table of contents, and the rows of the index match these tables.
//!
//! Rows and tables are compared by a sum of hashes per pack, so that both are read only once and in
//! order. The rows of a pack are compared one by one only if the sums differ.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};

use super::findings::{Findings, is_damage};
use super::report::{Checked, What};
use super::rows::Rows;
use crate::codec::hash::checksum;
use crate::error::{Error, Result, with_causes};
use crate::format::frame::CODEC_DELTA;
use crate::format::pack::PackKind;
use crate::format::segment::{IndexRow, PackName, SegmentName};
use crate::index::Index;
use crate::index::catalogue::segments::SegmentRow;
use crate::index::segment_reader::SegmentReader;
use crate::model::id::{Id, parse_hex, to_hex};
use crate::model::text::count;
use crate::observe::Observer;
use crate::repo::packs::{PackTable, read_table, rows_of};
use crate::repo::{Repo, layout};

/// A pack that segments list.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackInfo {
    pub(super) name: PackName,
    pub(super) kind: PackKind,
    /// Length in bytes; `None` if the pack is missing.
    pub(super) bytes: Option<u64>,
    /// Whether the table of contents is valid.
    pub(super) sound: bool,
}

/// Number of rows, and the sum of their hashes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sum(u64, u128);

impl Sum {
    fn add(&mut self, row: &IndexRow) {
        let p = &row.place;
        let mut record = [0u8; 17];
        for (at, n) in [p.offset, p.stored, p.within, p.len].iter().enumerate() {
            record[at * 4..at * 4 + 4].copy_from_slice(&n.to_le_bytes());
        }
        // A sum does not depend on the order in which the segments and the table list the rows.
        record[16] = p.codec;
        self.0 += 1;
        self.1 = self
            .1
            .wrapping_add(u128::from_le_bytes(checksum(&[&row.id.0, &record])));
    }
}

/// Checks all segments and the packs that they list. Returns these packs.
pub(super) fn check(
    repo: &Repo,
    findings: &Findings<'_>,
    observer: &dyn Observer,
    checked: &mut Checked,
) -> Result<Vec<PackInfo>> {
    let index = repo.index()?;
    let broken = segments(repo, index, findings, checked)?;
    let on_disk = list_packs(repo, findings)?;
    // A pack may be listed in several segments, for example while segments are merged.
    let mut named: BTreeMap<PackName, (PackKind, u64)> = BTreeMap::new();
    for kind in PackKind::ALL {
        for segment in index.segments(kind) {
            named.extend(
                segment
                    .packs()
                    .iter()
                    .map(|p| (p.name, (kind, p.size_bytes))),
            );
        }
    }
    note_unlisted(repo, findings, &named, &on_disk);
    // The three kinds are independent, and reading the data rows takes most of the time.
    let (data, (list, tree)) = rayon::join(
        || sums(index, PackKind::Data),
        || {
            rayon::join(
                || sums(index, PackKind::List),
                || sums(index, PackKind::Tree),
            )
        },
    );
    let sums: BTreeMap<PackName, Sum> = data.into_iter().chain(list).chain(tree).collect();
    checked.rows = sums.values().map(|s| s.0).sum();
    checked.packs = named.len() as u64;
    let compare = |(name, (kind, bytes)): (&PackName, &(PackKind, u64))| -> Result<PackInfo> {
        observer.advance(1, 0);
        let sum = sums.get(name).copied().unwrap_or_default();
        let there = on_disk.get(name).copied();
        let mut info = PackInfo {
            name: *name,
            kind: *kind,
            bytes: there,
            sound: false,
        };
        let wrong = match there {
            None if sum.0 == 0 => {
                findings.note(format!(
                    "`{}` is missing, but no object in it is used",
                    layout::pack(name)
                ));
                return Ok(info);
            }
            // A segment may list packs that a gc has deleted; their rows answer nothing.
            None if is_given_up(repo, name) => return Ok(info),
            None => Some(format!(
                "missing, but the index lists {} in it",
                count(sum.0, "object")
            )),
            Some(len) if len != *bytes => Some(format!("{len} bytes long instead of {bytes}")),
            Some(_) => match read_table(repo.store(), name) {
                Ok(table) if table.kind != *kind => Some(format!(
                    "the pack kind is {}, but the index says {}",
                    table.kind.name(),
                    kind.name()
                )),
                Ok(table) => {
                    info.sound = true;
                    // Rows of a damaged segment are missing, so a comparison would report every
                    // pack in it.
                    if !broken.contains(kind) {
                        compare_rows(index, findings, &info, &table, sum)?;
                    }
                    None
                }
                Err(e) if is_damage(&e) => Some(with_causes(e.as_error())),
                Err(e) => return Err(e),
            },
        };
        if let Some(why) = wrong {
            findings.suspect(name, Some(why));
        }
        Ok(info)
    };
    named
        .iter()
        .collect::<Vec<_>>()
        .par_iter()
        .map(|pack| compare(*pack))
        .collect()
}

/// Returns whether a gc has marked a pack as dead. Reads the log again, because a gc may have ended
/// during the check.
fn is_given_up(repo: &Repo, pack: &PackName) -> bool {
    repo.gc_state().is_dead(pack) || repo.read_gc_log().is_ok_and(|gc| gc.is_dead(pack))
}

/// Verifies the segments. Returns the kinds for which some rows cannot be read.
fn segments(
    repo: &Repo,
    index: &Index,
    findings: &Findings<'_>,
    checked: &mut Checked,
) -> Result<BTreeSet<PackKind>> {
    let live: Vec<Arc<SegmentReader>> = PackKind::ALL
        .iter()
        .flat_map(|k| index.segments(*k))
        .collect();
    checked.segments = live.len() as u64;
    let mut broken = BTreeSet::new();
    for (name, error) in index.damaged() {
        findings.damage(What::Segment, layout::segment(name), segment_why(error));
        // The kind of an unreadable segment is unknown.
        broken.extend(PackKind::ALL);
    }
    let verified: Vec<_> = live
        .par_iter()
        .map(|s| (s.kind(), *s.name(), s.verify()))
        .collect();
    for (kind, name, result) in verified {
        if let Err(e) = result {
            let why = segment_why(&e);
            let e = Error::from(e);
            // An error such as too many open files says nothing about the segment.
            if !is_damage(&e) {
                return Err(e);
            }
            findings.damage(What::Segment, layout::segment(&name), why);
            broken.insert(kind);
        }
    }
    // Read the catalogue before the directory, because a segment is stored before the catalogue
    // lists it.
    let known = || {
        repo.catalogue()
            .ok()
            .and_then(|c| c.segments().ok())
            .unwrap_or_default()
    };
    let rows = known();
    let mut there = HashSet::new();
    for listed in repo.store().list(layout::INDEX)? {
        let mut name = [0u8; 32];
        if parse_hex(&listed.name, &mut name).is_none()
            || listed.is_dir
            || to_hex(&name) != listed.name
        {
            findings.note(format!(
                "`{}/{}` is not an index segment",
                layout::INDEX,
                listed.name
            ));
        } else {
            there.insert(name);
        }
    }
    let mut replaced: HashSet<SegmentName> =
        live.iter().flat_map(|s| s.replaces()).copied().collect();
    replaced.extend(
        rows.iter()
            .filter(|r| r.replaced_by.is_some())
            .map(|r| r.name),
    );
    let unused = there.intersection(&replaced).count();
    if unused > 0 {
        findings.note(format!(
            "{} replaced by others, but not removed yet",
            count(unused as u64, "index segment")
        ));
    }
    // In another user's repository, this user's catalogue is not updated when the owner removes
    // segments.
    let own = repo.as_local().is_some() && repo.state_dir().is_ok_and(|dir| dir == repo.path());
    let is_missing =
        |row: &&SegmentRow| own && !replaced.contains(&row.name) && !there.contains(&row.name);
    if rows.iter().any(|r| is_missing(&r)) {
        // Read the catalogue again, because another process may have just rebuilt the index.
        for row in known().iter().filter(is_missing) {
            let why = format!(
                "missing, but the catalogue lists {} in it",
                count(row.rows, "row")
            );
            findings.damage(What::Segment, layout::segment(&row.name), why);
            broken.insert(row.kind);
        }
    }
    Ok(broken)
}

/// Returns the error without the path of the segment, which the caller reports.
fn segment_why(e: &crate::index::IndexError) -> String {
    match e {
        crate::index::IndexError::Segment { source, .. } => source.to_string(),
        crate::index::IndexError::Io { .. } => with_causes(e),
    }
}

/// Returns all packs on disk with their lengths.
pub(super) fn list_packs(repo: &Repo, findings: &Findings<'_>) -> Result<BTreeMap<PackName, u64>> {
    let mut packs = BTreeMap::new();
    for dir in repo.store().list(layout::PACKS)? {
        let key = format!("{}/{}", layout::PACKS, dir.name);
        if !dir.is_dir {
            findings.note(format!("`{key}` is not a pack"));
            continue;
        }
        for listed in repo.store().list(&key)? {
            let mut name = [0u8; 32];
            let file = format!("{key}/{}", listed.name);
            let known = parse_hex(&listed.name, &mut name).is_some()
                && !listed.is_dir
                // A pack in a wrong directory would not be found by its name.
                && layout::pack(&name) == file;
            if known {
                packs.insert(name, listed.len);
            } else {
                findings.note(format!(
                    "`{file}` is not a pack, or is in the wrong directory"
                ));
            }
        }
    }
    Ok(packs)
}

fn note_unlisted(
    repo: &Repo,
    findings: &Findings<'_>,
    named: &BTreeMap<PackName, (PackKind, u64)>,
    on_disk: &BTreeMap<PackName, u64>,
) {
    let unlisted: Vec<_> = on_disk
        .iter()
        .filter(|(name, _)| !named.contains_key(*name))
        .collect();
    if let Some((first, _)) = unlisted.first() {
        let bytes: u64 = unlisted.iter().map(|(_, len)| **len).sum();
        let (packs, first) = (count(unlisted.len() as u64, "pack"), layout::pack(first));
        findings.note(format!(
            "no index segment lists {packs} ({bytes} bytes), such as `{first}`"
        ));
    }
    // The staging directory is only noted, so an unreadable one must not end the check.
    let left = repo
        .store()
        .list(crate::store::local::STAGING)
        .unwrap_or_default();
    if !left.is_empty() {
        let bytes: u64 = left.iter().map(|l| l.len).sum();
        let files = count(left.len() as u64, "file");
        findings.note(format!(
            "`tmp` contains {files} ({bytes} bytes) of an active or interrupted command"
        ));
    }
}

fn sums(index: &Index, kind: PackKind) -> BTreeMap<PackName, Sum> {
    let mut sums: BTreeMap<PackName, Sum> = BTreeMap::new();
    for row in Rows::of(index, kind) {
        sums.entry(row.place.pack).or_default().add(&row);
    }
    sums
}

/// Returns the rows of one pack according to its table of contents, without the bases of deltas.
pub(super) fn table_rows(name: &PackName, table: &PackTable) -> Result<Vec<IndexRow>> {
    let mut rows = Vec::new();
    for frame in &table.frames {
        rows_of(frame, name, None, &mut rows)?;
    }
    // The index contains equal rows once, so they count once here too.
    rows.sort_unstable();
    rows.dedup();
    Ok(rows)
}

fn compare_rows(
    index: &Index,
    findings: &Findings<'_>,
    info: &PackInfo,
    table: &PackTable,
    sum: Sum,
) -> Result<()> {
    let key = || layout::pack(&info.name);
    let rows = table_rows(&info.name, table)?;
    let mut by_table = Sum::default();
    rows.iter().for_each(|r| by_table.add(r));
    if by_table != sum {
        // Rows that are only in the table are unused; any other difference is damage.
        let mut unused = 0u64;
        let mut used = Sum::default();
        for row in &rows {
            let mut known = false;
            // Two writers that indexed the same pack may have chosen different bases for a delta.
            for copy in index
                .lookup_all(info.kind, &row.id)?
                .iter()
                .filter(|r| r.place == row.place)
            {
                used.add(copy);
                known = true;
            }
            unused += u64::from(!known);
        }
        if used != sum {
            let wrong = sum.0.saturating_sub(used.0).max(1);
            findings.damage(
                What::Pack,
                key(),
                format!(
                    "the table of contents lacks {} that the index lists",
                    count(wrong, "row")
                ),
            );
        }
        if unused > 0 {
            findings.note(format!(
                "`{}` contains {} that the index does not list",
                key(),
                count(unused, "object")
            ));
        }
    }
    // A restore reads the base at the place in the row of the delta, without a search by id.
    let mut wrong = 0u64;
    for frame in table.frames.iter().filter(|f| f.codec == CODEC_DELTA) {
        if let (Some((id, _)), Some(base)) = (frame.objects.first(), &frame.base) {
            wrong += u64::from(!base_is_right(index, info, id, base, frame.offset)?);
        }
    }
    if wrong > 0 {
        findings.damage(
            What::Pack,
            key(),
            format!(
                "the index has the wrong base location for {}",
                count(wrong, "delta")
            ),
        );
    }
    Ok(())
}

/// Returns whether the row of a delta locates its base correctly, at a place where the base is
/// stored whole.
fn base_is_right(index: &Index, info: &PackInfo, id: &Id, base: &Id, offset: u64) -> Result<bool> {
    let mut wholes = index.lookup_all(info.kind, base)?;
    // The base of a delta must be whole, because chains of deltas are not allowed.
    wholes.retain(|r| r.place.codec != CODEC_DELTA);
    let mut rows = index.lookup_all(info.kind, id)?;
    // A delta without a row is unused, which is not an error.
    rows.retain(|r| r.place.pack == info.name && u64::from(r.place.offset) == offset);
    Ok(rows
        .iter()
        .all(|r| r.base.is_some_and(|b| wholes.iter().any(|w| w.place == b))))
}
