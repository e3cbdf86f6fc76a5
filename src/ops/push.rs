//! `push`: brings branches and tags to a remote, with all that it lacks for them.
//!
//! Packs, index segments, the marker of a new repository, refs: in that order. A ref moves only from what it was
//! when it was read, so of many writers one wins and the others are told.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::codec::hash::NameHasher;
use crate::context::Context;
use crate::context::Remote;
use crate::context::reach::{Reach, seen_key};
use crate::error::{Failure, Kind, Result};
use crate::format::refentry::RefEntry;
use crate::model::id::{Id, ObjectKind, to_hex};
use crate::model::refname::{RefKind, RefName};
use crate::observe::Observer;
use crate::query::history::{ancestors, ancestors_beside};
use crate::query::resolve::ResolveError;
use crate::refs::moves::RefMoveError;
use crate::repo::refs::{Move, Refs, report_damaged, value_of};
use crate::repo::{Repo, layout};
use crate::sync::copy::Copier;
use crate::sync::error::SyncError;
use crate::sync::missing::{From, Missing, Wanted};
use crate::sync::packs::Sent;
use crate::sync::state::Seen;
use crate::sync::tips::{self, Tips};
use crate::work::Cancelled;

/// What to push.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// Branches and tags by name; the worktree's branch, or in a bare repository all, if empty.
    pub names: Vec<String>,
    /// All branches.
    pub all: bool,
    /// All tags.
    pub tags: bool,
    /// Moves a branch back too, if the remote's is as it was last seen.
    pub force_with_lease: bool,
    /// Goes on where the other repository is no copy of this one.
    pub force: bool,
    /// Reads so many percent of what was sent back, and compares.
    pub verify_percent: u8,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What became of one ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is there already.
    UpToDate,
    /// It is new there.
    Created,
    /// It moved forward.
    Moved,
    /// It moved to a version that does not follow.
    Forced,
    /// The remote has versions that this one does not follow.
    Diverged,
    /// Somebody was faster.
    Raced,
}

/// One ref.
#[derive(Clone, Debug)]
pub struct PushedRef {
    /// Branch or tag.
    pub kind: RefKind,
    /// Its name.
    pub name: RefName,
    /// Its value at the remote before.
    pub old: Option<Id>,
    /// Its value here.
    pub new: Id,
    /// What became of it.
    pub outcome: Outcome,
}

/// What was pushed.
#[derive(Clone, Debug, Default)]
pub struct PushReport {
    /// The remote's name.
    pub remote: String,
    /// Its URL.
    pub url: String,
    /// What became of each ref.
    pub refs: Vec<PushedRef>,
    /// Packs that were, or would be, sent.
    pub packs: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Requests that were, or would be, sent.
    pub requests: u64,
    /// Bytes that were sent, index segments and refs included.
    pub sent_bytes: u64,
    /// Packs that were read back and are as they should be.
    pub verified: u64,
    /// Whether the repository there is new.
    pub created: bool,
    /// Refs that were left out because they are damaged, here or there.
    pub damaged: usize,
    /// Branches that were not named, and whose versions here are not those of the remote.
    pub left_out: Vec<RefName>,
}

impl PushReport {
    /// The first ref that the remote did not take.
    pub fn rejected(&self) -> Option<&PushedRef> {
        self.refs.iter().find(|r| matches!(r.outcome, Outcome::Diverged | Outcome::Raced))
    }
}

/// A ref was not taken.
#[derive(Debug, thiserror::Error)]
#[error("{remote} did not take `{name}`: {}", if *kind == RefKind::Tag { "it is another version there" } else { "it has versions that are not in yours" })]
pub struct Rejected {
    /// The remote's name, or its URL where it has none.
    pub remote: String,
    /// Branch or tag.
    pub kind: RefKind,
    /// The ref.
    pub name: RefName,
}

impl Failure for Rejected {
    fn kind(&self) -> Kind {
        Kind::Rejected
    }

    fn hint(&self) -> Option<String> {
        let Self { remote, kind, name } = self;
        if *kind == RefKind::Tag {
            return Some(format!(
                "tags stand still: choose another name, or `dvc fetch {remote}` and `dvc push --force-with-lease {remote} {name}`"
            ));
        }
        if tracking(remote, name).is_err() {
            return Some(format!(
                "`dvc remote add NAME {remote}` and `dvc fetch NAME` show them; to keep both: `dvc branch {name}-mine {name}`, \
                 `dvc push {remote} {name}-mine`"
            ));
        }
        Some(format!(
            "`dvc fetch {remote}` and `dvc log {name}...{remote}/{name}` show them; to keep both: `dvc branch {name}-mine {name}`, \
             `dvc push {remote} {name}-mine`, `dvc branch -f {name} {remote}/{name}`, `dvc checkout {name}`"
        ))
    }
}

/// So often a push begins again.
const TRIES: usize = 8;

/// Pushes to one remote. What others do at the same time is looked at again: that they move the branch there, or move it here
/// and push it first, is no reason to reject it.
pub fn push(context: &Context, remote: &Remote, options: &PushOptions, observer: &dyn Observer) -> Result<PushReport> {
    for _ in 1..TRIES {
        let report = push_once(context, remote, options, observer)?;
        let Some(one) = report.rejected().filter(|one| one.kind == RefKind::Branch) else { return Ok(report) };
        let moved_here = || -> Result<bool> {
            Ok(context.repo()?.refs().value(one.kind, &one.name)?.is_some_and(|now| now != one.new))
        };
        if one.outcome != Outcome::Raced && !moved_here()? {
            return Ok(report);
        }
    }
    push_once(context, remote, options, observer)
}

fn push_once(context: &Context, remote: &Remote, options: &PushOptions, observer: &dyn Observer) -> Result<PushReport> {
    let repo = context.repo()?;
    let (mut chosen, mut damaged) = chosen(context, &repo, options, observer)?;
    let mut reach = Reach::new(context, remote)?;
    let (before, sent_before) = (remote.access.meter.requests(), remote.access.meter.up.bytes());
    let theirs = reach.marker()?;
    if let (Some(theirs), false) = (&theirs, options.force) {
        reach.same(repo.marker(), theirs)?;
    }
    if theirs.is_none() && !reach.state.seen.is_empty() && !options.force {
        return Err(SyncError::Gone { place: remote.location.to_string() }.into());
    }
    if !options.dry_run {
        reach.probe(false)?;
    }
    let created = theirs.is_none();
    let there = reach.repo(theirs.unwrap_or_else(|| repo.marker().clone()))?;
    let tips = tips::read(&**reach.store().direct())?;
    reach.reached(&tips, observer);
    let before_damage = chosen.len();
    for (kind, name, _) in chosen.iter().filter(|(kind, name, _)| tips.is_damaged(*kind, name)) {
        if options.names.iter().any(|asked| asked == name.as_str()) || before_damage == 1 {
            Refs::of(&**reach.store().direct()).tip(*kind, name)?;
        }
    }
    chosen.retain(|(kind, name, _)| !tips.is_damaged(*kind, name));
    damaged += before_damage - chosen.len();
    let left_out = left_out(&repo, &tips, &chosen, options)?;
    let mut refs = decide(&repo, remote, &tips, &reach.state.shown, &chosen, options)?;
    if !options.dry_run {
        reach.save()?;
    }
    let lost = HashSet::new();
    let mut push = Push { context, repo: &repo, there: &there, reach: &mut reach, options, observer, lost };
    let mut report = push.send(&tips, &refs)?;
    let all = refs.len();
    refs.retain(|one| !push.lost.contains(&one.new));
    damaged += all - refs.len();
    if !options.dry_run {
        if created {
            push.mark()?;
        }
        for one in &mut refs {
            push.update(&tips, one)?;
        }
        reach.save()?;
        report.requests = remote.access.meter.requests() - before;
        report.sent_bytes = remote.access.meter.up.bytes() - sent_before;
    }
    let url = remote.location.to_string();
    Ok(PushReport { remote: remote.name.clone(), url, refs, created, damaged, left_out, ..report })
}

/// Refs with the versions that they name.
type Named = Vec<(RefKind, RefName, Id)>;

/// The refs to push, and how many cannot be read; a notice names each of these.
fn chosen(context: &Context, repo: &Repo, options: &PushOptions, observer: &dyn Observer) -> Result<(Named, usize)> {
    let mut chosen: Named = Vec::new();
    let refs = repo.refs();
    let mut damaged = 0;
    let mut of = |kind| -> Result<Vec<_>> {
        let readable = refs.readable(kind)?;
        damaged += readable.damaged.len();
        Ok(readable.or_report(observer).into_iter().map(move |tip| (kind, tip.name, tip.id)).collect())
    };
    for name in &options.names {
        let name = RefName::parse_stored(name)?;
        let values = (refs.value(RefKind::Branch, &name)?, refs.value(RefKind::Tag, &name)?);
        let (kind, id) = match values {
            (Some(id), None) => (RefKind::Branch, id),
            (None, Some(id)) => (RefKind::Tag, id),
            (None, None) => return Err(RefMoveError::Missing { kind: RefKind::Branch, name }.into()),
            (Some(branch), Some(tag)) => {
                let full = |kind: RefKind, id: &Id| format!("refs/{}/{name} ({})", kind.dir(), id.short());
                let candidates = vec![full(RefKind::Branch, &branch), full(RefKind::Tag, &tag)];
                return Err(ResolveError::Ambiguous { text: name.to_string(), candidates }.into());
            }
        };
        chosen.push((kind, name, id));
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
                Some(id) => chosen.push((RefKind::Branch, branch.clone(), id)),
                None => return Err(ResolveError::Unborn { branch: branch.to_string() }.into()),
            },
            _ => chosen.extend(of(RefKind::Branch)?),
        }
    }
    chosen.sort_unstable_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    chosen.dedup_by(|a, b| (a.0, &a.1) == (b.0, &b.1));
    Ok((chosen, damaged))
}

/// The branches that a push without names leaves out although the remote does not have what they are here.
fn left_out(
    repo: &Repo,
    tips: &Tips,
    chosen: &[(RefKind, RefName, Id)],
    options: &PushOptions,
) -> Result<Vec<RefName>> {
    if !options.names.is_empty() || options.all || options.tags {
        return Ok(Vec::new());
    }
    let is_chosen = |name: &RefName| chosen.iter().any(|one| one.0 == RefKind::Branch && one.1 == *name);
    let is_there = |name: &RefName, id: &Id| tips.get(&(RefKind::Branch, name.clone())).and_then(value_of) == Some(*id);
    let branches = repo.refs().readable(RefKind::Branch)?.tips;
    let left = branches.into_iter().filter(|tip| !is_chosen(&tip.name) && !is_there(&tip.name, &tip.id));
    Ok(left.map(|tip| tip.name).collect())
}

/// What each ref may become.
fn decide(
    repo: &Repo,
    remote: &Remote,
    tips: &Tips,
    shown: &Seen,
    chosen: &[(RefKind, RefName, Id)],
    options: &PushOptions,
) -> Result<Vec<PushedRef>> {
    let mut refs = Vec::new();
    for (kind, name, new) in chosen {
        let tip = tips.get(&(*kind, name.clone()));
        let old = tip.and_then(value_of);
        let follows = |old: &Id| -> Result<bool> {
            Ok(*kind == RefKind::Branch && repo.knows(ObjectKind::Commit, old)? && ancestors(repo, new)?.contains(old))
        };
        let outcome = match &old {
            None => Outcome::Created,
            Some(old) if old == new => Outcome::UpToDate,
            Some(old) if follows(old)? => Outcome::Moved,
            Some(old) => {
                let as_seen = match tracking(&remote.name, name) {
                    Ok(tracked) if *kind == RefKind::Branch => {
                        repo.refs().value(RefKind::Remote, &tracked)? == Some(*old)
                    }
                    // A tag, and a branch of a remote without a name, has nothing that tracks it.
                    _ => {
                        shown.get(&seen_key(*kind, name.as_str()))
                            == tip.map(|tip| (tip.seq, tip.update.clone())).as_ref()
                    }
                };
                if options.force_with_lease && as_seen { Outcome::Forced } else { Outcome::Diverged }
            }
        };
        refs.push(PushedRef { kind: *kind, name: name.clone(), old, new: *new, outcome });
    }
    Ok(refs)
}

/// The name under which a remote's branch is remembered.
pub(super) fn tracking(remote: &str, branch: &RefName) -> Result<RefName> {
    Ok(RefName::tracked(&format!("{remote}/{branch}"))?)
}

struct Push<'p, 'a> {
    context: &'p Context,
    repo: &'p Repo,
    there: &'p Repo,
    reach: &'p mut Reach<'a>,
    options: &'p PushOptions,
    observer: &'p dyn Observer,
    /// Versions that are damaged here, or the ones before them.
    lost: HashSet<Id>,
}

impl Push<'_, '_> {
    /// Sends all that the remote lacks for the refs that will move.
    fn send(&mut self, tips: &Tips, refs: &[PushedRef]) -> Result<PushReport> {
        let moving = |r: &&PushedRef| matches!(r.outcome, Outcome::Created | Outcome::Moved | Outcome::Forced);
        let moving: Vec<&PushedRef> = refs.iter().filter(moving).collect();
        if moving.is_empty() {
            return Ok(PushReport::default());
        }
        self.observer.phase("looking", None, None);
        // What the remote has for certain: all versions that lead to one of its refs.
        let mut whole: HashSet<Id> = HashSet::new();
        for id in tips.values().filter_map(value_of) {
            if self.repo.knows(ObjectKind::Commit, &id)? {
                match ancestors_beside(self.repo, &id, &whole) {
                    Ok(versions) => whole.extend(versions),
                    // A fetch was cut off: not all of what is there is known here, and nothing needs it.
                    Err(e) if e.kind() == Kind::Integrity => {}
                    Err(e) => return Err(e),
                }
            }
        }
        let needed = loop {
            let mut missing = Missing::new(From::Repo(self.repo), Some(self.there), Wanted::All, self.observer);
            let mut sound = moving.iter().filter(|one| !self.lost.contains(&one.new));
            let find = |one: &&PushedRef| {
                let found = missing.version(&one.new, &|id| whole.contains(id), None);
                found.err().map(|e| (one.new, e))
            };
            match sound.find_map(find) {
                // What was found for it must not be sent: it is looked for once more without it.
                Some((id, e)) if e.kind() == Kind::Integrity && moving.len() > 1 => {
                    report_damaged(&e, self.observer);
                    self.lost.insert(id);
                }
                Some((_, e)) => return Err(e),
                None => break missing.finish(),
            }
        };
        let (earlier, url) = (self.reach.state.sent.clone(), self.reach.remote.location.to_string());
        let state = Mutex::new(self.reach.state.clone());
        let (repository, can_note) = (self.context.repository.clone(), !self.repo.is_read_only());
        let arrived = |pack: &[u8; 32]| {
            let mut state = state.lock();
            state.sent.insert(to_hex(pack));
            // Written as a whole each time, so the more rarely the longer it is.
            let count = state.sent.len();
            if can_note && count.is_multiple_of(1 + count / 256) {
                // Only spares work to the next run, should this one not end.
                let _ = state.save(&repository, &url);
            }
        };
        let remote = self.reach.remote;
        let mut copier = Copier::new(self.repo, self.there, &remote.access.meter, self.observer)?;
        copier.earlier = Some(&earlier);
        copier.arrived = Some(&arrived);
        let plan = copier.plan(&needed)?;
        let (packs, bytes) = (plan.packs, plan.bytes);
        let mut report =
            PushReport { packs, bytes, requests: packs + moving.len() as u64 * 2 + 3, ..PushReport::default() };
        if self.options.dry_run {
            return Ok(report);
        }
        let ran = copier.run(plan, "sending");
        self.reach.state = std::mem::take(&mut *state.lock());
        if ran.is_err() {
            let _ = self.reach.save();
        }
        let sent = ran?;
        report.verified = self.verify(&sent)?;
        copier.cover().run(&sent)?;
        self.reach.state.sent.clear();
        Ok(report)
    }

    /// Reads back a part of what was sent.
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
                // An object that goes on and on is not what was sent.
                if self.observer.cancelled() || came > pack.bytes { Err(Cancelled.into()) } else { Ok(()) }
            });
            if came <= pack.bytes {
                read?;
            }
            if hasher.finish() != pack.name {
                // So that the next run sends it again.
                self.reach.state.sent.remove(&to_hex(&pack.name));
                self.reach.save()?;
                return Err(SyncError::Damaged { place: store.place(), pack: pack.name }.into());
            }
            self.observer.advance(1, pack.bytes);
        }
        Ok(count as u64)
    }

    /// Makes a repository of what was sent.
    fn mark(&self) -> Result<()> {
        self.observer.step("marker");
        let made = self.there.store().create(layout::MARKER, &self.repo.marker().encode())?;
        self.observer.step("marker made");
        if made || self.options.force {
            return Ok(());
        }
        // Somebody was faster.
        let theirs = self.reach.marker()?;
        theirs.map_or(Ok(()), |theirs| self.reach.same(self.repo.marker(), &theirs))
    }

    /// Moves one ref there, and what is remembered of it here.
    fn update(&mut self, tips: &Tips, one: &mut PushedRef) -> Result<()> {
        let (kind, name) = (one.kind, one.name.clone());
        let mut tip: Option<RefEntry> = tips.get(&(kind, name.clone())).cloned();
        if matches!(one.outcome, Outcome::Created | Outcome::Moved | Outcome::Forced) {
            let why = format!("push: {}", self.context.host);
            let how = Move { who: &self.context.author, why: &why, time: self.context.moved_at() };
            self.observer.step("ref");
            let refs = Refs::of(&**self.reach.store().direct());
            match refs.update(kind, &name, tip.as_ref(), Some(one.new), &how)? {
                Some(entry) => {
                    self.reach.seen(kind, &entry);
                    tip = Some(entry);
                }
                None => {
                    tip = refs.tip(kind, &name)?;
                    let same = tip.as_ref().and_then(value_of) == Some(one.new);
                    one.outcome = if same { Outcome::UpToDate } else { Outcome::Raced };
                    one.old = tip.as_ref().and_then(value_of);
                }
            }
            self.observer.step("ref moved");
        }
        let taken = !matches!(one.outcome, Outcome::Diverged | Outcome::Raced);
        if let (true, Some(tip)) = (taken, &tip) {
            self.reach.shown(kind, tip);
        }
        if kind == RefKind::Branch && taken && !self.repo.is_read_only() && tip.is_some() {
            track(self.context, self.repo, &self.reach.remote.name, &name, Some(one.new), "push")?;
        }
        Ok(())
    }
}

/// Remembers what a remote's branch is.
pub(super) fn track(
    context: &Context,
    repo: &Repo,
    remote: &str,
    branch: &RefName,
    value: Option<Id>,
    why: &str,
) -> Result<bool> {
    // A URL without a name has no branches that could be named.
    let Ok(name) = tracking(remote, branch) else { return Ok(false) };
    let refs = repo.refs();
    for _ in 0..8 {
        let tip = match (refs.tip(RefKind::Remote, &name), value) {
            // It only remembers what the remote has, and the remote has just said so.
            (Err(e), Some(value)) if e.kind() == Kind::Integrity => {
                let how = Move { who: &context.author, why, time: context.moved_at() };
                refs.repair(RefKind::Remote, &name, value, &how)?;
                continue;
            }
            (tip, _) => tip?,
        };
        if tip.as_ref().and_then(value_of) == value {
            return Ok(false);
        }
        let how = Move { who: &context.author, why, time: context.moved_at() };
        if refs.update(RefKind::Remote, &name, tip.as_ref(), value, &how)?.is_some() {
            return Ok(true);
        }
    }
    Err(RefMoveError::Raced { kind: RefKind::Remote, name }.into())
}
