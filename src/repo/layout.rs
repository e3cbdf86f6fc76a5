//! The keys and file names in a repository.

use crate::format::pack::PackKind;
use crate::format::refentry::encode_name;
use crate::model::id::to_hex;
use crate::model::refname::{RefKind, RefName};

/// The marker. It is written last, so that an incomplete repository has none.
pub const MARKER: &str = "format";
/// Directory of index segments.
pub const INDEX: &str = "index";
/// Directory of packs.
pub const PACKS: &str = "packs";
/// Directory of the garbage collection log and of the lists to which it refers.
pub const QUARANTINE: &str = "quarantine";
/// Directory of the garbage collection log.
pub const GC_LOG: &str = "quarantine/log";
/// Directory of the lists of packs.
pub const PACK_LISTS: &str = "quarantine/lists";
/// Directory of the log of forgotten versions.
pub const TRASH_LOG: &str = "trash";
/// Directory of overlays in the trash; local.
pub const TRASH_LOCAL: &str = "trash-local";
/// Directory of intent locks, probes and leases.
pub const SESSIONS: &str = "sessions";
/// Database of the catalogue, which is derived from the other files.
pub const CATALOGUE: &str = "catalog.db";
/// Local settings of a repository.
pub const CONFIG: &str = "config.toml";
/// Directory of the state of each worktree; local.
pub const WORKTREES: &str = "worktrees";
/// File that marks a repository whose refs may need missing objects; local.
pub const PARTIAL: &str = "partial";
/// Name of a repository inside a worktree.
pub const INSIDE: &str = ".dvcs";
/// Size at which a pack is finished, in bytes.
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

/// Returns the directory with the log of a ref.
pub fn ref_log(kind: RefKind, name: &RefName) -> String {
    format!("refs/{}/{}", kind.dir(), encode_name(name.as_str()))
}

/// All kinds of index segments; they are the same as the kinds of packs.
pub const SEGMENT_KINDS: [PackKind; 3] = PackKind::ALL;
