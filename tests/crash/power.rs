//! Simulates power failures. After each durable step of a history, the test reconstructs the
//! repository from the synced data alone. It must contain every version that was acknowledged
//! before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use dvc::codec::cut::ChunkerConfig;
use dvc::context::Context;
use dvc::model::refname::{RefKind, RefName};
use dvc::observe::Silent;
use dvc::ops::fsck::{FsckOptions, fsck};
use dvc::ops::undo::{UndoOptions, undo};
use dvc::repo::{OpenOptions, Repo};
use dvc::store::trace::{DiskEvent, Tracer};

use crate::known::{KnownVersion, commit_all, context, copy_dir, lost_paths, noise};

/// An event, the bytes of the file if it was synced, and the catalogue at that moment.
struct Happened {
    event: DiskEvent,
    bytes: Vec<u8>,
    catalogue: Vec<(&'static str, Vec<u8>)>,
}

struct Recorder {
    root: PathBuf,
    happened: Mutex<Vec<Happened>>,
}

impl Tracer for Recorder {
    fn event(&self, event: DiskEvent) {
        let bytes = match &event {
            DiskEvent::FileSynced(path) => fs::read(path).unwrap(),
            _ => Vec::new(),
        };
        let read = |name: &'static str| fs::read(self.root.join(name)).ok().map(|b| (name, b));
        let catalogue = ["catalog.db", "catalog.db-wal"]
            .into_iter()
            .filter_map(read)
            .collect();
        self.happened.lock().unwrap().push(Happened {
            event,
            bytes,
            catalogue,
        });
    }
}

/// Directories, and files with their indexes into [`Disk::bytes`].
#[derive(Clone, Default)]
struct Names {
    files: BTreeMap<PathBuf, usize>,
    dirs: BTreeSet<PathBuf>,
}

/// A disk in two states: as running programs see it, and as it would be after a power failure.
#[derive(Default)]
struct Disk {
    seen: Names,
    kept: Names,
    /// Durable content of each file. Empty before the first sync.
    bytes: Vec<Vec<u8>>,
}

impl Disk {
    /// Returns a disk on which the whole directory is durable.
    fn of(root: &Path) -> Self {
        let mut disk = Self::default();
        let mut todo = vec![root.to_path_buf()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    disk.seen.dirs.insert(path.clone());
                    todo.push(path);
                } else {
                    disk.seen.files.insert(path.clone(), disk.bytes.len());
                    disk.bytes.push(fs::read(path).unwrap());
                }
            }
        }
        disk.kept = disk.seen.clone();
        disk
    }

    fn apply(&mut self, happened: &Happened) {
        match &happened.event {
            DiskEvent::FileSynced(path) => {
                let new = self.bytes.len();
                let at = *self.seen.files.entry(path.clone()).or_insert(new);
                if at == new {
                    self.bytes.push(Vec::new());
                }
                self.bytes[at].clone_from(&happened.bytes);
            }
            DiskEvent::Renamed(from, to) => {
                let file = self
                    .seen
                    .files
                    .remove(from)
                    .expect("a file was renamed before it was synced");
                self.seen.files.insert(to.clone(), file);
            }
            DiskEvent::Removed(path) => drop(self.seen.files.remove(path)),
            DiskEvent::DirMade(path) => drop(self.seen.dirs.insert(path.clone())),
            DiskEvent::DirSynced(dir) => {
                let inside = |path: &PathBuf| path.parent() == Some(dir);
                self.kept.files.retain(|path, _| !inside(path));
                self.kept.dirs.retain(|path| !inside(path));
                self.kept.files.extend(
                    self.seen
                        .files
                        .iter()
                        .filter(|(p, _)| inside(p))
                        .map(|(p, f)| (p.clone(), *f)),
                );
                self.kept
                    .dirs
                    .extend(self.seen.dirs.iter().filter(|p| inside(p)).cloned());
            }
        }
    }

    /// Writes one of the two states to the directory `to`. A file is lost if its directory is lost.
    fn write(&self, names: &Names, root: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        let place = |path: &Path| to.join(path.strip_prefix(root).unwrap());
        for dir in &names.dirs {
            // The set is sorted, so parents come first.
            let _ = fs::create_dir(place(dir));
        }
        for (path, file) in &names.files {
            let _ = fs::write(place(path), &self.bytes[*file]);
        }
    }
}

/// A version, and the number of events after which it was acknowledged.
struct Promise {
    after: usize,
    version: KnownVersion,
}

fn assert_kept(repository: &Path, work: &Path, promises: &[&Promise], case: &str) {
    let context = context(repository.to_path_buf(), work.to_path_buf());
    let options = FsckOptions {
        data: Some(1_000_000),
        ..FsckOptions::default()
    };
    let report = fsck(&context, &options, &Silent).unwrap().check;
    assert!(report.is_sound(), "{case}: {:?}", report.damage);
    let repo = context.repo().unwrap();
    for Promise { version, .. } in promises {
        let branch = RefName::new(version.branch).unwrap();
        let log = repo.refs().log(RefKind::Branch, &branch).unwrap();
        assert!(
            log.iter().any(|e| e.new == Some(version.id.to_string())),
            "{case}: a version has lost its ref"
        );
        let lost = lost_paths(&repo, version, case);
        assert!(lost.is_empty(), "{case}: {lost:?}");
    }
}

#[test]
fn acknowledged_versions_survive_a_power_failure() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().canonicalize().unwrap();
    let (root, work) = (top.join("repo"), top.join("work"));
    fs::create_dir(&work).unwrap();
    let main = RefName::new("main").unwrap();
    Repo::create(
        &root,
        &main,
        &ChunkerConfig::default(),
        OpenOptions::default(),
    )
    .unwrap();
    let mut disk = Disk::of(&root);
    let recorder = Arc::new(Recorder {
        root: root.clone(),
        happened: Mutex::default(),
    });
    let mut context: Context = context(root.clone(), work.clone());
    context.open.tracer = Some(recorder.clone());

    let mut promises = Vec::new();
    let count = || recorder.happened.lock().unwrap().len();
    for n in 0..10u64 {
        fs::write(work.join("noise"), noise(n + 1, 30_000)).unwrap();
        fs::write(
            work.join(format!("file {n}")),
            format!("file {n}\n").repeat(200),
        )
        .unwrap();
        let branch = if n == 4 { "other" } else { "main" };
        let version = commit_all(&context, branch, if n == 2 { &["third"] } else { &[] });
        promises.push(Promise {
            after: count(),
            version,
        });
        if n == 5 {
            let now = jiff::Zoned::now();
            let context = Context {
                now,
                ..context.clone()
            };
            undo(
                &context,
                &UndoOptions {
                    name: Some(main.clone()),
                    dry_run: false,
                },
                &Silent,
            )
            .unwrap();
        }
    }
    fsck(
        &context,
        &FsckOptions {
            rebuild: true,
            ..FsckOptions::default()
        },
        &Silent,
    )
    .unwrap();
    fs::write(work.join("last"), "last").unwrap();
    let version = commit_all(&context, "main", &[]);
    promises.push(Promise {
        after: count(),
        version,
    });
    drop(context);

    let happened = std::mem::take(&mut *recorder.happened.lock().unwrap());
    assert!(happened.len() > 150, "{}", happened.len());
    let spare = tempfile::tempdir().unwrap();
    copy_dir(&root, &spare.path().join("repo"));
    for (n, step) in happened.iter().enumerate() {
        disk.apply(step);
        let kept: Vec<&Promise> = promises.iter().filter(|p| p.after <= n + 1).collect();
        // The minimal state: only synced data survives. The catalogue is never synced, so write it
        // in its state at that step.
        let case = format!("after step {n}, {:?}", step.event);
        let here = tempfile::tempdir().unwrap();
        let (least, most) = (here.path().join("least"), here.path().join("most"));
        disk.write(&disk.kept, &root, &least);
        for (name, bytes) in &step.catalogue {
            fs::write(least.join(name), bytes).unwrap();
        }
        assert_kept(&least, &work, &kept, &format!("least, {case}"));
        // The maximal state: every name survives, with the synced content of its file.
        disk.write(&disk.seen, &root, &most);
        assert_kept(&most, &work, &kept, &format!("most, {case}"));
    }
}
