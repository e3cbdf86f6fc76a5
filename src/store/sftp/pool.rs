//! The connections to one server: one at first, more as the load grows.
//!
//! If possible, a large transfer gets a connection without another transfer; small requests share
//! connections. Each connection has its own TCP stream, because the window of SSH limits the
//! throughput of a single one. A broken connection is never used again.

use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::connection::Connection;
use super::error::SftpError;
use super::ssh::Ssh;

/// Limit on the connections. By default, sshd accepts ten connections that have not logged in yet.
pub(super) const CONNECTIONS_MAX: usize = 8;
/// Number of small requests on each connection at which another connection is opened, if possible.
/// Opening a connection costs about ten round trips.
const SHARERS: usize = 12;

/// The amount of data of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// A few packets.
    Small,
    /// Enough data to use the whole throughput of a connection.
    Large,
}

/// The connections to a server.
pub(super) struct ConnectionPool {
    ssh: Ssh,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    slots: Vec<Slot>,
    next: u64,
    /// Limit on the connections; falls when the server rejects one.
    most: usize,
    /// Number of failed attempts to connect, and the last error.
    failures: u64,
    failure: Option<SftpError>,
}

/// A connection that is open or being opened.
struct Slot {
    number: u64,
    connection: Option<Arc<Connection>>,
    big: usize,
    small: usize,
}

enum LeaseDecision {
    Take(Lease),
    Open(Opening),
    Wait,
}

impl ConnectionPool {
    pub(super) fn new(ssh: Ssh) -> Self {
        let state = State {
            slots: Vec::new(),
            next: 0,
            most: CONNECTIONS_MAX,
            failures: 0,
            failure: None,
        };
        Self {
            ssh,
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Returns a connection for a request. Opens one if needed.
    pub(super) async fn lease(self: &Arc<Self>, weight: Weight) -> Result<Lease, SftpError> {
        let failures = self.state().failures;
        loop {
            // Register before the check, so that a change between the check and the wait is not
            // lost.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.choose(weight) {
                LeaseDecision::Take(lease) => return Ok(lease),
                LeaseDecision::Open(opening) => match Connection::open(&self.ssh).await {
                    Ok(connection) => return Ok(opening.done(connection, weight)),
                    Err(error) => {
                        if !opening.failed(error.duplicate()) {
                            return Err(error);
                        }
                    }
                },
                LeaseDecision::Wait => changed.await,
            }
            let state = self.state();
            // The attempt that this request waited for has failed; another attempt would only
            // double the wait.
            if state.failures > failures
                && state.slots.is_empty()
                && let Some(error) = &state.failure
            {
                return Err(error.duplicate());
            }
        }
    }

    fn choose(self: &Arc<Self>, weight: Weight) -> LeaseDecision {
        let mut state = self.state();
        state
            .slots
            .retain(|s| s.connection.as_ref().is_none_or(|c| c.is_alive()));
        let opening = state
            .slots
            .iter()
            .filter(|s| s.connection.is_none())
            .count();
        let may_open = state.slots.len() < state.most;
        let best = state
            .slots
            .iter_mut()
            .filter(|s| s.connection.is_some())
            .min_by_key(|s| (s.big, s.small));
        let good = best.as_ref().is_some_and(|s| match weight {
            Weight::Small => s.big == 0 && s.small < SHARERS,
            Weight::Large => s.big == 0,
        });
        match best {
            Some(slot) if good || !may_open => slot
                .lease(self, weight)
                .map_or(LeaseDecision::Wait, LeaseDecision::Take),
            // Wait for the first connection, which shows whether the server can be reached.
            None if opening > 0 && (weight == Weight::Small || !may_open) => LeaseDecision::Wait,
            _ if may_open => {
                let number = state.next;
                state.next += 1;
                state.slots.push(Slot {
                    number,
                    connection: None,
                    big: 0,
                    small: 0,
                });
                LeaseDecision::Open(Opening {
                    pool: Arc::clone(self),
                    number,
                })
            }
            _ => LeaseDecision::Wait,
        }
    }
}

impl Slot {
    fn lease(&mut self, pool: &Arc<ConnectionPool>, weight: Weight) -> Option<Lease> {
        let connection = Arc::clone(self.connection.as_ref()?);
        match weight {
            Weight::Small => self.small += 1,
            Weight::Large => self.big += 1,
        }
        Some(Lease {
            pool: Arc::clone(pool),
            number: self.number,
            weight,
            connection,
        })
    }
}

/// A slot that is reserved for a connection. Dropping it before the connection is open frees the
/// slot.
struct Opening {
    pool: Arc<ConnectionPool>,
    number: u64,
}

impl Opening {
    fn done(self, connection: Connection, weight: Weight) -> Lease {
        let connection = Arc::new(connection);
        let mut state = self.pool.state();
        if let Some(slot) = state.slots.iter_mut().find(|s| s.number == self.number) {
            slot.connection = Some(Arc::clone(&connection));
            match weight {
                Weight::Small => slot.small += 1,
                Weight::Large => slot.big += 1,
            }
        }
        drop(state);
        // When `self` is dropped, it wakes the requests that wait for this connection.
        Lease {
            pool: Arc::clone(&self.pool),
            number: self.number,
            weight,
            connection,
        }
    }

    /// Records a failed attempt. Returns whether other connections are open, which then take over
    /// the request; the pool opens no further ones.
    fn failed(&self, error: SftpError) -> bool {
        let mut state = self.pool.state();
        state.failures += 1;
        state.failure = Some(error);
        let open = state
            .slots
            .iter()
            .filter(|s| s.connection.as_ref().is_some_and(|c| c.is_alive()))
            .count();
        if open > 0 {
            state.most = open;
        }
        open > 0
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.pool
            .state()
            .slots
            .retain(|s| s.number != self.number || s.connection.is_some());
        self.pool.changed.notify_waiters();
    }
}

/// The right to use a connection for one request.
pub(super) struct Lease {
    pool: Arc<ConnectionPool>,
    number: u64,
    weight: Weight,
    pub(super) connection: Arc<Connection>,
}

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        if let Some(slot) = state.slots.iter_mut().find(|s| s.number == self.number) {
            match self.weight {
                Weight::Small => slot.small -= 1,
                Weight::Large => slot.big -= 1,
            }
        }
        drop(state);
        self.pool.changed.notify_waiters();
    }
}
