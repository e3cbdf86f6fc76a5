//! Responses of a store, for every protocol: the exit code, message and hint for each error, the
//! data that another server receives after a redirect, and the data that dvc reads from an endless
//! response.
//!
//! The tests call the stores directly, without the layer that retries, so that no response causes a
//! pause.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use dvc::error::{Failure, causes};
use dvc::store::access::{Access, Secret};
use dvc::store::location::Location;
use dvc::store::oci::OciStore;
use dvc::store::remote::RemoteStore;
use dvc::store::{Store, StoreError};

use crate::support::sandbox::Sandbox;
use crate::support::servers::http::{Reply, Request, Serving, serve};

/// Credentials of every kind; each store uses its own.
const CREDENTIALS: &[(&str, &str)] = &[
    ("AWS_ACCESS_KEY_ID", "id-of-aws"),
    ("AWS_SECRET_ACCESS_KEY", "s3cret-of-aws"),
    ("AWS_SESSION_TOKEN", "s3cret-session"),
    ("AZURE_STORAGE_KEY", "czNjcmV0LWF6dXJl"),
    ("REGISTRY_USERNAME", "ann"),
    ("REGISTRY_PASSWORD", "s3cret-registry"),
    ("WEBDAV_USERNAME", "ann"),
    ("WEBDAV_PASSWORD", "s3cret-dav"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    S3,
    Azure,
    Google,
    Webdav,
    Registry,
}

const ALL: [Of; 5] = [Of::S3, Of::Azure, Of::Google, Of::Webdav, Of::Registry];

impl Of {
    fn url(self, port: u16) -> String {
        match self {
            Self::S3 => format!("s3://b/p?endpoint=http://127.0.0.1:{port}"),
            Self::Azure => format!("azblob://account/container/p?endpoint=http://127.0.0.1:{port}"),
            Self::Google => format!("gs://b/p?endpoint=http://127.0.0.1:{port}&anonymous=1"),
            Self::Webdav => format!("webdav://127.0.0.1:{port}/p"),
            Self::Registry => format!("oci://127.0.0.1:{port}/p"),
        }
    }

    fn store(self, port: u16, credentials: &[(&str, &str)]) -> Arc<dyn Store> {
        let credentials = credentials
            .iter()
            .map(|(n, v)| ((*n).to_owned(), Secret::new((*v).to_owned())))
            .collect();
        let access = Access {
            credentials,
            ..Access::default()
        };
        let location = Location::parse(&self.url(port), std::path::Path::new("/"))
            .unwrap()
            .location;
        match self {
            Self::Registry => Arc::new(OciStore::open(&location, &access).unwrap()),
            _ => Arc::new(RemoteStore::open(&location, &access).unwrap()),
        }
    }
}

/// A response: status, headers and body.
type Given = (u16, Vec<(&'static str, String)>, String);

/// A server that sends the same response to all requests. [`Self::answers`] changes the response.
struct Fake {
    serving: Serving,
    reply: Arc<Mutex<Given>>,
}

impl Fake {
    fn start() -> Self {
        let reply: Arc<Mutex<Given>> = Arc::new(Mutex::new((500, Vec::new(), String::new())));
        let of = Arc::clone(&reply);
        let serving = serve(move |_: &Request| {
            let (status, headers, body): Given = of.lock().unwrap().clone();
            headers
                .iter()
                .fold(Reply::with(status, body), |reply, (name, value)| {
                    reply.header(name, value.clone())
                })
        });
        Self { serving, reply }
    }

    fn answers(&self, status: u16, headers: &[(&'static str, &str)], body: &str) {
        let headers = headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        *self.reply.lock().unwrap() = (status, headers, body.to_owned());
    }
}

/// A response and its meaning: store, status, code, exit code, a part of the message, a part of the
/// hint.
type Row = (Of, u16, &'static str, u8, &'static str, &'static str);

const DENIED: (u8, &str, &str) = (12, "access denied", "check the credentials");
const EXPIRED: (u8, &str, &str) = (12, "the credentials have expired", "get new credentials");
const CLOCK: (u8, &str, &str) = (
    6,
    "the clocks of this machine and of the server differ too much",
    "set the clock",
);
const REGION: (u8, &str, &str) = (2, "the bucket is in another region", "`?region=NAME`");
const NO_PLACE: (u8, &str, &str) = (
    13,
    "no such bucket or directory",
    "create it first, or check the URL",
);
const ARCHIVED: (u8, &str, &str) = (6, "the object is archived", "restore the object");
const BILLING: (u8, &str, &str) = (
    6,
    "the bucket bills requests to the caller's project",
    "copy the data to a bucket",
);
const LOCKED: (u8, &str, &str) = (6, "locked by another client", "wait until its lock expires");
const FULL: (u8, &str, &str) = (8, "no space left", "free some space there");
const TOO_LARGE: (u8, &str, &str) = (
    8,
    "object too large for the server",
    "raise the request size limit",
);
const BUSY: (u8, &str, &str) = (6, "server overloaded", "run the command again later");
const LATE: (u8, &str, &str) = (6, "no response in time", "check that the server runs");
const BROKEN: (u8, &str, &str) = (6, "server unreachable", "check that the server runs");
const REFUSED: (u8, &str, &str) = (6, "request rejected", "read the reason above");
const PAGE: (u8, &str, &str) = (
    6,
    "received a web page instead of a response from the store",
    "a proxy or a login page",
);

const fn row(
    of: Of,
    status: u16,
    code: &'static str,
    meaning: (u8, &'static str, &'static str),
) -> Row {
    (of, status, code, meaning.0, meaning.1, meaning.2)
}

/// The responses by store, status and code. The body has the format of the protocol; a code with
/// `<` or `{` is the body itself.
const TABLE: &[Row] = &[
    row(Of::S3, 403, "AccessDenied", DENIED),
    row(Of::S3, 403, "InvalidAccessKeyId", DENIED),
    row(Of::S3, 403, "SignatureDoesNotMatch", DENIED),
    row(Of::S3, 400, "InvalidToken", DENIED),
    row(Of::S3, 403, "AllAccessDisabled", DENIED),
    row(Of::S3, 400, "ExpiredToken", EXPIRED),
    row(Of::S3, 403, "RequestTimeTooSkewed", CLOCK),
    row(Of::S3, 403, "InvalidObjectState", ARCHIVED),
    row(Of::S3, 301, "PermanentRedirect", REGION),
    row(Of::S3, 400, "AuthorizationHeaderMalformed", REGION),
    row(Of::S3, 400, "IllegalLocationConstraintException", REGION),
    row(Of::S3, 404, "NoSuchBucket", NO_PLACE),
    row(Of::S3, 400, "InvalidBucketName", NO_PLACE),
    row(Of::S3, 503, "SlowDown", BUSY),
    row(Of::S3, 503, "", BUSY),
    row(Of::S3, 429, "TooManyRequests", BUSY),
    row(Of::S3, 400, "RequestTimeout", LATE),
    row(Of::S3, 500, "InternalError", BROKEN),
    row(Of::S3, 409, "OperationAborted", BROKEN),
    row(Of::S3, 507, "", FULL),
    row(Of::S3, 507, "InsufficientCapacity", FULL),
    row(Of::S3, 403, "QuotaExceeded", FULL),
    row(Of::S3, 400, "XMinioAdminBucketQuotaExceeded", FULL),
    row(Of::S3, 400, "EntityTooLarge", TOO_LARGE),
    row(Of::S3, 413, "", TOO_LARGE),
    row(Of::S3, 405, "MethodNotAllowed", REFUSED),
    row(Of::S3, 501, "NotImplemented", REFUSED),
    row(Of::S3, 403, "InvalidPayer", BILLING),
    row(
        Of::S3,
        200,
        "<html><head><title>Sign in</title></head></html>",
        PAGE,
    ),
    row(Of::Azure, 403, "AuthenticationFailed", DENIED),
    row(Of::Azure, 403, "AccountIsDisabled", DENIED),
    row(Of::Azure, 403, "InsufficientAccountPermissions", DENIED),
    row(Of::Azure, 403, "AuthorizationPermissionMismatch", DENIED),
    row(Of::Azure, 404, "ContainerNotFound", NO_PLACE),
    row(Of::Azure, 409, "BlobArchived", ARCHIVED),
    row(Of::Azure, 412, "LeaseIdMissing", LOCKED),
    row(Of::Azure, 503, "ServerBusy", BUSY),
    row(Of::Azure, 500, "OperationTimedOut", LATE),
    row(Of::Azure, 413, "RequestBodyTooLarge", TOO_LARGE),
    row(Of::Google, 400, "userProjectMissing", BILLING),
    row(Of::Google, 429, "rateLimitExceeded", BUSY),
    row(Of::Google, 403, "rateLimitExceeded", BUSY),
    row(Of::Google, 403, "quotaExceeded", FULL),
    row(Of::Google, 503, "backendError", BROKEN),
    row(
        Of::Google,
        400,
        r#"{"error":"invalid_grant","error_description":"Invalid JWT: not in a reasonable timeframe"}"#,
        CLOCK,
    ),
    row(
        Of::Google,
        404,
        r#"{"error":{"code":404,"message":"The specified bucket does not exist.","errors":[]}}"#,
        NO_PLACE,
    ),
    row(Of::Webdav, 401, "", DENIED),
    row(Of::Webdav, 403, "", DENIED),
    row(Of::Webdav, 405, "", NO_PLACE),
    row(Of::Webdav, 423, "", LOCKED),
    row(Of::Webdav, 507, "", FULL),
    row(Of::Webdav, 413, "", TOO_LARGE),
    row(Of::Webdav, 502, "", BROKEN),
    row(
        Of::Webdav,
        200,
        "<!DOCTYPE html>\n<title>Login</title>",
        PAGE,
    ),
    row(Of::Registry, 400, "NAME_INVALID", NO_PLACE),
    row(Of::Registry, 403, "DENIED", DENIED),
    row(Of::Registry, 429, "TOOMANYREQUESTS", BUSY),
    row(Of::Registry, 503, "", BUSY),
    row(Of::Registry, 413, "", TOO_LARGE),
    row(Of::Registry, 504, "", LATE),
    row(Of::Registry, 200, "<html>not a registry</html>", PAGE),
];

fn body(of: Of, code: &str) -> String {
    match of {
        _ if code.is_empty() || code.contains(['<', '{']) => code.to_owned(),
        Of::S3 | Of::Azure => format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>for people</Message><Region>eu-central-1</Region></Error>"
        ),
        Of::Google => format!(
            r#"{{"error":{{"code":0,"message":"for people","errors":[{{"reason":"{code}"}}]}}}}"#
        ),
        Of::Registry => format!(r#"{{"errors":[{{"code":"{code}","message":"for people"}}]}}"#),
        Of::Webdav => String::new(),
    }
}

/// Returns the error as users see it: message, causes and hint.
fn told(e: &StoreError) -> String {
    format!(
        "{e}\n{}\n{}",
        causes(e).join("\n"),
        e.hint().unwrap_or_default()
    )
}

#[test]
fn every_answer_is_reported_by_its_meaning() {
    let fake = Fake::start();
    let stores = ALL.map(|of| (of, of.store(fake.serving.port(), CREDENTIALS)));
    for (of, status, code, exit, words, hint) in TABLE {
        let text = body(*of, code);
        let kind = match text.trim_start().chars().next() {
            Some('<') if text.contains("<Error>") => "application/xml",
            Some('<') => "text/html; charset=utf-8",
            _ => "application/json",
        };
        fake.answers(*status, &[("Content-Type", kind)], &text);
        let store = &stores.iter().find(|s| s.0 == *of).unwrap().1;
        // Some reads treat a missing key as a normal result, so try a listing as well.
        let read = store.get("format").err();
        let e = match read {
            Some(e) if !matches!(e, StoreError::Missing { .. }) => e,
            _ => store
                .list("packs")
                .expect_err(&format!("{of:?} {status} {code}")),
        };
        let told = told(&e);
        let place = format!("{of:?} {status} {code}: {told}");
        assert_eq!(e.kind().exit_code(), *exit, "{place}");
        assert!(told.contains(words) && told.contains(hint), "{place}");
        assert!(
            !told.contains("Error {") && !told.contains("Other(") && !told.contains("s3cret"),
            "{place}"
        );
        if !text.is_empty() && !code.contains(['<', '{']) {
            assert!(
                told.contains(code) && told.contains("for people"),
                "{place}"
            );
        }
        if *words == REGION.1 {
            assert!(told.contains("eu-central-1"), "{place}");
        }
        let page = include_str!("../../../docs/remotes.md");
        assert!(
            page.contains(words),
            "docs/remotes.md does not know `{words}`"
        );
    }
}

/// Missing credentials are reported as missing and not as wrong.
#[test]
fn missing_credentials_are_reported_as_missing() {
    let fake = Fake::start();
    type Asks<'a> = (Of, u16, &'a str, &'a [(&'static str, &'a str)]);
    let answers: [Asks<'_>; 4] = [
        (
            Of::Google,
            401,
            r#"{"error":{"code":401,"message":"Anonymous caller","errors":[{"reason":"required"}]}}"#,
            &[],
        ),
        (Of::Webdav, 401, "", &[]),
        (
            Of::Registry,
            401,
            "",
            &[("WWW-Authenticate", "Basic realm=\"r\"")],
        ),
        (
            Of::Azure,
            401,
            "<Error><Code>NoAuthenticationInformation</Code><Message>m</Message></Error>",
            &[],
        ),
    ];
    for (of, status, body, headers) in answers {
        fake.answers(status, headers, body);
        let e = of
            .store(fake.serving.port(), &[])
            .get("format")
            .unwrap_err();
        assert_eq!(e.kind().exit_code(), 12, "{of:?}: {}", told(&e));
        let told = told(&e);
        assert!(
            told.contains("none found")
                && told.contains("hint") | told.contains("set the credentials"),
            "{of:?}: {told}"
        );
    }
}

/// If a URL lacks the server's base path, the error must not report a damaged repository.
#[test]
fn a_folder_of_webdav_that_does_not_exist() {
    let fake = Fake::start();
    fake.answers(404, &[], "not here");
    let s = Sandbox::with_repo();
    s.write("a", "a");
    s.dvc(["commit", "-m", "one"]).ok();
    let url = format!("webdav://127.0.0.1:{}/wrong", fake.serving.port());
    let run = s
        .dvc(["push", &url])
        .code(13)
        .complains("no such bucket or directory")
        .complains("/wrong");
    assert!(!run.err.contains("fsck"), "{}", run.err);
    s.dvc(["--repo", &url, "log"]).code(10).complains("/wrong");
    // A web page in place of the marker is reported as such, with the URL.
    fake.answers(200, &[("Content-Type", "text/html")], "<html>login</html>");
    s.dvc(["--repo", &url, "log"])
        .code(6)
        .complains("received a web page")
        .complains(&url);
}

/// Starts a server that records the requests which reach it after a redirect.
fn listener() -> (Serving, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = Arc::clone(&heard);
    let serving = serve(move |r: &Request| {
        let headers: Vec<String> = r.headers.iter().map(|(n, v)| format!("{n}: {v}")).collect();
        let body = String::from_utf8_lossy(&r.body).into_owned();
        let query = format!("{:?}", r.query);
        ears.lock().unwrap().push(format!(
            "{} {} {query}\n{}\n{body}",
            r.method,
            r.raw_path,
            headers.join("\n")
        ));
        Reply::with(200, "elsewhere")
    });
    (serving, heard)
}

/// Credentials, and values derived from them, that no other server may receive.
const SECRETS: &[&str] = &[
    "s3cret",
    "czNjcmV0",
    "authorization:",
    "x-amz-security-token",
    "x-ms-date",
    "cookie:",
    "X-Amz-Signature",
    "YW5u",
];

#[test]
fn a_redirect_to_another_server_gets_no_credentials() {
    let (elsewhere, heard) = listener();
    let fake = Fake::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pack");
    std::fs::write(&file, vec![7; 100_000]).unwrap();
    let key = format!("packs/ab/ab{}", "0".repeat(62));
    for of in ALL {
        for status in [301, 302, 303, 307, 308] {
            // Redirect to the same path, with a query that a naive client would copy.
            let target = format!("http://127.0.0.1:{}/there?x=1", elsewhere.port());
            fake.answers(status, &[("Location", &target)], "");
            let store = of.store(fake.serving.port(), CREDENTIALS);
            // The registry client follows redirects of reads. All other stores must fail, with the
            // target in the message.
            let read = store.get("format");
            if of != Of::Registry {
                let e = read.unwrap_err();
                assert!(
                    told(&e).contains("redirects to another server"),
                    "{of:?} {status}: {}",
                    told(&e)
                );
                assert!(
                    told(&e).contains(&format!("127.0.0.1:{}", elsewhere.port())),
                    "{of:?}: {}",
                    told(&e)
                );
                assert_eq!(e.kind().exit_code(), 6);
            }
            drop(store.read_at(&key, 3, 5));
            drop(store.len("format"));
            drop(store.list("packs"));
            drop(store.create("refs/heads/main/1", b"x"));
            drop(store.put(&file, &key));
            drop(store.delete("format"));
        }
    }
    let heard = heard.lock().unwrap();
    for request in heard.iter() {
        assert!(!SECRETS.iter().any(|s| request.contains(s)), "{request}");
        assert!(
            request.starts_with("GET ") || request.starts_with("HEAD "),
            "{request}"
        );
    }
    // Only reads from a registry follow redirects, because registries may store blobs on another
    // server.
    assert!(
        heard.iter().any(|r| r.contains("/there")),
        "blobs may lie with another server"
    );
}

/// If a token server redirects, the new server receives no credentials.
#[test]
fn a_redirect_of_a_token_server_gets_no_credentials() {
    let (elsewhere, heard) = listener();
    let target = format!("http://127.0.0.1:{}/there", elsewhere.port());
    let port = Arc::new(AtomicU64::new(0));
    let own = Arc::clone(&port);
    let serving = serve(move |r: &Request| match r.path.as_str() {
        "/token" => Reply::new(307).header("Location", target.clone()),
        _ => {
            let realm = format!(
                "Bearer realm=\"http://127.0.0.1:{}/token\",service=\"s\"",
                own.load(Ordering::SeqCst)
            );
            Reply::new(401).header("WWW-Authenticate", realm)
        }
    });
    port.store(u64::from(serving.port()), Ordering::SeqCst);
    let e = Of::Registry
        .store(serving.port(), CREDENTIALS)
        .get("format")
        .unwrap_err();
    assert!(told(&e).contains("307"), "{}", told(&e));
    assert!(
        heard.lock().unwrap().is_empty(),
        "{:?}",
        heard.lock().unwrap()
    );
}

/// A server whose response bodies never end. It counts the bytes that it has sent.
struct Endless {
    port: u16,
    sent: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Endless {
    fn start(head: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sent, ends) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (counted, ended) = (Arc::clone(&sent), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            let mut speakers = Vec::new();
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                let (Ok(stream), counted, ended) =
                    (stream, Arc::clone(&counted), Arc::clone(&ended))
                else {
                    break;
                };
                speakers.push(std::thread::spawn(move || {
                    drop(speak(stream, head, &counted, &ended))
                }));
            }
            for speaker in speakers {
                speaker.join().unwrap();
            }
        });
        Self {
            port,
            sent,
            ends,
            thread: Some(thread),
        }
    }
}

fn speak(
    mut stream: TcpStream,
    head: &str,
    sent: &AtomicU64,
    ends: &AtomicBool,
) -> std::io::Result<()> {
    let mut request = [0; 16 << 10];
    if stream.read(&mut request)? == 0 {
        return Ok(());
    }
    stream
        .write_all(format!("HTTP/1.1 {head}\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes())?;
    let piece = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
    // Send until the client closes the connection, or until the test ends.
    while !ends.load(Ordering::SeqCst) {
        stream.write_all(&piece)?;
        sent.fetch_add(0x10000, Ordering::SeqCst);
    }
    Ok(())
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Size of the socket buffers on both sides and of one page of a listing, in bytes.
const SLACK: u64 = 32 << 20;
const LISTING: u64 = 64 << 20;

#[test]
fn no_answer_is_read_beyond_what_was_asked_for() {
    type Asks = fn(&dyn Store) -> Option<StoreError>;
    let ask: &[(&str, Asks)] = &[
        ("a small object", |store| store.get("format").err()),
        ("a range", |store| {
            store.read_at("packs/ab/x", 0, 1000).err()
        }),
        ("a listing", |store| store.list("packs").err()),
    ];
    for head in [
        "200 OK",
        "206 Partial Content",
        "403 Forbidden",
        "207 Multi-Status",
    ] {
        for of in ALL {
            for (what, ask) in ask {
                let server = Endless::start(head);
                let store = of.store(server.port, CREDENTIALS);
                let e = ask(&*store);
                let sent = server.sent.load(Ordering::SeqCst);
                assert!(
                    sent < LISTING + SLACK,
                    "{head} {of:?} {what}: {sent} bytes, {e:?}"
                );
                if *what != "a listing" {
                    assert!(sent < SLACK, "{head} {of:?} {what}: {sent} bytes, {e:?}");
                }
                // A server without ranges returns the whole object, but the client stops after the
                // range, so the read succeeds.
                if *what != "a range" {
                    assert!(e.is_some(), "{head} {of:?} {what}");
                }
            }
        }
    }
}
