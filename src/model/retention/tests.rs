//! Rules: their text, the comparison with restic, forged times, and confirmations.

use super::*;
use crate::error::Failure;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 2026-11-30 03:00 UTC, a Monday.
const NOW: i64 = 1_796_007_600;

fn at(secs: i64) -> Timestamp {
    Timestamp {
        secs,
        nanos: 0,
        offset: 0,
    }
}

fn id(number: usize) -> Id {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
    Id(bytes)
}

fn branch(times: &[Timestamp]) -> Vec<BranchVersion> {
    let version = |(i, time): (usize, &Timestamp)| BranchVersion {
        id: id(i),
        time: *time,
        protections: Vec::new(),
    };
    times.iter().enumerate().map(version).collect()
}

/// Parses rules as the flags have them, without `keep-`: `last=3 within-daily=1m`.
fn policy(text: &str) -> RetentionPolicy {
    let rule = |text: &str| {
        let (name, value) = text.split_once('=').unwrap();
        RetentionRule::parse(name, value).unwrap()
    };
    RetentionPolicy {
        rules: text.split_whitespace().map(rule).collect(),
    }
}

/// Returns the positions of the versions that are kept.
fn kept(rules: &str, times: &[Timestamp], now: i64) -> Vec<usize> {
    let plan = policy(rules).plan(&branch(times), at(now));
    plan.verdicts
        .iter()
        .enumerate()
        .filter(|(_, verdict)| verdict.is_kept())
        .map(|(i, _)| i)
        .collect()
}

/// Returns the time of a version at 03:00 on each of the last `days` days, the last one at [`NOW`].
fn nightly(days: i64) -> Vec<Timestamp> {
    (0..days).rev().map(|day| at(NOW - day * DAY)).collect()
}

mod text {
    use super::*;

    #[test]
    fn spans_are_those_of_restic() {
        let span = |text: &str| text.parse::<CalendarSpan>().unwrap();
        assert_eq!(
            span("1y5m7d2h"),
            CalendarSpan {
                years: 1,
                months: 5,
                days: 7,
                hours: 2
            }
        );
        assert_eq!(
            span(" 36h "),
            CalendarSpan {
                hours: 36,
                ..CalendarSpan::default()
            }
        );
        assert_eq!(span("7d1y"), span("1y7d"));
        assert_eq!(span("0d").to_string(), "0h");
        for bad in [
            "",
            "7",
            "d",
            "1w",
            "-1d",
            "+1d",
            "1d2d",
            "1.5d",
            "1 d",
            "1D",
            "4294967296h",
            "1y5",
            "٣d",
            "1é",
        ] {
            let error = bad.parse::<CalendarSpan>().unwrap_err();
            assert_eq!(error.to_string(), format!("invalid duration `{bad}`"));
        }
    }

    #[test]
    fn counts_and_names() {
        assert_eq!("7".parse(), Ok(KeepCount::AtMost(7)));
        assert_eq!("unlimited".parse(), Ok(KeepCount::Unlimited));
        assert_eq!("-1".parse(), Ok(KeepCount::Unlimited));
        for bad in ["", "-2", "+7", "7.0", "all", "4294967296"] {
            assert!(bad.parse::<KeepCount>().is_err(), "{bad}");
        }
        let shown = |name, value| RetentionRule::parse(name, value).unwrap().to_string();
        assert_eq!(shown("last", "3"), "keep-last 3");
        assert_eq!(shown("yearly", "-1"), "keep-yearly unlimited");
        assert_eq!(shown("within", "1m"), "keep-within 1m");
        assert_eq!(shown("within-weekly", "2h1y"), "keep-within-weekly 1y2h");
        for bad in [
            "",
            "lasts",
            "day",
            "keep-daily",
            "within-",
            "within-last",
            "withindaily",
        ] {
            let error = RetentionRule::parse(bad, "1").unwrap_err();
            assert_eq!(
                error,
                BadRetention::Rule {
                    name: bad.to_owned()
                }
            );
            assert!(error.hint().unwrap().contains("`monthly`"), "{error}");
        }
    }

    fn rules() -> impl Strategy<Value = RetentionRule> {
        let period =
            || proptest::option::of(proptest::sample::select(CalendarPeriod::ALL.to_vec()));
        let count = prop_oneof![
            any::<u32>().prop_map(KeepCount::AtMost),
            proptest::strategy::Just(KeepCount::Unlimited)
        ];
        let span = any::<[u32; 4]>().prop_map(|[years, months, days, hours]| CalendarSpan {
            years,
            months,
            days,
            hours,
        });
        prop_oneof![
            (period(), count).prop_map(|(period, count)| RetentionRule::Newest { period, count }),
            (period(), span).prop_map(|(period, span)| RetentionRule::Within { period, span }),
        ]
    }

    proptest! {
        #[test]
        fn the_text_of_a_rule_is_parsed_back(rule in rules()) {
            let shown = rule.to_string();
            let (name, value) = shown.strip_prefix("keep-").unwrap().split_once(' ').unwrap();
            prop_assert_eq!(RetentionRule::parse(name, value), Ok(rule));
        }

        /// No time, offset or span makes the plan panic, and protected versions are kept.
        #[test]
        fn all_times_have_a_verdict(
            rules in proptest::collection::vec(rules(), 0..4),
            times in proptest::collection::vec(any::<(i64, u32, i32)>(), 0..20),
            now in any::<i64>(),
            protected in any::<usize>(),
        ) {
            let times: Vec<_> =
                times.into_iter().map(|(secs, nanos, offset)| Timestamp { secs, nanos, offset }).collect();
            let mut versions = branch(&times);
            let protected = protected.checked_rem(versions.len());
            if let Some(protected) = protected {
                versions[protected].protections.push("tag `release`".to_owned());
            }
            let plan = RetentionPolicy { rules }.plan(&versions, at(now));
            prop_assert_eq!(plan.verdicts.len(), versions.len());
            prop_assert!(protected.is_none_or(|protected| plan.verdicts[protected].is_kept()));
        }
    }
}

mod restic {
    use super::*;

    /// The contents of `tests/data/retention/restic.json`, which is generated by `make.py` in the
    /// same directory.
    #[derive(serde::Deserialize)]
    struct Golden {
        restic: String,
        /// Seconds since 1970 and UTC offset of each snapshot, oldest first.
        snapshots: Vec<(i64, i32)>,
        histories: Vec<GoldenHistory>,
    }

    #[derive(serde::Deserialize)]
    struct GoldenHistory {
        rules: String,
        /// Positions in `snapshots`.
        versions: Vec<usize>,
        /// Positions in `versions`, and one letter for each reason.
        kept: Vec<(usize, String)>,
    }

    /// Returns the letter of a reason in the golden file, after `-` if the version is only kept
    /// because it is the oldest.
    fn letter(reason: &KeepReason) -> String {
        let (rule, mark) = match reason {
            KeepReason::Rule(rule) => (rule, ""),
            KeepReason::Oldest(rule) => (rule, "-"),
            other => panic!("restic does not know the reason `{other}`"),
        };
        let letter = match rule.name().as_str() {
            "within" => 'A',
            name => match name.strip_prefix("within-") {
                Some(adverb) => adverb.to_ascii_uppercase().chars().next().unwrap(),
                None => name.chars().next().unwrap(),
            },
        };
        format!("{mark}{letter}")
    }

    /// The kept versions and their reasons are those of restic. Versions of the same second are
    /// interchangeable, because restic has no order for them.
    #[test]
    fn the_kept_versions_are_those_of_restic() {
        let golden: Golden =
            serde_json::from_str(include_str!("../../../tests/data/retention/restic.json"))
                .unwrap();
        assert_eq!(golden.histories.len(), 400);
        for (number, history) in golden.histories.iter().enumerate() {
            let time = |version: &usize| {
                let (secs, offset) = golden.snapshots[*version];
                Timestamp {
                    secs,
                    nanos: 0,
                    offset,
                }
            };
            let times: Vec<_> = history.versions.iter().map(time).collect();
            let plan = policy(&history.rules).plan(&branch(&times), at(NOW));
            let mut ours: Vec<(Timestamp, Vec<String>)> = Vec::new();
            for (time, verdict) in times
                .iter()
                .zip(&plan.verdicts)
                .filter(|(_, verdict)| verdict.is_kept())
            {
                ours.push((*time, verdict.reasons.iter().map(letter).collect()));
            }
            let mut theirs: Vec<(Timestamp, Vec<String>)> = Vec::new();
            for (version, letters) in &history.kept {
                let letters = letters
                    .split_inclusive(|c: char| c != '-')
                    .map(str::to_owned)
                    .collect();
                theirs.push((times[*version], letters));
            }
            for list in [&mut ours, &mut theirs] {
                list.iter_mut().for_each(|(_, letters)| letters.sort());
                list.sort();
            }
            assert_eq!(
                ours, theirs,
                "history {number}, {}, {}",
                history.rules, golden.restic
            );
        }
    }
}

mod calendar_rules {
    use super::*;

    fn utc(text: &str) -> Timestamp {
        at(text.parse::<jiff::Timestamp>().unwrap().as_second())
    }

    #[test]
    fn the_newest_version_of_a_period_is_kept() {
        let times = [
            "2026-11-28T23:59:59Z",
            "2026-11-29T00:00:00Z",
            "2026-11-29T23:59:59Z",
            "2026-11-30T00:00:00Z",
        ];
        let times = times.map(utc);
        assert_eq!(kept("daily=2", &times, NOW), [2, 3]);
        // The rule has kept fewer than it may, so it keeps the oldest version too.
        assert_eq!(kept("weekly=3", &times, NOW), [0, 2, 3]);
        assert_eq!(kept("weekly=2", &times, NOW), [2, 3]);
        assert_eq!(kept("monthly=unlimited", &times, NOW), [0, 3]);
        assert_eq!(kept("last=1 within-weekly=1m", &times, NOW), [0, 2, 3]);
        assert_eq!(kept("within=24h", &times, NOW), [2, 3]);
        assert_eq!(kept("within=1d1h", &times, NOW), [0, 1, 2, 3]);
    }

    #[test]
    fn days_are_those_of_the_clock_that_made_the_version() {
        let east = |text: &str| Timestamp {
            offset: 9 * 3600,
            ..utc(text)
        };
        // In Tokyo, the last two versions are of one day; in UTC, the last three are.
        let times = [
            "2026-11-27T14:30:00Z",
            "2026-11-28T14:30:00Z",
            "2026-11-28T15:30:00Z",
            "2026-11-28T16:00:00Z",
        ];
        assert_eq!(kept("daily=3", &times.map(east), NOW), [0, 1, 3]);
        assert_eq!(kept("daily=3", &times.map(utc), NOW), [0, 3]);
        assert_eq!(kept("within-daily=1y", &times.map(east), NOW), [0, 1, 3]);
    }

    /// A month before 31 March is 3 March, because February has no 31st day.
    #[test]
    fn months_overflow_as_in_restic() {
        let times = [
            "2026-03-02T12:00:00Z",
            "2026-03-03T12:00:00Z",
            "2026-03-03T12:00:01Z",
            "2026-03-31T12:00:00Z",
        ];
        assert_eq!(kept("within=1m", &times.map(utc), NOW), [2, 3]);
        let times = [
            "2023-03-01T00:00:00Z",
            "2023-03-01T00:00:01Z",
            "2024-02-29T00:00:00Z",
        ]
        .map(utc);
        assert_eq!(kept("within=1y", &times, NOW), [1, 2]);
    }

    #[test]
    fn a_span_may_be_longer_than_the_calendar() {
        assert_eq!(kept("within=4294967295y", &nightly(3), NOW), [0, 1, 2]);
        assert_eq!(kept("within=4294967295d", &nightly(3), NOW), [0, 1, 2]);
        assert_eq!(kept("within=4294967295h", &nightly(3), NOW), [0, 1, 2]);
    }

    #[test]
    fn a_policy_without_rules_keeps_all_versions() {
        assert_eq!(kept("", &nightly(3), NOW), [0, 1, 2]);
        assert_eq!(kept("last=0 within=0d", &nightly(3), NOW), [0, 1, 2]);
        assert_eq!(kept("last=0 daily=1", &nightly(3), NOW), [2]);
        assert_eq!(policy("daily=1").plan(&[], at(NOW)).verdicts, []);
    }

    #[test]
    fn reasons_are_listed() {
        let mut versions = branch(&nightly(10));
        versions[1].protections.push("tag `release`".to_owned());
        versions[9]
            .protections
            .push("tip of branch `main`".to_owned());
        let plan = policy("last=1 daily=2 weekly=3").plan(&versions, at(NOW));
        let shown = |i: usize| {
            plan.verdicts[i]
                .reasons
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(0), Vec::<String>::new());
        assert_eq!(shown(1), ["tag `release`", "keep-weekly 3"]);
        assert_eq!(shown(8), ["keep-daily 2", "keep-weekly 3"]);
        assert_eq!(
            shown(9),
            [
                "tip of branch `main`",
                "keep-last 1",
                "keep-daily 2",
                "keep-weekly 3"
            ]
        );
        assert_eq!(
            plan.forgotten().collect::<Vec<_>>(),
            [0, 2, 3, 4, 5, 6, 7].map(id)
        );
        let oldest = policy("weekly=5").plan(&versions, at(NOW)).verdicts[0].reasons[0].to_string();
        assert_eq!(oldest, "keep-weekly 5 (oldest version)");
    }
}

/// Attacks by a client that may only append versions, and clocks that are wrong.
mod forged_times {
    use super::*;

    const RULES: &str = "last=3 hourly=24 daily=7 weekly=4 monthly=6 yearly=3 within=2d";

    /// Returns whether the policy still keeps all versions of `honest` that it kept before others
    /// were appended. The newest day is left out, because the attacker may also write honest dates.
    fn is_harmless(rules: &str, honest: &[Timestamp], appended: &[Timestamp]) -> bool {
        let before = kept(rules, honest, NOW);
        let after = kept(rules, &[honest, appended].concat(), NOW);
        before
            .iter()
            .filter(|&&i| honest[i].secs <= NOW - DAY)
            .all(|i| after.contains(i))
    }

    /// restic issue 22057: worthless snapshots are dated to the last second of each past day, week,
    /// month and year, so that they are the newest ones there.
    #[test]
    fn past_dates_do_not_push_versions_out() {
        let honest = nightly(800);
        let rules = "daily=7 weekly=4 monthly=6 yearly=3";
        let midnight = NOW - NOW % DAY;
        let forged: Vec<_> = (0..800)
            .rev()
            .map(|day| at(midnight - day * DAY - 1))
            .collect();
        assert!(is_harmless(rules, &honest, &forged));
        // The order of the dates does not matter.
        let reversed: Vec<_> = forged.iter().rev().copied().collect();
        assert!(is_harmless(rules, &honest, &reversed));
        // Ordered by date alone, as in restic, only forged versions of past days are kept.
        let mut by_date: Vec<_> = honest
            .iter()
            .chain(&forged)
            .map(|time| (time.secs, time.secs % DAY != 3 * HOUR))
            .collect();
        by_date.sort_unstable();
        let times: Vec<_> = by_date.iter().map(|(secs, _)| at(*secs)).collect();
        let lost = kept("daily=7", &times, NOW)
            .into_iter()
            .filter(|&i| by_date[i].1)
            .count();
        assert_eq!(lost, 6);
    }

    #[test]
    fn a_forged_past_date_is_reported() {
        let times = [nightly(10), vec![at(NOW - 5 * DAY)]].concat();
        let plan = policy("daily=2").plan(&branch(&times), at(NOW));
        assert_eq!(
            plan.verdicts[10].reasons,
            [KeepReason::Doubtful(TimeDoubt::BeforeParent)]
        );
        assert_eq!(plan.verdicts[9].reasons[0].to_string(), "keep-daily 2");
        assert_eq!(kept("daily=2", &times, NOW), [8, 9, 10]);
    }

    /// Versions dated in the future do not use up the counts of rules, and do not move the versions
    /// after them into one day.
    #[test]
    fn future_dates_do_not_push_versions_out() {
        let honest = nightly(60);
        let forged: Vec<_> = (0..100)
            .map(|i| at(NOW + 1000 * DAY + i * 40 * DAY))
            .collect();
        for rules in [
            RULES,
            "last=3",
            "within=5d",
            "within-daily=20d",
            "monthly=3",
        ] {
            assert!(is_harmless(rules, &honest, &forged), "{rules}");
            let all = [&honest[..30], &forged, &honest[30..]].concat();
            let expected: Vec<_> = kept(rules, &honest, NOW)
                .into_iter()
                .map(|i| if i < 30 { i } else { i + 100 })
                .chain(30..130)
                .collect();
            let mut all = kept(rules, &all, NOW);
            all.sort_by_key(|&i| (30..130).contains(&i));
            assert_eq!(all, expected, "{rules}");
        }
    }

    /// The date is in the future when the version is made, and in the past when the policy runs.
    #[test]
    fn a_date_that_was_in_the_future_does_not_push_versions_out() {
        let honest = nightly(60);
        // Made 30 days ago with the date of yesterday.
        let forged = at(NOW - DAY);
        let all = [&honest[..30], &[forged], &honest[30..]].concat();
        let plan = policy(RULES).plan(&branch(&all), at(NOW));
        for (i, time) in honest
            .iter()
            .enumerate()
            .skip(30)
            .filter(|(_, time)| time.secs < NOW - 2 * DAY)
        {
            assert_eq!(
                plan.verdicts[i + 1].reasons,
                [KeepReason::Doubtful(TimeDoubt::BeforeParent)],
                "{time:?}"
            );
        }
        let before = kept(RULES, &honest, NOW);
        let after = kept(RULES, &all, NOW);
        let moved = |i: usize| if i < 30 { i } else { i + 1 };
        assert!(
            before.iter().all(|&i| after.contains(&moved(i))),
            "{before:?} {after:?}"
        );
    }

    /// Versions of one instant whose local times alternate between two days use at most one more
    /// place.
    #[test]
    fn forged_offsets_do_not_push_versions_out() {
        let honest = nightly(60);
        let forged: Vec<_> = (0..100)
            .map(|i| Timestamp {
                offset: if i % 2 == 0 { 86_399 } else { -86_399 },
                ..at(NOW)
            })
            .collect();
        let before = kept("daily=7 monthly=2", &honest, NOW);
        let after = kept("daily=8 monthly=3", &[honest, forged].concat(), NOW);
        assert!(
            before
                .iter()
                .filter(|&&i| i < 59)
                .all(|i| after.contains(i)),
            "{before:?} {after:?}"
        );
    }

    /// The clock of the machine that runs the policy is wrong.
    #[test]
    fn a_clock_that_is_behind_forgets_nothing_of_the_future() {
        for now in [i64::MIN, 0, NOW - 300 * DAY] {
            assert_eq!(kept(RULES, &nightly(60), now).len(), 60, "{now}");
        }
        let ahead = kept(RULES, &nightly(60), i64::MAX);
        assert_eq!(ahead, kept(RULES, &nightly(60), NOW));
    }

    /// Two machines commit to one branch, and their clocks differ.
    #[test]
    fn small_differences_between_clocks_are_corrected() {
        let behind = [
            at(NOW - 2 * DAY),
            at(NOW - DAY),
            at(NOW - DAY - 5),
            at(NOW - DAY - 3 * HOUR - 1),
        ];
        assert_eq!(kept("last=1", &behind, NOW), [3]);
        // The last version is of the day before, and counts as one of the day of its parent.
        assert_eq!(kept("daily=1", &behind, NOW), [3]);
        assert_eq!(
            kept(
                "within=2h",
                &[at(NOW - 4 * HOUR), at(NOW), at(NOW - 3 * HOUR)],
                NOW
            ),
            [1, 2]
        );
        let ahead = [at(NOW - DAY), at(NOW + 20 * HOUR), at(NOW + 5)];
        assert_eq!(kept("daily=1", &ahead, NOW), [2]);
        assert_eq!(kept("within=1h", &ahead, NOW), [1, 2]);
        assert_eq!(
            kept(
                "within=1h",
                &[at(NOW - 30 * MINUTE), at(NOW + 20 * HOUR)],
                NOW
            ),
            [0, 1]
        );
    }

    proptest! {
        /// Appended versions use at most one place of a rule: that of tomorrow, because an offset
        /// may be forged.
        #[test]
        fn appended_versions_use_one_place(
            ages in proptest::collection::vec(0..400 * DAY, 1..40),
            forged in proptest::collection::vec((NOW - 500 * DAY..NOW + 500 * DAY, -86_399..=86_399i32), 0..40),
            rule in proptest::sample::select(vec!["daily", "weekly", "monthly", "yearly"]),
            count in 1..10u32,
        ) {
            let mut honest: Vec<_> = ages.iter().map(|age| at(NOW - age)).collect();
            honest.push(at(NOW));
            honest.sort();
            let forged = forged.into_iter().map(|(secs, offset)| Timestamp { offset, ..at(secs) }).collect();
            let before = kept(&format!("{rule}={count}"), &honest, NOW);
            let all: Vec<Timestamp> = [honest.clone(), forged].concat();
            let after = kept(&format!("{rule}={}", count + 1), &all, NOW);
            let newest = honest.len() - 1;
            prop_assert!(before.iter().filter(|&&i| i < newest).all(|i| after.contains(i)), "{before:?} {after:?}");
        }
    }
}

mod confirmations {
    use super::*;

    #[test]
    fn a_run_that_forgets_much_needs_a_confirmation() {
        assert_eq!(ForgetExcess::of(0, 0), None);
        assert_eq!(ForgetExcess::of(3, 6), None);
        assert_eq!(
            ForgetExcess::of(4, 6),
            Some(ForgetExcess::MoreThanHalf {
                forgotten: 4,
                total: 6
            })
        );
        assert_eq!(ForgetExcess::of(50, 100), None);
        assert_eq!(
            ForgetExcess::of(97, 100).unwrap().to_string(),
            "97 of 100 versions would be forgotten"
        );
        assert_eq!(
            ForgetExcess::of(98, 100).unwrap().to_string(),
            "only 2 of 100 versions would be left"
        );
        let excess = |rules| policy(rules).plan(&branch(&nightly(10)), at(NOW)).excess();
        assert_eq!(excess("last=5"), None);
        assert_eq!(
            excess("last=4"),
            Some(ForgetExcess::MoreThanHalf {
                forgotten: 6,
                total: 10
            })
        );
        assert_eq!(
            excess("last=2"),
            Some(ForgetExcess::FewLeft { kept: 2, total: 10 })
        );
        assert_eq!(excess(""), None);
    }
}
