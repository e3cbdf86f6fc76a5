//! Tests with a real Docker engine, which they start for themselves: see `engine.rs`.
//!
//! Where it cannot run the tests are left out, after saying so; with `DVC_TEST_ALL=1` that is a failure.

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
