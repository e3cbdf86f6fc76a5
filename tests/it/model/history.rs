//! Edits, commits, checkouts, tags and undos in random order. After each step, the worktree and
//! every version must match a model in memory.

use dvc::codec::cut::ChunkerConfig;
use dvc::context::Context;
use dvc::model::id::Id;
use dvc::model::refname::{RefKind, RefName};
use dvc::model::revision::Revision;
use dvc::observe::Silent;
use dvc::ops::checkout::{CheckoutOptions, checkout};
use dvc::ops::commit::{CommitOptions, commit};
use dvc::ops::status::{StatusOptions, status};
use dvc::ops::undo::{UndoOptions, undo};
use dvc::repo::{OpenOptions, Repo};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// The state of a path: bytes and mode of a file, the target of a symlink, or a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Thing {
    File(Vec<u8>, u32),
    Link(Vec<u8>),
    Dir,
}

type Tree = BTreeMap<String, Thing>;

struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = match self.next(6) {
            0 => 0,
            1 => self.next(300),
            2 | 3 => self.next(20_000),
            4 => self.next(400_000),
            _ => 1_100_000 + self.next(1_500_000),
        };
        let kind = self.next(3);
        let mut out = Vec::new();
        while (out.len() as u64) < len {
            match kind {
                0 => out.extend_from_slice(&self.next(u64::MAX).to_le_bytes()),
                1 => out
                    .extend_from_slice(format!("row {} of a table\n", self.next(1000)).as_bytes()),
                _ => out.resize(out.len() + 70_000, u8::try_from(self.next(3)).unwrap() / 2),
            }
        }
        out.truncate(usize::try_from(len).unwrap());
        out
    }
}

struct Model {
    random: Random,
    context: Context,
    work: Tree,
    /// All versions with their expected trees.
    versions: Vec<(Id, Tree)>,
    /// The tips of the branch after each of its moves, oldest first. `undo` goes back in this list.
    tips: Vec<Option<Id>>,
    _dir: tempfile::TempDir,
}

fn options() -> CommitOptions {
    CommitOptions {
        message: "m".into(),
        allow_empty: true,
        ..CommitOptions::default()
    }
}

impl Model {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let worktree = dir.path().join("work");
        fs::create_dir(&worktree).unwrap();
        let worktree = worktree.canonicalize().unwrap();
        let context = Context {
            repository: dir.path().join("repo"),
            worktree,
            author: "Model <m@example.org>".into(),
            host: "here".into(),
            jobs: 2,
            memory_bytes: 256 << 20,
            now: jiff::Zoned::now(),
            open: OpenOptions::default(),
            remote_repository: None,
            remotes: Vec::new(),
            cache: dvc::context::CacheOptions::default(),
            mount: None,
        };
        Repo::create(
            &context.repository,
            &RefName::new("main").unwrap(),
            &ChunkerConfig::default(),
            OpenOptions::default(),
        )
        .unwrap();
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Self {
            random,
            context,
            work: Tree::new(),
            versions: Vec::new(),
            tips: vec![None],
            _dir: dir,
        }
    }

    fn tip(&self) -> Option<Id> {
        let repo = self.context.repo().unwrap();
        repo.refs()
            .value(RefKind::Branch, &RefName::new("main").unwrap())
            .unwrap()
    }

    fn pick_dir(&mut self) -> String {
        let dirs: Vec<String> = self
            .work
            .iter()
            .filter(|(_, t)| **t == Thing::Dir)
            .map(|(p, _)| format!("{p}/"))
            .collect();
        let n = self.random.next(dirs.len() as u64 + 2);
        dirs.get(usize::try_from(n).unwrap())
            .cloned()
            .unwrap_or_default()
    }

    fn edit(&mut self) {
        let root = self.context.worktree.clone();
        let existing: Vec<String> = self.work.keys().cloned().collect();
        let picked = (!existing.is_empty()).then(|| {
            existing[usize::try_from(self.random.next(existing.len() as u64)).unwrap()].clone()
        });
        match (self.random.next(8), picked) {
            (0, Some(path)) => {
                match &self.work[&path] {
                    Thing::Dir => fs::remove_dir_all(root.join(&path)).unwrap(),
                    _ => fs::remove_file(root.join(&path)).unwrap(),
                }
                let below = format!("{path}/");
                self.work
                    .retain(|p, _| *p != path && !p.starts_with(&below));
            }
            (1, Some(path)) => {
                if let Thing::File(bytes, mode) = self.work[&path].clone() {
                    let mode = if mode == 0o644 { 0o600 } else { 0o644 };
                    fs::set_permissions(root.join(&path), fs::Permissions::from_mode(mode))
                        .unwrap();
                    self.work.insert(path, Thing::File(bytes, mode));
                }
            }
            // A change in the middle of a file gives new chunks and deltas.
            (2 | 3, Some(path)) => {
                if let Thing::File(mut bytes, mode) = self.work[&path].clone()
                    && !bytes.is_empty()
                {
                    let at = usize::try_from(self.random.next(bytes.len() as u64)).unwrap();
                    let end = (at + 100).min(bytes.len());
                    bytes[at..end].iter_mut().for_each(|b| *b ^= 0x55);
                    if self.random.next(2) == 0 {
                        bytes.splice(at..at, *b"inserted");
                    }
                    fs::write(root.join(&path), &bytes).unwrap();
                    self.work.insert(path, Thing::File(bytes, mode));
                }
            }
            (4, _) => {
                let path = format!("{}d{}", self.pick_dir(), self.random.next(6));
                if let std::collections::btree_map::Entry::Vacant(free) = self.work.entry(path) {
                    fs::create_dir(root.join(free.key())).unwrap();
                    free.insert(Thing::Dir);
                }
            }
            (5, _) => {
                let path = format!("{}l{}", self.pick_dir(), self.random.next(4));
                if let std::collections::btree_map::Entry::Vacant(free) = self.work.entry(path) {
                    std::os::unix::fs::symlink("some/where", root.join(free.key())).unwrap();
                    free.insert(Thing::Link(b"some/where".to_vec()));
                }
            }
            _ => {
                let path = format!("{}f{}", self.pick_dir(), self.random.next(8));
                let bytes = self.random.bytes();
                fs::write(root.join(&path), &bytes).unwrap();
                let mode = match self.work.get(&path) {
                    Some(Thing::File(_, mode)) => *mode,
                    _ => 0o644,
                };
                fs::set_permissions(root.join(&path), fs::Permissions::from_mode(mode)).unwrap();
                self.work.insert(path, Thing::File(bytes, mode));
            }
        }
    }

    fn commit(&mut self) {
        let report = commit(&self.context, &options(), &Silent).unwrap();
        let id = report.id.unwrap();
        assert_eq!(
            report.commit.ordinal,
            self.ordinal_of(self.tips.last().unwrap().as_ref()) + 1
        );
        self.versions.push((id, self.work.clone()));
        self.tips.push(Some(id));
        let changes = status(&self.context, &StatusOptions::default(), &Silent)
            .unwrap()
            .changes;
        assert!(changes.is_empty(), "{changes:?}");
    }

    fn ordinal_of(&self, id: Option<&Id>) -> u64 {
        id.map_or(0, |id| {
            self.context
                .repo()
                .unwrap()
                .commit_cached(id)
                .unwrap()
                .ordinal
        })
    }

    /// Checks out a random version by force and then the tip of the branch, so that later commits
    /// continue from the tip.
    fn checkout(&mut self) {
        let Some(tip) = *self.tips.last().unwrap() else {
            return;
        };
        let at = usize::try_from(self.random.next(self.versions.len() as u64)).unwrap();
        let (id, tree) = self.versions[at].clone();
        let mut options = CheckoutOptions {
            force: true,
            verify: true,
            ..CheckoutOptions::default()
        };
        options.revision = Some(Revision::parse(&id.to_string()).unwrap());
        let report = checkout(&self.context, &options, &Silent).unwrap();
        assert_eq!(
            (report.wrong, report.done.damaged, report.done.incomplete),
            (0, 0, 0)
        );
        assert_eq!(read(&self.context.worktree), tree);
        let changes = status(&self.context, &StatusOptions::default(), &Silent)
            .unwrap()
            .changes;
        assert!(changes.is_empty(), "{changes:?}");
        options.revision = Some(Revision::parse("main").unwrap());
        checkout(&self.context, &options, &Silent).unwrap();
        self.work = self
            .versions
            .iter()
            .rfind(|v| v.0 == tip)
            .unwrap()
            .1
            .clone();
        assert_eq!(read(&self.context.worktree), self.work);
    }

    fn undo(&mut self) {
        if self.tips.len() < 3 {
            return;
        }
        let name = Some(RefName::new("main").unwrap());
        undo(
            &self.context,
            &UndoOptions {
                name,
                dry_run: false,
            },
            &Silent,
        )
        .unwrap();
        self.tips.pop();
        assert_eq!(self.tip(), *self.tips.last().unwrap());
    }

    /// Asserts that every version has its expected content.
    fn check_all(&self) {
        for (id, tree) in &self.versions {
            let into = self.context.repository.with_file_name("out");
            let options = CheckoutOptions {
                revision: Some(Revision::parse(&id.to_string()).unwrap()),
                into: Some(into.clone()),
                ..CheckoutOptions::default()
            };
            checkout(&self.context, &options, &Silent).unwrap();
            assert_eq!(&read(&into), tree);
            fs::remove_dir_all(&into).unwrap();
        }
    }
}

fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut open = vec![String::new()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(root.join(&dir)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let path = if dir.is_empty() {
                name
            } else {
                format!("{dir}/{name}")
            };
            let full = root.join(&path);
            let meta = fs::symlink_metadata(&full).unwrap();
            let thing = if meta.is_dir() {
                open.push(path.clone());
                Thing::Dir
            } else if meta.is_symlink() {
                Thing::Link(
                    std::os::unix::ffi::OsStrExt::as_bytes(
                        fs::read_link(&full).unwrap().as_os_str(),
                    )
                    .to_vec(),
                )
            } else {
                Thing::File(fs::read(&full).unwrap(), meta.mode() & 0o7777)
            };
            tree.insert(path, thing);
        }
    }
    tree
}

fn run(seed: u64, steps: u32) {
    let mut model = Model::new(seed);
    for _ in 0..steps {
        match model.random.next(10) {
            0..=5 => model.edit(),
            6 | 7 => model.commit(),
            8 => model.checkout(),
            _ => model.undo(),
        }
    }
    model.commit();
    model.check_all();
}

#[test]
fn random_histories() {
    for seed in 1..=8 {
        run(seed, 60);
    }
}
