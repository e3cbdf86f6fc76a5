//! Push, fetch and clone with a store that loses requests and responses. The remote is a valid
//! repository at every moment, and repeating the command succeeds.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use dvc::context::Context;
use dvc::context::{CacheOptions, Remote};
use dvc::error::{Kind, Result};
use dvc::model::refname::{RefKind, RefName};
use dvc::observe::Silent;
use dvc::ops::clone::{CloneOptions, clone};
use dvc::ops::fetch::{FetchOptions, fetch};
use dvc::ops::fsck::{FsckOptions, fsck};
use dvc::ops::push::{PushOptions, PushOutcome, PushReport, push};
use dvc::ops::remote::check;
use dvc::repo::Repo;
use dvc::repo::refs::Refs;
use dvc::store::access::{Access, Wrap};
use dvc::store::faulty::{Fault, Faults, FaultyStore};
use dvc::store::local::LocalStore;
use dvc::store::location::Location;
use dvc::store::{Store, StoreErrorKind};

use super::super::support::known::{
    Known, KnownVersion, commit_all, context, copy_dir, lost_paths,
};
use super::super::support::shared_dir::SharedDir;

/// Returns a remote with the URL of a server whose data is in the directory `dir`, with `faults`
/// injected. `modest` disables conditional writes.
fn remote(dir: &Path, faults: &Arc<Faults>, modest: bool) -> Remote {
    let (dir, faults) = (dir.to_owned(), Arc::clone(faults));
    let wrap: Arc<Wrap> = Arc::new(move |_| {
        let local: Arc<dyn Store> = Arc::new(LocalStore::new(dir.clone()));
        let faulty = FaultyStore::new(local, Arc::clone(&faults));
        Arc::new(if modest {
            faulty.without_conditional_writes()
        } else {
            faulty
        })
    });
    let location = Location::parse("s3://bucket/p?endpoint=http://127.0.0.1:9", Path::new("/"))
        .unwrap()
        .location;
    let access = Access {
        wrap: Some(wrap),
        ..Access::default()
    };
    Remote {
        name: "origin".to_owned(),
        location,
        lazy: false,
        access,
    }
}

/// The repository of [`Known`] with one more version on `main`, and a remote that lacks this
/// version.
struct Scene {
    dir: SharedDir,
    versions: Vec<KnownVersion>,
}

/// A copy of the local and the remote repository for one attempt.
struct Go {
    dir: tempfile::TempDir,
    context: Context,
}

fn main() -> RefName {
    RefName::new("main").unwrap()
}

fn with_cache(mut context: Context, cache: PathBuf) -> Context {
    context.cache = CacheOptions {
        dir: cache,
        limit_bytes: 1 << 30,
    };
    context
}

fn everything() -> PushOptions {
    PushOptions {
        all: true,
        tags: true,
        ..PushOptions::default()
    }
}

impl Scene {
    /// Returns the scene; the first call creates it.
    fn get() -> &'static Self {
        static SCENE: OnceLock<Scene> = OnceLock::new();
        SCENE.get_or_init(|| {
            let mut known = Known::build();
            let dir = SharedDir::new();
            let (none, there) = (Faults::none(), dir.path().join("there"));
            std::fs::create_dir(dir.path().join("empty")).unwrap();
            // Let the repository record the result of the store probe before anything is pushed.
            let here = with_cache(known.context.clone(), dir.path().join("cache"));
            assert!(
                check(
                    &here,
                    &remote(&dir.path().join("empty"), &none, false),
                    &Silent
                )
                .unwrap()
                .exclusive
            );
            copy_dir(known.root(), &dir.path().join("fresh"));
            push(&here, &remote(&there, &none, false), &everything(), &Silent).unwrap();
            std::fs::write(
                here.worktree.join("new noise"),
                super::super::support::known::noise(77, 90_000),
            )
            .unwrap();
            let mut db = std::fs::read(here.worktree.join("db/main.sqlite")).unwrap();
            db[300_000..300_050].fill(b'c');
            std::fs::write(here.worktree.join("db/main.sqlite"), db).unwrap();
            known.versions.push(commit_all(&known.context, "main", &[]));
            copy_dir(known.root(), &dir.path().join("here"));
            Self {
                dir,
                versions: known.versions.clone(),
            }
        })
    }

    /// Copies the scene. `here` selects the local repository: `fresh` (before any push) or `here`.
    /// `there` selects the remote: `empty` or `there`.
    fn go(&self, here: &str, there: &str) -> Go {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        copy_dir(&self.dir.path().join(here), &top.join("repo"));
        copy_dir(&self.dir.path().join(there), &top.join("there"));
        std::fs::create_dir(top.join("work")).unwrap();
        let context = with_cache(
            context(top.join("repo"), top.join("work")),
            top.join("cache"),
        );
        Go { dir, context }
    }

    fn version(&self, id: &dvc::model::id::Id) -> &KnownVersion {
        self.versions.iter().find(|v| v.id == *id).unwrap()
    }
}

impl Go {
    fn there(&self) -> PathBuf {
        self.dir.path().join("there")
    }

    fn push(&self, faults: &Arc<Faults>) -> Result<PushReport> {
        push(
            &self.context,
            &remote(&self.there(), faults, false),
            &everything(),
            &Silent,
        )
    }

    /// Returns the name, log position and value of each branch, read from the remote's files.
    fn tips(&self) -> Vec<(String, u64, dvc::model::id::Id)> {
        let store = LocalStore::new(self.there());
        let refs = Refs::of(&store).list(RefKind::Branch).unwrap();
        refs.into_iter()
            .map(|tip| (tip.name.to_string(), tip.entry.seq, tip.id))
            .collect()
    }

    /// Asserts that all data of the remote's refs is present and undamaged.
    #[track_caller]
    fn assert_valid(&self, case: &str) {
        let there = self.there();
        if !Repo::is_at(&there) {
            assert!(self.tips().is_empty(), "{case}: refs without a repository");
            return;
        }
        assert_sound(&there, self.dir.path(), case);
    }
}

/// Asserts that every version to which a ref of the repository at `place` points is complete.
#[track_caller]
fn assert_sound(place: &Path, scratch: &Path, case: &str) {
    // Open the repository as a remote, so that the check cannot write to it.
    let location = Location::parse(place.to_str().unwrap(), Path::new("/"))
        .unwrap()
        .location;
    let far = Remote {
        name: "there".to_owned(),
        location,
        lazy: false,
        access: Access::default(),
    };
    let nowhere = with_cache(
        context(PathBuf::from("/nonexistent"), scratch.to_owned()),
        scratch.join("look"),
    );
    let looking = Context {
        remote_repository: Some(far),
        ..nowhere
    };
    let options = FsckOptions {
        data: Some(1_000_000),
        dry_run: true,
        ..FsckOptions::default()
    };
    let report = fsck(&looking, &options, &Silent).unwrap().check;
    assert!(report.is_sound(), "{case}: {:?}", report.damage);
    let repo = looking.repo().unwrap();
    for tip in repo.refs().list(RefKind::Branch).unwrap() {
        let lost = lost_paths(&repo, Scene::get().version(&tip.id), case);
        assert!(lost.is_empty(), "{case}: {lost:?}");
    }
}

/// Pushes with a fault at the first request, then without a fault; then with a fault at the second
/// request, and so on. `fails` states whether the faults make a push fail.
fn each_request(here: &str, there: &str, fault: Fault, error_kind: StoreErrorKind, fails: bool) {
    let scene = Scene::get();
    let before = scene.go(here, there).tips();
    let (mut failed, mut succeeded) = (0, 0);
    for number in 0.. {
        let go = scene.go(here, there);
        let faults = Faults::at(number, fault, error_kind);
        let pushed = go.push(&faults);
        let case = format!(
            "{fault:?}, {error_kind:?} at {number}: {:?}",
            faults.asked().get(usize::try_from(number).unwrap())
        );
        go.assert_valid(&case);
        match &pushed {
            Ok(report) => assert!(report.rejected().is_none(), "{case}"),
            Err(e) => assert_eq!(e.kind(), Kind::Unreachable, "{case}: {e}"),
        }
        let after_first = go.tips();
        // Push again without faults. Each branch must have moved exactly once.
        let none = Faults::none();
        let report = go.push(&none).unwrap();
        assert!(
            report
                .refs
                .iter()
                .all(|r| !matches!(r.outcome, PushOutcome::Raced | PushOutcome::Diverged)),
            "{case}"
        );
        let after = go.tips();
        for (name, seq, _) in &after {
            let first = before.iter().find(|(n, ..)| n == name).map_or(0, |b| b.1);
            // The log of a new ref begins with an entry without a value.
            let moved = if first == 0 {
                2
            } else {
                u64::from(name == "main")
            };
            assert_eq!(*seq, first + moved, "{case}: `{name}` moved more than once");
        }
        for tip in &after_first {
            assert!(
                after.contains(tip) || before.contains(tip),
                "{case}: {tip:?}"
            );
        }
        if pushed.is_ok() {
            assert_eq!(after, after_first, "{case}");
            assert_eq!(report.packs, 0, "{case}");
        }
        // The second push does not send packs that have already arrived.
        let put = |asked: Vec<String>| {
            asked
                .into_iter()
                .filter(|a| a.starts_with("put packs/"))
                .collect::<Vec<_>>()
        };
        let first = put(faults.asked());
        let arrived = |key: &String| {
            *key != faults
                .asked()
                .get(usize::try_from(number).unwrap())
                .cloned()
                .unwrap_or_default()
        };
        for key in put(none.asked()) {
            assert!(
                !first.iter().filter(|k| arrived(k)).any(|k| *k == key),
                "{case}: sent again: {key}"
            );
        }
        go.assert_valid(&case);
        (failed, succeeded) = if pushed.is_ok() {
            (failed, succeeded + 1)
        } else {
            (failed + 1, succeeded)
        };
        if faults.failed() == 0 {
            assert!(number > 10, "only {number} requests");
            break;
        }
    }
    // Temporary faults are retried, so they do not make a push fail.
    assert_eq!(
        failed > 0,
        fails,
        "{failed} pushes failed, {succeeded} did not"
    );
}

#[test]
fn a_first_push_loses_each_reply() {
    each_request(
        "fresh",
        "empty",
        Fault::Reply,
        StoreErrorKind::Unreachable,
        false,
    );
}

#[test]
fn a_push_loses_each_reply() {
    each_request(
        "here",
        "there",
        Fault::Reply,
        StoreErrorKind::Unreachable,
        false,
    );
}

#[test]
fn a_first_push_ends_at_each_lost_reply() {
    each_request(
        "fresh",
        "empty",
        Fault::Reply,
        StoreErrorKind::InvalidResponse,
        true,
    );
}

#[test]
fn a_push_ends_at_each_lost_reply() {
    each_request(
        "here",
        "there",
        Fault::Reply,
        StoreErrorKind::InvalidResponse,
        true,
    );
}

#[test]
fn a_push_ends_at_each_refusal() {
    each_request(
        "here",
        "there",
        Fault::Request,
        StoreErrorKind::Refused,
        true,
    );
}

#[test]
fn a_fifth_of_all_requests_fails() {
    let scene = Scene::get();
    for (seed, modest) in [(3, false), (0x5eed, true)] {
        let go = scene.go("fresh", "empty");
        // The capabilities of the store are unknown, so the push probes it, and locks it if it has
        // no conditional writes.
        std::fs::remove_dir_all(go.context.repository.join("remotes")).unwrap();
        let faults = Faults::by_chance(20, seed);
        let far = remote(&go.there(), &faults, modest);
        push(&go.context, &far, &everything(), &Silent).unwrap();
        assert!(faults.failed() > 2, "{:?}", faults.asked());
        go.assert_valid("a fifth");
        assert!(go.tips().iter().all(|tip| tip.1 == 2), "{:?}", go.tips());

        let new = tempfile::tempdir().unwrap();
        let top = new.path().canonicalize().unwrap();
        let copy = with_cache(context(top.join("repo"), top.clone()), top.join("cache"));
        let options = CloneOptions {
            no_checkout: true,
            ..CloneOptions::default()
        };
        let before = faults.failed();
        clone(&copy, &far, &options, &|| Ok(()), &Silent).unwrap();
        assert!(faults.failed() > before);
        let report = fsck(
            &copy,
            &FsckOptions {
                data: Some(1_000_000),
                ..FsckOptions::default()
            },
            &Silent,
        )
        .unwrap();
        assert!(report.check.is_sound(), "{:?}", report.check.damage);
    }
}

/// A fetch fails at each request in turn. All visible data is complete, and the next fetch
/// succeeds.
#[test]
fn a_fetch_ends_at_each_lost_reply() {
    let scene = Scene::get();
    for number in (0..).step_by(2) {
        // Start with a local repository that has only the old versions.
        let go = scene.go("fresh", "there");
        let mine = main();
        push(
            &scene_context(scene, &go),
            &remote(&go.there(), &Faults::none(), false),
            &everything(),
            &Silent,
        )
        .unwrap();
        let faults = Faults::at(number, Fault::Reply, StoreErrorKind::InvalidResponse);
        let fetched = fetch(
            &go.context,
            &remote(&go.there(), &faults, false),
            &FetchOptions::default(),
            &Silent,
        );
        let case = format!(
            "at {number}: {:?}",
            faults.asked().get(usize::try_from(number).unwrap())
        );
        assert_eq!(fetched.is_ok(), faults.failed() == 0, "{case}");
        let whole = FsckOptions {
            data: Some(1_000_000),
            ..FsckOptions::default()
        };
        let report = fsck(&go.context, &whole, &Silent).unwrap().check;
        assert!(report.is_sound(), "{case}: {:?}", report.damage);
        fetch(
            &go.context,
            &remote(&go.there(), &Faults::none(), false),
            &FetchOptions::default(),
            &Silent,
        )
        .unwrap();
        let repo = go.context.repo().unwrap();
        let tracked = RefName::new(&format!("origin/{mine}")).unwrap();
        let tip = repo
            .refs()
            .value(RefKind::Remote, &tracked)
            .unwrap()
            .unwrap();
        let lost = lost_paths(&repo, scene.version(&tip), &case);
        assert_eq!(
            (tip, lost.len()),
            (scene.versions.last().unwrap().id, 0),
            "{case}"
        );
        if faults.failed() == 0 {
            assert!(number > 10, "only {number} requests");
            break;
        }
    }
}

/// Returns a context of a local repository with the newest version.
fn scene_context(scene: &Scene, go: &Go) -> Context {
    let newest = go.dir.path().join("newest");
    copy_dir(&scene.dir.path().join("here"), &newest);
    with_cache(
        context(newest, go.dir.path().join("work").canonicalize().unwrap()),
        go.dir.path().join("cache two"),
    )
}
