//! M7 to F4: the plan, the fences, the second read of the roots, and the dead entry.

use crate::action::{Action, Stepped};
use crate::set::Set;
use crate::state::{EntryKind, Process, State, Step, TRASH, log_name};

impl Action<'_> {
    /// M7: creates the plan.
    pub(super) fn plan(mut self) -> Stepped {
        let Process {
            op,
            number,
            d,
            packs,
            ..
        } = self.before;
        if self.state.gc_log.number != number && !self.goes_on_without(number) {
            self.out.push(self.state, |_| {
                format!("gc: M7, number {} is taken", number + 1)
            });
            return Ok(());
        }
        let is_ghost = self.me().is_ghost;
        let mut number = self.me().number;
        if !is_ghost {
            self.state.gc_log.append(EntryKind::Plan, packs)?;
            number = self.state.gc_log.number;
        }
        *self.me() = Process {
            op,
            number,
            is_ghost,
            d,
            packs,
            ..Process::default()
        };
        let rules = &self.model.rules;
        let next = if rules.fence && rules.fence_before_read {
            Step::ListLogs
        } else {
            Step::FenceRoots
        };
        self.go_to(next, |s| {
            format!("gc: M7, log {}: plan {}", s.gc_log.number, packs.named('P'))
        })
    }

    /// F1: lists all logs that need a fence.
    pub(super) fn list_logs(mut self) -> Stepped {
        let has_fence = |log: u8| log != TRASH || self.model.rules.fence_trash;
        let logs =
            Set::below(TRASH + 1).filter(|log| self.state.logs[log].number > 0 && has_fence(log));
        self.me().logs = logs;
        self.go_to(Step::Fence, |_| {
            let names: Vec<String> = logs.iter().map(log_name).collect();
            format!("gc: F1, lists the logs {}", names.join(", "))
        })
    }

    /// F1: reads the number of the next log or, in a second step, appends an entry that repeats the
    /// value of that log.
    pub(super) fn fence(mut self) -> Stepped {
        let after = if self.model.rules.fence_before_read {
            Step::FenceRoots
        } else {
            Step::Decide
        };
        let Process { tip, logs, .. } = self.before;
        let Some(log) = logs.first() else {
            return self.go_to(after, |_| "gc: F1, nothing to fence".to_owned());
        };
        let (number, value) = (self.state.logs[log].number, self.state.logs[log].value());
        if tip == 0 {
            self.me().tip = number;
            return self.go_to(Step::Fence, |_| {
                format!("gc: F1, {} is at entry {number}", log_name(log))
            });
        }
        self.me().tip = 0;
        if number != tip {
            return self.go_to(Step::Fence, |_| {
                format!("gc: F1, {}: number is taken", log_name(log))
            });
        }
        self.state.logs[log].append(value)?;
        let rest = logs - Set::one(log);
        self.me().logs = rest;
        let next = if rest.is_empty() { after } else { Step::Fence };
        self.go_to(next, |s| {
            format!(
                "gc: F1, fence at entry {}: {}",
                number + 1,
                s.shown_log(log)
            )
        })
    }

    /// F2 and F3: keeps the planned packs that a root needs now, and chooses the other planned
    /// packs as dead.
    pub(super) fn decide(mut self) -> Stepped {
        let before = self.before;
        let Process {
            op,
            number,
            is_ghost,
            packs: planned,
            ..
        } = before;
        let (rules, history) = (&self.model.rules, self.model.history);
        let needed = self.needed(&before);
        let indexed = self.state.index.packs();
        let dead = if rules.dead_rows_no_copies {
            before.d | self.state.gc_log.dead()
        } else {
            Set::EMPTY
        };
        let alive = indexed - dead;
        let lost = needed - history.present(&self.state.packs, alive) - self.excused(&before);
        if !lost.is_empty() {
            return self.finish(|_| format!("gc: F2, {} has no row: exit 11", lost.named('x')));
        }
        let needed = if rules.reread_roots {
            needed
        } else {
            Set::EMPTY
        };
        let missing = needed - history.present(&self.state.packs, alive - planned);
        let mut keep = history.holders(&self.state.packs, missing, planned & indexed);
        if rules.verify_kept {
            keep = self.with_sound_copies(keep, planned & indexed);
        }
        let dead = planned - keep;
        let text = move |_: &State| {
            format!(
                "gc: F3, keeps {}, dead {}",
                (keep & planned).named('P'),
                dead.named('P')
            )
        };
        if dead.is_empty() {
            return self.finish(text);
        }
        *self.me() = Process {
            op,
            number,
            is_ghost,
            packs: dead,
            ..Process::default()
        };
        self.go_to(Step::Dead, text)
    }

    /// Adds planned packs to `keep`: if a chunk is damaged in a pack of `keep`, the planned packs
    /// with other copies of that chunk stay too.
    fn with_sound_copies(&self, mut keep: Set, planned: Set) -> Set {
        let packs = &self.state.packs;
        loop {
            let more = keep
                | self
                    .model
                    .history
                    .holders(packs, packs.damaged_in(keep), planned);
            if more == keep {
                return keep;
            }
            keep = more;
        }
    }

    /// F4: creates the dead entry, whose number must directly follow that of the plan.
    pub(super) fn declare_dead(mut self) -> Stepped {
        let Process { number, packs, .. } = self.before;
        if self.state.gc_log.number != number && !self.goes_on_without(number) {
            self.out.push(self.state, |_| {
                format!("gc: F4, number {} is taken", number + 1)
            });
            return Ok(());
        }
        let next = if self.me().is_ghost {
            Step::CleanUp
        } else {
            let all = self.state.gc_log.dead() | packs;
            self.state.gc_log.append(EntryKind::Dead, all)?;
            Step::Fold
        };
        let number = self.state.gc_log.number;
        let me = self.me();
        (me.number, me.is_ghost) = (number, false);
        self.go_to(next, |s| {
            format!("gc: F4, log {number}: dead {}", s.gc_log.dead().named('P'))
        })
    }

    /// Removes all entries before the dead entry.
    pub(super) fn fold(mut self) -> Stepped {
        self.state.gc_log.fold_before(self.before.number);
        self.me().number = 0;
        self.go_to(Step::CleanUp, |_| "gc: folds the log".to_owned())
    }

    /// Handles a create at a number that is not the expected one. Returns whether the gc still
    /// continues.
    fn goes_on_without(&mut self, number: u8) -> bool {
        let rules = &self.model.rules;
        let finds_it_free = !rules.list_after_create && self.state.gc_log.is_folded(number + 1);
        if self.before.is_ghost || finds_it_free {
            self.me().is_ghost = true;
            return true;
        }
        if rules.exact_numbers {
            self.end_operation();
        } else {
            let newest = self.state.gc_log.number;
            self.me().number = newest;
        }
        false
    }
}
