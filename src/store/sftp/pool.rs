//! The connections to one server: one at first, more when there is more to do.
//!
//! A big transfer gets a connection without another one, small requests share. Each connection is a TCP stream of its
//! own, since one alone is held back by ssh's window. A connection that broke is never given out again.

use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::Wrong;
use super::connection::Connection;
use super::ssh::Ssh;

/// Connections at once. A server takes ten that have not logged in yet, unless it is told otherwise.
pub(super) const MOST: usize = 8;
/// Small requests that share a connection before another one is opened: opening costs about ten round trips.
const SHARERS: usize = 12;

/// How much a request will move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// A few packets.
    Small,
    /// Enough to fill a connection.
    Big,
}

/// All connections.
pub(super) struct Pool {
    ssh: Ssh,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    seats: Vec<Seat>,
    next: u64,
    /// As many as the server lets in.
    most: usize,
    /// How often there was no connection to be had, and why the last time.
    failures: u64,
    failure: Option<Wrong>,
}

/// A connection, or one that is being opened.
struct Seat {
    number: u64,
    connection: Option<Arc<Connection>>,
    big: usize,
    small: usize,
}

enum Choice {
    Take(Lease),
    Open(Opening),
    Wait,
}

impl Pool {
    pub(super) fn new(ssh: Ssh) -> Self {
        let state = State { seats: Vec::new(), next: 0, most: MOST, failures: 0, failure: None };
        Self { ssh, state: Mutex::new(state), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// A connection for a request.
    pub(super) async fn lease(self: &Arc<Self>, weight: Weight) -> Result<Lease, Wrong> {
        let failures = self.state().failures;
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.choose(weight) {
                Choice::Take(lease) => return Ok(lease),
                Choice::Open(opening) => match Connection::open(&self.ssh).await {
                    Ok(connection) => return Ok(opening.done(connection, weight)),
                    Err(wrong) => {
                        if !opening.failed(wrong.again()) {
                            return Err(wrong);
                        }
                    }
                },
                Choice::Wait => changed.await,
            }
            let state = self.state();
            // Whoever waited for the same connection need not try for as long again.
            if state.failures > failures
                && state.seats.is_empty()
                && let Some(wrong) = &state.failure
            {
                return Err(wrong.again());
            }
        }
    }

    fn choose(self: &Arc<Self>, weight: Weight) -> Choice {
        let mut state = self.state();
        state.seats.retain(|s| s.connection.as_ref().is_none_or(|c| c.is_alive()));
        let opening = state.seats.iter().filter(|s| s.connection.is_none()).count();
        let may_open = state.seats.len() < state.most;
        let best = state.seats.iter_mut().filter(|s| s.connection.is_some()).min_by_key(|s| (s.big, s.small));
        let good = best.as_ref().is_some_and(|s| match weight {
            Weight::Small => s.big == 0 && s.small < SHARERS,
            Weight::Big => s.big == 0,
        });
        match best {
            Some(seat) if good || !may_open => seat.lease(self, weight).map_or(Choice::Wait, Choice::Take),
            // The first connection shows whether there is a way at all.
            None if opening > 0 && (weight == Weight::Small || !may_open) => Choice::Wait,
            _ if may_open => {
                let number = state.next;
                state.next += 1;
                state.seats.push(Seat { number, connection: None, big: 0, small: 0 });
                Choice::Open(Opening { pool: Arc::clone(self), number })
            }
            _ => Choice::Wait,
        }
    }
}

impl Seat {
    fn lease(&mut self, pool: &Arc<Pool>, weight: Weight) -> Option<Lease> {
        let connection = Arc::clone(self.connection.as_ref()?);
        match weight {
            Weight::Small => self.small += 1,
            Weight::Big => self.big += 1,
        }
        Some(Lease { pool: Arc::clone(pool), number: self.number, weight, connection })
    }
}

/// A seat that is kept for a connection; given up when dropped.
struct Opening {
    pool: Arc<Pool>,
    number: u64,
}

impl Opening {
    fn done(self, connection: Connection, weight: Weight) -> Lease {
        let connection = Arc::new(connection);
        let mut state = self.pool.state();
        if let Some(seat) = state.seats.iter_mut().find(|s| s.number == self.number) {
            seat.connection = Some(Arc::clone(&connection));
            match weight {
                Weight::Small => seat.small += 1,
                Weight::Big => seat.big += 1,
            }
        }
        drop(state);
        Lease { pool: Arc::clone(&self.pool), number: self.number, weight, connection }
    }

    /// True: there are other connections, so that this one is not missed.
    fn failed(&self, wrong: Wrong) -> bool {
        let mut state = self.pool.state();
        state.failures += 1;
        state.failure = Some(wrong);
        let open = state.seats.iter().filter(|s| s.connection.as_ref().is_some_and(|c| c.is_alive())).count();
        if open > 0 {
            state.most = open;
        }
        open > 0
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.pool.state().seats.retain(|s| s.number != self.number || s.connection.is_some());
        self.pool.changed.notify_waiters();
    }
}

/// The use of a connection for one request.
pub(super) struct Lease {
    pool: Arc<Pool>,
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
        if let Some(seat) = state.seats.iter_mut().find(|s| s.number == self.number) {
            match self.weight {
                Weight::Small => seat.small -= 1,
                Weight::Big => seat.big -= 1,
            }
        }
        drop(state);
        self.pool.changed.notify_waiters();
    }
}
