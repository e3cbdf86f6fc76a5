//! Pushes of complete packs: names of planned or dead packs, salts, resumed uploads.

use super::Scenario;
use super::setup::{GC, Setup, delete, push};
use crate::model::Op;
use crate::set::Set;

pub(super) fn scenarios() -> Vec<Scenario> {
    let sent_is_garbage = || Setup::new().pack([0, 2]).pack([1]).log(0, [2]);
    let without_segment = Setup::new().pack([1]).log(0, [2]).orphan([0, 2]);
    let name_is_dead = sent_is_garbage()
        .dead(1, Set::of([0]))
        .change(|s| s.packs.existing = Set::of([1]));
    let three_refs = Setup::new().pack([0]).pack([2]).log(0, [1]).log(2, [4]);
    let on_r0 = Op::Push {
        to: 1,
        version: 3,
        on: 0,
        pack: Set::of([1]),
    };
    vec![
        sent_is_garbage().run("SF", "push of a planned pack", [&[push(1, 1)], &[GC, GC]]),
        sent_is_garbage().run(
            "SF2",
            "two pushes of one pack",
            [&[push(1, 1)], &[push(0, 4)], &[GC]],
        ),
        without_segment.run(
            "SF3",
            "resumed push, pack without segment",
            [&[push(1, 1)], &[GC, GC]],
        ),
        name_is_dead.run(
            "SF5",
            "push of a pack whose name is dead",
            [&[push(1, 1)], &[GC]],
        ),
        three_refs.run(
            "SF6",
            "push on a deleted branch",
            [&[on_r0], &[delete(0)], &[GC]],
        ),
        sent_is_garbage().run("SF4", "push, two gcs", [&[push(1, 1)], &[GC], &[GC]]),
    ]
}
