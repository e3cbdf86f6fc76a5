//! Volumes, on the command line and through requests like those of Docker. `tests/docker/` has the
//! tests with real engines.

pub mod host;
mod life;
mod plugin;
