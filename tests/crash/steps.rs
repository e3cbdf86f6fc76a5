//! Crashes at every durable step of commit, tag, undo and rebuild. After each crash, the repository
//! is sound, every version is present, and the operation is either complete or has no effect. A
//! second run completes it.

use std::fs;
use std::path::Path;

use dvc::context::Context;
use dvc::model::id::Id;
use dvc::model::refname::{RefKind, RefName};
use dvc::model::revision::Revision;
use dvc::observe::{Observer, Silent};
use dvc::ops::commit::{CommitOptions, commit};
use dvc::ops::fsck::{FsckOptions, fsck};
use dvc::ops::tag::{TagAction, TagName, TagOptions, tag};
use dvc::ops::undo::{UndoOptions, undo};

use crate::child::{End, orders, run};
use crate::known::{
    Known, KnownVersion, assert_sound, commit_all, context, copy_dir, files_of, lost_paths, noise,
};

fn name(text: &str) -> RefName {
    RefName::parse_stored(text).unwrap()
}

fn value(context: &Context, kind: RefKind, of: &str) -> Option<Id> {
    context
        .repo()
        .unwrap()
        .refs()
        .value(kind, &name(of))
        .unwrap()
}

/// A prepared directory with `repo` and `work`. Each crash runs in a copy of it.
struct Stage {
    dir: tempfile::TempDir,
    versions: Vec<KnownVersion>,
}

impl Stage {
    /// Creates the known repository, with its worktree on `main`, and changes it with `prepare`.
    fn new(prepare: impl FnOnce(&Context, &mut Vec<KnownVersion>)) -> Self {
        let mut known = Known::build();
        prepare(&known.context, &mut known.versions);
        let dir = tempfile::tempdir().unwrap();
        copy_dir(known.root(), &dir.path().join("repo"));
        copy_dir(&known.context.worktree, &dir.path().join("work"));
        Self {
            dir,
            versions: known.versions,
        }
    }

    /// Runs a scenario once per step, with a crash at that step, until one run completes without a
    /// crash. Calls `verify` after each run. Returns the names of the steps that crashed.
    fn die(
        &self,
        scenario: &str,
        steps: impl Iterator<Item = u64>,
        verify: impl Fn(&Context, &str, &End),
    ) -> Vec<String> {
        let mut names = Vec::new();
        for step in steps {
            let dir = tempfile::tempdir().unwrap();
            copy_dir(self.dir.path(), dir.path());
            let end = run(&format!("steps::{scenario}"), dir.path(), step);
            let context = at(dir.path());
            let case = format!("{scenario}, step {step}: {end:?}");
            assert_sound(&context, &self.versions, &case);
            verify(&context, &case, &end);
            match end {
                End::At(name) => names.push(name),
                End::Through => return names,
            }
        }
        names
    }
}

fn at(dir: &Path) -> Context {
    let dir = dir.canonicalize().unwrap();
    context(dir.join("repo"), dir.join("work"))
}

/// Returns the context and the observer that kills the process at the chosen step, or `None` in an
/// ordinary test run.
fn child() -> Option<(Context, std::sync::Arc<crate::child::Dying>)> {
    let (dir, dying) = orders()?;
    let mut context = at(&dir);
    context.open.tracer = Some(dying.clone());
    Some((context, dying))
}

fn commit_with(context: &Context, observer: &dyn Observer) -> dvc::error::Result<Id> {
    let options = CommitOptions {
        message: "crash".into(),
        branch: Some(name("main")),
        tags: vec![name("crashed")],
        ..CommitOptions::default()
    };
    Ok(commit(context, &options, observer)?.id.unwrap())
}

#[test]
#[ignore = "runs as a child of another test"]
fn committing() {
    let Some((context, dying)) = child() else {
        return;
    };
    commit_with(&context, dying.as_ref()).unwrap();
}

fn change(work: &Path) {
    fs::write(work.join("new noise"), noise(77, 90_000)).unwrap();
    fs::write(work.join("dir/small 5"), "changed\n".repeat(50)).unwrap();
    let mut db = fs::read(work.join("db/main.sqlite")).unwrap();
    db[300_000..300_050].fill(b'c');
    fs::write(work.join("db/main.sqlite"), db).unwrap();
}

#[test]
fn commit_dies() {
    // Create so many versions that the next commit merges segments.
    let stage = Stage::new(|context, versions| {
        for n in 0..2 {
            fs::write(context.worktree.join("counter"), format!("{n}")).unwrap();
            versions.push(commit_all(context, "main", &[]));
        }
        change(&context.worktree);
    });
    let old = stage.versions.last().unwrap().id;
    let files = files_of(&stage.dir.path().join("work"));
    let verify = |context: &Context, case: &str, end: &End| {
        let tip = value(context, RefKind::Branch, "main").unwrap();
        let made = |id| KnownVersion {
            id,
            branch: "main",
            files: files.clone(),
        };
        if tip == old {
            assert_eq!(value(context, RefKind::Tag, "crashed"), None, "{case}");
        } else {
            assert_sound(context, &[made(tip)], case);
        }
        assert!(tip != old || *end != End::Through);
        if *end == End::Through {
            let notes = fsck(context, &FsckOptions::default(), &Silent)
                .unwrap()
                .check
                .notes;
            assert!(
                notes.iter().any(|n| n.contains("replaced by others")),
                "no segments were merged: {notes:?}"
            );
        }
        // The second run creates the version, or it has nothing to commit; then the tag must exist.
        let again = commit_with(context, &Silent);
        let id = match (again, value(context, RefKind::Tag, "crashed")) {
            (Ok(id), _) => id,
            // The first run was complete.
            (Err(_), Some(tagged)) => tagged,
            (Err(e), None) => panic!("{case}: {e}"),
        };
        assert_eq!(value(context, RefKind::Branch, "main"), Some(id), "{case}");
        assert_eq!(value(context, RefKind::Tag, "crashed"), Some(id), "{case}");
        assert_sound(context, &[made(id)], case);
    };
    // Pack names differ from run to run, so different folders have to be created, and a run may
    // lack one of the steps.
    let wanted = [
        "pack",
        "segment published",
        "ref",
        "ref moved",
        "renamed",
        "directory synced",
    ];
    let mut steps = Vec::new();
    for _ in 0..4 {
        steps.extend(stage.die("committing", 0.., verify));
        if wanted.iter().all(|w| steps.iter().any(|s| s == w)) {
            break;
        }
    }
    for step in wanted {
        assert!(steps.iter().any(|s| s == step), "no `{step}` in {steps:?}");
    }
    assert!(steps.len() > 40, "{steps:?}");
}

#[test]
#[ignore = "runs as a child of another test"]
fn tagging() {
    let Some((context, dying)) = child() else {
        return;
    };
    tag_main(&context, dying.as_ref());
}

fn tag_main(context: &Context, observer: &dyn Observer) {
    let create = TagAction::Create {
        name: TagName::parse("late").unwrap(),
        at: Revision::parse("main~1").unwrap(),
        force: true,
    };
    tag(
        context,
        &TagOptions {
            action: create,
            dry_run: false,
        },
        observer,
    )
    .unwrap();
}

#[test]
fn tag_dies() {
    let stage = Stage::new(|_, _| {});
    let want = stage.versions[1].id;
    let steps = stage.die("tagging", 0.., |context, case, end| {
        let found = value(context, RefKind::Tag, "late");
        assert!(
            found == Some(want) || found.is_none() && *end != End::Through,
            "{case}: {found:?}"
        );
        tag_main(context, &Silent);
        assert_eq!(value(context, RefKind::Tag, "late"), Some(want), "{case}");
    });
    assert!(steps.len() >= 5, "{steps:?}");
}

#[test]
#[ignore = "runs as a child of another test"]
fn undoing() {
    let Some((context, dying)) = child() else {
        return;
    };
    undo(
        &context,
        &UndoOptions {
            name: Some(name("main")),
            dry_run: false,
        },
        dying.as_ref(),
    )
    .unwrap();
}

#[test]
fn undo_dies() {
    let stage = Stage::new(|_, _| {});
    let (before, after) = (stage.versions[2].id, stage.versions[1].id);
    let steps = stage.die("undoing", 0.., |context, case, end| {
        let tip = value(context, RefKind::Branch, "main");
        assert!(
            tip == Some(after) || tip == Some(before) && *end != End::Through,
            "{case}: {tip:?}"
        );
        if tip == Some(before) {
            undo(
                context,
                &UndoOptions {
                    name: Some(name("main")),
                    dry_run: false,
                },
                &Silent,
            )
            .unwrap();
        }
        assert_eq!(
            value(context, RefKind::Branch, "main"),
            Some(after),
            "{case}"
        );
    });
    assert!(steps.len() >= 5, "{steps:?}");
}

#[test]
#[ignore = "runs as a child of another test"]
fn rebuilding() {
    let Some((context, dying)) = child() else {
        return;
    };
    rebuild(&context, dying.as_ref());
}

fn rebuild(context: &Context, observer: &dyn Observer) -> dvc::ops::fsck::FsckReport {
    fsck(
        context,
        &FsckOptions {
            rebuild: true,
            ..FsckOptions::default()
        },
        observer,
    )
    .unwrap()
}

#[test]
fn rebuild_dies() {
    let stage = Stage::new(|_, _| {});
    let segments = |context: &Context| files_of(&context.repository.join("index")).len();
    let old = segments(&at(stage.dir.path()));
    let steps = stage.die("rebuilding", 0.., |context, case, end| {
        assert!(
            segments(context) >= 3 && (segments(context) <= old + 3),
            "{case}"
        );
        assert!(*end != End::Through || segments(context) == 3, "{case}");
        let report = rebuild(context, &Silent);
        assert!(
            report.check.is_sound() && segments(context) == 3,
            "{case}: {:?}",
            report.check.damage
        );
        assert_eq!(
            report
                .check
                .notes
                .iter()
                .filter(|n| n.contains("segment"))
                .count(),
            0,
            "{case}"
        );
    });
    for step in [
        "segment published",
        "catalogue",
        "remove segment",
        "removed",
        "rebuilt",
    ] {
        assert!(steps.iter().any(|s| s == step), "no `{step}` in {steps:?}");
    }
}

/// The same test with a damaged index. Until the new index is in use, a read reports an error and
/// never treats a missing object as a hole.
#[test]
fn rebuild_of_a_damaged_index_dies() {
    let stage = Stage::new(|_, _| {});
    let index = stage.dir.path().join("repo/index");
    for key in files_of(&index).into_keys() {
        let path = index.join(String::from_utf8(key).unwrap());
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() - 5;
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    for step in (0..).step_by(3) {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(stage.dir.path(), dir.path());
        let end = run("steps::rebuilding", dir.path(), step);
        let context = at(dir.path());
        let repo = context.repo().unwrap();
        for version in &stage.versions {
            for (_, e) in lost_paths(&repo, version, "damaged index") {
                assert_eq!(e.kind(), dvc::error::Kind::Integrity, "{end:?}: {e}");
            }
        }
        drop(repo);
        rebuild(&context, &Silent);
        assert_sound(&context, &stage.versions, &format!("{end:?}"));
        if end == End::Through {
            break;
        }
    }
}

/// The 128th entry of a log contains the earlier ones, which are then removed.
#[test]
fn folding_a_log_dies() {
    let stage = Stage::new(|context, versions| {
        let repo = context.repo().unwrap();
        let refs = repo.refs();
        let ids = [versions[0].id, versions[1].id];
        let how = dvc::repo::refs::Move {
            who: "w",
            why: "test",
            time: dvc::model::entry::Time { secs: 1, nanos: 0 },
        };
        let mut tip = refs.tip(RefKind::Branch, &name("main")).unwrap();
        while let Some(entry) = tip.clone().filter(|e| e.seq < 127) {
            let id = ids[usize::try_from(entry.seq % 2).unwrap()];
            tip = refs
                .update(RefKind::Branch, &name("main"), Some(&entry), Some(id), &how)
                .unwrap();
        }
    });
    let log = |context: &Context| {
        context
            .repo()
            .unwrap()
            .refs()
            .log(RefKind::Branch, &name("main"))
            .unwrap()
    };
    // Each removal has two steps. All removals are alike, so test only some.
    let steps = stage.die(
        "committing",
        (0..45).chain((45..).step_by(40)),
        |context, case, end| {
            let entries = log(context);
            let last = entries[0].seq;
            assert!(last == 127 || last == 128, "{case}");
            assert!(last == 128 || *end != End::Through);
            // The first entry has no value, so it is not a move.
            assert_eq!(entries.len() as u64, last - 1, "{case}");
            assert!(
                entries
                    .windows(2)
                    .all(|w| w[0].seq == w[1].seq + 1 && w[0].old == w[1].new),
                "{case}"
            );
        },
    );
    assert!(
        steps
            .iter()
            .any(|s| s == "removed" || s == "directory synced")
    );
}
