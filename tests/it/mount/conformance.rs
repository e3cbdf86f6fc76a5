//! Others' suites on mounts: pjdfstest asks for what POSIX says, fsx reads back what it wrote, by every kind of call.
//!
//! `tests/setup.sh` installs them. `DVC_TEST_FSX` is the number of operations of each run of fsx.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::mount::harness::{Mount, Volume};
use crate::support::needs;
use crate::support::zoo::noise;

/// Users that every Debian has: pjdfstest acts as them.
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

#[test]
fn pjdfstest_passes() {
    let Some(program) = needs::server("pjdfstest") else { return };
    let Some(v) = Volume::of(|w| {
        fs::create_dir(w.join("d")).unwrap();
        fs::set_permissions(w.join("d"), PermissionsExt::from_mode(0o755)).unwrap();
    }) else {
        return;
    };
    let config = v.s.at("pjdfstest.toml");
    fs::write(&config, PJDFSTEST).unwrap();
    let m = v.mount(&["--allow-other"]);
    let out = Command::new(program)
        .arg("-c")
        .arg(&config)
        .arg("-p")
        .arg(m.at("d"))
        .current_dir(m.at("d"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    let failed: Vec<&str> = said.lines().filter(|l| l.to_lowercase().contains("fail")).collect();
    assert!(out.status.success(), "{}\n{}", failed.join("\n"), &said[said.len().saturating_sub(2000)..]);
    let passed = said.lines().find_map(|l| l.split(" passed").next()?.split_whitespace().last()?.parse::<u32>().ok());
    assert!(passed.is_some_and(|n| n > 300), "{}", &said[said.len().saturating_sub(500)..]);
}

/// Runs fsx on a file of a mount while versions are made.
fn fsx(m: &Mount<'_>, config: &Path, name: &str, seed: u32) {
    let Some(program) = needs::server("fsx") else { return };
    let operations = std::env::var("DVC_TEST_FSX").unwrap_or_else(|_| "25000".to_owned());
    let artifacts = config.parent().unwrap();
    let mut child = Command::new(program)
        .args(["-N", &operations, "-S", &seed.to_string(), "-q", "-f"])
        .arg(config)
        .arg("-P")
        .arg(artifacts)
        .arg(m.at(name))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut commits = 0;
    while child.try_wait().unwrap().is_none() {
        m.commit("meanwhile");
        commits += 1;
    }
    let out = child.wait_with_output().unwrap();
    assert!(
        out.status.success() && commits > 0,
        "seed {seed}, {commits} commits\n{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

fn run_fsx(config: &str, name: &str, seed: u32) {
    let Some(v) = Volume::of(|w| {
        fs::write(w.join("of the version"), noise(1, 1 << 20)).unwrap();
        let mut pages = b"SQLite format 3\0".to_vec();
        pages.extend(noise(2, (1 << 20) - 16));
        fs::write(w.join("pages"), pages).unwrap();
    }) else {
        return;
    };
    let path = v.s.at("fsx.toml");
    fs::write(&path, config).unwrap();
    let mut m = v.mount(&[]);
    fsx(&m, &path, name, seed);
    let now = fs::read(m.at(name)).unwrap();
    m.commit("at the end");
    assert!(fs::read(v.checkout("main", "out").join(name)).unwrap() == now);
    m.again();
    assert!(fs::read(m.at(name)).unwrap() == now);
}

/// With all that changes the length.
fn lengths() -> String {
    format!("{FSX}truncate = 3.0\nposix_fallocate = 2.0\nclose_open = 1.0\n")
}

#[test]
fn fsx_on_a_new_file() {
    run_fsx(&lengths(), "new", 1);
}

#[test]
fn fsx_on_a_file_of_the_version() {
    run_fsx(&lengths(), "of the version", 2);
}

/// Of a fixed length, so that it is not emptied first and the version stays below.
#[test]
fn fsx_in_place() {
    let config = format!("blockmode = true\n{FSX}truncate = 0.0\nposix_fallocate = 0.0\nclose_open = 0.0\n");
    run_fsx(&config, "pages", 3);
}
