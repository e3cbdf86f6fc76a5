//! The boundary between the synchronous core and asynchronous libraries.
//!
//! Callers wait for the network in this module, so cancellation takes effect here: a read returns
//! within about 100 ms, a change after a short time in which its outcome may become known.

use std::future::Future;
use std::io;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::Receiver;

use super::StoreError;
use crate::observe::Observer;
use crate::sys::io_error::IoError;
use crate::work::Cancelled;

/// Number of threads that drive all connections.
const THREADS: usize = 2;
/// Interval at which a waiting caller checks for cancellation.
const TICK: Duration = Duration::from_millis(100);
/// Time that a change gets to finish after a cancellation. Without this time, the outcome would be
/// unknown and an intent lock would remain. A request that starts after the cancellation, which can
/// only be a cleanup, gets the same time.
const GRACE: Duration = Duration::from_millis(400);

/// The effect of a request on the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The request can be dropped at any time.
    Read,
    /// The request changes the store, and its response reports the outcome.
    Change,
}

/// The reason why a wait ended without a result.
#[derive(Debug)]
pub(super) enum WaitError {
    /// The caller was cancelled.
    Cancelled,
    /// The system has no threads left, or the future panicked.
    Failed(io::Error),
}

impl WaitError {
    /// Converts the reason to the error of the operation `what` on `key`.
    pub(super) fn of(self, what: &'static str, key: &str) -> StoreError {
        match self {
            Self::Cancelled => Cancelled.into(),
            Self::Failed(source) => IoError::new(what, key, source).into(),
        }
    }
}

fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("dvc-net")
        .enable_all()
        .build()?;
    Ok(RUNTIME.get_or_init(|| made))
}

/// Aborts the task when dropped.
struct Task<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs a future on the threads of the runtime, so that the caller wakes up once instead of for
/// every packet. Returns early and drops the future if the caller is cancelled.
pub(super) fn run<T: Send + 'static>(
    observer: &dyn Observer,
    effect: Effect,
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, WaitError> {
    let runtime = runtime().map_err(WaitError::Failed)?;
    let grace = if effect == Effect::Change || observer.cancelled() {
        GRACE
    } else {
        Duration::ZERO
    };
    runtime.block_on(async {
        let mut task = Task(runtime.spawn(future));
        let mut since = None;
        loop {
            // The short wait only serves to notice a cancellation.
            match tokio::time::timeout(TICK, &mut task.0).await {
                Ok(done) => return done.map_err(|e| WaitError::Failed(io::Error::other(e))),
                Err(_) if observer.cancelled() => {
                    if since.get_or_insert_with(Instant::now).elapsed() >= grace {
                        return Err(WaitError::Cancelled);
                    }
                }
                Err(_) => {}
            }
        }
    })
}

/// Returns the next message of a channel that a future on the runtime fills, or `None` at its end.
pub(super) fn next<T>(
    observer: &dyn Observer,
    from: &mut Receiver<T>,
) -> Result<Option<T>, WaitError> {
    runtime().map_err(WaitError::Failed)?.block_on(async {
        loop {
            // The short wait only serves to notice a cancellation.
            match tokio::time::timeout(TICK, from.recv()).await {
                Ok(message) => return Ok(message),
                Err(_) if observer.cancelled() => return Err(WaitError::Cancelled),
                Err(_) => {}
            }
        }
    })
}

/// Starts a future without waiting for its result.
pub(super) fn start<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> io::Result<tokio::task::JoinHandle<T>> {
    Ok(runtime()?.spawn(future))
}
