//! What the mounts of an overlay fetched into the cache, noted beside it: who removes the overlay gives the room back.
//!
//! Best effort: what a crash did not note is dropped by the cache itself, once other things are wanted more.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::sys::create;

const FILE: &str = "fetched.json";

/// Adds objects, with their lengths, to what is noted at an overlay.
pub(super) fn note(overlay: &Path, objects: Vec<(String, u64)>) -> io::Result<()> {
    if objects.is_empty() {
        return Ok(());
    }
    let mut all: BTreeMap<String, u64> = fetched(overlay).into_iter().collect();
    all.extend(objects);
    create::replace(&overlay.join(FILE), &serde_json::to_vec(&all)?)
}

/// What is noted at an overlay: objects and their lengths.
pub fn fetched(overlay: &Path) -> Vec<(String, u64)> {
    let noted = fs::read(overlay.join(FILE)).unwrap_or_default();
    let all: BTreeMap<String, u64> = serde_json::from_slice(&noted).unwrap_or_default();
    all.into_iter().collect()
}
