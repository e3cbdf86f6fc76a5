//! Groups of hard links while several threads create a tree: the first member writes the file, the
//! others link to it.
//!
//! A member that is reached while the first one is still being written is deferred and linked
//! later, so that no thread waits. The directory of the first member gets its final mode only when
//! the whole group is complete.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::checkout::dir::Dir;
use crate::model::entry::{Entry, HardLink, Node};

/// The location of a node: its directory, and its current name on disk.
#[derive(Clone)]
pub(in crate::checkout) struct Member {
    pub(in crate::checkout) dir: Arc<Dir>,
    /// The current name, which may be temporary.
    pub(in crate::checkout) name: Vec<u8>,
}

/// The action for a member.
pub(in crate::checkout) enum LinkAction {
    /// Write the file as the first member, then call [`Links::made`] or [`Links::failed`].
    Write(Entry),
    /// Link to the first member.
    Link(Entry, Member),
    /// Nothing: the thread of the first member links the deferred member.
    Deferred,
    /// Report the loss, because the first member could not be created.
    Lost(Entry),
}

enum State {
    Writing(Vec<(Member, Entry)>),
    Made(Member),
    Failed,
}

struct Group {
    state: State,
    left: u32,
    /// The node that all members share.
    node: Node,
}

/// The groups that are not complete.
#[derive(Default)]
pub(in crate::checkout) struct Links(Mutex<HashMap<[u8; 16], Group>>);

impl Links {
    fn groups(&self) -> parking_lot::MutexGuard<'_, HashMap<[u8; 16], Group>> {
        self.0.lock()
    }

    /// Returns the action for `member`. A deferred member retains its directory.
    pub(in crate::checkout) fn action(
        &self,
        link: &HardLink,
        member: &Member,
        entry: Entry,
    ) -> LinkAction {
        let mut groups = self.groups();
        let Some(group) = groups.get_mut(&link.group) else {
            let (state, node) = (State::Writing(Vec::new()), entry.node.clone());
            groups.insert(
                link.group,
                Group {
                    state,
                    left: link.count,
                    node,
                },
            );
            return LinkAction::Write(entry);
        };
        // A forged version may claim that different files are hard links. Such files are not
        // linked.
        if group.node != entry.node {
            return LinkAction::Write(Entry {
                link: None,
                ..entry
            });
        }
        match &mut group.state {
            State::Writing(deferred) => {
                member.dir.retain();
                deferred.push((member.clone(), entry));
                LinkAction::Deferred
            }
            State::Made(first) => LinkAction::Link(entry, first.clone()),
            State::Failed => LinkAction::Lost(entry),
        }
    }

    /// Records that the first member is complete. Returns the deferred members, each of which still
    /// retains its directory. The directory of the first member is retained until the group is
    /// complete.
    pub(in crate::checkout) fn made(
        &self,
        link: &HardLink,
        first: &Member,
    ) -> Vec<(Member, Entry)> {
        first.dir.retain();
        self.resolve(link, State::Made(first.clone()))
    }

    /// Records that the first member could not be created. Returns the deferred members, each of
    /// which still retains its directory.
    pub(in crate::checkout) fn failed(&self, link: &HardLink) -> Vec<(Member, Entry)> {
        self.resolve(link, State::Failed)
    }

    fn resolve(&self, link: &HardLink, state: State) -> Vec<(Member, Entry)> {
        let mut groups = self.groups();
        let Some(group) = groups.get_mut(&link.group) else {
            return Vec::new();
        };
        match std::mem::replace(&mut group.state, state) {
            State::Writing(deferred) => deferred,
            State::Made(_) | State::Failed => Vec::new(),
        }
    }

    /// Registers a group of which some members are already on disk: the other members link to
    /// `first`. `node` is the node that they share.
    pub(in crate::checkout) fn seed(&self, link: &HardLink, first: Member, node: Node) {
        self.groups().entry(link.group).or_insert_with(|| {
            first.dir.retain();
            Group {
                state: State::Made(first),
                left: link.count,
                node,
            }
        });
    }

    /// Records that one member is complete or lost. After the last member, removes the group and
    /// returns the location of the first one, whose directory the caller must release.
    pub(in crate::checkout) fn complete(&self, link: &HardLink) -> Option<Member> {
        let mut groups = self.groups();
        let group = groups.get_mut(&link.group)?;
        // A forged group may have more names than its count. A further name then starts a new
        // group, and gets a file of its own.
        group.left = group.left.saturating_sub(1);
        if group.left > 0 {
            return None;
        }
        match groups.remove(&link.group)?.state {
            State::Made(first) => Some(first),
            State::Writing(_) | State::Failed => None,
        }
    }

    /// Removes all incomplete groups. Returns the locations of their first members, whose
    /// directories the caller must release.
    pub(in crate::checkout) fn forget_all(&self) -> Vec<Member> {
        let all = std::mem::take(&mut *self.groups());
        all.into_values()
            .filter_map(|g| match g.state {
                State::Made(first) => Some(first),
                State::Writing(_) | State::Failed => None,
            })
            .collect()
    }
}
