//! Ignore rules: excluded paths that the command line names, and rules that never match.

use super::fresh;
use crate::support::needs::root_to;
use crate::support::sandbox::{Run, Sandbox};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Creates a version with all files; the ignore rules are added afterwards.
fn with_rules() -> Sandbox {
    let s = fresh();
    for name in ["video/new/f", "d/x.bin", "d/log", "a"] {
        s.write(name, "1");
    }
    s.dvc(["commit", "-m", "1"]).ok();
    s.write(".dvcsignore", "# rules\nvideo\n");
    s.write("d/.dvcsignore", "log\n");
    for name in ["video/new/f", "d/x.bin", "d/log", "a"] {
        s.write(name, "2");
    }
    s
}

fn listed(s: &Sandbox) -> String {
    s.dvc(["ls", "-r", "HEAD"]).ok().out
}

#[test]
fn a_named_path_that_is_ignored_stays_in_the_version() {
    let s = with_rules();
    let before = listed(&s);
    for (path, rule) in [
        ("video", "`.dvcsignore:2: video`"),
        ("video/new/f", "`.dvcsignore:2: video`"),
        ("d/log", "`d/.dvcsignore:1: log`"),
    ] {
        let run = s.dvc(["commit", "-m", "x", "--", "a", path]).code(4);
        run.complains(&format!(
            "cannot commit `{path}`: it is ignored by the rule {rule}"
        ));
    }
    let excluded = s
        .dvc(["commit", "-m", "x", "--exclude", "*.bin", "--", "d/x.bin"])
        .code(4);
    excluded.complains("cannot commit `d/x.bin`: it is excluded by the pattern `*.bin`");
    assert_eq!(listed(&s), before);
    s.dvc(["commit", "-m", "x", "--", "a", "d/x.bin"]).ok();
    assert_eq!(
        (listed(&s), s.dvc(["show", "@:a"]).ok().out),
        (before, "2".to_owned())
    );
    // A file that no longer exists is removed from the version, regardless of the rules.
    fs::remove_dir_all(s.w("video")).unwrap();
    s.dvc(["commit", "-m", "x", "--", "video"]).ok();
    assert!(!listed(&s).contains("video"));
}

#[test]
fn a_named_path_that_cannot_be_recorded_stays_in_the_version() {
    let s = with_rules();
    fs::remove_file(s.w(".dvcsignore")).unwrap();
    let before = listed(&s);
    // Neither path can be read.
    for name in ["a", "video"] {
        fs::set_permissions(s.w(name), fs::Permissions::from_mode(0o0)).unwrap();
        s.kept_out(["commit", "-m", "x", "--", name])
            .code(12)
            .complains(&format!("cannot read `{name}`"));
        fs::set_permissions(s.w(name), fs::Permissions::from_mode(0o700)).unwrap();
    }
    fs::rename(s.w("video"), s.w("moved")).unwrap();
    std::os::unix::fs::symlink("moved", s.w("video")).unwrap();
    s.dvc(["commit", "-m", "x", "--", "video/new/f"])
        .code(2)
        .complains("`video` is a symbolic link");
    fs::remove_file(s.w("a")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(s.w("a")).unwrap();
    s.dvc(["commit", "-m", "x", "--", "a"])
        .code(4)
        .complains("sockets are not recorded");
    s.write(
        "d/CACHEDIR.TAG",
        "Signature: 8a477f597d28d172789f06886806bc55\n",
    );
    s.dvc(["commit", "-m", "x", "--exclude-caches", "--", "d/x.bin"])
        .code(4)
        .complains("CACHEDIR.TAG");
    assert_eq!(listed(&s), before);
    // If a directory has become a file, its former entries are removed from the version.
    fs::remove_dir_all(s.w("d")).unwrap();
    s.write("d", "a file");
    s.dvc(["commit", "-m", "x", "--", "d/x.bin"]).ok();
    assert!(!listed(&s).contains("d/x.bin"));
}

#[test]
fn a_named_path_on_another_file_system_stays_in_the_version() {
    if !root_to("mount a file system") {
        return;
    }
    let s = with_rules();
    let before = listed(&s);
    let script =
        "mount -t tmpfs none d; echo 2 > d/x.bin; dvc commit -m x -x -- d/x.bin; echo $? >&2";
    let run = Run::of(s.other("unshare").args(["--mount", "sh", "-c", script])).ok();
    run.complains("cannot commit `d/x.bin`: `d` is on another file system")
        .complains("\n4\n");
    assert_eq!(listed(&s), before);
}

/// Hard links that are committed together stay hard links.
#[test]
fn named_paths_share_hard_links() {
    let s = fresh();
    s.write("x/1", "linked");
    s.write("y/other", "");
    fs::hard_link(s.w("x/1"), s.w("y/2")).unwrap();
    s.dvc(["commit", "-m", "x", "--", "x", "y/2"]).ok();
    let links = |path: &str| {
        s.dvc(["ls", "--json", "-d", &format!("@:{path}")])
            .ok()
            .json()["hard_links"]
            .clone()
    };
    assert_eq!((links("x/1"), links("y/2")), (2.into(), 2.into()));
    assert_eq!(listed(&s), "x/\nx/1\ny/\ny/2\n");
    // Naming the top directory commits the whole worktree.
    s.dvc(["commit", "-m", "x", "."]).ok();
    assert!(listed(&s).contains("y/other\n"));
}

#[test]
fn a_byte_order_mark_is_not_a_part_of_the_first_rule() {
    let s = fresh();
    s.write("cache/x", "");
    s.write("t.tmp", "");
    s.write("a", "");
    s.write(".dvcsignore", b"\xef\xbb\xbfcache/\r\n*.tmp\r\n");
    assert_eq!(s.dvc(["commit", "-m", "x"]).ok().err, "");
    assert_eq!(listed(&s), ".dvcsignore\na\n");
}

#[test]
fn a_pattern_that_never_matches_is_reported() {
    let s = fresh();
    for name in ["#recycle/f", "video/f", "a"] {
        s.write(name, "");
    }
    let absolute = s.w("video").canonicalize().unwrap();
    let warn = |pattern: &str| {
        s.dvc([
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "x",
            "--exclude",
            pattern,
        ])
        .ok()
        .err
    };
    for (pattern, advice) in [
        ("#recycle", "write `\\#recycle`"),
        ("./video", "write `/video`"),
        (absolute.to_str().unwrap(), "write `/video`"),
        ("", "is empty"),
    ] {
        let err = warn(pattern);
        assert!(
            err.starts_with("warning: the exclude pattern `") && err.contains(advice),
            "{pattern}: {err}"
        );
    }
    assert_eq!(warn("*.none"), "");
    s.write(".dvcsignore", "# comment\n\n./video\n*.tmp\n");
    let run = s.dvc(["commit", "-m", "x"]).ok();
    run.complains("warning: `.dvcsignore`: line 3 never matches: `./video`: ");
}
