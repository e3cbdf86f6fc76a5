//! Starts threads, and lets a test pretend that the system provides no more of them.

use std::io;
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

/// Starts a thread that ends with `scope`.
pub(super) fn scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    #[cfg(test)]
    tests::take_one()?;
    Builder::new().spawn_scoped(scope, work)
}

/// Starts a thread with a name.
pub(super) fn named(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    #[cfg(test)]
    tests::take_one()?;
    Builder::new().name(name.to_owned()).spawn(work)
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    pub(super) fn take_one() -> io::Result<()> {
        match LEFT.get().checked_sub(1) {
            Some(left) => LEFT.set(left),
            None => return Err(rustix::io::Errno::AGAIN.into()),
        }
        Ok(())
    }

    /// Runs `test` while the calling thread can start only `limit` more threads.
    pub(in crate::work) fn with_limit<T>(limit: usize, test: impl FnOnce() -> T) -> T {
        LEFT.set(limit);
        let result = test();
        LEFT.set(usize::MAX);
        result
    }
}
