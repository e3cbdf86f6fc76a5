//! Runs the same work on many items in parallel, on threads that share nothing but the list of
//! items.
//!
//! The functions return the first error, or the results in order. A panic becomes the error
//! [`Panicked`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{Panicked, start};

/// Runs `work` once on each of up to `threads` threads, including the caller's. `work` loops over
/// items that the threads share.
pub fn run<E: From<Panicked> + Send>(
    threads: usize,
    work: impl Fn() -> Result<(), E> + Sync,
) -> Result<(), E> {
    let failed = Mutex::new(None);
    let work = || note(&failed, guarded(&work));
    std::thread::scope(|scope| {
        for _ in 1..threads.max(1) {
            // If the system provides no further thread, the running ones do its work.
            if start::scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    failed.into_inner().map_or(Ok(()), Err)
}

/// Runs `work` on each item, on up to `threads` threads, including the caller's. No item is started
/// after an error.
pub fn for_each<I, E>(
    threads: usize,
    items: I,
    work: impl Fn(I::Item) -> Result<(), E> + Sync,
) -> Result<(), E>
where
    I: Iterator + Send,
    E: From<Panicked> + Send,
{
    let (items, has_failed) = (Mutex::new(items), AtomicBool::new(false));
    let next = || {
        if has_failed.load(Ordering::Relaxed) {
            None
        } else {
            items.lock().next()
        }
    };
    run(threads, || {
        while let Some(item) = next() {
            // A panic is caught here and not only in `run`, so that the other threads stop, too.
            let done = guarded(|| work(item));
            has_failed.fetch_or(done.is_err(), Ordering::Relaxed);
            done?;
        }
        Ok(())
    })
}

/// Runs `work` once on each of up to `threads` threads. Meanwhile, the caller's thread calls
/// `watch` at the interval `tick`, and once more after all threads have ended.
pub fn watched<E: From<Panicked> + Send>(
    threads: usize,
    work: impl Fn() -> Result<(), E> + Sync,
    tick: Duration,
    mut watch: impl FnMut(),
) -> Result<(), E> {
    let (failed, left, ended) = (Mutex::new(None), Mutex::new(threads), Condvar::new());
    let work = || {
        note(&failed, guarded(&work));
        *left.lock() -= 1;
        ended.notify_all();
    };
    std::thread::scope(|scope| {
        let started = (0..threads)
            .take_while(|_| start::scoped(scope, work).is_ok())
            .count();
        // Threads that could not be started never count down. If none was started, the caller's
        // thread does the work of one.
        *left.lock() -= threads - started.max(1).min(threads);
        if started == 0 && threads > 0 {
            work();
        }
        let mut left = left.lock();
        while *left > 0 {
            ended.wait_for(&mut left, tick);
            // Workers must be able to finish while `watch` runs.
            parking_lot::MutexGuard::unlocked(&mut left, &mut watch);
        }
    });
    watch();
    failed.into_inner().map_or(Ok(()), Err)
}

/// Runs `work` for each number below `count`, each on its own thread, all starting at the same
/// moment. If the system provides too few threads, the caller's thread runs the rest. Results are
/// in the order of the numbers.
pub fn together<T: Send>(
    count: usize,
    work: impl Fn(usize) -> T + Sync,
) -> Vec<Result<T, Panicked>> {
    let start = StartLine::default();
    let one = |number| catch_unwind(AssertUnwindSafe(|| work(number))).map_err(|_| Panicked);
    std::thread::scope(|scope| {
        let (line, one) = (&start, &one);
        let started = |number| {
            let begin = move || {
                line.wait();
                one(number)
            };
            start::scoped(scope, begin).ok()
        };
        let threads: Vec<_> = (0..count).map_while(started).collect();
        // The number of threads is known only now, because the system may refuse some of them.
        start.open_for(threads.len());
        let rest: Vec<_> = (threads.len()..count).map(one).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(Err(Panicked)))
            .chain(rest)
            .collect()
    })
}

/// Lets threads begin at the same moment.
#[derive(Default)]
struct StartLine {
    /// The number of waiting threads, and whether they may begin.
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl StartLine {
    fn wait(&self) {
        let mut state = self.state.lock();
        state.0 += 1;
        self.changed.notify_all();
        self.changed
            .wait_while(&mut state, |(_, is_open)| !*is_open);
    }

    /// Lets the threads begin as soon as `threads` threads wait.
    fn open_for(&self, threads: usize) {
        let mut state = self.state.lock();
        self.changed
            .wait_while(&mut state, |(waiting, _)| *waiting < threads);
        state.1 = true;
        self.changed.notify_all();
    }
}

fn guarded<E: From<Panicked>>(work: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Panicked.into()))
}

fn note<E>(failed: &Mutex<Option<E>>, done: Result<(), E>) {
    if let Err(e) = done {
        failed.lock().get_or_insert(e);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize};
    use std::time::Instant;

    use super::start::tests::with_limit;
    use super::*;
    use crate::error::{Kind, Result};
    use crate::work::Cancelled;

    #[test]
    fn every_item_is_done_once_on_any_number_of_threads() {
        for (threads, limit) in [(0, 9), (1, 9), (8, 9), (8, 0), (8, 3)] {
            let sum = AtomicU64::new(0);
            let add = |n: u64| -> Result<()> {
                sum.fetch_add(n, Ordering::Relaxed);
                Ok(())
            };
            with_limit(limit, || for_each(threads, 0..10_000, add)).unwrap();
            assert_eq!(sum.into_inner(), 49_995_000, "{threads} {limit}");
        }
    }

    #[test]
    fn no_item_is_begun_after_an_error_or_a_panic() {
        for panics in [false, true] {
            let begun = AtomicUsize::new(0);
            let work = |n: usize| -> Result<()> {
                begun.fetch_add(1, Ordering::Relaxed);
                assert!(!panics || n != 100, "a panic of a test");
                if n == 100 {
                    Err(Cancelled.into())
                } else {
                    Ok(())
                }
            };
            let ended = for_each(4, 0.., work).unwrap_err();
            assert_eq!(
                ended.kind(),
                if panics {
                    Kind::Internal
                } else {
                    Kind::Cancelled
                }
            );
            assert!(begun.into_inner() >= 101);
        }
    }

    #[test]
    fn each_thread_runs_the_work_once() {
        for (limit, expected) in [(9, 5), (2, 3), (0, 1)] {
            let runs = AtomicUsize::new(0);
            let work = || -> Result<()> {
                runs.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            with_limit(limit, || run(5, work)).unwrap();
            assert_eq!(runs.into_inner(), expected);
        }
    }

    #[test]
    fn the_caller_watches_until_all_threads_have_ended() {
        for (threads, limit) in [(4, 9), (4, 1), (4, 0), (0, 9)] {
            let (runs, mut seen) = (AtomicUsize::new(0), 0);
            let work = || -> Result<()> {
                std::thread::sleep(Duration::from_millis(20));
                match runs.fetch_add(1, Ordering::Relaxed) {
                    0 => panic!("a panic of a test"),
                    _ => Err(Cancelled.into()),
                }
            };
            let tick = Duration::from_millis(1);
            let ended = with_limit(limit, || {
                watched(threads, work, tick, || seen = runs.load(Ordering::Relaxed))
            });
            assert_eq!(
                (ended.is_err(), seen),
                (threads > 0, threads.min(limit.max(1)))
            );
        }
    }

    #[test]
    fn all_begin_together_and_results_are_in_order() {
        let slow = |number: usize| {
            assert_ne!(number, 3, "a panic of a test");
            (number, Instant::now())
        };
        for limit in [9, 4, 0] {
            let results = with_limit(limit, || together(6, slow));
            let numbers: Vec<_> = results
                .iter()
                .map(|r| r.as_ref().map(|(number, _)| *number))
                .collect();
            assert_eq!(numbers, [Ok(0), Ok(1), Ok(2), Err(&Panicked), Ok(4), Ok(5)]);
        }
        assert!(together(0, slow).is_empty());
    }
}
