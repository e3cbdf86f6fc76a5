//! `du`: the disk usage of versions, branches and the whole repository.
//!
//! A commit records the sizes of its version, so only commits, refs and the lengths of files are
//! read. Only the division of the bytes of packs into parts reads all trees and the index.

use super::gc::{CollectOptions, held_roots, repository_usage};
use super::mount::OVERLAYS;
use crate::context::Context;
use crate::error::{Kind, Result};
use crate::model::commit::Commit;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::RevisionQuery;
use crate::observe::Observer;
use crate::query::history::{CommitReader, HistoryWalk, ancestors};
use crate::query::resolve::{RangeEnds, Resolver};
use crate::repo::refs::report_damaged;
use crate::repo::{Repo, layout};
use crate::sys::io_error::IoError;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Options of `du`.
#[derive(Clone, Debug, Default)]
pub struct DuOptions {
    /// The versions and ranges to measure; if empty, the branches and the whole repository.
    pub queries: Vec<RevisionQuery>,
    /// How to divide the bytes of packs, which reads all trees; `None` does not divide them.
    pub parts: Option<PartsOptions>,
}

/// How to divide the bytes of packs.
#[derive(Clone, Debug)]
pub struct PartsOptions {
    /// The times of a garbage collection.
    pub collect: CollectOptions,
    /// The directory with the notes of mounts.
    pub run: PathBuf,
}

/// The disk usage of a version.
#[derive(Clone, Debug)]
pub struct VersionUse {
    pub id: Id,
    /// The commit, with its counts.
    pub commit: Commit,
}

/// The disk usage of a branch.
#[derive(Clone, Debug)]
pub struct BranchUse {
    pub name: RefName,
    /// The number of versions along first parents.
    pub versions: u64,
    /// The number of files of the tip.
    pub files: u64,
    /// Bytes of all files of the tip.
    pub bytes: u64,
    /// Bytes of all files, summed over all versions.
    pub all_bytes: u64,
    /// Bytes that were new in these versions.
    pub new_bytes: u64,
    /// Bytes that this new data takes in packs.
    pub stored_bytes: u64,
}

/// The disk usage of the repository's directory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepositoryUse {
    /// The number of packs.
    pub packs: u64,
    pub pack_bytes: u64,
    /// The parts of the bytes of packs; `None` if they were not measured.
    pub parts: Option<PackParts>,
    /// Bytes of index segments.
    pub index_bytes: u64,
    /// Bytes of refs and their logs.
    pub ref_bytes: u64,
    /// Bytes of the catalogue and of other local state.
    pub state_bytes: u64,
    /// Bytes of overlays and volumes in the trash.
    pub trash_bytes: u64,
}

/// The bytes of all packs by the reason why they are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackParts {
    /// Needed by versions of branches and tags.
    pub live: u64,
    /// Needed by versions that a branch or tag named recently.
    pub log: u64,
    /// Needed by versions in the trash.
    pub trash: u64,
    /// Needed by worktrees, overlays, mounts and leases.
    pub held: u64,
    /// Needed by nothing.
    pub unused: u64,
    /// Dead packs that are not deleted yet.
    pub dead: u64,
}

/// The result of `du`.
#[derive(Clone, Debug, Default)]
pub struct DuReport {
    /// The requested versions.
    pub versions: Vec<VersionUse>,
    /// All branches, if no version was requested.
    pub branches: Vec<BranchUse>,
    /// The repository, if no version was requested.
    pub repository: Option<RepositoryUse>,
}

/// Measures the requested versions, or all branches and the repository.
pub fn du(context: &Context, options: &DuOptions, observer: &dyn Observer) -> Result<DuReport> {
    let repo = context.repo()?;
    let mut report = DuReport::default();
    if options.queries.is_empty() {
        for tip in repo.refs().readable(RefKind::Branch)?.or_report(observer) {
            match branch_use(&repo, tip.name, tip.id) {
                // A damaged branch must not hide the others.
                Err(e) if e.kind() == Kind::Integrity => report_damaged(&e, observer),
                branch => report.branches.push(branch?),
            }
            if observer.cancelled() {
                return Ok(report);
            }
        }
        let mut whole = repository_use(&repo)?;
        // The trees of a remote repository and of a lazy clone are not local.
        let parts = options.parts.as_ref();
        if let Some(parts) = parts.filter(|_| repo.as_local().is_some() && !repo.is_lazy()) {
            match pack_parts(context, &repo, parts, observer) {
                Err(e) if e.kind() == Kind::Integrity => report_damaged(&e, observer),
                parts => whole.parts = Some(parts?),
            }
        }
        report.repository = Some(whole);
        return Ok(report);
    }
    let resolver = Resolver::new(&repo, context)?;
    for query in &options.queries {
        match query {
            RevisionQuery::One(spec) => {
                let id = resolver.whole(spec)?;
                report.versions.push(VersionUse {
                    id,
                    commit: repo.commit_cached(&id)?,
                });
            }
            RevisionQuery::Range(range) => {
                let RangeEnds { from, to } = resolver.range(range)?;
                // A symmetric range leaves out the common ancestors.
                let (tips, hidden) = if range.symmetric {
                    let left = ancestors(&repo, &from)?;
                    let both = ancestors(&repo, &to)?
                        .into_iter()
                        .filter(|id| left.contains(id))
                        .collect();
                    (vec![from, to], both)
                } else {
                    (vec![to], vec![from])
                };
                for version in HistoryWalk::new(&repo, &tips, &hidden)? {
                    let (id, commit) = version?;
                    report.versions.push(VersionUse { id, commit });
                }
            }
        }
    }
    Ok(report)
}

fn pack_parts(
    context: &Context,
    repo: &Repo,
    options: &PartsOptions,
    observer: &dyn Observer,
) -> Result<PackParts> {
    let held = held_roots(context, repo, &options.run)?;
    let usage = repository_usage(
        context,
        repo,
        held,
        &options.run,
        &options.collect,
        observer,
    )?;
    Ok(PackParts {
        live: usage.live.bytes,
        log: usage.log.bytes,
        trash: usage.trash.bytes,
        held: usage.held.bytes,
        unused: usage.unused_bytes + usage.unneeded.bytes + usage.orphans.bytes,
        dead: usage.dead.bytes,
    })
}

/// The number and size of the files below a directory of the repository.
#[derive(Default)]
struct FolderUse {
    files: u64,
    bytes: u64,
}

fn branch_use(repo: &Repo, name: RefName, tip: Id) -> Result<BranchUse> {
    let mut sum = BranchUse {
        name,
        versions: 0,
        files: 0,
        bytes: 0,
        all_bytes: 0,
        new_bytes: 0,
        stored_bytes: 0,
    };
    for version in CommitReader::new(repo).first_parents(tip) {
        let counts = version?.1.counts;
        if sum.versions == 0 {
            (sum.files, sum.bytes) = (counts.files, counts.bytes);
        }
        sum.versions += 1;
        // The sums of forged versions must not overflow.
        sum.all_bytes = sum.all_bytes.saturating_add(counts.bytes);
        sum.new_bytes = sum.new_bytes.saturating_add(counts.new_bytes);
        sum.stored_bytes = sum.stored_bytes.saturating_add(counts.stored_bytes);
    }
    Ok(sum)
}

fn repository_use(repo: &Repo) -> Result<RepositoryUse> {
    let mut sum = RepositoryUse::default();
    FolderUse {
        files: sum.packs,
        bytes: sum.pack_bytes,
    } = below(repo, layout::PACKS)?;
    sum.index_bytes = below(repo, layout::INDEX)?.bytes;
    sum.ref_bytes = below(repo, "refs")?.bytes;
    for listed in repo.store().list("")? {
        match listed.name.as_str() {
            layout::PACKS | layout::INDEX | "refs" => {}
            // Overlays have sparse files, so their disk usage is measured instead of their lengths.
            OVERLAYS => {
                sum.state_bytes += repo
                    .as_local()
                    .map_or(0, |_| on_disk(&repo.path().join(OVERLAYS)))
            }
            layout::TRASH_LOCAL => {
                sum.trash_bytes += repo
                    .as_local()
                    .map_or(0, |_| on_disk(&repo.path().join(layout::TRASH_LOCAL)))
            }
            name if listed.is_dir => sum.state_bytes += below(repo, name)?.bytes,
            _ => sum.state_bytes += listed.len,
        }
    }
    Ok(sum)
}

/// Sums up the files below a directory.
fn below(repo: &Repo, dir: &str) -> Result<FolderUse> {
    let mut sum = FolderUse::default();
    for listed in repo.store().list(dir)? {
        let FolderUse { files, bytes } = if listed.is_dir {
            below(repo, &format!("{dir}/{}", listed.name))?
        } else {
            FolderUse {
                files: 1,
                bytes: listed.len,
            }
        };
        sum.files += files;
        sum.bytes += bytes;
    }
    Ok(sum)
}

/// The disk usage of the cache of remote objects and of overlays.
#[derive(Clone, Debug, Default)]
pub struct CacheUse {
    /// Bytes of the cached blocks.
    pub block_bytes: u64,
    /// The limit of these bytes.
    pub limit_bytes: u64,
    /// The overlays of the local repository.
    pub overlays: Vec<OverlayUse>,
}

/// The disk usage of an overlay.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OverlayUse {
    pub name: String,
    /// Bytes on disk.
    pub bytes: u64,
}

/// Measures the cache and the overlays.
pub fn cache_use(context: &Context) -> Result<CacheUse> {
    let block_bytes = context
        .cache
        .blocks()
        .used_bytes()
        .map_err(IoError::at("measure", &context.cache.dir))?;
    let mut overlays = Vec::new();
    for overlay in std::fs::read_dir(context.repository.join(OVERLAYS))
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = overlay.file_name().to_string_lossy().into_owned();
        overlays.push(OverlayUse {
            name,
            bytes: on_disk(&overlay.path()),
        });
    }
    overlays.sort();
    Ok(CacheUse {
        block_bytes,
        limit_bytes: context.cache.limit_bytes,
        overlays,
    })
}

/// Returns the number of bytes that the files below a directory take on disk.
fn on_disk(dir: &Path) -> u64 {
    // Files may vanish while they are counted, so an error counts as 0.
    let each = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => on_disk(&entry.path()),
        // `stat` counts blocks of 512 bytes on every file system.
        meta => meta.map_or(0, |m| m.blocks() * 512),
    };
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(each)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Silent;
    use crate::query::made::Made;

    #[test]
    fn branches_and_ranges() {
        let made = Made::new();
        for n in 1..=3 {
            made.commit("main", &n.to_string(), vec![]);
        }
        let all = du(&made.context, &DuOptions::default(), &Silent).unwrap();
        assert_eq!(
            (all.branches[0].versions, all.branches[0].stored_bytes),
            (3, 15)
        );
        let whole = all.repository.unwrap();
        assert!(
            whole.packs >= 3
                && whole.pack_bytes > 0
                && whole.index_bytes > 0
                && whole.ref_bytes > 0
        );
        let queries = vec![
            RevisionQuery::parse(b"main~2..").unwrap(),
            RevisionQuery::parse(b"main@v1").unwrap(),
        ];
        let some = du(
            &made.context,
            &DuOptions {
                queries,
                parts: None,
            },
            &Silent,
        )
        .unwrap();
        assert_eq!(
            some.versions
                .iter()
                .map(|v| v.commit.ordinal)
                .collect::<Vec<_>>(),
            [3, 2, 1]
        );
    }
}
