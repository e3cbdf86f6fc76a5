//! The parts of the operating system that dvc uses: its own files, mounts, processes, the clock,
//! random ids.

pub mod allocated;
pub mod clock;
pub mod create;
pub mod io_error;
pub mod kernel;
pub mod mountinfo;
pub mod process;
pub mod procfs;
pub mod random;
pub mod uncached;
pub mod xattr;
