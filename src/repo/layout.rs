//! The keys and file names in a repository.

use crate::format::pack::PackKind;
use crate::format::refentry::encode_name;
use crate::model::id::to_hex;
use crate::model::refname::{RefKind, RefName};

/// The marker, which is created last.
pub const MARKER: &str = "format";
/// Directory of index segments.
pub const INDEX: &str = "index";
/// Directory of packs.
pub const PACKS: &str = "packs";
/// Directory of the log of garbage collection and of the lists that the log names.
pub const QUARANTINE: &str = "quarantine";
/// Directory of the log of garbage collection.
pub const GC_LOG: &str = "quarantine/log";
/// Directory of lists of packs.
pub const PACK_LISTS: &str = "quarantine/lists";
/// Directory of the log of forgotten versions.
pub const TRASH_LOG: &str = "trash";
/// Directory of intent locks, probes and leases.
pub const SESSIONS: &str = "sessions";
/// The derived catalogue.
pub const CATALOGUE: &str = "catalog.db";
/// Local settings of a repository.
pub const CONFIG: &str = "config.toml";
/// Directory of the state of each worktree; local.
pub const WORKTREES: &str = "worktrees";
/// Marks a repository in which objects that refs need may be missing; local.
pub const PARTIAL: &str = "partial";
/// Name of a repository inside a worktree.
pub const INSIDE: &str = ".dvcs";
/// Size in bytes at which a pack is closed.
pub const PACK_TARGET: u64 = 32 * 1024 * 1024;

/// Returns the key of a pack.
pub fn pack(name: &[u8; 32]) -> String {
    let hex = to_hex(name);
    format!("{PACKS}/{}/{hex}", &hex[..2])
}

/// Returns the key of an index segment.
pub fn segment(name: &[u8; 32]) -> String {
    format!("{INDEX}/{}", to_hex(name))
}

/// Returns the key of a list of packs.
pub fn pack_list(name: &[u8; 32]) -> String {
    format!("{PACK_LISTS}/{}", to_hex(name))
}

/// Returns the directory of all refs of a kind.
pub fn refs(kind: RefKind) -> String {
    format!("refs/{}", kind.dir())
}

/// Returns the directory of the log of a ref.
pub fn ref_log(kind: RefKind, name: &RefName) -> String {
    format!("refs/{}/{}", kind.dir(), encode_name(name.as_str()))
}

/// The kinds of segments; each kind of pack has its own.
pub const SEGMENT_KINDS: [PackKind; 3] = PackKind::ALL;
