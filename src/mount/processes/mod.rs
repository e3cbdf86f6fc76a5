//! The use of mounts by other processes, according to `/proc`.

pub mod namespaces;
pub mod nested;
pub mod writers;
