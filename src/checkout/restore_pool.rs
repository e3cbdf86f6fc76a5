//! The threads of this module: a pool that works on items until there are none.
//!
//! Each thread works depth-first on its own lane and steals the oldest item of another when it has none: so threads
//! work in different directories, where the file system lets them, and meet only on large files and at the end.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::error::ReadError;
use crate::error::{Error, Result};
use crate::observe::Observer;

struct State<T> {
    lanes: Vec<VecDeque<T>>,
    /// Threads that are at work and may still push.
    busy: usize,
    stopped: bool,
    error: Option<Error>,
}

struct Pool<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
}

/// Where one thread puts and takes items.
pub(super) struct Queue<'p, T> {
    pool: &'p Pool<T>,
    lane: usize,
}

impl<T> Pool<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock()
    }

    /// The next item for a lane; `None` when all is done or something failed.
    fn take(&self, lane: usize) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            let own = state.lanes.get_mut(lane).and_then(VecDeque::pop_back);
            let item = own.or_else(|| state.lanes.iter_mut().max_by_key(|l| l.len()).and_then(VecDeque::pop_front));
            if let Some(item) = item {
                state.busy += 1;
                return Some(item);
            }
            if state.busy == 0 {
                self.wake.notify_all();
                return None;
            }
            self.wake.wait(&mut state);
        }
    }
}

impl<T> Queue<'_, T> {
    /// Adds an item; the last one added is taken first by this thread and last by others.
    pub(super) fn push(&self, item: T) {
        let mut state = self.pool.lock();
        if let Some(lane) = state.lanes.get_mut(self.lane) {
            lane.push_back(item);
        }
        drop(state);
        self.pool.wake.notify_one();
    }
}

/// Marks a thread as no longer busy, also when its work panics.
struct Busy<'p, T>(&'p Pool<T>, bool);

impl<T> Drop for Busy<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy -= 1;
        state.stopped |= self.1;
        let idle = state.busy == 0 || state.stopped;
        drop(state);
        if idle {
            self.0.wake.notify_all();
        }
    }
}

/// Runs `work` on items until there are none, on `jobs` threads. `seed` pushes the first ones. The first error ends
/// the run and is returned; items that are left are dropped.
pub(super) fn run<T: Send>(
    jobs: usize,
    observer: &dyn Observer,
    seed: impl FnOnce(&Queue<'_, T>),
    work: impl Fn(T, &Queue<'_, T>) -> Result<()> + Sync,
) -> Result<()> {
    let jobs = jobs.max(1);
    let lanes = (0..jobs).map(|_| VecDeque::new()).collect();
    let pool = Pool { state: Mutex::new(State { lanes, busy: 0, stopped: false, error: None }), wake: Condvar::new() };
    seed(&Queue { pool: &pool, lane: 0 });
    let worker = |lane: usize| {
        let queue = Queue { pool: &pool, lane };
        while let Some(item) = pool.take(lane) {
            let mut busy = Busy(&pool, true);
            let outcome = if observer.cancelled() { Err(ReadError::Cancelled.into()) } else { work(item, &queue) };
            match outcome {
                Ok(()) => busy.1 = false,
                Err(e) => {
                    pool.lock().error.get_or_insert(e);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for lane in 1..jobs {
            // Without more threads it takes longer.
            if std::thread::Builder::new().spawn_scoped(scope, move || worker(lane)).is_err() {
                break;
            }
        }
        worker(0);
    });
    match pool.state.into_inner().error {
        Some(e) => Err(e),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::observe::Silent;

    #[test]
    fn every_item_is_worked_on_once() {
        for jobs in [1, 2, 7] {
            let sum = AtomicU64::new(0);
            let work = |n: u64, queue: &Queue<'_, u64>| {
                sum.fetch_add(1, Ordering::Relaxed);
                (0..n).for_each(|_| queue.push(n - 1));
                Ok(())
            };
            run(jobs, &Silent, |q| q.push(6), work).unwrap();
            assert_eq!(sum.into_inner(), 1957);
        }
    }

    #[test]
    fn the_first_error_ends_the_run() {
        let work = |n: u64, queue: &Queue<'_, u64>| {
            queue.push(n + 1);
            if n > 50 { Err(ReadError::Range { from: n, size: 0 }.into()) } else { Ok(()) }
        };
        assert!(run(3, &Silent, |q| q.push(0), work).is_err());
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_leaves_no_thread_waiting() {
        let work = |n: u64, queue: &Queue<'_, u64>| {
            queue.push(n + 1);
            std::thread::sleep(std::time::Duration::from_millis(1));
            assert!(n < 20);
            Ok(())
        };
        // The panic may also hit this thread; then it is renamed here.
        let caught = std::panic::catch_unwind(|| run(2, &Silent, |q| q.push(0), work));
        assert!(caught.is_ok(), "a scoped thread panicked");
    }
}
