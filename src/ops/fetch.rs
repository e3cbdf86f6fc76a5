//! `fetch`: fetches the branches of a remote as `REMOTE/NAME`, its tags, and the objects that they
//! need.
//!
//! From a lazy remote, only refs are fetched, and the index and the trees if they are small. `data`
//! fetches all data too, and `paths` the data of some paths.

use std::collections::{BTreeSet, HashSet};

use crate::context::Context;
use crate::context::Remote;
use crate::context::remote_access::RemoteAccess;
use crate::error::{Kind, Result};
use crate::format::pack::PackKind;
use crate::index::segment_reader::SegmentReader;
use crate::model::id::{Id, ObjectKind};
use crate::model::path::{display, split};
use crate::model::refname::{RefKind, RefName};
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::query::history::{ancestors, ancestors_beside};
use crate::query::resolve::{ResolveError, Resolver};
use crate::refs::moves::RefMoveError;
use crate::refs::tracking::{UnnamedRemote, track, tracking};
use crate::repo::gcwatch::GcWatch;
use crate::repo::refs::{Move, report_damaged};
use crate::repo::trashlog::{TrashLog, TrashState};
use crate::repo::writer::{NewValue, WriteSession, is_collected};
use crate::repo::{Repo, layout};
use crate::sync::copy::Copier;
use crate::sync::lease::renew_clone_lease;
use crate::sync::missing::{self, From, INDEX_WHOLE_MAX, Missing, Needed, Wanted, index_bytes};
use crate::sync::packs::Sent;
use crate::sync::tips::{self, Tips, values};

/// A lazy clone fetches the packs of trees if their total length in bytes is at most this.
const TREES_MAX: u64 = 8 << 20;
/// Limit on the bytes of index segments that a lazy clone fetches in advance.
const INDEX_MAX: u64 = 12 << 20;

/// The options of `fetch`.
#[derive(Clone, Debug, Default)]
pub struct FetchOptions {
    /// Remove tracking refs of branches that the remote no longer has.
    pub prune: bool,
    /// Fetch the data from a lazy remote too.
    pub data: bool,
    /// Fetch only the data of these paths of the current version; implies `data`.
    pub paths: Vec<Vec<u8>>,
    /// Fetch only the data of this many versions of each branch.
    pub depth: Option<usize>,
    /// Continue even if the remote is not a copy of this repository.
    pub force: bool,
    /// Only report what would be done.
    pub dry_run: bool,
}

/// A new or moved ref.
#[derive(Clone, Debug)]
pub struct FetchedRef {
    /// A remote branch, or a tag.
    pub kind: RefKind,
    /// The local name.
    pub name: RefName,
    /// The previous value.
    pub old: Option<Id>,
    /// The new value; `None` if the ref was pruned.
    pub new: Option<Id>,
    /// Whether the move is a fast-forward.
    pub fast_forward: bool,
}

/// The result of `fetch`.
#[derive(Clone, Debug, Default)]
pub struct FetchReport {
    /// The name of the remote.
    pub remote: String,
    pub url: String,
    /// The new and moved refs.
    pub refs: Vec<FetchedRef>,
    /// The number of fetched packs.
    pub packs: u64,
    /// Bytes of these packs.
    pub bytes: u64,
    /// The number of requests.
    pub requests: u64,
    /// Bytes that were received, including refs and the index.
    pub received_bytes: u64,
    /// Whether a remote ref has gone back to an older state than was seen before.
    pub rolled_back: bool,
    /// The number of remote refs that were left out because they, or their versions, are damaged.
    pub damaged: usize,
}

/// Attempts while garbage collections, here or on the remote, delete what the fetch relies on.
const ATTEMPTS: usize = 8;

/// Fetches from one remote. If a gc moves objects at the same time, the fetch starts again instead of
/// failing; packs that have arrived are not fetched again.
pub fn fetch(
    context: &Context,
    remote: &Remote,
    options: &FetchOptions,
    observer: &dyn Observer,
) -> Result<FetchReport> {
    for _ in 1..ATTEMPTS {
        match fetch_once(context, remote, options, observer) {
            Err(e) if is_collected(&e) => {}
            report => return report,
        }
    }
    fetch_once(context, remote, options, observer)
}

fn fetch_once(
    context: &Context,
    remote: &Remote,
    options: &FetchOptions,
    observer: &dyn Observer,
) -> Result<FetchReport> {
    let repo = context.repo()?;
    let session = WriteSession::begin(&repo)?;
    let mut reach = RemoteAccess::new(context, remote)?;
    let (before, came_before) = (
        remote.access.meter.requests(),
        remote.access.meter.down.bytes(),
    );
    let there = reach.existing()?;
    if !options.force {
        reach.ensure_same(repo.marker(), there.marker())?;
    }
    // Rows of dead packs of the remote do not count as copies.
    reach.state.gc_number = Some(there.read_gc_log()?.number);
    let watch = GcWatch::begin([&repo, &there]);
    let tips = tips::read(&**reach.store().direct())?;
    let rolled_back = reach.record_tips(&tips, observer);
    if !options.dry_run {
        reach.save()?;
    }
    let part = !options.paths.is_empty() || options.depth.is_some();
    if part && context.remote(&remote.name).is_none() {
        // Without a named remote, the rest could not be fetched later.
        return Err(UnnamedRemote {
            url: remote.name.clone(),
        }
        .into());
    }
    let (sent, lost) = (Vec::new(), HashSet::new());
    let mut fetch = Fetch {
        context,
        repo: &repo,
        session: &session,
        watch: &watch,
        there: &there,
        reach: &reach,
        options,
        observer,
        sent,
        lost,
    };
    let mut wants: Vec<Id> = [RefKind::Branch, RefKind::Tag]
        .iter()
        .flat_map(|k| values(&tips, *k).map(|v| v.1))
        .collect();
    wants.sort_unstable();
    wants.dedup();
    let mut report = FetchReport {
        remote: remote.name.clone(),
        url: remote.location.to_string(),
        rolled_back,
        damaged: tips.damaged.len(),
        ..FetchReport::default()
    };
    // The objects come first, so that no ref names a version without its objects.
    if !options.dry_run {
        watch.explain(fetch.objects(&wants))?;
        wants.retain(|id| !fetch.lost.contains(id));
        report.packs = fetch.sent.len() as u64;
        report.bytes = fetch.sent.iter().map(|s| s.bytes).sum();
    }
    let branches: Vec<(RefName, Id)> = values(&tips, RefKind::Branch)
        .map(|(n, id)| (n.clone(), id))
        .collect();
    for (name, id) in &branches {
        if fetch.lost.contains(id) {
            report.damaged += 1;
        } else {
            watch.explain(fetch.branch(&mut report, name, *id))?;
        }
    }
    for (name, id) in values(&tips, RefKind::Tag) {
        if fetch.lost.contains(&id) {
            report.damaged += 1;
        } else {
            watch.explain(fetch.tag(&mut report, name, id))?;
        }
    }
    if options.prune {
        fetch.prune(&mut report, &branches, &tips)?;
    }
    // A damaged ref of the remote may need objects that were not fetched.
    if !options.dry_run && report.damaged == 0 {
        watch.explain(fetch.settle(&wants))?;
    }
    if !options.dry_run {
        // `--force-with-lease` compares with the refs that this report shows.
        reach.state.shown.clone_from(&reach.state.seen);
        let is_source = context
            .lazy_source()
            .is_some_and(|source| source.location == remote.location);
        if is_source {
            let (host, now) = (&context.host, context.now_secs());
            renew_clone_lease(&repo, Ok(&there), &mut reach.state, host, now, observer)?;
        }
        reach.save()?;
    }
    report.requests = remote.access.meter.requests() - before;
    report.received_bytes = remote.access.meter.down.bytes() - came_before;
    Ok(report)
}

struct Fetch<'f> {
    context: &'f Context,
    repo: &'f Repo,
    session: &'f WriteSession<'f>,
    watch: &'f GcWatch<'f>,
    there: &'f Repo,
    reach: &'f RemoteAccess<'f>,
    options: &'f FetchOptions,
    observer: &'f dyn Observer,
    sent: Vec<Sent>,
    /// Versions that are damaged on the remote, or have damaged ancestors.
    lost: HashSet<Id>,
}

impl Fetch<'_> {
    /// Fetches the objects that the versions need, as far as the options request them.
    fn objects(&mut self, wants: &[Id]) -> Result<()> {
        let data = self.options.data || !self.options.paths.is_empty();
        let lazily = self.reach.remote.lazy && !data && self.options.depth.is_none();
        // The mark must be durable before a ref needs objects that are not local.
        if !self.is_all() {
            self.repo
                .ensure_local()?
                .set_partial(&self.reach.remote.location.to_string())?;
        }
        let ours = self.repo.forgotten()?;
        if lazily {
            self.first_objects()?;
            let theirs = self.there.forgotten()?;
            return self.record_forgotten(
                &ours,
                &theirs,
                theirs.forgotten().map(|(id, _)| *id),
                wants,
            );
        }
        let mut whole: HashSet<Id> = HashSet::new();
        // A complete repository has all objects that its refs reach.
        if Repo::partial(self.repo.path()).is_none() {
            for kind in RefKind::ALL {
                for tip in self.repo.refs().readable(kind)?.tips {
                    if self.repo.has(ObjectKind::Commit, &tip.id)? {
                        whole.extend(ancestors_beside(self.repo, &tip.id, &whole)?);
                    }
                }
            }
            // The remote may have the data of versions that were copied without it.
            let has_all = ours
                .forgotten()
                .all(|(_, mention)| !mention.is_without_data());
            if has_all && wants.iter().all(|id| whole.contains(id)) {
                return Ok(());
            }
        }
        let theirs = self.there.forgotten()?;
        let again = self.restored_there(&ours, &theirs)?;
        // A version that is forgotten on either side may have lost its data. Leave the version out
        // of the fetch, and do not assume that its objects are present locally.
        whole.retain(|id| !ours.contains(id));
        let mut forgotten: HashSet<Id> = ours
            .forgotten()
            .chain(theirs.forgotten())
            .map(|(id, _)| *id)
            .collect();
        // The value of a ref is fetched with its data, even if the version is in the trash.
        wants
            .iter()
            .chain(&again)
            .for_each(|id| _ = forgotten.remove(id));
        let mut without_data = Vec::new();
        self.observer.phase("looking", None, None);
        self.index_ahead()?;
        let mut wanted = Wanted::All;
        if self.options.paths.is_empty() {
            // Fetch the nodes in whole packs, because a walk that reads them on the remote waits
            // for each of them.
            self.nodes(&[PackKind::Tree, PackKind::List], u64::MAX)?;
            wanted = Wanted::Chunks;
        } else if !self.reach.remote.lazy {
            // The tracking refs will name these versions, so fetch their trees.
            self.nodes(&[PackKind::Tree], u64::MAX)?;
        }
        let needed = loop {
            let mut missing = Missing::new(
                From::Repo(self.there),
                Some(self.repo),
                wanted,
                self.observer,
            );
            missing.leave_out(forgotten.clone());
            if !self.options.paths.is_empty() {
                self.at_paths(&mut missing)?;
                break missing.finish();
            }
            let mut find = |id: &&Id| {
                let found = missing.version(id, &|id| whole.contains(id), self.options.depth);
                found.err().map(|e| (**id, e))
            };
            match wants
                .iter()
                .filter(|id| !self.lost.contains(id))
                .find_map(|id| find(&id))
            {
                // The objects of the damaged version must not be fetched, so search again without
                // it.
                Some((id, e))
                    if e.kind() == Kind::Integrity
                        && wants.len() > 1
                        && !self.watch.has_moved() =>
                {
                    report_damaged(&e, self.observer);
                    self.lost.insert(id);
                }
                Some((_, e)) => return Err(e),
                None => {
                    again.iter().try_for_each(|id| {
                        missing.version(id, &|id| whole.contains(id), Some(1))
                    })?;
                    without_data = missing.take_without_data();
                    break missing.finish();
                }
            }
        };
        self.receive(&needed, "receiving")?;
        self.cover()?;
        // Update the trash log before the refs, so that every version without data that a ref
        // reaches has an entry in the log.
        self.record_forgotten(&ours, &theirs, without_data.into_iter(), wants)
    }

    /// Returns the versions that were copied without data, if the remote has them and has not
    /// forgotten them.
    fn restored_there(&self, ours: &TrashState, theirs: &TrashState) -> Result<Vec<Id>> {
        let mut again = Vec::new();
        for (id, mention) in ours.forgotten() {
            if mention.is_without_data()
                && !theirs.contains(id)
                && self.there.knows(ObjectKind::Commit, id)?
            {
                again.push(*id);
            }
        }
        Ok(again)
    }

    /// Adds versions that were fetched without data to the trash log, and takes versions out of the
    /// log whose data has now been fetched.
    fn record_forgotten(
        &self,
        ours: &TrashState,
        theirs: &TrashState,
        without_data: impl Iterator<Item = Id>,
        wants: &[Id],
    ) -> Result<()> {
        let how = Move {
            who: &self.context.author,
            why: "fetch",
            time: self.context.moved_at(),
        };
        let new: Vec<Id> = without_data
            .filter(|id| !ours.contains(id) && !wants.contains(id))
            .collect();
        if !new.is_empty() {
            TrashLog::new(self.repo.store()).enter_without_data(&new, &how)?;
        }
        let again = self.restored_there(ours, theirs)?;
        if !again.is_empty() {
            self.repo.restore_versions(&again, &how)?;
        }
        Ok(())
    }

    /// Returns whether this fetch gets all objects that the remote refs need.
    fn is_all(&self) -> bool {
        let FetchOptions {
            data, paths, depth, ..
        } = self.options;
        paths.is_empty() && depth.is_none() && (*data || !self.reach.remote.lazy)
    }

    /// Marks the repository as complete if all objects of all refs were fetched.
    fn settle(&self, wants: &[Id]) -> Result<()> {
        if !self.is_all() || Repo::partial(self.repo.path()).is_none() {
            return Ok(());
        }
        let mut whole: HashSet<Id> = HashSet::new();
        for id in wants {
            whole.extend(ancestors_beside(self.repo, id, &whole)?);
        }
        // Local branches and the branches of other remotes must be complete, too.
        for kind in RefKind::ALL {
            if self
                .repo
                .refs()
                .readable(kind)?
                .tips
                .iter()
                .any(|tip| !whole.contains(&tip.id))
            {
                return Ok(());
            }
        }
        self.repo.ensure_local()?.set_whole()
    }

    /// Fetches the whole index of chunks in advance, unless it is huge.
    fn index_ahead(&self) -> Result<()> {
        if index_bytes(self.there)? <= INDEX_WHOLE_MAX {
            let segments = self.there.index()?.segments(PackKind::Data);
            let whole = |s: &SegmentReader| {
                (
                    layout::segment(s.name()),
                    std::iter::once(0..s.file_bytes()).collect(),
                )
            };
            self.reach
                .store()
                .fetch_ahead(&segments.iter().map(|s| whole(s)).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Fetches what a lazy clone starts with: index segments up to [`INDEX_MAX`], smallest first,
    /// of large ones only the fanout tables; and the packs of trees, if they are small.
    fn first_objects(&mut self) -> Result<()> {
        let index = self.there.index()?;
        let mut segments: Vec<_> = layout::SEGMENT_KINDS
            .iter()
            .flat_map(|k| index.segments(*k))
            .collect();
        segments.sort_unstable_by_key(|s| s.file_bytes());
        let mut left = INDEX_MAX;
        let mut ahead = Vec::new();
        for segment in segments {
            let bytes = segment.file_bytes();
            let whole = || std::iter::once(0..bytes).collect();
            let ranges: Vec<_> = if bytes <= left {
                whole()
            } else {
                segment.fanout_ranges()
            };
            let bytes: u64 = ranges.iter().map(|r| r.end - r.start).sum();
            if bytes <= left {
                left -= bytes;
                ahead.push((layout::segment(segment.name()), ranges));
            }
        }
        self.reach.store().fetch_ahead(&ahead)?;
        self.nodes(&[PackKind::Tree], TREES_MAX)?;
        self.cover()
    }

    /// Fetches the missing packs of each of these kinds, if their total length is at most `limit`.
    fn nodes(&mut self, kinds: &[PackKind], limit: u64) -> Result<()> {
        let (ours, theirs) = (self.repo.index()?, self.there.index()?);
        let mut needed: [Needed; 3] = Default::default();
        for kind in kinds {
            let mut here = BTreeSet::new();
            for segment in ours.segments(*kind) {
                if self.repo.rely_on_segment(&segment)? {
                    here.insert(*segment.name());
                }
            }
            let packs: BTreeSet<_> = theirs
                .segments(*kind)
                .iter()
                .flat_map(|s| s.packs().to_vec())
                .map(|p| (p.name, p.size_bytes))
                .collect();
            if packs
                .iter()
                .filter(|p| ours.pack_bytes(*kind, &p.0).is_none())
                .map(|p| p.1)
                .sum::<u64>()
                > limit
            {
                // The packs are then fetched when they are read.
                continue;
            }
            for segment in theirs
                .segments(*kind)
                .iter()
                .filter(|s| !here.contains(s.name()))
            {
                for row in segment.iter() {
                    let row = row?;
                    if !self.there.is_given_up(&row) && !self.repo.rely_on_kind(*kind, &row.id)? {
                        missing::add(&mut needed[usize::from(kind.number())], &row.place);
                    }
                }
            }
        }
        self.receive(&missing::sorted(needed), "receiving trees")
    }

    /// Adds the entries at the requested paths of the current version.
    fn at_paths(&self, missing: &mut Missing<'_>) -> Result<()> {
        let resolver = Resolver::new(self.repo, self.context)?;
        let version = resolver.revision(&crate::model::revision::Revision::HEAD)?;
        let tree = self.repo.commit_cached(&version)?.tree;
        for path in &self.options.paths {
            let nowhere = || ResolveError::NoPath {
                revision: "@".to_owned(),
                path: display(path),
            };
            let names = split(path).ok_or_else(nowhere)?;
            if names.is_empty() {
                missing.tree(&tree, None)?;
                continue;
            }
            let entry = self.repo.find(&tree, &names)?.ok_or_else(nowhere)?;
            missing.entry(&entry, None)?;
        }
        Ok(())
    }

    fn receive(&mut self, needed: &[Needed; 3], phase: &'static str) -> Result<()> {
        let copier = self.copier()?;
        let plan = copier.plan(needed)?;
        self.sent.extend(copier.run(plan, phase)?);
        Ok(())
    }

    /// Adds the fetched packs to the index.
    fn cover(&self) -> Result<()> {
        self.copier()?.cover().run(&self.sent)?;
        Ok(())
    }

    fn copier(&self) -> Result<Copier<'_>> {
        Copier::new(
            self.there,
            self.repo,
            &self.reach.remote.access.meter,
            self.observer,
        )
    }

    /// Sets the tracking ref of a remote branch. A branch that cannot have a tracking ref is
    /// skipped.
    fn branch(&self, report: &mut FetchReport, name: &RefName, id: Id) -> Result<()> {
        let here = match tracking(&self.reach.remote.name, name) {
            Ok(here) => here,
            // A remote without a name has no tracking refs to set.
            Err(_) if self.context.remote(&self.reach.remote.name).is_none() => return Ok(()),
            Err(e) => {
                let message = format!(
                    "cannot fetch branch `{name}` of {}: {e}",
                    self.reach.remote.name
                );
                self.observer.notice(Notice {
                    level: NoticeLevel::Incomplete,
                    path: Vec::new(),
                    message,
                });
                return Ok(());
            }
        };
        let old = self.repo.refs().value(RefKind::Remote, &here)?;
        if old == Some(id) {
            return Ok(());
        }
        // In a dry run, the new version is not local.
        let fast_forward = match old {
            Some(old) if !self.options.dry_run => ancestors(self.repo, &id)?.contains(&old),
            _ => true,
        };
        if !self.options.dry_run {
            self.observer.step("ref");
            track(
                self.context,
                self.session,
                &self.reach.remote.name,
                name,
                NewValue::Stored(id),
                "fetch",
            )?;
        }
        report.refs.push(FetchedRef {
            kind: RefKind::Remote,
            name: here,
            old,
            new: Some(id),
            fast_forward,
        });
        Ok(())
    }

    /// Adds a tag that is not local, unless it was deleted locally. A local tag of a different
    /// version is kept.
    fn tag(&self, report: &mut FetchReport, name: &RefName, id: Id) -> Result<()> {
        let tip = self.repo.refs().tip(RefKind::Tag, name)?;
        match tip.as_ref().and_then(crate::repo::refs::value_of) {
            Some(ours) if ours == id => return Ok(()),
            Some(ours) => {
                let message = format!(
                    "kept the local tag `{name}`: it is {} here, but {} on {}",
                    ours.short(),
                    id.short(),
                    self.reach.remote.name
                );
                self.observer.notice(Notice {
                    level: NoticeLevel::Info,
                    path: Vec::new(),
                    message,
                });
                return Ok(());
            }
            // The tag was deleted locally on purpose, so do not add it again.
            None if tip.is_some() && !self.repo.refs().log(RefKind::Tag, name)?.is_empty() => {
                return Ok(());
            }
            None => {}
        }
        if !self.options.dry_run {
            let how = Move {
                who: &self.context.author,
                why: "fetch",
                time: self.context.moved_at(),
            };
            if self
                .session
                .move_ref(RefKind::Tag, name, None, NewValue::Stored(id), &how)?
                .is_none()
            {
                return Err(RefMoveError::Raced {
                    kind: RefKind::Tag,
                    name: name.clone(),
                }
                .into());
            }
        }
        report.refs.push(FetchedRef {
            kind: RefKind::Tag,
            name: name.clone(),
            old: None,
            new: Some(id),
            fast_forward: true,
        });
        Ok(())
    }

    /// Removes tracking refs of branches that the remote no longer has. Those of branches that are
    /// damaged there are kept.
    fn prune(&self, report: &mut FetchReport, there: &[(RefName, Id)], tips: &Tips) -> Result<()> {
        let prefix = format!("{}/", self.reach.remote.name);
        for tip in self.repo.refs().readable(RefKind::Remote)?.tips {
            let Some(branch) = tip.name.as_str().strip_prefix(&prefix) else {
                continue;
            };
            let is_damaged =
                RefName::new(branch).is_ok_and(|name| tips.is_damaged(RefKind::Branch, &name));
            if is_damaged || there.iter().any(|(name, _)| name.as_str() == branch) {
                continue;
            }
            if !self.options.dry_run {
                track(
                    self.context,
                    self.session,
                    &self.reach.remote.name,
                    &RefName::new(branch)?,
                    NewValue::Deleted,
                    "prune",
                )?;
            }
            let (name, old) = (tip.name.clone(), Some(tip.id));
            report.refs.push(FetchedRef {
                kind: RefKind::Remote,
                name,
                old,
                new: None,
                fast_forward: true,
            });
        }
        Ok(())
    }
}
