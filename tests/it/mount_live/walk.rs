//! The complete workflow: a database is committed, pushed, mounted lazily on another machine,
//! changed, compared, committed while it runs, and pushed. A third machine mounts the new version
//! from its URL and reads the rows.

use super::{Mount, open_way, possible};
use crate::support::databases::mariadb::{self, MariaDb};
use crate::support::sandbox::Sandbox;
use crate::support::servers::registry::Registry;
use crate::support::servers::s3::{S3, Switches};

const MIB: u64 = 1 << 20;

/// Creates a sandbox that acts as a machine with access to a remote.
fn machine(env: &[(&'static str, String)]) -> Sandbox {
    let mut s = Sandbox::new();
    open_way(&s);
    for (name, value) in env {
        s.set(name, value);
    }
    s
}

fn bytes_below(s: &Sandbox, dir: &str) -> u64 {
    let said = crate::support::needs::run("du", &["-sb", s.at(dir).to_str().unwrap()]);
    said.split_whitespace().next().unwrap().parse().unwrap()
}

fn walk(url: &str, env: &[(&'static str, String)]) {
    // The first machine commits a stopped database and pushes it.
    let a = machine(env);
    let data = a.w("data");
    mariadb::install(&data);
    let server = MariaDb::start(&data, a.at("s"));
    server.sql(
        "create database shop; use shop;
         create table orders (id int primary key, what varchar(200), n int, key (n)) engine=InnoDB;
         create table customers (id int primary key, name varchar(100)) engine=InnoDB;
         insert into orders select seq, concat(md5(seq), sha1(seq), md5(seq * 7)), seq % 97 from seq_1_to_60000;
         insert into customers select seq, sha2(seq, 256) from seq_1_to_20000",
    );
    let sum = server.sql("checksum table shop.orders, shop.customers");
    // Purge at shutdown, because the server would otherwise purge rows in the background later and
    // change most pages of the table.
    server.sql("set global innodb_fast_shutdown = 0");
    server.stop();
    let repo = a.at("r").display().to_string();
    a.dvc(["init", "--repo", &repo, "-b", "shop"]).ok();
    a.dvc([
        "--repo", &repo, "-C", "data", "commit", "-b", "shop", "-m", "at rest",
    ])
    .ok();
    a.dvc(["--repo", &repo, "remote", "add", "origin", url])
        .ok();
    let whole = a.dvc(["--repo", &repo, "push", "--json"]).ok().json()["sent_bytes"]
        .as_u64()
        .unwrap();
    assert!(whole > 2 * MIB, "{whole} bytes in all");

    // The second machine runs the database on a lazy mount.
    let b = machine(env);
    b.dvc(["clone", "--lazy", url, "."]).ok();
    assert!(bytes_below(&b, "w/.dvcs") < MIB);
    let mount = Mount::new(&b, &[], &["--live", "shop"], "mnt");
    let server = MariaDb::start(&mount.at, b.at("s"));
    assert_eq!(
        server.sql("select what from shop.orders where id = 31415"),
        a_row(31415)
    );
    let came = mount.counted("fetched_bytes");
    assert!(came > 0 && came < whole, "{came} of {whole} bytes came");
    server.sql(
        "update shop.orders set n = -n where id between 100 and 150; insert into shop.orders values (0, 'new', 5)",
    );
    // Force the server to write the changed pages now, because it would otherwise write them at any
    // later time.
    server.sql("flush tables shop.orders for export; unlock tables");
    let diff = mount.dvc(&["diff", "--stat"]).ok();
    let stat = diff.lines();
    let orders = stat
        .iter()
        .find(|l| l.contains("shop/orders.ibd"))
        .unwrap_or_else(|| panic!("{stat:?}"));
    assert!(orders.contains("range"), "{orders}");
    assert!(stat.iter().all(|l| !l.contains("customers")), "{stat:?}");
    let chunks = mount.dvc(&["diff", "--chunks"]).ok().out;
    assert!(
        chunks.contains("shop/orders.ibd") && !chunks.contains("customers"),
        "{chunks}"
    );
    mount.dvc(&["status"]).ok().says("shop/orders.ibd");

    mount
        .dvc(&["commit", "-m", "while it runs"])
        .ok()
        .says("shop v2");
    let pushed = mount.dvc(&["push", "--json"]).ok().json();
    let sent = pushed["sent_bytes"].as_u64().unwrap();
    let stat = mount
        .dvc(&["diff", "--stat", "shop@v1", "shop@v2"])
        .ok()
        .out;
    assert!(
        sent < whole / 3,
        "{sent} bytes were sent, {whole} are all\n{stat}"
    );
    // Changes after the commit are not part of the version.
    server.sql("delete from shop.orders where id < 50000");

    // The third machine knows only the URL.
    let c = machine(env);
    let third = Mount::new(&c, &[], &[&format!("{url}#shop@v2")], "mnt");
    let state = c.at("home/state/dvc/clones");
    assert!(state.is_dir(), "its clone is where state is kept");
    let copy = MariaDb::start(&third.at, c.at("s"));
    assert_eq!(
        copy.sql("select count(*), min(id), sum(n < 0) from shop.orders"),
        "60001\t0\t51"
    );
    assert_eq!(
        copy.sql("select what from shop.orders where id in (0, 31415)"),
        format!("new\n{}", a_row(31415))
    );
    copy.check("shop.orders");
    copy.sql("update shop.orders set n = -n where n < 0; delete from shop.orders where id = 0");
    assert_eq!(copy.sql("checksum table shop.orders, shop.customers"), sum);
    copy.stop();
    // Changes on this machine do not affect the first version.
    let first = Mount::new(
        &c,
        &[],
        &["--ephemeral", &format!("{url}#shop@v1")],
        "first",
    );
    let old = MariaDb::start(&first.at, c.at("t"));
    assert_eq!(old.sql("checksum table shop.orders, shop.customers"), sum);
    old.stop();
    first.umount();
    third.umount();

    server.stop();
    mount
        .dvc(&["commit", "-m", "at rest again"])
        .ok()
        .says("shop v3");
    mount.dvc(&["push"]).ok();
    mount.umount();
    // The same URL now mounts the newest version.
    let third = Mount::new(&c, &[], &["--ephemeral", &format!("{url}#shop")], "mnt");
    let copy = MariaDb::start(&third.at, c.at("s"));
    assert_eq!(copy.sql("select count(*) from shop.orders"), "10001");
    copy.stop();
    third.umount();
    b.dvc(["--repo", url, "fsck", "--data"])
        .ok()
        .says("no damage");
}

/// Computes the content of a row without the database.
fn a_row(id: u64) -> String {
    let sum = |program: &str, n: u64| {
        let said = crate::support::needs::run("sh", &["-c", &format!("printf %s {n} | {program}")]);
        said.split_whitespace().next().unwrap().to_owned()
    };
    format!(
        "{}{}{}",
        sum("md5sum", id),
        sum("sha1sum", id),
        sum("md5sum", id * 7)
    )
}

#[test]
fn by_s3() {
    if !possible() {
        return;
    }
    let s3 = S3::start(Switches::default());
    walk(&s3.url("volumes"), &s3.env());
}

#[test]
fn by_a_registry() {
    let Some(registry) = Registry::start() else {
        return;
    };
    if possible() {
        walk(&registry.url("volumes"), &[]);
    }
}

/// A version that another machine pushes does not change a running mount.
#[test]
fn a_mount_does_not_follow_other_machines() {
    if !possible() {
        return;
    }
    let s3 = S3::start(Switches::default());
    let (url, env) = (s3.url("volumes"), s3.env());
    let a = machine(&env);
    a.dvc(["init", "-b", "v"]).ok();
    a.write("f", "one");
    a.dvc(["commit", "-m", "one"]).ok();
    a.dvc(["remote", "add", "origin", &url]).ok();
    a.dvc(["push"]).ok();
    let b = machine(&env);
    let mount = Mount::new(&b, &[], &[&format!("{url}#v")], "mnt");
    a.write("f", "two");
    a.dvc(["commit", "-m", "two"]).ok();
    a.dvc(["push"]).ok();
    assert_eq!(std::fs::read(mount.join("f")).unwrap(), b"one");
    std::fs::write(mount.join("g"), "of b").unwrap();
    // The branch has newer versions on the remote. The commit refers to `-b NAME`, whether or not
    // this machine knows these versions.
    let other = Mount::new(&b, &[], &[&format!("{url}#v")], "other");
    assert_eq!(std::fs::read(other.join("f")).unwrap(), b"two");
    other.umount();
    mount
        .dvc(&["commit", "-m", "of b"])
        .code(4)
        .complains("`-b NAME`");
    mount.dvc(&["commit", "-b", "of-b", "-m", "of b"]).ok();
    mount.dvc(&["push"]).ok();
    mount.umount();
    a.dvc(["fetch"]).ok();
    assert_eq!(a.dvc(["show", "origin/of-b:g"]).ok().out, "of b");
}
