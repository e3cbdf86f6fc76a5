//! Commands as a user types them, and their output: one file per verb.

mod branch;
mod checkout;
mod commit;
mod completions;
mod config;
mod diff;
mod doctor;
mod dry_run;
mod du;
mod dumps;
mod export;
mod failures;
mod foreign;
mod fsck;
mod hooks;
mod ignored;
mod import;
mod limits;
mod log;
mod ls;
mod named;
mod show;
mod signals;
mod status;
mod streams;
mod tag;
mod tour;
mod undo;

use crate::support::sandbox::{Run, Sandbox};

/// Creates a worktree with its repository and a fixed author.
fn fresh() -> Sandbox {
    let mut s = Sandbox::new();
    s.set("DVC_AUTHOR", "Ann <ann@example.org>");
    s.dvc(["init"]).ok();
    s
}

/// Commits with the time 03:00 UTC on `day` November 2026.
fn commit(s: &Sandbox, message: &str, day: u32) -> Run {
    s.dvc([
        "commit",
        "-m",
        message,
        "--time",
        &format!("2026-11-{day:02}T03:00:00Z"),
    ])
    .ok()
}

/// Creates three versions of two files and leaves the third in the worktree.
fn three() -> Sandbox {
    let s = fresh();
    s.write("a.txt", "one\n");
    s.write("d/big", vec![7; 300_000]);
    commit(&s, "first", 1);
    s.write("a.txt", "two\n");
    commit(&s, "second\n\nwith a body", 2);
    s.write("d/more", "more\n");
    commit(&s, "third", 3);
    s
}

/// Masks ids and stored sizes, which differ from run to run, and removes trailing spaces.
fn masked(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let line = match (line.rfind('('), line.strip_suffix(" stored)")) {
            (Some(at), Some(_)) => &format!("{}(<n> stored)", &line[..at]),
            _ => line,
        };
        let mut word = String::new();
        for c in line.trim_end().chars().chain(['\n']) {
            if c.is_ascii_alphanumeric() {
                word.push(c);
                continue;
            }
            let hex = word
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            match word.len() {
                8 if hex => out.push_str("<id>"),
                64 if hex => out.push_str("<full id>"),
                _ => out.push_str(&word),
            }
            word.clear();
            out.push(c);
        }
    }
    out
}
