//! Lists the names in a directory with several concurrent requests.

use std::pin::pin;
use std::sync::Arc;

use futures_util::Stream;
use openssh_sftp_client::fs::ReadDir;
use tokio::task::JoinSet;

use super::connection::Connection;
use super::error::{SftpError, SftpStatus};
use crate::store::{ENTRIES_MAX, ListedKey, StoreErrorKind};

/// Number of concurrent requests per directory. A server returns about a hundred names per request.
const LISTINGS: usize = 3;

/// Returns the names directly below a directory, or none if the directory does not exist.
pub(super) async fn list(
    connection: Arc<Connection>,
    path: String,
) -> Result<Vec<ListedKey>, SftpError> {
    let dir = match connection.response(connection.fs().open_dir(path)).await {
        Err(SftpError::Status(SftpStatus::NoSuchFile, _)) => return Ok(Vec::new()),
        opened => opened?,
    };
    // The server returns each name to only one of the concurrent readers.
    let mut readers = JoinSet::new();
    for _ in 0..LISTINGS {
        readers.spawn(read_names(Arc::clone(&connection), dir.clone().read_dir()));
    }
    let mut out = Vec::new();
    while let Some(names) = readers.join_next().await {
        out.extend(names.map_err(SftpError::panicked)??);
    }
    Ok(out)
}

async fn read_names(
    connection: Arc<Connection>,
    names: ReadDir,
) -> Result<Vec<ListedKey>, SftpError> {
    let mut names = pin!(names);
    let mut out = Vec::new();
    loop {
        let next = std::future::poll_fn(|cx| names.as_mut().poll_next(cx));
        let Some(entry) = connection
            .response(async { next.await.transpose() })
            .await?
        else {
            return Ok(out);
        };
        // dvc never creates names that contain a slash or are not UTF-8.
        // A hostile server must not name a file outside of the listed directory.
        let Some(name) = entry
            .filename()
            .to_str()
            .filter(|n| !n.contains('/') && *n != "." && *n != "..")
        else {
            continue;
        };
        let is_dir = entry.file_type().is_some_and(|t| t.is_dir());
        let len = if is_dir {
            0
        } else {
            entry.metadata().len().unwrap_or(0)
        };
        if out.len() >= ENTRIES_MAX {
            return Err(SftpError::Store(
                StoreErrorKind::InvalidResponse,
                "listing too long".to_owned(),
            ));
        }
        out.push(ListedKey {
            name: name.to_owned(),
            is_dir,
            len,
        });
    }
}
