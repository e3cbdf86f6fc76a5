//! `gc --status`, the parts of `du`, and `gc --now` beside processes that write.

use std::fs;

use super::races::{Stage, at};
use crate::support::sandbox::{Sandbox, all_below};
use crate::support::zoo::noise;

fn pack_bytes(s: &Sandbox) -> u64 {
    all_below(&s.w(".dvcs/packs"))
        .iter()
        .filter(|path| path.is_file())
        .map(|path| fs::metadata(path).unwrap().len())
        .sum()
}

fn status(s: &Sandbox) -> serde_json::Value {
    let status = s.dvc(["--json", "gc", "--status"]).ok().json();
    let bytes = |name: &str| status[name]["bytes"].as_u64().unwrap();
    let all: u64 = [
        "live", "log", "trash", "held", "unneeded", "orphans", "dead",
    ]
    .into_iter()
    .map(bytes)
    .sum::<u64>()
        + status["unused_bytes"].as_u64().unwrap();
    assert_eq!(all, status["bytes"].as_u64().unwrap(), "{status}");
    assert_eq!(all, pack_bytes(s), "{status}");
    let parts = &s.dvc(["--json", "du"]).ok().json()["repository"]["pack_parts"];
    let sum: u64 = parts
        .as_object()
        .unwrap()
        .values()
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(sum, all, "{parts}");
    for (name, part) in [
        ("live", "live_bytes"),
        ("log", "log_bytes"),
        ("trash", "trash_bytes"),
    ] {
        assert_eq!(parts[part], status[name]["bytes"], "{name}");
    }
    status
}

#[test]
fn every_byte_has_a_reason() {
    let s = Sandbox::with_repo();
    for n in 1..=4u64 {
        s.write("a", noise(n, 200_000));
        s.dvc(["commit", "-m", "kept"]).ok();
    }
    let fresh = status(&s);
    assert!(
        fresh["live"]["bytes"].as_u64().unwrap() > 800_000,
        "{fresh}"
    );
    assert_eq!(fresh["live"]["versions"], 4);
    assert!(
        fresh["next"].is_null() && fresh["complete"] == true,
        "{fresh}"
    );
    // A version in the trash, and one of a deleted branch.
    s.dvc(["forget", "main@v2"]).ok();
    s.dvc(["checkout", "-b", "gone"]).ok();
    s.write("a", noise(9, 200_000));
    s.dvc(["commit", "-m", "gone"]).ok();
    s.dvc(["checkout", "main"]).ok();
    s.dvc(["branch", "-d", "--force", "gone"]).ok();
    let kept = status(&s);
    for name in ["log", "trash"] {
        let bytes = kept[name]["bytes"].as_u64().unwrap();
        assert!((200_000..260_000).contains(&bytes), "{name}: {kept}");
        assert_eq!(kept[name]["versions"], 1, "{name}: {kept}");
        assert!(kept[name]["until"].is_string(), "{name}: {kept}");
    }
    assert!(kept["next"].is_string(), "{kept}");
    // Neither of them is kept any more, and no run has recorded that.
    let short = ["-c", "gc.keep-log=0", "-c", "gc.keep-trash=0"];
    let short_status = || {
        let args = [&short[..], &["--json", "gc", "--status"]].concat();
        s.dvc(args).ok().json()
    };
    let due = short_status();
    assert_eq!(due["lacks_record"], true, "{due}");
    assert!(
        due["unneeded"]["bytes"].as_u64().unwrap() > 400_000,
        "{due}"
    );
    s.dvc([&short[..], &["gc", "--status"]].concat())
        .ok()
        .says("no run has recorded these packs yet");
    s.dvc([&short[..], &["-y", "gc"]].concat()).ok();
    let waits = short_status();
    assert_eq!(waits["lacks_record"], false, "{waits}");
    assert!(waits["unneeded"]["until"].is_string(), "{waits}");
    assert_eq!(waits["next"], waits["unneeded"]["until"]);
    // A completed plan, whose dead packs stay for the grace period.
    s.dvc([&short[..], &["-y", "gc", "--grace", "0"]].concat())
        .ok();
    let done = status(&s);
    assert_eq!(done["unneeded"]["packs"], 0, "{done}");
    assert_eq!(done["trash"]["bytes"], 0, "{done}");
    s.dvc(["du"]).ok().says("live");
    let quick = s.dvc(["--json", "du", "--quick"]).ok().json();
    assert!(quick["repository"]["pack_parts"].is_null());
}

#[test]
fn an_immediate_collection_beside_a_writer_needs_a_confirmation() {
    let stage = Stage::new();
    let context = at(stage.dir.path());
    let repo = context.repo().unwrap();
    let s = Sandbox::new();
    let gc = |args: &[&str]| {
        let place = context.repository.to_str().unwrap();
        s.dvc([&["--repo", place], args].concat())
    };
    let mark = repo.mark_writer();
    gc(&["gc", "--now"])
        .code(11)
        .complains("other processes are writing");
    // An ordinary collection needs no confirmation, because it waits for the grace period.
    gc(&["gc"]).ok();
    gc(&["-y", "gc", "--now"]).ok();
    let pid = format!("process {}", std::process::id());
    let named = repo.running_writers().unwrap().processes;
    assert!(named.iter().all(|name| name.contains(&pid)), "{named:?}");
    drop(mark);
    assert_eq!(repo.running_writers(), None);
    gc(&["-y", "gc", "--now"]).ok();
}
