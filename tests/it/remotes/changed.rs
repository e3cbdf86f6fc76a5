//! Remotes that have changed: restored to an older state, missing, replaced by another repository,
//! with a wrong clock, or after a garbage collection. Also outdated caches, a full disk, and
//! interrupted pushes and clones.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::super::support::known::{copy_dir, noise};
use super::super::support::sandbox::{Run, Sandbox};
use super::super::support::servers::registry::Registry;
use super::super::support::servers::s3::{S3, Switches};
use super::super::support::small::Small;
use super::place;

fn sandbox() -> Sandbox {
    let mut s = Sandbox::new();
    s.set("DVC_AUTHOR", "Ann <ann@example.org>");
    s
}

fn with_s3(s: &mut Sandbox, s3: &S3) {
    for (name, value) in s3.env() {
        s.set(name, &value);
    }
}

/// Creates a repository with one version and the remote `origin` at `url`.
fn begin(s: &Sandbox, url: &str) {
    s.dvc(["init"]).ok();
    s.dvc(["remote", "add", "origin", url]).ok();
    commit(s, 1);
}

/// Commits a version with a new incompressible file.
fn commit(s: &Sandbox, n: u64) {
    s.write(&format!("file {n}"), noise(n, 300_000));
    s.write("counter", n.to_string());
    s.dvc(["commit", "-m", &format!("version {n}")]).ok();
}

/// Asserts that a full clone of `url` has the same files as the worktree of `s`.
#[track_caller]
fn assert_same(s: &Sandbox, url: &str) {
    let _ = fs::remove_dir_all(s.at("same"));
    s.dvc(["clone", url, "../same"]).ok();
    for entry in fs::read_dir(s.w("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != ".dvcs" {
            assert!(
                fs::read(s.at("same").join(&name)).unwrap() == s.read(&name),
                "{name}"
            );
        }
    }
    s.dvc(["-C", "../same", "fsck", "--data"]).ok();
}

#[test]
fn an_older_state() {
    let s = sandbox();
    let (there, aside) = (s.at("there"), s.at("aside"));
    begin(&s, there.to_str().unwrap());
    s.dvc(["push"]).ok();
    s.dvc(["clone", there.to_str().unwrap(), "../other"]).ok();
    copy_dir(&there, &aside);
    commit(&s, 2);
    commit(&s, 3);
    s.dvc(["push"]).ok();
    s.dvc(["-C", "../other", "fetch"]).ok();

    fs::remove_dir_all(&there).unwrap();
    copy_dir(&aside, &there);
    s.dvc(["-C", "../other", "fetch"])
        .complains("restored to an older state");
    // The push sends all data that the older state lacks.
    let run = s.dvc(["push"]).complains("restored to an older state");
    assert!(
        run.code == 0 && !run.out.contains("up to date"),
        "{}{}",
        run.out,
        run.err
    );
    s.dvc(["--repo", there.to_str().unwrap(), "fsck", "--data"])
        .ok();
    assert_same(&s, there.to_str().unwrap());
    let again = s.dvc(["push"]).ok();
    assert!(!again.err.contains("older"), "{}", again.err);
}

/// The refs were restored to an older state, but all or some data of the newer versions is still
/// there.
#[test]
fn older_refs_over_newer_packs() {
    let s = sandbox();
    let (there, aside) = (s.at("there"), s.at("aside"));
    begin(&s, there.to_str().unwrap());
    s.dvc(["push"]).ok();
    copy_dir(&there, &aside);
    commit(&s, 2);
    s.dvc(["push"]).ok();
    for lost in ["refs", "refs index", "refs packs index"] {
        for folder in lost.split(' ') {
            fs::remove_dir_all(there.join(folder)).unwrap();
            copy_dir(&aside.join(folder), &there.join(folder));
        }
        s.dvc(["push"]).ok().complains("restored");
        s.dvc(["--repo", there.to_str().unwrap(), "fsck", "--data"])
            .ok();
        assert_same(&s, there.to_str().unwrap());
    }
}

#[test]
fn a_remote_that_vanished() {
    let s = sandbox();
    let there = s.at("there");
    begin(&s, there.to_str().unwrap());
    s.dvc(["push"]).ok();
    fs::remove_dir_all(&there).unwrap();
    commit(&s, 2);
    s.dvc(["push"])
        .code(4)
        .complains("no longer exists")
        .complains("--force");
    assert!(!there.join("format").exists());
    let run = s.dvc(["fetch"]);
    assert!(run.code == 4 || run.code == 10, "{} {}", run.code, run.err);
    s.dvc(["push", "--force"]).ok();
    assert_same(&s, there.to_str().unwrap());
    s.dvc(["push"]).ok().says("up to date");
}

#[test]
fn a_remote_of_another_repository() {
    let (s, other) = (sandbox(), sandbox());
    let there = s.at("there");
    begin(&other, there.to_str().unwrap());
    other.dvc(["push"]).ok();
    begin(&s, there.to_str().unwrap());
    s.dvc(["branch", "mine"]).ok();
    for verb in ["push", "fetch", "pull"] {
        s.dvc([verb]).code(4).complains("a different repository");
    }
    // Not even `--force` overwrites the branch with the same name in the other repository.
    s.dvc(["push", "--force"]).code(4);
    s.dvc(["push", "--force", "origin", "mine"]).ok();
    s.dvc(["fetch", "--force"]).ok();
    s.dvc(["log", "--oneline", "origin/main"]).ok();
    s.dvc(["--repo", there.to_str().unwrap(), "fsck", "--data"])
        .ok();
    assert_same(&other, there.to_str().unwrap());
}

/// A push to a URL is rejected for the same reasons as a push to a configured remote.
#[test]
fn versions_that_do_not_follow_at_a_url() {
    let s = sandbox();
    let there = s.at("there");
    begin(&s, there.to_str().unwrap());
    s.dvc(["push"]).ok();
    s.dvc(["clone", there.to_str().unwrap(), "../other"]).ok();
    commit(&s, 2);
    s.dvc(["push"]).ok();
    fs::write(s.at("other/mine"), "mine").unwrap();
    s.dvc(["-C", "../other", "commit", "-m", "mine"]).ok();
    for url in [there.to_str().unwrap(), "origin"] {
        s.dvc(["-C", "../other", "push", url, "main"])
            .code(4)
            .complains("rejected `main`");
        s.dvc(["-C", "../other", "push", "--force-with-lease", url, "main"])
            .code(4);
    }
}

#[test]
fn a_clock_that_is_a_day_off() {
    for seconds in [-86_400, 86_400] {
        let s3 = S3::start(Switches {
            clock_off_seconds: seconds,
            ..Switches::default()
        });
        let mut s = sandbox();
        with_s3(&mut s, &s3);
        begin(&s, &s3.url("p"));
        s.dvc(["push"]).ok();
        commit(&s, 2);
        s.dvc(["push"]).ok();
        assert_same(&s, &s3.url("p"));
    }
}

#[test]
fn two_clients_with_different_caches() {
    let s3 = S3::start(Switches::default());
    let url = s3.url("p");
    let (mut a, mut b) = (sandbox(), sandbox());
    with_s3(&mut a, &s3);
    with_s3(&mut b, &s3);
    begin(&a, &url);
    a.dvc(["push"]).ok();
    b.dvc(["clone", "--lazy", &url, "lazy"]).ok();
    let lazy = b.w("lazy");
    let lazy = lazy.to_str().unwrap();
    let show = |n: u64| {
        let run = b.dvc(["-C", lazy, "show", &format!("origin/main:file {n}")]);
        assert!(
            run.code == 0 && run.bytes == a.read(&format!("file {n}")),
            "{n}: {}",
            run.err
        );
    };
    show(1);
    // One cache is outdated, the other one is missing.
    fs::rename(b.at("home/cache"), b.at("stale")).unwrap();
    commit(&a, 2);
    fs::remove_dir_all(a.at("home/cache")).unwrap();
    a.dvc(["push"]).ok();
    b.dvc(["-C", lazy, "fetch"]).ok();
    show(1);
    show(2);
    fs::remove_dir_all(b.at("home/cache")).unwrap();
    fs::rename(b.at("stale"), b.at("home/cache")).unwrap();
    commit(&a, 3);
    a.dvc(["push"]).ok();
    b.dvc(["-C", lazy, "fetch"]).ok();
    for n in 1..=3 {
        show(n);
    }
    fs::remove_dir_all(b.at("home/cache")).unwrap();
    for n in 1..=3 {
        show(n);
    }
}

#[test]
fn a_lazy_clone_whose_remote_is_gone() {
    let s3 = S3::start(Switches::default());
    let mut s = sandbox();
    with_s3(&mut s, &s3);
    begin(&s, &s3.url("p"));
    commit(&s, 2);
    s.dvc(["push"]).ok();
    s.dvc(["clone", "--lazy", &s3.url("p"), "../lazy"]).ok();
    s.dvc(["-C", "../lazy", "show", "main:file 1"]).ok();
    drop(s3);
    let lazy = |args: &[&str]| Run::of(s.command(["-C", "../lazy"]).args(args));
    lazy(&["show", "main:file 2"]).code(6);
    lazy(&["fetch"]).code(6);
    lazy(&["log", "--oneline"]).ok().says("version 2");
    lazy(&["ls", "main"]).ok().says("file 2");
    lazy(&["diff", "--stat", "main~1", "main"])
        .ok()
        .says("counter");
    lazy(&["branch", "new"]).ok();
}

#[test]
fn a_full_disk_while_fetching() {
    let s3 = S3::start(Switches::default());
    let mut s = sandbox();
    with_s3(&mut s, &s3);
    begin(&s, &s3.url("p"));
    s.dvc(["push"]).ok();
    let place = s.at("small");
    let Some(small) = Small::mount(&place, "6m") else {
        return;
    };
    let url = s3.url("p");
    let at = |args: &[&str]| Run::of(s.command(["-C", "../small/clone"]).args(args));
    s.dvc(["clone", "--no-checkout", &url, "../small/clone"])
        .ok();
    s.write("big", noise(99, 12 << 20));
    commit(&s, 2);
    s.dvc(["push"]).ok();
    at(&["fetch"]).code(8);
    at(&["log", "--oneline", "origin/main"])
        .ok()
        .says("version 1");
    let left: Vec<_> = fs::read_dir(place.join("clone/.dvcs/tmp"))
        .into_iter()
        .flatten()
        .collect();
    assert!(left.is_empty(), "{left:?}");
    small.resize("60m");
    at(&["fetch"]).ok();
    at(&["fsck", "--data"]).ok();
    let shown = at(&["show", "origin/main:big"]).ok();
    assert!(shown.bytes == s.read("big"));
}

#[test]
fn a_registry_that_collects_between_pushes() {
    let Some(mut registry) = Registry::start() else {
        return;
    };
    let s = sandbox();
    begin(&s, &registry.url("data/volume"));
    for n in 2..5 {
        s.dvc(["push"]).ok();
        registry.collect();
        commit(&s, n);
    }
    s.dvc(["tag", "release"]).ok();
    s.dvc(["push", "--all", "--tags"]).ok();
    registry.collect();
    assert_same(&s, &registry.url("data/volume"));
    s.dvc(["--repo", &registry.url("data/volume"), "fsck", "--data"])
        .ok();
}

#[test]
fn a_push_that_is_interrupted() {
    let s3 = S3::start(Switches::default());
    let mut s = sandbox();
    with_s3(&mut s, &s3);
    begin(&s, &s3.url("p"));
    // More than one pack of 32 MiB, so that the first pack has arrived when the signal is sent.
    for n in 0..3 {
        s.write(&format!("large {n}"), noise(500 + n, 40 << 20));
    }
    commit(&s, 2);
    s3.forget_traffic();
    let mut command = s.command(["--limit-up", "20MiB", "push"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let packs = || {
        s3.keys()
            .iter()
            .filter(|k| k.contains("/packs/"))
            .cloned()
            .collect::<Vec<_>>()
    };
    let end = Instant::now() + Duration::from_secs(120);
    while packs().is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let run = Run::wait("push".to_owned(), child).code(130);
    let arrived = packs();
    assert!(
        !arrived.is_empty() && !s3.keys().iter().any(|k| k.contains("/refs/")),
        "{}",
        run.err
    );
    s3.forget_traffic();
    s.dvc(["push"]).ok();
    let sent: Vec<String> = s3
        .requests()
        .into_iter()
        .filter(|r| r.starts_with("PUT p/packs/"))
        .collect();
    let again = arrived
        .iter()
        .filter(|key| sent.contains(&format!("PUT {key}")))
        .count();
    assert!(
        again == 0 && !sent.is_empty(),
        "{again} of {arrived:?} were sent again: {sent:?}"
    );
    s.dvc(["--repo", &s3.url("p"), "fsck", "--data"]).ok();
}

/// `--force-with-lease` moves a ref only if the remote still has the value that was last fetched.
#[test]
fn a_lease_covers_only_fetched_refs() {
    let place = place::directory();
    let (ann, bob) = (place.person("Ann"), place.person("Bob"));
    ann.dvc(["init"]).ok();
    for n in 1..=3 {
        ann.write("n", n.to_string());
        ann.dvc(["commit", "-m", &format!("version {n}")]).ok();
    }
    ann.dvc(["remote", "add", "origin", &place.url]).ok();
    ann.dvc(["tag", "good", "main~2"]).ok();
    ann.dvc(["push", "origin", "main", "good"]).ok();
    bob.dvc(["clone", &place.url, "."]).ok();
    ann.dvc(["tag", "-f", "good", "main~1"]).ok();
    let refused = ann
        .dvc(["push", "origin", "good"])
        .code(4)
        .complains("the remote's tag names another version");
    assert!(
        refused
            .err
            .contains("`dvc push --force-with-lease origin good`"),
        "{}",
        refused.err
    );
    ann.dvc(["push", "--force-with-lease", "origin", "good"])
        .ok();

    // The tag has moved since Bob fetched it.
    bob.dvc(["tag", "-f", "good", "main"]).ok();
    for _ in 0..2 {
        bob.dvc(["push", "--force-with-lease", "origin", "good"])
            .code(4);
    }
    // Commands for other refs do not count as a fetch of the tag.
    bob.dvc(["push", "origin", "main"]).ok();
    bob.dvc(["remote", "check"]).ok();
    bob.dvc(["push", "--force-with-lease", "origin", "good"])
        .code(4);
    bob.dvc(["fetch"]).ok();
    bob.dvc(["push", "--force-with-lease", "origin", "good"])
        .ok();
    assert!(
        ann.dvc([
            "--repo",
            &place.url,
            "log",
            "--format=%s",
            "-n",
            "1",
            "good"
        ])
        .ok()
        .says("version 3")
        .code
            == 0
    );

    // The option works in the same way for a push to a URL.
    ann.dvc(["checkout", "main~1"]).ok();
    ann.dvc(["branch", "-f", "main", "main~1"]).ok();
    ann.dvc(["checkout", "main"]).ok();
    ann.write("n", "another 3");
    ann.dvc(["commit", "-m", "another version 3"]).ok();
    let refused = ann.dvc(["push", &place.url, "main"]).code(4);
    refused.complains("`dvc remote add NAME file:///");
    ann.dvc(["push", "--force-with-lease", &place.url, "main"])
        .ok();
    bob.write("n", "4");
    bob.dvc(["commit", "-m", "version 4"]).ok();
    bob.dvc(["push", "--force-with-lease", "origin", "main"])
        .code(4);
    bob.dvc(["fetch"]).ok();
    bob.dvc(["push", "--force-with-lease", "origin", "main"])
        .ok();
    ann.dvc(["push", "--force-with-lease", &place.url, "main"])
        .code(4);
}

/// A name that is both a branch and a tag is refused as ambiguous.
#[test]
fn a_branch_and_a_tag_of_one_name() {
    let s = sandbox();
    begin(&s, s.at("far").to_str().unwrap());
    s.dvc(["branch", "both"]).ok();
    s.dvc(["tag", "both"]).ok();
    s.dvc(["push", "origin", "both"])
        .code(13)
        .complains("ambiguous")
        .complains("refs/heads/both");
}

/// Files that file managers and NFS leave in a directory of refs are not mistaken for refs and hide
/// none.
#[test]
fn strangers_in_the_folder_of_a_ref() {
    let s = sandbox();
    begin(&s, s.at("far").to_str().unwrap());
    s.dvc(["push"]).ok();
    for name in [".DS_Store", ".nfs0000001", "zz"] {
        fs::write(s.at("far/refs/heads/main").join(name), "x").unwrap();
    }
    s.dvc(["clone", "../far", "../copy"]).ok();
    assert!(s.at("copy/.dvcs").exists());
    s.dvc(["-C", "../copy", "log", "--oneline"])
        .ok()
        .says("version 1");
    commit(&s, 2);
    s.dvc(["push"]).ok().says("main ");
    s.dvc(["-C", "../copy", "pull"]).ok();
    s.dvc(["-C", "../copy", "log", "--oneline"])
        .ok()
        .says("version 2");
}

/// A local pack is lost, and the index was rebuilt without it. A push must not affect other clones.
#[test]
fn a_rebuilt_index_does_not_affect_other_clones() {
    let s = sandbox();
    let far = s.at("far");
    begin(&s, far.to_str().unwrap());
    s.dvc(["push"]).ok();
    let lost: Vec<_> = place::below(&s.w(".dvcs/packs"))
        .into_iter()
        .filter(|p| place::is_data(&fs::read(p).unwrap()))
        .collect();
    assert!(!lost.is_empty());
    commit(&s, 2);
    // Remove the packs after the commit, because a commit would store lost content again.
    lost.iter().for_each(|pack| fs::remove_file(pack).unwrap());
    s.dvc(["fsck", "--rebuild"]).code(5);
    s.dvc(["push"]).ok();
    let there = s
        .dvc(["--repo", far.to_str().unwrap(), "fsck", "--data"])
        .ok();
    assert!(there.out.contains("no damage"), "{}", there.out);
    s.dvc(["clone", far.to_str().unwrap(), "../copy"]).ok();
    s.dvc(["-C", "../copy", "fsck", "--data"]).ok();
}

/// A push with verification again sends objects that it has found damaged on the remote.
#[test]
fn a_verified_push_repairs_the_damage_it_found() {
    let s = sandbox();
    let far = s.at("far");
    begin(&s, far.to_str().unwrap());
    // Simulate a push that was interrupted after the packs had arrived.
    s.dvc(["push"]).ok();
    fs::remove_file(far.join("format")).unwrap();
    for sub in ["refs", "index"] {
        fs::remove_dir_all(far.join(sub)).unwrap();
    }
    let packs = place::below(&far.join("packs"));
    let names: Vec<_> = packs
        .iter()
        .map(|p| p.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let state = place::below(&s.w(".dvcs/remotes")).remove(0);
    let mut told: serde_json::Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    told["sent"] = names.into();
    told["seen"] = serde_json::json!({});
    fs::write(&state, told.to_string()).unwrap();
    let mut bytes = fs::read(&packs[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&packs[0], bytes).unwrap();
    s.dvc(["push", "--verify"]).code(5);
    s.dvc(["push", "--verify"]).ok();
    s.dvc(["--repo", far.to_str().unwrap(), "fsck", "--data"])
        .ok()
        .says("no damage");
}
