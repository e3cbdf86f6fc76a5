//! Versions that the user names.

use super::History;

#[test]
fn versions_and_ranges() {
    let h = History::days(8);
    let dry = h.forget(&["main@v2", "main@v4..v6", "-n"]).ok();
    assert_eq!(h.log(&[]).len(), 8);
    // A range leaves out its start, as in `log`.
    assert_eq!(
        h.s.dvc(["log", "--oneline", "main@v4..v6"])
            .ok()
            .lines()
            .len(),
        2
    );
    let real = h
        .forget(&["main@v2", "main@v4..v6"])
        .ok()
        .says("forgot 3 versions");
    assert_eq!(dry.out.replace("would forget", "forgot"), real.out);
    assert_eq!(h.log(&[]), ["v1", "v3", "v4", "v7", "v8"]);
    assert_eq!(
        h.log(&["--all"])
            .iter()
            .filter(|line| line.ends_with("in the trash"))
            .count(),
        3
    );
    h.forget(&["main@v2"])
        .ok()
        .says("already in the trash")
        .says("forgot 0 versions");
    h.forget(&["main@v3...main@v4"]).code(2);
    h.forget(&["main@v99"]).code(13);
    h.forget(&[]).code(2).complains("--keep-daily");
    h.forget(&["main@v1", "--keep-last", "3"]).code(2);
    h.forget(&["--list", "main@v1"]).code(2);
    h.s.dvc(["fsck", "--data"]).ok();
}

#[test]
fn many_versions_need_a_confirmation() {
    let h = History::days(8);
    h.forget(&["main@v1..v7"])
        .code(4)
        .complains("only 2 of 8 versions would be left")
        .complains("--max-forget");
    h.forget(&["--keep-last", "3"])
        .code(4)
        .complains("5 of 8 versions would be forgotten");
    h.forget(&["--keep-last", "3", "-n"])
        .ok()
        .says("would forget 5 versions, 3 kept");
    h.forget(&["--keep-last", "3", "--max-forget", "4"])
        .code(4)
        .complains("--max-forget 4");
    h.forget(&["main@v1", "--max-forget", "0"]).code(4);
    assert_eq!(h.log(&[]).len(), 8);
    h.forget(&["--keep-last", "3", "--max-forget", "5"]).ok();
    assert_eq!(h.log(&[]), ["v6", "v7", "v8"]);
}

#[test]
fn a_version_in_the_trash_can_be_used_by_name() {
    let h = History::days(5);
    h.forget(&["main@v2"]).ok();
    assert_eq!(h.s.dvc(["show", "main@v2:n"]).ok().out, "2\n");
    h.s.dvc(["show", "main@v2"])
        .ok()
        .says("in the trash")
        .says("forget: main@v2");
    h.s.dvc(["diff", "main@v2", "main@v3"]).ok();
    h.s.dvc(["checkout", "main@v2", "--into", "../copy"]).ok();
    let shown =
        h.s.dvc(["log", "--json", "--all", "main@v2"])
            .ok()
            .json_lines();
    let second = shown
        .iter()
        .find(|version| version["ordinal"] == 2)
        .unwrap();
    assert!(
        second["forgotten"].is_string() && second["collected"] == false,
        "{second}"
    );
    // By default, gc keeps a forgotten version for 14 days.
    h.s.dvc(["-c", "gc.keep-log=0", "-y", "gc", "--now"]).ok();
    assert_eq!(h.s.dvc(["show", "main@v2:n"]).ok().out, "2\n");
}

#[test]
fn a_collected_version_is_explained() {
    let h = History::days(6);
    h.forget(&["main@v3", "main@v4"]).ok();
    h.gc();
    assert_eq!(
        h.log(&[]),
        ["v1", "v2", "v3 forgotten", "v4 forgotten", "v5", "v6"]
    );
    std::fs::create_dir(h.s.at("m")).unwrap();
    for args in [
        &["show", "main@v3"][..],
        &["show", "main@v3:n"],
        &["ls", "main@v3"],
        &["diff", "main@v2", "main@v3"],
        &["checkout", "main@v3"],
        &["checkout", "main@v3", "--into", "../copy"],
        &["checkout", "main@v3", "--", "n"],
        &["export", "main@v3", "-o", "../x.tar"],
        &["mount", "main@v3", "../m"],
    ] {
        let run = h.s.dvc(args).code(13);
        assert!(
            run.err.contains("v3 was forgotten on 2"),
            "{args:?}: {}",
            run.err
        );
        assert!(
            run.err
                .contains("the nearest kept versions are main@v2 and main@v5"),
            "{args:?}: {}",
            run.err
        );
    }
    assert!(!h.s.at("copy").exists());
    // Changes are shown since the nearest version that has its data.
    let stat =
        h.s.dvc(["log", "--name-status", "--oneline", "-2", "main@v5"])
            .ok()
            .out;
    assert_eq!(
        stat.lines().filter(|line| line.starts_with("M\t")).count(),
        2,
        "{stat}"
    );
    h.s.dvc(["log", "--oneline", "--", "n"]).ok();
    h.s.dvc(["log", "-p"]).ok();
    h.s.dvc(["du", "main@v3"]).ok();
    h.s.dvc(["fsck", "--data"]).ok().says("no damage");
    // The history goes on, and a gc with the default settings accepts what is gone.
    h.commit(7, "2024-01-07T03:00:00Z");
    h.s.dvc(["gc"]).ok();
    h.s.dvc(["branch", "back", "main@v3"]).code(13);
    h.s.dvc(["fsck", "--data"]).ok().says("no damage");
}

#[test]
fn now_skips_the_trash() {
    let h = History::days(6);
    h.forget(&["main@v2"]).ok();
    h.forget(&["--now", "main@v3"]).code(4).complains("-y");
    let done = h.json(&["--now", "-y", "main@v3", "main@v4"]);
    assert!(done["gc"]["deleted_packs"].as_u64() > Some(0), "{done}");
    h.s.dvc(["show", "main@v3:n"]).code(13);
    // The version that was in the trash before stays there.
    assert_eq!(h.s.dvc(["show", "main@v2:n"]).ok().out, "2\n");
    h.json(&["--now", "-y", "main@v2"]);
    h.s.dvc(["show", "main@v2:n"]).code(13);
    h.s.dvc(["gc"]).ok();
    h.s.dvc(["fsck", "--data"]).ok().says("no damage");
}

#[test]
fn now_counts_for_later_collections() {
    let h = History::days(12);
    h.s.dvc(["-y", "gc", "--now"]).ok();
    h.json(&["--now", "-y", "main@v3"]);
    // The data is a small part of a pack that is needed, so it stayed.
    assert_eq!(h.s.dvc(["show", "main@v3:n"]).ok().out, "3\n");
    assert!(!h.s.dvc(["forget", "--list"]).ok().out.contains("main@v3"));
    h.s.dvc(["-y", "gc", "--now", "--max-unused", "0"]).ok();
    h.s.dvc(["show", "main@v3:n"]).code(13);
    h.s.dvc(["fsck", "--data"]).ok().says("no damage");
}

#[test]
fn gc_can_follow() {
    let h = History::days(5);
    let done = h.json(&["--gc", "main@v2"]);
    assert_eq!(done["gc"]["forgotten_versions"], 0, "{done}");
    assert_eq!(h.s.dvc(["show", "main@v2:n"]).ok().out, "2\n");
}
