//! Retention policies: which versions of a branch are kept, and why.
//!
//! Input: the versions of one branch, the rules and the current time. Output: the reasons to keep
//! each version; a version without a reason is to be forgotten.
//! Invariants: for honest times the rules keep the same versions as those of restic. A version
//! whose time is wrong by more than a day never takes the place of another version.

mod calendar;
mod rule;
#[cfg(test)]
mod tests;

use std::fmt;

use super::commit::Timestamp;
use super::id::Id;
use calendar::EffectiveTime;

pub use calendar::TimeDoubt;
pub use rule::{BadRetention, CalendarPeriod, CalendarSpan, KeepCount, RetentionRule};

/// The rules for a branch. A version is kept if one rule keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    pub rules: Vec<RetentionRule>,
}

/// A version of a branch, as the policy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchVersion {
    pub id: Id,
    /// The time in the commit, which its author may have forged.
    pub time: Timestamp,
    /// The reasons why no policy may forget the version, such as `tip of branch main` or `tag
    /// release`; empty if a policy may.
    pub protections: Vec<String>,
}

/// A reason to keep a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepReason {
    /// The policy has no rules.
    NoRules,
    Protected(String),
    Doubtful(TimeDoubt),
    Rule(RetentionRule),
    /// The rule keeps the version only because no version is older.
    Oldest(RetentionRule),
}

/// The decision about a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionVerdict {
    pub id: Id,
    /// Empty if the version is to be forgotten.
    pub reasons: Vec<KeepReason>,
}

/// The decisions about all versions of a branch, in the order of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionPlan {
    pub verdicts: Vec<VersionVerdict>,
}

/// The reason why a run that forgets many versions of a branch needs a confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgetExcess {
    FewLeft { kept: usize, total: usize },
    MoreThanHalf { forgotten: usize, total: usize },
}

/// A version whose time is believed.
struct DatedVersion {
    /// Position in the input.
    index: usize,
    time: EffectiveTime,
}

/// Adds the reasons of a rule. `dated` contains the versions whose times are believed, newest
/// first.
fn apply(rule: RetentionRule, dated: &[DatedVersion], verdicts: &mut [VersionVerdict]) {
    let Some(newest) = dated.first() else { return };
    let cutoff = match rule {
        RetentionRule::Newest { .. } => None,
        // A span that begins before the first possible date keeps all versions.
        RetentionRule::Within { span, .. } => newest.time.minus(span),
    };
    let mut left = match rule {
        RetentionRule::Newest { count, .. } => count,
        RetentionRule::Within { .. } => KeepCount::Unlimited,
    };
    // As in restic, each rule except `within` also keeps the oldest version if it may keep one
    // more.
    let keeps_oldest = !matches!(rule, RetentionRule::Within { period: None, .. });
    let mut last_start = None;
    for (i, version) in dated.iter().enumerate() {
        if cutoff.is_some_and(|cutoff| version.time.instant <= cutoff) {
            break;
        }
        let start = rule.period().map(|period| version.time.start_of(period));
        let is_next = start.is_none() || start != last_start;
        let is_oldest = keeps_oldest && i + 1 == dated.len();
        if (is_next || is_oldest) && left.take() {
            last_start = start;
            let reason = if is_next {
                KeepReason::Rule(rule)
            } else {
                KeepReason::Oldest(rule)
            };
            verdicts[version.index].reasons.push(reason);
        }
    }
}

impl RetentionPolicy {
    /// Returns whether the policy has no rule that could keep a version. Such a policy keeps all
    /// versions.
    pub fn is_void(&self) -> bool {
        self.rules.iter().all(RetentionRule::is_void)
    }

    /// Decides which versions are kept. `versions` are those of one branch along the first parents,
    /// oldest first, without the versions that are forgotten already.
    pub fn plan(&self, versions: &[BranchVersion], now: Timestamp) -> RetentionPlan {
        let mut verdicts = Vec::with_capacity(versions.len());
        let mut dated = Vec::with_capacity(versions.len());
        let is_void = self.is_void();
        let times = calendar::effective_times(versions.iter().map(|version| version.time), now);
        for (index, (version, time)) in versions.iter().zip(times).enumerate() {
            let mut reasons: Vec<_> = version
                .protections
                .iter()
                .cloned()
                .map(KeepReason::Protected)
                .collect();
            match time {
                _ if is_void => reasons.push(KeepReason::NoRules),
                Ok(time) => dated.push(DatedVersion { index, time }),
                Err(doubt) => reasons.push(KeepReason::Doubtful(doubt)),
            }
            verdicts.push(VersionVerdict {
                id: version.id,
                reasons,
            });
        }
        // The rules begin with the newest version.
        dated.reverse();
        for rule in self.rules.iter().filter(|rule| !rule.is_void()) {
            apply(*rule, &dated, &mut verdicts);
        }
        RetentionPlan { verdicts }
    }
}

impl VersionVerdict {
    /// Returns whether the version is kept.
    pub fn is_kept(&self) -> bool {
        !self.reasons.is_empty()
    }
}

impl RetentionPlan {
    /// Returns the versions to forget, oldest first.
    pub fn forgotten(&self) -> impl Iterator<Item = Id> {
        self.verdicts
            .iter()
            .filter(|verdict| !verdict.is_kept())
            .map(|verdict| verdict.id)
    }

    /// Returns why the run needs a confirmation, if it does.
    pub fn excess(&self) -> Option<ForgetExcess> {
        ForgetExcess::of(self.forgotten().count(), self.verdicts.len())
    }
}

impl ForgetExcess {
    /// Returns why forgetting `forgotten` of the `total` versions of a branch needs a confirmation,
    /// if it does: fewer than 3 versions of a branch that has more than 6 would be left, or more
    /// than half would be forgotten.
    pub fn of(forgotten: usize, total: usize) -> Option<Self> {
        let kept = total.saturating_sub(forgotten);
        if total > 6 && kept < 3 {
            Some(Self::FewLeft { kept, total })
        } else if forgotten > kept {
            Some(Self::MoreThanHalf { forgotten, total })
        } else {
            None
        }
    }
}

impl fmt::Display for ForgetExcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FewLeft { kept, total } => {
                write!(f, "only {kept} of {total} versions would be left")
            }
            Self::MoreThanHalf { forgotten, total } => {
                write!(f, "{forgotten} of {total} versions would be forgotten")
            }
        }
    }
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRules => f.write_str("no rules"),
            Self::Protected(reason) => f.write_str(reason),
            Self::Doubtful(doubt) => doubt.fmt(f),
            Self::Rule(rule) => rule.fmt(f),
            Self::Oldest(rule) => write!(f, "{rule} (oldest version)"),
        }
    }
}
