//! `forget` and `forget --undo`. v1 is the parent of v2, and v4 has the chunks of v2 and no parent.

use super::Scenario;
use super::setup::{
    FORGET, GC, RESTORE, Setup, commit, commit_with_record as stat, delete, garbage, take, undo,
};
use crate::set::Set;

pub(super) fn scenarios() -> Vec<Scenario> {
    let whole = || garbage().forgotten(Set::EMPTY);
    let without_v1 = |setup: Setup| setup.forgotten(Set::of([1]));
    let packs = || Setup::new().pack([0]).pack([1]);
    let deleted = || without_v1(packs().log(0, [4]).log(1, [2, 0]));
    let three_refs = || without_v1(packs().log(0, [2]).log(2, [4]));
    let taken = take(1, 0, 1);
    vec![
        whole().run(
            "SC",
            "forget while v1 is taken over",
            [&[taken], &[FORGET], &[GC]],
        ),
        whole().run(
            "SC2",
            "forget, two gcs",
            [&[taken], &[FORGET], &[GC], &[GC]],
        ),
        without_v1(garbage()).run("SC3", "forget --undo", [&[RESTORE], &[GC, GC]]),
        whole().run(
            "SC4",
            "forget and forget --undo",
            [&[FORGET], &[RESTORE], &[GC]],
        ),
        whole().recorded().run(
            "SC5",
            "commit that believes an ancestor's part",
            [&[stat(0, 5)], &[FORGET], &[GC]],
        ),
        deleted().run(
            "SC6",
            "undo of a branch with a forgotten ancestor",
            [&[undo(1, 2)], &[RESTORE], &[GC]],
        ),
        three_refs().run(
            "SC7",
            "take-over, forgotten ancestor, deleted branch",
            [&[take(1, 0, 2)], &[RESTORE, delete(0)], &[GC]],
        ),
        whole().recorded().run(
            "SC8",
            "parent moves, record of a forgotten ancestor",
            [&[stat(0, 5)], &[commit(0, 4)], &[FORGET], &[GC]],
        ),
    ]
    .into_iter()
    .map(|s| s.with_parent(true))
    .collect()
}
