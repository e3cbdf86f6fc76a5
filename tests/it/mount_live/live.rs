//! Databases that are committed under load: a database recovers from every version and then has all
//! rows that were acknowledged before the commit. Also many databases at the same time, each on its
//! own mount.

use std::time::{Duration, Instant};

use super::{Mount, mount_database, possible, r, run_on, try_mount, with_database};
use crate::support::databases::engine::{Engine, Running, WRITERS};
use crate::support::databases::mariadb::MariaDb;
use crate::support::needs::run;
use crate::support::sandbox::Sandbox;

/// Returns the number of commits per run; `DVC_TEST_COMMITS` overrides it.
fn commits() -> usize {
    std::env::var("DVC_TEST_COMMITS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(8)
}

/// Bounds on the rows of a version, per client: the rows that were acknowledged before the commit
/// started, and the rows that may have been written when the commit ended.
struct Known {
    before: Vec<u64>,
    after: Vec<u64>,
}

#[allow(clippy::print_stderr)]
fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_millis();
    eprintln!(
        "{what}: median {} ms, 90 of 100 within {} ms, longest {} ms",
        at(50),
        at(90),
        at(100)
    );
}

/// Commits repeatedly while three clients write, then starts the database on every version.
#[allow(clippy::print_stderr)]
fn committed_while_it_runs(engine: Engine) {
    if !possible() {
        return;
    }
    let s = with_database(engine);
    let mount = mount_database(&s, engine, &["--live", "db"], "mnt");
    let running = run_on(engine, &mount);
    let mut writers: Vec<_> = (0..WRITERS).map(|w| running.writer(w)).collect();
    writers.iter_mut().for_each(|w| w.wait_for(5));
    let (mut known, mut took, mut paused) = (Vec::new(), Vec::new(), Vec::new());
    let mut usual = Vec::new();
    for n in 1..=commits() {
        // Wait until each client has written some rows.
        for w in &mut writers {
            w.wait_for(w.acked() + 3);
        }
        usual.extend(writers.iter().map(|w| w.longest_pause()));
        let before: Vec<u64> = writers.iter().map(|w| w.acked()).collect();
        let begun = Instant::now();
        mount.dvc(&["commit", "-m", &format!("c{n}")]).ok();
        took.push(begun.elapsed());
        paused.extend(writers.iter().map(|w| w.longest_pause()));
        // Count the rows in the server, because an acknowledgement may arrive late. One more row
        // may be durable but not counted yet.
        let after = (0..WRITERS).map(|w| running.count(w).0 + 1).collect();
        known.push(Known { before, after });
    }
    let rows: Vec<u64> = writers.into_iter().map(|w| w.kill()).collect();
    eprintln!(
        "{engine:?}: {rows:?} rows by three clients, {} commits",
        known.len()
    );
    report("commit", took);
    report(
        "longest wait of a client for one row, during a commit",
        paused,
    );
    report("the same between commits", usual);
    running.check_and_stop(&mount.at);
    mount.umount();
    s.dvc(["--repo", &r(&s), "fsck", "--data"])
        .ok()
        .says("no damage");
    for (n, known) in (2..).zip(known) {
        let version = format!("db@v{n}");
        let copy = mount_database(&s, engine, &["--ephemeral", &version], "copy");
        let running = run_on(engine, &copy);
        for (w, (before, after)) in (0..).zip(known.before.into_iter().zip(known.after)) {
            let (highest, count) = running.count(w);
            let case = format!(
                "{engine:?}, {version}, table {w}: {highest} in {count}, between {before} and {after}"
            );
            assert!(
                highest == count && highest >= before && highest <= after,
                "{case}"
            );
        }
        running.check_and_stop(&copy.at);
        copy.umount();
    }
}

#[test]
fn mariadb_is_committed_while_it_runs() {
    committed_while_it_runs(Engine::MariaDb);
}

#[test]
fn postgres_is_committed_while_it_runs() {
    committed_while_it_runs(Engine::Postgres);
}

#[test]
fn sqlite_is_committed_while_it_runs() {
    committed_while_it_runs(Engine::Sqlite);
}

/// Two overlays of the same version do not affect each other.
#[test]
fn two_overlays_are_private() {
    if !possible() {
        return;
    }
    for engine in [Engine::MariaDb, Engine::Postgres] {
        let s = with_database(engine);
        let one = mount_database(&s, engine, &["--name", "one", "db"], "one-at");
        let two = mount_database(&s, engine, &["--name", "two", "db"], "two-at");
        let (a, b) = (run_on(engine, &one), run_on(engine, &two));
        a.sql("insert into t0 values (1, 'of one'); update old set x = 'one' where n <= 100");
        b.sql("insert into t0 values (1, 'of two'); update old set x = 'two' where n <= 100");
        for (running, name) in [(&a, "one"), (&b, "two")] {
            assert_eq!(running.sql("select x from t0"), format!("of {name}"));
            assert_eq!(
                running
                    .sql("select count(*), min(x) from old where n <= 100")
                    .replace('\t', "|"),
                format!("100|{name}")
            );
        }
        // Neither overlay can be mounted a second time.
        for (name, at) in [("one", "three-at"), ("two", "three-at")] {
            try_mount(&s, &["--repo", &r(&s)], &["--name", name, "db"], at)
                .code(11)
                .complains("is already mounted");
        }
        try_mount(
            &s,
            &["--repo", &r(&s)],
            &["--name", "three", "db"],
            "one-at",
        )
        .code(11);
        a.check_and_stop(&one.at);
        b.check_and_stop(&two.at);
        one.umount();
        two.umount();
    }
}

/// Commits ten versions of one SQLite file to the repository of `s`. Its only row contains the
/// number of the version.
fn ten_versions(s: &Sandbox) {
    for n in 1..=10 {
        let sql = format!(
            "create table if not exists t (n int); delete from t; insert into t values ({n})"
        );
        run("sqlite3", &[s.w("db").to_str().unwrap(), &sql]);
        s.dvc(["commit", "-m", &format!("number {n}")]).ok();
    }
}

#[test]
fn ten_versions_give_ten_answers() {
    if !possible() {
        return;
    }
    let s = Sandbox::with_repo();
    ten_versions(&s);
    let mounts: Vec<Mount<'_>> = (1..=10)
        .map(|n| Mount::new(&s, &[], &[&format!("main@v{n}")], &format!("m{n}")))
        .collect();
    let ask = |mount: &Mount<'_>, sql: &str| {
        run("sqlite3", &[mount.join("db").to_str().unwrap(), sql])
            .trim()
            .to_owned()
    };
    for (n, mount) in (1..).zip(&mounts) {
        assert_eq!(ask(mount, "select n from t"), n.to_string());
    }
    std::thread::scope(|scope| {
        for (n, mount) in (1..).zip(&mounts) {
            scope.spawn(move || {
                for _ in 0..10 {
                    ask(mount, &format!("update t set n = n + {n}"));
                }
            });
        }
    });
    for (n, mount) in (1..).zip(&mounts) {
        assert_eq!(
            ask(mount, "select n from t; pragma integrity_check"),
            format!("{}\nok", n * 11)
        );
    }
    let listed = s.dvc(["mount", "--json"]).ok().json_lines();
    for mount in &mounts {
        let at = mount.at.to_str().unwrap();
        assert!(
            listed
                .iter()
                .any(|l| l["mount_point"] == at && l["alive"] == true),
            "{at}"
        );
    }
    mounts.into_iter().for_each(Mount::umount);
    assert_eq!(
        run("sqlite3", &[s.w("db").to_str().unwrap(), "select n from t"]).trim(),
        "10"
    );
}

/// Ten versions of a database are committed while its server runs. Then ten servers run at the same
/// time, each on one of the versions.
#[test]
fn ten_servers_run_on_ten_versions() {
    const VERSIONS: u64 = 10;
    if !possible() {
        return;
    }
    let engine = Engine::MariaDb;
    let s = with_database(engine);
    let mount = mount_database(&s, engine, &["--live", "db"], "making");
    let running = run_on(engine, &mount);
    for n in 1..VERSIONS {
        running.sql(&format!("insert into t0 values ({n}, 'of version')"));
        mount.dvc(&["commit", "-m", "next"]).ok();
    }
    running.stop();
    mount.try_umount(&["--discard"]).ok();
    let mounts: Vec<_> = (1..=VERSIONS)
        .map(|n| {
            mount_database(
                &s,
                engine,
                &["--ephemeral", &format!("db@v{n}")],
                &format!("m{n}"),
            )
        })
        .collect();
    let at_once = |work: &(dyn Fn(u64, &Mount<'_>) -> Running + Sync)| -> Vec<Running> {
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..)
                .zip(&mounts)
                .map(|(n, m)| scope.spawn(move || work(n, m)))
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        })
    };
    let servers = at_once(&|n, mount| {
        Running::MariaDb(MariaDb::start_small(&mount.at, s.at(format!("s{n}"))))
    });
    // Each server reads the rows of its own version and adds a row to it.
    for (n, server) in (0..).zip(&servers) {
        assert_eq!(server.count(0), (n, n));
        server.sql(&format!(
            "insert into t0 values ({}, 'of this one')",
            1000 + n
        ));
    }
    for (n, server) in (0..).zip(&servers) {
        assert_eq!(server.count(0), (1000 + n, n + 1));
    }
    std::thread::scope(|scope| {
        for (server, mount) in servers.into_iter().zip(&mounts) {
            scope.spawn(|| server.check_and_stop(&mount.at));
        }
    });
    mounts.into_iter().for_each(Mount::umount);
    s.dvc(["--repo", &r(&s), "fsck", "--data"])
        .ok()
        .says("no damage");
}
