//! Two gcs at the same time.

use super::Scenario;
use super::setup::{GC, Setup, commit, delete, garbage, two_tips};
use crate::set::Set;
use crate::state::{Process, Step};

pub(super) fn scenarios() -> Vec<Scenario> {
    let one_pack = || Setup::new().pack([0, 1]).log(0, [1]);
    let two_copies = || Setup::new().pack([0, 1]).pack([0]).log(0, [1]);
    // A gc is frozen before its plan. Before it continues, folding frees the number that it will
    // use.
    let frozen = Process {
        step: Step::Plan,
        packs: Set::of([0]),
        ..Process::default()
    };
    let freed = two_tips()
        .dead(3, Set::of([7]))
        .change(|s| s.processes[1] = frozen);
    vec![
        garbage().run("D", "two gcs", [&[commit(1, 1)], &[GC], &[GC]]),
        one_pack().run("D2", "two gcs repack", [&[GC], &[GC]]),
        two_copies().run("D3", "two gcs, two copies", [&[GC, GC], &[GC]]),
        one_pack()
            .run(
                "D4",
                "two gcs repack, writer",
                [&[commit(1, 2)], &[GC, GC], &[GC]],
            )
            .large(),
        two_copies()
            .run(
                "D5",
                "two gcs, copies, writer",
                [&[commit(1, 1)], &[GC, GC], &[GC]],
            )
            .large(),
        freed.run(
            "U",
            "numbers freed by folding",
            [&[delete(1)], &[GC], &[commit(0, 3)]],
        ),
    ]
}
