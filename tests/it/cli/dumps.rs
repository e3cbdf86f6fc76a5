//! `commit --exec` with the dump of a real database: streamed, stored as deltas, and read back into
//! a server.

use std::io::Write;
use std::process::Stdio;

use crate::support::databases::mariadb::{self, MariaDb};
use crate::support::needs;
use crate::support::sandbox::{Run, Sandbox};

/// Number of rows of the table. Each takes about 100 bytes in a dump.
const ROWS: u32 = 40_000;

#[test]
fn a_streamed_dump_is_a_version_and_the_next_one_costs_what_changed() {
    use std::os::unix::fs::PermissionsExt;
    let s = Sandbox::new();
    std::fs::set_permissions(s.root(), std::fs::Permissions::from_mode(0o711)).unwrap();
    mariadb::install(&s.at("data"));
    let server = MariaDb::start(&s.at("data"), s.at("m.sock"));
    let table = "n int primary key, a char(32), b char(32)";
    server.sql(&format!(
        "create database shop; use shop; create table t ({table}) engine = innodb;\
         insert into t select seq, md5(seq), md5(seq * 7) from seq_1_to_{ROWS}"
    ));
    s.dvc(["init", "--repo", "../r"]).ok();
    let dump = needs::need("mariadb-dump");
    let commit = |database: &str, message: &str| {
        let mut c = s.command([
            "--repo", "../r", "commit", "--json", "-b", "dump", "--exec", "shop.sql", "-m",
            message, "--",
        ]);
        c.arg(&dump).args([
            "--no-defaults",
            "-uroot",
            "--single-transaction",
            "--skip-dump-date",
        ]);
        Run::of(
            c.arg(format!("--socket={}", s.at("m.sock").display()))
                .arg(database),
        )
    };
    let bytes = |run: &Run, which: &str| run.json()[which].as_u64().unwrap();
    let first = commit("shop", "one").ok();
    let size = bytes(&first, "bytes");
    assert!(
        size > u64::from(ROWS) * 70 && first.json()["ordinal"] == 1,
        "{}",
        first.out
    );
    // An unchanged dump stores no new content. If the dump command fails halfway, no version is
    // created.
    let same = commit("shop", "same").ok();
    assert!(
        bytes(&same, "new_bytes") == 0 && bytes(&same, "stored_bytes") < 4096,
        "{}",
        same.out
    );
    commit("none", "half").code(7);
    // Change a few rows in the middle of the table, insert one and delete one.
    server.sql(&format!(
        "update shop.t set a = 'other' where n between 20000 and 20010; delete from shop.t where n = 30000;\
         insert into shop.t values ({}, 'new', 'row')",
        ROWS + 1
    ));
    let second = commit("shop", "two").ok();
    assert_eq!(second.json()["ordinal"], 3);
    let (new, stored) = (bytes(&second, "new_bytes"), bytes(&second, "stored_bytes"));
    assert!(
        new < size / 4 && stored < bytes(&first, "stored_bytes") / 4,
        "{new} and {stored} of {size}"
    );
    // Load each version into another database: the rows are the same as in the source.
    let sums = |database: &str| {
        server.sql(&format!(
            "select count(*), sum(crc32(concat(n, a, b))) from {database}.t"
        ))
    };
    for (version, database) in [("dump@v1", "past"), ("dump@v3", "present")] {
        let shown = s
            .dvc(["--repo", "../r", "show", &format!("{version}:shop.sql")])
            .ok();
        server.sql(&format!("create database {database}"));
        let mut client = server
            .client()
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        client
            .stdin
            .take()
            .unwrap()
            .write_all(&shown.bytes)
            .unwrap();
        assert!(client.wait().unwrap().success());
    }
    assert_eq!(sums("present"), sums("shop"));
    assert!(sums("past").starts_with(&ROWS.to_string()) && sums("past") != sums("present"));
    server.stop();
}
