//! Lazy clones: whether refs need objects that are not local, and the remote that has these
//! objects.

use std::path::Path;

use super::handle::{LocalRepo, Repo};
use super::layout;
use crate::error::Result;
use crate::model::id::{Id, ObjectKind};
use crate::store::Store;

impl LocalRepo<'_> {
    /// Records durably that refs may need objects that are missing locally and are at the URL
    /// `from`.
    pub fn set_partial(&self, from: &str) -> Result<()> {
        // The file must exist before a ref needs a missing object, which would otherwise count as
        // damage.
        self.files().create(layout::PARTIAL, from.as_bytes())?;
        Ok(())
    }

    /// Records that all objects that the refs need are local.
    pub fn set_whole(&self) -> Result<()> {
        Ok(self.files().delete(layout::PARTIAL)?)
    }
}

impl Repo {
    /// Returns whether some objects may be only on a remote.
    pub fn is_lazy(&self) -> bool {
        self.options.lazy_source.is_some()
    }

    /// Returns the URL of the remote that has the missing objects of the repository at `root`;
    /// empty if the URL is unknown. `None` if all objects that its refs need are local.
    pub fn partial(root: &Path) -> Option<String> {
        match std::fs::read(root.join(layout::PARTIAL)) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            // If the file is unreadable, assume that objects may be missing. Otherwise they would
            // be reported as damage.
            Err(_) => Some(String::new()),
        }
    }

    /// Returns the remote repository of a lazy clone; opened on first use. `None` if this
    /// repository is not a lazy clone.
    pub fn lazy_source(&self) -> Result<Option<&Self>> {
        let Some(open) = &self.options.lazy_source else {
            return Ok(None);
        };
        self.lazy.get(&**open, &self.marker().id).map(Some)
    }

    /// Returns the remote repository of a lazy clone if it is already open.
    pub(super) fn opened_lazy_source(&self) -> Option<&Self> {
        self.lazy.opened()
    }

    /// Returns whether this repository or the remote of a lazy clone has an object.
    pub fn knows(&self, kind: ObjectKind, id: &Id) -> Result<bool> {
        Ok(self.has(kind, id)? || self.is_at_source(kind, id)?)
    }

    /// Returns whether the remote of a lazy clone has an object. Returns false during an outage, so
    /// that a commit stores the object locally, too.
    pub(super) fn is_at_source(&self, kind: ObjectKind, id: &Id) -> Result<bool> {
        if self.lazy.outage.current().is_some() {
            return Ok(false);
        }
        match self
            .lazy_source()
            .and_then(|source| source.map_or(Ok(false), |source| source.knows(kind, id)))
        {
            Err(e) if self.lazy.outage.record(&e) => Ok(false),
            known => known,
        }
    }
}
