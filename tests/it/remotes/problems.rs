//! Problems with a remote are reported within a time limit, with an exit code, a message and a
//! hint.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::journey::noise;
use super::place;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::azurite::Azurite;
use crate::support::servers::gcs::Gcs;
use crate::support::servers::moto::Moto;
use crate::support::servers::registry::{self, Registry};
use crate::support::servers::s3::{S3, Switches, WhenFull};
use crate::support::servers::sshd::{IMPOSTOR, STRANGER, Sshd};
use crate::support::servers::webdav::Webdav;

/// Time limit for the report of a problem.
const PATIENCE: Duration = Duration::from_secs(20);

const DENIED: Problem = Problem {
    code: 12,
    kind: "denied",
    words: "access denied",
    hint: "check the credentials",
};
const NO_CREDENTIALS: Problem = Problem {
    code: 12,
    kind: "denied",
    words: "credentials required, but none found",
    hint: "set the credentials",
};
const NO_PLACE: Problem = Problem {
    code: 13,
    kind: "not-found",
    words: "no such bucket or directory",
    hint: "create it first, or check the URL",
};
const UNKNOWN_HOST: Problem = Problem {
    code: 6,
    kind: "unreachable",
    words: "unknown host",
    hint: "check the URL",
};
const REFUSED: Problem = Problem {
    code: 6,
    kind: "unreachable",
    words: "server unreachable",
    hint: "check that the server runs",
};
const UNTRUSTED: Problem = Problem {
    code: 6,
    kind: "unreachable",
    words: "server identity not verified",
    hint: "check the certificate",
};
const OFFLINE: Problem = Problem {
    code: 6,
    kind: "unreachable",
    words: "network access is disabled",
    hint: "omit `--offline`",
};
const FULL: Problem = Problem {
    code: 8,
    kind: "no-space",
    words: "no space left",
    hint: "free some space there",
};

struct Problem {
    code: i32,
    kind: &'static str,
    words: &'static str,
    hint: &'static str,
}

impl Problem {
    /// Asserts that a run has reported this problem within the time limit.
    #[track_caller]
    fn assert_reported(&self, run: Run, began: Instant) {
        let run = run
            .code(self.code)
            .complains(self.words)
            .complains(self.hint);
        assert!(
            began.elapsed() < PATIENCE,
            "{}: {:?}",
            run.line,
            began.elapsed()
        );
        if run.line.contains("--json") {
            let told: Value = run
                .err
                .lines()
                .last()
                .and_then(|line| serde_json::from_str(line).ok())
                .unwrap();
            assert_eq!(
                (&told["code"], &told["kind"]),
                (&self.code.into(), &self.kind.into()),
                "{told}"
            );
            assert!(told["hint"].as_str().unwrap().contains(self.hint), "{told}");
        }
    }

    /// Asserts that every command that uses the remote reports this problem.
    #[track_caller]
    fn of(&self, url: &str, env: &[(&str, String)]) {
        let s = with_version(env);
        s.dvc(["remote", "add", "origin", url, "--offline"]).ok();
        let verbs: [&[&str]; 5] = [
            &["push"],
            &["fetch", "--json"],
            &["remote", "check", "origin"],
            &["clone", url, "copy"],
            &["--repo", url, "log", "--json"],
        ];
        for verb in verbs {
            let began = Instant::now();
            self.assert_reported(s.dvc(verb), began);
        }
        assert!(
            !s.w("copy").exists(),
            "nothing is left of a clone that did not begin"
        );
        assert_eq!(s.dvc(["log", "--format=%s"]).ok().out, "one\n");
    }
}

fn with_version(env: &[(&str, String)]) -> Sandbox {
    let mut s = Sandbox::new();
    for (name, value) in env {
        s.set(name, value);
    }
    s.dvc(["init", "--branch", "AMCC"]).ok();
    s.write("data", noise(1, 400_000));
    s.dvc(["commit", "-m", "one"]).ok();
    s
}

/// Returns a port on which no process listens.
fn closed_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn of_s3(id: &str, secret: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ACCESS_KEY_ID", id.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
    ]
}

#[test]
fn a_wrong_secret_of_s3() {
    let s3 = S3::start(Switches {
        key: Some(("who".to_owned(), "right".to_owned())),
        ..Switches::default()
    });
    DENIED.of(&s3.url("p"), &of_s3("who", "wrong"));
    DENIED.of(&s3.url("p"), &of_s3("nobody", "right"));
}

#[test]
fn a_wrong_key_of_azblob() {
    let Some(azurite) = Azurite::start() else {
        return;
    };
    azurite.make_container("container");
    DENIED.of(
        &azurite.url("container", "p"),
        &[("AZURE_STORAGE_KEY", "d3Jvbmcga2V5".to_owned())],
    );
}

#[test]
fn a_wrong_password_of_webdav() {
    let Some(webdav) = Webdav::with_password() else {
        return;
    };
    DENIED.of(&webdav.url("p"), &[("WEBDAV_PASSWORD", "wrong".to_owned())]);
    NO_CREDENTIALS.of(&webdav.url("p"), &[]);
}

#[test]
fn a_wrong_password_of_a_registry() {
    let Some(registry) = Registry::with_password() else {
        return;
    };
    let user = ("REGISTRY_USERNAME", registry::USER.to_owned());
    DENIED.of(
        &registry.url("p"),
        &[user, ("REGISTRY_PASSWORD", "wrong".to_owned())],
    );
    NO_CREDENTIALS.of(&registry.url("p"), &[]);
}

#[test]
fn an_unknown_key_of_ssh() {
    let Some(sshd) = Sshd::start() else { return };
    DENIED.of(&sshd.url_by(STRANGER, "p"), &[]);
}

#[test]
fn a_bucket_or_container_that_does_not_exist() {
    let s3 = S3::start(Switches {
        bucket_missing: true,
        ..Switches::default()
    });
    NO_PLACE.of(&s3.url("p"), &s3.env());
    let gcs = Gcs::start();
    NO_PLACE.of(&gcs.url("p").replace("gs://bucket", "gs://other"), &[]);
    if let Some(moto) = Moto::start() {
        NO_PLACE.of(&moto.url("none", "p"), &moto.env());
    }
    if let Some(azurite) = Azurite::start() {
        NO_PLACE.of(&azurite.url("none", "p"), &azurite.env());
    }
}

#[test]
fn a_host_that_is_not_known() {
    UNKNOWN_HOST.of(
        "s3://b?endpoint=http://no-such-host.invalid",
        &of_s3("a", "b"),
    );
    UNKNOWN_HOST.of("webdavs://no-such-host.invalid/p", &[]);
    UNKNOWN_HOST.of("oci://no-such-host.invalid/p", &[]);
}

#[test]
fn an_ssh_host_that_is_not_known() {
    if Sshd::start().is_some() {
        UNKNOWN_HOST.of("sftp://no-such-host.invalid/p", &[]);
    }
}

#[test]
fn a_closed_port_of_s3() {
    REFUSED.of(
        &format!("s3://b?endpoint=http://127.0.0.1:{}", closed_port()),
        &of_s3("a", "b"),
    );
}

#[test]
fn a_closed_port_of_webdav() {
    REFUSED.of(&format!("webdav://127.0.0.1:{}/p", closed_port()), &[]);
}

#[test]
fn a_closed_port_of_a_registry() {
    REFUSED.of(&format!("oci://127.0.0.1:{}/p", closed_port()), &[]);
}

#[test]
fn a_closed_port_of_ssh() {
    if Sshd::start().is_some() {
        REFUSED.of(&format!("sftp://127.0.0.1:{}/p", closed_port()), &[]);
    }
}

#[test]
fn an_unknown_certificate() {
    let Some(webdav) = Webdav::self_signed() else {
        return;
    };
    UNTRUSTED.of(&webdav.url("p"), &[]);
}

#[test]
fn a_host_key_that_has_changed() {
    let Some(sshd) = Sshd::start() else { return };
    UNTRUSTED.of(&sshd.url_by(IMPOSTOR, "p"), &[]);
}

#[test]
fn no_network() {
    let s = with_version(&[]);
    s.dvc([
        "remote",
        "add",
        "origin",
        "s3://b?endpoint=http://127.0.0.1:1",
        "--offline",
    ])
    .ok();
    for verb in [
        &["push"][..],
        &["fetch"],
        &["pull"],
        &["remote", "check"],
        &["--repo", "oci://h/p", "log"],
    ] {
        OFFLINE.assert_reported(s.dvc([&["--offline"], verb].concat()), Instant::now());
    }
    OFFLINE.assert_reported(
        s.dvc(["--offline", "clone", "sftp://h/p", "copy"]),
        Instant::now(),
    );
    let told = s.dvc(["--offline", "fetch", "gs://bucket"]).code(6);
    assert!(
        told.err
            .contains("cannot access gs://bucket: network access is disabled"),
        "{}",
        told.err
    );
    // A push to a local directory needs no network.
    let dir = s.at("elsewhere");
    s.dvc(["--offline", "push", dir.to_str().unwrap()]).ok();
    s.dvc(["--offline", "clone", dir.to_str().unwrap(), "copy"])
        .ok();
    assert!(s.read("copy/data") == s.read("data"));
}

/// A full store is reported, earlier data stays complete, and the next push continues once there is
/// space.
#[test]
fn a_full_store() {
    for how in [WhenFull::Status507, WhenFull::QuotaExceeded] {
        let s3 = S3::start(Switches::default());
        let env = s3.env();
        let s = with_version(&env);
        s.dvc(["remote", "add", "origin", &s3.url("p")]).ok();
        s.dvc(["push"]).ok();
        s3.switch(|s| s.full = Some((500_000, how)));
        s.write("more", noise(2, 300_000));
        s.dvc(["commit", "-m", "two"]).ok();
        let began = Instant::now();
        FULL.assert_reported(s.dvc(["push", "--json"]), began);
        s.dvc(["--repo", &s3.url("p"), "fsck", "--data"])
            .ok()
            .says("no damage");
        assert_eq!(
            s.dvc(["--repo", &s3.url("p"), "log", "--format=%s"])
                .ok()
                .out,
            "one\n"
        );
        s3.switch(|s| s.full = None);
        s.dvc(["push"]).ok();
        assert_eq!(
            s.dvc(["--repo", &s3.url("p"), "log", "--format=%s"])
                .ok()
                .out,
            "two\none\n"
        );
    }
}

/// A push never overwrites a different repository, and recreates a repository that has disappeared
/// only with `--force`.
#[test]
fn a_remote_that_is_no_copy() {
    let place = place::s3();
    let (ann, bob) = (place.person("Ann"), place.person("Bob"));
    for s in [&ann, &bob] {
        s.dvc(["init", "--branch", "AMCC"]).ok();
        s.write("data", noise(3, 10_000));
        s.dvc(["commit", "-m", "one"]).ok();
        s.dvc(["remote", "add", "origin", &place.url]).ok();
    }
    ann.dvc(["push"]).ok();
    for verb in [&["push"][..], &["fetch"], &["pull"]] {
        bob.dvc(verb)
            .code(4)
            .complains("contains a different repository")
            .complains("hint: check the URL");
    }
    bob.dvc(["remote", "check"])
        .ok()
        .says("not a copy of the local repository");

    let disk = place::directory();
    ann.dvc(["remote", "set", "origin", &disk.url]).ok();
    ann.dvc(["push"]).ok();
    std::fs::remove_dir_all(&disk.url).unwrap();
    ann.dvc(["push"])
        .code(4)
        .complains("no longer exists")
        .complains("hint: check that its file system is mounted");
    ann.dvc(["push", "--force"]).ok();
    ann.dvc(["--repo", &disk.url, "fsck", "--data"])
        .ok()
        .says("no damage");
}
