//! The reports of `forget`: decisions, the trash, restored versions.

use crate::commands::gc::{DoneGc, JsonGc};
use crate::failure::Exit;
use crate::print::{Out, Paint};
use crate::render::{at, iso};
use crate::session::Session;
use dvc::error::Kind;
use dvc::model::commit::Timestamp;
use dvc::model::id::Id;
use dvc::model::text::{count, harmless};
use dvc::ops::forget::{ForgetReport, ForgetVerdict, RestoreReport, TrashedVersion};
use serde::Serialize;
use std::io::{self, Write};
use std::time::Duration;

/// How a forget is reported.
pub(super) struct Style<'g> {
    pub(super) dry_run: bool,
    /// Whether the user named the versions.
    pub(super) is_named: bool,
    pub(super) gc: Option<&'g DoneGc>,
}

#[derive(Serialize)]
struct JsonForget<'a> {
    versions: Vec<JsonVerdict<'a>>,
    kept: usize,
    forgotten: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    gc: Option<JsonGc>,
    dry_run: bool,
}

#[derive(Serialize)]
struct JsonVerdict<'a> {
    id: String,
    name: &'a str,
    time: String,
    forgotten: bool,
    reasons: &'a [String],
}

/// Prints a forget.
pub(super) fn print(
    session: &Session,
    out: &mut Out,
    report: &ForgetReport,
    style: &Style<'_>,
) -> io::Result<()> {
    let forgotten = report.forgotten().count();
    let kept = report.verdicts.len() - forgotten;
    if session.globals.json {
        let versions = report.verdicts.iter().map(|verdict| JsonVerdict {
            id: verdict.id.to_string(),
            name: &verdict.name,
            time: iso(&verdict.time),
            forgotten: !verdict.is_kept,
            reasons: &verdict.reasons,
        });
        let gc = style.gc.map(DoneGc::to_json);
        return out.json(&JsonForget {
            versions: versions.collect(),
            kept,
            forgotten,
            gc,
            dry_run: style.dry_run,
        });
    }
    if session.globals.quiet > 0 {
        return Ok(());
    }
    if style.dry_run || style.is_named {
        report
            .verdicts
            .iter()
            .try_for_each(|verdict| print_verdict(out, verdict))?;
    }
    let verb = if style.dry_run {
        "would forget"
    } else {
        "forgot"
    };
    let kept = if style.is_named {
        String::new()
    } else {
        format!(", {kept} kept")
    };
    writeln!(out, "{verb} {}{kept}", count(forgotten as u64, "version"))?;
    style.gc.map_or(Ok(()), |gc| gc.print(out))
}

fn print_verdict(out: &mut Out, verdict: &ForgetVerdict) -> io::Result<()> {
    let (word, paint) = if verdict.is_kept {
        ("keep  ", Paint::Added)
    } else {
        ("forget", Paint::Removed)
    };
    let (word, id) = (
        out.paint(paint, word),
        out.paint(Paint::Id, verdict.id.short()),
    );
    let reasons = verdict.reasons.join(", ");
    let reasons = if verdict.is_kept || reasons == "named" {
        reasons
    } else {
        format!("not kept by {reasons}")
    };
    let time = at(&verdict.time, "%Y-%m-%d %H:%M");
    writeln!(
        out,
        "{word} {} {id} {time} {}",
        verdict.name,
        harmless(&reasons)
    )
}

#[derive(Serialize)]
struct JsonTrashed<'a> {
    id: String,
    name: &'a str,
    message: &'a str,
    time: String,
    author: &'a str,
    reason: &'a str,
    until: String,
}

/// Prints the versions in the trash.
pub(super) fn print_trash(
    session: &Session,
    all: &[TrashedVersion],
    keep: Duration,
) -> io::Result<()> {
    let mut out = session.plain_out();
    let offset = session.now.offset().seconds();
    let now = session.now.timestamp().as_second();
    for version in all {
        let time = Timestamp {
            secs: version.time,
            nanos: 0,
            offset,
        };
        let until = Timestamp {
            secs: version.time.saturating_add_unsigned(keep.as_secs()),
            ..time
        };
        if session.globals.json {
            out.json(&JsonTrashed {
                id: version.id.to_string(),
                name: &version.name,
                message: &version.subject,
                time: iso(&time),
                author: &version.who,
                reason: &version.why,
                until: iso(&until),
            })?;
            continue;
        }
        let id = out.paint(Paint::Id, version.id.short());
        let why = harmless(version.why.lines().next().unwrap_or(""));
        let until = if until.secs > now {
            at(&until, "until %Y-%m-%d %H:%M")
        } else {
            "until the next gc".to_owned()
        };
        let (name, day) = (&version.name, at(&time, "%Y-%m-%d %H:%M"));
        writeln!(
            out,
            "{name} {id} {day} {until} by {}: {why}",
            harmless(&version.who)
        )?;
    }
    if all.is_empty() && !session.globals.json && session.globals.quiet == 0 {
        writeln!(out, "the trash is empty")?;
    }
    out.finish()
}

#[derive(Serialize)]
struct JsonRestored<'a> {
    restored: Vec<JsonNamed<'a>>,
    collected: Vec<JsonNamed<'a>>,
    reason: &'a str,
    dry_run: bool,
}

#[derive(Serialize)]
struct JsonNamed<'a> {
    id: String,
    name: &'a str,
}

fn json_named(all: &[(Id, String)]) -> Vec<JsonNamed<'_>> {
    all.iter()
        .map(|(id, name)| JsonNamed {
            id: id.to_string(),
            name,
        })
        .collect()
}

/// Prints the restored versions. Returns 13 if some stay forgotten.
pub(crate) fn print_restored(
    session: &Session,
    out: &mut Out,
    report: &RestoreReport,
    dry_run: bool,
) -> io::Result<Exit> {
    let (restored, collected) = (&report.restored, &report.collected);
    if session.globals.json {
        let (restored, collected) = (json_named(restored), json_named(collected));
        out.json(&JsonRestored {
            restored,
            collected,
            reason: &report.why,
            dry_run,
        })?;
    } else if session.globals.quiet == 0 {
        let verb = if dry_run { "would restore" } else { "restored" };
        restored
            .iter()
            .try_for_each(|(_, name)| writeln!(out, "{verb} {name}"))?;
        collected.iter().try_for_each(|(_, name)| {
            writeln!(out, "{name} was not restored: its data has been deleted")
        })?;
    }
    Ok(if report.collected.is_empty() {
        Exit::DONE
    } else {
        Exit::with(Kind::NotFound)
    })
}
