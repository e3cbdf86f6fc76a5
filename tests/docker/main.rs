//! Tests with a real Docker engine, which `engine.rs` starts.
//!
//! If no engine can run, the tests are skipped with a message, or fail if `DVC_TEST_ALL=1` is set.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod api;
mod compose;
mod engine;
mod fixture;
mod hosts;
mod image;
mod managed;
mod plain;
mod quiesce;
mod sidecar;
#[path = "../it/support/mod.rs"]
mod support;
mod volumes;
mod writers;
