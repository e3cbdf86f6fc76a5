//! Remote stores: the servers of the tests, and the behaviour of `dvc` with each of them.

mod answers;
mod changed;
mod clones;
mod damage;
mod faults;
mod forms;
mod interrupted;
mod journey;
mod lazy;
mod machines;
mod mirrors;
mod mistakes;
pub mod place;
mod problems;
mod ranges;
mod secrets;
mod servers;
mod sidecar;
mod terminal;
mod writers;
