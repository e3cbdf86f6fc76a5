//! `dvc fsck`: checks the repository, and rebuilds its catalogue and index.

use crate::args::DryRun;
use crate::failure::{CliError, Exit, Failed, Outcome};
use crate::print::{Out, Paint, elapsed, size};
use crate::render::JsonPath;
use crate::session::Session;
use crate::settings::value;
use clap::Args;
use dvc::check::rebuild::RebuildReport;
use dvc::check::report::{CheckReport, Reach, Reached, What};
use dvc::error::Kind;
use dvc::model::path;
use dvc::model::text::count;
use dvc::ops::fsck::{FsckOptions, FsckReport, fsck};
use serde::Serialize;
use serde_json::json;
use std::io::Write;
use std::time::Instant;

/// So many paths are listed without `-v`.
const LINES: usize = 20;

/// Options of `fsck`.
#[derive(Args, Debug)]
pub(crate) struct FsckArgs {
    /// Read and verify the data as well, or that part of it
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, require_equals = true, default_missing_value = "100")]
    pub(crate) data: Option<String>,
    /// Stop after that time, such as 2h; the next run goes on there
    #[arg(long, value_name = "TIME")]
    pub(crate) max_time: Option<String>,
    /// Make the catalogue and the index again, from packs and refs alone
    #[arg(long)]
    pub(crate) rebuild: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Runs `fsck`.
pub(crate) fn run(session: &Session, args: &FsckArgs) -> Outcome {
    let begun = Instant::now();
    let wrong = |option: &'static str| move |problem| CliError::option(option, problem);
    let max_time = args.max_time.as_deref().map(value::duration).transpose().map_err(wrong("--max-time"))?;
    let data = args.data.as_deref().or(max_time.map(|_| "100"));
    let options = FsckOptions {
        data: data.map(millionths).transpose().map_err(wrong("--data"))?,
        max_time,
        rebuild: args.rebuild,
        dry_run: session.dry_run(args.dry),
    };
    let context = session.anywhere()?.1;
    let progress = session.progress()?;
    let report = fsck(&context, &options, &progress)?;
    drop(progress);
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&as_json(&report, begun.elapsed().as_secs_f64()))?;
    } else if session.globals.quiet == 0 || !report.check.is_sound() {
        print(session, &mut out, &report, options.dry_run, begun.elapsed())?;
    }
    out.finish()?;
    Ok(match (report.check.is_sound(), report.check.unknown) {
        (true, 0) => Exit::DONE,
        (true, _) => Exit::with(Kind::Incomplete),
        (false, _) => Exit::with(Kind::Integrity),
    })
}

/// `5`, `5%` or `0.5%` as millionths.
fn millionths(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is not a percentage, such as 5 or 0.5%");
    let number = text.strip_suffix('%').unwrap_or(text);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || part.len() > 4 || !(part.is_empty() || digits(part)) || number.ends_with('.') {
        return Err(wrong());
    }
    let value: u32 = format!("{whole}{part:0<4}").parse().map_err(|_| wrong())?;
    if value == 0 || value > 1_000_000 { Err(wrong()) } else { Ok(value) }
}

fn print(
    session: &Session,
    out: &mut Out,
    report: &FsckReport,
    dry_run: bool,
    took: std::time::Duration,
) -> Result<(), Failed> {
    match &report.marker {
        Some(marker) if marker.is_new => {
            writeln!(
                out,
                "made a new marker, with the id {}: copies of this repository count as others now",
                marker.id
            )?;
        }
        Some(marker) => writeln!(out, "made the marker again, with its id {}", marker.id)?,
        None => {}
    }
    if let Some(made) = &report.rebuild {
        print_rebuild(out, made, dry_run)?;
    }
    let CheckReport { checked, data, damage, lost, reaches, versions, more_objects, .. } = &report.check;
    if !reaches.is_empty() {
        let (paths, of) = (reaches.len() as u64, versions.len() as u64);
        let text = format!("{} in {}", count(paths, "path"), count(of, "version"));
        writeln!(out, "lost: {}", out.paint(Paint::Strong, text))?;
        let shown = if session.globals.verbose > 0 { reaches.len() } else { LINES };
        for reach in reaches.iter().take(shown) {
            writeln!(out, "  {}  {}", out.paint(Paint::Removed, shown_path(reach)), shown_versions(reach, versions))?;
        }
        if reaches.len() > shown {
            writeln!(out, "  and {} more, which -v lists", reaches.len() - shown)?;
        }
    }
    let n = checked;
    let all = [(n.refs, "ref"), (n.versions, "version"), (n.trees, "tree"), (n.chunks, "chunk"), (n.packs, "pack")];
    writeln!(out, "checked {}", all.map(|(n, what)| count(n, what)).join(", "))?;
    if let Some(data) = data {
        let rest = if data.out_of_time { ", then time was up" } else { "" };
        let (read, all) = (size(data.bytes), size(data.of_bytes));
        writeln!(out, "read {read} of {all} in {} of {}{rest}", data.packs, count(data.of_packs, "pack"))?;
    }
    let took = elapsed(took);
    match damage.len() as u64 + more_objects {
        0 if report.check.unknown > 0 => {
            let n = count(report.check.unknown, "object");
            writeln!(out, "no damage in what is here, but {n} could not be looked for at the remote, {took}")?;
        }
        0 => writeln!(out, "no damage, {took}")?,
        found => {
            let text = format!("{found} damaged, {} lost", count(lost.total(), "object"));
            writeln!(out, "{}, {took}", out.paint(Paint::Removed, text))?;
        }
    }
    let mended = |what| matches!(what, What::Segment | What::Object | What::Catalogue | What::Worktree);
    if (report.rebuild.is_none() || dry_run) && damage.iter().any(|d| mended(d.what)) {
        writeln!(out, "hint: `dvc fsck --rebuild` makes the index and the catalogue again from what the packs hold")?;
    }
    Ok(())
}

fn print_rebuild(out: &mut Out, made: &RebuildReport, dry_run: bool) -> Result<(), Failed> {
    let RebuildReport { packs, objects, segments, replaced, versions, baseless, .. } = made;
    if dry_run {
        let (new, objects) = (count(*segments, "index segment"), count(*objects, "object"));
        writeln!(out, "would make {new} of {objects} in {}", count(*packs, "pack"))?;
        writeln!(out, "would remove {} and make the catalogue anew", count(*replaced, "old segment"))?;
        return Ok(());
    }
    let (new, objects) = (count(*segments, "index segment"), count(*objects, "object"));
    writeln!(out, "made {new} of {objects} in {}, removed {replaced}", count(*packs, "pack"))?;
    writeln!(out, "made the catalogue anew, with {}", count(*versions, "version"))?;
    if *baseless > 0 {
        writeln!(out, "left out {} whose base is lost", count(*baseless, "delta"))?;
    }
    for key in &made.put_aside {
        writeln!(out, "put the damaged state in `{key}` aside; that worktree is on the default branch now")?;
    }
    Ok(())
}

fn shown_path(reach: &Reach) -> String {
    match (reach.path.is_empty(), reach.directory) {
        (true, true) => "everything".to_owned(),
        (true, false) => "the table of hard links".to_owned(),
        (false, true) => format!("{}/", path::display(&reach.path)),
        (false, false) => path::display(&reach.path),
    }
}

/// `main@v1 to main@v3, old@v7`.
fn shown_versions(reach: &Reach, versions: &[Reached]) -> String {
    let runs = reach.versions.iter().flat_map(|run| versions.get(run.clone()).unwrap_or_default().chunk_by(follows));
    let runs = runs.map(|run| match run {
        [first, .., last] => format!("{} to {}", first.name, last.name),
        run => run.iter().map(|v| v.name.as_str()).collect(),
    });
    runs.collect::<Vec<_>>().join(", ")
}

#[derive(Serialize)]
struct JsonReach {
    #[serde(flatten)]
    path: JsonPath,
    directory: bool,
    versions: Vec<String>,
}

/// Whether `b` is the next version of the branch that `a` is of.
fn follows(a: &Reached, b: &Reached) -> bool {
    let numbered = |v: &Reached| {
        let (branch, ordinal) = v.name.rsplit_once("@v")?;
        Some((branch.to_owned(), ordinal.parse::<u64>().ok()?))
    };
    matches!((numbered(a), numbered(b)), (Some((x, n)), Some((y, m))) if x == y && n.checked_add(1) == Some(m))
}

fn as_json(report: &FsckReport, seconds: f64) -> serde_json::Value {
    let CheckReport { checked: n, data, damage, more_objects, lost, versions, reaches, notes, .. } = &report.check;
    let named = |v: &Reached| json!({ "name": v.name, "id": v.id.to_string() });
    let reach = |r: &Reach| {
        let versions = r.versions.iter().flat_map(|run| versions.get(run.clone()).unwrap_or_default());
        let versions = versions.map(|v| v.name.clone()).collect();
        JsonReach { path: JsonPath::new(&r.path), directory: r.directory, versions }
    };
    json!({
        "sound": report.check.is_sound(),
        "checked": {
            "refs": n.refs, "entries": n.entries, "versions": n.versions, "trees": n.trees, "lists": n.lists,
            "chunks": n.chunks, "segments": n.segments, "rows": n.rows, "packs": n.packs,
        },
        "data": data.map(|d| json!({
            "packs": d.packs, "bytes": d.bytes, "plain_bytes": d.plain_bytes, "of_packs": d.of_packs,
            "of_bytes": d.of_bytes, "out_of_time": d.out_of_time,
        })),
        "damage": damage.iter().map(|d| json!({ "what": d.what.name(), "key": d.key, "why": d.why })).collect::<Vec<_>>(),
        "more_objects": more_objects,
        "unknown": report.check.unknown,
        "lost": { "chunks": lost.chunks, "lists": lost.lists, "trees": lost.trees, "commits": lost.commits },
        "versions": versions.iter().map(named).collect::<Vec<_>>(),
        "reaches": reaches.iter().map(reach).collect::<Vec<_>>(),
        "notes": notes,
        "marker": report.marker.as_ref().map(|m| json!({ "id": m.id, "new": m.is_new })),
        "rebuild": report.rebuild.as_ref().map(|r| json!({
            "packs": r.packs, "objects": r.objects, "baseless": r.baseless, "segments": r.segments,
            "replaced": r.replaced, "versions": r.versions, "put_aside": r.put_aside,
            "salvaged": r.salvaged.iter().map(|s| json!({ "key": s.key, "why": s.why, "objects": s.objects })).collect::<Vec<_>>(),
        })),
        "seconds": seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_follow_each_other_are_told_together() {
        let names = ["main@v1", "main@v2", "main@v3", "main@v5", "main@rel", "m", "same"];
        let id = dvc::model::id::Id([0; 32]);
        let versions: Vec<_> = names.iter().map(|n| Reached { name: (*n).to_owned(), id }).collect();
        let reach = Reach { path: Vec::new(), directory: true, versions: vec![0..2, 2..7, 5..6] };
        let shown = shown_versions(&reach, &versions);
        assert_eq!(shown, "main@v1 to main@v2, main@v3, main@v5, main@rel, m, same, m");
    }

    #[test]
    fn percentages() {
        assert_eq!(millionths("5"), Ok(50_000));
        assert_eq!(millionths("100%"), Ok(1_000_000));
        assert_eq!(millionths("0.5%"), Ok(5_000));
        assert_eq!(millionths("12.3456"), Ok(123_456));
        for wrong in ["", "%", "0", "101", "-1", "5.", ".5", "1.23456", "x"] {
            assert!(millionths(wrong).is_err(), "{wrong}");
        }
    }
}
