//! Every kind of repository file is changed, truncated, emptied, removed and swapped. `fsck` must
//! report the file; exactly the paths that it reports as lost are unreadable, everything else is
//! read correctly, and a rebuild repairs derived data.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dvc::check::report::{CheckReport, What};
use dvc::error::Kind;
use dvc::observe::Silent;
use dvc::ops::fsck::{FsckOptions, fsck};

use crate::support::known::{Known, KnownVersion, files_of, lost_paths};

/// Kinds of damage to a file.
#[derive(Clone, Debug)]
enum Harm {
    Flip(usize, u8),
    Cut(usize),
    Grow,
    Blot(usize),
    Remove,
}

impl Harm {
    fn apply(&self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Flip(at, bit) => bytes[*at] ^= 1 << bit,
            Self::Cut(len) => bytes.truncate(*len),
            Self::Grow => bytes.push(0),
            Self::Blot(at) => bytes.iter_mut().skip(*at).take(300).for_each(|b| *b = 0xa5),
            Self::Remove => return fs::remove_file(path).unwrap(),
        }
        fs::write(path, bytes).unwrap();
    }

    /// Returns typical kinds of damage for a file of `len` bytes, the same ones for the same seed.
    fn for_file(len: usize, seed: u64) -> Vec<Self> {
        let mut random = seed | 1;
        let mut roll = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random >> 20).unwrap() % below.max(1)
        };
        let mut all = vec![
            Self::Cut(0),
            Self::Cut(1),
            Self::Cut(len / 2),
            Self::Cut(len - 1),
            Self::Grow,
            Self::Remove,
        ];
        for at in [
            0,
            7,
            8,
            10,
            16,
            17,
            20,
            len - 50,
            len - 40,
            len - 9,
            len - 1,
        ] {
            all.push(Self::Flip(at.min(len - 1), u8::try_from(roll(8)).unwrap()));
        }
        for _ in 0..8 {
            all.push(Self::Flip(roll(len), u8::try_from(roll(8)).unwrap()));
        }
        all.push(Self::Blot(roll(len)));
        all.push(Self::Blot(len / 2));
        all
    }
}

fn check(known: &Known, data: bool) -> CheckReport {
    let options = FsckOptions {
        data: data.then_some(1_000_000),
        ..FsckOptions::default()
    };
    fsck(&known.context, &options, &Silent).unwrap().check
}

fn rebuild(known: &Known) -> CheckReport {
    fsck(
        &known.context,
        &FsckOptions {
            rebuild: true,
            data: Some(1_000_000),
            ..FsckOptions::default()
        },
        &Silent,
    )
    .unwrap()
    .check
}

/// Returns the paths of a version that a report lists as lost.
fn reached(report: &CheckReport, version: &KnownVersion) -> BTreeSet<Vec<u8>> {
    let is_in = |run: &std::ops::Range<usize>| {
        report.versions[run.clone()]
            .iter()
            .any(|v| v.id == version.id)
    };
    let lost = report
        .reaches
        .iter()
        .filter(|r| r.versions.iter().any(is_in));
    lost.filter(|r| !r.path.is_empty() || r.directory)
        .map(|r| r.path.clone())
        .collect()
}

/// Reads every version: each file must be correct, or be lost as reported. Returns the number of
/// lost paths.
fn assert_reported(known: &Known, report: &CheckReport, case: &str) -> usize {
    let repo = known.context.repo().unwrap();
    let mut count = 0;
    for version in &known.versions {
        let lost = lost_paths(&repo, version, case);
        for (_, e) in &lost {
            assert_eq!(e.kind(), Kind::Integrity, "{case}: {e}");
        }
        count += lost.len();
        let lost: BTreeSet<Vec<u8>> = lost.into_iter().map(|(path, _)| path).collect();
        assert_eq!(
            reached(report, version),
            lost,
            "{case}: {:?}",
            report.damage
        );
    }
    count
}

fn assert_named(report: &CheckReport, key: &str, case: &str) {
    let named = report
        .damage
        .iter()
        .any(|d| d.key.contains(key) || key.contains(&d.key));
    assert!(
        named,
        "{case}: `{key}` is not named in {:?}, notes {:?}",
        report.damage, report.notes
    );
}

/// Returns the keys of the files in a folder of the repository.
fn keys(known: &Known, below: &str) -> Vec<String> {
    let dir = known.root().join(below);
    let names = files_of(&dir)
        .into_keys()
        .map(|k| format!("{below}/{}", String::from_utf8(k).unwrap()));
    names.collect()
}

/// Returns the largest file of each kind. The byte at offset `at` of a file is its kind.
fn one_of_each_kind(known: &Known, below: &str, at: usize) -> Vec<String> {
    let mut best: std::collections::BTreeMap<u8, (usize, String)> =
        std::collections::BTreeMap::new();
    for key in keys(known, below) {
        let bytes = fs::read(known.root().join(&key)).unwrap();
        let slot = best.entry(bytes[at]).or_default();
        if slot.0 < bytes.len() {
            *slot = (bytes.len(), key);
        }
    }
    assert_eq!(best.len(), 3);
    best.into_values().map(|b| b.1).collect()
}

/// Runs the cases on two threads, each case on its own copy of the repository.
fn each<T: Sync>(known: &Known, cases: &[T], run: impl Fn(&Known, &T) + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) =
                    cases.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    run(&known.copy(), case);
                }
            });
        }
    });
}

fn harms(known: &Known, keys: &[String]) -> Vec<(String, Harm)> {
    let mut cases = Vec::new();
    for (n, key) in keys.iter().enumerate() {
        let len = usize::try_from(fs::metadata(known.root().join(key)).unwrap().len()).unwrap();
        cases.extend(
            Harm::for_file(len, n as u64 * 77 + 5)
                .into_iter()
                .map(|h| (key.clone(), h)),
        );
    }
    cases
}

#[test]
fn an_undamaged_repository_is_sound() {
    let known = Known::build();
    let report = check(&known, true);
    assert!(report.is_sound() && report.reaches.is_empty(), "{report:?}");
    assert_eq!(report.notes, Vec::<String>::new());
    assert_eq!(assert_reported(&known, &report, "sound"), 0);
    assert_eq!(report.checked.versions, known.versions.len() as u64);
    let data = report.data.unwrap();
    assert_eq!((data.packs, data.bytes), (data.of_packs, data.of_bytes));
    let again = rebuild(&known);
    assert!(again.is_sound() && again.notes.is_empty(), "{again:?}");
    assert_eq!(
        again.checked,
        dvc::check::report::Checked {
            segments: 3,
            ..report.checked
        }
    );
    assert_eq!(assert_reported(&known, &again, "rebuilt"), 0);
}

#[test]
fn packs() {
    let known = Known::build();
    let mut chosen = one_of_each_kind(&known, "packs", 8);
    // Add a pack of deltas: the second largest data pack.
    let mut data: Vec<(u64, String)> = keys(&known, "packs")
        .into_iter()
        .filter(|k| fs::read(known.root().join(k)).unwrap()[8] == 0)
        .map(|k| (fs::metadata(known.root().join(&k)).unwrap().len(), k))
        .collect();
    data.sort();
    chosen.push(data[data.len() - 2].1.clone());
    let lossless = std::sync::atomic::AtomicUsize::new(0);
    each(&known, &harms(&known, &chosen), |known, (key, harm)| {
        let case = format!("{key} {harm:?}");
        harm.apply(&known.root().join(key));
        // A check of the structure alone must not crash, and must not report sound files.
        let structure = check(known, false);
        let report = check(known, true);
        assert_named(&report, key, &case);
        for damage in &structure.damage {
            assert!(
                report.damage.iter().any(|d| d.key == damage.key),
                "{case}: {damage:?}"
            );
        }
        if assert_reported(known, &report, &case) == 0 {
            lossless.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        let rebuilt = rebuild(known);
        assert_eq!(
            assert_reported(known, &rebuilt, &case) == 0,
            report.reaches.is_empty(),
            "{case}: rebuild"
        );
    });
    assert!(lossless.into_inner() > 10);
}

#[test]
fn segments() {
    let known = Known::build();
    let chosen = one_of_each_kind(&known, "index", 10);
    each(&known, &harms(&known, &chosen), |known, (key, harm)| {
        let case = format!("{key} {harm:?}");
        harm.apply(&known.root().join(key));
        let report = check(known, true);
        assert_named(&report, key, &case);
        assert!(
            report
                .damage
                .iter()
                .all(|d| matches!(d.what, What::Segment | What::Object)),
            "{case}: {:?}",
            report.damage
        );
        assert_reported(known, &report, &case);
        let rebuilt = rebuild(known);
        assert!(rebuilt.is_sound(), "{case}: {:?}", rebuilt.damage);
        assert_eq!(assert_reported(known, &rebuilt, &case), 0);
    });
}

#[test]
fn refs() {
    let known = Known::build();
    let all = keys(&known, "refs");
    assert!(all.len() >= 9, "{all:?}");
    each(&known, &harms(&known, &all), |known, (key, harm)| {
        let case = format!("{key} {harm:?}");
        harm.apply(&known.root().join(key));
        let report = check(known, false);
        assert_named(&report, key, &case);
        assert!(
            report.damage.iter().all(|d| d.what == What::Ref),
            "{case}: {:?}",
            report.damage
        );
        assert_eq!(assert_reported(known, &report, &case), 0);
    });
}

#[test]
fn marker_and_worktree_state() {
    let known = Known::build();
    let cases = harms(&known, &["format".to_owned()]);
    each(&known, &cases, |known, (key, harm)| {
        harm.apply(&known.root().join(key));
        let e = fsck(&known.context, &FsckOptions::default(), &Silent).unwrap_err();
        assert_eq!(e.kind(), Kind::Integrity, "{harm:?}: {e}");
        assert!(e.to_string().contains("marker"), "{harm:?}: {e}");
    });
    let state: Vec<String> = keys(&known, "worktrees")
        .into_iter()
        .filter(|k| k.ends_with("/state"))
        .collect();
    assert_eq!(state.len(), 1);
    each(&known, &harms(&known, &state), |known, (key, harm)| {
        let case = format!("{harm:?}");
        harm.apply(&known.root().join(key));
        let report = check(known, false);
        if !matches!(harm, Harm::Remove) {
            assert_named(&report, key, &case);
            let head = dvc::refs::head::Head::read(&known.context, &known.context.repo().unwrap());
            assert_eq!(head.unwrap_err().kind(), Kind::Integrity, "{case}");
        }
        assert!(rebuild(known).is_sound(), "{case}");
        assert!(
            dvc::refs::head::Head::read(&known.context, &known.context.repo().unwrap()).is_ok(),
            "{case}"
        );
    });
}

/// The catalogue is derived data: damage in it may make commands slow but never wrong.
#[test]
fn catalogue() {
    use dvc::ops::commit::{CommitOptions, commit};
    let known = Known::build();
    let key = "catalog.db".to_owned();
    let len = usize::try_from(fs::metadata(known.root().join(&key)).unwrap().len()).unwrap();
    let mut cases = Harm::for_file(len, 3);
    cases.extend((0..len / 1024).map(|n| Harm::Flip(n * 1024 + n % 1000, 3)));
    cases.extend((0..len / 4096).map(|n| Harm::Blot(n * 4096)));
    let truth = {
        let copy = known.copy();
        commit(
            &copy.context,
            &CommitOptions {
                message: "next".into(),
                ..CommitOptions::default()
            },
            &Silent,
        )
        .unwrap()
    };
    let found = std::sync::atomic::AtomicUsize::new(0);
    each(&known, &cases, |known, harm| {
        let case = format!("{harm:?}");
        harm.apply(&known.root().join("catalog.db"));
        let next = CommitOptions {
            message: "next".into(),
            ..CommitOptions::default()
        };
        match commit(&known.context, &next, &Silent) {
            Ok(made) => {
                let tell = |r: &dvc::ops::commit::CommitReport| {
                    (
                        r.commit.tree,
                        r.commit.counts.files,
                        r.commit.parents.clone(),
                    )
                };
                assert_eq!(tell(&made), tell(&truth), "{case}");
            }
            Err(e) => assert_eq!(e.kind(), Kind::Integrity, "{case}: {e}"),
        }
        let report = check(known, false);
        assert!(
            report.damage.iter().all(|d| d.what == What::Catalogue),
            "{case}: {:?}",
            report.damage
        );
        found.fetch_add(
            usize::from(!report.is_sound()),
            std::sync::atomic::Ordering::Relaxed,
        );
        assert_eq!(assert_reported(known, &report, &case), 0);
        let rebuilt = rebuild(known);
        assert!(rebuilt.is_sound(), "{case}: {:?}", rebuilt.damage);
    });
    // Damage in unused pages, or in rows that a later commit has replaced, goes unnoticed.
    assert!(found.into_inner() > cases.len() / 8);
}

#[test]
fn swapped_files() {
    let known = Known::build();
    let (packs, index) = (
        one_of_each_kind(&known, "packs", 8),
        one_of_each_kind(&known, "index", 10),
    );
    let same_kind = |below: &str, at: usize, kind: u8| -> Vec<String> {
        let mut of_kind = keys(&known, below);
        of_kind.retain(|k| fs::read(known.root().join(k)).unwrap()[at] == kind);
        of_kind
    };
    let mut pairs: Vec<(String, String)> = Vec::new();
    for kind in 0..3 {
        pairs.extend(
            same_kind("packs", 8, kind)
                .windows(2)
                .map(|w| (w[0].clone(), w[1].clone())),
        );
        pairs.extend(
            same_kind("index", 10, kind)
                .windows(2)
                .map(|w| (w[0].clone(), w[1].clone())),
        );
    }
    pairs.extend(
        packs
            .windows(2)
            .chain(index.windows(2))
            .map(|w| (w[0].clone(), w[1].clone())),
    );
    pairs.push((packs[0].clone(), index[0].clone()));
    pairs.extend(
        keys(&known, "refs")
            .windows(2)
            .map(|w| (w[0].clone(), w[1].clone())),
    );
    pairs.push(("refs/heads/main".into(), "refs/heads/dev".into()));
    pairs.push(("refs/heads".into(), "refs/tags".into()));
    each(&known, &pairs, |known, (a, b)| {
        let case = format!("{a} <-> {b}");
        let (a_path, b_path, between) = (
            known.root().join(a),
            known.root().join(b),
            known.root().join("between"),
        );
        fs::rename(&a_path, &between).unwrap();
        fs::rename(&b_path, &a_path).unwrap();
        fs::rename(&between, &b_path).unwrap();
        let report = check(known, true);
        for key in [a, b] {
            let named = report
                .damage
                .iter()
                .any(|d| d.key.contains(key.as_str()) || d.why.contains(key.as_str()));
            assert!(named, "{case}: `{key}` is not named in {:?}", report.damage);
        }
        assert_reported(known, &report, &case);
        if a.starts_with("index") {
            assert!(rebuild(known).is_sound(), "{case}");
        }
    });
}

#[test]
fn an_older_catalogue_does_no_harm() {
    let known = Known::build();
    let copy = known.copy();
    let options = dvc::ops::commit::CommitOptions {
        allow_empty: true,
        ..Default::default()
    };
    dvc::ops::commit::commit(&copy.context, &options, &Silent).unwrap();
    fs::copy(
        known.root().join("catalog.db"),
        copy.root().join("catalog.db"),
    )
    .unwrap();
    let report = check(&copy, true);
    assert!(report.is_sound(), "{:?}", report.damage);
    assert_eq!(assert_reported(&copy, &report, "old catalogue"), 0);
    fs::remove_file(copy.root().join("catalog.db")).unwrap();
    assert!(check(&copy, true).is_sound());
}

/// The index, the catalogue and the tables of all packs are lost. The frames alone suffice to
/// restore everything.
#[test]
fn frames_alone_restore_everything() {
    let known = Known::build();
    fs::remove_file(known.root().join("catalog.db")).unwrap();
    for key in keys(&known, "index") {
        fs::remove_file(known.root().join(key)).unwrap();
    }
    for key in keys(&known, "packs") {
        let path = known.root().join(key);
        let len = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        Harm::Flip(len - 20, 1).apply(&path);
    }
    let report = rebuild(&known);
    assert_eq!(report.lost.total(), 0, "{:?}", report.damage);
    assert_eq!(
        report.damage.len(),
        keys(&known, "packs").len(),
        "{:?}",
        report.damage
    );
    assert_eq!(assert_reported(&known, &report, "frames alone"), 0);
}

/// A damaged frame header affects only its frame, even if only the frames are left.
#[test]
fn a_damaged_frame_costs_only_itself() {
    let known = Known::build();
    let pack = one_of_each_kind(&known, "packs", 8)[0].clone();
    let path: PathBuf = known.root().join(&pack);
    let middle = usize::try_from(fs::metadata(&path).unwrap().len() / 2).unwrap();
    Harm::Blot(middle).apply(&path);
    let before = check(&known, true);
    fs::remove_file(known.root().join("catalog.db")).unwrap();
    for key in keys(&known, "index") {
        fs::remove_file(known.root().join(key)).unwrap();
    }
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let after = rebuild(&known);
    assert!(
        before.lost.chunks > 0 && before.lost.chunks <= 4,
        "{:?}",
        before.lost
    );
    assert_eq!(before.reaches, after.reaches);
    assert_reported(&known, &after, "one frame");
}
