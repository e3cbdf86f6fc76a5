//! A container registry as a store: a repository of it holds packs and segments as blobs, and names them by tags.
//!
//! A segment is there when a tag stands for it; the manifest behind it keeps the segment and all its packs from being
//! collected. Every other object is a manifest with a tag made of its key. There is no conditional write, so that
//! `create` must be guarded.

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
use std::sync::atomic::AtomicBool;

use tokio::sync::mpsc;
use url::Url;

use self::auth::Auth;
use self::blobs::Source;
use self::listing::Known;
use self::login::Password;
use self::manifest::{MANIFEST_MAX, Manifest};
use self::registry::{Asked, Registry};
use super::access::Access;
use super::location::Location;
use super::runtime::Effect;
use super::{Abilities, Listed, Said, Store, StoreError, Take, Trouble, http, runtime};

/// Pieces of a stream that wait for the calling thread.
const WAITING: usize = 4;
/// The names of Docker Hub, the host that answers for it, and its name in docker's configuration.
const HUB: [&str; 2] = ["docker.io", "index.docker.io"];
const HUB_HOST: &str = "registry-1.docker.io";
const HUB_SERVER: &str = "https://index.docker.io/v1/";

/// A repository of a registry.
pub struct OciStore {
    registry: Arc<Registry>,
    known: Arc<Known>,
    /// Whether the empty blob, which every manifest names, was seen there.
    has_empty: Arc<AtomicBool>,
}

/// What a key is in a registry.
enum Place<'a> {
    /// A blob.
    Pack(&'a str),
    /// A blob with a tag of its own.
    Segment(&'a str),
    /// A manifest.
    Object,
}

impl<'a> Place<'a> {
    fn of(key: &'a str) -> Self {
        let pieces: Vec<&str> = key.split('/').collect();
        match pieces.as_slice() {
            ["packs", folder, name] if tag::is_sha256(name) && name.starts_with(folder) && folder.len() == 2 => {
                Self::Pack(name)
            }
            ["index", name] if tag::is_sha256(name) => Self::Segment(name),
            _ => Self::Object,
        }
    }
}

impl OciStore {
    /// The store at `location`, `host[:port]` and a repository; nothing is sent yet.
    pub fn open(location: &Location, access: &Access) -> Result<Self, StoreError> {
        let away = |trouble, said: String| StoreError::Away {
            what: "open",
            key: location.path.clone(),
            place: location.to_string(),
            trouble,
            said: Said(said),
        };
        let given = Password::given(access).map_err(|said| away(Trouble::Denied, said))?;
        let is_hub = HUB.contains(&location.host.as_str());
        let (host, server) = if is_hub { (HUB_HOST, HUB_SERVER) } else { (&*location.host, &*location.host) };
        let plain = location.plain_http();
        let base = format!("{}://{host}/v2/{}", if plain { "http" } else { "https" }, location.path);
        let base = Url::parse(&base).map_err(|e| away(Trouble::Refused, e.to_string()))?;
        let auth = Auth::new(location.path.clone(), server.to_owned(), plain, given);
        let registry = Registry::new(base, location, access, auth)
            .map_err(|e| away(http::trouble_of(&e), http::root_cause(&e)))?;
        Ok(Self { registry: Arc::new(registry), known: Arc::default(), has_empty: Arc::default() })
    }

    /// Does `work` where connections are driven.
    fn run<T, F>(
        &self,
        what: &'static str,
        key: &str,
        work: impl FnOnce(Arc<Registry>, Asked) -> F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let asked = Asked { what, key: key.to_owned() };
        let effect = if matches!(what, "write" | "remove") { Effect::Change } else { Effect::Read };
        let work = work(Arc::clone(&self.registry), asked);
        runtime::run(&*self.registry.observer, effect, work).map_err(|ended| ended.of(what, key))?
    }

    /// Stores a small object, whether the key is taken or not.
    fn write(&self, key: &str, bytes: &[u8], only_new: bool) -> Result<bool, StoreError> {
        let manifest = Manifest::of_object(key, bytes);
        let has_empty = Arc::clone(&self.has_empty);
        self.run("write", key, |registry, asked| async move {
            let tag = tag::object(&asked.key);
            if only_new && objects::digest(&registry, &asked, &tag).await?.is_some() {
                return Ok(false);
            }
            objects::store(&registry, &asked, &tag, &manifest, &has_empty).await?;
            Ok(true)
        })
    }

    /// All bytes of a blob from `offset` on, as they come.
    fn pour(
        &self,
        what: &'static str,
        key: &str,
        name: String,
        offset: u64,
        take: &mut Take<'_>,
    ) -> Result<(), StoreError> {
        let (registry, asked) = (Arc::clone(&self.registry), Asked { what, key: key.to_owned() });
        let (to, mut from) = mpsc::channel(WAITING);
        let pouring = runtime::start(async move {
            if let Err(e) = blobs::pour(&registry, &asked, &name, offset, &to).await {
                // An error is that nobody listens.
                let _ = to.send(Err(e)).await;
            }
        });
        pouring.map_err(io_error("read", key))?;
        loop {
            let piece = runtime::next(&*self.registry.observer, &mut from);
            match piece.map_err(|ended| ended.of(what, key))? {
                Some(Ok(Some(piece))) => take(&piece)?,
                Some(Ok(None)) => return Ok(()),
                Some(Err(e)) => return Err(e),
                None => return Err(io_error("read", key)(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }

    fn below(&self, dir: &str, deep: bool) -> Result<std::collections::BTreeMap<String, u64>, StoreError> {
        let known = Arc::clone(&self.known);
        self.run("list", dir, |registry, asked| async move {
            listing::below(&registry, &asked, &known, &asked.key, deep).await
        })
    }
}

fn io_error(what: &'static str, key: &str) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io { what, key: key.to_owned(), source }
}

impl Store for OciStore {
    fn abilities(&self) -> Abilities {
        Abilities { exclusive: false, in_flight: 16, object_max: u64::MAX }
    }

    fn place(&self) -> String {
        self.registry.place()
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match Place::of(key) {
            Place::Object => {
                self.run("read", key, |registry, asked| async move { objects::body(&registry, &asked).await })
            }
            Place::Pack(_) | Place::Segment(_) => {
                let Some(len) = self.len(key)? else { return Ok(None) };
                self.registry.small(key, len)?;
                let len = usize::try_from(len).map_err(|e| io_error("read", key)(io::Error::other(e)))?;
                self.read_at(key, 0, len).map(Some)
            }
        }
    }

    fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        match Place::of(key) {
            Place::Pack(name) | Place::Segment(name) => {
                let name = name.to_owned();
                self.run("read", key, |registry, asked| async move {
                    blobs::read(&registry, &asked, &name, offset, len).await
                })
            }
            Place::Object => {
                let bytes = self.get(key)?.unwrap_or_default();
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let part = bytes.get(from..from.saturating_add(len)).map(<[u8]>::to_vec);
                part.ok_or_else(|| StoreError::Missing { key: key.to_owned() })
            }
        }
    }

    fn read_from(&self, key: &str, offset: u64, take: &mut Take<'_>) -> Result<(), StoreError> {
        let name = match Place::of(key) {
            Place::Pack(name) | Place::Segment(name) => name.to_owned(),
            Place::Object => {
                let bytes = self.get(key)?.ok_or_else(|| StoreError::Missing { key: key.to_owned() })?;
                let rest = bytes.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
                return if rest.is_empty() { Ok(()) } else { take(rest) };
            }
        };
        self.pour("read", key, name, offset, take)
    }

    fn len(&self, key: &str) -> Result<Option<u64>, StoreError> {
        match Place::of(key) {
            Place::Pack(name) => {
                let name = name.to_owned();
                self.run("look at", key, |registry, asked| async move { blobs::head(&registry, &asked, &name).await })
            }
            Place::Segment(name) => {
                let name = name.to_owned();
                self.run("look at", key, |registry, asked| async move { segments::len(&registry, &asked, &name).await })
            }
            Place::Object => Ok(self.get(key)?.map(|bytes| bytes.len() as u64)),
        }
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        if matches!(Place::of(key), Place::Object) {
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
        match Place::of(key) {
            Place::Pack(name) => {
                let name = name.to_owned();
                self.run("write", key, |registry, asked| async move {
                    blobs::store(&registry, &asked, &name, Source::File(opened, len)).await
                })
            }
            Place::Segment(name) => {
                let packs = segments::packs_of(&opened, len).map_err(io_error("read", key))?;
                let (name, has_empty) = (name.to_owned(), Arc::clone(&self.has_empty));
                self.run("write", key, |registry, asked| async move {
                    segments::store(&registry, &asked, &name, (opened, len), &packs, &has_empty).await
                })
            }
            Place::Object if len > MANIFEST_MAX as u64 => {
                let asked = Asked { what: "write", key: key.to_owned() };
                let said = format!("{len} bytes are too many for a manifest, which holds {MANIFEST_MAX}");
                Err(self.registry.error(&asked, Trouble::Refused, said))
            }
            Place::Object => {
                let bytes = std::fs::read(file).map_err(io_error("read", key))?;
                self.write(key, &bytes, false).map(drop)
            }
        }
    }

    fn list(&self, dir: &str) -> Result<Vec<Listed>, StoreError> {
        Ok(listing::first_pieces(&self.below(dir, false)?, dir))
    }

    fn list_all(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.below(dir, true)?.into_keys().collect())
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        match Place::of(key) {
            Place::Pack(name) => {
                let name = name.to_owned();
                self.run("remove", key, |registry, asked| async move { blobs::delete(&registry, &asked, &name).await })
            }
            Place::Segment(name) => {
                let name = name.to_owned();
                self.run(
                    "remove",
                    key,
                    |registry, asked| async move { segments::delete(&registry, &asked, &name).await },
                )
            }
            Place::Object => self.run("remove", key, |registry, asked| async move {
                objects::delete(&registry, &asked, &tag::object(&asked.key)).await
            }),
        }
    }
}

#[cfg(test)]
mod tests;
