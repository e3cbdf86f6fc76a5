//! A store in a repository of a container registry, which stores packs and index segments as blobs
//! and names objects by tags.
//!
//! A segment exists if its tag exists; the manifest of the tag protects the segment and all its
//! packs from the garbage collection of the registry. All other objects are manifests with a tag
//! that is derived from the key. Registries have no conditional writes, so `create` needs an intent
//! lock.

mod auth;
mod blobs;
mod challenge;
pub mod image;
mod listing;
mod login;
mod manifest;
mod objects;
mod refusal;
mod registry;
mod segments;
mod tag;

use std::fs::File;
use std::future::Future;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use url::Url;

use self::auth::Auth;
use self::blobs::UploadSource;
use self::listing::HashMeanings;
use self::login::BasicCredentials;
use self::manifest::{MANIFEST_MAX, Manifest};
use self::registry::{Registry, RequestInfo};
use super::access::Access;
use super::location::Location;
use super::runtime::Effect;
use super::{
    Abilities, ListedKey, ListedObject, Removal, Store, StoreError, StoreErrorKind, Take, http,
    removal, runtime,
};
use crate::format::gclog::GcEntry;
use crate::model::id::to_hex;
use crate::sys::io_error::IoError;

/// Limit on the pieces of a stream that are buffered for the calling thread.
const BUFFERED_PIECES: usize = 4;
/// The names of Docker Hub, its API host, and its name in Docker's configuration.
const HUB: [&str; 2] = ["docker.io", "index.docker.io"];
const HUB_HOST: &str = "registry-1.docker.io";
// `docker login` stores the credentials of Docker Hub under this old URL.
const HUB_SERVER: &str = "https://index.docker.io/v1/";

/// A repository of a container registry.
pub struct OciStore {
    registry: Arc<Registry>,
    known: Arc<HashMeanings>,
    /// Whether the empty blob, to which every manifest refers, is known to exist.
    has_empty: Arc<AtomicBool>,
}

/// The representation of a key in a registry.
enum KeyKind<'a> {
    Pack(&'a str),
    /// A blob with its own tag.
    Segment(&'a str),
    /// A list of packs, which the manifest of an entry of the gc log names.
    List(&'a str),
    /// A manifest with a tag.
    Object,
}

impl<'a> KeyKind<'a> {
    fn of(key: &'a str) -> Self {
        let pieces: Vec<&str> = key.split('/').collect();
        match pieces.as_slice() {
            ["packs", folder, name]
                if tag::is_sha256(name) && name.starts_with(folder) && folder.len() == 2 =>
            {
                Self::Pack(name)
            }
            ["index", name] if tag::is_sha256(name) => Self::Segment(name),
            ["quarantine", "lists", name] if tag::is_sha256(name) => Self::List(name),
            _ => Self::Object,
        }
    }
}

impl OciStore {
    /// Returns the store at `location`, which consists of `host[:port]` and a repository. Sends no
    /// request.
    pub fn open(location: &Location, access: &Access) -> Result<Self, StoreError> {
        let error = |error_kind, detail: String| {
            StoreError::remote(
                "open",
                &location.path,
                location.to_string(),
                error_kind,
                detail,
            )
        };
        let given = BasicCredentials::given(access)
            .map_err(|detail| error(StoreErrorKind::Denied, detail))?;
        let is_hub = HUB.contains(&location.host.as_str());
        let (host, server) = if is_hub {
            (HUB_HOST, HUB_SERVER)
        } else {
            (&*location.host, &*location.host)
        };
        let plain = location.plain_http();
        let base = format!(
            "{}://{host}/v2/{}",
            if plain { "http" } else { "https" },
            location.path
        );
        let base = Url::parse(&base).map_err(|e| error(StoreErrorKind::Refused, e.to_string()))?;
        let auth = Auth::new(location.path.clone(), server.to_owned(), plain, given);
        let registry = Registry::new(base, location, access, auth)
            .map_err(|e| error(http::error_kind_of(&e), http::root_cause(&e)))?;
        Ok(Self {
            registry: Arc::new(registry),
            known: Arc::default(),
            has_empty: Arc::default(),
        })
    }

    /// Runs `work` on the shared runtime, and waits for its result.
    fn run<T, F>(
        &self,
        what: &'static str,
        key: &str,
        work: impl FnOnce(Arc<Registry>, RequestInfo) -> F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let info = RequestInfo {
            what,
            key: key.to_owned(),
        };
        // A change that the user cancels gets time to finish, so that its outcome is known.
        let effect = if matches!(what, "write" | "remove") {
            Effect::Change
        } else {
            Effect::Read
        };
        let work = work(Arc::clone(&self.registry), info);
        runtime::run(&*self.registry.observer, effect, work).map_err(|ended| ended.of(what, key))?
    }

    /// Stores a small object. With `only_new`, an existing object is left as it is. Returns whether
    /// the object was written.
    fn write(&self, key: &str, bytes: &[u8], only_new: bool) -> Result<bool, StoreError> {
        let (mut manifest, bytes) = (Manifest::of_object(key, bytes), bytes.to_vec());
        let list = list_of(key, &bytes);
        let has_empty = Arc::clone(&self.has_empty);
        self.run("write", key, |registry, info| async move {
            let tag = tag::object(&info.key);
            if let Some(list) = list {
                let len = blobs::head(&registry, &info, &list).await?;
                let len = len.ok_or_else(|| StoreError::Missing {
                    key: format!("{}/{list}", listing::PACK_LISTS),
                })?;
                manifest = Manifest::of_entry(&info.key, &bytes, &list, len);
            }
            // Registries have no conditional PUT, so these are two requests. The intent lock of
            // `GuardedStore` excludes other writers between them.
            if only_new && objects::digest(&registry, &info, &tag).await?.is_some() {
                return Ok(false);
            }
            objects::store(&registry, &info, &tag, &manifest, &has_empty).await?;
            Ok(true)
        })
    }

    /// Reads all bytes of a blob from `offset` on as a stream.
    fn stream_blob(
        &self,
        what: &'static str,
        key: &str,
        name: String,
        offset: u64,
        take: &mut Take<'_>,
    ) -> Result<(), StoreError> {
        let (registry, info) = (
            Arc::clone(&self.registry),
            RequestInfo {
                what,
                key: key.to_owned(),
            },
        );
        let (to, mut from) = mpsc::channel(BUFFERED_PIECES);
        let reading = runtime::start(async move {
            if let Err(e) = blobs::stream(&registry, &info, &name, offset, &to).await {
                // The receiver may already be gone.
                let _ = to.send(Err(e)).await;
            }
        });
        reading.map_err(io_error("read", key))?;
        loop {
            let piece = runtime::next(&*self.registry.observer, &mut from);
            match piece.map_err(|ended| ended.of(what, key))? {
                Some(Ok(Some(piece))) => take(&piece)?,
                Some(Ok(None)) => return Ok(()),
                Some(Err(e)) => return Err(e),
                // The task ended without the end marker, so the object is incomplete.
                None => return Err(io_error("read", key)(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }

    fn below(
        &self,
        dir: &str,
        deep: bool,
    ) -> Result<std::collections::BTreeMap<String, u64>, StoreError> {
        let known = Arc::clone(&self.known);
        self.run("list", dir, |registry, info| async move {
            listing::below(&registry, &info, &known, &info.key, deep).await
        })
    }
}

/// Returns the name of the list of packs to which an object refers, if it is an entry of the gc log.
fn list_of(key: &str, bytes: &[u8]) -> Option<String> {
    let below = key.strip_prefix(listing::GC_LOG)?;
    let entry = below
        .starts_with('/')
        .then(|| GcEntry::decode(bytes).ok())??;
    entry.list.map(|name| to_hex(&name))
}

fn io_error(what: &'static str, key: &str) -> impl FnOnce(io::Error) -> StoreError {
    move |source| IoError::new(what, key, source).into()
}

impl Store for OciStore {
    fn abilities(&self) -> Abilities {
        Abilities {
            exclusive: false,
            // Measured with 30 ms round trip and 40 MB/s per connection: more requests gain
            // nothing.
            in_flight: 16,
            object_max: u64::MAX,
        }
    }

    fn place(&self) -> String {
        self.registry.place()
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match KeyKind::of(key) {
            KeyKind::Object => self.run("read", key, |registry, info| async move {
                objects::body(&registry, &info).await
            }),
            KeyKind::Pack(_) | KeyKind::Segment(_) | KeyKind::List(_) => {
                let Some(len) = self.len(key)? else {
                    return Ok(None);
                };
                self.registry.ensure_small(key, len)?;
                let len =
                    usize::try_from(len).map_err(|e| io_error("read", key)(io::Error::other(e)))?;
                self.read_at(key, 0, len).map(Some)
            }
        }
    }

    fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        match KeyKind::of(key) {
            KeyKind::Pack(name) | KeyKind::Segment(name) | KeyKind::List(name) => {
                let name = name.to_owned();
                self.run("read", key, |registry, info| async move {
                    blobs::read(&registry, &info, &name, offset, len).await
                })
            }
            KeyKind::Object => {
                // A missing object is treated as an empty one, which is too short.
                let bytes = self.get(key)?.unwrap_or_default();
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let part = bytes
                    .get(from..from.saturating_add(len))
                    .map(<[u8]>::to_vec);
                part.ok_or_else(|| StoreError::Missing {
                    key: key.to_owned(),
                })
            }
        }
    }

    fn read_from(&self, key: &str, offset: u64, take: &mut Take<'_>) -> Result<(), StoreError> {
        let name = match KeyKind::of(key) {
            KeyKind::Pack(name) | KeyKind::Segment(name) | KeyKind::List(name) => name.to_owned(),
            KeyKind::Object => {
                let bytes = self.get(key)?.ok_or_else(|| StoreError::Missing {
                    key: key.to_owned(),
                })?;
                let rest = bytes
                    .get(usize::try_from(offset).unwrap_or(usize::MAX)..)
                    .unwrap_or_default();
                return if rest.is_empty() { Ok(()) } else { take(rest) };
            }
        };
        self.stream_blob("read", key, name, offset, take)
    }

    fn len(&self, key: &str) -> Result<Option<u64>, StoreError> {
        match KeyKind::of(key) {
            KeyKind::Pack(name) | KeyKind::List(name) => {
                let name = name.to_owned();
                self.run("inspect", key, |registry, info| async move {
                    blobs::head(&registry, &info, &name).await
                })
            }
            KeyKind::Segment(name) => {
                let name = name.to_owned();
                self.run("inspect", key, |registry, info| async move {
                    segments::len(&registry, &info, &name).await
                })
            }
            KeyKind::Object => Ok(self.get(key)?.map(|bytes| bytes.len() as u64)),
        }
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        if matches!(KeyKind::of(key), KeyKind::Object) {
            return self.write(key, bytes, true);
        }
        if self.len(key)?.is_some() {
            return Ok(false);
        }
        let mut file = tempfile::NamedTempFile::new().map_err(io_error("write", key))?;
        file.write_all(bytes).map_err(io_error("write", key))?;
        self.put(file.path(), key).map(|()| true)
    }

    fn put(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        let open = || -> io::Result<(Arc<File>, u64)> {
            let file = File::open(file)?;
            let len = file.metadata()?.len();
            Ok((Arc::new(file), len))
        };
        let (opened, len) = open().map_err(io_error("read", key))?;
        match KeyKind::of(key) {
            KeyKind::Pack(name) | KeyKind::List(name) => {
                let name = name.to_owned();
                self.run("write", key, |registry, info| async move {
                    blobs::store(&registry, &info, &name, UploadSource::File(opened, len)).await
                })
            }
            KeyKind::Segment(name) => {
                let packs = segments::packs_of(&opened, len).map_err(io_error("read", key))?;
                let (name, has_empty) = (name.to_owned(), Arc::clone(&self.has_empty));
                self.run("write", key, |registry, info| async move {
                    segments::store(&registry, &info, &name, (opened, len), &packs, &has_empty)
                        .await
                })
            }
            KeyKind::Object if len > MANIFEST_MAX as u64 => {
                let info = RequestInfo {
                    what: "write",
                    key: key.to_owned(),
                };
                let detail =
                    format!("{len} bytes are too many for a manifest (limit {MANIFEST_MAX})");
                Err(self.registry.error(&info, StoreErrorKind::Refused, detail))
            }
            KeyKind::Object => {
                let bytes = std::fs::read(file).map_err(io_error("read", key))?;
                self.write(key, &bytes, false).map(drop)
            }
        }
    }

    fn replace(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        // A registry does not store a blob again if it believes that it already has the blob.
        self.delete(key)?;
        self.put(file, key)?;
        // A registry may accept an upload and keep the deleted blob.
        self.read_at(key, 0, 1).map(drop)
    }

    fn list(&self, dir: &str) -> Result<Vec<ListedKey>, StoreError> {
        Ok(listing::first_pieces(&self.below(dir, false)?, dir))
    }

    fn list_all(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.below(dir, true)?.into_keys().collect())
    }

    fn list_objects(&self, dir: &str) -> Result<Vec<ListedObject>, StoreError> {
        let below = self.below(dir, true)?.into_iter();
        Ok(below.map(|(key, len)| ListedObject { key, len }).collect())
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        match KeyKind::of(key) {
            KeyKind::Pack(name) | KeyKind::List(name) => {
                let name = name.to_owned();
                self.run("remove", key, |registry, info| async move {
                    blobs::delete(&registry, &info, &name).await.map(drop)
                })
            }
            KeyKind::Segment(name) => {
                let names = vec![name.to_owned()];
                self.run("remove", key, |registry, info| async move {
                    segments::delete(&registry, &info, &names).await
                })
            }
            KeyKind::Object => self.run("remove", key, |registry, info| async move {
                objects::delete(&registry, &info, &tag::object(&info.key)).await
            }),
        }
    }

    /// Removes the tags of segments before any blob, because a manifest must not name a blob that
    /// is missing.
    fn delete_many(&self, keys: &[String]) -> Result<Removal, StoreError> {
        let (mut segments, mut packs, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys {
            match KeyKind::of(key) {
                KeyKind::Segment(name) => segments.push(name.to_owned()),
                KeyKind::Pack(name) => packs.push(name.to_owned()),
                KeyKind::List(_) | KeyKind::Object => others.push(key.clone()),
            }
        }
        let mut removal = Removal::default();
        if let Some(first) = segments.first() {
            let (key, names) = (format!("index/{first}"), segments.clone());
            let removed = self.run("remove", &key, |registry, info| async move {
                segments::delete(&registry, &info, &names).await
            });
            let before = removal.refused;
            removal.note(removed)?;
            if removal.refused > before {
                removal.refused = before + segments.len();
            }
        }
        // Even if the registry accepts the removal, it frees the space of the blob only at its own
        // garbage collection. A registry that refuses one removal refuses all of them.
        removal.deferred += packs.len();
        let is_unsupported = AtomicBool::new(false);
        removal.add(removal::singly(
            &packs,
            self.abilities().in_flight,
            |name| {
                if is_unsupported.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let key = format!("packs/{}/{name}", name.get(..2).unwrap_or_default());
                let name = name.to_owned();
                let is_supported = self.run("remove", &key, |registry, info| async move {
                    blobs::delete(&registry, &info, &name).await
                })?;
                is_unsupported.fetch_or(!is_supported, Ordering::Relaxed);
                Ok(())
            },
        )?);
        // Registries fail if several tags are removed at the same time.
        removal.add(removal::singly(&others, 1, |key| self.delete(key))?);
        Ok(removal)
    }
}

#[cfg(test)]
mod tests;
