//! `dvc export`: a version as a tar archive or as an image, to a file, a pipe or a registry.

use crate::failure::{CliError, Exit, Failed, Outcome};
use crate::print::{Paint, elapsed, size};
use crate::session::Session;
use clap::{Args, ValueEnum};
use dvc::archive::image::split_url;
use dvc::error::Error;
use dvc::model::revision::{Revision, RevisionSpec};
use dvc::ops::export::{ExportOptions, ExportReport, Format, Target, export};
use dvc::store::location::Scheme;
use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Options of `export`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    dvc export AMCC@v3 -o v3.tar\n  \
    dvc export AMCC --path acme | tar -xf - -C /restored\n  \
    dvc export AMCC --format oci | docker load\n  \
    dvc export AMCC --format oci -o oci://registry.example/team/amcc:v3")]
pub(crate) struct ExportArgs {
    /// The version, and a path in it; HEAD if none is named
    #[arg(value_name = "REV[:PATH]")]
    pub(crate) spec: Option<OsString>,
    /// The kind of archive
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Kind::Tar)]
    pub(crate) format: Kind,
    /// Write to FILE, which appears when it is complete; `-` is standard output, `oci://HOST/REPOSITORY:TAG` a registry
    #[arg(short, long, value_name = "FILE|-|URL", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) output: Option<OsString>,
    /// Only this path of the version; may be repeated
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Vec<OsString>,
    /// The directory in the archive that all of it lies in; for images `/source`
    #[arg(long, value_name = "DIR")]
    pub(crate) prefix: Option<OsString>,
    /// The name of an image that is written to a file
    #[arg(long, value_name = "NAME[:TAG]")]
    pub(crate) name: Option<String>,
}

/// Kinds of archives.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A PAX archive
    Tar,
    /// An image: what `docker load`, `docker pull` and other engines take
    Oci,
}

/// Runs `export`.
pub(crate) fn run(session: &Session, args: &ExportArgs) -> Outcome {
    let begun = Instant::now();
    let (_, context) = session.anywhere()?;
    let spec = match &args.spec {
        Some(spec) => RevisionSpec::parse(spec.as_bytes()).map_err(Error::from)?,
        None => RevisionSpec { url: None, revision: Revision::HEAD, path: None },
    };
    let options = ExportOptions {
        spec,
        format: match args.format {
            Kind::Tar => Format::Tar,
            Kind::Oci => Format::Oci,
        },
        paths: args.path.iter().map(|path| path.as_bytes().to_vec()).collect(),
        prefix: args.prefix.as_ref().map(|prefix| prefix.as_bytes().to_vec()),
        name: args.name.clone(),
    };
    let output = args.output.as_deref();
    if output.is_none() && io::stdout().is_terminal() {
        let problem = "an archive is not written to a terminal; name a file, or send it to a program";
        return Err(CliError::option("--output", problem).into());
    }
    let url = output.and_then(|o| o.to_str()).filter(|o| o.contains("://"));
    let registry = match url.map(split_url) {
        Some((url, tag)) => {
            let location = session.location(&url)?;
            if location.scheme != Scheme::Oci {
                return Err(CliError::option("--output", "of what has a URL, only a registry takes archives").into());
            }
            Some((session.unnamed(location)?, tag))
        }
        None => None,
    };
    let progress = session.progress()?;
    let run = |target: Target<'_>| export(&context, &options, target, &progress);
    let file = output.map(Path::new).filter(|o| url.is_none() && o.as_os_str() != "-");
    let report = match (&registry, file) {
        (Some((remote, tag)), _) => run(Target::Registry(remote, tag))?,
        (None, Some(path)) => to_file(path, &run)?,
        (None, None) => {
            let mut out = Watched { out: BufWriter::with_capacity(1 << 20, io::stdout().lock()), closed: false };
            let report = run(Target::Stream(&mut out));
            if out.closed {
                return Err(Failed::Output(io::ErrorKind::BrokenPipe.into()));
            }
            report?
        }
    };
    drop(progress);
    if registry.is_some() || file.is_some() {
        return told(session, &report, file, begun.elapsed());
    }
    // Standard output is the archive.
    if session.globals.json {
        let line = format!("{}\n", json(&report, None, begun.elapsed()));
        let _ = io::stderr().write_all(line.as_bytes());
    } else if session.globals.quiet == 0 {
        let _ = io::stderr().write_all(summary(&report, None, begun.elapsed()).as_bytes());
    }
    Ok(Exit::DONE)
}

/// Standard output, and whether whoever reads it has gone.
struct Watched<W> {
    out: W,
    closed: bool,
}

impl<W: Write> Watched<W> {
    fn seen<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        self.closed |= result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
        result
    }
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.seen(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.seen(flushed)
    }
}

/// Writes beside the file first, so that it is never there in part.
fn to_file(path: &Path, run: &dyn Fn(Target<'_>) -> dvc::error::Result<ExportReport>) -> Result<ExportReport, Failed> {
    let failed = |source| CliError::File { doing: "write", path: path.to_owned(), source };
    if path.metadata().is_ok_and(|m| !m.is_file()) {
        let mut file: File = OpenOptions::new().write(true).open(path).map_err(failed)?;
        return Ok(run(Target::Stream(&mut file))?);
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".dvc-export-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(dir)
        .map_err(failed)?;
    let report = run(Target::Stream(file.as_file_mut()))?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(report)
}

fn told(session: &Session, report: &ExportReport, file: Option<&Path>, took: Duration) -> Outcome {
    let mut out = session.plain_out();
    if session.globals.json {
        writeln!(out, "{}", json(report, file, took))?;
    } else if session.globals.quiet == 0 {
        let id = out.paint(Paint::Id, report.version.short());
        write!(out, "{}", summary(report, file, took).replacen(&report.version.short(), &id, 1))?;
    }
    out.finish()?;
    Ok(Exit::DONE)
}

fn summary(report: &ExportReport, file: Option<&Path>, took: Duration) -> String {
    let address = report.address.clone().unwrap_or_else(|| format!("v{}", report.commit.ordinal));
    let to = match (&report.image, file) {
        (Some((name, _)), Some(file)) => format!(" as `{name}` to `{}`", file.display()),
        (Some((name, _)), None) => format!(" as `{name}`"),
        (None, Some(file)) => format!(" to `{}`", file.display()),
        (None, None) => String::new(),
    };
    let plural = if report.members == 1 { "" } else { "s" };
    format!(
        "[{address} {}]{to}\n {} member{plural}, {} written, {}\n",
        report.version.short(),
        report.members,
        size(report.written_bytes),
        elapsed(took)
    )
}

fn json(report: &ExportReport, file: Option<&Path>, took: Duration) -> serde_json::Value {
    serde_json::json!({
        "schema": 1,
        "id": report.version.to_string(),
        "tree": report.commit.tree.to_string(),
        "address": report.address,
        "ordinal": report.commit.ordinal,
        "members": report.members,
        "written_bytes": report.written_bytes,
        "file": file.map(|f| f.to_string_lossy()),
        "image": report.image.as_ref().map(|i| &i.0),
        "digest": report.image.as_ref().map(|i| &i.1),
        "seconds": took.as_secs_f64(),
    })
}
