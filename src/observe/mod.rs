//! Reports from the library to its caller: progress, notices and durable steps; and the request to
//! cancel.
//!
//! The library never prints. A caller passes an [`Observer`]; tests pass one that records the calls
//! or that exits the process at a step.

/// A one-line report of something that was not done as requested, or that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub level: NoticeLevel,
    /// The path that the notice is about, as raw bytes relative to the worktree; empty if there is
    /// none.
    pub path: Vec<u8>,
    /// Lower case, without a final period.
    pub message: String,
}

/// The severity of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeLevel {
    /// Shown only with `--verbose`.
    Detail,
    /// Information that does not affect the result.
    Info,
    /// Something was skipped on purpose.
    Skipped,
    /// The operation does what the user requested, but the result is probably not what the user
    /// wants.
    Warning,
    /// Something could not be read, stored or restored; the operation ends with exit code 3.
    Incomplete,
    /// Stored data is damaged; the operation ends with exit code 5.
    Damage,
}

/// Receives the reports of a running operation. Several threads may call the methods at the same
/// time.
pub trait Observer: Send + Sync {
    /// Starts a phase and resets the counters. `files` and `bytes` are totals, if they are known.
    fn phase(&self, _name: &'static str, _files: Option<u64>, _bytes: Option<u64>) {}
    /// Adds files and bytes to the counters of the phase.
    fn advance(&self, _files: u64, _bytes: u64) {}
    /// Reports bytes that were handed to a store but are not yet acknowledged, and therefore not
    /// yet counted as done.
    fn on_the_way(&self, _bytes: u64) {}
    /// Reports a notice to the user.
    fn notice(&self, _notice: Notice) {}
    /// Reports that a durable step is about to be taken. Crash tests exit the process here.
    fn step(&self, _name: &'static str) {}
    /// Returns whether the operation should stop soon.
    fn cancelled(&self) -> bool {
        false
    }
}

/// An observer that ignores all reports.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {}
