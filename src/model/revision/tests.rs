//! The revision grammar: examples, then properties over generated syntax and over arbitrary bytes.

use super::*;
use crate::model::when::Unit;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

fn name(text: &str) -> RefName {
    RefName::new(text).unwrap()
}

fn rev(base: RevisionBase, suffixes: &[Suffix]) -> Revision {
    Revision {
        base,
        suffixes: suffixes.to_vec(),
    }
}

#[test]
fn bases() {
    let parse = |text| Revision::parse(text).unwrap().base;
    assert_eq!(parse("@"), RevisionBase::Head);
    assert_eq!(parse("HEAD"), RevisionBase::Head);
    assert_eq!(parse("cust/acme"), RevisionBase::Name(name("cust/acme")));
    assert_eq!(
        parse("AMCC@#3"),
        RevisionBase::Scoped(Some(name("AMCC")), Selector::Ordinal(3))
    );
    assert_eq!(
        parse("AMCC@release"),
        RevisionBase::Scoped(Some(name("AMCC")), Selector::Name(name("release")))
    );
    assert_eq!(
        parse("@v3"),
        RevisionBase::Scoped(None, Selector::Name(name("v3")))
    );
    assert_eq!(Selector::Name(name("v3")).ordinal(), Some(3));
    assert_eq!(Selector::Name(name("v3a")).ordinal(), None);
    assert_eq!(hex_prefix(&name("1c0f")), Some("1c0f"));
    assert_eq!(hex_prefix(&name("1c0")), None);
    assert_eq!(hex_prefix(&name("1c0g")), None);
}

#[test]
fn suffixes() {
    let main = || RevisionBase::Name(name("main"));
    assert_eq!(
        Revision::parse("main~2^").unwrap(),
        rev(main(), &[Suffix::Ancestor(2), Suffix::Parent(1)])
    );
    assert_eq!(Revision::parse("main~~^0").unwrap().suffixes.len(), 3);
    assert_eq!(
        Revision::parse("main@{2}").unwrap(),
        rev(main(), &[Suffix::Update(2)])
    );
    assert_eq!(
        Revision::parse("@{1}").unwrap(),
        rev(RevisionBase::Head, &[Suffix::Update(1)])
    );
    let ago = When::Ago {
        count: 3,
        unit: Unit::Day,
    };
    assert_eq!(
        Revision::parse("main@{3 days ago}~").unwrap().suffixes,
        [Suffix::At(ago), Suffix::Ancestor(1)]
    );
    assert_eq!(
        Revision::parse("main@{2026-11-20 03:00}")
            .unwrap()
            .to_string(),
        "main@{2026-11-20T03:00:00}"
    );
}

#[test]
fn specs() {
    let spec = RevisionSpec::parse(b"main@{2026-11-20 03:00}:a:b\xff").unwrap();
    assert_eq!(spec.path.as_deref(), Some(&b"a:b\xff"[..]));
    let spec = RevisionSpec::parse_located(b"s3://bucket/x#AMCC@#3:y").unwrap();
    assert_eq!(spec.url.as_deref(), Some("s3://bucket/x"));
    assert_eq!(spec.to_string(), "s3://bucket/x#AMCC@#3:y");
    assert_eq!(RevisionSpec::parse_located(b"AMCC@#3").unwrap().url, None);
}

#[test]
fn ranges() {
    let shown = |text: &[u8]| RevisionQuery::parse(text).unwrap().to_string();
    assert_eq!(shown(b"a..b"), "a..b");
    assert_eq!(shown(b"a...b~2"), "a...b~2");
    assert_eq!(shown(b"AMCC@v1.."), "AMCC@v1..@");
    assert_eq!(shown(b"..b"), "@..b");
    assert!(
        matches!(RevisionQuery::parse(b"main:a..b"), Ok(RevisionQuery::One(RevisionSpec { path: Some(p), .. })) if p == b"a..b")
    );
}

#[test]
fn reasons() {
    let reason = |text: &str| {
        RevisionQuery::parse(text.as_bytes())
            .unwrap_err()
            .to_string()
    };
    insta::assert_snapshot!(reason(""), @"invalid revision ``: missing name before `~`, `^` or `@`");
    insta::assert_snapshot!(reason("~2"), @"invalid revision `~2`: missing name before `~`, `^` or `@`");
    insta::assert_snapshot!(reason("main~x"), @"invalid revision `main~x`: unexpected `x` after a suffix");
    insta::assert_snapshot!(reason("main@{1"), @"invalid revision `main@{1`: missing `}` after `@{`");
    insta::assert_snapshot!(reason("main@{soon}"), @"invalid revision `main@{soon}`: invalid time `soon`");
    insta::assert_snapshot!(reason("main@"), @"invalid revision `main@`: the name is empty");
    insta::assert_snapshot!(reason("a@b@c"), @"invalid revision `a@b@c`: `@` is not allowed");
    insta::assert_snapshot!(reason("main~99999999999"), @"invalid revision `main~99999999999`: the number is too large");
    insta::assert_snapshot!(reason(".."), @"invalid revision `..`: a range needs a revision on at least one side");
    insta::assert_snapshot!(reason("a..b:c"), @"invalid revision `a..b:c`: a range cannot contain a path; write the path after `--`");
}

fn names() -> impl Strategy<Value = RefName> {
    "[a-zA-Z0-9_ü]{1,6}([-./][a-zA-Z0-9]{1,4}){0,2}"
        .prop_filter_map("a valid name", |n| RefName::new(&n).ok())
}

fn selectors() -> impl Strategy<Value = Selector> {
    prop_oneof![
        any::<u64>().prop_map(Selector::Ordinal),
        names().prop_map(Selector::Name)
    ]
}

fn whens() -> impl Strategy<Value = When> {
    let dates = (0i16..=9999, 1i8..=12, 1i8..=28).prop_map(|(y, m, d)| jiff::civil::date(y, m, d));
    let times = (
        dates.clone(),
        0i8..24,
        0i8..60,
        0i8..60,
        0i32..1_000_000_000,
    )
        .prop_map(|(d, h, m, s, n)| d.at(h, m, s, n));
    let offsets = (-1439i32..1440).prop_map(|m| jiff::tz::Offset::from_seconds(m * 60).unwrap());
    let units = prop_oneof![
        Just(Unit::Second),
        Just(Unit::Minute),
        Just(Unit::Hour),
        Just(Unit::Day),
        Just(Unit::Week),
        Just(Unit::Month),
        Just(Unit::Year),
    ];
    prop_oneof![
        Just(When::Now),
        Just(When::Yesterday),
        (any::<u32>(), units).prop_map(|(count, unit)| When::Ago { count, unit }),
        dates.prop_map(When::Day),
        times.clone().prop_map(When::Local),
        (times, offsets).prop_map(|(t, o)| When::Fixed(t, o)),
    ]
}

fn suffix() -> impl Strategy<Value = Suffix> {
    prop_oneof![
        any::<u32>().prop_map(Suffix::Ancestor),
        any::<u32>().prop_map(Suffix::Parent),
        any::<u64>().prop_map(Suffix::Update),
        whens().prop_map(Suffix::At),
    ]
}

fn revisions() -> impl Strategy<Value = Revision> {
    let base = prop_oneof![
        Just(RevisionBase::Head),
        names().prop_map(RevisionBase::Name),
        (proptest::option::of(names()), selectors()).prop_map(|(n, s)| RevisionBase::Scoped(n, s)),
    ];
    (base, proptest::collection::vec(suffix(), 0..4))
        .prop_map(|(base, suffixes)| Revision { base, suffixes })
}

proptest! {
    #[test]
    fn a_revision_survives_printing(rev in revisions()) {
        prop_assert_eq!(Revision::parse(&rev.to_string()), Ok(rev));
    }

    #[test]
    fn a_spec_survives_printing(
        revision in revisions(),
        path in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)),
        url in proptest::option::of("[a-z0-9]{1,3}://[a-z0-9/.:?=&-]{0,20}"),
    ) {
        let path = path.filter(|p: &Vec<u8>| url.is_some() || !p.contains(&b'#'));
        let spec = RevisionSpec { url, revision, path };
        prop_assert_eq!(RevisionSpec::parse_located(&spec.to_bytes()), Ok(spec));
    }

    #[test]
    fn a_range_survives_printing(from in revisions(), to in revisions(), symmetric: bool) {
        let query = RevisionQuery::Range(RevisionRange { from, to, symmetric });
        prop_assert_eq!(RevisionQuery::parse(query.to_string().as_bytes()), Ok(query));
    }

    #[test]
    fn a_time_survives_printing(when in whens()) {
        prop_assert_eq!(when.to_string().parse::<When>(), Ok(when));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
        let _ = RevisionQuery::parse(&bytes);
        let _ = RevisionSpec::parse_located(&bytes);
    }

    #[test]
    fn what_parses_survives_printing(text in "[a-c@{}~^.:#0-9vHEAD -]{0,14}") {
        if let Ok(query) = RevisionQuery::parse(text.as_bytes()) {
            prop_assert_eq!(RevisionQuery::parse(query.to_string().as_bytes()), Ok(query));
        }
    }
}

#[test]
fn a_letter_of_two_bytes_after_a_suffix_is_no_panic() {
    for text in ["main~И", "main^1é", "@{1}й"] {
        assert!(Revision::parse(text).is_err(), "{text}");
    }
}
