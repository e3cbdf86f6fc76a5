//! The parts of the operating system that dvc uses: files of its own, mounts, processes, the clock.

pub mod clock;
pub mod create;
pub mod file_place;
pub mod mountinfo;
pub mod process;
