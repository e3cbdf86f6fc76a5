//! Forgotten versions: which of them still have their data, and the error for those that do not.
//!
//! A version that was forgotten is in the trash until a gc has collected its data. Only the commit
//! object is left then.

use crate::context::Context;
use crate::error::{Failure, Kind, Result};
use crate::format::pack::PackKind;
use crate::model::commit::Commit;
use crate::model::id::{Id, ObjectKind};
use crate::model::refname::RefKind;
use crate::query::history::CommitReader;
use crate::repo::Repo;
use crate::repo::trashlog::{TrashMention, TrashState};
use crate::repo::whole::CopyDemand;

/// The part of a version that a repository has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionData {
    /// The version is not forgotten.
    Kept,
    /// The version is forgotten, but still has its data.
    InTrash,
    /// Only the commit object is left.
    Collected,
}

/// A forgotten version, for a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgottenMark {
    /// When the version was forgotten, in seconds since 1970.
    pub time: i64,
    pub why: String,
    pub is_collected: bool,
}

/// The version with which another one is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionBefore {
    pub id: Id,
    pub tree: Id,
}

/// The forgotten versions of a repository.
pub struct ForgottenVersions<'r> {
    repo: &'r Repo,
    trash: TrashState,
}

impl<'r> ForgottenVersions<'r> {
    /// Reads the trash log.
    pub fn read(repo: &'r Repo) -> Result<Self> {
        let trash = repo.forgotten()?;
        // Without the gc log, `live_copy` would count copies in dead packs.
        if trash.forgotten().next().is_some() {
            repo.read_gc_log()?;
        }
        Ok(Self { repo, trash })
    }

    /// Returns the part of a version that the repository has. Only the root of the tree is looked
    /// up, because listings ask for thousands of versions.
    pub fn data(&self, id: &Id, commit: &Commit) -> Result<VersionData> {
        let Some(mention) = self.trash.mention(id) else {
            return Ok(VersionData::Kept);
        };
        let has_root = || -> Result<bool> {
            let is_local = self
                .repo
                .live_copy(PackKind::of(ObjectKind::Tree), &commit.tree)?
                .is_some();
            Ok(is_local
                || self.repo.is_lazy() && self.repo.knows(ObjectKind::Tree, &commit.tree)?)
        };
        // A lazy clone may find the data at its source.
        let is_collected = mention.is_without_data() && !self.repo.is_lazy() || !has_root()?;
        Ok(if is_collected {
            VersionData::Collected
        } else {
            VersionData::InTrash
        })
    }

    /// Returns when and why a version was forgotten; `None` if it is not.
    pub fn mark(&self, id: &Id, commit: &Commit) -> Result<Option<ForgottenMark>> {
        let Some(mention) = self.trash.mention(id) else {
            return Ok(None);
        };
        let is_collected = self.data(id, commit)? == VersionData::Collected;
        Ok(Some(ForgottenMark {
            time: mention.time,
            why: mention.why.clone(),
            is_collected,
        }))
    }

    /// Returns the nearest ancestor along first parents that still has its data: the version with
    /// which `commit` is compared.
    pub fn before(&self, commit: &Commit) -> Result<Option<VersionBefore>> {
        let mut next = commit.parents.first().copied();
        while let Some(id) = next {
            let parent = self.repo.commit_cached(&id)?;
            if self.data(&id, &parent)? != VersionData::Collected {
                return Ok(Some(VersionBefore {
                    id,
                    tree: parent.tree,
                }));
            }
            next = parent.parents.first().copied();
        }
        Ok(None)
    }
}

/// The error for a version whose data is collected.
#[derive(Debug, thiserror::Error)]
#[error("{name} was forgotten on {date}, and its data has been deleted")]
pub struct ForgottenError {
    /// `main@v3`, or the short id of a version that is on no branch.
    pub name: String,
    pub date: String,
    /// The nearest versions of the branch that are not forgotten.
    pub near: Vec<String>,
}

impl Failure for ForgottenError {
    fn kind(&self) -> Kind {
        Kind::NotFound
    }

    fn hint(&self) -> Option<String> {
        Some(match self.near.as_slice() {
            [] => "run `dvc log` to list the versions that are kept".to_owned(),
            near => format!("the nearest kept versions are {}", near.join(" and ")),
        })
    }
}

/// Fails if the data of a version was collected after the version was forgotten.
pub fn ensure_readable(context: &Context, repo: &Repo, id: &Id) -> Result<()> {
    let is_plain = repo.as_local().is_some() && !repo.is_lazy();
    // A remote repository answers from the index that the caller reads anyway.
    if !is_plain && repo.knows(ObjectKind::Tree, &repo.commit_cached(id)?.tree)? {
        return Ok(());
    }
    // A lazy clone may not have the entry yet, but its source has.
    let mut trash = repo.forgotten()?;
    if !trash.contains(id)
        && let Some(source) = repo.lazy_source()?
    {
        trash = source.forgotten()?;
    }
    let Some(mention) = trash.mention(id) else {
        return Ok(());
    };
    if is_plain {
        // A gc may have ended since the index was opened.
        repo.read_gc_log()?;
        repo.refresh_index()?;
        if repo
            .versions_without_data(&[*id], CopyDemand::Exists)?
            .is_empty()
        {
            return Ok(());
        }
    }
    Err(forgotten_error(context, repo, id, mention, &trash)?.into())
}

/// Returns the error for a version whose data is collected.
pub fn forgotten_error(
    context: &Context,
    repo: &Repo,
    id: &Id,
    mention: &TrashMention,
    trash: &TrashState,
) -> Result<ForgottenError> {
    let mut found = ForgottenError {
        name: id.short(),
        date: date(context, mention.time),
        near: Vec::new(),
    };
    for tip in repo.refs().readable(RefKind::Branch)?.tips {
        let (mut newer, mut is_past) = (None, false);
        for version in CommitReader::new(repo).first_parents(tip.id) {
            // Damage of another branch must not replace this error.
            let Ok((version, commit)) = version else {
                break;
            };
            let name = || format!("{}@v{}", tip.name, commit.ordinal);
            // The versions come from new to old. The last kept one before the match is the nearest
            // newer one, and the first kept one after the match is the nearest older one.
            if version == *id {
                found.name = name();
                is_past = true;
            } else if !trash.contains(&version) {
                if is_past {
                    found.near.push(name());
                    break;
                }
                newer = Some(name());
            }
        }
        if is_past {
            found.near.extend(newer);
            break;
        }
        found.near.clear();
    }
    Ok(found)
}

/// Returns the date of a time in the user's time zone, as `YYYY-MM-DD`.
pub fn date(context: &Context, secs: i64) -> String {
    let time = jiff::Timestamp::from_second(secs).unwrap_or_default();
    time.to_zoned(context.now.time_zone().clone())
        .strftime("%Y-%m-%d")
        .to_string()
}
