//! Replaces single paths in a stored tree, for commits of some paths, of standard input, and of the
//! output of a command.

use std::collections::BTreeMap;

use super::content::store::store_links;
use super::output::Output;
use super::tree::store_tree;
use crate::error::Result;
use crate::model::entry::{Entry, Meta, Node, Totals};
use crate::model::id::Id;
use crate::model::path::{is_within, split};
use crate::model::tree::{LinkTable, RootInfo};
use crate::snapshot::walk::links::take_out;

/// A path and its new entry; `None` removes the entry.
pub type Edit = (Vec<Vec<u8>>, Option<Entry>);

/// Returns the tree `root` (empty if `None`) with the edited paths. `links` are the hard links
/// among the new entries; hard links between new and other entries are removed. `meta` returns the
/// metadata of a missing directory by path; the metadata of the root is only requested if there was
/// no root.
pub fn graft(
    out: &Output<'_>,
    root: Option<&Id>,
    mut edits: Vec<Edit>,
    links: LinkTable,
    meta: &dyn Fn(&[Vec<u8>]) -> Result<Meta>,
) -> Result<(Id, Totals)> {
    let (info, entries) = match root {
        Some(root) => {
            let (info, entries) = out.repo().root(root)?;
            (Some(info), entries)
        }
        None => (None, Vec::new()),
    };
    let mut table = match &info {
        Some(info) => out.repo().links(info)?,
        None => LinkTable::default(),
    };
    let replaced: Vec<Vec<u8>> = edits.iter().map(|e| e.0.join(&b'/')).collect();
    // Names outside of the edited paths lose their links to names inside, so their entries change
    // too.
    for (path, link) in take_out(&mut table, |path| {
        replaced.iter().any(|r| is_within(path, r))
    }) {
        let names = split(&path).unwrap_or_default();
        let entry = root.map_or(Ok(None), |root| out.repo().find(root, &names))?;
        edits.extend(entry.map(|entry| (names, Some(Entry { link, ..entry }))));
    }
    table.0.extend(links.0);
    // Groups are ascending in the format.
    table.0.sort();
    let links = if table.0.is_empty() {
        None
    } else {
        Some(store_links(out, &table)?)
    };
    let mut at = Vec::new();
    let entries = replace(out, entries, edits, &mut at, meta)?;
    let totals = sum(&entries);
    let info = RootInfo {
        totals,
        links,
        meta: info.map_or_else(|| meta(&[]), |i| Ok(i.meta))?,
    };
    let tree = store_tree(entries, Some(info), out)?;
    out.flush()?;
    Ok((tree, totals))
}

fn sum(entries: &[Entry]) -> Totals {
    let mut totals = Totals::default();
    entries.iter().for_each(|e| totals.add(e));
    totals
}

fn replace(
    out: &Output<'_>,
    entries: Vec<Entry>,
    edits: Vec<Edit>,
    at: &mut Vec<Vec<u8>>,
    meta: &dyn Fn(&[Vec<u8>]) -> Result<Meta>,
) -> Result<Vec<Entry>> {
    let mut all: BTreeMap<Vec<u8>, Entry> =
        entries.into_iter().map(|e| (e.name.clone(), e)).collect();
    let mut deeper: BTreeMap<Vec<u8>, Vec<Edit>> = BTreeMap::new();
    // Separate the edits of names in this directory from those below its subdirectories.
    for (mut path, entry) in edits {
        if path.is_empty() {
            continue;
        }
        let name = path.remove(0);
        if !path.is_empty() {
            deeper.entry(name).or_default().push((path, entry));
        } else if let Some(entry) = entry {
            all.insert(name.clone(), Entry { name, ..entry });
        } else {
            all.remove(&name);
        }
    }
    for (name, edits) in deeper {
        let old = all.remove(&name);
        let only_removes = edits.iter().all(|e| e.1.is_none());
        let (inner, own) = match &old {
            Some(Entry {
                node: Node::Dir { tree, .. },
                meta,
                ..
            }) => (out.repo().entries(tree)?, Some(meta.clone())),
            // Removing a path below a missing directory changes nothing.
            _ if only_removes => {
                all.extend(old.map(|o| (name, o)));
                continue;
            }
            _ => (Vec::new(), None),
        };
        at.push(name.clone());
        let own = own.map_or_else(|| meta(at), Ok)?;
        let inner = replace(out, inner, edits, at, meta)?;
        at.pop();
        let totals = sum(&inner);
        let tree = store_tree(inner, None, out)?;
        all.insert(
            name.clone(),
            Entry {
                name,
                meta: own,
                link: None,
                node: Node::Dir { tree, totals },
            },
        );
    }
    Ok(all.into_values().collect())
}
