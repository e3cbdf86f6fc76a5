//! Exclusion rules of a walk: patterns of the caller, ignore files, and special directories.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder, Glob};
use rustix::fs::FileType;

use super::pattern::{why_line_never_matches, why_pattern_never_matches};
use crate::model::path;
use crate::snapshot::walk::entries::{open_file, stat_at};

/// The name of ignore files.
pub const IGNORE_FILE: &str = ".dvcsignore";
/// The byte order mark that some editors write at the start of a file; not part of the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The paths that a walk excludes.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    exclude: Option<Arc<Gitignore>>,
    pub(in crate::snapshot) skip_cache_dirs: bool,
    pub(in crate::snapshot) one_file_system: bool,
    pub(in crate::snapshot) repository: Option<(u64, u64)>,
    places: Vec<Vec<u8>>,
    larger_than: Option<u64>,
}

/// The error for an invalid pattern.
#[derive(Debug, thiserror::Error)]
#[error("invalid pattern `{pattern}`: {why}")]
pub struct BadPattern {
    pattern: String,
    why: String,
}

impl crate::error::Failure for BadPattern {
    fn kind(&self) -> crate::error::Kind {
        crate::error::Kind::Usage
    }
}

impl Rules {
    /// Returns rules without patterns. The first two flags exclude directories with a CACHEDIR.TAG,
    /// and other file systems. `repository` is the device and inode of the repository, which is
    /// always excluded.
    pub fn new(
        skip_cache_dirs: bool,
        one_file_system: bool,
        repository: Option<(u64, u64)>,
    ) -> Self {
        Self {
            skip_cache_dirs,
            one_file_system,
            repository,
            ..Self::default()
        }
    }

    /// Sets the paths of directories that only contain mount points; their own metadata is not
    /// recorded.
    pub fn set_places(&mut self, places: &[Vec<u8>]) {
        self.places = places.to_vec();
    }

    /// Excludes regular files with more bytes than this.
    pub fn exclude_larger_than(&mut self, bytes: Option<u64>) {
        self.larger_than = bytes;
    }

    /// Returns the limit if a file of `size` bytes exceeds it.
    pub(in crate::snapshot) fn exceeded(&self, size: u64) -> Option<u64> {
        self.larger_than.filter(|limit| size > *limit)
    }

    /// Returns whether a directory only contains mount points.
    pub(in crate::snapshot) fn is_place(&self, path: &[u8]) -> bool {
        self.places.iter().any(|place| place == path)
    }

    /// Returns whether the caller has set patterns.
    pub fn leaves_out(&self) -> bool {
        self.exclude.is_some()
    }

    /// Excludes paths that match these gitignore patterns, which take precedence over ignore files.
    pub fn exclude(&mut self, patterns: &[String]) -> Result<(), BadPattern> {
        let mut builder = GitignoreBuilder::new("");
        for pattern in patterns {
            let add = builder.add_line(None, pattern);
            add.map_err(|e| BadPattern {
                pattern: pattern.clone(),
                why: e.to_string(),
            })?;
        }
        let all = builder.build().map_err(|e| BadPattern {
            pattern: patterns.join(" "),
            why: e.to_string(),
        })?;
        self.exclude = (!patterns.is_empty()).then(|| Arc::new(all));
        Ok(())
    }

    /// Returns the patterns for [`Rules::exclude`] that cannot match any path of a worktree, each
    /// with the reason.
    pub fn never_match<'p>(patterns: &'p [String], worktree: &Path) -> Vec<(&'p str, String)> {
        let why = |pattern: &'p String| {
            Some((
                pattern.as_str(),
                why_pattern_never_matches(pattern, Some(worktree))?,
            ))
        };
        patterns.iter().filter_map(why).collect()
    }
}

/// A rule that excludes a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Path of the ignore file below the root, and number of the line; `None` for a pattern of the
    /// caller.
    pub place: Option<(Vec<u8>, usize)>,
    /// The pattern as written.
    pub pattern: String,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some((file, line)) => write!(f, "{}:{line}: {}", path::display(file), self.pattern),
            None => write!(f, "{}", self.pattern),
        }
    }
}

/// A line of an ignore file that has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Number of the line, from 1.
    pub line: usize,
    /// The line as text.
    pub text: String,
    /// Reason why the line has no effect.
    pub why: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = path::display(self.text.as_bytes());
        write!(
            f,
            "line {} never matches: `{text}`: {}",
            self.line, self.why
        )
    }
}

/// The ignore files from the root down to a directory.
#[derive(Clone, Debug, Default)]
pub struct Ignores {
    /// Depth of the directory with the file, and its patterns; deepest last.
    files: Vec<(usize, Arc<Gitignore>)>,
}

impl Ignores {
    /// Returns these files and the ignore file of `dir`, which is `depth` levels below the root.
    /// `report` receives the lines of that file that have no effect.
    pub fn enter(
        &self,
        dir: BorrowedFd<'_>,
        depth: usize,
        report: &mut dyn FnMut(BadLine),
    ) -> io::Result<Self> {
        let mut inner = self.clone();
        let fd = match open_file(dir, IGNORE_FILE.as_bytes()) {
            Ok(fd) => fd,
            // The file is missing, or is a symbolic link, which is not used as an ignore file.
            Err(e) if matches!(e.raw_os_error(), Some(2 | 40)) => return Ok(inner),
            Err(e) => return Err(e),
        };
        if stat_at(fd.as_fd(), b"")?.kind != FileType::RegularFile {
            return Ok(inner);
        }
        let mut text = Vec::new();
        io::Read::read_to_end(&mut std::fs::File::from(fd), &mut text)?;
        inner.add(&text, depth)?.into_iter().for_each(report);
        Ok(inner)
    }

    /// Adds the text of the ignore file of a directory `depth` levels below the root. Returns the
    /// lines that have no effect. Fails if the patterns together are too large to compile.
    pub fn add(&mut self, text: &[u8], depth: usize) -> io::Result<Vec<BadLine>> {
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let mut builder = GitignoreBuilder::new("");
        let mut bad = Vec::new();
        for (at, line) in text.split(|b| *b == b'\n').enumerate() {
            let number = at + 1;
            let why = match std::str::from_utf8(line) {
                // The library stores a path with each pattern. Use the path to store the number of
                // the line.
                Ok(text) => match builder.add_line(Some(PathBuf::from(number.to_string())), text) {
                    Ok(_) => why_line_never_matches(text, None),
                    Err(e) => Some(e.to_string()),
                },
                Err(_) => Some("the line is not UTF-8".to_owned()),
            };
            let text = || String::from_utf8_lossy(line).trim_end().to_owned();
            bad.extend(why.map(|why| BadLine {
                line: number,
                text: text(),
                why,
            }));
        }
        // Without these rules, files that the user excluded would become part of the version.
        let rules = builder.build().map_err(io::Error::other)?;
        self.files.push((depth, Arc::new(rules)));
        Ok(bad)
    }

    /// Returns whether there are no ignore files.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns whether a path below the root is excluded.
    pub fn excludes(&self, rules: &Rules, path: &[u8], is_dir: bool) -> bool {
        self.deciding(rules, path, is_dir).is_some()
    }

    /// Returns the rule that excludes a path, if there is one.
    pub fn rule(&self, rules: &Rules, path: &[u8], is_dir: bool) -> Option<Rule> {
        let (depth, glob) = self.deciding(rules, path, is_dir)?;
        let line = || glob.from()?.to_str()?.parse().ok();
        let place = depth.map(|depth| {
            let names: Vec<&[u8]> = path.split(|b| *b == b'/').take(depth).collect();
            (
                path::join(&names.join(&b'/'), IGNORE_FILE.as_bytes()),
                line().unwrap_or(0),
            )
        });
        Some(Rule {
            place,
            pattern: glob.original().to_owned(),
        })
    }

    /// Returns the pattern that excludes a path, with the depth of its ignore file. The depth is
    /// `None` for a pattern of the caller.
    fn deciding<'r>(
        &'r self,
        rules: &'r Rules,
        path: &[u8],
        is_dir: bool,
    ) -> Option<(Option<usize>, &'r Glob)> {
        fn matched<'r>(rules: &'r Gitignore, path: &[u8], is_dir: bool) -> Match<&'r Glob> {
            rules.matched(Path::new(OsStr::from_bytes(path)), is_dir)
        }
        if let Some(exclude) = &rules.exclude {
            match matched(exclude, path, is_dir) {
                Match::Ignore(glob) => return Some((None, glob)),
                Match::Whitelist(_) => return None,
                Match::None => {}
            }
        }
        // The deepest file with a matching pattern decides, as in git.
        for (depth, file) in self.files.iter().rev() {
            // The patterns of an ignore file are relative to its directory.
            let mut below = path;
            for _ in 0..*depth {
                below = below
                    .iter()
                    .position(|b| *b == b'/')
                    .map_or(below, |at| &below[at + 1..]);
            }
            match matched(file, below, is_dir) {
                Match::Ignore(glob) => return Some((Some(*depth), glob)),
                Match::Whitelist(_) => return None,
                Match::None => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::walk::entries::{open_dir, open_root};

    #[test]
    fn ignore_files_nest() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join(IGNORE_FILE), "*.log\n/tmp/\n").unwrap();
        std::fs::write(
            dir.path().join("sub").join(IGNORE_FILE),
            "# of sub\n!keep.log\nd.txt\n",
        )
        .unwrap();
        let root = open_root(dir.path()).unwrap();
        let none = &mut |bad: BadLine| panic!("{bad}");
        let top = Ignores::default().enter(root.as_fd(), 0, none).unwrap();
        let sub = top
            .enter(open_dir(root.as_fd(), b"sub").unwrap().as_fd(), 1, none)
            .unwrap();
        let mut rules = Rules::default();
        assert!(top.excludes(&rules, b"a.log", false));
        assert!(top.excludes(&rules, b"tmp", true));
        assert!(!top.excludes(&rules, b"tmp", false));
        assert!(sub.excludes(&rules, b"sub/b.log", false));
        assert!(!sub.excludes(&rules, b"sub/keep.log", false));
        assert!(!sub.excludes(&rules, b"sub/tmp", true));
        assert_eq!(
            sub.rule(&rules, b"tmp", true).unwrap().to_string(),
            ".dvcsignore:2: /tmp/"
        );
        assert_eq!(
            sub.rule(&rules, b"sub/d.txt", false).unwrap().to_string(),
            "sub/.dvcsignore:3: d.txt"
        );
        rules.exclude(&["*.bin".to_owned()]).unwrap();
        assert!(sub.excludes(&rules, b"sub/x.bin", false));
        assert_eq!(
            sub.rule(&rules, b"sub/x.bin", false).unwrap(),
            Rule {
                place: None,
                pattern: "*.bin".to_owned()
            }
        );
    }

    #[test]
    fn patterns_that_are_too_large_to_compile_are_an_error() {
        let text: String = (0..40_000).map(|i| format!("*a{i}*b{i}*c\n")).collect();
        let mut ignores = Ignores::default();
        assert!(ignores.add(text.as_bytes(), 0).is_err());
        assert!(ignores.is_empty());
    }

    #[test]
    fn lines_without_effect_are_returned() {
        let mut ignores = Ignores::default();
        let bad = ignores
            .add(b"\xef\xbb\xbfcache/\r\n\r\n./video\nok\n\xff\xfe\n{a\n", 0)
            .unwrap();
        assert!(
            ignores.excludes(&Rules::default(), b"cache", true),
            "a byte order mark is not a part of a pattern"
        );
        assert_eq!(bad.iter().map(|b| b.line).collect::<Vec<_>>(), [3, 5, 6]);
        assert!(
            bad[0]
                .to_string()
                .starts_with("line 3 never matches: `./video`: "),
            "{}",
            bad[0]
        );
    }
}
