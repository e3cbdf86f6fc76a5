//! The one boundary between the synchronous core and asynchronous libraries.
//!
//! A caller waits here for the network, so a caller that is told to stop is let go here: a read at once, a change after
//! a short time in which it may still be settled.

use std::future::Future;
use std::io;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::Receiver;

use super::StoreError;
use crate::observe::Observer;

/// Threads that drive all connections.
const THREADS: usize = 2;
/// How often a waiting caller asks whether it shall stop.
const TICK: Duration = Duration::from_millis(100);
/// A change that is under way when everything shall stop gets so long to end. Otherwise it would not be known whether it
/// was made, and an intent lock would stay behind. A request that begins after that, which only cleans up, gets the same.
const GRACE: Duration = Duration::from_millis(400);

/// What a request does to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing that matters when it is broken off.
    Read,
    /// It changes something, and its answer says whether.
    Change,
}

/// Why a wait ended without an answer.
#[derive(Debug)]
pub(super) enum Ended {
    /// The caller shall stop.
    Cancelled,
    /// The system gives no threads, or the future panicked.
    Failed(io::Error),
}

impl Ended {
    /// As the error of an operation.
    pub(super) fn of(self, what: &'static str, key: &str) -> StoreError {
        match self {
            Self::Cancelled => StoreError::Cancelled,
            Self::Failed(source) => StoreError::Io { what, key: key.to_owned(), source },
        }
    }
}

fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = Builder::new_multi_thread().worker_threads(THREADS).thread_name("dvc-net").enable_all().build()?;
    Ok(RUNTIME.get_or_init(|| made))
}

/// Ends a task with its handle.
struct Task<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits for a future that runs wholly on the runtime's own threads, so that the caller is woken once and not for
/// every packet. A caller that shall stop does not wait any longer, and the future is dropped.
pub(super) fn run<T: Send + 'static>(
    observer: &dyn Observer,
    effect: Effect,
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, Ended> {
    let runtime = runtime().map_err(Ended::Failed)?;
    let grace = if effect == Effect::Change || observer.cancelled() { GRACE } else { Duration::ZERO };
    runtime.block_on(async {
        let mut task = Task(runtime.spawn(future));
        let mut since = None;
        loop {
            match tokio::time::timeout(TICK, &mut task.0).await {
                Ok(done) => return done.map_err(|e| Ended::Failed(io::Error::other(e))),
                Err(_) if observer.cancelled() => {
                    if since.get_or_insert_with(Instant::now).elapsed() >= grace {
                        return Err(Ended::Cancelled);
                    }
                }
                Err(_) => {}
            }
        }
    })
}

/// The next message of a channel that a future on the runtime fills; `None` at its end.
pub(super) fn next<T>(observer: &dyn Observer, from: &mut Receiver<T>) -> Result<Option<T>, Ended> {
    runtime().map_err(Ended::Failed)?.block_on(async {
        loop {
            match tokio::time::timeout(TICK, from.recv()).await {
                Ok(message) => return Ok(message),
                Err(_) if observer.cancelled() => return Err(Ended::Cancelled),
                Err(_) => {}
            }
        }
    })
}

/// Sleeps, as a rate demands; not for a caller that shall stop.
pub(super) fn sleep(observer: &dyn Observer, time: Duration) -> Result<(), StoreError> {
    let until = Instant::now() + time;
    loop {
        if observer.cancelled() {
            return Err(StoreError::Cancelled);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(TICK));
    }
}

/// Starts a future and does not wait for it.
pub(super) fn start<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> io::Result<tokio::task::JoinHandle<T>> {
    Ok(runtime()?.spawn(future))
}
