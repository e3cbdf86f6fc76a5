//! Commits that rely on stat records: they neither look up nor store the recorded chunks.

use super::Scenario;
use super::setup::{
    GC, Setup, commit, commit_and_record, commit_with_record as stat, delete, garbage,
};
use crate::set::Set;

pub(super) fn scenarios() -> Vec<Scenario> {
    let three_packs = Setup::new().pack([0]).pack([1]).pack([2]).log(0, [2]);
    // Both worktrees have records.
    let two_worktrees = Setup::new()
        .pack([0])
        .pack([2])
        .log(0, [4])
        .recorded()
        .change(|s| s.seen[1] = 0);
    let tip_x0 = || Setup::new().pack([0]).pack([1]).log(0, [1]);
    let both_in_one = Setup::new().pack([0, 1]).pack([2]).log(0, [3]);
    vec![
        garbage().recorded().run(
            "SA",
            "stat record of a former value",
            [&[stat(0, 3)], &[GC, GC]],
        ),
        garbage()
            .recorded()
            .run("SA2", "stat record, two gcs", [&[stat(0, 3)], &[GC], &[GC]]),
        garbage().dead(1, Set::of([7])).recorded().run(
            "SA3",
            "stat record older than a dead entry",
            [&[stat(0, 3)], &[GC]],
        ),
        three_packs.recorded().run(
            "SA4",
            "stat record, part stored, part relied on",
            [&[stat(1, 5)], &[GC, GC]],
        ),
        two_worktrees.run(
            "SA5",
            "records of two worktrees",
            [&[commit(0, 4), stat(1, 1)], &[GC]],
        ),
        garbage().run(
            "SA6",
            "record of a deleted branch",
            [&[commit_and_record(1, 1), stat(0, 3)], &[delete(1)], &[GC]],
        ),
        both_in_one.run(
            "SB",
            "parent moves",
            [&[stat(0, 5)], &[commit(0, 2)], &[GC]],
        ),
        tip_x0().run(
            "SB2",
            "parent moves, other packs",
            [&[stat(0, 3)], &[commit(0, 2)], &[GC]],
        ),
        tip_x0().log(1, [2]).run(
            "SB3",
            "parent is deleted, two gcs",
            [&[stat(0, 3)], &[delete(0)], &[GC], &[GC]],
        ),
        tip_x0()
            .run(
                "SB4",
                "parent moves twice, two gcs",
                [&[stat(0, 3)], &[delete(0), commit(0, 2)], &[GC], &[GC]],
            )
            .large(),
    ]
}
