//! The versions of a scenario: their chunks, their parents, and the bases of deltas.

use crate::set::{Set, Table};
use crate::state::Packs;

/// Number of versions, including version 0, which means no version.
pub const VERSIONS: usize = 6;
/// Number of chunks.
pub const CHUNKS: usize = 5;

/// The versions of a scenario.
#[derive(Clone, Copy, Debug)]
pub struct History {
    pub chunks: Table<Set, VERSIONS>,
    pub parent: Table<u8, VERSIONS>,
    /// The base of the deltas of each chunk.
    pub base: Table<Option<u8>, CHUNKS>,
}

impl History {
    /// Returns the chunks of a version and of its ancestors that are not forgotten.
    pub fn closure(&self, version: u8, forgotten: Set) -> Set {
        let mut all = self.chunks[version];
        let mut v = self.parent[version];
        while v != 0 {
            if !forgotten.has(v) {
                all |= self.chunks[v];
            }
            v = self.parent[v];
        }
        all
    }

    /// Returns the chunks that only forgotten ancestors of a version need.
    pub fn only_forgotten(&self, version: u8, forgotten: Set) -> Set {
        self.closure(version, Set::EMPTY) - self.closure(version, forgotten)
    }

    /// Returns the forgotten ancestors of a version that are incomplete if only the chunks
    /// `present` exist.
    pub fn lost_ancestors(&self, version: u8, forgotten: Set, present: Set) -> Set {
        forgotten.filter(|v| {
            v != version && !(self.chunks[v] - present).is_empty() && self.is_ancestor(v, version)
        })
    }

    /// Returns whether `version` is `of` or one of its ancestors.
    pub fn is_ancestor(&self, version: u8, of: u8) -> bool {
        let mut v = of;
        while v != 0 && v != version {
            v = self.parent[v];
        }
        v != 0
    }

    /// Returns the chunks, and the bases of their deltas.
    pub fn with_bases(&self, chunks: Set) -> Set {
        chunks | chunks.iter().filter_map(|x| self.base[x]).collect()
    }

    /// Returns the packs of `among` with a complete copy of the base of `chunk`.
    pub fn base_copies(&self, packs: &Packs, among: Set, chunk: u8) -> Set {
        self.base[chunk].map_or(Set::EMPTY, |base| packs.with_whole(among, base))
    }

    /// Returns the chunks that the packs contain. A delta counts only if its base is present.
    pub fn present(&self, packs: &Packs, among: Set) -> Set {
        self.copies(packs, among, |p| packs.content[p])
    }

    /// Returns the chunks of which the packs contain an undamaged copy. A delta counts only if its
    /// base is present.
    pub fn readable(&self, packs: &Packs, among: Set) -> Set {
        self.copies(packs, among, |p| packs.content[p] - packs.damaged[p])
    }

    fn copies(&self, packs: &Packs, among: Set, content: impl Fn(u8) -> Set) -> Set {
        let (mut whole, mut deltas) = (Set::EMPTY, Set::EMPTY);
        for p in among.iter() {
            let content = content(p);
            whole |= content - packs.deltas[p];
            deltas |= content & packs.deltas[p];
        }
        whole | deltas.filter(|x| self.base[x].is_some_and(|base| whole.has(base)))
    }

    /// Returns the packs of `among` with a copy of one of `chunks`, or of a base of one of them.
    pub fn holders(&self, packs: &Packs, chunks: Set, among: Set) -> Set {
        packs.with_any(among, self.with_bases(chunks))
    }
}
