//! Leases: a version that a process or another repository uses stays, although no ref names it. A
//! lease that has ended or is damaged, or an object that is not a lease, neither keeps data nor
//! stops a collection forever.

use std::fs;
use std::os::unix::fs::symlink;

use dvc::context::Context;
use dvc::error::{Kind, Result};
use dvc::format::lease::{LeaseUse, lease_key};
use dvc::model::id::Id;
use dvc::observe::Silent;
use dvc::repo::Repo;
use dvc::repo::leases::{LONGEST_SECS, create_timed};
use dvc::repo::writer::RootCheck;
use dvc::sys::clock;

use super::races::{Stage, at, collect_now};
use crate::mount::harness::Volume;
use crate::support::known::assert_sound;
use crate::support::sandbox::Sandbox;
use crate::support::zoo::noise;

const DAY: i64 = 86_400;

/// Whether all objects of a version exist.
fn whole(context: &Context, id: &Id) -> Result<()> {
    RootCheck::since(None).ensure_whole(&context.repo().unwrap(), &[*id])
}

fn is_whole(context: &Context, id: &Id) -> bool {
    match whole(context, id) {
        Ok(()) => true,
        Err(e) => {
            assert_eq!(e.kind(), Kind::NotFound, "{e}");
            false
        }
    }
}

fn leases(context: &Context) -> Vec<String> {
    let names = fs::read_dir(context.repository.join("sessions")).unwrap();
    names
        .map(|name| name.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("lease-"))
        .collect()
}

fn put_lease(context: &Context, bytes: &[u8]) -> String {
    let dir = context.repository.join("sessions");
    fs::create_dir_all(&dir).unwrap();
    let name = lease_key(&dvc::sys::random::random_hex().unwrap());
    fs::write(dir.join(&name), bytes).unwrap();
    name
}

fn gc(context: &Context) -> dvc::care::options::GcReport {
    collect_now(context, &Silent).unwrap()
}

#[test]
fn a_local_lease_counts_while_its_process_lives() {
    let stage = Stage::new();
    let context = at(stage.dir.path());
    let repo = context.repo().unwrap();
    let now = clock::now().secs;
    let gone = stage.gone.id;
    let lease = repo
        .ensure_local()
        .unwrap()
        .lock_lease("db1", LeaseUse::Mount, &[gone], now)
        .unwrap();
    // The lease expires immediately, so only the lock counts.
    gc(&context);
    assert!(is_whole(&context, &gone) && leases(&context).len() == 1);
    drop(lease);
    assert!(leases(&context).is_empty());
    gc(&context);
    assert!(!is_whole(&context, &gone));
    assert_sound(&context, &stage.versions, "after the lease");
}

#[test]
fn the_lease_of_a_killed_process_is_garbage() {
    let stage = Stage::new();
    let context = at(stage.dir.path());
    let repo = context.repo().unwrap();
    let now = clock::now().secs;
    let lease = repo
        .ensure_local()
        .unwrap()
        .lock_lease("db1", LeaseUse::Mount, &[stage.gone.id], now)
        .unwrap();
    let name = leases(&context).pop().unwrap();
    let path = context.repository.join("sessions").join(&name);
    let bytes = fs::read(&path).unwrap();
    drop(lease);
    // A killed process leaves the file, and its lock ends.
    fs::write(&path, bytes).unwrap();
    gc(&context);
    assert!(!path.exists() && !is_whole(&context, &stage.gone.id));
}

#[test]
fn a_lease_without_a_lock_counts_until_its_time() {
    let stage = Stage::new();
    let context = at(stage.dir.path());
    let repo = context.repo().unwrap();
    let (now, gone) = (clock::now().secs, stage.gone.id);
    let lazy = create_timed(repo.store(), "far", LeaseUse::Lazy, &[gone], now).unwrap();
    let mount = create_timed(repo.store(), "far", LeaseUse::Mount, &[gone], now).unwrap();
    gc(&context);
    assert!(is_whole(&context, &gone));
    // The lease of a mount ends earlier.
    let after = |secs| repo.leases(now + secs, false).unwrap();
    assert_eq!(after(6 * DAY).live.len(), 2);
    assert_eq!(after(8 * DAY).live.len(), 1);
    assert_eq!(after(8 * DAY).ended, [mount.key.as_str()]);
    assert!(after(31 * DAY).live.is_empty());
    mount.release(repo.store());
    lazy.release(repo.store());
    let old = now - LONGEST_SECS - 1;
    create_timed(repo.store(), "far", LeaseUse::Lazy, &[gone], old).unwrap();
    gc(&context);
    assert!(!is_whole(&context, &gone) && leases(&context).is_empty());
}

#[test]
fn no_lease_counts_for_ever() {
    let stage = Stage::new();
    let context = at(stage.dir.path());
    let repo = context.repo().unwrap();
    let now = clock::now().secs;
    // The clock of the owner is wrong, or the lease is hostile.
    let far = now + 1000 * DAY;
    create_timed(repo.store(), "far", LeaseUse::Lazy, &[stage.gone.id], far).unwrap();
    assert_eq!(repo.leases(now, true).unwrap().live.len(), 1);
    assert_eq!(repo.leases(now + 29 * DAY, true).unwrap().live.len(), 1);
    assert_eq!(repo.leases(now + 31 * DAY, false).unwrap().ended.len(), 1);
    // Without its records, the repository sees the lease for the first time.
    fs::remove_file(context.repository.join("catalog.db")).unwrap();
    let again = context.repo().unwrap();
    assert_eq!(again.leases(now + 31 * DAY, true).unwrap().live.len(), 1);
}

#[test]
fn a_lease_that_cannot_be_read_frees_nothing_and_stops_for_a_limited_time() {
    let stage = Stage::new();
    let context = at(stage.dir.path());
    let repo = context.repo().unwrap();
    let now = clock::now().secs;
    for bytes in [b"{}\n".to_vec(), vec![0; 3 << 20]] {
        let name = put_lease(&context, &bytes);
        let e = collect_now(&context, &Silent).unwrap_err();
        assert_eq!(e.kind(), Kind::Integrity, "{e}");
        assert!(e.to_string().contains(&name), "{e}");
        assert!(is_whole(&context, &stage.gone.id));
        let later = repo.leases(now + 31 * DAY, false).unwrap();
        assert_eq!(later.ended, [format!("sessions/{name}")]);
        fs::remove_file(context.repository.join("sessions").join(name)).unwrap();
    }
    gc(&context);
    assert!(!is_whole(&context, &stage.gone.id));
}

#[test]
fn what_is_no_lease_changes_nothing() {
    let stage = Stage::new();
    let context = at(stage.dir.path());
    let dir = context.repository.join("sessions");
    // A writer that died before its lease counted.
    put_lease(&context, b"");
    let name = |n: u8| lease_key(&format!("{n:032x}"));
    fs::create_dir(dir.join(name(1))).unwrap();
    symlink("/dev/zero", dir.join(name(2))).unwrap();
    let pipe = std::process::Command::new("mkfifo")
        .arg(dir.join(name(3)))
        .status();
    assert!(pipe.unwrap().success());
    fs::write(dir.join("lease-short"), b"junk").unwrap();
    let unknown = Id([7; 32]);
    let repo = context.repo().unwrap();
    let now = clock::now().secs;
    create_timed(
        repo.store(),
        "far\u{1b}[2J",
        LeaseUse::Lazy,
        &[unknown],
        now,
    )
    .unwrap();
    let report = gc(&context);
    assert!(!is_whole(&context, &stage.gone.id));
    // The collector names the lease, without control characters.
    let named: Vec<&str> = report
        .incomplete
        .iter()
        .map(|root| root.name.as_str())
        .collect();
    assert!(
        named.len() == 1 && named[0].starts_with("lease of a lazy clone on far"),
        "{named:?}"
    );
    assert!(!named[0].contains('\u{1b}'), "{named:?}");
    assert_sound(&context, &stage.versions, "with objects that are no leases");
}

#[test]
fn a_flood_of_leases_is_refused() {
    let stage = Stage::new();
    let context = at(stage.dir.path());
    let dir = context.repository.join("sessions");
    fs::create_dir_all(&dir).unwrap();
    for n in 0..10_001 {
        fs::write(dir.join(lease_key(&format!("{n:032x}"))), b"").unwrap();
    }
    let e = collect_now(&context, &Silent).unwrap_err();
    assert_eq!(e.kind(), Kind::Integrity, "{e}");
    assert!(is_whole(&context, &stage.gone.id));
}

#[test]
fn the_version_of_a_mount_stays_and_cannot_be_forgotten() {
    let Some(v) = Volume::of(|w| fs::write(w.join("a"), noise(1, 90_000)).unwrap()) else {
        return;
    };
    fs::write(v.s.at("w/a"), noise(2, 90_000)).unwrap();
    v.commit("second");
    fs::write(v.s.at("w/a"), noise(3, 90_000)).unwrap();
    v.commit("third");
    let old = v.mount_at("old", "main@v1", &["--ro"]);
    // Without the notes of mounts, the command knows the mount only by its lease.
    let elsewhere = |args: &[&str]| {
        let run = v.s.at("elsewhere");
        fs::create_dir_all(&run).unwrap();
        let mut command = v.s.command(["--repo", "../r"]);
        command.args(args).env("DVC_RUN_DIR", run);
        crate::support::sandbox::Run::of(&mut command)
    };
    elsewhere(&["forget", "main@v1"])
        .code(11)
        .complains("lease of a mount");
    elsewhere(&["-y", "forget", "--keep-last", "1"]).ok();
    let forgotten = elsewhere(&["--json", "forget", "--list"]).ok().json_lines();
    assert_eq!(forgotten.len(), 1, "only the second version: {forgotten:?}");
    let status = elsewhere(&["--json", "gc", "--status"]).ok().json();
    assert_eq!(status["leases"][0]["what"], "mount");
    elsewhere(&[
        "-y",
        "-c",
        "gc.keep-log=0",
        "gc",
        "--now",
        "--keep-trash",
        "0",
    ])
    .ok();
    assert_eq!(fs::read(old.at("a")).unwrap(), noise(1, 90_000));
    drop(old);
    assert!(
        fs::read_dir(v.s.at("r/sessions")).unwrap().all(|name| !name
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("lease")),
        "the lease ends with the mount"
    );
    v.dvc(&["-y", "forget", "main@v1"]).ok();
    v.dvc(&["fsck", "--data"]).ok();
}

/// The leases below a repository of a sandbox.
fn remote_leases(s: &Sandbox, repository: &str) -> Vec<serde_json::Value> {
    let dir = s.at(repository).join("sessions");
    let names = fs::read_dir(dir).into_iter().flatten();
    let mut all: Vec<serde_json::Value> = names
        .map(|name| name.unwrap())
        .filter(|name| name.file_name().to_string_lossy().starts_with("lease-"))
        .map(|name| {
            let text = fs::read_to_string(name.path()).unwrap();
            serde_json::from_str(text.lines().next().unwrap()).unwrap()
        })
        .collect();
    all.sort_by_key(|lease| lease["what"].to_string());
    all
}

#[test]
fn a_lazy_clone_leases_the_base_of_what_it_has_not_pushed() {
    let mut s = Sandbox::new();
    s.set("DVC_AUTHOR", "Ann <ann@example.org>");
    s.dvc(["init", "--repo", "../far", "-b", "main"]).ok();
    s.write("a", noise(1, 90_000));
    s.write("b", noise(2, 90_000));
    s.dvc(["--repo", "../far", "commit", "-m", "first"]).ok();
    let far = s.at("far");
    s.dvc(["clone", "--lazy", far.to_str().unwrap(), "../clone"])
        .ok();
    s.dvc(["-C", "../clone", "checkout", "main"]).ok();
    assert!(remote_leases(&s, "far").is_empty());
    fs::write(s.at("clone/a"), noise(3, 90_000)).unwrap();
    s.dvc(["-C", "../clone", "commit", "-m", "own"]).ok();
    let leases = remote_leases(&s, "far");
    assert_eq!(leases.len(), 1, "{leases:?}");
    assert_eq!(leases[0]["what"], "lazy");
    // The next commit has the same base.
    fs::write(s.at("clone/a"), noise(4, 90_000)).unwrap();
    s.dvc(["-C", "../clone", "commit", "-m", "own"]).ok();
    assert_eq!(remote_leases(&s, "far"), leases);
    // The remote loses its branch, and the base stays.
    s.dvc(["--repo", "../far", "branch", "other", "main"]).ok();
    s.write("a", noise(9, 90_000));
    fs::remove_file(s.w("b")).unwrap();
    s.dvc(["--repo", "../far", "commit", "-b", "fresh", "-m", "fresh"])
        .ok();
    s.dvc([
        "--repo", "../far", "branch", "-d", "--force", "main", "other",
    ])
    .ok();
    s.dvc([
        "--repo",
        "../far",
        "-y",
        "-c",
        "gc.keep-log=0",
        "gc",
        "--now",
    ])
    .ok();
    s.dvc(["-C", "../clone", "checkout", "main", "--into", "../again"])
        .ok();
    assert_eq!(fs::read(s.at("again/b")).unwrap(), noise(2, 90_000));
    // After the push, the remote has a ref.
    s.dvc(["-C", "../clone", "push"]).ok();
    assert!(remote_leases(&s, "far").is_empty());
    s.dvc(["--repo", "../far", "fsck", "--data"]).ok();
}

#[test]
fn a_mount_of_a_lazy_clone_has_a_lease_at_the_remote() {
    let Some(v) = Volume::of(|w| fs::write(w.join("a"), noise(1, 90_000)).unwrap()) else {
        return;
    };
    let far = v.s.at("r");
    v.s.dvc(["clone", "--lazy", far.to_str().unwrap(), "../clone"])
        .ok();
    let mount = |dir: &str, args: &[&str]| {
        fs::create_dir_all(v.s.at(dir)).unwrap();
        let place = format!("../{dir}");
        let all = [&["-C", "../clone", "mount", "main", &place], args].concat();
        v.s.dvc(all).ok();
    };
    let umount = |dir: &str| drop(v.s.dvc(["umount", &format!("../{dir}")]).ok());
    mount("ro", &["--ro"]);
    let leases = remote_leases(&v.s, "r");
    assert_eq!(leases.len(), 1, "{leases:?}");
    assert_eq!(leases[0]["what"], "mount");
    assert_eq!(fs::read(v.s.at("ro/a")).unwrap(), noise(1, 90_000));
    umount("ro");
    assert!(remote_leases(&v.s, "r").is_empty());
    // An overlay needs its version even while it is not mounted. The next mount replaces the lease.
    for _ in 0..2 {
        mount("rw", &[]);
        let mut leases = remote_leases(&v.s, "r");
        // A mount that continues an overlay takes the lease in the background.
        for _ in 0..100 {
            if leases.len() == 1 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
            leases = remote_leases(&v.s, "r");
        }
        assert_eq!(leases.len(), 1, "{leases:?}");
        assert_eq!(leases[0]["what"], "overlay");
        umount("rw");
        assert_eq!(remote_leases(&v.s, "r").len(), 1);
    }
    // An overlay in the trash still needs it; an overlay that is gone does not.
    let discard = |more: &[&str]| {
        let all = [&["--json", "umount", "--discard", "../rw"], more].concat();
        v.s.dvc(all).ok().json()["trash"].clone()
    };
    mount("rw", &[]);
    assert!(discard(&[]).is_null());
    assert!(remote_leases(&v.s, "r").is_empty());
    for (no_trash, leases) in [(&["--no-trash"][..], 0), (&[], 1)] {
        mount("rw", &[]);
        fs::write(v.s.at("rw/a"), "changed").unwrap();
        assert_eq!(discard(no_trash).is_null(), leases == 0);
        assert_eq!(remote_leases(&v.s, "r").len(), leases);
    }
}

/// A remote without write access must not prevent the mount.
#[test]
fn without_write_access_the_mount_says_so() {
    let Some(v) = Volume::of(|w| fs::write(w.join("a"), noise(1, 90_000)).unwrap()) else {
        return;
    };
    let far = v.s.at("r");
    v.s.dvc(["clone", "--lazy", far.to_str().unwrap(), "../clone"])
        .ok();
    // A file in place of the directory of leases prevents leases even for root.
    let _ = fs::remove_dir_all(v.s.at("r/sessions"));
    fs::write(v.s.at("r/sessions"), b"").unwrap();
    fs::create_dir_all(v.s.at("ro")).unwrap();
    v.s.dvc(["-C", "../clone", "mount", "main", "../ro", "--ro"])
        .ok()
        .complains("no lease on origin");
    assert_eq!(fs::read(v.s.at("ro/a")).unwrap(), noise(1, 90_000));
    v.s.dvc(["umount", "../ro"]).ok();
}

#[test]
fn fsck_knows_leases() {
    let stage = Stage::new();
    let context = at(stage.dir.path());
    let repo: Repo = context.repo().unwrap();
    create_timed(repo.store(), "far", LeaseUse::Lazy, &[stage.gone.id], 0).unwrap();
    assert_sound(&context, &stage.versions, "with a lease");
}
