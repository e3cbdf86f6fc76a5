//! The observer of the command line: bars on a terminal, notices one line each, a line on SIGUSR1.
//!
//! The working threads only add to counters; one thread of this file looks at them ten times a second and draws.

use crate::print::{elapsed, size};
use crate::render::JsonPath;
use crate::signals::Signals;
use dvc::model::path::display;
use dvc::observe::{Level, Notice, Observer};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Short operations show no bar at all.
const PATIENCE: Duration = Duration::from_millis(400);
const TICK: Duration = Duration::from_millis(100);
/// Off a terminal, where bars are asked for nevertheless, a line every so often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The observer of verbs that only look: no bars, but it ends them on a signal.
pub(crate) struct Watch(pub(crate) Signals);

impl Observer for Watch {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// The observer.
pub(crate) struct Progress {
    shared: Arc<Shared>,
    signals: Signals,
    level: i32,
    json: bool,
    drawing: Option<(Sender<()>, JoinHandle<()>)>,
}

struct Shared {
    files: AtomicU64,
    bytes: AtomicU64,
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
    /// `level` is 0 for errors to 3 for everything; `bars` asks for bars, `forced` for lines off a terminal.
    pub(crate) fn start(signals: Signals, level: i32, json: bool, bars: bool, forced: bool) -> Self {
        let phase = Phase { name: "", files: None, bytes: None, since: Instant::now(), number: 0 };
        let shared = Arc::new(Shared {
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            phase: Mutex::new(phase),
            bar: Mutex::new(None),
        });
        line_on_sigusr1(&shared);
        let terminal = std::io::stderr().is_terminal();
        let drawing = (bars && (terminal || forced)).then(|| {
            let (stop, stopped) = channel();
            let shared = Arc::clone(&shared);
            (stop, std::thread::spawn(move || draw(&shared, &stopped, terminal)))
        });
        Self { shared, signals, level, json, drawing }
    }

    fn say(&self, line: &str) {
        let bar = self.shared.bar.lock().unwrap_or_else(PoisonError::into_inner);
        match bar.as_ref() {
            Some(bar) => bar.suspend(|| write_line(line)),
            None => write_line(line),
        }
    }
}

impl Observer for Progress {
    fn phase(&self, name: &'static str, files: Option<u64>, bytes: Option<u64>) {
        let mut phase = self.shared.phase.lock().unwrap_or_else(PoisonError::into_inner);
        *phase = Phase { name, files, bytes, since: Instant::now(), number: phase.number + 1 };
        self.shared.files.store(0, Ordering::Relaxed);
        self.shared.bytes.store(0, Ordering::Relaxed);
        drop(phase);
        if self.level >= 3 {
            self.say(&format!("debug: {name}"));
        }
    }

    fn advance(&self, files: u64, bytes: u64) {
        self.shared.files.fetch_add(files, Ordering::Relaxed);
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn notice(&self, notice: Notice) {
        let (needs, word) = match notice.level {
            Level::Damage => (0, "damage"),
            Level::Incomplete => (1, "warning"),
            Level::Skipped => (2, "skipped"),
            Level::Info => (2, "note"),
            Level::Detail => (3, "detail"),
        };
        if self.level < needs {
            return;
        }
        let Notice { path, message, .. } = &notice;
        let line = match (self.json, path.is_empty()) {
            (true, nowhere) => {
                let path = if nowhere { JsonPath::default() } else { JsonPath::new(path) };
                serde_json::to_string(&JsonNotice { schema: 1, notice: word, path, message }).unwrap_or_default()
            }
            (false, true) => format!("{word}: {message}"),
            (false, false) => format!("{word}: `{}`: {message}", display(path)),
        };
        self.say(&line);
    }

    fn cancelled(&self) -> bool {
        self.signals.cancelled()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.drawing.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `reading: 1.2 GiB of 4.0 GiB, 33100 files, 120.0 MiB/s, 24.0s left`.
    fn line(&self) -> String {
        let phase = self.phase();
        let (files, bytes) = (self.files.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        let of = |total: Option<u64>, shown: &dyn Fn(u64) -> String| total.map(|t| format!(" of {}", shown(t)));
        let passed = phase.since.elapsed();
        let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut line = format!(
            "{}: {}{}, {files}{} files, {}/s",
            if phase.name.is_empty() { "starting" } else { phase.name },
            size(bytes),
            of(phase.bytes, &size).unwrap_or_default(),
            of(phase.files, &|n| n.to_string()).unwrap_or_default(),
            size(bytes.saturating_mul(1000) / millis),
        );
        let (done, total) = if phase.bytes.is_some() { (bytes, phase.bytes) } else { (files, phase.files) };
        match total {
            Some(total) if done > 0 && total > done => {
                let left = u128::from(millis) * u128::from(total - done) / u128::from(done);
                let left = Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX));
                line.push_str(&format!(", {} left", elapsed(left)));
            }
            _ => line.push_str(&format!(", {}", elapsed(passed))),
        }
        line
    }
}

/// Draws until the other end of `stopped` goes away.
fn draw(shared: &Shared, stopped: &Receiver<()>, terminal: bool) {
    let mut shown = 0;
    let mut next_line = Instant::now() + LINE_EVERY;
    while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        let phase = shared.phase();
        if !terminal {
            if Instant::now() >= next_line {
                write_line(&shared.line());
                next_line = Instant::now() + LINE_EVERY;
            }
            continue;
        }
        let mut bar = shared.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if phase.number != shown {
            if let Some(old) = bar.take() {
                old.finish_and_clear();
            }
            if phase.since.elapsed() < PATIENCE && shown == 0 {
                continue;
            }
            shown = phase.number;
            *bar = Some(new_bar(phase));
        }
        if let Some(bar) = bar.as_ref() {
            let (files, bytes) = (shared.files.load(Ordering::Relaxed), shared.bytes.load(Ordering::Relaxed));
            bar.set_position(if phase.bytes.is_some() { bytes } else { files });
            bar.set_message(shared.line());
            bar.tick();
        }
    }
    let bar = shared.bar.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn new_bar(phase: Phase) -> ProgressBar {
    let total = phase.bytes.or(phase.files);
    let template = if total.is_some() { "{bar:24} {percent:>3}% {msg}" } else { "{spinner} {msg}" };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    bar.set_style(style.progress_chars("=> "));
    bar
}

/// A thread that lives as long as the process and prints a line when it is asked to.
fn line_on_sigusr1(shared: &Arc<Shared>) {
    let shared = Arc::downgrade(shared);
    if let Ok(mut signals) = signal_hook::iterator::Signals::new([signal_hook::consts::SIGUSR1]) {
        std::thread::spawn(move || {
            for _ in signals.forever() {
                let Some(shared) = shared.upgrade() else { return };
                write_line(&shared.line());
            }
        });
    }
}

fn write_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
