//! The report of a check: damage, affected versions and paths, notes, and the amount of checked
//! data.

use std::ops::Range;

use crate::model::id::Id;

/// The kind of a damaged object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// An entry or the whole log of a branch or tag.
    Ref,
    Pack,
    /// An index segment.
    Segment,
    /// An object that is in no intact pack.
    Object,
    Catalogue,
    /// The state of a worktree.
    Worktree,
    /// An entry or the whole log of garbage collection.
    GcLog,
    /// A list of packs, which the log of garbage collection names.
    PackList,
    /// An entry or the whole log of forgotten versions.
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
    /// Key in the repository, or another name of the object.
    pub key: String,
    /// Description of the damage.
    pub why: String,
}

/// A version that is affected by damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// `main@v3`; for a version that is only in the log of a ref, the name of the log.
    pub name: String,
    pub id: Id,
}

/// A path that cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Path as raw bytes; empty for the whole version.
    pub path: Vec<u8>,
    /// Whether the path is a directory whose list of names is lost.
    pub directory: bool,
    /// Versions in which the path is lost, as ranges of positions in `CheckReport::versions`.
    pub versions: Vec<Range<usize>>,
}

/// The amount of checked data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Branches and tags, including deleted ones.
    pub refs: u64,
    /// Entries of the logs of refs.
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
    /// Packs that were read as a whole.
    pub packs: u64,
    pub bytes: u64,
    /// Uncompressed bytes of these packs.
    pub plain_bytes: u64,
    /// All packs of the repository.
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

/// The result of a check.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    pub checked: Checked,
    /// Amount of data that was read; `None` if no data was requested.
    pub data: Option<DataChecked>,
    /// All damage.
    pub damage: Vec<Damage>,
    /// Number of damaged objects that `damage` does not list.
    pub more_objects: u64,
    /// Objects of a lazy clone that are not local, and whose remote does not respond.
    pub unknown: u64,
    /// Objects that are lost.
    pub lost: Lost,
    /// Affected versions, in order of their branches and numbers.
    pub versions: Vec<Reached>,
    /// Affected paths.
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
