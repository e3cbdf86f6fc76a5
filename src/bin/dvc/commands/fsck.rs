//! `dvc fsck`: checks the repository, rebuilds its catalogue and index, and repairs it from other
//! places.

mod json;
mod repair;

use crate::failure::{CliError, CommandResult, Exit, Failed};
use crate::globals::DryRun;
use crate::print::{Out, Paint, elapsed, size};
use crate::session::Session;
use crate::settings::value;
use clap::Args;
use dvc::check::rebuild::RebuildReport;
use dvc::check::report::{CheckReport, Reach, Reached, What};
use dvc::error::Kind;
use dvc::model::path;
use dvc::model::text::count;
use dvc::ops::fsck::{FsckOptions, FsckReport, fsck};
use json::as_json;
use repair::RepairArgs;
use std::io::Write;
use std::time::Instant;

/// Maximum number of lost paths that are listed without `-v`.
const LINES: usize = 20;

/// Options of `fsck`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dvc fsck --data=5\n  dvc fsck --repair\n  dvc fsck --repair --from /backup/files\n  dvc fsck --repair origin"
)]
pub(crate) struct FsckArgs {
    /// Check this remote instead of the local repository
    #[arg(value_name = "REMOTE", conflicts_with = "rebuild")]
    pub(crate) remote: Option<String>,
    /// Read and verify the data as well, or PERCENT of it
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, require_equals = true, default_missing_value = "100")]
    pub(crate) data: Option<String>,
    /// Stop after TIME, such as 2h; the next run continues from there
    #[arg(long, value_name = "TIME")]
    pub(crate) max_time: Option<String>,
    /// Rebuild the catalogue and the index from packs and refs alone
    #[arg(long)]
    pub(crate) rebuild: bool,
    #[command(flatten)]
    pub(crate) repair: RepairArgs,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Runs `fsck`.
pub(crate) fn run(session: &Session, args: &FsckArgs) -> CommandResult {
    let begun = Instant::now();
    let wrong = |option: &'static str| move |problem| CliError::option(option, problem);
    let max_time = args
        .max_time
        .as_deref()
        .map(value::duration)
        .transpose()
        .map_err(wrong("--max-time"))?;
    // With a time limit alone, the data is read until the limit.
    let data = args.data.as_deref().or(max_time.map(|_| "100"));
    let context = session.anywhere()?.1;
    let options = FsckOptions {
        remote: args
            .remote
            .as_deref()
            .map(|name| session.remote(&context, name))
            .transpose()?,
        repair: args.repair.options(session, &context)?,
        data: data.map(millionths).transpose().map_err(wrong("--data"))?,
        max_time,
        rebuild: args.rebuild,
        dry_run: session.dry_run(args.dry),
    };
    let progress = session.progress()?;
    let report = fsck(&context, &options, &progress)?;
    drop(progress);
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&as_json(
            &report,
            options.dry_run,
            begun.elapsed().as_secs_f64(),
        ))?;
    } else if session.globals.quiet == 0 || !report.check.is_sound() {
        // Damage is shown even with `-q`.
        print(session, &mut out, &report, options.dry_run, begun.elapsed())?;
    }
    out.finish()?;
    // Objects that could not be looked up may be missing, so the check is incomplete.
    Ok(match (report.check.is_sound(), report.check.unknown) {
        (true, 0) => Exit::DONE,
        (true, _) => Exit::with(Kind::Incomplete),
        (false, _) => Exit::with(Kind::Integrity),
    })
}

/// Parses `5`, `5%` or `0.5%`, and returns millionths.
fn millionths(text: &str) -> Result<u32, String> {
    let wrong = || format!("invalid percentage `{text}`: expected a number such as 5 or 0.5%");
    let number = text.strip_suffix('%').unwrap_or(text);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole)
        || part.len() > 4
        || !(part.is_empty() || digits(part))
        || number.ends_with('.')
    {
        return Err(wrong());
    }
    // One percent is 10,000 millionths, so the fraction has four digits.
    let value: u32 = format!("{whole}{part:0<4}").parse().map_err(|_| wrong())?;
    if value == 0 || value > 1_000_000 {
        Err(wrong())
    } else {
        Ok(value)
    }
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
            let id = &marker.id;
            writeln!(
                out,
                "created a new marker with the id {id}: existing clones and remotes are no longer recognised as copies of this repository"
            )?;
        }
        Some(marker) => writeln!(out, "restored the marker with the id {}", marker.id)?,
        None => {}
    }
    if let Some(made) = &report.rebuild {
        print_rebuild(out, made, dry_run)?;
    }
    if let Some(done) = &report.repair {
        repair::print(out, done, dry_run)?;
    }
    let CheckReport {
        checked,
        data,
        damage,
        lost,
        reaches,
        versions,
        more_objects,
        ..
    } = &report.check;
    if !reaches.is_empty() {
        let (paths, of) = (reaches.len() as u64, versions.len() as u64);
        let text = format!("{} in {}", count(paths, "path"), count(of, "version"));
        writeln!(out, "lost: {}", out.paint(Paint::Strong, text))?;
        let shown = if session.globals.verbose > 0 {
            reaches.len()
        } else {
            LINES
        };
        for reach in reaches.iter().take(shown) {
            writeln!(
                out,
                "  {}  {}",
                out.paint(Paint::Removed, shown_path(reach)),
                shown_versions(reach, versions)
            )?;
        }
        if reaches.len() > shown {
            writeln!(out, "  and {} more (-v lists them)", reaches.len() - shown)?;
        }
    }
    let n = checked;
    let all = [
        (n.refs, "ref"),
        (n.versions, "version"),
        (n.trees, "tree"),
        (n.chunks, "chunk"),
        (n.packs, "pack"),
    ];
    writeln!(
        out,
        "checked {}",
        all.map(|(n, what)| count(n, what)).join(", ")
    )?;
    if let Some(data) = data {
        let rest = if data.out_of_time {
            ", then the time limit was reached"
        } else {
            ""
        };
        let (read, all) = (size(data.bytes), size(data.of_bytes));
        writeln!(
            out,
            "read {read} of {all} in {} of {}{rest}",
            data.packs,
            count(data.of_packs, "pack")
        )?;
    }
    let took = elapsed(took);
    match damage.len() as u64 + more_objects {
        0 if report.check.unknown > 0 => {
            let n = count(report.check.unknown, "object");
            writeln!(
                out,
                "no local damage, but {n} could not be looked up on the remote, {took}"
            )?;
        }
        0 => writeln!(out, "no damage, {took}")?,
        found => {
            let text = format!("{found} damaged, {} lost", count(lost.total(), "object"));
            writeln!(out, "{}, {took}", out.paint(Paint::Removed, text))?;
        }
    }
    if report.repair.is_none()
        && damage
            .iter()
            .any(|d| matches!(d.what, What::Pack | What::Object | What::Ref))
    {
        writeln!(
            out,
            "hint: run `dvc fsck --repair` to repair the damage from remotes and worktrees"
        )?;
    }
    let can_be_rebuilt = |what| {
        matches!(
            what,
            What::Segment | What::Object | What::Catalogue | What::Worktree
        )
    };
    if (report.rebuild.is_none() || dry_run) && damage.iter().any(|d| can_be_rebuilt(d.what)) {
        writeln!(
            out,
            "hint: run `dvc fsck --rebuild` to rebuild the index and the catalogue from the packs"
        )?;
    }
    Ok(())
}

fn print_rebuild(out: &mut Out, made: &RebuildReport, dry_run: bool) -> Result<(), Failed> {
    let RebuildReport {
        packs,
        objects,
        segments,
        replaced,
        versions,
        baseless,
        ..
    } = made;
    if dry_run {
        let (new, objects) = (count(*segments, "index segment"), count(*objects, "object"));
        writeln!(
            out,
            "would build {new} for {objects} in {}",
            count(*packs, "pack")
        )?;
        writeln!(
            out,
            "would remove {} and rebuild the catalogue",
            count(*replaced, "old segment")
        )?;
        return Ok(());
    }
    let (new, objects) = (count(*segments, "index segment"), count(*objects, "object"));
    writeln!(
        out,
        "built {new} for {objects} in {}; removed {}",
        count(*packs, "pack"),
        count(*replaced, "old segment")
    )?;
    writeln!(
        out,
        "rebuilt the catalogue with {}",
        count(*versions, "version")
    )?;
    if *baseless > 0 {
        writeln!(
            out,
            "left {} out of the index, because the base is missing",
            count(*baseless, "delta")
        )?;
    }
    for key in &made.put_aside {
        writeln!(
            out,
            "moved the damaged state in `{key}` to the trash; its worktree is on the default branch now"
        )?;
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

/// Returns ranges of versions: `main@v1 to main@v3, old@v7`.
fn shown_versions(reach: &Reach, versions: &[Reached]) -> String {
    let runs = reach.versions.iter().flat_map(|run| {
        versions
            .get(run.clone())
            .unwrap_or_default()
            .chunk_by(follows)
    });
    let runs = runs.map(|run| match run {
        [first, .., last] => format!("{} to {}", first.name, last.name),
        run => run.iter().map(|v| v.name.as_str()).collect(),
    });
    runs.collect::<Vec<_>>().join(", ")
}

/// Returns whether `b` is the next version after `a` on one branch.
fn follows(a: &Reached, b: &Reached) -> bool {
    let numbered = |v: &Reached| {
        let (branch, ordinal) = v.name.rsplit_once("@v")?;
        Some((branch.to_owned(), ordinal.parse::<u64>().ok()?))
    };
    matches!((numbered(a), numbered(b)), (Some((x, n)), Some((y, m))) if x == y && n.checked_add(1) == Some(m))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_versions_are_printed_as_a_range() {
        let names = [
            "main@v1", "main@v2", "main@v3", "main@v5", "main@rel", "m", "same",
        ];
        let id = dvc::model::id::Id([0; 32]);
        let versions: Vec<_> = names
            .iter()
            .map(|n| Reached {
                name: (*n).to_owned(),
                id,
            })
            .collect();
        let reach = Reach {
            path: Vec::new(),
            directory: true,
            versions: vec![0..2, 2..7, 5..6],
        };
        let shown = shown_versions(&reach, &versions);
        assert_eq!(
            shown,
            "main@v1 to main@v2, main@v3, main@v5, main@rel, m, same, m"
        );
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
