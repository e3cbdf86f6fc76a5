//! A repository with known contents, with everything that a collection deletes, copies and merges;
//! its remote and a clone; and the commands that run beside each other in copies of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use dvc::model::id::Id;
use dvc::model::refname::{RefKind, RefName};
use dvc::observe::Silent;
use dvc::ops::fsck::{FsckOptions, fsck};

use crate::child::spawn;
use crate::known::KnownVersion;
use crate::known::{Files, context, copy_dir, files_of, lost_paths, noise};

/// Options of a gc that keeps only what refs need now, and deletes everything else at once.
pub const GC: &[&str] = &[
    "-c",
    "gc.keep-log=0",
    "-y",
    "gc",
    "--now",
    "--keep-trash",
    "0",
    "--max-unused",
    "0",
];

/// Known contents by version, of every version that any process of a test may make.
pub type Contents = BTreeMap<Id, Files>;

/// A prepared directory. `repo` with the worktree `w`, the remote `there`, and its clone `mine`
/// with the worktree `mw`.
pub struct Stage {
    dir: tempfile::TempDir,
    contents: Contents,
}

/// A copy of a stage in which commands run.
pub struct Copy {
    dir: tempfile::TempDir,
    contents: Contents,
}

/// The result of a command.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub text: String,
}

impl Run {
    /// Asserts one of these exit codes.
    #[track_caller]
    pub fn codes(self, codes: &[i32], case: &str) -> Self {
        assert!(
            codes.contains(&self.code),
            "{case}: {} {}",
            self.code,
            self.text
        );
        self
    }
}

/// Returns a command that runs the real `dvc` in `dir` with a clean environment.
pub fn command(dir: &Path, repository: &str, args: &[&str]) -> Command {
    // A long campaign can test a program that the next build does not replace.
    let built = || env!("CARGO_BIN_EXE_dvc").into();
    let mut c = Command::new(std::env::var_os("DVC_TEST_PROGRAM").unwrap_or_else(built));
    let work = match repository {
        "mine" => "mw",
        _ => "w",
    };
    if !repository.is_empty() {
        c.arg("--repo").arg(repository_in(dir, repository));
    }
    c.arg("-C").arg(dir.join(work)).args(args);
    c.env_clear().env("HOME", dir.join("home")).env("TZ", "UTC");
    c.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    c.env("XDG_RUNTIME_DIR", dir.join("run"));
    c.env("XDG_CACHE_HOME", dir.join("home/cache"));
    c.env("TMPDIR", dir.join("home"));
    c.env("DVC_AUTHOR", "K <k@example.org>")
        .stdin(Stdio::null());
    c
}

/// The directory of a repository of a stage.
pub fn repository_in(dir: &Path, name: &str) -> PathBuf {
    match name {
        "mine" => dir.join("mw/.dvcs"),
        _ => dir.join(name),
    }
}

/// Runs a command to its end.
pub fn run(mut command: Command) -> Run {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let out = spawn(&mut command).wait_with_output().unwrap();
    let text = [out.stdout, out.stderr].concat();
    Run {
        code: out.status.code().unwrap_or(137),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

impl Stage {
    /// Builds the stage.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["w", "mw", "home", "run"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::set_permissions(dir.path().join("run"), PermissionsExt::from_mode(0o700)).unwrap();
        let copy = Copy {
            dir,
            contents: Contents::new(),
        };
        copy.build();
        let contents = copy.all_contents();
        Self {
            dir: copy.dir,
            contents,
        }
    }

    /// Copies everything.
    pub fn copy(&self) -> Copy {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(self.dir.path(), dir.path());
        fs::set_permissions(dir.path().join("run"), PermissionsExt::from_mode(0o700)).unwrap();
        let copy = Copy {
            dir,
            contents: self.contents.clone(),
        };
        // The remotes have absolute paths.
        for name in ["repo", "mine"] {
            let there = copy.at("there");
            copy.dvc(name, &["remote", "set", "origin", there.to_str().unwrap()])
                .codes(&[0], "set");
        }
        copy
    }
}

impl Copy {
    /// A path below the directory.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// Returns a command on one of the repositories.
    pub fn command(&self, repository: &str, args: &[&str]) -> Command {
        command(&self.at(""), repository, args)
    }

    /// Runs a command on one of the repositories.
    pub fn dvc(&self, repository: &str, args: &[&str]) -> Run {
        run(self.command(repository, args))
    }

    fn ok(&self, repository: &str, args: &[&str]) {
        self.dvc(repository, args).codes(&[0], &args.join(" "));
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn build(&self) {
        self.ok("repo", &["init", "-b", "main"]);
        let there = self.at("there");
        self.ok(
            "repo",
            &["remote", "add", "origin", there.to_str().unwrap()],
        );
        for n in 0..12u64 {
            self.write(&format!("w/many/{n}"), &noise(n + 1, 3000));
        }
        self.write("w/large", &noise(50, 150_000));
        self.write("w/text", "the same line\n".repeat(3000).as_bytes());
        self.ok("repo", &["commit", "-m", "1"]);
        // `back` is in branches that are deleted, and the commits of tests store it again.
        self.write("w/back", &noise(60, 90_000));
        self.write("w/many/3", &noise(61, 4000));
        self.ok("repo", &["commit", "-m", "2"]);
        self.ok("repo", &["push", "--all", "origin"]);
        self.ok(
            "repo",
            &["commit", "-m", "gone", "-b", "gone", "--allow-empty"],
        );
        self.write("w/large", &[noise(50, 80_000), noise(51, 70_000)].concat());
        self.ok("repo", &["commit", "-m", "gone", "-b", "gone"]);
        self.ok("repo", &["push", "--all", "origin"]);
        fs::remove_file(self.at("w/back")).unwrap();
        for n in 3..7u64 {
            self.write("w/counter", format!("{n}\n").as_bytes());
            self.write(
                "w/large",
                &[noise(50, 60_000), noise(52 + n, 30_000)].concat(),
            );
            self.ok("repo", &["commit", "-m", "main"]);
        }
        self.ok("repo", &["tag", "kept", "main~1"]);
        self.ok("repo", &["push", "--all", "origin"]);
        fs::remove_dir(self.at("mw")).unwrap();
        let clone = ["clone", there.to_str().unwrap(), "../mw"];
        self.ok("", &clone);
        for name in ["there", "repo"] {
            self.ok(name, &["branch", "-D", "gone"]);
            if name == "repo" {
                self.ok(name, &["fetch", "--prune", "origin"]);
            }
        }
        // Versions 2 and 3 are in the trash; version 2 was the only one of `main` with `back`.
        self.ok("repo", &["forget", "-y", "main@v2", "main@v3"]);
        self.ok("there", &["forget", "-y", "main@v2", "main@v3"]);
        self.ok("repo", &["checkout", "-f", "main"]);
    }

    /// Reads all versions that a ref of `mine` or `repo` reaches, whole or forgotten, while all of
    /// them can be read.
    fn all_contents(&self) -> Contents {
        let mut contents = Contents::new();
        let context = context(self.at("repo"), self.at("w"));
        let repo = context.repo().unwrap();
        let mut todo: Vec<Id> = Vec::new();
        for kind in [RefKind::Branch, RefKind::Tag] {
            todo.extend(repo.refs().list(kind).unwrap().iter().map(|tip| tip.id));
        }
        while let Some(id) = todo.pop() {
            if contents.contains_key(&id) {
                continue;
            }
            todo.extend(repo.commit(&id).unwrap().parents);
            let files = crate::known::read_version(&repo, &id);
            let files = files
                .into_iter()
                .map(|(path, bytes)| (path, bytes.unwrap()))
                .collect();
            contents.insert(id, files);
        }
        contents
    }

    /// Returns whether a stopped process is in a transaction of a catalogue. Then other processes
    /// give up after 30 s with exit code 11, which takes too long for a test.
    pub fn has_locked_catalogue(&self) -> bool {
        let is_locked = |name: &&str| {
            let path = repository_in(&self.at(""), name).join("catalog.db");
            let lock = || -> rusqlite::Result<()> {
                let catalogue = rusqlite::Connection::open(&path)?;
                catalogue.busy_timeout(Duration::ZERO)?;
                catalogue.execute_batch("BEGIN IMMEDIATE; ROLLBACK")
            };
            path.exists() && lock().is_err()
        };
        ["repo", "there", "mine"].iter().any(is_locked)
    }

    /// The value of a branch.
    pub fn tip(&self, repository: &str, branch: &str) -> Option<Id> {
        let context = context(repository_in(&self.at(""), repository), self.at("w"));
        let name = RefName::new(branch).unwrap();
        context
            .repo()
            .unwrap()
            .refs()
            .value(RefKind::Branch, &name)
            .unwrap()
    }

    /// Records the content of a version that a command has made, unless the version is known.
    pub fn learn_new(&mut self, id: Id, files: &Files) {
        self.contents.entry(id).or_insert_with(|| files.clone());
    }

    /// The files of the worktree.
    pub fn files(&self, work: &str) -> Files {
        files_of(&self.at(work))
    }

    /// Asserts that a repository is sound, and that every reachable version has its content, unless
    /// it is forgotten.
    #[track_caller]
    pub fn assert_sound(&self, repository: &str, case: &str) {
        let context = context(repository_in(&self.at(""), repository), self.at("w"));
        let options = FsckOptions {
            data: Some(1_000_000),
            ..FsckOptions::default()
        };
        let report = fsck(&context, &options, &Silent).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert!(report.check.is_sound(), "{case}: {:?}", report.check.damage);
        let repo = context.repo().unwrap();
        let trash = dvc::repo::trashlog::TrashLog::new(repo.store())
            .read()
            .unwrap();
        let mut todo: Vec<Id> = Vec::new();
        for kind in [RefKind::Branch, RefKind::Tag] {
            todo.extend(repo.refs().list(kind).unwrap().iter().map(|tip| tip.id));
        }
        let mut seen = std::collections::BTreeSet::new();
        while let Some(id) = todo.pop() {
            if !seen.insert(id) {
                continue;
            }
            todo.extend(
                repo.commit(&id)
                    .unwrap_or_else(|e| panic!("{case}: {e}"))
                    .parents,
            );
            if trash.contains(&id) {
                continue;
            }
            let files = self
                .contents
                .get(&id)
                .unwrap_or_else(|| panic!("{case}: unknown {id}"));
            let version = KnownVersion {
                id,
                branch: "main",
                files: files.clone(),
            };
            let lost = lost_paths(&repo, &version, case);
            assert!(lost.is_empty(), "{case}: {id}: {lost:?}");
        }
    }

    /// Asserts that a collection finishes the work of stopped processes: it succeeds, everything is
    /// sound afterwards, and the third one finds nothing to do.
    #[track_caller]
    pub fn assert_collected(&self, repository: &str, case: &str) {
        for left in leftovers(&repository_in(&self.at(""), repository)) {
            let old = SystemTime::now() - Duration::from_secs(2 * 86_400);
            let file = fs::File::options().write(true).open(left).unwrap();
            file.set_modified(old).unwrap();
        }
        self.dvc(repository, GC).codes(&[0], case);
        self.assert_sound(repository, &format!("{case}, then gc"));
        // Many new packs are merged by the second run.
        self.dvc(repository, GC).codes(&[0], case);
        let again = self
            .dvc(repository, &[&["--json"], GC].concat())
            .codes(&[0], case);
        let report: serde_json::Value = serde_json::from_str(&again.text).unwrap();
        for key in ["deleted_packs", "dropped_packs", "dead_packs"] {
            assert_eq!(report[key], 0, "{case}, then three gcs: {report}");
        }
        let left = leftovers(&repository_in(&self.at(""), repository));
        assert!(left.is_empty(), "{case}, then three gcs: {left:?}");
    }
}

/// Files that a process has not finished.
fn leftovers(repository: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository.join("tmp")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}
