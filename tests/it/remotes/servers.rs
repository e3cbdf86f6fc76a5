//! Every test server starts, stores a byte, returns it, and leaves no process behind. The fake
//! servers behave and misbehave as configured, also with the client library of `dvc`.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::super::support::needs;
use super::super::support::servers::azurite::Azurite;
use super::super::support::servers::gcs::Gcs;
use super::super::support::servers::http::{Answer, ask};
use super::super::support::servers::moto::Moto;
use super::super::support::servers::objects::elements;
use super::super::support::servers::program::{Program, is_alive};
use super::super::support::servers::proxy::{Chance, Cut, Fails, Link, Proxy};
use super::super::support::servers::registry::{self, Registry};
use super::super::support::servers::s3::{Conditions, S3, Switches, WhenFull};
use super::super::support::servers::signing::{basic, sha256_hex};
use super::super::support::servers::sshd::{HOST, IMPOSTOR, STRANGER, Sshd};
use super::super::support::servers::webdav::{self, Webdav};
use opendal::{ErrorKind, Operator, services};

#[track_caller]
fn get(url: &str) -> Answer {
    ask("GET", url, &[], b"").unwrap()
}

#[track_caller]
fn put(url: &str, body: &[u8]) -> Answer {
    ask("PUT", url, &[], body).unwrap()
}

/// Stores an object of one byte and reads it back.
#[track_caller]
fn round_trip(url: &str) {
    let stored = put(url, b"x");
    assert!(
        (200..300).contains(&stored.status),
        "{}: {}",
        stored.status,
        stored.text()
    );
    assert_eq!(get(url).body, b"x");
}

/// Stops a server and asserts that none of its processes is left.
#[track_caller]
fn ends<T>(server: T, program: impl Fn(&T) -> &Program) {
    let processes = program(&server).processes();
    // A process for an earlier connection may have exited already, so require only one.
    assert!(processes.iter().any(|p| is_alive(*p)));
    drop(server);
    // Processes that are not children of the test were killed, but may not have been reaped yet.
    let end = Instant::now() + Duration::from_secs(10);
    while processes.iter().any(|p| is_alive(*p)) {
        assert!(Instant::now() < end, "{processes:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn wait_for<T>(work: impl Future<Output = T>) -> T {
    opendal::install_default();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

#[test]
fn moto_stores() {
    let Some(moto) = Moto::start() else { return };
    moto.make_bucket("bucket");
    let url = format!("{}/bucket/a%20key", moto.endpoint());
    // Requests need a signature, but moto accepts any signature.
    let signed = (
        "Authorization",
        "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, Signature=b",
    );
    assert_eq!(ask("PUT", &url, &[signed], b"x").unwrap().status, 200);
    assert_eq!(
        ask("PUT", &url, &[signed, ("If-None-Match", "*")], b"y")
            .unwrap()
            .status,
        412
    );
    assert_eq!(ask("GET", &url, &[signed], b"").unwrap().body, b"x");
    assert_eq!(get(&url).status, 403);
    assert!(
        moto.url("bucket", "p")
            .starts_with("s3://bucket/p?endpoint=http://127.0.0.1:")
    );
    ends(moto, |m| &m.program);
}

#[test]
fn azurite_stores() {
    let Some(azurite) = Azurite::start() else {
        return;
    };
    azurite.make_container("container");
    let block = [("x-ms-blob-type", "BlockBlob")];
    let stored = azurite.ask("PUT", "/container/key", &[], &block, b"x");
    assert_eq!(stored.status, 201, "{}", stored.text());
    assert_eq!(
        azurite.ask("GET", "/container/key", &[], &[], b"").body,
        b"x"
    );
    assert_eq!(
        get(&format!("{}/container/key", azurite.endpoint())).status,
        403,
        "nobody reads without a signature"
    );
    ends(azurite, |a| &a.program);
}

#[test]
fn webdav_stores() {
    let Some(webdav) = Webdav::start() else {
        return;
    };
    round_trip(&format!("{}/file", webdav.endpoint()));
    assert_eq!(std::fs::read(webdav.data().join("file")).unwrap(), b"x");
    std::fs::write(webdav.data().join("other"), b"seen at once").unwrap();
    assert_eq!(
        get(&format!("{}/other", webdav.endpoint())).body,
        b"seen at once"
    );
    ends(webdav, |w| &w.program);
}

#[test]
fn webdav_asks_for_a_password() {
    let Some(webdav) = Webdav::with_password() else {
        return;
    };
    let url = format!("{}/file", webdav.endpoint());
    assert_eq!(get(&url).status, 401);
    let who = [("Authorization", basic(webdav::USER, webdav::PASSWORD))];
    let who = who.each_ref().map(|(n, v)| (*n, v.as_str()));
    assert_eq!(ask("PUT", &url, &who, b"x").unwrap().status, 201);
    assert_eq!(ask("GET", &url, &who, b"").unwrap().body, b"x");
    ends(webdav, |w| &w.program);
}

#[test]
fn webdav_with_an_unknown_certificate() {
    let Some(webdav) = Webdav::self_signed() else {
        return;
    };
    let place = format!("127.0.0.1:{}", webdav.program.port());
    let out = needs::run("openssl", &["s_client", "-connect", &place]);
    assert!(out.contains("self-signed certificate"), "{out}");
    ends(webdav, |w| &w.program);
}

/// Uploads a blob to the repository `r` of a registry. Returns the digest.
fn push_blob(registry: &Registry, bytes: &[u8]) -> String {
    let begun = ask(
        "POST",
        &format!("{}/v2/r/blobs/uploads/", registry.endpoint()),
        &[],
        b"",
    )
    .unwrap();
    assert_eq!(begun.status, 202, "{}", begun.text());
    let digest = format!("sha256:{}", sha256_hex(bytes));
    let place = begun.header("location").unwrap();
    let headers = [("Content-Type", "application/octet-stream")];
    let stored = ask("PUT", &format!("{place}&digest={digest}"), &headers, bytes).unwrap();
    assert_eq!(stored.status, 201, "{}", stored.text());
    digest
}

#[test]
fn registry_stores_and_collects() {
    let Some(mut registry) = Registry::start() else {
        return;
    };
    let (kept, lost, empty) = (
        push_blob(&registry, b"x"),
        push_blob(&registry, b"y"),
        push_blob(&registry, b"{}"),
    );
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let descriptor = |digest: &str, len| serde_json::json!({"mediaType": "application/octet-stream", "digest": digest, "size": len});
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": kind, "config": descriptor(&empty, 2), "layers": [descriptor(&kept, 1)],
    });
    let tag = format!("{}/v2/r/manifests/tag", registry.endpoint());
    let tagged = ask(
        "PUT",
        &tag,
        &[("Content-Type", kind)],
        manifest.to_string().as_bytes(),
    )
    .unwrap();
    assert_eq!(tagged.status, 201, "{}", tagged.text());
    let blob = |digest: &str| format!("{}/v2/r/blobs/{digest}", registry.endpoint());
    let (kept, lost) = (blob(&kept), blob(&lost));
    assert_eq!(get(&lost).body, b"y");
    let before = registry.program.port();
    let said = registry.collect();
    assert_eq!(registry.program.port(), before);
    assert_eq!(
        (get(&kept).body, get(&lost).status),
        (b"x".to_vec(), 404),
        "{said}"
    );
    let log = std::fs::read_to_string(registry.access_log()).unwrap();
    assert!(log.contains("PUT /v2/r/manifests/tag"), "{log}");
    ends(registry, |r| &r.program);
}

#[test]
fn registry_asks_for_a_password() {
    let Some(registry) = Registry::with_password() else {
        return;
    };
    let url = format!("{}/v2/", registry.endpoint());
    assert_eq!(get(&url).status, 401);
    let who = |password| basic(registry::USER, password);
    assert_eq!(
        ask("GET", &url, &[("Authorization", &who("wrong"))], b"")
            .unwrap()
            .status,
        401
    );
    assert_eq!(
        ask(
            "GET",
            &url,
            &[("Authorization", &who(registry::PASSWORD))],
            b""
        )
        .unwrap()
        .status,
        200
    );
    ends(registry, |r| &r.program);
}

#[test]
fn sshd_lets_in_whom_it_knows() {
    let Some(sshd) = Sshd::start() else { return };
    let file = sshd.data().join("file");
    let mut child = sshd
        .ssh(HOST)
        .arg(format!("cat > {}", file.display()))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"x").unwrap();
    assert!(child.wait().unwrap().success(), "{}", sshd.program.logs());
    assert_eq!(
        sshd.ssh(HOST)
            .arg(format!("cat {}", file.display()))
            .output()
            .unwrap()
            .stdout,
        b"x"
    );
    let copy = sshd.data().join("copy");
    let config = sshd.config();
    let from = format!("{HOST}:{}", file.display());
    needs::run(
        "sftp",
        &[
            "-q",
            "-F",
            config.to_str().unwrap(),
            &from,
            copy.to_str().unwrap(),
        ],
    );
    assert_eq!(std::fs::read(copy).unwrap(), b"x");
    for (host, said) in [
        (STRANGER, "Permission denied"),
        (IMPOSTOR, "Host key verification failed"),
    ] {
        let out = sshd.ssh(host).arg("true").output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && text.contains(said), "{text}");
    }
    // A running session ends with the server.
    let mut session = sshd
        .ssh(HOST)
        .arg("sleep 60")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while sshd.program.processes().len() < 3 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    ends(sshd, |s| &s.program);
    assert!(!session.wait().unwrap().success());
}

#[test]
fn s3_stores_and_lists_in_pages() {
    let s3 = S3::start(Switches {
        page: 2,
        ..Switches::default()
    });
    let bucket = format!("{}/bucket", s3.endpoint());
    round_trip(&format!("{bucket}/a%20key%2B"));
    assert_eq!(s3.keys(), ["a key+"]);
    for key in ["d/1", "d/2", "d/e/3", "d/e/4", "d/f/5", "e"] {
        put(&format!("{bucket}/{key}"), key.as_bytes());
    }
    let ranged = ask(
        "GET",
        &format!("{bucket}/d/e/3"),
        &[("Range", "bytes=2-20")],
        b"",
    )
    .unwrap();
    assert_eq!((ranged.status, ranged.text().as_str()), (206, "e/3"));
    assert_eq!(ranged.header("content-range"), Some("bytes 2-4/5"));
    assert_eq!(
        ask("GET", &format!("{bucket}/e"), &[("Range", "bytes=9-")], b"")
            .unwrap()
            .status,
        416
    );
    let head = ask("HEAD", &format!("{bucket}/d/1"), &[], b"").unwrap();
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("3"))
    );
    for (delimiter, expected) in [
        ("", "d/1 d/2 d/e/3 d/e/4 d/f/5"),
        ("&delimiter=/", "d/1 d/2 d/e/ d/f/"),
    ] {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let page = get(&format!("{bucket}?list-type=2&prefix=d/{delimiter}{token}")).text();
            found.extend(elements(&page, "Key"));
            let folders = elements(&page, "CommonPrefixes");
            found.extend(folders.iter().flat_map(|p| elements(p, "Prefix")));
            let Some(next) = elements(&page, "NextContinuationToken").pop() else {
                break;
            };
            token = format!("&continuation-token={next}");
        }
        assert_eq!(found.join(" "), expected);
    }
    assert_eq!(
        ask("DELETE", &format!("{bucket}/e"), &[], b"")
            .unwrap()
            .status,
        204
    );
    assert!(
        get(&format!("{bucket}/e"))
            .text()
            .contains("<Code>NoSuchKey</Code>")
    );
    let counted = s3.traffic("PUT");
    assert_eq!((counted.requests, counted.bytes_in), (7, 23));
}

#[test]
fn s3_misbehaves_as_configured() {
    let s3 = S3::start(Switches::default());
    let url = |key: &str| format!("{}/bucket/{key}", s3.endpoint());
    let create = |key: &str| ask("PUT", &url(key), &[("If-None-Match", "*")], b"x").unwrap();
    let winners = |key: &str| {
        std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8).map(|_| scope.spawn(|| create(key).status)).collect();
            tries
                .into_iter()
                .map(|t| t.join().unwrap())
                .filter(|status| *status == 200)
                .count()
        })
    };
    assert_eq!(winners("honest"), 1);
    s3.switch(|s| s.conditions = Conditions::CheckThenWrite(Duration::from_millis(50)));
    assert!(winners("racy") > 1);
    assert_eq!(create("racy").status, 412);
    s3.switch(|s| s.conditions = Conditions::Ignored);
    assert_eq!((winners("ignored"), create("honest").status), (8, 200));

    s3.switch(|s| s.slow_down = 1);
    assert_eq!(
        (get(&url("honest")).status, get(&url("honest")).status),
        (503, 200)
    );
    s3.switch(|s| s.full = Some((10, WhenFull::Status507)));
    assert_eq!(
        (
            put(&url("big"), &[0; 7]).status,
            put(&url("big"), &[0; 8]).status
        ),
        (200, 507)
    );
    s3.switch(|s| s.full = Some((10, WhenFull::QuotaExceeded)));
    assert!(
        put(&url("big"), &[0; 8])
            .text()
            .contains("<Code>QuotaExceeded</Code>")
    );
    s3.switch(|s| s.clock_off_seconds = -86_400);
    let (yesterday, head) = (get(&url("big")), get(&url("big")));
    assert_eq!(
        yesterday.header("last-modified"),
        head.header("last-modified")
    );
    let date = jiff::fmt::rfc2822::parse(yesterday.header("date").unwrap())
        .unwrap()
        .timestamp();
    assert!((86_390..86_410).contains(&date.duration_until(jiff::Timestamp::now()).as_secs()));
    s3.damage("big", |bytes| bytes.truncate(3));
    assert_eq!(get(&url("big")).body.len(), 3);
    s3.switch(|s| s.bucket_missing = true);
    assert!(
        get(&url("big"))
            .text()
            .contains("<Code>NoSuchBucket</Code>")
    );
    s3.switch(|s| (s.bucket_missing, s.key) = (false, Some(("me".to_owned(), "mine".to_owned()))));
    assert!(
        get(&url("big"))
            .text()
            .contains("<Code>AccessDenied</Code>")
    );
}

fn s3_operator(s3: &S3, id: &str, secret: &str) -> Operator {
    let builder = services::S3::default()
        .bucket("bucket")
        .endpoint(&s3.endpoint())
        .region("us-east-1");
    let builder = builder
        .access_key_id(id)
        .secret_access_key(secret)
        .disable_config_load()
        .disable_ec2_metadata();
    Operator::new(builder.root("/p")).unwrap()
}

#[test]
fn s3_by_the_library() {
    let key = Some(("me".to_owned(), "mine".to_owned()));
    let s3 = S3::start(Switches {
        key,
        page: 3,
        ..Switches::default()
    });
    let operator = s3_operator(&s3, "me", "mine");
    wait_for(async {
        for (id, secret) in [("other", "mine"), ("me", "wrong")] {
            let refused = s3_operator(&s3, id, secret).read("x").await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
        }
        operator
            .write_with("d/a b+c=d", "one")
            .if_not_exists(true)
            .await
            .unwrap();
        let again = operator
            .write_with("d/a b+c=d", "two")
            .if_not_exists(true)
            .await
            .unwrap_err();
        assert_eq!(again.kind(), ErrorKind::ConditionNotMatch);
        assert_eq!(
            operator
                .read_with("d/a b+c=d")
                .range(1..3)
                .await
                .unwrap()
                .to_vec(),
            b"ne"
        );
        assert_eq!(
            operator.stat("d/a b+c=d").await.unwrap().content_length(),
            3
        );
        assert_eq!(
            operator.read("d/none").await.unwrap_err().kind(),
            ErrorKind::NotFound
        );

        let large: Vec<u8> = (0..13_u32 << 20)
            .map(|n| (n % 251).to_le_bytes()[0])
            .collect();
        let mut writer = operator
            .writer_with("d/large")
            .chunk(5 << 20)
            .concurrent(2)
            .if_not_exists(true)
            .await
            .unwrap();
        writer.write(large.clone()).await.unwrap();
        writer.close().await.unwrap();
        assert_eq!(
            (
                operator.read("d/large").await.unwrap().to_vec() == large,
                s3.unfinished().len()
            ),
            (true, 0)
        );

        for n in 0..7 {
            operator.write(&format!("d/sub/{n}"), "").await.unwrap();
        }
        assert_eq!(operator.list("d/").await.unwrap().len(), 3);
        assert_eq!(
            operator
                .list_with("d/")
                .recursive(true)
                .await
                .unwrap()
                .len(),
            9
        );
        operator.delete_with("d/").recursive(true).await.unwrap();
        assert_eq!(s3.keys(), [""; 0]);
    });
}

#[test]
fn gcs_stores() {
    let gcs = Gcs::start();
    let name = |query: &str| {
        format!(
            "{}/upload/storage/v1/b/bucket/o?name=d%2Fkey&{query}",
            gcs.endpoint()
        )
    };
    let create = || {
        ask(
            "POST",
            &name("uploadType=media&ifGenerationMatch=0"),
            &[],
            b"x",
        )
        .unwrap()
        .status
    };
    let winners = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        tries
            .into_iter()
            .map(|t| t.join().unwrap())
            .filter(|status| *status == 200)
            .count()
    });
    assert_eq!((winners, create()), (1, 412));
    let object = format!("{}/storage/v1/b/bucket/o/d%2Fkey", gcs.endpoint());
    assert_eq!(get(&format!("{object}?alt=media")).body, b"x");
    assert!(get(&object).text().contains("\"size\":\"1\""));
    let related = [("Content-Type", "multipart/related; boundary=cut")];
    let body =
        b"--cut\r\nContent-Type: application/json\r\n\r\n{}\r\n--cut\r\nContent-Type: a/b\r\n\r\nx\r\ny\r\n--cut--";
    assert_eq!(
        ask("POST", &name("uploadType=multipart"), &related, body)
            .unwrap()
            .status,
        200
    );
    assert_eq!(gcs.object("d/key").unwrap(), b"x\r\ny");
    let begun = ask("POST", &name("uploadType=resumable"), &[], b"{}").unwrap();
    let session = begun.header("location").unwrap();
    let piece = |range, body| ask("PUT", session, &[("Content-Range", range)], body).unwrap();
    let first = piece("bytes 0-2/*", b"one");
    assert_eq!(
        (first.status, first.header("range")),
        (308, Some("bytes=0-2"))
    );
    assert_eq!(piece("bytes 3-5/6", b"two").status, 200);
    assert_eq!(gcs.object("d/key").unwrap(), b"onetwo");
    assert_eq!(
        get(&format!("{}/storage/v1/b/other/o", gcs.endpoint())).status,
        404
    );
}

#[test]
fn gcs_by_the_library() {
    let gcs = Gcs::start();
    gcs.set_page(3);
    let builder = services::Gcs::default()
        .bucket("bucket")
        .endpoint(&gcs.endpoint())
        .root("/p")
        .skip_signature();
    let operator = Operator::new(builder).unwrap();
    wait_for(async {
        operator
            .write_with("d/a b+c=d", "one")
            .if_not_exists(true)
            .await
            .unwrap();
        let again = operator
            .write_with("d/a b+c=d", "two")
            .if_not_exists(true)
            .await
            .unwrap_err();
        assert_eq!(again.kind(), ErrorKind::ConditionNotMatch);
        assert_eq!(
            operator
                .read_with("d/a b+c=d")
                .range(1..3)
                .await
                .unwrap()
                .to_vec(),
            b"ne"
        );
        assert_eq!(
            operator.stat("d/a b+c=d").await.unwrap().content_length(),
            3
        );
        assert_eq!(
            operator.read("d/none").await.unwrap_err().kind(),
            ErrorKind::NotFound
        );

        let large: Vec<u8> = (0..19_u32 << 20)
            .map(|n| (n % 251).to_le_bytes()[0])
            .collect();
        for (key, only_new) in [("d/resumable", true), ("d/parts", false)] {
            let mut writer = operator
                .writer_with(key)
                .chunk(9 << 20)
                .if_not_exists(only_new)
                .await
                .unwrap();
            writer.write(large.clone()).await.unwrap();
            writer.close().await.unwrap();
            assert!(operator.read(key).await.unwrap().to_vec() == large, "{key}");
        }
        operator
            .write_with("d/typed", "typed")
            .content_type("text/plain")
            .await
            .unwrap();
        assert_eq!(operator.read("d/typed").await.unwrap().to_vec(), b"typed");
        for n in 0..7 {
            operator.write(&format!("d/sub/{n}"), "").await.unwrap();
        }
        assert_eq!(operator.list("d/").await.unwrap().len(), 5);
        assert_eq!(
            operator
                .list_with("d/")
                .recursive(true)
                .await
                .unwrap()
                .len(),
            11
        );
        operator.delete_with("d/").recursive(true).await.unwrap();
        assert_eq!(gcs.keys(), [""; 0]);
    });
}

fn proxied(s3: &S3, link: Link) -> (Proxy, String) {
    let proxy = Proxy::start(([127, 0, 0, 1], s3.port()).into(), link).unwrap();
    let bucket = format!("http://127.0.0.1:{}/bucket", proxy.port());
    (proxy, bucket)
}

#[test]
fn proxy_is_as_slow_as_configured() {
    let s3 = S3::start(Switches::default());
    let (proxy, bucket) = proxied(
        &s3,
        Link {
            delay: Duration::from_millis(40),
            ..Link::default()
        },
    );
    let start = Instant::now();
    round_trip(&format!("{bucket}/key"));
    // Two connections, each with a handshake and one request, make four round trips.
    let passed = start.elapsed();
    assert!(passed >= Duration::from_millis(4 * 80), "{passed:?}");
    assert_eq!(
        (proxy.passed().connections, proxy.passed().requests),
        (2, 2)
    );

    let rate = Some(10_000_000);
    for delay in [Duration::ZERO, Duration::from_millis(5)] {
        proxy.change(|link| (link.delay, link.rate) = (delay, rate));
        let (start, large) = (Instant::now(), vec![7; 4_000_000]);
        put(&format!("{bucket}/large"), &large);
        assert_eq!(get(&format!("{bucket}/large")).body, large);
        let passed = start.elapsed();
        assert!(passed >= Duration::from_millis(780), "{passed:?}");
    }
}

#[test]
fn proxy_fails_as_configured() {
    let s3 = S3::start(Switches::default());
    for delay in [Duration::ZERO, Duration::from_millis(5)] {
        let (proxy, bucket) = proxied(
            &s3,
            Link {
                delay,
                ..Link::default()
            },
        );
        let put = |key: &str, len: usize| {
            ask("PUT", &format!("{bucket}/{key}"), &[], &vec![1; len]).map(|a| a.status)
        };
        s3.forget_traffic();
        proxy.lose_reply("PUT /bucket/lost");
        assert_eq!(put("kept", 1).unwrap(), 200);
        put("lost", 300_000).unwrap_err();
        assert_eq!(
            (s3.object("lost").unwrap().len(), put("lost", 1).unwrap()),
            (300_000, 200)
        );

        proxy.change(|link| {
            link.cut = Some(Cut {
                after_bytes: 500_000,
                to_server: true,
                connections: 1,
            })
        });
        let before = proxy.passed();
        put("cut", 5_000_000).unwrap_err();
        let after = proxy.passed();
        assert_eq!(
            (
                after.to_server_bytes - before.to_server_bytes,
                after.cuts - before.cuts
            ),
            (500_000, 1)
        );
        assert_eq!(
            (s3.object("cut"), put("cut", 5_000_000).unwrap()),
            (None, 200)
        );
        s3.lose("cut");
        proxy.change(|link| {
            link.cut = Some(Cut {
                after_bytes: 1000,
                to_server: false,
                connections: 1,
            })
        });
        ask("GET", &format!("{bucket}/kept"), &[], b"").unwrap();
        s3.damage("kept", |bytes| bytes.resize(5_000_000, 2));
        ask("GET", &format!("{bucket}/kept"), &[], b"").unwrap_err();
        proxy.cut_all();
    }
}

#[test]
fn proxy_fails_by_chance() {
    let s3 = S3::start(Switches::default());
    for what in [Fails::Connection, Fails::Request, Fails::Reply] {
        let run = || {
            let chance = Some(Chance {
                percent: 20,
                what,
                seed: 42,
            });
            let (_proxy, bucket) = proxied(
                &s3,
                Link {
                    chance,
                    ..Link::default()
                },
            );
            s3.forget_traffic();
            let failed: Vec<bool> = (0..60)
                .map(|_| ask("PUT", &format!("{bucket}/k"), &[], b"x").is_err())
                .collect();
            (failed, s3.traffic("PUT").requests)
        };
        let (first, seen) = run();
        let count = first.iter().filter(|f| **f).count();
        assert!((4..24).contains(&count), "{what:?}: {count} of 60");
        assert_eq!(first, run().0, "{what:?}");
        let reached = if what == Fails::Reply {
            60
        } else {
            60 - u64::try_from(count).unwrap()
        };
        assert_eq!(seen, reached, "{what:?}");
    }
}
