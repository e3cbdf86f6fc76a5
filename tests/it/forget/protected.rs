//! Versions that must not be forgotten.

use super::History;
use crate::mount::harness::Volume;
use crate::volumes::host::Host;

/// A named version is refused with this exit code, and nothing else of the command is done. A
/// policy keeps the version and gives the reason.
#[track_caller]
fn check(h: &History, version: &str, code: i32, holder: &str) {
    h.forget(&["main@v2", version, "-y"])
        .code(code)
        .complains(holder);
    assert_eq!(h.s.dvc(["--json", "forget", "--list"]).ok().out, "");
    let would = h.json(&["--keep-last", "1", "-n"]);
    let verdict = would["versions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|v| v["name"] == version)
        .unwrap();
    let reasons = verdict["reasons"].to_string();
    assert!(
        verdict["forgotten"] == false && reasons.contains(holder),
        "{verdict}"
    );
}

#[test]
fn tips_and_tags() {
    let h = History::days(5);
    h.s.dvc(["tag", "golden", "main@v3"]).ok();
    h.s.dvc(["branch", "other", "main@v4"]).ok();
    check(&h, "main@v5", 4, "tip of branch main");
    check(&h, "main@v4", 4, "tip of branch other");
    check(&h, "main@v3", 4, "tag golden");
    h.forget(&["main"]).code(4).complains("dvc branch -d main");
    h.forget(&["golden"]).code(4).complains("dvc tag -d golden");
    h.forget(&["main@v1..v4"]).code(4);
    h.forget(&["--keep-last", "1", "-y"]).ok();
    assert_eq!(h.log(&[]), ["v3", "v4", "v5"]);
    h.s.dvc(["tag", "-d", "golden"]).ok();
    h.forget(&["main@v3"]).ok();
    // A tag on a version in the trash protects it from a gc.
    h.s.dvc(["tag", "again", "main@v3"]).ok();
    h.gc();
    assert_eq!(h.s.dvc(["show", "main@v3:n"]).ok().out, "3\n");
    h.s.dvc(["fsck", "--data"]).ok().says("no damage");
}

#[test]
fn worktrees() {
    let h = History::days(5);
    std::fs::create_dir(h.s.at("other")).unwrap();
    h.s.dvc([
        "-C",
        "../other",
        "--repo",
        "../w/.dvcs",
        "checkout",
        "main@v3",
    ])
    .ok();
    check(&h, "main@v3", 11, "worktree ");
    h.forget(&["--keep-last", "1", "-y"]).ok();
    h.gc();
    h.s.dvc(["-C", "../other", "--repo", "../w/.dvcs", "status"])
        .ok();
    assert_eq!(h.s.dvc(["show", "main@v3:n"]).ok().out, "3\n");
}

/// The history of a repository that mounts use.
fn mounted() -> Option<Volume> {
    let v = Volume::of(|w| std::fs::write(w.join("n"), "1\n").unwrap())?;
    for n in 2..=5 {
        std::fs::write(v.s.at("w/n"), format!("{n}\n")).unwrap();
        v.commit(&format!("c{n}"));
    }
    Some(v)
}

#[track_caller]
fn check_held(v: &Volume, holder: &str) {
    v.dvc(&["forget", "main@v2", "main@v3", "-y"])
        .code(11)
        .complains(holder);
    assert_eq!(v.dvc(&["--json", "forget", "--list"]).ok().out, "");
    let would = v
        .dvc(&["--json", "forget", "--keep-last", "1", "-n"])
        .ok()
        .json();
    let verdict = would["versions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "main@v3")
        .unwrap();
    assert!(verdict["reasons"].to_string().contains(holder), "{verdict}");
}

#[test]
fn mounts() {
    let Some(v) = mounted() else { return };
    let mount = v.mount_at("m", "main@v3", &["--ro"]);
    check_held(&v, "mount ");
    v.dvc(&["forget", "--keep-last", "1", "-y"]).ok();
    v.dvc(&[
        "-c",
        "gc.keep-log=0",
        "-y",
        "gc",
        "--now",
        "--keep-trash",
        "0",
    ])
    .ok();
    assert_eq!(std::fs::read_to_string(mount.at("n")).unwrap(), "3\n");
    drop(mount);
}

#[test]
fn overlays() {
    let Some(v) = mounted() else { return };
    let mount = v.mount_at("m", "main@v3", &["--name", "kept"]);
    std::fs::write(mount.at("own"), "own").unwrap();
    v.dvc(&["umount", "../m"]).ok();
    check_held(&v, "overlay kept");
    drop(mount);
}

#[test]
fn volumes() {
    let Some(v) = mounted() else { return };
    let host = Host::of(v);
    host.create("db", "main@v3", &[]);
    let path = host.path("db");
    assert_eq!(std::fs::read_to_string(path.join("n")).unwrap(), "3\n");
    check_held(&host.v, "overlay ");
    host.dvc(&["volume", "rm", "-f", "db"]);
}
