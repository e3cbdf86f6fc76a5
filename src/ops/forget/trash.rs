//! Lists the forgotten versions that still have their data.

use super::lines::BranchLines;
use super::target::Target;
use crate::context::Context;
use crate::error::Result;
use crate::model::id::Id;
use crate::query::forgotten::{ForgottenVersions, VersionData};

/// A version in the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrashedVersion {
    pub id: Id,
    /// `main@v3`, or the short id of a version that is on no branch.
    pub name: String,
    pub ordinal: u64,
    pub subject: String,
    /// Size in packs of the data that the version added, in bytes.
    pub stored_bytes: u64,
    /// When the version was forgotten, in seconds since 1970.
    pub time: i64,
    pub who: String,
    pub why: String,
}

/// Returns the versions whose data is in the trash, the last forgotten first.
pub fn trash(context: &Context) -> Result<Vec<TrashedVersion>> {
    let Target { repo, .. } = Target::open(context, false)?;
    let (trash, states) = (repo.forgotten()?, ForgottenVersions::read(&repo)?);
    let lines = BranchLines::read(&repo)?;
    let mut all = Vec::new();
    // The next gc may delete the data of the others.
    for (id, mention) in trash
        .forgotten()
        .filter(|(_, mention)| !mention.skips_trash())
    {
        // The commit of a deleted branch may be gone.
        let Ok(commit) = repo.commit_cached(id) else {
            continue;
        };
        if states.data(id, &commit)? == VersionData::InTrash {
            all.push(TrashedVersion {
                id: *id,
                name: lines.name(id),
                ordinal: commit.ordinal,
                subject: commit.subject().to_owned(),
                stored_bytes: commit.counts.stored_bytes,
                time: mention.time,
                who: mention.who.clone(),
                why: mention.why.clone(),
            });
        }
    }
    all.sort_by(|a, b| (b.time, b.ordinal, &a.name).cmp(&(a.time, a.ordinal, &b.name)));
    Ok(all)
}
