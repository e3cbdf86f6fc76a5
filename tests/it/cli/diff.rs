//! `dvc diff`.

use super::{masked, three};
use insta::assert_snapshot;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn versions_in_every_form() {
    let s = three();
    let out = |args: &[&str]| s.dvc([&["diff"], args].concat()).ok().out;
    assert_snapshot!(out(&["main~2", "main", "--", "a.txt", "d/more"]), @"
    M	a.txt
    A	d/more
    ");
    assert_eq!(
        out(&["main~2..main", "--name-only", "--", "a.txt"]),
        "a.txt\n"
    );
    assert_snapshot!(out(&["main~2", "main", "--stat"]), @"
    a.txt  | 4 B | 3 B in 1 range
    d/more | 5 B | new
    2 files changed, 8 B in 2 ranges
    ");
    assert_snapshot!(masked(&out(&["main~2", "main", "-p"])), @"
    diff --git a/a.txt b/a.txt
    --- a/a.txt
    +++ b/a.txt
    @@ -1,1 +1,1 @@
    -one
    +two
    diff --git a/d/more b/d/more
    new file mode 0644
    --- /dev/null
    +++ b/d/more
    @@ -0,0 +1,1 @@
    +more
    ");
    assert_eq!(
        out(&["main~2", "main", "--chunks"]),
        "a.txt\t0\t3\nd/more\t0\t5\n"
    );
    assert_eq!(out(&["main~2", "main", "-z", "--", "a.txt"]), "M\0a.txt\0");
    assert_eq!(
        out(&["main:a.txt", "main~2:a.txt", "--chunks"]),
        "a.txt\t0\t3\n"
    );
}

#[test]
fn the_worktree() {
    let s = three();
    s.dvc(["diff", "--exit-code"]).ok();
    s.write("a.txt", "two\nmore\n");
    assert_snapshot!(s.dvc(["diff", "-p", "--exit-code"]).code(1).out, @"
    diff --git a/a.txt b/a.txt
    --- a/a.txt
    +++ b/a.txt
    @@ -1,1 +1,2 @@
     two
    +more
    ");
    assert_eq!(
        s.dvc(["diff", "main@v1", "--name-only", "--", "a.txt", "d/more"])
            .ok()
            .out,
        "a.txt\nd/more\n"
    );
    let json = s.dvc(["diff", "--stat", "--json"]).ok().json();
    assert_eq!(
        (
            &json["path"],
            &json["changed_bytes"],
            &json["ranges"][0]["offset_bytes"]
        ),
        (&"a.txt".into(), &5.into(), &4.into())
    );
}

#[test]
fn what_is_refused() {
    let s = three();
    s.dvc(["diff", "a", "b", "c"]).code(2);
    s.dvc(["diff", "none"]).code(13);
    s.dvc(["diff", "main:none", "main~:none"])
        .code(13)
        .complains("neither `main:none` nor `main~:none` exists");
    s.dvc(["diff", "@:none"])
        .code(13)
        .complains("neither `@:none` nor `none` in the worktree exists");
    s.dvc(["diff", "main..main~1:x"]).code(2);
}

#[test]
fn unreadable_files_are_not_reported_as_deleted() {
    let s = three();
    let mode = |name: &str, mode| {
        fs::set_permissions(s.w(name), fs::Permissions::from_mode(mode)).unwrap()
    };
    s.write("a.txt", "new\n");
    mode("a.txt", 0o000);
    mode("d", 0o000);
    let run = s.kept_out(["diff"]).code(3);
    assert_eq!(run.out, "U\ta.txt\nU\td\n");
    assert!(
        run.err.contains("warning: `a.txt`: cannot ") && run.err.contains("warning: `d`: cannot "),
        "{}",
        run.err
    );
    assert_eq!(
        s.kept_out(["diff", "--exit-code", "@:d/more"]).code(3).out,
        "U\td\n"
    );
    assert_eq!(s.kept_out(["diff", "--", "d/big"]).code(3).out, "U\td\n");
    let patch = s.kept_out(["diff", "-p", "@", "--", "a.txt"]).code(3);
    assert_eq!(
        patch.out,
        "File a.txt could not be read, or changed while it was read\n"
    );
    s.kept_out(["diff", "--stat"])
        .code(3)
        .says("a.txt | ")
        .says(" | unstable");
    let json = s.kept_out(["diff", "--json", "--", "a.txt"]).code(3).json();
    assert_eq!(
        (&json["letter"], &json["path"]),
        (&"U".into(), &"a.txt".into())
    );
    assert_eq!(
        s.kept_out(["status", "--porcelain"]).code(3).lines()[2..],
        ["U a.txt", "U d"]
    );
    s.kept_out(["diff", "@~", "@"]).ok();
    mode("d", 0o755);
}

#[test]
fn raw_names_are_for_lists() {
    let s = three();
    s.dvc(["diff", "@~", "@", "-z", "--stat"]).code(2);
    s.dvc(["diff", "@~", "@", "-p", "-z"]).code(2);
    s.dvc(["diff", "@~", "@", "--chunks", "-z"]).ok();
}
