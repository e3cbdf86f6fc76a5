//! Looks for lost chunks in files: at the offsets at which a version has them, else anywhere in a
//! file, because the division of a file into chunks depends only on its bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::check::report::CheckReport;
use crate::codec::chunk::{Piece, cut};
use crate::codec::cut::{BLOCK, CHUNK_MAX};
use crate::error::Result;
use crate::model::entry::{Chunker, Node};
use crate::model::id::{Id, ObjectKind};
use crate::model::path;
use crate::repo::{Repo, layout};

/// Number of bytes of a file that are divided into chunks at a time.
const WINDOW: usize = 4 << 20;
/// Limit on the places that are remembered for one chunk.
const PLACES_MAX: usize = 16;

/// A place at which a version has a chunk.
pub(super) struct ChunkPlace {
    path: Vec<u8>,
    offset: u64,
    len: usize,
}

/// The places of lost chunks, and the paths of the files that contain them.
#[derive(Default)]
pub(super) struct KnownPlaces {
    places: BTreeMap<Id, Vec<ChunkPlace>>,
    paths: BTreeSet<Vec<u8>>,
}

impl KnownPlaces {
    /// Finds the places of the needed chunks in the versions that a check has found affected.
    pub(super) fn find(repo: &Repo, check: &CheckReport, needed: &BTreeSet<Id>) -> Result<Self> {
        let mut known = Self::default();
        // A lost directory has no known offsets of files, and the empty path means the whole
        // version.
        for reach in check
            .reaches
            .iter()
            .filter(|reach| !reach.directory && !reach.path.is_empty())
        {
            let Some(names) = path::split(&reach.path) else {
                continue;
            };
            known.paths.insert(reach.path.clone());
            let mut seen = Vec::new();
            let versions = reach
                .versions
                .iter()
                .flat_map(|run| check.versions.get(run.clone()).unwrap_or_default());
            for version in versions {
                // Other versions may still be readable, so errors are left out here.
                let entry = repo
                    .commit(&version.id)
                    .and_then(|commit| repo.find(&commit.tree, &names));
                let Ok(Some(entry)) = entry else { continue };
                let Node::File { content, .. } = entry.node else {
                    continue;
                };
                // Most versions of a file are equal, so the same content is not read again.
                if seen.contains(&content) {
                    continue;
                }
                let mut offset = 0u64;
                for extent in repo.extents(&content) {
                    // The rest of a list with a lost node is searched by content.
                    let Ok(extent) = extent else { break };
                    if let Some(id) = extent.chunk.filter(|id| needed.contains(id)) {
                        let places = known.places.entry(id).or_default();
                        let len = usize::try_from(extent.len).unwrap_or(usize::MAX);
                        // A forged extent must not make the search allocate a large buffer.
                        if places.len() < PLACES_MAX && len <= CHUNK_MAX {
                            places.push(ChunkPlace {
                                path: reach.path.clone(),
                                offset,
                                len,
                            });
                        }
                    }
                    offset = offset.saturating_add(extent.len);
                }
                seen.push(content);
            }
        }
        Ok(known)
    }
}

/// Searches directories for chunks.
pub(super) struct FileSearch<'a> {
    pub(super) repo: &'a Repo,
    pub(super) known: &'a KnownPlaces,
    pub(super) needed: &'a mut BTreeSet<Id>,
    /// Receives the bytes of each chunk that was found.
    pub(super) take: &'a mut dyn FnMut(&Id, &[u8]) -> Result<()>,
    pub(super) cancelled: &'a dyn Fn() -> bool,
}

impl FileSearch<'_> {
    /// Searches the files at known paths, and with `everywhere` all files below the directory.
    pub(super) fn search(&mut self, dir: &Path, everywhere: bool) -> Result<()> {
        self.known_offsets(dir)?;
        // The file may have been edited, which moves its chunks, so it is divided again.
        for path in &self.known.paths {
            if self.is_done() {
                return Ok(());
            }
            self.divide(&dir.join(OsStr::from_bytes(path)))?;
        }
        let mut dirs = if everywhere {
            vec![dir.to_path_buf()]
        } else {
            Vec::new()
        };
        while let Some(dir) = dirs.pop() {
            // A directory that cannot be read contributes nothing.
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                if self.is_done() {
                    return Ok(());
                }
                match entry.file_type() {
                    // A repository below the directory contains packs and no files of a version.
                    Ok(kind) if kind.is_dir() && entry.file_name() != layout::INSIDE => {
                        dirs.push(entry.path())
                    }
                    Ok(kind) if kind.is_file() => self.divide(&entry.path())?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.needed.is_empty() || (self.cancelled)()
    }

    fn known_offsets(&mut self, dir: &Path) -> Result<()> {
        for (id, places) in &self.known.places {
            for place in places {
                if self.is_done() || !self.needed.contains(id) {
                    break;
                }
                let Some(file) = open_file(&dir.join(OsStr::from_bytes(&place.path))) else {
                    continue;
                };
                let mut bytes = vec![0; place.len];
                // A file that is shorter now does not contain this chunk.
                if file.read_exact_at(&mut bytes, place.offset).is_ok() {
                    self.offer(&bytes)?;
                }
            }
        }
        Ok(())
    }

    /// Takes a chunk if it is needed.
    fn offer(&mut self, bytes: &[u8]) -> Result<()> {
        let id = self.repo.ids().id(ObjectKind::Chunk, bytes);
        if self.needed.remove(&id) {
            (self.take)(&id, bytes)
        } else {
            Ok(())
        }
    }

    /// Divides a file with each chunker that the repository uses, and takes the needed chunks.
    fn divide(&mut self, path: &Path) -> Result<()> {
        // A version may have used either chunker.
        for chunker in [Chunker::Cdc, Chunker::Fixed(self.repo.chunker().page)] {
            if self.is_done() {
                return Ok(());
            }
            let Some(file) = open_file(path) else {
                return Ok(());
            };
            self.divide_by(file, chunker)?;
        }
        Ok(())
    }

    fn divide_by(&mut self, mut file: File, chunker: Chunker) -> Result<()> {
        let (mut buffer, mut offset, mut pieces) = (Vec::new(), 0u64, Vec::new());
        loop {
            // The division needs whole blocks, except at the end of the file.
            let end = (offset + WINDOW as u64) / BLOCK as u64 * BLOCK as u64;
            let wanted = (end - offset).saturating_sub(buffer.len() as u64);
            // The rest of a file that cannot be read is left out.
            let Ok(got) = (&mut file).take(wanted).read_to_end(&mut buffer) else {
                return Ok(());
            };
            let is_last = (got as u64) < wanted;
            let used = cut(
                self.repo.chunker(),
                chunker,
                &buffer,
                offset,
                is_last,
                &mut pieces,
            );
            for piece in pieces.drain(..) {
                if let Piece::Chunk(range) = piece {
                    self.offer(buffer.get(range).unwrap_or_default())?;
                }
            }
            if is_last || self.is_done() {
                return Ok(());
            }
            // The chunker continues at its last cut, so the bytes after that are kept.
            buffer.drain(..used);
            offset += used as u64;
        }
    }
}

/// Opens a regular file. A device or a pipe could block.
fn open_file(path: &Path) -> Option<File> {
    fs::symlink_metadata(path)
        .ok()
        .filter(fs::Metadata::is_file)?;
    // The file may be replaced after the check above. `NONBLOCK` keeps the open of a pipe from
    // waiting, and `NOFOLLOW` refuses a symbolic link.
    let flags =
        i32::try_from((rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW).bits()).ok()?;
    File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()
}

/// The directories that are searched.
#[derive(Clone, Debug, Default)]
pub struct SearchedDirs {
    /// Worktrees and mounts, in which only the files at known paths are searched.
    pub worktrees: Vec<PathBuf>,
    /// Directories that the user has named.
    pub named: Vec<PathBuf>,
}
