//! `dvc checkout`.

use super::three;
use std::fs;

#[test]
fn versions_and_branches() {
    let s = three();
    s.dvc(["checkout", "main@v1"]).ok();
    assert_eq!(s.read("a.txt"), b"one\n");
    assert!(!s.w("d/more").exists());
    s.dvc(["status"]).ok().says("on no branch, v1");
    s.dvc(["commit", "-m", "x", "--allow-empty"]).code(4).complains("name a branch with `-b`");
    s.dvc(["checkout", "main"]).ok();
    s.dvc(["status"]).ok().says("on branch main, v3");
    s.dvc(["checkout", "-b", "side", "main~1"]).ok();
    s.dvc(["status", "--porcelain"]).ok().says("# branch.head side\n# branch.ordinal 2\n");
    s.dvc(["checkout", "none"]).code(13);
    s.dvc(["checkout"]).code(2);
}

#[test]
fn changes_are_not_lost() {
    let s = three();
    s.write("a.txt", "precious\n");
    s.dvc(["checkout", "main~1"]).code(4);
    assert_eq!(s.read("a.txt"), b"precious\n");
    s.dvc(["checkout", "-n", "-f", "main~1"]).ok().says("a.txt");
    assert_eq!(s.read("a.txt"), b"precious\n");
    s.dvc(["checkout", "-f", "main~2"]).ok();
    assert_eq!(s.read("a.txt"), b"one\n");
}

#[test]
fn paths_and_another_directory() {
    let s = three();
    s.write("extra", "stays");
    s.dvc(["checkout", "main~2", "--", "a.txt"]).ok();
    assert_eq!(
        (s.read("a.txt"), s.read("d/more"), s.read("extra")),
        (b"one\n".into(), b"more\n".into(), b"stays".into())
    );
    s.dvc(["checkout", "main@v2", "--into", "../copy", "--verify"]).ok();
    assert_eq!(fs::read(s.at("copy/a.txt")).unwrap(), b"two\n");
    s.dvc(["checkout", "main@v2", "--into", "../copy"]).code(4);
    s.dvc(["checkout", "main", "--into", "../one", "--", "a.txt"]).ok().says("\n 1 file, ");
    s.dvc(["status"]).ok().says("on branch main, v3");
    s.dvc(["checkout", "main", "--", "none"]).code(13);
}

#[test]
fn extra_files() {
    let s = three();
    s.dvc(["checkout", "--keep-extra", "main~1"]).ok();
    assert!(s.w("d/more").exists());
    s.dvc(["checkout", "-f", "main~1"]).ok();
    assert!(!s.w("d/more").exists());
    let json = s.dvc(["checkout", "main", "--json"]).ok().json();
    assert_eq!((&json["schema"], &json["ordinal"], &json["branch"]), (&1.into(), &3.into(), &"main".into()));
}
