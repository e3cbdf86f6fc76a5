//! The versions that must not be forgotten, and why: values of refs, and what worktrees, overlays
//! and mounts need.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::error::ForgetError;
use super::target::Target;
use crate::error::Result;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::ops::gc::{lease_roots, loose_roots};

/// The reason why a version must not be forgotten.
#[derive(Clone, Debug)]
enum Holder {
    Ref(RefKind, RefName),
    /// The name of a root without a log, such as `worktree /srv/db`.
    Loose(String),
}

impl Holder {
    fn text(&self) -> String {
        match self {
            Self::Ref(RefKind::Branch, name) => format!("tip of branch {name}"),
            Self::Ref(RefKind::Tag, name) => format!("tag {name}"),
            Self::Ref(RefKind::Remote, name) => format!("remote branch {name}"),
            Self::Ref(RefKind::Trash, name) => format!("trash of worktree {name}"),
            Self::Loose(name) => name.clone(),
        }
    }
}

/// The protected versions.
pub(super) struct Protections(HashMap<Id, Vec<Holder>>);

impl Protections {
    /// Reads all holders. A damaged ref is an error, because its version would look unneeded.
    pub(super) fn read(target: &Target<'_>, run: &Path) -> Result<Self> {
        let mut all: HashMap<Id, Vec<Holder>> = HashMap::new();
        for kind in RefKind::STORED {
            for tip in target.repo.refs().list(kind)? {
                all.entry(tip.id)
                    .or_default()
                    .push(Holder::Ref(kind, tip.name));
            }
        }
        // Worktrees and mounts belong to the local repository.
        let is_local =
            target.repo.as_local().is_some() && target.context.remote_repository.is_none();
        let loose = if is_local {
            loose_roots(target.context, &target.repo, run, &BTreeSet::new())?
        } else {
            lease_roots(&target.repo)?
        };
        for root in loose {
            all.entry(root.id)
                .or_default()
                .push(Holder::Loose(root.name));
        }
        Ok(Self(all))
    }

    /// Returns the reasons to keep a version; none if it may be forgotten.
    pub(super) fn reasons(&self, id: &Id) -> Vec<String> {
        self.0
            .get(id)
            .into_iter()
            .flatten()
            .map(Holder::text)
            .collect()
    }

    /// Fails if a version that the user named is protected.
    pub(super) fn ensure_free(&self, id: &Id, version: String) -> Result<(), ForgetError> {
        let holders = self.0.get(id).map(Vec::as_slice).unwrap_or_default();
        let by_ref = holders.iter().find_map(|holder| match holder {
            Holder::Ref(kind, name) => Some((*kind, name.to_string(), holder.text())),
            Holder::Loose(_) => None,
        });
        match (by_ref, holders.first()) {
            (Some((kind, name, holder)), _) => Err(ForgetError::Named {
                version,
                holder,
                kind,
                name,
            }),
            (None, Some(holder)) => Err(ForgetError::Held {
                version,
                holder: holder.text(),
            }),
            (None, None) => Ok(()),
        }
    }
}
