//! Servers: the volume plugin of Docker.

pub mod plugin;
