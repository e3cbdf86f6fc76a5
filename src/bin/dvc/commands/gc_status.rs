//! `dvc gc --status`: which data is kept, why, and until when.

use crate::dirs;
use crate::failure::{CommandResult, Exit};
use crate::print::{Out, elapsed, size};
use crate::render;
use crate::session::Session;
use dvc::care::usage::{GroupUse, PacksUse};
use dvc::context::Context;
use dvc::model::commit::Timestamp;
use dvc::model::text::{count, harmless};
use dvc::ops::gc::{CollectOptions, GcStatus, status};
use serde::Serialize;
use std::io::{self, Write};
use std::time::Duration;

#[derive(Serialize)]
struct JsonGcStatus {
    packs: u64,
    bytes: u64,
    live: JsonGroup,
    log: JsonGroup,
    trash: JsonGroup,
    held: JsonGroup,
    unused_bytes: u64,
    unneeded: JsonPacks,
    orphans: JsonPacks,
    planned: JsonPacks,
    dead: JsonPacks,
    leases: Vec<JsonLease>,
    holders: Vec<JsonHolder>,
    next: Option<String>,
    lacks_record: bool,
    record_dir: Option<String>,
    complete: bool,
}

#[derive(Serialize)]
struct JsonGroup {
    versions: u64,
    bytes: u64,
    until: Option<String>,
}

#[derive(Serialize)]
struct JsonPacks {
    packs: u64,
    bytes: u64,
    until: Option<String>,
}

#[derive(Serialize)]
struct JsonLease {
    what: &'static str,
    host: String,
    versions: Vec<String>,
    until: Option<String>,
}

#[derive(Serialize)]
struct JsonHolder {
    name: String,
    version: String,
}

/// Runs `gc --status`.
pub(crate) fn run(
    session: &Session,
    remote: Option<&str>,
    options: &CollectOptions,
) -> CommandResult {
    let mut context = session.here()?.1;
    if let Some(name) = remote {
        context.remote_repository = Some(session.remote(&context, name)?);
    }
    let run = dirs::usable_run()?;
    let status = status(&context, &run, options, &session.progress()?)?;
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&json(&context, &status))?;
    } else {
        print(&mut out, &context, &status, options)?;
    }
    out.finish()?;
    Ok(Exit::DONE)
}

fn stamp(context: &Context, secs: i64) -> Timestamp {
    Timestamp {
        secs,
        nanos: 0,
        offset: context.now.offset().seconds(),
    }
}

fn json(context: &Context, status: &GcStatus) -> JsonGcStatus {
    let time = |secs: Option<i64>| secs.map(|secs| render::iso(&stamp(context, secs)));
    let group = |group: &GroupUse| JsonGroup {
        versions: group.versions,
        bytes: group.bytes,
        until: time(group.until),
    };
    let packs = |packs: &PacksUse| JsonPacks {
        packs: packs.packs,
        bytes: packs.bytes,
        until: time(packs.until),
    };
    let usage = &status.usage;
    JsonGcStatus {
        packs: usage.packs.packs,
        bytes: usage.packs.bytes,
        live: group(&usage.live),
        log: group(&usage.log),
        trash: group(&usage.trash),
        held: group(&usage.held),
        unused_bytes: usage.unused_bytes,
        unneeded: packs(&usage.unneeded),
        orphans: packs(&usage.orphans),
        planned: packs(&usage.planned),
        dead: packs(&usage.dead),
        leases: status
            .leases
            .iter()
            .map(|lease| JsonLease {
                what: lease.what,
                host: lease.host.clone(),
                versions: lease.versions.iter().map(ToString::to_string).collect(),
                until: time(lease.until),
            })
            .collect(),
        holders: status
            .held
            .iter()
            .map(|held| JsonHolder {
                name: held.holder.clone(),
                version: held.id.to_string(),
            })
            .collect(),
        next: time(status.next),
        lacks_record: status.lacks_record,
        record_dir: status
            .record_dir
            .as_ref()
            .map(|dir| dir.display().to_string()),
        complete: !usage.is_incomplete,
    }
}

fn print(
    out: &mut Out,
    context: &Context,
    status: &GcStatus,
    options: &CollectOptions,
) -> io::Result<()> {
    let usage = &status.usage;
    let day = |secs: i64| render::at(&stamp(context, secs), "%Y-%m-%d %H:%M");
    let now = context.now_secs();
    let from = |until: Option<i64>, what: &str| match until {
        Some(until) if until > now => format!("; {what} {}", day(until)),
        Some(_) => format!("; {what} the next run"),
        None => String::new(),
    };
    let mut line = |name: &str, bytes: u64, text: String| {
        writeln!(out, "{name:<9} {:>10}  {text}", size(bytes))
    };
    let versions = |n: u64| count(n, "version");
    line(
        "live",
        usage.live.bytes,
        format!("{} of branches and tags", versions(usage.live.versions)),
    )?;
    line(
        "log",
        usage.log.bytes,
        format!(
            "{} that a branch or tag named earlier{}",
            versions(usage.log.versions),
            from(usage.log.until, "kept until")
        ),
    )?;
    line(
        "trash",
        usage.trash.bytes,
        format!(
            "{} in the trash{}",
            versions(usage.trash.versions),
            from(usage.trash.until, "kept until")
        ),
    )?;
    line(
        "held",
        usage.held.bytes,
        format!(
            "{} of worktrees, mounts, overlays and leases",
            versions(usage.held.versions)
        ),
    )?;
    line(
        "unused",
        usage.unused_bytes,
        "in packs that also have needed data".to_owned(),
    )?;
    let packs = |packs: u64| count(packs, "pack");
    line(
        "unneeded",
        usage.unneeded.bytes,
        format!(
            "{} that nothing needs{}",
            packs(usage.unneeded.packs),
            from(usage.unneeded.until, "not marked as dead before")
        ),
    )?;
    line(
        "orphans",
        usage.orphans.bytes,
        format!(
            "{} of interrupted commands{}",
            packs(usage.orphans.packs),
            from(usage.orphans.until, "not marked as dead before")
        ),
    )?;
    line(
        "dead",
        usage.dead.bytes,
        format!(
            "{} marked as dead{}",
            packs(usage.dead.packs),
            from(usage.dead.until, "not deleted before")
        ),
    )?;
    if usage.planned.packs > 0 {
        line(
            "planned",
            usage.planned.bytes,
            format!(
                "{} of an unfinished collection; the next `dvc gc` makes a new plan",
                packs(usage.planned.packs)
            ),
        )?;
    }
    line("all", usage.packs.bytes, packs(usage.packs.packs))?;
    for lease in &status.leases {
        let until = lease.until.map_or_else(
            || "as long as its process runs".to_owned(),
            |until| format!("until {}", day(until)),
        );
        writeln!(
            out,
            "lease of a {} on {}: {}, {until}",
            lease.what,
            harmless(&lease.host),
            versions(lease.versions.len() as u64)
        )?;
    }
    for held in &status.held {
        writeln!(
            out,
            "{}: version {}",
            harmless(&held.holder),
            held.id.short()
        )?;
    }
    if status.lacks_record {
        writeln!(out, "{}", explanation(status, options.grace))?;
    } else if let Some(next) = status.next {
        writeln!(out, "next: {}", day(next))?;
    }
    if usage.is_incomplete {
        writeln!(
            out,
            "some objects cannot be read, so the numbers are too small; run `dvc fsck`"
        )?;
    }
    Ok(())
}

/// Explains why no pack is due although some are unneeded.
fn explanation(status: &GcStatus, grace: Duration) -> String {
    let wait = format!(
        "a run of `dvc gc` records which packs are unneeded, and a run {} later marks them as dead",
        elapsed(grace)
    );
    match &status.record_dir {
        Some(dir) => format!(
            "no run has recorded these packs yet: {wait}. The record is in `{}`; in a container, \
             keep this directory between runs, or use `--now`",
            dir.display()
        ),
        None => format!(
            "no run can record these packs, because there is no directory for local state: {wait}. \
             Give `dvc gc` a directory that stays between runs, or use `--now`"
        ),
    }
}
