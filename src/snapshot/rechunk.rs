//! What of a changed file is cut anew: its content from the old version's and from where it was written.
//!
//! In: the old extents, the ranges that may differ, a way to read. Out: the very content that reading all of the file
//! gives. One thread at a time decides where cuts are, in the order of the file; the others cut ahead of it on the
//! guess that cuts agree again before the next changes, hash, compress and store. A guess that proves wrong is dropped.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::codec::cut::CHUNK_MAX;
use crate::codec::sniff;
use crate::error::{Error, Result};
use crate::model::entry::{Chunker, Content, Extent};
use crate::model::id::ObjectKind;
use crate::snapshot::content::list::ListBuilder;
use crate::snapshot::content::store::{INLINE_MAX, flush_small, store_claimed};
use crate::snapshot::output::Output;
use crate::work::Panicked;
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
        _ => out.repo().cutting().choose(&head_of(change, head_len)?, size),
    };
    let old = old.filter(|old| old.chunker == chunker);
    let Some(old) = old else {
        changes = std::iter::once(0..u64::MAX).collect();
        return Pool::new(out, change, chunker, changes, None, shares).run(threads);
    };
    if changes.is_empty() {
        return Ok((chunker, old.content.clone()));
    }
    let map = OldMap::new(out.repo(), old.content)?;
    Pool::new(out, change, chunker, changes, Some(map), shares).run(threads)
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

struct Queue<'a> {
    /// Cuts are known up to here, and what was read from there on.
    at: u64,
    rest: Vec<u8>,
    cutting: bool,
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
    error: Option<Error>,
}

struct Pool<'p, 'a> {
    out: &'p Output<'a>,
    plan: Plan<'p>,
    old: Option<OldMap<'p>>,
    gap: u64,
    ahead: usize,
    queue: Mutex<Queue<'p>>,
    wake: Condvar,
}

impl<'p, 'a> Pool<'p, 'a> {
    fn new(
        out: &'p Output<'a>,
        change: &'p Change<'_>,
        chunker: Chunker,
        changes: Vec<Range<u64>>,
        old: Option<OldMap<'p>>,
        shares: Shares,
    ) -> Self {
        let (cutting, bases) = (out.repo().cutting(), out.sink().is_some());
        let (size, read, data, step) = (change.size, change.read, change.data, shares.step);
        let plan = Plan { cutting, chunker, changes, size, read, data, bases, step };
        let assembler = Assembler { builder: ListBuilder::default(), old: old.clone() };
        let queue = Queue {
            at: 0,
            rest: Vec::new(),
            cutting: false,
            guesses: VecDeque::new(),
            unguessed: 0,
            steps: VecDeque::new(),
            taken: 0,
            assembled: 0,
            stored: BTreeMap::new(),
            assembler: Some(Box::new(assembler)),
            spare: Vec::new(),
            error: None,
        };
        Self { out, plan, old, gap: shares.gap, ahead: AHEAD, queue: Mutex::new(queue), wake: Condvar::new() }
    }

    fn run(mut self, threads: usize) -> Result<(Chunker, Content)> {
        // A thread more is worth it from one more step on.
        let cost = |c: &Range<u64>| c.end.min(self.plan.size).saturating_sub(c.start).saturating_add(AROUND);
        let cost = self.plan.changes.iter().map(cost).fold(0, u64::saturating_add);
        let more = threads.saturating_sub(1).min(usize::try_from(cost / self.plan.step as u64).unwrap_or(usize::MAX));
        self.ahead = AHEAD * (more + 1);
        let pool = &self;
        std::thread::scope(|scope| {
            for _ in 0..more {
                let work = || {
                    pool.work();
                    // Others may count on what this thread claimed, so it goes out after an error as well.
                    if let Err(e) = flush_small(pool.out) {
                        pool.lock().error.get_or_insert(e);
                    }
                };
                // Without more threads it takes longer.
                if std::thread::Builder::new().spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            pool.work();
        });
        let (out, chunker) = (self.out, self.plan.chunker);
        let queue = self.queue.into_inner();
        match (queue.error, queue.assembler) {
            (None, Some(assembler)) => Ok((chunker, assembler.builder.finish(out)?)),
            (error, _) => Err(error.unwrap_or_else(|| Panicked.into())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<'p>> {
        self.queue.lock()
    }

    fn work(&self) {
        let mut old = self.old.clone();
        while let Some(job) = self.next() {
            let done = catch_unwind(AssertUnwindSafe(|| self.do_job(job, old.as_mut())));
            if let Ok(Ok(())) = done {
                self.wake.notify_all();
                continue;
            }
            let (error, panic) = match done {
                Ok(done) => (done.err(), None),
                Err(panic) => (None, Some(panic)),
            };
            self.lock().error.get_or_insert_with(|| error.unwrap_or_else(|| Panicked.into()));
            self.wake.notify_all();
            if let Some(panic) = panic {
                resume_unwind(panic);
            }
        }
    }

    /// What is nearest to being done, so that memory stays bounded.
    fn next(&self) -> Option<Job<'p>> {
        let mut queue = self.lock();
        loop {
            if queue.error.is_some() {
                return None;
            }
            if queue.is_done(self.plan.size) {
                self.wake.notify_all();
                return None;
            }
            let job = queue.assembling().or_else(|| queue.storing()).or_else(|| self.cutting(&mut queue));
            if job.is_some() {
                return job;
            }
            self.wake.wait(&mut queue);
        }
    }

    /// The next step; if it is under way or must wait, a guess.
    fn cutting(&self, queue: &mut Queue<'p>) -> Option<Job<'p>> {
        if queue.at >= self.plan.size {
            return None;
        }
        self.extend(queue);
        self.next_step(queue).or_else(|| queue.guessing())
    }

    /// The next step, to be stored at once if it was guessed.
    fn next_step(&self, queue: &mut Queue<'p>) -> Option<Job<'p>> {
        if queue.cutting || queue.under_way() >= self.ahead {
            return None;
        }
        let change = self.plan.next_change(queue.at);
        while queue.guesses.front().is_some_and(|g| g.change < change) {
            queue.guesses.pop_front();
        }
        let stop = match queue.guesses.front() {
            Some(Guess { state: GuessState::Running, change: of, .. }) if *of == change => return None,
            Some(g) if g.change == change => {
                let stop = g.stop;
                if let Some(Guess { state: GuessState::Done(Some(step)), .. }) = queue.guesses.pop_front() {
                    if step.start == queue.at {
                        queue.take(step);
                        // Somebody may cut on from there.
                        self.wake.notify_all();
                        return queue.storing();
                    }
                    queue.give(step.bytes);
                }
                stop
            }
            Some(g) => g.change,
            None => u64::MAX,
        };
        queue.cutting = true;
        Some(Job::Cut(queue.at, stop, std::mem::take(&mut queue.rest)))
    }

    /// Groups of changes to be cut on a guess: far from each other, and each worth a step.
    fn extend(&self, queue: &mut Queue<'p>) {
        let changes = &self.plan.changes;
        while self.old.is_some() && queue.guesses.len() < self.ahead && queue.unguessed < changes.len() {
            let first = queue.unguessed;
            let (mut next, mut cost) = (first + 1, changes[first].end.saturating_sub(changes[first].start));
            while next < changes.len() {
                let far = changes[next].start - changes[next - 1].end >= self.gap;
                if far && cost >= self.plan.step as u64 / 2 {
                    break;
                }
                cost = cost.saturating_add(changes[next].end - changes[next].start).saturating_add(AROUND);
                next += 1;
            }
            queue.unguessed = next;
            let stop = changes.get(next).map_or(u64::MAX, |c| c.start);
            queue.guesses.push_back(Guess { change: changes[first].start, stop, state: GuessState::Open });
        }
    }

    fn do_job(&self, job: Job<'p>, old: Option<&mut OldMap<'p>>) -> Result<()> {
        match job {
            Job::Cut(at, stop, rest) => {
                let bytes = self.lock().spare.pop().unwrap_or_default();
                let step = self.plan.step(old, at, stop, &rest, bytes)?;
                let mut queue = self.lock();
                queue.cutting = false;
                queue.take(step);
            }
            Job::Guess(change, stop) => {
                let Some(old) = old else { return Ok(()) };
                let bytes = self.lock().spare.pop().unwrap_or_default();
                let step = self.plan.guess(old, change, stop, bytes)?;
                let mut queue = self.lock();
                let guess = queue.guesses.iter_mut().find(|g| g.change == change);
                match (guess, step) {
                    (Some(guess), step) => guess.state = GuessState::Done(step),
                    (None, step) => queue.give(step.map(|s| s.bytes).unwrap_or_default()),
                }
            }
            Job::Store(number, step) => {
                let placed = self.store(&step)?;
                let mut queue = self.lock();
                queue.stored.insert(number, placed);
                queue.give(step.bytes);
            }
            Job::Assemble(mut assembler, placed) => {
                assembler.take(placed, self.out)?;
                let mut queue = self.lock();
                queue.assembled += 1;
                queue.assembler = Some(assembler);
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

impl<'a> Queue<'a> {
    fn is_done(&self, size: u64) -> bool {
        self.at >= size && self.assembled == self.taken && self.assembler.is_some()
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

    fn take(&mut self, mut step: Step) {
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
