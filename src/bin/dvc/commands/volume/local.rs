//! `dvc volume create --driver local`: writes a version to a local-driver volume of the Docker
//! engine.

use super::args::CreateArgs;
use crate::commands::checkout;
use crate::failure::{CliError, CommandResult, Exit, Failed};
use crate::machine::engine;
use crate::mount_source::{MountSource, Purpose};
use crate::print::{Paint, size};
use crate::session::Session;
use dvc::docker::LOCAL;
use dvc::error::Error;
use dvc::model::refname::RefName;
use dvc::ops::volume::{LocalVolumeOptions, LocalVolumeReport, check_name, create_local_volume};
use serde::Serialize;
use std::borrow::Cow;
use std::io::Write;
use std::path::Path;

/// Creates a local-driver volume that contains a version.
pub(super) fn create(session: &Session, args: &CreateArgs) -> CommandResult {
    check_name(&args.name)?;
    let only_ours = [
        ("--ro", args.ro),
        ("--quota", args.quota.is_some()),
        ("-o", !args.option.is_empty()),
    ];
    if let Some((option, _)) = only_ours.into_iter().find(|(_, given)| *given) {
        return Err(CliError::option(option, "not supported for local-driver volumes").into());
    }
    let Some(from) = &args.from else {
        return Err(CliError::option(
            "--from",
            "required for a local-driver volume; run `docker volume create` for an empty volume",
        )
        .into());
    };
    let dry_run = session.dry_run(args.dry);
    let engine = engine().map_err(Error::from)?;
    // Fail before anything is fetched if the engine does not answer.
    engine.ping().map_err(Error::from)?;
    let purpose = if dry_run {
        Purpose::DryRun
    } else {
        Purpose::Command
    };
    let source = MountSource::open(session, from, purpose)?;
    let own = source.session(session);
    let options = LocalVolumeOptions {
        name: args.name.clone(),
        revision: source.revision.clone(),
        branch: args
            .branch
            .as_deref()
            .map(RefName::new)
            .transpose()
            .map_err(Error::from)?,
        walk: own.walk()?,
        dry_run,
    };
    let progress = session.progress()?;
    let report = create_local_volume(&engine, &own.context(&source.place)?, &options, &progress)?;
    drop(progress);
    print(session, args, &report, dry_run)?;
    Ok(report.checkout.as_ref().map_or(Exit::DONE, checkout::exit))
}

#[derive(Serialize)]
struct JsonLocalVolume<'a> {
    name: &'a str,
    created: bool,
    dry_run: bool,
    driver: &'static str,
    branch: &'a str,
    path: Option<Cow<'a, str>>,
    version: Option<String>,
    files: Option<u64>,
    bytes: Option<u64>,
    incomplete: Option<u64>,
    damaged: Option<u64>,
}

fn print(
    session: &Session,
    args: &CreateArgs,
    report: &LocalVolumeReport,
    dry_run: bool,
) -> Result<(), Failed> {
    let mut out = session.plain_out();
    let (at, done) = (&report.at, report.checkout.as_ref());
    if session.globals.json {
        out.json(&JsonLocalVolume {
            name: &args.name,
            created: report.new,
            dry_run,
            driver: LOCAL,
            branch: report.branch.as_str(),
            path: at.as_deref().map(Path::to_string_lossy),
            version: done.map(|done| done.version.to_string()),
            files: done.map(|done| done.done.files),
            bytes: done.map(|done| done.done.bytes),
            incomplete: done.map(|done| done.done.incomplete),
            damaged: done.map(|done| done.done.damaged),
        })?;
    } else if session.globals.quiet == 0 {
        let branch = out.paint(Paint::Branch, report.branch.as_str());
        match done {
            None if report.new => {
                writeln!(out, "would create volume {}, on branch {branch}", args.name)?
            }
            None => writeln!(out, "would fill volume {}, on branch {branch}", args.name)?,
            Some(done) => {
                writeln!(out, "{}", args.name)?;
                let id = out.paint(Paint::Id, done.version.short());
                let plural = if done.done.files == 1 { "" } else { "s" };
                writeln!(
                    out,
                    " {id} on branch {branch}, {} file{plural}, {} written",
                    done.done.files,
                    size(done.done.bytes)
                )?;
            }
        }
    }
    out.finish()?;
    Ok(())
}
