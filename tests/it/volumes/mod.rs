//! Volumes: by the command line, and as Docker asks for them. Real engines are in `tests/docker/`.

mod host;
mod life;
mod plugin;
