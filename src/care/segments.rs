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
use crate::store::local::LocalStore;

/// Numbers of segments that a merge wrote and deleted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SegmentsMerged {
    pub(super) written: u64,
    pub(super) deleted: u64,
    /// Segments that could not be deleted.
    pub(super) undeleted: u64,
}

/// Writes segments that replace those with rows of packs that are gone, and merges small ones; then
/// deletes all segments that others replace.
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
        // A store with a limit gets one segment for each input instead.
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
    // A segment that was replaced by a replaced one is known to the catalogue only.
    if let Ok(rows) = repo
        .catalogue()
        .and_then(|catalogue| Ok(catalogue.segments()?))
    {
        let by: HashMap<SegmentName, SegmentName> = rows
            .iter()
            .filter_map(|row| Some((row.name, row.replaced_by?)))
            .collect();
        for row in &rows {
            let (mut name, mut steps) = (row.name, 0);
            while let Some(next) = by.get(&name).filter(|_| steps < 64) {
                (name, steps) = (*next, steps + 1);
            }
            if name != row.name && live.contains_key(&name) {
                replaced.insert(row.name);
            }
        }
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
    let failed = repo.store().delete_many(&keys)?;
    merged.undeleted += failed as u64;
    merged.deleted += (keys.len() - failed.min(keys.len())) as u64;
    if failed == 0
        && let Ok(catalogue) = repo.catalogue()
    {
        catalogue.remove_segments(&gone)?;
    }
    Ok(())
}
