//! Installation, systemd units, manual pages, release archive and package, and the minimum Rust
//! version.

mod install;
mod minimum;
mod package;
mod pages;
mod units;

use crate::support::sandbox::{Run, Sandbox};
use std::path::{Path, PathBuf};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `make TARGET` in the project, with the `dvc` under test in place of the release build.
fn make(s: &Sandbox, target: &str, variables: &[(&str, &Path)]) -> Run {
    let mut c = s.other("make");
    c.current_dir(project())
        .args(["--no-print-directory", target])
        .arg(concat!("DVC=", env!("CARGO_BIN_EXE_dvc")));
    for (name, value) in variables {
        c.arg(format!("{name}={}", value.display()));
    }
    Run::of(&mut c)
}

/// Returns all files and symlinks below a directory, with paths relative to that directory and a
/// leading slash.
fn installed(root: &Path) -> Vec<PathBuf> {
    let mut all = crate::support::sandbox::all_below(root);
    all.retain(|path| !path.symlink_metadata().unwrap().is_dir());
    let mut all: Vec<PathBuf> = all
        .iter()
        .map(|path| Path::new("/").join(path.strip_prefix(root).unwrap()))
        .collect();
    all.sort();
    all
}
