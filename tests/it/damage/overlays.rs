//! Every kind of overlay file is changed, truncated, emptied, extended, removed, and swapped with
//! the same file of another overlay. Reads return the correct bytes or an error, no name is
//! missing, a commit refuses files that cannot be read, and no data is removed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::mount::harness::{Mount, Volume};
use crate::support::known::files_of;
use crate::support::needs::run;
use crate::support::zoo::noise;

const PAGE: usize = 4096;

/// Kinds of damage to the overlay `kept`.
#[derive(Clone, Debug)]
enum Harm {
    Flip(usize),
    Cut(usize),
    Grow,
    Blot(usize),
    Remove,
    /// Swap with another file or directory in the overlays' directory.
    Swap(&'static str),
    /// Overwrite with the content of another file.
    Copy(PathBuf),
}

/// The effect of a damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The mount is refused.
    Refused,
    /// A file cannot be read.
    Failed,
    /// Everything is unchanged.
    Harmless,
}

struct Overlays {
    v: Volume,
    /// The content of each file in `kept`.
    expected: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Overlays {
    /// Creates two cleanly unmounted overlays, `kept` and `other`, and a copy of both.
    fn build() -> Option<Self> {
        let v = Volume::of(|w| {
            fs::write(w.join("base"), noise(1, 40 * PAGE)).unwrap();
            fs::write(w.join("short"), noise(2, 20 * PAGE)).unwrap();
            fs::write(w.join("untouched"), noise(3, 5 * PAGE)).unwrap();
        })?;
        let mut expected = BTreeMap::new();
        for (seed, name) in [(100, "other"), (200, "kept")] {
            let mut m = v.mount(&["--name", name]);
            fs::create_dir(m.at("dir")).unwrap();
            fs::write(m.at("dir/new"), noise(seed, 9 * PAGE + 1234)).unwrap();
            fs::write(m.at("small"), noise(seed + 1, 300)).unwrap();
            let base = fs::File::options().write(true).open(m.at("base")).unwrap();
            for page in [3, 4, 17] {
                base.write_all_at(&noise(seed + page, PAGE), page * PAGE as u64)
                    .unwrap();
            }
            drop(base);
            let short = fs::File::options().write(true).open(m.at("short")).unwrap();
            short.set_len(7 * PAGE as u64 + 55).unwrap();
            drop(short);
            expected = files_of(m.root());
            m.down();
        }
        let s = &v.s;
        run(
            "cp",
            &[
                "-a",
                s.at("r/overlays").to_str().unwrap(),
                s.at("pristine").to_str().unwrap(),
            ],
        );
        Some(Self { v, expected })
    }

    fn kept(&self) -> PathBuf {
        self.v.s.at("r/overlays/kept")
    }

    fn restore(&self) {
        let overlays = self.v.s.at("r/overlays");
        fs::remove_dir_all(&overlays).unwrap();
        run(
            "cp",
            &[
                "-a",
                self.v.s.at("pristine").to_str().unwrap(),
                overlays.to_str().unwrap(),
            ],
        );
    }

    fn apply(&self, file: &Path, harm: &Harm) {
        let path = self.kept().join(file);
        match harm {
            Harm::Remove if path.is_dir() => return fs::remove_dir_all(&path).unwrap(),
            Harm::Remove => return fs::remove_file(&path).unwrap(),
            Harm::Swap(other) => {
                let (other, between) = (
                    self.v.s.at("r/overlays").join(other),
                    self.v.s.at("between"),
                );
                fs::rename(&path, &between).unwrap();
                fs::rename(&other, &path).unwrap();
                return fs::rename(&between, &other).unwrap();
            }
            Harm::Copy(other) => {
                fs::copy(self.v.s.at("pristine").join(other), &path).unwrap();
                return;
            }
            _ => {}
        }
        let mut bytes = fs::read(&path).unwrap();
        match harm {
            Harm::Flip(at) => bytes[*at] ^= 0x10,
            Harm::Cut(len) => bytes.truncate(*len),
            Harm::Grow => bytes.push(7),
            Harm::Blot(at) => bytes.iter_mut().skip(*at).take(300).for_each(|b| *b = 0xa5),
            _ => unreachable!(),
        }
        fs::write(&path, bytes).unwrap();
    }

    /// Mounts the damaged overlay `kept`, reads every file, and tries a commit.
    fn outcome(&self, m: &mut Mount<'_>, case: &str) -> Outcome {
        let before = files_of(&self.kept());
        let up = m.try_up();
        if up.code != 0 {
            assert_eq!(up.code, 5, "{case}: {}", up.err);
            let after = files_of(&self.kept());
            let gone: Vec<_> = before
                .keys()
                .filter(|name| !after.contains_key(*name))
                .collect();
            let ours = |name: &&&Vec<u8>| name.starts_with(b"data/");
            assert!(
                !gone.iter().any(|name| ours(&name)),
                "{case}: {gone:?} is gone"
            );
            return Outcome::Refused;
        }
        let mut failed = Vec::new();
        for (name, bytes) in &self.expected {
            let name = std::str::from_utf8(name).unwrap();
            match fs::read(m.at(name)) {
                Ok(read) => assert!(read == *bytes, "{case}: {name} is wrong"),
                Err(e) => {
                    assert_eq!(e.raw_os_error(), Some(5), "{case}: {name}: {e}");
                    failed.push(name.to_owned());
                }
            }
        }
        let names = run("find", &[m.root().to_str().unwrap(), "-type", "f"])
            .lines()
            .count();
        assert_eq!(names, self.expected.len(), "{case}");
        let commit = m.dvc(&["commit", "-n", "-m", "x"]);
        if failed.is_empty() {
            commit.code(0);
        } else {
            let named = |name: &String| commit.err.contains(&format!("`{name}`"));
            assert!(
                commit.code == 5 && failed.iter().any(named),
                "{case}: {} {}",
                commit.code,
                commit.err
            );
            let log = fs::read_to_string(self.kept().join("log")).unwrap();
            assert!(
                failed
                    .iter()
                    .all(|name| log.contains(&format!("cannot read `{name}`"))),
                "{case}: {log}"
            );
        }
        // Kill the process instead of unmounting, because the next case starts from the copy of the
        // overlay.
        m.kill();
        if failed.is_empty() {
            Outcome::Harmless
        } else {
            Outcome::Failed
        }
    }

    /// Returns the upper files of an overlay by length.
    fn uppers(overlay: &Path) -> BTreeMap<u64, PathBuf> {
        let all = files_of(&overlay.join("data"))
            .into_keys()
            .map(|name| String::from_utf8(name).unwrap());
        let files = all
            .filter(|name| name.contains('/'))
            .map(|name| Path::new("data").join(name));
        files
            .map(|file| (fs::metadata(overlay.join(&file)).unwrap().len(), file))
            .collect()
    }
}

/// Runs the cases on two threads, each thread with its own overlays. Each case lists its allowed
/// outcomes.
fn each(cases: impl Fn(&Overlays) -> Vec<(PathBuf, Harm, &'static [Outcome])> + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let Some(overlays) = Overlays::build() else {
                    return;
                };
                let mut m = overlays.v.mount(&["--name", "kept"]);
                m.kill();
                let cases = cases(&overlays);
                while let Some((file, harm, allowed)) =
                    cases.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let case = format!("{} {harm:?}", file.display());
                    overlays.restore();
                    overlays.apply(file, harm);
                    let outcome = overlays.outcome(&mut m, &case);
                    assert!(allowed.contains(&outcome), "{case}: {outcome:?}");
                }
                overlays.restore();
            });
        }
    });
}

const REFUSED: &[Outcome] = &[Outcome::Refused];
const FAILED: &[Outcome] = &[Outcome::Failed];
const HARMLESS: &[Outcome] = &[Outcome::Harmless];
const ANY: &[Outcome] = &[Outcome::Refused, Outcome::Harmless];

#[test]
fn upper_files() {
    each(|overlays| {
        let (uppers, others) = (
            Overlays::uppers(&overlays.kept()),
            Overlays::uppers(&overlays.v.s.at("pristine/other")),
        );
        assert_eq!(uppers.len(), 4);
        let mut cases = Vec::new();
        for (len, file) in uppers {
            let len = usize::try_from(len).unwrap();
            let written = if len == 40 * PAGE {
                4 * PAGE + 100
            } else {
                len - 50
            };
            for harm in [
                Harm::Remove,
                Harm::Cut(0),
                Harm::Cut(len - 1),
                Harm::Grow,
                Harm::Flip(written),
                Harm::Blot(written),
            ] {
                cases.push((file.clone(), harm, FAILED));
            }
            let other = others[&(len as u64)].clone();
            // In a file that was only truncated, no block differs between the overlays.
            let allowed = if len == 7 * PAGE + 55 {
                HARMLESS
            } else {
                FAILED
            };
            cases.push((file, Harm::Copy(Path::new("other").join(other)), allowed));
        }
        cases
    });
}

#[test]
fn tables_and_the_rest() {
    each(|overlays| {
        let tables = PathBuf::from("overlay.db");
        let len =
            usize::try_from(fs::metadata(overlays.kept().join(&tables)).unwrap().len()).unwrap();
        let mut cases: Vec<(PathBuf, Harm, &'static [Outcome])> = vec![
            (tables.clone(), Harm::Remove, REFUSED),
            (tables.clone(), Harm::Cut(0), REFUSED),
            (tables.clone(), Harm::Cut(len / 2), REFUSED),
            (tables.clone(), Harm::Flip(3), REFUSED),
            (tables.clone(), Harm::Swap("other/overlay.db"), REFUSED),
            (PathBuf::from("data"), Harm::Swap("other/data"), REFUSED),
            (PathBuf::from("data"), Harm::Remove, FAILED),
            (PathBuf::from(""), Harm::Swap("other"), REFUSED),
            (PathBuf::from("data/mark"), Harm::Remove, HARMLESS),
            (PathBuf::from("data/mark"), Harm::Flip(2), REFUSED),
            (PathBuf::from("lock"), Harm::Remove, HARMLESS),
            (PathBuf::from("log"), Harm::Remove, HARMLESS),
            (PathBuf::from("log"), Harm::Blot(0), HARMLESS),
            (PathBuf::from("reserve"), Harm::Remove, HARMLESS),
            (PathBuf::from("reserve"), Harm::Cut(9), HARMLESS),
        ];
        // A change in an unused page of the database is not damage.
        cases.extend((0..8).map(|n| {
            (
                tables.clone(),
                Harm::Flip(len / 8 * n + 4000 % (len / 8)),
                ANY,
            )
        }));
        cases.extend((1..5).map(|n| (tables.clone(), Harm::Blot(len / 5 * n), ANY)));
        cases
    });
}

/// A file that cannot be read can be replaced; the replacement is then committed.
#[test]
fn a_damaged_file_can_be_replaced() {
    let Some(overlays) = Overlays::build() else {
        return;
    };
    let uppers = Overlays::uppers(&overlays.kept());
    let file = uppers[&(40 * PAGE as u64)].clone();
    overlays.apply(&file, &Harm::Flip(4 * PAGE + 100));
    let mut m = overlays.v.mount(&["--name", "kept"]);
    m.dvc(&["commit", "-m", "x"]).code(5).complains("`base`");
    // A damaged block cannot be verified, so overwriting only a part of it fails. Other blocks can
    // be written.
    let base = fs::File::options().write(true).open(m.at("base")).unwrap();
    base.write_all_at(b"elsewhere", 20 * PAGE as u64).unwrap();
    base.write_all_at(&noise(9, PAGE), 4 * PAGE as u64).unwrap();
    base.sync_all().unwrap();
    let mut expected = overlays.expected[&b"base"[..]].clone();
    expected[4 * PAGE..5 * PAGE].copy_from_slice(&noise(9, PAGE));
    expected[20 * PAGE..][..9].copy_from_slice(b"elsewhere");
    drop(base);
    assert!(fs::read(m.at("base")).unwrap() == expected);
    let tree = m.commit("whole again");
    m.down();
    assert!(!tree.is_empty());
    assert!(
        overlays
            .v
            .checkout("main", "out")
            .join("base")
            .metadata()
            .unwrap()
            .len()
            == expected.len() as u64
    );
    assert!(fs::read(overlays.v.s.at("out/base")).unwrap() == expected);
    // Truncating a lost file recreates it.
    m.up();
    fs::write(m.at("dir/new"), noise(5, 3 * PAGE)).unwrap();
    m.down();
    let file = Overlays::uppers(&overlays.kept())[&(3 * PAGE as u64)].clone();
    overlays.apply(&file, &Harm::Remove);
    m.up();
    assert_eq!(
        fs::read(m.at("dir/new")).unwrap_err().raw_os_error(),
        Some(5)
    );
    fs::write(m.at("dir/new"), b"anew").unwrap();
    m.commit("anew");
    assert_eq!(fs::read(m.at("dir/new")).unwrap(), b"anew");
    m.again();
    assert_eq!(fs::read(m.at("dir/new")).unwrap(), b"anew");
}

/// A completely fetched file is a copy of the file in the version. If the copy is damaged, reads
/// return the bytes of the version, unless the file was changed.
#[test]
fn a_damaged_copy_of_the_version_is_read_from_it() {
    let fill = |w: &Path| {
        fs::write(w.join("copy"), noise(1, 30 * PAGE)).unwrap();
        fs::write(w.join("changed"), noise(2, 20 * PAGE)).unwrap();
    };
    let Some(v) = Volume::of(fill) else { return };
    let args = [
        "--name",
        "kept",
        "--live",
        "--hydrate",
        "all",
        "--wait-hydrated",
    ];
    let mut m = v.mount(&args);
    let changed = fs::File::options()
        .write(true)
        .open(m.at("changed"))
        .unwrap();
    changed
        .write_all_at(&noise(3, PAGE), 9 * PAGE as u64)
        .unwrap();
    drop(changed);
    let mut expected = noise(2, 20 * PAGE);
    expected[9 * PAGE..10 * PAGE].copy_from_slice(&noise(3, PAGE));
    m.down();
    let kept = v.s.at("r/overlays/kept");
    let uppers = Overlays::uppers(&kept);
    assert_eq!(uppers.len(), 2);
    let flip = |len: usize, at: usize| {
        let path = kept.join(&uppers[&(len as u64)]);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    flip(30 * PAGE, 5 * PAGE + 7);
    flip(20 * PAGE, 3 * PAGE);
    m.up();
    assert!(fs::read(m.at("copy")).unwrap() == noise(1, 30 * PAGE));
    let mut page = vec![0; PAGE];
    let file = fs::File::open(m.at("changed")).unwrap();
    file.read_exact_at(&mut page, 9 * PAGE as u64).unwrap();
    assert!(page == expected[9 * PAGE..10 * PAGE]);
    drop(file);
    m.down();
    fs::remove_file(kept.join(&uppers[&(30 * PAGE as u64)])).unwrap();
    m.up();
    assert!(fs::read(m.at("copy")).unwrap() == noise(1, 30 * PAGE));
}

/// After a crash, bytes may be newer than their checksums. Files that were written after their last
/// sync are not verified; all others are.
#[test]
fn a_crash_is_no_damage() {
    let Some(overlays) = Overlays::build() else {
        return;
    };
    let uppers = Overlays::uppers(&overlays.kept());
    let mut m = overlays.v.mount(&["--name", "kept"]);
    let base = fs::File::options().write(true).open(m.at("base")).unwrap();
    base.write_all_at(&noise(7, PAGE), 4 * PAGE as u64).unwrap();
    base.sync_all().unwrap();
    base.write_all_at(&noise(8, PAGE), 17 * PAGE as u64)
        .unwrap();
    m.kill();
    drop(base);
    overlays.apply(&uppers[&300], &Harm::Flip(100));
    m.up();
    let read = fs::read(m.at("base")).unwrap();
    assert!(read[4 * PAGE..5 * PAGE] == noise(7, PAGE));
    assert!(read[..4 * PAGE] == overlays.expected[&b"base"[..]][..4 * PAGE]);
    assert_eq!(fs::read(m.at("small")).unwrap_err().raw_os_error(), Some(5));
    fs::remove_file(m.at("small")).unwrap();
    m.commit("without it");
    assert!(fs::read(m.at("base")).unwrap() == read);
}

/// Without its database, the files of an overlay can be copied out, and the overlay can be removed
/// by name.
#[test]
fn files_without_tables_are_salvaged() {
    let Some(overlays) = Overlays::build() else {
        return;
    };
    let mut m = overlays.v.mount(&["--name", "kept"]);
    m.down();
    let out = overlays.v.s.at("out");
    let salvage = || {
        overlays.v.dvc(&[
            "--json",
            "mount",
            "--salvage",
            "kept",
            out.to_str().unwrap(),
        ])
    };
    let copied = salvage().ok().json_lines();
    assert_eq!(copied.len(), 4, "{copied:?}");
    for name in ["dir/new", "small"] {
        assert!(
            fs::read(out.join(name)).unwrap() == overlays.expected[name.as_bytes()],
            "{name}"
        );
    }
    salvage().code(2).complains("not empty");
    fs::remove_dir_all(&out).unwrap();
    for harm in [Harm::Cut(0), Harm::Remove] {
        overlays.apply(Path::new("overlay.db"), &harm);
        let run = m.try_up().code(5);
        assert!(
            run.err
                .contains("`overlay.db`, which has the names of its files, is missing")
                && run.err.contains("--salvage kept"),
            "{}",
            run.err
        );
        let told = overlays
            .v
            .dvc(&["--json", "mount", "--overlays"])
            .ok()
            .json_lines();
        assert!(
            told.iter()
                .any(|line| line["overlay"] == "kept" && line["state"] == "damaged"),
            "{told:?}"
        );
    }
    salvage().ok();
    let found: Vec<Vec<u8>> = files_of(&out).into_values().collect();
    for name in ["dir/new", "small", "short"] {
        let bytes = &overlays.expected[name.as_bytes()];
        let is_it = |f: &Vec<u8>| f == bytes || name == "short" && f.len() == bytes.len();
        assert!(found.iter().any(is_it), "{name}");
    }
    overlays.v.dvc(&["umount", "--discard", "kept"]).ok();
    m.up();
    assert!(!m.at("small").exists());
}
