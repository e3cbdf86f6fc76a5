//! Paths that the user named: the names that a walk includes for them, and the reason why a path
//! would not be recorded.
//!
//! Invariant: an existing path that a rule excludes is an error and never a removal from the
//! version.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FileType;

use crate::error::{Failure, Kind};
use crate::model::path::display;
use crate::snapshot::walk::entries;
use crate::snapshot::walk::entries::Stat;
use crate::snapshot::walk::rules::{Ignores, Rule, Rules};

/// A path as its components from the root.
pub type Names = Vec<Vec<u8>>;

/// The names in one directory that a walk includes.
#[derive(Debug, Default)]
pub struct Chosen {
    /// Each name with the names below it; `None` means everything.
    names: BTreeMap<Vec<u8>, Option<Arc<Self>>>,
}

impl Chosen {
    /// Returns the names in the root that lead to these paths; `None` means everything. Everything
    /// is also included if there are no paths.
    pub fn of(paths: &[Names]) -> Option<Arc<Self>> {
        let mut below: BTreeMap<&[u8], Vec<Names>> = BTreeMap::new();
        for path in paths {
            // The root itself is among the paths, so everything is included.
            let (first, rest) = path.split_first()?;
            below.entry(first).or_default().push(rest.to_vec());
        }
        let names = below
            .into_iter()
            .map(|(name, paths)| (name.to_vec(), Self::of(&paths)));
        let chosen = Self {
            names: names.collect(),
        };
        (!paths.is_empty()).then(|| Arc::new(chosen))
    }

    /// Returns whether a walk includes a name or something below it.
    pub fn takes(&self, name: &[u8]) -> bool {
        self.names.contains_key(name)
    }

    /// Returns whether a walk includes a name with everything below it.
    pub fn takes_whole(&self, name: &[u8]) -> bool {
        self.names.get(name).is_some_and(Option::is_none)
    }

    /// Returns the names below a name; `None` means everything.
    pub fn below(&self, name: &[u8]) -> Option<Arc<Self>> {
        self.names.get(name).cloned().flatten()
    }
}

/// The error for a named path that would not be recorded.
#[derive(Debug, thiserror::Error)]
#[error("cannot commit `{path}`: {why}")]
pub struct NotRecorded {
    path: String,
    why: Why,
}

/// The reason why a path is not recorded.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("it is ignored by the rule `{0}`")]
    Ignored(Rule),
    #[error("it is excluded by the pattern `{0}`")]
    Excluded(Rule),
    #[error("`{0}` is on another file system, which this commit skips")]
    OtherFileSystem(String),
    #[error("`{0}` contains a CACHEDIR.TAG, and this commit skips such directories")]
    CacheDir(String),
    #[error("its size of {0} bytes exceeds the limit of {1} bytes")]
    TooLarge(u64, u64),
    #[error("`{0}` is the repository")]
    Repository(String),
    #[error("sockets are not recorded")]
    Socket,
    #[error("`{0}` is a symbolic link")]
    BehindLink(String),
    #[error("cannot read `{0}`")]
    Unreadable(String, #[source] io::Error),
    #[error("it cannot be read")]
    NotRead,
}

impl NotRecorded {
    /// Returns the error for a path that the walk could not read, which is already reported.
    pub fn unread(path: &[u8]) -> Self {
        Self {
            path: display(path),
            why: Why::NotRead,
        }
    }
}

impl Failure for NotRecorded {
    fn kind(&self) -> Kind {
        match &self.why {
            Why::Unreadable(_, source) => Kind::of_io(source),
            Why::NotRead => Kind::Denied,
            Why::BehindLink(_) | Why::Repository(_) => Kind::Usage,
            _ => Kind::Rejected,
        }
    }

    fn hint(&self) -> Option<String> {
        match &self.why {
            Why::Ignored(_) => {
                Some("change the rule or omit the path; nothing was committed".to_owned())
            }
            Why::Excluded(_) => Some(
                "change `--exclude` or the setting `commit.exclude`, or omit the path".to_owned(),
            ),
            Why::BehindLink(link) => Some(format!(
                "commit the link `{link}` itself, or the path that it points to"
            )),
            _ => None,
        }
    }
}

/// The result of the check of a named path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A node that the walk would record.
    Something,
    /// Nothing exists at the path.
    Nothing,
    /// Nothing can exist at the path, because a parent is not a directory.
    BelowFile,
}

/// An open directory above named paths.
struct Above {
    name: Vec<u8>,
    dir: OwnedFd,
    ignores: Ignores,
}

/// Checks named paths before a walk.
pub struct NamedPaths<'r> {
    rules: &'r Rules,
    device: u64,
    /// The root and the directories down to the last path.
    open: Vec<Above>,
}

impl<'r> NamedPaths<'r> {
    /// Opens the root of the worktree.
    pub fn new(root: &Path, rules: &'r Rules) -> io::Result<Self> {
        let dir = entries::open_root(root)?;
        let device = entries::stat_at(dir.as_fd(), b"")?.dev;
        let ignores = enter(&Ignores::default(), &dir, 0)?;
        Ok(Self {
            rules,
            device,
            open: vec![Above {
                name: Vec::new(),
                dir,
                ignores,
            }],
        })
    }

    /// Returns the state of a path; fails if the path exists and the walk would not record it.
    pub fn at(&mut self, names: &[Vec<u8>]) -> Result<Found, NotRecorded> {
        self.find(names).map_err(|why| NotRecorded {
            path: display(&names.join(&b'/')),
            why,
        })
    }

    fn find(&mut self, names: &[Vec<u8>]) -> Result<Found, Why> {
        let Some((last, above)) = names.split_last() else {
            return Ok(Found::Something);
        };
        let same = self
            .open
            .iter()
            // The first open directory is the root, which has no name.
            .skip(1)
            .zip(above)
            .take_while(|(open, name)| open.name == **name)
            .count();
        // Keep the directories that this path shares with the previous one.
        self.open.truncate(same + 1);
        for depth in same..above.len() {
            let so_far = &names[..=depth];
            let Some(stat) = self.look(so_far)? else {
                return Ok(Found::Nothing);
            };
            match stat.kind {
                FileType::Directory => self.enter(so_far)?,
                // A walk does not follow links, so it would not find the path.
                FileType::Symlink => return Err(Why::BehindLink(shown(so_far))),
                _ => return Ok(Found::BelowFile),
            }
        }
        let Some(stat) = self.look(names)? else {
            return Ok(Found::Nothing);
        };
        match stat.kind {
            FileType::Directory => self.enter(names)?,
            FileType::Socket => return Err(Why::Socket),
            // Open the file, because a file that cannot be read would be missing from the version.
            FileType::RegularFile => match self
                .open
                .last()
                .map(|a| entries::open_file(a.dir.as_fd(), last))
            {
                Some(Err(e)) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
                Some(Err(e)) => return Err(Why::Unreadable(shown(names), e)),
                _ => {}
            },
            _ => {}
        }
        Ok(Found::Something)
    }

    /// Returns the stat of the last of `names` in the directory that was opened last, or `None` if
    /// the name does not exist.
    fn look(&self, names: &[Vec<u8>]) -> Result<Option<Stat>, Why> {
        let (Some(above), Some(name)) = (self.open.last(), names.last()) else {
            return Ok(None);
        };
        let stat = match entries::stat_at(above.dir.as_fd(), name) {
            Ok(stat) => stat,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Why::Unreadable(shown(names), e)),
        };
        let is_dir = stat.kind == FileType::Directory;
        if is_dir && self.rules.repository == Some((stat.dev, stat.ino)) {
            return Err(Why::Repository(shown(names)));
        }
        if let Some(rule) = above.ignores.rule(self.rules, &names.join(&b'/'), is_dir) {
            return Err(if rule.place.is_some() {
                Why::Ignored(rule)
            } else {
                Why::Excluded(rule)
            });
        }
        if is_dir && self.rules.one_file_system && stat.dev != self.device {
            return Err(Why::OtherFileSystem(shown(names)));
        }
        if stat.kind == FileType::RegularFile
            && let Some(limit) = self.rules.exceeded(stat.size)
        {
            return Err(Why::TooLarge(stat.size, limit));
        }
        Ok(Some(stat))
    }

    /// Opens the directory `names`, whose parent was opened last.
    fn enter(&mut self, names: &[Vec<u8>]) -> Result<(), Why> {
        let (Some(above), Some(name)) = (self.open.last(), names.last()) else {
            return Ok(());
        };
        let unreadable = |e| Why::Unreadable(shown(names), e);
        let dir = entries::open_dir(above.dir.as_fd(), name).map_err(unreadable)?;
        if self.rules.skip_cache_dirs && entries::is_cache_dir(dir.as_fd()) {
            return Err(Why::CacheDir(shown(names)));
        }
        let ignores = enter(&above.ignores, &dir, names.len()).map_err(unreadable)?;
        self.open.push(Above {
            name: name.clone(),
            dir,
            ignores,
        });
        Ok(())
    }
}

/// Adds the ignore file of a directory. Does not report lines without effect, because the walk
/// reports them.
fn enter(above: &Ignores, dir: &OwnedFd, depth: usize) -> io::Result<Ignores> {
    above.enter(dir.as_fd(), depth, &mut |_| {})
}

fn shown(names: &[Vec<u8>]) -> String {
    display(&names.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str) -> Names {
        path.split('/')
            .map(|name| name.as_bytes().to_vec())
            .collect()
    }

    #[test]
    fn the_names_of_a_walk_are_those_of_the_paths() {
        let chosen = Chosen::of(&[names("a/b"), names("a/c/d"), names("e"), names("e/f")]).unwrap();
        assert!(chosen.takes(b"a") && !chosen.takes_whole(b"a") && !chosen.takes(b"b"));
        assert!(chosen.takes_whole(b"e") && chosen.below(b"e").is_none());
        let a = chosen.below(b"a").unwrap();
        assert!(
            a.takes_whole(b"b") && !a.takes_whole(b"c") && a.below(b"c").unwrap().takes_whole(b"d")
        );
        assert!(Chosen::of(&[]).is_none());
        assert!(
            Chosen::of(&[names("a"), Vec::new()]).is_none(),
            "the root is everything"
        );
    }

    #[test]
    fn a_path_that_a_rule_leaves_out_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("video/new")).unwrap();
        std::fs::create_dir_all(at("d/deep")).unwrap();
        std::fs::write(at("video/new/f"), "").unwrap();
        std::fs::write(at("d/x.bin"), "").unwrap();
        std::fs::write(at("d/deep/log"), "").unwrap();
        std::fs::write(at(".dvcsignore"), "\nvideo\n").unwrap();
        std::fs::write(at("d/.dvcsignore"), "log\n").unwrap();
        std::os::unix::fs::symlink("d", at("link")).unwrap();
        let mut rules = Rules::default();
        rules.exclude(&["*.bin".to_owned()]).unwrap();
        let mut paths = NamedPaths::new(dir.path(), &rules).unwrap();
        let mut why = |path: &str| paths.at(&names(path)).map_err(|e| e.why.to_string());
        let ignored = Err("it is ignored by the rule `.dvcsignore:2: video`".to_owned());
        assert_eq!(why("video"), ignored);
        assert_eq!(
            why("video/new/f"),
            ignored,
            "the rule is of a directory above"
        );
        assert_eq!(
            why("d/deep/log"),
            Err("it is ignored by the rule `d/.dvcsignore:1: log`".to_owned())
        );
        assert_eq!(
            why("d/x.bin"),
            Err("it is excluded by the pattern `*.bin`".to_owned())
        );
        assert_eq!(why("link/x"), Err("`link` is a symbolic link".to_owned()));
        for (path, found) in [
            ("link", Found::Something),
            ("d", Found::Something),
            ("d/deep", Found::Something),
            ("gone/x", Found::Nothing),
            ("d/gone", Found::Nothing),
            (".dvcsignore/x", Found::BelowFile),
        ] {
            assert_eq!(why(path), Ok(found), "{path}");
        }
    }
}
