//! `dvc ls`: lists the files of a version.

use crate::failure::{CommandResult, Exit};
use crate::render::entry::{JsonEntry, long, tail};
use crate::render::shown;
use crate::session::Session;
use clap::Args;
use dvc::error::Error;
use dvc::model::revision::{Revision, RevisionSpec};
use dvc::ops::ls::{LsOptions, ls};
use std::ffi::OsString;
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

/// Options of `ls`.
#[derive(Args, Debug)]
pub(crate) struct LsArgs {
    /// List this version, or a path of it
    #[arg(value_name = "REV[:PATH]")]
    pub(crate) spec: Option<OsString>,
    /// Show mode, owner, size and time
    #[arg(short, long)]
    pub(crate) long: bool,
    /// List directories recursively
    #[arg(short, long, short_alias = 'R')]
    pub(crate) recursive: bool,
    /// Accept `ls -a`: hidden names are always listed
    #[arg(short, long, hide = true)]
    pub(crate) all: bool,
    /// List directories themselves, not their content
    #[arg(short, long)]
    pub(crate) directory: bool,
    /// End lines with NUL and do not quote names
    #[arg(short = 'z')]
    pub(crate) null: bool,
    /// List only these paths
    #[arg(value_name = "PATH", last = true, value_hint = clap::ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
}

/// Runs `ls`.
pub(crate) fn run(session: &Session, args: &LsArgs) -> CommandResult {
    let (place, context) = session.anywhere()?;
    let spec = match &args.spec {
        Some(spec) => RevisionSpec::parse(spec.as_bytes()).map_err(Error::from)?,
        None => RevisionSpec {
            url: None,
            revision: Revision::HEAD,
            path: None,
        },
    };
    let paths = match spec.path {
        // With REV:PATH, paths are relative to PATH.
        Some(_) => args.paths.iter().map(|p| p.as_bytes().to_vec()).collect(),
        None => place.paths(&args.paths)?,
    };
    let options = LsOptions {
        spec,
        paths,
        recursive: args.recursive,
        directory: args.directory,
    };
    let mut out = session.paged_out();
    // A callback can only end the listing, so its error is stored here.
    let mut written = Ok(());
    ls(&context, &options, &session.watch(), &mut |path, entry| {
        written = (|| {
            if session.globals.json {
                return out.json(&JsonEntry::new(path, entry));
            }
            if args.long {
                write!(out, "{} ", long(entry))?;
            }
            if args.null {
                out.write_all(path)?;
                return out.write_all(b"\0");
            }
            let slash = if entry.is_dir() { "/" } else { "" };
            let tail = if args.long {
                tail(entry)
            } else {
                String::new()
            };
            writeln!(out, "{}{slash}{tail}", shown(path))
        })();
        if written.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    written?;
    out.finish()?;
    Ok(Exit::DONE.unless_cancelled(&session.signals))
}
