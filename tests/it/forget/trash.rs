//! The trash: listing it, taking versions out of it, and what a gc leaves of it.

use super::History;

#[test]
fn the_last_forget_is_undone() {
    let h = History::days(6);
    h.forget(&["main@v1"]).ok();
    h.forget(&["main@v2", "main@v3"]).ok();
    let list = h.forget(&["--list"]).ok().out;
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(
        list.contains("until 2") && list.contains("by Ann <ann@example.org>: forget: main@v1"),
        "{list}"
    );
    h.forget(&["--undo", "-n"])
        .ok()
        .says("would restore main@v3\nwould restore main@v2");
    assert_eq!(h.log(&[]), ["v4", "v5", "v6"]);
    h.forget(&["--undo"])
        .ok()
        .says("restored main@v3\nrestored main@v2");
    assert_eq!(h.log(&[]), ["v2", "v3", "v4", "v5", "v6"]);
    h.forget(&["--undo"]).ok().says("restored main@v1");
    h.forget(&["--undo"])
        .code(13)
        .complains("no version was forgotten");
    h.forget(&["main@v1", "main@v2"]).ok();
    h.forget(&["--undo", "main@v2"]).ok();
    h.forget(&["--undo", "main@v3"])
        .code(13)
        .complains("cannot restore main@v3: it is not in the trash");
    assert_eq!(h.log(&[]), ["v2", "v3", "v4", "v5", "v6"]);
    h.gc();
    h.s.dvc(["show", "main@v2"]).ok();
    h.s.dvc(["show", "main@v1"]).code(13);
    h.s.dvc(["fsck", "--data"]).ok().says("no damage");
}

#[test]
fn collected_versions_stay_forgotten() {
    let h = History::days(6);
    h.forget(&["main@v1"]).ok();
    h.gc();
    h.forget(&["--undo"])
        .code(13)
        .complains("main@v1 was forgotten on 2")
        .complains("main@v2");
    h.forget(&["--undo", "main@v1"]).code(13);
    assert_eq!(h.forget(&["--list"]).ok().out, "the trash is empty\n");
    h.forget(&["main@v2"]).ok();
    // One of the versions is collected, the other one is not.
    let both =
        h.s.dvc(["--json", "forget", "--undo", "main@v1", "main@v2"])
            .code(13)
            .json();
    assert_eq!(
        (&both["restored"][0]["name"], &both["collected"][0]["name"]),
        (&"main@v2".into(), &"main@v1".into())
    );
    assert_eq!(h.log(&[])[..2], ["v1 forgotten", "v2"]);
    h.s.dvc(["fsck", "--data"]).ok().says("no damage");
}

#[test]
fn undo_takes_back_the_newest_change() {
    let h = History::days(5);
    h.forget(&["main@v2"]).ok();
    h.s.dvc(["undo", "-n"])
        .ok()
        .says("would undo `forget: main@v2`")
        .says("would restore main@v2");
    h.s.dvc(["undo"]).ok().says("restored main@v2");
    assert_eq!(h.log(&[]).len(), 5);
    h.forget(&["main@v2"]).ok();
    h.commit(6, "2024-01-06T03:00:00Z");
    // The commit is newer than the forget.
    h.s.dvc(["undo"]).ok().says("undid `commit: c6`");
    h.s.dvc(["undo"]).ok().says("restored main@v2");
    // With a name, only that ref counts.
    h.forget(&["main@v2"]).ok();
    h.s.dvc(["undo", "main"]).ok().says("undid `commit: c5`");
}

#[test]
fn formats_show_the_state() {
    let h = History::days(4);
    h.forget(&["main@v2"]).ok();
    h.s.dvc(["log", "--graph", "--oneline"]).ok();
    assert_eq!(
        h.s.dvc(["log", "-1", "--format", "%d", "main@v2"])
            .ok()
            .out
            .trim(),
        "(in the trash)"
    );
}

/// Each commit after a collection finds data of forgotten ancestors missing. It must not enter them
/// again, or the log would grow with the history.
#[test]
fn a_commit_after_a_collection_enters_no_version_again() {
    let h = History::days(6);
    h.forget(&["main@v2", "main@v4"]).ok();
    h.gc();
    let ids = || -> usize {
        let entries = std::fs::read_dir(h.s.w(".dvcs/trash")).unwrap();
        let texts = entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
        let forget = |text: String| {
            let entry: serde_json::Value =
                serde_json::from_str(text.lines().next().unwrap()).unwrap();
            entry["forget"].as_array().unwrap().len()
        };
        texts.map(forget).sum()
    };
    assert_eq!(ids(), 2);
    for day in 7..10 {
        h.commit(day, &format!("2024-01-{day:02}T03:00:00Z"));
        assert_eq!(ids(), 2, "day {day}");
    }
    h.s.dvc(["show", "main@v2:n"]).code(13);
    h.s.dvc(["fsck", "--data"]).ok().says("no damage");
}
