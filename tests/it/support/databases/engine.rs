//! The same tables of numbered rows in MariaDB, PostgreSQL and SQLite, with the same operations on
//! each engine.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::needs::{need, run};
use super::mariadb::{self, MariaDb};
use super::postgres::{self, Postgres};
use super::writer::Writer;

/// Number of concurrent clients; each writes into its own table.
pub const WRITERS: u64 = 3;
/// Number of rows in the table `old`.
const ROWS: u64 = 4000;

/// A database engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    MariaDb,
    Postgres,
    Sqlite,
}

/// A running database. For SQLite, which has no server, only the path of the file.
pub enum Running {
    MariaDb(MariaDb),
    Postgres(Postgres),
    Sqlite(PathBuf),
}

impl Engine {
    /// Returns whether the server runs as a different user than the tests.
    pub fn is_other_user(self) -> bool {
        self == Self::Postgres && super::super::needs::is_root()
    }

    /// Creates a data directory with the tables, and stops the server.
    pub fn install(self, data: &Path, socket: &Path) {
        match self {
            Self::MariaDb => mariadb::install(data),
            Self::Postgres => postgres::install(data),
            Self::Sqlite => std::fs::create_dir(data).unwrap(),
        }
        let running = self.start(data, socket);
        if self == Self::Sqlite {
            // Switch to WAL mode now, because no connection can switch while others write.
            running.sql("pragma journal_mode = wal");
        }
        for w in 0..WRITERS {
            running.sql(&format!("create table t{w} (n int primary key, x text)"));
        }
        let old = "create table old (n int primary key, x text)";
        running.sql(&match self {
            Self::Postgres => {
                format!("{old}; insert into old select i, repeat(md5(i::text), 20) from generate_series(1, {ROWS}) i")
            }
            Self::MariaDb => format!("{old}; insert into old select seq, repeat(md5(seq), 20) from seq_1_to_{ROWS}"),
            Self::Sqlite => format!(
                "{old}; insert into old with recursive s(i) as (select 1 union all select i + 1 from s where i < {ROWS}) \
                 select i, hex(randomblob(320)) from s"
            ),
        });
        running.stop();
    }

    /// Starts the engine on a data directory. `socket` is the path of the socket; for PostgreSQL,
    /// it is the directory of the socket.
    pub fn start(self, data: &Path, socket: &Path) -> Running {
        match self {
            Self::MariaDb => Running::MariaDb(MariaDb::start(data, socket.to_path_buf())),
            Self::Postgres => Running::Postgres(Postgres::start(data, socket.to_path_buf())),
            Self::Sqlite => Running::Sqlite(data.join("db")),
        }
    }
}

/// An SQLite client in WAL mode that inserts rows on request and prints each number once its row is
/// durable.
const SQLITE: &str = "
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=100)
db.execute('pragma journal_mode = wal')
db.execute('pragma synchronous = full')
for line in sys.stdin:
    n, *rest = line.split('|')
    db.execute('begin immediate')
    for sql in rest:
        db.execute(sql)
    db.execute('commit')
    print(n, flush=True)
";

impl Running {
    /// Runs a statement. Returns its output.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        match self {
            Self::MariaDb(server) => server.sql(&format!(
                "create database if not exists shop; use shop; {sql}"
            )),
            Self::Postgres(server) => server.sql(sql),
            Self::Sqlite(file) => run(
                "sqlite3",
                &["-cmd", ".timeout 100000", file.to_str().unwrap(), sql],
            ),
        }
        .trim()
        .to_owned()
    }

    /// Starts a client that inserts rows 1, 2, 3 ... into table `t<w>` and changes a row of `old`
    /// in each transaction.
    pub fn writer(&self, w: u64) -> Writer {
        let rows = move |n: u64| {
            let text = format!("{n:08}").repeat(usize::try_from(20 + n % 200).unwrap());
            let old = (n * WRITERS + w) * 7919 % ROWS + 1;
            [
                format!("insert into t{w} values ({n}, '{text}')"),
                format!("update old set x = '{text}' where n = {old}"),
            ]
        };
        let sql = move |n| {
            let [insert, update] = rows(n);
            format!("begin; {insert}; {update}; commit;\nselect {n};\n")
        };
        match self {
            Self::MariaDb(server) => {
                let mut client = server.client();
                client.arg("shop");
                Writer::start(client, sql)
            }
            Self::Postgres(server) => Writer::start(server.sql_client(), sql),
            Self::Sqlite(file) => {
                let mut client = Command::new(need("python3"));
                client.args(["-c", SQLITE]).arg(file);
                Writer::start(client, move |n| {
                    let [insert, update] = rows(n);
                    format!("{n}|{insert}|{update}\n")
                })
            }
        }
    }

    /// Returns the highest number in table `t<w>` and its number of rows.
    #[track_caller]
    pub fn count(&self, w: u64) -> (u64, u64) {
        let said = self.sql(&format!("select coalesce(max(n), 0), count(*) from t{w}"));
        let mut numbers = said
            .split(['\t', '|'])
            .map(|n| n.parse().unwrap_or_else(|e| panic!("{said}: {e}")));
        (numbers.next().unwrap(), numbers.next().unwrap())
    }

    /// Asserts that the engine's own check reports no error.
    #[track_caller]
    pub fn check(&self) {
        match self {
            Self::MariaDb(server) => {
                (0..WRITERS)
                    .map(|w| format!("t{w}"))
                    .chain(["old".to_owned()])
                    .for_each(|t| {
                        server.check(&format!("shop.{t}"));
                    });
            }
            Self::Postgres(server) => server.check(),
            Self::Sqlite(_) => assert_eq!(self.sql("pragma integrity_check"), "ok"),
        }
    }

    /// Stops the engine cleanly.
    pub fn stop(self) {
        match self {
            Self::MariaDb(server) => server.stop(),
            Self::Postgres(server) => server.stop(),
            Self::Sqlite(_) => {}
        }
    }

    /// Kills the engine, as a power failure would.
    pub fn kill(self) {
        drop(self);
    }

    /// Asserts that the engine's own check reports no error, and stops the engine. For PostgreSQL,
    /// then also verifies the data checksums.
    #[track_caller]
    pub fn check_and_stop(self, data: &Path) {
        self.check();
        let is_postgres = matches!(self, Self::Postgres(_));
        self.stop();
        if is_postgres {
            postgres::checksums(data);
        }
    }
}
