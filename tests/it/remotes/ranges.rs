//! Small reads in a large file of a lazy clone. The test counts requests and bytes at the server.
//!
//! `DVC_TEST_LARGE_MIB=10240` selects the file size for which the documents state these numbers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use dvc::context::Context;
use dvc::context::{CacheOptions, Remote};
use dvc::model::entry::Node;
use dvc::model::refname::{RefKind, RefName};
use dvc::store::access::{Access, Secret};
use dvc::store::location::Location;
use dvc::store::meter::Meter;

use super::super::support::known::{context, noise};
use crate::support::sandbox::Sandbox;
use crate::support::servers::s3::{S3, Switches};

const PAGE: usize = 4096;

/// Returns a unique page that compresses to an eighth of its size.
fn page(n: u64) -> Vec<u8> {
    let mut page = noise(n + 1, PAGE / 8);
    page.resize(PAGE, 7);
    page
}

/// Returns a context for the lazy clone, for one long-lived process instead of a command per read.
fn opened(s: &Sandbox, s3: &S3) -> Context {
    let credentials = s3
        .env()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Secret::new(value)));
    let access = Access {
        credentials: credentials.collect::<BTreeMap<_, _>>(),
        meter: Arc::new(Meter::default()),
        ..Access::default()
    };
    let location = Location::parse(&s3.url("p"), Path::new("/"))
        .unwrap()
        .location;
    let remote = Remote {
        name: "origin".to_owned(),
        location,
        lazy: true,
        access,
    };
    let cache = CacheOptions {
        dir: s.at("home/cache/dvc"),
        limit_bytes: 1 << 30,
    };
    Context {
        remotes: vec![remote],
        cache,
        ..context(s.at("lazy/.dvcs"), s.at("lazy"))
    }
}

#[test]
fn one_range_of_a_large_file() {
    let mib: u64 = std::env::var("DVC_TEST_LARGE_MIB").map_or(192, |mib| mib.parse().unwrap());
    let pages = mib * 256;
    let s3 = S3::start(Switches::default());
    let mut s = Sandbox::new();
    for (name, value) in s3.env() {
        s.set(name, &value);
    }
    s.dvc(["init"]).ok();
    let mut file = BufWriter::with_capacity(1 << 20, File::create(s.w("large")).unwrap());
    (0..pages).for_each(|n| file.write_all(&page(n)).unwrap());
    drop(file);
    s.dvc(["commit", "-m", "one"]).ok();
    s.dvc(["push", &s3.url("p"), "main"]).ok();
    s.dvc(["clone", "--lazy", &s3.url("p"), "../lazy"]).ok();

    let repo = opened(&s, &s3).repo().unwrap();
    let main = repo
        .refs()
        .value(RefKind::Branch, &RefName::new("main").unwrap())
        .unwrap()
        .unwrap();
    let tree = repo.commit_cached(&main).unwrap().tree;
    let entry = repo.entry(&tree, b"large").unwrap().unwrap();
    let Node::File { content, .. } = &entry.node else {
        panic!("{entry:?}")
    };
    let mut told = Vec::new();
    for wanted in [pages / 3, pages - 1, 0, pages / 2] {
        s3.forget_traffic();
        let offset = wanted * PAGE as u64;
        let (start, mut extents) = repo.extents_at(content, offset).unwrap();
        let extent = extents.next().unwrap().unwrap();
        let chunk = repo.chunk_of(&extent.chunk.unwrap(), extent.len).unwrap();
        let at = usize::try_from(offset - start).unwrap();
        assert_eq!(chunk[at..at + PAGE], page(wanted));
        let traffic = s3.traffic("GET");
        told.push((s3.requests(), traffic.bytes_out));
    }
    // The first read also opens the remote, which reads the marker and lists the index.
    for (n, (requests, bytes)) in told.iter().enumerate() {
        println!("page {n}: {bytes} bytes in {requests:#?}");
        let most = if n == 0 { 6 } else { 4 };
        assert!(
            requests.len() <= most && *bytes <= 2 << 20,
            "{bytes} bytes in {requests:#?}"
        );
    }
}
