//! The lines in which two texts differ, in hunks with context. Computed by Myers' algorithm; in
//! long texts, only between lines that are unique in both.
//!
//! Ranges that differ in many lines become one replacement, so that time and memory stay bounded.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use similar::algorithms::{Capture, DiffHook, NoFinishHook, Replace, myers};
use similar::{ChangeTag, DiffOp};

/// Maximum length of a text in bytes. Longer texts are not compared line by line.
pub const TEXT_MAX: u64 = 1 << 20;
/// Number of unchanged lines around a change.
const CONTEXT: usize = 3;
/// Limit on the lines of a range that have no counterpart in the other text. With more of them, one
/// replacement covers the whole range.
const UNPAIRED_MAX: usize = 1000;
/// Maximum number of lines of both texts in a range that is compared exactly. The time grows with
/// the square of this number if the lines are in a different order, for example after a sort.
const EXACT_MAX: usize = 4000;

/// The texts that contain a line of a hunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Both texts.
    Same,
    /// Only the old text.
    Removed,
    /// Only the new text.
    Added,
}

/// Changed lines with their surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hunk {
    /// Lines of the old text, from 0.
    pub old: Range<usize>,
    /// Lines of the new text, from 0.
    pub new: Range<usize>,
    /// The lines with their line endings.
    pub lines: Vec<(Mark, Vec<u8>)>,
}

/// Returns whether bytes are text: no NUL in the first 8000 bytes.
pub fn is_text(bytes: &[u8]) -> bool {
    // git looks at the same number of bytes (`FIRST_FEW_BYTES` in its xdiff-interface.c).
    !bytes.iter().take(8000).any(|b| *b == 0)
}

/// Returns the hunks that turn `old` into `new`.
pub fn hunks(old: &[u8], new: &[u8]) -> Vec<Hunk> {
    let old: Vec<&[u8]> = old.split_inclusive(|b| *b == b'\n').collect();
    let new: Vec<&[u8]> = new.split_inclusive(|b| *b == b'\n').collect();
    let mut script = Replace::new(Capture::new());
    let Ok(()) = compare(&mut script, &old, &new);
    let groups = script.into_inner().into_grouped_ops(CONTEXT);
    groups
        .iter()
        .filter_map(|group| hunk(group, &old, &new))
        .collect()
}

/// Reports the edits that turn `old` into `new`. A long text is divided at lines that are unique in
/// both texts and in the same order.
fn compare<D: DiffHook>(script: &mut D, old: &[&[u8]], new: &[&[u8]]) -> Result<(), D::Error> {
    // Hashing takes longer than a comparison, so leave out the lines before and after all changes.
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..]
        .iter()
        .rev()
        .zip(new[head..].iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let (old_end, new_end) = (old.len() - tail, new.len() - tail);
    if head > 0 {
        script.equal(0, 0, head)?;
    }
    let mut anchors = Vec::new();
    // With too many unpaired lines, `stretch` reports one replacement anyway.
    if old_end + new_end - 2 * head > EXACT_MAX
        && unpaired(&old[head..old_end], &new[head..new_end]) <= UNPAIRED_MAX
    {
        anchors = common_unique(&old[head..old_end], &new[head..new_end]);
    }
    let (mut a, mut b) = (head, head);
    for (x, y) in anchors
        .into_iter()
        .map(|(x, y)| (head + x, head + y))
        .chain([(old_end, new_end)])
    {
        stretch(script, old, a..x, new, b..y)?;
        // The last pair is the end of the stretch and not a line.
        if x < old_end {
            script.equal(x, y, 1)?;
        }
        (a, b) = (x + 1, y + 1);
    }
    if tail > 0 {
        script.equal(old_end, new_end, tail)?;
    }
    script.finish()
}

/// Reports the edits that turn `old[a]` into `new[b]`. Long ranges, and ranges with many unpaired
/// lines, are reported as one replacement, because an exact diff would be slow.
fn stretch<D: DiffHook>(
    script: &mut D,
    old: &[&[u8]],
    a: Range<usize>,
    new: &[&[u8]],
    b: Range<usize>,
) -> Result<(), D::Error> {
    if a.len() + b.len() <= EXACT_MAX && unpaired(&old[a.clone()], &new[b.clone()]) <= UNPAIRED_MAX
    {
        return myers::diff(&mut NoFinishHook::new(script), old, a, new, b);
    }
    // An exact comparison would take too long here, so the stretch is one replacement.
    script.delete(a.start, a.len(), b.start)?;
    script.insert(a.end, b.start, b.len())
}

/// Returns the number of lines that have no counterpart in the other text, in any order.
fn unpaired(old: &[&[u8]], new: &[&[u8]]) -> usize {
    let mut surplus: HashMap<&[u8], isize> = HashMap::new();
    for line in old {
        *surplus.entry(line).or_default() += 1;
    }
    for line in new {
        *surplus.entry(line).or_default() -= 1;
    }
    surplus.values().map(|count| count.unsigned_abs()).sum()
}

/// Returns the positions in both texts of lines that occur once in each: a longest sequence of such
/// lines in the same order.
fn common_unique(old: &[&[u8]], new: &[&[u8]]) -> Vec<(usize, usize)> {
    let mut found: HashMap<&[u8], [Option<usize>; 2]> = HashMap::new();
    let mut repeated: HashSet<&[u8]> = HashSet::new();
    for (side, lines) in [old, new].into_iter().enumerate() {
        for (at, line) in lines.iter().enumerate() {
            if found.entry(line).or_default()[side].replace(at).is_some() {
                repeated.insert(line);
            }
        }
    }
    let mut pairs: Vec<(usize, usize)> = found
        .into_iter()
        .filter(|(line, _)| !repeated.contains(line))
        .filter_map(|(_, [a, b])| Some((a?, b?)))
        .collect();
    pairs.sort_unstable();
    // A longest increasing subsequence of the positions in `new`: `ends` has the last pair of the
    // best sequence of each length, and `before` the predecessor of each pair.
    let (mut ends, mut before): (Vec<usize>, Vec<Option<usize>>) = (Vec::new(), Vec::new());
    for (n, (_, at)) in pairs.iter().enumerate() {
        let len = ends.partition_point(|end| pairs[*end].1 < *at);
        before.push(len.checked_sub(1).map(|shorter| ends[shorter]));
        if len == ends.len() {
            ends.push(n);
        } else {
            ends[len] = n;
        }
    }
    let mut chosen: Vec<_> = std::iter::successors(ends.last().copied(), |n| before[*n])
        .map(|n| pairs[n])
        .collect();
    chosen.reverse();
    chosen
}

fn hunk(group: &[DiffOp], old: &[&[u8]], new: &[&[u8]]) -> Option<Hunk> {
    let (first, last) = (group.first()?, group.last()?);
    let lines = group
        .iter()
        .flat_map(|op| op.iter_changes(old, new))
        .map(|change| {
            let mark = match change.tag() {
                ChangeTag::Equal => Mark::Same,
                ChangeTag::Delete => Mark::Removed,
                ChangeTag::Insert => Mark::Added,
            };
            (mark, change.value().to_vec())
        });
    Some(Hunk {
        old: first.old_range().start..last.old_range().end,
        new: first.new_range().start..last.new_range().end,
        lines: lines.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert_eq, proptest};

    fn shown(old: &str, new: &str) -> String {
        let mut text = String::new();
        for hunk in hunks(old.as_bytes(), new.as_bytes()) {
            text += &format!("@@ {:?} {:?}\n", hunk.old, hunk.new);
            for (mark, line) in hunk.lines {
                let mark = match mark {
                    Mark::Same => ' ',
                    Mark::Removed => '-',
                    Mark::Added => '+',
                };
                text += &format!("{mark}{}", String::from_utf8(line).unwrap());
            }
        }
        text
    }

    #[test]
    fn hunks_have_context() {
        let old: String = (1..=20).map(|n| format!("{n}\n")).collect();
        // The first replacement also changes line 13.
        let new = old.replace("3\n", "three\n").replacen("17\n", "", 1);
        insta::assert_snapshot!(shown(&old, &new), @"
        @@ 0..6 0..6
         1
         2
        -3
        +three
         4
         5
         6
        @@ 9..20 9..19
         10
         11
         12
        -13
        +1three
         14
         15
         16
        -17
         18
         19
         20
        ");
        assert_eq!(shown(&old, &old), "");
        assert_eq!(shown("", "a\n"), "@@ 0..0 0..1\n+a\n");
    }

    fn lines(text: &str) -> Vec<&str> {
        text.split_inclusive('\n').collect()
    }

    /// Returns the old text with the changes of the hunks.
    fn applied(old: &str, hunks: &[Hunk]) -> String {
        let old = lines(old);
        let (mut out, mut at) = (String::new(), 0);
        for hunk in hunks {
            let side = |without: Mark| -> Vec<&str> {
                let kept = hunk.lines.iter().filter(|line| line.0 != without);
                kept.map(|line| std::str::from_utf8(&line.1).unwrap())
                    .collect()
            };
            assert_eq!(side(Mark::Added), old[hunk.old.clone()]);
            out += &old[at..hunk.old.start].concat();
            assert_eq!(lines(&out).len(), hunk.new.start);
            out += &side(Mark::Removed).concat();
            assert_eq!(lines(&out).len(), hunk.new.end);
            at = hunk.old.end;
        }
        out + &old[at..].concat()
    }

    fn changes(hunks: &[Hunk]) -> usize {
        hunks
            .iter()
            .flat_map(|hunk| &hunk.lines)
            .filter(|line| line.0 != Mark::Same)
            .count()
    }

    fn numbers(numbers: impl Iterator<Item = u32>) -> String {
        numbers.map(|n| format!("{n}\n")).collect()
    }

    #[test]
    fn very_different_texts_are_one_replacement() {
        let (old, new) = (numbers(0..60_000), numbers((0..60_000).map(|n| n - n % 2)));
        let found = hunks(old.as_bytes(), new.as_bytes());
        assert_eq!((found.len(), changes(&found)), (1, 2 * 59_999));
        assert_eq!(applied(&old, &found), new);
    }

    #[test]
    fn many_changes_are_found_exactly() {
        let (old, new) = (
            numbers(0..2_100),
            numbers((0..2_100).filter(|n| n % 10 != 5)),
        );
        let found = hunks(old.as_bytes(), new.as_bytes());
        assert_eq!((found.len(), changes(&found)), (210, 210));
        assert_eq!(applied(&old, &found), new);
    }

    #[test]
    fn lines_in_another_order_are_compared_between_those_in_order() {
        let (old, new) = (
            numbers(0..100_003),
            // The length is a prime, so the products are a permutation of the lines.
            numbers((0..100_003).map(|n| n * 7919 % 100_003)),
        );
        let found = hunks(old.as_bytes(), new.as_bytes());
        assert_eq!(applied(&old, &found), new);
        let all = 2 * 100_003;
        assert!(
            (all / 2..all - 400).contains(&changes(&found)),
            "{}",
            changes(&found)
        );
    }

    #[test]
    fn long_stretches_of_repeated_lines_are_replaced() {
        let text = |seed: u32| -> String {
            let bit = |n: u32| {
                n.wrapping_mul(2_654_435_761)
                    .wrapping_add(seed)
                    .rotate_left(13)
                    % 7
                    < 3
            };
            (0..200_000)
                .map(|n| if bit(n) { "a\n" } else { "b\n" })
                .collect()
        };
        let (old, new) = (
            format!("first\n{}last\n", text(1)),
            format!("first\n{}last\n", text(99)),
        );
        let found = hunks(old.as_bytes(), new.as_bytes());
        assert_eq!(applied(&old, &found), new);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_change_between_unique_lines_of_a_long_text_is_found_exactly() {
        let old = numbers(0..50_000);
        let new = old
            .replacen("\n7000\n", "\nx\n", 1)
            .replacen("\n41000\n", "\n", 1);
        let found = hunks(old.as_bytes(), new.as_bytes());
        assert_eq!((found.len(), changes(&found)), (2, 3));
        assert_eq!(applied(&old, &found), new);
    }

    /// Returns the length of the longest common subsequence.
    fn common(old: &[&str], new: &[&str]) -> usize {
        let mut row = vec![0; new.len() + 1];
        for a in old {
            let mut diagonal = 0;
            for (k, b) in new.iter().enumerate() {
                let above = row[k + 1];
                row[k + 1] = if a == b {
                    diagonal + 1
                } else {
                    above.max(row[k])
                };
                diagonal = above;
            }
        }
        row[new.len()]
    }

    proptest! {
        #[test]
        fn the_script_leads_from_old_to_new(old in "[ab\n]{0,40}", new in "[ab\n]{0,40}") {
            let found = hunks(old.as_bytes(), new.as_bytes());
            prop_assert_eq!(applied(&old, &found), &new[..]);
            let (a, b) = (lines(&old), lines(&new));
            prop_assert_eq!(changes(&found), a.len() + b.len() - 2 * common(&a, &b));
        }
    }
}
