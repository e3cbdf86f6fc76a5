//! Checks a whole repository. Later steps rely on earlier ones, so the order is: logs of refs,
//! state of garbage collection, catalogue, worktrees, segments and packs, reachable objects, data
//! of packs, affected versions.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::data::{DataCheck, DataOrder};
use super::findings::{Findings, Found, is_damage};
use super::gc_state;
use super::logs;
use super::places;
use super::reach;
use super::report::{CheckReport, Checked, What};
use super::walk::Walk;
use crate::error::{Error, Result, with_causes};
use crate::model::id::{Id, ObjectKind};
use crate::model::refname::RefName;
use crate::model::text::count;
use crate::observe::Observer;
use crate::repo::Repo;
use crate::work::{Cancelled, NoThread};

/// Options of a check.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions {
    /// Amount of data to read, in millionths of the bytes of all packs; `None` reads no data.
    pub data: Option<u32>,
    /// Time limit for reading data.
    pub max_time: Option<Duration>,
    /// Number of threads, at least 1.
    pub jobs: usize,
    /// Current time in seconds since 1970, for the records of checked packs; `None` means that
    /// checks are not recorded.
    pub now: Option<i64>,
    /// Whether to read the packs that are recorded as damaged, even if no data is requested.
    pub recorded: bool,
}

/// Checks a repository. Damage is in the report; an error means that the check itself failed.
pub fn check(repo: &Repo, options: &CheckOptions, observer: &dyn Observer) -> Result<CheckReport> {
    let begun = Instant::now();
    // A pool of its own limits the threads, because the global pool uses all processors.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.jobs.max(1))
        .build();
    let pool = pool.map_err(|e| NoThread(std::io::Error::other(e)))?;
    let findings = Findings::new(observer);
    let mut checked = Checked::default();

    observer.phase("check refs", None, None);
    // Read the refs before the index, so that the index contains their versions even if other
    // processes commit during the check.
    let roots = logs::check(repo, &findings, &mut checked)?;
    gc_state::check(repo, &findings)?;
    catalogue(repo, &findings);
    worktrees(repo, &findings)?;
    ensure_not_cancelled(observer)?;

    observer.phase("check index", None, None);
    let packs = pool.install(|| places::check(repo, &findings, observer, &mut checked))?;
    ensure_not_cancelled(observer)?;

    // The index is complete now, so an object that the walk does not find is lost and not only
    // unlisted.
    observer.phase("check versions", None, None);
    let walk = Walk::new(repo, &findings, observer)?;
    let versions = pool.install(|| walk.run(&roots))?;
    checked.versions = versions.whole.len() as u64;
    [checked.trees, checked.lists, checked.chunks] = walk.counts();
    let unknown = walk.unknown();
    ensure_not_cancelled(observer)?;

    let deadline = options.max_time.map(|t| begun + t);
    let order = DataOrder {
        share: options.data,
        deadline,
        jobs: options.jobs,
        now: options.now,
        recorded: options.recorded,
    };
    let data = DataCheck {
        repo,
        findings: &findings,
        observer,
        order,
    }
    .run(&packs)?;
    ensure_not_cancelled(observer)?;

    findings.report_unexplained();
    // The search for affected versions reads all directories again, so it runs only if an object is
    // lost.
    let (reached, reaches) = match findings.any_lost() {
        true => reach::reaches(repo, &findings, observer, &roots, versions)?,
        false => Default::default(),
    };
    ensure_not_cancelled(observer)?;
    let Found {
        damage,
        notes,
        lost,
        lost_objects,
        packs,
        objects,
        ..
    } = findings.finish();
    // Damaged objects beyond the limit are in the count, but not in the list.
    let kept = damage.iter().filter(|d| d.what == What::Object).count();
    let more_objects = objects.saturating_sub(kept) as u64;
    // A check without `now` must not write to the repository.
    if options.now.is_some() {
        let lost: Vec<_> = lost_objects
            .iter()
            .map(|object| (object.kind, object.id))
            .collect();
        forget_intact(repo, &lost);
        // The next commit then stores these objects again.
        repo.note_damage(&lost);
    }
    Ok(CheckReport {
        checked,
        data,
        damage,
        more_objects,
        unknown,
        lost,
        lost_objects,
        packs,
        versions: reached,
        reaches,
        notes,
    })
}

/// Forgets the noted damage of objects that can be read now, other than `lost`.
pub fn forget_intact(repo: &Repo, lost: &[(ObjectKind, Id)]) {
    let noted = repo.noted_damage();
    if noted.is_empty() {
        return;
    }
    let lost: HashSet<_> = lost.iter().collect();
    let intact = |object: &(ObjectKind, Id)| {
        !lost.contains(object) && repo.object(object.0, &object.1).is_ok()
    };
    repo.forget_damage(&noted.into_iter().filter(intact).collect::<Vec<_>>());
}

fn ensure_not_cancelled(observer: &dyn Observer) -> Result<()> {
    if observer.cancelled() {
        Err(Cancelled.into())
    } else {
        Ok(())
    }
}

fn catalogue(repo: &Repo, findings: &Findings<'_>) {
    let catalogue = match repo.catalogue() {
        Ok(catalogue) => catalogue,
        Err(e) => {
            return findings.note(format!(
                "the catalogue was not checked: {}",
                with_causes(e.as_error())
            ));
        }
    };
    let key = crate::repo::layout::CATALOGUE;
    if catalogue.was_damaged() {
        findings.damage(What::Catalogue, key, "was damaged and has been recreated");
    }
    // The id is the checksum of the version, so computing the id again finds every change.
    let mut wrong = 0u64;
    let visited = catalogue.each_commit(|row| {
        wrong += u64::from(repo.ids().id(ObjectKind::Commit, &row.bytes) != row.id)
    });
    match visited
        .and_then(|()| catalogue.check())
        .map_err(Error::from)
    {
        Ok(mut lines) => {
            if wrong > 0 {
                lines.push(format!("checksum mismatch in {}", count(wrong, "version")));
            }
            if !lines.is_empty() {
                findings.damage(What::Catalogue, key, lines.join("; "));
            }
        }
        Err(e) if is_damage(&e) => findings.damage(What::Catalogue, key, with_causes(e.as_error())),
        Err(e) => findings.note(format!(
            "the catalogue was not checked: {}",
            with_causes(e.as_error())
        )),
    }
}

fn worktrees(repo: &Repo, findings: &Findings<'_>) -> Result<()> {
    for (key, state) in repo.worktree_states()? {
        let state = match state {
            Ok(state) => state,
            Err(e) if is_damage(&e) => {
                findings.damage(What::Worktree, key, with_causes(e.as_error()));
                continue;
            }
            Err(e) => return Err(e),
        };
        let branch = state
            .branch
            .as_deref()
            .is_none_or(|b| RefName::new(b).is_ok());
        let base = state.base.as_deref().is_none_or(|b| Id::parse(b).is_some());
        if !branch || !base || !state.belongs_to(&key) {
            findings.damage(
                What::Worktree,
                key,
                format!(
                    "the recorded state belongs to another worktree or is invalid: `{}`",
                    state.path
                ),
            );
        }
    }
    Ok(())
}
