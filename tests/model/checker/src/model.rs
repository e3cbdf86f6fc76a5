//! A model: operations, and the rules that their processes follow.
//!
//! In: a state. Out: its successors, and the violation that the state shows, if any.

use crate::action::{Action, Stepped, Successors};
use crate::history::History;
use crate::rules::Rules;
use crate::set::Set;
use crate::state::{REFS, State, TRASH};
use crate::writers::commit::{Source, Write};

/// An operation of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Commits `version` to the ref `to`. The stat records of `worktree` offer the chunks `unread`.
    Commit {
        to: u8,
        version: u8,
        unread: Set,
        worktree: u8,
    },
    /// Pushes `version`. The push believes that the closure of the tip of `on` is present, and sends a missing chunk
    /// as the complete source pack `pack`.
    Push {
        to: u8,
        version: u8,
        on: u8,
        pack: Set,
    },
    /// Points `to` at the tip of `from`, or at its ancestor `version` if that is not 0, without reading it.
    Take {
        to: u8,
        from: u8,
        version: u8,
    },
    /// Points `to` at a version that no visible ref reaches.
    Undo {
        to: u8,
        version: u8,
    },
    /// `forget --undo`.
    Restore {
        version: u8,
    },
    Forget {
        version: u8,
    },
    Delete {
        to: u8,
    },
    /// Writes a lease for the tip of `from`, or for its ancestor `version` if that is not 0.
    Lease {
        from: u8,
        version: u8,
    },
    /// Merges all live segments.
    Merge,
    Gc,
}

/// Programs, the versions that they know, and the rules that they follow.
#[derive(Clone, Copy)]
pub struct Model<'a> {
    pub rules: Rules,
    pub history: &'a History,
    /// Number of refs that a gc reads.
    pub refs: u8,
    pub programs: &'a [Vec<Op>],
    /// A gc makes every choice of copies and repacks; otherwise it keeps the first copy and repacks nothing.
    pub has_choices: bool,
}

impl Model<'_> {
    /// Adds the states to which one step of process `p` leads.
    pub fn step(&self, state: &State, p: u8, out: &mut Successors) -> Stepped {
        let before = state.processes[p];
        let Some(&op) = self.programs[usize::from(p)].get(usize::from(before.op)) else { return Ok(()) };
        let action = Action { model: self, state: *state, p, before, out };
        match op {
            Op::Commit { to, version, unread, worktree } => {
                action.write(Write { to, version, source: Source::Worktree { worktree, unread } })
            }
            Op::Push { to, version, on, pack } => {
                action.write(Write { to, version, source: Source::Repository { on, pack } })
            }
            Op::Take { to, from, version } => action.take(to, from, version),
            Op::Undo { to, version } => action.undo(to, version),
            Op::Restore { version } => action.undo(TRASH, version),
            Op::Forget { version } => action.forget(version),
            Op::Delete { to } => action.delete(to),
            Op::Lease { from, version } => action.lease(from, version),
            Op::Merge => action.merge(),
            Op::Gc => action.gc(),
        }
    }

    /// Returns D: the packs of the newest plan, and the dead packs.
    pub fn d(&self, state: &State) -> Set {
        let dead = if self.rules.dead_in_d { state.gc_log.dead() } else { Set::EMPTY };
        state.gc_log.plan().unwrap_or_default() | dead
    }

    /// Returns the violation that a state shows. Every scenario starts with an undamaged copy of each chunk that a
    /// ref needs, so damage excuses nothing.
    pub fn violation(&self, state: &State) -> Option<String> {
        if state.false_alarm {
            return Some("gc reports damage (exit 5), but nothing visible is damaged".to_owned());
        }
        let readable = self.history.readable(&state.packs, state.readable_rows() & state.packs.existing);
        let forgotten = state.forgotten();
        for r in 0..REFS {
            let version = state.value(r);
            let missing = self.history.closure(version, forgotten) - readable;
            if !missing.is_empty() {
                return Some(format!("ref r{r} points to v{version}, whose closure misses {}", missing.named('x')));
            }
        }
        let missing = self.history.chunks[state.lease.version] - readable;
        if state.lease.is_confirmed && !missing.is_empty() {
            return Some(format!("the confirmed lease of v{} misses {}", state.lease.version, missing.named('x')));
        }
        None
    }

    /// Returns the violation that one more gc shows when all processes have ended: the gc breaks something, or it
    /// does not delete everything that nothing needs.
    pub fn violation_at_rest(&self, state: &State) -> Option<String> {
        let programs = [vec![Op::Gc; 8]];
        let model = Model { programs: &programs, has_choices: false, ..*self };
        let mut rest = State { processes: Default::default(), ..*state };
        let mut out = Successors::silent();
        for _ in 0..400 {
            model.step(&rest, 0, &mut out).ok()?;
            let Some((next, _)) = out.take_first() else { break };
            if let Some(violation) = model.violation(&next) {
                return Some(format!("after one more gc: {violation}"));
            }
            rest = next;
        }
        let tips = (0..REFS).fold(self.history.chunks[rest.lease.version], |all, r| {
            all | self.history.closure(rest.value(r), rest.forgotten())
        });
        // A pack may stay because another copy of one of its objects is damaged.
        let useful = self.history.with_bases(tips) | rest.packs.damaged_in(Set::below(rest.packs.count));
        let kept = rest.packs.existing.iter().find(|p| !rest.packs.content[*p].meets(useful))?;
        Some(format!("P{kept} is kept although nothing needs it"))
    }
}
