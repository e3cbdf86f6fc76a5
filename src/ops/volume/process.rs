//! This program once more: the mount of a volume, and the first version of one that has no repository.
//!
//! It is told everything by arguments, each a word of its own: no shell sees what somebody wrote into an option. It
//! answers in JSON, and so do its errors.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{Record, VolumeError, Volumes};
use crate::error::{Kind, Result};
use crate::model::refname::{RefKind, RefName};
use crate::mount::control::MountNote;
use crate::repo::{OpenOptions, Repo};
use crate::sys::io_error::IoError;

impl Volumes {
    /// Starts the process that serves a volume's mount, and waits until the mount stands.
    pub(super) fn start(&self, record: &Record, at: &Path) -> Result<MountNote> {
        let mut words: Vec<String> = Vec::new();
        if let Some(cache) = record.cache {
            words.extend(["-c".to_owned(), format!("cache.size={cache}")]);
        }
        words.extend(["--repo", &record.repository, "mount", "--volume", "--allow-other"].map(str::to_owned));
        if record.read_only {
            words.push("--ro".to_owned());
        } else {
            words.extend(["--name".to_owned(), record.overlay.clone()]);
            words.extend(record.live.then(|| "--live".to_owned()));
            words.extend(record.quota.map(|bytes| format!("--quota={bytes}")));
        }
        words.extend(["--".to_owned(), record.revision.clone(), at.display().to_string()]);
        let said = self.call(&record.name, &words, Path::new("/"))?;
        serde_json::from_slice(&said).map_err(|e| self.unclear(&record.name, &e.to_string()).into())
    }

    /// Makes the branch of a volume that names no repository, with an empty version, and the repository first.
    pub(super) fn begin(&self, name: &str) -> Result<()> {
        self.begin_repository(name)?;
        let own = self.own.display().to_string();
        let repo = Repo::open(&self.own, OpenOptions::default())?;
        // One that had the name before may have left versions: the new one begins with nothing, after them.
        if let Some(tip) = repo.refs().value(RefKind::Branch, &RefName::new(name)?)? {
            let totals = repo.root_info(&repo.commit_cached(&tip)?.tree)?.totals;
            if totals.files == 0 && totals.dirs == 0 {
                return Ok(());
            }
        }
        let empty = tempfile::tempdir().map_err(|e| IoError::new("create", "a temporary directory", e))?;
        let message = format!("volume {name}");
        let words = ["--repo", &own, "commit", "-q", "--allow-empty", "-m", &message, "-b", name].map(str::to_owned);
        self.call(name, &words, empty.path()).map(drop)
    }

    /// Makes the repository of volumes that name none, if it is not there.
    pub(super) fn begin_repository(&self, name: &str) -> Result<()> {
        if Repo::is_at(&self.own) {
            return Ok(());
        }
        let words = ["--repo", &self.own.display().to_string(), "init", "-b", "main"].map(str::to_owned);
        let made = self.call(name, &words, Path::new("/"));
        // Somebody else may have been faster.
        if Repo::is_at(&self.own) { Ok(()) } else { made.map(drop) }
    }

    /// Runs this program; returns what it wrote.
    fn call(&self, name: &str, words: &[String], dir: &Path) -> Result<Vec<u8>> {
        let (program, first) = &self.program;
        let mut command = Command::new(program);
        command.args(first).arg("--json").args(words).current_dir(dir);
        let done = command.stdin(Stdio::null()).output().map_err(|e| self.unclear(name, &e.to_string()))?;
        if done.status.success() {
            return Ok(done.stdout);
        }
        let text = String::from_utf8_lossy(&done.stderr);
        let error = text.lines().rev().find_map(|line| serde_json::from_str::<Said>(line).ok());
        Err(match error {
            Some(said) => {
                let kind = Kind::ALL.into_iter().find(|kind| kind.name() == said.kind).unwrap_or(Kind::System);
                let words: Vec<_> = std::iter::once(said.message).chain(said.causes).collect();
                VolumeError::Process { name: name.to_owned(), said: words.join(": "), hint: said.hint, kind }
            }
            None => self.unclear(name, text.lines().last().unwrap_or("the program ended without a word")),
        }
        .into())
    }

    fn unclear(&self, name: &str, said: &str) -> VolumeError {
        let said = format!("`{}`: {said}", self.program.0.display());
        VolumeError::Process { name: name.to_owned(), said, hint: None, kind: Kind::System }
    }
}

/// An error as this program writes it with `--json`.
#[derive(serde::Deserialize)]
struct Said {
    kind: String,
    message: String,
    #[serde(default)]
    causes: Vec<String>,
    hint: Option<String>,
}
