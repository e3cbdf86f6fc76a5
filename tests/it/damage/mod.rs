//! Damaged repositories: each kind of damage is found and reported, and wrong bytes are never
//! returned.

mod campaign;
mod decoders;
mod gc_state;
mod overlays;
