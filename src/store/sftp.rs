//! A store in a directory of an SFTP server, accessed through the `ssh` program of the system.
//!
//! Objects appear atomically. `create` publishes an object with a hard link, which fails if the
//! name exists; on a server without hard links, `create` writes under the final name. This module
//! retries nothing: a broken connection is closed and reported.

mod connection;
mod directory;
mod error;
mod listing;
mod pool;
mod ssh;
#[cfg(test)]
mod tests;
mod transfer;

use std::fs::File;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use self::directory::{RemovedKey, SftpDirectory};
use self::error::{SftpError, SftpStatus};
use self::pool::ConnectionPool;
use self::ssh::Ssh;
use self::transfer::UploadSource;
use super::access::Access;
use super::location::Location;
use super::meter::Meter;
use super::runtime::Effect;
use super::{
    Abilities, ListedKey, ListedObject, Removal, Store, StoreError, StoreErrorKind, Take, runtime,
};
use crate::observe::Observer;
use crate::sys::io_error::IoError;

/// Limit on the pieces of a stream that are buffered for the consumer.
const AHEAD: usize = 4;

/// A directory on an SFTP server.
pub struct SftpStore {
    directory: Arc<SftpDirectory>,
    place: String,
    meter: Arc<Meter>,
    observer: Arc<dyn Observer>,
}

impl SftpStore {
    /// Returns the store at a location without connecting.
    pub fn open(location: &Location, access: &Access) -> Result<Self, StoreError> {
        let place = location.to_string();
        let unknown = |detail| {
            StoreError::remote(
                "open",
                &location.path,
                &place,
                StoreErrorKind::UnknownHost,
                detail,
            )
        };
        let ssh = Ssh::to(location).map_err(unknown)?;
        // SFTP servers resolve a relative path against the home directory.
        let root = match location.path.strip_prefix('~') {
            Some(below) => below.trim_matches('/').to_owned(),
            None if location.path.trim_matches('/').is_empty() => "/".to_owned(),
            None => location.path.trim_end_matches('/').to_owned(),
        };
        let meter = Arc::clone(&access.meter);
        let directory = Arc::new(SftpDirectory::new(
            ConnectionPool::new(ssh),
            root,
            Arc::clone(&meter),
        ));
        Ok(Self {
            directory,
            place,
            meter,
            observer: Arc::clone(&access.observer),
        })
    }

    fn failed(&self, what: &'static str, key: &str, error: SftpError) -> StoreError {
        let (error_kind, detail) = match error {
            SftpError::Status(status, detail) => (status.error_kind(), detail),
            SftpError::Store(error_kind, detail) => (error_kind, detail),
            SftpError::Truncated => {
                return StoreError::Missing {
                    key: key.to_owned(),
                };
            }
            SftpError::Local { what, key, source } => {
                return IoError::new(what, key, source).into();
            }
        };
        StoreError::remote(what, key, &self.place, error_kind, detail)
    }

    /// Runs one operation on the runtime, and waits for its result.
    fn wait<T, F>(
        &self,
        what: &'static str,
        key: &str,
        operation: impl FnOnce(Arc<SftpDirectory>, String) -> F,
    ) -> Result<Result<T, SftpError>, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, SftpError>> + Send + 'static,
    {
        self.meter.request();
        let operation = operation(Arc::clone(&self.directory), key.to_owned());
        let effect = if matches!(what, "write" | "remove") {
            Effect::Change
        } else {
            Effect::Read
        };
        runtime::run(&*self.observer, effect, operation).map_err(|ended| ended.of(what, key))
    }

    /// Converts the error of a read of an object that must exist.
    fn must_have(&self, what: &'static str, key: &str, error: SftpError) -> StoreError {
        match error {
            SftpError::Status(SftpStatus::NoSuchFile, _) => StoreError::Missing {
                key: key.to_owned(),
            },
            error => self.failed(what, key, error),
        }
    }

    /// Converts the result of a read of an object that may be missing.
    fn may_have<T>(
        &self,
        what: &'static str,
        key: &str,
        read: Result<T, SftpError>,
    ) -> Result<Option<T>, StoreError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(SftpError::Status(SftpStatus::NoSuchFile, _)) => Ok(None),
            Err(error) => Err(self.failed(what, key, error)),
        }
    }
}

impl Store for SftpStore {
    fn abilities(&self) -> Abilities {
        Abilities {
            exclusive: true,
            in_flight: pool::CONNECTIONS_MAX,
            object_max: u64::MAX,
        }
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.wait("read", key, |directory, key| async move {
            directory.get(&key).await
        })?;
        self.may_have("read", key, read)
    }

    fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let read = self.wait("read", key, move |directory, key| async move {
            directory.range(&key, offset, len).await
        })?;
        read.map_err(|error| self.must_have("read", key, error))
    }

    fn read_from(&self, key: &str, offset: u64, take: &mut Take<'_>) -> Result<(), StoreError> {
        self.meter.request();
        let (to, mut from) = mpsc::channel(AHEAD);
        let (directory, of) = (Arc::clone(&self.directory), key.to_owned());
        let io = |source| IoError::new("read", key, source);
        let reader =
            runtime::start(async move { directory.stream(&of, offset, to).await }).map_err(io)?;
        while let Some(piece) =
            runtime::next(&*self.observer, &mut from).map_err(|ended| ended.of("read", key))?
        {
            take(&piece.map_err(|error| self.must_have("read", key, error))?)?;
        }
        // The channel also ends if the reader panicked, so check the reader's result.
        let read = runtime::run(&*self.observer, Effect::Read, reader)
            .map_err(|ended| ended.of("read", key))?;
        read.map_err(|e| io(io::Error::other(e)).into())
    }

    fn len(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let len = self.wait("inspect", key, |directory, key| async move {
            directory.len(&key).await
        })?;
        self.may_have("inspect", key, len)
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let source = UploadSource::Bytes(Bytes::copy_from_slice(bytes));
        let created = self.wait("write", key, move |directory, key| async move {
            directory.create(source, &key).await
        })?;
        created.map_err(|error| self.failed("write", key, error))
    }

    fn put(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        let open = || -> io::Result<UploadSource> {
            let file = File::open(file)?;
            let len = file.metadata()?.len();
            Ok(UploadSource::File(file, len))
        };
        let local = |source| IoError::new("read", file, source);
        let source = open().map_err(local)?;
        let put = self.wait("write", key, move |directory, key| async move {
            directory.put(source, &key).await
        })?;
        put.map_err(|error| self.failed("write", key, error))
    }

    fn replace(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        // Some servers cannot rename over an existing file.
        self.delete(key)?;
        self.put(file, key)
    }

    fn list(&self, dir: &str) -> Result<Vec<ListedKey>, StoreError> {
        let listed = self.wait("list", dir, |directory, dir| async move {
            directory.list(&dir).await
        })?;
        let mut listed = listed.map_err(|error| self.failed("list", dir, error))?;
        listed.sort();
        Ok(listed)
    }

    fn list_all(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        let objects = self.list_objects(dir)?;
        Ok(objects.into_iter().map(|object| object.key).collect())
    }

    fn list_objects(&self, dir: &str) -> Result<Vec<ListedObject>, StoreError> {
        let objects = self.wait("list", dir, |directory, dir| async move {
            directory.list_all(&dir).await
        })?;
        let mut objects = objects.map_err(|error| self.failed("list", dir, error))?;
        objects.sort_unstable();
        Ok(objects)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        let deleted = self.wait("remove", key, |directory, key| async move {
            directory.delete(&key).await
        })?;
        deleted.map_err(|error| self.failed("remove", key, error))
    }

    fn delete_many(&self, keys: &[String]) -> Result<Removal, StoreError> {
        let (mut removal, keys) = (Removal::default(), keys.to_vec());
        let results = self.wait("remove", "", |directory, _| async move {
            directory.delete_many(keys).await
        })?;
        for RemovedKey { key, removed } in results.map_err(|e| self.failed("remove", "", e))? {
            removal.note(removed.map_err(|error| self.failed("remove", &key, error)))?;
        }
        Ok(removal)
    }

    fn age(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        let age = self.wait("inspect", key, |directory, key| async move {
            directory.age(&key).await
        })?;
        // Without an age, a gc waits for longer than necessary, which does no harm.
        Ok(age.unwrap_or_default())
    }
}
