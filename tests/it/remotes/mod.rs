//! Stores elsewhere: the servers that the tests push to, and what `dvc` does with each of them.

mod changed;
mod clones;
mod damage;
mod faults;
mod forms;
mod journey;
mod lazy;
mod machines;
mod mirrors;
mod place;
mod ranges;
mod secrets;
mod servers;
mod sidecar;
mod terminal;
mod troubles;
mod writers;
