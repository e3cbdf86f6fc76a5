//! What runs for a long time and is asked by others: the volume plugin of Docker.

pub mod plugin;
