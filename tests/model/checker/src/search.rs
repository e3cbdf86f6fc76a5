//! The search: all interleavings breadth first, or random runs.
//!
//! In: a scenario and the rules. Out: the number of states, and the violation with its trace, if
//! there is one. Invariant: the search compares states by a 64-bit fingerprint and its order
//! depends only on the scenario, so two runs of a scenario give the same numbers and the same
//! trace.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::action::Successors;
use crate::model::Model;
use crate::rules::Rules;
use crate::scenarios::Scenario;
use crate::state::State;

/// A violation, and the steps that lead to it.
#[derive(Clone, Debug)]
pub struct Violation {
    pub what: String,
    pub steps: Vec<String>,
}

/// The result of a search.
#[derive(Debug, Default)]
pub struct Outcome {
    pub states: usize,
    pub depth: usize,
    /// Number of paths that were dropped because they would exceed a bound.
    pub cut: usize,
    /// Number of states in which all processes have ended.
    pub ends: usize,
    /// Whether the search finished before the limit on states.
    pub is_complete: bool,
    pub violation: Option<Violation>,
}

/// The step by which a state was reached first.
struct Origin {
    /// Fingerprint of the state before the step.
    before: u64,
    process: u8,
    /// Index of the state among the successors of the step.
    choice: u8,
}

/// The states found so far. The start has no origin.
type Found = HashMap<u64, Option<Origin>, BuildHasherDefault<FingerprintHasher>>;

impl Scenario {
    fn model(&self, rules: Rules) -> Model<'_> {
        Model {
            rules,
            history: &self.history,
            refs: self.refs,
            programs: &self.programs,
            has_choices: true,
        }
    }

    fn processes(&self) -> impl Iterator<Item = u8> {
        (0..).take(self.programs.len())
    }

    /// Searches all interleavings. Stops at a violation, or after the first depth at which there
    /// are more than `max_states` states.
    pub fn search(&self, rules: Rules, max_states: usize) -> Outcome {
        Search::new(self, rules).run(max_states)
    }

    /// Does `runs` random runs. Each run takes several steps with one process before it switches.
    /// Random runs go deeper than a search that drops paths at a bound, but are never complete.
    pub fn random_runs(&self, rules: Rules, runs: usize) -> Outcome {
        let model = self.model(rules);
        let mut outcome = Outcome {
            is_complete: true,
            ..Outcome::default()
        };
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..runs {
            let run = self.random_run(&model, &mut random);
            outcome.states += run.steps.len();
            if run.violation.is_some() {
                outcome.violation = run.violation;
                break;
            }
            outcome.depth = outcome.depth.max(run.steps.len());
            outcome.ends += 1;
        }
        outcome
    }

    fn random_run(&self, model: &Model<'_>, random: &mut Random) -> RandomRun {
        let mut state = self.start;
        let mut steps = Vec::new();
        let mut process = 0;
        let mut idle = 0;
        let mut successors = Successors::silent();
        while idle < 8 && steps.len() < 400 {
            if random.below(4) == 0 || idle > 0 {
                process = random.below(self.programs.len()).to_le_bytes()[0];
            }
            // If a step exceeds a bound, it has fewer successors or none. The run then continues
            // with one of them, or with a different process.
            let _ = model.step(&state, process, &mut successors);
            if successors.is_empty() {
                idle += 1;
                continue;
            }
            idle = 0;
            let choice = random.below(successors.len());
            steps.push((process, choice));
            let Some((next, _)) = successors.take(choice) else {
                break;
            };
            state = next;
            if let Some(what) = model.violation(&state) {
                let violation = Violation {
                    what,
                    steps: self.trace(model, &steps),
                };
                return RandomRun {
                    steps,
                    violation: Some(violation),
                };
            }
        }
        RandomRun {
            steps,
            violation: None,
        }
    }

    /// Repeats the steps and returns their descriptions.
    fn trace(&self, model: &Model<'_>, steps: &[(u8, usize)]) -> Vec<String> {
        let mut state = self.start;
        let mut lines = Vec::new();
        for &(process, choice) in steps {
            let mut successors = Successors::with_text();
            let _ = model.step(&state, process, &mut successors);
            let Some((next, text)) = successors.take(choice) else {
                break;
            };
            lines.push(format!("p{process} {text}"));
            state = next;
        }
        lines
    }
}

struct RandomRun {
    /// The process and the choice of each step.
    steps: Vec<(u8, usize)>,
    violation: Option<Violation>,
}

/// A search in progress.
struct Search<'a> {
    scenario: &'a Scenario,
    model: Model<'a>,
    found: Found,
    outcome: Outcome,
}

/// A state whose successors are not yet known.
struct Waiting {
    state: State,
    fingerprint: u64,
}

impl<'a> Search<'a> {
    fn new(scenario: &'a Scenario, rules: Rules) -> Self {
        let outcome = Outcome {
            is_complete: true,
            ..Outcome::default()
        };
        Self {
            scenario,
            model: scenario.model(rules),
            found: Found::default(),
            outcome,
        }
    }

    fn run(mut self, max_states: usize) -> Outcome {
        let start = Waiting {
            state: self.scenario.start,
            fingerprint: fingerprint(&self.scenario.start),
        };
        self.found.insert(start.fingerprint, None);
        let mut front = vec![start];
        while !front.is_empty() && self.outcome.violation.is_none() {
            front = self.expand(&front);
            self.outcome.depth += 1;
            if self.found.len() > max_states && !front.is_empty() {
                self.outcome.is_complete = false;
                break;
            }
        }
        let Outcome {
            ends,
            cut,
            is_complete,
            violation,
            ..
        } = &self.outcome;
        if *is_complete && violation.is_none() && ends + cut == 0 {
            self.outcome.violation = Some(Violation {
                what: "no run ever ends".to_owned(),
                steps: Vec::new(),
            });
        }
        self.outcome.states = self.found.len();
        self.outcome
    }

    /// Returns the states that are first reached from `front`. Ends early at a violation.
    fn expand(&mut self, front: &[Waiting]) -> Vec<Waiting> {
        let mut next = Vec::new();
        let mut successors = Successors::silent();
        for waiting in front {
            let mut has_ended = true;
            for process in self.scenario.processes() {
                if self
                    .model
                    .step(&waiting.state, process, &mut successors)
                    .is_err()
                {
                    self.outcome.cut += 1;
                    has_ended = false;
                }
                for (choice, (state, _)) in (0..).zip(successors.drain()) {
                    has_ended = false;
                    let fingerprint = fingerprint(&state);
                    let Entry::Vacant(entry) = self.found.entry(fingerprint) else {
                        continue;
                    };
                    entry.insert(Some(Origin {
                        before: waiting.fingerprint,
                        process,
                        choice,
                    }));
                    if let Some(what) = self.model.violation(&state) {
                        self.outcome.violation = Some(Violation {
                            what,
                            steps: self.steps_to(fingerprint),
                        });
                        return next;
                    }
                    next.push(Waiting { state, fingerprint });
                }
            }
            if !has_ended {
                continue;
            }
            self.outcome.ends += 1;
            if let Some(what) = self.model.violation_at_rest(&waiting.state) {
                let what = format!("at rest: {what}");
                self.outcome.violation = Some(Violation {
                    what,
                    steps: self.steps_to(waiting.fingerprint),
                });
                return next;
            }
        }
        next
    }

    fn steps_to(&self, mut fingerprint: u64) -> Vec<String> {
        let mut steps = Vec::new();
        while let Some(Some(origin)) = self.found.get(&fingerprint) {
            steps.push((origin.process, usize::from(origin.choice)));
            fingerprint = origin.before;
        }
        steps.reverse();
        self.scenario.trace(&self.model, &steps)
    }
}

/// Xorshift, which is small and gives the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 33) % end as u64).unwrap_or(0)
    }
}

fn fingerprint(state: &State) -> u64 {
    let mut hasher = StateHasher::default();
    state.hash(&mut hasher);
    hasher.finish()
}

/// A hasher for values with one fixed layout. Joins small fields into words of 64 bits before it
/// mixes them.
#[derive(Default)]
struct StateHasher {
    mixed: u64,
    word: u64,
    bits: u32,
}

impl StateHasher {
    fn add(&mut self, value: u64, bits: u32) {
        self.word |= value << self.bits;
        self.bits += bits;
        if self.bits >= 64 {
            self.mix(self.word);
            self.bits -= 64;
            self.word = if self.bits == 0 {
                0
            } else {
                value >> (bits - self.bits)
            };
        }
    }

    fn mix(&mut self, word: u64) {
        let x = (self.mixed.rotate_left(23) ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(0x632b_e59b_d9b4_e019);
        self.mixed = x ^ x >> 29;
    }
}

impl Hasher for StateHasher {
    fn finish(&self) -> u64 {
        let mut last = Self { ..*self };
        last.mix(self.word);
        let mut x = last.mixed;
        for _ in 0..2 {
            x = (x ^ x >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        }
        x ^ x >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u8(*byte));
    }

    fn write_u8(&mut self, value: u8) {
        self.add(u64::from(value), 8);
    }

    fn write_u16(&mut self, value: u16) {
        self.add(u64::from(value), 16);
    }

    /// Skips the lengths of arrays, which are the same in all states.
    fn write_usize(&mut self, _: usize) {}

    /// Adds the discriminant of an enum. No enum has more than 256 variants.
    fn write_isize(&mut self, value: isize) {
        self.write_u8(value.to_le_bytes()[0]);
    }
}

/// A hasher of fingerprints, which are already mixed.
#[derive(Default)]
struct FingerprintHasher(u64);

impl Hasher for FingerprintHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
}
