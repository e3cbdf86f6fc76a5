//! `push`: sends branches and tags to a remote, with the objects that the remote lacks.
//!
//! Packs come first, then index segments, the marker of a new repository, and refs. A ref is
//! updated only if it still has the value that was read, so that one of several writers wins, and
//! the others get an error.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::codec::hash::NameHasher;
use crate::context::Context;
use crate::context::Remote;
use crate::context::remote_access::{RemoteAccess, seen_key};
use crate::error::{Failure, Kind, Result};
use crate::format::refentry::RefEntry;
use crate::model::id::{Id, ObjectKind, to_hex};
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::RevisionSpec;
use crate::observe::Observer;
use crate::ops::forget::ForgetError;
use crate::query::forgotten::forgotten_error;
use crate::query::history::{ancestors, ancestors_beside};
use crate::query::resolve::{ResolveError, Resolver};
use crate::refs::moves::RefMoveError;
use crate::refs::tracking::{track, tracking};
use crate::repo::gcwatch::GcWatch;
use crate::repo::refs::{Move, Refs, report_damaged, value_of};
use crate::repo::trashlog::TrashLog;
use crate::repo::whole::CopyDemand;
use crate::repo::writer::{NewValue, WriteSession, is_collected};
use crate::repo::{Repo, layout};
use crate::sync::copy::Copier;
use crate::sync::error::SyncError;
use crate::sync::lease::renew_clone_lease;
use crate::sync::missing::{From, Missing, Wanted};
use crate::sync::packs::Sent;
use crate::sync::state::Seen;
use crate::sync::tips::{self, Tips};
use crate::work::Cancelled;

/// The options of `push`.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// The names of branches and tags. If empty, the worktree's branch, or in a bare repository all
    /// branches.
    pub names: Vec<String>,
    /// Push all branches.
    pub all: bool,
    /// Push all tags.
    pub tags: bool,
    /// Also move a branch to a version that is not a fast-forward, if the remote branch is as last
    /// seen.
    pub force_with_lease: bool,
    /// Continue even if the remote is not a copy of this repository.
    pub force: bool,
    /// Versions that the remote has forgotten, and whose data it gets again.
    pub restore: Vec<RevisionSpec>,
    /// The percentage of sent packs to read back and compare.
    pub verify_percent: u8,
    /// Only report what would be done.
    pub dry_run: bool,
}

/// The result of pushing one ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// The remote already has this value.
    UpToDate,
    /// The ref is new.
    Created,
    /// The ref moved forward.
    Moved,
    /// The ref moved to a version that is not a fast-forward.
    Forced,
    /// The update was rejected, because it is not a fast-forward.
    Diverged,
    /// The update lost the race against another writer.
    Raced,
}

/// A pushed ref.
#[derive(Clone, Debug)]
pub struct PushedRef {
    /// Branch or tag.
    pub kind: RefKind,
    pub name: RefName,
    /// The previous value on the remote.
    pub old: Option<Id>,
    /// The local value.
    pub new: Id,
    pub outcome: PushOutcome,
}

/// The result of `push`.
#[derive(Clone, Debug, Default)]
pub struct PushReport {
    /// The name of the remote.
    pub remote: String,
    pub url: String,
    /// The result of each ref.
    pub refs: Vec<PushedRef>,
    /// The number of packs that were sent, or would be.
    pub packs: u64,
    /// Bytes of these packs.
    pub bytes: u64,
    /// The number of requests that were sent, or would be.
    pub requests: u64,
    /// Bytes that were sent, including index segments and refs.
    pub sent_bytes: u64,
    /// The number of packs that were read back and are correct.
    pub verified: u64,
    /// Whether the repository on the remote is new.
    pub created: bool,
    /// The number of refs that were left out because they are damaged, locally or on the remote.
    pub damaged: usize,
    /// Branches that this push leaves out although they have versions that the remote does not
    /// have.
    pub left_out: Vec<RefName>,
    /// The versions that the remote has taken out of its trash, or would.
    pub restored: Vec<Id>,
}

impl PushReport {
    /// Returns the first rejected ref.
    pub fn rejected(&self) -> Option<&PushedRef> {
        self.refs
            .iter()
            .find(|r| matches!(r.outcome, PushOutcome::Diverged | PushOutcome::Raced))
    }
}

/// The remote rejected a ref.
#[derive(Debug, thiserror::Error)]
#[error("{remote} rejected `{name}`: {}", if *kind == RefKind::Tag { "the remote's tag names another version" } else { "not a fast-forward" })]
pub struct RejectedRef {
    /// The name of the remote, or its URL if it has none.
    pub remote: String,
    /// Branch or tag.
    pub kind: RefKind,
    pub name: RefName,
}

impl Failure for RejectedRef {
    fn kind(&self) -> Kind {
        Kind::Rejected
    }

    fn hint(&self) -> Option<String> {
        let Self { remote, kind, name } = self;
        if *kind == RefKind::Tag {
            return Some(format!(
                "choose another name, or run `dvc fetch {remote}` and `dvc push --force-with-lease {remote} {name}`"
            ));
        }
        if tracking(remote, name).is_err() {
            return Some(format!(
                "run `dvc remote add NAME {remote}` and `dvc fetch NAME` to see its versions; to keep both, run \
                 `dvc branch {name}-mine {name}`, `dvc push {remote} {name}-mine`"
            ));
        }
        Some(format!(
            "run `dvc fetch {remote}` and `dvc log {name}...{remote}/{name}` to see its versions; to keep both, run \
             `dvc branch {name}-mine {name}`, `dvc push {remote} {name}-mine`, `dvc branch -f {name} {remote}/{name}`, \
             `dvc checkout {name}`"
        ))
    }
}

/// Attempts when other writers win the race.
const ATTEMPTS: usize = 8;

/// Pushes to one remote. If another writer moves a branch at the same time, locally or at the
/// remote, the push starts again instead of failing.
pub fn push(
    context: &Context,
    remote: &Remote,
    options: &PushOptions,
    observer: &dyn Observer,
) -> Result<PushReport> {
    for _ in 1..ATTEMPTS {
        let report = match push_once(context, remote, options, observer) {
            // A gc has collected objects that the push found on the remote, or moved objects here.
            Err(e) if is_collected(&e) => continue,
            report => report?,
        };
        let Some(one) = report.rejected().filter(|one| one.kind == RefKind::Branch) else {
            return Ok(report);
        };
        let moved_here = || -> Result<bool> {
            Ok(context
                .repo()?
                .refs()
                .value(one.kind, &one.name)?
                .is_some_and(|now| now != one.new))
        };
        // Repeat only if the rejection was caused by a race, either on the remote or for the local
        // branch.
        if one.outcome != PushOutcome::Raced && !moved_here()? {
            return Ok(report);
        }
    }
    // The result of the last attempt is returned, whether or not there was a race.
    push_once(context, remote, options, observer)
}

fn push_once(
    context: &Context,
    remote: &Remote,
    options: &PushOptions,
    observer: &dyn Observer,
) -> Result<PushReport> {
    let repo = context.repo()?;
    let ChosenRefs {
        refs: mut chosen,
        mut damaged,
    } = chosen(context, &repo, options, observer)?;
    let mut reach = RemoteAccess::new(context, remote)?;
    let (before, sent_before) = (
        remote.access.meter.requests(),
        remote.access.meter.up.bytes(),
    );
    let theirs = reach.marker()?;
    if let (Some(theirs), false) = (&theirs, options.force) {
        reach.ensure_same(repo.marker(), theirs)?;
    }
    // An earlier run has reached a repository here. Usually its file system is not mounted now, and
    // a new repository would hide that.
    if theirs.is_none() && !reach.state.seen.is_empty() && !options.force {
        return Err(SyncError::Gone {
            place: remote.location.to_string(),
        }
        .into());
    }
    // The probe may replace the store by one with an intent lock, so it precedes all other uses.
    if !options.dry_run {
        reach.probe(false)?;
    }
    let created = theirs.is_none();
    let there = reach.repo(theirs.unwrap_or_else(|| repo.marker().clone()))?;
    // Read both gc logs before the refs, so that `GcWatch` notices a gc that runs during the push.
    // Reading the local log also excludes the index rows of dead packs.
    repo.read_gc_log()?;
    let session = WriteSession::begin(&there)?;
    let watch = GcWatch::begin([&repo, &there]);
    let tips = tips::read(&**reach.store().direct())?;
    reach.record_tips(&tips, observer);
    let before_damage = chosen.len();
    for ChosenRef { kind, name, .. } in chosen
        .iter()
        .filter(|one| tips.is_damaged(one.kind, &one.name))
    {
        // A damaged ref that the user has named, or that is the only one, is an error. Other
        // damaged refs are left out.
        if options.names.iter().any(|asked| asked == name.as_str()) || before_damage == 1 {
            Refs::of(&**reach.store().direct()).tip(*kind, name)?;
        }
    }
    chosen.retain(|one| !tips.is_damaged(one.kind, &one.name));
    damaged += before_damage - chosen.len();
    let left_out = left_out(&repo, &tips, &chosen, options)?;
    let mut refs = decide(&repo, remote, &tips, &reach.state.shown, &chosen, options)?;
    if !options.dry_run {
        reach.save()?;
    }
    let restored = to_restore(context, &repo, &there, options)?;
    let lost = HashSet::new();
    let mut push = Push {
        context,
        repo: &repo,
        there: &there,
        session: &session,
        watch: &watch,
        reach: &mut reach,
        options,
        observer,
        lost,
        restored: &restored,
        without_data: Vec::new(),
    };
    let mut report = watch.explain(push.send(&tips, &refs))?;
    let all = refs.len();
    refs.retain(|one| !push.lost.contains(&one.new));
    damaged += all - refs.len();
    if !options.dry_run {
        if created {
            push.mark()?;
        }
        // Update the trash log before the refs, so that every version without data that a ref
        // reaches has an entry in the log.
        push.enter_without_data()?;
        push.restore()?;
        for one in &mut refs {
            watch.explain(push.update(&tips, one))?;
        }
        if reach.state.lease.is_some() {
            let (host, now) = (&context.host, context.now_secs());
            renew_clone_lease(&repo, Ok(&there), &mut reach.state, host, now, observer)?;
        }
        reach.save()?;
        report.requests = remote.access.meter.requests() - before;
        report.sent_bytes = remote.access.meter.up.bytes() - sent_before;
    }
    let url = remote.location.to_string();
    Ok(PushReport {
        remote: remote.name.clone(),
        url,
        refs,
        created,
        damaged,
        left_out,
        restored,
        ..report
    })
}

/// Returns the versions of `--restore`. All of them must be in the trash of the remote.
fn to_restore(
    context: &Context,
    repo: &Repo,
    there: &Repo,
    options: &PushOptions,
) -> Result<Vec<Id>> {
    if options.restore.is_empty() {
        return Ok(Vec::new());
    }
    let (resolver, trash) = (Resolver::new(repo, context)?, there.forgotten()?);
    let ours = repo.forgotten()?;
    let mut ids = Vec::new();
    for spec in &options.restore {
        let id = resolver.whole(spec)?;
        if !trash.contains(&id) {
            return Err(ForgetError::NotInTrash(spec.to_string()).into());
        }
        if let Some(mention) = ours.mention(&id)
            && !repo
                .versions_without_data(&[id], CopyDemand::Exists)?
                .is_empty()
        {
            return Err(forgotten_error(context, repo, &id, mention, &ours)?.into());
        }
        ids.push(id);
    }
    Ok(ids)
}

/// A ref to push, with its version.
struct ChosenRef {
    kind: RefKind,
    name: RefName,
    id: Id,
}

/// The refs to push.
struct ChosenRefs {
    refs: Vec<ChosenRef>,
    /// The number of refs that cannot be read.
    damaged: usize,
}

/// Returns the refs to push. A notice names each ref that cannot be read.
fn chosen(
    context: &Context,
    repo: &Repo,
    options: &PushOptions,
    observer: &dyn Observer,
) -> Result<ChosenRefs> {
    let mut chosen: Vec<ChosenRef> = Vec::new();
    let refs = repo.refs();
    let mut damaged = 0;
    let mut of = |kind| -> Result<Vec<_>> {
        let readable = refs.readable(kind)?;
        damaged += readable.damaged.len();
        Ok(readable
            .or_report(observer)
            .into_iter()
            .map(move |tip| ChosenRef {
                kind,
                name: tip.name,
                id: tip.id,
            })
            .collect())
    };
    for name in &options.names {
        let name = RefName::parse_stored(name)?;
        let values = (
            refs.value(RefKind::Branch, &name)?,
            refs.value(RefKind::Tag, &name)?,
        );
        let (kind, id) = match values {
            (Some(id), None) => (RefKind::Branch, id),
            (None, Some(id)) => (RefKind::Tag, id),
            (None, None) => {
                return Err(RefMoveError::Missing {
                    kind: RefKind::Branch,
                    name,
                }
                .into());
            }
            (Some(branch), Some(tag)) => {
                let full =
                    |kind: RefKind, id: &Id| format!("refs/{}/{name} ({})", kind.dir(), id.short());
                let candidates = vec![full(RefKind::Branch, &branch), full(RefKind::Tag, &tag)];
                return Err(ResolveError::Ambiguous {
                    text: name.to_string(),
                    candidates,
                }
                .into());
            }
        };
        chosen.push(ChosenRef { kind, name, id });
    }
    if options.tags {
        chosen.extend(of(RefKind::Tag)?);
    }
    if options.all {
        chosen.extend(of(RefKind::Branch)?);
    }
    if options.names.is_empty() && !options.all && !options.tags {
        let head = crate::refs::head::Head::read(context, repo)?;
        match &head.branch {
            Some(branch) if head.known => match refs.value(RefKind::Branch, branch)? {
                Some(id) => chosen.push(ChosenRef {
                    kind: RefKind::Branch,
                    name: branch.clone(),
                    id,
                }),
                None => {
                    return Err(ResolveError::Unborn {
                        branch: branch.to_string(),
                    }
                    .into());
                }
            },
            _ => chosen.extend(of(RefKind::Branch)?),
        }
    }
    // With `--all`, a branch may also be named.
    chosen.sort_unstable_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    chosen.dedup_by(|a, b| (a.kind, &a.name) == (b.kind, &b.name));
    Ok(ChosenRefs {
        refs: chosen,
        damaged,
    })
}

/// Returns the branches that a push without names leaves out, although the remote's branch of the
/// same name is missing or has a different value.
fn left_out(
    repo: &Repo,
    tips: &Tips,
    chosen: &[ChosenRef],
    options: &PushOptions,
) -> Result<Vec<RefName>> {
    if !options.names.is_empty() || options.all || options.tags {
        return Ok(Vec::new());
    }
    let is_chosen = |name: &RefName| {
        chosen
            .iter()
            .any(|one| one.kind == RefKind::Branch && one.name == *name)
    };
    let is_there = |name: &RefName, id: &Id| {
        tips.get(&(RefKind::Branch, name.clone()))
            .and_then(value_of)
            == Some(*id)
    };
    let branches = repo.refs().readable(RefKind::Branch)?.tips;
    let left = branches
        .into_iter()
        .filter(|tip| !is_chosen(&tip.name) && !is_there(&tip.name, &tip.id));
    Ok(left.map(|tip| tip.name).collect())
}

/// Decides how each ref may move.
fn decide(
    repo: &Repo,
    remote: &Remote,
    tips: &Tips,
    shown: &Seen,
    chosen: &[ChosenRef],
    options: &PushOptions,
) -> Result<Vec<PushedRef>> {
    let mut refs = Vec::new();
    for ChosenRef {
        kind,
        name,
        id: new,
    } in chosen
    {
        let tip = tips.get(&(*kind, name.clone()));
        let old = tip.and_then(value_of);
        // A version that is unknown locally cannot be an ancestor of a local one.
        let follows = |old: &Id| -> Result<bool> {
            Ok(*kind == RefKind::Branch
                && repo.knows(ObjectKind::Commit, old)?
                && ancestors(repo, new)?.contains(old))
        };
        let outcome = match &old {
            None => PushOutcome::Created,
            Some(old) if old == new => PushOutcome::UpToDate,
            Some(old) if follows(old)? => PushOutcome::Moved,
            Some(old) => {
                let as_seen = match tracking(&remote.name, name) {
                    Ok(tracked) if *kind == RefKind::Branch => {
                        repo.refs().value(RefKind::Remote, &tracked)? == Some(*old)
                    }
                    // Tags, and branches of a remote without a name, have no tracking ref.
                    _ => {
                        shown.get(&seen_key(*kind, name.as_str()))
                            == tip.map(|tip| (tip.seq, tip.update.clone())).as_ref()
                    }
                };
                if options.force_with_lease && as_seen {
                    PushOutcome::Forced
                } else {
                    PushOutcome::Diverged
                }
            }
        };
        refs.push(PushedRef {
            kind: *kind,
            name: name.clone(),
            old,
            new: *new,
            outcome,
        });
    }
    Ok(refs)
}

struct Push<'p, 'a> {
    context: &'p Context,
    repo: &'p Repo,
    there: &'p Repo,
    session: &'p WriteSession<'p>,
    watch: &'p GcWatch<'p>,
    reach: &'p mut RemoteAccess<'a>,
    options: &'p PushOptions,
    observer: &'p dyn Observer,
    /// Versions that are damaged locally, or have damaged ancestors.
    lost: HashSet<Id>,
    /// Versions that the remote takes out of its trash.
    restored: &'p [Id],
    /// Versions of which the remote gets only the commit object.
    without_data: Vec<Id>,
}

impl Push<'_, '_> {
    /// Sends the objects that the remote lacks for the refs that will move.
    fn send(&mut self, tips: &Tips, refs: &[PushedRef]) -> Result<PushReport> {
        let moving = |r: &&PushedRef| {
            matches!(
                r.outcome,
                PushOutcome::Created | PushOutcome::Moved | PushOutcome::Forced
            )
        };
        let moving: Vec<&PushedRef> = refs.iter().filter(moving).collect();
        if moving.is_empty() && self.restored.is_empty() {
            return Ok(PushReport::default());
        }
        self.observer.phase("looking", None, None);
        // The remote certainly has all ancestors of its refs.
        let mut whole: HashSet<Id> = HashSet::new();
        for id in tips.values().filter_map(value_of) {
            if self.repo.knows(ObjectKind::Commit, &id)? {
                match ancestors_beside(self.repo, &id, &whole) {
                    Ok(versions) => whole.extend(versions),
                    // After an interrupted fetch, some of these versions are not local. They are
                    // not needed here.
                    Err(e) if e.kind() == Kind::Integrity => {}
                    Err(e) => return Err(e),
                }
            }
        }
        // A version that is forgotten on either side may have lost its data. Leave the version out
        // of the push, and do not assume that its objects are present on the remote.
        let (ours, theirs) = (self.repo.forgotten()?, self.there.forgotten()?);
        whole.retain(|id| !theirs.contains(id));
        let mut forgotten: HashSet<Id> = ours
            .forgotten()
            .chain(theirs.forgotten())
            .map(|(id, _)| *id)
            .collect();
        // The new value of a ref is sent with its data, even if the version is in the trash.
        let wanted = moving.iter().map(|one| &one.new).chain(self.restored);
        wanted.for_each(|id| _ = forgotten.remove(id));
        let needed = loop {
            let mut missing = Missing::new(
                From::Repo(self.repo),
                Some(self.there),
                Wanted::All,
                self.observer,
            );
            missing.leave_out(forgotten.clone());
            let mut sound = moving.iter().filter(|one| !self.lost.contains(&one.new));
            let find = |one: &&PushedRef| {
                let found = missing.version(&one.new, &|id| whole.contains(id), None);
                found.err().map(|e| (one.new, e))
            };
            match sound.find_map(find) {
                // The objects of the damaged version must not be sent, so search again without it.
                Some((id, e))
                    if e.kind() == Kind::Integrity
                        && moving.len() > 1
                        && !self.watch.has_moved() =>
                {
                    report_damaged(&e, self.observer);
                    self.lost.insert(id);
                    continue;
                }
                Some((_, e)) => return Err(e),
                None => {}
            }
            for id in self.restored {
                missing.version(id, &|id| whole.contains(id), Some(1))?;
            }
            self.without_data = missing.take_without_data();
            break missing.finish();
        };
        // The trash log of the remote has the other versions already.
        self.without_data.retain(|id| !theirs.contains(id));
        let (earlier, url) = (
            self.reach.state.sent.clone(),
            self.reach.remote.location.to_string(),
        );
        // Several threads call `arrived`.
        let state = Mutex::new(self.reach.state.clone());
        let (repository, can_note) = (self.context.repository.clone(), !self.repo.is_read_only());
        let arrived = |pack: &[u8; 32]| {
            let mut state = state.lock();
            state.sent.insert(to_hex(pack));
            // The file is written as a whole each time, so write it less often as it grows.
            let count = state.sent.len();
            if can_note && count.is_multiple_of(1 + count / 256) {
                // Ignore an error, because the file only saves work for the next run if this one
                // dies.
                let _ = state.save(&repository, &url);
            }
        };
        let remote = self.reach.remote;
        let mut copier = Copier::new(self.repo, self.there, &remote.access.meter, self.observer)?;
        copier.earlier = Some(&earlier);
        copier.arrived = Some(&arrived);
        let plan = copier.plan(&needed)?;
        let (packs, bytes) = (plan.packs, plan.bytes);
        let mut report = PushReport {
            packs,
            bytes,
            requests: packs + moving.len() as u64 * 2 + 3,
            ..PushReport::default()
        };
        if self.options.dry_run {
            return Ok(report);
        }
        let ran = copier.run(plan, "sending");
        self.reach.state = std::mem::take(&mut *state.lock());
        // Save the list of sent packs even after an error, so that the next push continues.
        if ran.is_err() {
            let _ = self.reach.save();
        }
        let sent = ran?;
        // Verify before the index lists the packs; other clients would otherwise use a damaged one.
        report.verified = self.verify(&sent)?;
        copier.cover().run(&sent)?;
        // The segments list all sent packs now, so the next push finds them in the index.
        self.reach.state.sent.clear();
        Ok(report)
    }

    /// Reads back a part of the sent packs. Returns the number of packs that were read back; a
    /// damaged pack is an error.
    fn verify(&mut self, sent: &[Sent]) -> Result<u64> {
        let percent = usize::from(self.options.verify_percent.min(100));
        let count = (sent.len() * percent).div_ceil(100);
        if count > 0 {
            self.observer.phase("verifying", Some(count as u64), None);
        }
        for pack in sent.iter().take(count) {
            let mut hasher = NameHasher::default();
            let store = self.there.store();
            let mut came = 0;
            let read = store.read_from(&layout::pack(&pack.name), 0, &mut |bytes| {
                hasher.update(bytes);
                came += bytes.len() as u64;
                // An object that is longer than the sent pack is wrong, so stop reading.
                if self.observer.cancelled() || came > pack.bytes {
                    Err(Cancelled.into())
                } else {
                    Ok(())
                }
            });
            // The read of an object that is too long was stopped here, so its error means nothing.
            if came <= pack.bytes {
                read?;
            }
            if hasher.finish() != pack.name {
                // Let the next run send the pack again.
                self.reach.state.sent.remove(&to_hex(&pack.name));
                self.reach.save()?;
                return Err(SyncError::Damaged {
                    place: store.place(),
                    pack: pack.name,
                }
                .into());
            }
            self.observer.advance(1, pack.bytes);
        }
        Ok(count as u64)
    }

    /// Enters the versions that were sent without data in the trash log of the remote.
    fn enter_without_data(&self) -> Result<()> {
        if self.without_data.is_empty() {
            return Ok(());
        }
        let how = Move {
            who: &self.context.author,
            why: "push",
            time: self.context.moved_at(),
        };
        TrashLog::new(self.there.store()).enter_without_data(&self.without_data, &how)
    }

    /// Takes the versions of `--restore` out of the trash of the remote, which has their data now.
    fn restore(&self) -> Result<()> {
        if self.restored.is_empty() {
            return Ok(());
        }
        let how = Move {
            who: &self.context.author,
            why: "push --restore",
            time: self.context.moved_at(),
        };
        self.observer.step("restore");
        let done = self.there.restore_versions(self.restored, &how)?;
        match done.lacking.first() {
            Some(id) if done.is_planned => Err(ForgetError::Planned(id.short()).into()),
            Some(id) => Err(ForgetError::Incomplete(id.short()).into()),
            None => Ok(()),
        }
    }

    /// Creates the marker of a new repository. If another writer has created the repository, checks
    /// that it is a copy of the local one.
    fn mark(&self) -> Result<()> {
        self.observer.step("marker");
        let made = self
            .there
            .store()
            .create(layout::MARKER, &self.repo.marker().encode())?;
        self.observer.step("marker made");
        if made || self.options.force {
            return Ok(());
        }
        // Another writer has created the repository, so check that it is a copy of this one.
        let theirs = self.reach.marker()?;
        theirs.map_or(Ok(()), |theirs| {
            self.reach.ensure_same(self.repo.marker(), &theirs)
        })
    }

    /// Moves one ref on the remote, and the local tracking ref.
    fn update(&mut self, tips: &Tips, one: &mut PushedRef) -> Result<()> {
        let (kind, name) = (one.kind, one.name.clone());
        let mut tip: Option<RefEntry> = tips.get(&(kind, name.clone())).cloned();
        if matches!(
            one.outcome,
            PushOutcome::Created | PushOutcome::Moved | PushOutcome::Forced
        ) {
            let why = format!("push: {}", self.context.host);
            let how = Move {
                who: &self.context.author,
                why: &why,
                time: self.context.moved_at(),
            };
            self.observer.step("ref");
            let refs = self.there.refs();
            let old = tip.as_ref().and_then(value_of);
            match self.session.move_ref(
                kind,
                &name,
                old.as_ref(),
                NewValue::Stored(one.new),
                &how,
            )? {
                Some(entry) => {
                    self.reach.seen(kind, &entry);
                    tip = Some(entry);
                }
                None => {
                    tip = refs.tip(kind, &name)?;
                    // Another writer may have pushed the same version.
                    let same = tip.as_ref().and_then(value_of) == Some(one.new);
                    one.outcome = if same {
                        PushOutcome::UpToDate
                    } else {
                        PushOutcome::Raced
                    };
                    one.old = tip.as_ref().and_then(value_of);
                }
            }
            self.observer.step("ref moved");
        }
        let is_accepted = !matches!(one.outcome, PushOutcome::Diverged | PushOutcome::Raced);
        // The report shows this state to the user, so `--force-with-lease` may rely on it.
        if let (true, Some(tip)) = (is_accepted, &tip) {
            self.reach.shown(kind, tip);
        }
        if kind == RefKind::Branch && is_accepted && !self.repo.is_read_only() && tip.is_some() {
            let session = WriteSession::begin(self.repo)?;
            track(
                self.context,
                &session,
                &self.reach.remote.name,
                &name,
                NewValue::Named(one.new),
                "push",
            )?;
        }
        Ok(())
    }
}
