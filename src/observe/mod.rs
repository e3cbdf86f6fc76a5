//! How the library tells its caller what it is doing: progress, notices, durable steps, and whether to stop.
//!
//! The library never prints. A caller passes an [`Observer`]; tests pass one that records or that dies at a step.

/// One line about one thing that was not done as asked, or that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How bad it is.
    pub level: Level,
    /// The path that it is about, relative to the worktree, raw bytes; empty where it is about no path.
    pub path: Vec<u8>,
    /// What happened, lower case, no final period.
    pub message: String,
}

/// How bad a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only for somebody who asked for more.
    Detail,
    /// Worth a word, changes nothing about the result.
    Info,
    /// Something was skipped on purpose.
    Skipped,
    /// The operation does what was asked, but the result is probably not what the user wants.
    Warning,
    /// Something could not be read, stored or restored: the operation ends with exit code 3.
    Incomplete,
    /// Stored data is damaged: the operation ends with exit code 5.
    Damage,
}

/// Receives what an operation has to say while it runs. All methods may be called from several threads.
pub trait Observer: Send + Sync {
    /// A new phase begins; counters start again from zero. `files` and `bytes` are totals where they are known.
    fn phase(&self, _name: &'static str, _files: Option<u64>, _bytes: Option<u64>) {}
    /// So many more files and bytes are done in this phase.
    fn advance(&self, _files: u64, _bytes: u64) {}
    /// Bytes that were handed to a store and are not yet acknowledged, so not yet part of what is done.
    fn on_the_way(&self, _bytes: u64) {}
    /// A line for the user.
    fn notice(&self, _notice: Notice) {}
    /// A durable step is about to be taken; crash tests die here.
    fn step(&self, _name: &'static str) {}
    /// Whether the operation should end soon.
    fn cancelled(&self) -> bool {
        false
    }
}

/// An observer that ignores everything.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {}
