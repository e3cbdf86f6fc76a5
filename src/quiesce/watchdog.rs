//! The process that takes hold and lets go again: when it is told to, when whoever told it is gone, or when time is up.
//!
//! In: a [`Plan`] as a line of JSON, then a line when it is enough; the end of input says the same. Out: [`Word`]s, a line
//! each. Invariant: what is to be undone is told before it is done, and undone in reverse.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::docker::{DockerEngine, ExecCommand};
use crate::error::{Failure, with_causes};
use crate::quiesce::database::Session;
use crate::quiesce::docker;
use crate::quiesce::docker::{Noted, explained};
use crate::quiesce::lines::{Lines, Next};
use crate::quiesce::profile::{Profile, Where};
use crate::quiesce::{TICK, freeze};

/// What does not let go is tried so often while somebody waits, and then for so long.
const TRIES: usize = 3;
const PERSISTENCE: Duration = Duration::from_secs(600);
/// So long somebody waits for what may still be on its way, such as a container that was asked to stop.
const UNSURE: Duration = Duration::from_secs(20);
const STOP_MAX: Duration = Duration::from_secs(86_400);

/// What to hold.
#[derive(Clone, Serialize, Deserialize)]
pub struct Plan {
    /// In this order.
    pub profiles: Vec<Profile>,
    /// What is committed.
    pub source: PathBuf,
    /// Volumes that are committed.
    pub volumes: Vec<String>,
    /// Where the engine listens.
    pub engine: Option<String>,
    /// For databases.
    pub password: Option<String>,
    /// So long at most.
    pub limit_ms: u64,
}

/// One thing that is undone at the end.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// A container was paused.
    Unpause {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
    },
    /// A container was stopped.
    Start {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// When it had been started before, as the engine tells it.
        started: String,
        /// So many seconds it may take to stop.
        secs: u64,
    },
    /// A command was run that has a counterpart.
    Exec {
        /// In this container.
        container: String,
        /// The counterpart.
        command: String,
        /// So long it may take, in milliseconds.
        limit_ms: u64,
    },
    /// A file system was frozen.
    Thaw {
        /// A path on it.
        path: PathBuf,
    },
}

/// What is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// This is about to be done, and has to be undone.
    Undo(Undo),
    /// Everything holds.
    Held {
        /// What was done, for people.
        did: Vec<String>,
    },
    /// A step failed, and what held was let go.
    Failed {
        /// What is wrong.
        message: String,
        /// What can be done.
        hint: Option<String>,
    },
    /// Everything was let go.
    Ended {
        /// What made an end of it.
        why: Why,
        /// What did not hold or does not let go.
        problems: Vec<String>,
    },
}

/// Why everything was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It was asked for.
    Asked,
    /// Time was up.
    Expired,
    /// Nobody is left who could ask, or this process was to end.
    Gone,
}

impl Undo {
    /// Undoes it; does no harm if there is nothing to undo. What is still on its way is waited for until `until`.
    fn run(&self, engine: Option<&DockerEngine>, until: Instant) -> Result<(), String> {
        let engine = || engine.ok_or_else(|| "there is no engine".to_owned());
        match self {
            Self::Unpause { id, name } => docker::unpause(engine()?, id)
                .map_err(|e| format!("container `{name}` is still paused: {}", explained(&e))),
            Self::Start { id, name, started, .. } => match docker::start(engine()?, id, started, until) {
                Ok(true) => Ok(()),
                Ok(false) => {
                    Err(format!("container `{name}` was asked to stop, still runs, and must be started once it stops"))
                }
                Err(e) => Err(format!("container `{name}` is still stopped: {}", explained(&e))),
            },
            Self::Exec { container, command, limit_ms } => {
                run_in(engine()?, container, command, Duration::from_millis(*limit_ms), &mut || false)
            }
            Self::Thaw { path } => freeze::open(path)
                .and_then(|frozen| frozen.thaw())
                .map_err(|e| format!("`{}` is still frozen: {e}", path.display())),
        }
    }

    /// Whether it may be tried again.
    const fn is_repeatable(&self) -> bool {
        !matches!(self, Self::Exec { .. })
    }

    /// So long it may be on its way.
    fn takes(&self) -> Duration {
        match self {
            // One that may take for ever is not waited for any longer.
            Self::Start { secs, .. } => UNSURE + Duration::from_secs(*secs).min(STOP_MAX),
            _ => UNSURE,
        }
    }
}

/// Undoes everything, what fails again and again: for so long at least, longer what may take longer. What is wrong with the rest.
pub(super) fn undo_all(mut left: Vec<Undo>, engine: Option<&DockerEngine>, at_least: Duration) -> Vec<String> {
    let (begun, mut failed) = (Instant::now(), Vec::new());
    loop {
        left.retain(|undo| match undo.run(engine, begun) {
            Ok(()) => false,
            Err(_) if undo.is_repeatable() && begun.elapsed() < undo.takes().max(at_least) => true,
            Err(problem) => {
                failed.push(problem);
                false
            }
        });
        if left.is_empty() {
            return failed;
        }
        std::thread::sleep(TICK);
    }
}

/// One thing that holds.
enum Hold<'e> {
    Undo(Undo),
    Session(Session<'e>),
    Frozen(freeze::Frozen, PathBuf),
}

/// What whoever asked wants now.
#[derive(PartialEq, Eq)]
enum Wish {
    GoOn,
    LetGo,
    Stop,
}

/// Takes hold and lets go. `input` and `output` are pipes to whoever asks; `ended` tells whether this process is asked to end.
pub fn run(input: File, output: &mut dyn Write, ended: &dyn Fn() -> bool) -> Result<(), std::io::Error> {
    let mut asks = Lines::new(input);
    let line = loop {
        match asks.next(Duration::from_secs(60)) {
            Next::Line(line) => break line,
            Next::End => return Ok(()),
            Next::Late => {}
        }
    };
    let plan: Plan = serde_json::from_str(&line)?;
    let limit = Duration::from_millis(plan.limit_ms);
    let engine = match plan.needs_engine().then(|| DockerEngine::new(plan.engine.as_deref())) {
        None => None,
        Some(Ok(engine)) => Some(engine.within(limit.clamp(Duration::from_secs(1), Duration::from_secs(30)))),
        Some(Err(e)) => {
            return say(output, &Word::Failed { message: with_causes(&e), hint: e.hint() });
        }
    };
    let until = Instant::now() + limit;
    let mut dog =
        Dog { plan: &plan, engine: engine.as_ref(), until, asks, output, ended, holds: Vec::new(), did: Vec::new() };
    let left = dog.watch();
    let left = left.into_iter().filter(Undo::is_repeatable).collect();
    // Whoever asked knows it, and need not wait. Nor does it matter who asks for the end: nobody else would do it.
    drop(undo_all(left, engine.as_ref(), PERSISTENCE));
    Ok(())
}

impl Plan {
    fn needs_engine(&self) -> bool {
        self.profiles.iter().any(|profile| match profile {
            Profile::Pause | Profile::Stop | Profile::Exec { .. } => true,
            Profile::Database { at, .. } => matches!(at, Where::Container(_)),
            Profile::Freeze { .. } => false,
        })
    }
}

struct Dog<'d> {
    plan: &'d Plan,
    engine: Option<&'d DockerEngine>,
    until: Instant,
    asks: Lines,
    output: &'d mut dyn Write,
    ended: &'d dyn Fn() -> bool,
    holds: Vec<Hold<'d>>,
    did: Vec<String>,
}

impl Dog<'_> {
    /// Holds as long as it is wanted. What could not be let go.
    fn watch(&mut self) -> Vec<Undo> {
        for profile in &self.plan.profiles {
            let applied = self.apply(profile);
            let wish = self.wish(Duration::ZERO);
            match applied {
                Ok(()) if wish == Wish::GoOn => {}
                // Nobody asks for the end before he knows that everything holds.
                Ok(()) => return self.end(Why::Gone),
                Err((mut message, hint)) => {
                    let (problems, left) = self.undo();
                    for problem in problems {
                        message = format!("{message}; {problem}");
                    }
                    self.say(&Word::Failed { message, hint });
                    return left;
                }
            }
        }
        let did = std::mem::take(&mut self.did);
        self.say(&Word::Held { did });
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            match self.wish(left.min(TICK)) {
                Wish::GoOn if left.is_zero() => return self.end(Why::Expired),
                Wish::GoOn => {}
                Wish::LetGo => return self.end(Why::Asked),
                Wish::Stop => return self.end(Why::Gone),
            }
        }
    }

    fn wish(&mut self, wait: Duration) -> Wish {
        match self.asks.next(wait) {
            _ if (self.ended)() => Wish::Stop,
            Next::Line(_) => Wish::LetGo,
            Next::End => Wish::Stop,
            Next::Late => Wish::GoOn,
        }
    }

    /// Lets go, and tells of it.
    fn end(&mut self, why: Why) -> Vec<Undo> {
        let mut problems = Vec::new();
        // Whoever asks relies on that it held until now.
        if let (Why::Asked, true, Some(engine)) = (why, self.holds_containers(), self.engine) {
            problems.extend(docker::broken(engine, self.plan));
        }
        let (more, left) = self.undo();
        problems.extend(more);
        self.say(&Word::Ended { why, problems });
        left
    }

    fn holds_containers(&self) -> bool {
        self.plan.profiles.iter().any(|p| matches!(p, Profile::Pause | Profile::Stop))
    }

    fn apply(&mut self, profile: &Profile) -> Result<(), (String, Option<String>)> {
        let plain = |message: String| (message, None);
        let engine = self.engine.ok_or_else(|| plain("there is no engine".to_owned()));
        match profile {
            Profile::Pause | Profile::Stop => {
                let engine = engine?;
                engine.ping().map_err(|e| (with_causes(&e), e.hint()))?;
                let (plan, until) = (self.plan, self.until);
                docker::hold(engine, plan, *profile == Profile::Stop, until, &mut |noted| self.note(noted))
                    .map_err(plain)
            }
            Profile::Exec { container, before, after } => {
                if let Some(after) = after {
                    let (container, limit_ms) = (container.clone(), self.plan.limit_ms);
                    self.will_undo(Undo::Exec { container, command: after.clone(), limit_ms });
                }
                let left = self.until.saturating_duration_since(Instant::now());
                let (asks, ended) = (&mut self.asks, self.ended);
                let mut gone = || ended() || asks.next(Duration::ZERO) != Next::Late;
                run_in(engine?, container, before, left, &mut gone).map_err(plain)?;
                self.did.push(format!("ran a command in container `{container}`"));
                Ok(())
            }
            Profile::Database { server, at } => {
                let (engine, until, password) = (self.engine, self.until, self.plan.password.as_deref());
                let (asks, ended) = (&mut self.asks, self.ended);
                // Nobody asks for more before it holds.
                let mut gone = || ended() || asks.next(Duration::ZERO) != Next::Late;
                let session = Session::begin(*server, at, password, engine, until, &mut gone).map_err(plain)?;
                self.did.push(session.words().to_owned());
                self.holds.push(Hold::Session(session));
                Ok(())
            }
            Profile::Freeze { path } => {
                let failed = |e: std::io::Error| plain(format!("cannot freeze `{}`: {e}", path.display()));
                let frozen = freeze::open(path).map_err(failed)?;
                self.say(&Word::Undo(Undo::Thaw { path: path.clone() }));
                frozen.freeze().map_err(failed)?;
                self.holds.push(Hold::Frozen(frozen, path.clone()));
                self.did.push(format!("froze `{}`", path.display()));
                Ok(())
            }
        }
    }

    fn will_undo(&mut self, undo: Undo) {
        self.say(&Word::Undo(undo.clone()));
        self.holds.push(Hold::Undo(undo));
    }

    fn note(&mut self, noted: Noted) {
        match noted {
            Noted::Undo(undo) => self.will_undo(undo),
            Noted::Did(what) => self.did.push(what),
            Noted::Left => drop(self.holds.pop()),
        }
    }

    /// Lets go of everything, in reverse: what is wrong, and what is left to do.
    fn undo(&mut self) -> (Vec<String>, Vec<Undo>) {
        let (mut problems, mut left) = (Vec::new(), Vec::new());
        let until = Instant::now() + UNSURE;
        while let Some(hold) = self.holds.pop() {
            match hold {
                Hold::Session(session) => problems.extend(session.end().err()),
                Hold::Frozen(frozen, path) => {
                    if let Err(e) = frozen.thaw() {
                        problems.push(format!("`{}` is still frozen: {e}", path.display()));
                        left.push(Undo::Thaw { path });
                    }
                }
                Hold::Undo(undo) => {
                    let mut done = undo.run(self.engine, until);
                    for _ in 1..TRIES {
                        if done.is_ok() || !undo.is_repeatable() {
                            break;
                        }
                        std::thread::sleep(TICK);
                        done = undo.run(self.engine, until);
                    }
                    if let Err(problem) = done {
                        problems.push(problem);
                        left.push(undo);
                    }
                }
            }
        }
        if left.iter().any(Undo::is_repeatable) {
            problems.push(format!("this is tried for another {} minutes", PERSISTENCE.as_secs() / 60));
        }
        (problems, left)
    }

    fn say(&mut self, word: &Word) {
        // Whoever is gone is not told.
        let _ = say(self.output, word);
    }
}

fn say(output: &mut dyn Write, word: &Word) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

/// Runs a command in a container, which must succeed.
fn run_in(
    engine: &DockerEngine,
    container: &str,
    command: &str,
    limit: Duration,
    gone: &mut dyn FnMut() -> bool,
) -> Result<(), String> {
    let command = ["sh", "-c", command].map(str::to_owned).to_vec();
    let exec = ExecCommand { command, ..ExecCommand::default() };
    let ran = engine.exec(container, &exec, limit, gone).map_err(|e| explained(&e))?;
    if ran.code == 0 {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.complaints);
    let last = said.trim().lines().last().map(|line| format!(": {line}")).unwrap_or_default();
    Err(format!("a command in container `{container}` failed with exit code {}{last}", ran.code))
}
