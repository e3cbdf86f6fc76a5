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
use super::answers::{self, Dialect, Refusal};
use super::http::{self, FileBody, root_cause, trouble_of};
use super::location::{Location, Scheme};
use super::meter::Meter;
use super::runtime::Effect;
use super::transport::{self, ANSWER_MAX, TALK, Talk};
use super::{Abilities, ENTRIES_MAX, Listed, SMALL_MAX, Said, Store, StoreError, Take, Trouble, random_hex, runtime};
use crate::observe::Observer;

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
/// Characters of a message that are shown.
const SAID_MAX: usize = 500;
/// What is said of a listing that goes on and on.
const ENDLESS: &str = "its listing does not end";
/// What opendal's library says where it finds no credentials.
const UNSIGNED: &str = "failed to load signing credential";
/// opendal writes files of Azure Files in one piece of at most this.
const AZFILE_MAX: u64 = 4 << 20;

/// An object store.
pub struct RemoteStore {
    op: Operator,
    place: String,
    dialect: Dialect,
    meter: Arc<Meter>,
    observer: Arc<dyn Observer>,
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
        let dialect = match location.scheme {
            Scheme::Azblob | Scheme::Azfile => Dialect::Azure,
            Scheme::Gcs => Dialect::Google,
            Scheme::Webdav => Dialect::Webdav,
            _ => Dialect::S3,
        };
        // Each request has a limit of its own.
        transport::install().map_err(|e| StoreError::Away {
            what: "use",
            key: String::new(),
            place: place.clone(),
            trouble: Trouble::Refused,
            said: Said(root_cause(&e)),
        })?;
        let op = build::operator(location, access);
        let op = op.map_err(|e| away(dialect, "use", "", &place, &e, &Talk::new(0)))?;
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
        let (meter, observer) = (Arc::clone(&access.meter), Arc::clone(&access.observer));
        Ok(Self { op, place, dialect, meter, observer, abilities, atomic, signs })
    }

    /// Waits for a request whose answers have at most `most` bytes, unless it names a range.
    fn ask<T: Send + 'static>(
        &self,
        (what, effect): (&'static str, Effect),
        key: &str,
        limit: Duration,
        most: u64,
        request: impl Future<Output = opendal::Result<T>> + Send + 'static,
    ) -> Result<(T, transport::Seen), StoreError> {
        self.meter.request();
        let talk = Talk::new(most);
        // The clock of a timeout is the runtime's, so it is made there.
        let request = TALK.scope(Arc::clone(&talk), async move { tokio::time::timeout(limit, request).await });
        match runtime::run(&*self.observer, effect, request).map_err(|ended| ended.of(what, key))? {
            Ok(Ok(done)) => Ok((done, talk.seen())),
            Ok(Err(e)) => Err(away(self.dialect, what, key, &self.place, &e, &talk)),
            Err(_) => Err(self.trouble(what, key, Trouble::TimedOut, format!("no answer in {limit:?}"))),
        }
    }

    /// A request that changes something. Nothing can be missing but the place itself.
    fn change<T: Send + 'static>(
        &self,
        what: &'static str,
        key: &str,
        limit: Duration,
        request: impl Future<Output = opendal::Result<T>> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.ask((what, Effect::Change), key, limit, ANSWER_MAX, request) {
            Err(StoreError::Missing { .. }) => Err(self.no_place(what, key)),
            // Web servers say 201 or 204; what answers every request with a page has stored nothing.
            Ok((_, seen)) if self.dialect == Dialect::Webdav && seen.is_page && seen.status == 200 => {
                Err(self.trouble(what, key, Trouble::WebPage, "200 OK with a web page".to_owned()))
            }
            done => done.map(|(done, _)| done),
        }
    }

    fn no_place(&self, what: &'static str, key: &str) -> StoreError {
        let said = match self.dialect {
            Dialect::Webdav => "404 Not Found: no folder of WebDAV is at this URL",
            _ => "404 Not Found",
        };
        self.trouble(what, key, Trouble::NoPlace, said.to_owned())
    }

    fn trouble(&self, what: &'static str, key: &str, trouble: Trouble, said: String) -> StoreError {
        StoreError::Away { what, key: key.to_owned(), place: self.place.clone(), trouble, said: Said(said) }
    }

    /// Waits as the rate of what comes demands.
    fn came(&self, bytes: usize) -> Result<(), StoreError> {
        match self.meter.down.pass(bytes as u64) {
            Duration::ZERO => Ok(()),
            wait => runtime::sleep(&*self.observer, wait),
        }
    }

    /// Uploads a file to a key that need not be its last.
    fn upload(&self, file: &Arc<File>, len: u64, key: &str) -> Result<(), StoreError> {
        let (op, path) = (self.op.clone(), key.to_owned());
        let sign = async move { tokio::time::timeout(REQUEST, op.presign_write(&path, SIGNED)).await.map_err(late)? };
        if self.signs
            && len > 0
            && let Some(signed) = self.signed(sign)?
        {
            self.meter.request();
            let taken = Arc::new(AtomicU64::new(0));
            let body = FileBody::new(Arc::clone(file), len, Arc::clone(&self.meter), Arc::clone(&taken));
            let body = reqwest::Body::wrap(body);
            let uri = signed.uri().to_string();
            let mut headers = signed.header().clone();
            headers.remove("content-length");
            let method = signed.method().clone();
            let sent = runtime::run(&*self.observer, Effect::Read, async move {
                let client = http::uploader()?;
                let answered = async {
                    let mut answer = client.request(method, uri).headers(headers).body(body).send().await?;
                    if answer.status().is_success() {
                        return Ok::<_, reqwest::Error>(Some(Ok(())));
                    }
                    let body = http::first_bytes(&mut answer, http::REFUSAL_MAX).await;
                    Ok(Some(Err(Refusal::read(answer.status().as_u16(), answer.headers(), &body, true))))
                };
                tokio::select! {
                    answered = answered => answered,
                    () = http::stalled(&taken) => Ok(None),
                }
            });
            return match sent.map_err(|ended| ended.of("write", key))? {
                Ok(Some(Ok(()))) => Ok(()),
                Ok(Some(Err(refusal))) => {
                    Err(self.trouble("write", key, refusal.trouble(self.dialect), refusal.said()))
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

    /// A signed URL. Not everybody who may write may sign: some tokens of GCS do not.
    fn signed<T: Send + 'static>(
        &self,
        sign: impl Future<Output = opendal::Result<T>> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let talk = Talk::new(SMALL_MAX);
        let signed = runtime::run(&*self.observer, Effect::Read, TALK.scope(talk, sign));
        Ok(signed.map_err(|ended| ended.of("write", ""))?.ok())
    }

    /// For a request that carries so many bytes, and shares a slow line with as many others as there may be.
    fn limit(&self, len: u64) -> Duration {
        SILENCE + Duration::from_secs(len / SLOWEST * self.abilities.in_flight.max(1) as u64)
    }

    fn write(&self, key: &str, bytes: Vec<u8>, limit: Duration) -> Result<(), StoreError> {
        runtime::sleep(&*self.observer, self.meter.up.pass(bytes.len() as u64))?;
        let (op, path) = (self.op.clone(), key.to_owned());
        self.change("write", key, limit, async move { op.write(&path, bytes).await.map(drop) })
    }

    /// Makes what was written to another name visible under its own.
    fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let (op, from, path) = (self.op.clone(), from.to_owned(), to.to_owned());
        self.change("write", to, REQUEST, async move { op.rename(&from, &path).await.map(drop) })
    }

    fn page(&self, what: &'static str, key: &str) -> StoreError {
        self.trouble(what, key, Trouble::WebPage, "a page of HTML with status 200".to_owned())
    }

    fn staged(&self) -> Result<String, StoreError> {
        Ok(format!("tmp/w{}", random_hex()?))
    }

    fn entries(&self, dir: &str, recursive: bool) -> Result<Vec<(String, u64, bool)>, StoreError> {
        let path = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let (op, below) = (self.op.clone(), path.clone());
        // However many pages it has, each must come in time.
        let listed = self.ask(("list", Effect::Read), dir, LISTING, ANSWER_MAX, async move {
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
                if all.len() >= ENTRIES_MAX {
                    return Err(opendal::Error::new(ErrorKind::Unexpected, ENDLESS));
                }
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
            Ok((all, _))
                if all.iter().any(|(name, ..)| !name.starts_with(&path) && !path.starts_with(name.as_str())) =>
            {
                Err(self.trouble("list", dir, Trouble::Nonsense, "it lists what was not asked for".to_owned()))
            }
            Ok((_, seen)) if seen.is_page => Err(self.page("list", dir)),
            Ok((mut all, _)) => {
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
        let read = async move { Ok(op.read(&path).await?.to_vec()) };
        match self.ask(("read", Effect::Read), key, SILENCE, SMALL_MAX, read) {
            Ok((bytes, _)) if answers::looks_like_page(&String::from_utf8_lossy(&bytes[..bytes.len().min(200)])) => {
                Err(self.page("read", key))
            }
            Ok((bytes, _)) => {
                self.came(bytes.len())?;
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
        let missing = || StoreError::Missing { key: key.to_owned() };
        let (op, path) = (self.op.clone(), key.to_owned());
        let end = offset.checked_add(len as u64).ok_or_else(missing)?;
        let limit = self.limit(len as u64);
        let read = async move { Ok(op.read_with(&path).range(offset..end).await?.to_vec()) };
        let (bytes, seen) = self.ask(("read", Effect::Read), key, limit, len as u64, read)?;
        self.came(bytes.len())?;
        match bytes.len() == len {
            true => Ok(bytes),
            false if seen.is_page => Err(self.page("read", key)),
            false => Err(missing()),
        }
    }

    fn read_from(&self, key: &str, offset: u64, take: &mut Take<'_>) -> Result<(), StoreError> {
        self.meter.request();
        let (op, path) = (self.op.clone(), key.to_owned());
        let (send, mut receive) = tokio::sync::mpsc::channel(8);
        // The caller knows how much may come.
        let talk = Talk::new(u64::MAX);
        let reading = runtime::start(TALK.scope(Arc::clone(&talk), async move {
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
        }));
        let io = |source| StoreError::Io { what: "read", key: key.to_owned(), source };
        let reading = reading.map_err(io)?;
        while let Some(piece) = runtime::next(&*self.observer, &mut receive).map_err(|ended| ended.of("read", key))? {
            self.came(piece.len())?;
            take(&piece)?;
        }
        let done = runtime::run(&*self.observer, Effect::Read, reading).map_err(|ended| ended.of("read", key))?;
        let done: opendal::Result<()> = done.map_err(|e| io(std::io::Error::other(e)))?;
        done.map_err(|e| away(self.dialect, "read", key, &self.place, &e, &talk))
    }

    fn len(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let (op, path) = (self.op.clone(), key.to_owned());
        let stat = async move { Ok(op.stat(&path).await?.content_length()) };
        match self.ask(("look at", Effect::Read), key, REQUEST, ANSWER_MAX, stat) {
            Ok((_, seen)) if seen.is_page => Err(self.page("look at", key)),
            Ok((len, _)) => Ok(Some(len)),
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
        let write = async move {
            match op.write_with(&path, bytes).if_not_exists(true).await {
                Err(e) if matches!(e.kind(), ErrorKind::ConditionNotMatch | ErrorKind::AlreadyExists) => Ok(false),
                written => written.map(|_| true),
            }
        };
        match self.ask(("write", Effect::Change), key, REQUEST, ANSWER_MAX, write) {
            Err(StoreError::Missing { .. }) => Err(self.no_place("write", key)),
            created => created.map(|(created, _)| created),
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
        let delete = async move { op.delete(&path).await };
        match self.ask(("remove", Effect::Change), key, REQUEST, ANSWER_MAX, delete) {
            Err(StoreError::Missing { .. }) => Ok(()),
            done => done.map(drop),
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

/// What the store refused, or what kept a request from being answered.
fn away(dialect: Dialect, what: &'static str, key: &str, place: &str, e: &opendal::Error, talk: &Talk) -> StoreError {
    let missing = || StoreError::Missing { key: key.to_owned() };
    let told = |trouble, said| {
        let said = Said(answers::one_line(said, SAID_MAX));
        StoreError::Away { what, key: key.to_owned(), place: place.to_owned(), trouble, said }
    };
    let seen = talk.seen();
    if let Some(refusal) = &seen.refusal {
        let by_code = refusal.by_code(dialect);
        return match e.kind() {
            // A store says both "no such object" and "no such bucket" with 404.
            ErrorKind::NotFound if by_code != Some(Trouble::NoPlace) => missing(),
            ErrorKind::RangeNotSatisfied => missing(),
            _ if refusal.status == 416 => missing(),
            _ => told(refusal.trouble(dialect), &refusal.said()),
        };
    }
    if seen.is_page {
        return told(Trouble::WebPage, "a page of HTML with status 200");
    }
    // The whole of it names the key and repeats all headers; what is meant for people is the message.
    let (text, said) = (format!("{e}"), short(e));
    let trouble = match e.kind() {
        ErrorKind::NotFound | ErrorKind::RangeNotSatisfied => return missing(),
        _ if seen.too_long || said.contains(ENDLESS) => Trouble::Nonsense,
        // The object is shorter than it should be.
        _ if text.contains("reader got too little data") => return missing(),
        _ if said.contains(UNSIGNED) => {
            return told(Trouble::NoCredentials, "neither the variables nor the store's own files hold any");
        }
        ErrorKind::PermissionDenied => Trouble::Denied,
        ErrorKind::RateLimited => Trouble::Overloaded,
        ErrorKind::Unsupported => Trouble::Refused,
        _ if text.contains("no answer in time") => Trouble::TimedOut,
        _ => match std::error::Error::source(e) {
            Some(source) => trouble_of(source),
            None if e.is_temporary() => Trouble::Unreachable,
            None => Trouble::Refused,
        },
    };
    told(trouble, &said)
}

/// The part of opendal's message that was written for people.
fn short(e: &opendal::Error) -> String {
    let cause = std::error::Error::source(e).map(root_cause).unwrap_or_default();
    // A service's parser prints its own structures.
    let said = if e.message().contains(" { ") { "the answer is not understood" } else { e.message() };
    if cause.is_empty() { said.to_owned() } else { format!("{said}: {cause}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key, the place and all headers are in what opendal prints; only what the server says counts.
    #[test]
    fn what_is_missing_is_missing_whatever_it_is_called() {
        let of = |e: &opendal::Error| away(Dialect::S3, "read", "k", "s3://b", e, &Talk::new(0));
        let error = opendal::Error::new(ErrorKind::NotFound, "S3Error { code: \"NoSuchKey\" }")
            .with_context("path", "credentials/AccessDenied")
            .with_context("response", "access-control-allow-credentials: true");
        assert!(matches!(of(&error), StoreError::Missing { .. }));
        let busy = opendal::Error::new(ErrorKind::Unexpected, "internal").with_context("path", "credentials");
        assert!(matches!(of(&busy.set_temporary()), StoreError::Away { trouble: Trouble::Unreachable, .. }));
    }

    #[test]
    fn no_structure_of_a_program_is_shown() {
        let e = opendal::Error::new(ErrorKind::Unexpected, "S3Error { code: \"X\", message: \"y\" }");
        let told = away(Dialect::S3, "read", "k", "s3://b", &e, &Talk::new(0));
        assert!(!crate::error::with_causes(&told).contains('{'), "{told:?}");
    }
}
