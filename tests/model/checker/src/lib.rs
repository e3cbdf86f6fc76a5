//! An explicit-state model checker for the garbage collector's protocol (`docs/decisions/0012-gc-by-a-log.md`).
//!
//! One step of a process is one request to the store: a list, a read, a create-if-absent or a delete. The search
//! visits every interleaving breadth first, so the trace of a violation is a shortest one. A process that crashed or
//! is frozen is a process that takes no further step; the search needs no extra step for it. All time spans of the
//! protocol are 0, so only the present values protect anything.
//!
//! Frames, ids and trees are reduced to sets of chunks, a version is a set of chunks, and the index is the set of
//! packs that live segments name. `state` has the bounds; a path that would exceed one is cut and counted.

pub mod action;
mod gc;
pub mod history;
pub mod model;
pub mod rules;
pub mod scenarios;
pub mod search;
pub mod set;
pub mod state;
mod writers;
