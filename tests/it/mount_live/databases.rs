//! Databases and programs with integrity checks of their own on a mount: killed under load,
//! restarted and checked.

use std::fs;
use std::path::Path;

use super::{Mount, mount_database, possible, r, run_on, with_database};
use crate::support::databases::engine::{Engine, Running, WRITERS};
use crate::support::databases::postgres;
use crate::support::facts::{assert_rsync_agrees, assert_same};
use crate::support::needs::run;
use crate::support::sandbox::Sandbox;
use crate::support::zoo;

/// Number of rows that each client commits before the server or a client is killed.
const SOME: u64 = 60;

/// Runs three writers, kills them and the server, and restarts the server.
fn killed_and_started(engine: Engine) {
    if !possible() {
        return;
    }
    let s = with_database(engine);
    let mount = mount_database(&s, engine, &["--name", "work", "db"], "mnt");
    for round in 0..2 {
        let running = run_on(engine, &mount);
        (0..WRITERS).for_each(|w| drop(running.sql(&format!("delete from t{w}"))));
        let mut writers: Vec<_> = (0..WRITERS).map(|w| running.writer(w)).collect();
        writers.iter_mut().for_each(|w| w.wait_for(SOME));
        // Kill the server first, so that it does not see its clients disconnect.
        running.kill();
        let acked: Vec<u64> = writers.into_iter().map(|w| w.kill()).collect();
        let running = run_on(engine, &mount);
        for (w, acked) in (0..).zip(acked) {
            let (highest, count) = running.count(w);
            assert!(
                highest >= acked && highest == count,
                "{engine:?}, round {round}, table {w}: {highest} of {acked}"
            );
        }
        running.check_and_stop(&mount.at);
    }
    // The rows are still there after the next mount, and in the committed version.
    let rows = |mount: &Mount<'_>| {
        let running = run_on(engine, mount);
        let rows = (0..WRITERS).map(|w| running.count(w)).collect::<Vec<_>>();
        running.stop();
        rows
    };
    let before = rows(&mount);
    mount.umount();
    let mount = mount_database(&s, engine, &["--name", "work", "db"], "mnt");
    assert_eq!(rows(&mount), before);
    mount.dvc(&["commit", "-m", "after"]).ok();
    mount.try_umount(&["--discard"]).ok();
    let copy = mount_database(&s, engine, &["--ephemeral", "db"], "copy");
    assert_eq!(rows(&copy), before);
    copy.umount();
    s.dvc(["--repo", &r(&s), "fsck", "--data"])
        .ok()
        .says("no damage");
}

#[test]
fn mariadb_is_killed_and_started() {
    killed_and_started(Engine::MariaDb);
}

#[test]
fn postgres_is_killed_and_started() {
    killed_and_started(Engine::Postgres);
}

#[test]
fn sqlite_is_killed_and_started() {
    killed_and_started(Engine::Sqlite);
}

/// Runs pgbench in a database that was created on the mount and in one from the version.
#[test]
fn pgbench_runs_and_checksums_hold() {
    if !possible() {
        return;
    }
    let s = with_database(Engine::Postgres);
    let mount = mount_database(&s, Engine::Postgres, &["db"], "mnt");
    let Running::Postgres(server) = run_on(Engine::Postgres, &mount) else {
        unreachable!()
    };
    server.bench(&["-i", "-q", "-s", "2"]);
    server.bench(&["-n", "-c", "4", "-j", "2", "-t", "100"]);
    let sums = |server: &postgres::Postgres| {
        server.sql(
            "select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers),
                    (select sum(bbalance) from pgbench_branches), (select sum(delta) from pgbench_history),
                    (select count(*) from pgbench_history)",
        )
    };
    let before = sums(&server);
    let parts: Vec<&str> = before.split('|').collect();
    assert!(
        parts[..4].iter().all(|p| *p == parts[0]) && parts[4] == "400",
        "{before}"
    );
    server.kill();
    let Running::Postgres(server) = run_on(Engine::Postgres, &mount) else {
        unreachable!()
    };
    assert_eq!(sums(&server), before);
    server.sql("vacuum full");
    server.sql("checkpoint");
    server.bench(&["-n", "-c", "2", "-t", "50", "-N"]);
    server.check();
    server.stop();
    postgres::checksums(&mount.at);
    mount.umount();
}

/// Of two processes that write to the same file, one is killed and the other continues.
#[test]
fn sqlite_loses_one_of_its_writers() {
    if !possible() {
        return;
    }
    let s = with_database(Engine::Sqlite);
    let mount = mount_database(&s, Engine::Sqlite, &["db"], "mnt");
    let running = run_on(Engine::Sqlite, &mount);
    let (mut one, mut two) = (running.writer(0), running.writer(1));
    for n in 1..=4 {
        one.wait_for(SOME);
        two.wait_for(n * SOME);
        let acked = one.kill();
        let (highest, count) = running.count(0);
        assert!(
            highest >= acked && highest == count,
            "{highest}, {count} of {acked}"
        );
        two.wait_for(two.acked() + 10);
        running.sql("delete from t0");
        one = running.writer(0);
    }
    let acked = two.kill();
    drop(one);
    assert!(running.count(1).0 >= acked);
    running.check();
    mount.umount();
}

/// git works on a mount, including packs, locks and `git fsck`.
#[test]
fn git_works() {
    if !possible() {
        return;
    }
    let s = Sandbox::with_repo();
    let git = |script: &str| {
        s.sh(&format!(
            "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a; {script}"
        ))
        .ok()
    };
    git("git init -q -b main project; cd project; for i in $(seq 200); do mkdir -p d$((i % 7)); seq $i $((i * 30)) > d$((i % 7))/$i; done
         git add -A; git commit -q -m one");
    s.dvc(["commit", "-m", "one"]).ok();
    let mount = Mount::new(&s, &[], &["main"], "mnt");
    git("cd ../mnt/project; git status --porcelain; git fsck --full --strict; git clone -q . ../clone; cd ../clone
         for i in $(seq 1 3 200); do echo more >> d$((i % 7))/$i; done; git commit -q -a -m two; git repack -q -a -d
         git gc -q --prune=now --aggressive; git fsck --full --strict; git push -q origin HEAD:other; git stash list
         git worktree add -q -b tree ../tree main; git mv d1 e1; git commit -q -m three; git diff --exit-code HEAD
         cd ../project; git gc -q; git fsck --full --strict; git checkout -q other; test -z \"$(git status --porcelain)\"");
    let before = git("cd ../mnt/clone; git log --format=%H").out;
    mount.dvc(&["commit", "-m", "two"]).ok();
    mount.umount();
    s.dvc(["checkout", "main"]).ok();
    assert_eq!(
        git("cd clone; git fsck --full --strict; git log --format=%H").out,
        before
    );
}

/// `tar` and `rsync` copy every kind of file into a mount and out of it again.
#[test]
fn tar_and_rsync_copy_everything() {
    if !possible() {
        return;
    }
    let s = Sandbox::with_repo();
    s.write("some", "thing");
    s.dvc(["commit", "-m", "one"]).ok();
    let source = s.at("zoo");
    fs::create_dir(&source).unwrap();
    zoo::build(&source);
    // Remove the sockets, because no version contains them.
    run("find", &[source.to_str().unwrap(), "-type", "s", "-delete"]);
    let mount = Mount::new(&s, &[], &["main"], "mnt");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let rsync = |from: &Path, to: &Path| {
        // `rsync` reads holes, and the hole of `sparse/huge` is 1 TiB.
        run(
            "rsync",
            &[
                "-aHAXS",
                "--exclude=/sparse/huge",
                &format!("{}/", text(from)),
                &format!("{}/", text(to)),
            ],
        );
    };
    rsync(&source, &mount.join("rsync"));
    assert_rsync_agrees(&source, &mount.join("rsync"));
    rsync(&mount.join("rsync"), &s.at("rsync"));
    assert_rsync_agrees(&source, &s.at("rsync"));
    // Let rsync replace existing files, in place and by renaming.
    run(
        "sh",
        &[
            "-ec",
            &format!(
                "cd '{}'; echo x > plain/text; rm -r links",
                text(&mount.join("rsync"))
            ),
        ],
    );
    rsync(&source, &mount.join("rsync"));
    assert_rsync_agrees(&source, &mount.join("rsync"));

    let tar = |from: &Path, to: &Path| {
        fs::create_dir(to).unwrap();
        let pack = format!(
            "tar -C '{}' --xattrs --acls --sparse --exclude ./sparse/huge -cf - .",
            text(from)
        );
        let unpack = format!(
            "tar -C '{}' --xattrs --xattrs-include='*' --acls --same-owner -pxf -",
            text(to)
        );
        run(
            "bash",
            &["-euo", "pipefail", "-c", &format!("{pack} | {unpack}")],
        );
    };
    tar(&source, &mount.join("tar"));
    assert_rsync_agrees(&source, &mount.join("tar"));
    tar(&mount.join("tar"), &s.at("tar"));
    assert_rsync_agrees(&source, &s.at("tar"));
    mount.dvc(&["commit", "-m", "two"]).ok();
    assert_eq!(
        mount
            .dvc(&["status", "--porcelain"])
            .ok()
            .out
            .lines()
            .filter(|l| !l.starts_with('#'))
            .count(),
        0
    );
    s.dvc(["checkout", "main"]).ok();
    assert_same(&mount.join("tar"), &s.w("tar"));
    assert_rsync_agrees(&source, &s.w("rsync"));
    mount.umount();
}
