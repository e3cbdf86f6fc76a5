//! The lines in which two texts differ: a shortest script by Myers' algorithm, in hunks with context.
//!
//! Texts that differ in many lines become one replacement, so that time and memory stay bounded.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use similar::algorithms::{Capture, Replace, myers};
use similar::{ChangeTag, DiffOp};

/// Longer texts are not compared line by line.
pub const TEXT_MAX: u64 = 1 << 20;
/// Unchanged lines around a change.
const CONTEXT: usize = 3;
/// Limit on lines that have no counterpart in the other text. With more of them, one replacement
/// covers everything between the first and the last change.
const UNPAIRED_MAX: usize = 1000;
/// Lines of both texts up to which the search has no time limit, so that its result does not depend
/// on the speed of the machine.
const UNTIMED_MAX: usize = 4000;
/// Time limit for longer texts. The search needs it for lines in another order, for example after a
/// sort.
const TIME_MAX: Duration = Duration::from_millis(100);

/// The side that has a line of a hunk.
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
    /// The lines with their ends.
    pub lines: Vec<(Mark, Vec<u8>)>,
}

/// Returns whether bytes are text: no NUL near the beginning.
pub fn is_text(bytes: &[u8]) -> bool {
    !bytes.iter().take(8000).any(|b| *b == 0)
}

/// Returns the hunks that turn `old` into `new`.
pub fn hunks(old: &[u8], new: &[u8]) -> Vec<Hunk> {
    let start = Instant::now();
    let old: Vec<&[u8]> = old.split_inclusive(|b| *b == b'\n').collect();
    let new: Vec<&[u8]> = new.split_inclusive(|b| *b == b'\n').collect();
    // After the deadline, the lines that the search has not paired yet become one replacement.
    let deadline = if unpaired(&old, &new) > UNPAIRED_MAX {
        Some(start)
    } else {
        (old.len() + new.len() > UNTIMED_MAX).then(|| start + TIME_MAX)
    };
    let mut script = Replace::new(Capture::new());
    let Ok(()) = myers::diff_deadline(&mut script, &old[..], 0..old.len(), &new[..], 0..new.len(), deadline);
    let groups = script.into_inner().into_grouped_ops(CONTEXT);
    groups.iter().filter_map(|group| hunk(group, &old, &new)).collect()
}

/// Returns the number of lines that have no counterpart in the other text, in any order.
fn unpaired(old: &[&[u8]], new: &[&[u8]]) -> usize {
    // Hashing takes longer than a comparison, so leave out the lines before and after all changes.
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[head..], &new[head..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let mut surplus: HashMap<&[u8], isize> = HashMap::new();
    for line in &old[..old.len() - tail] {
        *surplus.entry(line).or_default() += 1;
    }
    for line in &new[..new.len() - tail] {
        *surplus.entry(line).or_default() -= 1;
    }
    surplus.values().map(|count| count.unsigned_abs()).sum()
}

fn hunk(group: &[DiffOp], old: &[&[u8]], new: &[&[u8]]) -> Option<Hunk> {
    let (first, last) = (group.first()?, group.last()?);
    let lines = group.iter().flat_map(|op| op.iter_changes(old, new)).map(|change| {
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
                kept.map(|line| std::str::from_utf8(&line.1).unwrap()).collect()
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
        hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.0 != Mark::Same).count()
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
        let (old, new) = (numbers(0..2_100), numbers((0..2_100).filter(|n| n % 10 != 5)));
        let found = hunks(old.as_bytes(), new.as_bytes());
        assert_eq!((found.len(), changes(&found)), (210, 210));
        assert_eq!(applied(&old, &found), new);
    }

    #[test]
    fn lines_in_another_order_take_bounded_time() {
        let (old, new) = (numbers(0..100_003), numbers((0..100_003).map(|n| n * 7919 % 100_003)));
        let start = Instant::now();
        let found = hunks(old.as_bytes(), new.as_bytes());
        assert!(start.elapsed() < 100 * TIME_MAX);
        assert_eq!(applied(&old, &found), new);
    }

    /// Returns the length of the longest common subsequence.
    fn common(old: &[&str], new: &[&str]) -> usize {
        let mut row = vec![0; new.len() + 1];
        for a in old {
            let mut diagonal = 0;
            for (k, b) in new.iter().enumerate() {
                let above = row[k + 1];
                row[k + 1] = if a == b { diagonal + 1 } else { above.max(row[k]) };
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
