//! Object stores by opendal: S3, Azure Blob and Files, Google Cloud Storage, WebDAV.
//!
//! Large files go up as one request each, streamed from disk where the store can sign a URL for it.

use std::fs::File;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::StreamExt;
use opendal::{ErrorKind, Operator};

use super::access::Access;
use super::http::{self, FileBody, root_cause, trouble_of, trouble_of_status};
use super::location::{Location, Scheme};
use super::meter::Meter;
use super::{Abilities, Listed, Said, Store, StoreError, Take, Trouble, random_hex, runtime};

mod build;

/// A request without much to carry is given up after this.
const REQUEST: Duration = Duration::from_secs(25);
/// The next bytes of an answer must come within this.
const SILENCE: Duration = Duration::from_secs(60);
/// All pages of a listing must come within this.
const LISTING: Duration = Duration::from_secs(3600);
/// A body may go up so slowly, in bytes a second.
const SLOWEST: u64 = 64 << 10;
/// For so long a signed URL is good.
const SIGNED: Duration = Duration::from_secs(3600);
/// opendal writes files of Azure Files in one piece of at most this.
const AZFILE_MAX: u64 = 4 << 20;

/// An object store.
pub struct RemoteStore {
    op: Operator,
    place: String,
    meter: Arc<Meter>,
    abilities: Abilities,
    /// Whether a file appears under its name only when it is whole.
    atomic: bool,
    /// Whether files are sent to URLs that are signed before, so that they are read while they are sent.
    signs: bool,
}

impl RemoteStore {
    /// Prepares requests; sends none.
    pub fn open(location: &Location, access: &Access) -> Result<Self, StoreError> {
        let place = location.to_string();
        let bad = |e: &opendal::Error| away("use", "", &place, e);
        // Each request has a limit of its own.
        let client = http::uploader().map_err(|e| StoreError::Away {
            what: "use",
            key: String::new(),
            place: place.clone(),
            trouble: Trouble::Refused,
            said: Said(root_cause(&e)),
        })?;
        let op = build::operator(location, access, client).map_err(|e| bad(&e))?;
        let exclusive = op.info().capability().write_with_if_not_exists && !access.guarded;
        let (atomic, object_max) = match location.scheme {
            Scheme::Azfile => (false, AZFILE_MAX),
            Scheme::Webdav => (false, u64::MAX),
            _ => (true, u64::MAX),
        };
        // opendal puts the path into a signed URL of GCS as it is.
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
        let signs = op.info().capability().presign_write
            && (location.scheme != Scheme::Gcs || location.path.chars().all(plain));
        // Without a signed URL a whole pack is in memory while it is sent.
        let abilities = Abilities { exclusive, in_flight: if signs { 16 } else { 6 }, object_max };
        Ok(Self { op, place, meter: Arc::clone(&access.meter), abilities, atomic, signs })
    }

    fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        key: &str,
        limit: Duration,
        request: impl Future<Output = opendal::Result<T>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.meter.request();
        // The clock of a timeout is the runtime's, so it is made there.
        match runtime::run(async move { tokio::time::timeout(limit, request).await }) {
            Ok(Ok(Ok(done))) => Ok(done),
            Ok(Ok(Err(e))) => Err(away(what, key, &self.place, &e)),
            Ok(Err(_)) => Err(self.trouble(what, key, Trouble::TimedOut, format!("no answer in {limit:?}"))),
            Err(source) => Err(StoreError::Io { what, key: key.to_owned(), source }),
        }
    }

    fn trouble(&self, what: &'static str, key: &str, trouble: Trouble, said: String) -> StoreError {
        StoreError::Away { what, key: key.to_owned(), place: self.place.clone(), trouble, said: Said(said) }
    }

    /// Waits as the rate of what comes demands.
    fn came(&self, bytes: usize) {
        let wait = self.meter.down.pass(bytes as u64);
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
    }

    /// Uploads a file to a key that need not be its last.
    fn upload(&self, file: &Arc<File>, len: u64, key: &str) -> Result<(), StoreError> {
        let (op, path) = (self.op.clone(), key.to_owned());
        let sign = async move { tokio::time::timeout(REQUEST, op.presign_write(&path, SIGNED)).await.map_err(late)? };
        // Not everybody who may write may sign: some tokens of GCS do not.
        if self.signs
            && len > 0
            && let Ok(Ok(signed)) = runtime::run(sign)
        {
            self.meter.request();
            let taken = Arc::new(AtomicU64::new(0));
            let body = FileBody::new(Arc::clone(file), len, Arc::clone(&self.meter), Arc::clone(&taken));
            let body = reqwest::Body::wrap(body);
            let uri = signed.uri().to_string();
            let mut headers = signed.header().clone();
            headers.remove("content-length");
            let method = signed.method().clone();
            let sent = runtime::run(async move {
                let client = http::uploader()?;
                let answered = async {
                    let answer = client.request(method, uri).headers(headers).body(body).send().await?;
                    let status = answer.status().as_u16();
                    Ok::<_, reqwest::Error>(Some((status, answer.text().await.unwrap_or_default())))
                };
                tokio::select! {
                    answered = answered => answered,
                    () = http::stalled(&taken) => Ok(None),
                }
            });
            return match sent.map_err(|source| StoreError::Io { what: "write", key: key.to_owned(), source })? {
                Ok(Some((200..=299, _))) => Ok(()),
                Ok(Some((status, text))) => {
                    let text: String = text.chars().take(500).collect();
                    let trouble = trouble_of_text(&text, &text).unwrap_or(trouble_of_status(status));
                    Err(self.trouble("write", key, trouble, format!("status {status}: {text}")))
                }
                Ok(None) => {
                    let said = format!("nothing was taken for {} s", http::STALLED.as_secs());
                    Err(self.trouble("write", key, Trouble::TimedOut, said))
                }
                Err(e) => Err(self.trouble("write", key, trouble_of(&e), root_cause(&e.without_url()))),
            };
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let read = std::os::unix::fs::FileExt::read_exact_at(&**file, &mut bytes, 0);
        read.map_err(|source| StoreError::Io { what: "read", key: key.to_owned(), source })?;
        self.write(key, bytes, self.limit(len))
    }

    /// For a request that carries so many bytes, and shares a slow line with as many others as there may be.
    fn limit(&self, len: u64) -> Duration {
        SILENCE + Duration::from_secs(len / SLOWEST * self.abilities.in_flight.max(1) as u64)
    }

    fn write(&self, key: &str, bytes: Vec<u8>, limit: Duration) -> Result<(), StoreError> {
        let wait = self.meter.up.pass(bytes.len() as u64);
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        let (op, path) = (self.op.clone(), key.to_owned());
        self.ask("write", key, limit, async move { op.write(&path, bytes).await.map(drop) })
    }

    /// Makes what was written to another name visible under its own.
    fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let (op, from, path) = (self.op.clone(), from.to_owned(), to.to_owned());
        self.ask("write", to, REQUEST, async move { op.rename(&from, &path).await.map(drop) })
    }

    fn staged(&self) -> Result<String, StoreError> {
        Ok(format!("tmp/w{}", random_hex()?))
    }

    fn entries(&self, dir: &str, recursive: bool) -> Result<Vec<(String, u64, bool)>, StoreError> {
        let path = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let (op, below) = (self.op.clone(), path.clone());
        // However many pages it has, each must come in time.
        let listed = self.ask("list", dir, LISTING, async move {
            let lister = op.lister_with(&below).recursive(recursive);
            let mut lister = tokio::time::timeout(SILENCE, lister.into_future()).await.map_err(late)??;
            let mut all = Vec::new();
            while let Some(entry) = tokio::time::timeout(SILENCE, lister.next()).await.map_err(late)? {
                let entry = match entry {
                    // What is not there has no first page either.
                    Err(e) if e.kind() == ErrorKind::NotFound && !all.is_empty() => {
                        return Err(opendal::Error::new(ErrorKind::Unexpected, "a page is missing").set_temporary());
                    }
                    entry => entry?,
                };
                all.push((
                    entry.path().to_owned(),
                    entry.metadata().content_length(),
                    entry.metadata().mode().is_dir(),
                ));
            }
            Ok(all)
        });
        match listed {
            // An entry of another folder: then ours may be among what was not understood.
            Ok(all) if all.iter().any(|(name, ..)| !name.starts_with(&path) && !path.starts_with(name.as_str())) => {
                Err(self.trouble("list", dir, Trouble::Nonsense, "it lists what was not asked for".to_owned()))
            }
            Ok(mut all) => {
                all.retain(|(name, ..)| name.len() > path.len() && name.starts_with(&path));
                Ok(all)
            }
            Err(StoreError::Missing { .. }) => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }
}

impl Store for RemoteStore {
    fn abilities(&self) -> Abilities {
        self.abilities
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (op, path) = (self.op.clone(), key.to_owned());
        match self.ask("read", key, SILENCE, async move { Ok(op.read(&path).await?.to_vec()) }) {
            Ok(bytes) => {
                self.came(bytes.len());
                Ok(Some(bytes))
            }
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        if len == 0 {
            return Ok(Vec::new());
        }
        let (op, path, end) = (self.op.clone(), key.to_owned(), offset + len as u64);
        let limit = self.limit(len as u64);
        let read = async move { Ok(op.read_with(&path).range(offset..end).await?.to_vec()) };
        let bytes = self.ask("read", key, limit, read)?;
        self.came(bytes.len());
        if bytes.len() == len { Ok(bytes) } else { Err(StoreError::Missing { key: key.to_owned() }) }
    }

    fn read_from(&self, key: &str, offset: u64, take: &mut Take<'_>) -> Result<(), StoreError> {
        self.meter.request();
        let (op, path) = (self.op.clone(), key.to_owned());
        let (send, mut receive) = tokio::sync::mpsc::channel(8);
        let reading = runtime::start(async move {
            let read = async {
                let reader = tokio::time::timeout(SILENCE, op.reader(&path)).await.map_err(late)??;
                let stream = tokio::time::timeout(SILENCE, reader.into_bytes_stream(offset..));
                let mut stream = stream.await.map_err(late)??;
                loop {
                    match tokio::time::timeout(SILENCE, stream.next()).await.map_err(late)? {
                        None => return Ok(()),
                        Some(piece) => {
                            let piece = piece.map_err(opendal_error)?;
                            if send.send(piece).await.is_err() {
                                return Ok(());
                            }
                        }
                    }
                }
            };
            read.await
        });
        let io = |source| StoreError::Io { what: "read", key: key.to_owned(), source };
        let reading = reading.map_err(io)?;
        while let Some(piece) = receive.blocking_recv() {
            self.came(piece.len());
            take(&piece)?;
        }
        let done: opendal::Result<()> = runtime::run(reading).map_err(io)?.map_err(|e| io(std::io::Error::other(e)))?;
        done.map_err(|e| away("read", key, &self.place, &e))
    }

    fn len(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let (op, path) = (self.op.clone(), key.to_owned());
        match self.ask("look at", key, REQUEST, async move { Ok(op.stat(&path).await?.content_length()) }) {
            Ok(len) => Ok(Some(len)),
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        if !self.abilities.exclusive {
            if self.len(key)?.is_some() {
                return Ok(false);
            }
            if self.atomic {
                return self.write(key, bytes.to_vec(), REQUEST).map(|()| true);
            }
            let staged = self.staged()?;
            self.write(&staged, bytes.to_vec(), REQUEST)?;
            return self.rename(&staged, key).map(|()| true);
        }
        self.meter.request();
        self.meter.up.pass(bytes.len() as u64);
        let (op, path, bytes) = (self.op.clone(), key.to_owned(), bytes.to_vec());
        let write = async move { op.write_with(&path, bytes).if_not_exists(true).await };
        match runtime::run(async move { tokio::time::timeout(REQUEST, write).await }) {
            Ok(Ok(Ok(_))) => Ok(true),
            Ok(Ok(Err(e))) => match e.kind() {
                ErrorKind::ConditionNotMatch | ErrorKind::AlreadyExists => Ok(false),
                _ => Err(away("write", key, &self.place, &e)),
            },
            Ok(Err(_)) => Err(self.trouble("write", key, Trouble::TimedOut, format!("no answer in {REQUEST:?}"))),
            Err(source) => Err(StoreError::Io { what: "write", key: key.to_owned(), source }),
        }
    }

    fn put(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        let io = |source| StoreError::Io { what: "read", key: key.to_owned(), source };
        let file = Arc::new(File::open(file).map_err(io)?);
        let len = file.metadata().map_err(io)?.len();
        if self.atomic {
            return self.upload(&file, len, key);
        }
        let staged = self.staged()?;
        self.upload(&file, len, &staged)?;
        self.rename(&staged, key)
    }

    fn list(&self, dir: &str) -> Result<Vec<Listed>, StoreError> {
        let skip = if dir.is_empty() { 0 } else { dir.len() + 1 };
        let listed = self.entries(dir, false)?.into_iter().map(|(path, len, is_dir)| {
            let name = path[skip..].trim_end_matches('/').to_owned();
            Listed { name, is_dir, len: if is_dir { 0 } else { len } }
        });
        let mut all: Vec<Listed> = listed.filter(|l| !l.name.is_empty() && !l.name.contains('/')).collect();
        all.sort();
        all.dedup();
        Ok(all)
    }

    fn list_all(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        let all = self.entries(dir, true)?.into_iter().filter(|(_, _, is_dir)| !is_dir);
        let mut keys: Vec<String> = all.map(|(path, ..)| path).collect();
        keys.sort_unstable();
        Ok(keys)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        let (op, path) = (self.op.clone(), key.to_owned());
        match self.ask("remove", key, REQUEST, async move { op.delete(&path).await }) {
            Err(StoreError::Missing { .. }) => Ok(()),
            done => done,
        }
    }
}

fn late(_: tokio::time::error::Elapsed) -> opendal::Error {
    opendal::Error::new(ErrorKind::Unexpected, "no answer in time").set_temporary()
}

/// A stream gives its errors as I/O errors, with opendal's inside.
fn opendal_error(e: std::io::Error) -> opendal::Error {
    let (kind, text) = (e.kind(), e.to_string());
    match e.into_inner().map(|inner| inner.downcast::<opendal::Error>()) {
        Some(Ok(inner)) => *inner,
        _ if kind == std::io::ErrorKind::NotFound => opendal::Error::new(ErrorKind::NotFound, text),
        _ => opendal::Error::new(ErrorKind::Unexpected, text).set_temporary(),
    }
}

/// What opendal says, in our words.
fn away(what: &'static str, key: &str, place: &str, e: &opendal::Error) -> StoreError {
    // The whole of it names the key and repeats all headers; what the server says is the message.
    let (text, said) = (format!("{e}"), short(e));
    let trouble = match e.kind() {
        ErrorKind::NotFound if trouble_of_text(&said, &said) != Some(Trouble::NoPlace) => {
            return StoreError::Missing { key: key.to_owned() };
        }
        // The object is shorter than it should be.
        _ if text.contains("reader got too little data") => return StoreError::Missing { key: key.to_owned() },
        ErrorKind::RangeNotSatisfied => return StoreError::Missing { key: key.to_owned() },
        ErrorKind::PermissionDenied => Trouble::Denied,
        ErrorKind::RateLimited => Trouble::Overloaded,
        ErrorKind::Unsupported => Trouble::Refused,
        _ => trouble_of_text(&text, &said).unwrap_or_else(|| match std::error::Error::source(e) {
            _ if text.contains("no answer in time") => Trouble::TimedOut,
            Some(source) => trouble_of(source),
            None if e.is_temporary() => Trouble::Unreachable,
            None => Trouble::Refused,
        }),
    };
    StoreError::Away { what, key: key.to_owned(), place: place.to_owned(), trouble, said: Said(said) }
}

/// The part of opendal's message that was written for people.
fn short(e: &opendal::Error) -> String {
    let cause = std::error::Error::source(e).map(root_cause).unwrap_or_default();
    let said = e.message().to_owned();
    let text = if cause.is_empty() { said } else { format!("{said}: {cause}") };
    text.chars().take(500).collect()
}

/// What servers write into their refusals: words of their own in `said`, a status anywhere in `text`.
fn trouble_of_text(text: &str, said: &str) -> Option<Trouble> {
    let any = |words: &[&str]| words.iter().any(|w| if w.starts_with("status") { text } else { said }.contains(w));
    if any(&["NoSuchBucket", "ContainerNotFound", "ShareNotFound", "specified bucket does not exist"]) {
        Some(Trouble::NoPlace)
    } else if any(&[
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "AccessDenied",
        "AuthenticationFailed",
        "ExpiredToken",
        "status: 401",
        "status: 403",
        "credential",
    ]) {
        Some(Trouble::Denied)
    } else if any(&["status: 507", "InsufficientStorage", "QuotaExceeded", "No space left", "EntityTooLarge"]) {
        Some(Trouble::Full)
    } else if any(&["SlowDown", "ServerBusy", "status: 503", "status: 429"]) {
        Some(Trouble::Overloaded)
    } else if any(&["RequestTimeout", "OperationAborted", "InternalError", "status: 499"]) {
        Some(Trouble::Unreachable)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key, the place and all headers are in what opendal prints; only what the server says counts.
    #[test]
    fn what_is_missing_is_missing_whatever_it_is_called() {
        let error = opendal::Error::new(ErrorKind::NotFound, "S3Error { code: \"NoSuchKey\" }")
            .with_context("path", "credentials/AccessDenied")
            .with_context("response", "access-control-allow-credentials: true");
        assert!(matches!(away("read", "k", "s3://b", &error), StoreError::Missing { .. }));
        let bucket = opendal::Error::new(ErrorKind::NotFound, "S3Error { code: \"NoSuchBucket\" }");
        let trouble = |e| match away("read", "k", "s3://b", &e) {
            StoreError::Away { trouble, .. } => Some(trouble),
            _ => None,
        };
        assert_eq!(trouble(bucket), Some(Trouble::NoPlace));
        let busy = opendal::Error::new(ErrorKind::Unexpected, "internal").with_context("path", "credentials");
        assert_eq!(trouble(busy.set_temporary()), Some(Trouble::Unreachable));
        let denied = opendal::Error::new(ErrorKind::Unexpected, "x").with_context("response", "Parts { status: 401 }");
        assert_eq!(trouble(denied), Some(Trouble::Denied));
    }
}
