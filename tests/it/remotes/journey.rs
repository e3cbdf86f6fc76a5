//! The behaviour that every store must have: from `remote add` to `fetch --prune`, with four people
//! who share one remote.
//!
//! Ann writes. Bob has a full clone and writes, too. Cleo has a lazy clone. Dora uses only the URL.

use serde_json::Value;

use super::place::{self, Place};
use crate::support::facts::{Compare, assert_same_by};
use crate::support::sandbox::{Run, Sandbox};

/// Returns incompressible pseudo-random bytes, the same ones for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..len.div_ceil(8))
        .flat_map(|_| next())
        .take(len)
        .collect()
}

/// Asserts that the worktree of `a` and the clone `name` of `b` have the same files.
#[track_caller]
fn same(a: &Sandbox, b: &Sandbox, name: &str) {
    assert_same_by(
        &a.w(""),
        &b.w(name),
        &Compare {
            root_time: false,
            ..Compare::default()
        },
    );
}

/// Returns the commands that a hint has in backquotes, split into words and without `dvc`.
#[track_caller]
pub fn commands(run: &Run) -> Vec<Vec<String>> {
    let hint = run
        .err
        .lines()
        .find_map(|line| line.strip_prefix("hint: "))
        .unwrap_or_else(|| panic!("{}", run.err));
    let quoted = hint.split('`').skip(1).step_by(2);
    quoted
        .map(|text| {
            text.strip_prefix("dvc ")
                .unwrap()
                .split(' ')
                .map(str::to_owned)
                .collect()
        })
        .collect()
}

/// Returns the entry of a ref in the JSON report of `push` or `fetch`.
#[track_caller]
fn one<'a>(report: &'a Value, name: &str) -> &'a Value {
    let found = report["refs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["name"] == name);
    found.unwrap_or_else(|| panic!("no `{name}` in {report}"))
}

fn journey(place: &Place) {
    let (ann, bob) = (place.person("Ann"), place.person("Bob"));
    ann.dvc(["init", "--branch", "AMCC"]).ok();
    ann.write("acme/orders.ibd", noise(1, 150_000));
    ann.write("acme/empty", "");
    ann.write("big/noise", noise(2, 3_000_000));
    ann.write("my.cnf", "port = 3306\n");
    std::os::unix::fs::symlink("acme/orders.ibd", ann.w("link")).unwrap();
    ann.dvc(["commit", "-m", "first"]).ok();

    first_pushes(place, &ann);

    ann.write("my.cnf", "port = 3307\n");
    ann.write("acme/orders.ibd", noise(3, 170_000));
    ann.dvc(["commit", "-m", "second"]).ok();
    let pushed = ann.dvc(["push", "--verify", "--json"]).ok().json();
    assert_eq!(one(&pushed, "AMCC")["outcome"], "moved", "{pushed}");
    assert_eq!(
        (&pushed["verified_packs"], &pushed["created"]),
        (&pushed["packs"], &Value::Bool(false)),
        "{pushed}"
    );
    assert!(pushed["packs"].as_u64() > Some(0), "{pushed}");

    bob.dvc(["clone", &place.url, "copy"]).ok();
    same(&ann, &bob, "copy");
    bob.dvc(["-C", "copy", "fsck", "--data"])
        .ok()
        .says("no damage");
    lazily(place, &ann);
    from_the_url_alone(place, &ann);
    together(place, &ann, &bob);
    tags(&ann, &bob);
    prunes(place, &bob);
    let check = bob
        .dvc(["--repo", &place.url, "fsck", "--data", "--json"])
        .ok()
        .json();
    assert_eq!(
        (&check["sound"], check["damage"].as_array().map(Vec::len)),
        (&Value::Bool(true), Some(0)),
        "{check}"
    );
}

/// `remote add` without a remote repository, a dry run of a push, a push, and a push without
/// changes.
fn first_pushes(place: &Place, ann: &Sandbox) {
    place.assert_reported(
        &ann.dvc(["remote", "add", "origin", &place.url, "--json"])
            .ok()
            .json(),
    );

    let planned = ann.dvc(["push", "-n", "--json"]).ok().json();
    assert_eq!(one(&planned, "AMCC")["outcome"], "created");
    assert!(
        planned["packs"].as_u64() >= Some(2) && planned["bytes"].as_u64() > Some(3_000_000),
        "{planned}"
    );
    ann.dvc(["push", "-n"]).ok().says(" would send ");
    ann.dvc(["--repo", &place.url, "log"]).code(10);
    // The probe of `remote add` leaves no object behind.
    assert!(
        place.keys().is_none_or(|keys| keys.is_empty()),
        "{:?}",
        place.keys()
    );

    let pushed = ann.dvc(["push", "--json"]).ok().json();
    assert_eq!(one(&pushed, "AMCC")["outcome"], "created");
    assert_eq!(pushed["created"], true);
    assert_eq!(
        (&pushed["packs"], &pushed["bytes"]),
        (&planned["packs"], &planned["bytes"]),
        "{pushed}"
    );
    assert_eq!(
        pushed["requests"].as_u64() > Some(0),
        place.counts,
        "{pushed}"
    );

    let again = ann.dvc(["push", "--json"]).ok().json();
    assert_eq!(one(&again, "AMCC")["outcome"], "up-to-date");
    assert_eq!((&again["packs"], &again["bytes"]), (&0.into(), &0.into()));
    assert!(
        again["requests"]
            .as_u64()
            .is_some_and(|n| n <= 8 && (n > 0) == place.counts),
        "{again}"
    );
}

/// A lazy clone: commands that only list fetch no data, and other commands fetch only the data that
/// they read.
fn lazily(place: &Place, ann: &Sandbox) {
    let cleo = place.person("Cleo");
    let before = place.data_packs_read();
    cleo.dvc(["clone", "--lazy", &place.url, "lazy"]).ok();
    place.without_data(|| {
        cleo.dvc(["-C", "lazy", "log", "--format=%s"])
            .ok()
            .says("second\nfirst\n");
        cleo.dvc(["-C", "lazy", "ls", "-r", "AMCC"])
            .ok()
            .says("big/noise");
        cleo.dvc(["-C", "lazy", "diff", "--stat", "AMCC~1", "AMCC"])
            .ok()
            .says("my.cnf");
        cleo.dvc(["-C", "lazy", "diff", "--chunks", "AMCC~1", "AMCC"])
            .ok()
            .says("acme/orders.ibd");
        cleo.dvc(["-C", "lazy", "du"]).ok().says("AMCC");
    });
    assert_eq!(
        place.data_packs_read(),
        before,
        "looking at versions read data"
    );

    let sent = place.bytes_sent();
    let shown = cleo
        .dvc(["-C", "lazy", "show", "AMCC~1:acme/orders.ibd"])
        .ok();
    assert!(
        shown.bytes == noise(1, 150_000),
        "an old version of a file came back wrong"
    );
    assert!(
        before.is_none() || place.data_packs_read() > before,
        "the data came from nowhere"
    );
    cleo.dvc(["-C", "lazy", "checkout", "AMCC", "--", "acme"])
        .ok();
    assert!(cleo.read("lazy/acme/orders.ibd") == ann.read("acme/orders.ibd"));
    assert!(
        cleo.w("lazy/acme/empty").exists()
            && !cleo.w("lazy/big").exists()
            && !cleo.w("lazy/my.cnf").exists()
    );
    if let (Some(before), Some(after)) = (sent, place.bytes_sent()) {
        assert!(after > before, "the data came from nowhere");
        assert!(
            after - before < 1_500_000,
            "{} bytes came for two small files",
            after - before
        );
    }
    cleo.dvc(["-C", "lazy", "fetch", "--data"]).ok();
    place.without_data(|| cleo.dvc(["-C", "lazy", "checkout", "--force", "AMCC"]).ok());
    same(ann, &cleo, "lazy");
}

/// Read-only commands work on a URL without a local repository.
fn from_the_url_alone(place: &Place, ann: &Sandbox) {
    let dora = place.person("Dora");
    let look = |args: &[&str]| dora.dvc([&["--repo", &place.url], args].concat()).ok();
    assert_eq!(look(&["log", "--format=%s"]).out, "second\nfirst\n");
    assert_eq!(
        look(&["ls", "AMCC:acme"]).out,
        ann.dvc(["ls", "AMCC:acme"]).ok().out
    );
    assert!(look(&["show", "AMCC:acme/orders.ibd"]).bytes == ann.read("acme/orders.ibd"));
    let diff = ["diff", "--chunks", "AMCC~1", "AMCC"];
    assert_eq!(look(&diff).out, ann.dvc(diff).ok().out);
    assert_eq!(look(&["du", "--json"]).json()["branches"][0]["versions"], 2);
    look(&["fsck"]).says("no damage");
    dora.dvc(["--repo", &place.url, "show", "AMCC:none"])
        .code(13);
    if place.counts {
        dora.dvc(["--repo", &place.url, "commit", "-m", "no"])
            .code(2)
            .complains("hint: run `dvc clone`");
    }
}

/// Fetch, pull, a rejected push, and the commands that its hint suggests.
fn together(place: &Place, ann: &Sandbox, bob: &Sandbox) {
    ann.write("from-ann", noise(4, 30_000));
    ann.dvc(["commit", "-m", "third"]).ok();
    ann.dvc(["push"]).ok();
    let fetched = bob.dvc(["-C", "copy", "fetch", "--json"]).ok().json();
    assert_eq!(
        (
            &one(&fetched, "origin/AMCC")["fast_forward"],
            &fetched["rolled_back"]
        ),
        (&true.into(), &false.into())
    );
    bob.dvc(["-C", "copy", "log", "--format=%s", "AMCC..origin/AMCC"])
        .ok()
        .says("third\n");
    assert!(
        !bob.w("copy/from-ann").exists(),
        "`fetch` leaves the worktree alone"
    );
    let pulled = bob.dvc(["-C", "copy", "pull", "--json"]).ok().json();
    assert_eq!(
        (pulled["branch"].as_str(), &pulled["fetched"]["packs"]),
        (Some("AMCC"), &0.into()),
        "{pulled}"
    );
    same(ann, bob, "copy");
    bob.dvc(["-C", "copy", "pull"])
        .ok()
        .says("AMCC is up to date");

    ann.write("my.cnf", "port = 1\n");
    ann.dvc(["commit", "-m", "Ann's"]).ok();
    ann.dvc(["push"]).ok();
    bob.write("copy/my.cnf", "port = 2\n");
    bob.dvc(["-C", "copy", "commit", "-m", "Bob's"]).ok();
    let refused = bob.dvc(["-C", "copy", "push"]).code(4);
    assert!(refused.err.contains("rejected `AMCC`"), "{}", refused.err);
    bob.dvc(["-C", "copy", "pull"]).code(4);
    let way_out = commands(&refused);
    let first: Vec<&str> = way_out.iter().map(|c| c[0].as_str()).collect();
    assert_eq!(
        first,
        ["fetch", "log", "branch", "push", "branch", "checkout"]
    );
    for command in &way_out {
        bob.dvc([vec!["-C".to_owned(), "copy".to_owned()], command.clone()].concat())
            .ok();
    }
    same(ann, bob, "copy");
    bob.dvc(["-C", "copy", "status", "--exit-code"]).ok();
    let theirs = bob
        .dvc(["--repo", &place.url, "show", "AMCC-mine:my.cnf"])
        .ok();
    assert_eq!(theirs.out, "port = 2\n");
    let up = bob.dvc(["-C", "copy", "push", "--json"]).ok().json();
    assert_eq!(one(&up, "AMCC")["outcome"], "up-to-date", "{up}");
}

/// Tags are pushed and fetched, but never moved.
fn tags(ann: &Sandbox, bob: &Sandbox) {
    ann.dvc(["tag", "v1.0", "AMCC~1"]).ok();
    ann.dvc(["tag", "AMCC@release"]).ok();
    let pushed = ann.dvc(["push", "--tags", "--json"]).ok().json();
    assert_eq!(pushed["refs"].as_array().unwrap().len(), 2, "{pushed}");
    bob.dvc(["-C", "copy", "fetch"]).ok().says("v1.0");
    assert_eq!(
        bob.dvc(["-C", "copy", "tag"]).ok().out,
        ann.dvc(["tag"]).ok().out
    );
    bob.dvc(["-C", "copy", "fetch"]).ok().says("up to date");
    // A push does not move an existing tag.
    bob.dvc(["-C", "copy", "tag", "-f", "v1.0", "AMCC"]).ok();
    bob.dvc(["-C", "copy", "push", "origin", "v1.0"]).code(4);
}

/// A branch that was deleted on the remote keeps its remote-tracking branch until `fetch --prune`.
fn prunes(place: &Place, bob: &Sandbox) {
    let known = || {
        bob.dvc([
            "-C",
            "copy",
            "log",
            "--format=%s",
            "-n",
            "1",
            "origin/AMCC-mine",
        ])
        .code
    };
    bob.dvc(["-C", "copy", "fetch", "--prune"])
        .ok()
        .says("up to date");
    assert_eq!(known(), 0);
    let Some(files) = &place.files else { return };
    bob.dvc([
        "--repo",
        files.to_str().unwrap(),
        "branch",
        "-d",
        "-f",
        "AMCC-mine",
    ])
    .ok();
    bob.dvc(["-C", "copy", "fetch"]).ok();
    assert_eq!(known(), 0);
    bob.dvc(["-C", "copy", "fetch", "--prune"])
        .ok()
        .says("origin/AMCC-mine was deleted on the remote");
    assert_eq!(known(), 13);
}

/// A volume that returns to an earlier state: small files, large files and directories.
#[test]
fn there_and_back_again() {
    let place = place::directory();
    let (ann, bob, cleo, dora) = (
        place.person("Ann"),
        place.person("Bob"),
        place.person("Cleo"),
        place.person("Dora"),
    );
    let version = |n: u64| {
        ann.write("same", noise(9, 200_000));
        ann.write(
            "large",
            [
                noise(1, 3_000_000),
                noise(n, 1_000_000),
                noise(2, 3_000_000),
            ]
            .concat(),
        );
        ann.write("dir/below/small", noise(n + 10, 60_000));
        for other in 0..300 {
            ann.write(
                &format!("many/{other:03}"),
                if other == 150 {
                    noise(n, 9_000)
                } else {
                    noise(other, 1_000)
                },
            );
        }
        ann.dvc(["commit", "-m", &format!("state {n}")]).ok();
    };
    let all = |s: &Sandbox, name: &str| {
        s.dvc(["-C", name, "fsck", "--data"]).ok().says("no damage");
        for n in 0..6 {
            let into = format!("{name}-{n}");
            s.dvc([
                "-C",
                name,
                "checkout",
                "--into",
                &format!("../{into}"),
                &format!("origin/main~{n}"),
            ])
            .ok();
            s.dvc(["-C", name, "checkout", "-f", &format!("origin/main~{n}")])
                .ok();
            assert_same_by(
                &s.w(&into),
                &s.w(name),
                &Compare {
                    root_time: false,
                    ..Compare::default()
                },
            );
        }
    };
    ann.dvc(["init"]).ok();
    ann.dvc(["remote", "add", "origin", &place.url]).ok();
    version(1);
    ann.dvc(["push"]).ok();
    bob.dvc(["clone", &place.url, "early"]).ok();
    cleo.dvc(["clone", "--lazy", &place.url, "lazy"]).ok();
    [2, 1, 2, 3, 1].into_iter().for_each(version);
    ann.dvc(["push"]).ok();
    ann.dvc(["--repo", &place.url, "fsck", "--data"])
        .ok()
        .says("no damage");
    bob.dvc(["-C", "early", "fetch"]).ok();
    all(&bob, "early");
    cleo.dvc(["-C", "lazy", "fetch", "--data"]).ok();
    all(&cleo, "lazy");
    dora.dvc(["clone", &place.url, "whole"]).ok();
    all(&dora, "whole");
    // Push all versions in one push to an empty remote.
    let other = place.person("Eve");
    ann.dvc(["push", other.w("far").to_str().unwrap()]).ok();
    other.dvc(["clone", "far", "whole"]).ok();
    all(&other, "whole");
}

#[test]
fn a_directory() {
    journey(&place::directory());
}

#[test]
fn a_file_url() {
    journey(&place::file_url());
}

#[test]
fn s3_of_moto() {
    place::moto().iter().for_each(journey);
}

#[test]
fn s3() {
    journey(&place::s3());
}

#[test]
fn s3_that_ignores_conditions() {
    journey(&place::s3_that_ignores_conditions());
}

#[test]
fn s3_without_signatures() {
    journey(&place::s3_without_signatures());
}

#[test]
fn azblob() {
    place::azblob().iter().for_each(journey);
}

#[test]
fn gcs() {
    journey(&place::gcs());
}

#[test]
fn gcs_with_odd_names() {
    journey(&place::gcs_with_odd_names());
}

#[test]
fn sftp() {
    place::sftp().iter().for_each(journey);
}

#[test]
fn webdav() {
    place::webdav().iter().for_each(journey);
}

#[test]
fn webdav_with_password() {
    place::webdav_with_password().iter().for_each(journey);
}

#[test]
fn a_registry() {
    place::oci().iter().for_each(journey);
}

#[test]
fn a_registry_with_password() {
    place::oci_with_password().iter().for_each(journey);
}
