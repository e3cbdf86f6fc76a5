//! Times of versions for retention: which ones are believed, and their place in the calendar.
//!
//! Time zones: each version has the fixed offset of its own clock, and its hour, day, week, month
//! and year are local, as in restic.
//! Invariant: along a branch, instants and local times never go back. A version that is appended
//! later therefore cannot get into an earlier period, nor alternate between two periods.

use std::fmt;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;

use super::rule::{CalendarPeriod, CalendarSpan};
use crate::model::commit::Timestamp;

/// A time that is wrong by up to this is corrected; a time that is wrong by more is not believed.
const MAX_SKEW: SignedDuration = SignedDuration::from_hours(24);

/// The reason why the time of a version is not believed. The calendar rules ignore such a version,
/// and no policy forgets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeDoubt {
    /// More than a day after the current time.
    InFuture,
    /// More than a day before the version that it was made from.
    BeforeParent,
}

/// The believed time of a version, after the correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EffectiveTime {
    pub(super) instant: jiff::Timestamp,
    local: DateTime,
    offset: Offset,
}

impl EffectiveTime {
    /// Returns the first local instant of the period.
    pub(super) fn start_of(&self, period: CalendarPeriod) -> DateTime {
        let date = self.local.date();
        let date = match period {
            CalendarPeriod::Hour => return date.at(self.local.hour(), 0, 0, 0),
            CalendarPeriod::Day => date,
            CalendarPeriod::Week => {
                let days = i64::from(date.weekday().to_monday_zero_offset());
                date.saturating_sub(SignedDuration::from_hours(24 * days))
            }
            CalendarPeriod::Month => date.first_of_month(),
            CalendarPeriod::Year => date.first_of_year(),
        };
        date.at(0, 0, 0, 0)
    }

    /// Returns the instant that is earlier by `span`, or `None` if it is before the calendar
    /// starts.
    ///
    /// If a month is too short for the day, the surplus days count into the next month, as in
    /// restic: one month before 31 March is 3 March (2 March in a leap year).
    pub(super) fn minus(&self, span: CalendarSpan) -> Option<jiff::Timestamp> {
        let local = self.offset.to_datetime(self.instant);
        let months = i64::from(local.year()) * 12 + i64::from(local.month())
            - 1
            - i64::from(span.years) * 12
            - i64::from(span.months);
        let year = i16::try_from(months.div_euclid(12)).ok()?;
        let month = i8::try_from(months.rem_euclid(12) + 1).ok()?;
        let days = i64::from(local.day()) - 1 - i64::from(span.days);
        let date = Date::new(year, month, 1)
            .ok()?
            .checked_add(SignedDuration::from_hours(24 * days))
            .ok()?;
        let instant = self
            .offset
            .to_timestamp(date.to_datetime(local.time()))
            .ok()?;
        instant
            .checked_sub(SignedDuration::from_hours(i64::from(span.hours)))
            .ok()
    }
}

/// The time of a version, and the newest time that is believed up to this version.
#[derive(Clone, Copy, Debug)]
pub struct VersionTime {
    own: Result<EffectiveTime, TimeDoubt>,
    line: Option<EffectiveTime>,
}

impl VersionTime {
    /// Returns the effective time of a version: min(now, max(its own time, time of its first
    /// parent)). `parent` is the time of the first parent.
    ///
    /// A time that needs a correction of more than a day is not believed, and does not change the
    /// times of later versions. Without this exception one version with a date in the future would
    /// move all later versions into one day, of which the rules keep one version; and if the clock
    /// of this machine were years behind, all versions would fall on one day.
    pub fn after(parent: Option<&Self>, time: Timestamp, now: Timestamp) -> Self {
        let (own, now) = (instant_of(time), instant_of(now));
        let line = parent.and_then(|parent| parent.line);
        let doubt = if own.duration_since(now) > MAX_SKEW {
            Some(TimeDoubt::InFuture)
        } else {
            line.filter(|line| line.instant.duration_since(own) > MAX_SKEW)
                .map(|_| TimeDoubt::BeforeParent)
        };
        if let Some(doubt) = doubt {
            return Self {
                own: Err(doubt),
                line,
            };
        }
        let offset = Offset::from_seconds(time.offset).unwrap_or(Offset::UTC);
        let instant = line.map_or(own, |line| own.max(line.instant)).min(now);
        let local = offset.to_datetime(instant);
        let effective = EffectiveTime {
            instant,
            local: line.map_or(local, |line| local.max(line.local)),
            offset,
        };
        Self {
            own: Ok(effective),
            line: Some(effective),
        }
    }

    /// Returns why the time is not believed, if it is not.
    pub fn doubt(&self) -> Option<TimeDoubt> {
        self.own.err()
    }

    pub(super) fn believed(&self) -> Option<EffectiveTime> {
        self.own.ok()
    }
}

/// Converts a time; one outside of the calendar (years -9999 to 9999) becomes its first or last
/// instant.
fn instant_of(time: Timestamp) -> jiff::Timestamp {
    let outside = if time.secs < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    };
    let nanos = i32::try_from(time.nanos).unwrap_or(0);
    jiff::Timestamp::new(time.secs, nanos).unwrap_or(outside)
}

impl fmt::Display for TimeDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InFuture => "time in the future",
            Self::BeforeParent => "time before the previous version",
        })
    }
}
