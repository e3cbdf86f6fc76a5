//! Prefetches the data that a collection of a remote repository reads, in large pieces, because
//! small requests cost more.

use std::collections::BTreeMap;

use super::tally::PackTally;
use crate::error::Result;
use crate::format::pack::PackKind;
use crate::format::segment::PackName;
use crate::repo::{Repo, layout};
use crate::store::StoreError;

/// Length of the end of a pack in bytes that contains the table of most packs.
const TABLE: u64 = 64 << 10;
/// Limit on the prefetched bytes, so that the cache still has them when they are read.
const AHEAD_MAX: u64 = 2 << 30;

/// Prefetches the complete index, and then the packs of trees and lists.
pub(super) fn nodes(repo: &Repo) -> Result<()> {
    if repo.remote_store().is_none() {
        return Ok(());
    }
    let index = repo.index()?;
    let mut wanted = Vec::new();
    let mut packs: BTreeMap<PackName, u64> = BTreeMap::new();
    for kind in PackKind::ALL {
        for segment in index.segments(kind) {
            wanted.push(Whole {
                key: layout::segment(segment.name()),
                len: segment.file_bytes(),
            });
            if kind != PackKind::Data {
                packs.extend(segment.packs().iter().map(|p| (p.name, p.size_bytes)));
            }
        }
    }
    fetch(repo, wanted)?;
    let state = repo.gc_state();
    let packs = packs
        .into_iter()
        .filter(|(name, len)| *len > 0 && !state.is_dead(name));
    let packs = packs.map(|(name, len)| Whole {
        key: layout::pack(&name),
        len,
    });
    fetch(repo, packs.collect())
}

/// Prefetches the tables of packs, and completely those packs that `is_whole` selects, because the
/// plan may merge them.
pub(super) fn tables<'p>(
    repo: &Repo,
    packs: impl Iterator<Item = &'p PackTally>,
    is_whole: impl Fn(&PackTally) -> bool,
) -> Result<()> {
    let Some(remote) = repo.remote_store() else {
        return Ok(());
    };
    let mut wanted = Vec::new();
    let mut left = AHEAD_MAX;
    for pack in packs.filter(|pack| pack.file_bytes > 0) {
        let len = pack.file_bytes;
        let whole = is_whole(pack) && len <= left;
        let mut ranges = Vec::with_capacity(2);
        if whole {
            ranges.push(0..len);
        } else {
            ranges.push(0..1);
            ranges.push(len.saturating_sub(TABLE)..len);
        }
        left = left.saturating_sub(ranges.iter().map(|range| range.end - range.start).sum());
        wanted.push((layout::pack(&pack.name), ranges));
    }
    ignore_missing(remote.fetch_ahead(&wanted).map(drop))
}

/// An object that is fetched completely.
struct Whole {
    key: String,
    len: u64,
}

fn fetch(repo: &Repo, objects: Vec<Whole>) -> Result<()> {
    let Some(remote) = repo.remote_store() else {
        return Ok(());
    };
    if objects.iter().map(|object| object.len).sum::<u64>() > AHEAD_MAX {
        return Ok(());
    }
    let wanted: Vec<_> = objects
        .into_iter()
        .map(|Whole { key, len }| (key, std::iter::once(0..len).collect()))
        .collect();
    ignore_missing(remote.fetch_ahead(&wanted).map(drop))
}

/// Ignores a missing object, because the code that needs the object reports it.
fn ignore_missing(fetched: Result<(), StoreError>) -> Result<()> {
    match fetched {
        Err(StoreError::Missing { .. }) => Ok(()),
        fetched => Ok(fetched?),
    }
}
