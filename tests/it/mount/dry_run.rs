//! `-n` of `mount` and `umount` reports the planned actions and executes none of them; it creates
//! no directory either.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::mount::harness::{Volume, assert_like};
use crate::support::sandbox::Run;
use crate::support::servers::s3::{S3, Switches};

fn volume() -> Option<Volume> {
    Volume::of(|w| fs::write(w.join("file"), b"of the version").unwrap())
}

/// Returns all paths below a directory with the bytes of files; `None` for a directory.
fn everything(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(at) = todo.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let is_dir = path.symlink_metadata().unwrap().is_dir();
            all.insert(path.clone(), (!is_dir).then(|| fs::read(&path).unwrap()));
            if is_dir {
                todo.push(path);
            }
        }
    }
    all
}

#[test]
fn a_dry_run_of_mount_reports_and_creates_nothing() {
    let Some(v) = volume() else { return };
    let at = v.s.at("m");
    fs::create_dir(&at).unwrap();
    v.dvc(&["log"]).ok();
    let before = everything(v.s.root());
    let run = v
        .dvc(&["-n", "mount", "main", "../m", "--name", "kept"])
        .ok();
    assert!(run.out.starts_with("would mount main ("), "{}", run.out);
    assert!(
        run.out.ends_with("on ../m, new overlay kept\n"),
        "{}",
        run.out
    );
    let told = v
        .dvc(&["--json", "mount", "-n", "main@v1", "../m", "--ro"])
        .ok()
        .json();
    assert_eq!(
        (&told["dry_run"], &told["overlay"]),
        (&true.into(), &serde_json::Value::Null)
    );
    assert_eq!(
        (&told["branch"], &told["read_only"]),
        (&"main".into(), &true.into())
    );
    v.dvc(&["mount", "-n", "--all", "../m"])
        .ok()
        .says("would mount @ on ../m, read-only");
    v.dvc(&["mount", "-n", "--ephemeral", "main", "../m"])
        .ok()
        .says("changes are discarded at unmount");
    v.dvc(&["mount", "-n", "none", "../m"]).code(13);
    v.dvc(&["mount", "-n", "main", "../none"]).code(13);
    v.dvc(&["mount", "-n", "main", "../w/file"]).code(2);
    v.dvc(&["mount", "-n", "main", "../m", "--name", ".."])
        .code(2);
    assert_eq!(everything(v.s.root()), before);
}

#[test]
fn a_dry_run_reads_an_overlay_and_changes_nothing() {
    let Some(v) = volume() else { return };
    fs::write(v.s.w("second"), b"2").unwrap();
    v.commit("second");
    let plan = |revision: &str, dir: &str| {
        v.dvc(&["mount", "-n", revision, dir, "--name", "kept"].map(|word| word.to_owned()))
    };
    let mut m = v.mount_at("m", "main@v1", &["--name", "kept"]);
    fs::create_dir(v.s.at("other")).unwrap();
    plan("main@v1", "../other").code(11);
    v.dvc(&["mount", "-n", "main@v1", "../m", "--name", "free"])
        .code(11);
    m.down();
    let dir = v.s.at("r/overlays");
    let unchanged = everything(&dir);
    plan("main@v1", "../m")
        .ok()
        .says("overlay kept, which has no changes");
    plan("main@v2", "../m").ok().says("new overlay kept");
    assert_eq!(everything(&dir), unchanged);
    m.up();
    fs::write(m.at("new"), b"x").unwrap();
    m.down();
    let changed = everything(&dir);
    plan("main@v1", "../m")
        .ok()
        .says("overlay kept with its changes");
    plan("main@v2", "../m").code(4);
    assert_eq!(everything(&dir), changed);
    m.up();
    assert_eq!(fs::read(m.at("new")).unwrap(), b"x");
}

#[test]
fn a_dry_run_reads_an_overlay_after_a_crash_with_its_log() {
    let Some(v) = volume() else { return };
    let mut m = v.mount(&["--name", "kept"]);
    fs::write(m.at("new"), b"x").unwrap();
    fs::File::open(m.at("new")).unwrap().sync_all().unwrap();
    m.kill();
    let tables = v.s.at("r/overlays/kept/overlay.db");
    let before = (
        fs::read(&tables).unwrap(),
        fs::read(tables.with_extension("db-wal")).unwrap(),
    );
    let run = v
        .dvc(&["mount", "-n", "main", "../m", "--name", "kept"])
        .ok();
    run.says("would remove a dead mount, whose daemon no longer runs")
        .says("with its changes");
    let end = Run::of(&mut v.s.command(["umount", "-n", "../m"])).ok();
    end.says("whose daemon no longer runs");
    assert_eq!(
        (
            fs::read(&tables).unwrap(),
            fs::read(tables.with_extension("db-wal")).unwrap()
        ),
        before
    );
    m.up();
    assert_eq!(fs::read(m.at("new")).unwrap(), b"x");
}

#[test]
fn a_dry_run_of_umount_reports_and_keeps_the_mount() {
    let Some(v) = volume() else { return };
    let mut m = v.mount(&["--name", "kept"]);
    fs::write(m.at("new"), b"four").unwrap();
    let tip = v.dvc(&["log", "--format", "%H"]).ok().out;
    let told = |args: &[&str]| {
        let mut all = vec!["umount", "-n", "../m"];
        all.extend(args);
        Run::of(&mut v.s.command(all)).ok()
    };
    told(&[]).says("overlay kept keeps 2 files changed, 4 B uncommitted");
    told(&["--discard"])
        .says("and move overlay kept to the trash: 2 files changed, 4 B uncommitted");
    told(&["--discard", "--no-trash"])
        .says("and remove overlay kept: 2 files changed, 4 B uncommitted");
    told(&["--commit", "-m", "later"])
        .says("(dry run: nothing was stored)")
        .says("and keep overlay kept");
    let json = told(&["--json"]).json();
    assert_eq!(
        (
            &json["changed_files"],
            &json["dirty_bytes"],
            &json["discard"]
        ),
        (&2.into(), &4.into(), &false.into())
    );
    assert_eq!(fs::read(m.at("new")).unwrap(), b"four");
    assert_eq!(v.dvc(&["log", "--format", "%H"]).ok().out, tip);
    m.down();
    m.set("main", &["--ephemeral"]);
    m.up();
    told(&[]).says("and remove overlay ephemeral-");
    m.down();
    Run::of(&mut v.s.command(["umount", "-n", "../m"])).code(13);
}

/// The command `mount -f -t dvc SOURCE DIR` calls `mount.dvc SOURCE DIR -f`.
#[test]
fn a_fake_mount_is_a_dry_run() {
    let Some(v) = volume() else { return };
    let program = v.s.at("mount.dvc");
    symlink(env!("CARGO_BIN_EXE_dvc"), &program).unwrap();
    let at = v.s.at("m");
    fs::create_dir(&at).unwrap();
    let source = format!("{}#main", v.s.at("r").display());
    let run = Run::of(v.s.other(&program).args([
        source.as_str(),
        at.to_str().unwrap(),
        "-f",
        "-o",
        "rw,noauto",
    ]))
    .ok();
    run.says("would mount main (");
    assert_eq!(fs::read_dir(&at).unwrap().count(), 0);
    let mut m = v.mount(&[]);
    assert_like(&v.s.at("w"), m.root());
    m.down();
}

/// A dry run on a remote repository creates no clone, and does not update an existing one.
#[test]
fn a_dry_run_reads_a_remote_repository_in_place() {
    let Some(mut v) = volume() else { return };
    let s3 = S3::start(Switches::default());
    for (name, value) in s3.env() {
        v.s.set(name, &value);
    }
    v.dvc(&["push", &s3.url("p"), "main"]).ok();
    fs::create_dir(v.s.at("m")).unwrap();
    let url = format!("{}#main", s3.url("p"));
    let look = || {
        Run::of(&mut v.s.command(["mount", "-n", &url, "../m"]))
            .ok()
            .says("would mount main (")
    };
    let clones = v.s.at("home/state");
    look().says("new overlay m-");
    assert!(!clones.exists(), "{:?}", everything(&clones));
    let mount = Run::of(&mut v.s.command(["mount", &url, "../m"]));
    mount.ok();
    fs::write(v.s.at("m/new"), b"x").unwrap();
    Run::of(&mut v.s.command(["umount", "../m"])).ok();
    let before = everything(&clones);
    look().says("with its changes");
    assert_eq!(everything(&clones), before);
}
