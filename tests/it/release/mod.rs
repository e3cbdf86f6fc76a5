//! Installation, systemd units, manual pages, release archive and package, minimum version of Rust.

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

/// Runs `make TARGET` of the project with the program under test as its build result.
fn make(s: &Sandbox, target: &str, variables: &[(&str, &Path)]) -> Run {
    let mut c = s.other("make");
    c.current_dir(project()).args(["--no-print-directory", target]).arg(concat!("DVC=", env!("CARGO_BIN_EXE_dvc")));
    for (name, value) in variables {
        c.arg(format!("{name}={}", value.display()));
    }
    Run::of(&mut c)
}

/// Returns files and links below a directory, with paths as if that directory were the root.
fn installed(root: &Path) -> Vec<PathBuf> {
    let mut all = crate::support::sandbox::all_below(root);
    all.retain(|path| !path.symlink_metadata().unwrap().is_dir());
    let mut all: Vec<PathBuf> = all.iter().map(|path| Path::new("/").join(path.strip_prefix(root).unwrap())).collect();
    all.sort();
    all
}
