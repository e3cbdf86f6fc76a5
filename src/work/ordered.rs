//! A pipeline that keeps the order: one producer, workers that run in parallel, one consumer.
//!
//! The error of the stage that failed first is returned. The number of unfinished jobs is limited,
//! which bounds the memory.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;

use super::{Cancelled, Panicked, start};
use crate::error::{Error, Kind, Result};

/// Hands jobs over to the workers, in order.
pub struct Give<'g, J>(&'g dyn Fn(J) -> Result<()>);

impl<J> Give<'_, J> {
    /// Hands over one job. Returns [`Cancelled`] if a later stage has failed; the producer must
    /// return that error.
    pub fn give(&self, job: J) -> Result<()> {
        (self.0)(job)
    }
}

/// The closures of the three stages.
pub struct Stages<P, W, L, C> {
    /// Produces the jobs, on a thread of its own.
    pub produce: P,
    /// Turns a job into a result; runs on several threads.
    pub work: W,
    /// Called by each worker before it exits, unless a stage has failed.
    pub leave: L,
    /// Takes the results in the order in which the jobs were produced, on the caller's thread.
    pub consume: C,
}

/// Runs the stages with `threads` workers and at most `ahead` jobs that wait for a worker.
///
/// If the system provides no threads, the caller's thread does their work.
pub fn in_order<J: Send, T: Send>(
    threads: usize,
    ahead: usize,
    stages: Stages<
        impl FnOnce(&Give<'_, J>) -> Result<()> + Send,
        impl Fn(J) -> Result<T> + Sync,
        impl Fn() -> Result<()> + Sync,
        impl FnMut(T) -> Result<()>,
    >,
) -> Result<()> {
    let Stages {
        produce,
        work,
        leave,
        mut consume,
    } = stages;
    let run = Run::default();
    let (jobs, to_do) = sync_channel::<(J, SyncSender<T>)>(ahead.max(1));
    let (order, results) = sync_channel::<Receiver<T>>(ahead.max(1));
    let to_do = Mutex::new(to_do);
    // The producer's thread takes these when it runs, so they are not lost if the thread cannot be
    // started.
    let first_stage = Mutex::new(Some((produce, jobs, order)));
    let do_job = |(job, result): (J, SyncSender<T>)| {
        // After a failure, the remaining jobs are received and dropped, so that the producer does
        // not block.
        if !run.has_failed()
            && let Some(done) = run.note(|| work(job))
        {
            // The receiver is gone if the consumer has failed in the meantime.
            let _ = result.send(done);
        }
    };
    let next_job = || to_do.lock().recv();
    let leave = || {
        if !run.has_failed() {
            run.note(&leave);
        }
    };
    std::thread::scope(|scope| {
        let producer = || {
            let Some((produce, jobs, order)) = first_stage.lock().take() else {
                return;
            };
            let give = |job| {
                // A worker must not wait until the consumer takes its result.
                let (result, wait) = sync_channel(1);
                // The place in the order comes first, so that results are received in the order of
                // the jobs.
                let is_given = order.send(wait).is_ok() && jobs.send((job, result)).is_ok();
                if is_given {
                    Ok(())
                } else {
                    Err(Cancelled.into())
                }
            };
            run.note(|| produce(&Give(&give)));
        };
        if start::scoped(scope, producer).is_err() {
            // Without a thread for the producer, this thread runs all stages one after the other.
            let Some((produce, ..)) = first_stage.lock().take() else {
                return;
            };
            let consume = RefCell::new(&mut consume);
            let give = |job| (consume.borrow_mut())(work(job)?);
            run.note(|| produce(&Give(&give)));
            return leave();
        }
        let worker = || {
            while let Ok(next) = next_job() {
                do_job(next);
            }
            leave();
        };
        let workers = (0..threads.max(1))
            .take_while(|_| start::scoped(scope, worker).is_ok())
            .count();
        while let Ok(result) = results.recv() {
            if workers == 0
                && let Ok(next) = next_job()
            {
                do_job(next);
            }
            // A worker drops the sender without a result only after it has recorded an error.
            let Ok(done) = result.recv() else { break };
            if run.note(|| consume(done)).is_none() {
                break;
            }
        }
        // Without the receiver, the producer's next job fails. Jobs that it has handed over by then
        // are dropped below.
        drop(results);
        match workers {
            0 => worker(),
            _ => while run.has_failed() && next_job().is_ok() {},
        }
    });
    run.end()
}

/// The state that the stages share.
#[derive(Default)]
struct Run {
    failed: AtomicBool,
    first: Mutex<Option<Error>>,
}

impl Run {
    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Runs a part of a stage. Records an error or a panic, and returns `None` in that case.
    fn note<T>(&self, stage: impl FnOnce() -> Result<T>) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(stage)).unwrap_or_else(|_| Err(Panicked.into()));
        let e = match done {
            Ok(done) => return Some(done),
            Err(e) => e,
        };
        self.failed.store(true, Ordering::Relaxed);
        let mut first = self.first.lock();
        // A stage that was cancelled because another one failed is not the cause.
        if first.is_none() && e.kind() != Kind::Cancelled {
            *first = Some(e);
        }
        None
    }

    fn end(self) -> Result<()> {
        match self.first.into_inner() {
            Some(e) => Err(e),
            None if self.failed.into_inner() => Err(Cancelled.into()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::start::tests::with_limit;
    use super::*;

    /// The fault of a stage in a test.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Does {
        Fail,
        Panic,
        Cancel,
    }

    fn at(n: u64, stage: usize, fault: Option<(usize, Does)>) -> Result<()> {
        match fault.filter(|(of, _)| *of == stage && n == 100) {
            Some((_, Does::Fail)) => Err(Panicked.into()),
            Some((_, Does::Panic)) => panic!("a panic of a test"),
            Some((_, Does::Cancel)) => Err(Cancelled.into()),
            None => Ok(()),
        }
    }

    /// Doubles 500 numbers. Returns the results and how many workers left.
    fn run(threads: usize, fault: Option<(usize, Does)>) -> Result<(Vec<u64>, usize)> {
        let (mut out, left) = (Vec::new(), AtomicUsize::new(0));
        let stages = Stages {
            produce: |give: &Give<'_, u64>| {
                for n in 0..500 {
                    at(n, 0, fault)?;
                    give.give(n)?;
                }
                Ok(())
            },
            work: |n| {
                // Some results are late, which the order must survive.
                if n % 50 == 0 {
                    std::thread::yield_now();
                }
                at(n, 1, fault).map(|()| n * 2)
            },
            leave: || {
                left.fetch_add(1, Ordering::Relaxed);
                at(100, 3, fault)
            },
            consume: |n| {
                at(n / 2, 2, fault)?;
                out.push(n);
                Ok(())
            },
        };
        in_order(threads, 3, stages)?;
        Ok((out, left.into_inner()))
    }

    #[test]
    fn results_come_in_order() {
        let doubled: Vec<u64> = (0..500).map(|n| n * 2).collect();
        for threads in [1, 2, 7] {
            assert_eq!(run(threads, None).unwrap(), (doubled.clone(), threads));
        }
        // The system permits no thread, only the producer, or the producer and some workers.
        for (limit, workers) in [(0, 1), (1, 1), (2, 1), (4, 3)] {
            assert_eq!(
                with_limit(limit, || run(7, None)).unwrap(),
                (doubled.clone(), workers),
                "{limit}"
            );
        }
    }

    #[test]
    fn the_first_failure_ends_all_stages() {
        for does in [Does::Fail, Does::Panic, Does::Cancel] {
            let kind = if does == Does::Cancel {
                Kind::Cancelled
            } else {
                Kind::Internal
            };
            for stage in 0..4 {
                for limit in [0, 1, 2, usize::MAX] {
                    let ended = with_limit(limit, || run(3, Some((stage, does))));
                    assert_eq!(ended.unwrap_err().kind(), kind, "{does:?} {stage} {limit}");
                }
            }
        }
    }
}
