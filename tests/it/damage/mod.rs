//! Damaged repositories: every kind of damage is found and reported, and no read returns wrong
//! bytes.

mod campaign;
mod decoders;
mod gc_state;
mod overlays;
