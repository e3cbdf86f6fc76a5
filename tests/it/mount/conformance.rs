//! External test suites on mounts: pjdfstest checks POSIX semantics; fsx writes with every kind of
//! call and reads everything back.
//!
//! `tests/setup.sh` installs the suites. `DVC_TEST_FSX` is the number of operations per run of fsx.
//! Both suites run in writeback and in passthrough mode.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::mount::harness::{Mount, PASSTHROUGH, Volume, is_passthrough};
use crate::support::needs;
use crate::support::spawned::Spawned;
use crate::support::zoo::noise;

/// Default number of operations per run of fsx.
const OPERATIONS: &str = "10000";
/// Size of the file of which fsx changes only a small part, in bytes.
const LARGE: usize = 24 << 20;

/// Configuration of pjdfstest, with users that exist on every Debian system.
const PJDFSTEST: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
utimensat = {}
utime_now = {}
[settings]
naptime = 0.02
allow_remount = false
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"], ["bin", "bin"]]
"#;

const FSX: &str = r#"
flen = 1048576
[opsize]
max = 65536
[weights]
invalidate = 1.0
mapread = 5.0
mapwrite = 5.0
read = 10.0
write = 10.0
fsync = 0.5
fdatasync = 0.5
punch_hole = 3.0
sendfile = 2.0
posix_fadvise = 1.0
copy_file_range = 3.0
"#;

fn pjdfstest(options: &[&str], is_as_wanted: impl Fn(&Mount<'_>) -> bool) {
    let Some(program) = needs::server("pjdfstest") else {
        return;
    };
    let Some(v) = Volume::of(|w| {
        fs::create_dir(w.join("d")).unwrap();
        fs::set_permissions(w.join("d"), PermissionsExt::from_mode(0o755)).unwrap();
    }) else {
        return;
    };
    let config = v.s.at("pjdfstest.toml");
    fs::write(&config, PJDFSTEST).unwrap();
    let m = v.mount(&[&["--allow-other"], options].concat());
    if !is_as_wanted(&m) {
        return;
    }
    let out = Command::new(program)
        .arg("-c")
        .arg(&config)
        .arg("-p")
        .arg(m.at("d"))
        .current_dir(m.at("d"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    let failed: Vec<&str> = said
        .lines()
        .filter(|l| l.to_lowercase().contains("fail"))
        .collect();
    assert!(
        out.status.success(),
        "{}\n{}",
        failed.join("\n"),
        &said[said.len().saturating_sub(2000)..]
    );
    let passed = said.lines().find_map(|l| {
        l.split(" passed")
            .next()?
            .split_whitespace()
            .last()?
            .parse::<u32>()
            .ok()
    });
    assert!(
        passed.is_some_and(|n| n > 300),
        "{}",
        &said[said.len().saturating_sub(500)..]
    );
}

#[test]
fn pjdfstest_passes() {
    pjdfstest(&[], |_| true);
}

#[test]
fn pjdfstest_passes_in_passthrough() {
    pjdfstest(PASSTHROUGH, is_passthrough);
}

/// Runs fsx on a file in a mount, and calls `meanwhile` repeatedly until fsx exits.
#[allow(clippy::print_stderr)]
fn fsx(m: &Mount<'_>, config: &Path, name: &str, seed: u32, mut meanwhile: impl FnMut()) {
    let Some(program) = needs::server("fsx") else {
        return;
    };
    let operations = std::env::var("DVC_TEST_FSX").unwrap_or_else(|_| OPERATIONS.to_owned());
    let artifacts = config.parent().unwrap();
    let mut command = Command::new(program);
    command.args(["-N", &operations, "-S", &seed.to_string(), "-q", "-f"]);
    command.arg(config).arg("-P").arg(artifacts).arg(m.at(name));
    let mut child = Spawned::start(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    let mut rounds = 0;
    while child.try_wait().unwrap().is_none() {
        meanwhile();
        rounds += 1;
    }
    let run = child.finish();
    eprintln!("{operations} operations on `{name}`, {rounds} concurrent rounds");
    assert!(
        run.code == 0 && rounds > 0,
        "seed {seed}, {rounds} rounds\n{}{}",
        run.out,
        run.err
    );
}

fn fill(w: &Path) {
    fs::write(w.join("of the version"), noise(1, 1 << 20)).unwrap();
    let mut pages = b"SQLite format 3\0".to_vec();
    pages.extend(noise(2, (1 << 20) - 16));
    fs::write(w.join("pages"), pages).unwrap();
    fs::write(w.join("large"), noise(3, LARGE)).unwrap();
}

/// Asserts that a commit and a later mount have the current content of a file.
fn assert_kept(v: &Volume, m: &mut Mount<'_>, name: &str) {
    let now = fs::read(m.at(name)).unwrap();
    m.commit("at the end");
    assert!(fs::read(v.checkout("main", "out").join(name)).unwrap() == now);
    m.again();
    assert!(fs::read(m.at(name)).unwrap() == now);
}

/// Runs fsx during commits. `alone` means passthrough mode, in which a commit is refused while the
/// file is open.
fn run_fsx(options: &[&str], config: &str, name: &str, seed: u32, alone: bool) {
    let Some(v) = Volume::of(fill) else { return };
    let path = v.s.at("fsx.toml");
    fs::write(&path, config).unwrap();
    let mut m = v.mount(options);
    if alone && !is_passthrough(&m) {
        return;
    }
    let (mut is_open, mut refused) = (!alone, 0);
    fsx(&m, &path, name, seed, || {
        if !is_open {
            // A file that is opened during a snapshot does not use passthrough, so wait until fsx
            // has it open.
            is_open = m.stats()["stats"]["open_files"].as_u64().unwrap() > 0;
            return;
        }
        let run = m.dvc(&["commit", "-m", "meanwhile"]);
        assert!(
            run.code == 0 || alone && run.code == 4,
            "{} {}\n{}",
            run.code,
            run.out,
            run.err
        );
        refused += u32::from(run.code == 4);
    });
    assert_eq!(refused > 0, alone, "{refused} refused");
    assert_kept(&v, &mut m, name);
}

/// Returns a configuration with all operations that change the length.
fn lengths() -> String {
    format!("{FSX}truncate = 3.0\nposix_fallocate = 2.0\nclose_open = 1.0\n")
}

/// Returns a configuration that keeps the length fixed. fsx first fills the file with zeros and
/// never empties it, so bytes of the version are read only after a commit; the model test covers
/// the rest.
fn in_place() -> String {
    format!("blockmode = true\n{FSX}truncate = 0.0\nposix_fallocate = 0.0\nclose_open = 0.0\n")
}

/// Returns the same configuration for small writes all over a large file.
fn here_and_there() -> String {
    let all = in_place().replace("flen = 1048576", &format!("flen = {LARGE}"));
    all.replace("max = 65536", "max = 4096")
}

#[test]
fn fsx_on_a_new_file() {
    run_fsx(&[], &lengths(), "new", 1, false);
}

#[test]
fn fsx_on_a_file_of_the_version() {
    run_fsx(&[], &lengths(), "of the version", 2, false);
}

#[test]
fn fsx_in_place() {
    run_fsx(&[], &in_place(), "pages", 3, false);
}

#[test]
fn fsx_here_and_there() {
    run_fsx(&[], &here_and_there(), "large", 4, false);
}

#[test]
fn fsx_on_a_hydrated_file() {
    run_fsx(
        &[PASSTHROUGH, &["--live"]].concat(),
        &lengths(),
        "of the version",
        5,
        false,
    );
}

#[test]
fn fsx_in_passthrough_on_a_new_file() {
    run_fsx(PASSTHROUGH, &lengths(), "new", 6, true);
}

#[test]
fn fsx_in_passthrough_on_a_hydrated_file() {
    run_fsx(PASSTHROUGH, &lengths(), "of the version", 7, true);
}

#[test]
fn fsx_in_passthrough_in_place() {
    run_fsx(PASSTHROUGH, &in_place(), "pages", 8, true);
}

/// The file `large` is not hydrated, so the kernel cannot use passthrough for it.
#[test]
fn fsx_in_passthrough_on_a_file_that_is_not_hydrated() {
    run_fsx(&["--hydrate", "new"], &here_and_there(), "large", 9, false);
}
