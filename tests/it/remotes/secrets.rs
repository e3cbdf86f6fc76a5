//! Secrets reach only the store. They appear in no setting, output, error, file of dvc or command
//! line.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::place::below;
use crate::support::needs;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::registry::{self, Registry};
use crate::support::servers::s3::{S3, Switches};
use crate::support::servers::sshd::Sshd;
use crate::support::servers::webdav::{self, Webdav};

/// A secret that must not be shown.
const SECRET: &str = "k3ep-th1s-qu1et";
/// A wrong secret, which must not be shown either.
const WRONG: &str = "wr0ng-but-qu1et";

#[track_caller]
fn is_quiet(run: Run, secrets: &[&str]) -> Run {
    for secret in secrets {
        assert!(
            !run.out.contains(secret) && !run.err.contains(secret),
            "{}\n{}\n{}",
            run.line,
            run.out,
            run.err
        );
    }
    run
}

/// Asserts that no file in the sandbox contains a secret, except files with the name `secret`.
#[track_caller]
fn are_nowhere(s: &Sandbox, secrets: &[&str]) {
    let files = below(s.root());
    assert!(files.len() > 5, "there is something to look through");
    for path in files
        .iter()
        .filter(|path| path.file_name().is_some_and(|name| name != "secret"))
    {
        let bytes = std::fs::read(path).unwrap();
        for secret in secrets {
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds a secret", path.display());
        }
    }
}

fn with_version() -> Sandbox {
    let s = Sandbox::new();
    s.dvc(["init", "--branch", "AMCC"]).ok();
    s.write("data", "data");
    s.dvc(["commit", "-m", "one"]).ok();
    s
}

/// Runs commands with much output; the ones that use the remote exit with `code`.
fn talk(s: &Sandbox, url: &str, secrets: &[&str], code: i32) {
    let verbs: [&[&str]; 10] = [
        &["remote", "check", "origin", "-v", "-v"],
        &["remote", "check", "--json"],
        &["remote", "list", "--json"],
        &["config", "list", "--show-origin"],
        &["config", "list", "--json"],
        &["push", "-v", "-v"],
        &["push", "--json"],
        &["fetch", "-v", "-v"],
        &["fetch", "--json"],
        &["push", "--json", "-v", url],
    ];
    for verb in verbs {
        let run = is_quiet(s.dvc(verb), secrets);
        let only_settings = verb.starts_with(&["config"]) || verb.starts_with(&["remote", "list"]);
        if verb.last() != Some(&url) {
            run.code(if only_settings { 0 } else { code });
        }
    }
    are_nowhere(s, secrets);
}

/// Credentials for a remote by its name, and wrong ones.
#[test]
fn of_s3() {
    let s3 = S3::start(Switches {
        key: Some(("who".to_owned(), SECRET.to_owned())),
        ..Switches::default()
    });
    let mut s = with_version();
    s.set("DVC_REMOTE_ORIGIN_AWS_ACCESS_KEY_ID", "who")
        .set("DVC_REMOTE_ORIGIN_AWS_SECRET_ACCESS_KEY", SECRET);
    // Credentials for all remotes have a lower precedence.
    s.set("AWS_ACCESS_KEY_ID", "nobody")
        .set("AWS_SECRET_ACCESS_KEY", WRONG);
    s.dvc(["remote", "add", "origin", &s3.url("p")]).ok();
    talk(&s, &s3.url("p"), &[SECRET, WRONG], 0);
    s.set("DVC_REMOTE_ORIGIN_AWS_SECRET_ACCESS_KEY", "wr0ng");
    talk(&s, &s3.url("p"), &[SECRET, WRONG, "wr0ng"], 12);
    // The credentials of `origin` are not used for another remote.
    s.dvc(["remote", "add", "other", &s3.url("p"), "--offline"])
        .ok();
    is_quiet(s.dvc(["fetch", "other"]).code(12), &[SECRET, WRONG]);
}

#[test]
fn of_a_file() {
    let s3 = S3::start(Switches {
        key: Some(("who".to_owned(), SECRET.to_owned())),
        ..Switches::default()
    });
    let mut s = with_version();
    std::fs::write(s.at("secret"), format!("{SECRET}\n")).unwrap();
    let file = s.at("secret").display().to_string();
    s.set("DVC_REMOTE_ORIGIN_AWS_ACCESS_KEY_ID", "who")
        .set("DVC_REMOTE_ORIGIN_AWS_SECRET_ACCESS_KEY_FILE", &file);
    s.dvc(["remote", "add", "origin", &s3.url("p")]).ok();
    talk(&s, &s3.url("p"), &[SECRET], 0);
    s.set("AWS_ACCESS_KEY_ID", "who")
        .set("AWS_SECRET_ACCESS_KEY_FILE", &file);
    s.dvc(["remote", "add", "other", &s3.url("q")]).ok();
    is_quiet(s.dvc(["push", "other"]).ok(), &[SECRET]);
    // A missing credential file is reported, and no request is sent.
    s.set(
        "DVC_REMOTE_ORIGIN_AWS_SECRET_ACCESS_KEY_FILE",
        "/nonexistent/secret",
    );
    s.dvc(["push"]).code(2).complains("/nonexistent/secret");
}

#[test]
fn of_webdav() {
    let Some(server) = Webdav::with_password() else {
        return;
    };
    let mut s = with_version();
    s.set("DVC_REMOTE_ORIGIN_WEBDAV_PASSWORD", webdav::PASSWORD);
    s.dvc(["remote", "add", "origin", &server.url("p")]).ok();
    let encoded = webdav_header(webdav::PASSWORD);
    talk(&s, &server.url("p"), &[webdav::PASSWORD, &encoded], 0);
    s.set("DVC_REMOTE_ORIGIN_WEBDAV_PASSWORD", WRONG);
    talk(
        &s,
        &server.url("p"),
        &[webdav::PASSWORD, WRONG, &webdav_header(WRONG)],
        12,
    );
}

/// Returns the password as the HTTP header encodes it.
fn webdav_header(password: &str) -> String {
    crate::support::servers::signing::basic(webdav::USER, password).replace("Basic ", "")
}

#[test]
fn of_a_registry() {
    let Some(server) = Registry::with_password() else {
        return;
    };
    let mut s = with_version();
    s.set("DVC_REMOTE_ORIGIN_REGISTRY_USERNAME", registry::USER);
    s.set("DVC_REMOTE_ORIGIN_REGISTRY_PASSWORD", registry::PASSWORD);
    s.dvc(["remote", "add", "origin", &server.url("p")]).ok();
    talk(&s, &server.url("p"), &[registry::PASSWORD], 0);
    s.set("DVC_REMOTE_ORIGIN_REGISTRY_PASSWORD", WRONG);
    talk(&s, &server.url("p"), &[registry::PASSWORD, WRONG], 12);
}

/// Credentials from `docker login` are used and never shown.
#[test]
fn of_docker_login() {
    let Some(server) = Registry::with_password() else {
        return;
    };
    let mut s = with_version();
    let host = server.endpoint().replace("http://", "");
    let auth = crate::support::servers::signing::basic(registry::USER, registry::PASSWORD)
        .replace("Basic ", "");
    let config = serde_json::json!({"auths": {host: {"auth": auth}}});
    std::fs::create_dir_all(s.at("docker")).unwrap();
    std::fs::write(s.at("docker/config.json"), config.to_string()).unwrap();
    let dir = s.at("docker").display().to_string();
    s.set("DOCKER_CONFIG", &dir);
    s.dvc(["remote", "add", "origin", &server.url("p")]).ok();
    for verb in [
        &["push", "-v", "-v"][..],
        &["fetch", "--json"],
        &["remote", "check", "-v"],
    ] {
        is_quiet(s.dvc(verb).ok(), &[registry::PASSWORD, &auth]);
    }
}

/// No program that dvc starts has a secret on its command line. A fake `ssh` records its arguments
/// and environment.
#[test]
fn of_other_stores_are_not_given_to_ssh() {
    let Some(sshd) = Sshd::start() else { return };
    let mut s = with_version();
    let bin = s.at("bin");
    std::fs::create_dir(&bin).unwrap();
    let seen = s.at("seen");
    let script = format!(
        "#!/bin/sh\ntr '\\0' ' ' < /proc/$$/cmdline >> {0}\necho >> {0}\nexec {1} \"$@\"\n",
        seen.display(),
        needs::need("ssh").display()
    );
    std::fs::write(bin.join("ssh"), script).unwrap();
    std::fs::set_permissions(bin.join("ssh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    s.set("PATH", &path)
        .set("AWS_SECRET_ACCESS_KEY", SECRET)
        .set("DVC_REMOTE_ORIGIN_WEBDAV_PASSWORD", WRONG);
    s.dvc(["remote", "add", "origin", &sshd.url("p")]).ok();
    talk(&s, &sshd.url("p"), &[SECRET, WRONG], 0);
    let lines = std::fs::read_to_string(seen).unwrap();
    assert!(
        lines.contains("-F") && lines.contains("dvc-test"),
        "ssh was not in the way: {lines}"
    );
}

/// Every command removes a password from a URL with a warning, and stores it nowhere.
#[test]
fn in_urls() {
    let s = with_version();
    let urls = [
        (
            "sftp",
            format!("sftp://me:{SECRET}@nas/srv/x"),
            "sftp://me@nas/srv/x",
        ),
        (
            "scp",
            format!("scp://me:{SECRET}@nas:srv/x"),
            "sftp://me@nas/~/srv/x",
        ),
        (
            "dav",
            format!("webdavs://me:{SECRET}@nas/x"),
            "webdavs://me@nas/x",
        ),
        ("s3", format!("s3://key:{SECRET}@bucket/x"), "s3://bucket/x"),
    ];
    for (name, url, stored) in &urls {
        let run = is_quiet(
            s.dvc(["remote", "add", name, url, "--offline"]).ok(),
            &[SECRET],
        );
        run.complains("warning: the password in the URL is neither used nor stored");
        let listed = s.dvc(["remote", "list", "--json"]).ok().json_lines();
        assert!(
            listed
                .iter()
                .any(|r| r["name"] == *name && r["url"] == *stored),
            "{listed:?}"
        );
    }
    let dav = format!("webdav://me:{SECRET}@127.0.0.1:1/x");
    for verb in [
        &["clone", dav.as_str(), "copy"][..],
        &["push", &dav],
        &["fetch", &dav],
        &["--repo", &dav, "log"],
    ] {
        let run = is_quiet(s.dvc(verb), &[SECRET]);
        assert!(
            run.code != 0
                && run
                    .err
                    .contains("warning: the password in the URL is neither used"),
            "{}",
            run.err
        );
    }
    for bad in [
        format!("gs://me:{SECRET}@b/x"),
        format!("nonsense://me:{SECRET}@b"),
        format!("oci://me:{SECRET}@h/x"),
    ] {
        is_quiet(s.dvc(["remote", "add", "bad", &bad]).code(2), &[SECRET]);
        is_quiet(s.dvc(["--json", "clone", &bad]).code(2), &[SECRET]);
        is_quiet(s.dvc(["--repo", &bad, "log"]).code(2), &[SECRET]);
    }
    is_quiet(
        s.dvc(["--repo", &dav, "commit", "-m", "x"]).code(2),
        &[SECRET],
    );
    are_nowhere(&s, &[SECRET]);
    let settings = std::fs::read_to_string(s.w(Path::new(".dvcs/config.toml"))).unwrap();
    assert!(settings.contains("webdavs://me@nas/x"));
}

/// Parts of a URL in which users write passwords by mistake.
#[test]
fn secrets_in_odd_places_of_urls() {
    let s = with_version();
    let slash = format!("sftp://me:pa/{SECRET}@h.example/x");
    let scp = format!("me:{SECRET}@h.example:/x");
    let endpoint = format!("s3://b?endpoint=https://key:{SECRET}@h.example");
    let token = format!("azblob://account/container?sv=1&sig={SECRET}");
    for url in [&slash, &scp, &endpoint, &token] {
        for args in [
            &["remote", "add", "bad", url][..],
            &["--repo", url, "log"],
            &["clone", url, "copy"],
            &["push", url],
        ] {
            is_quiet(s.dvc(args).code(2), &[SECRET]);
        }
    }
    let repo = format!("sftp://me:{SECRET}@127.0.0.1:1/x");
    is_quiet(s.dvc(["--repo", &repo, "log", "--format=%U"]), &[SECRET]);
    is_quiet(
        s.dvc(["--repo", &repo, "commit", "-m", "no"]).code(2),
        &[SECRET],
    );
    are_nowhere(&s, &[SECRET]);
}

/// Credentials and profiles in the credentials file of the AWS tools.
#[test]
fn credentials_of_a_profile() {
    let key = Some(("who".to_owned(), SECRET.to_owned()));
    let s3 = S3::start(Switches {
        key,
        ..Switches::default()
    });
    let file = format!(
        "[default]\naws_access_key_id = who\naws_secret_access_key = {WRONG}\n\n\
         [work]\naws_access_key_id = who\naws_secret_access_key = {SECRET}\n"
    );
    let mut s = with_version();
    std::fs::create_dir_all(s.at("home/.aws")).unwrap();
    std::fs::write(s.at("home/.aws/credentials"), file).unwrap();
    s.set("AWS_REGION", "us-east-1");
    let quiet = |run: Run| is_quiet(run, &[SECRET, WRONG]);
    quiet(s.dvc(["push", &s3.url("p")]).code(12));
    s.set("AWS_PROFILE", "work");
    quiet(s.dvc(["push", &s3.url("p")]).ok());
    quiet(s.dvc(["--repo", &s3.url("p"), "fsck"]).ok());
}
