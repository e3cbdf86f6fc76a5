//! What differs between two trees: equal subtrees are skipped by id, changes come sorted by directory and name.
//!
//! Trees in, one [`Change`] per path out. Reads directories only, never file data.

use crate::codec::hash::checksum;
use crate::error::Result;
use crate::format::object::encode_entry;
use crate::model::entry::{Entry, Meta, Node};
use crate::model::id::Id;
use crate::model::path::{is_within, join};
use crate::repo::Repo;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::ControlFlow;

/// With more added or deleted files than this, moved ones are not looked for.
const RENAMES_MAX: usize = 100_000;

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Letter {
    /// It is new.
    Added,
    /// Its content changed.
    Content,
    /// Only mode, owner, time, attributes or links changed.
    Metadata,
    /// It became another kind of node.
    Type,
    /// It is gone.
    Deleted,
    /// It has another path now, with the same content.
    Renamed,
    /// It could not be read, or changed while it was read.
    Unstable,
}

impl Letter {
    /// The letter as it is shown.
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

/// One path that differs. The root of a version is the empty path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub letter: Letter,
    /// Its path, the new one where it was renamed.
    pub path: Vec<u8>,
    /// Its path before, where it was renamed.
    pub from: Option<Vec<u8>>,
    /// What it was; `None` for the root.
    pub old: Option<Entry>,
    /// What it is; `None` for the root.
    pub new: Option<Entry>,
}

/// Receives changes until it breaks.
pub type Visit<'v> = dyn FnMut(Change) -> Result<ControlFlow<()>> + 'v;

/// Compares two versions' trees, `None` is an empty one. With `paths`, only what is one of them or lies below one.
pub fn compare(
    repo: &Repo,
    old: Option<&Id>,
    new: Option<&Id>,
    paths: &[Vec<u8>],
    visit: &mut Visit<'_>,
) -> Result<()> {
    let (old_root, old) = root(repo, old)?;
    let (new_root, new) = root(repo, new)?;
    if let (Some(before), Some(after)) = (&old_root, &new_root)
        && before != after
        && paths.is_empty()
    {
        let change = Change { letter: Letter::Metadata, path: Vec::new(), from: None, old: None, new: None };
        if visit(change)?.is_break() {
            return Ok(());
        }
    }
    entries(repo, old, new, b"", paths, visit)
}

fn root(repo: &Repo, tree: Option<&Id>) -> Result<(Option<Meta>, Vec<Entry>)> {
    match tree {
        Some(tree) => repo.root(tree).map(|(info, entries)| (Some(info.meta), entries)),
        None => Ok((None, Vec::new())),
    }
}

/// Compares two directories' entries; paths begin with `dir`.
pub fn entries(
    repo: &Repo,
    old: Vec<Entry>,
    new: Vec<Entry>,
    dir: &[u8],
    paths: &[Vec<u8>],
    visit: &mut Visit<'_>,
) -> Result<()> {
    let mut pairs = Pairs { repo, paths, moved: HashMap::new(), gone: Vec::new(), whole_dirs: false };
    let moved = pairs.find_moved(&old, &new, dir)?;
    pairs.gone = moved.values().cloned().collect();
    pairs.gone.sort_unstable();
    pairs.moved = moved;
    pairs.directory(old, new, dir, visit).map(drop)
}

/// What has to be done to make `old` into `new`: like [`compare`], but nothing is called renamed, and a directory that
/// comes or goes stands for all that is in it.
pub fn steps(repo: &Repo, old: Option<&Id>, new: &Id, paths: &[Vec<u8>], visit: &mut Visit<'_>) -> Result<()> {
    let (_, old) = root(repo, old)?;
    let (_, new) = root(repo, Some(new))?;
    let pairs = Pairs { repo, paths, moved: HashMap::new(), gone: Vec::new(), whole_dirs: true };
    pairs.directory(old, new, b"", visit).map(drop)
}

struct Pairs<'a> {
    repo: &'a Repo,
    paths: &'a [Vec<u8>],
    /// What is below a directory that comes or goes is not told.
    whole_dirs: bool,
    /// New path to old path.
    moved: HashMap<Vec<u8>, Vec<u8>>,
    /// Old paths of what moved, sorted.
    gone: Vec<Vec<u8>>,
}

impl Pairs<'_> {
    /// Pairs deleted files with added ones of the same content, by a first pass over the same trees.
    fn find_moved(&self, old: &[Entry], new: &[Entry], dir: &[u8]) -> Result<HashMap<Vec<u8>, Vec<u8>>> {
        let (mut gone, mut came): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        let _ended_early = self.directory(old.to_vec(), new.to_vec(), dir, &mut |change| {
            let (list, entry) = match change.letter {
                Letter::Deleted => (&mut gone, change.old),
                Letter::Added => (&mut came, change.new),
                _ => return Ok(ControlFlow::Continue(())),
            };
            if let Some(key) = entry.as_ref().and_then(content_key) {
                list.push((key, change.path));
            }
            let many = gone.len() > RENAMES_MAX || came.len() > RENAMES_MAX;
            Ok(if many { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if gone.len() > RENAMES_MAX || came.len() > RENAMES_MAX {
            return Ok(HashMap::new());
        }
        let mut by_key: HashMap<[u8; 16], Vec<Vec<u8>>> = HashMap::new();
        for (key, path) in gone.into_iter().rev() {
            by_key.entry(key).or_default().push(path);
        }
        let pair = |(key, path): ([u8; 16], Vec<u8>)| Some((path, by_key.get_mut(&key)?.pop()?));
        Ok(came.into_iter().filter_map(pair).collect())
    }

    fn directory(
        &self,
        old: Vec<Entry>,
        new: Vec<Entry>,
        dir: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>> {
        let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some(o), Some(n)) => o.name.cmp(&n.name),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return Ok(ControlFlow::Continue(())),
            };
            let before = if order.is_le() { old.next() } else { None };
            let after = if order.is_ge() { new.next() } else { None };
            if before != after && self.pair(before, after, dir, visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }

    fn pair(
        &self,
        old: Option<Entry>,
        new: Option<Entry>,
        dir: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>> {
        let Some(name) = new.as_ref().or(old.as_ref()).map(|e| e.name.as_slice()) else {
            return Ok(ControlFlow::Continue(()));
        };
        let path = join(dir, name);
        let inside = self.paths.is_empty() || self.paths.iter().any(|p| is_within(&path, p));
        let above = !inside && self.paths.iter().any(|p| is_within(p, &path));
        if !inside && !above {
            return Ok(ControlFlow::Continue(()));
        }
        let (old_tree, new_tree) = (tree_of(old.as_ref()), tree_of(new.as_ref()));
        let told_whole = self.whole_dirs && inside && old_tree.is_some() != new_tree.is_some();
        if let Some(letter) = letter(old.as_ref(), new.as_ref()).filter(|_| inside) {
            let from = if letter == Letter::Added { self.moved.get(&path).cloned() } else { None };
            let letter = if from.is_some() { Letter::Renamed } else { letter };
            let moved_away = letter == Letter::Deleted && self.gone.binary_search(&path).is_ok();
            let change = Change { letter, path: path.clone(), from, old, new };
            if !moved_away && visit(change)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if old_tree == new_tree || told_whole {
            return Ok(ControlFlow::Continue(()));
        }
        let below = |tree: Option<Id>| tree.map_or(Ok(Vec::new()), |id| self.repo.entries(&id));
        self.directory(below(old_tree)?, below(new_tree)?, &path, visit)
    }
}

fn tree_of(entry: Option<&Entry>) -> Option<Id> {
    match entry.map(|e| &e.node) {
        Some(Node::Dir { tree, .. }) => Some(*tree),
        _ => None,
    }
}

/// What happened to the entry itself; `None` where only what lies below it changed.
pub(super) fn letter(old: Option<&Entry>, new: Option<&Entry>) -> Option<Letter> {
    let (old, new) = match (old, new) {
        (None, None) => return None,
        (None, Some(_)) => return Some(Letter::Added),
        (Some(_), None) => return Some(Letter::Deleted),
        (Some(old), Some(new)) => (old, new),
    };
    let same_content = match (&old.node, &new.node) {
        (Node::Dir { .. }, Node::Dir { .. }) | (Node::Fifo, Node::Fifo) => true,
        (Node::File { size, content, .. }, Node::File { size: new_size, content: new_content, .. }) => {
            size == new_size && content == new_content
        }
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

/// The same for files of the same content; empty files and other nodes have none.
fn content_key(entry: &Entry) -> Option<[u8; 16]> {
    let Node::File { size: 1.., .. } = entry.node else { return None };
    let bare = Entry { name: Vec::new(), meta: Meta::default(), link: None, node: entry.node.clone() };
    Some(checksum(&[&encode_entry(&bare)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::made::{Made, entry, file};

    fn shown(made: &Made, old: Vec<Entry>, new: Vec<Entry>, paths: &[&str]) -> String {
        let paths: Vec<Vec<u8>> = paths.iter().map(|p| p.as_bytes().to_vec()).collect();
        let (old, new) = (made.root(old), made.root(new));
        let mut lines = String::new();
        compare(&made.repo, Some(&old), Some(&new), &paths, &mut |c| {
            let from = c.from.map(|f| String::from_utf8(f).unwrap() + " > ").unwrap_or_default();
            lines += &format!("{} {from}{}\n", c.letter.as_str(), String::from_utf8(c.path).unwrap());
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
                made.dir("d", vec![file("gone", "1"), file("move", "same"), file("stay", "2")]),
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
