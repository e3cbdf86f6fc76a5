//! A set of fixed size that remembers which nodes a walk has seen. The set may forget a node, which
//! only costs a second visit, because objects never form a cycle.

use parking_lot::Mutex;

use crate::model::id::Id;

/// Number of locks; with many of them, threads rarely wait for each other.
const SHARDS: usize = 64;
/// Number of slots that are tried for an id before one is overwritten.
const PROBES: usize = 4;

/// The nodes that were seen, by the first 16 bytes of their ids.
pub(super) struct VisitedSet {
    shards: Vec<Mutex<Vec<u128>>>,
    slots: usize,
}

impl VisitedSet {
    /// Creates a set of about `bytes` bytes, which are allocated at first use.
    pub(super) fn new(bytes: usize) -> Self {
        let slots = (bytes / 16 / SHARDS).next_power_of_two().max(PROBES);
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            slots,
        }
    }

    /// Adds an id; returns false if the set already contains it.
    pub(super) fn insert(&self, id: &Id) -> bool {
        let (head, _) = id.0.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        // 0 marks an empty slot.
        let key = u128::from_be_bytes(*head).max(1);
        // The last bytes of the id choose the slot, and the first ones are compared.
        let spread =
            id.0.last_chunk::<8>()
                .map_or(0, |tail| u64::from_be_bytes(*tail));
        let shard = usize::try_from(spread % SHARDS as u64).unwrap_or(0);
        let start = usize::try_from(spread / SHARDS as u64).unwrap_or(0);
        let mut slots = self.shards[shard].lock();
        if slots.is_empty() {
            slots.resize(self.slots, 0);
        }
        for probe in 0..PROBES {
            let slot = &mut slots[(start + probe) & (self.slots - 1)];
            if *slot == key {
                return false;
            }
            if *slot == 0 {
                *slot = key;
                return true;
            }
        }
        let victim = (start + (head[0] as usize) % PROBES) & (self.slots - 1);
        slots[victim] = key;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_set_forgets_but_never_invents() {
        let id = |n: u32| Id(*blake3::hash(&n.to_le_bytes()).as_bytes());
        let set = VisitedSet::new(64 << 10);
        assert!(set.insert(&id(1)) && !set.insert(&id(1)));
        let new = (2..20_000).filter(|n| set.insert(&id(*n))).count();
        assert_eq!(
            new, 19_998,
            "an id that was never inserted is never reported as seen"
        );
        assert!(set.insert(&id(30_000)) && !set.insert(&id(30_000)));
    }
}
