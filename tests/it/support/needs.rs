//! What a test needs from the machine. A missing program is a failure, not a silent pass: `tests/setup.sh` installs it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Finds a program on `PATH` and where Debian keeps the administrator's.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|p| p.is_file())
}

/// Like [`find`], or fails the test.
pub fn need(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("`{name}` is not installed; run tests/setup.sh"))
}

/// Runs a program that must succeed, and returns its standard output.
pub fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(need(program)).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Whether the tests run as root: owners, devices and trusted attributes need it.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
