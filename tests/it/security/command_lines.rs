//! Every user of a machine can read the command line of every process. A password in the arguments
//! of `dvc` must disappear from there as soon as `dvc` has started.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::needs;
use crate::support::sandbox::Sandbox;
use crate::support::servers::webdav::Webdav;
use crate::support::spawned::Spawned;

/// A secret that must not be shown.
const SECRET: &str = "k3ep-th1s-0ff-the-l1ne";

/// Returns the command lines of all processes that contain the secret.
fn seen() -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let shown = |line: Vec<u8>| String::from_utf8_lossy(&line).replace('\0', " ");
    lines
        .map(shown)
        .filter(|line| line.contains(SECRET))
        .collect()
}

#[test]
fn a_password_in_a_url_is_in_no_command_line_of_a_mount() {
    if !needs::fuse() {
        return;
    }
    let Some(webdav) = Webdav::start() else {
        return;
    };
    let mut s = Sandbox::new();
    s.set("DVC_AUTHOR", "Ann <ann@example.org>");
    s.dvc(["init", "-b", "main"]).ok();
    s.write("a", "1");
    s.dvc(["commit", "-m", "one"]).ok();
    s.dvc(["remote", "add", "origin", &webdav.url("p")]).ok();
    s.dvc(["push"]).ok();
    fs::create_dir(s.at("m")).unwrap();
    let url = webdav
        .url("p")
        .replacen("://", &format!("://me:{SECRET}@"), 1);
    let at = s.at("m").display().to_string();
    let run = s.dvc(["mount", "--ro", &format!("{url}#main"), &at]).ok();
    assert!(
        run.err.contains("the password in the URL is neither used"),
        "{}",
        run.err
    );
    let (read, shown) = (fs::read(s.at("m/a")), seen());
    s.dvc(["umount", &at]).ok();
    assert_eq!(
        (read.unwrap(), shown),
        (b"1".to_vec(), Vec::<String>::new())
    );
    // With `--foreground`, the process that the caller has started serves the mount.
    let mut child = Spawned::start(&mut s.command([
        "mount",
        "--ro",
        "--foreground",
        &format!("{url}#main"),
        &at,
    ]));
    let since = Instant::now();
    while !s.at("m/a").exists() {
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "it does not mount"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let shown = seen();
    s.dvc(["umount", &at]).ok();
    assert!(child.wait().unwrap().success());
    assert_eq!(shown, Vec::<String>::new());
}
