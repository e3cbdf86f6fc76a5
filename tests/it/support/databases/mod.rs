//! Real databases on a directory, which the tests start, and clients that write to them
//! continuously.
//!
//! Servers listen only on a socket in a temporary directory. `kill` simulates a power failure.
//! Dropping a server kills it and all processes that it has started.

pub mod engine;
pub mod mariadb;
pub mod postgres;
pub mod writer;
