//! Garbage collections without disk space, rights, open files or the right time.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use dvc::observe::Silent;
use dvc::ops::gc::{CollectOptions, collect};

use crate::support::facts::assert_same;
use crate::support::known::{context, copy_dir};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::small::Small;
use crate::support::zoo::noise;

const GC: [&str; 8] = [
    "-c",
    "gc.keep-log=0",
    "-y",
    "gc",
    "--now",
    "--keep-trash",
    "0",
    "--max-unused=0",
];

/// A repository with packs that nothing needs, and packs that are needed in part.
fn wasteful() -> Sandbox {
    let s = Sandbox::with_repo();
    for n in 0..6u64 {
        s.write(
            "large",
            [noise(1, 300_000), noise(10 + n, 300_000)].concat(),
        );
        s.write("more", noise(30 + n, 100_000));
        let branch = if n % 2 == 0 { "main" } else { "gone" };
        s.dvc(["commit", "-m", "x", "-b", branch]).ok();
    }
    s.dvc(["branch", "-D", "gone"]).ok();
    s.dvc(["checkout", "main", "--into", "../kept"]).ok();
    s
}

fn assert_kept(s: &Sandbox, dvc: &dyn Fn(&[&str]) -> Run) {
    dvc(&["fsck", "--data"]).ok();
    assert_same_files(s, dvc);
}

fn assert_same_files(s: &Sandbox, dvc: &dyn Fn(&[&str]) -> Run) {
    let again = s.at("again");
    dvc(&["checkout", "main", "--into", again.to_str().unwrap()]).ok();
    assert_same(&s.at("kept"), &again);
    fs::remove_dir_all(&again).unwrap();
}

#[test]
fn a_full_disk_at_several_points() {
    let s = wasteful();
    for free in [0, 1, 4, 16, 40, 80, 160, 320, 640] {
        let place = s.at(format!("small-{free}"));
        let Some(small) = Small::mount(&place, "16m") else {
            return;
        };
        let root = place.join("r");
        copy_dir(&s.w(".dvcs"), &root);
        let dvc = |args: &[&str]| Run::of(s.command(["--repo", root.to_str().unwrap()]).args(args));
        // Leave this number of KiB free.
        let mut filler = fs::File::create(place.join("filler")).unwrap();
        while std::io::Write::write_all(&mut filler, &[1; 4096]).is_ok() {}
        let len = filler.metadata().unwrap().len();
        filler.set_len(len.saturating_sub(free * 1024)).unwrap();
        let run = dvc(&GC);
        assert!(
            [0, 8].contains(&run.code),
            "{free} KiB: {} {}",
            run.code,
            run.err
        );
        drop(filler);
        fs::remove_file(place.join("filler")).unwrap();
        assert_kept(&s, &dvc);
        dvc(&GC).ok();
        assert_kept(&s, &dvc);
        drop(small);
    }
}

/// On a full disk, a collection deletes the packs that an earlier one has marked as dead.
#[test]
fn dead_packs_on_a_full_disk() {
    let s = wasteful();
    let place = s.at("small");
    let Some(_small) = Small::mount(&place, "16m") else {
        return;
    };
    let root = place.join("r");
    copy_dir(&s.w(".dvcs"), &root);
    let dvc = |args: &[&str]| Run::of(s.command(["--repo", root.to_str().unwrap()]).args(args));
    let keep = [
        "-c",
        "gc.keep-log=0",
        "-y",
        "gc",
        "--grace",
        "1h",
        "--max-unused",
        "100",
    ];
    dvc(&keep).ok();
    super::damage::make_due(&root);
    dvc(&keep).ok();
    let mut filler = fs::File::create(place.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[1; 4096]).is_ok() {}
    let packs = || crate::support::known::files_of(&root.join("packs")).len();
    let before = packs();
    let run = dvc(&GC);
    assert!([0, 8].contains(&run.code), "{} {}", run.code, run.err);
    assert!(packs() < before, "{} {}", run.code, run.err);
    fs::remove_file(place.join("filler")).unwrap();
    assert_kept(&s, &dvc);
    dvc(&GC).ok();
    assert_kept(&s, &dvc);
}

#[test]
fn few_open_files() {
    let s = wasteful();
    let mut worked = 0;
    for limit in [8, 12, 16, 20, 26, 32, 64] {
        let script = format!("ulimit -n {limit}; exec \"$@\"");
        let mut command = s.other("/bin/sh");
        command
            .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_dvc")])
            .args(GC);
        let run = Run::of(&mut command);
        assert!(
            run.code == 0 || run.err.contains("Too many open files"),
            "{limit}: {}",
            run.err
        );
        worked += usize::from(run.code == 0);
        assert_kept(&s, &|args| s.dvc(args));
    }
    assert!(worked > 0);
    s.dvc(GC).ok();
    assert_kept(&s, &|args| s.dvc(args));
}

/// Runs `dvc` as user and group 65534, and waits until it exits.
fn as_other(s: &Sandbox, args: &[&str]) -> Run {
    let mut command = s.other("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    Run::of(command.arg(env!("CARGO_BIN_EXE_dvc")).args(args))
}

#[test]
fn a_repository_that_must_not_be_changed() {
    if !crate::support::needs::root_to("become another user") {
        return;
    }
    let s = wasteful();
    let root = s.w(".dvcs");
    for path in crate::support::sandbox::all_below(s.root()) {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    }
    let before = crate::support::known::files_of(&root.join("packs"));
    let run = as_other(&s, &[&["--repo", root.to_str().unwrap()], &GC[..]].concat());
    assert!([6, 8, 12].contains(&run.code), "{} {}", run.code, run.err);
    assert!(crate::support::known::files_of(&root.join("packs")) == before);
    assert_kept(&s, &|args| s.dvc(args));
}

#[test]
fn packs_that_must_not_be_deleted() {
    if !crate::support::needs::root_to("become another user") {
        return;
    }
    let s = wasteful();
    let root = s.w(".dvcs");
    // The repository belongs to the other user, except for the directories of the existing packs.
    fs::set_permissions(s.root(), PermissionsExt::from_mode(0o755)).unwrap();
    let home = crate::support::sandbox::all_below(&s.at("home"));
    for path in crate::support::sandbox::all_below(&root)
        .into_iter()
        .chain(home)
    {
        std::os::unix::fs::chown(&path, Some(65534), Some(65534)).unwrap();
    }
    for folder in fs::read_dir(root.join("packs")).unwrap() {
        let folder = folder.unwrap().path();
        std::os::unix::fs::chown(&folder, Some(0), Some(0)).unwrap();
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let run = as_other(&s, &[&["--repo", root.to_str().unwrap()], &GC[..]].concat());
    assert!([3, 8, 12].contains(&run.code), "{} {}", run.code, run.err);
    assert_kept(&s, &|args| s.dvc(args));
    s.dvc(GC).ok();
    assert_kept(&s, &|args| s.dvc(args));
}

#[test]
fn a_wrong_clock_deletes_nothing_that_refs_need() {
    let s = wasteful();
    let options = CollectOptions {
        grace: Duration::from_secs(3600),
        keep_trash: Duration::from_secs(14 * 86_400),
        at_once: BTreeSet::new(),
        keep_local_trash: Duration::ZERO,
        keep_log: Duration::ZERO,
        max_unused: 0.0,
        max_repack: None,
        max_time: None,
        dry_run: false,
        is_confirmed: true,
    };
    // A year ahead, the right time, a year back.
    for days in [0i64, 365, 365, 0, -365, -365, 365, 0] {
        let mut context = context(s.w(".dvcs"), s.at("w"));
        context.now = jiff::Zoned::now() + jiff::Span::new().hours(days * 24);
        collect(&context, &s.at("no-run"), &options, &Silent).unwrap();
        // While the last collection has a wrong time, fsck may report old values of refs as lost.
        assert_same_files(&s, &|args| s.dvc(args));
        s.write("more", noise(50 + days.unsigned_abs(), 50_000));
        s.dvc(["commit", "-m", "between"]).ok();
        s.dvc(["checkout", "main", "--into", "../kept-new"]).ok();
        fs::remove_dir_all(s.at("kept")).unwrap();
        fs::rename(s.at("kept-new"), s.at("kept")).unwrap();
    }
    s.dvc(GC).ok();
    assert_kept(&s, &|args| s.dvc(args));
}
