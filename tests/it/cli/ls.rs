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
    assert!(
        long.starts_with("-rw-r--r--") && long.contains("293.0 KiB") && long.ends_with(" d/big\n"),
        "{long}"
    );
    let lines = s.dvc(["ls", "--json"]).ok().json_lines();
    assert_eq!(
        (&lines[0]["path"], &lines[0]["type"], &lines[0]["bytes"]),
        (&"a.txt".into(), &"file".into(), &4.into())
    );
    assert_eq!(
        (&lines[1]["type"], &lines[1]["files"], &lines[1]["bytes"]),
        (&"dir".into(), &2.into(), &300_005.into())
    );
}

/// File systems store years above 9999, which calendar functions of other programs do not support.
#[test]
fn years_beyond_9999() {
    let s = super::fresh();
    let dir = tempfile::Builder::new()
        .prefix("dvc-it-")
        .tempdir_in("/dev/shm")
        .unwrap();
    std::fs::write(dir.path().join("f"), "x").unwrap();
    let far = std::time::UNIX_EPOCH + std::time::Duration::new(139_750_000_000_000, 7);
    let file = std::fs::File::options()
        .write(true)
        .open(dir.path().join("f"))
        .unwrap();
    file.set_modified(far).unwrap();
    assert_eq!(
        file.metadata().unwrap().modified().unwrap(),
        far,
        "this file system keeps such times"
    );
    let at = dir.path().to_str().unwrap();
    let repo = s.w(".dvcs");
    s.dvc([
        "-C",
        at,
        "--repo",
        repo.to_str().unwrap(),
        "commit",
        "-b",
        "far",
        "-m",
        "x",
    ])
    .ok();
    let json = s.dvc(["ls", "--json", "far"]).ok().json();
    assert_eq!(json["mtime"], "+4430471-03-16T20:26:40+00:00");
    assert_eq!(
        (&json["mtime_seconds"], &json["mtime_nanoseconds"]),
        (&139_750_000_000_000_i64.into(), &7.into())
    );
    s.dvc(["ls", "-l", "far"])
        .ok()
        .says(" +4430471-03-16 20:26:40 f\n");
    let copy = dir.path().join("copy");
    s.dvc(["checkout", "far", "--into", copy.to_str().unwrap()])
        .ok();
    assert_eq!(
        std::fs::metadata(copy.join("f"))
            .unwrap()
            .modified()
            .unwrap(),
        far
    );
}
