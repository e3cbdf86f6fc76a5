//! `dvc log`.

use super::{fresh, masked, three};
use insta::assert_snapshot;

#[test]
fn in_full_and_in_one_line() {
    let s = three();
    s.dvc(["tag", "main@release", "main~1"]).ok();
    assert_snapshot!(masked(&s.dvc(["log", "-n", "2"]).ok().out), @"
    commit <id> (HEAD, main) v3
    Author: Ann <ann@example.org>
    Date:   Tue Nov 3 03:00:00 2026 +0000
    Size:   293.0 KiB in 3 files, 0 B new (<n> stored)

        third

    commit <id> (tag: main@release) v2
    Author: Ann <ann@example.org>
    Date:   Mon Nov 2 03:00:00 2026 +0000
    Size:   293.0 KiB in 2 files, 0 B new (<n> stored)

        second

        with a body
    ");
    assert_snapshot!(masked(&s.dvc(["log", "--oneline"]).ok().out), @"
    <id> (HEAD, main) v3 third
    <id> (tag: main@release) v2 second
    <id> v1 first
    ");
    assert_snapshot!(masked(&s.dvc(["log", "--oneline", "--reverse", "main~2.."]).ok().out), @"
    <id> (tag: main@release) v2 second
    <id> (HEAD, main) v3 third
    ");
}

#[test]
fn with_changes() {
    let s = three();
    assert_snapshot!(masked(&s.dvc(["log", "--oneline", "--name-status", "--", "a.txt", "d/big"]).ok().out), @"
    <id> v2 second
    M	a.txt
    <id> v1 first
    A	a.txt
    A	d/big
    ");
    assert_snapshot!(masked(&s.dvc(["log", "--oneline", "--stat"]).ok().out), @"
    <id> (HEAD, main) v3 third
     d/more | 5 B | new
     1 file changed, 5 B in 1 range
    <id> v2 second
     a.txt | 4 B | 3 B in 1 range
     1 file changed, 3 B in 1 range
    <id> v1 first
     a.txt |       4 B | new
     d/big | 293.0 KiB | new
     2 files changed, 293.0 KiB in 2 ranges
    ");
}

#[test]
fn formats() {
    let s = three();
    let format = "%h %O %an <%ae> %aI%d %s|%b|%(size) %(files) %(trailer:Ticket)%%";
    assert_snapshot!(masked(&s.dvc(["log", "--format", format]).ok().out), @"
    <id> 3 Ann <ann@example.org> 2026-11-03T03:00:00+00:00 (HEAD, main) third||300009 3 %
    <id> 2 Ann <ann@example.org> 2026-11-02T03:00:00+00:00 second|with a body|300004 2 %
    <id> 1 Ann <ann@example.org> 2026-11-01T03:00:00+00:00 first||300004 2 %
    ");
    assert_eq!(
        s.dvc(["log", "--format=%H %T %P", "-n1"])
            .ok()
            .out
            .split(' ')
            .count(),
        3
    );
    let address = s.dvc(["log", "--format=%U", "-n1"]).ok().out;
    assert!(
        address.starts_with("file:///") && address.ends_with("/.dvcs#main@v3\n"),
        "{address}"
    );
    s.dvc(["log", "--format=%x"])
        .code(2)
        .complains("unknown placeholder `%x`");
    s.dvc(["log", "--format=%(sise)"])
        .code(2)
        .complains("did you mean `%(size)`?");
}

#[test]
fn filters() {
    let s = three();
    let subjects = |args: &[&str]| {
        let run = s.dvc([&["log", "--format=%s"], args].concat()).ok();
        run.out.lines().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(subjects(&["--since", "2026-11-02"]), "third second");
    assert_eq!(subjects(&["--until", "2026-11-02"]), "second first");
    assert_eq!(subjects(&["--since=2026-11-02T04:00:00Z"]), "third");
    assert_eq!(subjects(&["--grep", "^(first|third)$"]), "third first");
    assert_eq!(subjects(&["--grep", "BODY", "-i"]), "second");
    assert_eq!(subjects(&["--author", "bob"]), "");
    assert_eq!(subjects(&["--", "d/more"]), "third");
    assert_eq!(subjects(&["main@{2026-11-02 03:00}"]), "second first");
    assert_eq!(subjects(&["main@v1..main@v2"]), "second");
    s.dvc(["log", "--grep", "("]).code(2);
    s.dvc(["log", "--since", "soon"])
        .code(2)
        .complains("invalid time `soon`");
}

#[test]
fn graph_of_two_branches() {
    let s = three();
    s.dvc(["branch", "side", "main@v1"]).ok();
    s.write("side", "x");
    s.dvc([
        "commit",
        "-m",
        "aside",
        "-b",
        "side",
        "--time",
        "2026-11-04T03:00:00Z",
    ])
    .ok();
    assert_snapshot!(masked(&s.dvc(["log", "--graph", "--oneline", "--all"]).ok().out), @"
    * <id> (side) v2 aside
    | * <id> (HEAD, main) v3 third
    | * <id> v2 second
    |/
    * <id> v1 first
    ");
    assert_snapshot!(masked(&s.dvc(["log", "--graph", "-n1"]).ok().out), @"
    * commit <id> (HEAD, main) v3
      Author: Ann <ann@example.org>
      Date:   Tue Nov 3 03:00:00 2026 +0000
      Size:   293.0 KiB in 3 files, 0 B new (<n> stored)

          third
    ");
}

#[test]
fn ref_log() {
    let s = three();
    s.dvc(["undo"]).ok();
    let run = s.dvc(["log", "-g", "--json"]).ok();
    let lines = run.json_lines();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["message"], "undo: commit: third");
    assert_eq!(lines[3]["number"], 3);
    s.dvc(["log", "-g", "main~1"])
        .code(13)
        .complains("no ref log for");
    s.dvc(["log", "-g", "main@typo"])
        .code(13)
        .complains("no ref log for");
    s.dvc(["tag", "@release"]).ok();
    s.dvc(["log", "-g", "main@release"])
        .ok()
        .says("main@release@{0}");
    for option in [
        "--graph",
        "--stat",
        "--name-status",
        "--format=%H",
        "--all",
        "--reverse",
    ] {
        s.dvc(["log", "-g", option]).code(2);
    }
}

#[test]
fn json_has_everything() {
    let s = three();
    let run = s.dvc(["log", "--json", "--stat"]).ok();
    let lines = run.json_lines();
    assert!(run.out.starts_with("{\"schema\":1,"));
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["ordinal"], 3);
    assert_eq!(lines[0]["branches"][0], "main");
    assert_eq!(lines[1]["parents"][0], lines[2]["id"]);
    assert_eq!(lines[1]["message"], "second\n\nwith a body");
    assert_eq!(lines[1]["time"], "2026-11-02T03:00:00+00:00");
    let change = lines[1]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["path"] == "a.txt")
        .unwrap();
    assert_eq!(
        (&change["letter"], &change["changed_bytes"]),
        (&"M".into(), &3.into())
    );
}

#[test]
fn nothing_yet() {
    let s = fresh();
    assert_snapshot!(s.dvc(["log"]).code(13).err, @"
    error: branch `main` has no versions yet
    hint: run `dvc commit` to make the first version
    ");
}

#[test]
fn revisions_that_make_no_sense_here() {
    let s = three();
    s.dvc(["log", "main:nosuch"])
        .code(2)
        .complains("`main:nosuch` names a path")
        .complains("hint: run `dvc log REV -- PATH`");
    s.dvc(["tag", "rel"]).ok();
    let run = s
        .dvc(["log", "rel@v3"])
        .code(13)
        .complains("`rel` is a tag, not a branch");
    assert!(!run.err.contains("did you mean"), "{}", run.err);
}

#[test]
fn messages_cannot_move_the_cursor() {
    let s = three();
    s.dvc([
        "commit",
        "--allow-empty",
        "-m",
        "red \x1b[31m\n\nbody\t\x07",
    ])
    .ok()
    .says("red \\x1b[31m");
    s.dvc(["log", "-n1"])
        .ok()
        .says("    red \\x1b[31m\n\n    body\t\\x07\n");
    s.dvc(["log", "-n1", "--oneline"])
        .ok()
        .says("red \\x1b[31m");
    s.dvc(["branch"]).ok().says("red \\x1b[31m");
    assert_eq!(
        s.dvc(["log", "-n1", "--format=%s"]).ok().out,
        "red \x1b[31m\n"
    );
}
