//! The scenarios. Each is a start state and the operations of each process.
//!
//! The name of a scenario consists of the letters of its group and a number.

mod commits;
mod damage;
mod forgetting;
mod gcs;
mod leases;
mod pairs;
mod pushes;
mod records;
mod setup;
mod takes;

pub use pairs::pairs;

use crate::history::History;
use crate::model::Op;
use crate::state::{PROCESSES, State};

/// A start state, and the operations of each process.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub about: String,
    pub history: History,
    pub programs: Vec<Vec<Op>>,
    pub start: State,
    /// Number of refs.
    pub refs: u8,
    /// Whether the search takes minutes.
    pub is_large: bool,
}

impl Scenario {
    /// Returns the scenario with a second gc process, or `None` if it already has two or there is
    /// no free process.
    pub fn with_second_gc(mut self) -> Option<Self> {
        let gcs = self
            .programs
            .iter()
            .filter(|ops| ops.contains(&Op::Gc))
            .count();
        if gcs != 1 || self.programs.len() >= PROCESSES {
            return None;
        }
        for ops in self.programs.iter_mut().filter(|ops| ops.contains(&Op::Gc)) {
            ops.truncate(1);
        }
        self.programs.push(vec![Op::Gc]);
        Some(self)
    }

    /// Returns whether an operation takes over a version without a worktree from which it could
    /// read the version again.
    pub fn takes_over(&self) -> bool {
        let takes = |op: &Op| matches!(op, Op::Take { .. } | Op::Undo { .. } | Op::Restore { .. });
        self.programs.iter().flatten().any(takes)
    }
}

/// Returns all scenarios except the generated ones.
pub fn all() -> Vec<Scenario> {
    let groups = [
        commits::scenarios(),
        gcs::scenarios(),
        takes::scenarios(),
        records::scenarios(),
        forgetting::scenarios(),
        leases::scenarios(),
        damage::scenarios(),
        pushes::scenarios(),
    ];
    groups.into_iter().flatten().collect()
}
