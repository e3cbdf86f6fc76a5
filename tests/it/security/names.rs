//! Ids, names and numbers from a remote: no name becomes a path outside of the repository, and no
//! number makes a command succeed without effect.

use std::fs;
use std::path::Path;

use dvc::format::logkey::seq_key;
use dvc::format::refentry::{RefEntry, encode_name};
use dvc::format::text::line_checksum;

use super::forge::{file, forge, set_ref};
use crate::support::sandbox::{Sandbox, all_below};

/// Replaces a value in a marker and updates its checksum.
fn set_marker(repository: &Path, field: &str, value: &str) {
    let text = fs::read_to_string(repository.join("format")).unwrap();
    let mut marker: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    marker[field] = value.into();
    let line = marker.to_string();
    fs::write(
        repository.join("format"),
        format!("{line}\n{}\n", line_checksum(&line)),
    )
    .unwrap();
}

fn forged(s: &Sandbox) -> String {
    forge(&s.at("far"), |pen| {
        vec![("main", pen.version(vec![file("a", "1")]))]
    });
    s.at("far").display().to_string()
}

#[test]
fn ids_and_branches_of_a_marker_become_no_paths() {
    let s = Sandbox::with_repo();
    let url = forged(&s);
    let before = all_below(s.root());
    for (field, value) in [
        ("id", "../../../x"),
        ("id", "/tmp/x"),
        ("id", ""),
        ("id", "0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A"),
        ("default_branch", "../../x"),
        ("default_branch", "a\u{1b}[2J"),
    ] {
        let kept = fs::read(s.at("far/format")).unwrap();
        set_marker(&s.at("far"), field, value);
        for args in [
            &["--repo", &url, "log"][..],
            &["--repo", &url, "status"],
            &["clone", &url, "../clone"],
            &["fetch", &url],
            &["push", &url],
        ] {
            let run = s.dvc(args);
            assert!(
                run.code == 5 || run.code == 13 && args[0] == "push",
                "{args:?} {value}: {} {}",
                run.code,
                run.err
            );
            assert!(!run.err.contains('\u{1b}'), "{}", run.err);
        }
        fs::write(s.at("far/format"), kept).unwrap();
    }
    let made: Vec<_> = all_below(s.root())
        .into_iter()
        .filter(|path| !before.contains(path))
        .collect();
    let harmless = |path: &Path| path.starts_with(s.at("home")) || path.starts_with(s.w(".dvcs"));
    assert!(made.iter().all(|path| harmless(path)), "{made:?}");
}

#[test]
fn names_of_refs_become_no_paths() {
    let s = Sandbox::with_repo();
    let url = forged(&s);
    let tip = s
        .dvc(["--repo", &url, "log", "--format", "%H"])
        .ok()
        .out
        .trim()
        .to_owned();
    // Use a name next to the sandbox that belongs to no other test.
    let leaf = s
        .root()
        .file_name()
        .unwrap()
        .to_string_lossy()
        .replace("dvc-it-", "escaped-");
    let outside = [
        format!("../../../{leaf}"),
        format!("a/../../{leaf}"),
        format!("/etc/{leaf}"),
    ];
    for name in outside
        .iter()
        .map(String::as_str)
        .chain([".dvcs", "x\u{1b}[2J", "-x", "HEAD"])
    {
        set_ref(&s.at("far"), name, 1, Some(&tip));
    }
    let run = s.dvc(["clone", &url, "../clone"]);
    assert!(!run.err.contains('\u{1b}'), "{}", run.err);
    run.code(5).complains("skipped");
    let branches = s
        .dvc(["-C", "../clone", "branch", "--json"])
        .ok()
        .json_lines();
    assert_eq!(
        branches
            .iter()
            .map(|b| b["name"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["main"]
    );
    for place in [
        s.at(&leaf),
        s.root().parent().unwrap().join(&leaf),
        Path::new("/etc").join(&leaf),
    ] {
        assert!(!place.exists(), "{}", place.display());
    }
}

#[test]
fn a_branch_at_the_last_number_is_never_reported_as_moved() {
    let s = Sandbox::with_repo();
    s.write("a", "1");
    s.dvc(["commit", "-m", "one"]).ok();
    let first = s.dvc(["log", "--format", "%H"]).ok().out.trim().to_owned();
    let url = s.at("far").display().to_string();
    s.dvc(["push", &url]).ok();
    let log = s.at("far/refs/heads/main");
    for seq in [u64::MAX, u64::MAX - 1] {
        fs::remove_dir_all(&log).unwrap();
        set_ref(&s.at("far"), "main", seq, Some(&first));
        s.write("a", seq.to_string());
        s.dvc(["commit", "-m", "two"]).ok();
        let run = s.dvc(["push", &url]);
        let value = s
            .dvc(["--repo", &url, "log", "-n1", "--format", "%H"])
            .ok()
            .out
            .trim()
            .to_owned();
        let ours = s
            .dvc(["log", "-n1", "--format", "%H"])
            .ok()
            .out
            .trim()
            .to_owned();
        assert_eq!(run.code == 0, value == ours, "{} {}", run.code, run.err);
        assert_eq!(run.code, if seq == u64::MAX { 5 } else { 0 }, "{}", run.err);
    }
    // A local branch whose log has the maximum number rejects commits too.
    let own = s.w(".dvcs/refs/heads/main");
    let tip = s
        .dvc(["log", "-n1", "--format", "%H"])
        .ok()
        .out
        .trim()
        .to_owned();
    fs::remove_dir_all(&own).unwrap();
    set_ref(&s.w(".dvcs"), "main", u64::MAX, Some(&tip));
    s.write("a", "3");
    s.dvc(["commit", "-m", "three"])
        .code(5)
        .complains("the maximum number");
    s.dvc(["branch", "main", "main~"]).code(4);
    s.dvc(["branch", "-f", "main", &tip]).ok();
    s.dvc(["commit", "-m", "three"]).ok();
}

#[test]
fn a_value_that_is_no_id_is_damage_and_no_deletion() {
    let s = Sandbox::with_repo();
    let url = forged(&s);
    for new in ["", "../../x", "0a", &"g".repeat(64)] {
        let entry = fs::read(
            s.at("far/refs/heads")
                .join(encode_name("main"))
                .join(seq_key(1)),
        )
        .unwrap();
        let entry = RefEntry {
            new: Some(new.to_owned()),
            seq: 2,
            ..RefEntry::decode(&entry).unwrap()
        };
        fs::write(s.at("far/refs/heads/main").join(seq_key(2)), entry.encode()).unwrap();
        s.dvc(["--repo", &url, "log", "main"])
            .code(5)
            .complains("not a commit id");
        fs::remove_file(s.at("far/refs/heads/main").join(seq_key(2))).unwrap();
    }
}

#[test]
fn no_version_follows_one_with_the_last_ordinal() {
    let s = Sandbox::new();
    forge(&s.at("far"), |pen| {
        vec![(
            "main",
            pen.version_of(vec![file("a", "1")], u64::MAX, Vec::new()),
        )]
    });
    s.dvc(["clone", s.at("far").to_str().unwrap(), "../clone"])
        .ok();
    fs::write(s.at("clone/a"), "2").unwrap();
    s.dvc(["-C", "../clone", "commit", "-m", "two"])
        .code(5)
        .complains("its ordinal is the maximum");
    assert_eq!(
        s.dvc(["-C", "../clone", "log", "--oneline"])
            .ok()
            .lines()
            .len(),
        1
    );
}
