//! Runs a scenario in a child process that kills itself at its n-th durable step.
//!
//! In: the name of a scenario and a step. Out: an [`End`]. Steps are the steps that the library
//! reports to its observer, and the operations with which the store makes data durable.

#![allow(dead_code)]

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use dvc::observe::Observer;
use dvc::store::trace::{DiskEvent, Tracer};

/// The way in which a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The child died at the step with this name.
    At(String),
    /// The child completed the scenario, because it has fewer steps.
    Through,
}

/// An observer and tracer that kills its process at the n-th step, counted from 0. Before that, it
/// writes the name of the step to a file.
pub struct Dying {
    left: Mutex<u64>,
    last_words: PathBuf,
}

impl Observer for Dying {
    fn step(&self, name: &'static str) {
        self.count(name);
    }
}

impl Tracer for Dying {
    fn event(&self, event: DiskEvent) {
        self.count(match event {
            DiskEvent::FileSynced(_) => "file synced",
            DiskEvent::Renamed(..) => "renamed",
            DiskEvent::Removed(_) => "removed",
            DiskEvent::DirMade(_) => "directory made",
            DiskEvent::DirSynced(_) => "directory synced",
        });
    }
}

impl Dying {
    fn count(&self, name: &str) {
        let mut left = self.left.lock().unwrap();
        if *left == 0 {
            std::fs::write(&self.last_words, name).unwrap();
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
                .unwrap();
            loop {
                std::thread::park();
            }
        }
        *left -= 1;
    }
}

/// Returns the directory and the observer if this process is a child, or `None` in an ordinary test
/// run.
pub fn orders() -> Option<(PathBuf, Arc<Dying>)> {
    let dir = PathBuf::from(std::env::var_os("CRASH_DIR")?);
    let step = std::env::var("CRASH_STEP").ok()?.parse().ok()?;
    let last_words = dir.join("last-words");
    Some((
        dir,
        Arc::new(Dying {
            left: Mutex::new(step),
            last_words,
        }),
    ))
}

static FORKS: RwLock<()> = RwLock::new(());

/// Prevents forks until the guard is dropped. A forked child inherits all open files and their
/// locks until it executes a different program.
pub fn no_forks() -> RwLockReadGuard<'static, ()> {
    FORKS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a program while no guard of [`no_forks`] exists.
pub fn spawn(command: &mut Command) -> Child {
    let _alone = FORKS.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap()
}

/// Runs the test `scenario` of this program in a child process that dies at `step`.
pub fn run(scenario: &str, dir: &Path, step: u64) -> End {
    let words = dir.join("last-words");
    let _ = std::fs::remove_file(&words);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            scenario,
            "--include-ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("CRASH_DIR", dir)
        .env("CRASH_STEP", step.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = spawn(&mut command);
    let out = child.wait_with_output().unwrap();
    if out.status.signal() == Some(9) {
        return End::At(std::fs::read_to_string(&words).unwrap());
    }
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    End::Through
}

#[cfg(test)]
mod tests {
    use super::{End, Observer, orders, run};

    /// Scenario of the test below. Does nothing unless a test runs it in a child process.
    #[test]
    #[ignore = "runs as a child of another test"]
    fn two_steps() {
        let Some((_, dying)) = orders() else { return };
        dying.step("first");
        dying.step("second");
    }

    #[test]
    fn a_child_dies_at_the_given_step() {
        let dir = tempfile::tempdir().unwrap();
        let scenario = "child::tests::two_steps";
        assert_eq!(run(scenario, dir.path(), 0), End::At("first".to_owned()));
        assert_eq!(run(scenario, dir.path(), 1), End::At("second".to_owned()));
        assert_eq!(run(scenario, dir.path(), 2), End::Through);
    }
}
