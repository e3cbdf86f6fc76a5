//! What of a changed file is cut anew: its content from the old version's and from where it was written.
//!
//! In: the old extents, the ranges that may differ, a way to read. Out: the very content that reading all of the file
//! gives. One thread at a time decides where cuts are, in the order of the file; the others cut ahead of it on the
//! guess that cuts agree again before the next changes, hash, compress and store. A guess that proves wrong is dropped.

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

/// Steps for each thread that may wait to be stored or put together, and guesses that may wait to be used.
const AHEAD: usize = 4;
/// How the work is divided; nothing of it changes the result.
#[derive(Clone, Copy)]
struct Shares {
    /// Bytes that are cut at a time.
    step: usize,
    /// Changes that are so far apart are cut on a guess that cuts agree in between.
    gap: u64,
}

const SHARES: Shares = Shares { step: 1 << 20, gap: 2 * CHUNK_MAX as u64 };
/// What a change costs besides its own bytes: most of the chunks at its ends.
const AROUND: u64 = 128 << 10;
/// Buffers that are kept to be used again.
const SPARE_MAX: usize = 16;

/// What a file was, and what of it was written since.
pub struct Change<'c> {
    /// The file in the version before; `None`: everything is new.
    pub old: Option<OldState<'c>>,
    /// Byte ranges that may differ from the old content, sorted, of any alignment. What lies at or after the old end,
    /// the new one or `kept` need not be listed.
    pub dirty: &'c [Range<u64>],
    /// The lowest length in bytes that the file had since: old bytes from there on are gone, listed or not.
    pub kept: u64,
    /// Its length in bytes now.
    pub size: u64,
    /// Fills the buffer with the file's bytes as they are now from an offset; called from several threads.
    pub read: &'c (dyn Fn(u64, &mut [u8]) -> Result<()> + Sync),
    /// The first offset at or after the given one where there may be something else than zeros, as `SEEK_DATA` says.
    /// Asked only of what changed, so that long holes need not be read. `None`: not known.
    pub data: Option<&'c (dyn Fn(u64) -> u64 + Sync)>,
}

/// A file in the version before.
#[derive(Clone, Copy)]
pub struct OldState<'c> {
    /// Its length in bytes.
    pub size: u64,
    /// How it was cut.
    pub chunker: Chunker,
    /// Its bytes; as this repository cuts them.
    pub content: &'c Content,
}

/// Cuts and stores what changed: how the file is cut now, and what it holds; the same as if all of it were read.
///
/// Uses up to so many threads. What the calling one gathered for a shared frame goes out with `flush_small`, which
/// the caller calls when it has no more files, and also after an error if it goes on.
pub fn recut(out: &Output<'_>, change: &Change<'_>, threads: usize) -> Result<(Chunker, Content)> {
    recut_by(out, change, threads, SHARES)
}

fn recut_by(out: &Output<'_>, change: &Change<'_>, threads: usize, shares: Shares) -> Result<(Chunker, Content)> {
    let size = change.size;
    if size <= INLINE_MAX {
        return Ok((Chunker::Cdc, Content::Inline(head_of(change, INLINE_MAX)?)));
    }
    let old = change.old.filter(|old| !matches!(old.content, Content::Inline(_)));
    let mut changes = old.map_or_else(Vec::new, |old| changes_of(change, old.size));
    let head_len = sniff::HEAD as u64;
    let chunker = match old {
        // The choice rests on the first bytes, and on the size only in that those must be there.
        Some(old) if old.size.min(size) >= head_len && changes.first().is_none_or(|c| c.start >= head_len) => {
            old.chunker
        }
        _ => out.repo().chunker().choose(&head_of(change, head_len)?, size),
    };
    let plan = |chunker, changes| Plan {
        cutting: out.repo().chunker(),
        chunker,
        changes,
        size,
        read: change.read,
        data: change.data,
        bases: out.sink().is_some(),
        step: shares.step,
    };
    let old = old.filter(|old| old.chunker == chunker);
    let Some(old) = old else {
        changes = std::iter::once(0..u64::MAX).collect();
        return rechunk(out, &plan(chunker, changes), None, shares.gap, threads);
    };
    if changes.is_empty() {
        return Ok((chunker, old.content.clone()));
    }
    let map = OldMap::new(out.repo(), old.content)?;
    rechunk(out, &plan(chunker, changes), Some(map), shares.gap, threads)
}

fn head_of(change: &Change<'_>, most: u64) -> Result<Vec<u8>> {
    let mut head = vec![0; usize::try_from(change.size.min(most)).unwrap_or(0)];
    if !head.is_empty() {
        (change.read)(0, &mut head)?;
    }
    Ok(head)
}

/// All that may differ from the old content; what is beyond the last old byte that is left goes on without end.
fn changes_of(change: &Change<'_>, old_size: u64) -> Vec<Range<u64>> {
    let limit = old_size.min(change.kept).min(change.size);
    let mut changes: Vec<Range<u64>> = Vec::with_capacity(change.dirty.len() + 1);
    let listed = change.dirty.iter().filter(|c| c.start < c.end && c.start < limit).cloned();
    let after = (limit < old_size.max(change.size)).then_some(limit..u64::MAX);
    for next in listed.chain(after) {
        match changes.last_mut() {
            Some(last) if next.start <= last.end => last.end = last.end.max(next.end),
            _ => changes.push(next),
        }
    }
    changes
}

/// Changes that are cut on a guess.
struct Guess {
    /// Where the first one begins.
    change: u64,
    /// Where those of the next guess begin.
    stop: u64,
    state: GuessState,
}

enum GuessState {
    Open,
    Running,
    /// Done, if it could be guessed.
    Done(Option<Step>),
}

/// A part of the new content in the order of the file.
enum Placed {
    Kept(Range<u64>),
    Extent(Extent),
}

/// Puts the content together, in the order of the file.
struct Assembler<'a> {
    builder: ListBuilder,
    old: Option<OldMap<'a>>,
}

enum Job<'a> {
    Assemble(Box<Assembler<'a>>, Vec<Placed>),
    Store(u64, Step),
    /// The next step, up to a change; with what was read already.
    Cut(u64, u64, Vec<u8>),
    /// The changes from one on, up to another.
    Guess(u64, u64),
}

struct Jobs<'a> {
    plan: &'a Plan<'a>,
    /// Whether there is an old version, so that guesses are possible.
    has_old: bool,
    /// Changes that are further apart are cut on a guess.
    gap: u64,
    /// Steps that may wait to be stored or put together, and guesses that may wait to be used.
    ahead: usize,
    /// Cuts are known up to here, and what was read from there on.
    at: u64,
    rest: Vec<u8>,
    is_cutting: bool,
    guesses: VecDeque<Guess>,
    /// The first change that is in no guess yet.
    unguessed: usize,
    steps: VecDeque<(u64, Step)>,
    /// How many steps there were, and how many are put together.
    taken: u64,
    assembled: u64,
    stored: BTreeMap<u64, Vec<Placed>>,
    assembler: Option<Box<Assembler<'a>>>,
    spare: Vec<Vec<u8>>,
    /// Whether the last call of `take` has moved `at`, so that another worker may cut on from there.
    has_moved: bool,
}

/// Cuts and stores the changes on up to so many threads.
fn rechunk(
    out: &Output<'_>,
    plan: &Plan<'_>,
    old: Option<OldMap<'_>>,
    gap: u64,
    threads: usize,
) -> Result<(Chunker, Content)> {
    // A thread more is worth it from one more step on.
    let cost = |c: &Range<u64>| c.end.min(plan.size).saturating_sub(c.start).saturating_add(AROUND);
    let cost = plan.changes.iter().map(cost).fold(0, u64::saturating_add);
    let more = threads.saturating_sub(1).min(usize::try_from(cost / plan.step as u64).unwrap_or(usize::MAX));
    let jobs = Jobs::new(plan, old.clone(), gap, AHEAD * (more + 1));
    let body = |jobs: &Worker<'_, Jobs<'_>>| {
        let done = RechunkThread { out, plan, jobs }.work(old.clone());
        // Others may count on what this thread claimed, so it goes out after an error as well. The caller's thread goes
        // on gathering, for its next file.
        if jobs.is_caller() { done } else { done.and(flush_small(out)) }
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

    /// What is nearest to being done, so that memory stays bounded.
    fn take(&mut self, _worker: usize) -> Option<Job<'a>> {
        self.assembling().or_else(|| self.storing()).or_else(|| self.cutting())
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
                    jobs.is_cutting = false;
                    jobs.take_over(step);
                });
            }
            Job::Guess(change, stop) => {
                let Some(old) = old else { return Ok(()) };
                let bytes = self.jobs.policy().spare.pop().unwrap_or_default();
                let step = self.plan.guess(old, change, stop, bytes)?;
                self.jobs.update(|jobs| match jobs.guesses.iter_mut().find(|g| g.change == change) {
                    Some(guess) => guess.state = GuessState::Done(step),
                    None => jobs.give(step.map(|s| s.bytes).unwrap_or_default()),
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
                Part::Hole(len) => Placed::Extent(Extent { len: *len, chunk: None }),
                Part::Chunk(range, base) => {
                    let bytes = &step.bytes[range.clone()];
                    let id = self.out.repo().ids().id(ObjectKind::Chunk, bytes);
                    if self.out.claim_chunk(&id, bytes.len())? {
                        store_claimed(self.out, id, bytes, self.plan.chunker, *base)?;
                    }
                    Placed::Extent(Extent { len: bytes.len() as u64, chunk: Some(id) })
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
            is_cutting: false,
            guesses: VecDeque::new(),
            unguessed: 0,
            steps: VecDeque::new(),
            taken: 0,
            assembled: 0,
            stored: BTreeMap::new(),
            assembler: Some(Box::new(Assembler { builder: ListBuilder::default(), old })),
            spare: Vec::new(),
            has_moved: false,
        }
    }

    /// The next step; if it is under way or must wait, a guess.
    fn cutting(&mut self) -> Option<Job<'a>> {
        if self.at >= self.plan.size {
            return None;
        }
        self.extend();
        self.next_step().or_else(|| self.guessing())
    }

    /// The next step, to be stored at once if it was guessed.
    fn next_step(&mut self) -> Option<Job<'a>> {
        if self.is_cutting || self.under_way() >= self.ahead {
            return None;
        }
        let change = self.plan.next_change(self.at);
        while self.guesses.front().is_some_and(|g| g.change < change) {
            self.guesses.pop_front();
        }
        let stop = match self.guesses.front() {
            Some(Guess { state: GuessState::Running, change: of, .. }) if *of == change => return None,
            Some(g) if g.change == change => {
                let stop = g.stop;
                if let Some(Guess { state: GuessState::Done(Some(step)), .. }) = self.guesses.pop_front() {
                    if step.start == self.at {
                        self.take_over(step);
                        self.has_moved = true;
                        return self.storing();
                    }
                    self.give(step.bytes);
                }
                stop
            }
            Some(g) => g.change,
            None => u64::MAX,
        };
        self.is_cutting = true;
        Some(Job::Cut(self.at, stop, std::mem::take(&mut self.rest)))
    }

    /// Groups of changes to be cut on a guess: far from each other, and each worth a step.
    fn extend(&mut self) {
        let plan = self.plan;
        let changes = &plan.changes;
        while self.has_old && self.guesses.len() < self.ahead && self.unguessed < changes.len() {
            let first = self.unguessed;
            let (mut next, mut cost) = (first + 1, changes[first].end.saturating_sub(changes[first].start));
            while next < changes.len() {
                let far = changes[next].start - changes[next - 1].end >= self.gap;
                if far && cost >= self.plan.step as u64 / 2 {
                    break;
                }
                cost = cost.saturating_add(changes[next].end - changes[next].start).saturating_add(AROUND);
                next += 1;
            }
            self.unguessed = next;
            let stop = changes.get(next).map_or(u64::MAX, |c| c.start);
            self.guesses.push_back(Guess { change: changes[first].start, stop, state: GuessState::Open });
        }
    }

    fn under_way(&self) -> usize {
        usize::try_from(self.taken - self.assembled).unwrap_or(usize::MAX)
    }

    fn assembling(&mut self) -> Option<Job<'a>> {
        self.assembler.as_ref()?;
        let placed = self.stored.remove(&self.assembled)?;
        self.assembler.take().map(|assembler| Job::Assemble(assembler, placed))
    }

    fn storing(&mut self) -> Option<Job<'a>> {
        self.steps.pop_front().map(|(number, step)| Job::Store(number, step))
    }

    fn guessing(&mut self) -> Option<Job<'a>> {
        let at = self.at;
        let open = self.guesses.iter_mut().find(|g| g.change > at && matches!(g.state, GuessState::Open))?;
        open.state = GuessState::Running;
        Some(Job::Guess(open.change, open.stop))
    }

    fn take_over(&mut self, mut step: Step) {
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

    /// Old extents, by whole nodes where the new list is cut as the old one.
    fn keep(&mut self, range: Range<u64>, out: &Output<'_>) -> Result<()> {
        let Some(old) = &mut self.old else { return Ok(()) };
        let mut at = range.start;
        while at < range.end
            && let Some(leaf) = old.leaf_at(at)?
        {
            if let LeafPlace { start, end, id: Some(id) } = leaf
                && start == at
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
                self.builder.push(Extent { len: end - at, chunk: extent.chunk }, out)?;
                at = end;
            }
        }
        Ok(())
    }
}
