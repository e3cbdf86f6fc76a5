//! Checks the gc protocol of `docs/decisions/0012-gc-by-a-log.md`: a model checker searches all
//! interleavings of each scenario. It also drops each rule of the protocol once; then a scenario
//! must have a violation. A failed test prints the trace.
//!
//! Environment variables for long runs; the default values are small. `DVC_TEST_GC_LARGE`,
//! `DVC_TEST_GC_PAIRS` and `DVC_TEST_GC_TWO` limit the states of each scenario (8000000, 300000 and
//! 3500000 take minutes). `DVC_TEST_GC_RANDOM` is the number of random runs of each scenario with
//! two gcs (40000 takes 30 s). `DVC_TEST_GC_CATCHES=1` searches all scenarios with each rule
//! dropped. `DVC_TEST_GC_WITHOUT=RULE` prints the trace of the scenario that catches the dropped
//! rule.

#![allow(clippy::unwrap_used, clippy::print_stdout, unreachable_pub)]

mod expected;

use std::fmt::Write as _;

use expected::{CATCHES, Catch, STATES};
use gc_model::rules::Rules;
use gc_model::scenarios::{self, Scenario};
use gc_model::search::Outcome;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

/// Limit on states that no search of the ordinary tests reaches.
const ALL_STATES: usize = 3_000_000;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}

/// Runs `search` for all scenarios in parallel.
fn run(
    scenarios: &[Scenario],
    search: impl Fn(&Scenario) -> Outcome + Send + Sync,
) -> Vec<Outcome> {
    scenarios.par_iter().with_max_len(1).map(search).collect()
}

fn line(scenario: &Scenario, outcome: &Outcome) -> String {
    let Outcome {
        states,
        depth,
        ends,
        cut,
        is_complete,
        violation,
    } = outcome;
    let name = format!("{} {}", scenario.name, scenario.about);
    let mut line =
        format!("{name:52} {states:>8} states, depth {depth:>3}, {ends:>5} ends, {cut:>4} cut");
    if !is_complete {
        line += ", stopped by the limit";
    }
    if let Some(violation) = violation {
        write!(
            line,
            "\n  violation after {} steps: {}",
            violation.steps.len(),
            violation.what
        )
        .unwrap();
        for (process, program) in scenario.programs.iter().enumerate() {
            write!(line, "\n  process p{process}: {program:?}").unwrap();
        }
        violation
            .steps
            .iter()
            .for_each(|step| write!(line, "\n    {step}").unwrap());
    }
    line
}

/// Prints all outcomes. Fails with the traces of all violations.
fn report(scenarios: &[Scenario], outcomes: &[Outcome]) {
    let mut violations = String::new();
    for (scenario, outcome) in scenarios.iter().zip(outcomes) {
        println!("{}", line(scenario, outcome));
        if outcome.violation.is_some() {
            write!(violations, "\n{}", line(scenario, outcome)).unwrap();
        }
    }
    let states: usize = outcomes.iter().map(|o| o.states).sum();
    println!("{states} states in {} scenarios", scenarios.len());
    assert!(
        violations.is_empty(),
        "the protocol is violated:{violations}\n"
    );
}

/// Returns the scenarios whose search takes only seconds.
fn small() -> Vec<Scenario> {
    scenarios::all()
        .into_iter()
        .filter(|s| !s.is_large)
        .collect()
}

fn with_two_gcs(scenarios: Vec<Scenario>) -> Vec<Scenario> {
    scenarios
        .into_iter()
        .filter_map(Scenario::with_second_gc)
        .collect()
}

#[test]
fn the_protocol_holds() {
    let scenarios = small();
    let outcomes = run(&scenarios, |s| s.search(Rules::PROTOCOL, ALL_STATES));
    report(&scenarios, &outcomes);
    // If there are fewer states than before, a scenario no longer reaches the situation for which
    // it was written.
    let found: Vec<(&str, usize)> = scenarios
        .iter()
        .zip(&outcomes)
        .map(|(s, o)| (s.name, o.states))
        .collect();
    assert_eq!(
        found, STATES,
        "correct tests/model/expected.rs if the protocol or a scenario was changed on purpose"
    );
    assert!(outcomes.iter().all(|o| o.is_complete));
}

#[test]
fn every_dropped_rule_is_noticed() {
    let scenarios = small();
    let required: Vec<&str> = Rules::ALL
        .iter()
        .filter(|rule| rule.is_required)
        .map(|rule| rule.name)
        .collect();
    assert_eq!(required, CATCHES.map(|catch| catch.rule));
    let found: Vec<Option<usize>> = CATCHES
        .par_iter()
        .with_max_len(1)
        .map(|catch| {
            let scenario = scenarios.iter().find(|s| s.name == catch.scenario).unwrap();
            let rules = Rules::PROTOCOL.with(catch.rule, false).unwrap();
            scenario
                .search(rules, ALL_STATES)
                .violation
                .map(|violation| violation.steps.len())
        })
        .collect();
    for (
        Catch {
            rule,
            scenario,
            steps,
        },
        found,
    ) in CATCHES.iter().zip(&found)
    {
        println!("without {rule:22} {scenario:4} {found:?}");
        assert_eq!(
            *found,
            Some(*steps),
            "without `{rule}`, {scenario} is violated after {steps} steps"
        );
    }
}

/// Checks the variant in which a writer voids the plan of a crashed gc when it finds this plan.
#[test]
fn a_writer_may_void_a_plan() {
    let mut scenarios = small();
    // Other operations do not void plans.
    scenarios.retain(Scenario::takes_over);
    let rules = Rules::PROTOCOL.with("void_plan", true).unwrap();
    let outcomes = run(&scenarios, |s| s.search(rules, ALL_STATES));
    report(&scenarios, &outcomes);
    assert!(outcomes.iter().all(|o| o.is_complete));
}

#[test]
fn large_scenarios_hold() {
    let limit = number("DVC_TEST_GC_LARGE", 20_000);
    let mut scenarios = scenarios::all();
    scenarios.retain(|s| s.is_large);
    report(
        &scenarios,
        &run(&scenarios, |s| s.search(Rules::PROTOCOL, limit)),
    );
}

#[test]
fn every_pair_of_operations_holds() {
    let limit = number("DVC_TEST_GC_PAIRS", 500);
    let scenarios = scenarios::pairs();
    report(
        &scenarios,
        &run(&scenarios, |s| s.search(Rules::PROTOCOL, limit)),
    );
}

#[test]
fn a_second_gc_breaks_nothing() {
    let limit = number("DVC_TEST_GC_TWO", 5_000);
    let scenarios = with_two_gcs(small());
    report(
        &scenarios,
        &run(&scenarios, |s| s.search(Rules::PROTOCOL, limit)),
    );
}

#[test]
fn random_runs_hold() {
    let runs = number("DVC_TEST_GC_RANDOM", 100);
    let scenarios = with_two_gcs(small());
    report(
        &scenarios,
        &run(&scenarios, |s| s.random_runs(Rules::PROTOCOL, runs)),
    );
}

/// Searches all scenarios with each rule dropped. The smallest scenario with a violation must be
/// the expected one.
#[test]
fn the_smallest_scenario_is_expected() {
    if std::env::var_os("DVC_TEST_GC_CATCHES").is_none() {
        return;
    }
    let mut scenarios = small();
    scenarios.sort_by_key(|s| {
        STATES
            .iter()
            .find(|(name, _)| *name == s.name)
            .map(|(_, states)| *states)
    });
    for catch in &CATCHES {
        let rules = Rules::PROTOCOL.with(catch.rule, false).unwrap();
        let outcomes = run(&scenarios, |s| s.search(rules, ALL_STATES));
        let caught = scenarios
            .iter()
            .zip(&outcomes)
            .filter_map(|(s, o)| Some((s.name, o.violation.as_ref()?)));
        let caught: Vec<(&str, usize)> = caught
            .map(|(name, violation)| (name, violation.steps.len()))
            .collect();
        println!("without {:22} {caught:?}", catch.rule);
        assert_eq!(
            caught.first(),
            Some(&(catch.scenario, catch.steps)),
            "{}",
            catch.rule
        );
    }
}

/// Prints the trace of a violation of one rule, and checks that the trace names the process of each
/// step.
#[test]
fn a_violation_has_a_trace() {
    let rule = std::env::var("DVC_TEST_GC_WITHOUT").unwrap_or_else(|_| "fence".to_owned());
    let catch = CATCHES.iter().find(|catch| catch.rule == rule).unwrap();
    let mut scenarios = small();
    scenarios.retain(|s| s.name == catch.scenario);
    let rules = Rules::PROTOCOL.with(&rule, false).unwrap();
    let outcomes = run(&scenarios, |s| s.search(rules, ALL_STATES));
    let text = line(&scenarios[0], &outcomes[0]);
    println!("{text}");
    let violation = outcomes[0].violation.as_ref().unwrap();
    assert_eq!(violation.steps.len(), catch.steps);
    assert!(
        violation
            .steps
            .iter()
            .all(|step| step.starts_with('p') && step.contains(": ")),
        "{text}"
    );
}
