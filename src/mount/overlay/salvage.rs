//! Finds the paths of upper files in an overlay that cannot be mounted. Unreadable rows are
//! skipped, because every path that can be read helps.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::connection::read_only;
use super::error::FILE;
use super::inode_row::nat;
use crate::mount::names::ROOT_INO;

/// An upper file whose path can be read.
#[derive(Clone, Debug)]
pub struct SalvagedFile {
    /// Path in the mount.
    pub path: PathBuf,
    /// Whether the upper file holds all bytes.
    pub whole: bool,
}

/// The columns of an inode that a salvage needs.
struct SalvagedRow {
    parent: u64,
    name: Vec<u8>,
    whole: bool,
}

/// Returns the upper files of the overlay in `dir` whose paths can be read, by inode number.
pub fn salvaged_files(dir: &Path) -> HashMap<u64, SalvagedFile> {
    let rows = rows(dir);
    let mut found = HashMap::new();
    for (ino, row) in &rows {
        if let Some(path) = path_of(&rows, *ino) {
            found.insert(
                *ino,
                SalvagedFile {
                    path,
                    whole: row.whole,
                },
            );
        }
    }
    found
}

fn rows(dir: &Path) -> HashMap<u64, SalvagedRow> {
    const ALL: &str =
        "SELECT ino, parent, own_name, complete OR kind = 2 FROM inode WHERE nlink > 0";
    let mut rows = HashMap::new();
    let mut read = || -> rusqlite::Result<()> {
        let c = read_only(&dir.join(FILE))?;
        let mut all = c.prepare(ALL)?;
        let mut found = all.query([])?;
        while let Some(row) = found.next()? {
            let (Ok(ino), Ok(parent), Ok(name)) = (nat(row, 0), nat(row, 1), row.get(2)) else {
                continue;
            };
            rows.insert(
                ino,
                SalvagedRow {
                    parent,
                    name,
                    whole: row.get(3).unwrap_or(false),
                },
            );
        }
        Ok(())
    };
    // The rows before an error are useful, too.
    let _ = read();
    rows
}

/// Returns the path of an inode, if all directories above it can be read and all names are valid.
fn path_of(rows: &HashMap<u64, SalvagedRow>, ino: u64) -> Option<PathBuf> {
    // The limit also ends a cycle of damaged rows.
    const DEPTH_MAX: usize = 4096;
    let (mut names, mut at) = (Vec::new(), ino);
    while at != ROOT_INO {
        let row = rows.get(&at)?;
        // A damaged row must not lead out of the directory to which the files are copied.
        let is_name = !row.name.is_empty()
            && row.name != b"."
            && row.name != b".."
            && !row.name.contains(&b'/');
        if !is_name || names.len() > DEPTH_MAX {
            return None;
        }
        names.push(OsStr::from_bytes(&row.name));
        at = row.parent;
    }
    Some(names.into_iter().rev().collect())
}
