//! Two copies of x0, one of which is damaged. Damage is found only by reading the copy.

use super::Scenario;
use super::setup::{GC, Setup, commit, delete};
use crate::set::Set;

pub(super) fn scenarios() -> Vec<Scenario> {
    let copies = || Setup::new().pack([0]).damaged_pack([0, 1], Set::of([0]));
    let reserved = copies().pack([2]).log(0, [4]).log(1, [0]).log(2, [0]);
    vec![
        copies()
            .log(0, [3])
            .run("SE", "damaged copy, two live copies", [&[GC, GC]]),
        copies().log(0, [2]).run(
            "SE2",
            "damaged copy, live only after the mark",
            [&[commit(1, 1)], &[GC, GC]],
        ),
        copies().log(0, [2]).log(1, [1]).run(
            "SE3",
            "damaged copy, two gcs",
            [&[delete(1), commit(1, 1)], &[GC], &[GC]],
        ),
        reserved.run(
            "SE4",
            "damaged copy in a pack that F3 keeps",
            [&[commit(1, 2)], &[commit(2, 1)], &[GC]],
        ),
    ]
}
