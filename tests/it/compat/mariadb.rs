//! A real MariaDB: stopped, committed, changed, committed again; it runs on each version that comes back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::facts::assert_rsync_agrees;
use crate::support::needs::{is_root, need};
use crate::support::sandbox::Sandbox;

/// A server on a data directory, stopped when dropped.
struct Server {
    child: Child,
    socket: PathBuf,
}

fn user(command: &mut Command) -> &mut Command {
    if is_root() { command.arg("--user=root") } else { command }
}

fn install(data: &Path) {
    let mut c = Command::new(need("mariadb-install-db"));
    c.arg("--no-defaults");
    user(&mut c).arg(format!("--datadir={}", data.display())).arg("--auth-root-authentication-method=normal");
    let out = c.arg("--skip-test-db").output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

impl Server {
    fn start(data: &Path, socket: PathBuf) -> Self {
        let log = fs::File::create(socket.with_extension("log")).unwrap();
        let mut c = Command::new(need("mariadbd"));
        c.args(["--no-defaults", "--skip-networking", "--innodb-buffer-pool-size=64M"]);
        user(&mut c).arg(format!("--datadir={}", data.display())).arg(format!("--socket={}", socket.display()));
        c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut server = Self { child: c.spawn().unwrap(), socket };
        let until = Instant::now() + Duration::from_secs(120);
        while server.run("select 1").is_err() {
            let log = || fs::read_to_string(server.socket.with_extension("log")).unwrap_or_default();
            assert!(server.child.try_wait().unwrap().is_none(), "the server ended: {}", log());
            assert!(Instant::now() < until, "the server does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        server
    }

    fn run(&self, sql: &str) -> Result<String, String> {
        let mut c = Command::new(need("mariadb"));
        c.args(["--no-defaults", "-uroot", "-N", "-e", sql]).arg(format!("--socket={}", self.socket.display()));
        let out = c.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
    }

    fn sql(&self, sql: &str) -> String {
        self.run(sql).unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// Shuts it down cleanly.
    fn stop(mut self) {
        self.sql("shutdown");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone if it was stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const TABLES: [&str; 2] = ["shop.orders", "shop.notes"];

fn checksums(server: &Server) -> Vec<String> {
    TABLES.map(|t| server.sql(&format!("checksum table {t} extended"))).to_vec()
}

#[test]
fn it_runs_on_every_version() {
    let s = Sandbox::new();
    let data = s.w("data");
    let socket = s.at("s");
    install(&data);
    let repo = s.at("r").to_str().unwrap().to_owned();
    s.dvc(["init", "--repo", &repo, "-b", "shop"]).ok();
    let commit = |message| drop(s.dvc(["--repo", &repo, "-C", "data", "commit", "-b", "shop", "-m", message]).ok());
    let changes = [
        "create database shop;
         create table shop.orders (id int primary key auto_increment, what varchar(200), n int, key (n)) engine=InnoDB;
         create table shop.notes (id int primary key, note text) engine=Aria;
         insert into shop.orders (what, n)
            with recursive s(i) as (select 1 union all select i + 1 from s where i < 300)
            select concat(md5(a.i), md5(b.i), md5(a.i * b.i)), a.i % 100 from s a join s b where b.i <= 100;
         insert into shop.notes select id, repeat(what, 3) from shop.orders where id % 10 = 0",
        "update shop.orders set what = reverse(what) where id % 500 = 0; delete from shop.notes where id % 30 = 0",
        "alter table shop.orders add column late int default 7; insert into shop.orders (what, n) values ('new', 1)",
    ];
    let mut sums = Vec::new();
    for (version, change) in changes.iter().enumerate() {
        let server = Server::start(&data, socket.clone());
        server.sql(change);
        sums.push(checksums(&server));
        server.stop();
        commit(["first", "second", "third"][version]);
    }
    assert!(sums[0] != sums[1] && sums[1] != sums[2]);
    s.dvc(["--repo", &repo, "fsck", "--data"]).ok();
    for (version, sums) in sums.iter().enumerate() {
        let (name, copy) = (format!("shop@v{}", version + 1), format!("../copy{version}"));
        s.dvc(["--repo", &repo, "checkout", &name, "--into", &copy]).ok();
        if version == 2 {
            assert_rsync_agrees(&data, &s.w(&copy));
        }
        let server = Server::start(&s.w(&copy), socket.clone());
        for table in TABLES {
            let found = server.sql(&format!("check table {table} extended"));
            assert!(found.ends_with("status\tOK"), "{name}: {found}");
        }
        assert_eq!(&checksums(&server), sums, "{name}");
        server.stop();
    }
}
