//! systemd accepts the units and finds the manual pages to which the units refer.

use super::{make, project};
use crate::support::needs::need;
use crate::support::sandbox::{Run, Sandbox};
use std::fs;

#[test]
fn systemd_accepts_every_unit() {
    let s = Sandbox::new();
    let prefix = s.at("prefix");
    make(&s, "install", &[("PREFIX", &prefix)]).ok();
    let units = prefix.join("lib/systemd/system");
    fs::copy(
        project().join("packaging/examples/srv-amcc.mount"),
        units.join("srv-amcc.mount"),
    )
    .unwrap();
    for unit in ["dvc-backup@.service", "dvc-backup@.timer"] {
        // Create an instance, as `systemctl enable dvc-backup@srv-shop.timer` does.
        std::os::unix::fs::symlink(units.join(unit), units.join(unit.replace('@', "@srv-shop")))
            .unwrap();
    }
    let mut checked = 0;
    for entry in fs::read_dir(&units).unwrap() {
        let unit = entry.unwrap().path();
        if unit.to_str().unwrap().contains("@.") {
            continue;
        }
        let mut c = s.other(need("systemd-analyze"));
        // The trailing colon keeps systemd's own directories in the path, because the units need
        // `network-online.target`.
        c.env("SYSTEMD_UNIT_PATH", format!("{}:", units.display()))
            .env("MANPATH", prefix.join("share/man"));
        let run = Run::of(c.arg("verify").arg("--man=yes").arg(&unit)).ok();
        let named = unit.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(!run.err.contains(&named), "{}", run.err);
        checked += 1;
    }
    assert_eq!(checked, 4);
}

/// Without these lines, restarting the driver, or one mount that runs out of memory, would end
/// other mounts.
#[test]
fn a_restart_of_the_driver_ends_no_mount() {
    let unit = fs::read_to_string(project().join("packaging/systemd/dvc-plugin.service")).unwrap();
    for line in [
        "KillMode=process",
        "OOMPolicy=continue",
        "Before=docker.service",
    ] {
        assert!(
            unit.lines().any(|l| l == line),
            "dvc-plugin.service lacks {line}"
        );
    }
}

/// Runs the command of the unit with the values that systemd inserts for an instance.
#[test]
fn the_backup_unit_commits_and_pushes() {
    let s = Sandbox::with_repo();
    s.write("file", "content");
    s.dvc(["remote", "add", "origin", "../far"]).ok();
    let unit = fs::read_to_string(project().join("packaging/systemd/dvc-backup@.service")).unwrap();
    let value = |key: &str| {
        unit.lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap()
            .to_owned()
    };
    let options = value("Environment=COMMIT_OPTIONS=");
    let command = value("ExecStart=/usr/bin/dvc ").replace("%f", s.w("").to_str().unwrap());
    let words: Vec<String> = command
        .replace("$COMMIT_OPTIONS", &options)
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    s.dvc(&words).ok();
    s.dvc([
        "--repo",
        &format!("file://{}", s.at("far").display()),
        "log",
        "--oneline",
    ])
    .ok()
    .says("scheduled");
    // A backup without changes creates no version and succeeds.
    s.dvc(&words).ok();
}
