//! Data that a lazy clone lacks, brought before it is needed: near ranges in one request, many requests at a time.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Context;
use super::compare::Change;
use crate::error::Result;
use crate::model::entry::{Content, Entry, Node};
use crate::model::id::Id;
use crate::observe::Observer;
use crate::repo::packs::read_table;
use crate::repo::{Repo, layout};
use crate::sync::copy::Copier;
use crate::sync::cover::Cover;
use crate::sync::missing::{From, Missing, Needed, Wanted};

/// Files up to this size are replaced whole by a checkout, so all of their chunks are needed.
const REPLACED_WHOLE: u64 = 1 << 20;

/// Brings all data of a tree into this repository.
pub(super) fn bring_tree(context: &Context, repo: &Repo, tree: &Id, observer: &dyn Observer) -> Result<()> {
    bring(context, repo, observer, |missing| missing.tree(tree, None))
}

/// Brings the data that some changes of a worktree need.
pub(super) fn bring_changes(context: &Context, repo: &Repo, changes: &[Change], observer: &dyn Observer) -> Result<()> {
    let old = |change: &Change| match change.old.as_ref().map(|old| &old.node) {
        Some(Node::File { content, size, .. }) if *size > REPLACED_WHOLE => Some(content.clone()),
        _ => None,
    };
    bring(context, repo, observer, |missing| {
        for change in changes {
            let Some(new) = &change.new else { continue };
            let before = old(change).filter(|_| new.size() > REPLACED_WHOLE);
            if !new.is_dir() || change.old.is_none() {
                missing.entry(new, before.as_ref())?;
            }
        }
        Ok(())
    })
}

fn bring(
    context: &Context,
    repo: &Repo,
    observer: &dyn Observer,
    find: impl FnOnce(&mut Missing<'_>) -> Result<()>,
) -> Result<()> {
    if !repo.is_lazy() {
        return Ok(());
    }
    observer.phase("looking", None, None);
    let mut missing = Missing::new(From::Behind(repo), Some(repo), Wanted::Chunks, observer);
    find(&mut missing)?;
    let needed = missing.finish();
    let Some(behind) = repo.behind()?.filter(|_| needed.iter().any(|packs| !packs.is_empty())) else { return Ok(()) };
    let meter = context.remotes.iter().find(|r| r.lazy).map(|r| r.access.meter.clone()).unwrap_or_default();
    let copier = Copier {
        source: behind,
        dest: repo,
        staging: repo.local()?,
        meter: &meter,
        earlier: &BTreeSet::new(),
        arrived: &|_| {},
        observer,
    };
    let sent = copier.run(copier.plan(&needed)?, "receiving")?;
    Cover { source: behind, dest: repo, staging: repo.local()?, observer }.run(&sent)?;
    Ok(())
}

/// Fetches what a file needs into the cache, where it is not on this machine.
pub(super) fn ahead(context: &Context, repo: &Repo, entry: &Entry, observer: &dyn Observer) -> Result<()> {
    let inline = matches!(&entry.node, Node::File { content: Content::Inline(_), .. });
    // What does not fit into the cache would be fetched twice.
    if inline || (!repo.is_lazy() && repo.far().is_none()) || entry.size() > context.cache.limit_bytes / 2 {
        return Ok(());
    }
    let from = if repo.far().is_some() { From::Repo(repo) } else { From::Behind(repo) };
    // A repository elsewhere has everything, but nothing of it is here.
    let dest = if repo.far().is_some() { None } else { Some(repo) };
    let mut missing = Missing::new(from, dest, Wanted::Chunks, observer);
    missing.entry(entry, None)?;
    let needed = missing.finish();
    let source = if repo.far().is_some() { Some(repo) } else { repo.behind()? };
    let Some(far) = source.and_then(Repo::far) else { return Ok(()) };
    far.fetch_ahead(&ranges(repo, source, &needed)?)?;
    Ok(())
}

/// The bytes of frames in their packs.
fn ranges(repo: &Repo, source: Option<&Repo>, needed: &[Needed; 3]) -> Result<Vec<(String, Vec<Range<u64>>)>> {
    let mut all = Vec::new();
    for (name, offsets) in needed.iter().flatten() {
        let table = read_table(source.unwrap_or(repo).store(), name)?;
        let wanted: BTreeSet<u64> = offsets.iter().map(|o| u64::from(*o)).collect();
        let frames = table.frames.iter().filter(|f| wanted.contains(&f.offset));
        all.push((layout::pack(name), frames.map(|f| f.offset..f.offset + u64::from(f.stored)).collect()));
    }
    Ok(all)
}
