//! Forgotten versions: by name and by policy, protections, the trash, copies of a repository, and
//! what other commands say about them.

mod copies;
mod names;
mod policies;
mod protected;
mod races;
mod trash;

use serde_json::Value;

use crate::support::sandbox::{Run, Sandbox};
use crate::support::zoo::noise;

/// A repository whose branch `main` has a version for each of some times.
struct History {
    s: Sandbox,
}

impl History {
    /// Commits one version for each day of January 2024.
    fn days(count: u64) -> Self {
        Self::at((1..=count).map(|day| format!("2024-01-{day:02}T03:00:00Z")))
    }

    /// Commits one version for each time. Version N has N in the file `n`, and data of its own.
    fn at(times: impl IntoIterator<Item = String>) -> Self {
        let mut s = Sandbox::with_repo();
        s.set("DVC_AUTHOR", "Ann <ann@example.org>");
        let history = Self { s };
        for (n, time) in (1u64..).zip(times) {
            history.commit(n, &time);
        }
        history
    }

    fn commit(&self, n: u64, time: &str) {
        self.s.write("n", format!("{n}\n"));
        self.s.write("data", noise(n, 60_000));
        self.s
            .dvc(["commit", "-m", &format!("c{n}"), "--time", time])
            .ok();
    }

    fn forget(&self, args: &[&str]) -> Run {
        self.s.dvc([&["forget"], args].concat())
    }

    /// Runs `forget --json`.
    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        self.s
            .dvc([&["--json", "forget"], args].concat())
            .ok()
            .json()
    }

    /// The numbers of the versions that a dry run would keep.
    #[track_caller]
    fn kept(&self, args: &[&str]) -> Vec<u64> {
        ordinals(&self.json(&[args, &["-n"]].concat()), false)
    }

    /// The numbers of the versions that `log` lists, with the marks of forgotten ones.
    #[track_caller]
    fn log(&self, args: &[&str]) -> Vec<String> {
        let run = self
            .s
            .dvc([&["log", "--oneline", "--reverse"], args].concat())
            .ok();
        run.out.lines().map(marked).collect()
    }

    /// Deletes all data that only forgotten versions need.
    fn gc(&self) {
        self.s
            .dvc([
                "-c",
                "gc.keep-log=0",
                "-y",
                "gc",
                "--now",
                "--keep-trash",
                "0",
                "--max-unused",
                "0",
            ])
            .ok();
    }
}

/// `1c0ffee0 (forgotten) v3 c3` becomes `v3 forgotten`.
fn marked(line: &str) -> String {
    let version = line.split(' ').find(|word| word.starts_with('v')).unwrap();
    ["forgotten", "in the trash"]
        .iter()
        .find(|mark| line.contains(*mark))
        .map_or_else(|| version.to_owned(), |mark| format!("{version} {mark}"))
}

/// The numbers of the versions of a report that are forgotten or kept, ascending.
fn ordinals(report: &Value, forgotten: bool) -> Vec<u64> {
    let versions = report["versions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|v| v["forgotten"] == forgotten);
    let mut all: Vec<u64> = versions
        .map(|v| {
            v["name"]
                .as_str()
                .unwrap()
                .rsplit('v')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    all.sort_unstable();
    all
}
