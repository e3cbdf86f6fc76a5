//! An ordered pipeline: one thread produces jobs, several threads work on them, and the results are
//! consumed in the order of the jobs.
//!
//! Memory is bounded by the number of jobs in progress. The first error stops all threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;

use crate::error::{Error, Failure, Kind, Result};

/// The error of a thread that stopped because another thread failed.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
struct Ended;

impl Failure for Ended {
    fn kind(&self) -> Kind {
        Kind::Cancelled
    }
}

/// The error for a thread that panicked.
#[derive(Debug, thiserror::Error)]
#[error("archive worker thread panicked")]
struct Panicked;

impl Failure for Panicked {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}

/// Submits jobs in order.
pub struct Give<'g, J>(&'g dyn Fn(J) -> Result<()>);

impl<J> Give<'_, J> {
    /// Submits a job. Fails if the pipeline has stopped; the caller then returns.
    pub fn give(&self, job: J) -> Result<()> {
        (self.0)(job)
    }
}

/// Runs `make`, which submits jobs; `work` on `threads` threads, each of which calls `leave` at its
/// end; and `used`, which gets the results in the order of the jobs. Returns the first error that
/// is not a consequence of another error.
pub fn in_order<J: Send, T: Send>(
    threads: usize,
    ahead: usize,
    make: impl FnOnce(&Give<'_, J>) -> Result<()> + Send,
    work: impl Fn(J) -> Result<T> + Sync,
    leave: impl Fn() -> Result<()> + Sync,
    mut used: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    let stop = AtomicBool::new(false);
    let fail = |e: Error| {
        stop.store(true, Ordering::Relaxed);
        let mut first = failed.lock();
        // A thread that stopped because of another thread's error is not the cause.
        if first.is_none() && e.as_error().downcast_ref::<Ended>().is_none() {
            *first = Some(e);
        }
    };
    let (jobs, to_do) = sync_channel::<(J, SyncSender<T>)>(ahead.max(1));
    let (order, results) = sync_channel::<Receiver<T>>(ahead.max(1));
    let to_do = Mutex::new(to_do);
    let worker = || {
        loop {
            let next = to_do.lock().recv();
            let Ok((job, result)) = next else { break };
            // After a failure, drain the queue so that the producer does not block.
            if stop.load(Ordering::Relaxed) {
                continue;
            }
            match work(job) {
                // The receiver may already be gone.
                Ok(done) => drop(result.send(done)),
                Err(e) => fail(e),
            }
        }
        if !stop.load(Ordering::Relaxed)
            && let Err(e) = leave()
        {
            fail(e);
        }
    };
    let maker = move || {
        let give = |job| -> Result<()> {
            let (result, wait) = sync_channel(1);
            let sent = order.send(wait).is_ok() && jobs.send((job, result)).is_ok();
            if sent { Ok(()) } else { Err(Ended.into()) }
        };
        make(&Give(&give))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(worker)).collect();
        let maker = scope.spawn(|| {
            if let Err(e) = maker() {
                fail(e);
            }
        });
        while let Ok(result) = results.recv() {
            let done = match result.recv() {
                Ok(done) => used(done),
                Err(_) => Err(Ended.into()),
            };
            if let Err(e) = done {
                fail(e);
                break;
            }
        }
        // The producer fails at its next submission because of this. Drain the jobs that it submits
        // until then.
        drop(results);
        while stop.load(Ordering::Relaxed) {
            let next = to_do.lock().recv();
            if next.is_err() {
                break;
            }
        }
        for thread in threads.into_iter().chain([maker]) {
            if thread.join().is_err() {
                fail(Panicked.into());
            }
        }
    });
    let first = failed.into_inner();
    match first {
        Some(e) => Err(e),
        None if stop.into_inner() => Err(Ended.into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(threads: usize, fails: [Option<u64>; 3]) -> Result<Vec<u64>> {
        let mut out = Vec::new();
        let at = |n: u64, fail: Option<u64>| if Some(n) == fail { Err(Panicked.into()) } else { Ok(()) };
        in_order(
            threads,
            3,
            |give| {
                for n in 0..500 {
                    at(n, fails[0])?;
                    give.give(n)?;
                }
                Ok(())
            },
            |n| at(n, fails[1]).map(|()| n * 2),
            || Ok(()),
            |n| {
                at(n, fails[2])?;
                out.push(n);
                Ok(())
            },
        )?;
        Ok(out)
    }

    #[test]
    fn results_come_in_order() {
        for threads in [1, 2, 7] {
            assert_eq!(run(threads, [None; 3]).unwrap(), (0..500).map(|n| n * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn whoever_fails_ends_the_others_with_his_reason() {
        for at in 0..3 {
            let mut fails = [None; 3];
            fails[at] = Some(100);
            assert_eq!(run(3, fails).unwrap_err().kind(), Kind::Internal, "{at}");
        }
    }
}
