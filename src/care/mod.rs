//! Care of a repository over the years: which objects versions need, and the removal of what
//! nothing needs.
//!
//! `gc` runs the protocol; `mark` and `tally` find what is needed, `plan` decides, `repack` copies,
//! `twins` reads the copies that stay, `fresh` finds what became visible meanwhile, `segments` cleans
//! the index, `deletion` deletes, and `leftovers` removes files of interrupted processes. `ahead` and
//! `reflogs` save requests at a remote. `usage` states what needs the data.

mod ahead;
mod deletion;
mod fresh;
pub mod gc;
mod leftovers;
mod mark;
pub mod options;
pub mod plan;
mod reflogs;
mod repack;
pub mod roots;
mod runs;
mod segments;
mod tally;
#[cfg(test)]
mod tests;
mod twins;
pub mod usage;
mod visited;
