//! Threads for calls that may block, so that the threads that receive requests never block.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::start;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    idle: usize,
    threads: Vec<JoinHandle<()>>,
    closed: bool,
}

/// A pool of threads, which are started on demand and joined when the pool is dropped.
pub struct Pool {
    shared: Arc<(Mutex<Jobs>, Condvar)>,
    limit: usize,
    /// The processors that the threads may use. A thread that submits a job may be pinned to one of
    /// them, which the threads of the pool must not inherit.
    places: Option<CpuSet>,
}

impl Pool {
    /// Creates a pool of at most `limit` threads.
    pub fn new(limit: usize) -> Self {
        Self {
            shared: Arc::default(),
            limit,
            places: sched_getaffinity(None).ok(),
        }
    }

    /// Runs a job on a thread of the pool, or on the caller's thread if the pool has no thread and
    /// the system provides none.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut jobs = self.shared.0.lock();
        jobs.waiting.push_back(Box::new(job));
        // An idle thread is woken for each waiting job, so another thread is needed only if there
        // are more jobs.
        if jobs.idle < jobs.waiting.len() && jobs.threads.len() < self.limit {
            let (shared, places) = (Arc::clone(&self.shared), self.places);
            let thread = start::named("dvc-wait", move || {
                if let Some(places) = places {
                    // Without the permission, the thread stays on the caller's processor, which
                    // only costs speed.
                    let _ = sched_setaffinity(None, &places);
                }
                work(&shared);
            });
            let is_started = thread.is_ok();
            jobs.threads.extend(thread);
            if is_started {
                return;
            }
            // There is no thread that could do the job, so the caller does it.
            if jobs.threads.is_empty()
                && let Some(job) = jobs.waiting.pop_back()
            {
                drop(jobs);
                return guarded(job);
            }
        }
        drop(jobs);
        self.shared.1.notify_one();
    }
}

fn work(shared: &(Mutex<Jobs>, Condvar)) {
    let mut jobs = shared.0.lock();
    loop {
        if let Some(job) = jobs.waiting.pop_front() {
            drop(jobs);
            guarded(job);
            jobs = shared.0.lock();
        } else if jobs.closed {
            return;
        } else {
            jobs.idle += 1;
            shared.1.wait(&mut jobs);
            jobs.idle -= 1;
        }
    }
}

/// Runs a job and catches its panic. The unwinding drops the job's reply object, and the drop sends
/// an error reply, so no request stays unanswered.
fn guarded(job: Job) {
    // A panic must not end the thread, because other jobs wait for it.
    let _ = catch_unwind(AssertUnwindSafe(job));
}

impl Drop for Pool {
    fn drop(&mut self) {
        // The lock is released before the joins, because the threads need it to end.
        let threads = {
            let mut jobs = self.shared.0.lock();
            jobs.closed = true;
            std::mem::take(&mut jobs.threads)
        };
        self.shared.1.notify_all();
        for thread in threads {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::start::tests::with_limit;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Runs jobs on a pool, and returns how many ran before the pool was dropped.
    fn ran(limit: usize, jobs: usize) -> usize {
        let ran = Arc::new(AtomicUsize::new(0));
        let pool = Pool::new(limit);
        for n in 0..jobs {
            let ran = Arc::clone(&ran);
            pool.run(move || {
                ran.fetch_add(1, Ordering::Relaxed);
                assert!(n % 10 != 0, "a panic of a test");
            });
        }
        drop(pool);
        ran.load(Ordering::Relaxed)
    }

    #[test]
    fn every_job_runs_also_beside_one_that_panics() {
        assert_eq!((ran(3, 100), ran(64, 10_000)), (100, 10_000));
    }

    #[test]
    fn jobs_run_where_the_system_gives_no_threads() {
        for limit in [0, 1] {
            assert_eq!(with_limit(limit, || ran(3, 100)), 100);
        }
    }

    #[test]
    fn jobs_that_block_do_not_keep_others_waiting() {
        let pool = Pool::new(8);
        let (open, gate) = std::sync::mpsc::sync_channel::<()>(0);
        let gate = Arc::new(Mutex::new(gate));
        for _ in 0..7 {
            let gate = Arc::clone(&gate);
            pool.run(move || {
                let _ = gate.lock().recv();
            });
        }
        let (done, answer) = std::sync::mpsc::channel();
        pool.run(move || done.send(7).unwrap());
        assert_eq!(answer.recv(), Ok(7));
        drop(open);
    }
}
