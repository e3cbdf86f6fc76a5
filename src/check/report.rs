//! The report of a check: damage, affected versions and paths, notes, and the amount of checked
//! data.

use std::ops::Range;

use crate::format::segment::PackName;
use crate::model::id::{Id, ObjectKind};

/// The kind of a damaged object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// The log of a branch or tag, or an entry of it.
    Ref,
    Pack,
    /// An index segment.
    Segment,
    /// An object without an intact copy in any pack.
    Object,
    Catalogue,
    /// The state of a worktree.
    Worktree,
    /// The garbage collection log, or an entry of it.
    GcLog,
    /// A list of packs to which the garbage collection log refers.
    PackList,
    /// The log of forgotten versions, or an entry of it.
    TrashLog,
    Lease,
}

impl What {
    /// Returns the name for messages and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ref => "ref",
            Self::Pack => "pack",
            Self::Segment => "segment",
            Self::Object => "object",
            Self::Catalogue => "catalogue",
            Self::Worktree => "worktree",
            Self::GcLog => "gc log",
            Self::PackList => "pack list",
            Self::TrashLog => "trash log",
            Self::Lease => "lease",
        }
    }
}

/// One case of damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub what: What,
    /// Key in the repository, or another name that identifies the damaged object.
    pub key: String,
    /// Description of the damage.
    pub why: String,
}

/// An object by kind and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoredObject {
    pub kind: ObjectKind,
    pub id: Id,
}

/// A damaged or missing pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedPack {
    pub name: PackName,
    /// Number of objects that have no other copy.
    pub lost_objects: u64,
}

/// A version in which some object is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Name such as `main@v3`; for a version that is only in the log of a ref, the name of that
    /// log.
    pub name: String,
    pub id: Id,
}

/// A path that cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Path as raw bytes; empty for the whole version.
    pub path: Vec<u8>,
    /// Whether the path is a directory whose entries are lost.
    pub directory: bool,
    /// Versions in which the path is lost, as ranges of positions in `CheckReport::versions`.
    pub versions: Vec<Range<usize>>,
}

/// The amount of checked data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Number of branches and tags, including deleted ones.
    pub refs: u64,
    /// Number of entries in the logs of refs.
    pub entries: u64,
    pub versions: u64,
    /// Tree objects.
    pub trees: u64,
    pub lists: u64,
    /// References to chunks in trees and lists.
    pub chunks: u64,
    pub segments: u64,
    /// Rows of the index segments.
    pub rows: u64,
    pub packs: u64,
}

/// The amount of data that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataChecked {
    /// Number of packs that were read as a whole.
    pub packs: u64,
    pub bytes: u64,
    /// Uncompressed bytes of these packs.
    pub plain_bytes: u64,
    /// Number of all packs in the repository.
    pub of_packs: u64,
    pub of_bytes: u64,
    /// Whether the deadline passed before all requested packs were read.
    pub out_of_time: bool,
}

/// The number of lost objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    pub chunks: u64,
    pub lists: u64,
    pub trees: u64,
    pub commits: u64,
}

impl Lost {
    /// Returns the number of all lost objects.
    pub const fn total(&self) -> u64 {
        self.chunks + self.lists + self.trees + self.commits
    }
}

/// The result of a check; also used by `fsck` for its output.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    pub checked: Checked,
    /// Amount of data that was read; `None` if no data was requested.
    pub data: Option<DataChecked>,
    /// Damage, sorted by kind and key. Damaged objects are included only up to a limit.
    pub damage: Vec<Damage>,
    /// Number of damaged objects that `damage` does not list.
    pub more_objects: u64,
    /// Number of objects whose state is unknown, because only the remote of a lazy clone could have
    /// them and it does not respond.
    pub unknown: u64,
    /// Number of lost objects, by kind.
    pub lost: Lost,
    /// The lost objects.
    pub lost_objects: Vec<StoredObject>,
    /// The damaged packs.
    pub packs: Vec<DamagedPack>,
    /// Affected versions, sorted by branch and version number.
    pub versions: Vec<Reached>,
    /// Paths that cannot be restored.
    pub reaches: Vec<Reach>,
    /// Notes that are not damage.
    pub notes: Vec<String>,
}

impl CheckReport {
    /// Returns whether there is no damage.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}
