//! Re-chunks the changed ranges of a file: computes the new content from the old one and the
//! written ranges.
//!
//! The result is identical to the content from reading the whole file. One thread at a time finds
//! the boundaries in file order; the other threads chunk ahead of it on the guess that old and new
//! boundaries agree again before the next change, and hash, compress and store. A wrong guess is
//! discarded.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use crate::codec::cut::CHUNK_MAX;
use crate::codec::sniff;
use crate::error::Result;
use crate::model::entry::{Chunker, Content, Extent};
use crate::model::id::ObjectKind;
use crate::snapshot::content::list::ListBuilder;
use crate::snapshot::content::store::{INLINE_MAX, flush_small, store_claimed};
use crate::snapshot::output::Output;
use crate::work::queue::{self, Policy, Worker};
use old::{LeafPlace, OldMap};
use step::{Part, Plan, Step};

mod old;
mod step;
#[cfg(test)]
mod tests;

/// Number of steps per thread that may wait to be stored or assembled, and of guesses per thread
/// that may wait to be used.
const AHEAD: usize = 4;
/// The division of the work, which does not change the result.
#[derive(Clone, Copy)]
struct Shares {
    /// Number of bytes per step.
    step: usize,
    /// Minimum distance between two changes for the guess that boundaries agree between them.
    gap: u64,
}

const SHARES: Shares = Shares {
    step: 1 << 20,
    gap: 2 * CHUNK_MAX as u64,
};
/// Approximate cost of a change in addition to its bytes: the chunks at both ends.
const AROUND: u64 = 128 << 10;
/// Limit on the buffers that are kept for reuse.
const SPARE_MAX: usize = 16;

/// The old version of a file, and the ranges that were written since.
pub struct Change<'c> {
    /// The previous version of the file; `None` if the whole file is new.
    pub old: Option<OldState<'c>>,
    /// Byte ranges that may differ from the old content, sorted, with any alignment. Ranges at or
    /// after the old end, the new end or `kept` need not be listed.
    pub dirty: &'c [Range<u64>],
    /// The minimum length of the file since the old version. Old bytes after it are lost, even if
    /// no range lists them.
    pub kept: u64,
    /// Current length in bytes.
    pub size: u64,
    /// Reads the current bytes at an offset; called from several threads.
    pub read: &'c (dyn Fn(u64, &mut [u8]) -> Result<()> + Sync),
    /// Returns the first offset at or after the given one that may contain data, like `SEEK_DATA`,
    /// so that long holes need not be read. Only called for changed ranges. `None` if holes are
    /// unknown.
    pub data: Option<&'c (dyn Fn(u64) -> u64 + Sync)>,
}

/// The previous version of a file.
#[derive(Clone, Copy)]
pub struct OldState<'c> {
    /// Length in bytes.
    pub size: u64,
    /// Chunker that was used.
    pub chunker: Chunker,
    /// Content, with the chunker settings of this repository.
    pub content: &'c Content,
}

/// Re-chunks and stores the changed ranges. Returns the chunker and the content, which are the same
/// as if the whole file had been read.
///
/// Uses up to `threads` threads. The calling thread keeps small chunks for a shared frame; the
/// caller stores them with `flush_small` after its last file, and also after an error if it
/// continues.
pub fn rechunk(
    out: &Output<'_>,
    change: &Change<'_>,
    threads: usize,
) -> Result<(Chunker, Content)> {
    rechunk_by(out, change, threads, SHARES)
}

fn rechunk_by(
    out: &Output<'_>,
    change: &Change<'_>,
    threads: usize,
    shares: Shares,
) -> Result<(Chunker, Content)> {
    let size = change.size;
    if size <= INLINE_MAX {
        return Ok((Chunker::Cdc, Content::Inline(head_of(change, INLINE_MAX)?)));
    }
    // Content in the entry itself has no chunks to reuse.
    let old = change
        .old
        .filter(|old| !matches!(old.content, Content::Inline(_)));
    let mut changes = old.map_or_else(Vec::new, |old| changes_of(change, old.size));
    let head_len = sniff::HEAD as u64;
    let chunker = match old {
        // The choice of the chunker depends only on the first bytes of the file, and on its size
        // only if the file is shorter than that.
        Some(old)
            if old.size.min(size) >= head_len
                && changes.first().is_none_or(|c| c.start >= head_len) =>
        {
            old.chunker
        }
        _ => out
            .repo()
            .chunker()
            .choose(&head_of(change, head_len)?, size),
    };
    let plan = |chunker, changes| Plan {
        config: out.repo().chunker(),
        chunker,
        changes,
        size,
        read: change.read,
        data: change.data,
        bases: out.sink().is_some(),
        step: shares.step,
    };
    // The chunks of a different chunker have different boundaries, so everything is chunked.
    let old = old.filter(|old| old.chunker == chunker);
    let Some(old) = old else {
        changes = std::iter::once(0..u64::MAX).collect();
        return rechunk_changes(out, &plan(chunker, changes), None, shares.gap, threads);
    };
    if changes.is_empty() {
        return Ok((chunker, old.content.clone()));
    }
    let map = OldMap::new(out.repo(), old.content)?;
    rechunk_changes(out, &plan(chunker, changes), Some(map), shares.gap, threads)
}

fn head_of(change: &Change<'_>, most: u64) -> Result<Vec<u8>> {
    let mut head = vec![0; usize::try_from(change.size.min(most)).unwrap_or(0)];
    if !head.is_empty() {
        (change.read)(0, &mut head)?;
    }
    Ok(head)
}

/// Returns all ranges that may differ from the old content. The range after the last remaining old
/// byte has no end.
fn changes_of(change: &Change<'_>, old_size: u64) -> Vec<Range<u64>> {
    let limit = old_size.min(change.kept).min(change.size);
    let mut changes: Vec<Range<u64>> = Vec::with_capacity(change.dirty.len() + 1);
    let listed = change
        .dirty
        .iter()
        .filter(|c| c.start < c.end && c.start < limit)
        .cloned();
    let after = (limit < old_size.max(change.size)).then_some(limit..u64::MAX);
    for next in listed.chain(after) {
        match changes.last_mut() {
            Some(last) if next.start <= last.end => last.end = last.end.max(next.end),
            _ => changes.push(next),
        }
    }
    changes
}

/// Changes that are chunked on a guess.
struct Guess {
    /// Start of the first change.
    change: u64,
    /// Offset at which this guess ends: the first change of the next guess.
    stop: u64,
    state: GuessState,
}

enum GuessState {
    Open,
    Running,
    /// Completed; `None` if a guess was not possible.
    Done(Option<Step>),
}

/// A part of the new content.
enum Placed {
    Kept(Range<u64>),
    Extent(Extent),
}

/// Assembles the content in file order.
struct Assembler<'a> {
    builder: ListBuilder,
    old: Option<OldMap<'a>>,
}

enum Job<'a> {
    Assemble(Box<Assembler<'a>>, Vec<Placed>),
    Store(u64, Step),
    /// The next step from an offset up to a change, with the bytes that were already read.
    Cut(u64, u64, Vec<u8>),
    /// A guess for the changes from the first offset up to the second one.
    Guess(u64, u64),
}

struct Jobs<'a> {
    plan: &'a Plan<'a>,
    /// Whether there is an old version, which makes guesses possible.
    has_old: bool,
    /// Minimum distance of changes for a guess.
    gap: u64,
    /// Limit on the steps that wait to be stored or assembled, and on the guesses that wait to be
    /// used.
    ahead: usize,
    /// Offset up to which boundaries are known.
    at: u64,
    /// Bytes from `at` on that were already read.
    rest: Vec<u8>,
    is_chunking: bool,
    guesses: VecDeque<Guess>,
    /// The first change that is not part of a guess yet.
    unguessed: usize,
    steps: VecDeque<(u64, Step)>,
    /// Number of steps so far.
    taken: u64,
    /// Number of assembled steps.
    assembled: u64,
    stored: BTreeMap<u64, Vec<Placed>>,
    assembler: Option<Box<Assembler<'a>>>,
    spare: Vec<Vec<u8>>,
    /// Whether the last call of `take` has advanced `at`, so that another worker may continue from
    /// there.
    has_moved: bool,
}

/// Re-chunks and stores the changes on up to `threads` threads.
fn rechunk_changes(
    out: &Output<'_>,
    plan: &Plan<'_>,
    old: Option<OldMap<'_>>,
    gap: u64,
    threads: usize,
) -> Result<(Chunker, Content)> {
    // An additional thread pays off if it gets at least one step.
    let cost = |c: &Range<u64>| {
        c.end
            .min(plan.size)
            .saturating_sub(c.start)
            .saturating_add(AROUND)
    };
    let cost = plan.changes.iter().map(cost).fold(0, u64::saturating_add);
    let more = threads
        .saturating_sub(1)
        .min(usize::try_from(cost / plan.step as u64).unwrap_or(usize::MAX));
    let jobs = Jobs::new(plan, old.clone(), gap, AHEAD * (more + 1));
    let body = |jobs: &Worker<'_, Jobs<'_>>| {
        let done = RechunkThread { out, plan, jobs }.work(old.clone());
        // Other threads may rely on chunks that this thread has claimed, so they are stored even
        // after an error. The thread of the caller keeps them for its next file.
        if jobs.is_caller() {
            done
        } else {
            done.and(flush_small(out))
        }
    };
    let jobs = queue::run(more + 1, jobs, |_| (), body)?;
    match jobs.assembler {
        Some(assembler) if jobs.at >= plan.size && jobs.assembled == jobs.taken => {
            Ok((plan.chunker, assembler.builder.finish(out)?))
        }
        _ => unreachable!("there is a job until all parts are put together"),
    }
}

impl<'a> Policy for Jobs<'a> {
    type Item = Job<'a>;

    /// Returns the work that is nearest to completion, so that memory stays bounded.
    fn take(&mut self, _worker: usize) -> Option<Job<'a>> {
        self.assembling()
            .or_else(|| self.storing())
            .or_else(|| self.chunking())
    }

    fn has_news(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }
}

/// State of one worker thread.
struct RechunkThread<'t, 'a> {
    out: &'t Output<'t>,
    plan: &'t Plan<'t>,
    jobs: &'t Worker<'t, Jobs<'a>>,
}

impl<'a> RechunkThread<'_, 'a> {
    fn work(&self, mut old: Option<OldMap<'_>>) -> Result<()> {
        while let Some(job) = self.jobs.next() {
            self.do_job(job, old.as_mut())?;
        }
        Ok(())
    }

    fn do_job(&self, job: Job<'a>, old: Option<&mut OldMap<'_>>) -> Result<()> {
        match job {
            Job::Cut(at, stop, rest) => {
                let bytes = self.jobs.policy().spare.pop().unwrap_or_default();
                let step = self.plan.step(old, at, stop, &rest, bytes)?;
                self.jobs.update(|jobs| {
                    jobs.is_chunking = false;
                    jobs.accept(step);
                });
            }
            Job::Guess(change, stop) => {
                let Some(old) = old else { return Ok(()) };
                let bytes = self.jobs.policy().spare.pop().unwrap_or_default();
                let step = self.plan.guess(old, change, stop, bytes)?;
                self.jobs.update(|jobs| {
                    match jobs.guesses.iter_mut().find(|g| g.change == change) {
                        Some(guess) => guess.state = GuessState::Done(step),
                        // The guess was dropped while the step ran.
                        None => jobs.give(step.map(|s| s.bytes).unwrap_or_default()),
                    }
                });
            }
            Job::Store(number, step) => {
                let placed = self.store(&step)?;
                self.jobs.update(|jobs| {
                    jobs.stored.insert(number, placed);
                    jobs.give(step.bytes);
                });
            }
            Job::Assemble(mut assembler, placed) => {
                assembler.take(placed, self.out)?;
                self.jobs.update(|jobs| {
                    jobs.assembled += 1;
                    jobs.assembler = Some(assembler);
                });
            }
        }
        Ok(())
    }

    /// Hashes the chunks of a step and stores the new ones.
    fn store(&self, step: &Step) -> Result<Vec<Placed>> {
        let mut placed = Vec::with_capacity(step.parts.len());
        for part in &step.parts {
            placed.push(match part {
                Part::Kept(range) => Placed::Kept(range.clone()),
                Part::Hole(len) => Placed::Extent(Extent {
                    len: *len,
                    chunk: None,
                }),
                Part::Chunk(range, base) => {
                    let bytes = &step.bytes[range.clone()];
                    let id = self.out.repo().ids().id(ObjectKind::Chunk, bytes);
                    if self.out.claim_chunk(&id, bytes.len())? {
                        store_claimed(self.out, id, bytes, self.plan.chunker, *base)?;
                    }
                    Placed::Extent(Extent {
                        len: bytes.len() as u64,
                        chunk: Some(id),
                    })
                }
            });
        }
        Ok(placed)
    }
}

impl<'a> Jobs<'a> {
    fn new(plan: &'a Plan<'a>, old: Option<OldMap<'a>>, gap: u64, ahead: usize) -> Self {
        Self {
            plan,
            has_old: old.is_some(),
            gap,
            ahead,
            at: 0,
            rest: Vec::new(),
            is_chunking: false,
            guesses: VecDeque::new(),
            unguessed: 0,
            steps: VecDeque::new(),
            taken: 0,
            assembled: 0,
            stored: BTreeMap::new(),
            assembler: Some(Box::new(Assembler {
                builder: ListBuilder::default(),
                old,
            })),
            spare: Vec::new(),
            has_moved: false,
        }
    }

    /// Returns the next step; if it is running or must wait, a guess.
    fn chunking(&mut self) -> Option<Job<'a>> {
        if self.at >= self.plan.size {
            return None;
        }
        self.extend();
        self.next_step().or_else(|| self.guessing())
    }

    /// Returns the next step, or the job to store it if it was guessed.
    fn next_step(&mut self) -> Option<Job<'a>> {
        if self.is_chunking || self.under_way() >= self.ahead {
            return None;
        }
        let change = self.plan.next_change(self.at);
        // Drop guesses for changes that the last step has passed.
        while self.guesses.front().is_some_and(|g| g.change < change) {
            self.guesses.pop_front();
        }
        let stop = match self.guesses.front() {
            Some(Guess {
                state: GuessState::Running,
                change: of,
                ..
            // Another thread is computing this step.
            }) if *of == change => return None,
            Some(g) if g.change == change => {
                let stop = g.stop;
                if let Some(Guess {
                    state: GuessState::Done(Some(step)),
                    ..
                }) = self.guesses.pop_front()
                {
                    // A guess is right if it begins at the boundary that was reached.
                    if step.start == self.at {
                        self.accept(step);
                        self.has_moved = true;
                        return self.storing();
                    }
                    // A wrong guess is discarded, and the changes are chunked from the boundary.
                    self.give(step.bytes);
                }
                stop
            }
            // Chunk up to the changes of the next guess.
            Some(g) => g.change,
            None => u64::MAX,
        };
        self.is_chunking = true;
        Some(Job::Cut(self.at, stop, std::mem::take(&mut self.rest)))
    }

    /// Groups changes for guesses. Groups are at least `gap` apart, and each is worth a step of its
    /// own.
    fn extend(&mut self) {
        let plan = self.plan;
        let changes = &plan.changes;
        while self.has_old && self.guesses.len() < self.ahead && self.unguessed < changes.len() {
            let first = self.unguessed;
            let (mut next, mut cost) = (
                first + 1,
                changes[first].end.saturating_sub(changes[first].start),
            );
            while next < changes.len() {
                let far = changes[next].start - changes[next - 1].end >= self.gap;
                if far && cost >= self.plan.step as u64 / 2 {
                    break;
                }
                cost = cost
                    .saturating_add(changes[next].end - changes[next].start)
                    .saturating_add(AROUND);
                next += 1;
            }
            self.unguessed = next;
            let stop = changes.get(next).map_or(u64::MAX, |c| c.start);
            self.guesses.push_back(Guess {
                change: changes[first].start,
                stop,
                state: GuessState::Open,
            });
        }
    }

    fn under_way(&self) -> usize {
        usize::try_from(self.taken - self.assembled).unwrap_or(usize::MAX)
    }

    fn assembling(&mut self) -> Option<Job<'a>> {
        self.assembler.as_ref()?;
        let placed = self.stored.remove(&self.assembled)?;
        self.assembler
            .take()
            .map(|assembler| Job::Assemble(assembler, placed))
    }

    fn storing(&mut self) -> Option<Job<'a>> {
        self.steps
            .pop_front()
            .map(|(number, step)| Job::Store(number, step))
    }

    fn guessing(&mut self) -> Option<Job<'a>> {
        let at = self.at;
        let open = self
            .guesses
            .iter_mut()
            .find(|g| g.change > at && matches!(g.state, GuessState::Open))?;
        open.state = GuessState::Running;
        Some(Job::Guess(open.change, open.stop))
    }

    fn accept(&mut self, mut step: Step) {
        self.at = step.end;
        self.rest = std::mem::take(&mut step.rest);
        self.steps.push_back((self.taken, step));
        self.taken += 1;
    }

    fn give(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        if buffer.capacity() > 0 && self.spare.len() < SPARE_MAX {
            self.spare.push(buffer);
        }
    }
}

impl Assembler<'_> {
    fn take(&mut self, placed: Vec<Placed>, out: &Output<'_>) -> Result<()> {
        for part in placed {
            match part {
                Placed::Extent(extent) => self.builder.push(extent, out)?,
                Placed::Kept(range) => self.keep(range, out)?,
            }
        }
        Ok(())
    }

    /// Appends old extents, as whole nodes where the new list has the same nodes as the old one.
    fn keep(&mut self, range: Range<u64>, out: &Output<'_>) -> Result<()> {
        let Some(old) = &mut self.old else {
            return Ok(());
        };
        let mut at = range.start;
        while at < range.end
            && let Some(leaf) = old.leaf_at(at)?
        {
            if let LeafPlace {
                start,
                end,
                id: Some(id),
            } = leaf
                && start == at
                // The next extent must follow the leaf as in the old list, see `push_leaf`.
                && end < range.end
                && self.builder.push_leaf((end - start, id), out)?
            {
                at = end;
                continue;
            }
            while at < range.end.min(leaf.end)
                && let Some((start, extent)) = old.at(at)?
            {
                let end = (start + extent.len).min(range.end);
                self.builder.push(
                    Extent {
                        len: end - at,
                        chunk: extent.chunk,
                    },
                    out,
                )?;
                at = end;
            }
        }
        Ok(())
    }
}
