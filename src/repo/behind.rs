//! What is not here of a repository: whether refs need it, where it is, and what is done while nobody answers there.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{LocalRepo, Repo, RepoError, layout};
use crate::error::{Error, Kind, Result};
use crate::model::id::{Id, ObjectKind};
use crate::store::Store;

/// So long nobody asks again what did not answer; twice as long each time, up to [`SILENT_MAX`].
const SILENT: Duration = Duration::from_secs(30);
/// At least so often it is asked.
const SILENT_MAX: Duration = Duration::from_secs(60);

/// Opens the repository that a lazy one takes from.
pub type OpenBehind = dyn Fn() -> Result<Repo> + Send + Sync;

/// The repository that has what is missing in another one.
#[derive(Default)]
pub(super) struct Behind {
    repo: OnceLock<Box<Repo>>,
    silence: Mutex<Option<Silence>>,
    /// Held by the one that opens it.
    opening: Mutex<()>,
}

/// When it did not answer, how long nobody asks it again, and what was wrong.
struct Silence {
    since: Instant,
    pause: Duration,
    said: String,
}

impl Behind {
    /// What was wrong when it did not answer, not long ago: not everybody has to wait for it again.
    fn silence(&self) -> Option<String> {
        let silence = self.silence.lock();
        silence.as_ref().filter(|s| s.since.elapsed() < s.pause).map(|s| s.said.clone())
    }

    /// Notes that it did not answer; true if the error says that.
    fn note_silence(&self, e: &Error) -> bool {
        let unreachable = e.kind() == Kind::Unreachable;
        if unreachable {
            let mut silence = self.silence.lock();
            let pause = silence.as_ref().map_or(SILENT, |s| (s.pause * 2).min(SILENT_MAX));
            *silence = Some(Silence { since: Instant::now(), pause, said: e.to_string() });
        }
        unreachable
    }
}

impl LocalRepo<'_> {
    /// Notes that refs may need what is not here, but at the URL `from`; durable.
    pub fn set_partial(&self, from: &str) -> Result<()> {
        self.files().create(layout::PARTIAL, from.as_bytes())?;
        Ok(())
    }

    /// Notes that all is here that refs need.
    pub fn set_whole(&self) -> Result<()> {
        Ok(self.files().delete(layout::PARTIAL)?)
    }
}

impl Repo {
    /// Whether some objects may be elsewhere.
    pub fn is_lazy(&self) -> bool {
        self.options.behind.is_some()
    }

    /// Where that is which is not all here; `None` where all is here that refs need.
    pub fn partial(root: &Path) -> Option<String> {
        match std::fs::read(root.join(layout::PARTIAL)) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(_) => Some(String::new()),
        }
    }

    /// What this process fetched into the cache for the repository: objects and their lengths.
    pub fn fetched(&self) -> Vec<(String, u64)> {
        let behind = self.behind.repo.get().and_then(|behind| behind.remote_store());
        self.remote_store().or(behind).map_or_else(Vec::new, |far| far.fetched())
    }

    /// The repository that has what is missing here, in a lazy clone; opened on first use.
    pub fn behind(&self) -> Result<Option<&Self>> {
        let Some(open) = &self.options.behind else { return Ok(None) };
        if let Some(behind) = self.behind.repo.get() {
            return Ok(Some(behind));
        }
        let _one = self.behind.opening.lock();
        if let Some(said) = self.behind.silence() {
            return Err(RepoError::Silent { said }.into());
        }
        if self.behind.repo.get().is_none() {
            let opened = open().inspect_err(|e| {
                self.behind.note_silence(e);
            })?;
            if opened.marker.id != self.marker.id {
                return Err(RepoError::Foreign { place: opened.store.place() }.into());
            }
            let _ = self.behind.repo.set(Box::new(opened));
        }
        Ok(self.behind.repo.get().map(|behind| &**behind))
    }

    /// Whether an object is stored here, or in a lazy clone where it comes from.
    pub fn knows(&self, kind: ObjectKind, id: &Id) -> Result<bool> {
        Ok(self.has(kind, id)? || self.is_behind(kind, id)?)
    }

    /// Whether an object is where a lazy clone takes it from, as far as that answers.
    pub(super) fn is_behind(&self, kind: ObjectKind, id: &Id) -> Result<bool> {
        if self.behind.silence().is_some() {
            return Ok(false);
        }
        match self.behind().and_then(|behind| behind.map_or(Ok(false), |behind| behind.knows(kind, id))) {
            // Without a network it is stored here too.
            Err(e) if self.behind.note_silence(&e) => Ok(false),
            known => known,
        }
    }
}
