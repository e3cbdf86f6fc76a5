//! `remote check` and `remote rm`: whether a remote can be reached, written to, and relied on; forgetting one.

use super::push::track;
use crate::context::Context;
use crate::context::Remote;
use crate::context::reach::Reach;
use crate::error::Result;
use crate::model::refname::{RefKind, RefName};
use crate::observe::Observer;
use crate::sync::tips;

/// How a remote is.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// Its name.
    pub remote: String,
    /// Its URL.
    pub url: String,
    /// The repository's id; `None` where there is none yet.
    pub repository: Option<String>,
    /// Whether it is a copy of the repository here.
    pub same: Option<bool>,
    /// Refs there.
    pub refs: usize,
    /// Whether the store decides races itself; else an intent lock guards them.
    pub exclusive: bool,
    /// Seconds that one small request took.
    pub answer_secs: f64,
    /// Requests that were sent.
    pub requests: u64,
    /// No object there may be longer, in bytes.
    pub object_max: u64,
}

/// Reaches a remote, writes to it and removes that again.
pub fn check(context: &Context, remote: &Remote, observer: &dyn Observer) -> Result<CheckReport> {
    let mut reach = Reach::new(context, remote)?;
    let before = remote.access.meter.requests();
    let began = std::time::Instant::now();
    let theirs = reach.marker()?;
    let answer_secs = began.elapsed().as_secs_f64();
    reach.probe(true)?;
    let mut refs = 0;
    if theirs.is_some() {
        let tips = tips::read(&**reach.store().direct())?;
        refs = tips.len();
        reach.reached(&tips, observer);
        reach.save()?;
    }
    let ours = context.repo().ok().filter(|_| context.far.is_none()).map(|repo| repo.marker().id.clone());
    let repository = theirs.map(|marker| marker.id);
    let abilities = crate::store::Store::abilities(&**reach.store());
    Ok(CheckReport {
        object_max: abilities.object_max,
        remote: remote.name.clone(),
        url: remote.location.to_string(),
        same: repository.as_ref().zip(ours).map(|(theirs, ours)| *theirs == ours),
        repository,
        refs,
        exclusive: abilities.exclusive,
        answer_secs,
        requests: remote.access.meter.requests() - before,
    })
}

/// Forgets the branches of a remote that is removed.
pub fn forget(context: &Context, name: &str) -> Result<()> {
    let repo = context.repo()?;
    let prefix = format!("{name}/");
    for tip in repo.refs().readable(RefKind::Remote)?.tips {
        if let Some(branch) = tip.name.as_str().strip_prefix(&prefix) {
            track(context, &repo, name, &RefName::new(branch)?, None, "remote rm")?;
        }
    }
    Ok(())
}
