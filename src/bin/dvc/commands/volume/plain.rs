//! `dvc volume create --driver local`: a version in a plain volume of the Docker engine.

use super::{CreateArgs, engine};
use crate::commands::{checkout, mount};
use crate::failure::{CliError, Exit, Failed, Outcome};
use crate::print::{Paint, size};
use crate::session::Session;
use dvc::error::Error;
use dvc::model::refname::RefName;
use dvc::ops::volume::{PlainOptions, PlainReport, check_name, create_plain};
use std::io::Write;

/// Makes a plain volume of a version.
pub(super) fn create(session: &Session, args: &CreateArgs) -> Outcome {
    check_name(&args.name)?;
    let only_ours = [
        ("--ro", args.ro),
        ("--quota", args.quota.is_some()),
        ("-o", !args.option.is_empty()),
        ("--parked", args.parked.is_some()),
    ];
    if let Some((option, _)) = only_ours.into_iter().find(|(_, given)| *given) {
        return Err(CliError::option(option, "a plain volume has no such thing").into());
    }
    let Some(from) = &args.from else {
        return Err(CliError::option("--from", "name a version; `docker volume create` makes an empty volume").into());
    };
    let dry_run = session.dry_run(args.dry);
    let engine = engine().map_err(Error::from)?;
    // Before anything is fetched.
    engine.ping().map_err(Error::from)?;
    let (place, revision, own) = mount::place_of(session, None, from, dry_run)?;
    let own = own.as_ref().unwrap_or(session);
    let options = PlainOptions {
        name: args.name.clone(),
        revision,
        branch: args.branch.as_deref().map(RefName::new).transpose().map_err(Error::from)?,
        walk: own.walk()?,
        dry_run,
    };
    let progress = session.progress()?;
    let report = create_plain(&engine, &own.context(&place)?, &options, &progress)?;
    drop(progress);
    print(session, args, &report, dry_run)?;
    Ok(report.checkout.as_ref().map_or(Exit::DONE, checkout::exit))
}

fn print(session: &Session, args: &CreateArgs, report: &PlainReport, dry_run: bool) -> Result<(), Failed> {
    let mut out = session.plain_out();
    let (at, done) = (&report.at, report.checkout.as_ref());
    if session.globals.json {
        out.json(&serde_json::json!({
            "name": args.name, "new": report.new, "dry_run": dry_run, "driver": dvc::docker::LOCAL,
            "branch": report.branch.as_str(), "at": at.as_ref().map(|at| at.to_string_lossy()),
            "id": done.map(|done| done.version.to_string()), "files": done.map(|done| done.done.files),
            "bytes": done.map(|done| done.done.bytes), "incomplete": done.map(|done| done.done.incomplete),
            "damaged": done.map(|done| done.done.damaged),
        }))?;
    } else if session.globals.quiet == 0 {
        let branch = out.paint(Paint::Branch, report.branch.as_str());
        match done {
            None if report.new => writeln!(out, "would make volume {}, on branch {branch}", args.name)?,
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
