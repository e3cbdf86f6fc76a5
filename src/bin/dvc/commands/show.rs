//! `dvc show`: shows versions with their changes, or prints a file of a version.

use crate::commands::log::{self, VersionStyle, changes, detail};
use crate::failure::{CommandResult, Exit, Failed};
use crate::print::Out;
use crate::render::entry::JsonEntry;
use crate::render::format::FormatContext;
use crate::render::{JsonPath, shown};
use crate::session::Session;
use clap::Args;
use dvc::error::Error;
use dvc::model::id::to_hex;
use dvc::model::path::{join, split};
use dvc::model::revision::RevisionSpec;
use dvc::ops::show::{ShowOptions, ShowPiece, ShownObject, show};
use dvc::query::describe::{ChangeDetail, DescribedVersion, VersionChanges};
use serde::Serialize;
use std::ffi::OsString;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

/// Options of `show`.
#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// Show these versions, or print the file REV:PATH
    #[arg(value_name = "REV[:PATH]")]
    pub(crate) specs: Vec<OsString>,
    /// Show the changed files and how much of them changed
    #[arg(long)]
    pub(crate) stat: bool,
    /// Show the changed files with a letter for the kind of change
    #[arg(long)]
    pub(crate) name_status: bool,
    /// Print ids in full
    #[arg(long, alias = "no-abbrev-commit")]
    pub(crate) no_abbrev: bool,
    /// Print versions in this format, as in `log`
    #[arg(long, value_name = "FORMAT", visible_alias = "pretty")]
    pub(crate) format: Option<String>,
}

/// Runs `show`.
pub(crate) fn run(session: &Session, args: &ShowArgs) -> CommandResult {
    let (place, context) = session.anywhere()?;
    let style = VersionStyle::new(false, args.format.as_deref(), args.no_abbrev)?;
    let specs: Vec<OsString> = if args.specs.is_empty() {
        vec!["@".into()]
    } else {
        args.specs.clone()
    };
    let (json, url) = (session.globals.json, place.url());
    let around = FormatContext {
        now: session.now.timestamp().as_second(),
        url: &url,
    };
    let mut out = session.paged_out();
    for (n, spec) in specs.iter().enumerate() {
        let spec = RevisionSpec::parse(spec.as_bytes()).map_err(Error::from)?;
        let wanted = match detail(args.stat, args.name_status) {
            ChangeDetail::None if args.format.is_none() => ChangeDetail::Names,
            wanted => wanted,
        };
        let options = ShowOptions {
            spec: spec.clone(),
            detail: wanted,
            addresses: style.wants_address(),
        };
        let path = split(&spec.path.unwrap_or_default())
            .unwrap_or_default()
            .join(&b'/');
        let (mut written, mut bytes) = (Ok(()), Vec::new());
        let version = |out: &mut Out,
                       version: &DescribedVersion,
                       changed: &VersionChanges<'_>|
         -> Result<(), Failed> {
            if json {
                return log::json(out, version, changed);
            }
            if n > 0 && args.format.is_none() {
                writeln!(out)?;
            }
            for line in style.lines(out, version, &around) {
                style.write(out, line.trim_end())?;
            }
            if wanted != ChangeDetail::None {
                writeln!(out)?;
                changes(out, changed, args.stat, "")?;
            }
            Ok(())
        };
        let found = show(&context, &options, &session.notices()?, &mut |piece| {
            written = match (piece, json) {
                (ShowPiece::Version(one, changed), _) => version(&mut out, one, changed),
                (ShowPiece::Entry(e), true) => out
                    .json(&JsonEntry::new(&join(&path, &e.name), e))
                    .map_err(Failed::from),
                (ShowPiece::Entry(e), false) => {
                    let end = if e.is_dir() { "/" } else { "" };
                    writeln!(out, "{}{end}", shown(&e.name)).map_err(Failed::from)
                }
                // A JSON object contains the whole content.
                (ShowPiece::Bytes(piece), true) => {
                    bytes.extend_from_slice(piece);
                    Ok(())
                }
                (ShowPiece::Bytes(piece), false) => out.write_all(piece).map_err(Failed::from),
            };
            if written.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        written?;
        match (found, json) {
            (ShownObject::Version | ShownObject::Directory, _) => {}
            (ShownObject::Link(target), true) => content(&mut out, &path, &target)?,
            (ShownObject::Link(target), false) => {
                out.write_all(&target)?;
                out.write_all(b"\n")?;
            }
            (ShownObject::File(_), true) => content(&mut out, &path, &bytes)?,
            (ShownObject::File(_), false) => {}
        }
    }
    out.finish()?;
    Ok(Exit::DONE.unless_cancelled(&session.signals))
}

#[derive(Serialize)]
struct JsonContent<'a> {
    #[serde(flatten)]
    path: JsonPath,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

/// Writes the content of a file or the target of a symbolic link in JSON, in hex if it is not
/// UTF-8.
fn content(out: &mut Out, path: &[u8], bytes: &[u8]) -> io::Result<()> {
    let (text, hex) = match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(to_hex(bytes))),
    };
    out.json(&JsonContent {
        path: JsonPath::new(path),
        bytes: bytes.len(),
        text,
        hex,
    })
}
