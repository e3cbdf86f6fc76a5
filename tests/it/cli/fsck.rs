//! `dvc fsck`.

use super::{commit, fresh, three};
use crate::support::known::{files_of, noise};
use crate::support::sandbox::Sandbox;
use insta::assert_snapshot;
use std::fs;
use std::path::PathBuf;

/// Returns the data packs, the largest first.
fn data_packs(s: &Sandbox) -> Vec<(String, PathBuf)> {
    let root = s.w(".dvcs");
    let files = files_of(&root.join("packs"));
    let mut packs: Vec<_> = files
        .into_iter()
        .filter(|(_, bytes)| bytes[8] == 0)
        .collect();
    packs.sort_by_key(|(_, bytes)| std::cmp::Reverse(bytes.len()));
    let key = |name: Vec<u8>| format!("packs/{}", String::from_utf8(name).unwrap());
    packs
        .into_iter()
        .map(|(name, _)| key(name))
        .map(|key| (key.clone(), root.join(key)))
        .collect()
}

fn flip(path: &PathBuf, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_sound_repository() {
    let s = three();
    let out = s.dvc(["fsck"]).ok().out;
    let timeless = out.rsplit_once(',').unwrap().0.to_owned();
    assert_snapshot!(timeless, @"
    checked 1 ref, 3 versions, 5 trees, 4 chunks, 4 packs
    no damage
    ");
    s.dvc(["fsck", "--data"]).ok().says(" in 4 of 4 packs\n");
    assert_eq!(s.dvc(["fsck", "-q"]).ok().out, "");
    let json = s.dvc(["fsck", "--json", "--data=100%"]).ok().json();
    assert_eq!(
        (
            &json["sound"],
            &json["data"]["packs"],
            &json["data"]["out_of_time"]
        ),
        (&true.into(), &4.into(), &false.into())
    );
    assert_eq!(json["damage"].as_array().unwrap().len(), 0);
    for wrong in ["--data=0", "--data=101", "--data=x", "--max-time=soon"] {
        s.dvc(["fsck", wrong]).code(2);
    }
}

#[test]
fn damage_is_named_with_all_that_it_reaches() {
    let s = fresh();
    s.write("kept", "kept\n".repeat(2000));
    s.write("d/lost", noise(3, 200_000));
    commit(&s, "first", 1);
    s.write("more", "more");
    commit(&s, "second", 2);
    s.write("d/lost", noise(4, 1000));
    commit(&s, "third", 3);
    s.dvc(["branch", "old", "main~1"]).ok();
    let (key, path) = data_packs(&s)[0].clone();
    flip(&path, 100_000);

    s.dvc(["fsck"]).ok();
    let run = s
        .dvc(["fsck", "--data"])
        .code(5)
        .complains(&format!("damage: pack `{key}`: 1 of "));
    assert!(
        run.out
            .starts_with("lost: 1 path in 2 versions\n  d/lost  main@v1 to main@v2\n"),
        "{}",
        run.out
    );
    assert!(!run.out.contains("--rebuild"), "{}", run.out);
    assert!(
        run.out.contains("\n1 damaged, 1 object lost, "),
        "{}",
        run.out
    );
    let json = s.dvc(["fsck", "--data", "--json"]).code(5).json();
    assert_eq!(json["damage"][0]["key"], key.as_str());
    assert_eq!(json["reaches"][0]["path"], "d/lost");
    assert_eq!(
        json["reaches"][0]["versions"],
        serde_json::json!(["main@v1", "main@v2"])
    );

    s.dvc(["checkout", "main@v2", "--into", "../copy"])
        .code(5)
        .complains("d/lost");
    assert_eq!(fs::read(s.at("copy/kept")).unwrap(), s.read("kept"));
    assert!(!s.at("copy/d/lost").exists());
    s.dvc(["checkout", "main@v3", "--into", "../whole"]).ok();
    s.dvc(["log"]).ok();

    // A rebuild leaves out lost objects and removes no data that can still be read.
    s.dvc(["fsck", "--rebuild"])
        .code(5)
        .says("d/lost  main@v1 to main@v2\n");
    s.dvc(["fsck", "--data"])
        .code(5)
        .says("d/lost  main@v1 to main@v2\n");
}

#[test]
fn parts_of_the_data_add_up() {
    let s = fresh();
    for n in 0..6 {
        s.write("noise", noise(n + 1, 60_000));
        commit(&s, &format!("{n}"), u32::try_from(n).unwrap() + 1);
    }
    let context = crate::support::known::context(s.w(".dvcs"), s.w(""));
    let checks = || {
        context
            .repo()
            .unwrap()
            .catalogue()
            .unwrap()
            .pack_checks()
            .unwrap()
            .len()
    };
    let all = files_of(&s.w(".dvcs/packs")).len();
    let json = s.dvc(["fsck", "--max-time", "0", "--json"]).ok().json();
    assert_eq!(
        (
            &json["data"]["packs"],
            &json["data"]["out_of_time"],
            checks()
        ),
        (&1.into(), &true.into(), 1)
    );
    s.dvc(["fsck", "-n", "--data=20"]).ok();
    assert_eq!(checks(), 1);
    let mut runs = 1;
    while checks() < all {
        let before = checks();
        s.dvc(["fsck", "--data=20"]).ok();
        assert!(checks() > before);
        runs += 1;
    }
    assert!((3..=6).contains(&runs), "{runs}");
    // A damaged pack is reported whenever it is checked; later partial checks read it first.
    let (key, path) = data_packs(&s)[0].clone();
    flip(&path, 30_000);
    s.dvc(["fsck", "--data"]).code(5);
    s.dvc(["fsck", "--data=1"]).code(5).complains(&key);
}

#[test]
fn the_index_is_made_again() {
    let s = three();
    let index = s.w(".dvcs/index");
    let old = files_of(&index);
    let (name, _) = old.iter().next().unwrap();
    let bad = index.join(String::from_utf8(name.clone()).unwrap());
    flip(&bad, 20);
    s.dvc(["fsck"]).code(5).complains("damage: segment `index/");
    s.dvc(["fsck", "--rebuild", "-n"])
        .code(5)
        .says("would build 2 index segments for 10 objects")
        .says("would remove 4 old segments");
    flip(&bad, 20);
    assert_eq!(files_of(&index), old);
    flip(&bad, 20);
    s.dvc(["fsck", "--rebuild"])
        .ok()
        .says("built 2 index segments for ")
        .says("with 3 versions");
    assert_eq!(files_of(&index).len(), 2);
    s.dvc(["fsck", "--data"]).ok();
    fs::remove_dir_all(&index).unwrap();
    fs::remove_file(s.w(".dvcs/catalog.db")).unwrap();
    s.dvc(["fsck"])
        .code(5)
        .says("hint: run `dvc fsck --rebuild` to rebuild the index");
    let run = s.dvc(["fsck", "--rebuild"]).ok();
    assert!(!run.out.contains("hint"), "{}", run.out);
    s.dvc(["checkout", "main@v2", "--into", "../copy"]).ok();
    assert_eq!(fs::read(s.at("copy/a.txt")).unwrap(), b"two\n");
}

#[test]
fn a_missing_newest_ref_entry_is_reported() {
    let s = three();
    s.dvc(["tag", "golden"]).ok();
    let log = s.w(".dvcs/refs/heads/main");
    let newest = fs::read_dir(&log)
        .unwrap()
        .map(|e| e.unwrap().path())
        .min()
        .unwrap();
    fs::remove_file(newest).unwrap();
    s.dvc(["fsck"])
        .code(5)
        .complains("damage: ref `refs/heads/main`: entry 4 is missing at the end of the log");
    fs::remove_dir_all(s.w(".dvcs/refs/tags")).unwrap();
    s.dvc(["fsck"]).code(5).complains(
        "damage: ref `refs/tags/golden`: entries 1 to 2 are missing at the end of the log",
    );
}

#[test]
fn a_lost_marker() {
    let s = three();
    fs::remove_file(s.w(".dvcs/format")).unwrap();
    s.dvc(["fsck"])
        .code(5)
        .complains("has lost its marker `format`")
        .complains("hint: restore `format` from");
}

/// The report of a pack and the total count the same objects once, regardless of which part of the
/// check found them.
#[test]
fn lost_objects_of_a_pack_are_counted_once() {
    let s = three();
    for pack in packs(&s) {
        let sound = fs::read(&pack).unwrap();
        let mut damaged = sound.clone();
        damaged[40] ^= 0x55;
        fs::write(&pack, damaged).unwrap();
        let run = s.dvc(["fsck", "--data"]).code(5);
        let said = format!("{}{}", run.out, run.err);
        let none = said.contains(" 0 objects lost");
        assert_eq!(said.contains("no object is lost"), none, "{said}");
        assert_eq!(
            said.contains("object is lost") || said.contains("objects are lost"),
            !none,
            "{said}"
        );
        fs::write(&pack, sound).unwrap();
    }
    s.dvc(["fsck", "--data"]).ok();
}

/// Returns all packs of the repository in the worktree.
fn packs(s: &Sandbox) -> Vec<PathBuf> {
    let below = |dir: PathBuf| fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    below(s.w(".dvcs/packs"))
        .filter(|p| p.is_dir())
        .flat_map(below)
        .collect()
}

/// The marker is one line with a checksum. Damage in it is reported and does not prevent the other
/// checks.
#[test]
fn a_damaged_marker_is_named_and_made_again() {
    let s = three();
    let marker = s.w(".dvcs/format");
    let whole = fs::read_to_string(&marker).unwrap();
    let (line, _) = whole.split_once('\n').unwrap();
    let id = serde_json::from_str::<serde_json::Value>(line).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let here = s.w(".dvcs").canonicalize().unwrap().display().to_string();

    fs::write(&marker, format!("{line}\n{}\n", "0".repeat(64))).unwrap();
    let run = s
        .dvc(["log"])
        .code(5)
        .complains("invalid marker `format`")
        .complains("checksum mismatch");
    assert!(
        run.err.contains(&here) && run.err.contains("hint: "),
        "{}",
        run.err
    );
    s.dvc(["fsck", "--rebuild"])
        .ok()
        .says(&format!("restored the marker with the id {id}"));
    assert_eq!(fs::read_to_string(&marker).unwrap(), whole);

    for left in ["", "garbage\n"] {
        fs::write(&marker, left).unwrap();
        s.dvc(["log"]).code(5).complains("invalid marker `format`");
        s.dvc(["fsck", "--rebuild"])
            .ok()
            .says("created a new marker");
        assert_eq!(
            s.dvc(["log", "--format=%s"]).ok().out,
            "third\nsecond\nfirst\n"
        );
    }
    fs::remove_file(&marker).unwrap();
    s.dvc(["log"]).code(5).complains("has lost its marker");
    s.dvc(["fsck", "--rebuild"])
        .ok()
        .says("created a new marker");
    s.dvc(["fsck", "--data"]).ok();

    // A later format version is not damage and is left unchanged.
    let later = whole.replace("\"version\":1", "\"version\":2");
    let line = later.split_once('\n').unwrap().0;
    let later = format!("{line}\n{}\n", dvc::format::text::line_checksum(line));
    fs::write(&marker, &later).unwrap();
    s.dvc(["fsck", "--rebuild"])
        .code(5)
        .complains("unsupported version 2");
    assert_eq!(fs::read_to_string(&marker).unwrap(), later);
}
