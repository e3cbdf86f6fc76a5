//! SIGINT and SIGTERM: the first asks the operation to end, the second ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Which signal came, if any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    received: Arc<AtomicUsize>,
}

impl Signals {
    /// Whether the operation should end soon.
    pub(crate) fn cancelled(&self) -> bool {
        self.received.load(Ordering::Relaxed) != 0
    }

    /// The exit code of an operation that was cancelled.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.received.load(Ordering::Relaxed) {
            0 => dvc::error::Kind::Cancelled.exit_code(),
            n => u8::try_from(128 + n).unwrap_or(u8::MAX),
        }
    }
}

/// Installs the handlers; where the system refuses, signals keep their usual meaning.
pub(crate) fn install() -> Signals {
    let signals = Signals::default();
    let again = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        let number = usize::try_from(signal).unwrap_or(0);
        // Handlers run in this order: the shutdown sees the flag only from the second signal on.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again));
        let _ = signal_hook::flag::register(signal, Arc::clone(&again));
        let _ = signal_hook::flag::register_usize(signal, Arc::clone(&signals.received), number);
    }
    signals
}
