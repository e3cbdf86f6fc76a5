//! Object stores through opendal: S3, Azure Blob and Files, Google Cloud Storage, WebDAV.
//!
//! A large file is uploaded in one request, streamed from disk if the store can sign a URL for the
//! request.

use std::fs::File;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use opendal::{ErrorKind, Operator};

use super::access::Access;
use super::answers::{self, Dialect, ErrorResponse};
use super::http::{self, FileBody, error_kind_of, root_cause};
use super::location::{Location, Scheme};
use super::meter::Meter;
use super::runtime::Effect;
use super::transport::{self, OPERATION, OperationContext, RESPONSE_MAX};
use super::{
    Abilities, ENTRIES_MAX, ListedKey, ListedObject, Removal, SMALL_MAX, Store, StoreError,
    StoreErrorKind, Take, runtime,
};
use crate::observe::Observer;
use crate::sys::io_error::IoError;
use crate::sys::random::random_hex;

mod build;
mod removal;

/// Time limit of a request with a small body.
// The expiry of intent locks depends on this limit (docs/decisions/0004).
const REQUEST_LIMIT: Duration = Duration::from_secs(25);
/// Time limit between two pieces of a response.
const PIECE_LIMIT: Duration = Duration::from_secs(60);
/// Time limit of a whole listing.
const LISTING_LIMIT: Duration = Duration::from_secs(3600);
/// Lowest acceptable rate of a transfer in bytes per second, which all concurrent requests share.
const MIN_RATE: u64 = 64 << 10;
/// Validity of a signed URL.
// S3 checks the expiry when a request begins, so a longer upload still succeeds.
const URL_VALIDITY: Duration = Duration::from_secs(3600);
/// Limit on the displayed characters of a message.
const MESSAGE_MAX: usize = 500;
/// Message for a listing above [`ENTRIES_MAX`].
const TOO_MANY_ENTRIES: &str = "listing too long";
/// Message of opendal if no credentials are found.
const NO_CREDENTIALS: &str = "failed to load signing credential";
/// Limit on files in Azure Files: opendal writes a file in one piece of at most this length.
const AZFILE_MAX: u64 = 4 << 20;

/// An entry of a listing.
struct RemoteEntry {
    /// The key, with a trailing `/` for a directory.
    path: String,
    len: u64,
    is_dir: bool,
}

/// A remote object store.
pub struct RemoteStore {
    op: Operator,
    place: String,
    dialect: Dialect,
    meter: Arc<Meter>,
    observer: Arc<dyn Observer>,
    abilities: Abilities,
    /// Whether a file becomes visible only when it is complete.
    atomic: bool,
    /// Whether files are uploaded to signed URLs, which allows streaming from disk.
    signs: bool,
}

impl RemoteStore {
    /// Prepares the store without sending a request.
    pub fn open(location: &Location, access: &Access) -> Result<Self, StoreError> {
        let place = location.to_string();
        let dialect = match location.scheme {
            Scheme::Azblob | Scheme::Azfile => Dialect::Azure,
            Scheme::Gcs => Dialect::Google,
            Scheme::Webdav => Dialect::Webdav,
            _ => Dialect::S3,
        };
        let refused = |e: reqwest::Error| {
            StoreError::remote(
                "access",
                "",
                &place,
                StoreErrorKind::Refused,
                root_cause(&e),
            )
        };
        // The shared transport has no read timeout, because each request has its own time limit.
        transport::install().map_err(refused)?;
        let op = build::operator(location, access);
        let op = op.map_err(|e| {
            convert_error(dialect, "access", "", &place, &e, &OperationContext::new(0))
        })?;
        let exclusive = op.info().capability().write_with_if_not_exists && !access.guarded;
        let (atomic, object_max) = match location.scheme {
            Scheme::Azfile => (false, AZFILE_MAX),
            Scheme::Webdav => (false, u64::MAX),
            _ => (true, u64::MAX),
        };
        // opendal does not escape the path in a signed URL of GCS.
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
        let signs = op.info().capability().presign_write
            && (location.scheme != Scheme::Gcs || location.path.chars().all(plain));
        // Without a signed URL, a whole pack is in memory while it is uploaded, so fewer requests
        // are concurrent.
        let abilities = Abilities {
            exclusive,
            in_flight: if signs { 16 } else { 6 },
            object_max,
        };
        let (meter, observer) = (Arc::clone(&access.meter), Arc::clone(&access.observer));
        Ok(Self {
            op,
            place,
            dialect,
            meter,
            observer,
            abilities,
            atomic,
            signs,
        })
    }

    /// Runs a request whose responses have at most `most` bytes, unless the request names a range.
    fn run_request<T: Send + 'static>(
        &self,
        (what, effect): (&'static str, Effect),
        key: &str,
        limit: Duration,
        most: u64,
        request: impl Future<Output = opendal::Result<T>> + Send + 'static,
    ) -> Result<(T, transport::ResponseInfo), StoreError> {
        self.meter.request();
        let context = OperationContext::new(most);
        // The timeout must be created on the runtime, whose clock it uses.
        let request = OPERATION.scope(Arc::clone(&context), async move {
            tokio::time::timeout(limit, request).await
        });
        match runtime::run(&*self.observer, effect, request).map_err(|ended| ended.of(what, key))? {
            Ok(Ok(done)) => Ok((done, context.response())),
            Ok(Err(e)) => Err(convert_error(
                self.dialect,
                what,
                key,
                &self.place,
                &e,
                &context,
            )),
            Err(_) => Err(self.remote_error(
                what,
                key,
                StoreErrorKind::TimedOut,
                format!("no response within {limit:?}"),
            )),
        }
    }

    /// Runs a request that changes the store. If the response is "not found", the bucket or
    /// directory itself is missing.
    fn change<T: Send + 'static>(
        &self,
        what: &'static str,
        key: &str,
        limit: Duration,
        request: impl Future<Output = opendal::Result<T>> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.run_request((what, Effect::Change), key, limit, RESPONSE_MAX, request) {
            Err(StoreError::Missing { .. }) => Err(self.no_place(what, key)),
            // WebDAV servers return 201 or 204. A server that answers every request with a web page
            // has stored nothing.
            Ok((_, response))
                if self.dialect == Dialect::Webdav
                    && response.is_page
                    && response.status == 200 =>
            {
                Err(self.remote_error(
                    what,
                    key,
                    StoreErrorKind::WebPage,
                    "status 200 with a web page".to_owned(),
                ))
            }
            done => done.map(|(done, _)| done),
        }
    }

    fn no_place(&self, what: &'static str, key: &str) -> StoreError {
        let detail = match self.dialect {
            Dialect::Webdav => "404 Not Found: no WebDAV directory at this URL",
            _ => "404 Not Found",
        };
        self.remote_error(what, key, StoreErrorKind::NoPlace, detail.to_owned())
    }

    fn remote_error(
        &self,
        what: &'static str,
        key: &str,
        error_kind: StoreErrorKind,
        detail: String,
    ) -> StoreError {
        StoreError::remote(what, key, &self.place, error_kind, detail)
    }

    /// Counts received bytes, and waits as long as the rate limit for downloads requires.
    fn limit_rate(&self, bytes: usize) -> Result<(), StoreError> {
        match self.meter.down.pass(bytes as u64) {
            Duration::ZERO => Ok(()),
            wait => super::pause::sleep(&*self.observer, wait),
        }
    }

    /// Uploads a file to `key`, which may be a temporary name.
    fn upload(&self, file: &Arc<File>, len: u64, key: &str) -> Result<(), StoreError> {
        let (op, path) = (self.op.clone(), key.to_owned());
        let sign = async move {
            tokio::time::timeout(REQUEST_LIMIT, op.presign_write(&path, URL_VALIDITY))
                .await
                .map_err(timed_out)?
        };
        if self.signs
            && len > 0
            && let Some(signed) = self.signed(sign)?
        {
            self.meter.request();
            let taken = Arc::new(AtomicU64::new(0));
            let body = FileBody::new(
                Arc::clone(file),
                len,
                Arc::clone(&self.meter),
                Arc::clone(&taken),
            );
            let body = reqwest::Body::wrap(body);
            let uri = signed.uri().to_string();
            let mut headers = signed.header().clone();
            // The body determines the length.
            headers.remove("content-length");
            let method = signed.method().clone();
            // An upload may be dropped at any time, because a key identifies its content.
            let sent = runtime::run(&*self.observer, Effect::Read, async move {
                let client = http::uploader()?;
                let answered = async {
                    let mut answer = client
                        .request(method, uri)
                        .headers(headers)
                        .body(body)
                        .send()
                        .await?;
                    if answer.status().is_success() {
                        return Ok::<_, reqwest::Error>(Some(Ok(())));
                    }
                    let body = http::first_bytes(&mut answer, http::ERROR_BODY_MAX).await;
                    Ok(Some(Err(ErrorResponse::read(
                        answer.status().as_u16(),
                        answer.headers(),
                        &body,
                        true,
                    ))))
                };
                tokio::select! {
                    answered = answered => answered,
                    () = http::stalled(&taken) => Ok(None),
                }
            });
            return match sent.map_err(|ended| ended.of("write", key))? {
                Ok(Some(Ok(()))) => Ok(()),
                Ok(Some(Err(refusal))) => Err(self.remote_error(
                    "write",
                    key,
                    refusal.error_kind(self.dialect),
                    refusal.detail(),
                )),
                Ok(None) => {
                    let detail = format!("no data accepted for {} s", http::STALLED.as_secs());
                    Err(self.remote_error("write", key, StoreErrorKind::TimedOut, detail))
                }
                Err(e) => Err(self.remote_error(
                    "write",
                    key,
                    error_kind_of(&e),
                    root_cause(&e.without_url()),
                )),
            };
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let read = std::os::unix::fs::FileExt::read_exact_at(&**file, &mut bytes, 0);
        read.map_err(|source| IoError::new("read", key, source))?;
        self.write(key, bytes, self.limit(len))
    }

    /// Returns a signed URL, or `None` if signing fails: some tokens of GCS can write but not sign.
    fn signed<T: Send + 'static>(
        &self,
        sign: impl Future<Output = opendal::Result<T>> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let context = OperationContext::new(SMALL_MAX);
        let signed = runtime::run(
            &*self.observer,
            Effect::Read,
            OPERATION.scope(context, sign),
        );
        Ok(signed.map_err(|ended| ended.of("write", ""))?.ok())
    }

    /// Returns the time limit of a request that transfers `len` bytes and may share a slow link
    /// with all other concurrent requests.
    fn limit(&self, len: u64) -> Duration {
        PIECE_LIMIT + Duration::from_secs(len / MIN_RATE * self.abilities.in_flight.max(1) as u64)
    }

    fn write(&self, key: &str, bytes: Vec<u8>, limit: Duration) -> Result<(), StoreError> {
        super::pause::sleep(&*self.observer, self.meter.up.pass(bytes.len() as u64))?;
        let (op, path) = (self.op.clone(), key.to_owned());
        self.change("write", key, limit, async move {
            op.write(&path, bytes).await.map(drop)
        })
    }

    /// Renames a temporary object to its final name.
    fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let (op, from, path) = (self.op.clone(), from.to_owned(), to.to_owned());
        self.change("write", to, REQUEST_LIMIT, async move {
            op.rename(&from, &path).await.map(drop)
        })
    }

    fn web_page_error(&self, what: &'static str, key: &str) -> StoreError {
        self.remote_error(
            what,
            key,
            StoreErrorKind::WebPage,
            "status 200 with a web page".to_owned(),
        )
    }

    fn staged(&self) -> Result<String, StoreError> {
        Ok(format!("tmp/w{}", random_hex()?))
    }

    fn entries(&self, dir: &str, recursive: bool) -> Result<Vec<RemoteEntry>, StoreError> {
        let path = if dir.is_empty() {
            String::new()
        } else {
            format!("{dir}/")
        };
        let (op, below) = (self.op.clone(), path.clone());
        // All pages together have a long time limit, but each page must arrive in time.
        let listed = self.run_request(
            ("list", Effect::Read),
            dir,
            LISTING_LIMIT,
            RESPONSE_MAX,
            async move {
                let lister = op.lister_with(&below).recursive(recursive);
                let mut lister = tokio::time::timeout(PIECE_LIMIT, lister.into_future())
                    .await
                    .map_err(timed_out)??;
                let mut all = Vec::new();
                while let Some(entry) = tokio::time::timeout(PIECE_LIMIT, lister.next())
                    .await
                    .map_err(timed_out)?
                {
                    let entry = match entry {
                        // A missing directory fails on the first page, so a later page that is
                        // missing is an error.
                        Err(e) if e.kind() == ErrorKind::NotFound && !all.is_empty() => {
                            return Err(opendal::Error::new(
                                ErrorKind::Unexpected,
                                "a page is missing",
                            )
                            .set_temporary());
                        }
                        entry => entry?,
                    };
                    if all.len() >= ENTRIES_MAX {
                        return Err(opendal::Error::new(ErrorKind::Unexpected, TOO_MANY_ENTRIES));
                    }
                    all.push(RemoteEntry {
                        path: entry.path().to_owned(),
                        len: entry.metadata().content_length(),
                        is_dir: entry.metadata().mode().is_dir(),
                    });
                }
                Ok(all)
            },
        );
        match listed {
            // An entry of another directory shows that the response was misunderstood, so entries
            // of this directory may be missing.
            Ok((all, _))
                if all
                    .iter()
                    .any(|e| !e.path.starts_with(&path) && !path.starts_with(e.path.as_str())) =>
            {
                Err(self.remote_error(
                    "list",
                    dir,
                    StoreErrorKind::InvalidResponse,
                    "listing contains entries of another directory".to_owned(),
                ))
            }
            Ok((_, response)) if response.is_page => Err(self.web_page_error("list", dir)),
            Ok((mut all, _)) => {
                // Some servers list the directory itself.
                all.retain(|e| e.path.len() > path.len() && e.path.starts_with(&path));
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
        let read = async move { Ok(op.read(&path).await?.to_vec()) };
        match self.run_request(("read", Effect::Read), key, PIECE_LIMIT, SMALL_MAX, read) {
            // A proxy may send a login page with status 200 in place of a small object.
            Ok((bytes, _))
                if answers::looks_like_page(&String::from_utf8_lossy(
                    &bytes[..bytes.len().min(200)],
                )) =>
            {
                Err(self.web_page_error("read", key))
            }
            Ok((bytes, _)) => {
                self.limit_rate(bytes.len())?;
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
        let missing = || StoreError::Missing {
            key: key.to_owned(),
        };
        let (op, path) = (self.op.clone(), key.to_owned());
        // The offset may come from a damaged index.
        let end = offset.checked_add(len as u64).ok_or_else(missing)?;
        let limit = self.limit(len as u64);
        let read = async move { Ok(op.read_with(&path).range(offset..end).await?.to_vec()) };
        let (bytes, response) =
            self.run_request(("read", Effect::Read), key, limit, len as u64, read)?;
        self.limit_rate(bytes.len())?;
        match bytes.len() == len {
            true => Ok(bytes),
            false if response.is_page => Err(self.web_page_error("read", key)),
            false => Err(missing()),
        }
    }

    fn read_from(&self, key: &str, offset: u64, take: &mut Take<'_>) -> Result<(), StoreError> {
        self.meter.request();
        let (op, path) = (self.op.clone(), key.to_owned());
        let (send, mut receive) = tokio::sync::mpsc::channel(8);
        // The caller limits the number of bytes.
        let context = OperationContext::new(u64::MAX);
        let reading = runtime::start(OPERATION.scope(Arc::clone(&context), async move {
            let read = async {
                let reader = tokio::time::timeout(PIECE_LIMIT, op.reader(&path))
                    .await
                    .map_err(timed_out)??;
                let stream = tokio::time::timeout(PIECE_LIMIT, reader.into_bytes_stream(offset..));
                let mut stream = stream.await.map_err(timed_out)??;
                loop {
                    match tokio::time::timeout(PIECE_LIMIT, stream.next())
                        .await
                        .map_err(timed_out)?
                    {
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
        }));
        let io = |source| IoError::new("read", key, source);
        let reading = reading.map_err(io)?;
        while let Some(piece) =
            runtime::next(&*self.observer, &mut receive).map_err(|ended| ended.of("read", key))?
        {
            self.limit_rate(piece.len())?;
            take(&piece)?;
        }
        // The channel also ends if the reader failed, so check the reader's result.
        let done = runtime::run(&*self.observer, Effect::Read, reading)
            .map_err(|ended| ended.of("read", key))?;
        let done: opendal::Result<()> = done.map_err(|e| io(std::io::Error::other(e)))?;
        done.map_err(|e| convert_error(self.dialect, "read", key, &self.place, &e, &context))
    }

    fn len(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let (op, path) = (self.op.clone(), key.to_owned());
        let stat = async move { Ok(op.stat(&path).await?.content_length()) };
        match self.run_request(
            ("inspect", Effect::Read),
            key,
            REQUEST_LIMIT,
            RESPONSE_MAX,
            stat,
        ) {
            Ok((_, response)) if response.is_page => Err(self.web_page_error("inspect", key)),
            Ok((len, _)) => Ok(Some(len)),
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        // The intent lock of `GuardedStore` excludes other writers between the check and the write.
        if !self.abilities.exclusive {
            if self.len(key)?.is_some() {
                return Ok(false);
            }
            if self.atomic {
                return self
                    .write(key, bytes.to_vec(), REQUEST_LIMIT)
                    .map(|()| true);
            }
            // The server shows a file while it is written, so write under a temporary name.
            let staged = self.staged()?;
            self.write(&staged, bytes.to_vec(), REQUEST_LIMIT)?;
            return self.rename(&staged, key).map(|()| true);
        }
        self.meter.request();
        // The object is too small to be delayed by the rate limit.
        self.meter.up.pass(bytes.len() as u64);
        let (op, path, bytes) = (self.op.clone(), key.to_owned(), bytes.to_vec());
        let write = async move {
            match op.write_with(&path, bytes).if_not_exists(true).await {
                Err(e)
                    // Stores report a taken name in one of these two ways.
                    if matches!(
                        e.kind(),
                        ErrorKind::ConditionNotMatch | ErrorKind::AlreadyExists
                    ) =>
                {
                    Ok(false)
                }
                written => written.map(|_| true),
            }
        };
        match self.run_request(
            ("write", Effect::Change),
            key,
            REQUEST_LIMIT,
            RESPONSE_MAX,
            write,
        ) {
            Err(StoreError::Missing { .. }) => Err(self.no_place("write", key)),
            created => created.map(|(created, _)| created),
        }
    }

    fn put(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        let io = |source| IoError::new("read", key, source);
        let file = Arc::new(File::open(file).map_err(io)?);
        let len = file.metadata().map_err(io)?.len();
        if self.atomic {
            return self.upload(&file, len, key);
        }
        let staged = self.staged()?;
        self.upload(&file, len, &staged)?;
        self.rename(&staged, key)
    }

    fn list(&self, dir: &str) -> Result<Vec<ListedKey>, StoreError> {
        let skip = if dir.is_empty() { 0 } else { dir.len() + 1 };
        let listed = self.entries(dir, false)?.into_iter().map(|entry| {
            let name = entry.path[skip..].trim_end_matches('/').to_owned();
            ListedKey {
                name,
                is_dir: entry.is_dir,
                len: if entry.is_dir { 0 } else { entry.len },
            }
        });
        let mut all: Vec<ListedKey> = listed
            .filter(|l| !l.name.is_empty() && !l.name.contains('/'))
            .collect();
        all.sort();
        all.dedup();
        Ok(all)
    }

    fn list_all(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        let all = self
            .entries(dir, true)?
            .into_iter()
            .filter(|entry| !entry.is_dir);
        let mut keys: Vec<String> = all.map(|entry| entry.path).collect();
        keys.sort_unstable();
        Ok(keys)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        let (op, path) = (self.op.clone(), key.to_owned());
        let delete = async move { op.delete(&path).await };
        match self.run_request(
            ("remove", Effect::Change),
            key,
            REQUEST_LIMIT,
            RESPONSE_MAX,
            delete,
        ) {
            Err(StoreError::Missing { .. }) => Ok(()),
            done => done.map(drop),
        }
    }

    fn list_objects(&self, dir: &str) -> Result<Vec<ListedObject>, StoreError> {
        let all = self.entries(dir, true)?.into_iter();
        let mut objects: Vec<ListedObject> = all
            .filter(|entry| !entry.is_dir)
            .map(|entry| ListedObject {
                key: entry.path,
                len: entry.len,
            })
            .collect();
        objects.sort_unstable();
        Ok(objects)
    }

    fn delete_many(&self, keys: &[String]) -> Result<Removal, StoreError> {
        self.remove_many(keys)
    }

    fn age(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        let (op, path) = (self.op.clone(), key.to_owned());
        let stat = async move { Ok(op.stat(&path).await?.last_modified()) };
        let stat = self.run_request(
            ("inspect", Effect::Read),
            key,
            REQUEST_LIMIT,
            RESPONSE_MAX,
            stat,
        );
        match stat {
            Ok((stored, response)) => Ok(stored.zip(response.date).map(|(stored, now)| {
                now.duration_since(SystemTime::from(stored))
                    .unwrap_or_default()
            })),
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn timed_out(_: tokio::time::error::Elapsed) -> opendal::Error {
    opendal::Error::new(ErrorKind::Unexpected, "no response in time").set_temporary()
}

/// Converts an I/O error of a stream to the opendal error inside it.
fn opendal_error(e: std::io::Error) -> opendal::Error {
    let (kind, text) = (e.kind(), e.to_string());
    match e
        .into_inner()
        .map(|inner| inner.downcast::<opendal::Error>())
    {
        Some(Ok(inner)) => *inner,
        _ if kind == std::io::ErrorKind::NotFound => opendal::Error::new(ErrorKind::NotFound, text),
        // Any other I/O error of a stream is a broken connection.
        _ => opendal::Error::new(ErrorKind::Unexpected, text).set_temporary(),
    }
}

/// Converts an error of opendal.
fn convert_error(
    dialect: Dialect,
    what: &'static str,
    key: &str,
    place: &str,
    e: &opendal::Error,
    context: &OperationContext,
) -> StoreError {
    let missing = || StoreError::Missing {
        key: key.to_owned(),
    };
    let remote = |error_kind, detail| {
        StoreError::remote(
            what,
            key,
            place,
            error_kind,
            answers::one_line(detail, MESSAGE_MAX),
        )
    };
    let response = context.response();
    if let Some(refusal) = &response.refusal {
        let by_code = refusal.by_code(dialect);
        return match e.kind() {
            // Stores return 404 both for a missing object and for a missing bucket.
            ErrorKind::NotFound if by_code != Some(StoreErrorKind::NoPlace) => missing(),
            ErrorKind::RangeNotSatisfied => missing(),
            _ if refusal.status == 416 => missing(),
            _ => remote(refusal.error_kind(dialect), &refusal.detail()),
        };
    }
    if response.is_page {
        return remote(StoreErrorKind::WebPage, "status 200 with a web page");
    }
    // The full text contains the key and all headers; only the message is meant for people.
    let (text, detail) = (format!("{e}"), public_message(e));
    let error_kind = match e.kind() {
        ErrorKind::NotFound | ErrorKind::RangeNotSatisfied => return missing(),
        _ if response.too_long || detail.contains(TOO_MANY_ENTRIES) => {
            StoreErrorKind::InvalidResponse
        }
        // The object is shorter than the requested range.
        _ if text.contains("reader got too little data") => return missing(),
        _ if detail.contains(NO_CREDENTIALS) => {
            return remote(
                StoreErrorKind::NoCredentials,
                "no credentials in variables or in the store's configuration files",
            );
        }
        ErrorKind::PermissionDenied => StoreErrorKind::Denied,
        ErrorKind::RateLimited => StoreErrorKind::Overloaded,
        ErrorKind::Unsupported => StoreErrorKind::Refused,
        _ if text.contains("no response in time") => StoreErrorKind::TimedOut,
        _ => match std::error::Error::source(e) {
            Some(source) => error_kind_of(source),
            None if e.is_temporary() => StoreErrorKind::Unreachable,
            None => StoreErrorKind::Refused,
        },
    };
    remote(error_kind, &detail)
}

/// Returns the part of an opendal error that is meant for people.
fn public_message(e: &opendal::Error) -> String {
    let cause = std::error::Error::source(e)
        .map(root_cause)
        .unwrap_or_default();
    // A parser inside opendal prints its own data structures, which say nothing to the user.
    let detail = if e.message().contains(" { ") {
        "invalid response"
    } else {
        e.message()
    };
    if cause.is_empty() {
        detail.to_owned()
    } else {
        format!("{detail}: {cause}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of opendal contains the key, the location and all headers; only the message of
    /// the server counts.
    #[test]
    fn a_missing_object_is_missing_despite_other_codes() {
        let of = |e: &opendal::Error| {
            convert_error(
                Dialect::S3,
                "read",
                "k",
                "s3://b",
                e,
                &OperationContext::new(0),
            )
        };
        let error = opendal::Error::new(ErrorKind::NotFound, "S3Error { code: \"NoSuchKey\" }")
            .with_context("path", "credentials/AccessDenied")
            .with_context("response", "access-control-allow-credentials: true");
        assert!(matches!(of(&error), StoreError::Missing { .. }));
        let busy = opendal::Error::new(ErrorKind::Unexpected, "internal")
            .with_context("path", "credentials");
        assert!(matches!(
            of(&busy.set_temporary()),
            StoreError::Remote {
                error_kind: StoreErrorKind::Unreachable,
                ..
            }
        ));
    }

    #[test]
    fn no_structure_of_a_program_is_shown() {
        let e = opendal::Error::new(
            ErrorKind::Unexpected,
            "S3Error { code: \"X\", message: \"y\" }",
        );
        let error = convert_error(
            Dialect::S3,
            "read",
            "k",
            "s3://b",
            &e,
            &OperationContext::new(0),
        );
        assert!(
            !crate::error::with_causes(&error).contains('{'),
            "{error:?}"
        );
    }
}
