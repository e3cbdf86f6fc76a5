//! Compares two trees. Equal subtrees are skipped by id, and changes are sorted by directory and
//! name.
//!
//! Only directories are read, never the data of files.

use crate::codec::hash::checksum;
use crate::error::{Error, Result};
use crate::format::object::encode_entry;
use crate::model::entry::{Entry, Meta, Node};
use crate::model::id::Id;
use crate::model::path::{is_within, split};
use crate::repo::Repo;
use crate::repo::names::Names;
use std::cell::{OnceCell, RefCell};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::ControlFlow;

/// With more added or deleted files than this, renames are not detected.
const RENAMES_MAX: usize = 100_000;
/// Maximum total length of the paths of these files, in bytes; with longer paths, renames are not
/// detected.
const RENAME_BYTES_MAX: usize = 16 << 20;
/// The number of walked pairs of directories that are recorded; a pair takes about 100 bytes.
const WALKED_MAX: usize = 100_000;

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Letter {
    Added,
    /// The content changed.
    Content,
    /// Only mode, owner, time, xattrs or hard links changed.
    Metadata,
    /// The type changed.
    Type,
    Deleted,
    /// Renamed, with the same content.
    Renamed,
    /// Unreadable, or changed while it was read.
    Unstable,
}

impl Letter {
    /// Returns the letter for users.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "A",
            Self::Content => "M",
            Self::Metadata => "m",
            Self::Type => "T",
            Self::Deleted => "D",
            Self::Renamed => "R",
            Self::Unstable => "U",
        }
    }
}

/// A differing path. The root of a version is the empty path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeChange {
    /// Whether the path was added, deleted, renamed or changed, and in which respect.
    pub letter: Letter,
    /// The path; the new one if it was renamed.
    pub path: Vec<u8>,
    /// The old path of a renamed entry; `None` for any other change.
    pub from: Option<Vec<u8>>,
    /// The old entry; `None` if the path was added, or is the root.
    pub old: Option<Entry>,
    /// The new entry; `None` if the path was deleted, or is the root.
    pub new: Option<Entry>,
}

/// Called with each change; breaks to stop.
pub type ChangeVisit<'v> = dyn FnMut(TreeChange) -> Result<ControlFlow<()>> + 'v;

/// The start of one side of a comparison.
#[derive(Clone, Debug)]
pub enum CompareStart {
    /// The root of a version; `None` is an empty version.
    Root(Option<Id>),
    /// A directory.
    Dir(Id),
    /// These entries, sorted by name.
    These(Vec<Entry>),
}

impl CompareStart {
    fn names<'a>(&self, repo: &'a Repo) -> Result<(Option<Meta>, Names<'a>)> {
        Ok(match self {
            Self::Root(Some(tree)) => {
                let (info, names) = repo.root_names(tree)?;
                (Some(info.meta), names)
            }
            Self::Root(None) => (None, Names::these(repo, Vec::new())),
            Self::Dir(tree) => (None, repo.names(tree)?),
            Self::These(entries) => (None, Names::these(repo, entries.clone())),
        })
    }
}

/// The paths that a comparison reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ReportScope {
    /// All differing paths.
    #[default]
    All,
    /// All differing paths except directories.
    Files,
    /// All differing paths, but not the content of added and deleted directories.
    WholeDirs,
}

/// Compares the trees of two versions; `None` is an empty tree. With `paths`, only these paths and
/// the paths below them are compared.
pub fn compare(
    repo: &Repo,
    old: Option<&Id>,
    new: Option<&Id>,
    paths: &[Vec<u8>],
    visit: &mut ChangeVisit<'_>,
) -> Result<()> {
    pairs(repo, (old, new), paths, ReportScope::All, visit)
}

/// Like [`compare`], but directories themselves are not reported. A pair of directories without
/// changed files is walked only once, even if it occurs at many paths.
pub fn compare_files(
    repo: &Repo,
    old: Option<&Id>,
    new: Option<&Id>,
    paths: &[Vec<u8>],
    visit: &mut ChangeVisit<'_>,
) -> Result<()> {
    pairs(repo, (old, new), paths, ReportScope::Files, visit)
}

/// Compares the entries below two starts. The reported paths start with `dir`.
pub fn from(
    repo: &Repo,
    old: &CompareStart,
    new: &CompareStart,
    dir: &[u8],
    paths: &[Vec<u8>],
    visit: &mut ChangeVisit<'_>,
) -> Result<()> {
    Pairs::new(repo, paths, ReportScope::All).with_moved(old, new, dir, visit)
}

/// Compares two whole versions.
fn pairs(
    repo: &Repo,
    (old, new): (Option<&Id>, Option<&Id>),
    paths: &[Vec<u8>],
    scope: ReportScope,
    visit: &mut ChangeVisit<'_>,
) -> Result<()> {
    let pairs = Pairs {
        links: Links::of(old, new),
        ..Pairs::new(repo, paths, scope)
    };
    pairs.with_moved(
        &CompareStart::Root(old.copied()),
        &CompareStart::Root(new.copied()),
        b"",
        visit,
    )
}

/// Returns the changes that turn `old` into `new`: like [`compare`], but without renames, and
/// without the content of added and deleted directories.
pub fn steps(
    repo: &Repo,
    old: Option<&Id>,
    new: &Id,
    paths: &[Vec<u8>],
    visit: &mut ChangeVisit<'_>,
) -> Result<()> {
    let pairs = Pairs::new(repo, paths, ReportScope::WholeDirs);
    let mut visit = |change: TreeChange| {
        if change.path.is_empty() {
            Ok(ControlFlow::Continue(()))
        } else {
            visit(change)
        }
    };
    pairs
        .run(
            &CompareStart::Root(old.copied()),
            &CompareStart::Root(Some(*new)),
            b"",
            &mut visit,
        )
        .map(drop)
}

struct Pairs<'a> {
    repo: &'a Repo,
    paths: &'a [Vec<u8>],
    scope: ReportScope,
    /// The old path of each renamed file, by the new path.
    moved: HashMap<Vec<u8>, Vec<u8>>,
    /// The old paths of renamed files, sorted.
    gone: Vec<Vec<u8>>,
    links: Links,
}

/// The paths of each group of hard links.
type Groups = HashMap<[u8; 16], Vec<Vec<u8>>>;

/// The hard links of the two trees, read only if an entry differs in nothing else.
struct Links {
    /// The roots; `None` if single directories are compared.
    trees: Option<(Id, Id)>,
    tables: OnceCell<[Groups; 2]>,
    /// For each pair of groups, before and after: whether only hard links were added or removed.
    known: RefCell<HashMap<[Option<[u8; 16]>; 2], bool>>,
}

impl Links {
    fn of(old: Option<&Id>, new: Option<&Id>) -> Self {
        let trees = old.copied().zip(new.copied());
        Self {
            trees,
            tables: OnceCell::new(),
            known: RefCell::default(),
        }
    }

    /// Returns whether two entries with the same path, content and metadata differ only because
    /// other hard links of the file were added or removed. That is a change of those names, not of
    /// this one.
    fn only_count(&self, repo: &Repo, path: &[u8], old: &Entry, new: &Entry) -> Result<bool> {
        // Only whole versions have tables of hard links.
        let Some((old_tree, new_tree)) = self.trees else {
            return Ok(false);
        };
        let groups = [old, new].map(|entry| entry.link.map(|link| link.group));
        // The answer is the same for all names of a pair of groups.
        if let Some(known) = self.known.borrow().get(&groups) {
            return Ok(*known);
        }
        if self.tables.get().is_none() {
            let table = |tree: &Id| {
                Ok::<_, Error>(
                    repo.links(&repo.root_names(tree)?.0)?
                        .0
                        .into_iter()
                        .collect(),
                )
            };
            // The cell is empty, so `set` cannot fail.
            let _ = self.tables.set([table(&old_tree)?, table(&new_tree)?]);
        }
        let Some([old_table, new_table]) = self.tables.get() else {
            return Ok(false);
        };
        // A file without other hard links has only this name.
        let own = [path.to_vec()];
        let before = groups[0]
            .and_then(|group| old_table.get(&group))
            .map_or(&own[..], Vec::as_slice);
        let after = groups[1]
            .and_then(|group| new_table.get(&group))
            .map_or(&own[..], Vec::as_slice);
        let exists = |tree: &Id, path: &[u8]| {
            Ok::<_, Error>(repo.find(tree, &split(path).unwrap_or_default())?.is_some())
        };
        // A name that has left the group but still exists belongs to another file now, which is
        // more than a change of the number of links.
        let mut only = true;
        for (these, others, tree) in [(before, after, new_tree), (after, before, old_tree)] {
            for name in these
                .iter()
                .filter(|name| others.binary_search(name).is_err())
            {
                only = only && !exists(&tree, name)?;
            }
        }
        self.known.borrow_mut().insert(groups, only);
        Ok(only)
    }
}

/// One side of a directory that is being compared.
struct Side<'a> {
    names: Names<'a>,
    next: Option<Entry>,
}

/// A directory that is being compared.
struct Level<'a> {
    old: Side<'a>,
    new: Side<'a>,
    /// The length of its path.
    dir: usize,
}

/// The trees of a pair of directories.
type Trees = (Option<Id>, Option<Id>);

/// The walked pairs of directories, with the number of changes that were reported before each.
#[derive(Default)]
struct Walked {
    begun: HashMap<Trees, u64>,
    reported: u64,
}

impl<'a> Side<'a> {
    fn new(mut names: Names<'a>) -> Result<Self> {
        let next = names.next().transpose()?;
        Ok(Self { names, next })
    }

    fn of(repo: &'a Repo, tree: Option<Id>) -> Result<Self> {
        Self::new(match tree {
            Some(tree) => repo.names(&tree)?,
            None => Names::these(repo, Vec::new()),
        })
    }

    fn take(&mut self) -> Result<Option<Entry>> {
        let next = self.names.next().transpose()?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}

impl Level<'_> {
    /// Returns the next name, with the entries of both sides.
    fn take(&mut self) -> Result<Option<(Option<Entry>, Option<Entry>)>> {
        let order = match (&self.old.next, &self.new.next) {
            (Some(o), Some(n)) => o.name.cmp(&n.name),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return Ok(None),
        };
        let old = if order.is_le() {
            self.old.take()?
        } else {
            None
        };
        let new = if order.is_ge() {
            self.new.take()?
        } else {
            None
        };
        Ok(Some((old, new)))
    }

    fn is_done(&self) -> bool {
        self.old.next.is_none() && self.new.next.is_none()
    }
}

impl Walked {
    /// Returns whether a walk of these directories would report nothing, because an earlier walk
    /// reported nothing. No directory contains itself, so a directory that is met again was walked
    /// to its end.
    fn is_barren(&mut self, trees: Trees) -> bool {
        // Without a record, a pair of directories is only walked once more.
        if self.begun.len() >= WALKED_MAX {
            self.begun.clear();
        }
        self.begun.insert(trees, self.reported) == Some(self.reported)
    }
}

impl<'a> Pairs<'a> {
    fn new(repo: &'a Repo, paths: &'a [Vec<u8>], scope: ReportScope) -> Self {
        Self {
            repo,
            paths,
            scope,
            moved: HashMap::new(),
            gone: Vec::new(),
            links: Links::of(None, None),
        }
    }

    /// Compares two starts, and reports moved files as renamed.
    fn with_moved(
        mut self,
        old: &CompareStart,
        new: &CompareStart,
        dir: &[u8],
        visit: &mut ChangeVisit<'_>,
    ) -> Result<()> {
        // Only files are renamed, and this scope skips pairs of directories that were already
        // walked.
        let scope = std::mem::replace(&mut self.scope, ReportScope::Files);
        let moved = self.find_moved(old, new, dir)?;
        self.gone = moved.values().cloned().collect();
        self.gone.sort_unstable();
        self.moved = moved;
        self.scope = scope;
        self.run(old, new, dir, visit).map(drop)
    }

    /// Pairs deleted files with added ones of the same content, by a first pass over the same
    /// trees. Returns no pairs if there are too many files to compare.
    fn find_moved(
        &self,
        old: &CompareStart,
        new: &CompareStart,
        dir: &[u8],
    ) -> Result<HashMap<Vec<u8>, Vec<u8>>> {
        let (mut gone, mut came): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        let flow = self.run(old, new, dir, &mut |change| {
            let (list, entry) = match change.letter {
                Letter::Deleted => (&mut gone, change.old),
                Letter::Added => (&mut came, change.new),
                _ => return Ok(ControlFlow::Continue(())),
            };
            if let Some(key) = entry.as_ref().and_then(content_key) {
                bytes += change.path.len();
                list.push((key, change.path));
            }
            let many =
                gone.len() > RENAMES_MAX || came.len() > RENAMES_MAX || bytes > RENAME_BYTES_MAX;
            Ok(if many {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        // With too many files, a rename is reported as a deletion and an addition.
        if flow.is_break() {
            return Ok(HashMap::new());
        }
        let mut by_key: HashMap<[u8; 16], Vec<Vec<u8>>> = HashMap::new();
        // `pop` takes the last path, so the reverse order pairs the first deleted file with the
        // first added one.
        for (key, path) in gone.into_iter().rev() {
            by_key.entry(key).or_default().push(path);
        }
        let pair = |(key, path): ([u8; 16], Vec<u8>)| Some((path, by_key.get_mut(&key)?.pop()?));
        Ok(came.into_iter().filter_map(pair).collect())
    }

    /// Walks both sides iteratively, because a version may be nested more deeply than the stack of
    /// a thread allows.
    fn run(
        &self,
        old: &CompareStart,
        new: &CompareStart,
        dir: &[u8],
        visit: &mut ChangeVisit<'_>,
    ) -> Result<ControlFlow<()>> {
        let ((old_meta, old), (new_meta, new)) = (old.names(self.repo)?, new.names(self.repo)?);
        if let (Some(before), Some(after)) = (&old_meta, &new_meta)
            && before != after
            && self.paths.is_empty()
            && self.scope != ReportScope::Files
        {
            let change = TreeChange {
                letter: Letter::Metadata,
                path: Vec::new(),
                from: None,
                old: None,
                new: None,
            };
            if visit(change)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        let mut path = dir.to_vec();
        let mut walked = Walked::default();
        let mut levels = vec![Level {
            old: Side::new(old)?,
            new: Side::new(new)?,
            dir: path.len(),
        }];
        while let Some(level) = levels.last_mut() {
            let Some((old, new)) = level.take()? else {
                levels.pop();
                continue;
            };
            path.truncate(level.dir);
            if level.is_done() {
                // Drop a finished level before the next one is entered, so that a long chain of
                // directories does not fill the memory.
                levels.pop();
            }
            // Equal entries have equal subtrees, so nothing below them is read.
            if old == new {
                continue;
            }
            let Some(name) = new.as_ref().or(old.as_ref()).map(|e| &e.name) else {
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            match self.pair(&path, old, new, &mut walked, visit)? {
                ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
                ControlFlow::Continue(None) => {}
                ControlFlow::Continue(Some((old, new))) => {
                    let (old, new) = (Side::of(self.repo, old)?, Side::of(self.repo, new)?);
                    levels.push(Level {
                        old,
                        new,
                        dir: path.len(),
                    });
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Reports one name, and returns the directories to walk below it.
    fn pair(
        &self,
        path: &[u8],
        old: Option<Entry>,
        new: Option<Entry>,
        walked: &mut Walked,
        visit: &mut ChangeVisit<'_>,
    ) -> Result<ControlFlow<(), Option<Trees>>> {
        let inside = self.paths.is_empty() || self.paths.iter().any(|p| is_within(path, p));
        // Descend into a directory above a wanted path, but do not report it.
        let above = !inside && self.paths.iter().any(|p| is_within(p, path));
        if !inside && !above {
            return Ok(ControlFlow::Continue(None));
        }
        if let (Some(old), Some(new)) = (&old, &new)
            && old.link != new.link
            && old.meta == new.meta
            && old.node == new.node
            && inside
            && self.links.only_count(self.repo, path, old, new)?
        {
            return Ok(ControlFlow::Continue(None));
        }
        let trees = (tree_of(old.as_ref()), tree_of(new.as_ref()));
        // A directory that exists on one side only is reported as a whole.
        let is_whole = self.scope == ReportScope::WholeDirs
            && inside
            && trees.0.is_some() != trees.1.is_some();
        let is_dir = [&old, &new].into_iter().flatten().all(Entry::is_dir);
        let is_reported = inside && !(self.scope == ReportScope::Files && is_dir);
        if let Some(letter) = letter(old.as_ref(), new.as_ref()).filter(|_| is_reported) {
            walked.reported += 1;
            let from = if letter == Letter::Added {
                self.moved.get(path).cloned()
            } else {
                None
            };
            let letter = if from.is_some() {
                Letter::Renamed
            } else {
                letter
            };
            // The change of the new path also reports the old one.
            let moved_away = letter == Letter::Deleted
                && self
                    .gone
                    .binary_search_by(|gone| gone.as_slice().cmp(path))
                    .is_ok();
            let change = TreeChange {
                letter,
                path: path.to_vec(),
                from,
                old,
                new,
            };
            if !moved_away && visit(change)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        // With paths, the report below a directory depends on its path, so an earlier walk proves
        // nothing.
        let barren =
            self.scope == ReportScope::Files && self.paths.is_empty() && walked.is_barren(trees);
        let ends = trees.0 == trees.1 || is_whole || barren;
        Ok(ControlFlow::Continue((!ends).then_some(trees)))
    }
}

fn tree_of(entry: Option<&Entry>) -> Option<Id> {
    match entry.map(|e| &e.node) {
        Some(Node::Dir { tree, .. }) => Some(*tree),
        _ => None,
    }
}

/// Returns the change of the entry itself; `None` if only entries below it changed.
pub fn letter(old: Option<&Entry>, new: Option<&Entry>) -> Option<Letter> {
    let (old, new) = match (old, new) {
        (None, None) => return None,
        (None, Some(_)) => return Some(Letter::Added),
        (Some(_), None) => return Some(Letter::Deleted),
        (Some(old), Some(new)) => (old, new),
    };
    let same_content = match (&old.node, &new.node) {
        // The entries of both directories are compared separately.
        (Node::Dir { .. }, Node::Dir { .. }) | (Node::Fifo, Node::Fifo) => true,
        (
            Node::File { size, content, .. },
            Node::File {
                size: new_size,
                content: new_content,
                ..
            },
        ) => size == new_size && content == new_content,
        (Node::Symlink { .. }, Node::Symlink { .. })
        | (Node::CharDevice { .. }, Node::CharDevice { .. })
        | (Node::BlockDevice { .. }, Node::BlockDevice { .. }) => old.node == new.node,
        _ => return Some(Letter::Type),
    };
    if !same_content {
        return Some(Letter::Content);
    }
    (old.meta != new.meta || old.link != new.link).then_some(Letter::Metadata)
}

/// Returns a key that is equal for files with the same content; `None` for empty files and other
/// nodes.
fn content_key(entry: &Entry) -> Option<[u8; 16]> {
    // Empty files are all equal, so any pair of them would be arbitrary.
    let Node::File { size: 1.., .. } = entry.node else {
        return None;
    };
    // A rename may change the name, the metadata and the links, so only the content counts.
    let bare = Entry {
        name: Vec::new(),
        meta: Meta::default(),
        link: None,
        node: entry.node.clone(),
    };
    Some(checksum(&[&encode_entry(&bare)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::made::{Made, entry, file};

    fn shown(made: &Made, old: Vec<Entry>, new: Vec<Entry>, paths: &[&str]) -> String {
        let paths: Vec<Vec<u8>> = paths.iter().map(|p| p.as_bytes().to_vec()).collect();
        let (old, new) = (made.root(old), made.root(new));
        let mut lines = String::new();
        compare(&made.repo, Some(&old), Some(&new), &paths, &mut |c| {
            let from = c
                .from
                .map(|f| String::from_utf8(f).unwrap() + " > ")
                .unwrap_or_default();
            lines += &format!(
                "{} {from}{}\n",
                c.letter.as_str(),
                String::from_utf8(c.path).unwrap()
            );
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        lines
    }

    #[test]
    fn every_letter() {
        let made = Made::new();
        let mut chmod = file("mode", "x");
        chmod.meta.mode = 0o600;
        let old = || {
            vec![
                made.dir(
                    "d",
                    vec![file("gone", "1"), file("move", "same"), file("stay", "2")],
                ),
                file("edit", "a"),
                file("mode", "x"),
                file("node", ""),
                made.dir("was", vec![file("f", "f")]),
            ]
        };
        let new = vec![
            made.dir("d", vec![file("new", "3"), file("stay", "2")]),
            file("edit", "b"),
            chmod,
            file("moved", "same"),
            entry("node", Node::Fifo),
            file("was", "now a file"),
        ];
        insta::assert_snapshot!(shown(&made, old(), new.clone(), &[]), @"
        D d/gone
        A d/new
        M edit
        m mode
        R d/move > moved
        T node
        T was
        D was/f
        ");
        insta::assert_snapshot!(shown(&made, old(), new, &["d/new", "was"]), @"
        A d/new
        T was
        D was/f
        ");
        assert_eq!(shown(&made, old(), old(), &[]), "");
    }
}
