//! A state of the model: the repository and the registers of each process.
//!
//! Invariant: a state contains no references, because the search keeps millions of states.

use crate::set::{Set, Table};

/// Maximum number of packs in a run.
pub const PACKS: usize = 8;
/// Maximum number of segments in a run.
pub const SEGMENTS: usize = 9;
/// Maximum number of entries in each log.
pub const ENTRIES: usize = 10;
/// Number of refs.
pub const REFS: u8 = 3;
/// Number of the trash log among the logs. Its value is the set of forgotten versions.
pub const TRASH: u8 = 3;
/// Number of logs with fences: the refs and the trash log.
const LOGS: usize = 4;
/// Maximum number of processes.
pub const PROCESSES: usize = 4;
/// Value of `State::seen` for a worktree without stat records.
pub const NEVER: u8 = 255;

/// Returns the name of a log in traces.
pub fn log_name(log: u8) -> String {
    if log == TRASH {
        "trash log".to_owned()
    } else {
        format!("r{log}")
    }
}

/// A step would exceed a bound. The search counts the path and does not continue it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundExceeded;

/// The repository and all processes at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct State {
    pub packs: Packs,
    pub index: Index,
    pub gc_log: GcLog,
    pub logs: Table<ValueLog, LOGS>,
    /// `dead_seen` of each worktree: the number of the newest dead entry when its stat records were
    /// made.
    pub seen: Table<u8, 2>,
    pub lease: Lease,
    /// Whether a gc reported damage although nothing visible is damaged.
    pub false_alarm: bool,
    pub processes: Table<Process, PROCESSES>,
}

impl State {
    /// Returns the version that a ref points to, or 0 if there is none.
    pub fn value(&self, log: u8) -> u8 {
        self.logs[log].value()
    }

    /// Returns the forgotten versions.
    pub fn forgotten(&self) -> Set {
        Set::from_byte(self.logs[TRASH].value())
    }

    /// Returns the name and the value of a log in the form for traces.
    pub fn shown_log(&self, log: u8) -> String {
        match log {
            TRASH => format!("trash log = {}", self.forgotten().named('v')),
            _ => format!("r{log} = v{}", self.value(log)),
        }
    }

    /// Returns the packs whose rows a reader uses.
    pub fn readable_rows(&self) -> Set {
        self.index.packs() - self.gc_log.dead()
    }
}

/// All packs that ever had a name, and which of them exist.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Packs {
    pub count: u8,
    pub existing: Set,
    pub content: Table<Set, PACKS>,
    /// The chunks that each pack stores as deltas.
    pub deltas: Table<Set, PACKS>,
    /// The chunks that are damaged in each pack. Damage is found only by reading.
    pub damaged: Table<Set, PACKS>,
}

impl Packs {
    /// Stores a new pack and returns its number.
    pub fn add(&mut self, content: Set, deltas: Set) -> Result<u8, BoundExceeded> {
        let new = self.count;
        if usize::from(new) >= PACKS {
            return Err(BoundExceeded);
        }
        self.content[new] = content;
        self.deltas[new] = deltas;
        self.existing |= Set::one(new);
        self.count += 1;
        Ok(new)
    }

    /// Returns the packs of `among` with a copy of `chunk`.
    pub fn with_chunk(&self, among: Set, chunk: u8) -> Set {
        among.filter(|p| self.content[p].has(chunk))
    }

    /// Returns the packs of `among` with a complete copy of `chunk`.
    pub fn with_whole(&self, among: Set, chunk: u8) -> Set {
        among.filter(|p| (self.content[p] - self.deltas[p]).has(chunk))
    }

    /// Returns the packs of `among` with a copy of one of `chunks`.
    pub fn with_any(&self, among: Set, chunks: Set) -> Set {
        among.filter(|p| self.content[p].meets(chunks))
    }

    /// Returns the chunks of which a pack of `among` has a damaged copy.
    pub fn damaged_in(&self, among: Set) -> Set {
        among.union_of(|p| self.damaged[p])
    }
}

/// The index: its segments, the packs in their rows, and the segments that they replace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Index {
    pub count: u8,
    pub existing: Set,
    pub rows: Table<Set, SEGMENTS>,
    pub replaces: Table<Set, SEGMENTS>,
}

impl Index {
    /// Returns the segments that are not replaced by an existing segment.
    pub fn live(&self) -> Set {
        self.existing - self.existing.union_of(|k| self.replaces[k])
    }

    /// Returns the packs in the rows of live segments.
    pub fn packs(&self) -> Set {
        self.rows_of(self.live())
    }

    /// Returns the packs in the rows of these segments.
    pub fn rows_of(&self, segments: Set) -> Set {
        segments.union_of(|k| self.rows[k])
    }

    /// Stores a segment. The name of a segment depends on its content, so a second segment with
    /// equal rows and equal replaced segments is the same segment.
    pub fn add(&mut self, rows: Set, replaces: Set) -> Result<(), BoundExceeded> {
        let new = self.count;
        if let Some(same) =
            (0..new).find(|k| self.rows[*k] == rows && self.replaces[*k] == replaces)
        {
            self.existing |= Set::one(same);
            return Ok(());
        }
        if usize::from(new) >= SEGMENTS {
            return Err(BoundExceeded);
        }
        self.rows[new] = rows;
        self.replaces[new] = replaces;
        self.existing |= Set::one(new);
        self.count += 1;
        Ok(())
    }
}

/// The kind of an entry of the gc log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum EntryKind {
    /// An entry that folding removed. Its number is never used again.
    #[default]
    Folded,
    Plan,
    Dead,
}

/// An entry of the gc log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct LogEntry {
    pub kind: EntryKind,
    pub packs: Set,
}

/// The gc log. Entry n is in row n - 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct GcLog {
    /// Number of the newest entry.
    pub number: u8,
    pub entries: Table<LogEntry, ENTRIES>,
}

impl GcLog {
    pub fn append(&mut self, kind: EntryKind, packs: Set) -> Result<(), BoundExceeded> {
        if usize::from(self.number) >= ENTRIES {
            return Err(BoundExceeded);
        }
        self.entries[self.number] = LogEntry { kind, packs };
        self.number += 1;
        Ok(())
    }

    /// Returns the packs of the newest entry if it is a plan.
    pub fn plan(&self) -> Option<Set> {
        let newest = self.entries[self.number.checked_sub(1)?];
        (newest.kind == EntryKind::Plan).then_some(newest.packs)
    }

    /// Returns the dead packs.
    pub fn dead(&self) -> Set {
        let dead = self.entries.0.iter().filter(|e| e.kind == EntryKind::Dead);
        dead.fold(Set::EMPTY, |all, e| all | e.packs)
    }

    /// Returns the number of the newest dead entry, or 0 if there is none.
    pub fn dead_number(&self) -> u8 {
        let dead = (0..self.number)
            .rev()
            .find(|n| self.entries[*n].kind == EntryKind::Dead);
        dead.map_or(0, |n| n + 1)
    }

    /// Returns whether folding removed the entry with this number.
    pub fn is_folded(&self, number: u8) -> bool {
        self.entries[number - 1].kind == EntryKind::Folded
    }

    /// Removes all entries with a lower number.
    pub fn fold_before(&mut self, number: u8) {
        (1..number).for_each(|n| self.entries[n - 1] = LogEntry::default());
    }
}

/// The log of a ref, or the trash log. Each entry is one value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct ValueLog {
    /// Number of the newest entry.
    pub number: u8,
    values: Table<u8, ENTRIES>,
}

impl ValueLog {
    pub fn append(&mut self, value: u8) -> Result<(), BoundExceeded> {
        if usize::from(self.number) >= ENTRIES {
            return Err(BoundExceeded);
        }
        self.values[self.number] = value;
        self.number += 1;
        Ok(())
    }

    /// Returns the value of the newest entry, or 0 if there is none.
    pub fn value(&self) -> u8 {
        self.number
            .checked_sub(1)
            .map_or(0, |newest| self.values[newest])
    }
}

/// The only lease, which is a root without a log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Lease {
    pub version: u8,
    /// Whether the writer of the lease has verified that the version is complete.
    pub is_confirmed: bool,
}

/// The next step of a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Step {
    /// The first step of an operation. For writers it is W0, which reads the gc log; for a gc it is
    /// M0.
    #[default]
    Start,
    // Writers.
    Base,
    ReadTrash,
    LateW0,
    Lookup,
    Upload,
    Segment,
    Tip,
    Reserve,
    Reread,
    Walk,
    Reforget,
    Create,
    Remember,
    // Leases and merges of segments.
    WriteRoot,
    Withdraw,
    Publish,
    // A gc.
    Roots,
    ListPacks,
    Mark,
    Repack,
    RepackSegment,
    Plan,
    ListLogs,
    Fence,
    FenceRoots,
    Decide,
    Dead,
    Fold,
    CleanUp,
    Replace,
    DeleteSegments,
    DeletePacks,
    ForgetNames,
}

/// Registers of a process. A register is undefined outside the steps that use it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Process {
    /// Number of the operation in the program.
    pub op: u8,
    pub step: Step,
    /// Number of a gc log entry. Writers: the entry read at W0. A gc: the entry that the next
    /// create must follow.
    pub number: u8,
    /// Number of the newest dead entry at the last read of the gc log.
    pub dead_number: u8,
    /// D at the last read of the gc log. For a gc, only the dead packs.
    pub d: Set,

    // Writers.
    /// R: the packs that the writer relies on.
    pub relied: Set,
    /// Chunks that are taken over without a lookup.
    pub unread: Set,
    /// Chunks to store, and those of them that become deltas.
    pub store: Set,
    pub deltas: Set,
    /// The most recently written pack.
    pub pack: u8,
    /// Number of the entry that T or a fence read last.
    pub tip: u8,
    /// Value of the entry that T read last.
    pub parent: u8,
    /// Chunks that need no walk, because the parent contains them.
    pub covered: Set,
    /// Chunks that the walk after W1 must find.
    pub to_walk: Set,
    /// The version to take over.
    pub version: u8,
    /// The value of the ref through which the version was found.
    pub shown_by: u8,
    /// Number of the gc log at W1.
    pub reread_at: u8,
    /// Number of the trash log at the time when a walk skipped `skipped`.
    pub trash_number: u8,
    /// Forgotten versions that the walk skipped although they are incomplete.
    pub skipped: Set,

    // A gc, or a merge of segments.
    /// Number of the next root to read.
    pub root: u8,
    /// Values of the refs read so far, without 0.
    pub tips: Set,
    pub forgotten: Set,
    pub leased: u8,
    /// Packs of the current step: first those listed, then those planned, then those to declare
    /// dead.
    pub packs: Set,
    /// Chunks that a repack copies.
    pub copied: Set,
    /// Logs that do not have a fence yet.
    pub logs: Set,
    /// Segments to replace, segments to delete, packs to delete.
    pub segments: Set,
    pub old_segments: Set,
    pub old_packs: Set,
    /// Whether the gc continues with an entry at a number that folding had freed. Possible only
    /// without the rule `list_after_create`.
    pub is_ghost: bool,
}
