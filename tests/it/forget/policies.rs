//! Versions that no rule keeps.

use super::{History, ordinals};

#[test]
fn each_rule() {
    let h = History::at(
        [
            "2022-06-01T03:00",
            "2023-06-01T03:00",
            "2023-12-31T03:00",
            "2024-01-15T03:00",
            "2024-01-16T03:00",
            "2024-01-22T03:00",
            "2024-01-22T09:10",
            "2024-01-22T09:40",
            "2024-01-22T10:00",
        ]
        .map(|time| format!("{time}:00Z")),
    );
    for (rule, value, kept) in [
        ("--keep-last", "2", &[8, 9][..]),
        ("--keep-hourly", "2", &[8, 9]),
        ("--keep-daily", "2", &[5, 9]),
        ("--keep-weekly", "2", &[5, 9]),
        ("--keep-monthly", "2", &[3, 9]),
        ("--keep-yearly", "3", &[1, 3, 9]),
        ("--keep-within", "1h", &[7, 8, 9]),
        ("--keep-within", "6d", &[6, 7, 8, 9]),
        ("--keep-within-hourly", "2h", &[8, 9]),
        ("--keep-within-daily", "7d", &[5, 9]),
        ("--keep-within-weekly", "1m", &[3, 5, 9]),
        ("--keep-within-monthly", "1y", &[2, 3, 9]),
        ("--keep-within-yearly", "2y", &[1, 3, 9]),
        ("--keep-last", "unlimited", &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ] {
        assert_eq!(h.kept(&[rule, value]), kept, "{rule} {value}");
    }
    assert_eq!(
        h.kept(&[
            "--keep-last",
            "1",
            "--keep-daily",
            "2",
            "--keep-yearly",
            "2"
        ]),
        [3, 5, 9]
    );
    h.forget(&["--keep-daily", "often"]).code(2);
    h.forget(&["--keep-within", "7"]).code(2);
    // A policy that could keep nothing keeps everything.
    h.forget(&["--keep-last", "0", "-y"])
        .ok()
        .says("forgot 0 versions, 9 kept");
}

#[test]
fn a_dry_run_equals_the_run() {
    let h = History::days(12);
    let args = ["--keep-daily", "3", "--keep-weekly", "2", "-y"];
    let mut would = h.json(&[&args[..], &["-n"]].concat());
    assert_eq!(h.log(&[]).len(), 12);
    let done = h.json(&args);
    would["dry_run"] = false.into();
    assert_eq!(would, done);
    assert_eq!(h.log(&[]).len() as u64, done["kept"].as_u64().unwrap());
    let listed = h.s.dvc(["--json", "forget", "--list"]).ok().json_lines();
    assert_eq!(listed.len(), ordinals(&done, true).len());
    assert!(
        listed
            .iter()
            .all(|entry| entry["reason"] == "forget: keep-daily 3, keep-weekly 2"),
        "{listed:?}"
    );
    assert!(
        listed
            .iter()
            .all(|entry| entry["author"] == "Ann <ann@example.org>"),
        "{listed:?}"
    );
    h.forget(&args).ok().says("forgot 0 versions");
}

#[test]
fn policies_of_the_configuration() {
    let h = History::days(8);
    h.forget(&["--policy", "nightly"]).code(13);
    h.forget(&["--policy", "all"]).code(13);
    h.s.dvc(["config", "set", "retention.nightly.daily", "5"])
        .ok();
    h.s.dvc(["config", "set", "retention.nightly.branches", "ma*,other"])
        .ok();
    h.s.dvc(["config", "set", "retention.other.branches", "other"])
        .ok();
    h.s.dvc(["config", "set", "retention.other.within-daily", "1m7d"])
        .ok();
    h.s.dvc(["config", "list"])
        .ok()
        .says("retention.nightly.branches=ma*,other\nretention.nightly.daily=5\n");
    assert_eq!(
        h.s.dvc(["config", "get", "retention.other.within-daily"])
            .ok()
            .out,
        "1m7d\n"
    );
    h.s.dvc(["config", "list", "--show-origin"])
        .ok()
        .says("config.toml\tretention.nightly.daily=5");
    for (key, value) in [
        ("retention.x.dayly", "3"),
        ("retention.x.daily", "often"),
        ("retention.all.daily", "3"),
    ] {
        h.s.dvc(["config", "set", key, value]).code(2);
    }
    assert_eq!(h.kept(&["--policy", "nightly"]), [4, 5, 6, 7, 8]);
    assert_eq!(h.kept(&["--policy", "all"]), [4, 5, 6, 7, 8]);
    // The command line overrides the file.
    let run =
        h.s.dvc([
            "-c",
            "retention.nightly.daily=6",
            "--json",
            "forget",
            "--policy",
            "nightly",
            "-n",
        ])
        .ok();
    assert_eq!(ordinals(&run.json(), false).len(), 6);
    h.forget(&["--policy", "nightly"])
        .ok()
        .says("forgot 3 versions, 5 kept");
    h.forget(&["--list"])
        .ok()
        .says("forget: policy nightly: keep-daily 5");
    h.s.dvc(["config", "unset", "retention.nightly.daily"]).ok();
    h.s.dvc(["config", "get", "retention.nightly.daily"])
        .code(13);
    // A policy without rules keeps everything.
    h.forget(&["--policy", "nightly"])
        .ok()
        .says("forgot 0 versions");
    std::fs::write(h.s.w(".dvcs/config.toml"), "[retention.a]\ndaily = true\n").unwrap();
    h.forget(&["--policy", "a"])
        .code(2)
        .complains("retention.a.daily");
}

#[test]
fn a_version_of_two_branches_needs_both_policies() {
    let h = History::days(6);
    h.s.dvc(["checkout", "-b", "dev", "main@v3"]).ok();
    h.commit(14, "2024-01-14T03:00:00Z");
    h.commit(15, "2024-01-15T03:00:00Z");
    h.forget(&["--branch", "none*", "--keep-last", "1"])
        .code(13)
        .complains("none*");
    h.forget(&["--branch", "main"]).code(2);
    let would = h.json(&["--branch", "main", "--keep-last", "1", "-n"]);
    assert_eq!(ordinals(&would, true), [4, 5], "{would}");
    let shared = would["versions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|v| v["name"] == "main@v3" || v["name"] == "dev@v3");
    assert_eq!(
        shared.unwrap()["reasons"][0],
        "also on branch dev",
        "{would}"
    );
    // Both branches: dev keeps v3 as one of its last three.
    let would = h.json(&["--keep-last", "3", "-n"]);
    assert_eq!(ordinals(&would, true), [1, 2], "{would}");
    h.forget(&["--keep-last", "3"]).ok();
    assert_eq!(h.log(&["main"]), ["v3", "v4", "v5", "v6"]);
    assert_eq!(h.log(&["dev"]), ["v3", "v4", "v5"]);
}

#[test]
fn forged_dates_push_no_version_out() {
    let honest = History::days(8);
    let kept = honest.kept(&["--keep-daily", "4"]);
    assert_eq!(kept, [5, 6, 7, 8]);
    // A version between two honest ones claims another time.
    for forged in ["2031-01-01T00:00:00Z", "1990-01-01T00:00:00Z"] {
        let mut times: Vec<String> = (1..=8)
            .map(|day| format!("2024-01-{day:02}T03:00:00Z"))
            .collect();
        times.insert(6, forged.to_owned());
        let h = History::at(times);
        let now_kept = h.kept(&["--keep-daily", "4"]);
        // The versions after the forged one are one number higher.
        for n in &kept {
            assert!(
                now_kept.contains(&if *n > 6 { n + 1 } else { *n }),
                "{forged}: {now_kept:?}"
            );
        }
        let within = h.kept(&["--keep-within", "3d"]);
        assert!(
            [6, 8, 9].iter().all(|n| within.contains(n)),
            "{forged}: {within:?}"
        );
    }
}
