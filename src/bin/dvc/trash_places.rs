//! The places with a trash: the current repository, other repositories with overlays, and the
//! volumes of this machine.

use crate::commands::overlays;
use crate::failure::Failed;
use crate::machine::volumes;
use crate::session::Session;
use dvc::context::Context;
use dvc::error::Kind;
use dvc::ops::trash::TrashScope;
use dvc::ops::volume::Volumes;
use std::path::PathBuf;
use std::time::Duration;

/// The places with a trash.
pub(crate) struct TrashPlaces {
    /// The current repository; `None` outside of repositories.
    pub(crate) context: Option<Context>,
    repositories: Vec<PathBuf>,
    volumes: Option<Volumes>,
    keep_versions: Option<Duration>,
    keep_local: Duration,
}

impl TrashPlaces {
    /// Returns all places that this run can find.
    pub(crate) fn of(session: &Session) -> Result<Self, Failed> {
        let is_named = session.named_repository().is_some();
        let context = match session.anywhere() {
            Ok((_, context)) => Some(context),
            Err(Failed::Operation(e)) if e.kind() == Kind::NoRepository && !is_named => None,
            Err(e) => return Err(e),
        };
        // If the volumes cannot be found, the other places are still listed.
        let volumes = match volumes(session) {
            _ if is_named => None,
            Ok(volumes) => Some(volumes),
            Err(e) => {
                session.report_failure(&e);
                None
            }
        };
        let settings = session.settings()?;
        let keep = |key| Duration::from_secs(settings.number(key).unwrap_or(0));
        Ok(Self {
            context,
            repositories: overlays::repositories(session),
            volumes,
            keep_versions: Some(keep("gc.keep-trash")),
            keep_local: keep("gc.keep-local-trash"),
        })
    }

    /// Leaves out other repositories than the current one, if there is one, and forgotten versions,
    /// whose list needs all branches to be intact.
    pub(crate) fn here_only(mut self) -> Self {
        self.keep_versions = None;
        if let Some(context) = &self.context {
            self.repositories = vec![context.repository.clone()];
        }
        self
    }

    /// Returns only what belongs to one repository.
    pub(crate) fn of_repository(session: &Session, context: &Context) -> Result<Self, Failed> {
        let settings = session.settings()?;
        let keep = |key| Duration::from_secs(settings.number(key).unwrap_or(0));
        Ok(Self {
            context: Some(context.clone()),
            repositories: vec![context.repository.clone()],
            volumes: None,
            keep_versions: Some(keep("gc.keep-trash")),
            keep_local: keep("gc.keep-local-trash"),
        })
    }

    /// Returns the places for the library.
    pub(crate) fn scope(&self) -> TrashScope<'_> {
        TrashScope {
            context: self.context.as_ref(),
            repositories: self.repositories.clone(),
            volumes: self.volumes.as_ref(),
            keep_versions: self.keep_versions,
            keep_local: self.keep_local,
        }
    }
}
