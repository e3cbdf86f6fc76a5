//! `dvc show`: a version with what it changed, or the bytes of a file in it.

use crate::commands::log::{self, Style, changes, detail};
use crate::failure::{Exit, Failed, Outcome};
use crate::print::Out;
use crate::render::entry::JsonEntry;
use crate::render::format::Surroundings;
use crate::render::{JsonPath, shown};
use crate::session::Session;
use clap::Args;
use dvc::error::Error;
use dvc::model::id::to_hex;
use dvc::model::path::{join, split};
use dvc::model::revision::RevisionSpec;
use dvc::ops::show::{Piece, ShowOptions, Shown, show};
use dvc::query::describe::{Changes, Detail, Version};
use serde::Serialize;
use std::ffi::OsString;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

/// Options of `show`.
#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// Versions, or REV:PATH for the file itself
    #[arg(value_name = "REV[:PATH]")]
    pub(crate) specs: Vec<OsString>,
    /// With the files that changed and by how much
    #[arg(long)]
    pub(crate) stat: bool,
    /// With the names and letters of what changed
    #[arg(long)]
    pub(crate) name_status: bool,
    /// Ids in full
    #[arg(long, alias = "no-abbrev-commit")]
    pub(crate) no_abbrev: bool,
    /// How to print a version, as in `log`
    #[arg(long, value_name = "FORMAT", visible_alias = "pretty")]
    pub(crate) format: Option<String>,
}

/// Runs `show`.
pub(crate) fn run(session: &Session, args: &ShowArgs) -> Outcome {
    let (place, context) = session.anywhere()?;
    let style = Style::new(false, args.format.as_deref(), args.no_abbrev)?;
    let specs: Vec<OsString> = if args.specs.is_empty() { vec!["@".into()] } else { args.specs.clone() };
    let (json, url) = (session.globals.json, place.url());
    let around = Surroundings { now: session.now.timestamp().as_second(), url: &url };
    let mut out = session.paged_out();
    for (n, spec) in specs.iter().enumerate() {
        let spec = RevisionSpec::parse(spec.as_bytes()).map_err(Error::from)?;
        let wanted = match detail(args.stat, args.name_status) {
            Detail::None if args.format.is_none() => Detail::Names,
            wanted => wanted,
        };
        let options = ShowOptions { spec: spec.clone(), detail: wanted, addresses: style.wants_address() };
        let path = split(&spec.path.unwrap_or_default()).unwrap_or_default().join(&b'/');
        let (mut written, mut bytes) = (Ok(()), Vec::new());
        let version = |out: &mut Out, version: &Version, changed: &Changes<'_>| -> Result<(), Failed> {
            if json {
                return log::json(out, version, changed);
            }
            if n > 0 && args.format.is_none() {
                writeln!(out)?;
            }
            for line in style.lines(out, version, &around) {
                style.write(out, line.trim_end())?;
            }
            if wanted != Detail::None {
                writeln!(out)?;
                changes(out, changed, args.stat, "")?;
            }
            Ok(())
        };
        let found = show(&context, &options, &session.notices()?, &mut |piece| {
            written = match (piece, json) {
                (Piece::Version(one, changed), _) => version(&mut out, one, changed),
                (Piece::Entry(e), true) => out.json(&JsonEntry::new(&join(&path, &e.name), e)).map_err(Failed::from),
                (Piece::Entry(e), false) => {
                    let end = if e.is_dir() { "/" } else { "" };
                    writeln!(out, "{}{end}", shown(&e.name)).map_err(Failed::from)
                }
                (Piece::Bytes(piece), true) => {
                    bytes.extend_from_slice(piece);
                    Ok(())
                }
                (Piece::Bytes(piece), false) => out.write_all(piece).map_err(Failed::from),
            };
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        written?;
        match (found, json) {
            (Shown::Version | Shown::Directory, _) => {}
            (Shown::Link(target), true) => content(&mut out, &path, &target)?,
            (Shown::Link(target), false) => {
                out.write_all(&target)?;
                out.write_all(b"\n")?;
            }
            (Shown::File(_), true) => content(&mut out, &path, &bytes)?,
            (Shown::File(_), false) => {}
        }
    }
    out.finish()?;
    Ok(Exit::DONE.unless_cancelled(&session.signals))
}

#[derive(Serialize)]
struct JsonContent<'a> {
    #[serde(flatten)]
    path: JsonPath,
    size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

/// A file in JSON: as text where it is text.
fn content(out: &mut Out, path: &[u8], bytes: &[u8]) -> io::Result<()> {
    let (text, hex) = match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(to_hex(bytes))),
    };
    out.json(&JsonContent { path: JsonPath::new(path), size: bytes.len(), text, hex })
}
