//! Chooses the versions to forget.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::error::ForgetError;
use super::lines::{BranchLine, BranchLines};
use super::options::{
    BranchExcess, BranchPolicy, ForgetOptions, ForgetReport, ForgetTarget, ForgetVerdict,
};
use super::protect::Protections;
use super::target::Target;
use crate::error::Result;
use crate::model::commit::Timestamp;
use crate::model::id::Id;
use crate::model::retention::{ForgetExcess, KeepReason, RetentionPolicy, VersionTime};
use crate::model::revision::RevisionQuery;
use crate::model::wildcard;
use crate::query::history::HistoryWalk;
use crate::query::resolve::Resolver;
use crate::repo::trashlog::TrashState;

/// Limit on the length of a reason with the revisions that the user named, in bytes.
const WHY_MAX: usize = 200;

/// Versions by the reason of their entry in the trash log.
pub(super) type ByReason = BTreeMap<String, Vec<Id>>;

/// The decisions, and the versions to forget by the reason of their entry.
pub(super) struct Choice {
    pub(super) report: ForgetReport,
    pub(super) reasons: ByReason,
}

/// Decides about all versions that the options concern.
pub(super) fn choose(
    target: &Target<'_>,
    options: &ForgetOptions,
    lines: &mut BranchLines,
    protections: &Protections,
    trash: &TrashState,
) -> Result<Choice> {
    let mut choice = match &options.target {
        ForgetTarget::Versions(queries) => by_name(target, queries, lines, protections, trash)?,
        ForgetTarget::Policies(policies) => {
            by_policies(target, policies, lines, protections, trash)?
        }
    };
    let forgotten: HashSet<Id> = choice
        .report
        .forgotten()
        .map(|verdict| verdict.id)
        .collect();
    // The numbers of versions and of forgotten versions up to each version. Versions that were
    // already forgotten count in neither.
    let counts = lines.fold(|id, _, before: Option<&(usize, usize)>| {
        let (total, count) = before.copied().unwrap_or_default();
        Some((
            total + usize::from(!trash.contains(id)),
            count + usize::from(forgotten.contains(id)),
        ))
    });
    for (number, line) in lines.lines.iter().enumerate() {
        let tip = lines.line(number).next();
        let (total, count) = tip
            .and_then(|tip| counts.get(&tip).copied())
            .unwrap_or_default();
        if let Some(excess) = ForgetExcess::of(count, total).filter(|_| count > 0) {
            choice.report.excess.push(BranchExcess {
                branch: line.branch.to_string(),
                excess,
            });
        }
    }
    Ok(choice)
}

/// Decides about the versions that the user named.
fn by_name(
    target: &Target<'_>,
    queries: &[RevisionQuery],
    lines: &mut BranchLines,
    protections: &Protections,
    trash: &TrashState,
) -> Result<Choice> {
    let resolver = Resolver::new(&target.repo, target.context)?;
    let (mut named, mut seen) = (Vec::new(), HashSet::new());
    for query in queries {
        match query {
            RevisionQuery::One(spec) => named.push(resolver.whole(spec)?),
            RevisionQuery::Range(range) if range.symmetric => {
                return Err(ForgetError::Symmetric(range.to_string()).into());
            }
            RevisionQuery::Range(range) => {
                let ends = resolver.range(range)?;
                for version in HistoryWalk::new(&target.repo, &[ends.to], &[ends.from])? {
                    named.push(version?.0);
                }
            }
        }
    }
    named.retain(|id| seen.insert(*id));
    let typed: Vec<String> = queries.iter().map(ToString::to_string).collect();
    let mut why = format!("forget: {}", typed.join(" "));
    if why.len() > WHY_MAX {
        why.truncate(why.floor_char_boundary(WHY_MAX - 3));
        why.push_str("...");
    }
    let mut report = ForgetReport::default();
    for id in &named {
        // A protected version is an error only if the user names it; policies keep such versions.
        protections.ensure_free(id, lines.name(id))?;
        let is_kept = trash.contains(id);
        let reasons = vec![
            if is_kept {
                "already in the trash"
            } else {
                "named"
            }
            .to_owned(),
        ];
        let verdict = verdict(target, lines, id, is_kept, reasons)?;
        report.verdicts.push(ForgetVerdict {
            was_in_trash: is_kept,
            ..verdict
        });
    }
    // Without versions, no entry is written to the trash log.
    let versions: Vec<Id> = report.forgotten().map(|verdict| verdict.id).collect();
    let reasons = if versions.is_empty() {
        ByReason::new()
    } else {
        ByReason::from([(why, versions)])
    };
    Ok(Choice { report, reasons })
}

fn verdict(
    target: &Target<'_>,
    lines: &mut BranchLines,
    id: &Id,
    is_kept: bool,
    reasons: Vec<String>,
) -> Result<ForgetVerdict> {
    let version = lines.version(&target.repo, id)?;
    let (ordinal, time) = (version.ordinal, version.time);
    Ok(ForgetVerdict {
        id: *id,
        name: lines.name(id),
        ordinal,
        time,
        is_kept,
        was_in_trash: false,
        reasons,
    })
}

/// The rules for one branch.
struct LinePolicy {
    policy: RetentionPolicy,
    /// The reason of the entry: `forget: keep-daily 7`.
    why: String,
}

/// Returns the rules of all policies for a branch; `None` if no policy is for the branch.
fn line_policy(policies: &[BranchPolicy], line: &BranchLine) -> Option<LinePolicy> {
    let is_for = |policy: &&BranchPolicy| {
        policy
            .branches
            .iter()
            .any(|pattern| wildcard::matches(pattern, line.branch.as_str()))
    };
    let chosen: Vec<&BranchPolicy> = policies.iter().filter(is_for).collect();
    if chosen.is_empty() {
        return None;
    }
    let text = |policy: &&BranchPolicy| {
        let rules: Vec<String> = policy
            .policy
            .rules
            .iter()
            .map(ToString::to_string)
            .collect();
        let rules = rules.join(", ");
        policy
            .name
            .as_ref()
            .map_or_else(|| rules.clone(), |name| format!("policy {name}: {rules}"))
    };
    let why = format!(
        "forget: {}",
        chosen.iter().map(text).collect::<Vec<_>>().join("; ")
    );
    let rules = chosen
        .iter()
        .flat_map(|policy| policy.policy.rules.iter().copied())
        .collect();
    Some(LinePolicy {
        policy: RetentionPolicy { rules },
        why,
    })
}

/// The decisions of the branches about a version.
struct Votes {
    /// The reasons to keep the version.
    kept: Vec<KeepReason>,
    /// The first branch that has the version and a policy gives the reason of the entry if the
    /// version is forgotten.
    branch: usize,
}

impl Votes {
    fn keep(&mut self, reason: KeepReason) {
        if !self.kept.contains(&reason) {
            self.kept.push(reason);
        }
    }
}

/// Decides about the versions of all branches with a policy. A version of several branches is
/// forgotten only if the policies of all of them forget it.
fn by_policies(
    target: &Target<'_>,
    policies: &[BranchPolicy],
    lines: &mut BranchLines,
    protections: &Protections,
    trash: &TrashState,
) -> Result<Choice> {
    // A pattern on the command line that matches no branch is a mistake. One in the configuration
    // may be meant for later branches.
    for policy in policies.iter().filter(|policy| policy.name.is_none()) {
        for pattern in &policy.branches {
            if !lines
                .lines
                .iter()
                .any(|line| wildcard::matches(pattern, line.branch.as_str()))
            {
                return Err(ForgetError::NoBranch(pattern.clone()).into());
            }
        }
    }
    let time = target.context.moved_at();
    let now = Timestamp {
        secs: time.secs,
        nanos: time.nanos,
        offset: target.context.now.offset().seconds(),
    };
    // The times of the versions that are not forgotten; other versions pass on that of their parent.
    let times = lines.fold(|id, version, parent: Option<&VersionTime>| {
        if trash.contains(id) {
            parent.copied()
        } else {
            Some(VersionTime::after(parent, version.time, now))
        }
    });
    let chosen: Vec<Option<LinePolicy>> = lines
        .lines
        .iter()
        .map(|line| line_policy(policies, line))
        .collect();
    // Most branches share most of their versions, so each step reads the new part of a branch only.
    let (mut voted, mut without_rules, mut doubted) =
        (HashSet::new(), HashSet::new(), HashSet::new());
    let mut order: Vec<Id> = Vec::new();
    let mut votes: HashMap<Id, Votes> = HashMap::new();
    for (number, line) in chosen.iter().enumerate() {
        let Some(LinePolicy { policy, .. }) = line else {
            continue;
        };
        for id in lines.unseen(number, &mut voted) {
            if !trash.contains(&id) {
                order.push(id);
                let kept = protections.reasons(&id);
                let kept = kept.into_iter().map(KeepReason::Protected).collect();
                let branch = number;
                votes.insert(id, Votes { kept, branch });
            }
        }
        let mut keep = |id: Id, reason| {
            if let Some(vote) = votes.get_mut(&id) {
                vote.keep(reason);
            }
        };
        if policy.is_void() {
            for id in lines.unseen(number, &mut without_rules) {
                keep(id, KeepReason::NoRules);
            }
            continue;
        }
        for id in lines.unseen(number, &mut doubted) {
            if let Some(doubt) = times.get(&id).and_then(VersionTime::doubt) {
                keep(id, KeepReason::Doubtful(doubt));
            }
        }
        let versions = || {
            lines
                .line(number)
                .filter(|id| !trash.contains(id))
                .filter_map(|id| Some((id, *times.get(&id)?)))
        };
        policy.keep(versions, keep);
    }
    // A branch without a policy keeps what it shares with others.
    let mut free = HashSet::new();
    for (number, line) in lines.lines.iter().enumerate() {
        if chosen.get(number).is_some_and(Option::is_none) {
            for id in lines.unseen(number, &mut free) {
                if let Some(vote) = votes.get_mut(&id) {
                    vote.keep(KeepReason::Protected(format!(
                        "also on branch {}",
                        line.branch
                    )));
                }
            }
        }
    }
    let mut choice = Choice {
        report: ForgetReport::default(),
        reasons: ByReason::new(),
    };
    for id in order {
        let Some(Votes { kept, branch }) = votes.remove(&id) else {
            continue;
        };
        let line = chosen.get(branch).and_then(Option::as_ref);
        let why = line.map_or("", |line| &line.why);
        let is_kept = !kept.is_empty();
        let reasons = if is_kept {
            kept.iter().map(ToString::to_string).collect()
        } else {
            vec![why.trim_start_matches("forget: ").to_owned()]
        };
        choice
            .report
            .verdicts
            .push(verdict(target, lines, &id, is_kept, reasons)?);
        if !is_kept {
            let entry = choice.reasons.entry(why.to_owned());
            entry.or_default().push(id);
        }
    }
    Ok(choice)
}
