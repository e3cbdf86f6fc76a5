//! An explicit-state model checker for the protocol of garbage collection
//! (`docs/decisions/0012-gc-by-a-log.md`).
//!
//! One step of a process is one request to the store: a list, a read, a create-if-absent or a
//! delete. The search visits every interleaving breadth first, so the trace of a violation is as
//! short as possible. A crashed or frozen process is a process that takes no further step, so the
//! search needs no extra step for crashes. All time spans of the protocol are 0, so that only the
//! current values protect data.
//!
//! Frames, ids and trees are reduced to sets of chunks. A version is a set of chunks, and the index
//! is the set of packs in the rows of live segments. `state` defines the bounds. The search drops a
//! path that would exceed a bound, and counts it.

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
