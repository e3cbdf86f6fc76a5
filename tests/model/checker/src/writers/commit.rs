//! Commit and push: W0, the parent, lookups, packs and segments. The other steps are in `publish`.

use super::publish::LogMove;
use crate::action::{Action, Stepped};
use crate::set::Set;
use crate::state::{NEVER, Step};

/// A version that a commit or a push stores.
pub(crate) struct Write {
    pub(crate) to: u8,
    pub(crate) version: u8,
    pub(crate) source: Source,
}

/// The source of a version's content.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    /// A commit. According to the stat records of the worktree, the chunks `unread` are unchanged.
    Worktree { worktree: u8, unread: Set },
    /// A push. It assumes that the closure of the tip of `on` is present, and sends `pack`
    /// unchanged.
    Repository { on: u8, pack: Set },
}

/// A possible use of existing copies: the packs that are added to R, and the chunks that have no
/// copy.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Reliance {
    relied: Set,
    missing: Set,
}

/// A possible way to store chunks: the packs of the bases, and the chunks that become deltas.
#[derive(Clone, Copy, Default)]
struct Storage {
    bases: Set,
    deltas: Set,
}

impl Action<'_> {
    pub(crate) fn write(mut self, write: Write) -> Stepped {
        let Write {
            to,
            version,
            source,
        } = write;
        match self.before.step {
            Step::Start => {
                let number = self.state.gc_log.number;
                self.me().number = number;
                self.read_gc_log();
                let d = self.me().d;
                self.go_to(Step::Base, |_| {
                    format!("write v{version}: W0, log at {number}, D {}", d.named('P'))
                })
            }
            Step::Base => self.find_parent(&write),
            Step::Lookup => self.look_up(version),
            Step::Upload => self.upload(source),
            Step::Segment => {
                let pack = self.before.pack;
                self.state.index.add(Set::one(pack), Set::EMPTY)?;
                let me = self.me();
                (me.pack, me.store, me.deltas) = (0, Set::EMPTY, Set::EMPTY);
                let next = self.first_of_publish();
                self.go_to(next, |_| format!("write: segment of P{pack}"))
            }
            Step::Remember => self.remember(source),
            _ => {
                let first_parent = self.before.parent;
                let remembers = matches!(source, Source::Worktree { .. });
                let how = LogMove {
                    to,
                    version,
                    is_restorable: true,
                    always_walks: false,
                    first_parent,
                    remembers,
                };
                self.publish(&how)
            }
        }
    }

    /// Reads the parent, and decides which chunks are taken over without a lookup.
    fn find_parent(mut self, write: &Write) -> Stepped {
        let &Write {
            to,
            version,
            source,
        } = write;
        let (rules, history) = (&self.model.rules, self.model.history);
        let parent = self.state.value(to);
        let unread = match source {
            Source::Worktree { worktree, unread } => {
                let seen = self.state.seen[self.record_slot(worktree)];
                let is_current =
                    seen == self.before.dead_number || (!rules.dead_seen_checked && seen != NEVER);
                if is_current {
                    unread
                } else {
                    unread & history.chunks[parent]
                }
            }
            Source::Repository { on, .. } => {
                history.chunks[version]
                    & history.closure(self.state.value(on), self.state.forgotten())
            }
        };
        self.me().unread = unread;
        self.me().parent = parent;
        self.go_to(Step::Lookup, |_| {
            format!(
                "write: parent r{to} = v{parent}; believes {} unread",
                unread.named('x')
            )
        })
    }

    /// Adds every possible use of existing copies, combined with every way to store the other
    /// chunks.
    fn look_up(self, version: u8) -> Stepped {
        let indexed = self.state.index.packs() - self.before.d;
        let wanted = self.model.history.chunks[version] - self.before.unread;
        for Reliance { relied, missing } in self.reliances(wanted, indexed) {
            for Storage { bases, deltas } in self.storages(missing, indexed) {
                let mut next = self.state;
                let me = &mut next.processes[self.p];
                me.relied = relied | bases;
                me.store = missing;
                me.deltas = deltas;
                me.step = if missing.is_empty() {
                    self.first_of_publish()
                } else {
                    Step::Upload
                };
                self.out.push(next, |_| {
                    let (relied, stored, deltas) = (
                        (relied | bases).named('P'),
                        missing.named('x'),
                        deltas.named('x'),
                    );
                    format!("write: relies on {relied}, stores {stored} (as deltas: {deltas})")
                });
            }
        }
        Ok(())
    }

    /// Returns the possible ways to rely on copies of `wanted` in `packs`.
    fn reliances(&self, wanted: Set, packs: Set) -> Vec<Reliance> {
        let mut ways = vec![Reliance::default()];
        for x in wanted.iter() {
            let places = self.places_of(x, packs);
            let mut longer = Vec::new();
            for way in ways {
                if places.is_empty() {
                    longer.push(Reliance {
                        missing: way.missing | Set::one(x),
                        ..way
                    });
                }
                longer.extend(places.iter().map(|place| Reliance {
                    relied: way.relied | *place,
                    ..way
                }));
            }
            longer.sort();
            longer.dedup();
            ways = longer;
        }
        ways
    }

    /// Returns the sets of packs on which a writer may rely for one chunk: a single pack, or the
    /// pack of a delta and that of its base.
    fn places_of(&self, x: u8, packs: Set) -> Vec<Set> {
        let stored = &self.state.packs;
        let mut places = Vec::new();
        for p in stored.with_chunk(packs, x).iter() {
            if stored.deltas[p].has(x) && self.model.rules.base_in_r {
                let bases = self.model.history.base_copies(stored, packs, x);
                places.extend(bases.iter().map(|base| Set::of([p, base])));
            } else {
                places.push(Set::one(p));
            }
        }
        places
    }

    /// Returns the possible ways to store `missing`: each chunk as a whole, or as a delta of a copy
    /// of its base.
    fn storages(&self, missing: Set, packs: Set) -> Vec<Storage> {
        let mut ways = vec![Storage::default()];
        for x in missing.iter() {
            let bases = self.model.history.base_copies(&self.state.packs, packs, x);
            let with_delta = |way: Storage, base: u8| Storage {
                bases: way.bases | Set::one(base),
                deltas: way.deltas | Set::one(x),
            };
            let longer: Vec<Storage> = ways
                .iter()
                .flat_map(|way| bases.iter().map(move |base| with_delta(*way, base)))
                .collect();
            ways.extend(longer);
        }
        ways
    }

    /// Writes a pack. A push sends complete source packs. The name of a pack depends on its content
    /// and salt.
    fn upload(mut self, source: Source) -> Stepped {
        let rules = &self.model.rules;
        let (store, deltas) = (self.before.store, self.before.deltas);
        let content = match source {
            Source::Repository { pack, .. } if pack.meets(store) => pack | store,
            _ => store,
        };
        let avoid = if rules.fresh_names {
            self.before.d
        } else {
            Set::EMPTY
        };
        let packs = &mut self.state.packs;
        let named = (0..packs.count)
            .find(|p| packs.content[*p] == content && packs.deltas[*p] == deltas && !avoid.has(*p));
        let is_present = named.is_some_and(|p| packs.existing.has(p));
        let pack = match named {
            Some(pack) => pack,
            None => packs.add(content, deltas)?,
        };
        packs.existing |= Set::one(pack);
        let enters_r = if is_present {
            rules.resumed_in_r
        } else {
            rules.own_in_r
        };
        if enters_r {
            self.me().relied |= Set::one(pack);
        }
        self.me().pack = pack;
        self.go_to(Step::Segment, |_| {
            let how = if is_present {
                "is there already"
            } else {
                "uploaded"
            };
            format!("write: P{pack} = {} {how}", content.named('x'))
        })
    }

    /// Records the newest dead entry at the time when the stat records were made.
    fn remember(mut self, source: Source) -> Stepped {
        let worktree = match source {
            Source::Worktree { worktree, .. } => self.record_slot(worktree),
            Source::Repository { .. } => 0,
        };
        let from_w1 = self.model.rules.seen_from_w1;
        let seen = if from_w1 {
            self.before.dead_number
        } else {
            self.state.gc_log.dead_number()
        };
        self.state.seen[worktree] = seen;
        self.finish(|_| format!("write: dead_seen of worktree {worktree} = {seen}"))
    }

    fn record_slot(&self, worktree: u8) -> u8 {
        if self.model.rules.seen_per_worktree {
            worktree
        } else {
            0
        }
    }
}
