//! Two machines share a volume through a registry and through S3: from the first push to the
//! resolution of a rejected one.

use super::journey::{commands, noise};
use super::place::{self, Place, below};
use crate::support::facts::{Compare, assert_same_by};
use crate::support::sandbox::Sandbox;

/// Returns the total size of the packs in a repository, in bytes.
fn packs(s: &Sandbox, repository: &str) -> u64 {
    below(&s.w(repository).join("packs"))
        .iter()
        .map(|pack| pack.metadata().unwrap().len())
        .sum()
}

/// Runs the test with `near` as the origin of both machines and `mirror` as an additional remote.
fn machines(near: &Place, mirror: &Place) {
    let both = |name: &str| {
        let mut person = near.person(name);
        for (name, value) in &mirror.env {
            person.set(name, value);
        }
        person
    };
    let (a, b) = (both("A"), both("B"));
    a.dvc(["init", "--branch", "AMCC"]).ok();
    for (n, dir) in (1..).zip(["orders", "customers", "logs"]) {
        a.write(&format!("{dir}/rows"), noise(n, 700_000));
        a.write(&format!("{dir}/index"), noise(n + 10, 90_000));
    }
    a.dvc(["commit", "-m", "first"]).ok();
    a.dvc(["remote", "add", "origin", &near.url]).ok();
    a.dvc(["remote", "add", "mirror", &mirror.url]).ok();
    a.write("orders/rows", noise(21, 720_000));
    a.dvc(["commit", "-m", "second"]).ok();
    a.dvc(["push", "origin", "mirror"]).ok();

    b.dvc(["clone", "--lazy", &near.url, "."]).ok();
    b.dvc(["diff", "--stat", "AMCC~1", "AMCC"])
        .ok()
        .says("orders/rows");
    let before = packs(&b, ".dvcs");
    assert!(before < 100_000, "{before} bytes came with a lazy clone");
    b.dvc(["checkout", "AMCC", "--", "orders"]).ok();
    let came = packs(&b, ".dvcs") - before;
    // The size of a frame is 256 KiB; a frame may also contain small files of other directories.
    assert!(
        (810_000..1_100_000).contains(&came),
        "{came} bytes came for one directory"
    );
    assert!(b.read("orders/rows") == a.read("orders/rows") && !b.w("customers").exists());
    b.write("orders/rows", noise(22, 730_000));
    b.dvc(["commit", "-m", "B's orders", "orders"]).ok();
    // B has neither the data nor most of the history of the earlier versions, but can push.
    let pushed = b.dvc(["push", "--json"]).ok().json();
    assert!(
        (700_000..900_000).contains(&pushed["sent_bytes"].as_u64().unwrap()),
        "{pushed}"
    );

    a.write("logs/rows", noise(23, 10_000));
    a.dvc(["commit", "-m", "A's logs"]).ok();
    let rejected = a.dvc(["push"]).code(4).complains("rejected `AMCC`");
    let hint = commands(&rejected)
        .iter()
        .map(|c| c.join(" "))
        .collect::<Vec<_>>();
    for command in [
        "branch AMCC-mine AMCC",
        "push origin AMCC-mine",
        "branch -f AMCC origin/AMCC",
        "checkout AMCC",
    ] {
        assert!(
            hint.iter().any(|c| c == command),
            "no `{command}` in {hint:?}"
        );
    }
    a.dvc(["fetch"]).ok().says("origin/AMCC");
    a.dvc(["status"])
        .ok()
        .says("1 ahead of origin/AMCC and 1 behind");
    a.dvc(["branch", "AMCC-a"]).ok();
    a.dvc(["push", "origin", "AMCC-a"]).ok();
    a.dvc(["branch", "-f", "AMCC", "origin/AMCC"]).ok();
    a.dvc(["checkout", "AMCC"]).ok();
    assert!(
        a.read("orders/rows") == noise(22, 730_000) && a.read("logs/rows") == noise(3, 700_000)
    );
    a.dvc(["push", "--all", "mirror"]).ok();

    // Clones of both remotes are complete.
    for (n, place) in [near, mirror].into_iter().enumerate() {
        let copy = format!("../copy-{n}");
        a.dvc(["clone", &place.url, &copy]).ok();
        assert_same_by(
            &a.w(""),
            &a.w(&copy),
            &Compare {
                root_time: false,
                ..Compare::default()
            },
        );
        a.dvc(["-C", &copy, "log", "--format=%s", "origin/AMCC-a"])
            .ok()
            .says("A's logs\nsecond\nfirst\n");
        a.dvc(["--repo", &place.url, "fsck", "--data"])
            .ok()
            .says("no damage");
    }
}

#[test]
fn by_a_registry_and_s3() {
    let (Some(registry), Some(s3)) = (place::oci(), place::moto()) else {
        return;
    };
    machines(&registry, &s3);
}

#[test]
fn by_s3_and_a_registry() {
    let (Some(registry), Some(s3)) = (place::oci_with_password(), place::moto()) else {
        return;
    };
    machines(&s3, &registry);
}
