//! What a test needs from the machine. A missing program is a failure, not a silent pass: `tests/setup.sh` installs it.
//! Only the programs of servers may be missing, unless `DVC_TEST_ALL=1` says otherwise.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Finds a program where `tests/setup.sh` puts what Debian does not have, on `PATH`, and where Debian keeps the
/// administrator's.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = cache().map(|c| c.join("dvc-tests"));
    let own = own.iter().flat_map(|dir| ["venv/bin", "npm/node_modules/.bin", "cargo/bin"].map(|sub| dir.join(sub)));
    own.chain(std::env::split_paths(&path))
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|p| p.is_file())
}

/// `XDG_CACHE_HOME`, or where it is by default.
fn cache() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME").filter(|c| !c.is_empty()).map(PathBuf::from);
    named.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
}

/// Finds the program of a server. Where it is missing the test is left out, after saying so; with `DVC_TEST_ALL=1`, as
/// `make test` has it, that is a failure too.
#[allow(clippy::print_stderr)]
pub fn server(name: &str) -> Option<PathBuf> {
    if std::env::var_os("DVC_TEST_ALL").is_some() {
        return Some(need(name));
    }
    let found = find(name);
    if found.is_none() {
        eprintln!("left out: `{name}` is not installed; run tests/setup.sh");
    }
    found
}

/// Like [`find`], or fails the test.
pub fn need(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("`{name}` is not installed; run tests/setup.sh"))
}

/// Runs a program that must succeed, and returns its standard output.
pub fn run(program: &str, args: &[&str]) -> String {
    run_with(program, args, "")
}

/// Like [`run`], with standard input.
pub fn run_with(program: &str, args: &[&str], input: &str) -> String {
    let mut c = Command::new(need(program));
    let mut child = c.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Whether the tests run as root: owners, devices and trusted attributes need it.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether file systems can be mounted here: `/dev/fuse` and root. Where not, the test is left out, after saying so; with
/// `DVC_TEST_ALL=1` that is a failure.
#[allow(clippy::print_stderr)]
pub fn fuse() -> bool {
    let lacks = match (std::path::Path::new("/dev/fuse").exists(), is_root()) {
        (false, _) => "/dev/fuse",
        (true, false) => "root",
        (true, true) => return true,
    };
    assert!(std::env::var_os("DVC_TEST_ALL").is_none(), "mounts cannot be tested without {lacks}");
    eprintln!("left out: no mounts without {lacks}");
    false
}
