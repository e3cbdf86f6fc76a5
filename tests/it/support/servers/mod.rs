//! Servers that the tests push to: real ones as separate programs, and fakes inside the test that
//! can misbehave.
//!
//! All listen on loopback only, store data in a temporary directory or in memory, and end when they
//! are dropped. `start` returns `None`, with a message, if the program is not installed.

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
