//! A small repository with every kind of repository file. The content of every version is known.
//!
//! Contains two versions of a database file that are stored as deltas, small files that share
//! frames, incompressible files that are stored raw, a chunk list, hard links, two branches, tags,
//! a deleted branch, an undone commit, and several packs and segments of each kind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dvc::codec::cut::ChunkerConfig;
use dvc::context::Context;
use dvc::error::{Error, Result};
use dvc::model::entry::Node;
use dvc::model::id::Id;
use dvc::model::refname::RefName;
use dvc::observe::Silent;
use dvc::ops::branch::{BranchAction, BranchOptions, branch};
use dvc::ops::commit::{CommitOptions, commit};
use dvc::ops::fsck::{FsckOptions, fsck};
use dvc::ops::undo::{UndoOptions, undo};
use dvc::repo::{OpenOptions, Repo};

/// The bytes of each file, by path.
pub type Files = BTreeMap<Vec<u8>, Vec<u8>>;

/// A version with its content.
#[derive(Clone)]
pub struct KnownVersion {
    pub id: Id,
    pub branch: &'static str,
    pub files: Files,
}

/// The repository with its worktree and its versions.
pub struct Known {
    pub context: Context,
    pub versions: Vec<KnownVersion>,
    dir: tempfile::TempDir,
}

/// Returns incompressible pseudo-random bytes, the same ones for the same seed, which must not be
/// 0.
pub fn noise(mut seed: u64, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        out.extend_from_slice(&seed.to_le_bytes());
    }
    out.truncate(len);
    out
}

fn rows(seed: u64, len: usize) -> Vec<u8> {
    let mut out = b"SQLite format 3\0".to_vec();
    let mut n = seed;
    while out.len() < len {
        n = n
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        out.extend_from_slice(
            format!("{:020}|row of a table|{:08}\n", n, n % 1_000_000).as_bytes(),
        );
    }
    out.truncate(len);
    out
}

/// Copies a directory recursively.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Returns all regular files below a directory.
pub fn files_of(root: &Path) -> Files {
    use std::os::unix::ffi::OsStrExt;
    let mut files = Files::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .as_os_str()
                    .as_bytes()
                    .to_vec();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Returns a context for a repository and a worktree.
pub fn context(repository: PathBuf, worktree: PathBuf) -> Context {
    Context {
        repository,
        worktree,
        author: "Known <k@example.org>".into(),
        host: "here".into(),
        jobs: 2,
        memory_bytes: 64 << 20,
        now: jiff::Zoned::now(),
        open: OpenOptions::default(),
        remote_repository: None,
        remotes: Vec::new(),
        cache: dvc::context::CacheOptions::default(),
        mount: None,
    }
}

/// Commits the worktree to the branch `name`. Returns the version with its content.
pub fn commit_all(context: &Context, name: &'static str, tags: &[&str]) -> KnownVersion {
    let tags = tags
        .iter()
        .map(|t| RefName::parse_stored(t).unwrap())
        .collect();
    let branch = Some(RefName::new(name).unwrap());
    let options = CommitOptions {
        message: format!("on {name}"),
        branch,
        tags,
        ..CommitOptions::default()
    };
    let context = Context {
        now: jiff::Zoned::now(),
        ..context.clone()
    };
    let id = commit(&context, &options, &Silent).unwrap().id.unwrap();
    KnownVersion {
        id,
        branch: name,
        files: files_of(&context.worktree),
    }
}

impl Known {
    /// Builds the repository with several commits.
    pub fn build() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let work = root.join("work");
        fs::create_dir(&work).unwrap();
        let context = context(root.join("repo"), work.clone());
        let main = RefName::new("main").unwrap();
        Repo::create(
            &context.repository,
            &main,
            &ChunkerConfig::default(),
            OpenOptions::default(),
        )
        .unwrap();
        let put = |name: &str, bytes: &[u8]| {
            let path = work.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        for n in 0..20 {
            put(
                &format!("dir/small {n}"),
                format!("{n} says something\n")
                    .repeat(20 + n * 5)
                    .as_bytes(),
            );
        }
        put("tiny", b"inline");
        put("empty", b"");
        put(
            "dir/deep/text",
            "a line of text, and another one\n".repeat(4000).as_bytes(),
        );
        put("noise", &noise(7, 40_000));
        let mut db = rows(1, 1_250_000);
        put("db/main.sqlite", &db);
        put("db/never changes", &rows(2, 70_000));
        fs::hard_link(work.join("noise"), work.join("dir/noise too")).unwrap();
        let mut versions = vec![commit_all(&context, "main", &["first"])];

        db[500_000..500_100].fill(b'x');
        db[1_000_000..1_000_010].fill(b'y');
        put("db/main.sqlite", &db);
        put("dir/small 3", &noise(9, 5000));
        versions.push(commit_all(&context, "main", &[]));

        db[70_000..70_050].fill(b'z');
        put("db/main.sqlite", &db);
        fs::remove_dir_all(work.join("dir/deep")).unwrap();
        versions.push(commit_all(&context, "main", &["main@release"]));

        put("dir/only on dev", &noise(11, 9000));
        versions.push(commit_all(&context, "dev", &[]));
        versions.push(commit_all(&context, "gone", &[]));
        let delete = BranchAction::Delete {
            names: vec![RefName::new("gone").unwrap()],
            force: true,
        };
        branch(
            &context,
            &BranchOptions {
                action: delete,
                dry_run: false,
            },
            &Silent,
        )
        .unwrap();

        put("dir/undone", &rows(5, 3000));
        versions.push(commit_all(&context, "main", &[]));
        undo(
            &context,
            &UndoOptions {
                name: Some(main),
                dry_run: false,
            },
            &Silent,
        )
        .unwrap();
        fs::remove_file(work.join("dir/undone")).unwrap();
        fs::remove_file(work.join("dir/only on dev")).unwrap();
        Self {
            context,
            versions,
            dir,
        }
    }

    /// Copies the repository. Both share the worktree, which must not be changed.
    pub fn copy(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repository = dir.path().canonicalize().unwrap().join("repo");
        copy_dir(&self.context.repository, &repository);
        let context = Context {
            repository,
            ..self.context.clone()
        };
        Self {
            context,
            versions: self.versions.clone(),
            dir,
        }
    }

    /// Returns the directory that contains the repository and the worktree.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the directory of the repository.
    pub fn root(&self) -> &Path {
        &self.context.repository
    }
}

/// Reads a whole version. Returns the bytes of each file, or the error for each path that cannot be
/// read.
pub fn read_version(repo: &Repo, id: &Id) -> BTreeMap<Vec<u8>, Result<Vec<u8>>> {
    let mut out = BTreeMap::new();
    let root = repo.commit(id).and_then(|c| repo.root(&c.tree));
    let mut todo = Vec::new();
    match root {
        Ok((_, entries)) => todo.push((Vec::new(), entries)),
        Err(e) => drop(out.insert(Vec::new(), Err(e))),
    }
    while let Some((dir, entries)) = todo.pop() {
        for entry in entries {
            let path = dvc::model::path::join(&dir, &entry.name);
            match &entry.node {
                Node::Dir { tree, .. } => match repo.entries(tree) {
                    Ok(entries) => todo.push((path, entries)),
                    Err(e) => drop(out.insert(path, Err(e))),
                },
                Node::File { size, content, .. } => {
                    out.insert(path, repo.read_content(content, *size));
                }
                _ => {}
            }
        }
    }
    out
}

/// Returns the paths of a version that cannot be read, with their errors. Asserts that all other
/// files have the correct content.
#[track_caller]
pub fn lost_paths(repo: &Repo, version: &KnownVersion, case: &str) -> Vec<(Vec<u8>, Error)> {
    let mut lost = Vec::new();
    let mut read = read_version(repo, &version.id);
    let tops: Vec<Vec<u8>> = read
        .iter()
        .filter(|(_, r)| r.is_err())
        .map(|(p, _)| p.clone())
        .collect();
    for (path, bytes) in &version.files {
        match read.get(path) {
            Some(Ok(found)) => assert!(
                found == bytes,
                "{case}: wrong bytes of {}",
                dvc::model::path::display(path)
            ),
            Some(Err(_)) => {}
            None => {
                let above = tops
                    .iter()
                    .any(|top| dvc::model::path::is_within(path, top));
                assert!(
                    above,
                    "{case}: {} has vanished",
                    dvc::model::path::display(path)
                );
            }
        }
    }
    for (path, result) in &read {
        assert!(
            result.is_err() || version.files.contains_key(path),
            "{case}: a file from nowhere"
        );
    }
    for top in tops {
        if let Some(Err(e)) = read.remove(&top) {
            lost.push((top, e));
        }
    }
    lost
}

/// Asserts that all data of the repository is sound, and that each version is unchanged.
#[track_caller]
pub fn assert_sound(context: &Context, versions: &[KnownVersion], case: &str) {
    let options = FsckOptions {
        data: Some(1_000_000),
        ..FsckOptions::default()
    };
    let report = fsck(context, &options, &Silent).unwrap().check;
    assert!(report.is_sound(), "{case}: {:?}", report.damage);
    let repo = context.repo().unwrap();
    for version in versions {
        let lost = lost_paths(&repo, version, case);
        assert!(lost.is_empty(), "{case}: {lost:?}");
    }
}
