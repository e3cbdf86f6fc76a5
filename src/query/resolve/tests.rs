//! The meaning of revisions, in a repository with two branches.

use super::*;
use crate::query::made::{DAY, Made, START, file};

struct Names {
    made: Made,
    main: Vec<Id>,
    amcc: Vec<Id>,
}

fn names() -> Names {
    let made = Made::new();
    let main = (1..=5)
        .map(|n| made.commit("main", &format!("m{n}"), vec![file("a", &n.to_string())]))
        .collect();
    let amcc: Vec<Id> = (1..=3)
        .map(|n| made.commit("AMCC", &format!("a{n}"), vec![]))
        .collect();
    made.tag("AMCC@release", amcc[0]);
    made.tag("AMCC@v2", amcc[2]);
    made.tag("fixed", amcc[1]);
    Names { made, main, amcc }
}

impl Names {
    fn get(&self, text: &str) -> Result<Id> {
        let resolver = Resolver::new(&self.made.repo, &self.made.context)?;
        Ok(resolver
            .spec(&RevisionSpec::parse(text.as_bytes())?)?
            .version)
    }

    fn err(&self, text: &str) -> String {
        let e = self.get(text).unwrap_err();
        assert_eq!(e.kind(), Kind::NotFound, "{text}");
        e.to_string()
    }
}

#[test]
fn names_selectors_and_suffixes() {
    let n = names();
    let (m, a) = (|i: usize| n.main[i - 1], |i: usize| n.amcc[i - 1]);
    let m3 = m(3).to_string();
    for (text, id) in [
        ("@", m(5)),
        ("HEAD", m(5)),
        ("main", m(5)),
        ("fixed", a(2)),
        ("@v2", m(2)),
        ("AMCC@v1", a(1)),
        ("AMCC@v2", a(3)),
        ("AMCC@#2", a(2)),
        ("AMCC@release", a(1)),
        ("AMCC@2026-11-21", a(2)),
        ("main~", m(4)),
        ("main~3", m(2)),
        ("main~0", m(5)),
        ("main^", m(4)),
        ("main^0", m(5)),
        ("main~2^~", m(1)),
        ("main@{0}", m(5)),
        ("main@{2}", m(3)),
        ("@{1}", m(4)),
        ("main@{1}~", m(3)),
        ("main@{2026-11-22}", m(3)),
        ("main@{2026-11-22 03:00}", m(3)),
        ("main@{2026-11-22T02:59:59Z}", m(2)),
        ("main@{8 days ago}", m(3)),
        (&m3, m(3)),
        (&m3[..12], m(3)),
        (&m3.to_uppercase()[..12], m(3)),
        (&format!("main@{}", &m3[..4]), m(3)),
    ] {
        assert_eq!(
            n.get(text).unwrap_or_else(|e| panic!("{text}: {e}")),
            id,
            "{text}"
        );
    }
    assert_eq!(
        i64::try_from(n.main.len()).unwrap() * DAY + START,
        n.made.context.now_secs() - 5 * DAY
    );
}

#[test]
fn what_does_not_exist_is_said() {
    let n = names();
    insta::assert_snapshot!(n.err("mian"), @"no branch, tag or version named `mian`");
    insta::assert_snapshot!(n.err("AMCC@v9"), @"`AMCC` has no version `v9`");
    insta::assert_snapshot!(n.err("AMCC@1999-01-01"), @"`AMCC` has no version `1999-01-01`");
    insta::assert_snapshot!(n.err("main~5"), @"cannot resolve `main~5`: the version does not have that many ancestors");
    insta::assert_snapshot!(n.err("main^2"), @"cannot resolve `main^2`: the version has no parent 2");
    insta::assert_snapshot!(n.err("main@{5}"), @"cannot resolve `main@{5}`: the ref log of `main` has only 5 entries");
    insta::assert_snapshot!(n.err("main~1@{1}"), @"cannot resolve `main~@{1}`: only a branch or a tag has a ref log");
    insta::assert_snapshot!(n.err("main@{1999-01-01}"), @"cannot resolve `main@{1999-01-01}`: the first version is newer than this time");
    insta::assert_snapshot!(n.err(&"0".repeat(64)).len(), @"98");
    insta::assert_snapshot!(n.err("fixed@v3"), @"cannot resolve `fixed@v3`: `fixed` is a tag, not a branch");
    insta::assert_snapshot!(n.err("main@typo@{1}"), @"cannot resolve `main@typo@{1}`: only a branch or a tag has a ref log");
    let e = n.get("mian").unwrap_err();
    assert_eq!(e.hint().as_deref(), Some("did you mean `main`?"));
    let e = n.get("AMCC@v9").unwrap_err();
    assert_eq!(e.hint().as_deref(), Some("use one of v1 to v3 of `AMCC`"));
}

#[test]
fn ambiguous_names_list_what_they_may_be() {
    let n = names();
    n.made.tag("main", n.amcc[0]);
    let (branch, tag) = (n.main[4], n.amcc[0]);
    let expected = format!(
        "`main` is ambiguous: refs/heads/main ({}), refs/tags/main ({})",
        branch.short(),
        tag.short()
    );
    assert_eq!(n.err("main"), expected);
    assert_eq!(
        (
            n.get("refs/heads/main").unwrap(),
            n.get("refs/tags/main").unwrap()
        ),
        (branch, tag)
    );
    assert_eq!(n.get("refs/heads/main~").unwrap(), n.main[3]);
    assert_eq!(n.get("refs/heads/main@{1}").unwrap(), n.main[3]);
    let resolver = Resolver::new(&n.made.repo, &n.made.context).unwrap();
    let branch_of = |text: &str| {
        resolver
            .branch_of(&Revision::parse(text).unwrap())
            .unwrap()
            .map(|b| b.to_string())
    };
    assert_eq!(
        (
            branch_of("refs/heads/main").as_deref(),
            branch_of("refs/tags/main")
        ),
        (Some("main"), None)
    );
    n.err("refs/tags/none");
    n.made.tag("AMCC", n.amcc[2]);
    assert_eq!(
        n.get("AMCC").unwrap(),
        n.amcc[2],
        "both mean the same version"
    );
}

#[test]
fn an_unborn_branch_is_named() {
    let made = Made::new();
    let resolver = Resolver::new(&made.repo, &made.context).unwrap();
    for text in ["@", "main", "main~", "@v1"] {
        let e = resolver
            .revision(&Revision::parse(text).unwrap())
            .unwrap_err();
        assert_eq!(e.to_string(), "branch `main` has no versions yet", "{text}");
    }
    assert!(made.dir.path().exists());
}
