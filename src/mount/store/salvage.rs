//! What can still be read of the names of an overlay, for whoever copies its files out: errors are no obstacle.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::look::read_only;
use super::{FILE, Store, nat};
use crate::mount::inode::ROOT;

/// What is known of an upper file.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its path in the mount.
    pub path: PathBuf,
    /// Whether the upper file holds all of it.
    pub whole: bool,
}

/// A row of an inode.
struct Known {
    parent: u64,
    name: Vec<u8>,
    whole: bool,
}

impl Store {
    /// The upper files of the overlay in `dir` whose names can be read, by inode.
    pub fn salvage(dir: &Path) -> HashMap<u64, Found> {
        let rows = rows(dir);
        let mut found = HashMap::new();
        for (ino, row) in &rows {
            if let Some(path) = path_of(&rows, *ino) {
                found.insert(*ino, Found { path, whole: row.whole });
            }
        }
        found
    }
}

fn rows(dir: &Path) -> HashMap<u64, Known> {
    const ALL: &str = "SELECT ino, parent, own_name, complete OR kind = 2 FROM inode WHERE nlink > 0";
    let mut rows = HashMap::new();
    let mut read = || -> rusqlite::Result<()> {
        let c = read_only(&dir.join(FILE))?;
        let mut all = c.prepare(ALL)?;
        let mut found = all.query([])?;
        while let Some(row) = found.next()? {
            let (Ok(ino), Ok(parent), Ok(name)) = (nat(row, 0), nat(row, 1), row.get(2)) else { continue };
            rows.insert(ino, Known { parent, name, whole: row.get(3).unwrap_or(false) });
        }
        Ok(())
    };
    let _ = read();
    rows
}

/// The path of an inode, if all directories above it are known and none of their names is more than a name.
fn path_of(rows: &HashMap<u64, Known>, ino: u64) -> Option<PathBuf> {
    const DEPTH_MAX: usize = 4096;
    let (mut names, mut at) = (Vec::new(), ino);
    while at != ROOT {
        let row = rows.get(&at)?;
        let is_name = !row.name.is_empty() && row.name != b"." && row.name != b".." && !row.name.contains(&b'/');
        if !is_name || names.len() > DEPTH_MAX {
            return None;
        }
        names.push(OsStr::from_bytes(&row.name));
        at = row.parent;
    }
    Some(names.into_iter().rev().collect())
}
