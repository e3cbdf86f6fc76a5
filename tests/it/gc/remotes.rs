//! `dvc gc` at every kind of remote: tests forget and collect versions there, and everything that
//! is kept stays readable.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::remotes::place::{self, Place};
use crate::support::facts::{Compare, assert_same_by};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::zoo::noise;

/// Options of all collections: no waiting.
const AT_ONCE: [&str; 8] = [
    "-c",
    "gc.settle=0",
    "-c",
    "gc.keep-log=0",
    "--json",
    "gc",
    "--keep-trash",
    "0",
];

fn gc(s: &Sandbox, args: &[&str]) -> Run {
    s.dvc([&["-y"], AT_ONCE.as_slice(), args].concat())
}

fn same(a: &Sandbox, b: &Sandbox, name: &str) {
    let options = Compare {
        root_time: false,
        ..Compare::default()
    };
    assert_same_by(&a.w(""), &b.w(name), &options);
}

/// The keys of the packs, if the server lists them.
fn packs(place: &Place) -> Option<BTreeSet<String>> {
    let keys = place.keys()?;
    Some(
        keys.into_iter()
            .filter(|key| key.contains("packs/"))
            .collect(),
    )
}

/// A repository with four versions on a remote, each with data of its own.
fn pushed(place: &Place) -> Sandbox {
    let ann = place.person("Ann");
    ann.dvc(["init"]).ok();
    ann.dvc(["remote", "add", "origin", &place.url]).ok();
    for n in 1..=4u64 {
        ann.write("large", noise(n, 300_000));
        ann.write(&format!("d{n}/file"), noise(100 + n, 20_000));
        ann.write("text", format!("version {n}\n"));
        ann.dvc(["commit", "-m", &format!("version {n}")]).ok();
        ann.dvc(["push"]).ok();
    }
    ann
}

/// Asserts that a clone of the remote is equal to the worktree of `ann`, and that the remote is
/// sound.
fn assert_kept(place: &Place, ann: &Sandbox, name: &str) {
    ann.dvc(["fsck", "origin", "--data"]).ok().says("no damage");
    let other = place.person("Bob");
    other.dvc(["clone", &place.url, name]).ok();
    same(ann, &other, name);
    other
        .dvc(["-C", name, "fsck", "--data"])
        .ok()
        .says("no damage");
}

fn is_directory(place: &Place) -> bool {
    !place.counts
}

fn collected(place: &Place) {
    let ann = pushed(place);
    let before = packs(place);
    ann.dvc(["forget", "--remote", "origin", "main@v1", "main@v2"])
        .ok();

    // No user can be asked, and -y is missing.
    if !is_directory(place) {
        ann.dvc(["gc", "origin", "--now"])
            .code(4)
            .complains("then with `-y`");
    }
    let would = gc(&ann, &["origin", "--now", "-n"]).ok().json();
    assert_eq!(
        (&would["remote"], &would["dry_run"]),
        (&Value::from("origin"), &Value::Bool(true))
    );
    assert!(would["copied_packs"].as_u64() >= Some(2), "{would}");
    assert_eq!(packs(place), before);

    let done = gc(&ann, &["origin", "--grace", "0"]).ok().json();
    assert!(done["deleted_packs"].as_u64() >= Some(2), "{done}");
    assert!(done["deleted_bytes"].as_u64() >= Some(600_000), "{done}");
    assert_eq!(
        (&done["dead_packs"], &done["undeleted"], &done["complete"]),
        (&0.into(), &0.into(), &true.into()),
        "{done}"
    );
    if let (Some(before), Some(after)) = (before, packs(place)) {
        assert!(before.difference(&after).count() >= 2, "{before:?}");
    }
    assert_kept(place, &ann, "first");
    let cleo = place.person("Cleo");
    cleo.dvc(["--repo", &place.url, "show", "main@v1:large"])
        .code(13);
    let shown = cleo
        .dvc(["--repo", &place.url, "show", "main@v3:large"])
        .ok();
    assert!(shown.bytes == noise(3, 300_000));

    // The local repository still has the content of the first version, whose pack is dead at the
    // remote, so the push sends it again in a pack with a different name.
    ann.write("large", noise(1, 300_000));
    ann.dvc(["commit", "-m", "as before"]).ok();
    ann.dvc(["push"]).ok();
    assert_kept(place, &ann, "second");

    // Packs that are needed in part are copied.
    ann.dvc(["forget", "--remote", "origin", "main@v3"]).ok();
    gc(&ann, &["origin", "--now", "--max-unused", "0"]).ok();
    assert_kept(place, &ann, "third");
    let again = gc(&ann, &["origin", "--now", "--max-unused", "0"])
        .ok()
        .json();
    assert_eq!(
        (&again["deleted_packs"], &again["copied_packs"]),
        (&0.into(), &0.into()),
        "{again}"
    );
    ann.write("text", "later\n");
    ann.dvc(["commit", "-m", "later"]).ok();
    ann.dvc(["push"]).ok();
    assert_kept(place, &ann, "fourth");
}

#[test]
fn a_directory() {
    collected(&place::directory());
}

#[test]
fn a_file_url() {
    collected(&place::file_url());
}

#[test]
fn s3_of_moto() {
    place::moto().iter().for_each(collected);
}

#[test]
fn s3() {
    collected(&place::s3());
}

#[test]
fn s3_that_ignores_conditions() {
    collected(&place::s3_that_ignores_conditions());
}

#[test]
fn s3_without_signatures() {
    collected(&place::s3_without_signatures());
}

#[test]
fn azblob() {
    place::azblob().iter().for_each(collected);
}

#[test]
fn gcs() {
    collected(&place::gcs());
}

#[test]
fn gcs_with_odd_names() {
    collected(&place::gcs_with_odd_names());
}

#[test]
fn sftp() {
    place::sftp().iter().for_each(collected);
}

#[test]
fn webdav() {
    place::webdav().iter().for_each(collected);
}

#[test]
fn a_registry() {
    place::oci().iter().for_each(collected);
}

#[test]
fn a_registry_with_password() {
    place::oci_with_password().iter().for_each(collected);
}

/// `forget --remote` can collect afterwards, and `--all-remotes` collects every remote.
#[test]
fn a_forget_with_gc_and_all_remotes() {
    let (place, other) = (place::s3(), place::directory());
    let ann = pushed(&place);
    ann.dvc(["remote", "add", "backup", &other.url]).ok();
    ann.dvc(["push", "backup"]).ok();
    let before = packs(&place).unwrap();
    let settings = ["-c", "gc.settle=0", "-c", "gc.keep-log=0"];
    let now = ["forget", "--remote", "origin", "--now", "main@v1"];
    ann.dvc([settings.as_slice(), &now].concat()).code(4);
    ann.dvc([&["-y"], settings.as_slice(), &now].concat()).ok();
    assert!(!before.is_subset(&packs(&place).unwrap()));
    let gc_later = ["forget", "--remote", "origin", "--gc", "main@v2"];
    ann.dvc([settings.as_slice(), &gc_later].concat()).ok();
    assert_kept(&place, &ann, "one");

    ann.dvc(["forget", "--remote", "backup", "main@v2"]).ok();
    let done = gc(&ann, &["--all-remotes", "--now"]).ok();
    let reports = done.json_lines();
    let names: Vec<&Value> = reports.iter().map(|report| &report["remote"]).collect();
    assert_eq!(names.len(), 2, "{reports:?}");
    assert!(
        reports
            .iter()
            .all(|report| report["deleted_packs"].as_u64() > Some(0)),
        "{reports:?}"
    );
    assert_kept(&place, &ann, "two");
    ann.dvc(["fsck", "backup", "--data"]).ok().says("no damage");
    // A local version that only the local repository has is not affected.
    ann.dvc(["checkout", "main@v1", "--into", "../v1"]).ok();
}

/// Data that has been unneeded for less than the grace period of a remote stays.
#[test]
fn the_grace_of_a_remote() {
    let place = place::s3();
    let ann = pushed(&place);
    let before = packs(&place);
    ann.dvc(["forget", "--remote", "origin", "main@v1"]).ok();
    let done = gc(&ann, &["origin"]).ok().json();
    assert_eq!(done["deleted_packs"], 0, "{done}");
    assert!(
        done["waiting_seconds"].as_i64() > Some(80_000)
            || done["dead_seconds"].as_i64() > Some(80_000),
        "{done}"
    );
    let (before, after) = (before.unwrap(), packs(&place).unwrap());
    assert!(before.is_subset(&after));
    gc(&ann, &["origin", "--now"]).ok();
    assert!(!before.is_subset(&packs(&place).unwrap()));
    assert_kept(&place, &ann, "copy");
}

/// A machine that has no record of unneeded packs asks the store how old they are.
#[test]
fn the_age_of_a_pack() {
    // A directory is collected as a local repository, which has a record of its own.
    let places = [
        Some(place::s3()),
        place::moto(),
        place::azblob(),
        Some(place::gcs()),
        place::webdav(),
    ];
    for place in places.iter().flatten() {
        let ann = pushed(place);
        // Only this version needs its data pack.
        ann.write("large", noise(60, 300_000));
        ann.dvc(["commit", "-m", "large"]).ok();
        ann.dvc(["push"]).ok();
        ann.write("large", noise(61, 300_000));
        ann.dvc(["commit", "-m", "large again"]).ok();
        ann.dvc(["push"]).ok();
        ann.dvc(["forget", "--remote", "origin", "main@v5"]).ok();
        std::thread::sleep(std::time::Duration::from_millis(3100));
        let args = ["origin", "--grace", "2s", "--max-unused", "100"];
        let done = gc(&ann, &args).ok().json();
        assert!(
            done["dropped_packs"].as_u64() > Some(0),
            "{}: {done}",
            place.url
        );
        let done = gc(&ann, &["origin", "--grace", "1h"]).ok().json();
        assert_eq!(done["deleted_packs"], 0, "{}: {done}", place.url);
        ann.dvc(["fsck", "origin"]).ok();
    }
}

/// Two collections from two machines: one wins each race, and nothing is lost.
#[test]
fn two_machines_at_once() {
    for place in [place::s3(), place::s3_that_ignores_conditions()] {
        let ann = pushed(&place);
        let bob = place.person("Bob");
        bob.dvc(["clone", &place.url, "copy"]).ok();
        ann.dvc(["forget", "--remote", "origin", "main@v1", "main@v2"])
            .ok();
        let args = |name| {
            [
                &["-C", name, "-y"],
                AT_ONCE.as_slice(),
                &["origin", "--now"],
            ]
            .concat()
        };
        std::thread::scope(|scope| {
            let one = scope.spawn(|| ann.dvc(args(".")).code);
            let two = scope.spawn(|| bob.dvc(args("copy")).code);
            let codes = [one.join().unwrap(), two.join().unwrap()];
            assert!(
                codes.iter().all(|code| [0, 11].contains(code)) && codes.contains(&0),
                "{codes:?}"
            );
        });
        gc(&ann, &["origin", "--now"]).ok();
        assert_kept(&place, &ann, "after");
    }
}

/// Pushes of other machines during collections.
#[test]
fn pushes_and_clones_beside_it() {
    for place in [place::s3(), place::s3_that_ignores_conditions()] {
        let ann = pushed(&place);
        let bob = place.person("Bob");
        bob.dvc(["clone", &place.url, "copy"]).ok();
        bob.dvc(["-C", "copy", "checkout", "-b", "bob"]).ok();
        let done = std::sync::atomic::AtomicBool::new(false);
        let (url, others) = (&place.url, [(); 6].map(|()| place.person("Cleo")));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (n, other) in (0u64..).zip(&others) {
                    // Use content of versions whose packs the collection is marking as dead.
                    bob.write("copy/large", noise(1 + n % 3, 300_000));
                    bob.dvc(["-C", "copy", "commit", "-m", "Bob's"]).ok();
                    bob.dvc(["-C", "copy", "push", "origin", "bob"]).ok();
                    other.dvc(["clone", url, "clone"]).ok();
                }
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            let mut n = 1;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                if n <= 3 {
                    let version = format!("main@v{n}");
                    let _ = ann.dvc(["forget", "--remote", "origin", &version]);
                }
                n += 1;
                let run = gc(&ann, &["origin", "--now", "--max-unused", "0"]);
                assert!([0, 11].contains(&run.code), "{}", run.err);
            }
        });
        assert_kept(&place, &ann, "after");
    }
}
