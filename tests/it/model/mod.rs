//! Random sequences of operations, compared with a simple model of the history in memory.

mod history;
