//! Points in time as users write them: `2026-11-20 03:00`, `yesterday`, `3 days ago`, RFC 3339.
//!
//! Parsing needs no clock; [`When::resolve`] computes the instant from the current time and its
//! time zone.
//! Invariant: parsing the output of `Display` returns the same value.

use super::commit::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;
use jiff::{Span, ToSpan, Zoned};
use std::fmt;
use std::str::FromStr;

/// A point in time that may be relative to the current time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Now,
    /// The same time of day on the previous day.
    Yesterday,
    Ago {
        count: u32,
        unit: Unit,
    },
    /// A whole day in the user's time zone.
    Day(Date),
    /// A time of day in the user's time zone.
    Local(DateTime),
    /// A time with its UTC offset.
    Fixed(DateTime, Offset),
}

/// A unit of [`When::Ago`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

/// Selects the instant of a bare date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The first instant of the day, for `--since`.
    Start,
    /// The last instant of the day, for `--until` and for the version with which a day ended.
    End,
}

/// The error for text that is not a time, or a time that cannot be represented.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid time `{text}`")]
pub struct BadTime {
    pub text: String,
}

impl crate::error::Failure for BadTime {
    fn kind(&self) -> crate::error::Kind {
        crate::error::Kind::Usage
    }
    fn hint(&self) -> Option<String> {
        Some("write `2026-11-20`, `2026-11-20 03:00`, `2026-11-20T03:00:00Z`, `yesterday` or `3 days ago`".to_owned())
    }
}

impl Unit {
    const NAMES: [(Self, &'static str, &'static [&'static str]); 7] = [
        (Self::Second, "second", &["s", "sec", "secs"]),
        (Self::Minute, "minute", &["m", "min", "mins"]),
        (Self::Hour, "hour", &["h", "hr", "hrs"]),
        (Self::Day, "day", &["d"]),
        (Self::Week, "week", &["w"]),
        (Self::Month, "month", &["mo"]),
        (Self::Year, "year", &["y", "yr"]),
    ];

    fn parse(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        Self::NAMES.iter().find_map(|(unit, name, short)| {
            let singular = word.strip_suffix('s').unwrap_or(&word);
            (singular == *name || short.contains(&word.as_str())).then_some(*unit)
        })
    }

    fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(unit, ..)| *unit == self)
            .map_or("second", |(_, name, _)| name)
    }

    fn span(self, count: u32) -> Option<Span> {
        let n = i64::from(count);
        let zero = Span::new();
        match self {
            Self::Second => zero.try_seconds(n),
            Self::Minute => zero.try_minutes(n),
            Self::Hour => zero.try_hours(n),
            Self::Day => zero.try_days(n),
            Self::Week => zero.try_weeks(n),
            Self::Month => zero.try_months(n),
            Self::Year => zero.try_years(n),
        }
        .ok()
    }
}

impl When {
    /// Returns the instant. `now` is the current time in the user's time zone.
    pub fn resolve(&self, now: &Zoned, edge: Edge) -> Result<Timestamp, BadTime> {
        let zone = now.time_zone().clone();
        let zoned = match *self {
            Self::Now => Some(now.clone()),
            Self::Yesterday => now.checked_sub(1.day()).ok(),
            Self::Ago { count, unit } => {
                unit.span(count).and_then(|span| now.checked_sub(span).ok())
            }
            Self::Day(date) if edge == Edge::Start => date.to_zoned(zone).ok(),
            Self::Day(date) => {
                // A day with a clock change does not have 24 hours, so start from the next day.
                let next = date.tomorrow().ok().and_then(|d| d.to_zoned(zone).ok());
                next.and_then(|z| z.checked_sub(1.nanosecond()).ok())
            }
            Self::Local(time) => time.to_zoned(zone).ok(),
            Self::Fixed(time, offset) => offset
                .to_timestamp(time)
                .ok()
                .map(|t| t.to_zoned(jiff::tz::TimeZone::fixed(offset))),
        };
        let zoned = zoned.ok_or_else(|| BadTime {
            text: self.to_string(),
        })?;
        Ok(timestamp_of(&zoned))
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "now" => return Some(Self::Now),
            "yesterday" => return Some(Self::Yesterday),
            _ => {}
        }
        if !text.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        Self::parse_ago(text).or_else(|| Self::parse_date(text))
    }

    /// Parses `3 days ago`, `2h ago` and git's `3.days.ago`.
    fn parse_ago(text: &str) -> Option<Self> {
        let text = text.replace('.', " ");
        let text = text.strip_suffix("ago")?;
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (count, rest) = text.split_at(digits);
        if !rest.ends_with(' ') {
            return None;
        }
        Some(Self::Ago {
            count: count.parse().ok()?,
            unit: Unit::parse(rest.trim())?,
        })
    }

    fn parse_date(text: &str) -> Option<Self> {
        let pieces = Pieces::parse(text).ok()?;
        // `Display` cannot reproduce a time zone annotation (RFC 9557), so reject it.
        if pieces.time_zone_annotation().is_some() || text.contains('[') {
            return None;
        }
        match (pieces.time(), pieces.to_numeric_offset()) {
            (None, None) => Some(Self::Day(pieces.date())),
            (Some(time), None) => Some(Self::Local(pieces.date().to_datetime(time))),
            // `Display` writes offsets in minutes.
            (Some(time), Some(offset)) if offset.seconds() % 60 == 0 => {
                Some(Self::Fixed(pieces.date().to_datetime(time), offset))
            }
            _ => None,
        }
    }
}

/// Returns the instant of `zoned` with its UTC offset.
pub fn timestamp_of(zoned: &Zoned) -> Timestamp {
    // The division rounds down, because the fraction must not be negative before 1970.
    let nanos = zoned.timestamp().as_nanosecond();
    let second = 1_000_000_000;
    Timestamp {
        // jiff's timestamps end in the year 9999, so no conversion here fails.
        secs: i64::try_from(nanos.div_euclid(second)).unwrap_or(i64::MAX),
        nanos: u32::try_from(nanos.rem_euclid(second)).unwrap_or(0),
        offset: zoned.offset().seconds(),
    }
}

impl FromStr for When {
    type Err = BadTime;

    fn from_str(text: &str) -> Result<Self, BadTime> {
        Self::parse(text.trim()).ok_or_else(|| BadTime {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::Yesterday => f.write_str("yesterday"),
            Self::Ago { count, unit } => {
                write!(
                    f,
                    "{count} {}{} ago",
                    unit.name(),
                    if *count == 1 { "" } else { "s" }
                )
            }
            Self::Day(date) => write!(f, "{date}"),
            Self::Local(time) => write!(f, "{time}"),
            Self::Fixed(time, offset) if offset.is_zero() => write!(f, "{time}Z"),
            Self::Fixed(time, offset) => {
                let minutes = offset.seconds() / 60;
                let sign = if minutes < 0 { '-' } else { '+' };
                write!(
                    f,
                    "{time}{sign}{:02}:{:02}",
                    minutes.abs() / 60,
                    minutes.abs() % 60
                )
            }
        }
    }
}

/// Formats a time as `20261130T110000Z`. A time that does not fit into four digits of a year counts
/// as the nearest one that does.
pub fn compact_utc(secs: i64) -> String {
    const LAST: i64 = 253_402_207_200;
    let time = jiff::Timestamp::from_second(secs.clamp(0, LAST)).unwrap_or_default();
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Parses the format of [`compact_utc`]; returns seconds since 1970.
pub fn parse_compact_utc(text: &str) -> Option<i64> {
    let time = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Zoned {
        let berlin = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        "2026-11-21T11:30:00Z"
            .parse::<jiff::Timestamp>()
            .unwrap()
            .to_zoned(berlin)
    }

    fn at(text: &str, edge: Edge) -> String {
        let t = text.parse::<When>().unwrap().resolve(&now(), edge).unwrap();
        let secs = jiff::Timestamp::from_second(t.secs).unwrap();
        format!("{secs} {:+}", t.offset)
    }

    #[test]
    fn words_become_instants() {
        let end = Edge::End;
        assert_eq!(at("now", end), "2026-11-21T11:30:00Z +3600");
        assert_eq!(at("yesterday", end), "2026-11-20T11:30:00Z +3600");
        assert_eq!(at("3 days ago", end), "2026-11-18T11:30:00Z +3600");
        assert_eq!(at("2h ago", end), at("2.hours.ago", end));
        assert_eq!(at("1 month ago", end), "2026-10-21T10:30:00Z +7200");
        assert_eq!(at("2026-11-20", Edge::Start), "2026-11-19T23:00:00Z +3600");
        assert_eq!(at("2026-11-20", end), "2026-11-20T22:59:59Z +3600");
        assert_eq!(at("2026-11-20 03:00", end), "2026-11-20T02:00:00Z +3600");
        assert_eq!(at("2026-11-20T03:00", end), "2026-11-20T02:00:00Z +3600");
        assert_eq!(at("2026-11-20T03:00:00Z", end), "2026-11-20T03:00:00Z +0");
        assert_eq!(
            at("2026-11-20T03:00:00-05:30", end),
            "2026-11-20T08:30:00Z -19800"
        );
        assert_eq!(at("1960-01-01T00:00:00.5Z", end), "1960-01-01T00:00:00Z +0");
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "",
            "soon",
            "3 ago",
            "3days",
            "3 days",
            "-3 days ago",
            "2026-13-01",
            "2026-11-20T03:00[UTC]",
            "3daysago",
        ] {
            assert!(bad.parse::<When>().is_err(), "{bad}");
        }
        let far = "4000000000 years ago".parse::<When>().unwrap();
        assert!(far.resolve(&now(), Edge::End).is_err());
    }
}
