//! The process that quiesces writers and releases them: on request, when the commit is gone, or at
//! the time limit.
//!
//! The watchdog reads a [`QuiescePlan`] as a line of JSON, then a line that requests the release;
//! the end of input requests it too. The watchdog writes [`WatchdogEvent`]s, one per line. Each
//! step is reported before it is done, and the steps are undone in reverse.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::database::DatabaseSession;
use super::docker::{self, ContainerEvent};
use super::freeze;
use super::lines::{LineReader, NextLine};
use super::profile::QuiesceProfile;
use super::protocol::{EndReason, POLL_INTERVAL, QuiescePlan, UndoStep, WatchdogEvent};
use super::undo::{PENDING_TIMEOUT, run_in, undo_all};
use crate::docker::DockerEngine;
use crate::error::{Failure, with_causes};

/// Maximum number of attempts to undo a step while the commit waits.
const ATTEMPTS: usize = 3;
/// Time for further attempts, for which the commit does not wait.
const PERSISTENCE: Duration = Duration::from_secs(600);

/// A step that is in effect.
enum ActiveStep<'e> {
    Undo(UndoStep),
    Session(DatabaseSession<'e>),
    Frozen(freeze::FrozenFs, PathBuf),
}

/// The current request of the commit.
#[derive(PartialEq, Eq)]
enum WatchdogCommand {
    Continue,
    Release,
    Stop,
}

/// Quiesces and releases writers. `input` and `output` are pipes to the commit; `ended` returns
/// whether this process was asked to exit.
pub fn run(
    input: File,
    output: &mut dyn Write,
    ended: &dyn Fn() -> bool,
) -> Result<(), std::io::Error> {
    let mut asks = LineReader::new(input);
    let line = loop {
        match asks.next(Duration::from_secs(60)) {
            NextLine::Line(line) => break line,
            NextLine::End => return Ok(()),
            NextLine::Late => {}
        }
    };
    // The plan arrives by the pipe and not as an argument, because it may contain a password.
    let plan: QuiescePlan = serde_json::from_str(&line)?;
    let limit = Duration::from_millis(plan.limit_ms);
    let engine = match plan
        .needs_engine()
        .then(|| DockerEngine::new(plan.engine.as_deref()))
    {
        None => None,
        Some(Ok(engine)) => {
            Some(engine.within(limit.clamp(Duration::from_secs(1), Duration::from_secs(30))))
        }
        Some(Err(e)) => {
            return send(
                output,
                &WatchdogEvent::Failed {
                    message: with_causes(&e),
                    hint: e.hint(),
                },
            );
        }
    };
    let until = Instant::now() + limit;
    let mut watchdog = Watchdog {
        plan: &plan,
        engine: engine.as_ref(),
        until,
        asks,
        output,
        ended,
        steps: Vec::new(),
        did: Vec::new(),
    };
    let left = watchdog.watch();
    let left = left.into_iter().filter(UndoStep::is_repeatable).collect();
    // The commit has been informed and does not wait. Continue even if this process is asked to
    // exit, because no other process would undo the steps.
    drop(undo_all(left, engine.as_ref(), PERSISTENCE));
    Ok(())
}

/// The failure of a profile to start.
struct StepFailure {
    message: String,
    hint: Option<String>,
}

/// The result of undoing all steps.
struct Undone {
    problems: Vec<String>,
    /// The steps that could not be undone.
    left: Vec<UndoStep>,
}

struct Watchdog<'d> {
    plan: &'d QuiescePlan,
    engine: Option<&'d DockerEngine>,
    until: Instant,
    asks: LineReader,
    output: &'d mut dyn Write,
    ended: &'d dyn Fn() -> bool,
    steps: Vec<ActiveStep<'d>>,
    did: Vec<String>,
}

impl Watchdog<'_> {
    /// Quiesces the writers, waits for the release, and undoes all steps. Returns the steps that
    /// could not be undone.
    fn watch(&mut self) -> Vec<UndoStep> {
        for profile in &self.plan.profiles {
            let applied = self.apply(profile);
            let command = self.command(Duration::ZERO);
            match applied {
                Ok(()) if command == WatchdogCommand::Continue => {}
                // A release before all profiles are active means that the commit is gone.
                Ok(()) => return self.end(EndReason::Gone),
                Err(StepFailure { mut message, hint }) => {
                    let Undone { problems, left } = self.undo();
                    for problem in problems {
                        message = format!("{message}; {problem}");
                    }
                    self.send(&WatchdogEvent::Failed { message, hint });
                    return left;
                }
            }
        }
        let did = std::mem::take(&mut self.did);
        self.send(&WatchdogEvent::Quiesced { did });
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            match self.command(left.min(POLL_INTERVAL)) {
                WatchdogCommand::Continue if left.is_zero() => return self.end(EndReason::Expired),
                WatchdogCommand::Continue => {}
                WatchdogCommand::Release => return self.end(EndReason::Asked),
                WatchdogCommand::Stop => return self.end(EndReason::Gone),
            }
        }
    }

    fn command(&mut self, wait: Duration) -> WatchdogCommand {
        match self.asks.next(wait) {
            _ if (self.ended)() => WatchdogCommand::Stop,
            NextLine::Line(_) => WatchdogCommand::Release,
            NextLine::End => WatchdogCommand::Stop,
            NextLine::Late => WatchdogCommand::Continue,
        }
    }

    /// Undoes all steps, and reports the end.
    fn end(&mut self, why: EndReason) -> Vec<UndoStep> {
        let mut problems = Vec::new();
        // Report containers that run now, because the commit relies on all of them being quiesced
        // until now.
        if let (EndReason::Asked, true, Some(engine)) = (why, self.stops_containers(), self.engine)
        {
            problems.extend(docker::running_writers(engine, self.plan));
        }
        let Undone {
            problems: more,
            left,
        } = self.undo();
        problems.extend(more);
        self.send(&WatchdogEvent::Ended { why, problems });
        left
    }

    fn stops_containers(&self) -> bool {
        self.plan
            .profiles
            .iter()
            .any(|p| matches!(p, QuiesceProfile::Pause | QuiesceProfile::Stop))
    }

    fn apply(&mut self, profile: &QuiesceProfile) -> Result<(), StepFailure> {
        let plain = |message: String| StepFailure {
            message,
            hint: None,
        };
        let engine = self
            .engine
            .ok_or_else(|| plain("no Docker engine".to_owned()));
        match profile {
            QuiesceProfile::Pause | QuiesceProfile::Stop => {
                let engine = engine?;
                engine.ping().map_err(|e| StepFailure {
                    message: with_causes(&e),
                    hint: e.hint(),
                })?;
                let (plan, until) = (self.plan, self.until);
                docker::hold(
                    engine,
                    plan,
                    *profile == QuiesceProfile::Stop,
                    until,
                    &mut |event| self.note(event),
                )
                .map_err(plain)
            }
            QuiesceProfile::Exec {
                container,
                before,
                after,
            } => {
                // The undo step is reported before the command runs, so that the commit can do it
                // if this process dies.
                if let Some(after) = after {
                    let (container, limit_ms) = (container.clone(), self.plan.limit_ms);
                    self.will_undo(UndoStep::Exec {
                        container,
                        command: after.clone(),
                        limit_ms,
                    });
                }
                let left = self.until.saturating_duration_since(Instant::now());
                let (asks, ended) = (&mut self.asks, self.ended);
                let mut gone = || ended() || asks.next(Duration::ZERO) != NextLine::Late;
                run_in(engine?, container, before, left, &mut gone).map_err(plain)?;
                self.did
                    .push(format!("ran a command in container `{container}`"));
                Ok(())
            }
            QuiesceProfile::Database { server, at } => {
                let (engine, until, password) =
                    (self.engine, self.until, self.plan.password.as_deref());
                let (asks, ended) = (&mut self.asks, self.ended);
                // The commit sends nothing before all profiles are active, so any input or its end
                // means that the commit is gone.
                let mut gone = || ended() || asks.next(Duration::ZERO) != NextLine::Late;
                let session =
                    DatabaseSession::begin(*server, at, password, engine, until, &mut gone)
                        .map_err(plain)?;
                self.did.push(session.description().to_owned());
                self.steps.push(ActiveStep::Session(session));
                Ok(())
            }
            QuiesceProfile::Freeze { path } => {
                let failed =
                    |e: std::io::Error| plain(format!("cannot freeze `{}`: {e}", path.display()));
                let frozen = freeze::open(path).map_err(failed)?;
                // The undo step is reported before the freeze, so that the commit can thaw the file
                // system if this process dies.
                self.send(&WatchdogEvent::Undo(UndoStep::Thaw { path: path.clone() }));
                frozen.freeze().map_err(failed)?;
                self.steps.push(ActiveStep::Frozen(frozen, path.clone()));
                self.did.push(format!("froze `{}`", path.display()));
                Ok(())
            }
        }
    }

    fn will_undo(&mut self, undo: UndoStep) {
        self.send(&WatchdogEvent::Undo(undo.clone()));
        self.steps.push(ActiveStep::Undo(undo));
    }

    fn note(&mut self, event: ContainerEvent) {
        match event {
            ContainerEvent::Undo(undo) => self.will_undo(undo),
            ContainerEvent::Did(what) => self.did.push(what),
            ContainerEvent::NotNeeded => drop(self.steps.pop()),
        }
    }

    /// Undoes all steps, in reverse.
    fn undo(&mut self) -> Undone {
        let (mut problems, mut left) = (Vec::new(), Vec::new());
        let until = Instant::now() + PENDING_TIMEOUT;
        // Undo the steps in reverse order, because a later step may depend on an earlier one.
        while let Some(hold) = self.steps.pop() {
            match hold {
                ActiveStep::Session(session) => problems.extend(session.end().err()),
                ActiveStep::Frozen(frozen, path) => {
                    if let Err(e) = frozen.thaw() {
                        problems.push(format!("`{}` is still frozen: {e}", path.display()));
                        left.push(UndoStep::Thaw { path });
                    }
                }
                ActiveStep::Undo(undo) => {
                    let mut done = undo.run(self.engine, until);
                    for _ in 1..ATTEMPTS {
                        if done.is_ok() || !undo.is_repeatable() {
                            break;
                        }
                        std::thread::sleep(POLL_INTERVAL);
                        done = undo.run(self.engine, until);
                    }
                    if let Err(problem) = done {
                        problems.push(problem);
                        left.push(undo);
                    }
                }
            }
        }
        if left.iter().any(UndoStep::is_repeatable) {
            problems.push(format!(
                "dvc keeps trying for another {} minutes",
                PERSISTENCE.as_secs() / 60
            ));
        }
        Undone { problems, left }
    }

    fn send(&mut self, event: &WatchdogEvent) {
        // Ignore errors, because the commit may be gone.
        let _ = send(self.output, event);
    }
}

fn send(output: &mut dyn Write, event: &WatchdogEvent) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}
