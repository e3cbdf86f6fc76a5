//! Leases: roots that have no log and therefore no fence.

use super::Scenario;
use super::setup::{FORGET, GC, RESTORE, delete, garbage, lease, two_tips};
use crate::set::Set;

pub(super) fn scenarios() -> Vec<Scenario> {
    let whole = garbage().forgotten(Set::EMPTY);
    let without_v1 = garbage().forgotten(Set::of([1]));
    vec![
        two_tips().run("SD", "lease", [&[lease(1, 0)], &[delete(1)], &[GC, GC]]),
        two_tips().run(
            "SD2",
            "lease, two gcs",
            [&[lease(1, 0)], &[delete(1)], &[GC], &[GC]],
        ),
        whole
            .run(
                "SD3",
                "lease of an ancestor",
                [&[lease(0, 1)], &[FORGET], &[GC, GC]],
            )
            .with_parent(true),
        without_v1
            .run(
                "SD4",
                "lease of a restored version",
                [&[lease(0, 1)], &[RESTORE, FORGET], &[GC, GC]],
            )
            .with_parent(true),
    ]
}
