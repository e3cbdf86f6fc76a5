//! The names of everything in a repository.

use crate::format::pack::PackKind;
use crate::format::refentry::encode_name;
use crate::model::id::to_hex;
use crate::model::refname::{RefKind, RefName};

/// The marker, created last.
pub const MARKER: &str = "format";
/// Index segments.
pub const INDEX: &str = "index";
/// Packs.
pub const PACKS: &str = "packs";
/// The derived catalogue.
pub const CATALOGUE: &str = "catalog.db";
/// Local settings of a repository.
pub const CONFIG: &str = "config.toml";
/// State of each worktree; local.
pub const WORKTREES: &str = "worktrees";
/// Says that not all is here that refs need; local.
pub const PARTIAL: &str = "partial";
/// A repository inside a worktree.
pub const INSIDE: &str = ".dvcs";
/// Packs are closed when they reach this size in bytes.
pub const PACK_TARGET: u64 = 32 * 1024 * 1024;

/// The key of a pack.
pub fn pack(name: &[u8; 32]) -> String {
    let hex = to_hex(name);
    format!("{PACKS}/{}/{hex}", &hex[..2])
}

/// The key of an index segment.
pub fn segment(name: &[u8; 32]) -> String {
    format!("{INDEX}/{}", to_hex(name))
}

/// The folder of all refs of a kind.
pub fn refs(kind: RefKind) -> String {
    format!("refs/{}", kind.dir())
}

/// The folder of a ref's log.
pub fn ref_log(kind: RefKind, name: &RefName) -> String {
    format!("refs/{}/{}", kind.dir(), encode_name(name.as_str()))
}

/// Every kind of pack has segments of its own.
pub const SEGMENT_KINDS: [PackKind; 3] = PackKind::ALL;
