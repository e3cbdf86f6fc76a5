//! A model: operations, and the rules that their processes follow.
//!
//! In: a state. Out: its successors, and the violation in the state, if there is one.

use crate::action::{Action, Stepped, Successors};
use crate::history::History;
use crate::rules::Rules;
use crate::set::Set;
use crate::state::{REFS, State, TRASH};
use crate::writers::commit::{Source, Write};

/// An operation of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Commits `version` to the ref `to`. According to the stat records of `worktree`, the chunks
    /// `unread` are unchanged.
    Commit {
        to: u8,
        version: u8,
        unread: Set,
        worktree: u8,
    },
    /// Pushes `version`. The push assumes that the closure of the tip of `on` is present. If a
    /// chunk of the source pack `pack` is missing, it sends that pack as a whole.
    Push {
        to: u8,
        version: u8,
        on: u8,
        pack: Set,
    },
    /// Moves `to` to the tip of `from` without reading it, or to the ancestor `version` of that tip
    /// if `version` is not 0.
    Take {
        to: u8,
        from: u8,
        version: u8,
    },
    /// Moves `to` to a version that no visible ref reaches.
    Undo {
        to: u8,
        version: u8,
    },
    /// Restores a forgotten version, as `forget --undo` does.
    Restore {
        version: u8,
    },
    Forget {
        version: u8,
    },
    Delete {
        to: u8,
    },
    /// Writes a lease for the tip of `from`, or for the ancestor `version` of that tip if `version`
    /// is not 0.
    Lease {
        from: u8,
        version: u8,
    },
    /// Merges all live segments.
    Merge,
    Gc,
}

/// The programs, the versions that they use, and the rules that they follow.
#[derive(Clone, Copy)]
pub struct Model<'a> {
    pub rules: Rules,
    pub history: &'a History,
    /// Number of refs that a gc reads.
    pub refs: u8,
    pub programs: &'a [Vec<Op>],
    /// Whether a gc tries every choice of copies and repacks. Otherwise it keeps the first copy and
    /// does not repack.
    pub has_choices: bool,
}

impl Model<'_> {
    /// Adds the possible results of one step of process `p`.
    pub fn step(&self, state: &State, p: u8, out: &mut Successors) -> Stepped {
        let before = state.processes[p];
        let Some(&op) = self.programs[usize::from(p)].get(usize::from(before.op)) else {
            return Ok(());
        };
        let action = Action {
            model: self,
            state: *state,
            p,
            before,
            out,
        };
        match op {
            Op::Commit {
                to,
                version,
                unread,
                worktree,
            } => action.write(Write {
                to,
                version,
                source: Source::Worktree { worktree, unread },
            }),
            Op::Push {
                to,
                version,
                on,
                pack,
            } => action.write(Write {
                to,
                version,
                source: Source::Repository { on, pack },
            }),
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

    /// Returns D: the packs of the newest plan and the dead packs.
    pub fn d(&self, state: &State) -> Set {
        let dead = if self.rules.dead_in_d {
            state.gc_log.dead()
        } else {
            Set::EMPTY
        };
        state.gc_log.plan().unwrap_or_default() | dead
    }

    /// Returns the violation in a state. Every scenario starts with an undamaged copy of each chunk
    /// that a ref needs, so damage does not excuse a missing chunk.
    pub fn violation(&self, state: &State) -> Option<String> {
        if state.false_alarm {
            return Some("gc reports damage (exit 5), but nothing visible is damaged".to_owned());
        }
        let readable = self
            .history
            .readable(&state.packs, state.readable_rows() & state.packs.existing);
        let forgotten = state.forgotten();
        for r in 0..REFS {
            let version = state.value(r);
            let missing = self.history.closure(version, forgotten) - readable;
            if !missing.is_empty() {
                return Some(format!(
                    "ref r{r} points to v{version}, whose closure misses {}",
                    missing.named('x')
                ));
            }
        }
        let missing = self.history.chunks[state.lease.version] - readable;
        if state.lease.is_confirmed && !missing.is_empty() {
            return Some(format!(
                "the confirmed lease of v{} misses {}",
                state.lease.version,
                missing.named('x')
            ));
        }
        None
    }

    /// Runs one more gc after all processes have ended. Returns the violation that it reveals: the
    /// gc breaks something, or it keeps a pack that no root needs.
    pub fn violation_at_rest(&self, state: &State) -> Option<String> {
        let programs = [vec![Op::Gc; 8]];
        let model = Model {
            programs: &programs,
            has_choices: false,
            ..*self
        };
        let mut rest = State {
            processes: Default::default(),
            ..*state
        };
        let mut out = Successors::silent();
        for _ in 0..400 {
            model.step(&rest, 0, &mut out).ok()?;
            let Some((next, _)) = out.take_first() else {
                break;
            };
            if let Some(violation) = model.violation(&next) {
                return Some(format!("after one more gc: {violation}"));
            }
            rest = next;
        }
        let tips = (0..REFS).fold(self.history.chunks[rest.lease.version], |all, r| {
            all | self.history.closure(rest.value(r), rest.forgotten())
        });
        // A pack may stay if a different copy of one of its objects is damaged.
        let useful =
            self.history.with_bases(tips) | rest.packs.damaged_in(Set::below(rest.packs.count));
        let kept = rest
            .packs
            .existing
            .iter()
            .find(|p| !rest.packs.content[*p].meets(useful))?;
        Some(format!("P{kept} is kept although nothing needs it"))
    }
}
