//! An access profile: which bytes of a version were read, in order, so that a later mount brings them before anybody asks.
//!
//! A file of one JSON object a line. Lines are appended as the reads come; a torn last one is left out. Paths are the
//! version's, so a profile of one version serves the next.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::lower::Lower;
use super::ranges::Ranges;
use crate::error::{Failure, Kind, Result};
use crate::model::entry::Node;
use crate::model::id::{Id, parse_hex, to_hex};
use crate::model::path::display;

/// Reads are noted in units of so many bytes.
const UNIT: u64 = 64 << 10;
/// Lines of a profile; what is read after so many is not noted.
const LINES_MAX: usize = 1 << 20;
/// Bytes that are brought at a time.
const STEP: u64 = 32 << 20;

/// A profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It cannot be opened, read or written.
    #[error("cannot use the profile `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is none of a profile.
    #[error("`{}` is no access profile: line {line}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

impl Failure for ProfileError {
    fn kind(&self) -> Kind {
        match self {
            Self::File { source, .. } => Kind::of_io(source),
            Self::Malformed { .. } => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Malformed { .. } => Some("`dvc mount --record FILE` makes one".to_owned()),
            Self::File { .. } => None,
        }
    }
}

/// One stretch that was read.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    schema: u32,
    path: String,
    /// The bytes of a path that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    path_hex: Option<String>,
    offset: u64,
    len: u64,
}

impl Line {
    fn bytes(&self) -> Option<Vec<u8>> {
        let Some(hex) = &self.path_hex else { return Some(self.path.clone().into_bytes()) };
        let mut bytes = vec![0; hex.len() / 2];
        parse_hex(hex, &mut bytes).map(|()| bytes)
    }
}

/// Notes what is read.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    state: Mutex<Recorded>,
}

#[derive(Debug)]
struct Recorded {
    out: BufWriter<File>,
    /// What of each file is noted, and its path; of one that has none nothing is.
    files: HashMap<u64, (Option<Vec<u8>>, Ranges)>,
    /// What was noted last, and is not written yet.
    last: Option<(u64, Range<u64>)>,
    lines: usize,
}

impl Recorder {
    /// Into a new file; one that is there is emptied.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|source| ProfileError::File { path: path.to_owned(), source })?;
        let state = Recorded { out: BufWriter::new(file), files: HashMap::new(), last: None, lines: 0 };
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// Notes that bytes of the version were read. `path` tells under which path the version has the file.
    pub fn saw(&self, ino: u64, offset: u64, len: usize, path: impl FnOnce() -> Option<Vec<u8>>) {
        let units = offset / UNIT..offset.saturating_add(len as u64).div_ceil(UNIT);
        let is_new = |state: &Recorded| !state.files.get(&ino).is_some_and(|(_, seen)| seen.covers(&units));
        let known = {
            let state = self.state();
            if state.lines >= LINES_MAX || !is_new(&state) {
                return;
            }
            state.files.contains_key(&ino)
        };
        // Whoever tells the path may have to wait.
        let path = if known { None } else { path() };
        let mut state = self.state();
        let (_, seen) = state.files.entry(ino).or_insert_with(|| (path, Ranges::default()));
        for new in seen.insert(units) {
            match &mut state.last {
                Some((last, range)) if *last == ino && range.end == new.start => range.end = new.end,
                _ => {
                    state.put_last();
                    state.last = Some((ino, new));
                }
            }
        }
    }

    /// Writes what was noted.
    pub fn flush(&self) -> Result<()> {
        let mut state = self.state();
        state.put_last();
        Ok(state.out.flush().map_err(|source| ProfileError::File { path: self.path.clone(), source })?)
    }

    fn state(&self) -> parking_lot::MutexGuard<'_, Recorded> {
        self.state.lock()
    }
}

impl Recorded {
    fn put_last(&mut self) {
        let Some((ino, range)) = self.last.take() else { return };
        let Some((Some(path), _)) = self.files.get(&ino) else { return };
        let text = std::str::from_utf8(path).ok();
        let line = Line {
            schema: 1,
            path: text.map_or_else(|| display(path), str::to_owned),
            path_hex: text.is_none().then(|| to_hex(path)),
            offset: range.start * UNIT,
            len: (range.end - range.start) * UNIT,
        };
        if let Ok(mut line) = serde_json::to_vec(&line) {
            line.push(b'\n');
            // A disk that is full is told by the flush.
            let _ = self.out.write_all(&line);
            self.lines += 1;
        }
    }
}

/// What a profile says: paths and bytes of them, in order.
#[derive(Debug)]
pub struct Profile {
    steps: Vec<(Vec<u8>, Range<u64>)>,
}

impl Profile {
    /// Reads a profile.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = |source| ProfileError::File { path: path.to_owned(), source };
        let mut input = BufReader::new(File::open(path).map_err(failed)?);
        let (mut steps, mut text) = (Vec::new(), Vec::new());
        loop {
            text.clear();
            if input.read_until(b'\n', &mut text).map_err(failed)? == 0 || !text.ends_with(b"\n") {
                return Ok(Self { steps });
            }
            let line = serde_json::from_slice::<Line>(&text).ok().filter(|line| line.schema == 1);
            let step = line.and_then(|line| Some((line.bytes()?, line.offset..line.offset.checked_add(line.len)?)));
            let damaged = || ProfileError::Malformed { path: path.to_owned(), line: steps.len() + 1 };
            let step = step.ok_or_else(damaged)?;
            steps.push(step);
        }
    }

    /// Brings what it says of a version to this machine, at most so many bytes, until `ended`. Files that the version does
    /// not have are left out. Returns the bytes that were fetched.
    pub fn bring(&self, lower: &Lower, tree: &Id, budget_bytes: u64, ended: &dyn Fn() -> bool) -> Result<u64> {
        let (mut chunks, mut waiting, mut planned, mut fetched) = (Vec::new(), 0, 0, 0);
        for (path, range) in &self.steps {
            if ended() || planned >= budget_bytes {
                break;
            }
            let Some((content, size)) = lower.file(tree, path)? else { continue };
            let range = range.start.min(size)..range.end.min(size);
            chunks.extend(lower.chunks(&content, &range)?);
            waiting += range.end - range.start;
            planned += range.end - range.start;
            if waiting >= STEP {
                fetched += lower.repo().fetch_ahead(&std::mem::take(&mut chunks))?;
                waiting = 0;
            }
        }
        if !ended() {
            fetched += lower.repo().fetch_ahead(&chunks)?;
        }
        Ok(fetched)
    }
}

impl Lower {
    /// The file at a path of a tree: its content, and its length in bytes.
    fn file(&self, tree: &Id, path: &[u8]) -> Result<Option<(crate::model::entry::Content, u64)>> {
        let mut tree = *tree;
        let mut parts = path.split(|b| *b == b'/').peekable();
        while let Some(name) = parts.next() {
            let dir = self.dir(&tree)?;
            let Ok(at) = dir.binary_search_by(|entry| entry.name.as_slice().cmp(name)) else { return Ok(None) };
            match &dir[at].node {
                Node::Dir { tree: below, .. } => tree = *below,
                Node::File { content, size, .. } if parts.peek().is_none() => {
                    return Ok(Some((content.clone(), *size)));
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_comes_back_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("profile");
        let recorder = Recorder::create(&path).expect("a recorder");
        let named = |name: &[u8]| {
            let name = name.to_vec();
            move || Some(name)
        };
        recorder.saw(7, 10, 5, named(b"a/b"));
        recorder.saw(7, UNIT, 1, || panic!("its path is known"));
        recorder.saw(8, 3 * UNIT, 2 * 65536, named(b"\xff"));
        recorder.saw(9, 0, 1, || None);
        recorder.saw(7, 0, 65536, || panic!("nothing of it is new"));
        recorder.flush().expect("a profile");
        std::fs::write(&path, [std::fs::read(&path).expect("bytes"), b"{\"schema\":1,".to_vec()].concat())
            .expect("torn");
        let profile = Profile::read(&path).expect("a profile");
        assert_eq!(profile.steps, [(b"a/b".to_vec(), 0..2 * UNIT), (b"\xff".to_vec(), 3 * UNIT..5 * UNIT)]);
    }

    #[test]
    fn what_is_no_profile_is_told_with_its_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("profile");
        std::fs::write(&path, "{\"schema\":1,\"path\":\"a\",\"offset\":0,\"len\":1}\nhello\n").expect("a file");
        let e = Profile::read(&path).expect_err("no profile");
        assert!(e.to_string().ends_with("line 2"), "{e}");
        assert_eq!(e.kind(), Kind::Usage);
    }
}
