//! Runs this program in a child process: to mount a volume, and to create the repository and the
//! first version of a volume that names no repository.
//!
//! No shell is involved, so the options of a user are not interpreted. The program reports its
//! results and errors in JSON.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::VolumeError;
use super::record::VolumeRecord;
use crate::error::{Kind, Result};
use crate::model::refname::{RefKind, RefName};
use crate::repo::{OpenOptions, Repo};
use crate::sys::io_error::IoError;

/// The path of this program, and the arguments that precede those of each call.
#[derive(Clone, Debug)]
pub(super) struct DvcProgram {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<String>,
}

impl DvcProgram {
    /// Starts the process that serves the mount of a volume, and waits until it is mounted. Returns
    /// the local repository.
    pub(super) fn mount(&self, record: &VolumeRecord, at: &Path) -> Result<PathBuf> {
        let mut words: Vec<String> = Vec::new();
        if let Some(cache) = record.cache {
            words.extend(["-c".to_owned(), format!("cache.size={cache}")]);
        }
        // Processes in containers run as other users and need access to the mount.
        words.extend(
            [
                "--repo",
                &record.repository,
                "mount",
                "--volume",
                "--allow-other",
            ]
            .map(str::to_owned),
        );
        if record.read_only {
            words.push("--ro".to_owned());
        } else {
            words.extend(["--name".to_owned(), record.overlay.clone()]);
            words.extend(record.live.then(|| "--live".to_owned()));
            words.extend(record.quota.map(|bytes| format!("--quota={bytes}")));
        }
        // After `--`, the revision of a user is never taken for an option.
        words.extend([
            "--".to_owned(),
            record.revision.clone(),
            at.display().to_string(),
        ]);
        let output = self.run(&record.name, &words, Path::new("/"))?;
        let mounted: MountOutput = serde_json::from_slice(&output)
            .map_err(|e| self.unclear(&record.name, &e.to_string()))?;
        Ok(mounted.repository)
    }

    /// Creates a branch with an empty version in `repository`, for a volume that names no
    /// repository.
    pub(super) fn begin_branch(&self, repository: &Path, name: &str) -> Result<()> {
        self.init(repository, name)?;
        let repo = Repo::open(repository, OpenOptions::default())?;
        // A removed volume with this name may have left versions on the branch. The new volume
        // starts with an empty version on top of them.
        if let Some(tip) = repo.refs().value(RefKind::Branch, &RefName::new(name)?)? {
            let totals = repo.root_info(&repo.commit_cached(&tip)?.tree)?.totals;
            if totals.files == 0 && totals.dirs == 0 {
                return Ok(());
            }
        }
        let empty =
            tempfile::tempdir().map_err(|e| IoError::new("create", "a temporary directory", e))?;
        let (repository, message) = (repository.display().to_string(), format!("volume {name}"));
        let words = [
            "--repo",
            &repository,
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            &message,
            "-b",
            name,
        ];
        self.run(name, &words.map(str::to_owned), empty.path())
            .map(drop)
    }

    /// Creates a repository if there is none. `name` is the volume that needs it.
    pub(super) fn init(&self, repository: &Path, name: &str) -> Result<()> {
        if Repo::is_at(repository) {
            return Ok(());
        }
        let words = [
            "--repo",
            &repository.display().to_string(),
            "init",
            "-b",
            "main",
        ]
        .map(str::to_owned);
        let made = self.run(name, &words, Path::new("/"));
        // Another process may have created the repository at the same time.
        if Repo::is_at(repository) {
            Ok(())
        } else {
            made.map(drop)
        }
    }

    /// Runs this program for a volume, and returns its standard output.
    fn run(&self, name: &str, words: &[String], dir: &Path) -> Result<Vec<u8>> {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .arg("--json")
            .args(words)
            .current_dir(dir);
        let done = command
            .stdin(Stdio::null())
            .output()
            .map_err(|e| self.unclear(name, &e.to_string()))?;
        if done.status.success() {
            return Ok(done.stdout);
        }
        let text = String::from_utf8_lossy(&done.stderr);
        // Notices precede the error, which is the last object.
        let error = text
            .lines()
            .rev()
            .find_map(|line| serde_json::from_str::<ErrorOutput>(line).ok());
        Err(match error {
            Some(error) => {
                let kind = Kind::ALL
                    .into_iter()
                    .find(|kind| kind.name() == error.kind)
                    .unwrap_or(Kind::System);
                let messages: Vec<_> = std::iter::once(error.message).chain(error.causes).collect();
                VolumeError::Process {
                    name: name.to_owned(),
                    detail: messages.join(": "),
                    hint: error.hint,
                    kind,
                }
            }
            None => self.unclear(
                name,
                text.lines()
                    .last()
                    .unwrap_or("the program failed without a message"),
            ),
        }
        .into())
    }

    fn unclear(&self, name: &str, detail: &str) -> VolumeError {
        let detail = format!("`{}`: {detail}", self.path.display());
        VolumeError::Process {
            name: name.to_owned(),
            detail,
            hint: None,
            kind: Kind::System,
        }
    }
}

/// The output of `dvc mount --json`, as far as it is used.
#[derive(serde::Deserialize)]
struct MountOutput {
    repository: PathBuf,
}

/// An error as this program reports it with `--json`.
#[derive(serde::Deserialize)]
struct ErrorOutput {
    kind: String,
    message: String,
    #[serde(default)]
    causes: Vec<String>,
    hint: Option<String>,
}
