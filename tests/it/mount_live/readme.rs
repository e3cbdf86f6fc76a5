//! The README's example of a production database on a laptop, executed as printed.

use std::path::Path;

use super::{detach, possible_as_root};
use crate::support::databases::mariadb::{self, MariaDb};
use crate::support::needs::need;
use crate::support::sandbox::Sandbox;
use crate::support::servers::s3::{S3, Switches};

/// Returns the lines of the code block that starts with a lazy clone.
fn block() -> Vec<&'static str> {
    let readme = include_str!("../../../README.md");
    let blocks = readme.split("```").skip(1).step_by(2);
    let block = blocks.map(str::lines).find(|lines| {
        lines
            .clone()
            .nth(1)
            .is_some_and(|line| line.contains("clone --lazy"))
    });
    block.unwrap().skip(1).collect()
}

/// Creates a repository at `url` with one version of a database.
fn publish(s: &Sandbox, url: &str) {
    let data = s.at("production");
    mariadb::install(&data);
    let server = MariaDb::start(&data, s.at("production.sock"));
    server.sql("create database shop");
    server.sql("create table shop.prices (id int primary key auto_increment, p decimal(10,2))");
    server.sql("insert into shop.prices (p) select seq from mysql.seq_1_to_5000");
    server.stop();
    s.dvc(["init", "--repo", "../r", "-b", "AMCC"]).ok();
    let repository = s.at("r");
    let repository = repository.to_str().unwrap();
    s.dvc([
        "--repo",
        repository,
        "-C",
        "../production",
        "commit",
        "-b",
        "AMCC",
        "-m",
        "nightly",
    ])
    .ok();
    s.dvc(["--repo", repository, "push", url, "AMCC"]).ok();
}

/// Adapts a line to the test: no `sudo`, and a server with its own socket.
fn adapted(line: &str, url: &str, s: &Sandbox) -> String {
    let socket = s.at("laptop.sock");
    let (socket, mnt) = (socket.display(), s.at("mnt"));
    let client = format!("--no-defaults -uroot --socket='{socket}'");
    let command = line
        .strip_prefix("$ ")
        .unwrap()
        .split("  # ")
        .next()
        .unwrap()
        .trim_end();
    let command = command
        .replace("sudo ", "")
        .replace("s3://backups/amcc", &format!("'{url}'"));
    let command = command.replace("/mnt/db", mnt.to_str().unwrap());
    let server = format!(
        "'{}' --no-defaults --skip-networking --socket='{socket}' --innodb-buffer-pool-size=32M",
        need("mariadbd").display()
    );
    match command.split(' ').next() {
        // Users wait until the server answers, so the script must wait, too.
        Some("mariadbd") => format!(
            "{} > ../laptop.log 2>&1 &\nserver=$!; trap 'kill $server 2> /dev/null || true' EXIT\n\
             until mariadb-admin {client} ping > /dev/null 2>&1; do kill -0 $server; sleep 0.1; done",
            command
                .replace("mariadbd", &server)
                .trim_end_matches('&')
                .trim_end()
        ),
        Some("mariadb") => command.replacen("mariadb", &format!("mariadb {client}"), 1),
        Some("mariadb-admin") => {
            command.replacen("mariadb-admin", &format!("mariadb-admin {client}"), 1) + "\nwait"
        }
        _ => command,
    }
}

/// Returns whether a line is a row of `diff --stat`: name, size and change.
fn is_row(line: &str) -> bool {
    let cells: Vec<&str> = line.split(" | ").collect();
    line.starts_with(' ') && cells.len() == 3 && cells[1].ends_with('B')
}

#[test]
fn a_production_database_is_branched_as_the_readme_types_it() {
    if !possible_as_root() {
        return;
    }
    let mut s = Sandbox::new();
    let s3 = S3::start(Switches::default());
    for (name, value) in s3.env() {
        s.set(name, &value);
    }
    s.set("DVC_AUTHOR", "Ann <ann@example.org>");
    let url = s3.url("backups/amcc");
    publish(&s, &url);
    let lines = block();
    let typed: Vec<String> = lines
        .iter()
        .filter(|line| line.starts_with("$ "))
        .map(|line| adapted(line, &url, &s))
        .collect();
    assert!(typed.len() >= 10, "{typed:?}");
    let _mount = Unmounted(&s.at("mnt"));
    let run = s.sh(&typed.join("\n")).ok();
    // The sample in the README has the format of the real output, and lists the file that always
    // changes.
    let sample: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| line.starts_with(' '))
        .collect();
    let (sum, rows) = sample.split_last().unwrap();
    assert!(
        rows.iter().all(|row| is_row(row))
            && rows.iter().any(|row| row.starts_with(" ib_logfile0 ")),
        "{sample:?}"
    );
    for part in ["ib_logfile0", "[prices v2 ", "prices ", " files changed, "] {
        assert!(run.out.contains(part), "no `{part}` in {}", run.out);
    }
    let printed: Vec<&str> = run
        .out
        .lines()
        .filter(|line| line.contains(" | "))
        .collect();
    assert!(
        !printed.is_empty() && printed.iter().all(|row| is_row(row)),
        "{}",
        run.out
    );
    assert!(
        sum.contains(" files changed, ") && sum.contains(" ranges"),
        "{sum}"
    );
    let log = s
        .dvc(["--repo", &url, "log", "--format=%s", "prices"])
        .ok()
        .out;
    assert_eq!(log, "ten percent\nnightly\n");
    assert_eq!(
        s.dvc(["--repo", &url, "log", "--format=%s", "AMCC"])
            .ok()
            .out,
        "nightly\n"
    );
}

/// Unmounts when the test ends, even if it fails.
struct Unmounted<'a>(&'a Path);

impl Drop for Unmounted<'_> {
    fn drop(&mut self) {
        detach(self.0);
    }
}
