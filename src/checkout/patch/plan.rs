//! Chooses the method for each difference, before anything is changed.
//!
//! Invariant: if a file keeps its inode under one name, it keeps the inode under all names of its
//! group.

use std::collections::HashMap;

use crate::checkout::patch::change::Change;
use crate::model::entry::{Content, Entry, Node};
use crate::model::path::is_within;

/// Files up to this size in bytes are replaced as a whole.
pub const REPLACED_WHOLE: u64 = 1 << 20;
/// The changes, grouped by method.
#[derive(Default)]
pub(in crate::checkout) struct Plan<'c> {
    /// New directories with all their content.
    pub(in crate::checkout) trees: Vec<&'c Change>,
    /// Nodes to replace.
    pub(in crate::checkout) replaced: Vec<&'c Change>,
    /// Nodes to replace that have several hard links.
    pub(in crate::checkout) linked: Vec<&'c Change>,
    /// Files to patch, each with its other hard links.
    pub(in crate::checkout) large: Vec<(&'c Change, Vec<&'c Change>)>,
    /// Nodes whose content does not change.
    pub(in crate::checkout) metadata: Vec<&'c Change>,
}

/// Chooses the method for each change.
pub(in crate::checkout) fn plan(changes: &[Change]) -> Plan<'_> {
    let mut plan = Plan::default();
    let mut groups: HashMap<[u8; 16], (u32, (&Node, &Node))> = HashMap::new();
    for change in changes {
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && let Some(link) = &new.link
            && old.link == new.link
        {
            let nodes = (&old.node, &new.node);
            let group = groups.entry(link.group).or_insert((0, nodes));
            // All hard links of a file have the same content unless the version was forged. A
            // forged group is not patched as one file.
            group.0 = if group.1 == nodes {
                group.0.saturating_add(1)
            } else {
                u32::MAX
            };
        }
    }
    let mut patched: HashMap<[u8; 16], usize> = HashMap::new();
    let mut tree: Option<Vec<u8>> = None;
    for change in changes {
        let Some(new) = &change.new else { continue };
        // A new directory includes everything below it.
        if tree.as_ref().is_some_and(|t| is_within(&change.path, t)) {
            continue;
        }
        if new.is_dir() {
            if !is_dir(&change.old) {
                tree = Some(change.path.clone());
                plan.trees.push(change);
            } else {
                plan.metadata.push(change);
            }
            continue;
        }
        let old = change.old.as_ref();
        let same_link = old.is_some_and(|o| o.link == new.link);
        // A file that joins or leaves a group of hard links gets a new inode.
        let in_place = same_link && old.is_some_and(|o| patchable(o) && patchable(new));
        // Patching a file changes it under all of its names, so all must be differences with the
        // same content.
        let whole_group = new
            .link
            .is_none_or(|l| groups.get(&l.group).map(|g| g.0) == Some(l.count));
        if change.sure && same_link && old.is_some_and(|o| same_content(&o.node, &new.node)) {
            plan.metadata.push(change);
        } else if in_place && whole_group {
            match new
                .link
                .and_then(|l| patched.get(&l.group))
                .and_then(|at| plan.large.get_mut(*at))
            {
                Some(first) => first.1.push(change),
                None => {
                    if let Some(link) = new.link {
                        patched.insert(link.group, plan.large.len());
                    }
                    plan.large.push((change, Vec::new()));
                }
            }
        } else if new.link.is_some() {
            plan.linked.push(change);
        } else {
            plan.replaced.push(change);
        }
    }
    plan
}

pub(in crate::checkout) fn is_dir(entry: &Option<Entry>) -> bool {
    entry.as_ref().is_some_and(Entry::is_dir)
}

/// Returns whether a file is patched instead of replaced.
fn patchable(entry: &Entry) -> bool {
    matches!(&entry.node, Node::File { size, content, .. } if *size > REPLACED_WHOLE && !matches!(content, Content::Inline(_)))
}

/// Returns whether two nodes have the same content, regardless of the chunker.
fn same_content(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (
            Node::File {
                size: a_size,
                content: a,
                ..
            },
            Node::File {
                size: b_size,
                content: b,
                ..
            },
        ) => a_size == b_size && a == b,
        _ => a == b,
    }
}
