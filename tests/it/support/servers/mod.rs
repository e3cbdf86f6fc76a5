//! The servers that the tests push to: real ones as programs of their own, fakes that can misbehave inside the test.
//!
//! All listen on loopback only, keep what they store in a temporary directory or in memory, and are gone when they are
//! dropped. `start` is `None` where the program is not installed, after saying so.

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
