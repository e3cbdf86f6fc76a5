//! The marker of a repository: decoding, creation, and recreation of a damaged or lost one.

use std::io::Write;
use std::path::Path;

use super::error::RepoError;
use super::layout;
use super::refs::Refs;
use crate::codec::cut::{self, ChunkerConfig, ChunkerRule};
use crate::error::Result;
use crate::format::Malformed;
use crate::format::marker::{FEATURES, Marker, VERSION};
use crate::format::text::checked_line;
use crate::model::refname::RefKind;
use crate::store::Store;
use crate::store::local::LocalStore;
use crate::sys::io_error::IoError;
use crate::sys::random::random_hex;

/// The result of [`rewrite_marker`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewrittenMarker {
    /// The id in the new marker.
    pub id: String,
    /// Whether the id is new, so that existing copies count as different repositories.
    pub is_new: bool,
}

/// Decodes the marker of a repository. `place` is the path or URL for the error message.
pub fn decode_marker(
    bytes: &[u8],
    is_local: bool,
    place: impl Fn() -> String,
) -> Result<Marker, RepoError> {
    Marker::decode(bytes).map_err(|source| RepoError::BadMarker {
        place: place(),
        is_local,
        source,
    })
}

/// Returns a new marker with a random id.
pub(super) fn new_marker(config: &ChunkerConfig, default_branch: &str) -> Result<Marker> {
    let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let chunker = match config.rule {
        ChunkerRule::Auto => "auto",
        ChunkerRule::Content => "cdc",
        ChunkerRule::Pages => "fixed",
    };
    Ok(Marker {
        kind: "dvc".to_owned(),
        version: VERSION,
        id: random_hex()?,
        features: Vec::new(),
        default_branch: default_branch.to_owned(),
        chunker: chunker.to_owned(),
        cdc: config.content.map(size),
        page: config.page,
    })
}

/// Returns the chunker settings in a marker.
pub(super) fn chunker_config(marker: &Marker) -> Result<ChunkerConfig, Malformed> {
    let rule = match marker.chunker.as_str() {
        "auto" => ChunkerRule::Auto,
        "cdc" => ChunkerRule::Content,
        "fixed" => ChunkerRule::Pages,
        _ => return Err(Malformed::new("repository marker", "unknown chunker")),
    };
    let content = marker.cdc.map(|n| n as usize);
    let [least, average, most] = content;
    let valid_content =
        least >= 64 && least * 4 == average && average * 4 == most && most <= cut::CHUNK_MAX;
    let valid_page =
        marker.page.is_power_of_two() && (4096..=cut::CHUNK_MAX).contains(&(marker.page as usize));
    if valid_content && valid_page {
        Ok(ChunkerConfig {
            rule,
            content,
            page: marker.page,
        })
    } else {
        Err(Malformed::new("repository marker", "invalid chunk sizes"))
    }
}

/// Rewrites the marker of the repository at `root` durably, if it is damaged or missing; with
/// `dry_run`, only returns the result. Returns `None` if the marker is intact. A marker with a
/// newer version of the format counts as intact.
pub fn rewrite_marker(root: &Path, dry_run: bool) -> Result<Option<RewrittenMarker>> {
    let store = LocalStore::new(root.to_path_buf());
    let bytes = store.get(layout::MARKER)?.unwrap_or_default();
    // A marker of a newer version of dvc has a right checksum and must stay.
    if checked_line(&bytes, "repository marker").is_ok() {
        return Ok(None);
    }
    let old = salvage(&bytes);
    let is_new = old.is_none();
    let marker = match old {
        Some(marker) => marker,
        None => marker_for_refs(&store)?,
    };
    if !dry_run {
        let file = store.stage()?;
        // `create` would not replace a damaged marker.
        let io = |source| IoError::new("write", layout::MARKER, source);
        file.as_file().write_all(&marker.encode()).map_err(io)?;
        store.publish(file, layout::MARKER)?;
    }
    Ok(Some(RewrittenMarker {
        id: marker.id,
        is_new,
    }))
}

/// Returns the marker if only its checksum is damaged.
fn salvage(bytes: &[u8]) -> Option<Marker> {
    let line = bytes.split(|b| *b == b'\n').next()?;
    let marker: Marker = serde_json::from_slice(line).ok()?;
    // Check that this program could read the marker if its checksum were correct.
    let known = marker.version == VERSION
        && marker
            .features
            .iter()
            .all(|f| FEATURES.contains(&f.as_str()));
    (known && Marker::decode(&marker.encode()).is_ok() && chunker_config(&marker).is_ok())
        .then_some(marker)
}

/// Returns a new marker whose default branch is an existing one, if there is any.
fn marker_for_refs(store: &LocalStore) -> Result<Marker> {
    let mut branches = Vec::new();
    // The default branch is recorded only in the marker, so an existing branch is chosen.
    for (_, tip) in Refs::of(store).list_checked(RefKind::Branch)? {
        branches.extend(tip.ok().flatten().map(|tip| tip.name.as_str().to_owned()));
    }
    let main = branches
        .iter()
        .find(|name| *name == "main")
        .or(branches.first());
    new_marker(
        &ChunkerConfig::default(),
        main.map_or("main", String::as_str),
    )
}
