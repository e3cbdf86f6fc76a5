//! A repository: opening and creating it, and the parts that everything above works with.

pub mod away;
pub mod behind;
pub mod frames;
pub mod layout;
pub mod mark;
pub mod names;
pub mod objects;
pub mod packs;
mod present;
pub mod refs;
pub mod sink;
pub mod state;
pub mod worktree;

use std::collections::HashSet;
use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;

use crate::codec::cut::{self, ChunkerConfig, ChunkerRule};
use crate::codec::hash::{IdHasher, checksum};
use crate::error::{Failure, Kind, Result};
use crate::format::Malformed;
use crate::format::marker::{Marker, VERSION};
use crate::format::segment::{PackName, SegmentName};
use crate::index::Index;
use crate::index::catalogue::{Catalogue, commits::CommitRow, segments::SegmentRow};
use crate::index::segment_reader::{SegmentBytes, SegmentReader};
use crate::model::commit::Commit;
use crate::model::id::{Id, ObjectKind, parse_hex, to_hex};
use crate::model::refname::RefName;
use crate::store::local::{LocalStore, STAGING, make_root};
use crate::store::{ListedKey, Store, StoreError, trace::Tracer};
use crate::sys::io_error::IoError;
use crate::sys::random::random_hex;
use away::{CachedStore, FarSegment};
use behind::{Behind, OpenBehind};
use frames::Frames;
use objects::Volatile;
use refs::Refs;
use state::{Complaint, Sharing};

/// A segment with the length of its file.
type Listing = (SegmentName, u64);
/// A segment, if it can be read.
type Opened = (SegmentName, Result<SegmentReader, crate::index::IndexError>);

/// Segments of a far repository that are asked for at once.
const OPENED_TOGETHER: usize = 16;

/// How to open a repository.
#[derive(Clone, Default)]
pub struct OpenOptions {
    /// Where derived state lies if the repository itself cannot be written.
    pub cache_dir: Option<PathBuf>,
    /// Bytes of plain frames to keep in memory; 0 takes the default of 32 MiB.
    pub frame_cache_bytes: usize,
    /// Told every durable step; for tests.
    pub tracer: Option<Arc<dyn Tracer>>,
    /// In a lazy clone: where everything is that is not here.
    pub behind: Option<Arc<OpenBehind>>,
    /// Who may use a repository that is created.
    pub sharing: Sharing,
    /// Receives a sentence if local state cannot be kept anywhere.
    pub complain: Option<Arc<Complaint>>,
}

/// A repository cannot be opened or made.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// There is none.
    #[error("there is no repository at `{}`", path.display())]
    None {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is one, but its marker is gone.
    #[error("the repository at `{}` has lost its marker `{}`", path.display(), layout::MARKER)]
    Unmarked {
        /// Where.
        path: PathBuf,
    },
    /// Its marker cannot be used.
    #[error("cannot use the marker `{}` of the repository at `{place}`", layout::MARKER)]
    BadMarker {
        /// A path or a URL.
        place: String,
        /// Whether it is on this machine.
        is_here: bool,
        /// What is wrong with it.
        source: Malformed,
    },
    /// There is one already.
    #[error("there is a repository at `{}` already", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// What a lazy clone takes from did not answer a moment ago.
    #[error("not all that is needed is here: {said}")]
    Silent {
        /// What was wrong.
        said: String,
    },
    /// A lazy clone's remote holds another repository.
    #[error("`{place}` holds another repository, and not what is missing here")]
    Foreign {
        /// Where.
        place: String,
    },
    /// Something that only a repository on this machine can do.
    #[error("the repository at `{place}` is not on this machine")]
    Away {
        /// Where.
        place: String,
    },
    /// Nothing can be kept: neither the repository nor the cache directory can be written.
    #[error("cannot write to the repository `{}`, and there is no usable cache directory", path.display())]
    NoState {
        /// The repository.
        path: PathBuf,
    },
    /// The place for a new one is taken by something else.
    #[error("`{}` is not empty and holds no repository", path.display())]
    Occupied {
        /// Where.
        path: PathBuf,
    },
}

impl Failure for RepoError {
    fn kind(&self) -> Kind {
        match self {
            Self::None { .. } => Kind::NoRepository,
            Self::Unmarked { .. } | Self::BadMarker { .. } => Kind::Integrity,
            Self::Silent { .. } => Kind::Unreachable,
            Self::Foreign { .. } => Kind::Rejected,
            Self::NoState { .. } => Kind::Denied,
            Self::Exists { .. } | Self::Occupied { .. } | Self::Away { .. } => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::None { .. } => Some("make one with `dvc init`, or name one with `--repo` or `DVC_REPO`".to_owned()),
            Self::Unmarked { .. } | Self::BadMarker { is_here: true, .. } => Some(format!(
                "copy `{}` again from any other copy of the repository, such as a remote; or `dvc fsck --rebuild` makes one",
                layout::MARKER
            )),
            Self::BadMarker { .. } => {
                Some(format!("check the URL; write `{}` there again from a clone of the repository", layout::MARKER))
            }
            Self::Silent { .. } => Some("check the network; run the command again".to_owned()),
            Self::Foreign { .. } => Some("`dvc remote set NAME URL` tells where the right one is".to_owned()),
            Self::Away { .. } => Some("`dvc clone` it first".to_owned()),
            Self::NoState { .. } => {
                Some("run it as the owner, or set `DVC_CACHE_DIR` to a directory of yours".to_owned())
            }
            Self::Exists { .. } | Self::Occupied { .. } => Some("give an empty or a new directory".to_owned()),
        }
    }
}

/// The store of a repository by its kind.
enum Location {
    /// A directory of this machine.
    Local(Arc<LocalStore>),
    /// A store that is read through the cache.
    Remote(Arc<CachedStore>),
}

/// An open repository; usable from several threads.
pub struct Repo {
    store: Arc<dyn Store>,
    /// The repository itself, or where what is known of a far one is kept.
    root: PathBuf,
    location: Location,
    behind: Behind,
    marker: Marker,
    cutting: ChunkerConfig,
    options: OpenOptions,
    /// Where local state is kept, once that was asked.
    state: OnceLock<Option<PathBuf>>,
    ids: IdHasher,
    frames: Frames,
    volatile: Volatile,
    index: OnceLock<Index>,
    catalogue: OnceLock<Catalogue>,
    opening: Mutex<()>,
    /// When the index was looked at because an object could not be read.
    looked: Mutex<Option<Instant>>,
    /// Packs that the index names, and that are gone.
    gone: OnceLock<HashSet<PackName>>,
}

/// A repository that is known to be on this machine, so that files can be created in it.
#[derive(Clone, Copy)]
pub struct LocalRepo<'r> {
    repo: &'r Repo,
    files: &'r LocalStore,
}

impl<'r> LocalRepo<'r> {
    /// Returns the repository, for what any repository supports.
    pub const fn repo(self) -> &'r Repo {
        self.repo
    }

    /// Returns the store of its files.
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
    /// Makes a new repository in `root`, which must be missing or empty.
    pub fn create(
        root: &Path,
        default_branch: &RefName,
        cutting: &ChunkerConfig,
        options: OpenOptions,
    ) -> Result<Self> {
        let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let marker = Marker {
            kind: "dvc".to_owned(),
            version: VERSION,
            id: random_hex()?,
            features: Vec::new(),
            default_branch: default_branch.as_str().to_owned(),
            chunker: match cutting.rule {
                ChunkerRule::Auto => "auto",
                ChunkerRule::Content => "cdc",
                ChunkerRule::Pages => "fixed",
            }
            .to_owned(),
            cdc: cutting.content.map(size),
            page: cutting.page,
        };
        Self::create_copy(root, &marker, options)
    }

    /// Makes a repository in `root` that is a copy of one with this marker, and still empty.
    pub fn create_copy(root: &Path, marker: &Marker, options: OpenOptions) -> Result<Self> {
        let io = |what| IoError::at(what, root);
        make_root(root).map_err(io("create"))?;
        let store = LocalStore::new(root.to_path_buf());
        if store.len(layout::MARKER)?.is_some() {
            return Err(RepoError::Exists { path: root.to_path_buf() }.into());
        }
        // A staging folder is what an interrupted run leaves.
        let others = |e: std::io::Result<std::fs::DirEntry>| e.map_or(true, |e| e.file_name() != STAGING);
        if std::fs::read_dir(root).map_err(io("read"))?.any(others) {
            return Err(RepoError::Occupied { path: root.to_path_buf() }.into());
        }
        state::protect(root, &options).map_err(io("set the access of"))?;
        if !store.create(layout::MARKER, &marker.encode())? {
            return Err(RepoError::Exists { path: root.to_path_buf() }.into());
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
            return Err(
                if Self::is_unmarked(root) { RepoError::Unmarked { path } } else { RepoError::None { path } }.into()
            );
        };
        let place = || root.display().to_string();
        let marker = marker_of(&bytes, true, place)?;
        let cutting =
            cutting_of(&marker).map_err(|source| RepoError::BadMarker { place: place(), is_here: true, source })?;
        let repo = Self::of_store(Location::Local(Arc::new(store)), marker, cutting, options);
        Ok(Self { root: root.to_path_buf(), frames: repo.frames.near(), ..repo })
    }

    /// Opens a repository elsewhere; what is known of it is kept below `state`.
    pub fn open_far(store: Arc<CachedStore>, state: &Path, options: OpenOptions) -> Result<Self> {
        let Some(bytes) = store.get(layout::MARKER)? else {
            return Err(RepoError::None { path: PathBuf::from(store.place()) }.into());
        };
        let marker = marker_of(&bytes, false, || store.place())?;
        Self::of_far(store, marker, state, options)
    }

    /// A repository elsewhere whose marker is known, or will be written.
    pub fn of_far(store: Arc<CachedStore>, marker: Marker, state: &Path, options: OpenOptions) -> Result<Self> {
        let bad = |source| RepoError::BadMarker { place: store.place(), is_here: false, source };
        let cutting = cutting_of(&marker).map_err(bad)?;
        let place = to_hex(&checksum(&[store.place().as_bytes()])[..4]);
        let root = state.join(format!("{}-{place}", marker.id));
        Ok(Self { root, ..Self::of_store(Location::Remote(store), marker, cutting, options) })
    }

    fn of_store(location: Location, marker: Marker, cutting: ChunkerConfig, options: OpenOptions) -> Self {
        let store: Arc<dyn Store> = match &location {
            Location::Local(store) => Arc::<LocalStore>::clone(store),
            Location::Remote(store) => Arc::<CachedStore>::clone(store),
        };
        let ids = IdHasher::unencrypted();
        let budget = if options.frame_cache_bytes == 0 { 32 << 20 } else { options.frame_cache_bytes };
        Self {
            frames: Frames::new(Arc::clone(&store), ids.clone(), budget),
            store,
            root: PathBuf::new(),
            location,
            behind: Behind::default(),
            marker,
            cutting,
            options,
            state: OnceLock::new(),
            ids,
            volatile: Volatile::default(),
            index: OnceLock::new(),
            catalogue: OnceLock::new(),
            opening: Mutex::new(()),
            looked: Mutex::default(),
            gone: OnceLock::new(),
        }
    }

    /// Whether a directory holds a repository.
    pub fn is_at(root: &Path) -> bool {
        root.join(layout::MARKER).is_file()
    }

    /// Whether a directory holds what a repository does, but no marker.
    pub fn is_unmarked(root: &Path) -> bool {
        !Self::is_at(root) && root.join(layout::PACKS).is_dir() && root.join("refs").is_dir()
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Its objects by key.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Returns the operations that only a repository on this machine supports; `None` for any other.
    pub fn as_local(&self) -> Option<LocalRepo<'_>> {
        match &self.location {
            Location::Local(files) => Some(LocalRepo { repo: self, files }),
            Location::Remote(_) => None,
        }
    }

    /// Returns the same as [`Self::as_local`]; fails with [`RepoError::Away`] if the repository is not on this machine.
    pub fn ensure_local(&self) -> Result<LocalRepo<'_>> {
        self.as_local().ok_or_else(|| RepoError::Away { place: self.store.place() }.into())
    }

    /// Returns the store behind its cache if the repository is not on this machine.
    pub fn remote_store(&self) -> Option<&Arc<CachedStore>> {
        match &self.location {
            Location::Local(_) => None,
            Location::Remote(store) => Some(store),
        }
    }

    /// What its marker says.
    pub fn marker(&self) -> &Marker {
        &self.marker
    }

    /// How it cuts files.
    pub fn cutting(&self) -> &ChunkerConfig {
        &self.cutting
    }

    /// Its branches and tags.
    pub fn refs(&self) -> Refs<'_> {
        Refs::new(&*self.store, Some(self))
    }

    /// Makes ids as this repository does.
    pub fn ids(&self) -> &IdHasher {
        &self.ids
    }

    /// Objects that are in memory only.
    pub fn volatile(&self) -> &Volatile {
        &self.volatile
    }

    /// Where objects are; opened on first use.
    pub fn index(&self) -> Result<&Index> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let _one = self.opening.lock();
        if self.index.get().is_none() {
            let _ = self.index.set(looking_again(|| self.open_index())?);
        }
        self.index.get().ok_or_else(|| RepoError::None { path: self.path().to_path_buf() }.into())
    }

    /// Opens the segments that count.
    fn open_index(&self) -> Result<Index> {
        let (live, known) = self.live_segments(self.open_catalogue().ok())?;
        let index = Index::open(self.opened(live, HashSet::new())?)?;
        if let Some(catalogue) = self.catalogue.get() {
            for segment in layout::SEGMENT_KINDS.iter().flat_map(|k| index.segments(*k)) {
                if !known.contains(segment.name()) {
                    let row = SegmentRow {
                        name: *segment.name(),
                        kind: segment.kind(),
                        file_bytes: segment.file_bytes(),
                        rows: segment.rows(),
                        replaced_by: None,
                    };
                    // A catalogue that cannot be written is only slower the next time.
                    let _ = catalogue.add_segment(&row, segment.replaces(), &[]);
                }
            }
        }
        Ok(index)
    }

    /// Opens segments that other processes have written meanwhile; true if there were any.
    pub(super) fn refresh_index(&self) -> Result<bool> {
        let index = self.index()?;
        let _one = self.opening.lock();
        let mut open: HashSet<SegmentName> =
            layout::SEGMENT_KINDS.iter().flat_map(|k| index.segments(*k)).map(|s| *s.name()).collect();
        open.extend(index.damaged().iter().map(|d| d.0));
        let unknown = looking_again(|| {
            let live = self.live_segments(self.open_catalogue().ok())?.0;
            Ok(self.opened(live, open.clone())?.into_iter().map(|(_, opened)| opened).collect::<Result<Vec<_>, _>>()?)
        })?;
        let found = !unknown.is_empty();
        unknown.into_iter().for_each(|segment| index.add_segment(segment));
        Ok(found)
    }

    /// Tries to open segments, but not those in `not`. The large ones of a far repository come first: one that
    /// replaces others is larger than they are, and these are then not opened at all.
    fn opened(&self, mut live: Vec<Listing>, mut not: HashSet<SegmentName>) -> Result<Vec<Opened>> {
        if self.remote_store().is_some() {
            live.sort_by_key(|s| std::cmp::Reverse(s.1));
        }
        let mut all = Vec::new();
        while !live.is_empty() {
            live.retain(|s| !not.contains(&s.0));
            let rest = live.split_off(live.len().min(OPENED_TOGETHER));
            if let Some(far) = self.remote_store() {
                let both_ends = |len: u64| vec![0..1.min(len), len.saturating_sub(1)..len];
                let ends = live.iter().map(|(name, len)| (layout::segment(name), both_ends(*len)));
                match far.fetch_ahead(&ends.collect::<Vec<_>>()) {
                    // Which one it is is told when it is opened.
                    Err(StoreError::Missing { .. }) => {}
                    asked => drop(asked?),
                }
            }
            for (name, len) in std::mem::replace(&mut live, rest) {
                if not.contains(&name) {
                    continue;
                }
                let opened = self.open_segment(name, len);
                if let (true, Ok(segment)) = (self.remote_store().is_some(), &opened) {
                    not.extend(segment.replaces());
                }
                all.push((name, opened));
            }
        }
        Ok(all)
    }

    fn open_segment(&self, name: SegmentName, len: u64) -> Result<SegmentReader, crate::index::IndexError> {
        let key = layout::segment(&name);
        match &self.location {
            Location::Remote(far) => {
                let path = PathBuf::from(format!("{}/{key}", far.place()));
                let bytes: Box<dyn SegmentBytes> = match far.near_file(&key).map(File::open) {
                    Some(Ok(file)) => Box::new(file),
                    _ => Box::new(FarSegment { store: Arc::clone(far), key: key.clone(), len }),
                };
                let opened = SegmentReader::of_bytes(name, &path, bytes);
                // Nobody has to ask how long a pack is. A pack that is only a base may stand there without its length.
                for pack in opened.iter().flat_map(SegmentReader::packs).filter(|p| p.size_bytes > 0) {
                    far.learn(&layout::pack(&pack.name), pack.size_bytes);
                }
                if opened.as_ref().is_err_and(|e| e.kind() == Kind::Integrity) {
                    far.forget(&key);
                }
                opened
            }
            Location::Local(_) => SegmentReader::open(name, &self.root.join(key)),
        }
    }

    /// The segments that no other one replaces, as far as the catalogue knows, with their lengths; and all that it
    /// knows.
    fn live_segments(&self, catalogue: Option<&Catalogue>) -> Result<(Vec<Listing>, HashSet<SegmentName>)> {
        let named = |listed: ListedKey| {
            let mut name = [0u8; 32];
            parse_hex(&listed.name, &mut name).map(|_| (name, listed.len))
        };
        let there: Vec<Listing> = self.store.list(layout::INDEX)?.into_iter().filter_map(named).collect();
        let names: HashSet<SegmentName> = there.iter().map(|s| s.0).collect();
        // A catalogue that cannot be read only means that more segments are opened.
        let rows = catalogue.and_then(|c| c.segments().ok()).unwrap_or_default();
        let replaced = |s: &&SegmentRow| s.replaced_by.is_some_and(|by| names.contains(&by));
        let replaced: HashSet<SegmentName> = rows.iter().filter(replaced).map(|s| s.name).collect();
        let live = there.into_iter().filter(|s| !replaced.contains(&s.0)).collect();
        Ok((live, rows.iter().map(|s| s.name).collect()))
    }

    /// The derived catalogue; opened on first use.
    pub fn catalogue(&self) -> Result<&Catalogue> {
        if let Some(catalogue) = self.catalogue.get() {
            return Ok(catalogue);
        }
        let _one = self.opening.lock();
        self.open_catalogue()
    }

    /// Opens the catalogue; the caller holds the lock of opening.
    fn open_catalogue(&self) -> Result<&Catalogue> {
        if self.catalogue.get().is_none() {
            let _ = self.catalogue.set(self.some_catalogue()?);
        }
        self.catalogue.get().ok_or_else(|| RepoError::None { path: self.path().to_path_buf() }.into())
    }

    /// A version, from the catalogue where it is known there.
    pub fn commit_cached(&self, id: &Id) -> Result<Commit> {
        if let Ok(catalogue) = self.catalogue()
            && let Ok(Some(row)) = catalogue.commit(id)
            && self.ids.id(ObjectKind::Commit, &row.bytes) == *id
        {
            return Ok(crate::format::object::decode_commit(&row.bytes)?);
        }
        let plain = self.object(ObjectKind::Commit, id)?;
        let commit = crate::format::object::decode_commit(&plain)?;
        if let Ok(catalogue) = self.catalogue() {
            // Only a shortcut for the next time.
            let _ = catalogue.put_commits(&[commit_row(id, &commit, &plain)]);
        }
        Ok(commit)
    }
}

/// Reads the marker of the repository at `place`.
pub fn marker_of(bytes: &[u8], is_here: bool, place: impl Fn() -> String) -> Result<Marker, RepoError> {
    Marker::decode(bytes).map_err(|source| RepoError::BadMarker { place: place(), is_here, source })
}

/// How a marker says that files are cut.
fn cutting_of(marker: &Marker) -> Result<ChunkerConfig, Malformed> {
    let bad = || Malformed::new("repository marker", "impossible chunk sizes");
    let rule = match marker.chunker.as_str() {
        "auto" => ChunkerRule::Auto,
        "cdc" => ChunkerRule::Content,
        "fixed" => ChunkerRule::Pages,
        _ => return Err(Malformed::new("repository marker", "unknown chunker")),
    };
    let content = marker.cdc.map(|n| n as usize);
    let [least, average, most] = content;
    let cdc_can_be = least >= 64 && least * 4 == average && average * 4 == most && most <= cut::CHUNK_MAX;
    let page_can_be = marker.page.is_power_of_two() && (4096..=cut::CHUNK_MAX).contains(&(marker.page as usize));
    if cdc_can_be && page_can_be { Ok(ChunkerConfig { rule, content, page: marker.page }) } else { Err(bad()) }
}

/// Another process may replace segments while they are being opened: one that is gone is a reason to look again.
fn looking_again<T>(open: impl Fn() -> Result<T>) -> Result<T> {
    const LOOKS: usize = 10;
    for _ in 1..LOOKS {
        match open() {
            Err(e) if e.kind() == Kind::Integrity => {}
            done => return done,
        }
    }
    open()
}

/// The catalogue's row of a commit.
pub fn commit_row(id: &Id, commit: &Commit, bytes: &[u8]) -> CommitRow {
    CommitRow {
        id: *id,
        ordinal: commit.ordinal,
        first_parent: commit.parents.first().copied(),
        time: commit.time.secs,
        bytes: bytes.to_vec(),
    }
}
