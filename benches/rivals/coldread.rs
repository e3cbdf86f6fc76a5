//! coldread THREADS PATH: reads every regular file below PATH with THREADS threads and discards the
//! content.
//!
//! In: a directory or file. Out: one line with files, bytes and seconds. The result is the
//! machine's limit for a first commit: a tool that must list, stat, open and read everything cannot
//! be faster. The program uses only std, because limits.py builds it with plain rustc. An
//! unreadable entry is an error, because the limit must cover the whole directory.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

const SEGMENT: u64 = 16 << 20;
const BATCH: usize = 64;

enum Job {
    Dir(PathBuf),
    Files(Vec<PathBuf>),
    Segment(Arc<File>, u64, u64),
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    unfinished: usize,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Shared {
    fn push(&self, job: Job) {
        let mut queue = self.queue.lock().expect("queue");
        queue.unfinished += 1;
        // Last in, first out, so that a directory is finished while its blocks are still cached.
        queue.jobs.push_front(job);
        self.changed.notify_one();
    }

    fn pop(&self) -> Option<Job> {
        let mut queue = self.queue.lock().expect("queue");
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.unfinished == 0 {
                return None;
            }
            queue = self.changed.wait(queue).expect("queue");
        }
    }

    fn done(&self) {
        let mut queue = self.queue.lock().expect("queue");
        queue.unfinished -= 1;
        if queue.unfinished == 0 {
            self.changed.notify_all();
        }
    }
}

fn work(shared: &Shared) -> io::Result<(u64, u64)> {
    let mut buffer = vec![0_u8; 1 << 20];
    let (mut files, mut bytes) = (0, 0);
    while let Some(job) = shared.pop() {
        match job {
            Job::Dir(dir) => {
                let mut batch = Vec::with_capacity(BATCH);
                for entry in fs::read_dir(&dir)? {
                    let entry = entry?;
                    let kind = entry.file_type()?;
                    if kind.is_dir() {
                        shared.push(Job::Dir(entry.path()));
                    } else if kind.is_file() {
                        batch.push(entry.path());
                        if batch.len() == BATCH {
                            shared.push(Job::Files(std::mem::take(&mut batch)));
                        }
                    }
                }
                shared.push(Job::Files(batch));
            }
            Job::Files(paths) => {
                for path in paths {
                    let mut file = File::open(path)?;
                    let length = file.metadata()?.len();
                    files += 1;
                    if length > SEGMENT {
                        let file = Arc::new(file);
                        for at in (0..length).step_by(SEGMENT as usize).collect::<Vec<_>>().into_iter().rev() {
                            shared.push(Job::Segment(Arc::clone(&file), at, SEGMENT.min(length - at)));
                        }
                        continue;
                    }
                    loop {
                        let n = file.read(&mut buffer)? as u64;
                        bytes += n;
                        if n < buffer.len() as u64 {
                            break;
                        }
                    }
                }
            }
            Job::Segment(file, mut at, mut left) => {
                while left > 0 {
                    let want = buffer.len().min(left as usize);
                    let n = file.read_at(&mut buffer[..want], at)? as u64;
                    if n == 0 {
                        break;
                    }
                    bytes += n;
                    at += n;
                    left -= n;
                }
            }
        }
        shared.done();
    }
    Ok((files, bytes))
}

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let threads: usize = args.next().and_then(|a| a.parse().ok()).expect("usage: coldread THREADS PATH");
    let path = PathBuf::from(args.next().expect("usage: coldread THREADS PATH"));
    let start = Instant::now();
    let shared = Arc::new(Shared::default());
    shared.push(if path.is_dir() { Job::Dir(path) } else { Job::Files(vec![path]) });
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let shared = Arc::clone(&shared);
            // If a worker fails, exit, because the other workers would wait forever.
            std::thread::spawn(move || {
                work(&shared).unwrap_or_else(|error| {
                    eprintln!("coldread: {error}");
                    std::process::exit(1);
                })
            })
        })
        .collect();
    let (mut files, mut bytes) = (0, 0);
    for worker in workers {
        let (f, b) = worker.join().expect("worker");
        files += f;
        bytes += b;
    }
    println!("{files} files {bytes} bytes {:.3} s", start.elapsed().as_secs_f64());
    Ok(())
}
