//! A bounded cache in memory. Each value has a weight, and the least recently used values are
//! dropped first.

use std::hash::Hash;

use hashlink::LruCache;

/// Limit on the values in use that one `put` skips, so that its duration does not grow with the
/// number of values in use.
const SKIPPED_MAX: usize = 16;

/// Values by key, with a limit on their total weight, which values in use may exceed.
pub struct WeightedLru<K, V> {
    values: LruCache<K, Weighted<V>>,
    weight: usize,
    limit: usize,
}

struct Weighted<V> {
    value: V,
    weight: usize,
}

impl<K: Hash + Eq, V> WeightedLru<K, V> {
    /// Returns an empty cache with a limit on the sum of all weights.
    pub fn new(limit: usize) -> Self {
        Self {
            values: LruCache::new_unbounded(),
            weight: 0,
            limit,
        }
    }

    /// Returns a value and marks it as the most recently used one.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        self.values.get(key).map(|found| &found.value)
    }

    /// Stores a value, and drops the least recently used ones until the limit is met. A value for
    /// which `in_use` returns true stays, because dropping it here would not free its memory.
    pub fn put(&mut self, key: K, value: V, weight: usize, in_use: impl Fn(&V) -> bool) {
        // Otherwise the weight of a replaced value would count forever.
        self.remove(&key);
        self.weight += weight;
        self.values.insert(key, Weighted { value, weight });
        let mut skipped = 0;
        while self.weight > self.limit && skipped < SKIPPED_MAX {
            let Some((key, oldest)) = self.values.remove_lru() else {
                break;
            };
            if in_use(&oldest.value) {
                self.values.insert(key, oldest);
                skipped += 1;
            } else {
                self.weight -= oldest.weight;
            }
        }
    }

    /// Drops a value.
    pub fn remove(&mut self, key: &K) {
        if let Some(removed) = self.values.remove(key) {
            self.weight -= removed.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(cache: &WeightedLru<u32, u32>) -> Vec<u32> {
        cache.values.iter().map(|(key, _)| *key).collect()
    }

    #[test]
    fn the_least_recently_used_value_is_dropped_first() {
        let mut cache = WeightedLru::new(10);
        for n in 0..3 {
            cache.put(n, n, 3, |_| false);
        }
        assert_eq!(cache.get(&0), Some(&0));
        cache.put(3, 3, 4, |_| false);
        assert_eq!((keys(&cache), cache.weight), (vec![2, 0, 3], 10));
        cache.put(3, 7, 1, |_| false);
        assert_eq!((cache.get(&3).copied(), cache.weight), (Some(7), 7));
        cache.remove(&3);
        cache.remove(&9);
        assert_eq!((cache.get(&3).copied(), cache.weight), (None, 6));
        cache.put(4, 4, 11, |_| false);
        assert_eq!((keys(&cache), cache.weight), (vec![], 0));
    }

    #[test]
    fn values_in_use_stay() {
        let mut cache = WeightedLru::new(10);
        for n in 0..5 {
            cache.put(n, n, 8, |value| *value == 0);
        }
        assert_eq!((keys(&cache), cache.weight), (vec![0], 8));
        for n in 1..100 {
            // All values are in use, so the cache exceeds its limit.
            cache.put(n, n, 1, |_| true);
        }
        assert_eq!((keys(&cache).len(), cache.weight), (100, 107));
        cache.put(100, 100, 1, |_| false);
        assert_eq!((keys(&cache).len(), cache.weight), (10, 10));
    }
}
