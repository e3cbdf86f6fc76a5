//! One ref is damaged or has an invalid name: all other refs work, the bad one is reported, and it
//! can be repaired.

use std::fs;
use std::path::{Path, PathBuf};

use super::forge::set_ref;
use crate::support::sandbox::Sandbox;

/// Creates a repository with the branches `bad`, `good` and `main`.
fn with_branches() -> Sandbox {
    let s = Sandbox::with_repo();
    for branch in ["main", "good", "bad"] {
        s.write("a", branch);
        s.dvc(["commit", "-m", &format!("in {branch}"), "-b", branch])
            .ok();
        s.write("a", branch.repeat(2));
        s.dvc(["commit", "-m", &format!("again in {branch}"), "-b", branch])
            .ok();
    }
    s
}

/// Returns the path of the newest log entry of a branch.
fn tip(repository: &Path, branch: &str) -> PathBuf {
    let entries = fs::read_dir(repository.join("refs/heads").join(branch)).unwrap();
    entries.map(|e| e.unwrap().path()).min().unwrap()
}

#[test]
fn a_damaged_branch_stops_no_other() {
    let s = with_branches();
    fs::write(tip(&s.w(".dvcs"), "bad"), b"damage").unwrap();
    let url = s.at("far").display().to_string();
    let named = "skipped a damaged ref: the newest entry of branch `bad` is damaged";
    assert_eq!(
        s.dvc(["log", "--oneline", "main"])
            .ok()
            .complains(named)
            .lines()
            .len(),
        2
    );
    s.dvc(["log", "--oneline", "--all"])
        .ok()
        .complains(named)
        .says("again in good");
    s.dvc(["show", "good"]).ok();
    s.dvc(["du"]).ok().complains(named);
    s.dvc(["checkout", "-f", "good"]).ok();
    s.write("a", "more");
    s.dvc(["commit", "-m", "more"]).ok();
    let list = s.dvc(["branch"]).code(5).complains(named);
    assert_eq!(list.lines().len(), 2, "{}", list.out);
    s.dvc(["push", &url, "good"]).ok();
    s.dvc(["push", &url, "--all"])
        .code(5)
        .complains(named)
        .complains("1 damaged ref was skipped");
    assert_eq!(
        s.dvc(["--repo", &url, "log", "--all", "--oneline"])
            .ok()
            .lines()
            .len(),
        5
    );
    s.dvc(["log", "bad"])
        .code(5)
        .complains("the newest entry of branch `bad` is damaged")
        .complains("dvc branch -f bad REV");
    s.dvc(["push", &url, "bad"]).code(5);
    s.dvc(["undo", "-n"]).ok();
    s.dvc(["fsck", "--rebuild"]).code(5).complains("bad");
    s.dvc(["log", "--oneline", "good"]).ok();
    // Repair the branch by moving it by force.
    s.dvc(["branch", "bad", "good"]).code(5);
    s.dvc(["branch", "-f", "bad", "good"]).ok();
    assert!(s.dvc(["branch"]).ok().err.is_empty());
    s.dvc(["fsck"]).ok();
    s.dvc(["push", &url, "--all"]).ok();
}

#[test]
fn a_damaged_version_of_a_branch_stops_no_other() {
    let s = with_branches();
    let before: Vec<PathBuf> = packs(&s);
    s.write("b", "lost");
    s.dvc(["commit", "-m", "lost", "-b", "bad"]).ok();
    let new: Vec<PathBuf> = packs(&s)
        .into_iter()
        .filter(|pack| !before.contains(pack))
        .collect();
    for pack in &new {
        let len = fs::metadata(pack).unwrap().len();
        fs::write(pack, vec![7; usize::try_from(len).unwrap()]).unwrap();
    }
    // Remove the catalogue, because it has copies of the objects, which would hide the damage.
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = fs::remove_file(s.w(".dvcs").join(name));
    }
    let url = s.at("far").display().to_string();
    s.dvc(["log", "--oneline", "main"]).ok();
    s.dvc(["log", "--oneline", "--all"])
        .ok()
        .says("again in good");
    assert_eq!(s.dvc(["branch"]).code(5).lines().len(), 2);
    s.dvc(["push", &url, "--all"]).code(5);
    assert_eq!(
        s.dvc(["--repo", &url, "log", "--all", "--oneline"])
            .ok()
            .lines()
            .len(),
        4
    );
    s.dvc(["push", &url, "bad"]).code(5);
    s.dvc(["branch", "-f", "bad", "good"]).ok();
    s.dvc(["branch"]).ok();
}

fn packs(s: &Sandbox) -> Vec<PathBuf> {
    let all = crate::support::sandbox::all_below(&s.w(".dvcs/packs"));
    all.into_iter().filter(|path| path.is_file()).collect()
}

#[test]
fn a_damaged_or_badly_named_branch_of_a_remote_stops_no_other() {
    let s = with_branches();
    let far = s.at("far");
    s.dvc(["remote", "add", "origin", far.to_str().unwrap()])
        .ok();
    s.dvc(["push", "--all"]).ok();
    s.dvc(["clone", far.to_str().unwrap(), "../before"]).ok();
    fs::write(tip(&far, "bad"), b"damage").unwrap();
    let id = s
        .dvc(["log", "-n1", "--format", "%H", "main"])
        .ok()
        .out
        .trim()
        .to_owned();
    set_ref(&far, "../../x", 1, Some(&id));
    fs::create_dir(far.join("refs/heads/strange name")).unwrap();
    fs::copy(
        tip(&far, "good"),
        far.join("refs/heads/strange name/fffffffffffffffe"),
    )
    .unwrap();
    s.write("a", "more");
    s.dvc(["commit", "-m", "more", "-b", "good"]).ok();
    // Other branches are pushed and fetched. The remote-tracking branch of the damaged one neither
    // moves nor disappears.
    s.dvc(["push", "origin", "good"])
        .ok()
        .complains("the newest entry of branch `bad` is damaged");
    s.dvc(["push", "origin", "bad"]).code(5);
    for (clone, verb) in [
        ("../before", &["fetch", "--prune"][..]),
        ("../after", &["clone"]),
    ] {
        let run = match verb {
            ["clone"] => s.dvc(["clone", far.to_str().unwrap(), clone]),
            fetch => s.dvc(["-C", clone].iter().chain(fetch)),
        };
        let run = run.code(5);
        for bad in ["`bad` is damaged", "x` is damaged", "strange name"] {
            assert!(run.err.contains(bad), "{bad}: {}", run.err);
        }
        assert!(
            !run.err.contains("restored to an older state"),
            "{}",
            run.err
        );
        s.dvc(["-C", clone, "log", "origin/good", "--oneline"])
            .ok()
            .says("more");
        s.dvc(["-C", clone, "status"]).ok();
    }
    s.dvc(["-C", "../before", "log", "origin/bad", "--oneline"])
        .ok();
}
