//! Work between a serial reader and a serial writer: made in order, done by several threads, used in order.
//!
//! Memory is bounded by how much may be under way. Whoever fails first ends the others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;

use crate::error::{Error, Failure, Kind, Result};

/// The other side has ended, for a reason of its own.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
struct Ended;

impl Failure for Ended {
    fn kind(&self) -> Kind {
        Kind::Cancelled
    }
}

/// A thread died of a bug.
#[derive(Debug, thiserror::Error)]
#[error("a thread that works on an archive panicked")]
struct Panicked;

impl Failure for Panicked {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}

/// Hands work over, in order.
pub struct Give<'g, J>(&'g dyn Fn(J) -> Result<()>);

impl<J> Give<'_, J> {
    /// Hands one piece over; fails when nobody wants more, and then the caller ends.
    pub fn give(&self, job: J) -> Result<()> {
        (self.0)(job)
    }
}

/// Lets `make` hand over work, `work` do it on so many threads, each calling `leave` at its end, and `used` take the
/// results in the order in which the work was made. The error of whoever failed first of its own is returned.
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
        // Who was ended by others is not the reason.
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
            // After a failure the rest is only taken away, so that nobody waits.
            if stop.load(Ordering::Relaxed) {
                continue;
            }
            match work(job) {
                // Nobody may be waiting for it any more.
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
        // Whoever makes work finds out by this; what is handed over until then is taken away.
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
