//! What the tests share: a sandbox that runs the real binary, a tree of every kind of content, a comparison of trees,
//! servers to push to.

#![allow(dead_code)]

pub mod databases;
pub mod facts;
pub mod held;
pub mod known;
pub mod namespace;
pub mod needs;
pub mod sandbox;
pub mod servers;
pub mod small;
pub mod zoo;
