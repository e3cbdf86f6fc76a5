//! Writes versions to files: restore of a whole version, in-place patching, streaming of one file,
//! verification.
//!
//! Invariants: every byte is verified against its id before it is written, no symbolic link is
//! followed below the target directory, and everything that could not be restored is reported as a
//! notice.

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
