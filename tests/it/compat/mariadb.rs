//! A real MariaDB server is stopped, committed, changed and committed again. The server then starts
//! on each restored version.

use crate::support::databases::mariadb::{MariaDb, install};
use crate::support::facts::assert_rsync_agrees;
use crate::support::sandbox::Sandbox;

const TABLES: [&str; 2] = ["shop.orders", "shop.notes"];

fn checksums(server: &MariaDb) -> Vec<String> {
    TABLES
        .map(|t| server.sql(&format!("checksum table {t} extended")))
        .to_vec()
}

#[test]
fn it_runs_on_every_version() {
    let s = Sandbox::new();
    let data = s.w("data");
    let socket = s.at("s");
    install(&data);
    let repo = s.at("r").to_str().unwrap().to_owned();
    s.dvc(["init", "--repo", &repo, "-b", "shop"]).ok();
    let commit = |message| {
        drop(
            s.dvc([
                "--repo", &repo, "-C", "data", "commit", "-b", "shop", "-m", message,
            ])
            .ok(),
        )
    };
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
        let server = MariaDb::start(&data, socket.clone());
        server.sql(change);
        sums.push(checksums(&server));
        server.stop();
        commit(["first", "second", "third"][version]);
    }
    assert!(sums[0] != sums[1] && sums[1] != sums[2]);
    s.dvc(["--repo", &repo, "fsck", "--data"]).ok();
    for (version, sums) in sums.iter().enumerate() {
        let (name, copy) = (
            format!("shop@v{}", version + 1),
            format!("../copy{version}"),
        );
        s.dvc(["--repo", &repo, "checkout", &name, "--into", &copy])
            .ok();
        if version == 2 {
            assert_rsync_agrees(&data, &s.w(&copy));
        }
        let server = MariaDb::start(&s.w(&copy), socket.clone());
        for table in TABLES {
            server.check(table);
        }
        assert_eq!(&checksums(&server), sums, "{name}");
        server.stop();
    }
}
