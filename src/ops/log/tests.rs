//! Listings of a repository with two branches.

use super::*;
use crate::observe::Silent;
use crate::query::describe::ChangeDetail;
use crate::query::made::{DAY, Made, START, file};

fn made() -> Made {
    let made = Made::new();
    for n in 1..=4 {
        let other = if n == 3 { "changed" } else { "same" };
        made.commit(
            "main",
            &format!("m{n}\n\nbody"),
            vec![file("a", &n.to_string()), file("b", other)],
        );
    }
    made.commit("AMCC", "a1", vec![]);
    made
}

fn list(made: &Made, options: &LogOptions) -> String {
    let mut lines = Vec::new();
    log(&made.context, options, &Silent, &mut |v, _| {
        lines.push(v.commit.subject().to_owned());
        ControlFlow::Continue(())
    })
    .unwrap();
    lines.join(" ")
}

fn from(queries: &[&str]) -> LogOptions {
    LogOptions {
        queries: queries
            .iter()
            .map(|q| RevisionQuery::parse(q.as_bytes()).unwrap())
            .collect(),
        ..LogOptions::default()
    }
}

#[test]
fn starts_and_ranges() {
    let made = made();
    assert_eq!(list(&made, &from(&[])), "m4 m3 m2 m1");
    assert_eq!(list(&made, &from(&["main~1"])), "m3 m2 m1");
    assert_eq!(list(&made, &from(&["main~2.."])), "m4 m3");
    assert_eq!(list(&made, &from(&["main~2...main"])), "m4 m3");
    assert_eq!(list(&made, &from(&["main", "AMCC"])), "m4 m3 m2 a1 m1");
    assert_eq!(
        list(
            &made,
            &LogOptions {
                all: true,
                ..from(&[])
            }
        ),
        "m4 m3 m2 a1 m1"
    );
    assert_eq!(
        list(
            &made,
            &LogOptions {
                reverse: true,
                max_count: Some(2),
                ..from(&[])
            }
        ),
        "m3 m4"
    );
}

#[test]
fn filters() {
    let made = made();
    let with = |options: LogOptions| list(&made, &options);
    assert_eq!(
        with(LogOptions {
            since: Some(START + 2 * DAY),
            ..from(&[])
        }),
        "m4 m3"
    );
    assert_eq!(
        with(LogOptions {
            until: Some(START + DAY),
            ..from(&[])
        }),
        "m2 m1"
    );
    assert_eq!(
        with(LogOptions {
            grep: Some("^M[23]".to_owned()),
            ignore_case: true,
            ..from(&[])
        }),
        "m3 m2"
    );
    assert_eq!(
        with(LogOptions {
            author: Some("bob".to_owned()),
            ..from(&[])
        }),
        ""
    );
    assert_eq!(
        with(LogOptions {
            paths: vec![b"b".to_vec()],
            ..from(&[])
        }),
        "m4 m3 m1"
    );
    let bad = LogOptions {
        grep: Some("(".to_owned()),
        ..from(&[])
    };
    let e = log(&made.context, &bad, &Silent, &mut |_, _| {
        ControlFlow::Continue(())
    })
    .unwrap_err();
    assert_eq!(e.kind(), Kind::Usage);
}

#[test]
fn names_and_changes() {
    let made = made();
    let mut versions = Vec::new();
    let options = LogOptions {
        detail: ChangeDetail::Ranges,
        ..from(&[])
    };
    let mut ranges = Vec::new();
    log(&made.context, &options, &Silent, &mut |v, changes| {
        let mut shown = Vec::new();
        let told = changes.each(&mut |c| {
            shown.push(format!("{:?}", c.ranges));
            ControlFlow::Continue(())
        });
        told.unwrap();
        ranges.push(shown);
        versions.push(v);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(versions[0].names.len(), 1);
    assert!(versions[0].names[0].head);
    assert_eq!(ranges[1], ["[0..1]", "[0..7]"]);
}

#[test]
fn the_ref_log() {
    let made = made();
    let mut lines = Vec::new();
    updates(&made.context, &from(&["main"]), &mut |u| {
        lines.push(format!(
            "{}@{{{}}} {}",
            u.name,
            u.number,
            u.entry.why.lines().next().unwrap_or("")
        ));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(
        lines.join(", "),
        "main@{0} commit: m4, main@{1} commit: m3, main@{2} commit: m2, main@{3} commit: m1"
    );
}
