//! One step of a process, and its successor states.

use crate::model::Model;
use crate::state::{BoundExceeded, Process, State, Step};

/// The result of a step.
pub type Stepped = Result<(), BoundExceeded>;

/// States, each with a description of the step that led to it.
pub struct Successors {
    states: Vec<(State, String)>,
    /// Whether descriptions are kept. Only traces need them, and creating one takes longer than the
    /// step.
    has_text: bool,
}

impl Successors {
    /// Returns an empty list that does not keep descriptions.
    pub fn silent() -> Self {
        Self {
            states: Vec::new(),
            has_text: false,
        }
    }

    /// Returns an empty list that keeps descriptions.
    pub fn with_text() -> Self {
        Self {
            states: Vec::new(),
            has_text: true,
        }
    }

    pub fn push(&mut self, state: State, text: impl FnOnce(&State) -> String) {
        let text = if self.has_text {
            text(&state)
        } else {
            String::new()
        };
        self.states.push((state, text));
    }

    pub fn len(&self) -> usize {
        self.states.len()
    }

    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Removes and returns all successors.
    pub fn drain(&mut self) -> impl Iterator<Item = (State, String)> {
        self.states.drain(..)
    }

    /// Removes all successors and returns the first.
    pub fn take_first(&mut self) -> Option<(State, String)> {
        self.take(0)
    }

    /// Removes all successors and returns the one with index `choice`.
    pub fn take(&mut self, choice: usize) -> Option<(State, String)> {
        let taken = (choice < self.states.len()).then(|| self.states.swap_remove(choice));
        self.states.clear();
        taken
    }
}

/// A step in progress. Its methods change `state` and add the resulting state to `out`.
pub(crate) struct Action<'a> {
    pub(crate) model: &'a Model<'a>,
    pub(crate) state: State,
    /// Number of the process that takes the step.
    pub(crate) p: u8,
    /// Registers of this process before the step.
    pub(crate) before: Process,
    pub(crate) out: &'a mut Successors,
}

impl Action<'_> {
    /// Returns the registers of the process that takes the step.
    pub(crate) fn me(&mut self) -> &mut Process {
        &mut self.state.processes[self.p]
    }

    /// Ends the step. The process continues with `next`.
    pub(crate) fn go_to(mut self, next: Step, text: impl FnOnce(&State) -> String) -> Stepped {
        self.me().step = next;
        self.out.push(self.state, text);
        Ok(())
    }

    /// Ends the step and the operation.
    pub(crate) fn finish(mut self, text: impl FnOnce(&State) -> String) -> Stepped {
        self.end_operation();
        self.out.push(self.state, text);
        Ok(())
    }

    /// Clears the registers. The process continues with its next operation.
    pub(crate) fn end_operation(&mut self) {
        *self.me() = Process {
            op: self.before.op + 1,
            ..Process::default()
        };
    }

    /// Reads the gc log, for W0 or W1.
    pub(crate) fn read_gc_log(&mut self) {
        let (d, dead_number) = (self.model.d(&self.state), self.state.gc_log.dead_number());
        self.me().d = d;
        self.me().dead_number = dead_number;
    }
}
