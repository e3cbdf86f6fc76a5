//! Continues the overlay of an earlier mount: finds its base, checks it, and frees space before it
//! is mounted.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::setup::{BRANCH, MountBase, SNAPSHOT, TREE, VERSION, VersionTree};
use crate::codec::hash::checksum;
use crate::error::Result;
use crate::model::id::{Id, to_hex};
use crate::mount::error::MountError;
use crate::mount::file::{FileData, FileState, SpareCopies, UpperFiles};
use crate::mount::lower::LowerLayer;
use crate::mount::names::{Inode, InodeBody, ROOT_INO, StoredDir, UpperTree};
use crate::mount::overlay::{FlushRows, InodeChange, OverlayDb};
use crate::mount::view::LogFn;
use crate::repo::Repo;
use crate::sys::io_error::IoError;

/// Returns the base with which the mount continues an overlay, or `None` if the overlay starts
/// empty. Fails if the overlay has uncommitted changes to another version.
pub(super) fn resume(
    repo: &Repo,
    store: &OverlayDb,
    asked: &MountBase,
    name: &str,
) -> Result<Option<MountBase>> {
    let id = |key: &str| -> Result<Option<Id>> {
        Ok(store
            .fact(key)?
            .and_then(|v| Id::parse(&String::from_utf8_lossy(&v))))
    };
    let (Some(version), Some(tree)) = (id(VERSION)?, id(TREE)?) else {
        // The overlay was never mounted, or its first mount did not start.
        return if store.key()?.is_none() {
            Ok(None)
        } else {
            Err(store.damaged("the base version is missing"))
        };
    };
    let branch = store
        .fact(BRANCH)?
        .filter(|b| !b.is_empty())
        .map(|b| String::from_utf8_lossy(&b).into_owned());
    let snapshot = id(SNAPSHOT)?;
    let branch = branch.or_else(|| asked.branch.clone());
    // The requested version may be the commit of the last snapshot, if the mount was interrupted
    // before the commit was confirmed.
    let own = || -> Result<bool> {
        let commit = repo.commit_cached(&asked.version)?;
        Ok(Some(commit.tree) == snapshot && commit.parents.contains(&version))
    };
    if version == asked.version || own()? {
        return Ok(Some(MountBase {
            version: asked.version,
            tree,
            branch,
            snapshot,
        }));
    }
    if store.is_changed()? {
        let (name, repository) = (name.to_owned(), repo.path().to_path_buf());
        return Err(MountError::OtherVersion {
            name,
            version: version.short(),
            repository,
        }
        .into());
    }
    Ok(None)
}

/// How a mount of a version would use an overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverlayUse {
    /// The overlay starts empty.
    Nothing,
    /// The overlay continues and has no uncommitted changes.
    Unchanged,
    /// The overlay continues and has uncommitted changes.
    Changed,
}

/// The base of an overlay that is not mounted.
#[derive(Clone, Debug)]
pub struct OverlayBase {
    /// The version that the overlay is based on.
    pub version: Id,
    pub branch: Option<String>,
    /// Whether the overlay has uncommitted changes.
    pub changed: bool,
    /// The last mount point.
    pub at: Option<PathBuf>,
}

/// Time limit for the process of an unmounted overlay to exit.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns whether a process serves an overlay. If so, waits up to ten seconds for it to exit,
/// because its mount may just have been unmounted.
pub fn is_still_served(overlay: &Path) -> Result<bool> {
    let until = Instant::now() + END_TIMEOUT;
    while OverlayDb::is_locked(overlay)? {
        if Instant::now() >= until {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(false)
}

/// Returns the base of an overlay, or `None` if it was never mounted.
pub fn overlay_base(overlay: &Path, name: &str) -> Result<Option<OverlayBase>> {
    let Some(store) = OverlayDb::open_read_only(overlay, name)? else {
        return Ok(None);
    };
    let text = |key: &str| -> Result<Option<String>> {
        Ok(store
            .fact(key)?
            .filter(|v| !v.is_empty())
            .map(|v| String::from_utf8_lossy(&v).into_owned()))
    };
    let Some(version) = text(VERSION)?.as_deref().and_then(Id::parse) else {
        return Ok(None);
    };
    let at = text("at")?.map(PathBuf::from);
    Ok(Some(OverlayBase {
        version,
        branch: text(BRANCH)?,
        changed: store.is_changed()?,
        at,
    }))
}

/// The objects that an overlay needs from its repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayRoots {
    /// The version that the overlay is based on.
    pub version: Id,
    /// The trees that unchanged names and the last snapshot refer to.
    pub trees: Vec<Id>,
}

/// Returns the roots of the objects that an overlay needs, also while a mount uses the overlay;
/// `None` if the overlay was never mounted.
pub fn overlay_roots(overlay: &Path) -> Result<Option<OverlayRoots>> {
    let Some(facts) = OverlayDb::read_facts(overlay, &[VERSION, TREE, SNAPSHOT])? else {
        return Ok(None);
    };
    let mut ids = facts.iter().map(|fact| {
        Id::parse(&String::from_utf8_lossy(
            fact.as_deref().unwrap_or_default(),
        ))
    });
    let Some(version) = ids.next().flatten() else {
        return Ok(None);
    };
    Ok(Some(OverlayRoots {
        version,
        trees: ids.flatten().collect(),
    }))
}

/// Returns how a mount of a version would use an overlay. Fails if the mount would be refused.
pub fn overlay_use(
    repo: &Repo,
    version: VersionTree,
    overlay: &Path,
    name: &str,
) -> Result<OverlayUse> {
    let Some(store) = OverlayDb::open_read_only(overlay, name)? else {
        return Ok(OverlayUse::Nothing);
    };
    let asked = MountBase {
        version: version.version,
        tree: version.tree,
        branch: None,
        snapshot: None,
    };
    Ok(match resume(repo, &store, &asked, name)? {
        None => OverlayUse::Nothing,
        Some(_) if store.is_changed()? => OverlayUse::Changed,
        Some(_) => OverlayUse::Unchanged,
    })
}

/// Returns the mark that ties upper files to the overlay database with this key.
pub(super) fn mark_of(key: &[u8; 16]) -> String {
    to_hex(&checksum(&[b"overlay", key])[..8])
}

/// Fails if the upper files belong to another overlay. Marks them if they have no mark yet.
pub(super) fn ensure_marked(space: &UpperFiles, store: &OverlayDb, key: &[u8; 16]) -> Result<()> {
    let failed = |source| IoError::new("read", space.dir(), source);
    if !space.is_marked(&mark_of(key)).map_err(failed)? {
        return Err(store.damaged("the upper files belong to another overlay"));
    }
    Ok(space.put_mark(&mark_of(key)).map_err(failed)?)
}

/// Frees the space of upper files and blocks that are identical to those of the version, as after a
/// commit. The overlay must not be in use yet.
pub(super) fn free_committed(
    store: &OverlayDb,
    space: &Arc<UpperFiles>,
    upper: &mut UpperTree,
    changed: &HashSet<u64>,
    log: &LogFn,
) -> Result<()> {
    let (mut rows, mut gone, mut spare) = (Vec::new(), Vec::new(), Vec::new());
    for (ino, inode) in &mut upper.inodes {
        let InodeBody::File(data) = &inode.what else {
            continue;
        };
        match data.copies() {
            SpareCopies::Nothing => {}
            SpareCopies::Blocks => {
                data.disown_copies();
                rows.push(InodeChange::new(*ino, inode, changed.contains(ino)));
                spare.push(Arc::clone(data));
            }
            SpareCopies::All(base) => {
                let untouched = FileData::new(*ino, Arc::clone(space), FileState::of(base));
                let whole = Inode {
                    what: InodeBody::File(Arc::new(untouched)),
                    ..Inode::clone(inode)
                };
                *inode = Arc::new(whole);
                rows.push(InodeChange::new(*ino, inode, changed.contains(ino)));
                gone.push(*ino);
            }
        }
    }
    let unsealed = gone
        .iter()
        .copied()
        .chain(spare.iter().map(|data| data.ino()))
        .collect();
    // The rows come first: after a crash in between, copies remain on disk, but no row refers to
    // bytes that were freed.
    store.flush(&FlushRows {
        inodes: rows,
        unsealed,
        ..FlushRows::default()
    })?;
    for ino in gone {
        // If the removal fails, the next mount removes the file as an orphan.
        let _ = std::fs::remove_file(space.path(ino));
    }
    for data in spare {
        data.set_sealed(false);
        if let Err(e) = data.free_copies() {
            log(&format!("cannot free space in the overlay: {e}"));
        }
    }
    Ok(())
}

/// Removes upper files without an inode, and counts the space of the others for the quota.
pub(super) fn remove_orphans(dir: &Path, upper: &UpperTree, space: &UpperFiles) {
    use std::os::unix::fs::MetadataExt;
    for fold in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        for file in std::fs::read_dir(fold.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            let ino = file
                .file_name()
                .to_str()
                .and_then(|name| u64::from_str_radix(name, 16).ok());
            match ino.filter(|ino| upper.inodes.contains_key(ino)) {
                Some(_) => space.recount(0, file.metadata().map_or(0, |m| m.blocks() * 512)),
                None => drop(std::fs::remove_file(file.path())),
            }
        }
    }
}

/// Returns an upper tree with only the root of a version.
pub(super) fn version_root(lower: &LowerLayer, tree: &Id) -> Result<UpperTree> {
    let info = lower.repo().root_info(tree)?;
    let mtime = info.meta.mtime;
    let what = InodeBody::Dir {
        tree: Some(*tree),
        stored: Some(StoredDir {
            tree: *tree,
            totals: info.totals,
        }),
    };
    let root = Inode {
        meta: info.meta,
        atime: mtime,
        ctime: mtime,
        nlink: 2 + lower.dir(tree)?.subdirs,
        parent: ROOT_INO,
        name: Vec::new(),
        has_version_owner: true,
        what,
    };
    let mut upper = UpperTree::default();
    upper.inodes.insert(ROOT_INO, Arc::new(root));
    Ok(upper)
}
