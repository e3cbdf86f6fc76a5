//! The handle of an open repository: opening, creation, and access to its parts.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::cached_store::CachedStore;
use super::error::RepoError;
use super::frames::Frames;
use super::layout;
use super::locator::{Location, Locator};
use super::marker::{chunker_config, decode_marker, new_marker};
use super::outage::OutageMemory;
use super::refs::Refs;
use super::state::{Complaint, LocalState, Sharing, protect};
use super::volatile::Volatile;
use crate::codec::cut::ChunkerConfig;
use crate::codec::hash::{IdHasher, checksum};
use crate::error::Result;
use crate::format::marker::Marker;
use crate::index::Index;
use crate::index::catalogue::Catalogue;
use crate::model::id::to_hex;
use crate::model::refname::RefName;
use crate::store::local::{LocalStore, STAGING, make_root};
use crate::store::{Store, trace::Tracer};
use crate::sys::io_error::IoError;

/// Default limit on the decompressed frames in memory, in bytes.
const FRAME_CACHE_BYTES: usize = 32 << 20;

/// Function that opens the remote repository of a lazy clone.
pub type OpenLazySource = dyn Fn() -> Result<Repo> + Send + Sync;

/// Options for opening a repository.
#[derive(Clone, Default)]
pub struct OpenOptions {
    /// Cache directory, which has the local state of repositories that this user cannot write to.
    pub cache_dir: Option<PathBuf>,
    /// Limit on the decompressed frames in memory, in bytes; 0 selects the default of 32 MiB.
    pub frame_cache_bytes: usize,
    /// Receives each durable step; for tests.
    pub tracer: Option<Arc<dyn Tracer>>,
    /// Opens the remote of a lazy clone, which has the missing objects. `None` if the repository is
    /// not a lazy clone.
    pub lazy_source: Option<Arc<OpenLazySource>>,
    /// Whether reads of damaged objects ask the remotes, and note the damage in the catalogue.
    pub heal: bool,
    /// Open the remotes that such reads ask, in order.
    pub heal_sources: Vec<Arc<OpenLazySource>>,
    /// Users who can access the repository, if it is created.
    pub sharing: Sharing,
    /// Called with a message for the user: local state cannot be kept, or a remote has healed
    /// damage.
    pub complain: Option<Arc<Complaint>>,
}

/// A remote repository that is opened on first use: the source of a lazy clone, or a remote that
/// heals damage.
#[derive(Default)]
pub(super) struct LazySource {
    source: OnceLock<Box<Repo>>,
    pub(super) outage: OutageMemory,
    /// Locked while the remote repository is being opened.
    opening: Mutex<()>,
}

impl LazySource {
    /// Returns the remote repository if it is open.
    pub(super) fn opened(&self) -> Option<&Repo> {
        self.source.get().map(|source| &**source)
    }

    /// Returns the remote repository, which must have the id `id`; opened on first use. After an
    /// outage, fails for a while without an attempt.
    pub(super) fn get(&self, open: &OpenLazySource, id: &str) -> Result<&Repo> {
        if let Some(source) = self.opened() {
            return Ok(source);
        }
        let _opening = self.opening.lock();
        // The outage is read under the lock, so that threads which have waited for a failed attempt
        // fail at once.
        if let Some(detail) = self.outage.current() {
            return Err(RepoError::Unavailable { detail }.into());
        }
        if let Some(source) = self.opened() {
            return Ok(source);
        }
        let source = open().inspect_err(|e| _ = self.outage.record(e))?;
        // The URL may lead to another repository, whose versions have nothing to do with this one.
        if source.marker().id != id {
            return Err(RepoError::Foreign {
                place: source.store().place(),
            }
            .into());
        }
        Ok(self.source.get_or_init(|| Box::new(source)))
    }
}

/// An open repository. Several threads may use it at the same time.
pub struct Repo {
    pub(super) store: Arc<dyn Store>,
    pub(super) locator: Locator,
    pub(super) lazy: LazySource,
    /// The remotes of `options.heal_sources`.
    pub(super) heal: Vec<LazySource>,
    pub(super) options: OpenOptions,
    pub(super) frames: Frames,
    pub(super) volatile: Volatile,
    marker: Marker,
    chunker: ChunkerConfig,
    ids: IdHasher,
}

/// A local repository, in which objects can be stored.
#[derive(Clone, Copy)]
pub struct LocalRepo<'r> {
    repo: &'r Repo,
    files: &'r LocalStore,
}

impl<'r> LocalRepo<'r> {
    /// Returns the repository, for operations that every repository supports.
    pub const fn repo(self) -> &'r Repo {
        self.repo
    }

    /// Returns the store that contains the files of the repository.
    pub const fn files(self) -> &'r LocalStore {
        self.files
    }
}

impl Deref for LocalRepo<'_> {
    type Target = Repo;

    fn deref(&self) -> &Repo {
        self.repo
    }
}

impl Repo {
    /// Creates a repository in `root`, which must be empty or not exist.
    pub fn create(
        root: &Path,
        default_branch: &RefName,
        chunker: &ChunkerConfig,
        options: OpenOptions,
    ) -> Result<Self> {
        Self::create_copy(
            root,
            &new_marker(chunker, default_branch.as_str())?,
            options,
        )
    }

    /// Creates an empty repository in `root` with an existing marker, to copy that repository into
    /// it.
    pub fn create_copy(root: &Path, marker: &Marker, options: OpenOptions) -> Result<Self> {
        let io = |what| IoError::at(what, root);
        make_root(root).map_err(io("create"))?;
        let store = LocalStore::new(root.to_path_buf());
        if store.len(layout::MARKER)?.is_some() {
            return Err(RepoError::Exists {
                path: root.to_path_buf(),
            }
            .into());
        }
        // An interrupted creation leaves the staging directory.
        let is_other =
            |e: std::io::Result<std::fs::DirEntry>| e.map_or(true, |e| e.file_name() != STAGING);
        if std::fs::read_dir(root).map_err(io("read"))?.any(is_other) {
            return Err(RepoError::Occupied {
                path: root.to_path_buf(),
            }
            .into());
        }
        // Set the access before the marker is created, because new files get the access of the
        // directory.
        protect(root, options.sharing, options.complain.as_deref())
            .map_err(io("set the access of"))?;
        // If two processes create the repository at the same time, one of them fails here.
        if !store.create(layout::MARKER, &marker.encode())? {
            return Err(RepoError::Exists {
                path: root.to_path_buf(),
            }
            .into());
        }
        Self::open(root, options)
    }

    /// Opens the repository in `root`.
    pub fn open(root: &Path, options: OpenOptions) -> Result<Self> {
        let mut store = LocalStore::new(root.to_path_buf());
        if let Some(tracer) = &options.tracer {
            store = store.traced(Arc::clone(tracer));
        }
        let Some(bytes) = store.get(layout::MARKER)? else {
            let path = root.to_path_buf();
            return Err(if Self::is_unmarked(root) {
                RepoError::Unmarked { path }
            } else {
                RepoError::None { path }
            }
            .into());
        };
        let place = || root.display().to_string();
        let marker = decode_marker(&bytes, true, place)?;
        let chunker = chunker_config(&marker).map_err(|source| RepoError::BadMarker {
            place: place(),
            is_local: true,
            source,
        })?;
        Ok(Self::new(
            Location::Local(Arc::new(store)),
            root.to_path_buf(),
            marker,
            chunker,
            options,
        ))
    }

    /// Opens a remote repository. Its local state is kept in a directory below `state`.
    pub fn open_remote(
        store: Arc<CachedStore>,
        state: &Path,
        options: OpenOptions,
    ) -> Result<Self> {
        let Some(bytes) = store.get(layout::MARKER)? else {
            return Err(RepoError::None {
                path: PathBuf::from(store.place()),
            }
            .into());
        };
        let marker = decode_marker(&bytes, false, || store.place())?;
        Self::with_marker(store, marker, state, options)
    }

    /// Returns a remote repository with a marker that is already known, or that will be written
    /// later.
    pub fn with_marker(
        store: Arc<CachedStore>,
        marker: Marker,
        state: &Path,
        options: OpenOptions,
    ) -> Result<Self> {
        let bad = |source| RepoError::BadMarker {
            place: store.place(),
            is_local: false,
            source,
        };
        let chunker = chunker_config(&marker).map_err(bad)?;
        // Copies of a repository have the same id, so the directory name also contains a hash of
        // the URL.
        let place = to_hex(&checksum(&[store.place().as_bytes()])[..4]);
        let root = state.join(format!("{}-{place}", marker.id));
        Ok(Self::new(
            Location::Remote(store),
            root,
            marker,
            chunker,
            options,
        ))
    }

    fn new(
        location: Location,
        root: PathBuf,
        marker: Marker,
        chunker: ChunkerConfig,
        options: OpenOptions,
    ) -> Self {
        let (store, is_local) = (location.store(), location.as_local().is_some());
        let ids = IdHasher::unencrypted();
        let budget = if options.frame_cache_bytes == 0 {
            FRAME_CACHE_BYTES
        } else {
            options.frame_cache_bytes
        };
        let frames = Frames::new(Arc::clone(&store), ids.clone(), budget);
        let (cache_dir, complain) = (options.cache_dir.as_deref(), options.complain.clone());
        let state = LocalState::new(root, is_local, &marker.id, cache_dir, complain);
        Self {
            store,
            locator: Locator::new(location, state),
            lazy: LazySource::default(),
            heal: options
                .heal_sources
                .iter()
                .map(|_| LazySource::default())
                .collect(),
            frames: if is_local { frames.local() } else { frames },
            volatile: Volatile::default(),
            options,
            marker,
            chunker,
            ids,
        }
    }

    /// Returns whether a directory is a repository.
    pub fn is_at(root: &Path) -> bool {
        root.join(layout::MARKER).is_file()
    }

    /// Returns whether a directory has the packs and refs of a repository but no marker.
    pub fn is_unmarked(root: &Path) -> bool {
        !Self::is_at(root) && root.join(layout::PACKS).is_dir() && root.join("refs").is_dir()
    }

    /// Returns the directory of the repository; of a remote one, the directory of its local state.
    pub fn path(&self) -> &Path {
        self.locator.state.root()
    }

    /// Returns the store of the repository.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Returns the operations that only a local repository supports; `None` for a remote one.
    pub fn as_local(&self) -> Option<LocalRepo<'_>> {
        self.locator
            .location
            .as_local()
            .map(|files| LocalRepo { repo: self, files })
    }

    /// Like [`Self::as_local`], but fails with [`RepoError::NotLocal`] for a remote repository.
    pub fn ensure_local(&self) -> Result<LocalRepo<'_>> {
        self.as_local().ok_or_else(|| {
            RepoError::NotLocal {
                place: self.store.place(),
            }
            .into()
        })
    }

    /// Returns the store of a remote repository with its cache; `None` for a local one.
    pub fn remote_store(&self) -> Option<&Arc<CachedStore>> {
        self.locator.location.as_remote()
    }

    /// Returns a handle that reads a remote repository from its store only, without the cache and
    /// without the packs of a local repository; `None` for a local one.
    pub fn uncached(&self) -> Result<Option<Self>> {
        let Some(remote) = self.remote_store() else {
            return Ok(None);
        };
        let store = CachedStore::new(Arc::clone(remote.direct()), None, None);
        let state = self.path().parent().unwrap_or(self.path());
        Self::with_marker(
            Arc::new(store),
            self.marker.clone(),
            state,
            self.options.clone(),
        )
        .map(Some)
    }

    /// Returns the marker: the id, the default branch and the chunker settings of the repository.
    pub fn marker(&self) -> &Marker {
        &self.marker
    }

    /// Returns the chunker settings.
    pub fn chunker(&self) -> &ChunkerConfig {
        &self.chunker
    }

    /// Returns access to the branches and tags.
    pub fn refs(&self) -> Refs<'_> {
        Refs::new(&*self.store, Some(&self.locator))
    }

    /// Returns the hasher that computes the ids of objects.
    pub fn ids(&self) -> &IdHasher {
        &self.ids
    }

    /// Returns the objects that were computed but not stored.
    pub fn volatile(&self) -> &Volatile {
        &self.volatile
    }

    /// Returns the index of objects; opened on first use.
    pub fn index(&self) -> Result<&Index> {
        self.locator.index()
    }

    /// Returns the catalogue of derived data; opened on first use.
    pub fn catalogue(&self) -> Result<&Catalogue> {
        self.locator.catalogue()
    }

    /// Returns whether this process cannot write to the repository. A remote repository counts as
    /// read-only.
    pub fn is_read_only(&self) -> bool {
        self.locator.state.is_read_only()
    }

    /// Returns the directory for local state: the repository, or a directory below the cache
    /// directory if the repository is read-only.
    pub fn state_dir(&self) -> Result<PathBuf> {
        let state = self.locator.state.dir();
        state.map(Path::to_path_buf).ok_or_else(|| {
            RepoError::NoState {
                path: self.path().to_path_buf(),
            }
            .into()
        })
    }
}
