//! Paths from a list, files above a size limit, and patterns of `checkout`.

use super::{commit, fresh};
use std::fs;

#[test]
fn paths_come_from_a_list() {
    let s = fresh();
    for name in ["a", "b c", "d/x", "d/y", "line\nbreak"] {
        s.write(name, "1");
    }
    let listed = |rev: &str| s.dvc(["ls", "-r", "-z", rev]).ok().out.replace('\0', "|");
    s.dvc_with(
        ["commit", "-m", "1", "--files-from", "-"],
        b"\xef\xbb\xbfa\r\n\nd/x\n",
    )
    .ok();
    assert_eq!(listed("@"), "a|d|d/x|");
    fs::write(s.at("list"), "b c\0line\nbreak\0").unwrap();
    s.dvc(["commit", "-m", "2", "-z", "--files-from", "../list", "d"])
        .ok();
    assert_eq!(listed("@"), "a|b c|d|d/x|d/y|line\nbreak|");
    // Paths in a list are relative to the current directory, as arguments are.
    fs::write(s.w("d/x"), "2").unwrap();
    fs::write(s.w("a"), "2").unwrap();
    fs::write(s.at("list"), "x\n").unwrap();
    s.dvc(["-C", "d", "commit", "-m", "3", "--files-from", "../../list"])
        .ok();
    assert_eq!(
        (
            s.dvc(["show", "@:d/x"]).ok().out,
            s.dvc(["show", "@:a"]).ok().out
        ),
        ("2".into(), "1".into())
    );
    // An empty list is an error, not a commit of the whole worktree.
    s.dvc_with(["commit", "-m", "4", "--files-from", "-"], b"\n")
        .code(2)
        .complains("contains no paths");
    s.dvc_with(["commit", "-m", "4", "--files-from", "-"], b"a\nnone\n")
        .code(13);
    s.dvc(["commit", "-m", "4", "--files-from", "../none"])
        .code(13);
    s.dvc(["commit", "-m", "4", "-z"]).code(2);
    s.dvc(["commit", "-F", "-", "--files-from", "-"]).code(2);
    assert_eq!(s.dvc(["log", "--format=%s"]).ok().out, "3\n2\n1\n");
}

#[test]
fn large_files_are_left_out() {
    let s = fresh();
    s.write("small", vec![1; 1024]);
    s.write("d/large", vec![2; 1025]);
    let run = s
        .dvc(["commit", "-m", "x", "--exclude-larger-than", "1K"])
        .ok();
    run.complains("skipped: `d/large`: its size of 1025 bytes exceeds the limit of 1024 bytes");
    assert_eq!(s.dvc(["ls", "-r"]).ok().out, "d/\nsmall\n");
    let refused = s
        .dvc([
            "commit",
            "-m",
            "x",
            "--exclude-larger-than",
            "1K",
            "d/large",
        ])
        .code(4);
    refused.complains(
        "cannot commit `d/large`: its size of 1025 bytes exceeds the limit of 1024 bytes",
    );
    s.dvc(["commit", "-m", "x", "--exclude-larger-than", "much"])
        .code(2);
    s.dvc(["commit", "-m", "x", "--exclude-larger-than", "2K"])
        .ok();
    assert_eq!(s.dvc(["ls", "-r"]).ok().out, "d/\nd/large\nsmall\n");
}

#[test]
fn checkout_takes_patterns() {
    let s = fresh();
    let names = [
        "a.ibd",
        "d/b.ibd",
        "d/deep/c.ibd",
        "d/other",
        "d/[1]",
        "e/x.ibd",
    ];
    for name in names {
        s.write(name, "1");
    }
    commit(&s, "1", 1);
    let changed = || {
        let found = names
            .iter()
            .filter(|name| s.read(name) == b"2")
            .copied()
            .collect::<Vec<_>>()
            .join(" ");
        names.iter().for_each(|name| s.write(name, "2"));
        found
    };
    changed();
    let back = |dir: &str, pattern: &str| {
        s.dvc(["-C", dir, "checkout", "-f", "@", "--", pattern])
            .ok();
        changed()
    };
    assert_eq!(back(".", "*.ibd"), "d/other d/[1]");
    assert_eq!(
        back(".", "d/*.ibd"),
        "a.ibd d/deep/c.ibd d/other d/[1] e/x.ibd"
    );
    assert_eq!(back("d", "*.ibd"), "a.ibd d/other d/[1] e/x.ibd");
    assert_eq!(back(".", "e*"), "a.ibd d/b.ibd d/deep/c.ibd d/other d/[1]");
    // An argument that is the exact name of a path in the version is not treated as a pattern.
    assert_eq!(
        back("d", "[1]"),
        "a.ibd d/b.ibd d/deep/c.ibd d/other e/x.ibd"
    );
    s.dvc(["checkout", "@", "--", "*.none"])
        .code(13)
        .complains("`*.none` is not in `@`");
}

/// Unpacks older versions into directories that stand for volumes, among them a version that only
/// the remote has.
#[test]
fn unpack_takes_a_version() {
    let s = fresh();
    for n in 1..=3 {
        s.write("db/table", n.to_string());
        s.write("a@b/f", n.to_string());
        commit(&s, &n.to_string(), n);
    }
    s.dvc(["remote", "add", "origin", "../there"]).ok();
    s.dvc(["push"]).ok();
    s.dvc(["clone", "--no-checkout", "../there", "../mine"])
        .ok();
    fs::create_dir(s.at("volumes")).unwrap();
    let unpack = |args: &[&str]| {
        s.dvc(
            [
                &["-C", "../volumes", "--repo", "../mine/.dvcs", "unpack"],
                args,
            ]
            .concat(),
        )
    };
    let table = || fs::read_to_string(s.at("volumes/db/table")).unwrap();
    unpack(&["main@v2"]).ok().says("[main v2 ");
    assert_eq!(table(), "2");
    unpack(&["main@v1", "db"])
        .code(4)
        .complains("unpacking `main@v1` would overwrite the volumes");
    unpack(&["main@v1", "db"]).ok();
    assert_eq!(
        (table(), fs::read_to_string(s.at("volumes/a@b/f")).unwrap()),
        ("1".into(), "2".into())
    );
    unpack(&["--yes", "./a@b"]).ok();
    assert_eq!(
        (table(), fs::read_to_string(s.at("volumes/a@b/f")).unwrap()),
        ("1".into(), "3".into())
    );
    s.write("db/table", "4");
    commit(&s, "4", 4);
    s.write("db/table", "5");
    commit(&s, "5", 5);
    s.dvc(["push"]).ok();
    unpack(&["--yes", "@v4"]).ok().says("[main v4 ");
    assert_eq!(table(), "4");
    unpack(&["main@v9"]).code(13);
    // The next `dvc pack` is based on the newest version, not on the unpacked one.
    fs::write(s.at("volumes/db/table"), "6").unwrap();
    s.dvc(["-C", "../volumes", "--repo", "../mine/.dvcs", "pack"])
        .ok()
        .says("[main v6 ");
}
