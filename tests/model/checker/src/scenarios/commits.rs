//! Commits at the same time as gcs and merges of segments.

use super::Scenario;
use super::setup::{GC, MERGE, Setup, commit, delete, garbage, two_tips};
use crate::set::Set;

pub(super) fn scenarios() -> Vec<Scenario> {
    let delta_on_garbage = Setup::new()
        .pack([0])
        .pack_with_deltas([1, 2], Set::of([1]))
        .log(0, [4]);
    let base_is_garbage = Setup::new().pack([0]).pack([2]).log(0, [4]);
    vec![
        garbage().run("A", "new branch", [&[commit(1, 1)], &[GC, GC]]),
        garbage().run("A2", "old branch", [&[commit(0, 3)], &[GC, GC]]),
        garbage().run(
            "B",
            "two writers",
            [&[commit(1, 1)], &[commit(0, 3)], &[GC]],
        ),
        garbage().run("C", "merge of segments", [&[commit(1, 1)], &[MERGE], &[GC]]),
        garbage()
            .run(
                "C2",
                "merge of segments, two rounds",
                [&[commit(1, 1)], &[MERGE], &[GC, GC]],
            )
            .large(),
        delta_on_garbage
            .run(
                "I",
                "delta whose base is garbage",
                [&[commit(1, 2)], &[GC, GC]],
            )
            .with_deltas(),
        base_is_garbage
            .run("I2", "delta on garbage", [&[commit(1, 2)], &[GC, GC]])
            .with_deltas(),
        two_tips().run(
            "L",
            "delete and commit",
            [&[delete(1), commit(1, 1)], &[GC, GC]],
        ),
        garbage().run("N", "late merge", [&[MERGE], &[GC, GC], &[commit(1, 1)]]),
    ]
}
