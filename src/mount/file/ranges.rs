//! A set of numbers as sorted, disjoint, half-open ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of ranges. Adjacent ranges are merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// The end of each range, by its start.
    map: BTreeMap<u64, u64>,
}

/// A run of numbers that are all inside or all outside of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeRun {
    /// Whether the numbers are in the set.
    pub inside: bool,
    /// The first number after the run.
    pub end: u64,
}

impl RangeSet {
    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Returns the count of numbers in the set.
    pub fn total(&self) -> u64 {
        self.map.iter().map(|(start, end)| end - start).sum()
    }

    /// Iterates over the ranges in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.map.iter().map(|(start, end)| *start..*end)
    }

    /// Adds a range. Returns the parts that were not in the set before.
    pub fn insert(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        let added = self.missing(&range);
        if added.is_empty() {
            return added;
        }
        // A range that begins earlier and reaches the new one is merged with it.
        let (mut start, mut end) = (range.start, range.end);
        if let Some((before, before_end)) = self.map.range(..=start).next_back()
            && *before_end >= start
        {
            start = *before;
            end = end.max(*before_end);
        }
        // So are all ranges that begin inside the new one or directly after it.
        let swallowed: Vec<u64> = self.map.range(start..=end).map(|(s, _)| *s).collect();
        for at in swallowed {
            end = end.max(self.map.remove(&at).unwrap_or(end));
        }
        self.map.insert(start, end);
        added
    }

    /// Removes all numbers of a range from the set.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let touched: Vec<(u64, u64)> = self.within(&range).map(|(s, e)| (*s, *e)).collect();
        for (start, end) in touched {
            self.map.remove(&start);
            if start < range.start {
                self.map.insert(start, range.start);
            }
            if end > range.end {
                self.map.insert(range.end, end);
            }
        }
    }

    /// Returns whether the set contains a range completely.
    pub fn covers(&self, range: &Range<u64>) -> bool {
        range.is_empty()
            || self
                .map
                .range(..=range.start)
                .next_back()
                .is_some_and(|(_, end)| *end >= range.end)
    }

    /// Returns the longest run from the start of a range that is completely inside or completely
    /// outside of the set. The range must not be empty.
    pub fn run(&self, range: &Range<u64>) -> RangeRun {
        if let Some((_, end)) = self.map.range(..=range.start).next_back()
            && *end > range.start
        {
            return RangeRun {
                inside: true,
                end: range.end.min(*end),
            };
        }
        let next = self
            .map
            .range(range.start..)
            .next()
            .map_or(range.end, |(start, _)| *start);
        RangeRun {
            inside: false,
            end: range.end.min(next),
        }
    }

    /// Returns the parts of a range that are not in the set.
    pub fn missing(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut out = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let RangeRun { inside, end } = self.run(&(at..range.end));
            if !inside {
                out.push(at..end);
            }
            at = end;
        }
        out
    }

    /// Returns the ranges of the set that overlap a range.
    fn within(&self, range: &Range<u64>) -> impl Iterator<Item = (&u64, &u64)> {
        // A range that begins earlier may reach into this one.
        let first = self
            .map
            .range(..=range.start)
            .next_back()
            .filter(|(_, end)| **end > range.start);
        let from = if range.is_empty() {
            range.end
        } else {
            range.start + 1
        };
        let rest = self.map.range(from..range.end.max(from));
        first.filter(|_| !range.is_empty()).into_iter().chain(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set_of_numbers(steps in prop::collection::vec((any::<bool>(), 0u64..60, 0u64..20), 0..40)) {
            let (mut ranges, mut model) = (RangeSet::default(), BTreeSet::new());
            for (add, start, len) in steps {
                let range = start..start + len;
                if add {
                    let added: u64 = ranges.insert(range.clone()).iter().map(|r| r.end - r.start).sum();
                    let new = range.clone().filter(|n| model.insert(*n)).count() as u64;
                    prop_assert_eq!(added, new);
                } else {
                    ranges.remove(range.clone());
                    model.retain(|n| !range.contains(n));
                }
                let all: Vec<u64> = ranges.iter().flatten().collect();
                prop_assert_eq!(&all, &model.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(ranges.total(), model.len() as u64);
                prop_assert!(ranges.iter().zip(ranges.iter().skip(1)).all(|(a, b)| a.end < b.start));
                for from in 0..80u64 {
                    let probe = from..from + 3;
                    prop_assert_eq!(ranges.covers(&probe), probe.clone().all(|n| model.contains(&n)));
                    let RangeRun { inside, end } = ranges.run(&probe);
                    prop_assert!(end > from && (from..end).all(|n| model.contains(&n) == inside));
                    prop_assert!(end == probe.end || model.contains(&end) != inside);
                }
            }
        }
    }
}
