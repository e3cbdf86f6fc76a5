//! Damaged tips of refs: they are repaired from remotes, and do not block other refs.

use std::fs;
use std::path::PathBuf;

use super::{pushed, two};
use crate::support::sandbox::Sandbox;

/// Returns the newest entry of a log.
fn tip(s: &Sandbox, log: &str) -> PathBuf {
    // Newer entries have smaller keys.
    let mut entries: Vec<_> = fs::read_dir(s.w(".dvcs/refs").join(log))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    entries.sort();
    entries.remove(0)
}

fn id(s: &Sandbox, revision: &str) -> String {
    s.dvc(["log", "-n1", "--format=%H", revision]).ok().out
}

#[test]
fn the_tip_of_a_pushed_branch() {
    let s = pushed();
    s.dvc(["fsck"]).ok();
    let main = id(&s, "main");
    for remove in [false, true] {
        let tip = tip(&s, "heads/main");
        if remove {
            fs::remove_file(&tip).unwrap()
        } else {
            fs::write(&tip, "damaged").unwrap()
        }
        s.dvc(["fsck"]).code(5);
        s.dvc(["fsck", "--repair", "-n"])
            .code(5)
            .says("would repair branch `main`: ");
        s.dvc(["fsck", "--repair"])
            .ok()
            .says("repaired branch `main`: ")
            .says("from `origin");
        assert_eq!(id(&s, "main"), main);
        s.dvc(["fsck"]).ok();
    }
    s.write("more", "more");
    s.dvc(["commit", "-m", "third"]).ok();
    s.dvc(["push"]).ok();
}

#[test]
fn the_previous_entry_is_taken_only_on_request() {
    let s = pushed();
    s.write("more", "more");
    s.dvc(["commit", "-m", "not pushed"]).ok();
    s.dvc(["fsck"]).ok();
    let before = id(&s, "main~1");
    fs::write(tip(&s, "heads/main"), "damaged").unwrap();
    let run = s
        .dvc(["fsck", "--repair"])
        .code(5)
        .says("not repaired: the newest entry of `refs/heads/main`");
    run.says("hint: run `dvc fsck --repair --accept-older`");
    s.dvc(["log", "main"]).code(5);
    s.dvc(["fsck", "--repair", "--accept-older"])
        .ok()
        .says("from its previous entry");
    assert_eq!(id(&s, "main"), before);
}

#[test]
fn entries_between_intact_ones() {
    let s = two();
    s.write("more", "more");
    s.dvc(["commit", "-m", "third"]).ok();
    s.dvc(["fsck"]).ok();
    let main = id(&s, "main");
    let mut entries: Vec<_> = fs::read_dir(s.w(".dvcs/refs/heads/main"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    entries.sort();
    fs::remove_file(&entries[2]).unwrap();
    fs::write(&entries[1], "damaged").unwrap();
    s.dvc(["fsck"]).code(5);
    s.dvc(["fsck", "--repair"])
        .ok()
        .says("repaired 2 entries of logs");
    assert_eq!(id(&s, "main"), main);
    s.dvc(["undo", "-y"]).ok();
}

#[test]
fn a_damaged_tip_does_not_block_other_branches() {
    let s = pushed();
    s.dvc(["branch", "broken"]).ok();
    s.dvc(["fsck"]).ok();
    fs::write(tip(&s, "heads/broken"), "damaged").unwrap();
    s.write("more", "more");
    s.dvc(["commit", "-m", "third"]).ok();
    assert_eq!(
        s.dvc(["log", "--format=%s"]).ok().out,
        "third\nsecond\nfirst\n"
    );
    s.dvc(["push"]).ok();
    s.dvc(["status"]).ok();
    s.dvc(["checkout", "main", "--into", "../copy"]).ok();
    let run = s
        .dvc(["fsck", "--data"])
        .code(5)
        .complains("ref `refs/heads/broken/");
    assert!(run.out.contains("checked "), "{}", run.out);
    // The other branch is repaired although this one cannot be.
    fs::write(tip(&s, "heads/main"), "damaged").unwrap();
    s.dvc(["fsck", "--repair"])
        .code(5)
        .says("repaired branch `main`")
        .says("not repaired: the newest entry of `refs/heads/broken`");
    s.write("more", "even more");
    s.dvc(["commit", "-m", "fourth"]).ok();
    s.dvc(["push"]).ok();
}

#[test]
fn a_log_with_too_many_lost_entries_is_reported() {
    let s = pushed();
    let forged = tip(&s, "heads/main").with_file_name(format!("{:016x}", u64::MAX - 1_000_000));
    fs::write(&forged, "damaged").unwrap();
    s.dvc(["fsck", "--repair"])
        .code(5)
        .says("not repaired: the newest entry of `refs/heads/main`");
    assert!(forged.exists());
    fs::remove_file(forged).unwrap();
    s.dvc(["log", "main"]).ok();
}
