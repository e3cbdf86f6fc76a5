//! Versions that are taken over without being read: undo, branches from an id, renamed branches.

use super::Scenario;
use super::setup::{GC, Setup, commit, delete, take, two_tips, undo};

pub(super) fn scenarios() -> Vec<Scenario> {
    let moved = Setup::new().pack([0]).pack([1]).log(0, [1, 2]);
    let deleted = Setup::new().pack([0]).pack([1]).log(0, [2]).log(1, [1, 0]);
    let one_tip = Setup::new().pack([0]).pack([1]).log(0, [1]);
    vec![
        moved.run("E", "undo", [&[undo(0, 1)], &[GC, GC]]),
        deleted.run(
            "E2",
            "undo of a deletion",
            [&[undo(1, 1)], &[GC], &[commit(0, 3)]],
        ),
        two_tips().run(
            "K",
            "take-over of a deleted branch",
            [&[delete(1)], &[take(0, 1, 0)], &[GC]],
        ),
        two_tips().run("K2", "rename", [&[take(0, 1, 0), delete(1)], &[GC, GC]]),
        one_tip.run(
            "K3",
            "rename, new log",
            [&[take(1, 0, 0), delete(0)], &[GC]],
        ),
        two_tips().run(
            "K4",
            "take-over, two gcs",
            [&[delete(1)], &[take(0, 1, 0)], &[GC], &[GC]],
        ),
    ]
}
