//! M1 to M6: the choice of copies, the packs of the plan, and repacks.

use crate::action::{Action, Stepped};
use crate::set::Set;
use crate::state::{Process, Step};

impl Action<'_> {
    /// Adds every possible choice of copies, and with each choice every possible repack of one
    /// pack.
    pub(super) fn mark(mut self) -> Stepped {
        let before = self.before;
        let rules = &self.model.rules;
        let dead = if rules.dead_rows_no_copies {
            before.d
        } else {
            Set::EMPTY
        };
        let copies = self.state.index.packs() - dead;
        let present = self.model.history.present(&self.state.packs, copies);
        let lost = self.needed(&before) - present - self.excused(&before);
        if !lost.is_empty() {
            self.state.false_alarm = self.state.gc_log.number == before.number;
            return self
                .finish(|_| format!("gc: M4, {} has no row: exit 5 or 11", lost.named('x')));
        }
        let live = self.needed(&before) & present;
        for kept in self.choices(live, copies) {
            let planned = self.add_plan(live, copies, kept);
            let has_deltas = kept.iter().any(|p| !self.state.packs.deltas[p].is_empty());
            if self.model.has_choices && !has_deltas {
                kept.iter()
                    .for_each(|pack| self.add_repack(live, kept, planned, pack));
            }
        }
        Ok(())
    }

    /// Returns every set of packs that contains one copy of each live chunk.
    fn choices(&self, live: Set, copies: Set) -> Vec<Set> {
        let mut ways = vec![Set::EMPTY];
        for x in live.iter() {
            let mut places = self.copies_of(x, copies);
            if !self.model.has_choices {
                places.truncate(1);
            }
            ways = ways
                .iter()
                .flat_map(|kept| places.iter().map(move |place| *kept | *place))
                .collect();
            ways.sort();
            ways.dedup();
        }
        ways
    }

    /// Returns the copies of a chunk that a gc may choose: the complete copies, or if there are
    /// none, the deltas with their base. Each copy is the set of packs that it needs.
    fn copies_of(&self, x: u8, copies: Set) -> Vec<Set> {
        let packs = &self.state.packs;
        let mut places: Vec<Set> = packs.with_whole(copies, x).iter().map(Set::one).collect();
        if places.is_empty() {
            let bases = self.model.history.base_copies(packs, copies, x);
            let deltas = packs.with_chunk(copies, x);
            places = deltas
                .iter()
                .flat_map(|p| bases.iter().map(move |base| Set::of([p, base])))
                .collect();
        }
        if !self.model.rules.verify_copies {
            return places;
        }
        let is_sound = |place: &Set| place.iter().all(|p| !packs.damaged[p].has(x));
        let sound: Vec<Set> = places.iter().copied().filter(is_sound).collect();
        // If all copies are damaged, keep all of them.
        if sound.is_empty() {
            vec![
                places
                    .into_iter()
                    .fold(Set::EMPTY, |all, place| all | place),
            ]
        } else {
            sound
        }
    }

    /// Adds the plan to delete everything that is not kept. Returns the packs of the plan.
    fn add_plan(&mut self, live: Set, copies: Set, kept: Set) -> Set {
        let before = self.before;
        let rules = &self.model.rules;
        let packs = &self.state.packs;
        let staying = copies & (kept | (Set::below(packs.count) - before.packs));
        let damaged = packs.damaged_in(staying)
            & if rules.verify_unneeded {
                Set::below(8)
            } else {
                live
            };
        let held = match rules.verify_copies {
            true => self.model.history.holders(packs, damaged, copies),
            false => Set::EMPTY,
        };
        let planned = before.packs - before.d - kept - held;
        let mut next = self.state;
        next.processes[self.p] = if planned.is_empty() {
            Process {
                op: before.op + 1,
                ..Process::default()
            }
        } else {
            self.planning(Step::Plan, planned)
        };
        self.out.push(next, |_| {
            format!(
                "gc: M5, keeps {}, plans {}",
                kept.named('P'),
                planned.named('P')
            )
        });
        planned
    }

    /// Adds a plan with a repack: the live chunks of `pack` that no other kept pack has are copied
    /// to a new pack.
    fn add_repack(&mut self, live: Set, kept: Set, planned: Set, pack: u8) {
        let packs = &self.state.packs;
        let in_others = (kept - Set::one(pack)).union_of(|other| packs.content[other]);
        let part = (packs.content[pack] & live) - in_others;
        if part.is_empty() || part == packs.content[pack] || part.meets(packs.damaged[pack]) {
            return;
        }
        let planned = planned | Set::one(pack);
        let mut next = self.state;
        next.processes[self.p] = Process {
            copied: part,
            ..self.planning(Step::Repack, planned)
        };
        self.out.push(next, |_| {
            format!(
                "gc: M5, repacks {} of P{pack}, plans {}",
                part.named('x'),
                planned.named('P')
            )
        });
    }

    fn planning(&self, step: Step, packs: Set) -> Process {
        let Process { op, number, d, .. } = self.before;
        Process {
            op,
            step,
            number,
            d,
            packs,
            ..Process::default()
        }
    }

    /// M6: writes the new pack.
    pub(super) fn repack(mut self) -> Stepped {
        let copied = self.before.copied;
        let pack = self.state.packs.add(copied, Set::EMPTY)?;
        self.me().pack = pack;
        self.go_to(Step::RepackSegment, |_| {
            format!("gc: M6, P{pack} = {}", copied.named('x'))
        })
    }

    /// M6: writes the segment of the new pack.
    pub(super) fn index_repacked(mut self) -> Stepped {
        let pack = self.before.pack;
        self.state.index.add(Set::one(pack), Set::EMPTY)?;
        let me = self.me();
        (me.copied, me.pack) = (Set::EMPTY, 0);
        self.go_to(Step::Plan, |_| format!("gc: M6, segment of P{pack}"))
    }
}
