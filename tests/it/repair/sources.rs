//! Each kind of file of a repository is changed, truncated, emptied and removed; a repair from a
//! copy of the repository restores everything.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use dvc::check::report::What;
use dvc::context::{CacheOptions, Context, Remote};
use dvc::observe::Silent;
use dvc::ops::fsck::{FsckOptions, FsckReport, RepairOptions, RepairPlace, fsck};
use dvc::store::access::Access;
use dvc::store::location::Location;

use super::packs;
use crate::support::known::{Known, copy_dir, files_of, lost_paths};

fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let known = Known::build();
        // The record of what the refs were.
        assert!(check(&known.context).check.is_sound());
        known
    })
}

fn remote(name: &str, dir: &Path) -> Remote {
    Remote {
        name: name.to_owned(),
        location: Location::directory(dir),
        lazy: false,
        access: Access::default(),
    }
}

/// Returns the context with a cache beside its repository.
fn cached(context: &Context) -> Context {
    let cache = CacheOptions {
        dir: context.repository.with_extension("cache"),
        limit_bytes: 1 << 30,
    };
    Context {
        cache,
        ..context.clone()
    }
}

fn check(context: &Context) -> FsckReport {
    fsck(
        &cached(context),
        &FsckOptions {
            data: Some(1_000_000),
            ..FsckOptions::default()
        },
        &Silent,
    )
    .unwrap()
}

fn repair(context: &Context, how: RepairOptions, dry_run: bool) -> FsckReport {
    let options = FsckOptions {
        data: Some(1_000_000),
        repair: Some(how),
        dry_run,
        ..FsckOptions::default()
    };
    fsck(&cached(context), &options, &Silent).unwrap()
}

fn accepting() -> RepairOptions {
    RepairOptions {
        accept_older: true,
        ..RepairOptions::default()
    }
}

type Harm = fn(&mut Vec<u8>);

const HARMS: &[(&str, Harm)] = &[
    ("header", |b| b[9] ^= 1),
    ("first frame", |b| b[17] ^= 4),
    ("middle", |b| {
        let at = b.len() / 2;
        b[at] ^= 1;
    }),
    ("footer", |b| {
        let at = b.len() - 9;
        b[at] ^= 1;
    }),
    ("half", |b| b.truncate(b.len() / 2)),
    ("empty", Vec::clear),
    ("longer", |b| b.push(0)),
];

/// Damages a file in each way, or removes it, and runs `then` on a copy of the repository.
fn harmed(pristine: &Known, keys: &[String], mut then: impl FnMut(&Known, &str)) {
    for key in keys {
        for (name, harm) in HARMS
            .iter()
            .copied()
            .map(Some)
            .chain([None])
            .map(|h| h.unzip())
        {
            let case = format!("{key}: {}", name.unwrap_or("removed"));
            let known = pristine.copy();
            let path = known.root().join(key);
            match harm {
                Some(harm) => {
                    let mut bytes = fs::read(&path).unwrap();
                    harm(&mut bytes);
                    fs::write(&path, bytes).unwrap();
                }
                None => fs::remove_file(&path).unwrap(),
            }
            then(&known, &case);
        }
    }
}

fn keys_below(root: &Path, dir: &str) -> Vec<String> {
    files_of(&root.join(dir))
        .into_keys()
        .map(|k| format!("{dir}/{}", String::from_utf8(k).unwrap()))
        .collect()
}

fn assert_repaired(known: &Known, report: &FsckReport, case: &str) {
    assert!(report.check.is_sound(), "{case}: {:?}", report.check.damage);
    let check = check(&known.context).check;
    assert!(check.is_sound(), "{case}: {:?}", check.damage);
    let repo = known.context.repo().unwrap();
    for version in &known.versions {
        let lost = lost_paths(&repo, version, case);
        assert!(lost.is_empty(), "{case}: {lost:?}");
    }
}

fn largest_packs(known: &Known) -> Vec<String> {
    let key = |kind| {
        let path = packs(known.root(), kind).remove(0);
        path.strip_prefix(known.root())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    (0..3).map(key).collect()
}

#[test]
fn every_damage_to_a_pack_from_a_copy() {
    let pristine = known();
    let origin = remote("origin", pristine.root());
    harmed(pristine, &largest_packs(pristine), |known, case| {
        let context = Context {
            remotes: vec![origin.clone()],
            ..known.context.clone()
        };
        let report = repair(&context, RepairOptions::default(), false);
        let done = report.repair.clone().unwrap();
        assert_eq!(done.packs, 1, "{case}: {done:?}");
        assert_eq!(
            done.sources
                .iter()
                .map(|s| (s.name.as_str(), s.packs))
                .collect::<Vec<_>>(),
            [("origin", 1)],
            "{case}"
        );
        assert_repaired(known, &report, case);
        assert!(
            files_of(&known.root().join("packs")) == files_of(&pristine.root().join("packs")),
            "{case}"
        );
    });
}

#[test]
fn every_damage_to_an_index_segment_without_a_source() {
    let pristine = known();
    harmed(
        pristine,
        &keys_below(pristine.root(), "index")[..3],
        |known, case| {
            let report = repair(&known.context, RepairOptions::default(), false);
            assert_repaired(known, &report, case);
        },
    );
}

#[test]
fn an_index_segment_from_a_copy() {
    let pristine = known();
    let origin = remote("origin", pristine.root());
    harmed(
        pristine,
        &keys_below(pristine.root(), "index")[..1],
        |known, case| {
            let context = Context {
                remotes: vec![origin.clone()],
                ..known.context.clone()
            };
            let report = repair(&context, RepairOptions::default(), false);
            assert_eq!(report.repair.as_ref().unwrap().segments, 1, "{case}");
            assert_repaired(known, &report, case);
            assert!(
                files_of(&known.root().join("index")) == files_of(&pristine.root().join("index")),
                "{case}"
            );
        },
    );
}

#[test]
fn every_damage_to_the_log_of_a_ref_from_a_copy() {
    let pristine = known();
    let origin = remote("origin", pristine.root());
    harmed(
        pristine,
        &keys_below(pristine.root(), "refs"),
        |known, case| {
            let context = Context {
                remotes: vec![origin.clone()],
                ..known.context.clone()
            };
            // The newest entry of `main` is an undo and that of `gone` a deletion, so their values
            // are not newer than the entry before.
            let report = repair(&context, accepting(), false);
            assert!(
                !report.check.damage.iter().any(|d| d.what == What::Ref),
                "{case}: {:?}",
                report.check.damage
            );
            assert!(check(&context).check.is_sound(), "{case}");
        },
    );
}

#[test]
fn a_pack_that_no_source_has_is_stored_again() {
    let pristine = known();
    // The same objects in other packs.
    let other = tempfile::tempdir().unwrap();
    copy_dir(pristine.root(), &other.path().join("repo"));
    let mirror = Context {
        repository: other.path().join("repo"),
        ..pristine.context.clone()
    };
    repack(&mirror);
    let origin = remote("origin", &mirror.repository);
    for key in largest_packs(pristine) {
        for removed in [false, true] {
            let case = format!("{key}, removed: {removed}");
            let known = pristine.copy();
            let path = known.root().join(&key);
            if removed {
                fs::remove_file(&path).unwrap()
            } else {
                super::flip_middle(&path)
            }
            let context = Context {
                remotes: vec![origin.clone()],
                ..known.context.clone()
            };
            let dry = repair(&context, RepairOptions::default(), true);
            assert!(!dry.check.is_sound());
            let before = files_of(&known.root().join("packs"));
            let report = repair(&context, RepairOptions::default(), false);
            let (dry, done) = (dry.repair.unwrap(), report.repair.clone().unwrap());
            assert_eq!(
                (dry.objects, dry.packs, &dry.sources),
                (done.objects, done.packs, &done.sources),
                "{case}"
            );
            // The pack of the stored objects may be equal to the lost one.
            let replaced = done.replaced_packs == [key.clone()] || done.replaced_packs.is_empty();
            assert!(
                done.objects > 0 && done.packs == 1 && replaced,
                "{case}: {done:?}"
            );
            assert_repaired(&known, &report, &case);
            let after = files_of(&known.root().join("packs"));
            let (own, good) = (
                &key.as_bytes()["packs/".len()..],
                fs::read(pristine.root().join(&key)).unwrap(),
            );
            let is_kept = |(name, bytes): (&Vec<u8>, &Vec<u8>)| {
                after.get(name)
                    == Some(if name == own && done.replaced_packs.is_empty() {
                        &good
                    } else {
                        bytes
                    })
            };
            assert!(before.iter().all(is_kept), "{case}: a pack was changed");
        }
    }
}

/// Gives every pack another name, by the salt in its header.
fn repack(context: &Context) {
    crate::support::collected::salt_packs(&context.repository, [7, 0, 0, 1]);
    fsck(
        context,
        &FsckOptions {
            rebuild: true,
            ..FsckOptions::default()
        },
        &Silent,
    )
    .unwrap();
    assert!(check(context).check.is_sound());
}

#[test]
fn a_source_with_wrong_bytes_is_never_accepted() {
    let pristine = known();
    for key in largest_packs(pristine) {
        let known = pristine.copy();
        let far = tempfile::tempdir().unwrap();
        let far = far.path().join("repo");
        copy_dir(pristine.root(), &far);
        super::flip_middle(&known.root().join(&key));
        // The same damage, other damage, more bytes than the pack has, and another pack.
        let good = fs::read(far.join(&key)).unwrap();
        let mut long = good.clone();
        long.resize(good.len() + 5_000_000, 1);
        let another = fs::read(
            pristine
                .root()
                .join(&keys_below(pristine.root(), "packs")[0]),
        )
        .unwrap();
        for bad in [
            fs::read(known.root().join(&key)).unwrap(),
            good[..good.len() / 3].to_vec(),
            long,
            another,
        ] {
            if bad == good {
                continue;
            }
            fs::write(far.join(&key), &bad).unwrap();
            let context = Context {
                remotes: vec![remote("origin", &far)],
                ..known.context.clone()
            };
            let before = fs::read(known.root().join(&key)).unwrap();
            let report = repair(&context, RepairOptions::default(), false);
            // Intact objects of a damaged source are accepted, and nothing else is. The pack of
            // these objects may be equal to the lost one.
            let after = fs::read(known.root().join(&key)).unwrap();
            assert!(after == before || after == good, "{key}");
            let repo = context.repo().unwrap();
            let lost: usize = known
                .versions
                .iter()
                .map(|v| lost_paths(&repo, v, &key).len())
                .sum();
            assert_eq!(
                lost == 0,
                report.check.is_sound() || report.check.reaches.is_empty(),
                "{key}"
            );
        }
        // Two sources of which each has a part.
        fs::write(far.join(&key), &good).unwrap();
        let mut context = known.context.clone();
        context.remotes = vec![remote("origin", &far)];
        let report = repair(&context, RepairOptions::default(), false);
        assert_repaired(&known, &report, &key);
    }
}

#[test]
fn from_a_directory_that_the_user_names() {
    let pristine = known();
    let known = pristine.copy();
    // All chunks of the newest version of `main` are in files of the worktree.
    let context = Context {
        worktree: "/nonexistent".into(),
        ..known.context.clone()
    };
    for pack in packs(known.root(), 0) {
        super::flip_middle(&pack);
    }
    let from = RepairOptions {
        from: vec![RepairPlace::Directory(known.context.worktree.clone())],
        ..RepairOptions::default()
    };
    let report = repair(&context, from, false);
    let repo = context.repo().unwrap();
    let newest = known
        .versions
        .iter()
        .rfind(|v| v.branch == "main" && !v.files.contains_key(&b"dir/undone"[..]))
        .unwrap();
    assert!(
        lost_paths(&repo, newest, "named directory").is_empty(),
        "{:?}",
        report.check.reaches
    );
    assert!(report.repair.unwrap().objects > 0);
}
