//! Broken repositories: each kind of damage is found and named, and no wrong byte is delivered.

mod campaign;
mod decoders;
mod overlays;
