//! Tests against a real `docker-registry`: all methods of the store, garbage collection, and all
//! authentication schemes; and against stub servers for behaviour that `docker-registry` lacks.

mod servers;
mod tokens;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use self::servers::{Answer, Registry, Request, Stub};
use super::{OciStore, tag};
use crate::format::gclog::{GC_KIND, GcEntry, GcStep};
use crate::format::pack::PackKind;
use crate::format::segment::filter::FilterBuilder;
use crate::format::segment::footer::SegmentFooter;
use crate::format::segment::tables::{PackEntry, PackTable, encode_replaces};
use crate::format::segment::{encode_head, fanout};
use crate::model::id::parse_hex;
use crate::store::access::{Access, Secret};
use crate::store::location::Location;
use crate::store::{ListedKey, Store, StoreError, StoreErrorKind};
use crate::work::Cancelled;

const USERNAME: &str = "REGISTRY_USERNAME";
const PASSWORD: &str = "REGISTRY_PASSWORD";

fn open_with(host: &str, credentials: &[(&str, &str)]) -> Result<OciStore, StoreError> {
    let secret =
        |(name, value): &(&str, &str)| ((*name).to_owned(), Secret::new((*value).to_owned()));
    let access = Access {
        credentials: credentials.iter().map(secret).collect(),
        ..Access::default()
    };
    let location = Location::parse(&format!("oci://{host}/team/data"), Path::new("/"))
        .unwrap()
        .location;
    OciStore::open(&location, &access)
}

fn open(host: &str) -> OciStore {
    open_with(host, &[]).unwrap()
}

/// Returns incompressible pseudo-random bytes, the same ones for the same seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
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

fn put(store: &OciStore, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    store.put(file.path(), key)
}

fn pack_key(bytes: &[u8]) -> String {
    let name = tag::sha256(bytes);
    format!("packs/{}/{name}", &name[..2])
}

fn entry(bytes: &[u8]) -> PackEntry {
    let mut name = [0; 32];
    parse_hex(&tag::sha256(bytes), &mut name).unwrap();
    PackEntry {
        name,
        size_bytes: bytes.len() as u64,
    }
}

/// Returns a segment without rows that refers to these packs.
fn segment(packs: &[PackEntry]) -> (String, Vec<u8>) {
    let filter = FilterBuilder::new(0).unwrap();
    let mut bytes = encode_head(PackKind::Data).to_vec();
    bytes.extend(fanout::encode(&[0]));
    for (piece, sum) in filter.pieces() {
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(&sum);
    }
    bytes.extend(PackTable::new(packs.to_vec()).unwrap().encode());
    bytes.extend(encode_replaces(&[]));
    let footer = SegmentFooter {
        kind: PackKind::Data,
        bits: 0,
        rows: 0,
        bucket_bytes: 0,
        filter_blocks: filter.blocks(),
        packs: packs.len() as u64,
        replaces: 0,
    };
    bytes.extend(footer.encode());
    (format!("index/{}", tag::sha256(&bytes)), bytes)
}

fn stream(store: &OciStore, key: &str, offset: u64) -> Result<Vec<u8>, StoreError> {
    let mut out = Vec::new();
    store.read_from(key, offset, &mut |piece| {
        out.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(out)
}

fn remote_error<T: std::fmt::Debug>(result: Result<T, StoreError>) -> (StoreErrorKind, String) {
    match result {
        Err(StoreError::Remote {
            error_kind, detail, ..
        }) => (error_kind, detail.0),
        other => panic!("{other:?}"),
    }
}

fn folder(name: &str) -> ListedKey {
    ListedKey {
        name: name.to_owned(),
        is_dir: true,
        len: 0,
    }
}

#[test]
fn small_objects() {
    let Some(server) = Registry::start() else {
        return;
    };
    let store = open(&server.host);
    assert_eq!(store.place(), format!("oci://{}/team/data", server.host));
    assert!(!store.abilities().exclusive);
    // Neither objects nor the repository exist.
    assert_eq!(store.get("format").unwrap(), None);
    assert_eq!(store.len("format").unwrap(), None);
    assert_eq!(store.list("").unwrap(), []);
    store.delete("format").unwrap();
    assert!(matches!(
        store.read_at("format", 0, 1),
        Err(StoreError::Missing { .. })
    ));

    // The name does not fit into a tag, which has at most 128 characters.
    let long = "x".repeat(190);
    let objects: BTreeMap<String, &[u8]> = [
        ("format".to_owned(), &b"{\"kind\":\"dvc\"}\n00\n"[..]),
        ("refs/heads/main/fffe".to_owned(), b"one"),
        ("refs/heads/main/ffff".to_owned(), b""),
        // Tags escape `_`, `%` and `/`.
        (
            "refs/heads/main_%c3%a4.x/fffe.00aa".to_owned(),
            b"\xff\x00 no text",
        ),
        (format!("refs/heads/{long}/fffe"), b"in a long folder"),
        (format!("refs/heads/{long}/ffff"), b"in a long folder, too"),
        (format!("locks/{long}"), b"a long name"),
        ("locks/packs-1".to_owned(), b"lock"),
    ]
    .into();
    for (key, bytes) in &objects {
        assert!(store.create(key, bytes).unwrap(), "{key}");
        assert!(!store.create(key, b"other").unwrap(), "{key}");
        assert_eq!(store.get(key).unwrap().as_deref(), Some(*bytes));
        assert_eq!(store.len(key).unwrap(), Some(bytes.len() as u64));
        assert_eq!(
            stream(&store, key, 1).unwrap(),
            bytes.get(1..).unwrap_or_default()
        );
    }
    assert_eq!(store.read_at("refs/heads/main/fffe", 1, 2).unwrap(), b"ne");
    assert!(matches!(
        store.read_at("refs/heads/main/fffe", 2, 2),
        Err(StoreError::Missing { .. })
    ));
    // A listing must not depend on information from earlier writes.
    for store in [&store, &open(&server.host)] {
        assert_eq!(
            store.list_all("").unwrap(),
            objects.keys().cloned().collect::<Vec<_>>()
        );
        assert_eq!(
            store.list_all(&format!("refs/heads/{long}")).unwrap().len(),
            2
        );
        let names: Vec<String> = store
            .list(&format!("refs/heads/{long}"))
            .unwrap()
            .into_iter()
            .map(|l| l.name)
            .collect();
        assert_eq!(names, ["fffe", "ffff"]);
        let heads = [folder("main"), folder("main_%c3%a4.x"), folder(&long)];
        assert_eq!(store.list("refs/heads").unwrap(), heads);
        let top: Vec<String> = store
            .list("")
            .unwrap()
            .into_iter()
            .map(|l| l.name)
            .collect();
        assert_eq!(top, ["format", "locks", "refs"]);
        assert_eq!(store.list("locks").unwrap().len(), 2);
        assert_eq!(store.list("nothing").unwrap(), []);
    }
    put(&store, "format", b"new").unwrap();
    assert_eq!(store.get("format").unwrap().as_deref(), Some(&b"new"[..]));
    for key in objects.keys() {
        store.delete(key).unwrap();
        // Deleting a missing object is not an error.
        store.delete(key).unwrap();
        assert_eq!(store.get(key).unwrap(), None);
    }
    assert_eq!(store.list_all("").unwrap(), Vec::<String>::new());
    // An object may be long, but not as long as a pack.
    let body = vec![b'x'; 1 << 20];
    assert!(store.create("state", &body).unwrap());
    assert_eq!(store.get("state").unwrap(), Some(body));
    let (what, detail) = remote_error(store.create("more", &vec![b'x'; 5 << 20]));
    assert!(
        what == StoreErrorKind::Refused && detail.contains("too many for a manifest"),
        "{detail}"
    );
    assert_eq!(
        remote_error(put(&store, "more", &vec![b'x'; 5 << 20])).0,
        StoreErrorKind::Refused
    );
}

#[test]
fn packs_and_segments_survive_garbage_collection() {
    let Some(mut server) = Registry::start() else {
        return;
    };
    let store = open(&server.host);
    let (big, small, lost) = (noise(1, 8 << 20), noise(2, 1000), noise(3, 2000));
    let keys = [&big, &small, &lost].map(|b| pack_key(b));
    let (index, table) = segment(&[entry(&big), entry(&small)]);

    // A segment must not be visible before its packs exist.
    let (what, detail) = remote_error(put(&store, &index, &table));
    assert!(
        what == StoreErrorKind::Refused && detail.contains("not in the registry"),
        "{detail}"
    );
    assert_eq!(store.len(&index).unwrap(), None);
    assert_eq!(store.get(&index).unwrap(), None);

    let began = Instant::now();
    put(&store, &keys[0], &big).unwrap();
    println!("8 MiB up in {:?}", began.elapsed());
    let requests = store.registry.meter.requests();
    put(&store, &keys[0], &big).unwrap();
    assert_eq!(
        store.registry.meter.requests(),
        requests + 2,
        "what is there is not sent again, and one byte of it is read"
    );
    put(&store, &keys[1], &small).unwrap();
    put(&store, &keys[2], &lost).unwrap();
    assert!(store.registry.meter.up.bytes() >= (8 << 20) + 3000);
    put(&store, &index, &table).unwrap();
    // A repeated write changes nothing.
    put(&store, &index, &table).unwrap();
    assert!(store.create("refs/heads/main/ff", b"tip").unwrap());
    let wrong = pack_key(b"other bytes");
    assert_eq!(
        remote_error(put(&store, &wrong, b"not these")).0,
        StoreErrorKind::Refused
    );

    let check = |store: &OciStore| {
        let began = Instant::now();
        assert!(stream(store, &keys[0], 0).unwrap() == big);
        println!("8 MiB down in {:?}", began.elapsed());
        assert!(stream(store, &keys[0], 1_000_001).unwrap() == big[1_000_001..]);
        // `get` reads only small objects.
        assert_eq!(
            remote_error(store.get(&keys[0])).0,
            StoreErrorKind::InvalidResponse
        );
        assert_eq!(
            store.read_at(&keys[0], 5_000_000, 3).unwrap(),
            &big[5_000_000..5_000_003]
        );
        assert_eq!(store.read_at(&keys[0], 8 << 20, 0).unwrap(), b"");
        assert_eq!(store.len(&keys[1]).unwrap(), Some(1000));
        assert_eq!(store.len(&index).unwrap(), Some(table.len() as u64));
        assert_eq!(store.get(&index).unwrap().as_ref(), Some(&table));
        let listed = ListedKey {
            name: index[6..].to_owned(),
            is_dir: false,
            len: table.len() as u64,
        };
        assert_eq!(store.list("index").unwrap(), [listed]);
        let mut packs = keys[..2].to_vec();
        packs.sort();
        assert_eq!(store.list_all("packs").unwrap(), packs);
        let first: Vec<ListedKey> = store.list(&packs[0][..8]).unwrap();
        assert!(
            first
                .iter()
                .any(|l| packs[0].ends_with(&l.name) && l.len >= 1000)
        );
        let top: Vec<String> = store
            .list("")
            .unwrap()
            .into_iter()
            .map(|l| l.name)
            .collect();
        assert_eq!(top, ["index", "packs", "refs"]);
        assert_eq!(
            store.get("refs/heads/main/ff").unwrap().as_deref(),
            Some(&b"tip"[..])
        );
    };
    check(&store);
    for (offset, len) in [(999, 2), (1000, 1), (5000, 1)] {
        assert!(matches!(
            store.read_at(&keys[1], offset, len),
            Err(StoreError::Missing { .. })
        ));
    }
    assert_eq!(stream(&store, &keys[1], 1000).unwrap(), b"");
    assert!(matches!(
        stream(&store, &pack_key(b"none"), 0),
        Err(StoreError::Missing { .. })
    ));
    let mut taken = 0;
    let stopped = store.read_from(&keys[0], 0, &mut |piece| {
        taken += piece.len();
        Err(Cancelled.into())
    });
    assert!(matches!(stopped, Err(StoreError::Cancelled(_))) && taken < big.len());

    // No segment refers to `lost`, so the garbage collection of the registry deletes it.
    let report = server.collect();
    check(&store);
    assert_eq!(
        store.len(&keys[2]).unwrap(),
        None,
        "nobody spoke of it\n{report}"
    );
    // The store must not remember that the pack existed.
    put(&store, &keys[2], &lost).unwrap();
    assert_eq!(store.get(&keys[2]).unwrap().as_ref(), Some(&lost));

    store.delete(&index).unwrap();
    store.delete(&index).unwrap();
    assert_eq!(store.len(&index).unwrap(), None);
    assert_eq!(store.list("index").unwrap(), []);
    // The packs stay until the next garbage collection.
    assert_eq!(store.len(&keys[0]).unwrap(), Some(8 << 20));
    store.delete(&keys[0]).unwrap();
    store.delete(&keys[0]).unwrap();
    assert_eq!(store.len(&keys[0]).unwrap(), None);
    server.collect();
    assert_eq!(store.len(&keys[1]).unwrap(), None);
    assert_eq!(store.list_all("").unwrap(), ["refs/heads/main/ff"]);
}

#[test]
fn a_segment_of_more_packs_than_a_manifest_holds() {
    let Some(mut server) = Registry::start() else {
        return;
    };
    let store = open(&server.host);
    let packs: Vec<Vec<u8>> = (0..1005).map(|n| noise(n, 16)).collect();
    packs
        .iter()
        .for_each(|bytes| server.plant(&tag::sha256(bytes), bytes));
    let all: Vec<PackEntry> = packs.iter().map(|p| entry(p)).collect();
    let (first, first_bytes) = segment(&all);
    put(&store, &first, &first_bytes).unwrap();
    server.collect();
    assert_eq!(store.list_all("packs").unwrap().len(), 1005);
    for pack in [&all[0], &all[1004]] {
        let name = crate::model::id::to_hex(&pack.name);
        assert_eq!(
            store.len(&format!("packs/{}/{name}", &name[..2])).unwrap(),
            Some(16)
        );
    }
    store.delete(&first).unwrap();
    assert_eq!(store.list("").unwrap(), []);
}

#[test]
fn deleting_may_be_forbidden() {
    let Some(server) = Registry::with(|_| String::new(), false) else {
        return;
    };
    let store = open(&server.host);
    assert!(store.create("a", b"x").unwrap());
    let (what, detail) = remote_error(store.delete("a"));
    assert!(
        what == StoreErrorKind::Refused && detail.contains("does not allow deletion"),
        "{detail}"
    );
    let pack = noise(1, 10);
    put(&store, &pack_key(&pack), &pack).unwrap();
    store.delete(&pack_key(&pack)).unwrap();
}

#[test]
fn a_password() {
    let htpasswd = |dir: &Path| {
        let made = Command::new("htpasswd")
            .args(["-Bbn", "me", "s3cret"])
            .output()
            .unwrap();
        std::fs::write(dir.join("htpasswd"), made.stdout).unwrap();
        format!(
            "auth:\n  htpasswd:\n    realm: \"a, b\"\n    path: {}\n",
            dir.join("htpasswd").display()
        )
    };
    if Command::new("htpasswd").output().is_err() {
        println!("skipped: htpasswd is not installed");
        return;
    }
    let Some(server) = Registry::with(htpasswd, true) else {
        return;
    };
    let store = open_with(&server.host, &[(USERNAME, "me"), (PASSWORD, "s3cret")]).unwrap();
    let pack = noise(1, 100_000);
    put(&store, &pack_key(&pack), &pack).unwrap();
    assert!(store.create("a", b"x").unwrap());
    assert_eq!(store.get("a").unwrap().as_deref(), Some(&b"x"[..]));
    store.delete("a").unwrap();
    // Only the first request gets a challenge.
    let before = store.registry.meter.requests();
    assert_eq!(store.get("b").unwrap(), None);
    assert_eq!(store.registry.meter.requests(), before + 1);

    let wrong = open_with(&server.host, &[(USERNAME, "me"), (PASSWORD, "wr0ng")]).unwrap();
    for _ in 0..2 {
        let error = wrong.get("a").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("wr0ng"));
        let (what, detail) = remote_error::<()>(Err(error));
        assert!(
            what == StoreErrorKind::Denied && detail.contains("401"),
            "{detail}"
        );
    }
    assert_eq!(
        remote_error(put(&wrong, &pack_key(&pack), &pack)).0,
        StoreErrorKind::Denied
    );
    for half in [[(USERNAME, "me")], [(PASSWORD, "s3cret")]] {
        let (what, detail) = remote_error(open_with(&server.host, &half).map(drop));
        assert!(
            what == StoreErrorKind::Denied && detail.contains("is set, but"),
            "{detail}"
        );
    }
    let (what, detail) = remote_error(open(&server.host).get("a"));
    assert!(
        what == StoreErrorKind::NoCredentials && detail.contains("user name"),
        "{detail}"
    );
}

#[test]
fn tokens_of_a_token_server() {
    let Some(guarded) = tokens::start(60) else {
        return;
    };
    let (host, info) = (&guarded.registry.host, || guarded.tokens.seen().len());
    let writer = open_with(host, &[(USERNAME, "writer"), (PASSWORD, "secret")]).unwrap();
    let pack = noise(1, 300_000);
    put(&writer, &pack_key(&pack), &pack).unwrap();
    assert!(writer.create("a", b"x").unwrap());
    assert_eq!(writer.get("a").unwrap().as_deref(), Some(&b"x"[..]));
    assert_eq!(info(), 1, "one token is enough");
    writer.delete("a").unwrap();
    assert_eq!(info(), 2, "deleting is granted apart");
    assert!(guarded.tokens.seen()[1].line.contains("delete"));

    // A rejected token is replaced.
    guarded.spoil.store(true, Ordering::SeqCst);
    let writer = open_with(host, &[(USERNAME, "writer"), (PASSWORD, "secret")]).unwrap();
    assert_eq!(remote_error(writer.get("a")).0, StoreErrorKind::Denied);
    let before = info();
    assert_eq!(writer.get("a").unwrap(), None);
    // The threads share the token of the previous request.
    std::thread::scope(|s| {
        (0..8).for_each(|_| drop(s.spawn(|| assert_eq!(writer.get("a").unwrap(), None))))
    });
    assert_eq!(info(), before + 1);

    let reader = open_with(host, &[(USERNAME, "reader"), (PASSWORD, "secret")]).unwrap();
    assert_eq!(reader.get(&pack_key(&pack)).unwrap().as_ref(), Some(&pack));
    assert_eq!(
        remote_error(reader.create("b", b"x")).0,
        StoreErrorKind::Denied
    );

    let stranger = open_with(host, &[(USERNAME, "reader"), (PASSWORD, "guess")]).unwrap();
    let (what, detail) = remote_error(stranger.get("a"));
    assert!(
        what == StoreErrorKind::Denied
            && detail.contains("token server")
            && detail.contains("`reader`"),
        "{detail}"
    );
}

#[test]
fn a_token_is_renewed_before_it_ends() {
    let Some(guarded) = tokens::start(1) else {
        return;
    };
    let store = open_with(
        &guarded.registry.host,
        &[(USERNAME, "writer"), (PASSWORD, "secret")],
    )
    .unwrap();
    assert!(store.create("a", b"x").unwrap());
    // The token claims a lifetime of one second.
    std::thread::sleep(Duration::from_millis(1100));
    let before = store.registry.meter.requests();
    assert_eq!(store.get("a").unwrap().as_deref(), Some(&b"x"[..]));
    assert_eq!(
        store.registry.meter.requests(),
        before + 2,
        "a token, and the request itself"
    );
}

fn blob_answer(request: &Request, bytes: &[u8], ranges: bool) -> Answer {
    let range = request
        .header("range")
        .filter(|_| ranges)
        .and_then(|r| r.strip_prefix("bytes=")?.split_once('-'));
    match range {
        None => (200, Vec::new(), bytes.to_vec()),
        Some((from, to)) => {
            let from: usize = from.parse().unwrap();
            let to = to
                .parse::<usize>()
                .map_or(bytes.len(), |to| (to + 1).min(bytes.len()));
            let header = (
                "Content-Range",
                format!("bytes {from}-{}/{}", to - 1, bytes.len()),
            );
            (206, vec![header], bytes[from..to].to_vec())
        }
    }
}

#[test]
fn elsewhere_nobody_hears_the_password() {
    let bytes = noise(4, 700_000);
    let name = pack_key(&bytes);
    for ranges in [true, false] {
        let held = bytes.clone();
        let elsewhere = Stub::start(move |request| blob_answer(request, &held, ranges));
        let target = format!("http://{}/signed?x=1", elsewhere.host);
        let registry = Stub::start(move |request| match request.header("authorization") {
            None => (
                401,
                vec![("WWW-Authenticate", "Basic realm=x".to_owned())],
                Vec::new(),
            ),
            Some(_) => (307, vec![("Location", target.clone())], Vec::new()),
        });
        let store = open_with(&registry.host, &[(USERNAME, "me"), (PASSWORD, "s3cret")]).unwrap();
        assert!(stream(&store, &name, 0).unwrap() == bytes);
        assert!(stream(&store, &name, 600_001).unwrap() == bytes[600_001..]);
        assert!(store.read_at(&name, 300_000, 1000).unwrap() == bytes[300_000..301_000]);
        assert!(matches!(
            store.read_at(&name, 699_999, 2),
            Err(StoreError::Missing { .. })
        ));
        assert!(store.registry.meter.down.bytes() >= 700_000);
        // The first request has no password yet; the challenge then asks for it.
        assert!(
            registry
                .seen()
                .iter()
                .skip(1)
                .all(|r| r.header("authorization").is_some())
        );
        assert_eq!(elsewhere.seen().len(), 4);
        assert!(
            elsewhere
                .seen()
                .iter()
                .all(|r| r.header("authorization").is_none())
        );
    }
}

#[test]
fn pages_of_tags_are_followed() {
    let registry = Stub::start(|request| {
        let page = |tags: &str| format!("{{\"name\":\"team/data\",\"tags\":{tags}}}").into_bytes();
        let link = |to: &str| vec![("Link", format!("<{to}>; rel=\"next\""))];
        // Links may be relative: first a path, then only a query (RFC 3986, section 4.2).
        match request.line.split_once("last=").map(|l| l.1) {
            None => (
                200,
                link("/v2/team/data/tags/list?n=1000&last=1"),
                page("[\"k-format\",\"latest\"]"),
            ),
            Some("1") => (
                200,
                link("?n=1000&last=2"),
                page("[\"k-refs__heads__a__1\"]"),
            ),
            Some(_) => (200, Vec::new(), page("null")),
        }
    });
    let store = open(&registry.host);
    assert_eq!(store.list_all("").unwrap(), ["format", "refs/heads/a/1"]);
    assert_eq!(registry.seen().len(), 3);
}

#[test]
fn what_goes_wrong_is_said() {
    let registry = Stub::start(|request| match request.line.as_str() {
        line if line.contains("k-busy") => (429, Vec::new(), Vec::new()),
        line if line.contains("k-nonsense") => (200, Vec::new(), b"<html>".to_vec()),
        line if line.contains("/tags/") => (200, Vec::new(), b"hello".to_vec()),
        _ => (
            403,
            Vec::new(),
            br#"{"errors":[{"code":"DENIED","message":"not for you"}]}"#.to_vec(),
        ),
    });
    let store = open(&registry.host);
    assert_eq!(
        remote_error(store.get("busy")).0,
        StoreErrorKind::Overloaded
    );
    assert_eq!(
        remote_error(store.get("nonsense")).0,
        StoreErrorKind::InvalidResponse
    );
    assert_eq!(
        remote_error(store.list("")).0,
        StoreErrorKind::InvalidResponse
    );
    let (what, detail) = remote_error(store.get("other"));
    assert_eq!(
        (what, detail.as_str()),
        (StoreErrorKind::Denied, "403 Forbidden: DENIED: not for you")
    );

    // After the listener is dropped, no one listens on the port.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    assert_eq!(
        remote_error(open(&nobody).get("a")).0,
        StoreErrorKind::Unreachable
    );
    for bad in [
        "oci://localhost/a/b:latest",
        "oci://localhost/a@sha256:00",
        "oci://localhost/A/b",
        "oci://localhost/a/-b",
    ] {
        assert!(Location::parse(bad, Path::new("/")).is_err(), "{bad}");
    }
    let good = Location::parse("oci://localhost/a.b/c__d-e", Path::new("/"))
        .unwrap()
        .location;
    assert!(OciStore::open(&good, &Access::default()).is_ok());
}

#[test]
fn a_token_server_without_encryption_gets_nothing() {
    let auth = super::Auth::new("a".to_owned(), "h".to_owned(), false, None);
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert(
        "www-authenticate",
        "Bearer realm=\"http://h.example/token\"".parse().unwrap(),
    );
    let error = crate::store::runtime::run(
        &crate::observe::Silent,
        crate::store::runtime::Effect::Read,
        async move {
            let (client, meter) = (
                crate::store::http::client().unwrap(),
                Arc::new(crate::store::meter::Meter::default()),
            );
            auth.answer(&client, &meter, super::auth::AuthScope::Use, &headers, None)
                .await
                .unwrap_err()
        },
    );
    assert_eq!(error.unwrap().error_kind, StoreErrorKind::Untrusted);
}

/// The list of a log entry is a blob that the manifest of the entry protects. Segments and packs are
/// removed together, without a manifest that names a missing blob.
#[test]
fn lists_are_protected_and_packs_are_removed_after_segments() {
    let Some(mut server) = Registry::start() else {
        return;
    };
    let store = open(&server.host);
    let list = noise(1, 5 << 20);
    let name = tag::sha256(&list);
    let key = format!("quarantine/lists/{name}");
    put(&store, &key, &list).unwrap();
    let mut list_name = [0; 32];
    parse_hex(&name, &mut list_name).unwrap();
    let log = GcEntry {
        kind: GC_KIND.to_owned(),
        seq: 1,
        update: "ab".repeat(16),
        time: 0,
        nanos: 0,
        who: "A <a@example.org>".to_owned(),
        what: GcStep::Plan,
        list: Some(list_name),
        count: 1,
        bytes: 1,
        why: "gc".to_owned(),
    };
    let log_key = "quarantine/log/fffffffffffffffe.abab";
    assert!(store.create(log_key, &log.encode()).unwrap());
    let packs = [noise(2, 3000), noise(3, 4000)];
    let keys: Vec<String> = packs.iter().map(|bytes| pack_key(bytes)).collect();
    for (key, bytes) in keys.iter().zip(&packs) {
        put(&store, key, bytes).unwrap();
    }
    let (index, table) = segment(&[entry(&packs[0]), entry(&packs[1])]);
    put(&store, &index, &table).unwrap();
    server.collect();
    assert_eq!(store.len(&key).unwrap(), Some(list.len() as u64));
    let mut bytes = Vec::new();
    let read = store.read_from(&key, 0, &mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    });
    assert!(read.is_ok() && bytes == list);
    assert_eq!(store.get(log_key).unwrap().as_deref(), Some(&*log.encode()));
    let listed = |dir| -> Vec<String> {
        let listed = store.list(dir).unwrap().into_iter();
        listed.map(|listed| listed.name).collect()
    };
    assert_eq!(listed("quarantine"), ["lists", "log"]);
    assert_eq!(listed("quarantine/lists"), [name]);
    let lens: Vec<u64> = store
        .list_objects("packs")
        .unwrap()
        .iter()
        .map(|object| object.len)
        .collect();
    assert_eq!(lens.iter().sum::<u64>(), 7000);

    let all = [keys.as_slice(), &[index.clone(), log_key.to_owned(), key]].concat();
    let removal = store.delete_many(&all).unwrap();
    assert_eq!((removal.refused, removal.deferred), (0, 2));
    server.collect();
    assert_eq!(store.list_all("").unwrap(), Vec::<String>::new());
    assert_eq!(store.len(&keys[0]).unwrap(), None);
}
