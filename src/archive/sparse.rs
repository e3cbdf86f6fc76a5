//! The data ranges of sparse files, and their encodings in archives.

use super::records::number;

/// A range of data in a file.
pub type Run = (u64, u64);

/// Limit on the number of ranges that are written. A file with more ranges has its small holes
/// written as zeros.
pub const RUNS_MAX: usize = 10_000;
/// Limit on the number of ranges that are read.
const READ_MAX: usize = 1 << 20;

/// Merges ranges with small holes between them until at most [`RUNS_MAX`] ranges remain.
pub fn few(mut runs: Vec<Run>) -> Vec<Run> {
    // The smallest holes are filled first, because they add the fewest zeros.
    let mut hole = 64 << 10;
    while runs.len() > RUNS_MAX {
        hole *= 2;
        runs = joined(&runs, hole);
    }
    runs
}

fn joined(runs: &[Run], hole: u64) -> Vec<Run> {
    let mut out: Vec<Run> = Vec::new();
    for run in runs {
        match out.last_mut() {
            Some(last) if run.0 - (last.0 + last.1) < hole => last.1 = run.0 + run.1 - last.0,
            _ => out.push(*run),
        }
    }
    out
}

/// Returns the map of a file of `size` bytes in GNU tar's sparse format 1.0, without padding.
pub fn map_of(runs: &[Run], size: u64) -> Vec<u8> {
    let ends_with_data = runs.last().is_some_and(|r| r.0 + r.1 == size);
    // A hole at the end is encoded as an empty range.
    let end = (!ends_with_data).then_some((size, 0));
    let mut out = format!("{}\n", runs.len() + usize::from(end.is_some()));
    for (offset, len) in runs.iter().copied().chain(end) {
        out.push_str(&format!("{offset}\n{len}\n"));
    }
    out.into_bytes()
}

/// Converts offsets and lengths to ranges. Returns `None` for an odd number of values, or too many
/// ranges.
pub fn pairs(numbers: &[u64]) -> Option<Vec<Run>> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    (rest.is_empty() && pairs.len() <= READ_MAX)
        .then(|| pairs.iter().map(|p| (p[0], p[1])).collect())
}

/// Parses a map of format 0.1: decimal numbers separated by commas.
pub fn with_commas(text: &[u8]) -> Option<Vec<Run>> {
    let numbers = text
        .split(|b| *b == b',')
        .filter(|n| !n.is_empty())
        .map(number)
        .collect::<Option<Vec<_>>>()?;
    pairs(&numbers)
}

/// Returns how many numbers follow the first line of a map of format 1.0, which holds the number of
/// ranges.
pub fn numbers_after(first: u64) -> Option<usize> {
    usize::try_from(first)
        .ok()
        .filter(|n| *n <= READ_MAX)
        .map(|n| n * 2)
}

/// Checks that ranges are sorted, are inside a file of `size` bytes and have `stored` bytes in
/// total. Removes empty ranges.
pub fn checked(runs: Vec<Run>, size: u64, stored: u64) -> Option<Vec<Run>> {
    let (mut end, mut sum) = (0u64, 0u64);
    for (offset, len) in &runs {
        // The data in a stream comes in the order of the map, and a stream cannot go back.
        if *offset < end {
            return None;
        }
        end = offset.checked_add(*len)?;
        sum = sum.checked_add(*len)?;
    }
    (end <= size && sum == stored && runs.len() <= READ_MAX)
        .then(|| runs.into_iter().filter(|r| r.1 > 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps() {
        assert_eq!(map_of(&[(0, 5), (100, 7)], 107), b"2\n0\n5\n100\n7\n");
        assert_eq!(map_of(&[], 9), b"1\n9\n0\n");
        assert_eq!(with_commas(b"0,5,100,7"), Some(vec![(0, 5), (100, 7)]));
        assert_eq!(with_commas(b"0,5,100"), None);
        assert_eq!(with_commas(b"0,x"), None);
    }

    #[test]
    fn runs_are_checked() {
        assert_eq!(
            checked(vec![(0, 5), (100, 7), (107, 0)], 107, 12),
            Some(vec![(0, 5), (100, 7)])
        );
        for (runs, size, stored) in [
            // Overlapping ranges; data beyond the end; another amount of data; sums that overflow.
            (vec![(0, 5), (3, 7)], 107, 12),
            (vec![(0, 5)], 4, 5),
            (vec![(0, 5)], 9, 6),
            (vec![(u64::MAX, 5)], u64::MAX, 5),
            (vec![(0, u64::MAX), (u64::MAX, u64::MAX)], u64::MAX, 9),
        ] {
            assert_eq!(checked(runs, size, stored), None);
        }
    }

    #[test]
    fn too_many_runs_are_put_together() {
        let runs: Vec<Run> = (0..50_000).map(|n| (n * 200_000, 65_536)).collect();
        let few = few(runs.clone());
        assert!(few.len() <= RUNS_MAX);
        assert_eq!(
            (few[0].0, few.last().map(|r| r.0 + r.1)),
            (0, runs.last().map(|r| r.0 + r.1))
        );
    }
}
