//! Keeps the request threads on the processor of the requesting thread, as long as only one thread
//! sends requests.
//!
//! The kernel wakes a sleeping request thread on an idle processor, which takes several times as
//! long as the request itself (decision 0006). A single thread that waits for each reply gains
//! nothing from a second processor. With several requesting threads, or large transfers, the kernel
//! chooses the processors.

use std::cell::Cell;

use parking_lot::{Mutex, MutexGuard};
use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_setaffinity};

use crate::sys::procfs::ProcDir;

/// Number of requests between two decisions about the placement.
const WINDOW: u32 = 64;
/// Limit on the requests in a window that come from other threads or transfer much data. With more
/// of them, the kernel places the threads.
const FOREIGN_MAX: u32 = 6;
/// Points for a window in which the requester has moved to another processor; a window without a
/// move subtracts one point. A move weighs more, because threads on the wrong processor are slower
/// than threads that the kernel places.
const MOVE_WEIGHT: u32 = 4;
/// Number of points at which the threads stop following the requester.
const MOVE_LIMIT: u32 = 8;

thread_local! {
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// The placement of the request threads of a mount.
pub(super) struct ThreadPlacement {
    /// Processors that the threads may use, or `None` if unknown. The threads are not moved then.
    allowed: Option<CpuSet>,
    state: Mutex<PlacementState>,
}

#[derive(Default)]
struct PlacementState {
    threads: Vec<Pid>,
    /// The processor that the threads are kept on, or `None` if the kernel places them.
    at: Option<usize>,
    /// The first requesting thread in this window.
    requester: u32,
    requests: u32,
    foreign_requests: u32,
    /// The last processor of the requester.
    last: Option<usize>,
    /// Points for moves of the requester, see [`MOVE_WEIGHT`].
    moves: u32,
}

impl ThreadPlacement {
    /// Creates a placement on the processors that the calling thread may use.
    pub(super) fn new() -> Self {
        Self {
            allowed: sched_getaffinity(None).ok(),
            state: Mutex::default(),
        }
    }

    /// Notes a request that this thread has received. `much` is whether it transfers much data.
    /// `requester` is a thread id, or zero for requests of the kernel itself.
    pub(super) fn note_request(&self, requester: u32, much: bool) {
        let Some(allowed) = &self.allowed else { return };
        let mut state = self.state();
        if !REGISTERED.replace(true) {
            // Threads register themselves, because `fuser` starts them and does not report their
            // ids.
            let thread = gettid();
            state.threads.push(thread);
            place(&[thread], allowed, state.at);
        }
        if requester == 0 && !much {
            return;
        }
        if state.requests == 0 {
            state.requester = requester;
        }
        state.requests += 1;
        state.foreign_requests += u32::from(much || requester != state.requester);
        // Decide only at the end of a window, because each decision reads a file in `/proc`.
        if state.requests < WINDOW {
            return;
        }
        let alone = state.foreign_requests <= FOREIGN_MAX;
        (state.requests, state.foreign_requests) = (0, 0);
        let now = if alone {
            processor_of(state.requester).filter(|at| allowed.is_set(*at))
        } else {
            None
        };
        if now == state.last {
            state.moves = state.moves.saturating_sub(1);
        } else {
            state.moves = (state.moves + MOVE_WEIGHT).min(2 * MOVE_LIMIT);
        }
        state.last = now;
        let wanted = now.filter(|_| state.moves < MOVE_LIMIT);
        if wanted != state.at {
            state.at = wanted;
            place(&state.threads, allowed, wanted);
        }
    }

    fn state(&self) -> MutexGuard<'_, PlacementState> {
        self.state.lock()
    }
}

/// Binds threads to a processor, or to all allowed ones if `at` is `None`.
fn place(threads: &[Pid], allowed: &CpuSet, at: Option<usize>) {
    let set = at.map_or(*allowed, |at| {
        let mut one = CpuSet::new();
        one.set(at);
        one
    });
    for thread in threads {
        // A thread that cannot be moved stays where it is.
        let _ = sched_setaffinity(Some(*thread), &set);
    }
}

/// Returns the processor on which a thread last ran.
fn processor_of(thread: u32) -> Option<usize> {
    /// Number of the field `processor` in proc_pid_stat(5).
    const FIELD: usize = 39;
    ProcDir::of(thread).stat().ok()?.field(FIELD).parse().ok()
}
