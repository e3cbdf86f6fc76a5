//! Decides what a gc does with each pack: keep the pack, drop it, or copy the needed part into new
//! packs.
//!
//! The decision is a pure function of the tally, of the tables of the packs that may be copied, and
//! of the options.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::ahead;
use super::tally::{BasePlace, PackTally, Tally};
use crate::error::{Error, Kind, Result};
use crate::format::frame::CODEC_DELTA;
use crate::format::pack::PackKind;
use crate::format::segment::IndexRow;
use crate::index::merged_rows::MergedRows;
use crate::model::id::Id;
use crate::repo::Repo;
use crate::repo::layout::PACK_TARGET;
use crate::repo::packs::{PackTable, read_table, read_table_of};

/// A pack below this length is merged with others of its kind.
const SMALL_PACK: u64 = 8 << 20;
/// Number of small packs of a kind at which they are merged.
const MERGE_AT: usize = 8;

/// Limits of a gc.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlanLimits {
    /// Unused bytes that may stay, as a share of the bytes of all packs that stay.
    pub unused_share: f64,
    /// Bytes that may be copied; `None` means no limit.
    pub copied_bytes: Option<u64>,
    /// Whether each copied byte goes over a network, so that a copy must free more to pay off.
    pub is_remote: bool,
}

impl PlanLimits {
    /// Returns the unused share at which copying the rest of a pack pays: the copy then frees at
    /// least half as many bytes as it copies, or over a network at least as many.
    const fn least_share(&self) -> f64 {
        if self.is_remote { 0.5 } else { 1.0 / 3.0 }
    }

    /// Returns the unused share of a frame up to which the frame is copied as it is. Compressing
    /// its needed objects again takes time, so only a low limit requires it.
    const fn frame_share(&self) -> f64 {
        (self.unused_share * 5.0).clamp(0.0, 0.5)
    }
}

/// A frame of a pack of which some bytes are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UsedFrame {
    pub offset: u32,
    /// Length in the pack in bytes.
    pub stored: u32,
    /// Total uncompressed length of all objects.
    pub object_bytes: u64,
    /// Objects that are needed, with their lengths.
    pub needed: Vec<(Id, u32)>,
    /// Whether needed objects take most of the uncompressed frame, so that the frame is copied as it
    /// is.
    pub is_copied_whole: bool,
    /// The objects that are bases of needed deltas.
    pub bases: Vec<UsedBase>,
}

/// An object that is the base of needed deltas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UsedBase {
    /// Offset in the decompressed frame.
    pub within: u32,
    pub id: Id,
    /// Whether a version needs this copy too.
    pub is_needed: bool,
}

/// The exact use of one pack, from its table of contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PackUse {
    /// Frames that are needed, in the order of the pack.
    pub frames: Vec<UsedFrame>,
    /// Total length of all frames. The table of the pack does not count, because the copy has a
    /// table too.
    pub frame_bytes: u64,
    /// Objects that are copied with their frames although another copy of them was chosen.
    pub spare: Vec<Id>,
    /// Bases that are not copied, because only one delta needs them: the offsets of their frames,
    /// and their own in the decompressed frame. The object of that delta is stored in full instead.
    pub unwrapped: Vec<(u32, u32)>,
}

/// The packs of a [`Tally`] that a gc changes, by their numbers. All other packs stay as they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// Nothing in these packs is needed.
    pub dropped: BTreeSet<u32>,
    /// The needed frames of these packs are copied into new packs.
    pub copied: BTreeMap<u32, PackUse>,
    /// Estimate of the bytes that are copied.
    pub copied_bytes: u64,
    /// Bytes of the packs that are dropped or copied, without the copied bytes.
    pub freed_bytes: u64,
    /// Estimate of the unused bytes in packs that stay.
    pub unused_bytes: u64,
}

/// Decides for all packs. `may_drop` returns whether a pack has been unneeded for long enough.
pub(super) fn plan(
    repo: &Repo,
    tally: &Tally<'_>,
    limits: &PlanLimits,
    may_drop: &dyn Fn(&PackTally) -> bool,
) -> Result<Plan> {
    let mut plan = Plan::default();
    for (number, pack) in numbered(tally) {
        if pack.needed_rows == 0 && pack.base_frames == 0 && may_drop(pack) {
            plan.dropped.insert(number);
            plan.freed_bytes += pack.file_bytes;
        }
    }
    let least_share = limits.least_share();
    let mut by_share: Vec<(u32, &PackTally)> = numbered(tally)
        .filter(|(number, pack)| {
            !plan.dropped.contains(number) && pack.needed_rows + pack.base_frames > 0
        })
        .collect();
    by_share.sort_by(|a, b| {
        b.1.unused_share()
            .total_cmp(&a.1.unused_share())
            .then(a.0.cmp(&b.0))
    });
    let is_merged = |pack: &PackTally| pack.file_bytes < SMALL_PACK;
    let is_read = |pack: &&PackTally| pack.unused_share() >= least_share || is_merged(pack);
    ahead::tables(
        repo,
        by_share.iter().map(|(_, pack)| *pack).filter(is_read),
        is_merged,
    )?;
    for (number, pack) in &by_share {
        if pack.unused_share() < least_share {
            break;
        }
        let Some(used) = sound_use(repo, tally, *number, limits)? else {
            continue;
        };
        if used.freed_bytes() as f64 >= least_share * used.frame_bytes as f64 {
            plan.copy(*number, used, limits);
        }
    }
    for kind in PackKind::ALL {
        let small: Vec<(u32, &PackTally)> = by_share
            .iter()
            .filter(|(number, pack)| {
                pack.kind == kind
                    && pack.file_bytes < SMALL_PACK
                    && !plan.copied.contains_key(number)
            })
            .copied()
            .collect();
        let bytes: u64 = small.iter().map(|(_, pack)| pack.file_bytes).sum();
        let pays = !limits.is_remote || bytes >= PACK_TARGET / 2;
        if small.len() >= MERGE_AT && pays {
            for (number, _) in small {
                if let Some(used) = sound_use(repo, tally, number, limits)? {
                    plan.copy(number, used, limits);
                }
            }
        }
    }
    // If the packs that are left have more unused bytes than the limit allows, those with the
    // largest unused share are copied too.
    let rest: Vec<(u32, &PackTally)> = by_share
        .iter()
        .filter(|(n, _)| !plan.copied.contains_key(n))
        .copied()
        .collect();
    let mut unused: u64 = rest.iter().map(|(_, pack)| pack.unused_bytes()).sum();
    let all: u64 = rest.iter().map(|(_, pack)| pack.file_bytes).sum::<u64>() + plan.copied_bytes;
    for (number, pack) in rest {
        if unused as f64 <= limits.unused_share * all as f64 || pack.unused_bytes() == 0 {
            break;
        }
        let Some(used) = sound_use(repo, tally, number, limits)? else {
            continue;
        };
        // An estimate by uncompressed lengths may find unused bytes where none can be freed.
        if used.freed_bytes() * 100 > used.frame_bytes && plan.copy(number, used, limits) {
            unused = unused.saturating_sub(pack.unused_bytes());
        }
    }
    plan.unused_bytes = unused;
    plan.copy_packs_of_unwrapped_deltas(repo, tally, limits)?;
    plan.use_spare_copies(tally);
    Ok(plan)
}

impl UsedFrame {
    /// Returns an estimate of the length of the copy in bytes.
    fn copied_bytes(&self) -> u64 {
        if self.is_copied_whole || self.object_bytes == 0 {
            return u64::from(self.stored);
        }
        let needed: u64 = self.needed.iter().map(|(_, len)| u64::from(*len)).sum();
        u64::from(self.stored) * needed / self.object_bytes
    }
}

impl PackUse {
    /// Returns an estimate of the number of bytes that a copy of the pack's used frames takes.
    pub(super) fn copied_bytes(&self) -> u64 {
        self.frames.iter().map(UsedFrame::copied_bytes).sum()
    }

    /// Returns an estimate of the number of bytes that a copy frees.
    fn freed_bytes(&self) -> u64 {
        self.frame_bytes.saturating_sub(self.copied_bytes())
    }
}

impl Plan {
    /// Plans a copy, unless it would exceed the limit on copied bytes. Returns whether the copy is
    /// planned.
    fn copy(&mut self, number: u32, used: PackUse, limits: &PlanLimits) -> bool {
        if limits
            .copied_bytes
            .is_some_and(|most| self.copied_bytes + used.copied_bytes() > most)
        {
            return false;
        }
        self.copied_bytes += used.copied_bytes();
        self.freed_bytes += used.freed_bytes();
        self.copied.insert(number, used);
        true
    }

    /// Plans copies of packs that pay off only because of the plan so far: new packs store the
    /// objects of some of their deltas in full, so these deltas are not needed any more.
    fn copy_packs_of_unwrapped_deltas(
        &mut self,
        repo: &Repo,
        tally: &Tally<'_>,
        limits: &PlanLimits,
    ) -> Result<()> {
        let mut done: HashSet<BasePlace> = HashSet::new();
        loop {
            let of_pack = |(number, used): (&u32, &PackUse)| -> Vec<BasePlace> {
                let unwrapped = used.unwrapped.iter();
                let place = |(offset, within): &(u32, u32)| ((*number, *offset), *within);
                unwrapped.map(place).collect()
            };
            let bases: HashSet<BasePlace> = self
                .copied
                .iter()
                .flat_map(of_pack)
                .filter(|base| !done.contains(base))
                .collect();
            if bases.is_empty() {
                return Ok(());
            }
            self.copy_packs_of_deltas(repo, tally, limits, &bases)?;
            done.extend(bases);
        }
    }

    /// Plans copies of packs that pay off without the deltas of these bases.
    fn copy_packs_of_deltas(
        &mut self,
        repo: &Repo,
        tally: &Tally<'_>,
        limits: &PlanLimits,
        bases: &HashSet<BasePlace>,
    ) -> Result<()> {
        let mut lost: BTreeMap<u32, u64> = BTreeMap::new();
        for row in MergedRows::new(&repo.index()?.segments(PackKind::Data))? {
            let row = row?;
            if let Some(delta) = tally.place(PackKind::Data, &row.place)
                && row
                    .base
                    .and_then(|base| tally.base_place(&base))
                    .is_some_and(|base| bases.contains(&base))
                && !self.dropped.contains(&delta.0)
                && !self.copied.contains_key(&delta.0)
                && tally.is_needed(PackKind::Data, &row.id, delta)?
            {
                *lost.entry(delta.0).or_default() += u64::from(row.place.len);
            }
        }
        for (number, bytes) in lost {
            let Some(pack) = tally.packs.get(number as usize) else {
                continue;
            };
            let rest = PackTally {
                needed_bytes: pack.needed_bytes.saturating_sub(bytes),
                ..*pack
            };
            if rest.unused_share() >= limits.least_share()
                && let Some(used) = sound_use(repo, tally, number, limits)?
            {
                self.copy(number, used, limits);
            }
        }
        Ok(())
    }

    /// Removes an object from a frame that is copied in part if another frame that is copied as it
    /// is contains the object too. Otherwise, two new packs would have a copy of it.
    fn use_spare_copies(&mut self, tally: &Tally<'_>) {
        let kind = |number: &u32| tally.packs.get(*number as usize).map(|pack| pack.kind);
        let spare: HashSet<(Option<PackKind>, Id)> = self
            .copied
            .iter()
            .flat_map(|(number, used)| used.spare.iter().map(move |id| (kind(number), *id)))
            .collect();
        // A base that no version needs is copied once, however many of its copies have deltas.
        let frames = self.copied.values().flat_map(|used| &used.frames);
        let mut copies: HashMap<Id, usize> = HashMap::new();
        for base in frames.flat_map(|frame| &frame.bases) {
            *copies.entry(base.id).or_default() += 1;
        }
        let is_single = |copies: &HashMap<Id, usize>, id: &Id| copies.get(id) == Some(&1);
        if spare.is_empty() && copies.keys().all(|id| is_single(&copies, id)) {
            return;
        }
        for (number, used) in &mut self.copied {
            let before = used.copied_bytes();
            let of_kind = kind(number);
            for frame in used
                .frames
                .iter_mut()
                .filter(|frame| !frame.is_copied_whole)
            {
                let bases = &frame.bases;
                frame.needed.retain(|(id, _)| {
                    let mut is_repeated = || {
                        let base = bases.iter().find(|base| base.id == *id && !base.is_needed);
                        let count = base.and_then(|_| copies.get_mut(id));
                        count.is_some_and(|count| {
                            let is_repeated = *count > 1;
                            *count -= usize::from(is_repeated);
                            is_repeated
                        })
                    };
                    !spare.contains(&(of_kind, *id)) && !is_repeated()
                });
            }
            used.frames.retain(|frame| {
                frame.is_copied_whole || !frame.needed.is_empty() || !frame.bases.is_empty()
            });
            let fewer = before - used.copied_bytes();
            self.copied_bytes -= fewer;
            self.freed_bytes += fewer;
        }
    }

    /// Returns the numbers of all packs that are dropped or copied.
    pub(super) fn given_up(&self) -> impl Iterator<Item = u32> {
        self.dropped.iter().chain(self.copied.keys()).copied()
    }
}

fn numbered<'t>(tally: &'t Tally<'_>) -> impl Iterator<Item = (u32, &'t PackTally)> {
    (0..).zip(&tally.packs)
}

/// Like [`pack_use`], but returns `None` for a pack whose table is damaged, because such a pack
/// stays as it is.
fn sound_use(
    repo: &Repo,
    tally: &Tally<'_>,
    number: u32,
    limits: &PlanLimits,
) -> Result<Option<PackUse>> {
    match pack_use(repo, tally, number, limits) {
        Err(e) if e.kind() == Kind::Integrity => Ok(None),
        used => used.map(Some),
    }
}

/// Reads the table of a pack. The length in the index saves a request to a remote.
pub(super) fn table_of(repo: &Repo, pack: &PackTally) -> Result<PackTable> {
    if pack.file_bytes == 0 || repo.remote_store().is_none() {
        return read_table(repo.store(), &pack.name);
    }
    read_table_of(repo.store(), &pack.name, pack.file_bytes)
}

/// Reads the table of a pack and determines which frames are needed.
fn pack_use(repo: &Repo, tally: &Tally<'_>, number: u32, limits: &PlanLimits) -> Result<PackUse> {
    let mut used = PackUse {
        frames: Vec::new(),
        frame_bytes: 0,
        spare: Vec::new(),
        unwrapped: Vec::new(),
    };
    let Some(pack) = tally.packs.get(number as usize) else {
        return Ok(used);
    };
    for frame in table_of(repo, pack)?.frames {
        let offset = u32::try_from(frame.offset).unwrap_or(u32::MAX);
        let place = (number, offset);
        used.frame_bytes += u64::from(frame.stored);
        let (mut needed, mut needed_bytes, mut object_bytes) = (Vec::new(), 0u64, 0u64);
        // All bases of the frame, and those among them that only one delta needs.
        let (mut bases, mut single) = (Vec::new(), Vec::new());
        let mut within = 0u32;
        for (id, len) in &frame.objects {
            object_bytes += u64::from(*len);
            // The index has no row for a delta whose base was deleted: an earlier run has stored
            // the object in full in another pack, and the delta cannot be decoded any more.
            let is_copy = || {
                let rows = repo.index()?.lookup_all(pack.kind, id)?;
                let at = |row: &IndexRow| row.place.pack == pack.name && row.place.offset == offset;
                Ok::<_, Error>(frame.codec != CODEC_DELTA || rows.iter().any(at))
            };
            let is_needed = tally.is_needed(pack.kind, id, place)? && is_copy()?;
            let deltas = tally.deltas_of((place, within));
            let is_elsewhere = || tally.is_chosen_elsewhere(pack.kind, id, place);
            // The deltas of a base that stays in another place refer to that copy from now on.
            // Keeping a base that no version needs for a single delta saves nothing, because
            // storing the delta's object in full takes about the same space.
            if is_needed || deltas > 1 && !is_elsewhere() {
                needed.push((*id, *len));
                needed_bytes += u64::from(*len);
            } else if deltas == 1 && !is_elsewhere() {
                single.push(within);
            }
            bases.extend((deltas > 0).then_some(UsedBase {
                within,
                id: *id,
                is_needed,
            }));
            within = within.saturating_add(*len);
        }
        let unneeded_bytes = object_bytes.saturating_sub(needed_bytes) as f64;
        let is_copied_whole = !needed.is_empty()
            && (frame.codec == CODEC_DELTA
                || unneeded_bytes <= limits.frame_share() * object_bytes as f64);
        if !is_copied_whole {
            bases.retain(|base| !single.contains(&base.within));
            used.unwrapped
                .extend(single.into_iter().map(|within| (offset, within)));
        }
        if needed.is_empty() && bases.is_empty() {
            continue;
        }
        if is_copied_whole && frame.codec != CODEC_DELTA {
            for (id, _) in &frame.objects {
                if !needed.iter().any(|needed| needed.0 == *id)
                    && tally.is_chosen_elsewhere(pack.kind, id, place)
                {
                    used.spare.push(*id);
                }
            }
        }
        let stored = frame.stored;
        used.frames.push(UsedFrame {
            offset,
            stored,
            object_bytes,
            needed,
            is_copied_whole,
            bases,
        });
    }
    Ok(used)
}
