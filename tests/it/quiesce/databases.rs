//! Quiescing with `mariadb:` and `postgres:` and real servers: the server blocks writes or is in
//! backup mode while it is quiesced, and this state always ends.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use rustix::process::Pid;

use super::until;
use crate::support::databases::mariadb::{self, MariaDb};
use crate::support::databases::postgres::{self, Postgres};
use crate::support::held::Held;
use crate::support::needs;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::program::with_descendants;

/// Creates a repository, and a sandbox that the users of database servers can access.
fn sandbox() -> Sandbox {
    use std::os::unix::fs::PermissionsExt;
    let s = Sandbox::new();
    std::fs::set_permissions(s.root(), std::fs::Permissions::from_mode(0o711)).unwrap();
    s.dvc(["init", "--repo", s.at("r").to_str().unwrap()]).ok();
    std::fs::write(s.w("file"), "content").unwrap();
    s
}

fn command(s: &Sandbox, profile: &str, limit: &str) -> Command {
    let mut c = s.command(["--repo"]);
    c.arg(s.at("r")).args([
        "commit",
        "-m",
        "x",
        "--quiesce-timeout",
        limit,
        "--quiesce",
        profile,
    ]);
    c
}

fn versions(s: &Sandbox) -> usize {
    let log = Run::of(s.command(["--repo"]).arg(s.at("r")).args(["log", "--json"]));
    if log.code == 0 {
        log.json_lines().len()
    } else {
        0
    }
}

/// Returns the command lines of processes, one per line.
fn arguments_of(pids: Vec<Pid>) -> String {
    let read = |pid: Pid| {
        std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default()
    };
    pids.into_iter()
        .map(|pid| String::from_utf8_lossy(&read(pid)).replace('\0', " ") + "\n")
        .collect()
}

#[test]
fn mariadb_accepts_no_commits_while_it_is_quiesced() {
    let s = sandbox();
    mariadb::install(&s.at("data"));
    let server = MariaDb::start(&s.at("data"), s.at("m.sock"));
    server.sql("create database shop; create table shop.t (n int primary key) engine = innodb");
    let profile = format!("mariadb:{}", s.at("m.sock").display());
    let insert = |n: u32, patience: u32| {
        server.run(&format!(
            "set lock_wait_timeout = {patience}; insert into shop.t values ({n})"
        ))
    };
    // A statement that waits for the global lock times out. Only the error message shows that the
    // lock is the cause, because the row may also exist already.
    let locked =
        || insert(0, 1).is_err_and(|e| e.contains("Lock wait timeout") || e.contains("1205"));
    let free = |n| insert(n, 60).unwrap();

    let held = Held::start(&mut command(&s, &profile, "1h"));
    until("the tables are locked", locked);
    held.go_on().ok().complains("locked the tables");
    free(1);
    assert_eq!(versions(&s), 1);

    s.write("file", "other");
    let held = Held::start(&mut command(&s, &profile, "1h"));
    until("the tables are locked", locked);
    held.kill();
    free(2);
    assert_eq!(versions(&s), 1);

    // If the session ends early, data may have been written in the meantime, so no version is
    // created.
    let held = Held::start(&mut command(&s, &profile, "1h"));
    until("the tables are locked", locked);
    let id = server
        .sql("select id from information_schema.processlist where id <> connection_id() and user = 'root' limit 1");
    server.sql(&format!("kill connection {id}"));
    held.go_on()
        .code(7)
        .complains("the database session ended too early");
    free(3);

    // Another client has locked a table. The commit gives up after its time limit.
    let mut busy = server
        .client()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    busy.stdin
        .as_mut()
        .unwrap()
        .write_all(b"lock tables shop.t write;\nselect 'mine';\n")
        .unwrap();
    let mut line = String::new();
    BufReader::new(busy.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "mine\n");
    Run::of(&mut command(&s, &profile, "2s")).code(7);
    busy.kill().unwrap();
    busy.wait().unwrap();
    free(4);
    assert_eq!(versions(&s), 1);

    // Check a server that does not run, and a password from the environment.
    server.sql(
        "create user 'u'@'localhost' identified by 'word'; grant all on *.* to 'u'@'localhost'",
    );
    Run::of(&mut command(&s, "mariadb:/no/such.sock", "30s"))
        .code(7)
        .complains("/no/such.sock");
    std::fs::write(s.at("home/.my.cnf"), "[client]\nuser = u\n").unwrap();
    let with = |password: &str| {
        Run::of(command(&s, &profile, "30s").env("DVC_QUIESCE_PASSWORD", password))
    };
    let said = with("wrong-word").code(7).complains("Access denied");
    assert!(!said.err.contains("wrong-word"), "{}", said.err);
    with("word").ok();
    assert_eq!(versions(&s), 2);

    // The password is not visible in the process list.
    s.write("file", "once more");
    server.sql("alter user 'u'@'localhost' identified by 'seen-by-nobody'");
    let held =
        Held::start(command(&s, &profile, "1h").env("DVC_QUIESCE_PASSWORD", "seen-by-nobody"));
    until("the tables are locked", locked);
    let arguments = arguments_of(with_descendants(held.pid()));
    assert!(
        arguments.contains("mariadb") && !arguments.contains("seen-by-nobody"),
        "{arguments}"
    );
    held.go_on().ok();
    free(5);
    server.stop();
}

#[test]
fn postgres_is_in_backup_mode_while_it_is_quiesced() {
    let s = sandbox();
    postgres::install(&s.at("data"));
    let server = Postgres::start(&s.at("data"), s.at("p"));
    if needs::is_root() {
        // The client runs as root, for which the server has no role yet.
        server.sql("create role root superuser login");
    }
    let own = format!("postgres:{}", s.at("p").display());
    let sessions = || {
        server
            .sql("select count(*) from pg_stat_activity where query like '%dvc-quiesced%' and pid <> pg_backend_pid()")
    };
    let ends = || until("the session ends", || sessions() == "0");
    // By default, the client would use the user name as the name of the database.
    let commit = |profile: &str, limit: &str| {
        let mut c = command(&s, profile, limit);
        c.env("PGDATABASE", "postgres");
        c
    };
    server.sql("alter system set log_statement = 'all'");
    server.sql("select pg_reload_conf()");
    // Counts the backups that were stopped and those that were aborted, from the server's log.
    let backups = || {
        let log = server.log();
        let count = |text: &str| log.matches(text).count();
        (
            count("statement: SELECT count(*) FROM pg_backup_stop"),
            count("WARNING:  aborting backup"),
        )
    };
    let held = Held::start(&mut commit(&own, "1h"));
    until("it is in backup mode", || sessions() == "1");
    assert_eq!(backups(), (0, 0));
    held.go_on().ok().complains("backup mode");
    ends();
    assert_eq!((backups(), versions(&s)), ((1, 0), 1));

    s.write("file", "other");
    let held = Held::start(&mut commit(&own, "1h"));
    until("it is in backup mode", || sessions() == "1");
    held.kill();
    ends();
    // The watchdog ends the backup with `pg_backup_stop`; the server does not have to abort it.
    assert_eq!((backups(), versions(&s)), ((2, 0), 1));

    let held = Held::start(&mut commit(&own, "1h"));
    until("it is in backup mode", || sessions() == "1");
    server.sql("select pg_terminate_backend(pid) from pg_stat_activity where query like '%dvc-quiesced%' and pid <> pg_backend_pid()");
    held.go_on()
        .code(7)
        .complains("the database session ended too early");
    Run::of(&mut commit("postgres:/no/such", "30s"))
        .code(7)
        .complains("/no/such");
    Run::of(&mut commit("postgres://nobody@127.0.0.1:1/x", "30s")).code(7);
    assert_eq!(versions(&s), 1);
    server.stop();
}
