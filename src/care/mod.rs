//! Care of a repository over the years: which objects versions need, and the removal of what
//! nothing needs.
//!
//! `gc` runs the protocol; `mark` and `tally` find what is needed, `plan` decides, `repack` copies,
//! `fresh` finds what became visible meanwhile, and `segments` cleans the index. `usage` states what
//! needs the data.

mod fresh;
pub mod gc;
mod mark;
pub mod plan;
mod repack;
pub mod roots;
mod runs;
mod segments;
mod tally;
#[cfg(test)]
mod tests;
pub mod usage;
mod visited;
