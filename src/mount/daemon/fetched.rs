//! A list of the objects that the mounts of an overlay have fetched into the cache, so that their
//! space can be freed when the overlay is removed.
//!
//! The list may lack objects after a crash. The cache evicts them like any other objects.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use crate::sys::create;

const FILE: &str = "fetched.json";

/// Adds objects with their sizes to the list of an overlay.
pub(super) fn note(overlay: &Path, objects: Vec<(String, u64)>) -> io::Result<()> {
    if objects.is_empty() {
        return Ok(());
    }
    let mut all: BTreeMap<String, u64> = fetched(overlay).into_iter().collect();
    all.extend(objects);
    create::replace(&overlay.join(FILE), &serde_json::to_vec(&all)?)
}

/// Returns the objects of an overlay with their sizes.
pub fn fetched(overlay: &Path) -> Vec<(String, u64)> {
    // Without the list, the space is freed later, when the cache evicts the objects.
    let noted = fs::read(overlay.join(FILE)).unwrap_or_default();
    let all: BTreeMap<String, u64> = serde_json::from_slice(&noted).unwrap_or_default();
    all.into_iter().collect()
}
