//! Threads for answers that may have to wait, so that whoever takes requests never does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    idle: usize,
    threads: Vec<JoinHandle<()>>,
    closed: bool,
}

/// The threads; they are started as they are needed, and end when the pool is dropped.
pub struct Pool {
    shared: Arc<(Mutex<Queue>, Condvar)>,
    limit: usize,
    /// Where they may run: whoever starts one may be kept on one processor (`fuse::steer`).
    places: Option<CpuSet>,
}

impl Pool {
    /// At most `limit` threads.
    pub fn new(limit: usize) -> Self {
        Self { shared: Arc::default(), limit, places: sched_getaffinity(None).ok() }
    }

    /// Runs a job on one of the threads.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut queue = self.shared.0.lock();
        queue.jobs.push_back(Box::new(job));
        if queue.idle >= queue.jobs.len() || queue.threads.len() >= self.limit {
            drop(queue);
            self.shared.1.notify_one();
            return;
        }
        let (shared, places) = (Arc::clone(&self.shared), self.places);
        let thread = std::thread::Builder::new().name("dvc-wait".to_owned()).spawn(move || {
            if let Some(places) = places {
                let _ = sched_setaffinity(None, &places);
            }
            work(&shared);
        });
        queue.threads.extend(thread);
    }
}

fn work(shared: &(Mutex<Queue>, Condvar)) {
    let mut queue = shared.0.lock();
    loop {
        if let Some(job) = queue.jobs.pop_front() {
            drop(queue);
            // A job that panics has answered by that: its reply is dropped.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            queue = shared.0.lock();
        } else if queue.closed {
            return;
        } else {
            queue.idle += 1;
            shared.1.wait(&mut queue);
            queue.idle -= 1;
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let threads = {
            let mut queue = self.shared.0.lock();
            queue.closed = true;
            std::mem::take(&mut queue.threads)
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_job_runs_also_beside_one_that_panics() {
        let ran = Arc::new(AtomicUsize::new(0));
        let pool = Pool::new(3);
        for n in 0..100 {
            let ran = Arc::clone(&ran);
            pool.run(move || {
                ran.fetch_add(1, Ordering::Relaxed);
                assert!(n % 10 != 0, "a job that panics");
            });
        }
        drop(pool);
        assert_eq!(ran.load(Ordering::Relaxed), 100);
    }
}
