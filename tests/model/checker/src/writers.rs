//! The processes that make objects reachable or unreachable, and merges of segments.

pub(crate) mod commit;
mod lease;
mod merge;
mod publish;
mod removal;
mod take;
