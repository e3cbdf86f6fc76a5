//! The observer of the command line: progress bars on a terminal, one line per notice, and a
//! progress line on SIGUSR1.
//!
//! Worker threads only add to counters. One thread reads the counters ten times per second and
//! draws.

use crate::print::{elapsed, harmless_json, size};
use crate::render::JsonPath;
use crate::signals::Signals;
use dvc::model::path::display;
use dvc::model::text::harmless;
use dvc::observe::{Notice, NoticeLevel, Observer};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The first bar is shown when a phase has lasted this long. From then on, each phase gets its bar
/// at once.
const PATIENCE: Duration = Duration::from_millis(400);
const TICK: Duration = Duration::from_millis(100);
/// Interval between progress lines, which replace the bar if standard error is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The width of the widest bar, in characters.
const BAR: usize = 24;
/// Phases that count packs instead of files.
const PACK_PHASES: [&str; 6] = [
    "sending",
    "receiving",
    "receiving trees",
    "verifying",
    "read packs",
    "read tables",
];

/// The observer of verbs that only read. It draws nothing, but a signal cancels the operation.
pub(crate) struct CancelWatch(pub(crate) Signals);

impl Observer for CancelWatch {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// The observer of a long operation.
pub(crate) struct Progress {
    shared: Arc<ProgressState>,
    signals: Signals,
    level: i32,
    json: bool,
    drawing: Option<(Sender<()>, JoinHandle<()>)>,
}

struct ProgressState {
    files: AtomicU64,
    bytes: AtomicU64,
    on_the_way: AtomicU64,
    phase: Mutex<Phase>,
    bar: Mutex<Option<ProgressBar>>,
}

#[derive(Clone, Copy)]
struct Phase {
    name: &'static str,
    files: Option<u64>,
    bytes: Option<u64>,
    since: Instant,
    number: u64,
}

#[derive(Serialize)]
struct JsonNotice<'a> {
    schema: u8,
    notice: &'static str,
    #[serde(flatten)]
    path: JsonPath,
    message: &'a str,
}

impl Progress {
    /// Starts the observer. At `level` 0, only damage is reported, at 1 also warnings, at 2 also
    /// notes and skipped files, at 3 everything. `bars` requests bars on a terminal; `bars` and
    /// `forced` together request progress lines if standard error is not a terminal.
    pub(crate) fn start(
        signals: Signals,
        level: i32,
        json: bool,
        bars: bool,
        forced: bool,
    ) -> Self {
        let phase = Phase {
            name: "",
            files: None,
            bytes: None,
            since: Instant::now(),
            number: 0,
        };
        let shared = Arc::new(ProgressState {
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            on_the_way: AtomicU64::new(0),
            phase: Mutex::new(phase),
            bar: Mutex::new(None),
        });
        line_on_sigusr1(&shared);
        let terminal = std::io::stderr().is_terminal();
        let drawing = (bars && (terminal || forced)).then(|| {
            let (stop, stopped) = channel();
            let shared = Arc::clone(&shared);
            (
                stop,
                std::thread::spawn(move || draw(&shared, &stopped, terminal)),
            )
        });
        Self {
            shared,
            signals,
            level,
            json,
            drawing,
        }
    }

    fn print_line(&self, line: &str) {
        // The lock prevents the drawing thread from starting a bar in the middle of the line.
        let bar = self.shared.bar.lock();
        match bar.as_ref() {
            Some(bar) => bar.suspend(|| write_line(line)),
            None => write_line(line),
        }
    }
}

impl Observer for Progress {
    fn phase(&self, name: &'static str, files: Option<u64>, bytes: Option<u64>) {
        let mut phase = self.shared.phase.lock();
        *phase = Phase {
            name,
            files,
            bytes,
            since: Instant::now(),
            number: phase.number + 1,
        };
        self.shared.files.store(0, Ordering::Relaxed);
        self.shared.bytes.store(0, Ordering::Relaxed);
        self.shared.on_the_way.store(0, Ordering::Relaxed);
        drop(phase);
        if self.level >= 3 {
            self.print_line(&format!("debug: {name}"));
        }
    }

    fn advance(&self, files: u64, bytes: u64) {
        // The memory order does not matter, because the counters are only shown.
        self.shared.files.fetch_add(files, Ordering::Relaxed);
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn on_the_way(&self, bytes: u64) {
        self.shared.on_the_way.store(bytes, Ordering::Relaxed);
    }

    fn notice(&self, notice: Notice) {
        let (needs, word) = match notice.level {
            NoticeLevel::Damage => (0, "damage"),
            NoticeLevel::Incomplete | NoticeLevel::Warning => (1, "warning"),
            NoticeLevel::Skipped => (2, "skipped"),
            NoticeLevel::Info => (2, "note"),
            NoticeLevel::Detail => (3, "detail"),
        };
        if self.level < needs {
            return;
        }
        let Notice { path, message, .. } = &notice;
        let line = match (self.json, path.is_empty()) {
            (true, nowhere) => {
                let path = if nowhere {
                    JsonPath::default()
                } else {
                    JsonPath::new(path)
                };
                let notice = JsonNotice {
                    schema: 1,
                    notice: word,
                    path,
                    message,
                };
                harmless_json(&notice).unwrap_or_default()
            }
            (false, true) => format!("{word}: {}", harmless(message)),
            (false, false) => format!("{word}: `{}`: {}", display(path), harmless(message)),
        };
        self.print_line(&line);
    }

    fn cancelled(&self) -> bool {
        self.signals.cancelled()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.drawing.take() {
            // The thread clears the bar before it ends, so that later output begins on an empty
            // line.
            drop(stop);
            let _ = thread.join();
        }
    }
}

impl ProgressState {
    fn phase(&self) -> Phase {
        *self.phase.lock()
    }

    /// Returns the line for a terminal with this number of columns.
    fn line(&self, columns: usize) -> String {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let phase = self.phase();
        let state = ProgressCounts {
            files: count(&self.files),
            bytes: count(&self.bytes),
            on_the_way: count(&self.on_the_way),
            passed: phase.since.elapsed(),
        };
        line(&phase, &state, columns)
    }
}

/// The counters of a phase.
struct ProgressCounts {
    files: u64,
    bytes: u64,
    on_the_way: u64,
    passed: Duration,
}

/// Formats a line: `[=====>      ]  30% sending: 1.2 GiB of 4.0 GiB, 32.0 MiB in flight, 24.0s
/// left, 120.0 MiB/s, 38 of 120 packs`. If the line is too long, the bar is shortened to 8
/// characters, then left out; then pieces are left out from the end.
fn line(phase: &Phase, state: &ProgressCounts, columns: usize) -> String {
    let ProgressCounts {
        files,
        bytes,
        on_the_way,
        passed,
    } = *state;
    let (done, total) = if phase.bytes.is_some() {
        (bytes, phase.bytes)
    } else {
        (files, phase.files)
    };
    let percent = total
        .filter(|total| *total > 0)
        .map(|total| u128::from(done.min(total)) * 100 / u128::from(total));
    let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
    // Bytes in flight count for the speed, but they are not done.
    let moved = if phase.bytes.is_some() {
        bytes.saturating_add(on_the_way)
    } else {
        done
    };
    let of = |total: Option<String>| {
        total
            .map(|total| format!(" of {total}"))
            .unwrap_or_default()
    };
    let mut pieces = Vec::new();
    if bytes > 0 || phase.bytes.is_some() {
        pieces.push(format!("{}{}", size(bytes), of(phase.bytes.map(size))));
    }
    if on_the_way > 0 {
        pieces.push(format!("{} in flight", size(on_the_way)));
    }
    pieces.push(match total {
        Some(total) if moved > 0 && total > moved => {
            let left = u128::from(millis) * u128::from(total - moved) / u128::from(moved);
            format!(
                "{} left",
                elapsed(Duration::from_millis(
                    u64::try_from(left).unwrap_or(u64::MAX)
                ))
            )
        }
        _ => elapsed(passed),
    });
    let bytes_moved = bytes.saturating_add(on_the_way);
    if bytes_moved > 0 {
        pieces.push(format!(
            "{}/s",
            size(bytes_moved.saturating_mul(1000) / millis)
        ));
    }
    if files > 0 || phase.files.is_some() {
        let unit = if PACK_PHASES.contains(&phase.name) {
            "pack"
        } else {
            "file"
        };
        let plural = if phase.files.unwrap_or(files) == 1 {
            ""
        } else {
            "s"
        };
        pieces.push(format!(
            "{files}{} {unit}{plural}",
            of(phase.files.map(|n| n.to_string()))
        ));
    }
    let name = if phase.name.is_empty() {
        "starting"
    } else {
        phase.name
    };
    let percent = percent
        .map(|percent| format!("{percent:>3}% "))
        .unwrap_or_default();
    let mut out = format!("{percent}{name}");
    for (n, piece) in pieces.iter().enumerate() {
        let before = if n == 0 { ": " } else { ", " };
        if out.chars().count() + before.len() + piece.chars().count() > columns {
            break;
        }
        out.push_str(before);
        out.push_str(piece);
    }
    // The brackets and a space take 3 columns.
    let width = columns.saturating_sub(out.chars().count() + 3).min(BAR);
    // Without a terminal, `columns` is unlimited, and the line has no bar.
    match total.filter(|total| *total > 0 && width >= 8 && columns < usize::MAX) {
        Some(total) => format!("[{}] {out}", bar(done, total, width)),
        None => out,
    }
}

fn bar(done: u64, total: u64, width: usize) -> String {
    let filled = u128::from(done.min(total)) * width as u128 / u128::from(total.max(1));
    let filled = usize::try_from(filled).unwrap_or(width).min(width);
    let head = if filled < width { ">" } else { "" };
    format!("{:<width$}", format!("{}{head}", "=".repeat(filled)))
}

/// Returns the width of the terminal at standard error.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
    size.ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
        .unwrap_or(80)
}

/// Draws until the sender of `stopped` is dropped.
fn draw(shared: &ProgressState, stopped: &Receiver<()>, terminal: bool) {
    let mut shown = 0;
    let mut next_line = Instant::now() + LINE_EVERY;
    // The wait ends at once when the sender is dropped.
    while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        let phase = shared.phase();
        if !terminal {
            if Instant::now() >= next_line {
                write_line(&shared.line(usize::MAX));
                next_line = Instant::now() + LINE_EVERY;
            }
            continue;
        }
        let mut bar = shared.bar.lock();
        if phase.number != shown {
            if let Some(old) = bar.take() {
                old.finish_and_clear();
            }
            if phase.since.elapsed() < PATIENCE && shown == 0 {
                continue;
            }
            shown = phase.number;
            *bar = Some(new_bar());
        }
        if let Some(bar) = bar.as_ref() {
            // A line that fills the last column would wrap on some terminals.
            bar.set_message(shared.line(columns().saturating_sub(1)));
            bar.tick();
        }
    }
    let bar = shared.bar.lock().take();
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

/// Returns a bar that redraws one line, whose text comes from [`line`].
fn new_bar() -> ProgressBar {
    // The template is constant, so it always parses.
    let style =
        ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(style);
    bar
}

/// Starts a thread that prints a progress line on each SIGUSR1.
fn line_on_sigusr1(shared: &Arc<ProgressState>) {
    // A strong reference would keep the state, and with it the thread, after the operation.
    let shared = Arc::downgrade(shared);
    if let Ok(mut signals) = signal_hook::iterator::Signals::new([signal_hook::consts::SIGUSR1]) {
        std::thread::spawn(move || {
            for _ in signals.forever() {
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                write_line(&shared.line(usize::MAX));
            }
        });
    }
}

fn write_line(line: &str) {
    // If standard error is closed, the line cannot be reported anywhere.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(
        name: &'static str,
        files: Option<u64>,
        bytes: Option<u64>,
        state: &ProgressCounts,
        columns: usize,
    ) -> String {
        line(
            &Phase {
                name,
                files,
                bytes,
                since: Instant::now(),
                number: 1,
            },
            state,
            columns,
        )
    }

    const HALF: ProgressCounts = ProgressCounts {
        files: 1,
        bytes: 32 << 20,
        on_the_way: 5 << 20,
        passed: Duration::from_secs(8),
    };

    #[test]
    fn a_line_fits_the_terminal() {
        let at = |columns| shown("sending", Some(2), Some(64 << 20), &HALF, columns);
        assert_eq!(
            at(120),
            "[============>           ]  50% sending: 32.0 MiB of 64.0 MiB, 5.0 MiB in flight, 5.8s left, 4.6 MiB/s, 1 of 2 packs"
        );
        assert_eq!(
            at(79),
            " 50% sending: 32.0 MiB of 64.0 MiB, 5.0 MiB in flight, 5.8s left, 4.6 MiB/s"
        );
        assert_eq!(at(39), " 50% sending: 32.0 MiB of 64.0 MiB");
        assert_eq!(
            at(usize::MAX),
            " 50% sending: 32.0 MiB of 64.0 MiB, 5.0 MiB in flight, 5.8s left, 4.6 MiB/s, 1 of 2 packs"
        );
        for columns in 20..200 {
            assert!(
                at(columns).chars().count() <= columns,
                "{columns}: {}",
                at(columns)
            );
        }
    }

    #[test]
    fn unknown_totals_are_not_shown() {
        let none = ProgressCounts {
            files: 0,
            bytes: 0,
            on_the_way: 0,
            passed: Duration::from_secs(2),
        };
        assert_eq!(shown("looking", None, None, &none, 80), "looking: 2.0s");
        assert_eq!(
            shown(
                "checkout",
                Some(1),
                None,
                &ProgressCounts { files: 1, ..none },
                60
            ),
            "[========================] 100% checkout: 2.0s, 1 of 1 file"
        );
    }
}
