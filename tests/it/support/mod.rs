//! Code that the tests share: a sandbox for the real binary, a tree with every kind of content, a
//! comparison of trees, databases, and servers of remote stores.

#![allow(dead_code)]

pub mod collected;
pub mod databases;
pub mod facts;
pub mod held;
pub mod json_page;
pub mod known;
pub mod namespace;
pub mod needs;
pub mod sandbox;
pub mod servers;
pub mod shared_dir;
pub mod small;
pub mod spawned;
pub mod zoo;
