//! One rule of a policy, and its text: names (`daily`, `within-daily`), counts (`7`, `unlimited`),
//! spans (`1y5m7d2h`).
//!
//! The same text serves the command line (`--keep-daily 7`), the configuration (`daily = 7`) and
//! the reasons that users see (`keep-daily 7`).
//! Invariant: parsing the output of `Display` returns the same value.

use std::fmt;
use std::str::FromStr;

use crate::error::{Failure, Kind};

/// A part of the calendar from which a rule keeps the newest version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CalendarPeriod {
    Hour,
    Day,
    /// An ISO week, which starts on Monday.
    Week,
    Month,
    Year,
}

/// The number of versions that a rule keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeepCount {
    AtMost(u32),
    /// Written as `unlimited` or `-1`.
    Unlimited,
}

/// A length of time in units of the calendar, written as in restic: `1y5m7d2h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CalendarSpan {
    pub years: u32,
    pub months: u32,
    pub days: u32,
    pub hours: u32,
}

/// A rule that keeps versions. Without a period, each version counts; with a period, only the
/// newest version of each hour, day, week, month or year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetentionRule {
    /// Keeps the newest versions: `keep-last 3`, `keep-daily 7`. While the rule has kept fewer
    /// versions than it may, it also keeps the oldest version of the branch.
    Newest {
        period: Option<CalendarPeriod>,
        count: KeepCount,
    },
    /// Keeps versions whose distance to the newest version is shorter than the span:
    /// `keep-within 7d`, `keep-within-daily 1m`. With a period, the rule also keeps the oldest
    /// version of the branch if the span reaches it.
    Within {
        period: Option<CalendarPeriod>,
        span: CalendarSpan,
    },
}

/// The error for text that is not a count, a span or the name of a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRetention {
    #[error("invalid number of versions `{text}`")]
    Count { text: String },
    #[error("invalid duration `{text}`")]
    Span { text: String },
    #[error("unknown retention rule `{name}`")]
    Rule { name: String },
}

impl CalendarPeriod {
    /// All periods.
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// Returns the adverb that the names of rules contain.
    pub const fn adverb(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }

    fn parse(adverb: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|period| period.adverb() == adverb)
    }
}

impl RetentionRule {
    /// Parses the name of a rule without `keep-`, and its value: `daily` and `7`, `within` and
    /// `1m`.
    pub fn parse(name: &str, value: &str) -> Result<Self, BadRetention> {
        let unknown = || BadRetention::Rule {
            name: name.to_owned(),
        };
        let period = |adverb| CalendarPeriod::parse(adverb).map(Some).ok_or_else(unknown);
        match name.strip_prefix("within") {
            Some("") => Ok(Self::Within {
                period: None,
                span: value.parse()?,
            }),
            Some(rest) => {
                let adverb = rest.strip_prefix('-').ok_or_else(unknown)?;
                Ok(Self::Within {
                    period: period(adverb)?,
                    span: value.parse()?,
                })
            }
            None if name == "last" => Ok(Self::Newest {
                period: None,
                count: value.parse()?,
            }),
            None => Ok(Self::Newest {
                period: period(name)?,
                count: value.parse()?,
            }),
        }
    }

    /// Returns whether the rule can never keep a version, such as `keep-daily 0`.
    pub fn is_void(&self) -> bool {
        match self {
            Self::Newest { count, .. } => *count == KeepCount::AtMost(0),
            Self::Within { span, .. } => span.is_zero(),
        }
    }

    pub(super) fn period(&self) -> Option<CalendarPeriod> {
        match self {
            Self::Newest { period, .. } | Self::Within { period, .. } => *period,
        }
    }

    /// Returns the name of the rule without `keep-`.
    pub fn name(&self) -> String {
        match self {
            Self::Newest { period: None, .. } => "last".to_owned(),
            Self::Newest {
                period: Some(period),
                ..
            } => period.adverb().to_owned(),
            Self::Within { period: None, .. } => "within".to_owned(),
            Self::Within {
                period: Some(period),
                ..
            } => format!("within-{}", period.adverb()),
        }
    }
}

impl KeepCount {
    /// Counts one more version. Returns false if the rule may not keep it.
    pub(super) fn take(&mut self) -> bool {
        match self {
            Self::Unlimited => true,
            Self::AtMost(0) => false,
            Self::AtMost(left) => {
                *left -= 1;
                true
            }
        }
    }
}

impl CalendarSpan {
    /// Returns whether the span has no length.
    pub const fn is_zero(&self) -> bool {
        self.years == 0 && self.months == 0 && self.days == 0 && self.hours == 0
    }

    fn parse(text: &str) -> Option<Self> {
        let mut span = Self::default();
        let mut units = String::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let unit = rest[digits..].chars().next()?;
            let field = match unit {
                'y' => &mut span.years,
                'm' => &mut span.months,
                'd' => &mut span.days,
                'h' => &mut span.hours,
                _ => return None,
            };
            // restic uses the last number of a unit; a unit that is written twice is an error.
            if units.contains(unit) {
                return None;
            }
            units.push(unit);
            // A unit without digits fails here, because an empty text is not a number.
            *field = rest[..digits].parse().ok()?;
            rest = &rest[digits + 1..];
        }
        (!units.is_empty()).then_some(span)
    }
}

impl FromStr for CalendarSpan {
    type Err = BadRetention;

    fn from_str(text: &str) -> Result<Self, BadRetention> {
        Self::parse(text).ok_or_else(|| BadRetention::Span {
            text: text.to_owned(),
        })
    }
}

impl FromStr for KeepCount {
    type Err = BadRetention;

    fn from_str(text: &str) -> Result<Self, BadRetention> {
        match text.trim() {
            "unlimited" | "-1" => Ok(Self::Unlimited),
            // Rust's `parse` accepts a plus sign, which a count does not have.
            number if number.starts_with('+') => Err(BadRetention::Count {
                text: text.to_owned(),
            }),
            number => number
                .parse()
                .map(Self::AtMost)
                .map_err(|_| BadRetention::Count {
                    text: text.to_owned(),
                }),
        }
    }
}

impl fmt::Display for CalendarSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An empty text could not be parsed again.
        if self.is_zero() {
            return f.write_str("0h");
        }
        for (number, unit) in [
            (self.years, 'y'),
            (self.months, 'm'),
            (self.days, 'd'),
            (self.hours, 'h'),
        ] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for KeepCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(number) => number.fmt(f),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

impl fmt::Display for RetentionRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keep-{} ", self.name())?;
        match self {
            Self::Newest { count, .. } => count.fmt(f),
            Self::Within { span, .. } => span.fmt(f),
        }
    }
}

impl Failure for BadRetention {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Count { .. } => "write a number such as `7`, or `unlimited`".to_owned(),
            Self::Span { .. } => {
                "write years, months, days and hours, such as `1y5m7d2h`; a week is `7d`".to_owned()
            }
            Self::Rule { .. } => {
                let adverbs = CalendarPeriod::ALL.map(CalendarPeriod::adverb).join("`, `");
                format!(
                    "use `last`, `{adverbs}`, `within`, or `within-` and a period, such as `within-daily`"
                )
            }
        })
    }
}
