//! Keeps the threads that answer on the processor of whoever asks, as long as only one does.
//!
//! A question goes to a sleeping thread, and the kernel wakes it on another, idle processor: waking that takes several
//! times as long as the answer (decision 0006). One who asks, waits and asks again gains nothing from a second processor;
//! many do, and whoever moves much data does, so for these the threads run where the kernel wants them to.

use std::cell::Cell;

use parking_lot::{Mutex, MutexGuard};
use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_setaffinity};

use crate::sys::procfs::ProcDir;

/// Questions after which it is decided where the threads run.
const WINDOW: u32 = 64;
/// So many of them may be of others, or about much data.
const TOLERATED: u32 = 6;
/// What it says of whoever asks that he is on another processor than before, against one time that he is not: threads that
/// are kept where he is not are the slowest of all.
const MOVED: u32 = 4;
/// He is not followed from here on.
const RESTLESS: u32 = 8;

thread_local! {
    static KNOWN: Cell<bool> = const { Cell::new(false) };
}

/// Where the threads of a mount run.
pub(super) struct Steer {
    /// Where they may run; `None` if that cannot be found out: they are left alone then.
    allowed: Option<CpuSet>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    threads: Vec<Pid>,
    /// The processor that they are kept on.
    at: Option<usize>,
    /// Who asked first in this window.
    asker: u32,
    asked: u32,
    others: u32,
    /// Where he was last.
    last: Option<usize>,
    /// How much he moves about.
    moves: u32,
}

impl Steer {
    /// For the processors that this thread may use.
    pub(super) fn new() -> Self {
        Self { allowed: sched_getaffinity(None).ok(), state: Mutex::default() }
    }

    /// A question of a thread was taken by the thread that calls this; `much`: it moves much data. `asker` is zero where
    /// the kernel asks by itself.
    pub(super) fn saw(&self, asker: u32, much: bool) {
        let Some(allowed) = &self.allowed else { return };
        let mut state = self.state();
        if !KNOWN.replace(true) {
            let thread = gettid();
            state.threads.push(thread);
            place(&[thread], allowed, state.at);
        }
        if asker == 0 && !much {
            return;
        }
        if state.asked == 0 {
            state.asker = asker;
        }
        state.asked += 1;
        state.others += u32::from(much || asker != state.asker);
        if state.asked < WINDOW {
            return;
        }
        let alone = state.others <= TOLERATED;
        (state.asked, state.others) = (0, 0);
        let now = if alone { processor_of(state.asker).filter(|at| allowed.is_set(*at)) } else { None };
        if now == state.last {
            state.moves = state.moves.saturating_sub(1);
        } else {
            state.moves = (state.moves + MOVED).min(2 * RESTLESS);
        }
        state.last = now;
        let wanted = now.filter(|_| state.moves < RESTLESS);
        if wanted != state.at {
            state.at = wanted;
            place(&state.threads, allowed, wanted);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Keeps threads on a processor, or lets them run anywhere.
fn place(threads: &[Pid], allowed: &CpuSet, at: Option<usize>) {
    let set = at.map_or(*allowed, |at| {
        let mut one = CpuSet::new();
        one.set(at);
        one
    });
    for thread in threads {
        // One that cannot be moved is as good as before.
        let _ = sched_setaffinity(Some(*thread), &set);
    }
}

/// The processor that a thread ran on last.
fn processor_of(thread: u32) -> Option<usize> {
    /// Its number in proc_pid_stat(5).
    const FIELD: usize = 39;
    ProcDir::of(thread).stat().ok()?.field(FIELD).parse().ok()
}
