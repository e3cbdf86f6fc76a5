//! Two hosts use the same branch of a remote. Each has its own engine, plugin and state directory.

use std::fs;

use crate::support::sandbox::Sandbox;
use crate::volumes::{Machine, small};

/// Replaces the repository `r` by a clone of `from`.
fn clone(s: &Sandbox, from: &str) {
    fs::remove_dir_all(s.at("r")).unwrap();
    s.dvc(["clone", from, "../c"]).ok();
    fs::rename(s.at("c/.dvcs"), s.at("r")).unwrap();
    fs::remove_dir_all(s.at("c")).unwrap();
}

#[test]
fn the_second_push_to_a_branch_is_rejected_and_nothing_is_lost() {
    let (Some(one), Some(two)) = (Machine::new(small), Machine::new(small)) else {
        return;
    };
    let central = one.s.at("central").display().to_string();
    one.s
        .dvc(["--repo", "../r", "remote", "add", "origin", &central])
        .ok();
    one.s.dvc(["--repo", "../r", "push"]).ok();
    clone(&two.s, &central);
    for (machine, word) in [(&one, "one"), (&two, "two")] {
        machine.create("v", &["rev=main"]);
        machine.sh(
            "v",
            &format!("echo {word} > /v/a; echo {word} > /v/of-{word}"),
        );
    }
    let commit = |machine: &Machine, more: &[&str]| {
        let name = machine.volume("v");
        let mut args = vec!["commit", "--volume", &name, "-m", "mine", "--push"];
        args.extend(more);
        machine.s.dvc(args)
    };
    let ids = |machine: &Machine, repo: &str, rev: &str| -> Vec<String> {
        let log = machine
            .s
            .dvc(["--repo", repo, "log", "--json", rev])
            .ok()
            .json_lines();
        log.iter()
            .map(|line| line["id"].as_str().unwrap().to_owned())
            .collect()
    };
    commit(&one, &[]).ok();
    let first = ids(&one, &central, "main");
    assert_eq!(first.len(), 2);
    commit(&two, &[]).code(4).says("rejected");
    // No version was overwritten: the remote has the version of the first host, and the second host
    // still has its own.
    assert_eq!(ids(&one, &central, "main"), first);
    let own = ids(&two, "../r", "main");
    assert!(
        own.len() == 2 && own[0] != first[0] && own[1] == first[1],
        "{own:?} {first:?}"
    );
    assert_eq!(two.sh("v", "cat /v/a /v/of-two"), "two\ntwo");
    // After a fetch, a second attempt is rejected too. It reports how far the branches have
    // diverged.
    commit(&two, &["--allow-empty"]).code(4);
    two.s.dvc(["--repo", "../r", "fetch"]).ok();
    let differs = two
        .s
        .dvc(["--repo", "../r", "diff", "--stat", "main", "origin/main"])
        .ok()
        .out;
    assert!(
        differs.contains(" a ") && differs.contains("of-one") && differs.contains("of-two"),
        "{differs}"
    );
    assert_eq!(ids(&one, &central, "main"), first);
    // The solution: push to a separate branch.
    two.s
        .dvc(["--repo", "../r", "branch", "host-two", "main"])
        .ok();
    two.s
        .dvc(["--repo", "../r", "push", "origin", "host-two"])
        .ok();
    assert_eq!(ids(&one, &central, "main"), first);
    assert_eq!(ids(&one, &central, "host-two")[1], own[0]);
    for repo in [&central, "../r"] {
        two.s.dvc(["--repo", repo, "fsck", "--data"]).ok();
    }
}
