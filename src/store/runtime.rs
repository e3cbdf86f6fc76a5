//! The one boundary between the synchronous core and asynchronous libraries.

use std::future::Future;
use std::io;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

/// Threads that drive all connections.
const THREADS: usize = 2;

fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = Builder::new_multi_thread().worker_threads(THREADS).thread_name("dvc-net").enable_all().build()?;
    Ok(RUNTIME.get_or_init(|| made))
}

/// Waits for a future that runs wholly on the runtime's own threads, so that the caller is woken once and not for
/// every packet. Fails only where the system gives no threads, or the future panics.
pub(super) fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
    let runtime = runtime()?;
    runtime.block_on(runtime.spawn(future)).map_err(io::Error::other)
}

/// Starts a future and does not wait for it.
pub(super) fn start<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> io::Result<tokio::task::JoinHandle<T>> {
    Ok(runtime()?.spawn(future))
}
