//! Requirements of tests: programs, root, and mounting. A test without its requirements fails or is
//! skipped with a message; it never passes silently.
//!
//! A missing tool is a failure, because `tests/setup.sh` installs it. A test whose server program
//! is missing is skipped, unless `DVC_TEST_ALL=1` is set.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Returns the path of a program in the directories of `tests/setup.sh`, on `PATH`, or in the
/// `sbin` directories.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = cache().map(|c| c.join("dvc-tests"));
    let own = own.iter().flat_map(|dir| {
        ["venv/bin", "npm/node_modules/.bin", "cargo/bin"].map(|sub| dir.join(sub))
    });
    own.chain(std::env::split_paths(&path))
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|p| p.is_file())
}

/// Returns `XDG_CACHE_HOME` or its default.
fn cache() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME")
        .filter(|c| !c.is_empty())
        .map(PathBuf::from);
    named.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
}

/// Prints why a test, or a part of it, is skipped.
#[allow(clippy::print_stderr)]
pub fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

/// Like [`skip`], but fails the test if `DVC_TEST_ALL=1` is set, as in `make test`.
#[track_caller]
pub fn skip_or_fail(why: &str) {
    assert!(std::env::var_os("DVC_TEST_ALL").is_none(), "{why}");
    skip(why);
}

/// Returns the path of a server program. Skips the test if the program is missing.
#[track_caller]
pub fn server(name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        skip_or_fail(&format!("`{name}` is not installed; run tests/setup.sh"));
    }
    found
}

/// Returns the path of a program. Fails the test if the program is missing.
pub fn need(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("`{name}` is not installed; run tests/setup.sh"))
}

/// Runs a program that must succeed, and returns its standard output.
pub fn run(program: &str, args: &[&str]) -> String {
    run_with(program, args, "")
}

/// Like [`run`], with `input` as standard input.
pub fn run_with(program: &str, args: &[&str], input: &str) -> String {
    let mut c = Command::new(need(program));
    let mut child = c
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(
        out.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Returns whether the tests run as root, which owners, devices and trusted xattrs require.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns whether the tests run as root. Otherwise prints that the test is skipped, because only
/// root can do `what`.
pub fn root_to(what: &str) -> bool {
    if !is_root() {
        skip(&format!("only root can {what}"));
    }
    is_root()
}

/// Returns whether mounts can be tested, which requires `/dev/fuse` and root. Skips the test
/// otherwise.
#[track_caller]
pub fn fuse() -> bool {
    let lacks = match (std::path::Path::new("/dev/fuse").exists(), is_root()) {
        (false, _) => "/dev/fuse",
        (true, false) => "root",
        (true, true) => return true,
    };
    skip_or_fail(&format!("mounts cannot be tested without {lacks}"));
    false
}
