//! The source of a mount: `REV` of the current repository, `URL#REV`, or `URL` for the default
//! branch.
//!
//! A repository on another machine is read through a lazy clone below the state directory, which
//! all mounts of its URL share.

use crate::dirs;
use crate::failure::{CliError, Failed};
use crate::place::RepoPlace;
use crate::remotes::{ORIGIN, write_remote};
use crate::session::Session;
use dvc::codec::hash::checksum;
use dvc::context::Context;
use dvc::error::{Error, Kind};
use dvc::model::id::to_hex;
use dvc::model::revision::{Revision, RevisionBase, RevisionSpec};
use dvc::observe::{Notice, NoticeLevel, Observer};
use dvc::ops::clone::{CloneOptions, clone};
use dvc::ops::fetch::{FetchOptions, fetch};
use dvc::ops::mount::{OVERLAYS, default_branch, follow_origin};
use dvc::repo::Repo;
use dvc::store::location::Location;
use dvc::sys::create;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A volume retries an unreachable remote for only this long, because Docker gives up on a mount
/// after a while without saying why.
const VOLUME_PATIENCE: Duration = Duration::from_secs(15);

/// Largest number of characters of a URL in the name of its lazy clone, because a name holds at
/// most 255 bytes.
const READABLE_MAX: usize = 100;

/// A repository and the version of it to mount.
pub(crate) struct MountSource {
    pub(crate) place: RepoPlace,
    pub(crate) revision: Revision,
    /// The session with the settings of the repository at the URL, if the source is a URL.
    clone_session: Option<Session>,
}

/// Why a source is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose<'a> {
    /// A command of the user.
    Command,
    /// A dry run: no clone is created or updated.
    DryRun,
    /// The mount of a volume with this overlay. It must also succeed while the remote cannot be
    /// reached.
    Volume { overlay: Option<&'a str> },
}

impl MountSource {
    /// Opens `REV`, `URL#REV` or `URL`.
    pub(crate) fn open(
        session: &Session,
        text: &str,
        purpose: Purpose<'_>,
    ) -> Result<Self, Failed> {
        let SourceName {
            spec,
            names_version,
        } = SourceName::parse(text)?;
        if spec.path.is_some() {
            return Err(CliError::option("REV", "expected a version without a path").into());
        }
        let Some(url) = spec.url.or_else(|| named_url(session)) else {
            return Ok(Self {
                place: session.place()?,
                revision: spec.revision,
                clone_session: None,
            });
        };
        let (place, clone_session) = open_url(session, purpose, &url)?;
        let revision = if names_version {
            spec.revision
        } else {
            let branch = default_branch(&clone_session.context(&place)?)?;
            Revision {
                base: RevisionBase::Name(branch),
                suffixes: Vec::new(),
            }
        };
        Ok(Self {
            place,
            revision,
            clone_session: Some(clone_session),
        })
    }

    /// Returns the session whose settings apply: that of the repository at the URL, or `session`.
    pub(crate) fn session<'s>(&'s self, session: &'s Session) -> &'s Session {
        self.clone_session.as_ref().unwrap_or(session)
    }

    /// Returns whether the source is the lazy clone that all mounts of a URL share.
    pub(crate) fn is_shared_clone(&self) -> bool {
        self.clone_session.is_some()
            && self.place.remote_url.is_none()
            && self.place.repository.parent() == Some(&clones())
    }
}

/// Returns the directory of the lazy clones that mounts share.
pub(crate) fn clones() -> PathBuf {
    dirs::state().join("clones")
}

/// Checks the URLs that a mount will use, and warns about passwords in them.
pub(crate) fn check_urls(session: &Session, text: Option<&str>) -> Result<(), Failed> {
    let in_argument = text.and_then(|text| SourceName::parse(text).ok()?.spec.url);
    for url in in_argument.into_iter().chain(named_url(session)) {
        session.location(&url)?;
    }
    Ok(())
}

struct SourceName {
    spec: RevisionSpec,
    /// Whether the text names a version, not only a repository.
    names_version: bool,
}

impl SourceName {
    /// Parses `REV`, `URL#REV` or `URL`.
    fn parse(text: &str) -> Result<Self, Failed> {
        // A revision neither starts with a slash nor has one after a colon.
        let is_url = !text.contains('#')
            && (text.contains("://") || text.starts_with('/') || text.contains(":/"));
        if is_url {
            let revision = Revision {
                base: RevisionBase::Head,
                suffixes: Vec::new(),
            };
            let spec = RevisionSpec {
                url: Some(text.to_owned()),
                revision,
                path: None,
            };
            return Ok(Self {
                spec,
                names_version: false,
            });
        }
        Ok(Self {
            spec: RevisionSpec::parse_located(text.as_bytes()).map_err(Error::from)?,
            names_version: true,
        })
    }
}

/// Returns the URL that `--repo` or `DVC_REPO` names, if it is one.
fn named_url(session: &Session) -> Option<String> {
    session
        .named_repository()
        .and_then(|p| p.to_str().map(str::to_owned))
        .filter(|text| Location::is_url(text))
}

/// Opens the repository at a URL, with the settings that apply to it. A repository on another
/// machine is cloned, or its existing clone is updated; a dry run uses the clone as it is, or
/// without a clone the remote repository itself.
fn open_url(
    session: &Session,
    purpose: Purpose<'_>,
    url: &str,
) -> Result<(RepoPlace, Session), Failed> {
    let location = session.location(url)?;
    let repository = match location.as_directory() {
        Some(dir) => dir.to_path_buf(),
        None => clones().join(clone_name(&location)),
    };
    let place = RepoPlace {
        repository: repository.clone(),
        worktree: session.current.clone(),
        prefix: PathBuf::new(),
        remote_url: None,
        mount: None,
    };
    // Use the settings of the clone, because they name its origin. The settings of the current
    // directory are about another repository.
    let own = session.in_repository(&repository);
    if location.as_directory().is_some() {
        return Ok((place, own));
    }
    // A dry run must not create a clone.
    if purpose == Purpose::DryRun {
        let remote_url = (!Repo::is_at(&repository)).then(|| url.to_owned());
        return Ok((
            RepoPlace {
                remote_url,
                ..place
            },
            own,
        ));
    }
    let failed = |source| CliError::File {
        doing: "create",
        path: repository.clone(),
        source,
    };
    // Other users may enter the state directory, because the mount points of volumes are in it.
    create::dir_all(&dirs::state())
        .and_then(|()| create::private_dir(repository.parent().unwrap_or(&repository)))
        .and_then(|()| create::private_dir(&repository))
        .map_err(failed)?;
    // Two commands may mount the same URL at the same time. The lock makes them share one clone.
    let _lock = create::open_private(
        &repository.with_extension("lock"),
        File::options().write(true),
    )
    .and_then(|lock| lock.lock().map(|()| lock))
    .map_err(failed)?;
    if Repo::is_at(&repository) {
        update_clone(session, &own, &place, purpose)?;
    } else {
        make_clone(session, &own, &place, &location, purpose)?;
    }
    Ok((place, own))
}

/// Returns the name of the directory of the lazy clone of a URL.
fn clone_name(location: &Location) -> String {
    let url = location.to_string();
    // The readable part is the same for `s3://b/a-b` and `s3://b/a/b`, so it needs the hash.
    let readable: String = url
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(READABLE_MAX)
        .collect();
    format!("{readable}-{}", to_hex(&checksum(&[url.as_bytes()])))
}

fn patience(purpose: Purpose<'_>) -> Option<Duration> {
    matches!(purpose, Purpose::Volume { .. }).then_some(VOLUME_PATIENCE)
}

/// Fetches into a shared clone and moves its branches, unless the clone has no remote, the network
/// is off, or the overlay to mount exists, whose version is already local. For a volume, an
/// unreachable remote is not an error.
fn update_clone(
    session: &Session,
    own: &Session,
    place: &RepoPlace,
    purpose: Purpose<'_>,
) -> Result<(), Failed> {
    let context = own.context(place)?;
    let has_overlay = match purpose {
        Purpose::Volume {
            overlay: Some(name),
        } => overlay_dir(&place.repository, name).exists(),
        _ => false,
    };
    if context.remotes.is_empty() || own.settings()?.on("network.offline") || has_overlay {
        return Ok(());
    }
    let mut remote = own.remote(&context, ORIGIN)?;
    remote.access.patience = patience(purpose);
    let progress = session.progress()?;
    match fetch(&context, &remote, &FetchOptions::default(), &progress) {
        // A volume can be mounted without the network.
        Err(e) if matches!(purpose, Purpose::Volume { .. }) && e.kind() == Kind::Unreachable => {
            let message = format!("using the local state of the clone: {e}");
            progress.notice(Notice {
                level: NoticeLevel::Info,
                path: Vec::new(),
                message,
            });
            Ok(())
        }
        fetched => {
            fetched?;
            follow(&context)
        }
    }
}

fn overlay_dir(repository: &Path, name: &str) -> PathBuf {
    repository.join(OVERLAYS).join(name)
}

fn make_clone(
    session: &Session,
    own: &Session,
    place: &RepoPlace,
    location: &Location,
    purpose: Purpose<'_>,
) -> Result<(), Failed> {
    let mut origin = session.unnamed(location.clone())?;
    ORIGIN.clone_into(&mut origin.name);
    origin.lazy = true;
    origin.access.patience = patience(purpose);
    let settle = || write_remote(place, ORIGIN, location, true);
    let options = CloneOptions {
        no_checkout: true,
        ..CloneOptions::default()
    };
    match clone(
        &session.context(place)?,
        &origin,
        &options,
        &settle,
        &session.progress()?,
    ) {
        // The remote has no default branch. The revision names the branch to mount.
        Err(e) if e.kind() == Kind::NotFound => {}
        done => drop(done?),
    }
    follow(&own.context(place)?)
}

/// Moves the branches of a shared clone, in which no user works, to those of its remote.
fn follow(context: &Context) -> Result<(), Failed> {
    Ok(follow_origin(context)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_url_has_a_clone_of_its_own() {
        let name = |url: &str| clone_name(&Location::parse(url, Path::new("/")).unwrap().location);
        assert_ne!(name("s3://b/a-b"), name("s3://b/a/b"));
        assert_eq!(name("s3://b/a/b"), name("s3://b/a/b/"));
        assert!(name("s3://b/a/b").starts_with("s3---b-a-b-"));
        assert!(name(&format!("s3://b/{}", "a/".repeat(500))).len() <= 255);
    }
}
