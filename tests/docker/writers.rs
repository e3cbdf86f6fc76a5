//! Containers write to a volume continuously, and some of them are restarted. Each version contains
//! a prefix of every log, and concurrent commits lose no data.

use std::fs;
use std::path::PathBuf;

use crate::engine::Engine;
use crate::support::sandbox::{Run, Sandbox};

const WRITERS: usize = 3;
const VERSIONS: usize = 6;

/// Appends numbers to a log, one per line. Continues after the last number in it.
const WRITER: &str =
    "n=$(wc -l < $LOG 2>/dev/null || echo 0); while true; do n=$((n+1)); echo $n >> $LOG; done";

#[test]
fn every_version_of_a_log_is_its_beginning() {
    let Some(engine) = Engine::shared() else {
        return;
    };
    let mut s = Sandbox::new();
    s.set("DOCKER_HOST", &engine.host());
    let repo = s.at("r").display().to_string();
    s.dvc(["init", "--repo", &repo]).ok();
    engine.make_volume("t7", &[]);
    let volume = PathBuf::from(engine.docker(["volume", "inspect", "-f", "{{.Mountpoint}}", "t7"]));
    let name = |w: usize| format!("t7-{w}");
    for w in 0..WRITERS {
        let log = format!("LOG=/v/log{w}");
        engine.docker([
            "run",
            "-d",
            "--name",
            &name(w),
            "-e",
            &log,
            "-v",
            "t7:/v",
            engine.image(),
            "sh",
            "-c",
            WRITER,
        ]);
    }
    engine.docker([
        "run",
        "-d",
        "--name",
        "t7-r",
        "-v",
        "t7:/v:ro",
        engine.image(),
        "tail",
        "-f",
        "/v/log0",
    ]);
    let commit = |quiesce: &str| {
        let mut c = s.command(["--repo", &repo, "-C"]);
        c.arg(&volume)
            .args(["commit", "-q", "-m", "x", "--quiesce", quiesce])
            .spawn()
            .unwrap()
    };
    for round in 0..VERSIONS {
        // Run two concurrent commits without a pause. With pauses, one of them would resume a
        // container while the other still reads. Then run one commit with a pause.
        let (one, two) = (commit("none"), commit("none"));
        for done in [one, two] {
            let code = done.wait_with_output().unwrap().status.code();
            assert!(matches!(code, Some(0 | 3)), "{code:?}");
        }
        let paused = Run::of(s.command(["--repo", &repo, "-C"]).arg(&volume).args([
            "commit",
            "-m",
            "p",
            "--quiesce",
            "docker:pause",
        ]));
        paused.ok();
        engine.docker(["restart", "-t", "0", &name(round % WRITERS)]);
    }
    let all: Vec<String> = (0..WRITERS).map(name).chain(["t7-r".to_owned()]).collect();
    engine.docker(
        ["rm", "-f"]
            .into_iter()
            .chain(all.iter().map(String::as_str)),
    );
    let last: Vec<Vec<u8>> = (0..WRITERS)
        .map(|w| fs::read(volume.join(format!("log{w}"))).unwrap())
        .collect();
    let log = s.dvc(["--repo", &repo, "log", "--json"]).ok();
    let ids: Vec<String> = log
        .json_lines()
        .iter()
        .map(|v| v["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(ids.len() > VERSIONS, "{}", ids.len());
    for id in &ids {
        for (w, last) in last.iter().enumerate() {
            let shown = s.dvc(["--repo", &repo, "show", &format!("{id}:log{w}")]);
            if shown.code == 0 {
                assert!(
                    last.starts_with(&shown.bytes),
                    "log{w} of {id} is not a prefix of the last log"
                );
            }
        }
    }
    s.dvc(["--repo", &repo, "fsck", "--data"]).ok();
    engine.docker(["volume", "rm", "t7"]);
}
