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

pub use calendar::{TimeDoubt, VersionTime};
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

/// Calls `keep` for each version that a rule keeps. `dated` returns the versions whose times are
/// believed, newest first, and is read only as far as the rule may keep a version.
fn apply<V: Copy>(
    rule: RetentionRule,
    dated: impl Iterator<Item = (V, EffectiveTime)>,
    keep: &mut impl FnMut(V, KeepReason),
) {
    let mut dated = dated.peekable();
    let Some((_, newest)) = dated.peek() else {
        return;
    };
    let cutoff = match rule {
        RetentionRule::Newest { .. } => None,
        // A span that begins before the first possible date keeps all versions.
        RetentionRule::Within { span, .. } => newest.minus(span),
    };
    let mut left = match rule {
        RetentionRule::Newest { count, .. } => count,
        RetentionRule::Within { .. } => KeepCount::Unlimited,
    };
    // As in restic, each rule except `within` also keeps the oldest version if it may keep one
    // more.
    let keeps_oldest = !matches!(rule, RetentionRule::Within { period: None, .. });
    let mut last_start = None;
    while left != KeepCount::AtMost(0)
        && let Some((version, time)) = dated.next()
    {
        if cutoff.is_some_and(|cutoff| time.instant <= cutoff) {
            break;
        }
        let start = rule.period().map(|period| time.start_of(period));
        let is_next = start.is_none() || start != last_start;
        let is_oldest = keeps_oldest && dated.peek().is_none();
        if (is_next || is_oldest) && left.take() {
            last_start = start;
            let reason = if is_next {
                KeepReason::Rule(rule)
            } else {
                KeepReason::Oldest(rule)
            };
            keep(version, reason);
        }
    }
}

impl RetentionPolicy {
    /// Returns whether the policy has no rule that could keep a version. Such a policy keeps all
    /// versions.
    pub fn is_void(&self) -> bool {
        self.rules.iter().all(RetentionRule::is_void)
    }

    /// Calls `keep` for each version that a rule keeps, with the reason. `versions` returns those
    /// of one branch along the first parents, newest first, without the versions that are forgotten
    /// already. A version whose time is not believed is passed over.
    pub fn keep<V: Copy, I: Iterator<Item = (V, VersionTime)>>(
        &self,
        versions: impl Fn() -> I,
        mut keep: impl FnMut(V, KeepReason),
    ) {
        for rule in self.rules.iter().filter(|rule| !rule.is_void()) {
            let dated = versions().filter_map(|(version, time)| Some((version, time.believed()?)));
            apply(*rule, dated, &mut keep);
        }
    }

    /// Decides which versions are kept. `versions` are those of one branch along the first parents,
    /// oldest first, without the versions that are forgotten already.
    pub fn plan(&self, versions: &[BranchVersion], now: Timestamp) -> RetentionPlan {
        let is_void = self.is_void();
        let mut verdicts = Vec::with_capacity(versions.len());
        let mut times: Vec<VersionTime> = Vec::with_capacity(versions.len());
        for version in versions {
            let time = VersionTime::after(times.last(), version.time, now);
            let mut reasons: Vec<_> = version
                .protections
                .iter()
                .cloned()
                .map(KeepReason::Protected)
                .collect();
            if is_void {
                reasons.push(KeepReason::NoRules);
            } else if let Some(doubt) = time.doubt() {
                reasons.push(KeepReason::Doubtful(doubt));
            }
            times.push(time);
            verdicts.push(VersionVerdict {
                id: version.id,
                reasons,
            });
        }
        self.keep(
            || times.iter().copied().enumerate().rev(),
            |index, reason| verdicts[index].reasons.push(reason),
        );
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
