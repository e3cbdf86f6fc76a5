//! `dvc du`: the disk usage of versions and branches.

use crate::commands::gc::{GcArgs, options as gc_options};
use crate::dirs;
use crate::failure::{CommandResult, Exit, Failed};
use crate::print::{Out, Paint, size};
use crate::session::Session;
use clap::Args;
use dvc::error::Error;
use dvc::model::revision::RevisionQuery;
use dvc::model::text::{count, harmless};
use dvc::ops::du::{
    BranchUse, DuOptions, DuReport, PackParts, PartsOptions, RepositoryUse, VersionUse, cache_use,
    du,
};
use serde::Serialize;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

/// Options of `du`.
#[derive(Args, Debug)]
pub(crate) struct DuArgs {
    /// Show these versions and ranges; without any, show the whole repository by branch
    #[arg(value_name = "REV")]
    pub(crate) revs: Vec<OsString>,
    /// Leave out why the packs are kept, because this reads the directories of all versions
    #[arg(long, conflicts_with_all = ["revs", "cache"])]
    pub(crate) quick: bool,
    /// Show the size of the cache of remote objects and of the overlays of mounts
    #[arg(long, conflicts_with = "revs")]
    pub(crate) cache: bool,
}

/// Runs `du`.
pub(crate) fn run(session: &Session, args: &DuArgs) -> CommandResult {
    let (_, context) = session.anywhere()?;
    if args.cache {
        return cache(session, &context);
    }
    let query = |rev: &OsString| {
        RevisionQuery::parse(rev.as_bytes()).map_err(|e| Failed::from(Error::from(e)))
    };
    let queries: Vec<RevisionQuery> = args.revs.iter().map(query).collect::<Result<_, _>>()?;
    let parts = if args.quick || !queries.is_empty() {
        None
    } else {
        Some(PartsOptions {
            collect: gc_options(
                session,
                &GcArgs::default(),
                context.remote_repository.is_some(),
            )?,
            run: dirs::usable_run()?,
        })
    };
    let report = du(
        &context,
        &DuOptions { queries, parts },
        &session.progress()?,
    )?;
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&json(&report))?;
    } else {
        text(&mut out, &report)?;
    }
    out.finish()?;
    Ok(Exit::DONE.unless_cancelled(&session.signals))
}

#[derive(Serialize)]
struct JsonCacheUse<'a> {
    block_bytes: u64,
    limit_bytes: u64,
    overlays: Vec<JsonOverlayUse<'a>>,
}

#[derive(Serialize)]
struct JsonOverlayUse<'a> {
    name: &'a str,
    bytes: u64,
}

fn cache(session: &Session, context: &dvc::context::Context) -> CommandResult {
    let used = cache_use(context)?;
    let mut out = session.plain_out();
    if session.globals.json {
        let overlays = used.overlays.iter().map(|overlay| JsonOverlayUse {
            name: &overlay.name,
            bytes: overlay.bytes,
        });
        out.json(&JsonCacheUse {
            block_bytes: used.block_bytes,
            limit_bytes: used.limit_bytes,
            overlays: overlays.collect(),
        })?;
    } else {
        writeln!(
            out,
            "cache: {} of at most {}",
            size(used.block_bytes),
            size(used.limit_bytes)
        )?;
        for overlay in &used.overlays {
            writeln!(out, "overlay {}: {}", overlay.name, size(overlay.bytes))?;
        }
    }
    out.finish()?;
    Ok(Exit::DONE)
}

#[derive(Serialize)]
struct JsonDu<'a> {
    versions: Vec<JsonVersionUse>,
    branches: Vec<JsonBranchUse<'a>>,
    repository: Option<JsonRepositoryUse>,
}

#[derive(Serialize)]
struct JsonVersionUse {
    id: String,
    ordinal: u64,
    files: u64,
    bytes: u64,
    new_bytes: u64,
    stored_bytes: u64,
}

#[derive(Serialize)]
struct JsonBranchUse<'a> {
    name: &'a str,
    versions: u64,
    files: u64,
    bytes: u64,
    all_bytes: u64,
    new_bytes: u64,
    stored_bytes: u64,
}

#[derive(Serialize)]
struct JsonRepositoryUse {
    packs: u64,
    pack_bytes: u64,
    pack_parts: Option<JsonPackParts>,
    index_bytes: u64,
    ref_bytes: u64,
    state_bytes: u64,
    trash_bytes: u64,
}

/// The bytes of packs by the reason why they are kept.
#[derive(Serialize)]
struct JsonPackParts {
    live_bytes: u64,
    log_bytes: u64,
    trash_bytes: u64,
    held_bytes: u64,
    unused_bytes: u64,
    dead_bytes: u64,
}

impl JsonPackParts {
    fn of(parts: &PackParts) -> Self {
        Self {
            live_bytes: parts.live,
            log_bytes: parts.log,
            trash_bytes: parts.trash,
            held_bytes: parts.held,
            unused_bytes: parts.unused,
            dead_bytes: parts.dead,
        }
    }
}

fn json(report: &DuReport) -> JsonDu<'_> {
    let version = |v: &VersionUse| JsonVersionUse {
        id: v.id.to_string(),
        ordinal: v.commit.ordinal,
        files: v.commit.counts.files,
        bytes: v.commit.counts.bytes,
        new_bytes: v.commit.counts.new_bytes,
        stored_bytes: v.commit.counts.stored_bytes,
    };
    let whole = |r: &RepositoryUse| JsonRepositoryUse {
        packs: r.packs,
        pack_bytes: r.pack_bytes,
        pack_parts: r.parts.as_ref().map(JsonPackParts::of),
        index_bytes: r.index_bytes,
        ref_bytes: r.ref_bytes,
        state_bytes: r.state_bytes,
        trash_bytes: r.trash_bytes,
    };
    JsonDu {
        versions: report.versions.iter().map(version).collect(),
        branches: report.branches.iter().map(branch_json).collect(),
        repository: report.repository.as_ref().map(whole),
    }
}

fn branch_json(b: &BranchUse) -> JsonBranchUse<'_> {
    JsonBranchUse {
        name: b.name.as_str(),
        versions: b.versions,
        files: b.files,
        bytes: b.bytes,
        all_bytes: b.all_bytes,
        new_bytes: b.new_bytes,
        stored_bytes: b.stored_bytes,
    }
}

fn text(out: &mut Out, report: &DuReport) -> io::Result<()> {
    if !report.versions.is_empty() {
        let head = format!(
            "{:<8} {:>5} {:>9} {:>10} {:>10} {:>10}",
            "id", "", "files", "size", "new", "stored"
        );
        writeln!(out, "{}", out.paint(Paint::Strong, head))?;
    }
    for VersionUse { id, commit } in &report.versions {
        let (counts, ordinal) = (&commit.counts, format!("v{}", commit.ordinal));
        let id = out.paint(Paint::Id, id.short());
        let sizes = [counts.bytes, counts.new_bytes, counts.stored_bytes]
            .map(|n| format!("{:>10}", size(n)))
            .join(" ");
        writeln!(
            out,
            "{id} {ordinal:>5} {:>9} {sizes} {}",
            counts.files,
            harmless(commit.subject())
        )?;
    }
    let Some(whole) = &report.repository else {
        return Ok(());
    };
    let width = report
        .branches
        .iter()
        .map(|b| b.name.as_str().chars().count())
        .max()
        .unwrap_or(0)
        .max(6);
    let columns = format!(
        "{:>8} {:>10} {:>10} {:>10}",
        "versions", "size", "all", "stored"
    );
    writeln!(
        out,
        "{}",
        out.paint(Paint::Strong, format!("{:<width$} {columns}", "branch"))
    )?;
    for b in &report.branches {
        let sizes = [b.bytes, b.all_bytes, b.stored_bytes]
            .map(|n| format!("{:>10}", size(n)))
            .join(" ");
        let name = out.paint(Paint::Branch, format!("{:<width$}", b.name.as_str()));
        writeln!(out, "{name} {:>8} {sizes}", b.versions)?;
    }
    let total = whole.pack_bytes
        + whole.index_bytes
        + whole.ref_bytes
        + whole.state_bytes
        + whole.trash_bytes;
    let trash = if whole.trash_bytes > 0 {
        format!(", {} trash", size(whole.trash_bytes))
    } else {
        String::new()
    };
    writeln!(
        out,
        "repository: {}: {} in {}, {} index, {} refs, {} state{trash}",
        size(total),
        size(whole.pack_bytes),
        count(whole.packs, "pack"),
        size(whole.index_bytes),
        size(whole.ref_bytes),
        size(whole.state_bytes)
    )?;
    let Some(parts) = &whole.parts else {
        return Ok(());
    };
    let named = [
        ("live", parts.live),
        ("log", parts.log),
        ("trash", parts.trash),
        ("held", parts.held),
        ("unused", parts.unused),
        ("dead", parts.dead),
    ];
    let named = named.map(|(name, bytes)| format!("{} {name}", size(bytes)));
    writeln!(out, "packs: {}", named.join(", "))
}
