//! Finds the versions and paths that lost objects affect.
//!
//! Undamaged subtrees are remembered and skipped in other versions; damaged subtrees are walked
//! again in each version. The walk is not recursive, because directories may be nested deeply.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use super::findings::{Findings, is_damage};
use super::logs::Root;
use super::report::{Reach, Reached};
use super::walk::Versions;
use crate::error::{Kind, Result};
use crate::format::object::ListNode;
use crate::model::entry::{Content, Entry, Extent, Node};
use crate::model::id::Id;
use crate::model::path;
use crate::model::refname::RefKind;
use crate::observe::Observer;
use crate::repo::Repo;

/// Limit on the depth of chunk lists.
const DEPTH_MAX: usize = 64;

/// A directory that is being walked.
struct Level {
    tree: Id,
    entries: std::vec::IntoIter<Entry>,
    path: Vec<u8>,
    dirty: bool,
}

struct Reacher<'a> {
    repo: &'a Repo,
    findings: &'a Findings<'a>,
    clean: HashSet<u64>,
    dirty_lists: HashSet<u64>,
    hits: BTreeMap<(Vec<u8>, bool), Vec<Range<usize>>>,
}

/// Returns the versions and paths that lost objects affect.
pub(super) fn reaches(
    repo: &Repo,
    findings: &Findings<'_>,
    observer: &dyn Observer,
    roots: &[Root],
    versions: Versions,
) -> Result<(Vec<Reached>, Vec<Reach>)> {
    let Versions { mut whole, lost } = versions;
    // Versions of one ref are neighbours then, so that their numbers form few ranges.
    whole.sort_by_key(|v| (v.root, v.ordinal));
    observer.phase("find affected versions", Some(whole.len() as u64), None);
    let mut reacher = Reacher {
        repo,
        findings,
        clean: HashSet::new(),
        dirty_lists: HashSet::new(),
        hits: BTreeMap::new(),
    };
    let mut reached = Vec::new();
    // Versions whose commits are lost come first, and their whole tree counts as affected.
    for version in &lost {
        reacher.hit(reached.len(), Vec::new(), true);
        reached.push(Reached {
            name: name_of(roots, version.root, version.ordinal, &version.id),
            id: version.id,
        });
    }
    for version in whole {
        if observer.cancelled() {
            break;
        }
        if reacher.walk(reached.len(), &version.tree)? {
            reached.push(Reached {
                name: name_of(roots, version.root, Some(version.ordinal), &version.id),
                id: version.id,
            });
        }
        observer.advance(1, 0);
    }
    let reach = |((path, directory), versions)| Reach {
        path,
        directory,
        versions,
    };
    Ok((reached, reacher.hits.into_iter().map(reach).collect()))
}

fn name_of(roots: &[Root], root: usize, ordinal: Option<u64>, id: &Id) -> String {
    let short = id.short();
    match (roots.get(root), ordinal) {
        (Some(r), _) if r.kind == RefKind::Trash => format!("{short} (in the trash)"),
        (Some(r), Some(n)) if r.current && r.kind != RefKind::Tag => format!("{}@v{n}", r.name),
        (Some(r), _) if r.current && r.id == *id => r.name.clone(),
        (Some(r), _) if !r.current => format!("{short} (in the log of {})", r.name),
        _ => short,
    }
}

impl Reacher<'_> {
    fn hit(&mut self, version: usize, path: Vec<u8>, directory: bool) {
        let runs = self.hits.entry((path, directory)).or_default();
        match runs.last_mut() {
            Some(last) if last.end == version => last.end += 1,
            Some(last) if last.contains(&version) => {}
            _ => runs.push(version..version + 1),
        }
    }

    /// Returns whether a tree is known to have no lost object. The trees that only the remote has
    /// count as clean.
    fn is_clean(&self, id: &Id) -> bool {
        self.clean.contains(&id.prefix()) || self.findings.is_remote(id)
    }

    /// Walks a version and records the affected paths. Returns whether any object in the version is
    /// lost.
    fn walk(&mut self, version: usize, root: &Id) -> Result<bool> {
        if self.is_clean(root) {
            return Ok(false);
        }
        let mut dirty = false;
        let node = match self.repo.root(root) {
            Ok((info, entries)) => {
                if info.links.as_ref().map_or(Ok(false), |l| self.is_lost(l))? {
                    self.hit(version, Vec::new(), false);
                    dirty = true;
                }
                entries
            }
            Err(e) if is_damage(&e) => {
                self.hit(version, Vec::new(), true);
                return Ok(true);
            }
            // The remote of a lazy clone does not respond, so the state of this version is unknown.
            Err(e) if e.kind() == Kind::Unreachable => return Ok(dirty),
            Err(e) => return Err(e),
        };
        let mut stack = vec![Level {
            tree: *root,
            entries: node.into_iter(),
            path: Vec::new(),
            dirty,
        }];
        while let Some(level) = stack.last_mut() {
            let Some(entry) = level.entries.next() else {
                let Some(done) = stack.pop() else { break };
                // Only a tree without any damage is skipped in other versions, because damage is
                // listed for each version.
                if !done.dirty {
                    self.clean.insert(done.tree.prefix());
                }
                // Damage makes all directories above dirty.
                match stack.last_mut() {
                    Some(above) => above.dirty |= done.dirty,
                    None => dirty = done.dirty,
                }
                continue;
            };
            let path = path::join(&level.path, &entry.name);
            match &entry.node {
                Node::File { content, .. } if self.is_lost(content)? => {
                    level.dirty = true;
                    self.hit(version, path, false);
                }
                Node::Dir { tree, .. } if !self.is_clean(tree) => match self.repo.entries(tree) {
                    Ok(entries) => {
                        stack.push(Level {
                            tree: *tree,
                            entries: entries.into_iter(),
                            path,
                            dirty: false,
                        });
                    }
                    Err(e) if is_damage(&e) => {
                        level.dirty = true;
                        self.hit(version, path, true);
                    }
                    // The state of an unreachable directory is unknown, so it is not listed as
                    // damaged.
                    Err(e) if e.kind() == Kind::Unreachable => {}
                    Err(e) => return Err(e),
                },
                _ => {}
            }
        }
        Ok(dirty)
    }

    fn is_lost(&mut self, content: &Content) -> Result<bool> {
        match content {
            Content::Inline(_) => Ok(false),
            Content::Direct(extents) => Ok(self.any_lost(extents)),
            Content::List(root) => self.list_is_lost(root, 0),
        }
    }

    fn any_lost(&self, extents: &[Extent]) -> bool {
        extents
            .iter()
            .filter_map(|x| x.chunk.as_ref())
            .any(|id| self.findings.is_lost(id))
    }

    fn list_is_lost(&mut self, id: &Id, depth: usize) -> Result<bool> {
        if self.is_clean(id) {
            return Ok(false);
        }
        // A forged list may be deep enough to exhaust the stack.
        if depth > DEPTH_MAX || self.dirty_lists.contains(&id.prefix()) {
            return Ok(true);
        }
        let lost = match self.repo.list_node(id) {
            Ok(ListNode::Leaf(extents)) => self.any_lost(&extents),
            Ok(ListNode::Inner(children)) => {
                // All children are visited without a shortcut, so that each one is remembered.
                let mut lost = false;
                for (_, child) in &children {
                    lost |= self.list_is_lost(child, depth + 1)?;
                }
                lost
            }
            Err(e) if is_damage(&e) => true,
            Err(e) if e.kind() == Kind::Unreachable => false,
            Err(e) => return Err(e),
        };
        // Other versions and files share lists, so each list is read once.
        let memo = if lost {
            &mut self.dirty_lists
        } else {
            &mut self.clean
        };
        memo.insert(id.prefix());
        Ok(lost)
    }
}
