//! From a version to files: whole restore, in-place patching, streaming of one file, verification.
//!
//! In: a tree id and a [`source::Source`]. Out: nodes below a directory. Invariants: no byte is written that was not
//! verified against its id, no symbolic link is followed below the target directory, and what could not be
//! restored is said in a notice.

mod content;
mod dir;
pub mod error;
pub mod file;
pub mod in_use;
mod lookup;
mod meta;
pub mod patch;
pub mod placed;
pub mod restore;
pub mod source;
pub mod verify;

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;
