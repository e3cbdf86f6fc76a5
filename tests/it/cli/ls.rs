//! `dvc ls`.

use super::three;

#[test]
fn names_and_paths() {
    let s = three();
    let out = |args: &[&str]| s.dvc([&["ls"], args].concat()).ok().out;
    assert_eq!(out(&[]), "a.txt\nd/\n");
    assert_eq!(out(&["main~2", "-r"]), "a.txt\nd/\nd/big\n");
    assert_eq!(out(&["main:d"]), "d/big\nd/more\n");
    assert_eq!(out(&["-d", "main:d"]), "d/\n");
    assert_eq!(out(&["main", "-z", "--", "d/big"]), "d/big\0");
    s.dvc(["ls", "main", "--", "none"]).code(13);
}

#[test]
fn long_and_json() {
    let s = three();
    let long = s.dvc(["ls", "-l", "main:d/big"]).ok().out;
    assert!(long.starts_with("-rw-r--r--") && long.contains("293.0 KiB") && long.ends_with(" d/big\n"), "{long}");
    let lines = s.dvc(["ls", "--json"]).ok().json_lines();
    assert_eq!((&lines[0]["path"], &lines[0]["type"], &lines[0]["size"]), (&"a.txt".into(), &"file".into(), &4.into()));
    assert_eq!((&lines[1]["type"], &lines[1]["files"], &lines[1]["size"]), (&"dir".into(), &2.into(), &300_005.into()));
}
