//! Crashes at each step of a checkout in place. After a crash, each path has the old or the new
//! version, or is reported as half-written, and the same checkout completes the work. The tests of
//! unpack do the same.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use dvc::context::Context;
use dvc::error::Result;
use dvc::model::entry::Node;
use dvc::model::refname::RefName;
use dvc::model::revision::Revision;
use dvc::observe::{Observer, Silent};
use dvc::ops::checkout::{CheckoutOptions, CheckoutReport};
use dvc::ops::commit::{CommitOptions, commit};
use dvc::ops::status::{StatusOptions, status};
use dvc::ops::unpack::{UnpackOptions, UnpackReport, UnpackStop};
use dvc::repo::{OpenOptions, Repo};
use dvc::snapshot::overwritten::overwritten_files;

use super::child::{End, no_forks, orders, run};

type Tree = BTreeMap<PathBuf, (Vec<u8>, u32, i64)>;

fn context(dir: &Path) -> Context {
    Context {
        repository: dir.join("repo"),
        worktree: dir.join("work").canonicalize().unwrap(),
        author: "Crash <c@example.org>".into(),
        host: "here".into(),
        jobs: 2,
        memory_bytes: 256 << 20,
        now: jiff::Zoned::now(),
        open: OpenOptions::default(),
        remote_repository: None,
        remotes: Vec::new(),
        cache: dvc::context::CacheOptions::default(),
        mount: None,
    }
}

fn checkout(
    context: &Context,
    options: &CheckoutOptions,
    observer: &dyn Observer,
) -> Result<CheckoutReport> {
    let _whole = no_forks();
    dvc::ops::checkout::checkout(context, options, observer)
}

fn unpack(
    context: &Context,
    options: &UnpackOptions,
    observer: &dyn Observer,
) -> Result<UnpackReport> {
    let _whole = no_forks();
    dvc::ops::unpack::unpack(context, options, observer)
}

fn to(dir: &Path, version: &str, observer: &dyn Observer) {
    let revision = Some(Revision::parse(version).unwrap());
    let options = CheckoutOptions {
        revision,
        verify: true,
        ..CheckoutOptions::default()
    };
    let report = checkout(&context(dir), &options, observer).unwrap();
    assert_eq!(
        (report.done.incomplete, report.done.damaged, report.wrong),
        (0, 0, 0)
    );
}

/// Returns the content (or link target), mode and time of everything in the worktree.
fn tree(dir: &Path) -> Tree {
    let mut out = Tree::new();
    let mut dirs = vec![dir.join("work")];
    while let Some(at) = dirs.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let stat = fs::symlink_metadata(&path).unwrap();
            let bytes = if stat.is_dir() {
                dirs.push(path.clone());
                Vec::new()
            } else if stat.is_symlink() {
                fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes()
            } else {
                fs::read(&path).unwrap()
            };
            out.insert(
                path.strip_prefix(dir.join("work")).unwrap().to_owned(),
                (bytes, stat.mode(), stat.mtime()),
            );
        }
    }
    out
}

fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new()
        .update(&[seed])
        .finalize_xof()
        .fill(&mut out);
    out
}

/// Creates two versions with every kind of difference that a checkout handles separately.
fn make(dir: &Path) {
    let work = dir.join("work");
    fs::create_dir(&work).unwrap();
    Repo::create(
        &dir.join("repo"),
        &RefName::new("main").unwrap(),
        &dvc::codec::cut::ChunkerConfig::default(),
        OpenOptions::default(),
    )
    .unwrap();
    let version = || {
        let options = CommitOptions {
            message: "m".into(),
            ..CommitOptions::default()
        };
        commit(&context(dir), &options, &Silent).unwrap();
    };
    let put = |name: &str, bytes: &[u8]| fs::write(work.join(name), bytes).unwrap();
    for name in ["gone", "gone/deep", "stays", "turns"] {
        fs::create_dir(work.join(name)).unwrap();
    }
    for n in 0..30 {
        put(&format!("stays/{n}"), format!("one {n}").as_bytes());
    }
    put("gone/deep/file", b"1");
    put("turns/file", b"2");
    put("becomes", b"3");
    put("first", &noise(1, 3 << 20));
    put("second", &noise(2, 2 << 20));
    put("a", b"linked");
    fs::hard_link(work.join("a"), work.join("stays/b")).unwrap();
    symlink("a", work.join("link")).unwrap();
    version();
    fs::remove_dir_all(work.join("gone")).unwrap();
    fs::remove_dir_all(work.join("turns")).unwrap();
    put("turns", b"a file now");
    fs::remove_file(work.join("becomes")).unwrap();
    fs::create_dir_all(work.join("becomes/new/dirs")).unwrap();
    put("becomes/new/dirs/file", &noise(4, 100_000));
    for n in 10..20 {
        put(&format!("stays/{n}"), format!("two {n}").as_bytes());
    }
    let mut first = noise(1, 3 << 20);
    first[100_000..200_000].fill(0);
    first[2 << 20..(2 << 20) + 5].copy_from_slice(b"patch");
    put("first", &first);
    put(
        "second",
        &[noise(2, 1 << 20), noise(3, 1 << 20), b"longer".to_vec()].concat(),
    );
    fs::remove_file(work.join("stays/b")).unwrap();
    fs::hard_link(work.join("a"), work.join("c")).unwrap();
    fs::remove_file(work.join("link")).unwrap();
    symlink("c", work.join("link")).unwrap();
    fs::set_permissions(work.join("stays/1"), PermissionsExt::from_mode(0o600)).unwrap();
    version();
}

/// Scenario of the test below. Does nothing unless a test runs it in a child process.
#[test]
#[ignore = "runs as a child of another test"]
fn scenario() {
    let Some((dir, dying)) = orders() else { return };
    to(&dir, "main@v1", dying.as_ref());
}

#[test]
fn a_checkout_is_finished_after_a_crash_at_any_step() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    make(dir);
    let new = tree(dir);
    to(dir, "main@v1", &Silent);
    let old = tree(dir);
    let mut half_written_seen = 0;
    let mut steps = Vec::new();
    for step in 0.. {
        to(dir, "main@v2", &Silent);
        assert_eq!(tree(dir), new);
        let end = run("checkout::scenario", dir, step);
        if let End::At(name) = &end {
            steps.push(name.clone());
            let report = status(&context(dir), &StatusOptions::default(), &Silent).unwrap();
            let half_written = report.interrupted.map_or(Vec::new(), |i| i.half_written);
            half_written_seen += half_written.len();
            for (path, (bytes, ..)) in tree(dir) {
                let whole = [&old, &new]
                    .iter()
                    .any(|t| t.get(&path).is_some_and(|f| f.0 == bytes));
                let named = half_written
                    .iter()
                    .any(|h| h.as_slice() == path.as_os_str().as_encoded_bytes());
                let temporary = path.to_string_lossy().contains(".dvc-tmp-");
                assert!(whole || named || temporary, "{name}: {path:?}");
            }
            to(dir, "main@v1", &Silent);
        }
        assert_eq!(tree(dir), old, "{end:?}");
        let after = status(&context(dir), &StatusOptions::default(), &Silent).unwrap();
        assert!(after.changes.is_empty() && after.interrupted.is_none());
        if end == End::Through {
            break;
        }
    }
    assert!(
        half_written_seen > 0 || !steps.iter().any(|s| s == "checkout journal"),
        "{steps:?}"
    );
    assert!(steps.len() > 20, "{steps:?}");
}

/// Changes, an extra file and an extra directory, and where they are.
const MINE: &[&str] = &["stays/15", "first", "becomes", "mine", "own/deep/file"];

/// Checks out the first version over changes of the user.
fn force(dir: &Path, observer: &dyn Observer) {
    let options = CheckoutOptions {
        revision: Some(Revision::parse("main@v1").unwrap()),
        force: true,
        ..CheckoutOptions::default()
    };
    checkout(&context(dir), &options, observer).unwrap();
}

/// Scenario of the test below. Does nothing unless a test runs it in a child process.
#[test]
#[ignore = "runs as a child of another test"]
fn forcing() {
    let Some((dir, dying)) = orders() else { return };
    force(&dir, dying.as_ref());
}

/// The contents of a path in all entries of the trash.
fn in_trash(dir: &Path, path: &str) -> Vec<Vec<u8>> {
    let repo = context(dir).repo().unwrap();
    let names: Vec<Vec<u8>> = path.split('/').map(|n| n.as_bytes().to_vec()).collect();
    let mut found = Vec::new();
    for files in overwritten_files(&repo).unwrap() {
        let tree = files.commit.unwrap().tree;
        let entry = repo.find(&tree, &names).unwrap();
        if let Some(Node::File { content, .. }) = entry.map(|entry| entry.node) {
            found.push(repo.read_content(&content, u64::MAX).unwrap());
        }
    }
    found
}

#[test]
fn a_forced_checkout_loses_nothing_at_any_step() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    make(dir);
    let work = dir.join("work");
    to(dir, "main@v1", &Silent);
    let old = tree(dir);
    let mut steps = Vec::new();
    for step in 0.. {
        to(dir, "main@v2", &Silent);
        // Each round has its own content, so that an earlier round does not vouch for it.
        let round = u8::try_from(step % 250).unwrap();
        fs::remove_dir_all(work.join("becomes")).unwrap();
        let mut mine = BTreeMap::new();
        for (n, path) in (0u8..).zip(MINE) {
            let bytes = [noise(round, 70_000), vec![n], noise(n, 2000)].concat();
            let path = work.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &bytes).unwrap();
            mine.insert(path, bytes);
        }
        let end = run("checkout::forcing", dir, step);
        if let End::At(name) = &end {
            steps.push(name.clone());
        }
        for (path, bytes) in &mine {
            let name = path.strip_prefix(&work).unwrap().to_str().unwrap();
            let is_there = fs::read(path).is_ok_and(|there| there == *bytes);
            assert!(
                is_there || in_trash(dir, name).contains(bytes),
                "{name} is lost: {end:?} {steps:?}"
            );
        }
        force(dir, &Silent);
        assert_eq!(tree(dir), old, "{end:?}");
        for (path, bytes) in &mine {
            let name = path.strip_prefix(&work).unwrap().to_str().unwrap();
            assert!(in_trash(dir, name).contains(bytes), "{name}: {end:?}");
        }
        if end == End::Through {
            break;
        }
    }
    assert!(steps.iter().any(|step| step == "in the trash"), "{steps:?}");
    assert!(steps.len() > 30, "{steps:?}");
}

#[test]
fn edits_after_a_crash_are_not_lost() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    make(dir);
    for step in 0.. {
        match run("checkout::scenario", dir, step) {
            End::At(name) if name == "checkout renamed" => break,
            End::At(_) => to(dir, "main@v2", &Silent),
            End::Through => panic!("no file was replaced"),
        }
    }
    let work = dir.join("work");
    let interrupted = || {
        status(&context(dir), &StatusOptions::default(), &Silent)
            .unwrap()
            .interrupted
    };
    let goal = interrupted().unwrap().goal;
    assert_eq!((goal.revision.as_str(), goal.scope.len()), ("main@v1", 0));
    let try_to = |version: &str, paths: &[&str]| {
        let revision = Some(Revision::parse(version).unwrap());
        let paths = paths.iter().map(|p| p.as_bytes().to_vec()).collect();
        checkout(
            &context(dir),
            &CheckoutOptions {
                revision,
                paths,
                ..CheckoutOptions::default()
            },
            &Silent,
        )
    };
    // A checkout of some paths does not complete the interrupted checkout.
    try_to("main@v2", &["stays/11"]).unwrap();
    assert_eq!(interrupted().unwrap().goal, goal);
    // Edit a file that the checkout was going to change, and a file that it was going to remove.
    for (path, theirs) in [("stays/15", "two 15"), ("c", "linked")] {
        fs::write(work.join(path), "mine").unwrap();
        assert_eq!(
            try_to("main@v1", &[]).unwrap_err().kind(),
            dvc::error::Kind::Rejected,
            "{path}"
        );
        assert_eq!(fs::read(work.join(path)).unwrap(), b"mine");
        fs::write(work.join(path), theirs).unwrap();
    }
    to(dir, "main@v1", &Silent);
    assert_eq!(interrupted(), None);
    assert_eq!(fs::read(work.join("stays/15")).unwrap(), b"one 15");
    assert_eq!(fs::read(work.join("stays/11")).unwrap(), b"one 11");
}

/// Unpacks the newest version over the previous one. If `paths` is not empty, unpacks only these
/// paths.
fn newest(dir: &Path, paths: &[&str], observer: &dyn Observer) {
    let paths = paths.iter().map(|p| p.as_bytes().to_vec()).collect();
    let options = UnpackOptions {
        paths,
        accept: true,
        ..UnpackOptions::default()
    };
    let report = unpack(&context(dir), &options, observer).unwrap();
    assert!(report.stopped.is_none(), "{:?}", report.stopped);
}

/// Scenario of the tests below. Does nothing unless a test runs it in a child process.
#[test]
#[ignore = "runs as a child of another test"]
fn unpacking() {
    let Some((dir, dying)) = orders() else { return };
    newest(&dir, &[], dying.as_ref());
}

/// Scenario of the tests below. Does nothing unless a test runs it in a child process.
#[test]
#[ignore = "runs as a child of another test"]
fn unpacking_some() {
    let Some((dir, dying)) = orders() else { return };
    newest(&dir, SOME, dying.as_ref());
}

/// Top-level directories in the role of volumes.
const SOME: &[&str] = &["becomes", "first", "second", "stays"];

#[test]
fn an_interrupted_unpack_is_finished_by_the_next() {
    for (scenario, paths) in [
        ("checkout::unpacking", &[][..]),
        ("checkout::unpacking_some", SOME),
    ] {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        make(dir);
        let chosen = || {
            let all = tree(dir).into_iter();
            all.filter(|(path, _)| paths.is_empty() || paths.iter().any(|p| path.starts_with(p)))
                .collect::<Tree>()
        };
        let new = chosen();
        let mut steps = Vec::new();
        for step in 0.. {
            // If only some paths were unpacked, the other paths still have the first version, so
            // the checkout needs `force`.
            let revision = Some(Revision::parse("main@v1").unwrap());
            let options = CheckoutOptions {
                revision,
                force: true,
                ..CheckoutOptions::default()
            };
            checkout(&context(dir), &options, &Silent).unwrap();
            assert_ne!(chosen(), new);
            match run(scenario, dir, step) {
                End::Through => break,
                End::At(name) => steps.push(name),
            }
            newest(dir, paths, &Silent);
            assert_eq!(chosen(), new, "{scenario} {steps:?}");
        }
        assert_eq!(chosen(), new);
        assert!(steps.len() > 15, "{steps:?}");
    }
}

/// Checks out a version and deletes the recorded state of the worktree, so that dvc does not know
/// which version the worktree has.
fn unknown(dir: &Path, version: &str) {
    let revision = Some(Revision::parse(version).unwrap());
    checkout(
        &context(dir),
        &CheckoutOptions {
            revision,
            force: true,
            ..CheckoutOptions::default()
        },
        &Silent,
    )
    .unwrap();
    fs::remove_dir_all(state_dir(dir)).unwrap();
}

fn state_dir(dir: &Path) -> PathBuf {
    let repo = context(dir).repo().unwrap();
    repo.worktree(&context(dir).worktree)
        .unwrap()
        .state_dir()
        .to_owned()
}

/// Returns the paths that an unpack over `paths` refuses to overwrite.
fn refused(dir: &Path, paths: &[&str]) -> Vec<String> {
    let paths = paths.iter().map(|p| p.as_bytes().to_vec()).collect();
    let options = UnpackOptions {
        paths,
        accept: true,
        ..UnpackOptions::default()
    };
    match unpack(&context(dir), &options, &Silent).unwrap().stopped {
        Some(UnpackStop::Uncommitted { paths, .. }) => paths,
        other => panic!("{other:?}"),
    }
}

/// Tests volumes that have a different version and volumes that are empty, with and without a
/// selection of paths.
#[test]
fn edits_after_a_killed_unpack_are_not_lost() {
    for (scenario, paths) in [
        ("checkout::unpacking", &[][..]),
        ("checkout::unpacking_some", SOME),
    ] {
        for fill in [false, true] {
            let temp = tempfile::tempdir().unwrap();
            let dir = temp.path();
            make(dir);
            let target = "becomes/new/dirs/file";
            let whole = fs::read(dir.join("work").join(target)).unwrap();
            let (mut deaths, mut in_new_dir) = (0, 0);
            for step in 0.. {
                unknown(dir, "main@v1");
                if fill {
                    fs::remove_dir_all(dir.join("work")).unwrap();
                    fs::create_dir(dir.join("work")).unwrap();
                }
                let End::At(name) = run(scenario, dir, step) else {
                    break;
                };
                if !state_dir(dir).join("checkout").exists() {
                    continue;
                }
                deaths += 1;
                let work = dir.join("work");
                // Test files that the unpack has already written, and files that existed before.
                for path in ["stays/15", "stays/0", target] {
                    let Ok(was) = fs::read(work.join(path)) else {
                        continue;
                    };
                    in_new_dir += usize::from(path == target);
                    let mut near = whole.clone();
                    near[50_000] ^= 1;
                    for mine in [&b"in no version"[..], &near] {
                        fs::write(work.join(path), mine).unwrap();
                        assert_eq!(refused(dir, paths), [path], "{scenario} {fill} {name}");
                        assert_eq!(fs::read(work.join(path)).unwrap(), mine);
                    }
                    fs::write(work.join(path), was).unwrap();
                }
                // A partly written file is a possible state after a crash.
                if work.join(target).exists() {
                    fs::write(work.join(target), &whole[..40_000]).unwrap();
                }
                newest(dir, paths, &Silent);
                assert!(
                    fs::read(work.join(target)).unwrap() == whole,
                    "{scenario} {fill} {name}"
                );
            }
            assert!(
                deaths > 5 && in_new_dir > 3,
                "{scenario} {fill}: {deaths} {in_new_dir}"
            );
        }
    }
}

/// Simulates a restored disk: the recorded state is the unpacked version, but the worktree has the
/// version before it.
#[test]
fn a_killed_unpack_over_an_older_version_than_recorded_is_finished() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    make(dir);
    let chosen = || -> Tree {
        tree(dir)
            .into_iter()
            .filter(|(path, _)| SOME.iter().any(|p| path.starts_with(p)))
            .collect()
    };
    let new = chosen();
    let state = fs::read(state_dir(dir).join("state")).unwrap();
    let mut deaths = 0;
    for step in 0.. {
        unknown(dir, "main@v1");
        fs::create_dir_all(state_dir(dir)).unwrap();
        fs::write(state_dir(dir).join("state"), &state).unwrap();
        if run("checkout::unpacking_some", dir, step) == End::Through {
            break;
        }
        deaths += 1;
        newest(dir, SOME, &Silent);
        assert_eq!(chosen(), new, "{step}");
    }
    assert!(deaths > 15, "{deaths}");
}

/// Scenario of the test below. Does nothing unless a test runs it in a child process.
#[test]
#[ignore = "runs as a child of another test"]
fn filling() {
    let Some((dir, dying)) = orders() else { return };
    to(&dir, "main@v2", dying.as_ref());
}

#[test]
fn edits_in_a_new_directory_after_a_crash_are_not_lost() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    make(dir);
    let path = dir.join("work/becomes/new/dirs/file");
    let whole = fs::read(&path).unwrap();
    let mut seen = 0;
    for step in 0.. {
        to(dir, "main@v1", &Silent);
        if run("checkout::filling", dir, step) == End::Through {
            break;
        }
        if path.exists() && state_dir(dir).join("checkout").exists() {
            seen += 1;
            fs::write(&path, "in no version").unwrap();
            let revision = Some(Revision::parse("main@v2").unwrap());
            let options = CheckoutOptions {
                revision,
                ..CheckoutOptions::default()
            };
            let refused = checkout(&context(dir), &options, &Silent).unwrap_err();
            assert_eq!(refused.kind(), dvc::error::Kind::Rejected);
            assert_eq!(fs::read(&path).unwrap(), b"in no version");
            fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        }
        to(dir, "main@v2", &Silent);
        assert!(fs::read(&path).unwrap() == whole);
    }
    assert!(seen > 3, "{seen}");
}
