//! The marker of a repository that was damaged or lost: what is left of it, or a new one.
//!
//! In: the repository's directory. Out: a marker that is durable. A marker of a later version is not damaged and stays.

use std::io::Write;
use std::path::Path;

use super::layout;
use crate::codec::cut::ChunkerConfig;
use crate::error::Result;
use crate::format::marker::{FEATURES, Marker, VERSION, checked_line};
use crate::model::refname::RefKind;
use crate::store::Store;
use crate::store::local::LocalStore;
use crate::sys::io_error::IoError;
use crate::sys::random::random_hex;

/// A marker that was written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remade {
    /// The repository's id now.
    pub id: String,
    /// Whether it is a new one, so that other copies count as other repositories.
    pub is_new: bool,
}

/// Writes the marker of the repository at `root` again if it is damaged or missing; a dry run only says what it would be.
pub fn remake(root: &Path, dry_run: bool) -> Result<Option<Remade>> {
    let store = LocalStore::new(root.to_path_buf());
    let bytes = store.get(layout::MARKER)?.unwrap_or_default();
    if checked_line(&bytes, "repository marker").is_ok() {
        return Ok(None);
    }
    let old = readable(&bytes);
    let is_new = old.is_none();
    let marker = match old {
        Some(marker) => marker,
        None => fresh(&store)?,
    };
    if !dry_run {
        let file = store.stage()?;
        let io = |source| IoError::new("write", layout::MARKER, source);
        file.as_file().write_all(&marker.encode()).map_err(io)?;
        store.publish(file, layout::MARKER)?;
    }
    Ok(Some(Remade { id: marker.id, is_new }))
}

/// The marker, where only its checksum is wrong.
fn readable(bytes: &[u8]) -> Option<Marker> {
    let line = bytes.split(|b| *b == b'\n').next()?;
    let marker: Marker = serde_json::from_slice(line).ok()?;
    // With its checksum it must be one that this program would read.
    let known = marker.version == VERSION && marker.features.iter().all(|f| FEATURES.contains(&f.as_str()));
    (known && Marker::decode(&marker.encode()).is_ok() && super::cutting_of(&marker).is_ok()).then_some(marker)
}

/// A marker with a new id, for the branches that are there.
fn fresh(store: &LocalStore) -> Result<Marker> {
    let ChunkerConfig { content, page, .. } = ChunkerConfig::default();
    let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut branches = Vec::new();
    for (_, tip) in super::refs::Refs::of(store).list_checked(RefKind::Branch)? {
        branches.extend(tip.ok().flatten().map(|tip| tip.name.as_str().to_owned()));
    }
    let main = branches.iter().find(|name| *name == "main").or(branches.first());
    Ok(Marker {
        kind: "dvc".to_owned(),
        version: VERSION,
        id: random_hex()?,
        features: Vec::new(),
        default_branch: main.map_or("main", String::as_str).to_owned(),
        chunker: "auto".to_owned(),
        cdc: content.map(size),
        page,
    })
}
