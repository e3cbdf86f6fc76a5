//! Volumes: by the command line, and by requests like those of Docker. Real engines are in
//! `tests/docker/`.

pub mod host;
mod life;
mod plugin;
