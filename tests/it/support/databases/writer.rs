//! A client process that writes rows with increasing numbers, one transaction per row, and records
//! which rows the database has acknowledged.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A running client; killed when dropped.
pub struct Writer {
    child: Child,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Number of the last acknowledged row.
    acked: AtomicU64,
    ends: AtomicBool,
    pause: Mutex<Pause>,
}

/// The longest time between two acknowledgements.
#[derive(Default)]
struct Pause {
    last: Option<Instant>,
    longest: Duration,
}

impl Writer {
    /// Starts a client that receives the output of `script` for 1, 2, 3 ... as its input and prints
    /// each number once its row is committed.
    pub fn start(mut client: Command, script: impl Fn(u64) -> String + Send + 'static) -> Self {
        let mut child = client
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let shared = Arc::new(Shared::default());
        let (feeding, hearing) = (Arc::clone(&shared), Arc::clone(&shared));
        let feeder = std::thread::spawn(move || {
            for n in 1.. {
                // A client that has exited accepts no more input.
                if feeding.ends.load(Ordering::SeqCst)
                    || input.write_all(script(n).as_bytes()).is_err()
                {
                    break;
                }
            }
        });
        let hearer = std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let Ok(n) = line.parse() else { continue };
                hearing.acked.store(n, Ordering::SeqCst);
                hearing.pause.lock().unwrap().note();
            }
        });
        Self {
            child,
            shared,
            threads: vec![feeder, hearer],
        }
    }

    /// Returns the number of the last acknowledged row.
    pub fn acked(&self) -> u64 {
        self.shared.acked.load(Ordering::SeqCst)
    }

    /// Waits until the row with this number is committed.
    #[track_caller]
    pub fn wait_for(&mut self, n: u64) {
        let until = Instant::now() + Duration::from_secs(120);
        while self.acked() < n {
            if let Some(ended) = self.child.try_wait().unwrap() {
                let mut said = String::new();
                let _ =
                    std::io::Read::read_to_string(self.child.stderr.as_mut().unwrap(), &mut said);
                panic!("the client ended after {}: {ended}: {said}", self.acked());
            }
            assert!(
                Instant::now() < until,
                "nothing is committed after {}",
                self.acked()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the longest time between two acknowledgements since the last call.
    pub fn longest_pause(&self) -> Duration {
        let mut pause = self.shared.pause.lock().unwrap();
        pause.note();
        std::mem::take(&mut pause.longest)
    }

    /// Kills the client. Returns the number of the last acknowledged row.
    pub fn kill(mut self) -> u64 {
        self.end();
        self.acked()
    }

    fn end(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        let _ = self.child.kill();
        let _ = self.child.wait();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Pause {
    fn note(&mut self) {
        let now = Instant::now();
        self.longest = self
            .longest
            .max(self.last.map_or(Duration::ZERO, |last| now - last));
        self.last = Some(now);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}
