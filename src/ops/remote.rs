//! `remote check` and `remote rm`: checks the access to a remote, and removes what is stored about
//! it.

use crate::context::Context;
use crate::context::Remote;
use crate::context::remote_access::RemoteAccess;
use crate::error::Result;
use crate::model::refname::{RefKind, RefName};
use crate::observe::Observer;
use crate::refs::tracking::track;
use crate::repo::writer::{NewValue, WriteSession};
use crate::sync::tips;

/// The result of `remote check`.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// The name of the remote.
    pub remote: String,
    pub url: String,
    /// The id of the repository; `None` if the remote has none yet.
    pub repository: Option<String>,
    /// Whether the remote is a copy of the local repository; `None` if one of the two does not
    /// exist.
    pub same: Option<bool>,
    /// The number of remote refs.
    pub refs: usize,
    /// Whether the store supports conditional writes. Otherwise lock objects guard refs.
    pub exclusive: bool,
    /// The duration of one small request, in seconds.
    pub answer_secs: f64,
    /// Requests that the check sent.
    pub requests: u64,
    /// The maximum length of an object, in bytes.
    pub object_max: u64,
}

/// Reads the marker and the refs of a remote, and checks that an object can be written and removed.
pub fn check(context: &Context, remote: &Remote, observer: &dyn Observer) -> Result<CheckReport> {
    let mut reach = RemoteAccess::new(context, remote)?;
    let before = remote.access.meter.requests();
    let began = std::time::Instant::now();
    let theirs = reach.marker()?;
    let answer_secs = began.elapsed().as_secs_f64();
    reach.probe(true)?;
    let mut refs = 0;
    if theirs.is_some() {
        let tips = tips::read(&**reach.store().direct())?;
        refs = tips.len();
        reach.record_tips(&tips, observer);
        reach.save()?;
    }
    // A remote can be checked without a local repository.
    let ours = context
        .repo()
        .ok()
        .filter(|_| context.remote_repository.is_none())
        .map(|repo| repo.marker().id.clone());
    let repository = theirs.map(|marker| marker.id);
    let abilities = crate::store::Store::abilities(&**reach.store());
    Ok(CheckReport {
        object_max: abilities.object_max,
        remote: remote.name.clone(),
        url: remote.location.to_string(),
        same: repository
            .as_ref()
            .zip(ours)
            .map(|(theirs, ours)| *theirs == ours),
        repository,
        refs,
        exclusive: abilities.exclusive,
        answer_secs,
        requests: remote.access.meter.requests() - before,
    })
}

/// Removes the tracking refs of a removed remote.
pub fn forget(context: &Context, name: &str) -> Result<()> {
    let repo = context.repo()?;
    let session = WriteSession::begin(&repo)?;
    let prefix = format!("{name}/");
    for tip in repo.refs().readable(RefKind::Remote)?.tips {
        if let Some(branch) = tip.name.as_str().strip_prefix(&prefix) {
            track(
                context,
                &session,
                name,
                &RefName::new(branch)?,
                NewValue::Deleted,
                "remote rm",
            )?;
        }
    }
    Ok(())
}
