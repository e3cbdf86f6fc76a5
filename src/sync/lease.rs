//! The lease of a lazy clone on its remote. Commits that are not pushed rely on objects of the
//! versions on which they are based, and the remote knows of these commits only by the lease.

use super::state::{CloneLease, RemoteState};
use crate::error::{Result, with_causes};
use crate::format::lease::LeaseUse;
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::repo::Repo;
use crate::repo::leases::create_timed;
use crate::repo::writer::{RootCheck, is_collected};

/// Renews the lease on the remote `there` if the clone has commits that are not pushed, and deletes
/// it if the clone has none. Returns whether the state changed. A remote that cannot be written to
/// is not an error, because the commits themselves are safe; the user gets a warning.
pub fn renew_clone_lease(
    repo: &Repo,
    there: Result<&Repo>,
    state: &mut RemoteState,
    host: &str,
    now: i64,
    observer: &dyn Observer,
) -> Result<bool> {
    let bases = repo.bases_at_source()?;
    let old = state.lease.clone();
    if old.as_ref().is_some_and(|old| old.serves(&bases, now)) || bases.is_empty() && old.is_none()
    {
        return Ok(false);
    }
    let warn = |message: String| {
        observer.notice(Notice {
            level: NoticeLevel::Warning,
            path: Vec::new(),
            message,
        });
    };
    let renewed = there.and_then(|there| {
        let new = if bases.is_empty() {
            None
        } else {
            Some(create_timed(
                there.store(),
                host,
                LeaseUse::Lazy,
                &bases,
                now,
            )?)
        };
        if new.is_some() {
            let check = RootCheck::since(state.gc_number);
            match check.ensure_whole(there, &bases) {
                Err(e) if is_collected(&e) => warn(format!(
                    "the remote has deleted data on which unpushed commits are based: {}",
                    with_causes(&e)
                )),
                // Keep the lease if the check failed for another reason.
                _ => {}
            }
        }
        if let Some(old) = &old {
            // An old lease ends by itself.
            let _ = there.store().delete(&old.key);
        }
        Ok(new)
    });
    match renewed {
        Ok(new) => {
            state.lease = new.map(|new| CloneLease {
                key: new.key,
                versions: new.lease.versions.iter().map(ToString::to_string).collect(),
                made: new.lease.made,
                until: new.lease.until,
            });
            Ok(true)
        }
        Err(e) => {
            if old.is_none_or(|old| old.until <= now) {
                warn(format!(
                    "no lease on the remote, so the base of unpushed commits is kept only as long as the retention \
                     policy of the remote keeps it: {}",
                    with_causes(&e)
                ));
            }
            Ok(false)
        }
    }
}
