//! `du`: what versions, branches and the repository as a whole take.
//!
//! Versions say themselves what they added, so nothing but commits, refs and the lengths of files is read.

use super::mount::OVERLAYS;
use crate::context::Context;
use crate::error::{Kind, Result};
use crate::model::commit::Commit;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::RevisionQuery;
use crate::observe::Observer;
use crate::ops::gc::on_disk;
use crate::query::history::{Commits, Walk, ancestors};
use crate::query::resolve::Resolver;
use crate::repo::refs::report_damaged;
use crate::repo::{Repo, layout};

/// Options of `du`.
#[derive(Clone, Debug, Default)]
pub struct DuOptions {
    /// Versions and ranges to tell about; the branches and the whole repository if empty.
    pub queries: Vec<RevisionQuery>,
}

/// What a version takes.
#[derive(Clone, Debug)]
pub struct VersionUse {
    /// Its id.
    pub id: Id,
    /// What it says, with its counts.
    pub commit: Commit,
}

/// What a branch takes.
#[derive(Clone, Debug)]
pub struct BranchUse {
    /// Its name.
    pub name: RefName,
    /// Versions along first parents.
    pub versions: u64,
    /// Files of its tip.
    pub files: u64,
    /// Bytes of all files of its tip.
    pub bytes: u64,
    /// Bytes of all files of all its versions.
    pub all_bytes: u64,
    /// Bytes that its versions were the first to bring.
    pub new_bytes: u64,
    /// What those take in packs.
    pub stored_bytes: u64,
}

/// What lies in the repository's directory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepositoryUse {
    /// How many packs.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Index segments.
    pub index_bytes: u64,
    /// Refs and their logs.
    pub ref_bytes: u64,
    /// The catalogue and other state, which can be made again or is local.
    pub state_bytes: u64,
}

/// What takes how much.
#[derive(Clone, Debug, Default)]
pub struct DuReport {
    /// The versions that were asked for.
    pub versions: Vec<VersionUse>,
    /// All branches, where nothing was asked for.
    pub branches: Vec<BranchUse>,
    /// The whole, where nothing was asked for.
    pub repository: Option<RepositoryUse>,
}

/// Runs `du`.
pub fn du(context: &Context, options: &DuOptions, observer: &dyn Observer) -> Result<DuReport> {
    let repo = context.repo()?;
    let mut report = DuReport::default();
    if options.queries.is_empty() {
        for tip in repo.refs().readable(RefKind::Branch)?.or_report(observer) {
            match branch_use(&repo, tip.name, tip.id) {
                Err(e) if e.kind() == Kind::Integrity => report_damaged(&e, observer),
                branch => report.branches.push(branch?),
            }
            if observer.cancelled() {
                return Ok(report);
            }
        }
        report.repository = Some(repository_use(&repo)?);
        return Ok(report);
    }
    let resolver = Resolver::new(&repo, context)?;
    for query in &options.queries {
        match query {
            RevisionQuery::One(spec) => {
                let id = resolver.whole(spec)?;
                report.versions.push(VersionUse { id, commit: repo.commit_cached(&id)? });
            }
            RevisionQuery::Range(range) => {
                let (from, to) = (resolver.revision(&range.from)?, resolver.revision(&range.to)?);
                let (tips, hidden) = if range.symmetric {
                    let left = ancestors(&repo, &from)?;
                    let both = ancestors(&repo, &to)?.into_iter().filter(|id| left.contains(id)).collect();
                    (vec![from, to], both)
                } else {
                    (vec![to], vec![from])
                };
                for version in Walk::new(&repo, &tips, &hidden)? {
                    let (id, commit) = version?;
                    report.versions.push(VersionUse { id, commit });
                }
            }
        }
    }
    Ok(report)
}

fn branch_use(repo: &Repo, name: RefName, tip: Id) -> Result<BranchUse> {
    let mut sum = BranchUse { name, versions: 0, files: 0, bytes: 0, all_bytes: 0, new_bytes: 0, stored_bytes: 0 };
    for version in Commits::new(repo).first_parents(tip) {
        let counts = version?.1.counts;
        if sum.versions == 0 {
            (sum.files, sum.bytes) = (counts.files, counts.bytes);
        }
        sum.versions += 1;
        sum.all_bytes = sum.all_bytes.saturating_add(counts.bytes);
        sum.new_bytes = sum.new_bytes.saturating_add(counts.new_bytes);
        sum.stored_bytes = sum.stored_bytes.saturating_add(counts.stored_bytes);
    }
    Ok(sum)
}

fn repository_use(repo: &Repo) -> Result<RepositoryUse> {
    let mut sum = RepositoryUse::default();
    (sum.packs, sum.pack_bytes) = below(repo, layout::PACKS)?;
    sum.index_bytes = below(repo, layout::INDEX)?.1;
    sum.ref_bytes = below(repo, "refs")?.1;
    for listed in repo.store().list("")? {
        match listed.name.as_str() {
            layout::PACKS | layout::INDEX | "refs" => {}
            // Sparse files: what they take is not their length.
            OVERLAYS => sum.state_bytes += repo.as_local().map_or(0, |_| on_disk(&repo.path().join(OVERLAYS))),
            name if listed.is_dir => sum.state_bytes += below(repo, name)?.1,
            _ => sum.state_bytes += listed.len,
        }
    }
    Ok(sum)
}

/// Files and bytes below a folder.
fn below(repo: &Repo, dir: &str) -> Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for listed in repo.store().list(dir)? {
        if listed.is_dir {
            let (more_files, more_bytes) = below(repo, &format!("{dir}/{}", listed.name))?;
            files += more_files;
            bytes += more_bytes;
        } else {
            files += 1;
            bytes += listed.len;
        }
    }
    Ok((files, bytes))
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
        assert_eq!((all.branches[0].versions, all.branches[0].stored_bytes), (3, 15));
        let whole = all.repository.unwrap();
        assert!(whole.packs >= 3 && whole.pack_bytes > 0 && whole.index_bytes > 0 && whole.ref_bytes > 0);
        let queries = vec![RevisionQuery::parse(b"main~2..").unwrap(), RevisionQuery::parse(b"main@v1").unwrap()];
        let some = du(&made.context, &DuOptions { queries }, &Silent).unwrap();
        assert_eq!(some.versions.iter().map(|v| v.commit.ordinal).collect::<Vec<_>>(), [3, 2, 1]);
    }
}
