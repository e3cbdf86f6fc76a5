//! Locates the objects of a repository: opens its index and catalogue on first use, and determines
//! which packs are missing.

use std::collections::HashSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::cached_store::{CachedStore, RemoteSegment};
use super::gclog::{GcLog, GcState};
use super::layout;
use super::state::LocalState;
use crate::error::{Failure, Kind, Result};
use crate::format::segment::{IndexRow, PackName, SegmentName};
use crate::index::catalogue::{Catalogue, segments::SegmentRow};
use crate::index::segment_reader::{SegmentBytes, SegmentReader};
use crate::index::{Index, IndexError};
use crate::model::id::{Id, ObjectKind, parse_hex};
use crate::store::local::LocalStore;
use crate::store::{ListedKey, Store, StoreError};
use crate::sys::io_error::IoError;

/// Number of segments of a remote repository whose ends are fetched together.
const OPENED_TOGETHER: usize = 16;
/// Minimum interval between two refreshes of the index that unreadable objects cause. A refresh
/// costs a listing, and a damaged pack may be read often.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// The name of a segment and the length of its file.
type SegmentFile = (SegmentName, u64);
/// A segment, or the error that occurred when it was opened.
type OpenedSegment = (SegmentName, Result<SegmentReader, IndexError>);

/// The segments of a repository.
struct LiveSegments {
    /// Those that no stored segment replaces according to the catalogue.
    live: Vec<SegmentFile>,
    /// The names of all stored ones.
    stored: HashSet<SegmentName>,
    /// The names of all segments in the catalogue.
    known: HashSet<SegmentName>,
}

/// The store of a repository.
pub(super) enum Location {
    /// A local directory.
    Local(Arc<LocalStore>),
    /// A store that is read through the cache.
    Remote(Arc<CachedStore>),
}

impl Location {
    pub(super) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Local(store) => Arc::<LocalStore>::clone(store),
            Self::Remote(store) => Arc::<CachedStore>::clone(store),
        }
    }

    pub(super) fn as_local(&self) -> Option<&LocalStore> {
        match self {
            Self::Local(store) => Some(store),
            Self::Remote(_) => None,
        }
    }

    pub(super) fn as_remote(&self) -> Option<&Arc<CachedStore>> {
        match self {
            Self::Local(_) => None,
            Self::Remote(store) => Some(store),
        }
    }
}

/// The index and the catalogue of a repository, both opened on first use.
pub(super) struct Locator {
    pub(super) location: Location,
    pub(super) state: LocalState,
    store: Arc<dyn Store>,
    index: OnceLock<Index>,
    catalogue: OnceLock<Catalogue>,
    /// Locked while the index or the catalogue is opened or refreshed.
    opening: Mutex<()>,
    /// Time of the last refresh that an unreadable object has caused.
    refreshed: Mutex<Option<Instant>>,
    missing_packs: OnceLock<HashSet<PackName>>,
    /// The gc log as this process read it last; empty until a writer begins.
    gc: RwLock<GcState>,
    /// Objects whose copies are known to be damaged, read from the catalogue on first use.
    pub(super) noted: OnceLock<RwLock<HashSet<(ObjectKind, Id)>>>,
}

impl Locator {
    pub(super) fn new(location: Location, state: LocalState) -> Self {
        Self {
            store: location.store(),
            location,
            state,
            index: OnceLock::new(),
            catalogue: OnceLock::new(),
            opening: Mutex::default(),
            refreshed: Mutex::default(),
            missing_packs: OnceLock::new(),
            gc: RwLock::default(),
            noted: OnceLock::new(),
        }
    }

    /// Returns the index; opened on first use.
    pub(super) fn index(&self) -> Result<&Index> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        // Only one thread opens the index, because opening costs many reads.
        let _opening = self.opening.lock();
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let index = retry_replaced(|| self.open_index())?;
        Ok(self.index.get_or_init(|| index))
    }

    /// Returns the index if it is already open.
    pub(super) fn opened_index(&self) -> Option<&Index> {
        self.index.get()
    }

    /// Returns the catalogue; opened on first use.
    pub(super) fn catalogue(&self) -> Result<&Catalogue> {
        if let Some(catalogue) = self.catalogue.get() {
            return Ok(catalogue);
        }
        let _opening = self.opening.lock();
        self.open_catalogue()
    }

    /// Opens the catalogue. The caller holds the lock `opening`.
    fn open_catalogue(&self) -> Result<&Catalogue> {
        if let Some(catalogue) = self.catalogue.get() {
            return Ok(catalogue);
        }
        let catalogue = self.state.open_catalogue()?;
        Ok(self.catalogue.get_or_init(|| catalogue))
    }

    fn open_index(&self) -> Result<Index> {
        let LiveSegments { live, known, .. } = self.live_segments(self.open_catalogue().ok())?;
        let index = Index::open(self.open_segments(live, HashSet::new())?)?;
        if let Some(catalogue) = self.catalogue.get() {
            for segment in layout::SEGMENT_KINDS
                .iter()
                .flat_map(|k| index.segments(*k))
            {
                if !known.contains(segment.name()) {
                    let row = SegmentRow {
                        name: *segment.name(),
                        kind: segment.kind(),
                        file_bytes: segment.file_bytes(),
                        rows: segment.rows(),
                        replaced_by: None,
                    };
                    // Ignore the error: without the row, the next process only opens more segments.
                    let _ = catalogue.add_segment(&row, segment.replaces(), &[]);
                }
            }
        }
        Ok(index)
    }

    /// Opens the segments that other processes have written since, and drops those that a gc has
    /// deleted. Returns whether there were any.
    pub(super) fn refresh(&self) -> Result<bool> {
        // `index` locks `opening` itself, so it must be called before this function locks it.
        let index = self.index()?;
        let _opening = self.opening.lock();
        let mut open: HashSet<SegmentName> = layout::SEGMENT_KINDS
            .iter()
            .flat_map(|k| index.segments(*k))
            .map(|s| *s.name())
            .collect();
        // Damaged segments would be reported again by each refresh.
        open.extend(index.damaged().iter().map(|d| d.0));
        let (new, stored) = retry_replaced(|| {
            let LiveSegments { live, stored, .. } =
                self.live_segments(self.open_catalogue().ok())?;
            let opened = self
                .open_segments(live, open.clone())?
                .into_iter()
                .map(|(_, opened)| opened);
            Ok((opened.collect::<Result<Vec<_>, _>>()?, stored))
        })?;
        let mut found = !new.is_empty();
        new.into_iter()
            .for_each(|segment| index.add_segment(segment));
        // The segments in `open` were stored before the listing.
        let gone: HashSet<SegmentName> = open
            .into_iter()
            .filter(|name| !stored.contains(name))
            .collect();
        if let Some(remote) = self.location.as_remote() {
            found |= !gone.is_empty();
            index.drop_segments(|name| gone.contains(name));
            gone.iter()
                .for_each(|name| remote.drop_cached(&layout::segment(name)));
        }
        Ok(found)
    }

    /// Refreshes the index, unless this function has refreshed it within [`REFRESH_INTERVAL`].
    pub(super) fn refresh_after_damage(&self) -> Result<()> {
        // The lock is kept during the refresh, so that other threads wait for the result.
        let mut refreshed = self.refreshed.lock();
        if refreshed.is_none_or(|at| at.elapsed() >= REFRESH_INTERVAL) {
            self.refresh()?;
            *refreshed = Some(Instant::now());
        }
        Ok(())
    }

    /// Opens the segments `live`, except those in `skip`. In a remote repository, opens large
    /// segments first: a segment is larger than the ones that it replaces, which then need not be
    /// opened.
    fn open_segments(
        &self,
        mut live: Vec<SegmentFile>,
        mut skip: HashSet<SegmentName>,
    ) -> Result<Vec<OpenedSegment>> {
        if self.location.as_remote().is_some() {
            live.sort_by_key(|s| std::cmp::Reverse(s.1));
        }
        let mut all = Vec::new();
        while !live.is_empty() {
            live.retain(|s| !skip.contains(&s.0));
            let rest = live.split_off(live.len().min(OPENED_TOGETHER));
            if let Some(remote) = self.location.as_remote() {
                // One byte at each end makes the cache fetch the blocks with the head and with the
                // footer.
                let both_ends = |len: u64| vec![0..1.min(len), len.saturating_sub(1)..len];
                let ends = live
                    .iter()
                    .map(|(name, len)| (layout::segment(name), both_ends(*len)));
                match remote.fetch_ahead(&ends.collect::<Vec<_>>()) {
                    // Ignore the error, because opening the missing segment reports its name.
                    Err(StoreError::Missing { .. }) => {}
                    fetched => drop(fetched?),
                }
            }
            for (name, len) in std::mem::replace(&mut live, rest) {
                if skip.contains(&name) {
                    continue;
                }
                let opened = self.open_segment(name, len);
                if let (true, Ok(segment)) = (self.location.as_remote().is_some(), &opened) {
                    skip.extend(segment.replaces());
                }
                all.push((name, opened));
            }
        }
        Ok(all)
    }

    fn open_segment(&self, name: SegmentName, len: u64) -> Result<SegmentReader, IndexError> {
        let key = layout::segment(&name);
        match &self.location {
            Location::Remote(remote) => {
                let path = PathBuf::from(format!("{}/{key}", remote.place()));
                let bytes: Box<dyn SegmentBytes> = match remote.local_file(&key).map(File::open) {
                    Some(Ok(file)) => Box::new(file),
                    _ => Box::new(RemoteSegment {
                        store: Arc::clone(remote),
                        key: key.clone(),
                        len,
                    }),
                };
                let opened = SegmentReader::of_bytes(name, &path, bytes);
                // Record the lengths of the packs that the segment lists, which saves a request per
                // pack. The length is 0 if a segment lists a pack only because of bases.
                for pack in opened
                    .iter()
                    .flat_map(SegmentReader::packs)
                    .filter(|p| p.size_bytes > 0)
                {
                    remote.learn(&layout::pack(&pack.name), pack.size_bytes);
                }
                // The damage may be in the cache, so the next attempt must fetch the segment again.
                if opened.as_ref().is_err_and(|e| e.kind() == Kind::Integrity) {
                    remote.forget(&key);
                }
                opened
            }
            Location::Local(files) => SegmentReader::open(name, &files.path(&key)),
        }
    }

    fn live_segments(&self, catalogue: Option<&Catalogue>) -> Result<LiveSegments> {
        let named = |listed: ListedKey| {
            let mut name = [0u8; 32];
            parse_hex(&listed.name, &mut name).map(|_| (name, listed.len))
        };
        let stored: Vec<SegmentFile> = self
            .store
            .list(layout::INDEX)?
            .into_iter()
            .filter_map(named)
            .collect();
        let names: HashSet<SegmentName> = stored.iter().map(|s| s.0).collect();
        // If the catalogue is unreadable, more segments than necessary are opened.
        let rows = catalogue
            .and_then(|c| c.segments().ok())
            .unwrap_or_default();
        // The catalogue may not match the files, for example in a copy of the repository. A segment
        // is replaced only if its replacement exists.
        let replaced = |s: &&SegmentRow| s.replaced_by.is_some_and(|by| names.contains(&by));
        let replaced: HashSet<SegmentName> = rows.iter().filter(replaced).map(|s| s.name).collect();
        let live = stored
            .into_iter()
            .filter(|s| !replaced.contains(&s.0))
            .collect();
        Ok(LiveSegments {
            live,
            stored: names,
            known: rows.iter().map(|s| s.name).collect(),
        })
    }

    /// Returns the gc log as this process read it last.
    pub(super) fn gc_state(&self) -> GcState {
        self.gc.read().clone()
    }

    /// Reads the gc log and remembers its state.
    pub(super) fn read_gc_log(&self) -> Result<GcState> {
        let state = GcLog::new(&*self.store).read(&self.gc_state())?;
        *self.gc.write() = state.clone();
        Ok(state)
    }

    /// Reads the gc log for a gc, which voids a plan whose list is damaged.
    pub(super) fn read_gc_log_to_void(&self) -> Result<GcState> {
        let state = GcLog::new(&*self.store).read_to_void(&self.gc_state())?;
        *self.gc.write() = state.clone();
        Ok(state)
    }

    /// Returns whether a writer may rely on a copy of an object: its packs exist, and no gc has
    /// given them up or plans to.
    pub(super) fn is_reliable(&self, row: &IndexRow) -> Result<bool> {
        let gc = self.gc.read();
        let is_excluded = gc.is_excluded(&row.place.pack)
            || row.base.is_some_and(|base| gc.is_excluded(&base.pack));
        Ok(!is_excluded && self.has_packs_of(row)?)
    }

    /// Returns whether a copy of an object is in a dead pack.
    pub(super) fn is_given_up(&self, row: &IndexRow) -> bool {
        let gc = self.gc.read();
        gc.is_dead(&row.place.pack) || row.base.is_some_and(|base| gc.is_dead(&base.pack))
    }

    /// Returns whether these packs exist and are neither dead nor planned.
    pub(super) fn are_reliable<'p>(
        &self,
        packs: impl IntoIterator<Item = &'p PackName>,
    ) -> Result<bool> {
        let missing = self.missing_packs()?;
        let gc = self.gc.read();
        let mut packs = packs.into_iter();
        Ok(packs.all(|pack| !gc.is_excluded(pack) && !missing.contains(pack)))
    }

    /// Returns whether every row of the index is reliable.
    pub(super) fn is_all_reliable(&self) -> Result<bool> {
        Ok(self.gc.read().is_empty() && self.missing_packs()?.is_empty())
    }

    /// Returns the packs that the index of a local repository lists but that do not exist. Lists
    /// the packs only once. Empty for a remote repository.
    pub(super) fn missing_packs(&self) -> Result<&HashSet<PackName>> {
        if let Some(missing) = self.missing_packs.get() {
            return Ok(missing);
        }
        let missing = match self.location.as_local() {
            Some(files) => {
                let stored = stored_packs(&files.path(layout::PACKS))?;
                self.indexed_packs()?
                    .into_iter()
                    .filter(|name| !stored.contains(name))
                    .collect()
            }
            None => HashSet::new(),
        };
        Ok(self.missing_packs.get_or_init(|| missing))
    }

    /// Returns whether the pack of this row exists and, for a delta, also the pack of its base.
    pub(super) fn has_packs_of(&self, row: &IndexRow) -> Result<bool> {
        let missing = self.missing_packs()?;
        Ok(!missing.contains(&row.place.pack)
            && row.base.is_none_or(|base| !missing.contains(&base.pack)))
    }

    /// Returns all packs that the index lists.
    pub(super) fn indexed_packs(&self) -> Result<HashSet<PackName>> {
        let index = self.index()?;
        let segments = layout::SEGMENT_KINDS
            .iter()
            .flat_map(|kind| index.segments(*kind));
        Ok(segments
            .flat_map(|segment| {
                segment
                    .packs()
                    .iter()
                    .map(|pack| pack.name)
                    .collect::<Vec<_>>()
            })
            .collect())
    }
}

/// Returns the packs that exist in the directory `packs`.
fn stored_packs(packs: &Path) -> Result<HashSet<PackName>> {
    let failed = |source| IoError::new("list", layout::PACKS, source);
    let list = |dir: &Path| match std::fs::read_dir(dir) {
        // A file in place of a directory is damage that a check reports, and contains no packs.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        list => list.map(Some),
    };
    let mut stored = HashSet::new();
    for folder in list(packs).map_err(failed)?.into_iter().flatten() {
        for pack in list(&folder.map_err(failed)?.path())
            .map_err(failed)?
            .into_iter()
            .flatten()
        {
            let mut name = PackName::default();
            let file = pack.map_err(failed)?.file_name();
            if file
                .to_str()
                .and_then(|hex| parse_hex(hex, &mut name))
                .is_some()
            {
                stored.insert(name);
            }
        }
    }
    Ok(stored)
}

/// Calls `open` again if it fails with an integrity error, because another process may replace and
/// remove segments while this process opens them.
fn retry_replaced<T>(open: impl Fn() -> Result<T>) -> Result<T> {
    const ATTEMPTS: usize = 10;
    for _ in 1..ATTEMPTS {
        match open() {
            Err(e) if e.kind() == Kind::Integrity => {}
            done => return done,
        }
    }
    open()
}
