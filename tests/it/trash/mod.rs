//! The trash: files of worktrees, overlays of mounts and volumes that a command removed; listing,
//! restoring and deleting them, and what a gc does with them.

mod expiry;
mod files;
mod list;
mod overlays;
mod volumes;

use serde_json::Value;

use crate::support::sandbox::Run;

/// The entries of a run of `dvc --json trash`.
#[track_caller]
fn entries(run: &Run) -> Vec<Value> {
    assert_eq!(run.code, 0, "{}", run.err);
    run.json_lines()
}

/// The only entry of a run of `dvc --json trash`.
#[track_caller]
fn only(run: &Run) -> Value {
    let mut all = entries(run);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// A text field.
#[track_caller]
fn text(value: &Value, field: &str) -> String {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("no `{field}` in {value}"))
        .to_owned()
}
