//! Which lines differ between two texts: the shortest script by Myers' algorithm, in hunks with context.
//!
//! Very different texts are told as one replacement, so that time and memory stay bounded.

use std::ops::Range;

/// Longer texts are not compared line by line.
pub const TEXT_MAX: u64 = 1 << 20;
/// Unchanged lines around a change.
const CONTEXT: usize = 3;
/// With more differing lines than this the middle is one replacement.
const SCRIPT_MAX: usize = 1000;

/// What a line of a hunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// In both.
    Same,
    /// Only in the old text.
    Removed,
    /// Only in the new text.
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
    let old: Vec<&[u8]> = old.split_inclusive(|b| *b == b'\n').collect();
    let new: Vec<&[u8]> = new.split_inclusive(|b| *b == b'\n').collect();
    let script = script(&old, &new);
    let mut hunks = Vec::new();
    let mut at = 0;
    while let Some(first) = script[at..].iter().position(|s| s.0 != Mark::Same).map(|n| at + n) {
        let start = first.saturating_sub(CONTEXT).max(at);
        let (mut last, mut next) = (first, first + 1);
        while next < script.len() && next - last <= 2 * CONTEXT {
            if script[next].0 != Mark::Same {
                last = next;
            }
            next += 1;
        }
        let end = (last + 1 + CONTEXT).min(script.len());
        let piece = &script[start..end];
        let count = |without: Mark| piece.iter().filter(|s| s.0 != without).count();
        let (old_at, new_at) = (script[start].1, script[start].2);
        hunks.push(Hunk {
            old: old_at..old_at + count(Mark::Added),
            new: new_at..new_at + count(Mark::Removed),
            lines: piece.iter().map(|s| (s.0, if s.0 == Mark::Added { new[s.2] } else { old[s.1] }.to_vec())).collect(),
        });
        at = end;
    }
    hunks
}

/// One step: what it is, and the lines of both texts before it.
type Step = (Mark, usize, usize);

fn script(old: &[&[u8]], new: &[&[u8]]) -> Vec<Step> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut steps: Vec<Step> = (0..head).map(|n| (Mark::Same, n, n)).collect();
    match shortest(a, b) {
        Some(middle) => steps.extend(middle.into_iter().map(|(m, x, y)| (m, x + head, y + head))),
        None => {
            steps.extend((0..a.len()).map(|n| (Mark::Removed, head + n, head)));
            steps.extend((0..b.len()).map(|n| (Mark::Added, head + a.len(), head + n)));
        }
    }
    let (x, y) = (old.len() - tail, new.len() - tail);
    steps.extend((0..tail).map(|n| (Mark::Same, x + n, y + n)));
    steps
}

/// Finds a shortest edit script with Myers' greedy search. Keeps the furthest points of each round
/// for [`walk_back`].
fn shortest(a: &[&[u8]], b: &[&[u8]]) -> Option<Vec<Step>> {
    let limit = (a.len() + b.len()).min(SCRIPT_MAX);
    let middle = limit + 1;
    let mut furthest = vec![0usize; 2 * middle + 1];
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    for d in 0..=limit {
        for k in (middle - d..=middle + d).step_by(2) {
            let down = k == middle - d || (k != middle + d && furthest[k - 1] < furthest[k + 1]);
            let mut x = if down { furthest[k + 1] } else { furthest[k - 1] + 1 };
            // y = x - (k - middle); a point outside of the square is never followed further.
            let mut y = (x + middle).wrapping_sub(k);
            while x < a.len() && y < b.len() && a[x] == b[y] {
                (x, y) = (x + 1, y + 1);
            }
            furthest[k] = x;
            if x >= a.len() && y >= b.len() {
                rounds.push(furthest[middle - d..=middle + d].to_vec());
                return Some(walk_back(a.len(), b.len(), &rounds));
            }
        }
        rounds.push(furthest[middle - d..=middle + d].to_vec());
    }
    None
}

/// `rounds[d][k + d]` is the furthest x on diagonal k = x - y after d changes.
fn walk_back(a: usize, b: usize, rounds: &[Vec<usize>]) -> Vec<Step> {
    let (mut x, mut y) = (a, b);
    let mut steps = Vec::new();
    for d in (1..rounds.len()).rev() {
        // The diagonal k = x - y, counted from the lowest one of this round.
        let k = (x + d).saturating_sub(y);
        let before = &rounds[d - 1];
        // Diagonal k - 1 and k + 1 of the round before, which starts one higher.
        let (left, right) = (k.checked_sub(2).and_then(|n| before.get(n)), before.get(k));
        let down = match (left, right) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(l), Some(r)) => l < r,
        };
        let (from_x, mark) = match down {
            true => (right.copied().unwrap_or(0), Mark::Added),
            false => (left.copied().unwrap_or(0), Mark::Removed),
        };
        let from_y = if down { (from_x + d).saturating_sub(k + 1) } else { (from_x + d + 1).saturating_sub(k) };
        let (after_x, after_y) = if down { (from_x, from_y + 1) } else { (from_x + 1, from_y) };
        while x > after_x && y > after_y {
            (x, y) = (x - 1, y - 1);
            steps.push((Mark::Same, x, y));
        }
        steps.push((mark, from_x, from_y));
        (x, y) = (from_x, from_y);
    }
    while x > 0 && y > 0 {
        (x, y) = (x - 1, y - 1);
        steps.push((Mark::Same, x, y));
    }
    steps.reverse();
    steps
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

    proptest! {
        #[test]
        fn the_script_leads_from_old_to_new(old in "[ab\n]{0,40}", new in "[ab\n]{0,40}") {
            let (a, b): (Vec<&[u8]>, Vec<&[u8]>) = (
                old.as_bytes().split_inclusive(|c| *c == b'\n').collect(),
                new.as_bytes().split_inclusive(|c| *c == b'\n').collect(),
            );
            let steps = script(&a, &b);
            let side = |without: Mark, pick: &dyn Fn(&Step) -> Vec<u8>| -> Vec<u8> {
                steps.iter().filter(|s| s.0 != without).flat_map(pick).collect()
            };
            prop_assert_eq!(side(Mark::Added, &|s| a[s.1].to_vec()), old.as_bytes());
            prop_assert_eq!(side(Mark::Removed, &|s| b[s.2].to_vec()), new.as_bytes());
            prop_assert_eq!(steps.iter().filter(|s| s.0 == Mark::Same && a[s.1] != b[s.2]).count(), 0);
        }
    }
}
