//! Generated scenarios: every pair of operations at the same time as one gc.

use super::Scenario;
use super::setup::{
    FORGET, GC, MERGE, RESTORE, Setup, commit, commit_with_record, delete, lease, take, undo,
};
use crate::model::Op;
use crate::set::Set;

const OPS: [Op; 16] = [
    commit(0, 5),
    commit_with_record(0, 5),
    commit_with_record(1, 3),
    Op::Push {
        to: 2,
        version: 3,
        on: 0,
        pack: Set::of([0, 2]),
    },
    take(2, 1, 0),
    take(2, 0, 1),
    take(1, 0, 0),
    undo(2, 4),
    undo(1, 2),
    RESTORE,
    FORGET,
    delete(0),
    delete(1),
    lease(1, 0),
    lease(0, 1),
    MERGE,
];

/// Returns every pair of operations together with one gc, from three starts: v1 is visible; v1 is
/// forgotten; v1 is forgotten and r1 needs the chunks of v2.
pub fn pairs() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (forgotten, r1) in [(Set::EMPTY, 1), (Set::of([1]), 1), (Set::of([1]), 4)] {
        for (i, a) in OPS.iter().enumerate() {
            for b in &OPS[i..] {
                let start = Setup::new()
                    .pack([0])
                    .pack([1])
                    .pack([0, 2])
                    .log(0, [2])
                    .log(1, [r1]);
                let about = format!("{a:?} | {b:?} | forgotten {forgotten:?}, r1 = v{r1}");
                let scenario = start.forgotten(forgotten).recorded().run(
                    "pair",
                    &about,
                    [&[*a], &[*b], &[GC]],
                );
                all.push(Scenario {
                    refs: 3,
                    ..scenario.with_parent(r1 == 4)
                });
            }
        }
    }
    all
}
