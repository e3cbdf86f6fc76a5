//! Writes index segments without the rows of dead packs, and removes segments that others replace.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::error::Result;
use crate::format::pack::PackKind;
use crate::format::segment::{PackName, SegmentName};
use crate::index::segment_reader::SegmentReader;
use crate::index::segment_writer::merge as merge_segments;
use crate::model::id::parse_hex;
use crate::observe::Observer;
use crate::repo::gclog::GcState;
use crate::repo::{Repo, layout};
use crate::store::Removal;
use crate::store::local::LocalStore;

/// Numbers of segments that a merge wrote and deleted.
#[derive(Debug, Default)]
pub(super) struct SegmentsMerged {
    pub(super) written: u64,
    pub(super) deleted: u64,
    pub(super) removal: Removal,
}

/// Replaces segments that have rows of deleted packs, and merges small segments; then deletes all
/// segments that others replace.
pub(super) fn merge(
    repo: &Repo,
    state: &GcState,
    is_gone: &dyn Fn(&PackName) -> bool,
    staging: &LocalStore,
    observer: &dyn Observer,
) -> Result<SegmentsMerged> {
    let mut merged = SegmentsMerged::default();
    for kind in PackKind::ALL {
        let index = repo.index()?;
        let mut inputs: Vec<Arc<SegmentReader>> = index.merge_plan(kind);
        let names_due =
            |segment: &SegmentReader| segment.packs().iter().any(|pack| is_gone(&pack.name));
        for segment in index
            .segments(kind)
            .into_iter()
            .filter(|segment| names_due(segment))
        {
            if !inputs.iter().any(|input| input.name() == segment.name()) {
                inputs.push(segment);
            }
        }
        let most = repo.store().abilities().object_max;
        let bytes: u64 = inputs.iter().map(|segment| segment.file_bytes()).sum();
        let names_dead = inputs.iter().any(|segment| names_due(segment));
        if inputs.is_empty() || inputs.len() < 2 && !names_dead {
            continue;
        }
        // If one segment would exceed the limit of the store, replace each input with dead rows
        // separately.
        let groups: Vec<Vec<Arc<SegmentReader>>> = if bytes <= most {
            vec![inputs]
        } else {
            inputs
                .into_iter()
                .filter(|input| names_due(input))
                .map(|input| vec![input])
                .collect()
        };
        for group in groups {
            let replaces: Vec<SegmentName> = group.iter().map(|segment| *segment.name()).collect();
            let written = merge_segments(&staging.staging()?, kind, &group, |pack| {
                !state.is_dead(pack)
            })?;
            drop(group);
            repo.add_segment(written, &replaces, &[], observer)?;
            merged.written += 1;
        }
    }
    delete_replaced(repo, &mut merged)?;
    Ok(merged)
}

/// Deletes the segments that a live segment replaces. A reader that has already listed them lists
/// again.
fn delete_replaced(repo: &Repo, merged: &mut SegmentsMerged) -> Result<()> {
    let index = repo.index()?;
    let live: HashMap<SegmentName, Arc<SegmentReader>> = PackKind::ALL
        .iter()
        .flat_map(|kind| index.segments(*kind))
        .map(|segment| (*segment.name(), segment))
        .collect();
    let mut replaced: HashSet<SegmentName> = live
        .values()
        .flat_map(|segment| segment.replaces().to_vec())
        .collect();
    // Only the catalogue knows which segments a replaced segment has replaced.
    if let Ok(rows) = repo
        .catalogue()
        .and_then(|catalogue| Ok(catalogue.segments()?))
    {
        let by = rows
            .iter()
            .filter_map(|row| Some((row.name, row.replaced_by?)));
        replaced.extend(replaced_by_live(by, live.keys().copied()));
    }
    let mut keys = Vec::new();
    let mut gone = Vec::new();
    for listed in repo.store().list(layout::INDEX)? {
        let mut name = SegmentName::default();
        if parse_hex(&listed.name, &mut name).is_some()
            && replaced.contains(&name)
            && !live.contains_key(&name)
        {
            keys.push(layout::segment(&name));
            gone.push(name);
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    let removal = repo.store().delete_many(&keys)?;
    merged.deleted += (keys.len() - removal.refused.min(keys.len())) as u64;
    let is_done = removal.refused == 0;
    merged.removal.add(removal);
    if is_done && let Ok(catalogue) = repo.catalogue() {
        catalogue.remove_segments(&gone)?;
    }
    Ok(())
}

/// Returns the segments that live ones replace, directly or through other replaced ones. After many
/// small commits there may be hundreds of steps between the two.
fn replaced_by_live(
    by: impl Iterator<Item = (SegmentName, SegmentName)>,
    live: impl Iterator<Item = SegmentName>,
) -> HashSet<SegmentName> {
    let mut older: HashMap<SegmentName, Vec<SegmentName>> = HashMap::new();
    by.for_each(|(old, new)| older.entry(new).or_default().push(old));
    let mut found = HashSet::new();
    let mut todo: Vec<SegmentName> = live.collect();
    while let Some(name) = todo.pop() {
        let replaced = older.remove(&name).unwrap_or_default();
        found.extend(&replaced);
        todo.extend(replaced);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_chains_of_replaced_segments_end_at_a_live_one() {
        let name = |n: u32| {
            let mut name = SegmentName::default();
            name[..4].copy_from_slice(&n.to_be_bytes());
            name
        };
        // 999 replaces 998, 998 replaces 997 and so on; 2,001 and 2,002 replace one another.
        let chain = (0..999).map(|n| (name(n), name(n + 1)));
        let others = [
            (name(2000), name(2001)),
            (name(2001), name(2002)),
            (name(2002), name(2001)),
        ];
        let found = replaced_by_live(chain.chain(others), [name(999), name(3000)].into_iter());
        assert_eq!(found, (0..999).map(name).collect());
    }
}
