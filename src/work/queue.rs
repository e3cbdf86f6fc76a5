//! A queue of items that workers take, and to which they add more items, until all of them are
//! done.
//!
//! A policy decides which worker takes which item next. The body of a worker loops over
//! [`Worker::next`]. [`run`] returns the policy when no items are left and no worker is busy, or
//! the first error.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::{Condvar, MappedMutexGuard, Mutex, MutexGuard};

use super::{Panicked, start};
use crate::error::{Error, Result};

/// Holds the items and decides which worker takes which item next.
pub trait Policy: Send {
    /// A piece of work.
    type Item: Send;

    /// Returns the next item for a worker, or `None` if there is none at the moment. Workers are
    /// numbered from 0.
    fn take(&mut self, worker: usize) -> Option<Self::Item>;

    /// Returns true if the last call of `take` made further items available, so that waiting
    /// workers look again.
    fn has_news(&mut self) -> bool {
        false
    }
}

/// A policy to which workers can add items at any time; the items of other policies follow from
/// their state.
pub trait PushPolicy: Policy {
    /// Adds an item that a worker pushes.
    fn put(&mut self, worker: usize, item: Self::Item);
}

/// A lane of items for each worker. A worker takes the newest item of its own lane, and steals the
/// oldest item of the longest lane when its own is empty. Workers thus stay in different
/// directories, where the file system lets them run in parallel, and meet only on large files and
/// at the end.
pub struct Lanes<T>(Vec<VecDeque<T>>);

impl<T> Lanes<T> {
    /// Returns empty lanes for `workers` workers, at least 1.
    pub fn new(workers: usize) -> Self {
        Self((0..workers.max(1)).map(|_| VecDeque::new()).collect())
    }
}

impl<T: Send> Policy for Lanes<T> {
    type Item = T;

    fn take(&mut self, worker: usize) -> Option<T> {
        let own = self.0.get_mut(worker).and_then(VecDeque::pop_back);
        own.or_else(|| {
            self.0
                .iter_mut()
                .max_by_key(|lane| lane.len())
                .and_then(VecDeque::pop_front)
        })
    }
}

impl<T: Send> PushPolicy for Lanes<T> {
    fn put(&mut self, worker: usize, item: T) {
        if let Some(lane) = self.0.get_mut(worker) {
            lane.push_back(item);
        }
    }
}

struct State<P> {
    policy: P,
    /// Number of workers that have an item and may still push others.
    busy: usize,
    has_failed: bool,
    error: Option<Error>,
}

struct Shared<P> {
    state: Mutex<State<P>>,
    wake: Condvar,
}

/// One worker's access to the queue.
pub struct Worker<'q, P> {
    shared: &'q Shared<P>,
    number: usize,
    is_busy: Cell<bool>,
}

impl<P: Policy> Worker<'_, P> {
    /// Marks the worker's last item as done, and waits for the next one. Returns `None` when all
    /// items are done or a worker has failed.
    pub fn next(&self) -> Option<P::Item> {
        let mut state = self.shared.state.lock();
        // A worker counts as busy from taking an item until here, because its body may push further
        // items.
        state.busy -= usize::from(self.is_busy.replace(false));
        loop {
            if state.has_failed {
                return None;
            }
            let item = state.policy.take(self.number);
            let has_news = state.policy.has_news();
            if item.is_some() {
                state.busy += 1;
                self.is_busy.set(true);
            }
            // Without items and busy workers, no further item can appear, so all workers end.
            let is_last = item.is_none() && state.busy == 0;
            if item.is_some() || is_last {
                drop(state);
                if has_news || is_last {
                    self.shared.wake.notify_all();
                }
                return item;
            }
            self.shared.wake.wait(&mut state);
        }
    }

    /// Returns whether this worker runs on the thread that called [`run`].
    pub fn is_caller(&self) -> bool {
        self.number == 0
    }

    /// Adds an item through the policy, and wakes one waiting worker.
    pub fn push(&self, item: P::Item)
    where
        P: PushPolicy,
    {
        self.shared.state.lock().policy.put(self.number, item);
        self.shared.wake.notify_one();
    }

    /// Changes the policy's state and wakes the workers that wait, because several items may be
    /// available now.
    pub fn update<T>(&self, change: impl FnOnce(&mut P) -> T) -> T {
        let changed = change(&mut self.policy());
        self.shared.wake.notify_all();
        changed
    }

    /// Locks the policy, for changes that make no item available.
    pub fn policy(&self) -> MappedMutexGuard<'_, P> {
        MutexGuard::map(self.shared.state.lock(), |state| &mut state.policy)
    }
}

/// A worker on [`Lanes`].
pub type LaneWorker<'q, T> = Worker<'q, Lanes<T>>;

/// Runs `body` on up to `threads` threads, after `seed` has pushed the first items. The caller's
/// thread is worker 0.
///
/// The first error ends the run and is returned; items that are left are dropped. A panic of a
/// worker is the error [`Panicked`].
pub fn run<P: Policy>(
    threads: usize,
    policy: P,
    seed: impl FnOnce(&Worker<'_, P>),
    body: impl Fn(&Worker<'_, P>) -> Result<()> + Sync,
) -> Result<P> {
    let state = State {
        policy,
        busy: 0,
        has_failed: false,
        error: None,
    };
    let shared = Shared {
        state: Mutex::new(state),
        wake: Condvar::new(),
    };
    let worker = |number| Worker {
        shared: &shared,
        number,
        is_busy: Cell::new(false),
    };
    // The first items are pushed before any thread starts; otherwise, a worker could find nothing
    // and end the run.
    seed(&worker(0));
    let work = |number| {
        let worker = worker(number);
        // A worker that panics must still be subtracted from `busy`; otherwise, the others wait
        // forever.
        let done = catch_unwind(AssertUnwindSafe(|| body(&worker)))
            .unwrap_or_else(|_| Err(Panicked.into()));
        let mut state = shared.state.lock();
        // A body that fails ends in the middle of an item.
        state.busy -= usize::from(worker.is_busy.get());
        if let Err(e) = done {
            state.has_failed = true;
            state.error.get_or_insert(e);
        }
        drop(state);
        shared.wake.notify_all();
    };
    std::thread::scope(|scope| {
        for number in 1..threads.max(1) {
            // If the system provides no further thread, the running ones do its work.
            if start::scoped(scope, move || work(number)).is_err() {
                break;
            }
        }
        work(0);
    });
    let state = shared.state.into_inner();
    state.error.map_or(Ok(state.policy), Err)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::start::tests::with_limit;
    use super::*;
    use crate::error::Kind;
    use crate::work::Cancelled;

    /// Pushes `n` items of `n - 1` for each item `n`, and counts all items.
    fn count(threads: usize, first: u64) -> u64 {
        let sum = AtomicU64::new(0);
        let body = |worker: &Worker<'_, Lanes<u64>>| {
            while let Some(n) = worker.next() {
                sum.fetch_add(1, Ordering::Relaxed);
                (0..n).for_each(|_| worker.push(n - 1));
            }
            Ok(())
        };
        run(
            threads,
            Lanes::new(threads),
            |worker| worker.push(first),
            body,
        )
        .unwrap();
        sum.into_inner()
    }

    #[test]
    fn every_item_is_done_once() {
        for threads in [0, 1, 2, 7] {
            assert_eq!(count(threads, 6), 1957);
        }
        assert_eq!(count(16, 8), 109_601);
    }

    #[test]
    fn fewer_threads_do_the_same_work() {
        for limit in [0, 1, 2] {
            assert_eq!(with_limit(limit, || count(4, 6)), 1957);
        }
    }

    #[test]
    fn a_worker_takes_its_newest_item_and_steals_the_oldest() {
        let mut lanes = Lanes::new(3);
        for n in 0..4 {
            lanes.put(0, n);
        }
        lanes.put(1, 10);
        assert_eq!(
            (lanes.take(0), lanes.take(1), lanes.take(2), lanes.take(1)),
            (Some(3), Some(10), Some(0), Some(1))
        );
        assert_eq!((lanes.take(1), lanes.take(0)), (Some(2), None));
    }

    /// Runs until `stop` returns an error for a number.
    fn endless(threads: usize, stop: impl Fn(u64) -> Result<()> + Sync) -> Result<()> {
        let body = |worker: &Worker<'_, Lanes<u64>>| {
            while let Some(n) = worker.next() {
                worker.push(n + 1);
                worker.push(n + 1);
                stop(n)?;
            }
            Ok(())
        };
        run(threads, Lanes::new(threads), |worker| worker.push(0), body).map(drop)
    }

    #[test]
    fn the_first_error_ends_the_run() {
        for threads in [1, 3, 8] {
            let ended = endless(threads, |n| {
                if n > 50 {
                    Err(Cancelled.into())
                } else {
                    Ok(())
                }
            });
            assert_eq!(ended.unwrap_err().kind(), Kind::Cancelled);
        }
    }

    #[test]
    fn a_panic_ends_the_run() {
        for threads in [1, 2, 8] {
            let ended = endless(threads, |n| {
                std::thread::sleep(Duration::from_micros(100));
                assert!(n < 20, "a panic of a test");
                Ok(())
            });
            assert!(ended.unwrap_err().as_error().is::<Panicked>());
        }
    }

    /// Items come out in pairs: the second one is available only after the first one has been
    /// taken.
    #[derive(Default)]
    struct Pairs {
        left: u64,
        half: bool,
        news: bool,
    }

    impl Policy for Pairs {
        type Item = u64;

        fn take(&mut self, _worker: usize) -> Option<u64> {
            if std::mem::take(&mut self.half) {
                return Some(0);
            }
            self.left = self.left.checked_sub(1)?;
            (self.half, self.news) = (true, true);
            Some(1)
        }

        fn has_news(&mut self) -> bool {
            std::mem::take(&mut self.news)
        }
    }

    #[test]
    fn workers_that_wait_see_news_and_updates() {
        let sum = AtomicU64::new(0);
        let body = |worker: &Worker<'_, Pairs>| {
            while let Some(n) = worker.next() {
                if sum.fetch_add(n, Ordering::Relaxed) < 500 && n == 1 {
                    worker.update(|pairs| pairs.left += 1);
                }
                let _ = worker.policy().left;
            }
            Ok(())
        };
        let pairs = run(
            4,
            Pairs {
                left: 1,
                ..Pairs::default()
            },
            |_| (),
            body,
        )
        .unwrap();
        assert_eq!((pairs.left, pairs.half, sum.into_inner()), (0, false, 501));
    }
}
