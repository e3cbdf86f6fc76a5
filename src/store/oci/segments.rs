//! Index segments in a registry: their blobs, and the manifests that make them visible and protect
//! their packs from garbage collection.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::blobs::{self, UploadSource};
use super::manifest::Manifest;
use super::objects;
use super::registry::{Registry, RequestInfo};
use super::tag::{self, Tag};
use crate::format::segment::footer::{FOOTER_BYTES, SegmentFooter};
use crate::format::segment::tables::{PackEntry, PackTable};
use crate::store::StoreError;

/// Returns the packs that the rows of a segment file refer to.
pub(super) fn packs_of(file: &File, len: u64) -> io::Result<Vec<PackEntry>> {
    let damaged = |e| io::Error::new(io::ErrorKind::InvalidData, e);
    let mut tail = [0; 64];
    let at = len
        .checked_sub(FOOTER_BYTES)
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    file.read_exact_at(&mut tail, at)?;
    let Range { start, end } = SegmentFooter::decode(&tail)
        .and_then(|f| f.layout_in(len))
        .map_err(damaged)?
        .packs;
    let mut table = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
    file.read_exact_at(&mut table, start)?;
    Ok(PackTable::decode(&table)
        .map_err(damaged)?
        .entries()
        .to_vec())
}

/// Stores a segment, and then the manifests that list the segment and its packs. The last manifest
/// makes the segment visible.
pub(super) async fn store(
    registry: &Registry,
    info: &RequestInfo,
    name: &str,
    (file, len): (Arc<File>, u64),
    packs: &[PackEntry],
    has_empty: &AtomicBool,
) -> Result<(), StoreError> {
    // The tag is stored last, so the segment and its packs are complete if the tag exists.
    if objects::digest(registry, info, &tag::segment(name, len))
        .await?
        .is_some()
    {
        return Ok(());
    }
    blobs::store(registry, info, name, UploadSource::File(file, len)).await?;
    for (tag, manifest) in Manifest::of_segment(name, len, packs) {
        objects::store(registry, info, &tag, &manifest, has_empty).await?;
    }
    Ok(())
}

/// Returns the length of a segment, if it is visible. A blob without a tag may remain from an
/// interrupted attempt, and nothing protects that blob and its packs from garbage collection.
pub(super) async fn len(
    registry: &Registry,
    info: &RequestInfo,
    name: &str,
) -> Result<Option<u64>, StoreError> {
    let Some(len) = blobs::head(registry, info, name).await? else {
        return Ok(None);
    };
    let digest = objects::digest(registry, info, &tag::segment(name, len)).await?;
    Ok(digest.map(|_| len))
}

/// Removes segments: of each, first the tag that makes it visible, then the other tags and the blob.
/// Their packs remain.
pub(super) async fn delete(
    registry: &Registry,
    info: &RequestInfo,
    names: &[String],
) -> Result<(), StoreError> {
    let tags: Vec<(String, Tag)> = registry
        .tags(info)
        .await?
        .into_iter()
        .filter_map(|t| Tag::parse(&t).map(|parsed| (t, parsed)))
        .collect();
    for name in names {
        let visible = tags
            .iter()
            .filter(|t| matches!(&t.1, Tag::Segment { name: n, .. } if n == name));
        let others = tags
            .iter()
            .filter(|t| matches!(&t.1, Tag::Packs { segment } if segment == name));
        for (tag, _) in visible.chain(others) {
            objects::delete(registry, info, tag).await?;
        }
        blobs::delete(registry, info, name).await?;
    }
    Ok(())
}
