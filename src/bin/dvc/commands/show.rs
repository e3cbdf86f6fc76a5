//! `dvc show`: a version with what it changed, or the bytes of a file in it.

use crate::commands::log::{Style, changes, detail};
use crate::failure::{Exit, Outcome};
use crate::print::Out;
use crate::render::entry::JsonEntry;
use crate::render::format::Surroundings;
use crate::render::version::JsonVersion;
use crate::render::{JsonPath, shown};
use crate::session::Session;
use clap::Args;
use dvc::error::Error;
use dvc::model::id::to_hex;
use dvc::model::path::{join, split};
use dvc::model::revision::Spec;
use dvc::ops::describe::Detail;
use dvc::ops::show::{ShowOptions, Shown, show};
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
        let spec = Spec::parse(spec.as_bytes()).map_err(Error::from)?;
        let wanted = match detail(args.stat, args.name_status) {
            Detail::None if args.format.is_none() => Detail::Names,
            wanted => wanted,
        };
        let options = ShowOptions { spec: spec.clone(), detail: wanted, addresses: style.wants_address() };
        let (mut written, mut bytes) = (Ok(()), Vec::new());
        let found = show(&context, &options, &session.watch(), &mut |piece| {
            match json {
                true => bytes.extend_from_slice(piece),
                false => written = out.write_all(piece),
            }
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        written?;
        let path = split(&spec.path.unwrap_or_default()).unwrap_or_default().join(&b'/');
        match (found, json) {
            (Shown::Version(version), true) => out.json(&JsonVersion::new(&version, wanted))?,
            (Shown::Version(version), false) => {
                if n > 0 && args.format.is_none() {
                    writeln!(out)?;
                }
                for line in style.lines(&out, &version, &around) {
                    style.write(&mut out, line.trim_end())?;
                }
                if wanted != Detail::None {
                    writeln!(out)?;
                    changes(&mut out, &version, args.stat, "")?;
                }
            }
            (Shown::Directory(entries), _) => {
                for entry in entries {
                    match json {
                        true => out.json(&JsonEntry::new(&join(&path, &entry.name), &entry))?,
                        false => {
                            writeln!(out, "{}{}", shown(&entry.name), if entry.is_dir() { "/" } else { "" })?;
                        }
                    }
                }
            }
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
