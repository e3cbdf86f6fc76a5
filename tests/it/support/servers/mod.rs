//! Servers of remote stores: real ones as separate programs, and fakes in the test process, which
//! can misbehave.
//!
//! All servers listen only on loopback, store data in a temporary directory or in memory, and stop
//! when they are dropped. `start` prints a message and returns `None` if the program is not
//! installed.

pub mod azurite;
pub mod gcs;
pub mod http;
pub mod moto;
pub mod objects;
pub mod program;
pub mod proxy;
pub mod registry;
pub mod s3;
pub mod signing;
pub mod sshd;
pub mod webdav;
