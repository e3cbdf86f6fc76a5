//! Real databases on a directory, started by the tests, and clients that write to them all the
//! time.
//!
//! Servers listen only on a socket in a temporary directory. `kill` simulates a power cut of the
//! server. A dropped server is killed with all processes that it has started.

pub mod engine;
pub mod mariadb;
pub mod postgres;
pub mod writer;
