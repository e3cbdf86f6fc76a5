//! Treats metadata that a checkout could not restore for lack of privilege as unchanged.
//!
//! A scanned directory gets the recorded owner, mode, xattrs and devices wherever the file is in
//! the state that such a checkout must have left.

use std::collections::BTreeSet;

use crate::error::{Kind, Result};
use crate::model::entry::{Entry, Meta, Node};
use crate::model::id::Id;
use crate::model::path;
use crate::repo::Repo;
use crate::repo::worktree::RestoredBy;
use crate::snapshot::walk::dir::Slot;

/// The setuid and setgid bits, which make a program run with the privileges of the owner or group
/// of its file.
const SPECIAL: u32 = 0o6000;
const SETGID: u32 = 0o2000;
/// Prefixes of the xattrs that only a privileged process may set.
const PRIVILEGED: [&[u8]; 2] = [b"trusted.", b"security."];

/// Xattrs that the system sets.
const LABELS: [&[u8]; 3] = [b"security.selinux", b"security.ima", b"security.evm"];

/// The checkouts of a worktree that lacked privileges, and the versions that they may have written.
#[derive(Clone, Debug)]
pub struct Unrestored {
    /// Users who have checked out the worktree.
    pub by: Vec<RestoredBy>,
    /// Trees of the versions that the files may come from, the most likely one first.
    pub bases: Vec<Id>,
    /// Groups of the caller. A checkout could restore the ownership of these groups.
    pub groups: BTreeSet<u32>,
}

/// A directory of a version.
struct Recorded {
    /// Metadata of the directory, if it is the root.
    meta: Option<Meta>,
    entries: Vec<Entry>,
}

impl Unrestored {
    /// Gives a scanned directory the properties that a checkout could not restore. `own` is the
    /// metadata of the directory itself, if it is the root. Returns entries of devices that could
    /// not be created, which are not in any slot.
    pub(in crate::snapshot) fn settle(
        &self,
        repo: &Repo,
        dir: &[u8],
        own: Option<&mut Meta>,
        slots: &mut [Slot],
    ) -> Result<Vec<Entry>> {
        let mut recorded = Vec::new();
        for base in &self.bases {
            match recorded_dir(repo, base, dir) {
                // A damaged old version must not prevent a new one.
                Err(e) if e.kind() == Kind::Integrity => {}
                found => recorded.extend(found?),
            }
        }
        if let (Some(own), Some(then)) = (own, recorded.iter().find_map(|r| r.meta.as_ref())) {
            self.settle_meta(own, then, true, true);
        }
        for slot in slots.iter_mut() {
            let Some(entry) = &mut slot.entry else {
                continue;
            };
            let named = recorded.iter().filter_map(|r| r.named(&entry.name));
            let same_kind = named.filter(|then| {
                std::mem::discriminant(&then.node) == std::mem::discriminant(&entry.node)
            });
            let candidates: Vec<&Entry> = same_kind.collect();
            // A version with the same content is probably the one from which the file was checked
            // out.
            let best = candidates
                .iter()
                .find(|then| then.node == entry.node)
                .or(candidates.first());
            if let Some(then) = best {
                let (is_dir, same_content) = (entry.is_dir(), then.node == entry.node);
                self.settle_meta(&mut entry.meta, &then.meta, is_dir, same_content);
            }
        }
        let is_device = |entry: &&Entry| {
            matches!(
                entry.node,
                Node::CharDevice { .. } | Node::BlockDevice { .. }
            )
        };
        let devices = recorded
            .first()
            .into_iter()
            .flat_map(|r| &r.entries)
            .filter(is_device);
        let is_absent = |entry: &&Entry| !slots.iter().any(|slot| slot.name == entry.name);
        Ok(devices
            .filter(is_absent)
            .map(|entry| Entry {
                link: None,
                ..entry.clone()
            })
            .collect())
    }

    /// Replaces the properties that the checkout could not set with those of the version.
    fn settle_meta(&self, now: &mut Meta, then: &Meta, is_dir: bool, same_content: bool) {
        let found = (now.uid, now.gid);
        let by = |uid: u32| self.by.iter().find(|by| by.owners && by.uid == uid);
        let mut is_kept = false;
        // Only a file that belongs to the user of such a checkout can be in the state that the
        // checkout left.
        if let Some(by) = by(found.0) {
            if then.uid != found.0 {
                now.uid = then.uid;
                is_kept = true;
            }
            if then.gid != found.1
                && found.1 == by.gid
                // A member of the recorded group could set it, so another group is a later change.
                && (is_kept || !self.groups.contains(&then.gid))
            {
                now.gid = then.gid;
                is_kept = true;
            }
        }
        // New content of a file must not get the privileges of its recorded owner.
        let dropped = if is_dir { SETGID } else { SPECIAL };
        if is_kept
            && (is_dir || same_content)
            && then.mode & dropped != 0
            && now.mode == then.mode & !dropped
        {
            now.mode = then.mode;
        }
        if !same_content && !is_dir {
            return;
        }
        for xattr in then
            .xattrs
            .iter()
            .filter(|x| PRIVILEGED.iter().any(|space| x.name.starts_with(space)))
        {
            match now.xattrs.binary_search_by(|x| x.name.cmp(&xattr.name)) {
                // The system labels every new file. Any other existing xattr was set by a
                // privileged process in the meantime.
                Ok(at) if LABELS.contains(&xattr.name.as_slice()) => {
                    now.xattrs[at].value.clone_from(&xattr.value)
                }
                Ok(_) => {}
                Err(at) => now.xattrs.insert(at, xattr.clone()),
            }
        }
    }
}

impl Recorded {
    fn named(&self, name: &[u8]) -> Option<&Entry> {
        let at = self
            .entries
            .binary_search_by(|entry| entry.name.as_slice().cmp(name))
            .ok()?;
        self.entries.get(at)
    }
}

fn recorded_dir(repo: &Repo, tree: &Id, dir: &[u8]) -> Result<Option<Recorded>> {
    if dir.is_empty() {
        let (info, entries) = repo.root(tree)?;
        return Ok(Some(Recorded {
            meta: Some(info.meta),
            entries,
        }));
    }
    let names = path::split(dir).unwrap_or_default();
    match repo.find(tree, &names)?.map(|entry| entry.node) {
        Some(Node::Dir { tree, .. }) => Ok(Some(Recorded {
            meta: None,
            entries: repo.entries(&tree)?,
        })),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::Xattr;

    fn meta(uid: u32, gid: u32, mode: u32) -> Meta {
        Meta {
            uid,
            gid,
            mode,
            ..Meta::default()
        }
    }

    fn settled(now: &Meta, then: &Meta, is_dir: bool, same_content: bool) -> Meta {
        let by = vec![RestoredBy {
            uid: 1000,
            gid: 1000,
            owners: true,
        }];
        let unrestored = Unrestored {
            by,
            bases: Vec::new(),
            groups: BTreeSet::from([1000, 50]),
        };
        let mut now = now.clone();
        unrestored.settle_meta(&mut now, then, is_dir, same_content);
        now
    }

    #[test]
    fn what_a_user_could_not_restore_is_as_recorded() {
        let then = meta(999, 998, 0o4755);
        assert_eq!(settled(&meta(1000, 1000, 0o755), &then, false, true), then);
        // The user is a member of the group, so the checkout has set it, or it was changed since.
        assert_eq!(
            settled(&meta(1000, 50, 0o644), &meta(999, 50, 0o644), false, true),
            meta(999, 50, 0o644)
        );
        assert_eq!(
            settled(&meta(1000, 50, 0o644), &meta(1000, 51, 0o644), false, true),
            meta(1000, 50, 0o644)
        );
        assert_eq!(
            settled(
                &meta(1000, 1000, 0o644),
                &meta(1000, 50, 0o644),
                false,
                true
            ),
            meta(1000, 1000, 0o644)
        );
        assert_eq!(
            settled(
                &meta(1000, 1000, 0o644),
                &meta(1000, 51, 0o644),
                false,
                true
            ),
            meta(1000, 51, 0o644)
        );
        // Nothing is assumed about files of an owner who has not checked out the worktree.
        assert_eq!(
            settled(&meta(1, 1000, 0o755), &then, false, true),
            meta(1, 1000, 0o755)
        );
        let dir = meta(999, 998, 0o2770);
        assert_eq!(settled(&meta(1000, 1000, 0o770), &dir, true, false), dir);
    }

    #[test]
    fn what_the_user_changed_is_kept_as_changed() {
        let then = meta(999, 998, 0o4755);
        // A different mode, or different content of a set-user-ID file: both lose the bit, but keep
        // the recorded owner.
        assert_eq!(
            settled(&meta(1000, 1000, 0o700), &then, false, true),
            meta(999, 998, 0o700)
        );
        assert_eq!(
            settled(&meta(1000, 1000, 0o755), &then, false, false),
            meta(999, 998, 0o755)
        );
    }

    #[test]
    fn privileged_attributes_are_kept_with_the_content_they_belong_to() {
        let xattr = |name: &str, value: &str| Xattr {
            name: name.into(),
            value: value.into(),
        };
        let then = Meta {
            xattrs: vec![
                xattr("security.capability", "c"),
                xattr("trusted.t", "t"),
                xattr("user.u", "u"),
            ],
            ..meta(1000, 1000, 0o755)
        };
        let now = Meta {
            xattrs: vec![xattr("user.v", "v")],
            ..meta(1000, 1000, 0o755)
        };
        let kept = vec![
            xattr("security.capability", "c"),
            xattr("trusted.t", "t"),
            xattr("user.v", "v"),
        ];
        assert_eq!(settled(&now, &then, false, true).xattrs, kept);
        assert_eq!(settled(&now, &then, false, false).xattrs, now.xattrs);
    }
}
