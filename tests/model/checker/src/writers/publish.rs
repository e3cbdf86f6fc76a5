//! T, W1, the walk and W2: the steps that are common to all moves of a log.

use crate::action::{Action, Stepped};
use crate::set::Set;
use crate::state::{EntryKind, Process, State, Step, TRASH, log_name};

/// A move of a log to a version.
pub(super) struct LogMove {
    pub(super) to: u8,
    pub(super) version: u8,
    /// Whether missing objects can be read from the worktree again.
    pub(super) is_restorable: bool,
    /// Whether the walk is always necessary, because no visible ref reaches the version.
    pub(super) always_walks: bool,
    /// Value of the tip before the first T.
    pub(super) first_parent: u8,
    /// Whether the stat records are kept after W2.
    pub(super) remembers: bool,
}

impl Action<'_> {
    /// Returns the first step of publishing: T, or W1 if the rule `tip_before_reread` is dropped.
    pub(super) fn first_of_publish(&self) -> Step {
        if self.model.rules.tip_before_reread {
            Step::Tip
        } else {
            Step::Reread
        }
    }

    /// Returns the step after W1: W2, or T if the rule `tip_before_reread` is dropped.
    fn after_reread(&self) -> Step {
        if self.model.rules.tip_before_reread {
            Step::Create
        } else {
            Step::Tip
        }
    }

    pub(super) fn publish(self, how: &LogMove) -> Stepped {
        match self.before.step {
            Step::Tip => self.read_tip(how.to),
            Step::Reserve => self.reserve(how.to),
            Step::Reread => self.reread(how),
            Step::Walk => self.walk(how),
            Step::Reforget => self.forget_again(),
            Step::Create => self.create(how),
            step => unreachable!("{step:?} is no step of a writer"),
        }
    }

    fn read_tip(mut self, to: u8) -> Stepped {
        let rules = &self.model.rules;
        let number = self.state.logs[to].number;
        if number == 0 && rules.reservation {
            return self.go_to(Step::Reserve, |_| {
                format!("T: {} has no entry", log_name(to))
            });
        }
        let parent = self.state.value(to);
        self.me().tip = number;
        if rules.walk_reparented {
            self.me().parent = parent;
        }
        let next = if rules.tip_before_reread && rules.reread_log {
            Step::Reread
        } else {
            Step::Create
        };
        self.go_to(next, |s| {
            format!("T: {}, at entry {number}", s.shown_log(to))
        })
    }

    fn reserve(mut self, to: u8) -> Stepped {
        if self.state.logs[to].number == 0 {
            self.state.logs[to].append(0)?;
        }
        self.go_to(Step::Tip, |_| format!("reservation of {}", log_name(to)))
    }

    /// W1: reads the gc log again, and decides whether a new lookup or a walk is necessary.
    fn reread(mut self, how: &LogMove) -> Stepped {
        let (rules, history) = (&self.model.rules, self.model.history);
        self.read_gc_log();
        let (number, d) = (self.state.gc_log.number, self.me().d);
        let lost = d & self.before.relied;
        if !lost.is_empty() {
            self.me().relied = Set::EMPTY;
            if !rules.restart_keeps_number {
                self.me().number = number;
            }
            return self.go_to(Step::Lookup, |_| {
                format!(
                    "W1: log at {number}: {} of R are in D, looks up again",
                    lost.named('P')
                )
            });
        }
        let parent = if rules.walk_reparented {
            self.before.parent
        } else {
            how.first_parent
        };
        let covered = match how.to {
            TRASH => Set::EMPTY,
            _ if rules.parent_is_tree => history.chunks[parent],
            _ => history.closure(parent, Set::EMPTY),
        };
        let rest = self.before.unread - covered;
        let is_planned = self.state.gc_log.plan().is_some() && rules.walk_if_plan;
        let has_moved = number != self.before.number && rules.walk_if_moved;
        let must_walk = if how.always_walks {
            rules.walk_undo
        } else {
            !rest.is_empty() && (is_planned || has_moved)
        };
        let next = if must_walk {
            Step::Walk
        } else {
            self.after_reread()
        };
        let unread = self.before.unread;
        let me = self.me();
        me.reread_at = number;
        me.covered = if how.always_walks {
            Set::EMPTY
        } else {
            covered
        };
        me.to_walk = match must_walk {
            true if how.always_walks => unread,
            true => rest,
            false => Set::EMPTY,
        };
        self.go_to(next, |_| {
            let then = if must_walk {
                ": must walk what it took over"
            } else {
                ""
            };
            format!("W1: log at {number}, D {}{then}", d.named('P'))
        })
    }

    /// Checks that all chunks that were taken over without a lookup are present.
    fn walk(mut self, how: &LogMove) -> Stepped {
        let (rules, history) = (&self.model.rules, self.model.history);
        let &LogMove { to, version, .. } = how;
        let Process {
            to_walk,
            covered,
            reread_at,
            ..
        } = self.before;
        let present = history.present(&self.state.packs, self.state.index.packs() - self.before.d);
        let forgotten = self.state.forgotten();
        let skipped = match to {
            TRASH => Set::EMPTY,
            _ => history.lost_ancestors(version, forgotten, present),
        };
        let needed = if how.is_restorable || to == TRASH {
            to_walk
        } else if rules.walk_rereads_trash {
            history.closure(version, forgotten) - covered
        } else {
            to_walk - history.only_forgotten(version, forgotten)
        };
        let missing = needed - present;
        if missing.is_empty() && !skipped.is_empty() && rules.reforget {
            let trash_number = self.state.logs[TRASH].number;
            let me = self.me();
            me.trash_number = trash_number;
            me.skipped = skipped;
            return self.go_to(Step::Reforget, |_| {
                format!(
                    "walk: skips {}, which are forgotten and not whole",
                    skipped.named('v')
                )
            });
        }
        self.me().to_walk = Set::EMPTY;
        if missing.is_empty() {
            if rules.walk_renews {
                self.me().number = reread_at;
            }
            let next = self.after_reread();
            return self.go_to(next, |_| "walk: everything is outside of D".to_owned());
        }
        if how.is_restorable {
            let me = self.me();
            me.unread -= missing;
            me.relied = Set::EMPTY;
            return self.go_to(Step::Lookup, |_| {
                format!(
                    "walk: {} is missing, reads the worktree again",
                    missing.named('x')
                )
            });
        }
        let is_newest = self.state.gc_log.plan().is_some() && self.state.gc_log.number == reread_at;
        let would_be_present = || {
            let all = history.present(&self.state.packs, self.state.readable_rows());
            (missing - all).is_empty()
        };
        if rules.void_plan && is_newest && would_be_present() {
            self.state.gc_log.append(EntryKind::Plan, Set::EMPTY)?;
            let next = self.first_of_publish();
            return self.go_to(next, |s| {
                format!("log {}: an empty plan voids the plan", s.gc_log.number)
            });
        }
        self.finish(|_| format!("walk: {} is missing: exit 11 or 13", missing.named('x')))
    }

    /// Appends an entry to the trash log, unless the log has changed since the walk skipped
    /// ancestors. The ancestors are forgotten already, so the entry names none of them: only its
    /// number counts.
    fn forget_again(mut self) -> Stepped {
        let Process {
            trash_number,
            skipped,
            ..
        } = self.before;
        let me = self.me();
        (me.trash_number, me.skipped) = (0, Set::EMPTY);
        if self.state.logs[TRASH].number != trash_number {
            return self.go_to(Step::Walk, |_| "trash log moved: walks again".to_owned());
        }
        let forgotten = self.state.forgotten();
        self.state.logs[TRASH].append(forgotten.to_byte())?;
        self.me().to_walk = Set::EMPTY;
        let next = self.after_reread();
        self.go_to(next, |s| {
            format!(
                "trash log entry {}: {} stay forgotten",
                s.logs[TRASH].number,
                skipped.named('v')
            )
        })
    }

    /// W2: creates the next entry of the log.
    fn create(mut self, how: &LogMove) -> Stepped {
        let &LogMove { to, version, .. } = how;
        let Process {
            op,
            tip,
            dead_number,
            ..
        } = self.before;
        if self.state.logs[to].number != tip {
            let next = self.first_of_publish();
            return self.go_to(next, |_| format!("W2: number {} is taken", tip + 1));
        }
        let value = match to {
            TRASH => (self.state.forgotten() - Set::one(version)).to_byte(),
            _ => version,
        };
        self.state.logs[to].append(value)?;
        let text = move |s: &State| format!("W2: creates entry {}: {}", tip + 1, s.shown_log(to));
        if how.remembers {
            *self.me() = Process {
                op,
                dead_number,
                ..Process::default()
            };
            self.go_to(Step::Remember, text)
        } else {
            self.finish(text)
        }
    }
}
