//! The report of a repair: the objects, packs and refs that are intact again, and their sources.

use crate::model::id::Id;
use crate::model::refname::RefKind;

/// The contribution of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceShare {
    /// The name of the remote, or the path.
    pub name: String,
    /// Packs that were restored as a whole.
    pub packs: u64,
    /// Index segments that were restored as a whole.
    pub segments: u64,
    /// Objects that were stored again.
    pub objects: u64,
    /// Bytes of these packs, segments and objects.
    pub bytes: u64,
}

/// A branch or tag whose newest entry was rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairedRef {
    pub kind: RefKind,
    pub name: String,
    /// The value; `None` if the ref is deleted.
    pub id: Option<Id>,
    /// The place of the value: a remote, or `log` for the previous entry.
    pub source: String,
}

/// A branch or tag whose newest entry could not be rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnrepairedRef {
    /// Key of the log.
    pub log: String,
    /// The value of the newest intact entry.
    pub previous: Option<Id>,
}

/// The result of a repair, or of its dry run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Lost objects that can be read again.
    pub objects: u64,
    /// Damaged packs that were restored, or whose objects were stored again.
    pub packs: u64,
    /// Damaged index segments that were restored or rebuilt.
    pub segments: u64,
    /// Entries of logs of refs that were reconstructed from their neighbours.
    pub entries: u64,
    /// The sources that have contributed, in the order of first use.
    pub sources: Vec<SourceShare>,
    /// Refs whose newest entry was rewritten.
    pub refs: Vec<RepairedRef>,
    /// Refs whose newest entry is still damaged.
    pub unrepaired_refs: Vec<UnrepairedRef>,
    /// Keys of damaged packs that are not needed any more, because their objects are stored again.
    pub replaced_packs: Vec<String>,
}

impl RepairReport {
    /// Returns whether nothing was repaired.
    pub fn is_empty(&self) -> bool {
        self.packs == 0
            && self.objects == 0
            && self.segments == 0
            && self.entries == 0
            && self.refs.is_empty()
    }

    /// Adds to the share of a source.
    pub(super) fn add(&mut self, name: &str, add: impl FnOnce(&mut SourceShare)) {
        let at = self
            .sources
            .iter()
            .position(|source| source.name == name)
            .unwrap_or_else(|| {
                self.sources.push(SourceShare {
                    name: name.to_owned(),
                    ..SourceShare::default()
                });
                self.sources.len() - 1
            });
        if let Some(share) = self.sources.get_mut(at) {
            add(share);
        }
    }
}
