//! Care of a repository: finds the objects that versions need, and removes the rest.
//!
//! `gc` runs the protocol; `mark` and `tally` find the needed objects, `plan` decides, `repack`
//! copies, `twins` reads the copies that stay, `fresh` finds versions that became visible in the
//! meantime, `segments` cleans the index, `deletion` deletes, and `leftovers` removes files of
//! interrupted processes. `ahead` and `reflogs` save requests on a remote. `usage` measures which
//! versions need how much data.

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
