//! The requests of a collection and of a push, and credentials that must not delete.

use crate::support::sandbox::Sandbox;
use crate::support::servers::s3::{S3, Switches};
use crate::support::zoo::noise;

/// Maximum length of a read in bytes.
const PIECE: u64 = 4 << 20;

fn person(s3: &S3) -> Sandbox {
    let mut s = Sandbox::new();
    for (name, value) in s3.env() {
        s.set(name, &value);
    }
    s.dvc(["init"]).ok();
    s.dvc(["remote", "add", "origin", &s3.url("p")]).ok();
    s
}

/// Pushes versions with data of their own. Every third one is forgotten on the remote.
fn pushed(s3: &S3, versions: u64) -> Sandbox {
    let ann = person(s3);
    for n in 1..=versions {
        ann.write("large", noise(n, 200_000));
        ann.write("shared", format!("{n}\n").repeat(2000));
        ann.dvc(["commit", "-m", &n.to_string()]).ok();
        if n % 4 == 0 {
            ann.dvc(["branch", &format!("branch-{n}")]).ok();
        }
        ann.dvc(["push", "--all"]).ok();
    }
    for n in (1..versions).filter(|n| n % 3 == 0 && n % 4 != 0) {
        ann.dvc(["forget", "--remote", "origin", &format!("main@v{n}")])
            .ok();
    }
    ann
}

fn gc(ann: &Sandbox, args: &[&str]) -> crate::support::sandbox::Run {
    let first = ["-y", "-c", "gc.keep-log=0", "--json", "gc", "origin"];
    ann.dvc([&first, args].concat())
}

fn bytes_below(s3: &S3, part: &str) -> u64 {
    let keys = s3.keys().into_iter().filter(|key| key.contains(part));
    keys.map(|key| s3.object(&key).unwrap().len() as u64).sum()
}

/// The limit: the listing, the index and the trees in pieces of 4 MiB, two requests for each copied
/// pack, one for 1,000 deletions, three for each ref, and 40 more.
#[test]
fn a_collection_sends_few_requests() {
    let s3 = S3::start(Switches::default());
    let ann = pushed(&s3, 24);
    let refs = s3
        .keys()
        .iter()
        .filter_map(|key| Some(key.split_once("refs/")?.1.rsplit_once('/')?.0.to_owned()))
        .collect::<std::collections::BTreeSet<_>>()
        .len();
    let entries = s3.keys().iter().filter(|key| key.contains("refs/")).count();
    let (segments, packs) = (bytes_below(&s3, "index/"), s3.keys());
    let packs = packs.iter().filter(|key| key.contains("packs/")).count();
    s3.forget_traffic();
    let done = gc(&ann, &["--now", "--keep-trash", "0", "--max-unused", "0"])
        .ok()
        .json();
    let requests = s3.requests();
    assert!(done["deleted_packs"].as_u64() > Some(4), "{done}");
    let copied = done["copied_packs"].as_u64().unwrap();
    let listing = (packs as u64).div_ceil(1000) + 4;
    // The first collection of a machine reads each older entry of a ref once.
    let older = (entries - refs) as u64;
    let most = listing
        + segments.div_ceil(PIECE)
        + bytes_below(&s3, "packs/").div_ceil(PIECE)
        + 2 * copied
        + done["deleted_packs"].as_u64().unwrap().div_ceil(1000)
        + 3 * refs as u64
        + older
        + 40;
    assert!(
        requests.len() as u64 <= most,
        "{} of at most {most} requests, {copied} packs copied, {refs} refs, {older} older entries:\n{}",
        requests.len(),
        requests.join("\n")
    );
    eprintln!(
        "{} of at most {most} requests, {copied} packs copied",
        requests.len()
    );
    // A collection that finds nothing to do.
    s3.forget_traffic();
    gc(&ann, &["--now", "--max-unused", "0"]).ok();
    let requests = s3.requests();
    eprintln!("{} requests to find nothing", requests.len());
    assert!(
        requests.len() as u64 <= 40 + 3 * refs as u64 + older + refs as u64,
        "{}\n{}",
        requests.len(),
        requests.join("\n")
    );
}

/// A push lists the gc log twice; a new ref costs one more request.
#[test]
fn a_push_sends_few_more_requests() {
    let s3 = S3::start(Switches::default());
    let ann = pushed(&s3, 2);
    let asked = |requests: &[String], part: &str| {
        requests.iter().filter(|line| line.contains(part)).count()
    };
    ann.write("large", noise(50, 200_000));
    ann.dvc(["commit", "-m", "more"]).ok();
    s3.forget_traffic();
    ann.dvc(["push"]).ok();
    let requests = s3.requests();
    let of_gc = asked(&requests, "quarantine");
    assert!(of_gc <= 2, "{requests:#?}");
    assert_eq!(asked(&requests, "PUT p/refs/"), 1, "{requests:#?}");

    ann.dvc(["branch", "other"]).ok();
    s3.forget_traffic();
    ann.dvc(["push", "origin", "other"]).ok();
    let requests = s3.requests();
    assert!(asked(&requests, "quarantine") <= 2, "{requests:#?}");
    assert_eq!(asked(&requests, "PUT p/refs/"), 2, "{requests:#?}");
}

/// Credentials that may write but not delete: the collection is incomplete, and the next one with
/// other credentials completes it.
#[test]
fn credentials_that_must_not_delete() {
    for part in ["p/", "packs/", "index/", "quarantine/"] {
        let s3 = S3::start(Switches::default());
        let ann = pushed(&s3, 7);
        let packs = |s3: &S3| {
            s3.keys()
                .iter()
                .filter(|key| key.contains("packs/"))
                .count()
        };
        let before = packs(&s3);
        s3.switch(|switches| switches.undeletable = Some(part));
        let run = gc(&ann, &["--now", "--keep-trash", "0"]).code(3);
        let run = run.complains("could not delete").complains("access denied");
        let done = run.json();
        assert_eq!(done["complete"], false, "{part}: {done}");
        assert!(done["undeleted"].as_u64() > Some(0), "{part}: {done}");
        ann.dvc(["fsck", "origin", "--data"]).ok().says("no damage");
        s3.switch(|switches| switches.undeletable = None);
        gc(&ann, &["--now", "--keep-trash", "0"]).ok();
        assert!(packs(&s3) < before, "{part}");
        ann.dvc(["fsck", "origin", "--data"]).ok().says("no damage");
        ann.dvc(["clone", &s3.url("p"), "copy"]).ok();
    }
}

/// Credentials that may only read end with a denial before anything is planned.
#[test]
fn credentials_that_only_read() {
    let s3 = S3::start(Switches::default());
    let ann = pushed(&s3, 4);
    let keys = s3.keys();
    s3.switch(|switches| {
        switches.full = Some((0, super::super::support::servers::s3::WhenFull::Status507))
    });
    let run = gc(&ann, &["--now", "--keep-trash", "0"]);
    assert!([8, 12].contains(&run.code), "{}", run.err);
    assert_eq!(s3.keys(), keys);
}
