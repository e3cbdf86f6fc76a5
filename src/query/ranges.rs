//! Finds the byte ranges in which two files differ, from their chunk lists alone.
//!
//! Equal nodes of both lists at the same offset are not read. The ranges are as exact as the
//! chunks: bytes outside of all ranges are equal, but bytes inside of a range may be equal too.

use crate::error::Result;
use crate::format::object::ListNode;
use crate::model::entry::{Content, Node};
use crate::model::id::Id;
use crate::repo::Repo;
use std::ops::Range;

/// A piece of a file: an inner node that is not read yet, or an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    List(Id),
    Chunk(Id),
    Hole,
}

/// The rest of a file in reverse order: the next piece is the last one of `pieces`.
struct Rest<'a> {
    repo: &'a Repo,
    pieces: Vec<(u64, Piece)>,
}

impl Rest<'_> {
    /// Replaces the next piece by its children, if it is a node of the list.
    fn open(&mut self) -> Result<()> {
        if let Some((_, Piece::List(id))) = self.pieces.last().copied() {
            self.pieces.pop();
            match self.repo.list_node(&id)? {
                ListNode::Leaf(extents) => {
                    self.pieces.extend(
                        extents
                            .iter()
                            .rev()
                            .map(|e| (e.len, e.chunk.map_or(Piece::Hole, Piece::Chunk))),
                    );
                }
                ListNode::Inner(children) => {
                    self.pieces.extend(
                        children
                            .iter()
                            .rev()
                            .map(|(len, id)| (*len, Piece::List(*id))),
                    );
                }
            }
        }
        Ok(())
    }

    /// Removes the first `len` bytes of the next piece.
    fn take(&mut self, len: u64) {
        if let Some((left, _)) = self.pieces.last_mut() {
            *left = left.saturating_sub(len);
            if *left == 0 {
                self.pieces.pop();
            }
        }
    }
}

/// Returns the ranges of `new` that may differ from the same ranges of `old`, sorted and not
/// adjacent. Nodes other than files have no ranges.
pub fn changed(repo: &Repo, old: Option<&Node>, new: &Node) -> Result<Vec<Range<u64>>> {
    let Node::File { size, content, .. } = new else {
        return Ok(Vec::new());
    };
    let whole = Some(0..*size)
        .filter(|r| !r.is_empty())
        .into_iter()
        .collect();
    let Some(Node::File {
        size: old_size,
        content: old_content,
        ..
    }) = old
    else {
        return Ok(whole);
    };
    let (Some(before), Some(after)) = (pieces(*old_size, old_content), pieces(*size, content))
    else {
        return Ok(match (old_content, content) {
            (Content::Inline(before), Content::Inline(after)) => inline(before, after),
            _ => whole,
        });
    };
    let mut out = Vec::new();
    let (mut before, mut after) = (
        Rest {
            repo,
            pieces: before,
        },
        Rest {
            repo,
            pieces: after,
        },
    );
    let mut at = 0;
    // Bytes already consumed from the next piece of each side. The remainders of two equal chunks
    // match only if the same number of bytes was consumed from both.
    let (mut cut_before, mut cut_after) = (0, 0);
    while let Some((len, piece)) = after.pieces.last().copied() {
        let Some((old_len, old_piece)) = before.pieces.last().copied() else {
            push(&mut out, at..*size);
            break;
        };
        let aligned = cut_before == cut_after;
        if piece == old_piece
            && len == old_len
            && aligned
            && (cut_after == 0 || piece != Piece::Hole)
        {
            after.pieces.pop();
            before.pieces.pop();
            (cut_before, cut_after) = (0, 0);
            at += len;
            continue;
        }
        match (piece, old_piece) {
            // Open the longer node, so that both sides come to nodes of the same length, which can
            // be compared by id.
            (Piece::List(_), Piece::List(_)) if len >= old_len => after.open()?,
            (Piece::List(_), Piece::List(_)) | (_, Piece::List(_)) => before.open()?,
            (Piece::List(_), _) => after.open()?,
            _ => {
                let step = len.min(old_len);
                // Holes are equal at any offset.
                if piece != Piece::Hole || old_piece != Piece::Hole {
                    push(&mut out, at..at + step);
                }
                cut_after = if step == len { 0 } else { cut_after + step };
                cut_before = if step == old_len {
                    0
                } else {
                    cut_before + step
                };
                after.take(step);
                before.take(step);
                at += step;
            }
        }
    }
    Ok(out)
}

fn pieces(size: u64, content: &Content) -> Option<Vec<(u64, Piece)>> {
    match content {
        // An empty content has no pieces, so it can be compared with any other one.
        Content::Inline(bytes) if bytes.is_empty() => Some(Vec::new()),
        Content::Inline(_) => None,
        Content::Direct(extents) => Some(
            extents
                .iter()
                // Pieces are taken from the end of the list, so their order is reversed.
                .rev()
                .map(|e| (e.len, e.chunk.map_or(Piece::Hole, Piece::Chunk)))
                .collect(),
        ),
        Content::List(id) => Some(vec![(size, Piece::List(*id))]),
    }
}

fn inline(before: &[u8], after: &[u8]) -> Vec<Range<u64>> {
    // If the lengths differ, an equal tail is at another offset, so its bytes changed too.
    let same_head = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let same_tail = if before.len() == after.len() {
        before
            .iter()
            .rev()
            .zip(after.iter().rev())
            .take_while(|(a, b)| a == b)
            .count()
    } else {
        0
    };
    let range = same_head as u64..(after.len() - same_tail.min(after.len() - same_head)) as u64;
    if range.is_empty() {
        Vec::new()
    } else {
        vec![range]
    }
}

fn push(out: &mut Vec<Range<u64>>, range: Range<u64>) {
    match out.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => out.push(range),
    }
}

/// Returns the total length of ranges.
pub fn total(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|r| r.end - r.start).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::Extent;
    use crate::query::made::{Made, file, large};

    fn pairs(made: &Made, old: Option<&Node>, new: &Node) -> Vec<(u64, u64)> {
        changed(&made.repo, old, new)
            .unwrap()
            .into_iter()
            .map(|r| (r.start, r.end))
            .collect()
    }

    #[test]
    fn chunks_holes_and_tails() {
        let made = Made::new();
        let (a, b, c) = (
            made.chunk(&[1; 100]),
            made.chunk(&[2; 100]),
            made.chunk(&[3; 50]),
        );
        let hole = |len| Extent { len, chunk: None };
        let check = |old: Vec<Extent>, new: Vec<Extent>, expected: &[(u64, u64)]| {
            let (old, new) = (large("f", old), large("f", new));
            assert_eq!(pairs(&made, Some(&old.node), &new.node), expected);
        };
        check(vec![a, b, c], vec![a, b, c], &[]);
        check(vec![a, b, c], vec![a, a, c], &[(100, 200)]);
        check(vec![a, b], vec![a, b, c], &[(200, 250)]);
        check(vec![a, b, c], vec![a], &[]);
        check(vec![b, a, c], vec![c, a, b], &[(0, 250)]);
        check(
            vec![hole(300)],
            vec![hole(100), b, hole(100)],
            &[(100, 200)],
        );
        check(
            vec![c, hole(300), a],
            vec![hole(50), hole(250), c, a],
            &[(0, 50), (300, 350)],
        );
        check(vec![hole(10), a], vec![hole(10), a, a], &[(110, 210)]);
        let (old, new) = (file("f", "hello world"), file("f", "hello earth"));
        assert_eq!(pairs(&made, Some(&old.node), &new.node), [(6, 11)]);
        assert_eq!(pairs(&made, None, &new.node), [(0, 11)]);
    }
}
