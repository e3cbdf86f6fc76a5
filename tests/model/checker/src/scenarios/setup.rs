//! Building blocks of scenarios: start states, versions and operations.

use super::Scenario;
use crate::history::{CHUNKS, History, VERSIONS};
use crate::model::Op;
use crate::set::{Set, Table};
use crate::state::{EntryKind, NEVER, State, TRASH};

/// Chunks of the versions 1 to 5, unless a scenario defines others: {x0}, {x1}, {x0,x1}, {x2},
/// {x0,x2}.
const CONTENTS: [Set; VERSIONS] = [
    Set::EMPTY,
    Set::of([0]),
    Set::of([1]),
    Set::of([0, 1]),
    Set::of([2]),
    Set::of([0, 2]),
];
/// The worktree without stat records.
const PLAIN: u8 = 1;
/// The worktree with stat records.
const RECORDED: u8 = 0;

/// A start state under construction. All methods panic if a bound of `state` is exceeded.
pub(super) struct Setup(State);

impl Setup {
    pub(super) fn new() -> Self {
        Self(State {
            seen: Table([NEVER; 2]),
            ..State::default()
        })
    }

    /// Adds a pack that is not in any segment.
    pub(super) fn orphan<const N: usize>(mut self, chunks: [u8; N]) -> Self {
        self.0
            .packs
            .add(Set::of(chunks), Set::EMPTY)
            .expect("too many packs");
        self
    }

    /// Adds a pack and its segment.
    pub(super) fn pack<const N: usize>(self, chunks: [u8; N]) -> Self {
        self.pack_with(Set::of(chunks), Set::EMPTY, Set::EMPTY)
    }

    /// Adds a pack with deltas and its segment.
    pub(super) fn pack_with_deltas<const N: usize>(self, chunks: [u8; N], deltas: Set) -> Self {
        self.pack_with(Set::of(chunks), deltas, Set::EMPTY)
    }

    /// Adds a pack in which some chunks are damaged, and its segment.
    pub(super) fn damaged_pack<const N: usize>(self, chunks: [u8; N], damaged: Set) -> Self {
        self.pack_with(Set::of(chunks), Set::EMPTY, damaged)
    }

    fn pack_with(mut self, chunks: Set, deltas: Set, damaged: Set) -> Self {
        let pack = self.0.packs.add(chunks, deltas).expect("too many packs");
        self.0.packs.damaged[pack] = damaged;
        self.0
            .index
            .add(Set::one(pack), Set::EMPTY)
            .expect("too many segments");
        self
    }

    /// Adds entries to the log of a ref. The value 0 is a deletion or a reservation.
    pub(super) fn log<const N: usize>(mut self, log: u8, values: [u8; N]) -> Self {
        values
            .into_iter()
            .for_each(|value| self.0.logs[log].append(value).expect("too many entries"));
        self
    }

    /// Adds an entry to the trash log that forgets these versions.
    pub(super) fn forgotten(self, versions: Set) -> Self {
        self.log(TRASH, [versions.to_byte()])
    }

    /// Adds `folded` folded entries to the gc log, and then a dead entry.
    pub(super) fn dead(mut self, folded: u8, packs: Set) -> Self {
        let log = &mut self.0.gc_log;
        (0..folded).for_each(|_| {
            log.append(EntryKind::Folded, Set::EMPTY)
                .expect("too many entries")
        });
        log.append(EntryKind::Dead, packs)
            .expect("too many entries");
        self
    }

    /// Adds stat records to the worktree `RECORDED`, made before any dead entry.
    pub(super) fn recorded(mut self) -> Self {
        self.0.seen[RECORDED] = 0;
        self
    }

    /// Applies a change for which there is no method.
    pub(super) fn change(mut self, change: impl FnOnce(&mut State)) -> Self {
        change(&mut self.0);
        self
    }

    /// Returns the scenario with these processes.
    pub(super) fn run<const N: usize>(
        self,
        name: &'static str,
        about: &str,
        programs: [&[Op]; N],
    ) -> Scenario {
        Scenario {
            name,
            about: about.to_owned(),
            history: History {
                chunks: Table(CONTENTS),
                parent: Table::default(),
                base: Table([None; CHUNKS]),
            },
            programs: programs.map(<[Op]>::to_vec).to_vec(),
            start: self.0,
            refs: if self.0.logs[2].number > 0 { 3 } else { 2 },
            is_large: false,
        }
    }
}

impl Scenario {
    pub(super) fn large(self) -> Self {
        Self {
            is_large: true,
            ..self
        }
    }

    /// Makes v1 the parent of v2. If v4 is `like_v2`, it has the chunks of v2 and no parent.
    pub(super) fn with_parent(mut self, like_v2: bool) -> Self {
        self.history.parent[2] = 1;
        if like_v2 {
            self.history.chunks[4] = self.history.chunks[2];
        }
        self
    }

    /// Makes x0 the base of deltas of x1.
    pub(super) fn with_deltas(mut self) -> Self {
        self.history.base[1] = Some(0);
        self
    }
}

/// A commit from a worktree without stat records.
pub(super) const fn commit(to: u8, version: u8) -> Op {
    Op::Commit {
        to,
        version,
        unread: Set::EMPTY,
        worktree: PLAIN,
    }
}

/// A commit from the worktree with stat records, in which x0 is recorded.
pub(super) const fn commit_with_record(to: u8, version: u8) -> Op {
    Op::Commit {
        to,
        version,
        unread: Set::of([0]),
        worktree: RECORDED,
    }
}

/// A commit that creates the stat records of the worktree `RECORDED`.
pub(super) const fn commit_and_record(to: u8, version: u8) -> Op {
    Op::Commit {
        to,
        version,
        unread: Set::EMPTY,
        worktree: RECORDED,
    }
}

/// A push that sends the source pack {x0,x2}. The push assumes nothing to be present, because r2
/// has no log.
pub(super) const fn push(to: u8, version: u8) -> Op {
    Op::Push {
        to,
        version,
        on: 2,
        pack: Set::of([0, 2]),
    }
}

pub(super) const fn take(to: u8, from: u8, version: u8) -> Op {
    Op::Take { to, from, version }
}

pub(super) const fn undo(to: u8, version: u8) -> Op {
    Op::Undo { to, version }
}

pub(super) const fn delete(to: u8) -> Op {
    Op::Delete { to }
}

pub(super) const fn lease(from: u8, version: u8) -> Op {
    Op::Lease { from, version }
}

pub(super) const RESTORE: Op = Op::Restore { version: 1 };
pub(super) const FORGET: Op = Op::Forget { version: 1 };
pub(super) const MERGE: Op = Op::Merge;
pub(super) const GC: Op = Op::Gc;

/// x0 is garbage, and x1 is the tip of r0.
pub(super) fn garbage() -> Setup {
    Setup::new().pack([0]).pack([1]).log(0, [2])
}

/// x1 is the tip of r0, and x0 the tip of r1.
pub(super) fn two_tips() -> Setup {
    garbage().log(1, [1])
}
