//! What a check found, for people and programs: damage, what it reaches, notes, and how much was looked at.

use std::ops::Range;

use crate::model::id::Id;

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// An entry or the whole log of a branch or tag.
    Ref,
    /// A pack.
    Pack,
    /// An index segment.
    Segment,
    /// An object that no sound pack holds.
    Object,
    /// The catalogue.
    Catalogue,
    /// The state of a worktree.
    Worktree,
}

impl What {
    /// The word for people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ref => "ref",
            Self::Pack => "pack",
            Self::Segment => "segment",
            Self::Object => "object",
            Self::Catalogue => "catalogue",
            Self::Worktree => "worktree",
        }
    }
}

/// One damaged thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What it is.
    pub what: What,
    /// Its key below the repository, or what it is called.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

/// A version that damage reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// `main@v3`; for one that only the log of a ref remembers, which log.
    pub name: String,
    /// Its id.
    pub id: Id,
}

/// A path that cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The path, raw bytes; empty for the whole version.
    pub path: Vec<u8>,
    /// Whether it is a directory of which even the names are lost.
    pub directory: bool,
    /// The versions that it is lost in: runs of positions in `CheckReport::versions`.
    pub versions: Vec<Range<usize>>,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Branches and tags, deleted ones too.
    pub refs: u64,
    /// Entries of their logs.
    pub entries: u64,
    /// Versions.
    pub versions: u64,
    /// Tree objects.
    pub trees: u64,
    /// Nodes of chunk lists.
    pub lists: u64,
    /// Chunks that trees and lists name, as often as they are named.
    pub chunks: u64,
    /// Index segments.
    pub segments: u64,
    /// Their rows.
    pub rows: u64,
    /// Packs.
    pub packs: u64,
}

/// How much data was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataChecked {
    /// Packs read whole.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Plain bytes that came out of them.
    pub plain_bytes: u64,
    /// Packs that there are.
    pub of_packs: u64,
    /// Their bytes.
    pub of_bytes: u64,
    /// Whether time was up before all that was asked for was read.
    pub out_of_time: bool,
}

/// Objects that no pack gives back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Chunks.
    pub chunks: u64,
    /// Nodes of chunk lists.
    pub lists: u64,
    /// Trees.
    pub trees: u64,
    /// Versions.
    pub commits: u64,
}

impl Lost {
    /// All together.
    pub const fn total(&self) -> u64 {
        self.chunks + self.lists + self.trees + self.commits
    }
}

/// The result of a check.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// How much was looked at.
    pub checked: Checked,
    /// How much data was read; `None` if none was to be.
    pub data: Option<DataChecked>,
    /// What is damaged.
    pub damage: Vec<Damage>,
    /// Damaged objects beyond those that `damage` lists.
    pub more_objects: u64,
    /// Objects that are not here, of a lazy clone whose remote does not answer.
    pub unknown: u64,
    /// What is lost by it.
    pub lost: Lost,
    /// The versions that this reaches, in order of their branches and numbers.
    pub versions: Vec<Reached>,
    /// The paths in them.
    pub reaches: Vec<Reach>,
    /// What is worth a word, and no damage.
    pub notes: Vec<String>,
}

impl CheckReport {
    /// Whether there is no damage.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}
