//! Groups of hard links while a tree is made by several threads: the first member writes, the others link.
//!
//! A member that comes while the first one is still being written is kept and linked when it is done, so that no
//! thread waits. The first member's directory is held back from its final mode until the whole group is made.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::checkout::dir::Dir;
use crate::model::entry::{Entry, HardLink, Node};

/// A place where a member is, or is to be: the directory, and the name on disk for now.
#[derive(Clone)]
pub(in crate::checkout) struct Member {
    /// Its directory.
    pub(in crate::checkout) dir: Arc<Dir>,
    /// Its name on disk, perhaps a temporary one.
    pub(in crate::checkout) name: Vec<u8>,
}

/// What a member has to do.
pub(in crate::checkout) enum Turn {
    /// It is the first: write the file, then call [`Links::made`] or [`Links::failed`].
    Write(Entry),
    /// Link to that one.
    Link(Entry, Member),
    /// It was kept; the first one will see to it.
    Kept,
    /// The first one could not be made.
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
    /// What all its members are.
    node: Node,
}

/// All groups that are not complete.
#[derive(Default)]
pub(in crate::checkout) struct Links(Mutex<HashMap<[u8; 16], Group>>);

impl Links {
    fn groups(&self) -> parking_lot::MutexGuard<'_, HashMap<[u8; 16], Group>> {
        self.0.lock()
    }

    /// Decides what `member` does. Kept members keep their directory from being finished.
    pub(in crate::checkout) fn turn(&self, link: &HardLink, member: &Member, entry: Entry) -> Turn {
        let mut groups = self.groups();
        let Some(group) = groups.get_mut(&link.group) else {
            let (state, node) = (State::Writing(Vec::new()), entry.node.clone());
            groups.insert(link.group, Group { state, left: link.count, node });
            return Turn::Write(entry);
        };
        // Whatever the version says: names of one file never hold different things.
        if group.node != entry.node {
            return Turn::Write(Entry { link: None, ..entry });
        }
        match &mut group.state {
            State::Writing(kept) => {
                member.dir.retain();
                kept.push((member.clone(), entry));
                Turn::Kept
            }
            State::Made(first) => Turn::Link(entry, first.clone()),
            State::Failed => Turn::Lost(entry),
        }
    }

    /// The first member is complete: later ones link to it. Returns those that were kept; each still retains its
    /// directory. The first one's directory is retained until the group is complete.
    pub(in crate::checkout) fn made(&self, link: &HardLink, first: &Member) -> Vec<(Member, Entry)> {
        first.dir.retain();
        self.resolve(link, State::Made(first.clone()))
    }

    /// The first member could not be made. Returns those that were kept; each still retains its directory.
    pub(in crate::checkout) fn failed(&self, link: &HardLink) -> Vec<(Member, Entry)> {
        self.resolve(link, State::Failed)
    }

    fn resolve(&self, link: &HardLink, state: State) -> Vec<(Member, Entry)> {
        let mut groups = self.groups();
        let Some(group) = groups.get_mut(&link.group) else { return Vec::new() };
        match std::mem::replace(&mut group.state, state) {
            State::Writing(kept) => kept,
            State::Made(_) | State::Failed => Vec::new(),
        }
    }

    /// A group that has members on disk already: the others link to `first`, which is a `node`.
    pub(in crate::checkout) fn seed(&self, link: &HardLink, first: Member, node: Node) {
        self.groups().entry(link.group).or_insert_with(|| {
            first.dir.retain();
            Group { state: State::Made(first), left: link.count, node }
        });
    }

    /// One member is done, or lost. Forgets the group when it was the last, and returns the first one's place; its
    /// directory is to be released.
    pub(in crate::checkout) fn complete(&self, link: &HardLink) -> Option<Member> {
        let mut groups = self.groups();
        let group = groups.get_mut(&link.group)?;
        group.left = group.left.saturating_sub(1);
        if group.left > 0 {
            return None;
        }
        match groups.remove(&link.group)?.state {
            State::Made(first) => Some(first),
            State::Writing(_) | State::Failed => None,
        }
    }

    /// Forgets all groups that are not complete. Returns the first ones' places; their directories are to be released.
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
