//! Fetches missing data of a lazy clone in advance, with few requests for nearby ranges and many
//! requests at a time.

use crate::checkout::patch::plan::REPLACED_WHOLE;
use crate::context::Context;
use crate::error::Result;
use crate::model::entry::{Entry, Node};
use crate::model::id::Id;
use crate::observe::Observer;
use crate::query::compare::TreeChange;
use crate::repo::{Repo, layout};
use crate::sync::copy::Copier;
use crate::sync::missing::{From, Missing, Wanted, is_nothing};

/// Fetches all data of a tree into this repository.
pub fn fetch_tree(
    context: &Context,
    repo: &Repo,
    tree: &Id,
    observer: &dyn Observer,
) -> Result<()> {
    fetch_missing(context, repo, observer, |missing| missing.tree(tree, None))
}

/// Fetches the data that some changes of a worktree need.
pub fn fetch_changes(
    context: &Context,
    repo: &Repo,
    changes: &[TreeChange],
    observer: &dyn Observer,
) -> Result<()> {
    // Larger files are changed in place, so the data that the old content has is not needed.
    let old = |change: &TreeChange| match change.old.as_ref().map(|old| &old.node) {
        Some(Node::File { content, size, .. }) if *size > REPLACED_WHOLE => Some(content.clone()),
        _ => None,
    };
    fetch_missing(context, repo, observer, |missing| {
        for change in changes {
            let Some(new) = &change.new else { continue };
            let before = old(change).filter(|_| new.size() > REPLACED_WHOLE);
            // The changes below a directory that existed before are in the list themselves.
            if !new.is_dir() || change.old.is_none() {
                missing.entry(new, before.as_ref())?;
            }
        }
        Ok(())
    })
}

fn fetch_missing(
    context: &Context,
    repo: &Repo,
    observer: &dyn Observer,
    find: impl FnOnce(&mut Missing<'_>) -> Result<()>,
) -> Result<()> {
    if !repo.is_lazy() {
        return Ok(());
    }
    observer.phase("looking", None, None);
    let mut missing = Missing::new(From::LazySource(repo), Some(repo), Wanted::Chunks, observer);
    find(&mut missing)?;
    let needed = missing.finish();
    // Do not contact the remote if all data is local.
    let behind = if is_nothing(&needed) {
        None
    } else {
        repo.lazy_source()?
    };
    let Some(behind) = behind else { return Ok(()) };
    let meter = context
        .lazy_source()
        .map(|r| r.access.meter.clone())
        .unwrap_or_default();
    let copier = Copier::new(behind, repo, &meter, observer)?;
    let sent = copier.run(copier.plan(&needed)?, "receiving")?;
    // A process finds the packs through index segments, which are therefore stored after the packs.
    copier.cover().run(&sent)?;
    Ok(())
}

/// Fetches the data of a file into the cache, unless it is local or takes more than half of the
/// cache.
pub fn fetch_file(
    context: &Context,
    repo: &Repo,
    entry: &Entry,
    observer: &dyn Observer,
) -> Result<()> {
    // A remote repository has all objects, but none of them is local.
    let (from, dest) = match repo.remote_store() {
        Some(_) => (From::Repo(repo), None),
        None if repo.is_lazy() => (From::LazySource(repo), Some(repo)),
        None => return Ok(()),
    };
    // A file that does not fit into the cache would be fetched twice.
    if entry.size() > context.cache.limit_bytes / 2 {
        return Ok(());
    }
    let mut missing = Missing::new(from, dest, Wanted::Chunks, observer);
    missing.entry(entry, None)?;
    let needed = missing.finish();
    let source = match from {
        From::Repo(repo) => Some(repo),
        From::LazySource(_) if is_nothing(&needed) => None,
        From::LazySource(lazy) => lazy.lazy_source()?,
    };
    let Some(store) = source.and_then(Repo::remote_store) else {
        return Ok(());
    };
    let range = |frame: &(u32, u32)| u64::from(frame.0)..u64::from(frame.0) + u64::from(frame.1);
    let packs = needed.iter().flatten();
    let ranges =
        packs.map(|(name, frames)| (layout::pack(name), frames.iter().map(range).collect()));
    store.fetch_ahead(&ranges.collect::<Vec<_>>())?;
    Ok(())
}
