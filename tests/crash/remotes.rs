//! Crashes at each step of push and fetch. After every crash, the remote (a directory) is a valid
//! repository, or has no refs if the first push has not created the repository yet. The next run
//! succeeds. A fetch does not transfer packs that have already arrived, and a push repeats at most
//! a few.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use dvc::context::Context;
use dvc::context::{CacheOptions, Remote};
use dvc::model::refname::{RefKind, RefName};
use dvc::observe::{Observer, Silent};
use dvc::ops::fetch::{FetchOptions, FetchReport, fetch};
use dvc::ops::fsck::{FsckOptions, fsck};
use dvc::ops::push::{PushOptions, push};
use dvc::repo::Repo;
use dvc::repo::refs::Refs;
use dvc::store::access::Access;
use dvc::store::local::LocalStore;
use dvc::store::location::Location;

use crate::child::{End, orders, run};
use crate::known::{Known, KnownVersion, commit_all, context, copy_dir, lost_paths, noise};

/// Returns the remote in `dir`.
fn remote(dir: &Path) -> Remote {
    let location = Location::parse(dir.to_str().unwrap(), Path::new("/"))
        .unwrap()
        .location;
    Remote {
        name: "origin".to_owned(),
        location,
        lazy: false,
        access: Access::default(),
    }
}

fn at(dir: &Path, repository: &str) -> Context {
    let dir = dir.canonicalize().unwrap();
    let mut context = context(dir.join(repository), dir.join("work"));
    context.cache = CacheOptions {
        dir: dir.join("cache"),
        limit_bytes: 1 << 30,
    };
    context
}

fn push_all(dir: &Path, observer: &dyn Observer) {
    let options = PushOptions {
        all: true,
        tags: true,
        ..PushOptions::default()
    };
    let report = push(
        &at(dir, "repo"),
        &remote(&dir.join("there")),
        &options,
        observer,
    )
    .unwrap();
    assert!(report.rejected().is_none());
}

fn fetch_all(dir: &Path, observer: &dyn Observer) -> FetchReport {
    fetch(
        &at(dir, "mine"),
        &remote(&dir.join("there")),
        &FetchOptions::default(),
        observer,
    )
    .unwrap()
}

/// Asserts that the checksums of all data are correct, and that each version that a ref points to
/// is complete.
fn assert_sound(context: &Context, kind: RefKind, versions: &[KnownVersion], case: &str) {
    let options = FsckOptions {
        data: Some(1_000_000),
        ..FsckOptions::default()
    };
    let report = fsck(context, &options, &Silent).unwrap().check;
    assert!(report.is_sound(), "{case}: {:?}", report.damage);
    let repo = context.repo().unwrap();
    for tip in repo.refs().list(kind).unwrap() {
        let version = versions.iter().find(|v| v.id == tip.id).unwrap();
        let lost = lost_paths(&repo, version, case);
        assert!(lost.is_empty(), "{case}: {lost:?}");
    }
}

/// Asserts that the remote is a sound repository. Checks a copy of it, because a check writes to
/// the repository.
fn assert_remote(dir: &Path, versions: &[KnownVersion], case: &str) {
    let there = dir.join("there");
    if !Repo::is_at(&there) {
        let store = LocalStore::new(there);
        assert!(
            Refs::of(&store).list(RefKind::Branch).unwrap().is_empty(),
            "{case}: refs, but no repository"
        );
        return;
    }
    let look = tempfile::tempdir().unwrap();
    copy_dir(&there, &look.path().join("repo"));
    fs::create_dir(look.path().join("work")).unwrap();
    assert_sound(&at(look.path(), "repo"), RefKind::Branch, versions, case);
}

/// Returns the inode and the modification time of each pack. They change if a pack is written
/// again.
fn packs(repository: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mut found = BTreeMap::new();
    for fold in fs::read_dir(repository.join("packs")).into_iter().flatten() {
        for pack in fs::read_dir(fold.unwrap().path()).unwrap() {
            let path = pack.unwrap().path();
            let meta = fs::metadata(&path).unwrap();
            found.insert(path, (meta.ino(), meta.mtime(), meta.mtime_nsec()));
        }
    }
    found
}

/// Creates the repository `repo` with all versions. Unless `first` is true, also creates the remote
/// `there` and its copy `mine` with the old versions.
fn stage(first: bool) -> (tempfile::TempDir, Vec<KnownVersion>) {
    let mut known = Known::build();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("work")).unwrap();
    fs::create_dir(dir.path().join("there")).unwrap();
    copy_dir(known.root(), &dir.path().join("repo"));
    if !first {
        push_all(dir.path(), &Silent);
        fs::write(known.context.worktree.join("new noise"), noise(77, 90_000)).unwrap();
        let mut db = fs::read(known.context.worktree.join("db/main.sqlite")).unwrap();
        db[300_000..300_050].fill(b'c');
        fs::write(known.context.worktree.join("db/main.sqlite"), db).unwrap();
        copy_dir(known.root(), &dir.path().join("mine"));
        let remembered = dir.path().join("repo/remotes");
        known.versions.push(commit_all(&known.context, "main", &[]));
        // Keep the state that the push recorded.
        copy_dir(&remembered, &known.root().join("remotes"));
        fs::remove_dir_all(dir.path().join("repo")).unwrap();
        copy_dir(known.root(), &dir.path().join("repo"));
    }
    (dir, known.versions)
}

/// Like `Stage::die` in `steps.rs`, with a copy of the directory `stage` per run.
fn die(scenario: &str, stage: &Path, mut verify: impl FnMut(&Path, &str, &End)) -> Vec<String> {
    let mut names = Vec::new();
    for step in 0.. {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(stage, dir.path());
        let end = run(&format!("remotes::{scenario}"), dir.path(), step);
        verify(
            dir.path(),
            &format!("{scenario}, step {step}: {end:?}"),
            &end,
        );
        match end {
            End::At(name) => names.push(name),
            End::Through => break,
        }
    }
    names
}

#[test]
#[ignore = "runs as a child of another test"]
fn pushing() {
    let Some((dir, dying)) = orders() else { return };
    push_all(&dir, dying.as_ref());
}

#[test]
#[ignore = "runs as a child of another test"]
fn fetching() {
    let Some((dir, dying)) = orders() else { return };
    fetch_all(&dir, dying.as_ref());
}

fn push_dies(first: bool, wanted: &[&str]) {
    let (stage, versions) = stage(first);
    let steps = die("pushing", stage.path(), |dir, case, _| {
        assert_remote(dir, &versions, case);
        let arrived = packs(&dir.join("there"));
        push_all(dir, &Silent);
        assert_remote(dir, &versions, case);
        let now = packs(&dir.join("there"));
        // The crash is before the pack is recorded as sent, so each worker may send one pack twice.
        let again = arrived
            .iter()
            .filter(|(path, was)| now.get(*path) != Some(was))
            .count();
        assert!(
            again <= 4,
            "{case}: {again} of {} sent again",
            arrived.len()
        );
        let store = LocalStore::new(dir.join("there"));
        for tip in Refs::of(&store).list(RefKind::Branch).unwrap() {
            // The log of a new ref begins with an entry without a value.
            let moves = if !first && tip.name.as_str() == "main" {
                2
            } else {
                1
            };
            assert_eq!(tip.entry.seq, 1 + moves, "{case}: {}", tip.name);
        }
        let ours = at(dir, "repo").repo().unwrap();
        let theirs = |kind| {
            Refs::of(&store)
                .list(kind)
                .unwrap()
                .into_iter()
                .map(|t| (t.name, t.id))
        };
        for kind in [RefKind::Branch, RefKind::Tag] {
            let here = ours
                .refs()
                .list(kind)
                .unwrap()
                .into_iter()
                .map(|t| (t.name, t.id));
            assert!(here.eq(theirs(kind)), "{case}");
        }
    });
    for step in wanted {
        assert!(steps.iter().any(|s| s == step), "no `{step}` in {steps:?}");
    }
}

#[test]
fn a_first_push_dies() {
    push_dies(
        true,
        &[
            "pack",
            "pack published",
            "segment",
            "segment published",
            "marker",
            "marker made",
            "ref",
            "ref moved",
        ],
    );
}

#[test]
fn a_push_dies() {
    push_dies(
        false,
        &[
            "pack",
            "pack published",
            "segment",
            "segment published",
            "ref",
            "ref moved",
        ],
    );
}

#[test]
fn a_fetch_dies() {
    let (stage, versions) = stage(false);
    push_all(stage.path(), &Silent);
    let newest = versions.last().unwrap();
    let steps = die("fetching", stage.path(), |dir, case, _| {
        assert_sound(&at(dir, "mine"), RefKind::Remote, &versions, case);
        let arrived = packs(&dir.join("mine"));
        fetch_all(dir, &Silent);
        let context = at(dir, "mine");
        assert_sound(&context, RefKind::Remote, &versions, case);
        let tracked = RefName::new("origin/main").unwrap();
        assert_eq!(
            context
                .repo()
                .unwrap()
                .refs()
                .value(RefKind::Remote, &tracked)
                .unwrap(),
            Some(newest.id),
            "{case}"
        );
        let now = packs(&dir.join("mine"));
        assert!(
            arrived.iter().all(|(path, was)| now.get(path) == Some(was)),
            "{case}: came again"
        );
    });
    for step in [
        "pack",
        "pack published",
        "segment",
        "segment published",
        "ref",
    ] {
        assert!(steps.iter().any(|s| s == step), "no `{step}` in {steps:?}");
    }
}
