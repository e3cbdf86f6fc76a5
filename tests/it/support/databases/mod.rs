//! Real databases on a directory, started by the tests, and clients that write to them without end.
//!
//! Servers listen on a socket in a temporary directory only. `kill` is what a power cut is to them; at drop they are
//! killed too, with all that they started.

pub mod engine;
pub mod mariadb;
pub mod postgres;
pub mod writer;
