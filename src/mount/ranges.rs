//! A set of numbers as sorted, disjoint, half-open ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// The set; touching ranges are one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// Start to end.
    map: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// How many numbers are in it.
    pub fn total(&self) -> u64 {
        self.map.iter().map(|(start, end)| end - start).sum()
    }

    /// All ranges in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.map.iter().map(|(start, end)| *start..*end)
    }

    /// Adds a range; returns what of it was not there yet.
    pub fn insert(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        let added = self.absent(&range);
        if added.is_empty() {
            return added;
        }
        let (mut start, mut end) = (range.start, range.end);
        if let Some((before, before_end)) = self.map.range(..=start).next_back()
            && *before_end >= start
        {
            start = *before;
            end = end.max(*before_end);
        }
        let swallowed: Vec<u64> = self.map.range(start..=end).map(|(s, _)| *s).collect();
        for at in swallowed {
            end = end.max(self.map.remove(&at).unwrap_or(end));
        }
        self.map.insert(start, end);
        added
    }

    /// Takes a range out.
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

    /// Whether all of a range is in it.
    pub fn covers(&self, range: &Range<u64>) -> bool {
        range.is_empty() || self.map.range(..=range.start).next_back().is_some_and(|(_, end)| *end >= range.end)
    }

    /// The part of a range from its start that is either all in the set or all outside: which, and its end.
    pub fn run(&self, range: &Range<u64>) -> (bool, u64) {
        if let Some((_, end)) = self.map.range(..=range.start).next_back()
            && *end > range.start
        {
            return (true, range.end.min(*end));
        }
        let next = self.map.range(range.start..).next().map_or(range.end, |(start, _)| *start);
        (false, range.end.min(next))
    }

    /// What of a range is not in it.
    pub fn absent(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut out = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let (inside, end) = self.run(&(at..range.end));
            if !inside {
                out.push(at..end);
            }
            at = end;
        }
        out
    }

    /// The ranges that have something in common with one.
    fn within(&self, range: &Range<u64>) -> impl Iterator<Item = (&u64, &u64)> {
        let first = self.map.range(..=range.start).next_back().filter(|(_, end)| **end > range.start);
        let from = if range.is_empty() { range.end } else { range.start + 1 };
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
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
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
                    let (inside, end) = ranges.run(&probe);
                    prop_assert!(end > from && (from..end).all(|n| model.contains(&n) == inside));
                    prop_assert!(end == probe.end || model.contains(&end) != inside);
                }
            }
        }
    }
}
