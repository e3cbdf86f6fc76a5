//! SIGINT, SIGTERM and SIGHUP: the first signal cancels the operation, the second terminates the
//! process immediately.
//!
//! A signal that was ignored when the process started stays ignored, as under `nohup` and in
//! background jobs of a shell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The last signal that was received, if any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    received: Arc<AtomicUsize>,
}

impl Signals {
    /// Returns whether a signal was received.
    pub(crate) fn cancelled(&self) -> bool {
        self.received.load(Ordering::Relaxed) != 0
    }

    /// Returns the exit code of a cancelled operation.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.received.load(Ordering::Relaxed) {
            0 => dvc::error::Kind::Cancelled.exit_code(),
            n => u8::try_from(128 + n).unwrap_or(u8::MAX),
        }
    }
}

/// Installs the handlers. If the system refuses, signals keep their default action.
pub(crate) fn install() -> Signals {
    let signals = Signals::default();
    let again = Arc::new(AtomicBool::new(false));
    let ignored = ignored();
    for signal in [
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGHUP,
    ] {
        if ignored & (1 << (signal - 1)) != 0 {
            continue;
        }
        let number = usize::try_from(signal).unwrap_or(0);
        // Handlers run in the order of registration. The shutdown handler runs before the flag is
        // set, so it acts only from the second signal on.
        let _ = signal_hook::flag::register_conditional_shutdown(
            signal,
            128 + signal,
            Arc::clone(&again),
        );
        let _ = signal_hook::flag::register(signal, Arc::clone(&again));
        let _ = signal_hook::flag::register_usize(signal, Arc::clone(&signals.received), number);
    }
    // With a handler, a write beyond the file size limit (`ulimit -f`) fails with EFBIG, which is
    // reported. Without one, the signal would kill the process without a message. Child processes
    // get the default action.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    signals
}

/// Returns the mask of the signals that are ignored now, with SIGHUP as the lowest bit; 0 if the
/// kernel does not report it.
fn ignored() -> u64 {
    std::fs::read_to_string("/proc/self/status").map_or(0, |status| ignored_in(&status))
}

fn ignored_in(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        let status = "Name:\tdvc\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000004002\n";
        assert_eq!(ignored_in(status), 0x1001);
        assert_eq!(ignored_in("Name:\tdvc\n"), 0);
    }
}
