//! The names in a folder, with several requests under way.

use std::pin::pin;
use std::sync::Arc;

use futures_util::Stream;
use openssh_sftp_client::fs::ReadDir;
use tokio::task::JoinSet;

use super::Wrong;
use super::connection::{Answer, Connection};
use crate::store::{ENTRIES_MAX, Listed, Trouble};

/// Listing requests under way for one folder: a server answers each with about a hundred names.
const LISTINGS: usize = 3;

/// What lies directly below a folder; nothing if it does not exist.
pub(super) async fn list(connection: Arc<Connection>, path: String) -> Result<Vec<Listed>, Wrong> {
    let dir = match connection.answer(connection.fs().open_dir(path)).await {
        Err(Wrong::Answer(Answer::NoSuchFile, _)) => return Ok(Vec::new()),
        opened => opened?,
    };
    // Each takes what the others have not got.
    let mut readers = JoinSet::new();
    for _ in 0..LISTINGS {
        readers.spawn(read_names(Arc::clone(&connection), dir.clone().read_dir()));
    }
    let mut out = Vec::new();
    while let Some(names) = readers.join_next().await {
        out.extend(names.map_err(Wrong::panicked)??);
    }
    Ok(out)
}

async fn read_names(connection: Arc<Connection>, names: ReadDir) -> Result<Vec<Listed>, Wrong> {
    let mut names = pin!(names);
    let mut out = Vec::new();
    loop {
        let next = std::future::poll_fn(|cx| names.as_mut().poll_next(cx));
        let Some(entry) = connection.answer(async { next.await.transpose() }).await? else { return Ok(out) };
        // A name with a slash or one that is not text is none of ours.
        let Some(name) = entry.filename().to_str().filter(|n| !n.contains('/') && *n != "." && *n != "..") else {
            continue;
        };
        let is_dir = entry.file_type().is_some_and(|t| t.is_dir());
        let len = if is_dir { 0 } else { entry.metadata().len().unwrap_or(0) };
        if out.len() >= ENTRIES_MAX {
            return Err(Wrong::Trouble(Trouble::Nonsense, "its listing does not end".to_owned()));
        }
        out.push(Listed { name: name.to_owned(), is_dir, len });
    }
}
