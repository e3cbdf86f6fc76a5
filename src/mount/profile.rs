//! Access profiles: the parts of a version that were read, in order, so that a later mount can
//! fetch them in advance.
//!
//! A profile is a text file with one JSON object per line. Lines are appended as data is read; an
//! incomplete last line is ignored. Paths are those of the version, so a profile can be used for
//! other versions.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::file::RangeSet;
use super::lower::{FileContent, LowerLayer};
use crate::error::{Failure, Kind, Result};
use crate::model::id::{Id, parse_hex, to_hex};
use crate::model::path::display;

/// Granularity of recorded reads, in bytes.
const UNIT: u64 = 64 << 10;
/// Limit on the lines of a profile. Further reads are not recorded.
const LINES_MAX: usize = 1 << 20;
/// Number of bytes at which the collected chunks are fetched.
const STEP: u64 = 32 << 20;

/// A profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The profile cannot be opened, read or written.
    #[error("cannot read or write the access profile `{}`", path.display())]
    File {
        /// The profile.
        path: PathBuf,
        source: io::Error,
    },
    /// A line is not valid.
    #[error("cannot parse the access profile `{}`: invalid line {line}", path.display())]
    Malformed {
        /// The profile.
        path: PathBuf,
        /// The line, starting from 1.
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
            Self::Malformed { .. } => {
                Some("run `dvc mount --record FILE` to create a profile".to_owned())
            }
            Self::File { .. } => None,
        }
    }
}

/// A range that was read.
#[derive(Debug, Serialize, Deserialize)]
struct ProfileLine {
    schema: u32,
    path: String,
    /// The bytes of a path that is not valid UTF-8, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    path_hex: Option<String>,
    offset: u64,
    len: u64,
}

impl ProfileLine {
    fn bytes(&self) -> Option<Vec<u8>> {
        let Some(hex) = &self.path_hex else {
            return Some(self.path.clone().into_bytes());
        };
        let mut bytes = vec![0; hex.len() / 2];
        parse_hex(hex, &mut bytes).map(|()| bytes)
    }
}

/// Records which parts of the version are read.
#[derive(Debug)]
pub struct ReadRecorder {
    path: PathBuf,
    state: Mutex<RecorderState>,
}

#[derive(Debug)]
struct RecorderState {
    out: BufWriter<File>,
    /// Path and recorded units of each file. Reads of a file without a path are not written.
    files: HashMap<u64, (Option<Vec<u8>>, RangeSet)>,
    /// The last range, which may still grow.
    last: Option<(u64, Range<u64>)>,
    lines: usize,
}

impl ReadRecorder {
    /// Creates a profile, or truncates an existing one.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|source| ProfileError::File {
            path: path.to_owned(),
            source,
        })?;
        let state = RecorderState {
            out: BufWriter::new(file),
            files: HashMap::new(),
            last: None,
            lines: 0,
        };
        Ok(Self {
            path: path.to_owned(),
            state: Mutex::new(state),
        })
    }

    /// Records a read of the version. `path` returns the path of the file in the version.
    pub fn record_read(
        &self,
        ino: u64,
        offset: u64,
        len: usize,
        path: impl FnOnce() -> Option<Vec<u8>>,
    ) {
        let units = offset / UNIT..offset.saturating_add(len as u64).div_ceil(UNIT);
        let is_new = |state: &RecorderState| {
            !state
                .files
                .get(&ino)
                .is_some_and(|(_, seen)| seen.covers(&units))
        };
        let known = {
            let state = self.state();
            if state.lines >= LINES_MAX || !is_new(&state) {
                return;
            }
            state.files.contains_key(&ino)
        };
        // Call `path` without the lock, because it may have to wait.
        let path = if known { None } else { path() };
        let mut state = self.state();
        let (_, seen) = state
            .files
            .entry(ino)
            .or_insert_with(|| (path, RangeSet::default()));
        for new in seen.insert(units) {
            match &mut state.last {
                Some((last, range)) if *last == ino && range.end == new.start => {
                    range.end = new.end
                }
                _ => {
                    state.write_last();
                    state.last = Some((ino, new));
                }
            }
        }
    }

    /// Writes all recorded reads.
    pub fn flush(&self) -> Result<()> {
        let mut state = self.state();
        state.write_last();
        Ok(state.out.flush().map_err(|source| ProfileError::File {
            path: self.path.clone(),
            source,
        })?)
    }

    fn state(&self) -> parking_lot::MutexGuard<'_, RecorderState> {
        self.state.lock()
    }
}

impl RecorderState {
    fn write_last(&mut self) {
        let Some((ino, range)) = self.last.take() else {
            return;
        };
        let Some((Some(path), _)) = self.files.get(&ino) else {
            return;
        };
        let text = std::str::from_utf8(path).ok();
        let line = ProfileLine {
            schema: 1,
            path: text.map_or_else(|| display(path), str::to_owned),
            path_hex: text.is_none().then(|| to_hex(path)),
            offset: range.start * UNIT,
            len: (range.end - range.start) * UNIT,
        };
        if let Ok(mut line) = serde_json::to_vec(&line) {
            line.push(b'\n');
            // Ignore errors, such as a full disk: the next flush reports them.
            let _ = self.out.write_all(&line);
            self.lines += 1;
        }
    }
}

/// The contents of a profile: paths and ranges in the order of the reads.
#[derive(Debug)]
pub struct AccessProfile {
    steps: Vec<(Vec<u8>, Range<u64>)>,
}

impl AccessProfile {
    /// Reads a profile. An unfinished last line is ignored; any other invalid line is an error.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = |source| ProfileError::File {
            path: path.to_owned(),
            source,
        };
        let mut input = BufReader::new(File::open(path).map_err(failed)?);
        let (mut steps, mut text) = (Vec::new(), Vec::new());
        loop {
            text.clear();
            // A crash may have cut off the last line.
            if input.read_until(b'\n', &mut text).map_err(failed)? == 0 || !text.ends_with(b"\n") {
                return Ok(Self { steps });
            }
            let line = serde_json::from_slice::<ProfileLine>(&text)
                .ok()
                .filter(|line| line.schema == 1);
            let step = line.and_then(|line| {
                Some((
                    line.bytes()?,
                    line.offset..line.offset.checked_add(line.len)?,
                ))
            });
            let damaged = || ProfileError::Malformed {
                path: path.to_owned(),
                line: steps.len() + 1,
            };
            let step = step.ok_or_else(damaged)?;
            steps.push(step);
        }
    }

    /// Fetches the listed parts of a tree, about `budget_bytes` at most, until `ended` returns
    /// true. Ignores files that the tree lacks. Returns the number of bytes that were fetched.
    pub fn prefetch(
        &self,
        lower: &LowerLayer,
        tree: &Id,
        budget_bytes: u64,
        ended: &dyn Fn() -> bool,
    ) -> Result<u64> {
        let (mut chunks, mut waiting, mut planned, mut fetched) = (Vec::new(), 0, 0, 0);
        for (path, range) in &self.steps {
            if ended() || planned >= budget_bytes {
                break;
            }
            let Some(FileContent { content, size }) = lower.file(tree, path)? else {
                continue;
            };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_comes_back_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("profile");
        let recorder = ReadRecorder::create(&path).expect("a recorder");
        let named = |name: &[u8]| {
            let name = name.to_vec();
            move || Some(name)
        };
        recorder.record_read(7, 10, 5, named(b"a/b"));
        recorder.record_read(7, UNIT, 1, || panic!("its path is known"));
        recorder.record_read(8, 3 * UNIT, 2 * 65536, named(b"\xff"));
        recorder.record_read(9, 0, 1, || None);
        recorder.record_read(7, 0, 65536, || panic!("nothing of it is new"));
        recorder.flush().expect("a profile");
        std::fs::write(
            &path,
            [
                std::fs::read(&path).expect("bytes"),
                // A line that a crash has cut off.
                b"{\"schema\":1,".to_vec(),
            ]
            .concat(),
        )
        .expect("torn");
        let profile = AccessProfile::read(&path).expect("a profile");
        assert_eq!(
            profile.steps,
            [
                (b"a/b".to_vec(), 0..2 * UNIT),
                (b"\xff".to_vec(), 3 * UNIT..5 * UNIT)
            ]
        );
    }

    #[test]
    fn what_is_no_profile_is_told_with_its_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("profile");
        std::fs::write(
            &path,
            "{\"schema\":1,\"path\":\"a\",\"offset\":0,\"len\":1}\nhello\n",
        )
        .expect("a file");
        let e = AccessProfile::read(&path).expect_err("no profile");
        assert!(e.to_string().ends_with("line 2"), "{e}");
        assert_eq!(e.kind(), Kind::Usage);
    }
}
