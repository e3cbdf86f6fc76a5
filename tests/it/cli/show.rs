//! `dvc show`.

use super::{masked, three};
use insta::assert_snapshot;
use std::os::unix::fs::symlink;

#[test]
fn a_version() {
    let s = three();
    assert_snapshot!(masked(&s.dvc(["show", "main~1"]).ok().out), @"
    commit <id> v2
    Author: Ann <ann@example.org>
    Date:   Mon Nov 2 03:00:00 2026 +0000
    Size:   293.0 KiB in 2 files, 0 B new (<n> stored)

        second

        with a body

    M	a.txt
    ");
    assert_eq!(
        s.dvc(["show", "--format=%s", "main@v1", "main@v2"])
            .ok()
            .out,
        "first\nsecond\n"
    );
}

#[test]
fn a_file_comes_as_it_is() {
    let s = three();
    assert_eq!(s.dvc(["show", "main@v1:a.txt"]).ok().out, "one\n");
    assert_eq!(s.dvc(["show", "@:d/big"]).ok().bytes, vec![7; 300_000]);
    assert_eq!(s.dvc(["show", "@:d"]).ok().out, "big\nmore\n");
    assert_eq!(
        s.dvc(["show", "--json", "@:a.txt"]).ok().json()["text"],
        "two\n"
    );
    s.dvc(["show", "@:none"])
        .code(13)
        .complains("`none` is not in `@`");
    s.dvc(["show", "@:../x"]).code(13);
}

#[test]
fn links_and_names_that_are_not_utf8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let s = three();
    symlink("a.txt", s.w("link")).unwrap();
    let name = OsStr::from_bytes(b"n\xff\n");
    std::fs::write(s.w(name), "raw").unwrap();
    s.dvc(["commit", "-m", "odd"]).ok();
    assert_eq!(s.dvc(["show", "@:link"]).ok().out, "a.txt\n");
    assert_eq!(
        s.dvc([OsStr::new("show"), OsStr::from_bytes(b"@:n\xff\n")])
            .ok()
            .out,
        "raw"
    );
    s.dvc(["show", "--name-status"]).ok().says("A\tn\\xff\\n\n");
    let lines = s.dvc(["ls", "--json"]).ok().json_lines();
    assert!(lines.iter().any(|l| l["path_hex"] == "6eff0a"), "{lines:?}");
    let json = s
        .dvc([
            OsStr::new("show"),
            OsStr::new("--json"),
            OsStr::from_bytes(b"@:n\xff\n"),
        ])
        .ok()
        .json();
    assert_eq!(
        (&json["path"], &json["path_hex"], &json["text"]),
        (&"n\\xff\\n".into(), &"6eff0a".into(), &"raw".into())
    );
    let json = s
        .dvc(["checkout", "-n", "-f", "--json", "@", "--into", "../copy"])
        .ok()
        .json();
    assert!(
        json["planned"]
            .as_array()
            .unwrap()
            .iter()
            .any(|c| c["path_hex"] == "6eff0a"),
        "{json}"
    );
    let json = s.dvc(["show", "--json", "@:d/./"]).ok().json_lines();
    assert_eq!(
        (&json[0]["path"], &json[1]["path"]),
        (&"d/big".into(), &"d/more".into())
    );
    assert_eq!(
        s.dvc(["show", "--json", "@:.//d//more"]).ok().json()["path"],
        "d/more"
    );
}

#[test]
fn the_root_is_a_dot() {
    let s = three();
    std::fs::set_permissions(s.w(""), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    assert_eq!(s.dvc(["diff", "--json"]).ok().json()["path"], ".");
    assert_eq!(
        s.dvc(["status", "--json"]).ok().json()["changes"][0]["path"],
        "."
    );
}
