//! Walks the entries below a directory of a version.

use crate::error::Result;
use crate::model::entry::Entry;
use crate::model::id::Id;
use crate::repo::Repo;
use crate::repo::names::Names;
use std::ops::ControlFlow;

/// Called with the path of each entry and the entry. Returns the tree of a directory to descend
/// into, or breaks.
pub type EntryVisit<'v> = dyn FnMut(&[u8], Entry) -> Result<ControlFlow<(), Option<Id>>> + 'v;

/// Visits the entries of the directory at `path`, parents before their content.
///
/// The walk is iterative, because a version may be nested more deeply than the stack of a thread
/// allows.
pub fn walk_entries(
    repo: &Repo,
    mut path: Vec<u8>,
    names: Names<'_>,
    visit: &mut EntryVisit<'_>,
) -> Result<ControlFlow<()>> {
    let mut levels = vec![(path.len(), names)];
    while let Some((len, names)) = levels.last_mut() {
        path.truncate(*len);
        let Some(entry) = names.next().transpose()? else {
            levels.pop();
            continue;
        };
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&entry.name);
        match visit(&path, entry)? {
            ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
            ControlFlow::Continue(Some(tree)) => levels.push((path.len(), repo.names(&tree)?)),
            ControlFlow::Continue(None) => {}
        }
    }
    Ok(ControlFlow::Continue(()))
}
