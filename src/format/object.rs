//! Trees, chunk lists, commits and link tables as deterministic CBOR (RFC 8949 section 4.2) with
//! integer keys.
//!
//! The keys of a map are in ascending order, absent fields are omitted, and lengths are definite.
//! The decoder checks all properties on which the rest of the program relies: valid names, sorted
//! names, and sums of lengths.

mod cbor;
mod commit;
mod list;
mod tree;

pub use commit::{decode_commit, encode_commit};
pub use list::{ListNode, decode_list, encode_list};
pub use tree::{decode_links, decode_tree, encode_entry, encode_links, encode_tree};
