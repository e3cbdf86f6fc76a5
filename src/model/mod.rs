//! The values of the domain: ids, paths, entries, trees, commits, ref names. Plain values without
//! I/O and encoding.

pub mod commit;
pub mod entry;
pub mod id;
pub mod path;
pub mod refname;
pub mod retention;
pub mod revision;
pub mod size;
pub mod suggest;
pub mod text;
pub mod tree;
pub mod when;
pub mod wildcard;
